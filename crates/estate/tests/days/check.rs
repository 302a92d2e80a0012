//! What must hold after each step, checked against the model, the record and the physical world.

use cloud_protocol::Downlink;
use cloud_protocol::downlink::Proof;
use estate::input::DeskAct;
use estate::{Effect, Outcome, TimeQuality, Verdict};
use firmware_protocols::command::Order;
use firmware_protocols::{Ident, Slot};

use crate::cause::{At, Cause};
use crate::field::Sent;
use crate::keep;
use crate::play::{Act, Day};
use crate::record::{Kept, Moment, STALE_MS};

/// What was on the keypads' displays, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    TooLate,
    Locked,
    Wrong,
    Other,
}

impl Answer {
    pub const fn counted(self) -> bool {
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

    /// Each event is stored once, and the ledger balances.
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
    /// as the box's clock is right. What it is compared with may have come late itself.
    fn check_freshness(&mut self, sent: &Sent, outcome: &Outcome) -> Kept {
        if sent.at_ms.is_none() || !self.clock_right() {
            return Ok(());
        }
        let age_ms = self.now.tick_ms - sent.tick_ms;
        let late = answer(outcome) == Answer::TooLate;
        let opens = !commands(outcome).is_empty();
        keep!(
            "what comes too late opens nothing",
            age_ms <= 2 * STALE_MS || !opens,
            "{sent:?} is {age_ms} ms old"
        );
        let same_clock = sent.clock_jumps == self.clock_jumps;
        keep!(
            "what is fresh isn't called late",
            !same_clock || age_ms >= STALE_MS || !late,
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

    /// What is really due, and was heard with the right clock, is overdue once the box has looked.
    pub fn check_due(&self) -> Kept {
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

    /// Never overdue before its time has really come.
    pub fn check_overdue(&self, name: &str) -> Kept {
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
