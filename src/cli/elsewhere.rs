//! The two commands whose work is done elsewhere: the daemon and the demonstration.

use std::path::Path;

#[cfg(feature = "demo")]
use anyhow::Context as _;

#[cfg(feature = "demo")]
use super::args::{DemoArgs, Global};
#[cfg(feature = "demo")]
use crate::demo::DemoOptions;

/// Runs the daemon until it is told to stop.
pub fn run(config: &Path) -> anyhow::Result<()> {
    crate::daemon::run(config)
}

/// Plays the demonstration; returns its exit code.
#[cfg(feature = "demo")]
pub fn demo(global: &Global, args: &DemoArgs) -> anyhow::Result<u8> {
    let default = DemoOptions::default();
    let options = DemoOptions {
        households: args.households.unwrap_or(default.households),
        seed: args.seed.unwrap_or(default.seed),
        seconds: args.seconds.unwrap_or(default.seconds),
        serial: args.serial,
        json: global.json,
        keep: args.keep.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("linli-demo")
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    Ok(runtime.block_on(crate::demo::run(options))?.exit_code())
}
