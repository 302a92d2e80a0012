//! `linli conform …`

use std::path::PathBuf;

use clap::Subcommand;
use firmware_protocols::Ident;

/// What can be tried for conformance. None of it needs a running daemon.
#[derive(Debug, Subcommand)]
pub enum ConformCommand {
    /// Try each clause of the sync API against a cloud of your own (exit code 1 if one is broken)
    Cloud(ConformCloudArgs),
}

/// How the run goes.
#[derive(Debug, Clone, clap::Args)]
pub struct ConformCloudArgs {
    /// The cloud, as a gateway's configuration names it
    #[arg(value_name = "URL")]
    pub url: String,
    /// A file with an enrolment token that wasn't used yet
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// The only certificate authorities that count, in PEM [default: this machine's own]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The gateway that the token is for: 'conform', or a name that begins with 'conform-'
    /// [default: a random one]
    #[arg(long, value_name = "ID")]
    pub gateway: Option<Ident>,
}
