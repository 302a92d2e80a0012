//! What must hold after each step, checked against the model, the record and the physical world.

use std::collections::{BTreeMap, BTreeSet};

use cloud_protocol::Downlink;
use cloud_protocol::downlink::{ExpectedParcel, Proof};
use estate::code::CodeState;
use estate::input::DeskAct;
use estate::parcel::{Back, Place, Taker};
use estate::{Effect, Outcome, TimeQuality, Verdict};
use firmware_protocols::command::Order;
use firmware_protocols::{Ident, Slot};

use crate::field::Sent;
use crate::keep;
use crate::model::{At, Cause, Code, Model, Parcel, seen};
use crate::play::{Act, Day};
use crate::record::{Kept, Made, Moment};

/// What was on the keypads' displays, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    TooLate,
    Locked,
    Wrong,
    Other,
}

impl Answer {
    const fn counted(self) -> bool {
        matches!(self, Self::Locked | Self::Wrong)
    }
}

pub fn answer(outcome: &Outcome) -> Answer {
    let mut words = String::new();
    for effect in &outcome.effects {
        let Effect::Command { command, .. } = effect;
        if let Order::Show { text, .. } = &command.order {
            words.push_str(text);
        }
    }
    if let Verdict::Refused(why) = &outcome.verdict {
        words.push_str(why);
    }
    if words.contains("too late:") {
        Answer::TooLate
    } else if ["Locked: ", "is locked after"]
        .iter()
        .any(|w| words.contains(w))
    {
        Answer::Locked
    } else if ["rong code", "xpired", "not good"]
        .iter()
        .any(|w| words.contains(w))
    {
        Answer::Wrong
    } else {
        Answer::Other
    }
}

/// The open commands of an outcome: slot, id, time left.
pub fn commands(outcome: &Outcome) -> Vec<(Slot, String, u64)> {
    let open = outcome.effects.iter().filter_map(|effect| {
        let Effect::Command {
            device, command, ..
        } = effect;
        let Order::Open { compartment } = command.order else {
            return None;
        };
        let slot = Slot {
            bank: device.clone(),
            compartment,
        };
        Some((slot, command.id.clone(), command.ttl_ms))
    });
    open.collect()
}

impl Day {
    /// Checks a step: what came in, and what came of it.
    pub fn check(&mut self, act: &Act, outcome: &Outcome) -> Kept {
        let cause = self.cause(act, outcome);
        self.check_received(act, outcome)?;
        self.learn_moments(act, outcome);
        match (act, &cause) {
            (Act::Event(sent), Cause::Key { point, digits }) => {
                self.check_freshness(sent, outcome)?;
                self.check_tries(&sent.device, point, digits, outcome)?;
                self.note_session(point, &format!("code:{digits}"), outcome);
                self.check_service(point, digits, outcome)?;
            }
            (Act::Event(sent), Cause::Scan { point, symbol }) => {
                if self.layout.banks.iter().any(|bank| bank.id == *point) {
                    self.check_freshness(sent, outcome)?;
                }
                self.note_session(point, symbol, outcome);
            }
            (Act::Desk(DeskAct::HandOver { desk, .. }, digits), _) => {
                self.check_tries(desk, desk, digits, outcome)?;
            }
            (Act::Tick, _) => {
                self.demand.close(&self.now);
                if self.clock_right() {
                    self.record
                        .moments()
                        .for_each(|moment| moment.unreckoned = false);
                }
            }
            _ => {}
        }
        self.check_opens(&cause, outcome)?;
        self.note_opener(&cause, outcome);
        self.check_parcels(&cause)?;
        self.check_compartments()?;
        self.check_codes(&cause)?;
        if matches!(act, Act::Tick) {
            self.check_due()?;
        }
        let collected = self.seen.get("collected").copied().unwrap_or(0);
        keep!(
            "planted",
            self.planted.is_none_or(|most| collected < most),
            "{collected} collections"
        );
        Ok(())
    }

