//! What should be true: a plain restatement of the rules, with digits and names in the clear, no
//! journal, no digests, no bounded lists.
//!
//! It follows the estate step by step. Where the estate chooses (a compartment, a code, an id), it
//! takes the choice over and checks that it was allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cloud_protocol::downlink::ExpectedParcel;
use estate::layout::Layout;
use estate::{Now, Outcome, Verdict};
use firmware_protocols::event::{Direction, Door};
use firmware_protocols::{Ident, Slot};

use crate::common::opens;
use crate::demand_model::{DemandModel, Release};
use crate::field::{Deed, Sent};

pub const TTL_MS: u64 = 10_000;
pub const PATIENCE_MS: u64 = 120_000;
pub const GRACE_MS: u64 = 120_000;
pub const SESSION_MS: u64 = 180_000;
pub const REST_MS: u64 = 24 * 3_600_000;
pub const STALE_MS: i64 = 120_000;

#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    Expected,
    Depositing(HandOver),
    Deposited(Option<Slot>),
    Collecting(HandOver),
    Collected(Option<Slot>, u64),
    Cancelled,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HandOver {
    pub slot: Slot,
    pub command: String,
    pub opened: bool,
    pub alarmed: bool,
    pub since: u64,
}

#[derive(Clone, Debug)]
pub struct Parcel {
    pub announced: ExpectedParcel,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Sent,
    Done,
    Opened,
    Refused,
    Failed,
    Expired,
}

#[derive(Clone, Debug)]
pub struct Command {
    pub slot: Slot,
    pub parcel: Option<String>,
    pub deposit: bool,
    pub expires: u64,
    pub fate: Fate,
}

