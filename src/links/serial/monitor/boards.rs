//! Locker boards, in words.

use firmware_protocols::boards::{BoardFrame, BoardLine, Channels, Direction, Model, Request};
use firmware_protocols::frame::{Found, Framing as _};

use super::Said;

/// What the front of a buffer is. `ours`: whether the gateway sent it, if that is known.
pub fn find(model: Model, ours: Option<bool>, buffer: &[u8]) -> Found<Said> {
    let direction = match ours {
        Some(true) => Direction::ToBoards,
        Some(false) | None => Direction::FromBoards,
    };
    let line = BoardLine { model, direction };
    match line.find(buffer) {
        Found::Frame { frame, used } => Found::Frame {
            frame: words(&frame),
            used,
        },
        Found::Noise(bytes) => Found::Noise(bytes),
        Found::More => Found::More,
    }
}

/// What a frame says.
pub fn words(frame: &BoardFrame) -> Said {
    let address = frame.address();
    let at = format!("board {address}");
    match frame {
        BoardFrame::Request(Request::Status { .. }) => {
            Said::open(format!("{at}: status of all channels?")).from_gateway(true)
        }
        BoardFrame::Request(Request::ChannelStatus { channel, .. }) => {
            Said::open(format!("{at}: status of channel {channel}?")).from_gateway(true)
        }
        BoardFrame::Request(Request::Unlock { channel, .. }) => {
            Said::open(format!("{at}: OPEN channel {channel}")).from_gateway(true)
        }
        BoardFrame::Status {
            states, occupied, ..
        } => {
            let occupied = occupied.map_or_else(String::new, |occupied| {
                format!("; occupancy bits set: {}", set(occupied))
            });
            Said::open(format!("{at}: lock bits set: {}{occupied}", set(*states)))
                .from_gateway(false)
        }
        BoardFrame::Channel { channel, state, .. } => {
            let state = match state {
                Some(true) => "set",
                Some(false) => "not set",
                None => "couldn't be read",
            };
            Said::open(format!("{at}: channel {channel} is {state}")).from_gateway(false)
        }
        BoardFrame::Unlocked {
            channel, accepted, ..
        } => {
            let accepted = match accepted {
                Some(true) => ", accepted",
                Some(false) => ", NOT accepted",
                None => "",
            };
            Said::open(format!(
                "{at}: open channel {channel}: reply or echo{accepted}"
            ))
        }
        BoardFrame::Changed { channel, state, .. } => {
            let state = if *state { "set" } else { "not set" };
            Said::open(format!("{at}: channel {channel} changed: {state} now")).from_gateway(false)
        }
        BoardFrame::Foreign { command, .. } => Said::open(format!(
            "{at}: command {command:02x}, which linli doesn't use"
        )),
    }
}

/// The channels whose bit is set: `1-8, 12`, or `none`.
pub fn set(channels: Channels) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for channel in (1..=channels.count()).filter(|n| channels.get(*n) == Some(true)) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == channel => *last = channel,
            _ => runs.push((channel, channel)),
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    match shown.is_empty() {
        true => "none".to_string(),
        false => shown.join(", "),
    }
}
