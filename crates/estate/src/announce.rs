//! What the cloud says: parcels announced, new codes, couriers' badges. Cancelling stands in
//! [`crate::cancel`], prolonging in [`crate::overdue`].
//!
//! Every item is answered: carried out, or refused with a reason. None blocks the next, and each
//! may come again without doing anything twice, except `code.reissue`: that is an order, and gives
//! a new code each time.

use alloc::format;
use alloc::string::{String, ToString};

use cloud_protocol::Downlink;
use cloud_protocol::downlink::{ExpectedParcel, Proof};
use firmware_protocols::event::Secret;

use crate::code::Length;
use crate::context::Deadline;
use crate::estate::Estate;
use crate::parcel::{Back, CourierRow, ParcelRow, Stage};
use crate::turn::Turn;
use crate::{Digest, Now, Verdict};

/// The most parcels in memory; one announced beyond is refused.
pub const PARCELS_MAX: usize = 50_000;

/// The most badges in memory. A new one takes the place of the one that ran out first; if none has
/// run out, it is refused. Time alone makes no badge forgotten: a clock that jumps ahead and comes
/// back must not cost a courier the evening.
pub const COURIERS_MAX: usize = 2_000;

impl Estate {
    pub(crate) fn downlink(&mut self, turn: &mut Turn<'_, '_>, item: Downlink) -> Verdict {
        match item {
            Downlink::ParcelExpected(parcel) => self.expected(turn, parcel),
            Downlink::ParcelCancelled { parcel } => self.cancelled(turn, &parcel),
            Downlink::ParcelExtended { parcel, deadline } => {
                self.extend(turn, &parcel, deadline, "cloud".to_string())
            }
            Downlink::CodeReissue { parcel } => {
                match self.reissue(turn, &parcel, "cloud".to_string()) {
                    Ok(_) => Verdict::Taken,
                    Err(refused) => refused,
                }
            }
            Downlink::Courier {
                courier,
                proof,
                valid_until,
            } => self.courier(turn, courier, proof, valid_until),
            Downlink::Settings(settings) => self.take_settings(settings),
        }
    }

    fn expected(&mut self, turn: &mut Turn<'_, '_>, parcel: ExpectedParcel) -> Verdict {
        if !self.places.is_point(&parcel.point) {
            let (point, points) = (&parcel.point, self.places.point_names());
            let why = format!("'{point}' isn't a pickup point of this estate; points: {points}");
            self.refuse(turn, &parcel.parcel, "cloud", why)
        } else if let Some(row) = self.parcels.get(&parcel.parcel) {
            match &row.stage {
                _ if row.parcel == parcel && !row.unlisted => Verdict::Taken,
                _ if row.unlisted => self.merge(turn, parcel),
                Stage::Expected => self.amend(turn, parcel),
                stage => {
                    let why = format!("it is {} and can't be announced otherwise", stage.word());
                    self.refuse(turn, &parcel.parcel, "cloud", why)
                }
            }
        } else if self.parcels.len() >= PARCELS_MAX {
            Verdict::Refused(format!(
                "{PARCELS_MAX} parcels are known already: cancel those that won't come"
            ))
        } else {
            self.announce(turn, parcel)
        }
    }

    fn announce(&mut self, turn: &mut Turn<'_, '_>, parcel: ExpectedParcel) -> Verdict {
        let (id, now) = (parcel.parcel.clone(), turn.now);
        let Some((code, length)) = self.new_code(turn, &parcel) else {
            return self.refuse(turn, &id, "cloud", no_code_free(&parcel));
        };
        let detail = particulars(&parcel);
        let row = ParcelRow::announced(&now, parcel);
        self.parcels.insert(id.clone(), row);
        self.trace(&now, &id, "announced", "cloud".to_string(), Some(detail));
        self.trace_code(turn, &id, "code-issued", length);
        self.report(&now, &id, Some(code));
        Verdict::Taken
    }