    /// 6. Each event is stored once, and the ledger balances.
    fn check_received(&mut self, act: &Act, outcome: &Outcome) -> Kept {
        let (device, number, readable) = match act {
            Act::Event(sent) => (&sent.device, (sent.boot, sent.seq), true),
            Act::Unreadable(device, number) => (device, *number, false),
            _ => return Ok(()),
        };
        let ledger = self.record.ledgers.entry(device.clone()).or_default();
        ledger.received += 1;
        let new = self
            .record
            .taken
            .insert((device.clone(), number.0, number.1));
        let verdict = match (new, readable) {
            (true, true) => {
                ledger.stored += 1;
                Verdict::Taken
            }
            (true, false) => {
                ledger.quarantined += 1;
                Verdict::Taken
            }
            (false, _) => {
                ledger.duplicate += 1;
                Verdict::Duplicate
            }
        };
        let got = (
            ledger.received,
            ledger.stored,
            ledger.duplicate,
            ledger.quarantined,
        );
        let row = self
            .estate
            .devices()
            .find(|row| row.device == *device)
            .unwrap();
        let said = (row.received, row.stored, row.duplicate, row.quarantined);
        keep!(
            "the ledger balances",
            got == said,
            "{device}: {got:?} happened, {said:?} is said"
        );
        keep!(
            "once means once",
            outcome.verdict == verdict,
            "{act:?}: {:?}",
            outcome.verdict
        );
        keep!(
            "once means once",
            new || outcome.effects.is_empty(),
            "{act:?} does {:?} again",
            outcome.effects
        );
        if !new {
            self.saw("duplicate");
        }
        if let (Act::Event(sent), true) = (act, new) {
            let at_ms = sent.at_ms.unwrap_or(self.now.wall_ms);
            self.demand.happened(&self.now, at_ms, device, &sent.said);
        }
        Ok(())
    }

    /// What the cloud said of deadlines, and whether the box knew the time when it heard.
    fn learn_moments(&mut self, act: &Act, outcome: &Outcome) {
        if outcome.verdict != Verdict::Taken {
            return;
        }
        let moment = |at_ms| Moment {
            at_ms,
            sure: self.clock_right(),
            excused: self.now.quality > TimeQuality::Unknown && self.ahead_ms > 0,
            unreckoned: self.now.quality == TimeQuality::Unknown,
        };
        let (name, moment) = match act {
            Act::Cloud(Downlink::ParcelExpected(parcel)) => {
                (&parcel.parcel, moment(parcel.deadline))
            }
            Act::Cloud(Downlink::ParcelExtended { parcel, deadline })
            | Act::Desk(DeskAct::Extend { parcel, deadline }, _) => (parcel, moment(*deadline)),
            Act::Cloud(Downlink::Courier {
                courier,
                proof,
                valid_until,
            }) => {
                let proof = match proof {
                    Proof::Badge(_) => courier.clone(),
                    Proof::Code(code) => format!("code:{}", code.reveal()),
                };
                self.record.couriers.insert(proof, moment(*valid_until));
                return;
            }
            _ => return,
        };
        let known = self.record.deadlines.get(name);
        if known.is_none_or(|known| known.at_ms != moment.at_ms) {
            self.record.deadlines.insert(name.clone(), moment);
        }
    }

    /// A gesture that is really old opens nothing, and one that is fresh isn't called late, as long
    /// as the box's clock is right.
    fn check_freshness(&mut self, sent: &Sent, outcome: &Outcome) -> Kept {
        if sent.at_ms.is_none() || !self.clock_right() {
            return Ok(());
        }
        let age_ms = self.now.tick_ms - sent.tick_ms;
        let late = answer(outcome) == Answer::TooLate;
        let opens = !commands(outcome).is_empty();
        keep!(
            "what comes too late opens nothing",
            age_ms <= 125_000 || !opens,
            "{sent:?} is {age_ms} ms old"
        );
        let same_clock = sent.clock_jumps == self.clock_jumps;
        keep!(
            "what is fresh isn't called late",
            !same_clock || age_ms > 110_000 || !late,
            "{sent:?} is {age_ms} ms old"
        );
        Ok(())
    }

