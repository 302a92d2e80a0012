//! PostgreSQL with what happens to a database: backends that are killed, a server that crashes,
//! clouds that start at the same time, one that holds a row, callers that go away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod stores;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cloud_protocol::Lane;
use cloud_protocol::uplink::ParcelState;
use local_postgres::LocalPostgres;
use reference_cloud::store::{self, Ingest, Keep, Store, StoreError};
use stores::{Random, Source, at, database, health, nonce, parcel, postgres, send, server, short};
use tokio_postgres::{Client, NoTls};

const GATEWAYS: u64 = 6;
const BATCHES: u64 = 24;

/// A connection that is none of a cloud's.
async fn psql(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until it holds; what is waited for takes milliseconds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..2_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}

/// What the senders did so far.
#[derive(Default)]
struct Progress {
    taken: AtomicU32,
    failed: AtomicU32,
}

/// The box of a gateway: sends each batch until it is acknowledged, at any of the clouds. A gap or
/// a fork would mean that something acknowledged was lost, or something lost was kept.
async fn box_of(gateway: u64, stores: [Arc<dyn Store>; 2], progress: Arc<Progress>) -> Source {
    let name = format!("g-{gateway}");
    let mut random = Random(gateway);
    let mut source = Source::new(1);
    for _ in 0..BATCHES {
        let mut parts = Vec::new();
        for (lane, _) in [(Lane::Fulfilment, 0), (Lane::Health, 1)] {
            parts.push((lane, source.last(lane)));
        }
        for _ in 0..=random.below(3) {
            let id = format!("P-{}", random.below(5));
            source.add(parcel(&id, ParcelState::Deposited, Some(1)));
            source.add(health(random.below(9)));
        }
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(lane, after)| (lane, after, source.last(lane)))
            .collect();
        let batch = source.batch(&parts);
        loop {
            let store = &stores[usize::from(random.below(2) == 0)];
            match store.ingest(&name, batch.clone(), &nonce()).await {
                Ok(Ingest::Taken(acked)) => {
                    for (lane, _, last) in &parts {
                        assert_eq!(acked.0[lane], *last);
                    }
                    progress.taken.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Ok(Ingest::Refused(problem)) => panic!("{name}: {problem}"),
                Err(_) => {
                    progress.failed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(random.below(20))).await;
                }
            }
        }
    }
    source
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_killed_backends_and_crashes_once() {
    if local_postgres::left_out() {
        return;
    }
    let mut server = LocalPostgres::start().unwrap();
    let url = server.create_database("cloud").unwrap();
    let clouds = [postgres(&at(&url)).await, postgres(&at(&url)).await];
    let progress = Arc::new(Progress::default());
    let mut boxes = tokio::task::JoinSet::new();
    for gateway in 0..GATEWAYS {
        let sending = box_of(gateway, clouds.clone(), Arc::clone(&progress));
        boxes.spawn(async move { (gateway, sending.await) });
    }

    let all = u32::try_from(GATEWAYS * BATCHES).unwrap();
    for round in 1..=8 {
        until("batches are taken", async || {
            progress.taken.load(Ordering::Relaxed) >= all * round / 10
        })
        .await;
        if round % 4 == 0 {
            tokio::task::block_in_place(|| server.crash_and_restart().unwrap());
            continue;
        }
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'linli-reference-cloud'";
        let killed = psql(&url).await.query(kill, &[]).await.unwrap();
        assert!(!killed.is_empty());
    }

    let admin = psql(&url).await;
    while let Some(sent) = boxes.join_next().await {
        let (gateway, source) = sent.unwrap();
        check(&format!("g-{gateway}"), &source, &clouds[1], &admin).await;
    }
    assert!(
        progress.failed.load(Ordering::Relaxed) > 0,
        "no fault met a batch"
    );
    check_outbox(&clouds[0]).await;
}

async fn check(name: &str, source: &Source, store: &Arc<dyn Store>, admin: &Client) {
    let standing = store.standing(name).await.unwrap().1;
    let lanes = store.lanes(name).await.unwrap().lanes;
    for (lane, number) in [(Lane::Fulfilment, 0_i16), (Lane::Health, 1)] {
        let last = source.last(lane);
        assert_eq!(standing[&lane].last, last);
        assert_eq!(standing[&lane].chain, source.chain(lane, last));
        assert_eq!(lanes[&lane].items, last);
        let select = "SELECT seq, chain FROM item WHERE gateway = $1 AND lane = $2 ORDER BY seq";
        let rows = admin.query(select, &[&name, &number]).await.unwrap();
        assert_eq!(rows.len() as u64, last);
        for (seq, row) in (1..).zip(rows) {
            assert_eq!(row.get::<_, i64>(0), i64::try_from(seq).unwrap());
            assert_eq!(row.get::<_, &[u8]>(1), source.chain(lane, seq).0);
        }
    }
}

