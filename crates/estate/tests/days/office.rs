//! What the cloud says, what the staff does, and what becomes of the clock.

use std::collections::BTreeMap;

use cloud_protocol::Downlink;
use cloud_protocol::downlink::{Size, Zone};
use cloud_protocol::uplink::ClaimKind;
use estate::TimeQuality;
use estate::input::{Claim, DeskAct};
use estate::parcel::Place;
use firmware_protocols::Slot;

use crate::cause::At;
use crate::common::{id, parcel};
use crate::people::POINTS;
use crate::play::{Act, Day};
use crate::record::{HOUR_MS, Kept};

/// Parcels that wait or are expected at once.
const UNDER_WAY_MAX: usize = 14;

const YEAR_MS: i64 = 31_536_000_000;

impl Day {
    pub fn announce(&mut self, who: u8, returned: bool) -> Kept {
        if self.which(|p| !p.finished()).len() > UNDER_WAY_MAX {
            return Ok(());
        }
        let point = POINTS[[0, 0, 0, 1, 1, 2][self.dice.index(6)]];
        let mut p = parcel(&format!("p{}", self.dice.below(10_000)), point);
        if self.dice.one_in(12) {
            // The cloud hears of what was brought unannounced.
            p.parcel = format!("u{}", self.dice.below(40));
        }
        p.recipient = format!("r{who}");
        p.consent = !self.dice.one_in(12);
        p.size = [Size::S, Size::S, Size::M, Size::L][self.dice.index(4)];
        if self.dice.one_in(8) {
            p.zone = Zone::Chilled;
        }
        p.low = self.dice.one_in(8);
        p.deadline = self.some_deadline();
        p.return_of = returned.then(|| "p0".to_string());
        let item = Downlink::ParcelExpected(p);
        self.announced.push(item.clone());
        self.apply(Act::Cloud(item))?;
        Ok(())
    }

    fn some_deadline(&mut self) -> i64 {
        let ms = HOUR_MS + self.dice.below(20 * HOUR_MS);
        self.true_ms() + ms as i64
    }

    /// The same again, or otherwise.
    pub fn cloud_again(&mut self) -> Kept {
        let Some(item) = self.pick_any(&self.announced.clone()) else {
            return Ok(());
        };
        let Downlink::ParcelExpected(mut p) = item else {
            return Ok(());
        };
        match self.dice.below(5) {
            0 => p.deadline += 1,
            1 => p.point = id(POINTS[self.dice.index(3)]),
            2 => p.size = Size::M,
            _ => {}
        }
        self.apply(Act::Cloud(Downlink::ParcelExpected(p)))?;
        Ok(())
    }

    fn any_parcel(&mut self) -> Option<String> {
        let mut some = self.which(|p| !p.finished());
        if some.is_empty() || self.dice.one_in(6) {
            some = self.which(|_| true);
        }
        self.pick(&some)
    }

    pub fn cancel(&mut self) -> Kept {
        let Some(parcel) = self.any_parcel() else {
            return Ok(());
        };
        self.apply(Act::Cloud(Downlink::ParcelCancelled { parcel }))?;
        Ok(())
    }

    pub fn extend(&mut self) -> Kept {
        let Some(parcel) = self.any_parcel() else {
            return Ok(());
        };
        let deadline = self.some_deadline();
        self.apply(Act::Cloud(Downlink::ParcelExtended { parcel, deadline }))?;
        Ok(())
    }

    pub fn reissue(&mut self) -> Kept {
        let Some(parcel) = self.any_parcel() else {
            return Ok(());
        };
        self.apply(Act::Cloud(Downlink::CodeReissue { parcel }))?;
        Ok(())
    }

    pub fn settings(&mut self) -> Kept {
        let values = BTreeMap::from([
            (
                "courier_session_ms".to_string(),
                60_000 + self.dice.below(300_000) as i64,
            ),
            ("colour".to_string(), 7),
        ]);
        self.apply(Act::Cloud(Downlink::Settings(values)))?;
        Ok(())
    }

    fn desk_act(&mut self, act: DeskAct) -> Kept {
        self.apply(Act::Desk(act, String::new()))?;
        Ok(())
    }

