//! What couriers, residents and guessers do.

use std::hash::{DefaultHasher, Hash, Hasher};

use cloud_protocol::downlink::Proof;
use cloud_protocol::{Downlink, badge_digest};
use estate::input::DeskAct;
use estate::parcel::Place;
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;

use crate::action::Deed;
use crate::cause::At;
use crate::common::{id, typed};
use crate::field::{CLOCKLESS, Said};
use crate::model::Parcel;
use crate::play::{Act, Day};
use crate::record::{HOUR_MS, Kept, MINUTE_MS};

pub const POINTS: [&str; 3] = ["bank-a", "bank-b", "desk-c"];

impl Day {
    /// The day begins: couriers are known, banks say what they are.
    pub fn open_the_gates(&mut self) -> Kept {
        for courier in 0..3 {
            self.courier(courier)?;
        }
        self.report(&id("bank-a"), Said::Hello(true))?;
        Ok(())
    }

    pub fn act(&mut self, deed: Deed) -> Kept {
        match deed {
            Deed::Announce(who) => self.announce(who, false),
            Deed::AnnounceReturn(who) => self.announce(who, true),
            Deed::CloudAgain => self.cloud_again(),
            Deed::Cancel => self.cancel(),
            Deed::Extend => self.extend(),
            Deed::Reissue => self.reissue(),
            Deed::Courier(who) => self.courier(who),
            Deed::Settings => self.settings(),
            Deed::Brings(who) => self.brings(who),
            Deed::ScansAnything(who) => self.scans_anything(who),
            Deed::TakesBack(who) => self.takes_back(who),
            Deed::Collects(who) => self.collects(who),
            Deed::Returns(who) => self.returns(who),
            Deed::Astray(who) => self.astray(who),
            Deed::Guesses => self.guesses(),
            Deed::Lock => self.next_lock(),
            Deed::AtDoor => self.next_door(),
            Deed::State => self.state(),
            Deed::BankHello => self.bank_hello(),
            Deed::BankOpens(who) => self.bank_opens(who),
            Deed::Again => self.again(),
            Deed::Arrives => self.arrives(),
            Deed::Unreadable => self.unreadable(),
            Deed::DeviceStarts => self.device_starts(),
            Deed::Neighbours => self.neighbours(),
            Deed::HandsOver(who) => self.hands_over(who),
            Deed::Receives => self.receives(),
            Deed::Claims => self.claims(),
            Deed::Transfers => self.transfers(),
            Deed::Retrieves => self.retrieves(),
            Deed::DeskReissues => self.desk_reissues(),
            Deed::DeskExtends => self.desk_extends(),
            Deed::OpensByHand => self.opens_by_hand(),
            Deed::Disables => self.disables(),
            Deed::Seconds => {
                if self.dice.one_in(8) {
                    self.another_layout()?;
                }
                self.time(9_000)
            }
            Deed::Minutes => self.time(5 * MINUTE_MS),
            Deed::Hours => self.time(9 * HOUR_MS),
            Deed::Clock => self.clock(),
            Deed::ClockKnown => self.clock_known(),
            Deed::Restart => self.restart(),
            Deed::PowerCut => {
                let ms = self.dice.below(4 * HOUR_MS);
                let known = self.dice.below(ms + 1);
                self.power_cut(ms, known)
            }
            Deed::DiskFull | Deed::Gather => {
                let inputs = 1 + self.dice.below(4);
                self.begin_batch(inputs, deed == Deed::DiskFull);
                Ok(())
            }
        }?;
        self.count_down()
    }

    fn time(&mut self, most_ms: u64) -> Kept {
        let ms = 1 + self.dice.below(most_ms);
        self.pass(ms);
        if !self.dice.one_in(8) {
            self.apply(Act::Tick)?;
        }
        Ok(())
    }

    /// One of several, such that most others may be missing without changing the choice.
    pub fn pick<T: Clone + Hash>(&mut self, from: &[T]) -> Option<T> {
        let salt = self.dice.next();
        let rank = |one: &&T| {
            let mut hash = DefaultHasher::new();
            (salt, one).hash(&mut hash);
            hash.finish()
        };
        from.iter().min_by_key(rank).cloned()
    }

