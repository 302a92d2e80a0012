//! The model follows the estate step by step, and what is said to be somewhere is there.

use std::collections::{BTreeMap, BTreeSet};

use estate::Outcome;
use estate::code::CodeState;
use estate::opening::KEEP_MS;
use estate::parcel::{Back, Place, Taker};
use firmware_protocols::{Ident, Slot};

use crate::cause::{At, Cause};
use crate::keep;
use crate::model::{Model, Parcel, seen};
use crate::play::Day;
use crate::record::{Kept, Moment};

use crate::check::commands;

impl Day {
    /// The contents of a compartment are of one recipient, and no parcel is in two places.
    pub fn check_compartments(&self) -> Kept {
        let mut seen_in: BTreeSet<&str> = BTreeSet::new();
        for row in self.estate.compartments() {
            let mut recipient: Option<&str> = None;
            for name in row.contents.iter().chain(&row.reserved) {
                keep!(
                    "a parcel is in one place",
                    seen_in.insert(name),
                    "{name} is in {} and elsewhere",
                    row.slot
                );
                let p = self.model.parcels.get(name);
                keep!(
                    "a parcel is in one place",
                    p.and_then(Parcel::slot) == Some(&row.slot),
                    "{} holds {name}, which is {p:?}",
                    row.slot
                );
                let of = p.map(|p| p.recipient.as_str());
                keep!(
                    "a compartment is one recipient's",
                    recipient.is_none() || recipient == of,
                    "{} holds {:?}",
                    row.slot,
                    row.contents
                );
                recipient = of;
            }
        }
        let placed = self.model.parcels.values().filter(|p| p.slot().is_some());
        keep!(
            "a parcel is in one place",
            placed.count() == seen_in.len(),
            "a parcel's compartment doesn't know of it"
        );
        Ok(())
    }

    /// What the estate says is in a compartment is really there, as far as doors and sensors told
    /// the truth.
    pub fn check_physical(&mut self) -> Kept {
        let slots: Vec<_> = self.field.compartments.keys().cloned().collect();
        for slot in slots {
            let under_way = self
                .model
                .in_slot(&slot)
                .any(|(_, p)| !matches!(p.at, At::Here(_)));
            if self.field.compartments[&slot].open || under_way || self.field.is_held(&slot) {
                continue;
            }
            let inside = self.field.inside(&slot);
            let agree = self.model.in_slot(&slot).map(|(name, _)| name).eq(&inside);
            if agree {
                self.field.compartment(&slot).doubt = false;
            }
            let said: Vec<_> = self.model.in_slot(&slot).collect();
            keep!(
                "what is said to be inside is inside",
                agree || self.field.compartments[&slot].doubt || self.model.missing.contains(&slot),
                "{slot} really holds {inside:?}, but is said to hold {said:?}"
            );
        }
        Ok(())
    }

    /// Every parcel is somewhere, and goes only legal ways; the model follows.
    pub fn check_parcels(&mut self, cause: &Cause) -> Kept {
        let now = self.now.tick_ms;
        let mut moved: Vec<(String, At, Option<Back>)> = Vec::new();
        let mut known = 0;
        if let Cause::Door {
            slot,
            occupied: Some(true),
            ..
        } = cause
        {
            self.left_inside(slot);
        }
        for row in self.estate.parcels() {
            if let Some(p) = self.model.parcels.get_mut(&row.parcel.parcel) {
                p.to_desk = row.to_desk;
                if matches!(cause, Cause::Announce(name) if *name == row.parcel.parcel) {
                    p.recipient.clone_from(&row.parcel.recipient);
                    p.point.clone_from(&row.parcel.point);
                    p.returned = row.is_return();
                }
            }
        }
        for row in self.estate.parcels() {
            let name = &row.parcel.parcel;
            let Some(p) = self.model.parcels.get(name) else {
                moved.push((name.clone(), seen(row), row.back));
                continue;
            };
            known += 1;
            let to = seen(row);
            if to == p.at && row.back == p.back {
                keep!(
                    "a parcel doesn't stand still",
                    !Model::must_move(cause, p, name),
                    "{name} stays {to:?} after {cause:?}"
                );
                continue;
            }
            keep!(
                "a parcel goes only legal ways",
                to == p.at || self.model.may_move(cause, name, &to, now),
                "{name} ({p:?}) becomes {to:?} by {cause:?}"
            );
            let back = to == p.at || !p.finished();
            keep!(
                "a parcel goes back only for a reason",
                row.back == p.back || back && Model::may_turn(cause, p, name, &to, row.back),
                "{name} ({p:?}) turns to {:?} by {cause:?}",
                row.back
            );
            moved.push((name.clone(), to, row.back));
        }
        keep!(
            "no parcel is lost",
            known == self.model.parcels.len(),
            "{} parcels of {} are left",
            known,
            self.model.parcels.len()
        );
        for (name, at, back) in moved {
            self.parcel_moves(cause, name, at, back)?;
        }
        self.model.remember(cause);
        let model = &mut self.model;
        let used: BTreeSet<Slot> = model
            .parcels
            .values()
            .filter_map(Parcel::slot)
            .cloned()
            .collect();
        model.missing.retain(|slot| used.contains(slot));
        Ok(())
    }

