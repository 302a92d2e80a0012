//! What can be done with the configuration.

use std::path::PathBuf;

use clap::Subcommand;

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say all that is wrong with it, each with its line, and what is allowed (exit code 1 if anything
    /// is)
    Check {
        /// The file [default: the one that the daemon would take]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Ask the network and the ports too: whether addresses are free, names known, files readable
        #[arg(long)]
        probe: bool,
    },
    /// Show what holds, and where each value comes from
    Show {
        /// Only what begins with this key, as in 'broker' or 'device[door-b1]'
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Have the daemon take over the file as it is now; devices stay connected, and an invalid file
    /// changes nothing
    Reload,
}
