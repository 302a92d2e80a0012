//! One history: dice decide what happens next; estate and model both go through it.

use std::collections::BTreeMap;

use cloud_protocol::Downlink;
use estate::command::CommandState;
use estate::compartment::Holds;
use estate::parcel::{Place, Stage as Row};
use estate::{Effect, Estate, Input, Outcome};
use firmware_protocols::command::Order;
use firmware_protocols::{Ident, Slot};

use crate::common::{Dice, World, id, layout, opens, shown};
use crate::field::{Deed, Field, Sent, Told};
use crate::model::{Fate, HandOver, Model, Stage};

pub const BADGES: [&str; 3] = ["badge-1", "badge-2", "badge-3"];
pub const POINTS: [&str; 3] = ["bank-a", "bank-b", "desk-c"];
pub const READERS: [&str; 4] = ["bank-a", "bank-b", "keypad-b", "desk-c"];

/// An input, as it can be sent again after a failed commit.
#[derive(Clone, Debug)]
pub enum Act {
    Event(Sent),
    Cloud(Downlink),
    Hand(Slot),
    Tick,
}

pub struct Play {
    pub(crate) seed: u64,
    pub(crate) world: World,
    pub(crate) dice: Dice,
    pub(crate) field: Field,
    pub(crate) model: Model,
    /// The model at the last commit.
    pub(crate) saved: Model,
    /// Inputs since the last commit.
    pub(crate) pending: Vec<Act>,
    /// Effects since the last commit.
    pub(crate) outgoing: Vec<Effect>,
    pub(crate) announced: Vec<Downlink>,
    pub(crate) known_codes: BTreeMap<String, String>,
    pub(crate) dead_codes: Vec<(String, String)>,
    /// The steps, kept only when one history is played again.
    pub(crate) log: Vec<String>,
    pub(crate) verbose: bool,
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

    pub(crate) fn step(&mut self) {
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

    pub(crate) fn apply(&mut self, act: Act) -> Outcome {
        // The model learns a code when it goes out: before that it can't tell what digits do.
        let typed = matches!(&act, Act::Event(sent) if matches!(sent.deed, Deed::Key(_)));
        if typed && self.model.codes.iter().any(|code| code.digits.is_none()) {
            self.commit();
        }
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
    pub(crate) fn report(&mut self, device: &Ident, deed: Deed) {
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

    /// The batch is on disk: what it asked for happens.
    pub(crate) fn commit(&mut self) {
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
    pub(crate) fn save(&mut self) {
        self.model.fresh.clear();
        let taken = std::mem::take(&mut self.model.taken);
        self.saved = self.model.clone();
        self.model.taken = taken;
    }

    pub(crate) fn check_receipts(&mut self) {
        for due in self.world.estate.take_receipts() {
            let (boot, upto) = (due.receipt.boot, due.receipt.seq);
            let range = (due.device.clone(), boot, 1)..=(due.device.clone(), boot, upto);
            let stored = self.model.taken.range(range).count() as u64;
            assert_eq!(stored, upto, "{} was told more than is stored", due.device);
        }
    }

    /// What isn't on disk is gone; devices and the cloud send it again.
    pub(crate) fn fail(&mut self, how: &'static str) {
        if self.verbose {
            let inputs = self.pending.len();
            self.log
                .push(format!("{how}, {inputs} inputs to come again"));
        }
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
    pub(crate) fn compare(&mut self) {
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

pub const fn over(stage: &Stage) -> bool {
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