/// A code; its digits are learned when they go out to the cloud.
#[derive(Clone, Debug)]
pub struct Code {
    pub point: Ident,
    pub parcel: String,
    pub digits: Option<String>,
    pub issued: u64,
    /// The end of its rest, once it is dead.
    pub rests_until: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keypad {
    pub wrong: u32,
    pub lockouts: u32,
    pub locked_until: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Compartment {
    pub door: Door,
    pub occupied: Option<bool>,
    pub fault: bool,
    pub openings: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub received: u64,
    pub stored: u64,
    pub duplicate: u64,
}

#[derive(Clone)]
pub struct Model {
    pub layout: Rc<Layout>,
    pub parcels: BTreeMap<String, Parcel>,
    pub compartments: BTreeMap<Slot, Compartment>,
    pub commands: BTreeMap<String, Command>,
    pub codes: Vec<Code>,
    pub keypads: BTreeMap<Ident, Keypad>,
    pub couriers: BTreeMap<String, i64>,
    pub sessions: BTreeMap<Ident, (String, u64)>,
    pub ledgers: BTreeMap<Ident, Ledger>,
    /// Every event that was stored.
    pub taken: BTreeSet<(Ident, u32, u64)>,
    /// Those of them that came since the last commit.
    pub fresh: Vec<(Ident, u32, u64)>,
    pub demand: DemandModel,
    /// What the cloud should hear: parcel and state; and demand.
    pub reports: Vec<(String, &'static str)>,
    pub releases: Vec<Release>,
    pub seen: BTreeMap<&'static str, u64>,
}

impl Model {
    pub fn new(layout: &Layout) -> Self {
        let mut compartments = BTreeMap::new();
        for bank in &layout.banks {
            for compartment in 1..=u16::try_from(bank.compartments.len()).unwrap() {
                let slot = Slot {
                    bank: bank.id.clone(),
                    compartment,
                };
                let fresh = Compartment {
                    door: Door::Unknown,
                    occupied: None,
                    fault: false,
                    openings: 0,
                };
                compartments.insert(slot, fresh);
            }
        }
        Self {
            layout: Rc::new(layout.clone()),
            compartments,
            parcels: BTreeMap::new(),
            commands: BTreeMap::new(),
            codes: Vec::new(),
            keypads: BTreeMap::new(),
            couriers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            taken: BTreeSet::new(),
            fresh: Vec::new(),
            demand: DemandModel::default(),
            reports: Vec::new(),
            releases: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// An event comes in.
    pub fn event(&mut self, now: &Now, sent: &Sent, outcome: &Outcome) {
        let ledger = self.ledgers.entry(sent.device.clone()).or_default();
        ledger.received += 1;
        let key = (sent.device.clone(), sent.boot, sent.seq);
        if self.taken.insert(key.clone()) {
            self.fresh.push(key);
        } else {
            ledger.duplicate += 1;
            self.saw("duplicate");
            assert_eq!(outcome.verdict, Verdict::Duplicate);
            assert_eq!(outcome.effects, [], "a redelivery does nothing");
            return;
        }
        ledger.stored += 1;
        assert_eq!(outcome.verdict, Verdict::Taken);
        let point = self.point(&sent.device);
        let open = opens(outcome).pop();
        match (&sent.deed, point) {
            (Deed::Key(digits), Some(point)) => self.typed(now, sent, &point, digits, open),
            (Deed::Scan(symbol), Some(point)) => self.scanned(now, sent, &point, symbol, open),
            (deed, point) => {
                assert_eq!(open, None, "only a gesture opens");
                self.other(now, sent, deed, point);
            }
        }
    }

    pub(crate) fn other(&mut self, now: &Now, sent: &Sent, deed: &Deed, point: Option<Ident>) {
        match deed {
            Deed::Door(compartment, door, occupied) => {
                let slot = Slot {
                    bank: point.unwrap(),
                    compartment: *compartment,
                };
                self.door(now, &slot, *door, *occupied);
            }
            Deed::Result(command, done) => self.result(now, command, *done),
            Deed::Access(direction, who) => {
                let series = if *direction == Direction::In {
                    "comings"
                } else {
                    "goings"
                };
                let building = self.building(&sent.device);
                self.demand
                    .count(now, sent.at_ms, &building, series, 1, who);
            }
            Deed::Intent(item, quantity, who) => {
                let building = self.building(&sent.device);
                let series = format!("intent:{item}");
                self.demand.count(
                    now,
                    sent.at_ms,
                    &building,
                    &series,
                    u64::from(*quantity),
                    who,
                );
            }
            Deed::Reading | Deed::Key(_) | Deed::Scan(_) => {}
        }
    }

    pub fn by_hand(&mut self, now: &Now, slot: &Slot, outcome: &Outcome) {
        let (place, command) = opens(outcome).pop().expect("a technician always opens");
        assert_eq!(place, *slot);
        self.commanded(now, slot, command, None, false);
    }

    pub(crate) fn issue(&mut self, now: &Now, name: &str, point: &Ident) {
        self.codes.push(Code {
            point: point.clone(),
            parcel: name.into(),
            digits: None,
            issued: now.tick_ms,
            rests_until: None,
        });
    }

    /// A code goes out to the cloud: no other may be the same.
    pub fn learn_code(&mut self, name: &str, digits: &str) {
        let at = self
            .codes
            .iter()
            .position(|code| code.parcel == name && code.digits.is_none())
            .unwrap();
        let new = self.codes[at].clone();
        for other in self.codes.iter().filter(|code| code.point == new.point) {
            if other.digits.as_deref() == Some(digits) {
                let free = other.rests_until.is_some_and(|until| until <= new.issued);
                assert!(free, "{digits} was given twice: {other:?}, {new:?}");
            }
        }
        self.codes[at].digits = Some(digits.into());
    }

    pub(crate) fn kill_code(&mut self, name: &str, from: u64) {
        for code in self
            .codes
            .iter_mut()
            .filter(|code| code.parcel == name && code.rests_until.is_none())
        {
            code.rests_until = Some(from + REST_MS);
        }
    }

    pub(crate) fn commanded(
        &mut self,
        now: &Now,
        slot: &Slot,
        id: String,
        parcel: Option<&str>,
        deposit: bool,
    ) {
        self.compartments.get_mut(slot).unwrap().openings += 1;
        let command = Command {
            slot: slot.clone(),
            parcel: parcel.map(Into::into),
            deposit,
            expires: now.tick_ms + TTL_MS,
            fate: Fate::Sent,
        };
        assert!(
            self.commands.insert(id, command).is_none(),
            "ids are unique"
        );
    }

    /// The parcel that a compartment holds or is kept for.
    pub fn holder(&self, slot: &Slot) -> Option<String> {
        let mut holders = self
            .parcels
            .iter()
            .filter(|(_, parcel)| match &parcel.stage {
                Stage::Depositing(h) | Stage::Collecting(h) => h.slot == *slot,
                Stage::Deposited(Some(s)) => s == slot,
                _ => false,
            });
        let holder = holders.next().map(|(name, _)| name.clone());
        assert!(holders.next().is_none(), "two parcels in {slot}");
        holder
    }

    pub(crate) fn set(&mut self, name: &str, stage: Stage) {
        let parcel = self.parcels.get_mut(name).unwrap();
        let over = matches!(parcel.stage, Stage::Collected(..) | Stage::Cancelled);
        assert!(!over, "{name} is finished");
        parcel.stage = stage;
    }

    pub(crate) fn point(&self, device: &Ident) -> Option<Ident> {
        let own = self.layout.banks.iter().any(|bank| bank.id == *device)
            || self.layout.desks.iter().any(|desk| desk.id == *device);
        if own {
            return Some(device.clone());
        }
        self.layout
            .devices
            .iter()
            .find(|d| d.id == *device)?
            .point
            .clone()
    }

    pub(crate) fn building(&self, device: &Ident) -> String {
        let banks = self
            .layout
            .banks
            .iter()
            .map(|bank| (&bank.id, &bank.building));
        let desks = self
            .layout
            .desks
            .iter()
            .map(|desk| (&desk.id, &desk.building));
        let devices = self
            .layout
            .devices
            .iter()
            .map(|device| (&device.id, &device.building));
        let mut all = banks.chain(desks).chain(devices);
        all.find(|(id, _)| *id == device).unwrap().1.to_string()
    }

    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_insert(0) += 1;
    }
}
