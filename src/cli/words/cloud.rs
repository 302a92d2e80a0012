//! What is said of the way to the cloud.

use super::Trouble;
use super::desk::sentence;
use crate::cli::look::Look;

/// What doesn't go on, and what to do about it; for [`Trouble::Cloud`].
pub fn trouble(look: &Look, trouble: &Trouble) -> (String, String) {
    let Trouble::Cloud {
        lane,
        way,
        what,
        remedy,
        since_ms,
        codes_wait,
    } = trouble
    else {
        return (String::new(), String::new());
    };
    let since = since_ms.map_or_else(String::new, |ms| format!(" since {}", look.time(ms)));
    let stands = match (lane, way.as_deref()) {
        (Some(lane), _) => format!("The cloud has refused the lane '{lane}'{since}: {what}."),
        (None, Some("uplink")) => format!("The cloud has taken nothing{since}: {what}."),
        (None, Some("downlink")) => format!("Nothing has come from the cloud{since}: {what}."),
        (None, _) => format!("The cloud can't be used{since}: {what}."),
    };
    let follows = match codes_wait {
        true => " Residents don't get the codes of new parcels.",
        false => "",
    };
    (format!("{stands}{follows}"), sentence(remedy))
}

/// What follows from a failure that names no remedy of its own.
pub const IF_IT_LASTS: &str = "It is tried again by itself, and nothing is lost. If it lasts: is the \
     network up (antenna, SIM card, name server), is the URL right? Else ask the cloud's operator.";

/// A direction of the cloud client.
pub fn direction(
    look: &Look,
    last_ms: Option<i64>,
    error: Option<&str>,
    next_ms: Option<i64>,
) -> String {
    let mut text = match last_ms {
        Some(ms) => format!("last success {}", look.ago(ms)),
        None => "no success yet".to_string(),
    };
    if let Some(error) = error {
        text.push_str(&format!("; then: {error}"));
    }
    if let Some(ms) = next_ms {
        text.push_str(&format!("; next try {}", look.ago(ms)));
    }
    text
}