    /// Something lies in a compartment that was emptied: its last code may be good for longer.
    fn left_inside(&mut self, slot: &Slot) {
        if self.model.in_slot(slot).next().is_some() {
            return;
        }
        let until = self.now.tick_ms + self.grace_ms(&At::Here(Place::Slot(slot.clone())), "");
        let Model {
            codes,
            parcels,
            emptied,
            ..
        } = &mut self.model;
        let last = emptied.get(slot);
        for code in codes.iter_mut().filter(|code| code.dead_since.is_none()) {
            let p = &parcels[&code.parcel];
            if p.at == At::Gone && last == Some(&p.recipient) {
                code.may_until = until;
            }
        }
    }

    fn parcel_moves(&mut self, cause: &Cause, name: String, at: At, back: Option<Back>) -> Kept {
        let row = self.estate.parcel(&name).unwrap();
        let new = self.model.parcels.get(&name).is_none_or(|p| p.back != back);
        if new && back == Some(Back::Overdue) {
            self.check_overdue(&name)?;
        }
        let grace = self.grace_ms(&at, &name);
        let was = self.model.parcels.insert(
            name.clone(),
            Parcel {
                recipient: row.parcel.recipient.clone(),
                point: row.parcel.point.clone(),
                returned: row.is_return(),
                at: at.clone(),
                back,
                to_desk: row.to_desk,
            },
        );
        let Some(was) = was else {
            let legal = match cause {
                Cause::Announce(parcel) | Cause::Receive(parcel) => *parcel == name,
                Cause::Scan { symbol, .. } => *symbol == name,
                Cause::Claim(parcel) => name.starts_with(&format!("{parcel}-R")),
                _ => false,
            };
            keep!("no parcel comes from nowhere", legal, "{name} by {cause:?}");
            self.saw(if matches!(cause, Cause::Announce(_)) {
                "announced"
            } else {
                "unannounced"
            });
            // Its end is the estate's own reckoning.
            self.record.deadlines.entry(name).or_insert(Moment {
                at_ms: 0,
                sure: false,
                excused: true,
                unreckoned: false,
            });
            return Ok(());
        };
        self.saw(event_word(&was, &at, back));
        if at == At::Gone
            && let Some(slot) = was.slot()
        {
            let recipient = was.recipient.clone();
            self.model.emptied.insert(slot.clone(), recipient);
        }
        if matches!(at, At::Gone | At::Here(_)) {
            self.grace_begins(&name, &was, &at, grace);
        }
        if matches!(cause, Cause::BankOpened { .. }) {
            for code in self
                .model
                .codes
                .iter_mut()
                .filter(|code| code.parcel == name)
            {
                code.sure = false;
            }
        }
        if at == At::Gone
            && let Some(point) = gone_at(&was)
        {
            for keypad in self.keypads_of(&point) {
                self.record.ladders.entry(keypad).or_default().wrong = 0;
            }
        }
        Ok(())
    }

    /// A hand-over is over: the parcel's own code and the one that opened have their grace.
    fn grace_begins(&mut self, name: &str, was: &Parcel, at: &At, grace: u64) {
        let now = self.now.tick_ms;
        let put_in = was.returned && matches!(at, At::Here(Place::Slot(_)));
        let opener = was
            .slot()
            .and_then(|slot| self.model.opener.get(slot).copied());
        let Model { codes, parcels, .. } = &mut self.model;
        for (index, code) in codes
            .iter_mut()
            .enumerate()
            .filter(|(_, code)| code.dead_since.is_none())
        {
            let own = code.parcel == name && (*at == At::Gone || put_in);
            let used =
                opener == Some(index) && matches!(was.at, At::Leaving(_, Taker::Recipient, _));
            let by_it = used && parcels[&code.parcel].at == At::Gone;
            // What a return's code opens again holds the goods: nothing is in doubt.
            let grace = if put_in {
                self.estate.rules().reopen_grace_ms
            } else {
                grace
            };
            // By what a door was opened isn't known any more some minutes after the command's end.
            let known = now < code.used_at + KEEP_MS;
            if own || by_it && *at == At::Gone && known {
                code.grace_until = code.grace_until.max(now + grace);
            } else if by_it {
                code.may_until = now + grace;
            }
            if own && was.slot().is_some() {
                code.opened = was.slot().cloned();
            }
        }
    }

    fn keypads_of(&self, point: &Ident) -> Vec<Ident> {
        let parts = self
            .layout
            .devices
            .iter()
            .filter(|device| device.point.as_ref() == Some(point));
        parts
            .map(|device| device.id.clone())
            .chain([point.clone()])
            .collect()
    }

