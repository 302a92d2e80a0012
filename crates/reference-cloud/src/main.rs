//! The reference cloud as a program of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use reference_cloud::store::PostgresAt;
use reference_cloud::{CONNECTIONS_MAX, Config, Keep};
use tokio::signal::unix::{SignalKind, signal};

/// The environment's variable for the URL of a PostgreSQL database.
const POSTGRES_VARIABLE: &str = "LINLI_CLOUD_POSTGRES";

/// A small real receiver of the sync API, plain HTTP. Put TLS in front of it, or keep it on the
/// loopback interface.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8470", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The SQLite file; made if it isn't there. Without it, and without PostgreSQL, everything is
    /// kept in memory.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// A file with the URL of a PostgreSQL database, postgres://user:password@host/database; or the
    /// environment's variable LINLI_CLOUD_POSTGRES has it. Several clouds may share a database.
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    postgres_url_file: Option<PathBuf>,
    /// The most connections to PostgreSQL.
    #[arg(long, default_value_t = 16, value_name = "N")]
    postgres_connections: usize,
    /// The URL that gateways are given, if it isn't http:// and the address they connect to.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The keys that open pickup codes; made if it isn't there. The same for all clouds on one
    /// database. [default: beside the SQLite file]
    #[arg(long, value_name = "FILE")]
    sealing_key_file: Option<PathBuf>,
    /// Gateways seal to a new key from now on; the ones before it still open.
    #[arg(long)]
    new_sealing_key: bool,
    /// Any token enrols. For development only.
    #[arg(long)]
    open: bool,
    /// The store was restored from an older copy: number the downlinks ahead of what gateways may
    /// have had, and refuse what was signed before now, as it may have been taken already.
    #[arg(long)]
    restored: bool,
    /// A gateway that may speak to this cloud; may be repeated. Without it any may that enrols.
    #[arg(long = "gateway", value_name = "ID")]
    gateways: Vec<Ident>,
    /// The most connections of gateways at a time.
    #[arg(long, default_value_t = CONNECTIONS_MAX, value_name = "N")]
    connections: usize,
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cloud = reference_cloud::serve(Config {
        listen: arguments.listen,
        store: keep(&arguments)?,
        gateways: arguments.gateways,
        open: arguments.open,
        public_url: arguments.public_url,
        sealing_key_file: arguments.sealing_key_file,
        new_sealing_key: arguments.new_sealing_key,
        restored: arguments.restored,
        connections: arguments.connections,
    })
    .await?;
    println!("listening at http://{}", cloud.address());
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C")?,
    }
    cloud.shutdown().await;
    Ok(())
}

fn keep(arguments: &Arguments) -> anyhow::Result<Keep> {
    if let Some(file) = &arguments.store {
        return Ok(Keep::File(file.clone()));
    }
    let url = match &arguments.postgres_url_file {
        Some(file) => {
            let read = std::fs::read_to_string(file);
            Some(read.with_context(|| format!("cannot read {}", file.display()))?)
        }
        None => std::env::var(POSTGRES_VARIABLE).ok(),
    };
    let Some(url) = url else {
        return Ok(Keep::Memory);
    };
    Ok(Keep::Postgres(PostgresAt {
        url: Secret::new(url.trim()),
        connections: arguments.postgres_connections,
    }))
}
