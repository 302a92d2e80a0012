//! One history: dice decide what happens next; estate and model both go through it.

use std::collections::BTreeMap;

use cloud_protocol::downlink::{Size, Zone};
use cloud_protocol::{Downlink, badge_digest};
use estate::command::CommandState;
use estate::compartment::Holds;
use estate::parcel::{Place, Stage as Row};
use estate::{Effect, Estate, Input, Outcome, TimeQuality};
use firmware_protocols::command::Order;
use firmware_protocols::event::{Direction, Done, Door};
use firmware_protocols::{Ident, Slot};

use crate::common::{Dice, EVENING_MS, World, id, layout, opens, parcel, shown};
use crate::field::{Deed, Field, Sent, Told};
use crate::model::{Fate, HandOver, Model, Stage};

const BADGES: [&str; 3] = ["badge-1", "badge-2", "badge-3"];
const POINTS: [&str; 3] = ["bank-a", "bank-b", "desk-c"];
const READERS: [&str; 4] = ["bank-a", "bank-b", "keypad-b", "desk-c"];

/// An input, as it can be sent again after a failed commit.
#[derive(Clone, Debug)]
enum Act {
    Event(Sent),
    Cloud(Downlink),
    Hand(Slot),
    Tick,
}

pub struct Play {
    seed: u64,
    world: World,
    dice: Dice,
    field: Field,
    model: Model,
    /// The model at the last commit.
    saved: Model,
    /// Inputs since the last commit.
    pending: Vec<Act>,
    /// Effects since the last commit.
    outgoing: Vec<Effect>,
    announced: Vec<Downlink>,
    known_codes: BTreeMap<String, String>,
    dead_codes: Vec<(String, String)>,
    /// The steps, kept only when one history is played again.
    log: Vec<String>,
    verbose: bool,
}

impl Drop for Play {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.log.len().saturating_sub(60);
            eprintln!("{}", self.log[from..].join("\n"));
            eprintln!(
                "again, with its steps: ESTATE_SEED={} cargo test -p estate --test histories",
                self.seed
            );
        }
    }
}

impl Play {
    pub fn new(seed: u64) -> Self {
        let mut layout = layout();
        layout.rules.finished_keep_ms = u64::MAX;
        // Few codes in all, so that they meet.
        layout.rules.code_min_digits = 2;
        layout.rules.code_max_digits = if seed.is_multiple_of(3) { 2 } else { 6 };
        let mut world = World::with(layout.clone());
        world.hold = true;
        world.dice = Dice::new(seed ^ 0xABCD_EF01);
        let model = Model::new(&layout);
        Self {
            seed,
            world,
            dice: Dice::new(seed),
            field: Field::default(),
            saved: model.clone(),
            model,
            pending: Vec::new(),
            outgoing: Vec::new(),
            announced: Vec::new(),
            known_codes: BTreeMap::new(),
            dead_codes: Vec::new(),
            log: Vec::new(),
            verbose: std::env::var_os("ESTATE_SEED").is_some(),
        }
    }

