//! Connections to PostgreSQL: how each is set up, the pool for the calls, and single ones.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::{Client, Config, NoTls};

use crate::store::{PostgresAt, StoreError};

/// What every session is set to, whatever the server or the role has as its default: a commit is on
/// disk before it is answered, and nothing waits for ever.
const SESSION: &str = "-c synchronous_commit=on -c default_transaction_isolation=read\\ committed \
                       -c statement_timeout=20s -c lock_timeout=10s \
                       -c idle_in_transaction_session_timeout=20s -c jit=off";
/// How long a call waits for a connection.
const WAIT: Duration = Duration::from_secs(10);
/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// When a connection that says nothing is asked whether it lives, and how long it may stay silent.
const SILENT: Duration = Duration::from_secs(30);

/// The settings of each connection.
pub(super) fn config(at: &PostgresAt) -> Result<Config, StoreError> {
    let mut config: Config = at.url.reveal().parse()?;
    let options = match config.get_options() {
        Some(own) => format!("{own} {SESSION}"),
        None => SESSION.to_string(),
    };
    config
        .options(options)
        .application_name("linli-reference-cloud")
        .connect_timeout(CONNECT)
        .keepalives_idle(SILENT)
        .tcp_user_timeout(SILENT);
    Ok(config)
}

/// The pool. Connections are made when they are needed.
pub(super) fn pool(config: Config, connections: usize) -> Result<Pool, StoreError> {
    let recycling_method = RecyclingMethod::Fast;
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
    Pool::builder(manager)
        .max_size(connections.max(1))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(CONNECT))
        .build()
        .map_err(|e| StoreError::Busy(e.to_string()))
}

/// A connection of its own, driven by a task that ends with it.
pub(super) async fn single(config: &Config) -> Result<Client, StoreError> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::warn!("a connection to PostgreSQL ended: {e}");
        }
    });
    Ok(client)
}

/// A connection of the pool.
pub(super) async fn of(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|e| match e {
        PoolError::Backend(e) => StoreError::Postgres(e),
        PoolError::Closed => StoreError::Closed,
        PoolError::Timeout(TimeoutType::Wait) => StoreError::Busy(format!(
            "no connection to PostgreSQL was free for {} s",
            WAIT.as_secs()
        )),
        other => StoreError::Busy(other.to_string()),
    })
}

/// Refuses a server that would lose what it has committed when it crashes.
pub(super) async fn check_durable(client: &Client) -> Result<(), StoreError> {
    for (setting, needed) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
    ] {
        let row = client
            .query_one("SELECT current_setting($1)", &[&setting])
            .await?;
        let is: String = row.get(0);
        if is != needed {
            return Err(StoreError::NotDurable(format!(
                "PostgreSQL has {setting}={is}: set it to {needed}"
            )));
        }
    }
    Ok(())
}
