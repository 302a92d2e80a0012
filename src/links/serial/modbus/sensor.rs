//! A device whose registers are read.
//!
//! All of them make one reading a poll. Doors' contacts are asked for in between, every
//! [`CONTACTS_EVERY`], by requests of their own, and make a reading of their own when they change.
//!
//! What a device refuses, with an exception or by its silence, is named in its status and doesn't keep
//! back the rest. Neighbours that it refuses together are asked for one by one from then on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use firmware_protocols::event::Outcome;
use firmware_protocols::value::Key;
use firmware_protocols::{Ident, Kind, Value};
use tokio_modbus::ExceptionCode;

use super::super::plan::DevicePlan;
use super::super::status::{PortStatus, SlaveStatus};
use super::super::voice::Voice;
use super::blocks::{Block, Contents, group};
use super::doors::Contact;
use super::master;
use crate::config::serial::{RegisterFunction, RegisterSection};
use crate::links::DeviceIntake;

/// How often doors' contacts are asked for, whatever the port's `poll_ms` is for the rest.
pub const CONTACTS_EVERY: Duration = Duration::from_millis(250);
/// How often a device is read at most: each reading is written to disk.
pub const READINGS_EVERY_LEAST: Duration = Duration::from_millis(250);

/// A device whose registers are read.
pub struct Sensor {
    /// Its id.
    pub id: Ident,
    /// Its address.
    pub address: u8,
    boot: u32,
    intake: Arc<dyn DeviceIntake>,
    registers: Vec<RegisterSection>,
    /// Those that are doors' contacts.
    contacts: BTreeMap<usize, Contact>,
    contact_blocks: Vec<Block>,
    other_blocks: Vec<Block>,
    poll: Poll,
    /// When all registers are to be read next.
    due: Instant,
    every: Duration,
    /// What is wrong with a register, in words, by its index.
    faults: BTreeMap<usize, String>,
    /// How often in a row a block was asked for in vain; such ones come last in a poll.
    in_vain: BTreeMap<Place, u32>,
    voice: Option<Voice>,
    status: Option<Arc<SlaveStatus>>,
    present: bool,
}

/// A block's table, first address and length.
type Place = (RegisterFunction, u16, u16);

/// So often in vain, while others were answered, and a block is split.
const SPLIT_AFTER: u32 = 3;

/// What goes on.
#[derive(Default)]
struct Poll {
    /// Of all registers, and not of contacts only.
    all: bool,
    /// Something was answered, if with a refusal.
    answered: bool,
    /// What is still to be asked for.
    rest: VecDeque<Block>,
    /// What was answered, by the register's index.
    values: BTreeMap<usize, Value>,
}

impl Sensor {
    /// The device of this plan, all of it read `every` so often.
    pub fn new(plan: &DevicePlan, every: Duration, intake: &Arc<dyn DeviceIntake>) -> Self {
        let registers = plan.on.registers.clone();
        let contact = |(index, register): (usize, &RegisterSection)| {
            let held = register.held_open_s.map(|s| Duration::from_secs(s.into()));
            Some((index, Contact::new(register.door_closed?, held)))
        };
        Self {
            id: plan.id.clone(),
            address: plan.on.address.unwrap_or(1),
            boot: plan.boot,
            intake: Arc::clone(intake),
            contacts: registers.iter().enumerate().filter_map(contact).collect(),
            contact_blocks: group(&registers, |register| register.door_closed.is_some()),
            other_blocks: group(&registers, |register| register.door_closed.is_none()),
            registers,
            poll: Poll::default(),
            due: Instant::now(),
            every: every.max(READINGS_EVERY_LEAST),
            faults: BTreeMap::new(),
            in_vain: BTreeMap::new(),
            voice: None,
            status: None,
            present: false,
        }
    }

    /// How often something is to be asked for.
    pub fn every(&self) -> Duration {
        match self.contacts.is_empty() {
            true => self.every,
            false => self.every.min(CONTACTS_EVERY),
        }
    }

