//! Feeds what the clouds on a PostgreSQL database have taken to a stream of NATS JetStream.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use firmware_protocols::event::Secret;
use reference_cloud::store::nats::{NatsAt, publish};
use reference_cloud::store::{self, Keep, PostgresAt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Publishes each item that the clouds have taken, at least once and each lane in its order. Any
/// number may run; one at a time publishes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A file with the database's URL, `postgres://user:password@host:port/database`.
    #[arg(long, value_name = "FILE")]
    postgres_url_file: PathBuf,
    /// A file with the URL of NATS, `nats://user:password@host:port`.
    #[arg(long, value_name = "FILE")]
    nats_url_file: PathBuf,
    /// The stream; made if it isn't there.
    #[arg(long, default_value = "LINLI", value_name = "NAME")]
    stream: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let postgres = PostgresAt::new(url(&arguments.postgres_url_file)?);
    let store = store::open(Keep::Postgres(postgres))
        .await
        .context("cannot open the database")?;
    let at = NatsAt {
        url: url(&arguments.nats_url_file)?,
        stream: arguments.stream,
    };
    let (stop, stopped) = watch::channel(false);
    let publishing = tokio::spawn(publish(store.clone(), at, stopped));
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C")?,
    }
    stop.send_replace(true);
    publishing.await.context("publishing ended")?;
    store.close().await;
    Ok(())
}

fn url(file: &PathBuf) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read {}: is it there?", file.display()))?;
    Ok(Secret::new(text.trim()))
}
