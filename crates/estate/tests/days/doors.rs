//! What happens at locks and doors, and on the ways on which devices report it.

use estate::Outcome;
use estate::context::CodeDigest as _;
use estate::parcel::Taker;
use firmware_protocols::event::{Direction, Done, Door};
use firmware_protocols::{Ident, Slot};

use crate::cause::At;
use crate::common::{QuickDigest, id};
use crate::field::{CLOCKLESS, Said, Sent, Told, Whereabouts};
use crate::model::Parcel;
use crate::play::{Act, Day};
use crate::record::{Broken, Kept};

use crate::people::POINTS;

/// Messages held up at once.
const HELD_MAX: usize = 12;

impl Day {
    /// Mostly people go on at once: locks open, they do what they came for, and close the door.
    pub fn carry_on(&mut self) -> Kept {
        if self.dice.one_in(4) {
            return Ok(());
        }
        while let Some(told) = self.field.told.pop() {
            self.lock(told)?;
        }
        for _ in 0..3 {
            if self.dice.one_in(6) {
                return Ok(());
            }
            self.next_door()?;
        }
        Ok(())
    }

    pub fn next_lock(&mut self) -> Kept {
        if self.field.told.is_empty() {
            return Ok(());
        }
        let told = self
            .field
            .told
            .remove(self.dice.index(self.field.told.len()));
        self.lock(told)
    }

    /// A lock that was told to open does so, fails, refuses as it is too late, or says nothing.
    pub fn lock(&mut self, told: Told) -> Kept {
        let (bank, slot) = (told.slot.bank.clone(), told.slot.clone());
        if self.now.tick_ms >= told.until_tick_ms || self.field.done.contains(&told.command) {
            self.report(&bank, Said::Result(told.command, Done::Refused))?;
            return Ok(());
        }
        self.field.done.insert(told.command.clone());
        let jammed = self.field.compartment(&slot).jammed;
        match self.dice.below(14) {
            _ if jammed => {
                self.field.compartment(&slot).jammed = !self.dice.one_in(3);
                self.report(&bank, Said::Result(told.command, Done::Failed))?;
            }
            0 => {
                self.field.compartment(&slot).jammed = self.dice.one_in(2);
                self.report(&bank, Said::Result(told.command, Done::Failed))?;
            }
            1 => {}
            2 => {
                self.report(&bank, Said::Result(told.command, Done::Done))?;
            }
            n => {
                if n > 8 {
                    self.report(&bank, Said::Result(told.command, Done::Done))?;
                }
                self.field.compartment(&slot).open = true;
                self.say(&slot)?;
            }
        }
        Ok(())
    }

    pub fn next_door(&mut self) -> Kept {
        let open = self.field.compartments.iter().filter(|(_, c)| c.open);
        let open: Vec<_> = open.map(|(slot, _)| slot.clone()).collect();
        match self.pick(&open) {
            Some(slot) => self.at_door(&slot),
            None => Ok(()),
        }
    }

    /// Somebody at an open door puts in or takes out what he came for, or doesn't, and closes.
    pub fn at_door(&mut self, slot: &Slot) -> Kept {
        let careless = self.dice.one_in(9);
        let coming: Vec<_> = self.names_in(slot, |p| matches!(p.at, At::Coming(..)));
        let leaving: Vec<_> = self.names_in(slot, |p| matches!(p.at, At::Leaving(..)));
        let here = Whereabouts::In(slot.clone());
        let mut told = true;
        for name in &coming {
            if careless && self.wrong_compartment(name, slot)? {
                self.saw("put into a wrong compartment");
                // Beside another parcel no sensor tells that this one is missing.
                told &= self.field.inside(slot).is_empty();
            } else if !careless && self.field.is_outside(name) {
                self.field.put(name, here.clone());
            } else if self.field.parcels.get(name) != Some(&here) {
                // Nothing was put in: only a sensor in an otherwise empty compartment can tell.
                told &= self.field.inside(slot).is_empty() && self.sensor(slot);
                self.saw("nothing put in");
            }
        }
        for name in &leaving {
            if self.field.parcels.get(name) != Some(&here) {
                continue;
            }
            let p = &self.model.parcels[name];
            let adds = p.returned && matches!(&p.at, At::Leaving(_, Taker::Recipient, _));
            if adds && !careless {
                continue; // Something was forgotten and is put in beside it.
            }
            if careless && !adds {
                told &=
                    leaving.len() == 1 && self.field.inside(slot).len() == 1 && self.sensor(slot);
                self.saw("left inside");
                break;
            }
            let to = match &self.model.parcels[name].at {
                At::Leaving(_, Taker::Recipient, _) => Whereabouts::Recipient,
                At::Leaving(_, Taker::Desk { .. }, _) => Whereabouts::Desk,
                _ => Whereabouts::Outside,
            };
            told &= !adds || self.sensor(slot) && leaving.len() == 1;
            self.field.put(name, to);
        }
        if coming.is_empty() && leaving.is_empty() && careless {
            for name in self.field.inside(slot) {
                self.field.put(&name, Whereabouts::Recipient);
                told = false;
            }
        }
        // A door that stood open already, before the gesture, tells nothing by being closed.
        let unseen = |p: &Parcel| matches!(p.at, At::Coming(_, false) | At::Leaving(_, _, false));
        told &= self.names_in(slot, unseen).is_empty();
        // Two at one door: the sensor's word is nobody's.
        told &= !careless || coming.is_empty() || leaving.is_empty();
        if !told {
            self.field.doubt(slot);
        }
        self.field.compartment(slot).open = false;
        self.say(slot)
    }