/// Every item once, each lane's in their order.
async fn check_outbox(store: &Arc<dyn Store>) {
    let mut next: BTreeMap<(String, Lane), u64> = BTreeMap::new();
    for outgoing in store.outbox(100_000).await.unwrap().unwrap() {
        let next = next.entry((outgoing.gateway, outgoing.lane)).or_insert(1);
        for (seq, _) in outgoing.items {
            assert_eq!(seq, *next);
            *next += 1;
        }
    }
    assert_eq!(next.len() as u64, GATEWAYS * 2);
    for (gateway, lane) in next.keys() {
        let lanes = store.lanes(gateway).await.unwrap().lanes;
        assert_eq!(next[&(gateway.clone(), *lane)], lanes[lane].last + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clouds_that_start_at_once_migrate_once_and_a_newer_schema_is_refused() {
    if local_postgres::left_out() {
        return;
    }
    let at = database();
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let keep = Keep::Postgres(at.clone());
        starting.spawn(async move { store::open(keep).await.map(|_| ()) });
    }
    while let Some(started) = starting.join_next().await {
        started.unwrap().unwrap();
    }
    let admin = psql(at.url.reveal()).await;
    let rows = admin.query("SELECT version FROM linli_schema", &[]).await;
    assert_eq!(rows.unwrap().len(), 1);
    admin
        .execute("UPDATE linli_schema SET version = 99", &[])
        .await
        .unwrap();
    let refused = store::open(Keep::Postgres(at)).await.err();
    assert!(
        matches!(refused, Some(StoreError::Newer { found: 99, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_could_lose_a_commit_is_refused() {
    if local_postgres::left_out() {
        return;
    }
    let server = LocalPostgres::start_with(&["fsync=off"]).unwrap();
    let refused = store::open(Keep::Postgres(at(&server.url()))).await.err();
    let refused = refused.expect("fsync is off");
    assert!(matches!(&refused, StoreError::NotDurable(why) if why.contains("fsync=off")));
}

#[tokio::test]
async fn a_wrong_password_stays_out_of_the_words() {
    if local_postgres::left_out() {
        return;
    }
    let url = server().url();
    let (user, host) = url.rsplit_once('@').unwrap();
    let (user, _) = user.rsplit_once(':').unwrap();
    let wrong = at(&format!("{user}:hunter2@{host}"));
    assert!(!format!("{wrong:?}").contains("hunter2"));
    let refused = store::open(Keep::Postgres(wrong)).await.err().unwrap();
    let words = format!("{refused} {refused:?}");
    assert!(!words.contains("hunter2"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_waits_for_another_gateway_or_another_lane() {
    if local_postgres::left_out() {
        return;
    }
    let at = database();
    let store = postgres(&at).await;
    let mut source = Source::new(1);
    for n in 0..4 {
        source.add(health(n));
        source.add(parcel("P", ParcelState::Deposited, None));
    }
    let first = source.batch(&[(Lane::Fulfilment, 0, 1), (Lane::Health, 0, 1)]);
    for gateway in ["a", "b"] {
        send(&store, gateway, first.clone()).await;
    }
    let mut admin = psql(at.url.reveal()).await;
    let held = admin.transaction().await.unwrap();
    let hold = "SELECT FROM lane WHERE gateway = 'a' AND lane = 0 FOR UPDATE";
    assert_eq!(held.query(hold, &[]).await.unwrap().len(), 1);

    let next = source.batch(&[(Lane::Fulfilment, 1, 2)]);
    let waits = {
        let (store, next) = (Arc::clone(&store), next.clone());
        tokio::spawn(async move { send(&store, "a", next).await })
    };
    let other = psql(at.url.reveal()).await;
    until("one waits for the held lane", async || {
        let waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                       AND datname = current_database()";
        !other.query(waiting, &[]).await.unwrap().is_empty()
    })
    .await;
    assert!(short(&send(&store, "b", next).await).is_ok());
    let health = source.batch(&[(Lane::Health, 1, 2)]);
    assert!(short(&send(&store, "a", health).await).is_ok());
    assert!(!waits.is_finished());
    held.rollback().await.unwrap();
    assert!(short(&waits.await.unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_leaves_no_transaction_behind() {
    if local_postgres::left_out() {
        return;
    }
    let mut at = database();
    at.connections = 1;
    let store = postgres(&at).await;
    let mut source = Source::new(1);
    for step in 0..40_u64 {
        source.add(health(step));
        let batch = source.batch(&[(Lane::Health, step, step + 1)]);
        let request = nonce();
        let pause = Duration::from_micros(step * 100);
        let _ = tokio::time::timeout(pause, store.ingest("a", batch.clone(), &request)).await;
        let outcome = short(&send(&store, "a", batch).await).unwrap();
        assert_eq!(outcome.0[&Lane::Health], step + 1);
    }
    assert_eq!(
        store.lanes("a").await.unwrap().lanes[&Lane::Health].items,
        40
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cloud_has_the_outbox_until_it_goes_or_loses_its_connection() {
    if local_postgres::left_out() {
        return;
    }
    let at = database();
    let (one, other) = (postgres(&at).await, postgres(&at).await);
    let mut source = Source::new(1);
    source.add(health(1));
    send(&one, "a", source.whole(Lane::Health)).await;
    let waits = one.outbox(9).await.unwrap().unwrap();
    assert_eq!(waits.len(), 1);
    assert_eq!(other.outbox(9).await.unwrap(), None);
    assert!(other.told(&[waits[0].id]).await.is_err(), "it isn't his");

    let kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let admin = psql(at.url.reveal()).await;
    assert_eq!(admin.query(kill, &[]).await.unwrap().len(), 1);
    until("the other has the outbox", async || {
        other.outbox(9).await.unwrap().is_some()
    })
    .await;
    assert!(
        one.told(&[waits[0].id]).await.is_err(),
        "it isn't his any more"
    );
    other.close().await;
    until("it is free again", async || {
        matches!(one.outbox(9).await, Ok(Some(_)))
    })
    .await;
    one.told(&[waits[0].id]).await.unwrap();
    assert!(one.outbox(9).await.unwrap().unwrap().is_empty());
}
