//! Parcels that nobody announced: the operator's rules say whether a courier may leave them.
//!
//! Such a parcel is made by the scan of a courier who has identified, gets the size that the rules
//! name and a code of its own, and goes on as any other. The cloud hears of it with its code, so that
//! it can find out whose it is. One that is never put in ends with its time.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use cloud_protocol::badge_digest;
use cloud_protocol::downlink::{ExpectedParcel, Zone};
use firmware_protocols::Ident;

use crate::announce::PARCELS_MAX;
use crate::context::Deadline;
use crate::estate::Estate;
use crate::layout::Unlisted;
use crate::parcel::{ParcelRow, Stage};
use crate::turn::{Origin, Turn};
use crate::{Digest, Now, TimeQuality, text};

/// The longest symbol that is taken as a parcel's id, characters.
const ID_MAX: usize = 128;

/// What the recipient's token of such a parcel begins with.
const NOBODY: &str = "unlisted:";

impl Estate {
    /// Whether a symbol that `device` has scanned is a waybill's: a parcel that is known, or one that
    /// a courier who has identified brings unannounced and the rules let in. Any other symbol may be
    /// a badge, and is kept as a digest only.
    pub fn is_waybill(&self, now: &Now, device: &Ident, symbol: &str) -> bool {
        if self.knows_parcel(symbol) {
            return true;
        }
        let Some(point) = self.places.point_of(device) else {
            return false;
        };
        self.courier_known(now, point).is_some()
            && self.lets_in_unlisted(point, symbol, &badge_digest(symbol))
    }

    /// Whether the rules let an unannounced parcel with this symbol in at a point.
    pub(crate) fn lets_in_unlisted(&self, point: &Ident, symbol: &str, badge: &Digest) -> bool {
        let here = match self.rules.unlisted {
            Unlisted::Refuse => false,
            Unlisted::Desk => self.places.is_desk(point),
            Unlisted::Accept => self.places.is_point(point),
        };
        here && !self.couriers.contains(badge) && is_id(symbol)
    }

    /// A courier brings a parcel that nobody announced.
    pub(crate) fn bring_unlisted(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: Ident,
        id: String,
    ) {
        let Some(courier) = self.courier_at(&turn.now, &point) else {
            self.show_info(turn, from, text::BADGE_FIRST);
            return;
        };
        if self.another_comes_first(turn, from, &point) {
            return;
        }
        if self.parcels.len() >= PARCELS_MAX {
            self.show_error(turn, from, text::NO_MORE_PARCELS);
            return;
        }
        let now = turn.now;
        let parcel = self.unlisted_parcel(&now, point.clone(), id.clone());
        let Some((code, length)) = self.new_code(turn, &parcel) else {
            self.show_error(turn, from, text::NO_MORE_PARCELS);
            return;
        };
        let row = ParcelRow {
            due: self.unlisted_due(&now, parcel.deadline),
            unlisted: true,
            ..ParcelRow::announced(&now, parcel.clone())
        };
        self.parcels.insert(id.clone(), row);
        let detail = Some(format!("size {}, at {point}", parcel.size.word()));
        let who = format!("courier {courier}");
        self.trace(&now, &id, "unlisted", who, detail);
        self.trace_code(turn, &id, "code-issued", length);
        self.report(&now, &id, Some(code));
        self.bring(turn, from, &point, &parcel, courier);
    }

    /// Unannounced parcels that were never put in end with their time, and their codes with them.
    pub(crate) fn end_unlisted(&mut self, now: &Now) {
        let ended = self.parcels.iter().filter(|(id, row)| {
            let never_put_in = row.unlisted && row.stage == Stage::Expected;
            never_put_in && row.parcel.recipient == nobody(id) && row.due.passed(now)
        });
        let ended: Vec<_> = ended
            .map(|(id, row)| (id.clone(), row.parcel.point.clone()))
            .collect();
        for (id, point) in ended {
            self.kill_code(&point, &id, now.tick_ms);
            self.set_stage(now, &id, Stage::Cancelled);
            let detail = Some("it came unannounced and was never put in".to_string());
            self.trace(now, &id, "cancelled", "gateway".to_string(), detail);
            self.report(now, &id, None);
        }
    }

    fn unlisted_parcel(&self, now: &Now, point: Ident, id: String) -> ExpectedParcel {
        let retention = i64::try_from(self.rules.retention_ms).unwrap_or(i64::MAX);
        ExpectedParcel {
            recipient: nobody(&id),
            parcel: id,
            size: self.rules.unlisted_size,
            zone: Zone::Ambient,
            point,
            deadline: now.wall_ms.saturating_add(retention),
            consent: self.rules.unlisted == Unlisted::Accept,
            items: None,
            low: false,
            return_of: None,
        }
    }

    /// The end of the retention. It is a length of running time, which is known exactly whatever the
    /// wall clock says, so no better time is to be waited for.
    fn unlisted_due(&self, now: &Now, wall_ms: i64) -> Deadline {
        Deadline {
            wall_ms,
            tick_ms: Some(now.tick_in(self.rules.retention_ms)),
            quality: TimeQuality::Synchronised,
        }
    }
}

/// Whether nobody knows who a parcel's recipient is.
pub(crate) fn is_nobody(recipient: &str) -> bool {
    recipient.starts_with(NOBODY)
}

/// The recipient of a parcel of which nobody knows whose it is: as many as there are parcels, so that
/// none shares a compartment.
fn nobody(id: &str) -> String {
    format!("{NOBODY}{id}")
}

fn is_id(symbol: &str) -> bool {
    let length = symbol.chars().count();
    (1..=ID_MAX).contains(&length) && !symbol.chars().any(char::is_control)
}
