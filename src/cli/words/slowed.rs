//! What is said of devices that send more than their limit.

use crate::cli::look::Look;
use crate::control::views::SlowedView;

use super::{count, length, number};

/// In the list of devices, in place of whether it is connected.
pub const HERE: &str = "slowed";

/// A device that is slowed, on a line.
pub fn line(look: &Look, slowed: &SlowedView) -> String {
    let mut text = format!(
        "{} since {}: too many {}, not read for {}",
        slowed.device,
        look.time(slowed.since_ms),
        slowed.over,
        length(slowed.held_ms)
    );
    if slowed.put_off > 0 {
        text.push_str(&format!(
            ", {} put off to be sent again",
            count(slowed.put_off, "publication", "publications")
        ));
    }
    text
}

/// What was slowed since the start.
pub fn since_start(episodes: u64, held_ms: u64, put_off: u64) -> String {
    format!(
        "since the start {}, not read for {}, {} put off",
        count(episodes, "time", "times"),
        length(held_ms),
        number(put_off)
    )
}

/// Somebody should look at it.
pub fn trouble(look: &Look, devices: &[SlowedView]) -> (String, String) {
    let lines: Vec<String> = devices.iter().map(|device| line(look, device)).collect();
    let number = devices.len() as u64;
    let what = match number {
        1 => "1 device sends more than the limit and is slowed".to_string(),
        _ => format!("{number} devices send more than the limit and are slowed"),
    };
    (
        format!("{what}: {}.", lines.join("; ")),
        "Nothing is lost, and others aren't held up. Is it at fault, such as a sensor that chatters? If it is meant to send so much, raise [limits] in the configuration.".to_string(),
    )
}
