//! The reference model of codes: which are live, and which must not be.

use estate::Digest;
use estate::context::CodeDigest as _;
use estate::parcel::{Back, Place};
use firmware_protocols::{Ident, Slot};

use crate::common::QuickDigest;

use crate::cause::At;
use crate::model::{Model, Parcel};

#[derive(Clone, Debug)]
pub struct Code {
    pub point: Ident,
    pub digits: String,
    pub parcel: String,
    pub dead_since: Option<u64>,
    /// Until when it may be alive although its parcel is handed over.
    pub grace_until: u64,
    /// Until when it may be alive beyond that, as something was left inside.
    pub may_until: u64,
    /// When it opened a compartment last.
    pub used_at: u64,
    /// The compartment that it opened last.
    pub opened: Option<Slot>,
    /// Whether all that it did happened before our eyes: not if a bank opened by itself.
    pub sure: bool,
}

impl Model {
    /// The live code that `digits` are at `point`: the point's own, or that of a parcel that waits there.
    pub fn live(&self, point: &Ident, digits: &str, now: u64) -> Option<&Code> {
        self.live_index(point, digits, now)
            .map(|index| &self.codes[index])
    }

    pub fn live_index(&self, point: &Ident, digits: &str, now: u64) -> Option<usize> {
        let here = |code: &&Code| {
            let p = &self.parcels[&code.parcel];
            let desk = point.as_str().starts_with("desk");
            let handed_in = desk && p.returned && p.to_desk && p.at == At::Expected;
            let waits = matches!(&p.at, At::Here(Place::Desk(desk)) if desk == point);
            code.point == *point || waits || handed_in
        };
        let alive = |code: &&Code| code.dead_since.is_none() && self.may_live(code, now);
        self.codes
            .iter()
            .position(|code| code.digits == digits && alive(&code) && here(&code))
    }

    /// Whether a code may be good for anything.
    pub fn may_live(&self, code: &Code, now: u64) -> bool {
        let p = &self.parcels[&code.parcel];
        match (&p.at, p.back) {
            (At::Retrieved | At::Cancelled, _) => false,
            (At::Gone, _) | (At::Here(_) | At::Leaving(..), Some(Back::Return)) => {
                now < code.grace_until.max(code.may_until) || self.in_use(code)
            }
            (At::Here(_) | At::Leaving(..), back) => back.is_none_or(Back::still_for_recipient),
            (At::Expected | At::Coming(..), _) => true,
        }
    }

    /// Whether a code must be good, if it is its parcel's newest.
    pub fn must_live(&self, code: &Code, now: u64) -> bool {
        let p = &self.parcels[&code.parcel];
        let handed_in = p.returned && !matches!(p.at, At::Expected | At::Coming(..));
        let cancelled = p.back == Some(Back::Cancelled);
        let over = p.at == At::Gone && now >= code.grace_until;
        self.may_live(code, now) && code.sure && !handed_in && !cancelled && !over
    }

    pub fn own_code_is(&self, name: &str, digits: &str) -> bool {
        let mut codes = self.codes.iter().filter(|code| code.dead_since.is_none());
        codes.any(|code| code.parcel == name && code.digits == digits)
    }

    /// Whether a compartment is open just now that the code has opened.
    pub fn in_use(&self, code: &Code) -> bool {
        let his = |p: &Parcel| p.recipient == self.parcels[&code.parcel].recipient;
        let opened = code.opened.as_ref();
        opened.is_some_and(|slot| {
            self.in_slot(slot)
                .any(|(_, p)| his(p) && matches!(p.at, At::Leaving(..)))
        })
    }

    /// A code is given out: whether it was free. The parcel's former one, if any, is dead by now.
    pub fn learn(
        &mut self,
        now: u64,
        rest_ms: u64,
        point: &Ident,
        digits: &str,
        parcel: &str,
    ) -> bool {
        let taken = |code: &Code| match code.dead_since {
            None => code.parcel != parcel || code.point == *point && code.digits == digits,
            Some(since) => code.point == *point && now < since.saturating_add(rest_ms),
        };
        let free = !self
            .codes
            .iter()
            .any(|code| code.digits == digits && taken(code));
        let mut sure = true;
        for code in self.codes.iter_mut().filter(|code| code.parcel == parcel) {
            code.dead_since.get_or_insert(now);
            sure &= code.sure;
        }
        let key = (point.clone(), QuickDigest.digest(point, digits));
        self.by_digest.insert(key, self.codes.len());
        self.codes.push(Code {
            point: point.clone(),
            digits: digits.into(),
            parcel: parcel.into(),
            dead_since: None,
            grace_until: 0,
            may_until: 0,
            used_at: 0,
            opened: None,
            sure,
        });
        free
    }

    /// The code of a row.
    pub fn index(&self, point: &Ident, digest: &Digest) -> Option<usize> {
        self.by_digest.get(&(point.clone(), *digest)).copied()
    }
}
