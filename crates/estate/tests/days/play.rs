//! A day as it is played: the estate, the world around it, and what an observer knows; each input is
//! checked, and what is on disk is what a restart finds.

use std::collections::BTreeMap;

use cloud_protocol::uplink::{DemandReport, ParcelReport, ParcelState};
use cloud_protocol::{Downlink, Report};
use estate::input::DeskAct;
use estate::layout::{Layout, Unlisted};
use estate::{Change, Context, Effect, Estate, Input, Now, Outcome, Snapshot, TimeQuality};
use firmware_protocols::command::Order;
use firmware_protocols::event::Done;
use firmware_protocols::{Ident, Slot};

use crate::action::Action;
use crate::common::{Dice, EVENING_MS, QuickDigest, layout};
use crate::demand::DemandModel;
use crate::field::{Field, Said, Sent, Told};
use crate::keep;
use crate::model::Model;
use crate::record::{Broken, Kept, Record, follows};

const START_TICK: u64 = 1_000_000;

/// An input, as it can be sent again after a failed commit.
#[derive(Clone, Debug)]
pub enum Act {
    Event(Sent),
    Cloud(Downlink),
    Hand(Slot),
    Disable(Slot, Option<String>),
    Desk(DeskAct, String),
    Sent(String),
    Unreadable(Ident, (u32, u64)),
    Tick,
}

/// What happens between the start of a batch and its commit or failure.
#[derive(Clone)]
struct Batch {
    model: Model,
    record: Record,
    demand: DemandModel,
    acts: Vec<Act>,
    left: u64,
    fails: bool,
}

#[derive(Clone)]
pub struct Day {
    pub estate: Estate,
    pub layout: Layout,
    pub snapshot: Snapshot,
    pub now: Now,
    /// How far the box's wall clock is ahead of the truth, ms.
    pub ahead_ms: i64,
    pub clock_jumps: u32,
    /// Time without power that nobody counted, ms.
    lost_ms: i64,
    entropy: Dice,
    /// The dice of the action that is being played.
    pub dice: Dice,
    pub field: Field,
    pub model: Model,
    pub record: Record,
    pub demand: DemandModel,
    /// A day on which sensors tell the truth, and every message comes, once and in time.
    pub calm: bool,
    /// Nothing is left to the dice: whoever plays says what becomes of each message.
    pub exact: bool,
    batch: Option<Batch>,
    /// What wasn't taken comes again: until it has, the box can't know what is inside.
    resending: bool,
    /// Drained, but not on disk yet.
    pending: Vec<Change>,
    effects: Vec<Effect>,
    /// What the cloud has heard last of each parcel.
    reported: BTreeMap<String, ParcelReport>,
    /// The digits that residents were told, by parcel.
    pub digits: BTreeMap<String, String>,
    pub announced: Vec<Downlink>,
    pub seen: BTreeMap<&'static str, u64>,
    pub log: Option<Vec<String>>,
    /// A rule that only the test of the shrinker has: so many collections on one day are too many.
    pub planted: Option<u64>,
}

impl Day {
    pub fn new(seed: u64) -> Self {
        let mut layout = layout();
        let rules = &mut layout.rules;
        rules.finished_keep_ms = u64::MAX;
        // Few codes in all, so that they meet.
        rules.code_min_digits = 2;
        rules.code_max_digits = if seed.is_multiple_of(3) { 3 } else { 6 };
        rules.unlisted = [Unlisted::Refuse, Unlisted::Desk, Unlisted::Accept][(seed % 3) as usize];
        rules.share_compartments = !seed.is_multiple_of(7);
        layout.banks[0].compartments[1].low = seed.is_multiple_of(2);
        Self::of(layout, seed)
    }

    /// The day of an estate.
    pub fn of(layout: Layout, seed: u64) -> Self {
        Self {
            estate: Estate::load(layout.clone(), Snapshot::default()).unwrap(),
            layout,
            snapshot: Snapshot::default(),
            now: Now {
                tick_ms: START_TICK,
                wall_ms: EVENING_MS,
                quality: TimeQuality::Synchronised,
            },
            ahead_ms: 0,
            clock_jumps: 0,
            lost_ms: 0,
            entropy: Dice::new(seed ^ 0xABCD_EF01),
            dice: Dice::new(seed),
            field: Field::default(),
            model: Model::default(),
            record: Record::default(),
            demand: DemandModel::default(),
            calm: seed.is_multiple_of(4),
            exact: false,
            batch: None,
            resending: false,
            pending: Vec::new(),
            effects: Vec::new(),
            reported: BTreeMap::new(),
            digits: BTreeMap::new(),
            announced: Vec::new(),
            seen: BTreeMap::new(),
            log: None,
            planted: None,
        }
    }

