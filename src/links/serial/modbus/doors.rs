//! A door's contact: what it says, whether that is new, and whether the door is held open.
//!
//! A loose contact doesn't fill the disk: of changes beyond [`AT_ONCE`], one each [`AGAIN_AFTER`] is
//! said at once, the others with the device's next reading.

use std::time::{Duration, Instant};

/// So many changes are said at once without a pause.
const AT_ONCE: u32 = 30;
/// Beyond them, one each so often.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A contact that is watched.
#[derive(Debug)]
pub struct Contact {
    /// The bit of a closed door.
    closed: bool,
    held: Option<Duration>,
    /// Whether the door is open, as far as it was said; `None` if that isn't known any more.
    said: Option<bool>,
    /// Since when the door has been open, as far as it was seen, and whether it was reported held.
    open: Option<(Instant, bool)>,
    /// How many changes may still be said at once, and since when that is so.
    allowance: (u32, Option<Instant>),
}

/// What a look at a contact says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The door is open.
    pub open: bool,
    /// That is new.
    pub new: bool,
    /// It has just been open for too long: said once an opening.
    pub held_open: bool,
}

impl Contact {
    /// One whose bit is `closed` when the door is, and that may be open for `held`.
    pub fn new(closed: bool, held: Option<Duration>) -> Self {
        Self {
            closed,
            held,
            said: None,
            open: None,
            allowance: (AT_ONCE, None),
        }
    }

    /// Looks at the bit.
    pub fn look(&mut self, bit: bool, now: Instant) -> Seen {
        let open = bit != self.closed;
        let new = self.said != Some(open) && self.may_say(now);
        if new {
            self.said = Some(open);
        }
        if !open {
            self.open = None;
        }
        let mut held_open = false;
        if open {
            let (since, reported) = self.open.get_or_insert((now, false));
            let too_long = self.held.is_some_and(|most| now - *since >= most);
            held_open = too_long && !*reported;
            *reported |= held_open;
        }
        Seen {
            open,
            new,
            held_open,
        }
    }

    /// The contact can't be read any more: the next look is new. A door that is open again then is
    /// taken for the same opening.
    pub fn lose(&mut self) {
        self.said = None;
    }

    fn may_say(&mut self, now: Instant) -> bool {
        let (left, since) = &mut self.allowance;
        let since = since.get_or_insert(now);
        while *left < AT_ONCE && now.saturating_duration_since(*since) >= AGAIN_AFTER {
            *left += 1;
            *since += AGAIN_AFTER;
        }
        if *left == AT_ONCE {
            *since = now;
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_open_is_said_once_an_opening() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut contact = Contact::new(true, Some(Duration::from_secs(30)));
        let mut look = |bit, seconds| {
            let seen = contact.look(bit, at(seconds));
            (seen.open, seen.new, seen.held_open)
        };
        assert_eq!(look(true, 0), (false, true, false));
        assert_eq!(look(false, 10), (true, true, false));
        assert_eq!(look(false, 39), (true, false, false));
        assert_eq!(look(false, 40), (true, false, true));
        assert_eq!(look(false, 90), (true, false, false));
        assert_eq!(look(true, 91), (false, true, false));
        assert_eq!(look(false, 92), (true, true, false));
        assert_eq!(look(false, 122), (true, false, true));
    }

    #[test]
    fn a_loose_contact_is_said_seldom_and_lastly_as_it_is() {
        let start = Instant::now();
        let mut contact = Contact::new(true, None);
        let mut said = Vec::new();
        for n in 0..400_u32 {
            let now = start + Duration::from_millis(u64::from(n) * 250);
            let seen = contact.look(n % 2 == 0, now);
            if seen.new {
                said.push(seen.open);
            }
        }
        // 100 s: 30 at once, then one each 10 s.
        assert!((38..=40).contains(&said.len()), "{}", said.len());
        let later = start + Duration::from_secs(111);
        let seen = contact.look(!said.last().unwrap(), later);
        assert!(!seen.new, "that was said already");
        let seen = contact.look(*said.last().unwrap(), later);
        assert!(seen.new);
    }

    #[test]
    fn what_was_lost_is_new_again_and_the_opening_the_same() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut contact = Contact::new(false, Some(Duration::from_secs(30)));
        assert!(contact.look(true, at(0)).open);
        assert!(contact.look(true, at(30)).held_open);
        contact.lose();
        let seen = contact.look(true, at(60));
        assert!(seen.new && seen.open && !seen.held_open);
    }
}