    pub fn receives(&mut self) -> Kept {
        let desk = id("desk-c");
        let at_desk = self.which(|p| p.at == At::Expected && p.point == desk);
        let parcel = match self.pick(&at_desk) {
            Some(parcel) if !self.dice.one_in(4) => parcel,
            _ => match self.any_parcel() {
                Some(parcel) => parcel,
                None => return Ok(()),
            },
        };
        let courier = self.dice.one_in(2).then(|| "c9".to_string());
        self.desk_act(DeskAct::Receive {
            desk,
            parcel,
            courier,
        })
    }

    pub fn claims(&mut self) -> Kept {
        let Some(parcel) = self.any_parcel() else {
            return Ok(());
        };
        let kind = if self.dice.one_in(3) {
            ClaimKind::Refused
        } else {
            ClaimKind::Damaged
        };
        let claim = Claim {
            kind,
            note: "broken".into(),
            compensation_fen: self.dice.one_in(2).then_some(1_250),
            keeps: self.dice.one_in(3),
            return_to: self.dice.one_in(2).then(|| id(POINTS[self.dice.index(3)])),
        };
        let desk = id("desk-c");
        self.desk_act(DeskAct::Claim {
            desk,
            parcel,
            claim,
        })
    }

    pub fn transfers(&mut self) -> Kept {
        let here = self.which(|p| matches!(&p.at, At::Here(Place::Slot(_))));
        let parcel = match self.pick(&here) {
            Some(parcel) if !self.dice.one_in(6) => parcel,
            _ => match self.any_parcel() {
                Some(parcel) => parcel,
                None => return Ok(()),
            },
        };
        let desk = id("desk-c");
        self.desk_act(DeskAct::Transfer { desk, parcel })?;
        self.carry_on()
    }

    pub fn retrieves(&mut self) -> Kept {
        let back = self.which(|p| p.back.is_some() && !p.finished());
        let parcel = match self.pick(&back) {
            Some(parcel) => parcel,
            None => match self.any_parcel() {
                Some(parcel) => parcel,
                None => return Ok(()),
            },
        };
        let courier = self.dice.one_in(2).then(|| "c9".to_string());
        self.desk_act(DeskAct::Retrieve { parcel, courier })?;
        self.carry_on()
    }

    pub fn desk_reissues(&mut self) -> Kept {
        match self.any_parcel() {
            Some(parcel) => self.desk_act(DeskAct::Reissue { parcel }),
            None => Ok(()),
        }
    }

    pub fn desk_extends(&mut self) -> Kept {
        let Some(parcel) = self.any_parcel() else {
            return Ok(());
        };
        let deadline = self.some_deadline();
        self.desk_act(DeskAct::Extend { parcel, deadline })
    }

    fn any_slot(&mut self) -> Slot {
        let slots: Vec<_> = self
            .estate
            .compartments()
            .map(|row| row.slot.clone())
            .collect();
        self.pick(&slots).unwrap()
    }

    pub fn opens_by_hand(&mut self) -> Kept {
        // Mostly a technician mends what is faulty.
        let faulty = self.estate.compartments().filter(|row| row.fault.is_some());
        let faulty: Vec<_> = faulty.map(|row| row.slot.clone()).collect();
        let any = self.any_slot();
        let slot = self.pick(&faulty).unwrap_or(any);
        self.field.compartment(&slot).jammed = false;
        self.apply(Act::Hand(slot))?;
        self.carry_on()
    }

    pub fn disables(&mut self) -> Kept {
        let slot = self.any_slot();
        let reason = (!self.dice.one_in(2)).then(|| "hinge".to_string());
        self.apply(Act::Disable(slot, reason))?;
        Ok(())
    }

    /// The wall clock jumps, or nobody vouches for it any more.
    pub fn clock(&mut self) -> Kept {
        let quality = self.now.quality;
        match self.dice.below(8) {
            0 => self.set_clock(YEAR_MS, quality),
            1 => self.set_clock(-YEAR_MS, quality),
            2 => self.set_clock(HOUR_MS as i64, quality),
            3 => self.set_clock(-(HOUR_MS as i64), quality),
            4 => self.set_clock(self.ahead_ms, TimeQuality::Unknown),
            _ => self.set_clock(0, TimeQuality::Synchronised),
        }?;
        self.saw("clock set");
        Ok(())
    }

    /// The time becomes better known; then it is right.
    pub fn clock_known(&mut self) -> Kept {
        let better = match self.now.quality {
            TimeQuality::Unknown if self.dice.one_in(2) => TimeQuality::Estimated,
            _ => TimeQuality::Synchronised,
        };
        self.set_clock(0, better)
    }
}