    /// Plays the actions; what happened how often, or the rule that was broken.
    pub fn run(&mut self, actions: &[Action]) -> Kept {
        self.open_the_gates()?;
        for action in actions {
            self.dice = Dice::new(action.roll);
            self.note(|| format!("{action:?}"));
            self.act(action.deed)?;
        }
        self.end_batch()?;
        self.check_reloaded()?;
        self.check_other_layouts()
    }

    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_insert(0) += 1;
    }

    pub fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(words());
        }
    }

    pub const fn true_ms(&self) -> i64 {
        EVENING_MS + (self.now.tick_ms - START_TICK) as i64 + self.lost_ms
    }

    /// Whether the box knows the time, and rightly.
    pub fn clock_right(&self) -> bool {
        self.now.quality > TimeQuality::Unknown && self.ahead_ms == 0
    }

    /// Sets the box's clock by so much ahead of the truth.
    pub fn set_clock(&mut self, ahead_ms: i64, quality: TimeQuality) -> Kept {
        self.end_batch()?;
        if self.ahead_ms != ahead_ms || self.now.quality != quality {
            self.clock_jumps += 1;
        }
        let better = quality > self.now.quality;
        self.ahead_ms = ahead_ms;
        self.now.quality = quality;
        self.now.wall_ms = self.true_ms() + ahead_ms;
        if ahead_ms > 0 {
            // What was heard without knowing the time is reckoned by this clock: nobody can tell.
            let unreckoned = self.record.moments().filter(|moment| moment.unreckoned);
            unreckoned.for_each(|moment| moment.excused = true);
        }
        if better {
            self.apply(Act::Tick)?; // Which comes every second.
        }
        Ok(())
    }

    pub fn pass(&mut self, ms: u64) {
        self.now.tick_ms += ms;
        self.now.wall_ms = self.true_ms() + self.ahead_ms;
    }

    /// Something comes in and is checked; unless a batch is gathered it is on disk, and what it asks
    /// for happens.
    pub fn apply(&mut self, act: Act) -> Result<Outcome, Broken> {
        let input = self.input(&act);
        let issues_codes = !matches!(
            act,
            Act::Tick | Act::Sent(_) | Act::Unreadable(..) | Act::Hand(_)
        ) && !matches!(&act, Act::Event(sent) if !matches!(sent.said, Said::Scan(_)));
        if matches!(act, Act::Tick) {
            self.drain(&act)?; // Hours may close now: what they counted must be known.
        }
        let mut context = Context {
            now: self.now,
            random: &mut self.entropy,
            digests: &QuickDigest,
        };
        let outcome = self.estate.handle(&mut context, input);
        self.note_outcome(&act, &outcome);
        self.effects.extend(outcome.effects.iter().cloned());
        // A batch is drained late, to write what was touched twice once; but not past new codes,
        // which the observer must know to tell what digits mean.
        if self.batch.is_none() || issues_codes {
            self.drain(&act)?;
        }
        self.check(&act, &outcome)?;
        if let Some(batch) = &mut self.batch {
            batch.acts.push(act);
            return Ok(outcome);
        }
        self.commit()?;
        Ok(outcome)
    }

    fn input(&self, act: &Act) -> Input {
        match act.clone() {
            Act::Event(sent) => Input::Event(sent.event(&self.estate, &self.now)),
            Act::Cloud(item) => Input::Downlink(item),
            Act::Hand(slot) => Input::OpenByHand {
                slot,
                operator: "li".into(),
                reason: "test".into(),
            },
            Act::Disable(slot, reason) => Input::Disable {
                slot,
                operator: "li".into(),
                reason,
            },
            Act::Desk(act, _) => Input::Desk {
                operator: "wang".into(),
                act,
            },
            Act::Sent(command) => Input::CommandSent { command },
            Act::Unreadable(device, number) => Input::Unreadable {
                device,
                number: Some(number),
            },
            Act::Tick => Input::Tick,
        }
    }

    fn note_outcome(&mut self, act: &Act, outcome: &Outcome) {
        if self.log.is_none() {
            return;
        }
        let now = self.now;
        self.note(|| format!("  {:>10} {:?} {act:?}", now.tick_ms, now.quality));
        let quiet = matches!(act, Act::Tick | Act::Sent(_));
        if !quiet || !outcome.effects.is_empty() {
            self.note(|| format!("             {:?}", outcome.verdict));
        }
        for effect in &outcome.effects {
            let Effect::Command {
                device, command, ..
            } = effect;
            self.note(|| format!("             {device}: {} {:?}", command.id, command.order));
        }
    }

    /// Takes what must be written, and reads the codes in it, as the cloud will.
    fn drain(&mut self, act: &Act) -> Kept {
        let changes = self.estate.take_changes();
        for change in &changes {
            if let Change::Cell(cell) = change {
                self.demand.counted(cell.key.start_ms, &cell.key.series);
            }
            let Change::Uplink {
                report: Report::Parcel(report),
                ..
            } = change
            else {
                continue;
            };
            let Some(code) = report.code.as_ref().and_then(|code| code.plain()) else {
                continue;
            };
            let digits = code.reveal().to_string();
            let row = self.estate.parcel(&report.parcel).unwrap();
            let point = row.parcel.point.clone();
            let rest = self.estate.rules().code_rest_ms;
            let free = self
                .model
                .learn(self.now.tick_ms, rest, &point, &digits, &report.parcel);
            keep!(
                "a code is unique, and rests",
                free,
                "{digits} for {} at {point} by {act:?}",
                report.parcel
            );
            let courier = self.record.couriers.contains_key(&format!("code:{digits}"));
            keep!(
                "a code is unique, and rests",
                !courier,
                "{digits} is a courier's code"
            );
            self.digits.insert(report.parcel.clone(), digits);
            self.saw("code issued");
        }
        self.pending.extend(changes);
        Ok(())
    }

    /// What is drained is on disk: what it asked for happens.
    fn commit(&mut self) -> Kept {
        let changes = std::mem::take(&mut self.pending);
        let mut released = Vec::new();
        for change in changes {
            match &change {
                Change::Uplink {
                    report: Report::Parcel(report),
                    ..
                } => self.hear(report.clone())?,
                Change::Uplink {
                    report: Report::Demand(report),
                    ..
                } => released.push(report.clone()),
                _ => {}
            }
            self.snapshot.apply(change);
        }
        self.check_demand(released)?;
        self.check_receipts()?;
        for effect in std::mem::take(&mut self.effects) {
            self.deliver(effect)?;
        }
        if !self.resending {
            self.check_physical()?;
        }
        if !self.exact && self.dice.one_in(16) {
            self.check_reloaded()?;
        }
        Ok(())
    }

    fn check_demand(&mut self, released: Vec<DemandReport>) -> Kept {
        let reported = released
            .into_iter()
            .map(|r| (r.building.map(|b| b.to_string()), r.start, r.series))
            .collect();
        self.demand.check(reported)
    }

    /// A device is told only what is stored.
    fn check_receipts(&mut self) -> Kept {
        for due in self.estate.take_receipts() {
            let (boot, upto) = (due.receipt.boot, due.receipt.seq);
            let range = (due.device.clone(), boot, 1)..=(due.device.clone(), boot, upto);
            let stored = self.record.taken.range(range).count() as u64;
            keep!(
                "received is on disk",
                stored == upto,
                "{} was told {upto} of {stored}",
                due.device
            );
        }
        Ok(())
    }

    /// The cloud hears only legal sequences.
    fn hear(&mut self, report: ParcelReport) -> Kept {
        let before = self.reported.get(&report.parcel).map(|r| r.state);
        // A return may be taken out again. What was cancelled before its deposit is over.
        let out_again = report.return_of.is_some()
            && (before, report.state) == (Some(ParcelState::Deposited), ParcelState::Expected);
        let over = self.reported.get(&report.parcel).is_some_and(|last| {
            last.state == ParcelState::Cancelled && last.bank.is_none() && last.desk.is_none()
        });
        let goes_on = follows(before, report.state) || out_again;
        let legal = goes_on && (!over || report.state == ParcelState::Cancelled);
        keep!(
            "the cloud hears a legal sequence",
            legal,
            "{} is {:?} after {before:?}",
            report.parcel,
            report.state
        );
        self.reported.insert(report.parcel.clone(), report);
        Ok(())
    }

    /// A link hands a command to its device.
    fn deliver(&mut self, effect: Effect) -> Kept {
        let Effect::Command {
            device, command, ..
        } = effect;
        let lost = !self.calm && !self.exact && self.dice.one_in(14);
        match command.order {
            Order::Open { compartment } => {
                if !self.exact && self.dice.one_in(20) {
                    return Ok(()); // The link is down: it never leaves the box.
                }
                self.apply(Act::Sent(command.id.clone()))?;
                let twice = self
                    .field
                    .told
                    .iter()
                    .any(|told| told.command == command.id);
                if !lost && !twice && !self.field.done.contains(&command.id) {
                    self.field.told.push(Told {
                        slot: Slot {
                            bank: device,
                            compartment,
                        },
                        command: command.id,
                        until_tick_ms: self.now.tick_ms + command.ttl_ms,
                    });
                }
            }
            Order::Codes { digests, .. } if !lost => {
                self.saw("codes to a bank");
                self.field.lists.insert(device.clone(), digests);
                self.report(&device, Said::Result(command.id, Done::Done))?;
            }
            Order::Codes { .. } | Order::Show { .. } | Order::Identify => {}
        }
        Ok(())
    }

    /// Gathers inputs into one commit, or one that fails.
    pub fn begin_batch(&mut self, inputs: u64, fails: bool) {
        if self.batch.is_none() {
            self.batch = Some(Batch {
                model: self.model.clone(),
                record: self.record.clone(),
                demand: self.demand.clone(),
                acts: Vec::new(),
                left: inputs,
                fails,
            });
        }
    }

    /// An action is over: so may be the batch.
    pub fn count_down(&mut self) -> Kept {
        match &mut self.batch {
            Some(batch) if batch.left > 0 => batch.left -= 1,
            Some(_) => return self.end_batch(),
            None => {}
        }
        Ok(())
    }

    pub fn end_batch(&mut self) -> Kept {
        let Some(batch) = self.batch.take() else {
            return Ok(());
        };
        if !batch.fails {
            self.drain(&Act::Tick)?;
            return self.commit();
        }
        self.saw("failed commit");
        self.pending.clear();
        self.effects.clear();
        (self.model, self.record, self.demand) = (batch.model, batch.record, batch.demand);
        self.load()?;
        // What devices and the cloud didn't get an answer for they send again; people don't.
        self.resending = true;
        for act in &batch.acts {
            // Who stood there was told nothing, and what he did isn't known.
            if let Act::Event(sent) = act {
                self.lose(sent);
            }
        }
        for act in batch.acts {
            match act {
                Act::Event(sent) if !self.calm && self.dice.one_in(10) => self.lose(&sent),
                Act::Event(_) | Act::Cloud(_) => {
                    self.apply(act)?;
                }
                _ => {}
            }
        }
        self.resending = false;
        Ok(())
    }

    /// A restart: all that isn't on disk is gone.
    pub fn restart(&mut self) -> Kept {
        self.end_batch()?;
        self.saw("restart");
        self.load()
    }

    /// Power fails: the running time doesn't know how long, and neither does the clock.
    pub fn power_cut(&mut self, ms: u64, known_ms: u64) -> Kept {
        self.restart()?;
        self.lost_ms += (ms - known_ms) as i64;
        self.pass(known_ms);
        let ahead_ms = -(self.dice.below(50 * 365) as i64) * 86_400_000;
        self.set_clock(ahead_ms, TimeQuality::Unknown)?;
        self.record.moments().for_each(|moment| moment.sure = false);
        Ok(())
    }

    fn load(&mut self) -> Kept {
        self.estate = match Estate::load(self.layout.clone(), self.snapshot.clone()) {
            Ok(estate) => estate,
            Err(error) => {
                return Err(Broken {
                    rule: "what is on disk can be loaded",
                    what: error.to_string(),
                });
            }
        };
        keep!(
            "loading does nothing",
            self.estate.take_changes().is_empty(),
            "changes"
        );
        // A door that stands open now had been closed before: that isn't on disk.
        let rows = self.snapshot.compartments.values();
        let said_empty = rows.filter(|row| row.is_said_empty());
        self.model.missing = said_empty.map(|row| row.slot.clone()).collect();
        self.record.starts += 1;
        self.record.sessions.clear();
        Ok(())
    }

    /// What is committed is what would be loaded.
    pub fn check_reloaded(&mut self) -> Kept {
        let loaded = Estate::load(self.layout.clone(), self.snapshot.clone());
        let same = loaded.is_ok_and(|loaded| loaded == self.estate);
        keep!(
            "what was written is what there is",
            same,
            "the loaded estate differs"
        );
        for row in self.estate.parcels() {
            let name = &row.parcel.parcel;
            let told = self.reported.get(name);
            let state = told.map(|r| r.state) == Some(row.reported());
            keep!(
                "the cloud knows where a parcel stands",
                state,
                "{name} is {:?}, the cloud heard {told:?}",
                row.reported()
            );
        }
        self.saw("compared with a load");
        Ok(())
    }
}