    /// Plays; what happened how often.
    pub fn run(mut self, steps: u32) -> BTreeMap<&'static str, u64> {
        for name in BADGES {
            self.courier(name);
        }
        for _ in 0..steps {
            self.step();
            self.compare();
            match self.dice.below(40) {
                0 => self.fail("failed commit"),
                1 => {
                    self.commit();
                    self.fail("restart");
                }
                2..=21 => {}
                _ => self.commit(),
            }
        }
        self.commit();
        std::mem::take(&mut self.model.seen)
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..=5 => self.announce(),
            6..=8 => self.cloud_speaks_of_a_parcel(),
            9..=24 => self.scan(),
            25..=40 => self.key(),
            41..=56 => self.lock_acts(),
            57..=68 => self.person_at_an_open_door(),
            69..=72 => self.state_report(),
            73..=80 => self.neighbours(),
            81..=83 => self.redeliver(),
            84..=85 => self.release_held(),
            86 => self.by_hand(),
            87 => {
                let device = id(READERS[self.dice.index(4)]);
                self.field.restart(&device);
            }
            88 => self.clock_changes(),
            _ => self.time_passes(),
        }
    }

    fn apply(&mut self, act: Act) -> Outcome {
        if self.verbose {
            self.log
                .push(format!("{:>9} {act:?}", self.world.now.tick_ms));
        }
        let input = match &act {
            Act::Event(sent) => Input::Event(sent.event(&self.world.estate)),
            Act::Cloud(item) => Input::Downlink(item.clone()),
            Act::Hand(slot) => Input::OpenByHand {
                slot: slot.clone(),
                operator: "li".into(),
                reason: "test".into(),
            },
            Act::Tick => Input::Tick,
        };
        let outcome = self.world.handle(input);
        for (device, _, text) in shown(&outcome).into_iter().filter(|_| self.verbose) {
            self.log.push(format!("          {device} shows {text}"));
        }
        let now = self.world.now;
        match &act {
            Act::Event(sent) => self.model.event(&now, sent, &outcome),
            Act::Cloud(item) => self.model.cloud(&now, item, &outcome.verdict),
            Act::Hand(slot) => self.model.by_hand(&now, slot, &outcome),
            Act::Tick => self.model.tick(&now),
        }
        if matches!(act, Act::Cloud(_) | Act::Tick) {
            assert_eq!(opens(&outcome), [], "only a gesture opens");
        }
        self.outgoing.extend(outcome.effects.clone());
        self.pending.push(act);
        outcome
    }

    /// A device reports: at once, twice, or later.
    fn report(&mut self, device: &Ident, deed: Deed) {
        let sent = self.field.enter(&self.world.now, device, deed);
        if self.dice.one_in(15) && self.field.held.len() < 10 {
            self.field.held.push(sent);
            return;
        }
        self.apply(Act::Event(sent.clone()));
        if self.dice.one_in(12) {
            self.apply(Act::Event(sent));
        }
    }

    fn announce(&mut self) {
        let waiting = self
            .model
            .parcels
            .values()
            .filter(|p| !over(&p.stage))
            .count();
        if waiting > 12 {
            return;
        }
        let point = POINTS[self.dice.index(3)];
        let mut p = parcel(&format!("p{}", self.announced.len()), point);
        p.recipient = format!("r{}", self.dice.below(12));
        p.consent = !self.dice.one_in(12);
        p.size = [Size::S, Size::S, Size::M, Size::L][self.dice.index(4)];
        if self.dice.one_in(8) {
            p.zone = Zone::Chilled;
        }
        let item = Downlink::ParcelExpected(p);
        self.announced.push(item.clone());
        self.apply(Act::Cloud(item));
    }

    fn cloud_speaks_of_a_parcel(&mut self) {
        if self.announced.is_empty() {
            return;
        }
        let again = self.announced[self.dice.index(self.announced.len())].clone();
        let Downlink::ParcelExpected(mut p) = again.clone() else {
            return;
        };
        let item = match self.dice.below(6) {
            0 => again,
            1 => {
                p.deadline += 1;
                Downlink::ParcelExpected(p)
            }
            2 => Downlink::ParcelCancelled { parcel: p.parcel },
            3 => Downlink::ParcelExtended {
                parcel: p.parcel,
                deadline: p.deadline + 7,
            },
            4 => Downlink::CodeReissue { parcel: p.parcel },
            _ => {
                let badge = BADGES[self.dice.index(3)];
                return self.courier(badge);
            }
        };
        self.apply(Act::Cloud(item));
    }

    fn courier(&mut self, name: &str) {
        let hours = i64::try_from(self.dice.below(2_000)).unwrap();
        let item = Downlink::Courier {
            courier: name.into(),
            badge: badge_digest(name),
            valid_until: EVENING_MS + hours * 3_600_000,
        };
        self.apply(Act::Cloud(item));
    }

    fn scan(&mut self) {
        let reader = id(READERS[self.dice.index(4)]);
        let badge = BADGES[self.dice.index(3)];
        let point = self.world.estate.point_of(&reader).unwrap();
        let here: Vec<_> = self
            .model
            .parcels
            .iter()
            .filter(|(_, p)| {
                p.announced.point == point
                    && matches!(p.stage, Stage::Expected | Stage::Depositing(_))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if self.dice.one_in(3) || here.is_empty() {
            let any: Vec<_> = self.model.parcels.keys().cloned().collect();
            let symbol = match self.dice.below(4) {
                0 if !any.is_empty() => any[self.dice.index(any.len())].clone(),
                _ => badge.to_string(),
            };
            self.report(&reader, Deed::Scan(symbol));
            return;
        }
        if self.dice.below(3) > 0 {
            self.report(&reader, Deed::Scan(badge.into()));
        }
        let symbol = here[self.dice.index(here.len())].clone();
        self.report(&reader, Deed::Scan(symbol));
    }

    fn key(&mut self) {
        let good: Vec<_> = self
            .known_codes
            .iter()
            .filter(|(name, _)| {
                matches!(
                    self.model.parcels[*name].stage,
                    Stage::Deposited(_) | Stage::Collecting(_) | Stage::Collected(..)
                )
            })
            .map(|(name, digits)| (name.clone(), digits.clone()))
            .collect();
        match self.dice.below(10) {
            0..=5 if !good.is_empty() => {
                let (name, digits) = good[self.dice.index(good.len())].clone();
                let point = self.model.parcels[&name].announced.point.clone();
                let at_keypad = point == id("bank-b") && self.dice.one_in(2);
                let reader = if at_keypad { id("keypad-b") } else { point };
                self.report(&reader, Deed::Key(digits));
            }
            6 if !self.dead_codes.is_empty() => {
                let (_, digits) = self.dead_codes[self.dice.index(self.dead_codes.len())].clone();
                let reader = id(READERS[self.dice.index(4)]);
                self.report(&reader, Deed::Key(digits));
            }
            7 if !self.known_codes.is_empty() => {
                let all: Vec<_> = self.known_codes.values().cloned().collect();
                let digits = all[self.dice.index(all.len())].clone();
                let reader = id(READERS[self.dice.index(4)]);
                self.report(&reader, Deed::Key(digits));
            }
            8 => {
                let reader = id(READERS[self.dice.index(4)]);
                for _ in 0..=self.dice.below(6) {
                    self.report(&reader, Deed::Key("0000000000".into()));
                }
            }
            _ => {}
        }
    }

    /// A lock that was told to open does so, fails, refuses as it is too late, or says nothing.
    fn lock_acts(&mut self) {
        if self.field.told.is_empty() {
            return;
        }
        let told = self
            .field
            .told
            .remove(self.dice.index(self.field.told.len()));
        let bank = told.slot.bank.clone();
        if self.world.now.tick_ms >= told.until_tick_ms {
            self.report(&bank, Deed::Result(told.command, Done::Refused));
            return;
        }
        match self.dice.below(10) {
            0 => self.report(&bank, Deed::Result(told.command, Done::Failed)),
            1 => {}
            2 => self.report(&bank, Deed::Result(told.command, Done::Done)),
            n => {
                if n > 6 {
                    self.report(&bank, Deed::Result(told.command, Done::Done));
                }
                self.field
                    .compartments
                    .entry(told.slot.clone())
                    .or_default()
                    .open = true;
                if self.dice.one_in(12) {
                    // The report is held up on its way.
                    let ms = self.dice.below(140_000);
                    self.world.skip(ms);
                    self.apply(Act::Tick);
                }
                self.say_state(&told.slot);
            }
        }
    }

    /// Somebody puts in, takes out, or does nothing, and closes.
    fn person_at_an_open_door(&mut self) {
        let open: Vec<_> = self
            .field
            .compartments
            .iter()
            .filter(|(_, c)| c.open)
            .map(|(slot, _)| slot.clone())
            .collect();
        if open.is_empty() {
            return;
        }
        let slot = open[self.dice.index(open.len())].clone();
        let holder = self.model.holder(&slot);
        let compartment = self.field.compartments.get_mut(&slot).unwrap();
        if !self.dice.one_in(6) {
            match holder.map(|name| (name.clone(), self.model.parcels[&name].stage.clone())) {
                Some((name, Stage::Depositing(_))) => compartment.inside = Some(name),
                _ => compartment.inside = None,
            }
        }
        compartment.open = false;
        self.say_state(&slot);
    }

    fn state_report(&mut self) {
        let slots: Vec<_> = self.model.compartments.keys().cloned().collect();
        let slot = slots[self.dice.index(slots.len())].clone();
        self.say_state(&slot);
    }

    /// A compartment reports: mostly the truth.
    fn say_state(&mut self, slot: &Slot) {
        let truth = self
            .field
            .compartments
            .entry(slot.clone())
            .or_default()
            .clone();
        let mut door = if truth.open { Door::Open } else { Door::Closed };
        let mut occupied = Some(truth.inside.is_some());
        match self.dice.below(30) {
            0 => door = Door::Unknown,
            1 => occupied = occupied.map(|o| !o),
            2 | 3 => occupied = None,
            _ => {}
        }
        self.report(
            &slot.bank.clone(),
            Deed::Door(slot.compartment, door, occupied),
        );
    }

    fn neighbours(&mut self) {
        for _ in 0..=self.dice.below(6) {
            let door = id(["door-1", "door-2"][self.dice.index(2)]);
            let who = format!("h{}", self.dice.below(9));
            let deed = match self.dice.below(5) {
                0 => Deed::Reading,
                1 => Deed::Intent(["eggs", "milk"][self.dice.index(2)].into(), 2, who),
                2 => Deed::Access(Direction::Out, who),
                _ => Deed::Access(Direction::In, who),
            };
            self.report(&door, deed);
        }
    }

    fn redeliver(&mut self) {
        if !self.field.sent.is_empty() {
            let sent = self.field.sent[self.dice.index(self.field.sent.len())].clone();
            self.apply(Act::Event(sent));
        }
    }

    fn release_held(&mut self) {
        while !self.field.held.is_empty() && !self.dice.one_in(4) {
            let at = self.dice.index(self.field.held.len());
            let sent = self.field.held.remove(at);
            self.apply(Act::Event(sent));
        }
    }

    fn by_hand(&mut self) {
        let slots: Vec<_> = self.model.compartments.keys().cloned().collect();
        let slot = slots[self.dice.index(slots.len())].clone();
        self.apply(Act::Hand(slot));
    }

    fn clock_changes(&mut self) {
        self.world.now.quality = [
            TimeQuality::Unknown,
            TimeQuality::Estimated,
            TimeQuality::Synchronised,
        ][self.dice.index(3)];
        if self.dice.one_in(3) {
            self.world.now.wall_ms += match self.dice.below(4) {
                0 => 31_536_000_000,
                1 => -31_536_000_000,
                2 => 3_600_000,
                _ => -3_600_000,
            };
        }
    }

    fn time_passes(&mut self) {
        let ms = match self.dice.below(12) {
            0..=6 => self.dice.below(9_000),
            7..=8 => self.dice.below(130_000),
            9..=10 => self.dice.below(2_000_000),
            _ => self.dice.below(26 * 3_600_000),
        };
        self.world.skip(ms);
        if !self.dice.one_in(5) {
            self.apply(Act::Tick);
        }
    }

    /// The batch is on disk: what it asked for happens.
    fn commit(&mut self) {
        self.world.commit();
        let reports: Vec<_> = std::mem::take(&mut self.world.reports);
        let said: Vec<_> = reports
            .iter()
            .map(|r| (r.parcel.clone(), r.state.word()))
            .collect();
        assert_eq!(
            said,
            std::mem::take(&mut self.model.reports),
            "each state is told once, in order"
        );
        for report in &reports {
            let Some(code) = &report.code else { continue };
            let digits = code.digits.reveal().to_string();
            self.model.learn_code(&report.parcel, &digits);
            if let Some(old) = self.known_codes.insert(report.parcel.clone(), digits) {
                self.dead_codes.push((report.parcel.clone(), old));
            }
        }
        let released: Vec<_> = std::mem::take(&mut self.world.demand)
            .into_iter()
            .map(|r| (r.building.map(|b| b.to_string()), r.start, r.series))
            .collect();
        assert_eq!(
            released,
            std::mem::take(&mut self.model.releases),
            "demand is released once"
        );
        self.check_receipts();
        let until_tick_ms = self.world.now.tick_ms + 10_000;
        for effect in std::mem::take(&mut self.outgoing) {
            let Effect::Command {
                device, command, ..
            } = effect;
            if let Order::Open { compartment } = command.order
                && !self.dice.one_in(10)
            {
                let slot = Slot {
                    bank: device,
                    compartment,
                };
                self.field.told.push(Told {
                    slot,
                    command: command.id,
                    until_tick_ms,
                });
            }
        }
        self.pending.clear();
        self.save();
        if self.dice.one_in(6) {
            let loaded =
                Estate::load(self.world.layout.clone(), self.world.snapshot.clone()).unwrap();
            assert!(
                loaded == self.world.estate,
                "what was written is what there is"
            );
        }
    }

    /// Remembers the model as it stands; what was taken is too much to copy each time.
    fn save(&mut self) {
        self.model.fresh.clear();
        let taken = std::mem::take(&mut self.model.taken);
        self.saved = self.model.clone();
        self.model.taken = taken;
    }

    fn check_receipts(&mut self) {
        for due in self.world.estate.take_receipts() {
            let (boot, upto) = (due.receipt.boot, due.receipt.seq);
            let range = (due.device.clone(), boot, 1)..=(due.device.clone(), boot, upto);
            let stored = self.model.taken.range(range).count() as u64;
            assert_eq!(stored, upto, "{} was told more than is stored", due.device);
        }
    }

    /// What isn't on disk is gone; devices and the cloud send it again.
    fn fail(&mut self, how: &'static str) {
        self.log.push(format!(
            "{how}, {} inputs to come again",
            self.pending.len()
        ));
        self.world.reload();
        assert_eq!(self.world.estate.take_changes(), [], "loading does nothing");
        self.saved.sessions.clear();
        let mut taken = std::mem::take(&mut self.model.taken);
        for key in &self.model.fresh {
            taken.remove(key);
        }
        let seen = std::mem::take(&mut self.model.seen);
        self.model = self.saved.clone();
        (self.model.seen, self.model.taken) = (seen, taken);
        self.model.saw(how);
        self.outgoing.clear();
        for act in std::mem::take(&mut self.pending) {
            match act {
                Act::Event(_) if self.dice.one_in(10) => {}
                Act::Event(_) | Act::Cloud(_) => {
                    self.apply(act);
                }
                Act::Hand(_) | Act::Tick => {}
            }
        }
    }

    /// Estate and model agree in everything, and what must never be isn't.
    fn compare(&mut self) {
        let estate = &self.world.estate;
        assert_eq!(estate.parcels().count(), self.model.parcels.len());
        for row in estate.parcels() {
            let name = &row.parcel.parcel;
            let model = &self.model.parcels[name];
            assert_eq!(row.parcel, model.announced);
            assert_eq!(plain(&row.stage, row.since_tick_ms), model.stage, "{name}");
        }
        for row in estate.compartments() {
            let model = &self.model.compartments[&row.slot];
            assert_eq!(
                (row.door, row.occupied, row.openings),
                (model.door, model.occupied, model.openings)
            );
            assert_eq!(row.fault.is_some(), model.fault);
            let held = match &row.holds {
                Holds::Nothing => None,
                Holds::Reserved { parcel } | Holds::Parcel { parcel } => Some(parcel.clone()),
            };
            assert_eq!(held, self.model.holder(&row.slot), "{}", row.slot);
        }
        for row in estate.commands() {
            assert_eq!(
                fate(&row.state),
                self.model.commands[&row.id].fate,
                "{}",
                row.id
            );
        }
        for row in estate.keypads() {
            let model = &self.model.keypads[&row.keypad];
            assert_eq!(
                (row.wrong, row.lockouts, row.locked_until_tick_ms),
                (model.wrong, model.lockouts, model.locked_until)
            );
        }
        for row in estate.devices() {
            let model = &self.model.ledgers[&row.device];
            assert_eq!(
                (row.received, row.stored, row.duplicate),
                (model.received, model.stored, model.duplicate)
            );
            assert_eq!(row.received, row.stored + row.duplicate + row.quarantined);
        }
        let live = estate
            .codes()
            .filter(|row| matches!(row.state, estate::code::CodeState::Live { .. }))
            .count();
        let model_live = self
            .model
            .codes
            .iter()
            .filter(|code| code.rests_until.is_none())
            .count();
        assert_eq!(live, model_live);
    }
}

const fn over(stage: &Stage) -> bool {
    matches!(stage, Stage::Collected(..) | Stage::Cancelled)
}

/// A row's stage in the model's words.
fn plain(stage: &Row, since: u64) -> Stage {
    let hand_over = |slot: &Slot, command: &String, opened: &bool, alarmed: &bool| HandOver {
        slot: slot.clone(),
        command: command.clone(),
        opened: *opened,
        alarmed: *alarmed,
        since,
    };
    let place = |place: &Place| match place {
        Place::Slot(slot) => Some(slot.clone()),
        Place::Desk(_) => None,
    };
    match stage {
        Row::Expected => Stage::Expected,
        Row::Depositing {
            slot,
            command,
            opened,
            alarmed,
            ..
        } => Stage::Depositing(hand_over(slot, command, opened, alarmed)),
        Row::Deposited { place: p } => Stage::Deposited(place(p)),
        Row::Collecting {
            slot,
            command,
            opened,
            alarmed,
        } => Stage::Collecting(hand_over(slot, command, opened, alarmed)),
        Row::Collected {
            place: p,
            reopen_until_tick_ms,
        } => Stage::Collected(place(p), *reopen_until_tick_ms),
        Row::Cancelled => Stage::Cancelled,
    }
}

const fn fate(state: &CommandState) -> Fate {
    match state {
        CommandState::Sent => Fate::Sent,
        CommandState::Done => Fate::Done,
        CommandState::Opened => Fate::Opened,
        CommandState::Refused { .. } => Fate::Refused,
        CommandState::Failed { .. } => Fate::Failed,
        CommandState::Expired => Fate::Expired,
    }
}
