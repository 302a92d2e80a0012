//! The program's command line: one definition gives parsing, help and the man page.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use firmware_protocols::Ident;

use crate::CONNECTIONS_MAX;

/// A small real receiver of the sync API, plain HTTP. Put TLS in front of it, or keep it on the
/// loopback interface.
#[derive(Debug, Parser)]
#[command(name = "reference-cloud", version)]
pub struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8470", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The SQLite file; made if it isn't there. Without it, and without PostgreSQL, everything is
    /// kept in memory.
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// A file with the URL of a PostgreSQL database, postgres://user:password@host/database; or the
    /// environment's variable LINLI_CLOUD_POSTGRES has it. Several clouds may share a database.
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub postgres_url_file: Option<PathBuf>,
    /// The most connections to PostgreSQL.
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub postgres_connections: usize,
    /// The URL that gateways are given, if it isn't http:// and the address they connect to.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// The keys that open pickup codes; made if it isn't there. The same for all clouds on one
    /// database. [default: beside the SQLite file]
    #[arg(long, value_name = "FILE")]
    pub sealing_key_file: Option<PathBuf>,
    /// Gateways seal to a new key from now on; the ones before it still open.
    #[arg(long)]
    pub new_sealing_key: bool,
    /// Any token enrols. For development only.
    #[arg(long)]
    pub open: bool,
    /// The store was restored from an older copy: number the downlinks ahead of what gateways may
    /// have had, and refuse what was signed before now, as it may have been taken already.
    #[arg(long)]
    pub restored: bool,
    /// A gateway that may speak to this cloud; may be repeated. Without it any may that enrols.
    #[arg(long = "gateway", value_name = "ID")]
    pub gateways: Vec<Ident>,
    /// The most connections of gateways at a time.
    #[arg(long, default_value_t = CONNECTIONS_MAX, value_name = "N")]
    pub connections: usize,
}