    /// Takes its place in the port's status, once.
    pub fn show_in(&mut self, port: &PortStatus) {
        let new = || port.slave(&self.id, Some(self.address));
        self.status.get_or_insert_with(new);
    }

    /// What to ask for now: the next part of the poll, or the first of a new one. `None` when
    /// nothing is due yet.
    pub fn next(&mut self, now: Instant) -> Option<Block> {
        if self.poll.rest.is_empty() {
            self.begin(now);
        }
        self.poll.rest.front().cloned()
    }

    /// What was asked for came. Returns whether the poll is over.
    pub fn answered(
        &mut self,
        block: &Block,
        contents: &Contents,
        round_trip: Duration,
        now: Instant,
    ) -> bool {
        self.seen(block, round_trip);
        let mut news = Vec::new();
        for index in &block.registers {
            let Some(register) = self.registers.get(*index) else {
                continue;
            };
            let Some(mut value) = block.value(register, contents) else {
                let fault = format!("register '{}' holds no number", register.name);
                self.faults.insert(*index, fault);
                continue;
            };
            self.faults.remove(index);
            if let (Value::Bool(bit), Some(contact)) = (&value, self.contacts.get_mut(index)) {
                let seen = contact.look(*bit, now);
                value = Value::Bool(seen.open);
                if seen.new {
                    news.push((*index, value.clone()));
                }
                if seen.held_open {
                    self.say_held_open(*index);
                }
            }
            self.poll.values.insert(*index, value);
        }
        self.say_reading(&news);
        self.end_of_step(now)
    }

    /// The slave refused what was asked for. Returns whether the poll is over.
    pub fn refused(
        &mut self,
        block: &Block,
        code: ExceptionCode,
        round_trip: Duration,
        now: Instant,
    ) -> bool {
        self.seen(block, round_trip);
        let parts = match code {
            ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue => {
                self.split(block)
            }
            _ => Vec::new(),
        };
        if parts.is_empty() {
            self.blame(block, &master::words(code));
        }
        for part in parts.into_iter().rev() {
            self.poll.rest.push_front(part);
        }
        self.end_of_step(now)
    }

    /// Nothing came, or nothing that can be read. Returns whether the device is there all the same:
    /// it answered something else in this poll, which ends here. If not, the next one begins anew.
    pub fn in_vain(&mut self, block: &Block, unreadable: bool, now: Instant) -> bool {
        let poll = std::mem::take(&mut self.poll);
        let times = self.in_vain.entry(place(block)).or_default();
        *times = times.saturating_add(1);
        let often = *times >= SPLIT_AFTER;
        if !poll.answered {
            self.due = now;
            return false;
        }
        self.missed(unreadable, Duration::ZERO);
        if often && self.split(block).is_empty() {
            self.blame(
                block,
                "no answer to it, while others are answered: correct 'function' and 'address' by its manual",
            );
        }
        self.poll = Poll {
            rest: VecDeque::new(),
            ..poll
        };
        self.end_of_step(now)
    }

    /// A request was in vain; it is left alone for `pause`.
    pub fn missed(&self, unreadable: bool, pause: Duration) {
        match (&self.status, unreadable) {
            (Some(status), true) => status.unreadable(pause),
            (Some(status), false) => status.missed(pause),
            (None, _) => {}
        }
    }

    /// It counts as silent, or the port is away.
    pub fn gone(&mut self, now: Instant) {
        self.poll = Poll::default();
        self.due = now;
        self.in_vain.clear();
        self.contacts.values_mut().for_each(Contact::lose);
        if let Some(status) = &self.status {
            status.silent();
        }
        if std::mem::take(&mut self.present) {
            tracing::warn!(device = %self.id, address = self.address, "a Modbus device is gone");
            self.intake.presence(&self.id, false);
        }
    }

