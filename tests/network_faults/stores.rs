//! Where the cloud of an estate keeps what it has, SQLite or PostgreSQL, and reading it there. The
//! estates take turns; `LINLI_CLOUD_STORE=sqlite` or `=postgres` takes the one for all of them. Where
//! PostgreSQL isn't there all have SQLite; in CI they fail.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cloud_protocol::{Chain, Lane};
use firmware_protocols::event::Secret;
use local_postgres::LocalPostgres;
use reference_cloud::Keep;
use reference_cloud::store::PostgresAt;
use rusqlite::{Connection, OpenFlags};
use tokio_postgres::NoTls;

/// The variable that takes one for all.
pub const SETTING: &str = "LINLI_CLOUD_STORE";
/// Connections of each cloud; many clouds share the server.
const CONNECTIONS: usize = 3;

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// The store of one cloud.
#[derive(Debug, Clone)]
pub enum Kept {
    Sqlite(PathBuf),
    Postgres(String),
}

/// An item as it is stored: number, body, chain.
pub type StoredItem = (u64, Vec<u8>, Chain);

impl Kind {
    /// The one that is set, or the next one in turn.
    pub fn chosen() -> Self {
        static TURN: AtomicU32 = AtomicU32::new(0);
        match std::env::var(SETTING).as_deref() {
            Ok("sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok(other) => panic!("{SETTING} is 'sqlite' or 'postgres', not '{other}'"),
            Err(_) if TURN.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => Self::postgres(),
            Err(_) => Self::Sqlite,
        }
    }

    /// PostgreSQL, or SQLite where that isn't there.
    pub fn postgres() -> Self {
        match local_postgres::left_out() {
            true => Self::Sqlite,
            false => Self::Postgres,
        }
    }

    /// A new one; blocking.
    pub fn make(self, folder: &Path) -> Kept {
        match self {
            Self::Sqlite => Kept::Sqlite(folder.join("cloud.db")),
            Self::Postgres => Kept::Postgres(database()),
        }
    }
}

/// An empty database on the server of this test program, which ends with it.
fn database() -> String {
    static SERVER: OnceLock<LocalPostgres> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let start = || LocalPostgres::start_with(&["max_connections=250"]).unwrap();
    let server = SERVER.get_or_init(start);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    server.create_database(&format!("estate_{number}")).unwrap()
}

impl Kept {
    /// For the cloud's configuration.
    pub fn keep(&self) -> Keep {
        match self {
            Self::Sqlite(file) => Keep::File(file.clone()),
            Self::Postgres(url) => Keep::Postgres(PostgresAt {
                url: Secret::new(url),
                connections: CONNECTIONS,
            }),
        }
    }

    /// How many epochs its items are of.
    pub async fn epochs(&self) -> i64 {
        const EPOCHS: &str = "SELECT count(DISTINCT epoch) FROM item";
        match self {
            Self::Sqlite(file) => {
                let store = read_only(file);
                store.query_row(EPOCHS, [], |row| row.get(0)).unwrap()
            }
            Self::Postgres(url) => {
                let row = client(url).await.query_one(EPOCHS, &[]).await.unwrap();
                row.get(0)
            }
        }
    }

    /// The items of a lane in their order.
    pub async fn items(&self, lane: Lane) -> Vec<StoredItem> {
        match self {
            Self::Sqlite(file) => {
                let store = read_only(file);
                let mut select = store
                    .prepare(
                        "SELECT seq, body, chain FROM item WHERE lane = ?1 ORDER BY epoch, seq",
                    )
                    .unwrap();
                let rows = select.query_map([lane.name()], |row| {
                    Ok((number(row.get(0)?), row.get(1)?, Chain(row.get(2)?)))
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
            Self::Postgres(url) => {
                // Numbered there by their urgency.
                let at = Lane::ALL.iter().position(|one| *one == lane).unwrap();
                let rows = client(url)
                    .await
                    .query(
                        "SELECT seq, body, chain FROM item WHERE lane = $1 ORDER BY epoch, seq",
                        &[&i16::try_from(at).unwrap()],
                    )
                    .await
                    .unwrap();
                let rows = rows.iter().map(|row| {
                    let chain: Vec<u8> = row.get(2);
                    (
                        number(row.get(0)),
                        row.get(1),
                        Chain(chain.try_into().unwrap()),
                    )
                });
                rows.collect()
            }
        }
    }
}

/// A store of SQLite, for reading.
pub fn read_only(file: &Path) -> Connection {
    let store = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    store.busy_timeout(Duration::from_secs(10)).unwrap();
    store
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap()
}
