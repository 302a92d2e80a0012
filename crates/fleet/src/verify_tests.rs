//! The reckoning finds what is wrong: each damage to a real database by itself.

use std::sync::Arc;
use std::time::Duration;

use cloud_protocol::SealingKey;
use cloud_protocol::secure::sealed::OpeningKey;
use firmware_protocols::event::Secret;
use local_postgres::LocalPostgres;
use reference_cloud::Keep;
use reference_cloud::store::{self, Nonce, PostgresAt};

use super::*;
use crate::bare::received;
use crate::enrolment::{Commons, unheard_of};

/// What may befall a database, and puts it back.
const DAMAGES: [(&str, &str); 5] = [
    (
        "DELETE FROM item WHERE lane = 0 AND seq = 3",
        "INSERT INTO item SELECT * FROM before WHERE lane = 0 AND seq = 3",
    ),
    (
        "DELETE FROM item WHERE lane = 2 AND seq = (SELECT max(seq) FROM item WHERE lane = 2)",
        "INSERT INTO item SELECT * FROM before WHERE lane = 2
         AND seq = (SELECT max(seq) FROM before WHERE lane = 2)",
    ),
    (
        "UPDATE item SET body = (SELECT body FROM before WHERE lane = 1 AND seq = 2)
         WHERE lane = 1 AND seq = 1",
        "UPDATE item SET body = (SELECT body FROM before WHERE lane = 1 AND seq = 1)
         WHERE lane = 1 AND seq = 1",
    ),
    (
        "UPDATE lane SET last = last + 1 WHERE lane = 1",
        "UPDATE lane SET last = last - 1 WHERE lane = 1",
    ),
    (
        "UPDATE lane SET epoch = epoch + 1 WHERE lane = 0",
        "UPDATE lane SET epoch = epoch - 1 WHERE lane = 0",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_is_found() {
    if local_postgres::left_out() {
        return;
    }
    let postgres = tokio::task::block_in_place(LocalPostgres::start).unwrap();
    let expected = filled(&postgres.url()).await;
    let database = connect(&postgres.url()).await.unwrap();
    let copy = "CREATE TABLE before AS SELECT * FROM item";
    database.batch_execute(copy).await.unwrap();
    assert_eq!(wrong(&database, &expected).await, 0);
    for (damage, repair) in DAMAGES {
        database.batch_execute(damage).await.unwrap();
        assert!(wrong(&database, &expected).await > 0, "{damage}");
        database.batch_execute(repair).await.unwrap();
        assert_eq!(wrong(&database, &expected).await, 0, "{repair}");
    }
}

async fn wrong(database: &Client, expected: &[Expected]) -> u64 {
    let tally = Tally::default();
    let mut found = Found::default();
    lanes(database, expected, &tally, &mut found).await.unwrap();
    tally.all_wrong().0
}

/// A gateway's batches are taken; what must be there.
async fn filled(url: &str) -> Vec<Expected> {
    let keep = Keep::Postgres(PostgresAt {
        url: Secret::new(url),
        connections: 2,
    });
    let store = store::open(keep).await.unwrap();
    let commons = Commons {
        clouds: Arc::from([]),
        seed: 1,
        gap: Duration::from_secs(1),
        tally: Arc::new(Tally::default()),
    };
    let key = SealingKey {
        id: "k".to_string(),
        public_key: OpeningKey::from_seed(&[7; 32]).public_key(),
    };
    let mut tracks = unheard_of(&commons, "g-1", &key).unwrap();
    let mut stands = BTreeMap::new();
    for number in 0..12 {
        let prepared = tracks[number % 2].prepare().unwrap();
        let request = Nonce {
            created_s: 1_760_000_000,
            nonce: number.to_string(),
        };
        let batch = received(&prepared).unwrap();
        let taken = store.ingest("g-1", batch, &request).await.unwrap();
        assert!(matches!(taken, store::Ingest::Taken(_)), "{taken:?}");
        stands.extend(prepared.ends);
    }
    store.close().await;
    vec![Expected {
        gateway: Ident::new("g-1").unwrap(),
        lanes: stands,
    }]
}