    /// An expected parcel is announced with other particulars; at another point it needs a new code.
    fn amend(&mut self, turn: &mut Turn<'_, '_>, parcel: ExpectedParcel) -> Verdict {
        let (id, now) = (parcel.parcel.clone(), turn.now);
        let Some(old_point) = self.parcels.get(&id).map(|row| row.parcel.point.clone()) else {
            return Verdict::Taken;
        };
        let moved = old_point != parcel.point;
        let issued = if moved {
            let Some(issued) = self.new_code(turn, &parcel) else {
                return self.refuse(turn, &id, "cloud", no_code_free(&parcel));
            };
            self.kill_code(&old_point, &id, now.tick_ms);
            Some(issued)
        } else {
            None
        };
        let detail = particulars(&parcel);
        if let Some(row) = self.parcels.get_mut(&id) {
            // The same moment was reckoned when it was named first: the clock may have jumped since.
            if row.parcel.deadline != parcel.deadline {
                row.due = Deadline::at(&now, parcel.deadline);
            }
            row.to_desk &= places_alike(&row.parcel, &parcel);
            row.parcel = parcel;
        }
        self.trace(
            &now,
            &id,
            "announced-again",
            "cloud".to_string(),
            Some(detail),
        );
        if let Some((code, length)) = issued {
            self.trace_code(turn, &id, "code-issued", length);
            self.report(&now, &id, Some(code));
        }
        Verdict::Taken
    }

    /// A parcel that came unannounced is announced after all. It stays where it is, and its code
    /// stays the same, whatever point was meant.
    fn merge(&mut self, turn: &mut Turn<'_, '_>, parcel: ExpectedParcel) -> Verdict {
        let (id, now) = (parcel.parcel.clone(), turn.now);
        let mut detail = particulars(&parcel);
        let deadline = parcel.deadline;
        let Some(row) = self.parcels.get_mut(&id) else {
            return Verdict::Taken;
        };
        let point = row.parcel.point.clone();
        if point != parcel.point {
            detail.push_str("; it came unannounced and stays at ");
            detail.push_str(point.as_str());
        }
        row.unlisted = false;
        row.parcel = ExpectedParcel { point, ..parcel };
        if row.stage.finished() {
            row.due = Deadline::at(&now, deadline);
        } else {
            self.set_deadline(&now, &id, deadline);
        }
        self.wait_for_a_courier(&now, &id);
        let who = "cloud".to_string();
        self.trace(&now, &id, "announced", who, Some(detail));
        self.report(&now, &id, None);
        Verdict::Taken
    }

    /// What is here and turns out to be a return goes back, and its code opens nothing.
    fn wait_for_a_courier(&mut self, now: &Now, id: &str) {
        let Some(row) = self.parcels.get_mut(id) else {
            return;
        };
        let here = matches!(
            row.stage,
            Stage::Deposited { .. } | Stage::Collecting { .. }
        );
        if here && row.is_return() && row.back.is_none_or(Back::still_for_recipient) {
            row.back = Some(Back::Return);
            let point = row.parcel.point.clone();
            self.kill_code(&point, id, now.tick_ms);
        }
    }

    /// Gives a parcel a new code, and the old one dies. The new one, which the cloud is told too.
    pub(crate) fn reissue(
        &mut self,
        turn: &mut Turn<'_, '_>,
        id: &str,
        who: String,
    ) -> Result<Secret, Verdict> {
        let Some(row) = self.parcels.get(id) else {
            return Err(unknown(id));
        };
        if row.stage.finished() {
            let why = format!("it is {}: too late for a new code", row.stage.word());
            return Err(self.refuse(turn, id, &who, why));
        }
        if let Some(back) = row.back.filter(|back| !back.still_for_recipient()) {
            let why = format!("it goes back ({}): no code opens for it", back.word());
            return Err(self.refuse(turn, id, &who, why));
        }
        let (parcel, now) = (row.parcel.clone(), turn.now);
        let old = self.live_code(&parcel.point, id);
        let Some((code, length)) = self.new_code(turn, &parcel) else {
            return Err(self.refuse(turn, id, &who, no_code_free(&parcel)));
        };
        if let Some(old) = old {
            self.lay_to_rest(&parcel.point, old, now.tick_ms);
        }
        self.trace_code_by(turn, id, "code-reissued", who, length);
        self.report(&now, id, Some(code.clone()));
        Ok(code)
    }

    fn courier(
        &mut self,
        turn: &mut Turn<'_, '_>,
        courier: String,
        proof: Proof,
        valid_until_ms: i64,
    ) -> Verdict {
        let valid_until = Deadline::at(&turn.now, valid_until_ms);
        let (proof, digits) = match proof {
            Proof::Badge(badge) => (badge, None),
            Proof::Code(code) => match self.courier_code(turn, code.reveal()) {
                Ok((proof, digits)) => (proof, Some(digits)),
                Err(why) => return Verdict::Refused(why),
            },
        };
        if !self.couriers.contains(&proof)
            && self.couriers.len() >= COURIERS_MAX
            && !self.forget_a_courier(&turn.now)
        {
            return Verdict::Refused(format!(
                "{COURIERS_MAX} badges are good at once: let those run out that aren't needed"
            ));
        }
        if valid_until.passed(&turn.now) {
            self.sessions.retain(|_, session| !session.is_by(&proof));
        }
        let row = CourierRow {
            proof,
            digits,
            courier,
            valid_until,
        };
        if self.couriers.get(&proof) != Some(&row) {
            self.couriers.insert(proof, row);
        }
        Verdict::Taken
    }

