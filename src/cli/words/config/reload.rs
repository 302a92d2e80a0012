//! A new configuration taken over by the running daemon, or refused.

use crate::cli::look::Look;
use crate::control::reload::{ConfigurationReport, RefusedConfiguration};

/// Nothing of it differs.
pub const NOTHING: &str = "The configuration is as it was: nothing has changed.";

/// What stands before what holds now.
pub const APPLIED: &str = "The new configuration holds. Taken over:";

/// What stands before what needs a restart.
pub const AFTER_RESTART: &str = "Only after a restart (systemctl restart linli):";

/// What stands before what somebody should know.
pub const NOTES: &str = "To be seen to:";

/// What stands before the faults.
pub const REFUSED: &str = "The new configuration was refused, and nothing has changed:";

/// Which configuration holds, in a line of the status.
pub fn line(look: &Look, report: &ConfigurationReport) -> String {
    let taken = look.time(report.taken_ms);
    let mut line = match &report.by {
        Some(by) => format!("taken at {taken} by {by}"),
        None => format!("taken at the start, {taken}"),
    };
    if !report.after_restart.is_empty() {
        let keys = report.after_restart.join(", ");
        line.push_str(&format!("; after a restart: {keys}"));
    }
    line
}

/// A configuration that was refused, and what to do about it.
pub fn trouble(look: &Look, refused: &RefusedConfiguration, taken_ms: i64) -> (String, String) {
    let (at, taken) = (look.time(refused.at_ms), look.time(taken_ms));
    let (by, why) = (&refused.by, refused.why.trim_end());
    let mut lines = why.lines();
    let first = lines.next().unwrap_or_default().trim_end_matches(':');
    let second = lines.next().map(str::trim).unwrap_or_default();
    let more = match lines.count() {
        0 => String::new(),
        n => format!(", and {n} more"),
    };
    let what = if second.is_empty() {
        first.to_owned()
    } else {
        format!("{first}: {second}{more}")
    };
    let what = what.trim_end_matches('.');
    (
        format!("The configuration was refused at {at} ({by}): {what}. The one of {taken} still holds."),
        "Nothing has changed for devices and residents. linli config check says all that is wrong; once it is corrected: linli config reload".to_owned(),
    )
}
