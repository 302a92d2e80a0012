//! How a gateway is set up for the first time.

use firmware_protocols::Ident;

/// What isn't asked because it is said. On a terminal, the rest is asked; elsewhere, or with --yes, the
/// rest is left at its default.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// The site's id
    #[arg(long, value_name = "ID")]
    pub site: Option<Ident>,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
    /// Replace a configuration that is there; the old one is kept beside it
    #[arg(long)]
    pub force: bool,
}