    /// A courier has identified, or gone on.
    fn note_session(&mut self, point: &Ident, proof: &str, outcome: &Outcome) {
        if answer(outcome) == Answer::TooLate {
            return;
        }
        let until = self.now.tick_ms + self.estate.rules().courier_session_ms;
        let known = self.record.couriers.contains_key(proof);
        let sessions = self.record.sessions.entry(point.clone()).or_default();
        if known {
            sessions.insert(proof.into(), until);
        }
        let now = self.now.tick_ms;
        let live = sessions.values_mut().filter(|live| now < **live);
        live.for_each(|live| *live = until.max(*live));
    }

    /// Who types the code of what waits there gets it.
    fn check_service(&self, point: &Ident, digits: &str, outcome: &Outcome) -> Kept {
        let now = self.now.tick_ms;
        let Some(code) = self.model.live(point, digits, now) else {
            return Ok(());
        };
        let p = &self.model.parcels[&code.parcel];
        let At::Here(Place::Slot(slot)) = &p.at else {
            return Ok(());
        };
        let filling = self
            .model
            .in_slot(slot)
            .any(|(_, p)| matches!(p.at, At::Coming(..)));
        let got = answer(outcome);
        if slot.bank != *point
            || !p.waits()
            || filling
            || got == Answer::TooLate
            || got == Answer::Locked
        {
            return Ok(());
        }
        let opened = commands(outcome).pop().map(|(slot, ..)| slot);
        keep!(
            "the right code opens",
            opened.as_ref() == Some(slot),
            "{digits} for {p:?} opens {opened:?}"
        );
        Ok(())
    }

    /// 7. What is really due, and was heard with the right clock, is overdue once the box has looked.
    fn check_due(&self) -> Kept {
        if !self.clock_right() {
            return Ok(());
        }
        for (name, p) in &self.model.parcels {
            let moment = self.record.deadlines[name];
            let due = moment.sure && self.true_ms() >= moment.at_ms;
            let waits = matches!(p.at, At::Here(_)) && p.back.is_none();
            keep!(
                "overdue when its time has come",
                !(due && waits),
                "{name} is late: {moment:?}, now {}",
                self.true_ms()
            );
        }
        Ok(())
    }

    /// 1. An open command is made by a gesture of this step, by somebody entitled to it; a retry is
    /// the same command, within its time, and in the same start of the estate.
    pub fn check_opens(&mut self, cause: &Cause, outcome: &Outcome) -> Kept {
        let mut new = 0;
        for (slot, id, ttl_ms) in commands(outcome) {
            let tick = self.now.tick_ms;
            if let Some(made) = self.record.commands.get(&id) {
                keep!(
                    "a retry is the same command",
                    made.slot == slot,
                    "{id} opened {}, now {slot}",
                    made.slot
                );
                keep!(
                    "a retry lies within its time",
                    tick + ttl_ms <= made.until,
                    "{id} ends at {}, at {tick} it is given {ttl_ms} ms",
                    made.until
                );
                keep!(
                    "a restart fires nothing",
                    made.start == self.record.starts,
                    "{id} is sent again after a restart"
                );
                keep!(
                    "a retry comes with time",
                    matches!(cause, Cause::Tick),
                    "{id} again by {cause:?}"
                );
                self.saw("retry");
                continue;
            }
            new += 1;
            keep!(
                "only who is entitled opens",
                new == 1 && self.entitled(cause, &slot),
                "{slot} opens by {cause:?}"
            );
            let until = tick + ttl_ms;
            let start = self.record.starts;
            self.record.commands.insert(id, Made { slot, until, start });
        }
        Ok(())
    }

