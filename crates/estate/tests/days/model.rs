//! The reference model of parcels: what may become of one, and by what. It knows digits and
//! names in the clear, and no journal, digests or bounded lists. Where the estate has a choice (which
//! compartment, which code), the model takes the choice over once it has seen that it was allowed.

use std::collections::{BTreeMap, BTreeSet};

use estate::Digest;
use estate::parcel::{Back, ParcelRow, Place, Stage, Taker};
use firmware_protocols::event::Door;
use firmware_protocols::{Ident, Slot};

use crate::cause::{At, Cause};
use crate::codes::Code;

#[derive(Clone, Debug)]
pub struct Parcel {
    pub recipient: String,
    pub point: Ident,
    pub returned: bool,
    pub at: At,
    pub back: Option<Back>,
    /// A desk takes it, wherever it was expected.
    pub to_desk: bool,
}

#[derive(Clone, Default)]
pub struct Model {
    pub parcels: BTreeMap<String, Parcel>,
    pub codes: Vec<Code>,
    /// The code by which a compartment was opened last.
    pub opener: BTreeMap<Slot, usize>,
    /// Whose a compartment was that was emptied last.
    pub emptied: BTreeMap<Slot, String>,
    pub by_digest: BTreeMap<(Ident, Digest), usize>,
    /// Compartments that were closed and said to be empty although something should lie in them,
    /// and in which nothing was seen since.
    pub missing: BTreeSet<Slot>,
}

/// A row in the model's words.
pub fn seen(row: &ParcelRow) -> At {
    match &row.stage {
        Stage::Expected => At::Expected,
        Stage::Depositing { slot, opened, .. } => At::Coming(slot.clone(), *opened),
        Stage::Deposited { place } => At::Here(place.clone()),
        Stage::Collecting {
            slot,
            taker,
            opened,
            ..
        } => At::Leaving(slot.clone(), taker.clone(), *opened),
        Stage::Collected { .. } => At::Gone,
        Stage::Retrieved { .. } => At::Retrieved,
        Stage::Cancelled => At::Cancelled,
    }
}

impl Parcel {
    pub fn slot(&self) -> Option<&Slot> {
        match &self.at {
            At::Coming(slot, _) | At::Leaving(slot, ..) | At::Here(Place::Slot(slot)) => Some(slot),
            _ => None,
        }
    }

    /// Whether its recipient may have it now.
    pub fn waits(&self) -> bool {
        let his = self.back.is_none_or(Back::still_for_recipient);
        let here = matches!(self.at, At::Here(_) | At::Leaving(_, Taker::Recipient, _));
        his && here && !self.returned
    }

    pub const fn finished(&self) -> bool {
        matches!(self.at, At::Gone | At::Retrieved | At::Cancelled)
    }
}

