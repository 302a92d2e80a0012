//! What is said about a disk that refuses something, in English.

use super::size;
use crate::cli::look::Look;
use crate::control::health::Trouble;
use crate::disk::Duty;

/// In place of what stands in a store that can't be read.
pub const UNREAD: &str = "not known: the store can't be read";

/// What happened, and what to do about it.
pub fn trouble(look: &Look, trouble: &Trouble) -> (String, String) {
    let Trouble::DiskRefuses {
        duty,
        error,
        since_ms,
        log_bytes,
    } = trouble
    else {
        return (String::new(), String::new());
    };
    let (what, meaning) = what(*duty, *log_bytes);
    let remedy = match duty {
        // Its files may be all right, and what is in them not.
        Duty::Certificates => "It is looked at again each minute.",
        _ => "Look for space (df -h) and for a disk that fails (dmesg); it goes on by itself.",
    };
    (
        format!("{what} since {}: {error}.", look.time(*since_ms)),
        format!("{meaning} {remedy}"),
    )
}

fn what(duty: Duty, log_bytes: u64) -> (&'static str, String) {
    let (what, meaning) = match duty {
        Duty::Writing => (
            "Nothing can be written to the disk",
            "Devices keep their events, and no door opens, until it can.",
        ),
        Duty::Checkpoint => {
            let grown = format!(
                "Nothing is lost: the log keeps it. It holds {}; beyond 256 MiB devices keep their events until it can.",
                size(log_bytes)
            );
            return ("The log can't be moved into the database", grown);
        }
        Duty::Retention => (
            "Old events can't be removed",
            "They stay longer than was set, and the store grows.",
        ),
        Duty::DayKeys => (
            "The day's key for cards and households can't be used",
            "Events that carry one stay with their devices until it can. See also that the state folder belongs to the daemon's user.",
        ),
        Duty::Passwords => (
            "The password file was changed and can't be read",
            "Devices log in with the passwords from before.",
        ),
        Duty::Uplink => (
            "What waits for the cloud can't be read",
            "It waits longer; nothing is lost, and residents are served.",
        ),
        Duty::Reading => (
            "The store can't be read",
            "What stands in it isn't known here; what comes in is kept or stays with the devices.",
        ),
        Duty::Audit => (
            "The parcels' history can't be verified",
            "It is tried again, at least once a minute.",
        ),
        Duty::Certificates => (
            "The certificates for MQTT over TLS can't be read or renewed",
            "Devices go on with those from before, until these end; what was revoked since isn't. 'linli ca show' says until when.",
        ),
    };
    (what, meaning.to_string())
}
