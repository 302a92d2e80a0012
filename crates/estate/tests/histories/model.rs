//! What should be true: a plain restatement of the rules, with digits and names in the clear, no
//! journal, no digests, no bounded lists.
//!
//! It follows the estate step by step. Where the estate chooses (a compartment, a code, an id), it
//! takes the choice over and checks that it was allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cloud_protocol::Downlink;
use cloud_protocol::downlink::ExpectedParcel;
use estate::layout::Layout;
use estate::{Now, Outcome, TimeQuality, Verdict};
use firmware_protocols::event::{Direction, Done, Door};
use firmware_protocols::{Ident, Slot};

use crate::common::opens;
use crate::demand_model::{DemandModel, Release};
use crate::field::{Deed, Sent};

const TTL_MS: u64 = 10_000;
const PATIENCE_MS: u64 = 120_000;
const GRACE_MS: u64 = 120_000;
const SESSION_MS: u64 = 180_000;
const REST_MS: u64 = 24 * 3_600_000;
const STALE_MS: i64 = 120_000;

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
    layout: Rc<Layout>,
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

    fn other(&mut self, now: &Now, sent: &Sent, deed: &Deed, point: Option<Ident>) {
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

    fn typed(
        &mut self,
        now: &Now,
        sent: &Sent,
        point: &Ident,
        digits: &str,
        open: Option<(Slot, String)>,
    ) {
        let keypad = self.keypads.get(&sent.device).cloned().unwrap_or_default();
        let locked = keypad.locked_until.is_some_and(|until| now.tick_ms < until);
        if stale(now, sent.at_ms) || locked {
            assert_eq!(open, None, "locked or stale: nothing opens");
            return;
        }
        let live = self.codes.iter().find(|code| {
            code.point == *point
                && code.digits.as_deref() == Some(digits)
                && code.rests_until.is_none()
        });
        let Some(name) = live.map(|code| code.parcel.clone()) else {
            assert_eq!(open, None, "a wrong or dead code opens nothing");
            self.wrong(now, &sent.device);
            return;
        };
        match self.parcels[&name].stage.clone() {
            Stage::Expected | Stage::Depositing(_) | Stage::Cancelled => {
                assert_eq!(open, None, "not here yet")
            }
            Stage::Deposited(None) => {
                assert_eq!(open, None, "a desk has no door");
                self.collected(now, &name, None);
            }
            Stage::Deposited(Some(slot)) => self.collecting(now, &name, &slot, false, open),
            Stage::Collecting(was) => self.collecting(now, &name, &was.slot, was.opened, open),
            Stage::Collected(Some(slot), until) if now.tick_ms < until => {
                if self.holder(&slot).is_some() {
                    assert_eq!(open, None, "it was given away");
                    return;
                }
                let (place, command) = open.expect("the grace");
                assert_eq!(place, slot, "a code opens only its own compartment");
                self.commanded(now, &slot, command, Some(&name), false);
                self.saw("reopened");
            }
            Stage::Collected(_, until) => {
                assert_eq!(open, None, "a used code is dead");
                self.kill_code(&name, until);
                self.wrong(now, &sent.device);
            }
        }
    }

    fn collecting(
        &mut self,
        now: &Now,
        name: &str,
        slot: &Slot,
        opened: bool,
        open: Option<(Slot, String)>,
    ) {
        let (place, command) = open.expect("the right code opens");
        assert_eq!(place, *slot, "a code opens only its own compartment");
        self.commanded(now, slot, command.clone(), Some(name), false);
        let since = now.tick_ms;
        let hand_over = HandOver {
            slot: slot.clone(),
            command,
            opened,
            alarmed: false,
            since,
        };
        self.set(name, Stage::Collecting(hand_over));
    }

    fn wrong(&mut self, now: &Now, device: &Ident) {
        let keypad = self.keypads.entry(device.clone()).or_default();
        if keypad
            .locked_until
            .is_some_and(|until| now.tick_ms >= until + 24 * 3_600_000)
        {
            *keypad = Keypad {
                wrong: keypad.wrong,
                ..Keypad::default()
            };
        }
        keypad.wrong += 1;
        if keypad.wrong == 5 {
            let minutes = [1, 2, 4, 8, 15]
                .get(keypad.lockouts as usize)
                .copied()
                .unwrap_or(15);
            keypad.wrong = 0;
            keypad.lockouts += 1;
            keypad.locked_until = Some(now.tick_ms + minutes * 60_000);
            self.saw("locked");
        }
    }

    fn scanned(
        &mut self,
        now: &Now,
        sent: &Sent,
        point: &Ident,
        symbol: &str,
        open: Option<(Slot, String)>,
    ) {
        let desk = self.layout.desks.iter().any(|desk| desk.id == *point);
        if !desk && stale(now, sent.at_ms) {
            assert_eq!(open, None, "stale");
            return;
        }
        let good = |until: i64| now.quality == TimeQuality::Unknown || now.wall_ms < until;
        if !self.parcels.contains_key(symbol) {
            assert_eq!(open, None, "a badge opens nothing");
            match self.couriers.get(symbol) {
                Some(until) if good(*until) => {
                    self.sessions
                        .insert(point.clone(), (symbol.into(), now.tick_ms + SESSION_MS));
                }
                Some(_) => {
                    self.sessions.remove(point);
                }
                None => {}
            }
            return;
        }
        let session = self.sessions.get(point).cloned();
        let Some((badge, _)) =
            session.filter(|(badge, until)| now.tick_ms < *until && good(self.couriers[badge]))
        else {
            assert_eq!(open, None, "badge first");
            self.sessions.remove(point);
            return;
        };
        self.sessions
            .insert(point.clone(), (badge, now.tick_ms + SESSION_MS));
        let parcel = self.parcels[symbol].clone();
        if parcel.announced.point != *point {
            assert_eq!(open, None, "another point's");
            return;
        }
        match parcel.stage {
            Stage::Expected if desk => self.deposited(now, symbol, None),
            Stage::Expected => self.depositing(now, symbol, open, None),
            Stage::Depositing(was) => {
                if self.compartments[&was.slot].fault && !was.opened {
                    self.set(symbol, Stage::Expected);
                    self.depositing(now, symbol, open, None);
                } else {
                    self.depositing(now, symbol, open, Some(was));
                }
            }
            _ => assert_eq!(open, None, "it is here, or gone"),
        }
    }

    fn depositing(
        &mut self,
        now: &Now,
        name: &str,
        open: Option<(Slot, String)>,
        was: Option<HandOver>,
    ) {
        let announced = self.parcels[name].announced.clone();
        let best = match &was {
            Some(was) => Some(vec![was.slot.clone()]),
            None if !announced.consent => None,
            None => self.best_compartments(now, &announced),
        };
        let Some(best) = best else {
            assert_eq!(open, None, "no compartment, or no consent");
            self.saw("full");
            return;
        };
        let (slot, command) = open.expect("a compartment opens");
        assert!(
            best.contains(&slot),
            "{slot} isn't among the best: {best:?}"
        );
        self.commanded(now, &slot, command.clone(), Some(name), true);
        let opened = was.is_some_and(|was| was.opened);
        let since = now.tick_ms;
        self.set(
            name,
            Stage::Depositing(HandOver {
                slot,
                command,
                opened,
                alarmed: false,
                since,
            }),
        );
    }

    /// Free and fitting compartments than which none is better.
    fn best_compartments(&self, now: &Now, announced: &ExpectedParcel) -> Option<Vec<Slot>> {
        let bank = self
            .layout
            .banks
            .iter()
            .find(|bank| bank.id == announced.point)?;
        let mut best: BTreeMap<_, Vec<Slot>> = BTreeMap::new();
        for (slot, row) in self
            .compartments
            .iter()
            .filter(|(slot, _)| slot.bank == bank.id)
        {
            let spec = bank.compartments[usize::from(slot.compartment) - 1];
            let usable = self.holder(slot).is_none()
                && !row.fault
                && row.door != Door::Open
                && row.occupied != Some(true);
            if usable && spec.zone == announced.zone && spec.size >= announced.size {
                let in_grace = self.parcels.values().any(|parcel| {
                    matches!(&parcel.stage, Stage::Collected(Some(s), until) if s == slot && now.tick_ms < *until)
                });
                best.entry((in_grace, spec.size, row.openings))
                    .or_default()
                    .push(slot.clone());
            }
        }
        best.into_values().next()
    }

    fn door(&mut self, now: &Now, slot: &Slot, door: Door, occupied: Option<bool>) {
        let sensor = self
            .layout
            .banks
            .iter()
            .any(|bank| bank.id == slot.bank && bank.occupancy_sensor);
        let occupied = if sensor { occupied } else { None };
        let row = self.compartments.get_mut(slot).unwrap();
        let before = row.occupied;
        row.door = door;
        if door == Door::Closed || occupied.is_some() {
            row.occupied = occupied;
        }
        match door {
            Door::Unknown => {}
            Door::Open => {
                row.fault = false;
                self.door_open(now, slot);
            }
            Door::Closed => self.door_closed(now, slot, before, occupied),
        }
    }

    fn door_open(&mut self, now: &Now, slot: &Slot) {
        let recent = |command: &Command| {
            command.slot == *slot && now.tick_ms < command.expires + PATIENCE_MS
        };
        let mut answered = false;
        for command in self.commands.values_mut().filter(|command| recent(command)) {
            if matches!(command.fate, Fate::Sent | Fate::Done) {
                command.fate = Fate::Opened;
                answered = true;
            }
        }
        if !answered {
            let expired = self
                .commands
                .iter()
                .filter(|(_, command)| recent(command) && command.fate == Fate::Expired);
            let latest = expired.max_by_key(|(id, command)| (command.expires, (*id).clone()));
            if let Some((id, command)) = latest.map(|(id, command)| (id.clone(), command.clone())) {
                self.take_up(now, slot, id, &command);
            }
        }
        let Some(name) = self.holder(slot) else {
            return;
        };
        let parcel = self.parcels.get_mut(&name).unwrap();
        if let Stage::Depositing(hand_over) | Stage::Collecting(hand_over) = &mut parcel.stage
            && !hand_over.opened
        {
            hand_over.opened = true;
            hand_over.since = now.tick_ms;
        }
    }

    fn take_up(&mut self, now: &Now, slot: &Slot, id: String, command: &Command) {
        let Some(name) = &command.parcel else { return };
        let hand_over = HandOver {
            slot: slot.clone(),
            command: id,
            opened: false,
            alarmed: false,
            since: now.tick_ms,
        };
        let stage = &self.parcels[name].stage;
        if command.deposit && *stage == Stage::Expected && self.holder(slot).is_none() {
            self.set(name, Stage::Depositing(hand_over));
        } else if !command.deposit && *stage == Stage::Deposited(Some(slot.clone())) {
            self.set(name, Stage::Collecting(hand_over));
        } else {
            return;
        }
        self.saw("taken up late");
    }

    fn door_closed(
        &mut self,
        now: &Now,
        slot: &Slot,
        before: Option<bool>,
        occupied: Option<bool>,
    ) {
        let Some(name) = self.holder(slot) else {
            return;
        };
        let stage = self.parcels[&name].stage.clone();
        let done = |hand_over: &HandOver| self.commands[&hand_over.command].fate == Fate::Done;
        match stage {
            Stage::Depositing(h) => {
                let turned = occupied == Some(true) && (before == Some(false) || done(&h));
                if h.opened && occupied == Some(false) {
                    self.undone(&name);
                } else if h.opened || turned {
                    self.deposited(now, &name, Some(slot.clone()));
                }
            }
            Stage::Collecting(h) => {
                let turned = occupied == Some(false) && (before == Some(true) || done(&h));
                if h.opened && occupied == Some(true) {
                    self.undone(&name);
                } else if h.opened || turned {
                    self.collected(now, &name, Some(slot.clone()));
                }
            }
            _ => {}
        }
    }

    fn deposited(&mut self, now: &Now, name: &str, slot: Option<Slot>) {
        self.set(name, Stage::Deposited(slot));
        self.reports.push((name.into(), "deposited"));
        self.count_parcel(now, name, "deposits");
        self.saw("deposited");
    }

    fn collected(&mut self, now: &Now, name: &str, slot: Option<Slot>) {
        let until = if slot.is_some() {
            now.tick_ms + GRACE_MS
        } else {
            now.tick_ms
        };
        if slot.is_none() {
            self.kill_code(name, now.tick_ms);
        }
        self.set(name, Stage::Collected(slot, until));
        self.reports.push((name.into(), "collected"));
        self.count_parcel(now, name, "collections");
        let point = self.parcels[name].announced.point.clone();
        let there: Vec<_> = self
            .keypads
            .keys()
            .filter(|k| self.point(k).as_ref() == Some(&point))
            .cloned()
            .collect();
        for keypad in there {
            self.keypads.get_mut(&keypad).unwrap().wrong = 0;
        }
        self.saw("collected");
    }

    fn count_parcel(&mut self, now: &Now, name: &str, series: &str) {
        let announced = self.parcels[name].announced.clone();
        let building = self.building(&announced.point);
        self.demand
            .count(now, now.wall_ms, &building, series, 1, &announced.recipient);
    }

    /// The parcel is again where it was before its hand-over.
    fn undone(&mut self, name: &str) {
        let stage = match &self.parcels[name].stage {
            Stage::Depositing(_) => Stage::Expected,
            Stage::Collecting(h) => Stage::Deposited(Some(h.slot.clone())),
            other => panic!("{other:?} can't be undone"),
        };
        self.set(name, stage);
        self.saw("undone");
    }

    fn result(&mut self, _now: &Now, id: &str, done: Done) {
        let Some(command) = self.commands.get_mut(id) else {
            return;
        };
        if command.fate != Fate::Sent {
            return;
        }
        command.fate = match done {
            Done::Done => Fate::Done,
            Done::Refused => Fate::Refused,
            Done::Failed => Fate::Failed,
        };
        if done == Done::Failed {
            self.compartments.get_mut(&command.slot).unwrap().fault = true;
        }
        if done != Done::Done
            && let Some(name) = self.waiting_for(id)
        {
            self.undone(&name);
        }
    }

    /// The parcel whose door wasn't seen open yet and whose last command this is.
    fn waiting_for(&self, id: &str) -> Option<String> {
        let mut parcels = self.parcels.iter();
        let found = parcels.find(|(_, parcel)| match &parcel.stage {
            Stage::Depositing(h) | Stage::Collecting(h) => h.command == id && !h.opened,
            _ => false,
        });
        found.map(|(name, _)| name.clone())
    }

    pub fn tick(&mut self, now: &Now) {
        let ended: Vec<_> = self
            .commands
            .iter()
            .filter(|(_, c)| c.fate == Fate::Sent && c.expires <= now.tick_ms)
            .map(|(id, _)| id.clone())
            .collect();
        for id in ended {
            self.commands.get_mut(&id).unwrap().fate = Fate::Expired;
            self.saw("expired");
            if let Some(name) = self.waiting_for(&id) {
                self.undone(&name);
            }
        }
        for name in self.parcels.keys().cloned().collect::<Vec<_>>() {
            let commands = &self.commands;
            let parcel = self.parcels.get_mut(&name).unwrap();
            let (Stage::Depositing(h) | Stage::Collecting(h)) = &mut parcel.stage else {
                continue;
            };
            if now.tick_ms < h.since + PATIENCE_MS
                || commands[&h.command].fate == Fate::Sent && !h.opened
            {
                continue;
            }
            if !h.opened {
                self.undone(&name);
            } else if !h.alarmed {
                h.alarmed = true;
                self.saw("door alarm");
            }
        }
        for name in self.parcels.keys().cloned().collect::<Vec<_>>() {
            if let Stage::Collected(_, until) = self.parcels[&name].stage
                && until <= now.tick_ms
            {
                self.kill_code(&name, until);
            }
        }
        let releases = self.demand.close(now);
        if !releases.is_empty() {
            self.saw("hour released");
        }
        self.releases.extend(releases);
    }

    pub fn cloud(&mut self, now: &Now, item: &Downlink, verdict: &Verdict) {
        let refused = matches!(verdict, Verdict::Refused(_));
        let stage = |name: &str| self.parcels.get(name).map(|parcel| parcel.stage.clone());
        match item {
            Downlink::ParcelExpected(parcel) => {
                if self.parcels.contains_key(&parcel.parcel) {
                    let known = self.parcels.get_mut(&parcel.parcel).unwrap();
                    // Histories announce a parcel otherwise only by its deadline.
                    assert_eq!(
                        refused,
                        known.announced != *parcel && known.stage != Stage::Expected
                    );
                    if !refused {
                        known.announced = parcel.clone();
                    }
                    return;
                }
                let name = parcel.parcel.clone();
                self.issue(now, &name, &parcel.point);
                self.parcels.insert(
                    name.clone(),
                    Parcel {
                        announced: parcel.clone(),
                        stage: Stage::Expected,
                    },
                );
                self.reports.push((name, "expected"));
            }
            Downlink::ParcelCancelled { parcel } => {
                match stage(parcel) {
                    Some(Stage::Cancelled) => return,
                    Some(Stage::Expected) => {}
                    Some(Stage::Depositing(h)) if !h.opened => {}
                    _ => return assert!(refused),
                }
                self.kill_code(parcel, now.tick_ms);
                self.set(parcel, Stage::Cancelled);
                self.reports.push((parcel.clone(), "cancelled"));
                self.saw("cancelled");
            }
            Downlink::ParcelExtended { parcel, deadline } => {
                let over = matches!(
                    stage(parcel),
                    None | Some(Stage::Collected(..) | Stage::Cancelled)
                );
                let Some(known) = self.parcels.get_mut(parcel) else {
                    return assert!(refused);
                };
                assert_eq!(refused, over && known.announced.deadline != *deadline);
                if !refused {
                    known.announced.deadline = *deadline;
                }
                return;
            }
            Downlink::CodeReissue { parcel } => {
                let state = match stage(parcel) {
                    Some(Stage::Expected | Stage::Depositing(_)) => "expected",
                    Some(Stage::Deposited(_) | Stage::Collecting(_)) => "deposited",
                    _ => return assert!(refused),
                };
                self.kill_code(parcel, now.tick_ms);
                let point = self.parcels[parcel].announced.point.clone();
                self.issue(now, parcel, &point);
                self.reports.push((parcel.clone(), state));
            }
            Downlink::Courier {
                courier,
                valid_until,
                ..
            } => {
                self.couriers.insert(courier.clone(), *valid_until);
                if now.quality != TimeQuality::Unknown && now.wall_ms >= *valid_until {
                    self.sessions.retain(|_, (badge, _)| badge != courier);
                }
            }
            Downlink::Settings(_) => {}
        }
        assert!(!refused, "{verdict:?}");
    }

    pub fn by_hand(&mut self, now: &Now, slot: &Slot, outcome: &Outcome) {
        let (place, command) = opens(outcome).pop().expect("a technician always opens");
        assert_eq!(place, *slot);
        self.commanded(now, slot, command, None, false);
    }

    fn issue(&mut self, now: &Now, name: &str, point: &Ident) {
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

    fn kill_code(&mut self, name: &str, from: u64) {
        for code in self
            .codes
            .iter_mut()
            .filter(|code| code.parcel == name && code.rests_until.is_none())
        {
            code.rests_until = Some(from + REST_MS);
        }
    }

    fn commanded(
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

    fn set(&mut self, name: &str, stage: Stage) {
        let parcel = self.parcels.get_mut(name).unwrap();
        let over = matches!(parcel.stage, Stage::Collected(..) | Stage::Cancelled);
        assert!(!over, "{name} is finished");
        parcel.stage = stage;
    }

    fn point(&self, device: &Ident) -> Option<Ident> {
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

    fn building(&self, device: &Ident) -> String {
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

fn stale(now: &Now, at_ms: i64) -> bool {
    now.quality != TimeQuality::Unknown && now.wall_ms - at_ms > STALE_MS
}