impl Model {
    /// Whether `cause` may bring parcel `name` from where it is to `to`.
    pub fn may_move(&self, cause: &Cause, name: &str, to: &At, now: u64) -> bool {
        let p = &self.parcels[name];
        let his = |point: &Ident, digits: &str| {
            let code = self.live(point, digits, now);
            code.is_some_and(|code| self.parcels[&code.parcel].recipient == p.recipient)
        };
        let going_back = p.back.is_some();
        match (cause, &p.at, to) {
            // Brought by a courier, or by its recipient if it is a return.
            (Cause::Scan { symbol, point }, At::Expected | At::Coming(..), to)
                if symbol == name =>
            {
                match to {
                    At::Coming(slot, _) => slot.bank == *point,
                    At::Here(Place::Desk(desk)) => desk == point,
                    At::Expected => true,
                    _ => false,
                }
            }
            (Cause::Key { point, digits }, At::Expected | At::Coming(..), At::Coming(slot, _)) => {
                p.returned && his(point, digits) && slot.bank == *point
            }
            // It was faulty, and no other fits.
            (Cause::Key { digits, .. }, At::Coming(_, false), At::Expected) => {
                p.returned && self.own_code_is(name, digits)
            }
            (Cause::Receive(parcel), At::Expected, At::Here(Place::Desk(_))) => parcel == name,
            (Cause::HandOver { desk, digits }, At::Expected, At::Here(Place::Desk(at))) => {
                p.returned && desk == at && self.own_code_is(name, digits)
            }
            (Cause::Key { point, digits }, At::Expected, At::Here(Place::Desk(at))) => {
                p.returned && point == at && his(point, digits)
            }
            // Taken out.
            (Cause::Key { point, digits }, At::Here(Place::Slot(s)), At::Leaving(t, taker, _))
            | (Cause::Key { point, digits }, At::Leaving(s, ..), At::Leaving(t, taker, _)) => {
                let again = p.back == Some(Back::Return) && self.own_code_is(name, digits);
                let his = his(point, digits) && (p.waits() || again);
                let by_code = *taker == Taker::Recipient && his;
                let back = matches!(taker, Taker::Courier(_)) && digits == "0" && going_back;
                s == t && t.bank == *point && (by_code || back)
            }
            (Cause::Key { point, digits }, At::Here(Place::Desk(at)), to)
            | (
                Cause::HandOver {
                    desk: point,
                    digits,
                },
                At::Here(Place::Desk(at)),
                to,
            ) => {
                let by_code = *to == At::Gone && his(point, digits) && p.waits();
                let back = *to == At::Retrieved && digits == "0" && going_back;
                at == point && (by_code || back)
            }
            (Cause::BankOpened { slot, digits }, _, At::Leaving(t, Taker::Recipient, true)) => {
                p.slot() == Some(slot) && t == slot && his(&slot.bank, digits) && p.waits()
            }
            (
                Cause::Transfer(parcel),
                At::Here(Place::Slot(s)),
                At::Leaving(t, Taker::Desk { .. }, _),
            ) => parcel == name && s == t,
            (
                Cause::Transfer(parcel),
                At::Leaving(s, Taker::Desk { .. }, _),
                At::Leaving(t, Taker::Desk { .. }, _),
            ) => parcel == name && s == t,
            (
                Cause::Retrieve(_),
                At::Here(Place::Slot(s)) | At::Leaving(s, ..),
                At::Leaving(t, taker, _),
            ) => {
                let other = matches!(taker, Taker::Courier(_) | Taker::Operator(_));
                s == t && other && going_back
            }
            (Cause::Retrieve(parcel), At::Here(Place::Desk(_)), At::Retrieved) => {
                parcel == name && going_back
            }
            // What doors say.
            (
                Cause::Door {
                    slot,
                    door: Door::Open,
                    ..
                },
                from,
                to,
            ) => match (from, to) {
                (At::Coming(s, _), At::Coming(t, true)) => s == slot && t == slot,
                (At::Leaving(s, x, _), At::Leaving(t, y, true)) => s == slot && t == slot && x == y,
                (At::Expected, At::Coming(t, true)) => t == slot,
                (At::Here(Place::Slot(s)), At::Leaving(t, _, true)) => s == slot && t == slot,
                _ => false,
            },
            (
                Cause::Door {
                    slot,
                    door: Door::Closed,
                    occupied,
                },
                At::Coming(s, _),
                to,
            ) if s == slot => match to {
                At::Here(Place::Slot(t)) => t == slot && *occupied != Some(false),
                At::Expected | At::Cancelled => *occupied == Some(false),
                _ => false,
            },
            (
                Cause::Door {
                    slot,
                    door: Door::Closed,
                    occupied,
                },
                At::Leaving(s, taker, _),
                to,
            ) if s == slot => {
                let said_full = *occupied == Some(true) && !self.others_stay(slot);
                // Gone before the door was opened: nobody has taken it, but the staff may end it.
                let gone_before = *occupied == Some(false) && self.missing.contains(slot);
                let by_staff = matches!(taker, Taker::Operator(_));
                match (to, taker) {
                    (At::Here(Place::Slot(t)), _) if gone_before => t == slot && !by_staff,
                    _ if gone_before && !by_staff && !p.returned => false,
                    (At::Expected, Taker::Recipient) => p.returned && *occupied == Some(false),
                    (At::Here(Place::Slot(t)), Taker::Recipient) if p.returned => t == slot,
                    (At::Here(Place::Slot(t)), _) => t == slot && said_full,
                    (At::Gone, Taker::Recipient) => !p.returned && !said_full,
                    (At::Retrieved, Taker::Courier(_) | Taker::Operator(_)) => !said_full,
                    (At::Here(Place::Desk(at)), Taker::Desk { desk, .. }) => {
                        at == desk && !said_full
                    }
                    _ => false,
                }
            }
            // The door didn't open, or not in time; a bank's word stands after a while.
            (Cause::Result | Cause::Tick, At::Coming(_, false), At::Expected | At::Cancelled) => {
                true
            }
            (Cause::Result | Cause::Tick, At::Leaving(s, _, false), At::Here(Place::Slot(t))) => {
                s == t
            }
            (Cause::Tick, At::Leaving(_, Taker::Recipient, true), At::Gone) => true,
            // Nobody announced it, and it was never put in.
            (Cause::Tick, At::Expected, At::Cancelled) => p.recipient.starts_with("unlisted:"),
            (Cause::Cancel(parcel), At::Expected | At::Coming(_, false), At::Cancelled) => {
                parcel == name
            }
            _ => false,
        }
    }