    /// The digest of a courier's code and its digits, or why it can't be one.
    fn courier_code(&self, turn: &Turn<'_, '_>, code: &str) -> Result<(Digest, u8), String> {
        let (digits, needed) = (code.len(), self.longest_code());
        if digits < usize::from(needed) {
            return Err(format!(
                "a courier's code of {digits} digits is too easy to guess: give one of at least {needed}"
            ));
        }
        if self.is_live_code(turn, code) {
            return Err(
                "this courier's code is a resident's pickup code: give another".to_string(),
            );
        }
        let digits = u8::try_from(digits).unwrap_or(u8::MAX);
        Ok((turn.courier_digest(&self.layout.site, code), digits))
    }

    /// Forgets the badge that ran out first, if any has.
    fn forget_a_courier(&mut self, now: &Now) -> bool {
        let first = self
            .couriers
            .values()
            .min_by_key(|row| (row.valid_until.wall_ms, row.proof));
        let proof = first
            .filter(|row| row.valid_until.passed(now))
            .map(|row| row.proof);
        proof.is_some_and(|proof| self.couriers.remove(&proof).is_some())
    }

    /// A new code for a parcel, at its point. `None` if none is free.
    pub(crate) fn new_code(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &ExpectedParcel,
    ) -> Option<(Secret, Length)> {
        let (digits, length) = self.issue_code(turn, &parcel.point, &parcel.parcel)?;
        Some((Secret::new(digits), length))
    }

    pub(crate) fn trace_code(
        &mut self,
        turn: &Turn<'_, '_>,
        id: &str,
        step: &'static str,
        length: Length,
    ) {
        self.trace_code_by(turn, id, step, "gateway".to_string(), length);
    }

    fn trace_code_by(
        &mut self,
        turn: &Turn<'_, '_>,
        id: &str,
        step: &'static str,
        who: String,
        length: Length,
    ) {
        let detail = Some(format!("{} digits", length.digits));
        self.trace(&turn.now, id, step, who, detail);
        if !length.enough {
            let (digits, who) = (length.digits, "gateway".to_string());
            let detail = format!(
                "with the codes live now, {digits} digits don't keep the chance to guess one below 1 in {} \
                 a day: raise code_max_digits",
                self.rules.guess_one_in
            );
            self.trace(&turn.now, id, "code-too-short", who, Some(detail));
        }
    }

    /// Refuses, and leaves a word in the parcel's history.
    /// `who` asked for it.
    pub(crate) fn refuse(
        &mut self,
        turn: &Turn<'_, '_>,
        id: &str,
        who: &str,
        why: String,
    ) -> Verdict {
        let step = "turned-down";
        self.trace(&turn.now, id, step, who.to_string(), Some(why.clone()));
        Verdict::Refused(format!("parcel {id}: {why}"))
    }
}

pub(crate) fn unknown(id: &str) -> Verdict {
    Verdict::Refused(format!("parcel {id} isn't known here: announce it first"))
}

/// Whether two announcements of a parcel ask for the same kind of place.
fn places_alike(a: &ExpectedParcel, b: &ExpectedParcel) -> bool {
    let asked = |p: &ExpectedParcel| (p.size, p.zone, p.low, p.consent);
    a.point == b.point && asked(a) == asked(b)
}

/// What was announced, in words.
pub(crate) fn particulars(parcel: &ExpectedParcel) -> String {
    let low = if parcel.low { ", low" } else { "" };
    let (size, zone) = (parcel.size.word(), parcel.zone.word());
    let mut words = format!("{size}, {zone}{low}, at {}", parcel.point);
    if let Some(original) = &parcel.return_of {
        words.push_str(", return of ");
        words.push_str(original);
    }
    words
}

pub(crate) fn no_code_free(parcel: &ExpectedParcel) -> String {
    format!(
        "no pickup code is free at {}: raise code_max_digits",
        parcel.point
    )
}
