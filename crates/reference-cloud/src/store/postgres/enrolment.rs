//! Who may speak to the cloud: tokens and keys.

use deadpool_postgres::Pool;
use tokio_postgres::Row;

use super::connect;
use crate::store::enrolment::{Good, Token};
use crate::store::{Enrolling, StoreError};

/// Makes a token good.
pub(super) async fn issue(
    pool: &Pool,
    gateway: Option<&str>,
    digest: &[u8; 32],
    valid_until: i64,
) -> Result<(), StoreError> {
    let client = connect::of(pool).await?;
    client
        .execute(
            "INSERT INTO token (digest, gateway, valid_until) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
            &[&digest.as_slice(), &gateway, &valid_until],
        )
        .await?;
    Ok(())
}

/// Enrols, if the token is good. The token's row is held, so that two who come with it at the same
/// time come one after the other.
pub(super) async fn enrol(pool: &Pool, enrolling: &Enrolling) -> Result<bool, StoreError> {
    let mut client = connect::of(pool).await?;
    let tx = client.transaction().await?;
    let key = enrolling.public_key.as_slice();
    if let Some(digest) = &enrolling.token_digest {
        let digest = digest.as_slice();
        let row = tx
            .query_opt(
                "SELECT gateway, valid_until, used_by, used_key FROM token
                 WHERE digest = $1 FOR UPDATE",
                &[&digest],
            )
            .await?;
        let token = row.as_ref().map(token_of).transpose()?;
        match token.map(|token| token.good_for(enrolling)) {
            None | Some(Good::No) => return Ok(false),
            Some(Good::Again) => return Ok(true),
            Some(Good::Now) => {}
        }
        tx.execute(
            "UPDATE token SET used_by = $2, used_key = $3 WHERE digest = $1",
            &[&digest, &enrolling.gateway, &key],
        )
        .await?;
    }
    tx.execute(
        "INSERT INTO gateway (gateway, public_key) VALUES ($1, $2)
         ON CONFLICT (gateway) DO UPDATE SET public_key = excluded.public_key, next_key = NULL
         WHERE gateway.public_key IS DISTINCT FROM excluded.public_key",
        &[&enrolling.gateway, &key],
    )
    .await?;
    tx.commit().await?;
    Ok(true)
}

fn token_of(row: &Row) -> Result<Token, StoreError> {
    let used_by: Option<String> = row.get(2);
    let used_key: Option<&[u8]> = row.get(3);
    let used_key = used_key.map(key_of).transpose()?;
    Ok(Token {
        gateway: row.get(0),
        valid_until: row.get(1),
        used: used_by.zip(used_key),
    })
}

/// The keys of an enrolled gateway: in force, next.
pub(super) async fn keys(pool: &Pool, gateway: &str) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
    let client = connect::of(pool).await?;
    let select = client
        .prepare_cached("SELECT public_key, next_key FROM gateway WHERE gateway = $1")
        .await?;
    let row = client.query_opt(&select, &[&gateway]).await?;
    let Some(row) = row else { return Ok(None) };
    let (key, next): (Option<&[u8]>, Option<&[u8]>) = (row.get(0), row.get(1));
    let Some(key) = key else { return Ok(None) };
    std::iter::once(key)
        .chain(next)
        .map(key_of)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Makes a key the next one, unless it is in force already.
pub(super) async fn add_key(pool: &Pool, gateway: &str, key: &[u8; 32]) -> Result<(), StoreError> {
    let client = connect::of(pool).await?;
    client
        .execute(
            "UPDATE gateway SET next_key = $2
             WHERE gateway = $1 AND public_key IS NOT NULL AND public_key <> $2",
            &[&gateway, &key.as_slice()],
        )
        .await?;
    Ok(())
}

/// The next key was used: it is in force.
pub(super) async fn key_used(pool: &Pool, gateway: &str, key: &[u8; 32]) -> Result<(), StoreError> {
    let client = connect::of(pool).await?;
    client
        .execute(
            "UPDATE gateway SET public_key = next_key, next_key = NULL
             WHERE gateway = $1 AND next_key = $2",
            &[&gateway, &key.as_slice()],
        )
        .await?;
    Ok(())
}

fn key_of(stored: &[u8]) -> Result<[u8; 32], StoreError> {
    let key = stored.try_into();
    key.map_err(|_| StoreError::Unreadable("a key that isn't 32 bytes".to_string()))
}
