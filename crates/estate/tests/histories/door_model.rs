//! What doors, results and passing time should do.

use estate::Now;
use firmware_protocols::Slot;
use firmware_protocols::event::{Done, Door};

use crate::model::{Command, Fate, GRACE_MS, HandOver, Model, PATIENCE_MS, Stage};

impl Model {
    pub(crate) fn door(&mut self, now: &Now, slot: &Slot, door: Door, occupied: Option<bool>) {
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

    pub(crate) fn door_open(&mut self, now: &Now, slot: &Slot) {
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

    pub(crate) fn take_up(&mut self, now: &Now, slot: &Slot, id: String, command: &Command) {
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

    pub(crate) fn door_closed(
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

    pub(crate) fn deposited(&mut self, now: &Now, name: &str, slot: Option<Slot>) {
        self.set(name, Stage::Deposited(slot));
        self.reports.push((name.into(), "deposited"));
        self.count_parcel(now, name, "deposits");
        self.saw("deposited");
    }

    pub(crate) fn collected(&mut self, now: &Now, name: &str, slot: Option<Slot>) {
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

    pub(crate) fn count_parcel(&mut self, now: &Now, name: &str, series: &str) {
        let announced = self.parcels[name].announced.clone();
        let building = self.building(&announced.point);
        self.demand
            .count(now, now.wall_ms, &building, series, 1, &announced.recipient);
    }

    /// The parcel is again where it was before its hand-over.
    pub(crate) fn undone(&mut self, name: &str) {
        let stage = match &self.parcels[name].stage {
            Stage::Depositing(_) => Stage::Expected,
            Stage::Collecting(h) => Stage::Deposited(Some(h.slot.clone())),
            other => panic!("{other:?} can't be undone"),
        };
        self.set(name, stage);
        self.saw("undone");
    }

    pub(crate) fn result(&mut self, _now: &Now, id: &str, done: Done) {
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
    pub(crate) fn waiting_for(&self, id: &str) -> Option<String> {
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
}