    /// Whether `cause` leaves the parcel no choice but to move.
    pub fn must_move(cause: &Cause, p: &Parcel, name: &str) -> bool {
        match (cause, &p.at) {
            (
                Cause::Door {
                    slot,
                    door: Door::Open,
                    ..
                },
                At::Coming(s, false) | At::Leaving(s, _, false),
            )
            | (
                Cause::Door {
                    slot,
                    door: Door::Closed,
                    ..
                },
                At::Coming(s, true) | At::Leaving(s, _, true),
            ) => s == slot,
            (Cause::Cancel(parcel), At::Expected) => parcel == name,
            _ => false,
        }
    }

    /// Whether `cause` may change why the parcel goes back.
    pub fn may_turn(cause: &Cause, p: &Parcel, name: &str, at: &At, to: Option<Back>) -> bool {
        match (cause, p.back, to) {
            (Cause::Tick, None, Some(Back::Overdue)) => matches!(at, At::Here(_)),
            (Cause::Extend(parcel) | Cause::Announce(parcel), Some(Back::Overdue), None) => {
                parcel == name
            }
            // It came unannounced, and turns out to be a return.
            (Cause::Announce(parcel), _, Some(Back::Return)) => parcel == name,

            (Cause::Cancel(parcel), _, Some(Back::Cancelled)) => parcel == name,
            (Cause::Claim(parcel), _, Some(Back::Refused | Back::Claimed)) => parcel == name,
            (
                Cause::Door { .. } | Cause::HandOver { .. } | Cause::Receive(_) | Cause::Key { .. },
                None,
                Some(Back::Return),
            ) => p.returned,
            (Cause::Scan { .. }, None, Some(Back::Return)) => p.returned,
            (Cause::Door { .. }, Some(Back::Return), None) => p.returned,
            _ => false,
        }
    }

    /// Remembers what a closed door's sensor said, once the parcels stand where `cause` has left them.
    pub fn remember(&mut self, cause: &Cause) {
        let Cause::Door {
            slot,
            door,
            occupied,
        } = cause
        else {
            return;
        };
        if *occupied == Some(true) {
            self.missing.remove(slot);
        }
        let inside = |p: &Parcel| matches!(p.at, At::Here(_) | At::Leaving(..));
        if *door == Door::Closed
            && *occupied == Some(false)
            && self.in_slot(slot).any(|(_, p)| inside(p))
        {
            self.missing.insert(slot.clone());
        }
    }

    /// Whether something in the compartment isn't being taken out.
    pub fn others_stay(&self, slot: &Slot) -> bool {
        self.in_slot(slot)
            .any(|(_, p)| !matches!(p.at, At::Leaving(..)))
    }

    pub fn in_slot<'m>(&'m self, slot: &'m Slot) -> impl Iterator<Item = (&'m String, &'m Parcel)> {
        self.parcels
            .iter()
            .filter(move |(_, p)| p.slot() == Some(slot))
    }
}
