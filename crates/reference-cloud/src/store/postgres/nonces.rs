//! The nonces of signed requests: known for at least ten minutes, forgotten by the table.

use std::time::Duration;

use deadpool_postgres::Pool;

use super::connect;
use super::pipeline::{Parameter, Pipeline};
use crate::store::{NONCE_KEPT_S, Nonce, StoreError};

/// Between two looks at what can be emptied.
const EVERY: Duration = Duration::from_secs(60);

/// One statement for each slot of ten minutes: it goes to the slot's table itself.
const ADD: [&str; 5] = [
    "INSERT INTO nonce_0 (slot, gateway, nonce) VALUES (0, $1, $2) ON CONFLICT DO NOTHING",
    "INSERT INTO nonce_1 (slot, gateway, nonce) VALUES (1, $1, $2) ON CONFLICT DO NOTHING",
    "INSERT INTO nonce_2 (slot, gateway, nonce) VALUES (2, $1, $2) ON CONFLICT DO NOTHING",
    "INSERT INTO nonce_3 (slot, gateway, nonce) VALUES (3, $1, $2) ON CONFLICT DO NOTHING",
    "INSERT INTO nonce_4 (slot, gateway, nonce) VALUES (4, $1, $2) ON CONFLICT DO NOTHING",
];

/// Adds a nonce; one row if it is new. The same request again states the same time, and so meets
/// the nonce in the same slot.
pub(super) async fn add<'a>(
    pipeline: &mut Pipeline<'a>,
    gateway: &'a &'a str,
    request: &'a Nonce,
) -> Result<(), StoreError> {
    let slot = request.created_s.div_euclid(NONCE_KEPT_S).rem_euclid(5);
    let slot = usize::try_from(slot).unwrap_or(0);
    let statement = ADD.get(slot).copied().unwrap_or(ADD[0]);
    let parameters: Vec<Parameter<'a>> = vec![gateway, &request.nonce];
    pipeline.add(statement, parameters).await
}

/// A nonce on its own; `false` if it is known.
pub(super) async fn fresh(pool: &Pool, gateway: &str, request: &Nonce) -> Result<bool, StoreError> {
    let client = connect::of(pool).await?;
    let mut pipeline = Pipeline::on(&client);
    add(&mut pipeline, &gateway, request).await?;
    Ok(pipeline.run().await? == [1])
}

/// Empties slots that are over, for as long as the pool is open.
pub(super) async fn keep_clear(pool: Pool) {
    loop {
        tokio::time::sleep(EVERY).await;
        match clear(&pool).await {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(e) => tracing::warn!("old nonces stay for now: {e}"),
        }
    }
}

/// Empties the slot that comes into use next but one, by the database's clock. What is in it is over
/// by twenty minutes at least.
async fn clear(pool: &Pool) -> Result<(), StoreError> {
    let mut client = connect::of(pool).await?;
    let tx = client.transaction().await?;
    let row = tx
        .query_one(
            "SELECT ((extract(epoch FROM now())::bigint / $1 + 2) % 5)::smallint",
            &[&NONCE_KEPT_S],
        )
        .await?;
    let slot: i16 = row.get(0);
    let look = format!("SELECT FROM nonce_{slot} LIMIT 1");
    if tx.query_opt(&look, &[]).await?.is_some() {
        let empty = format!("SET LOCAL lock_timeout = '2s'; TRUNCATE nonce_{slot}");
        tx.batch_execute(&empty).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use firmware_protocols::event::Secret;
    use local_postgres::LocalPostgres;

    use super::super::Postgres;
    use super::*;
    use crate::store::{PostgresAt, Store as _};

    fn now_s() -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap()
    }

    #[tokio::test]
    async fn what_could_come_again_stays_and_what_is_over_goes() {
        if local_postgres::left_out() {
            return;
        }
        let server = LocalPostgres::start().unwrap();
        let at = PostgresAt::new(Secret::new(server.url()));
        let store = Postgres::open(&at).await.unwrap();
        // Once more if a slot began just then.
        for gateway in ["a", "b"] {
            let now = now_s();
            check(&store, gateway, now).await;
            if now.div_euclid(NONCE_KEPT_S) == now_s().div_euclid(NONCE_KEPT_S) {
                return;
            }
        }
    }

    async fn check(store: &Postgres, gateway: &str, now: i64) {
        let signed = |age: i64| Nonce {
            created_s: now - age,
            nonce: format!("{age} s ago"),
        };
        let kept = [-NONCE_KEPT_S, 0, NONCE_KEPT_S];
        let over = 3 * NONCE_KEPT_S;
        for age in kept.into_iter().chain([over]) {
            assert!(store.fresh(gateway, &signed(age)).await.unwrap());
        }
        clear(&store.pool).await.unwrap();
        for age in kept {
            let request = signed(age);
            assert!(!store.fresh(gateway, &request).await.unwrap(), "{age}");
        }
        let again = store.fresh(gateway, &signed(over)).await.unwrap();
        let same_slot = now.div_euclid(NONCE_KEPT_S) == now_s().div_euclid(NONCE_KEPT_S);
        assert!(again || !same_slot);
    }
}
