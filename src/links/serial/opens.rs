//! Which commands to open were handed to a port.
//!
//! A driver carries each out once, and knows by its id when one comes again. When a port is started anew
//! its driver knows nothing, so a command that its former one had isn't handed over again: the person
//! repeats the gesture, as after a restart of the gateway.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How many are remembered. They run out within seconds, and each is an opened door.
const KEPT_MAX: usize = 1_024;

/// The commands to open that were handed to a port.
#[derive(Debug, Default)]
pub(super) struct Opens {
    /// To what ran before it.
    former: HashSet<String>,
    /// To itself, oldest first.
    own: Mutex<VecDeque<String>>,
}

impl Opens {
    /// Of a port that begins after others.
    pub fn after<'a>(others: impl Iterator<Item = &'a Self>) -> Self {
        let mut former = HashSet::new();
        for other in others {
            let own = other.own.lock().unwrap_or_else(PoisonError::into_inner);
            former.extend(own.iter().cloned());
        }
        Self {
            former,
            own: Mutex::default(),
        }
    }

    /// Whether a message may go to the port; if it is a command to open, that is noted.
    pub fn is_due(&self, command: Option<&str>) -> bool {
        let Some(command) = command else {
            return true;
        };
        if self.former.contains(command) {
            return false;
        }
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if !own.iter().any(|known| known == command) {
            if own.len() == KEPT_MAX {
                own.pop_front();
            }
            own.push_back(command.to_owned());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_begins_anew_opens_nothing_that_was_handed_to_the_former() {
        let first = Opens::default();
        assert!(first.is_due(Some("c-1")));
        assert!(first.is_due(Some("c-1")), "its driver knows");
        let second = Opens::after([&first].into_iter());
        assert!(!second.is_due(Some("c-1")));
        assert!(second.is_due(Some("c-2")) && second.is_due(None));
        for n in 0..2 * KEPT_MAX {
            assert!(second.is_due(Some(&format!("d-{n}"))));
        }
        let third = Opens::after([&second].into_iter());
        assert_eq!(third.former.len(), KEPT_MAX);
    }
}
