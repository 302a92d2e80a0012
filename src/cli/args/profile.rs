//! What can be done with profiles.

use std::path::PathBuf;

use clap::Subcommand;

/// What can be done with profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the profiles that are shipped, and how those in use are doing
    List,
    /// Print a profile, to read or to start one of your own from
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Try a profile on a payload from standard input, and print the events that it makes
    Test(TestArgs),
}

/// The profile to try.
#[derive(Debug, Clone, clap::Args)]
pub struct TestArgs {
    /// The profile's file, or the name of one that is shipped
    #[arg(value_name = "FILE|NAME")]
    pub profile: PathBuf,
    /// The topic that the payload came on [default: the profile's first, with the device's name]
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// What the device calls itself in its topics
    #[arg(long, value_name = "NAME", default_value = "device")]
    pub named: String,
}