    fn entitled(&self, cause: &Cause, slot: &Slot) -> bool {
        let now = self.now.tick_ms;
        match cause {
            Cause::ByHand(by_hand) => by_hand == slot,
            Cause::Transfer(parcel) => self.model.parcels[parcel].slot() == Some(slot),
            Cause::Retrieve(parcel) => {
                let p = &self.model.parcels[parcel];
                p.slot() == Some(slot) && p.back.is_some()
            }
            Cause::Key { point, digits } if digits == "0" => {
                let back = |p: &Parcel| p.back.is_some() && !matches!(p.at, At::Coming(..));
                slot.bank == *point
                    && self.courier_valid(point)
                    && self.model.in_slot(slot).any(|(_, p)| back(p))
            }
            Cause::Key { point, digits } => {
                slot.bank == *point && self.code_opens(point, digits, slot, now)
            }
            Cause::Scan { point, symbol } => {
                slot.bank == *point && self.courier_valid(point) && self.takes(symbol, slot)
            }
            _ => false,
        }
    }

    /// Whether the digits are a live code for what is in the compartment.
    fn code_opens(&self, point: &Ident, digits: &str, slot: &Slot, now: u64) -> bool {
        let Some(code) = self.model.live(point, digits, now) else {
            return false;
        };
        let own = &self.model.parcels[&code.parcel];
        let his = |p: &Parcel| p.recipient == own.recipient;
        if self.model.in_slot(slot).any(|(_, p)| !his(p)) {
            return false;
        }
        let waits = self.model.in_slot(slot).any(|(_, p)| p.waits());
        // Something was left inside, or is put in beside a return.
        let emptied = self.model.emptied.get(slot) == Some(&own.recipient);
        let again = own.at == At::Gone && emptied || own.returned && own.slot() == Some(slot);
        let brings = own.returned && matches!(own.at, At::Expected | At::Coming(..));
        waits || again || brings
    }

    /// Whether the compartment may take the parcel.
    fn takes(&self, symbol: &str, slot: &Slot) -> bool {
        let Some(row) = self.estate.parcel(symbol) else {
            return false;
        };
        let (announced, known) = (&row.parcel, self.model.parcels.get(symbol));
        let beside = self.model.in_slot(slot).filter(|(name, _)| *name != symbol);
        let alone = beside
            .into_iter()
            .all(|(_, p)| p.recipient == announced.recipient);
        // What was announced otherwise since goes into the compartment that was opened for it; so
        // does a return, whose recipient asked for the locker himself.
        let begun = known.is_some_and(|p| matches!(&p.at, At::Coming(at, _) if at == slot));
        let expected = known.is_none_or(|p| matches!(p.at, At::Expected | At::Coming(..)));
        let mut rows = self.estate.compartments();
        let lies_there = rows.any(|row| row.slot == *slot && row.occupied == Some(true));
        let may = announced.consent && self.fits(announced, slot, lies_there);
        alone && (may || begun) && expected
    }

    /// Whether a parcel may lie in a compartment. One that is said to lie in a wrong one stays
    /// there, low or not.
    fn fits(&self, announced: &ExpectedParcel, slot: &Slot, lies_there: bool) -> bool {
        let bank = self
            .layout
            .banks
            .iter()
            .find(|bank| bank.id == slot.bank)
            .unwrap();
        let spec = bank.compartments[usize::from(slot.compartment) - 1];
        let has_low = bank.compartments.iter().any(|spec| spec.low);
        spec.zone == announced.zone
            && spec.size >= announced.size
            && (!announced.low || !has_low || spec.low || lies_there)
    }

    /// Whether a courier who may be here is at the point.
    pub fn courier_valid(&self, point: &Ident) -> bool {
        let Some(sessions) = self.record.sessions.get(point) else {
            return false;
        };
        let good = |proof: &String| {
            let moment = self.record.couriers.get(proof);
            moment.is_some_and(|moment| {
                !(moment.sure && self.clock_right()) || self.true_ms() < moment.at_ms
            })
        };
        let mut sessions = sessions.iter();
        sessions.any(|(proof, until)| self.now.tick_ms <= *until && good(proof))
    }

    /// 2. The contents of a compartment are of one recipient, and no parcel is in two places.
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

