//! What a code typed and a symbol scanned should do.

use std::collections::BTreeMap;

use cloud_protocol::downlink::ExpectedParcel;
use estate::{Now, TimeQuality};
use firmware_protocols::event::Door;
use firmware_protocols::{Ident, Slot};

use crate::field::Sent;
use crate::model::{HandOver, Keypad, Model, SESSION_MS, STALE_MS, Stage};

impl Model {
    pub(crate) fn typed(
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

    pub(crate) fn collecting(
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

    pub(crate) fn wrong(&mut self, now: &Now, device: &Ident) {
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

    pub(crate) fn scanned(
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

    pub(crate) fn depositing(
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
    pub(crate) fn best_compartments(
        &self,
        now: &Now,
        announced: &ExpectedParcel,
    ) -> Option<Vec<Slot>> {
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
}

fn stale(now: &Now, at_ms: i64) -> bool {
    now.quality != TimeQuality::Unknown && now.wall_ms - at_ms > STALE_MS
}
