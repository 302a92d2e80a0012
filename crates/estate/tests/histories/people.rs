//! What people, devices, the cloud and the clock do in a history.

use cloud_protocol::downlink::{Size, Zone};
use cloud_protocol::{Downlink, badge_digest};
use estate::TimeQuality;
use firmware_protocols::Slot;
use firmware_protocols::event::{Direction, Done, Door};

use crate::common::{EVENING_MS, id, parcel};
use crate::field::Deed;
use crate::model::Stage;
use crate::play::{Act, BADGES, POINTS, Play, READERS, over};

impl Play {
    pub(crate) fn announce(&mut self) {
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

    pub(crate) fn cloud_speaks_of_a_parcel(&mut self) {
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

    pub(crate) fn courier(&mut self, name: &str) {
        let hours = i64::try_from(self.dice.below(2_000)).unwrap();
        let item = Downlink::Courier {
            courier: name.into(),
            badge: badge_digest(name),
            valid_until: EVENING_MS + hours * 3_600_000,
        };
        self.apply(Act::Cloud(item));
    }

    pub(crate) fn scan(&mut self) {
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

    pub(crate) fn key(&mut self) {
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
    pub(crate) fn lock_acts(&mut self) {
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
    pub(crate) fn person_at_an_open_door(&mut self) {
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

    pub(crate) fn state_report(&mut self) {
        let slots: Vec<_> = self.model.compartments.keys().cloned().collect();
        let slot = slots[self.dice.index(slots.len())].clone();
        self.say_state(&slot);
    }

    /// A compartment reports: mostly the truth.
    pub(crate) fn say_state(&mut self, slot: &Slot) {
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

    pub(crate) fn neighbours(&mut self) {
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

    pub(crate) fn redeliver(&mut self) {
        if !self.field.sent.is_empty() {
            let sent = self.field.sent[self.dice.index(self.field.sent.len())].clone();
            self.apply(Act::Event(sent));
        }
    }

    pub(crate) fn release_held(&mut self) {
        while !self.field.held.is_empty() && !self.dice.one_in(4) {
            let at = self.dice.index(self.field.held.len());
            let sent = self.field.held.remove(at);
            self.apply(Act::Event(sent));
        }
    }

    pub(crate) fn by_hand(&mut self) {
        let slots: Vec<_> = self.model.compartments.keys().cloned().collect();
        let slot = slots[self.dice.index(slots.len())].clone();
        self.apply(Act::Hand(slot));
    }

    pub(crate) fn clock_changes(&mut self) {
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

    pub(crate) fn time_passes(&mut self) {
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
}
