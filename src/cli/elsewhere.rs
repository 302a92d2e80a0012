//! The two commands whose work is done elsewhere: the daemon and the demonstration.

use std::path::Path;

#[cfg(feature = "demo")]
use super::args::{DemoArgs, Global};

/// Runs the daemon until it is told to stop.
pub fn run(config: &Path) -> anyhow::Result<()> {
    crate::daemon::run(config)
}

/// Plays the demonstration.
#[cfg(feature = "demo")]
pub fn demo(_global: &Global, _args: &DemoArgs) -> anyhow::Result<()> {
    // LEAD: crate::demo::run(…); --json is global.json
    anyhow::bail!("this build has no demonstration")
}
