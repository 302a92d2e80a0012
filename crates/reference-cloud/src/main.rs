//! The reference cloud as a program of its own.

use anyhow::Context as _;
use clap::Parser as _;
use firmware_protocols::event::Secret;
use reference_cloud::store::PostgresAt;
use reference_cloud::{Arguments, Config, Keep};
use tokio::signal::unix::{SignalKind, signal};

/// The environment's variable for the URL of a PostgreSQL database.
const POSTGRES_VARIABLE: &str = "LINLI_CLOUD_POSTGRES";

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
