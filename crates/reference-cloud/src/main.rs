//! The reference cloud as a program of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use firmware_protocols::Ident;
use reference_cloud::{Config, Keep};
use tokio::signal::unix::{SignalKind, signal};

/// A small real receiver of the sync API, plain HTTP. For development: put TLS in front of it, or
/// keep it on the loopback interface.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8470", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The SQLite file; made if it isn't there. Without it everything is kept in memory.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// A gateway that may speak to this cloud; may be repeated. Without it any may.
    #[arg(long = "gateway", value_name = "ID")]
    gateways: Vec<Ident>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cloud = reference_cloud::serve(Config {
        listen: arguments.listen,
        store: arguments.store.map_or(Keep::Memory, Keep::File),
        gateways: arguments.gateways,
    })
    .await?;
    println!("listening at {}", cloud.url());
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C")?,
    }
    cloud.shutdown().await;
    Ok(())
}
