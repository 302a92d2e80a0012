//! Couriers: who has identified at a point, by badge or by code.
//!
//! A courier's badge or code is checked here, without the cloud. One that was good opens a session at
//! the point, in memory only: after a restart the courier identifies again. While nobody has told the
//! box the time, its end can't be checked; it is taken then, since a courier turned away means warm
//! food, and the parcel's history says that it wasn't checked.

use alloc::string::String;

use firmware_protocols::Ident;

use crate::estate::Estate;
use crate::parcel::CourierRow;
use crate::turn::{Origin, Turn};
use crate::{Digest, Now, text};

/// A courier known at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    proof: Digest,
    until_tick_ms: u64,
}

impl Session {
    /// Whether it was opened with this badge or code.
    pub(crate) fn is_by(&self, proof: &Digest) -> bool {
        self.proof == *proof
    }

    pub(crate) const fn over(&self, now: &Now) -> bool {
        self.until_tick_ms <= now.tick_ms
    }
}

impl Estate {
    /// A courier has identified at a point, with a badge or a code that is known.
    pub(crate) fn open_session(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: Ident,
        proof: &Digest,
    ) {
        let Some(row) = self.couriers.get(proof) else {
            return;
        };
        let badge = row.digits.is_none();
        if row.valid_until.passed(&turn.now) {
            let words = if badge {
                text::BADGE_EXPIRED
            } else {
                text::CODE_EXPIRED
            };
            self.sessions.remove(&point);
            self.show_error(turn, from, words);
            return;
        }
        let words = text::welcome(badge, self.parcels_going_back(&point));
        let session = Session {
            proof: *proof,
            until_tick_ms: turn.now.tick_in(self.rules.courier_session_ms),
        };
        self.sessions.insert(point, session);
        self.show_ok(turn, from, words);
    }

    /// The courier known at a point, if one has identified and the badge or code is still good.
    pub(crate) fn courier_known(&self, now: &Now, point: &Ident) -> Option<&CourierRow> {
        let session = self
            .sessions
            .get(point)
            .filter(|session| !session.over(now))?;
        let row = self.couriers.get(&session.proof)?;
        (!row.valid_until.passed(now)).then_some(row)
    }

    /// The name of the courier known at a point. Each use prolongs the session.
    pub(crate) fn courier_at(&mut self, now: &Now, point: &Ident) -> Option<String> {
        let courier = self
            .courier_known(now, point)
            .map(|row| row.courier.clone());
        let until_tick_ms = now.tick_in(self.rules.courier_session_ms);
        match (&courier, self.sessions.get_mut(point)) {
            (Some(_), Some(session)) => session.until_tick_ms = until_tick_ms,
            _ => {
                self.sessions.remove(point);
            }
        }
        courier
    }
}
