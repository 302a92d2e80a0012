//! Measures the bare transaction of both stores: `cargo run --release -p reference-cloud --example
//! bare_transactions [SECONDS] [SENDERS] [ITEMS]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use firmware_protocols::event::Secret;
use local_postgres::LocalPostgres;
use reference_cloud::store::bench::{Load, bare};
use reference_cloud::store::{self, Keep, PostgresAt};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse().unwrap());
    let time = Duration::from_secs(arguments.next().unwrap_or(10));
    let senders: u64 = arguments.next().unwrap_or(16);
    let items = usize::try_from(arguments.next().unwrap_or(4)).unwrap();
    let senders = usize::try_from(senders).unwrap();
    let load = Load {
        senders,
        items,
        time,
    };
    let folder = tempfile::tempdir().unwrap();
    let server = LocalPostgres::start().unwrap();
    let mut at = PostgresAt::new(Secret::new(server.create_database("bare").unwrap()));
    at.connections = senders;
    for (name, keep) in [
        ("SQLite", Keep::File(folder.path().join("cloud.db"))),
        ("PostgreSQL", Keep::Postgres(at)),
    ] {
        let store = store::open(keep).await.unwrap();
        let figures = bare(&store, "bare", load).await.unwrap();
        println!(
            "{name}: {:.0} ingests/s, {:.0} replays/s ({senders} senders, {items} items a batch)",
            figures.ingests_per_second, figures.replays_per_second
        );
        store.close().await;
    }
}