    /// A code has opened a compartment.
    pub fn note_opener(&mut self, cause: &Cause, outcome: &Outcome) {
        let now = self.now.tick_ms;
        let (digits, slot) = match cause {
            Cause::Key { digits, .. } => (digits, commands(outcome).pop().map(|(slot, ..)| slot)),
            Cause::BankOpened { slot, digits } => (digits, Some(slot.clone())),
            _ => return,
        };
        let Some(slot) = slot else { return };
        let Some(index) = self.model.live_index(&slot.bank, digits, now) else {
            return;
        };
        let more = self.model.in_slot(&slot).any(|(_, p)| p.waits());
        let grace = self.grace_ms(&At::Here(Place::Slot(slot.clone())), "");
        let gone = self.model.parcels[&self.model.codes[index].parcel].at == At::Gone;
        let code = &mut self.model.codes[index];
        code.opened = Some(slot.clone());
        code.used_at = now;
        code.sure &= matches!(cause, Cause::Key { .. });
        if more && gone {
            code.grace_until = code.grace_until.max(now + grace);
        } else if !more {
            self.seen
                .entry("reopened")
                .and_modify(|n| *n += 1)
                .or_insert(1);
        }
        self.model.opener.insert(slot, index);
    }

    /// How long a code opens again after this, ms.
    fn grace_ms(&self, at: &At, name: &str) -> u64 {
        let slot = match at {
            At::Gone => self.model.parcels.get(name).and_then(Parcel::slot),
            At::Here(Place::Slot(slot)) => Some(slot),
            _ => None,
        };
        let Some(slot) = slot else { return 0 };
        let bank = self
            .layout
            .banks
            .iter()
            .find(|bank| bank.id == slot.bank)
            .unwrap();
        let rules = self.estate.rules();
        if bank.occupancy_sensor {
            rules.reopen_grace_ms
        } else {
            rules.reopen_grace_ms.max(rules.no_sensor_hold_ms)
        }
    }

    /// Codes live exactly as long as they should.
    pub fn check_codes(&mut self, cause: &Cause) -> Kept {
        let now = self.now.tick_ms;
        let mut alive: BTreeMap<usize, bool> = BTreeMap::new();
        for row in self.estate.codes() {
            let live = matches!(row.state, CodeState::Live { .. });
            let index = self.model.index(&row.point, &row.digest);
            keep!(
                "every code goes out to the cloud",
                index.is_some(),
                "a code at {} was never told",
                row.point
            );
            alive.insert(index.unwrap(), live);
        }
        for (index, live) in &alive {
            let code = &self.model.codes[*index];
            keep!(
                "a dead code stays dead",
                !live || code.dead_since.is_none(),
                "{code:?} lives again"
            );
            let p = &self.model.parcels[&code.parcel];
            let swept = matches!(cause, Cause::Tick) && !matches!(p.at, At::Leaving(..));
            let late = p.returned || p.at == At::Gone;
            let may = self.model.may_live(code, now) || late && !swept;
            keep!(
                "a code dies in time",
                !live || may,
                "{code:?} of {:?} is still live at {now}",
                self.model.parcels[&code.parcel]
            );
        }
        for index in 0..self.model.codes.len() {
            let code = &self.model.codes[index];
            if code.dead_since.is_some() || alive.get(&index) == Some(&true) {
                continue;
            }
            keep!(
                "a code doesn't die early",
                !self.model.must_live(code, now),
                "{code:?} of {:?} is dead at {now}",
                self.model.parcels[&code.parcel]
            );
            let since = if code.grace_until > 0 {
                code.grace_until.min(now)
            } else {
                now
            };
            self.model.codes[index].dead_since = Some(since);
        }
        Ok(())
    }
}

/// What a parcel's move is counted as.
fn event_word(was: &Parcel, at: &At, back: Option<Back>) -> &'static str {
    match (&was.at, at) {
        (from, to) if from == to => match back {
            None => "extended in time",
            Some(Back::Overdue) => "overdue",
            Some(Back::Cancelled) => "cancelled after deposit",
            Some(Back::Refused) => "refused",
            Some(Back::Claimed) => "claimed",
            Some(Back::Return) => "return",
        },
        (At::Coming(..) | At::Expected, At::Here(_)) if was.returned => "return handed in",
        (_, At::Coming(_, false)) if was.returned => "return begun",
        (At::Coming(..), At::Here(_)) => "deposited",
        (At::Expected, At::Here(_)) => "taken in at a desk",
        (At::Expected, At::Coming(_, true)) | (At::Here(_), At::Leaving(_, _, true)) => {
            "taken up late"
        }
        (At::Coming(..), At::Expected) => "deposit undone",
        (At::Leaving(_, Taker::Desk { .. }, _), At::Here(Place::Desk(_))) => "transferred",
        (At::Leaving(..), At::Here(_)) => "collection undone",
        (At::Leaving(..), At::Gone) => "collected",
        (At::Here(_), At::Gone) => "handed over at a desk",
        (_, At::Retrieved) => "retrieved",
        (_, At::Cancelled) => "cancelled",
        _ => "moved",
    }
}

/// The point at which a parcel was before it was gone.
fn gone_at(was: &Parcel) -> Option<Ident> {
    match &was.at {
        At::Here(Place::Desk(desk)) => Some(desk.clone()),
        _ => was.slot().map(|slot| slot.bank.clone()),
    }
}
