//! What a publication counts towards its device's allowance.

use firmware_protocols::event;

use super::reader::{Decoded, person_waits};
use crate::pace::Weight;

/// What a publication counts. Its bytes are counted by whoever read them.
pub(super) fn weigh(decoded: &Decoded) -> Weight {
    let Ok(events) = decoded else {
        return Weight::ONE;
    };
    let urgent = events.iter().flatten();
    let urgent = urgent.filter(|event| person_waits(&event.kind)).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Weight {
        events: count(events.len() - urgent),
        urgent: count(urgent),
        bytes: 0,
    }
}

/// The numbers of its events, (boot, seq) each, as far as they can be read.
pub(super) fn numbers(decoded: &Decoded) -> Vec<(u32, u64)> {
    let events = decoded.iter().flatten();
    events
        .filter_map(|event| match event {
            Ok(event) => Some((event.boot, event.seq)),
            Err(unreadable) => unreadable.number,
        })
        .collect()
}

/// Whether a person waits for something in a payload.
pub(crate) fn is_urgent(payload: &[u8]) -> bool {
    weigh(&event::decode(payload)).urgent > 0
}