    /// 2. What the estate says is in a compartment is really there, as far as doors and sensors told
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
                agree || self.field.compartments[&slot].doubt,
                "{slot} really holds {inside:?}, but is said to hold {said:?}"
            );
        }
        Ok(())
    }

    /// 5. Every parcel is somewhere, and goes only legal ways; the model follows.
    pub fn check_parcels(&mut self, cause: &Cause) -> Kept {
        let now = self.now.tick_ms;
        let mut moved: Vec<(String, At, Option<Back>)> = Vec::new();
        let mut known = 0;
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
        Ok(())
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
            if own || by_it {
                code.grace_until = code.grace_until.max(now + grace);
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

    /// 3. Codes live exactly as long as they should.
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

    /// 4. The ladder: while it is locked a keypad answers nothing else, and it locks when it must.
    pub fn check_tries(
        &mut self,
        keypad: &Ident,
        point: &Ident,
        digits: &str,
        outcome: &Outcome,
    ) -> Kept {
        let now = self.now.tick_ms;
        let ladder = self.record.ladders.entry(keypad.clone()).or_default();
        let got = answer(outcome);
        if got == Answer::TooLate {
            keep!(
                "what comes too late opens nothing",
                commands(outcome).is_empty(),
                "{digits} at {keypad}"
            );
            self.saw("too late");
            return Ok(());
        }
        if ladder.locked(now) {
            keep!(
                "locked is locked",
                got == Answer::Locked && commands(outcome).is_empty(),
                "{digits} at {keypad} at {now}, locked until {:?}",
                ladder.until
            );
            self.saw("locked out");
            return Ok(());
        }
        let courier = digits == "0" || self.record.couriers.contains_key(&format!("code:{digits}"));
        let meaning = match self.meaning(point, digits) {
            // Whether a courier is still good is a matter of deadlines; here his tries are counted.
            Meaning::Wrong if courier && !got.counted() => Meaning::Right,
            // A code whose compartment stands open for long is good as long as its command is known.
            Meaning::Right if got.counted() && self.is_past_grace(point, digits) => Meaning::Wrong,
            Meaning::Astray if self.is_return_handed_in(outcome, digits) => Meaning::Right,
            meaning => meaning,
        };
        let ladder = self.record.ladders.entry(keypad.clone()).or_default();
        let locks = match meaning {
            Meaning::Right => false,
            Meaning::Astray => ladder.astray(now),
            Meaning::Wrong => ladder.wrong(now),
        };
        keep!(
            "the ladder locks in time",
            locks == (got == Answer::Locked),
            "{digits} at {keypad}: {meaning:?}, {got:?}, {ladder:?}"
        );
        if locks {
            self.saw("lockout");
        }
        Ok(())
    }

    fn is_past_grace(&self, point: &Ident, digits: &str) -> bool {
        let now = self.now.tick_ms;
        let code = self.model.live(point, digits, now);
        code.is_some_and(|code| {
            now >= code.grace_until && self.model.parcels[&code.parcel].at == At::Gone
        })
    }

    /// The staff takes in a return at any desk.
    fn is_return_handed_in(&self, outcome: &Outcome, digits: &str) -> bool {
        let expected = |p: &Parcel| p.returned && p.at == At::Expected;
        let asked = outcome.told.is_some() && outcome.verdict == Verdict::Taken;
        let mut codes = self.model.codes.iter().filter(|code| code.digits == digits);
        asked && codes.any(|code| expected(&self.model.parcels[&code.parcel]))
    }

    /// What digits mean at a keypad.
    fn meaning(&self, point: &Ident, digits: &str) -> Meaning {
        if self.model.live(point, digits, self.now.tick_ms).is_some() {
            return Meaning::Right;
        }
        let alive = |code: &&Code| code.digits == digits && code.dead_since.is_none();
        match self.model.codes.iter().find(alive) {
            Some(code) if code.point != *point => Meaning::Astray,
            _ => Meaning::Wrong,
        }
    }

    /// 7. Never overdue before its time has really come.
    fn check_overdue(&self, name: &str) -> Kept {
        let moment = self.record.deadlines[name];
        let late = self.true_ms() >= moment.at_ms || moment.excused;
        keep!(
            "never overdue before its time",
            late,
            "{name} is overdue {} ms before its time",
            moment.at_ms - self.true_ms()
        );
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Right,
    Astray,
    Wrong,
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
