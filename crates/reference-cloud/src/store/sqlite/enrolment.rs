//! Who may speak to the cloud: tokens, keys, and the nonces of what was signed with them.

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::{Enrolling, Nonce, StoreError};
use crate::store::NONCE_KEPT_S;
use crate::store::enrolment::{Good, Token};

/// Remembers a nonce; `false` if it was there before. Those that are of no use any more go.
pub(super) fn fresh(
    connection: &Connection,
    gateway: &str,
    request: &Nonce,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("DELETE FROM nonce WHERE created < unixepoch() - ?1")?
        .execute([NONCE_KEPT_S])?;
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO nonce (gateway, nonce, created) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![gateway, request.nonce, request.created_s])?;
    Ok(added == 1)
}

/// Makes a token good.
pub(super) fn issue(
    connection: &Connection,
    gateway: Option<&str>,
    digest: &[u8; 32],
    valid_until: i64,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR IGNORE INTO token (digest, gateway, valid_until) VALUES (?1, ?2, ?3)",
        params![digest, gateway, valid_until],
    )?;
    Ok(())
}

/// Enrols, if the token is good.
pub(super) fn enrol(
    connection: &mut Connection,
    enrolling: &Enrolling,
) -> Result<bool, StoreError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let gateway = &enrolling.gateway;
    if let Some(digest) = &enrolling.token_digest {
        let token = tx
            .query_row(
                "SELECT gateway, valid_until, used_by, used_key FROM token WHERE digest = ?1",
                [digest],
                token_of,
            )
            .optional()?;
        match token.map(|token| token.good_for(enrolling)) {
            None | Some(Good::No) => return Ok(false),
            Some(Good::Again) => return Ok(true),
            Some(Good::Now) => {}
        }
        tx.execute(
            "UPDATE token SET used_by = ?2, used_key = ?3 WHERE digest = ?1",
            params![digest, gateway, enrolling.public_key],
        )?;
    }
    tx.execute(
        "INSERT INTO gateway (gateway, public_key) VALUES (?1, ?2)
         ON CONFLICT (gateway) DO UPDATE SET public_key = excluded.public_key, next_key = NULL
         WHERE public_key IS NOT excluded.public_key",
        params![gateway, enrolling.public_key],
    )?;
    tx.commit()?;
    Ok(true)
}

fn token_of(row: &Row<'_>) -> rusqlite::Result<Token> {
    let used_by: Option<String> = row.get(2)?;
    let used_key: Option<[u8; 32]> = row.get(3)?;
    Ok(Token {
        gateway: row.get(0)?,
        valid_until: row.get(1)?,
        used: used_by.zip(used_key),
    })
}

/// The keys of an enrolled gateway: in force, next.
pub(super) fn keys(
    connection: &Connection,
    gateway: &str,
) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
    let keys = connection
        .prepare_cached("SELECT public_key, next_key FROM gateway WHERE gateway = ?1")?
        .query_row([gateway], |row| {
            let (key, next): (Option<[u8; 32]>, Option<[u8; 32]>) = (row.get(0)?, row.get(1)?);
            Ok(key.map(|key| std::iter::once(key).chain(next).collect()))
        })
        .optional()?;
    Ok(keys.flatten())
}

/// Makes a key the next one, unless it is in force already.
pub(super) fn add_key(
    connection: &Connection,
    gateway: &str,
    key: &[u8; 32],
) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE gateway SET next_key = ?2
         WHERE gateway = ?1 AND public_key IS NOT NULL AND public_key <> ?2",
        params![gateway, key],
    )?;
    Ok(())
}

/// The next key was used: it is in force.
pub(super) fn key_used(
    connection: &Connection,
    gateway: &str,
    key: &[u8; 32],
) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE gateway SET public_key = next_key, next_key = NULL
         WHERE gateway = ?1 AND next_key = ?2",
        params![gateway, key],
    )?;
    Ok(())
}