    /// Its voice, for what isn't read from it.
    pub fn voice(&mut self) -> &Voice {
        self.voice.get_or_insert_with(|| {
            let (id, intake) = (self.id.clone(), Arc::clone(&self.intake));
            Voice::start(id, self.boot, "modbus", &["reading"], intake)
        })
    }

    fn begin(&mut self, now: Instant) {
        let all = now >= self.due;
        let others = self.other_blocks.iter().filter(|_| all);
        let mut rest: Vec<Block> = self.contact_blocks.iter().chain(others).cloned().collect();
        rest.sort_by_key(|block| self.in_vain.get(&place(block)).copied());
        self.poll = Poll {
            all,
            rest: rest.into(),
            ..Poll::default()
        };
    }

    fn end_of_step(&mut self, now: Instant) -> bool {
        if !self.poll.rest.is_empty() {
            return false;
        }
        let poll = std::mem::take(&mut self.poll);
        if poll.all {
            let values: Vec<(usize, Value)> = poll.values.into_iter().collect();
            self.say_reading(&values);
            self.due = (self.due + self.every).max(now);
        }
        self.note();
        true
    }

    /// Its parts take its place from the next poll on. Returns them; there may be none.
    fn split(&mut self, block: &Block) -> Vec<Block> {
        let parts = block.split(&self.registers);
        if parts.is_empty() {
            return parts;
        }
        tracing::info!(device = %self.id, start = block.start, count = block.count, "a Modbus device refuses neighbours together: each is read on its own");
        self.in_vain.remove(&place(block));
        for blocks in [&mut self.contact_blocks, &mut self.other_blocks] {
            if let Some(at) = blocks.iter().position(|it| it == block) {
                blocks.splice(at..=at, parts.iter().cloned());
            }
        }
        parts
    }

    fn blame(&mut self, block: &Block, why: &str) {
        for index in &block.registers {
            if let Some(register) = self.registers.get(*index) {
                let fault = format!("register '{}': {why}", register.name);
                self.faults.insert(*index, fault);
            }
        }
    }

    /// It answered for this block.
    fn seen(&mut self, block: &Block, round_trip: Duration) {
        self.poll.rest.pop_front();
        self.poll.answered = true;
        self.in_vain.remove(&place(block));
        if let Some(status) = &self.status {
            status.answered(round_trip);
        }
        if !self.present {
            self.present = true;
            self.voice();
            self.intake.presence(&self.id, true);
        }
    }

    fn note(&self) {
        let Some(status) = &self.status else { return };
        let first = self.faults.values().next().cloned();
        status.note(first.map(|first| match self.faults.len() {
            1 => first,
            n => format!("{first}; and {} more", n - 1),
        }));
    }

    fn say_held_open(&mut self, index: usize) {
        let name = self.registers.get(index).map(|it| it.name.as_str());
        let Some(Ok(door)) = name.map(Ident::new) else {
            return;
        };
        self.voice().say(Kind::Access {
            door,
            outcome: Outcome::HeldOpen,
            direction: None,
            method: None,
            credential: None,
        });
    }

    /// These registers as one SenML pack (RFC 8428), whose base name is the device's id.
    fn say_reading(&mut self, values: &[(usize, Value)]) {
        let mut records = Vec::new();
        for (index, value) in values {
            let Some(register) = self.registers.get(*index) else {
                continue;
            };
            let mut record = vec![(Key::Int(0), Value::from(register.name.as_str()))];
            if records.is_empty() {
                record.insert(0, (Key::Int(-2), Value::Text(format!("{}/", self.id))));
            }
            if let Some(unit) = &register.unit {
                record.push((Key::Int(1), Value::from(unit.as_str())));
            }
            let label = match value {
                Value::Bool(_) => 4,
                _ => 2,
            };
            record.push((Key::Int(label), value.clone()));
            records.push(Value::Map(record));
        }
        if !records.is_empty() {
            let senml = Value::Array(records);
            self.voice().say(Kind::Reading { senml });
        }
    }
}

fn place(block: &Block) -> Place {
    (block.function, block.start, block.count)
}
