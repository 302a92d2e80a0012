//! What can be done with the estate's certificate authority.

use clap::Subcommand;

/// What can be done with the estate's certificate authority.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Make the CA, and the certificate of this box
    Init,
    /// Show the CA and what it has issued, with how long each is good
    Show,
}