    /// One of several by number.
    pub fn pick_any<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.dice.index(from.len())].clone())
    }

    /// The parcels of which something holds.
    pub fn which(&self, holds: impl Fn(&Parcel) -> bool) -> Vec<String> {
        let parcels = self.model.parcels.iter().filter(|(_, p)| holds(p));
        parcels.map(|(name, _)| name.clone()).collect()
    }

    fn reader(&mut self, point: &Ident) -> Ident {
        if point.as_str() == "bank-b" && self.dice.one_in(2) {
            id(CLOCKLESS)
        } else {
            point.clone()
        }
    }

    fn identify(&mut self, reader: &Ident, who: u8) -> Kept {
        let code = format!("90000{who}");
        if self.record.couriers.contains_key(&format!("code:{code}")) && self.dice.one_in(3) {
            self.report(reader, Said::Key(code))?;
        } else {
            self.report(reader, Said::Scan(format!("badge-{who}")))?;
        }
        Ok(())
    }

    fn brings(&mut self, who: u8) -> Kept {
        let expected = self.which(|p| matches!(p.at, At::Expected | At::Coming(..)));
        let Some(parcel) = self.pick(&expected) else {
            return Ok(());
        };
        let mut point = self.model.parcels[&parcel].point.clone();
        if self.estate.parcel(&parcel).is_some_and(|row| row.to_desk) && self.dice.one_in(2) {
            point = id("desk-c");
        }
        let reader = self.reader(&point);
        if !self.dice.one_in(8) {
            self.identify(&reader, who)?;
        }
        self.report(&reader, Said::Scan(parcel))?;
        self.carry_on()
    }

    fn scans_anything(&mut self, who: u8) -> Kept {
        let point = id(POINTS[self.dice.index(3)]);
        let reader = self.reader(&point);
        self.identify(&reader, who)?;
        let all: Vec<_> = self.model.parcels.keys().cloned().collect();
        let unlisted = format!("u{}", self.dice.below(40));
        let symbol = match self.dice.below(3) {
            0 => self.pick(&all).unwrap_or(unlisted),
            _ => unlisted,
        };
        self.report(&reader, Said::Scan(symbol))?;
        self.carry_on()
    }

    fn takes_back(&mut self, who: u8) -> Kept {
        let back = self.which(|p| matches!(p.at, At::Here(_)) && p.back.is_some());
        let Some(parcel) = self.pick(&back) else {
            return Ok(());
        };
        let At::Here(place) = self.model.parcels[&parcel].at.clone() else {
            return Ok(());
        };
        let reader = self.reader(&point_of(&place));
        self.identify(&reader, who)?;
        self.report(&reader, Said::Key("0".into()))?;
        self.carry_on()
    }

    /// The parcel of a resident, one that waits if there is one, and its digits.
    pub fn own(&mut self, who: u8) -> Option<(String, String)> {
        let recipient = format!("r{who}");
        let mut own = self.which(|p| p.recipient == recipient && p.waits());
        if own.is_empty() || self.dice.one_in(4) {
            own = self.which(|p| p.recipient == recipient);
        }
        let parcel = self.pick(&own)?;
        let digits = self.digits.get(&parcel)?.clone();
        Some((parcel, digits))
    }

    fn collects(&mut self, who: u8) -> Kept {
        let Some((parcel, digits)) = self.own(who) else {
            return Ok(());
        };
        let p = &self.model.parcels[&parcel];
        let point = match &p.at {
            At::Here(place) => point_of(place),
            At::Leaving(slot, ..) => slot.bank.clone(),
            _ => p.point.clone(),
        };
        let reader = self.reader(&point);
        self.report(&reader, Said::Key(digits.clone()))?;
        self.carry_on()?;
        // One code, several parcels, and something forgotten.
        if self.dice.one_in(3) {
            self.report(&reader, Said::Key(digits))?;
            self.carry_on()?;
        }
        Ok(())
    }

    fn returns(&mut self, who: u8) -> Kept {
        let recipient = format!("r{who}");
        let own = self.which(|p| p.returned && p.recipient == recipient && !p.finished());
        let Some(parcel) = self.pick(&own) else {
            return Ok(());
        };
        let Some(digits) = self.digits.get(&parcel).cloned() else {
            return Ok(());
        };
        let point = self.model.parcels[&parcel].point.clone();
        let reader = self.reader(&point);
        self.report(&reader, Said::Key(digits))?;
        self.carry_on()
    }

    fn astray(&mut self, who: u8) -> Kept {
        let Some((_, digits)) = self.own(who) else {
            return Ok(());
        };
        for _ in 0..=self.dice.below(4) {
            let point = id(POINTS[self.dice.index(3)]);
            let reader = self.reader(&point);
            self.report(&reader, Said::Key(digits.clone()))?;
        }
        self.carry_on()
    }

    fn guesses(&mut self) -> Kept {
        let point = id(POINTS[self.dice.index(3)]);
        let reader = self.reader(&point);
        let dead: Vec<_> = self
            .model
            .codes
            .iter()
            .filter(|c| c.dead_since.is_some())
            .collect();
        let dead: Vec<_> = dead.iter().map(|code| code.digits.clone()).collect();
        for _ in 0..=self.dice.below(7) {
            let digits = match self.dice.below(3) {
                0 => self.pick(&dead).unwrap_or_else(|| "00".into()),
                1 => format!("{:02}", self.dice.below(100)),
                _ => "0000000000".into(),
            };
            self.report(&reader, Said::Key(digits))?;
        }
        self.carry_on()
    }

    fn hands_over(&mut self, who: u8) -> Kept {
        let desk = id("desk-c");
        let own = self.which(|p| p.waits() && p.at == At::Here(Place::Desk(id("desk-c"))));
        let digits = match self.dice.below(4) {
            0 => format!("{:02}", self.dice.below(100)),
            1 => match self.own(who) {
                Some((_, digits)) => digits,
                None => return Ok(()),
            },
            _ => match self
                .pick(&own)
                .and_then(|parcel| self.digits.get(&parcel).cloned())
            {
                Some(digits) => digits,
                None => return Ok(()),
            },
        };
        let typed = typed(&self.layout, &desk, &digits);
        self.apply(Act::Desk(DeskAct::HandOver { desk, typed }, digits))?;
        Ok(())
    }

    pub fn courier(&mut self, who: u8) -> Kept {
        let hours = self.dice.below(2_000) as i64;
        let proof = match self.dice.below(3) {
            0 => Proof::Code(Secret::new(format!("90000{who}"))),
            _ => Proof::Badge(badge_digest(&format!("badge-{who}"))),
        };
        let item = Downlink::Courier {
            courier: format!("badge-{who}"),
            proof,
            valid_until: self.true_ms() + hours * HOUR_MS as i64,
        };
        self.apply(Act::Cloud(item))?;
        Ok(())
    }
}

fn point_of(place: &Place) -> Ident {
    match place {
        Place::Slot(slot) => slot.bank.clone(),
        Place::Desk(desk) => desk.clone(),
    }
}
