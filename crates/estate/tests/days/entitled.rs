//! Who may open what: the gestures, and what digits mean.

use cloud_protocol::downlink::ExpectedParcel;
use estate::parcel::Place;
use estate::{Outcome, Verdict};
use firmware_protocols::{Ident, Slot};

use crate::cause::{At, Cause};
use crate::codes::Code;
use crate::keep;
use crate::model::Parcel;
use crate::play::Day;
use crate::record::{Kept, Made};

use crate::check::{Answer, answer, commands};

impl Day {
    /// An open command is made by a gesture of this step, by somebody entitled to it; a retry is
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

    /// Who types the code of what waits there gets it.
    pub fn check_service(&self, point: &Ident, digits: &str, outcome: &Outcome) -> Kept {
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

    /// The ladder: while it is locked a keypad answers nothing else, and it locks when it must.
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Right,
    Astray,
    Wrong,
}
