//! What the daemon logs, and how: to standard error, plain when that is no terminal, without times
//! when systemd's journal adds its own.

use std::io::IsTerminal as _;
use std::str::FromStr as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::stop::{self, Stop};
use super::words;

/// What is logged when nobody says: everything of ours from `info` on, of others from `warn` on.
const DEFAULT: &str = "warn,linli=info,estate=info,demo=info";

/// Starts logging as `LINLI_LOG` says: a level, or levels by target, as in `warn,linli::journal=debug`.
pub fn start() -> Result<(), Stop> {
    let wanted = std::env::var("LINLI_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let targets = targets(wanted.as_deref())?;
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(targets);
    let started = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => registry.with(stderr.without_time()).try_init(),
        None => registry.with(stderr).try_init(),
    };
    started.map_err(|e| Stop::new(stop::INTERNAL, e.to_string()))
}

fn targets(wanted: Option<&str>) -> Result<Targets, Stop> {
    let wanted = wanted.unwrap_or(DEFAULT);
    Targets::from_str(wanted).map_err(|e| Stop::new(stop::USAGE, words::bad_log(wanted, &e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_are_set_by_target() {
        let default = targets(None).unwrap_or_default();
        assert!(default.would_enable("linli::journal", &Level::INFO));
        assert!(!default.would_enable("linli::journal", &Level::DEBUG));
        assert!(!default.would_enable("rmqtt::server", &Level::INFO));
        let wanted = targets(Some("warn,linli::journal=debug")).unwrap_or_default();
        assert!(wanted.would_enable("linli::journal", &Level::DEBUG));
        assert!(!wanted.would_enable("linli::cloud", &Level::INFO));
        assert!(targets(Some("linli=loud")).is_err());
    }
}
