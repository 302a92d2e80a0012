//! The downlink of each gateway: numbering what is pushed, and finding what comes after a cursor.

use cloud_protocol::NUMBER_MAX;
use deadpool_postgres::Pool;
use firmware_protocols::value::Value;

use super::listen::CHANNEL;
use super::pipeline::Parameter;
use super::{connect, signed, unsigned};
use crate::store::downlink_item::{NewItem, numbered, without_code};
use crate::store::{ANSWER_BYTES, ANSWER_MAX_ITEMS, StoreError};

/// The gateway's row is held until the commit, so numbers become visible in their order. Those who
/// listen are told with the commit.
const PUSH: &str = "
    WITH numbered AS (
        INSERT INTO gateway (gateway, downlink_last) VALUES ($1::text, 1)
        ON CONFLICT (gateway) DO UPDATE SET downlink_last = gateway.downlink_last + 1
        WHERE gateway.downlink_last < $2
        RETURNING downlink_last AS seq
    ), stored AS (
        INSERT INTO downlink (gateway, seq, body, code) SELECT $1, seq, $3::bytea, $4::bool FROM numbered
    ), announced AS (
        INSERT INTO parcel (gateway, parcel)
        SELECT $1, $5::text FROM numbered WHERE $5 IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    SELECT seq, pg_notify($6::text, $1) FROM numbered";
/// A gateway that has more than was given here: this store is an old copy. Numbering goes on above
/// what the gateway has, or it would take new items for ones it knows.
const RAISE: &str =
    "UPDATE gateway SET downlink_last = $2 WHERE gateway = $1 AND downlink_last < $2";
const WITH_CODE: &str = "SELECT seq, body FROM downlink WHERE gateway = $1 AND seq <= $2 AND code";
const FORGET: &str =
    "UPDATE downlink SET body = $3, code = false WHERE gateway = $1 AND seq = $2 AND code";
const AFTER: &str =
    "SELECT seq, body FROM downlink WHERE gateway = $1 AND seq > $2 ORDER BY seq LIMIT $3";

/// Stores an item under the next number.
pub(super) async fn push(pool: &Pool, gateway: &str, item: &NewItem) -> Result<u64, StoreError> {
    let client = connect::of(pool).await?;
    let push = client.prepare_cached(PUSH).await?;
    let last = signed(NUMBER_MAX);
    let row = client
        .query_opt(
            &push,
            &[
                &gateway,
                &last,
                &item.body,
                &item.has_code,
                &item.announces,
                &CHANNEL,
            ],
        )
        .await?;
    match row {
        Some(row) => Ok(unsigned(row.get(0))),
        None => Err(StoreError::NotAnItem(format!(
            "'{gateway}' has no number left for it"
        ))),
    }
}

/// The items after a cursor.
pub(super) async fn after_cursor(
    pool: &Pool,
    gateway: &str,
    after: u64,
) -> Result<Vec<Value>, StoreError> {
    let client = connect::of(pool).await?;
    let raise = client.prepare_cached(RAISE).await?;
    let with_code = client.prepare_cached(WITH_CODE).await?;
    let items = client.prepare_cached(AFTER).await?;
    let after = signed(after);
    let limit = i64::try_from(ANSWER_MAX_ITEMS).unwrap_or(i64::MAX);
    let cursor: [Parameter<'_>; 2] = [&gateway, &after];
    let portion: [Parameter<'_>; 3] = [&gateway, &after, &limit];
    let (raised, with_code, items) = tokio::join!(
        biased;
        client.execute(&raise, &cursor),
        client.query(&with_code, &cursor),
        client.query(&items, &portion),
    );
    raised?;
    // The gateway has these on disk: couriers' codes in them are needed no longer.
    for row in with_code? {
        let seq: i64 = row.get(0);
        let body = without_code(unsigned(seq), row.get(1))?;
        let forget = client.prepare_cached(FORGET).await?;
        client.execute(&forget, &[&gateway, &seq, &body]).await?;
    }
    let mut answer = Vec::new();
    let mut bytes = 0;
    for row in items? {
        let body: &[u8] = row.get(1);
        bytes += body.len();
        answer.push(numbered(unsigned(row.get(0)), body)?);
        if bytes > ANSWER_BYTES {
            break;
        }
    }
    Ok(answer)
}
