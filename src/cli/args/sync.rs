//! What can be done about the way to the cloud.

use std::path::PathBuf;

use clap::Subcommand;

/// What can be done about the way to the cloud. It is logged with your name.
#[derive(Debug, Subcommand)]
pub enum SyncCommand {
    /// Try all of it now, and say how each step goes (exit code 1 unless all of it holds)
    ///
    /// From the cloud's name to what it has to tell; before anything is sent, each lane is compared
    /// with what the cloud says it has. It waits for no pause, and spreads nothing over time.
    Now,
    /// Make this gateway known to the cloud, with the one-time token of its operator
    ///
    /// Without --token-file it asks for the token, and doesn't show what is typed; from a pipe it reads
    /// a line. The token is never an argument, as those stand in the list of processes.
    Enrol {
        /// A file with the token
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Make a new key for this gateway; the old one is good until the cloud has the new one
    RotateKey,
    /// Say that this gateway's store was restored from a backup, or copied to a new box
    ///
    /// It starts a new epoch: what waits is numbered anew, and the cloud is told the state of every
    /// parcel that the store knows.
    Restored {
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}
