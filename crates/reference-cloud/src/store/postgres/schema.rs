//! The tables: brought up to date when a cloud starts, by one cloud at a time.

use tokio_postgres::Client;

use crate::store::StoreError;

/// One step for each version; a database of version `n` has had the first `n` of them.
const MIGRATIONS: &[&str] = &[include_str!("0001.sql")];

/// The advisory lock that a cloud holds while it migrates: `linli` and a number.
const LOCK: i64 = 0x6c69_6e6c_6900_0001;

/// Brings the schema up to date, all of it in one transaction. Others that start wait for it.
pub(super) async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let tx = client.transaction().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    tx.batch_execute("CREATE TABLE IF NOT EXISTS linli_schema (version bigint NOT NULL)")
        .await?;
    let row = tx
        .query_opt("SELECT version FROM linli_schema", &[])
        .await?;
    let found: i64 = row.as_ref().map_or(0, |row| row.get(0));
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found == known {
        tx.rollback().await?;
        return Ok(());
    }
    let done = usize::try_from(found).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(done) {
        tx.batch_execute(step).await?;
    }
    tx.batch_execute("DELETE FROM linli_schema").await?;
    tx.execute("INSERT INTO linli_schema VALUES ($1)", &[&known])
        .await?;
    tx.commit().await?;
    Ok(())
}