    pub fn sensor(&self, slot: &Slot) -> bool {
        self.layout
            .banks
            .iter()
            .any(|bank| bank.id == slot.bank && bank.occupancy_sensor)
    }

    pub fn names_in(&self, slot: &Slot, holds: impl Fn(&Parcel) -> bool) -> Vec<String> {
        let names = self.model.in_slot(slot).filter(|(_, p)| holds(p));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// The parcel goes into a free compartment whose door stood ajar.
    pub fn wrong_compartment(&mut self, name: &str, meant: &Slot) -> Result<bool, Broken> {
        let other = self.estate.compartments().find(|row| {
            let slot = &row.slot;
            slot.bank == meant.bank && slot != meant && row.is_free()
        });
        let Some(slot) = other.map(|row| row.slot.clone()) else {
            return Ok(false);
        };
        if !self.field.inside(&slot).is_empty()
            || !self.field.is_outside(name)
            || !self.sensor(meant)
        {
            return Ok(false);
        }
        self.field.put(name, Whereabouts::In(slot.clone()));
        self.field.doubt(&slot);
        self.field.compartment(&slot).open = false;
        self.say(&slot)?;
        Ok(true)
    }

    pub fn state(&mut self) -> Kept {
        let slots: Vec<_> = self
            .estate
            .compartments()
            .map(|row| row.slot.clone())
            .collect();
        let slot = self.pick(&slots).unwrap();
        self.say(&slot)
    }

    /// A compartment reports how it stands: on a calm day the truth.
    pub fn say(&mut self, slot: &Slot) -> Kept {
        let open = self.field.compartment(slot).open;
        let mut door = if open { Door::Open } else { Door::Closed };
        let inside = !self.field.inside(slot).is_empty();
        let mut occupied = self.sensor(slot).then_some(inside);
        if !self.calm {
            match self.dice.below(30) {
                0 => door = Door::Unknown,
                1 => occupied = Some(!inside),
                2 | 3 => occupied = None,
                _ => {}
            }
            if self.sensor(slot) && occupied != Some(inside) || door == Door::Unknown {
                self.saw("sensor untrue");
                self.field.doubt(slot);
            }
        }
        self.report(
            &slot.bank.clone(),
            Said::Door(slot.compartment, door, occupied),
        )?;
        Ok(())
    }

    pub fn bank_hello(&mut self) -> Kept {
        let bank = id(POINTS[self.dice.index(2)]);
        let codes = bank.as_str() == "bank-a" || self.dice.one_in(2);
        self.report(&bank, Said::Hello(codes))?;
        Ok(())
    }

    /// While nobody answers it, a bank that knows a code's digest opens by itself. What it has to
    /// tell comes later, in order.
    pub fn bank_opens(&mut self, who: u8) -> Kept {
        let Some((parcel, digits)) = self.own(who) else {
            return Ok(());
        };
        let found = self.field.lists.iter().find_map(|(bank, list)| {
            let digest = QuickDigest.bank_digest(bank, &digits);
            let entry = list.iter().find(|entry| entry.digest == digest)?;
            Some(Slot {
                bank: bank.clone(),
                compartment: entry.compartment,
            })
        });
        let Some(slot) = found else {
            return Ok(());
        };
        self.saw("opened by a bank");
        let was_open = std::mem::replace(&mut self.field.compartment(&slot).open, false);
        let own: Vec<_> = self.field.inside(&slot);
        let recipient = format!("r{who}");
        let mut taken = Vec::new();
        for name in own
            .into_iter()
            .filter(|name| self.model.parcels[name].recipient == recipient)
        {
            self.field.put(&name, Whereabouts::Recipient);
            taken.push(name);
        }
        // He takes all that is his; what goes back isn't, and nothing tells the box of that.
        let rest = taken.iter().any(|name| !self.model.parcels[name].waits());
        // A deposit that is under way just there is taken for the one who closed the door.
        let filling = !self
            .names_in(&slot, |p| matches!(p.at, At::Coming(..)))
            .is_empty();
        // The bank may not have heard yet that the code's parcel is somewhere else.
        let stale = self.model.parcels[&parcel].slot() != Some(&slot);
        if rest || was_open || filling || stale || self.dice.one_in(3) && !self.calm {
            self.field.doubt(&slot);
        }
        let inside = self
            .sensor(&slot)
            .then(|| !self.field.inside(&slot).is_empty());
        let c = slot.compartment;
        let said = [
            Said::Opened(digits, c),
            Said::Door(c, Door::Open, None),
            Said::Door(c, Door::Closed, inside),
        ];
        let late = self.dice.one_in(3) && !self.calm;
        for said in said {
            if late {
                let (true_ms, jumps) = (self.true_ms(), self.clock_jumps);
                let sent = self
                    .field
                    .enter(&self.now, true_ms, jumps, &slot.bank, said);
                self.lose(&sent);
                self.field.held.push(sent);
            } else {
                self.report(&slot.bank, said)?;
            }
        }
        Ok(())
    }

    pub fn again(&mut self) -> Kept {
        if let Some(sent) = self.pick_any(&self.field.sent.clone()) {
            let known = (sent.device.clone(), sent.boot, sent.seq);
            if !self.record.taken.contains(&known) {
                self.lose(&sent); // It had never come, and comes late.
            }
            self.apply(Act::Event(sent))?;
        }
        Ok(())
    }

    pub fn arrives(&mut self) -> Kept {
        while !self.field.held.is_empty() && !self.dice.one_in(4) {
            let at = if self.dice.one_in(3) {
                self.dice.index(self.field.held.len())
            } else {
                0
            };
            let sent = self.field.held.remove(at);
            self.saw("arrived late");
            self.lose(&sent); // It tells of what was, and is taken for what is.
            self.apply(Act::Event(sent))?;
        }
        Ok(())
    }

    pub fn unreadable(&mut self) -> Kept {
        let device = id(POINTS[self.dice.index(3)]);
        let number = self.field.garbage(&device);
        self.apply(Act::Unreadable(device, number))?;
        Ok(())
    }

    pub fn device_starts(&mut self) -> Kept {
        let device = id(["bank-a", "bank-b", "desk-c", CLOCKLESS][self.dice.index(4)]);
        self.field.restart(&device);
        Ok(())
    }

    pub fn neighbours(&mut self) -> Kept {
        for _ in 0..=self.dice.below(8) {
            let door = id(["door-1", "door-2"][self.dice.index(2)]);
            let who = format!("h{}", self.dice.below(9));
            let said = match self.dice.below(5) {
                0 => Said::Reading,
                1 => Said::Intent(["eggs", "milk"][self.dice.index(2)].into(), 2, who),
                2 => Said::Access(Direction::Out, who),
                _ => Said::Access(Direction::In, who),
            };
            self.report(&door, said)?;
        }
        Ok(())
    }

    /// A device reports: mostly at once; sometimes late, twice or never.
    pub fn report(&mut self, device: &Ident, said: Said) -> Result<Option<Outcome>, Broken> {
        let (true_ms, jumps) = (self.true_ms(), self.clock_jumps);
        let sent = self.field.enter(&self.now, true_ms, jumps, device, said);
        if !self.calm && self.dice.one_in(14) && self.field.held.len() < HELD_MAX {
            self.lose(&sent);
            if self.dice.below(3) > 0 {
                self.field.held.push(sent);
            }
            return Ok(None);
        }
        let outcome = self.apply(Act::Event(sent.clone()))?;
        if self.dice.one_in(14) {
            self.apply(Act::Event(sent))?;
        }
        Ok(Some(outcome))
    }

    /// Something doesn't come, or not in time: what it would have told isn't known.
    pub fn lose(&mut self, sent: &Sent) {
        if let Some(slot) = sent.slot() {
            self.field.doubt(&slot);
        }
    }
}
