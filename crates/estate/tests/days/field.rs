//! The physical world: doors, what really lies behind them, devices with their logs, and the ways on
//! which messages come late, twice or never. Nothing here asks the estate.

use std::collections::{BTreeMap, BTreeSet};

use cloud_protocol::badge_digest;
use estate::{DeviceEvent, Estate, Happening, Now};
use firmware_protocols::command::BankCode;
use firmware_protocols::event::{Direction, Done, Door, Outcome as Access};
use firmware_protocols::{Form, Ident, Slot};

use crate::common::{quick, typed};

/// What a device reports, in the clear.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Key(String),
    /// Digits for which a bank has opened a compartment by itself.
    Opened(String, u16),
    Scan(String),
    Door(u16, Door, Option<bool>),
    Result(String, Done),
    Access(Direction, String),
    Intent(String, u32, String),
    Hello(bool),
    Reading,
}

/// An event in a device's log.
#[derive(Clone, Debug)]
pub struct Sent {
    pub device: Ident,
    pub boot: u32,
    pub seq: u64,
    /// By the device's clock; `None` if it has none.
    pub at_ms: Option<i64>,
    /// When it really was.
    pub tick_ms: u64,
    /// Whether the box's clock stood then as it really is.
    pub clock_jumps: u32,
    pub said: Said,
}

/// A lock that was told to open.
#[derive(Clone, Debug)]
pub struct Told {
    pub slot: Slot,
    pub command: String,
    pub until_tick_ms: u64,
}

/// Where a parcel really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    Outside,
    In(Slot),
    Desk,
    Recipient,
}

#[derive(Clone, Debug, Default)]
pub struct Compartment {
    pub open: bool,
    pub jammed: bool,
    /// The doors or sensors haven't told the truth, or not in time: nobody can know what is inside.
    pub doubt: bool,
}

#[derive(Clone, Default)]
struct Log {
    boot: u32,
    seq: u64,
}

#[derive(Clone, Default)]
pub struct Field {
    logs: BTreeMap<Ident, Log>,
    /// Everything ever sent: any of it may come again.
    pub sent: Vec<Sent>,
    /// Sent, but not arrived yet.
    pub held: Vec<Sent>,
    pub told: Vec<Told>,
    /// Commands that a device has carried out: it does so once.
    pub done: BTreeSet<String>,
    pub compartments: BTreeMap<Slot, Compartment>,
    pub parcels: BTreeMap<String, Whereabouts>,
    /// The codes that a bank may check by itself.
    pub lists: BTreeMap<Ident, Vec<BankCode>>,
}

/// The keypad without a clock.
pub const CLOCKLESS: &str = "keypad-b";

impl Field {
    /// Enters something said into its device's log.
    pub fn enter(
        &mut self,
        now: &Now,
        true_ms: i64,
        jumps: u32,
        device: &Ident,
        said: Said,
    ) -> Sent {
        let log = self.logs.entry(device.clone()).or_default();
        log.seq += 1;
        let sent = Sent {
            device: device.clone(),
            boot: log.boot,
            seq: log.seq,
            at_ms: (device.as_str() != CLOCKLESS).then_some(true_ms),
            tick_ms: now.tick_ms,
            clock_jumps: jumps,
            said,
        };
        self.sent.push(sent.clone());
        sent
    }

    /// A number used up by something that can't be read.
    pub fn garbage(&mut self, device: &Ident) -> (u32, u64) {
        let log = self.logs.entry(device.clone()).or_default();
        log.seq += 1;
        (log.boot, log.seq)
    }

    /// A device starts anew; not more often than its boots are all kept open.
    pub fn restart(&mut self, device: &Ident) {
        let log = self.logs.entry(device.clone()).or_default();
        if log.boot < 7 {
            *log = Log {
                boot: log.boot + 1,
                seq: 0,
            };
        }
    }

    pub fn compartment(&mut self, slot: &Slot) -> &mut Compartment {
        self.compartments.entry(slot.clone()).or_default()
    }

    pub fn doubt(&mut self, slot: &Slot) {
        self.compartment(slot).doubt = true;
    }

    /// What really lies in a compartment.
    pub fn inside(&self, slot: &Slot) -> Vec<String> {
        let here = Whereabouts::In(slot.clone());
        let inside = self.parcels.iter().filter(|(_, place)| **place == here);
        inside.map(|(name, _)| name.clone()).collect()
    }

    pub fn is_outside(&self, parcel: &str) -> bool {
        matches!(
            self.parcels.get(parcel),
            None | Some(Whereabouts::Outside | Whereabouts::Recipient)
        )
    }

    pub fn put(&mut self, parcel: &str, place: Whereabouts) {
        self.parcels.insert(parcel.into(), place);
    }

    /// Whether something of this compartment is still under way.
    pub fn is_held(&self, slot: &Slot) -> bool {
        self.held
            .iter()
            .any(|sent| sent.slot().as_ref() == Some(slot))
    }
}

impl Sent {
    /// The compartment whose state it tells.
    pub fn slot(&self) -> Option<Slot> {
        let (Said::Door(compartment, ..) | Said::Opened(_, compartment)) = self.said else {
            return None;
        };
        Some(Slot {
            bank: self.device.clone(),
            compartment,
        })
    }

    /// The event as the estate gets it: everything personal digested.
    pub fn event(&self, estate: &Estate, now: &Now) -> DeviceEvent {
        let digits = |digits: &String| {
            let point = estate.point_of(&self.device).unwrap();
            typed(estate.layout(), &point, digits)
        };
        let what = match &self.said {
            Said::Key(code) => Happening::Keypad {
                typed: digits(code),
                opened: None,
            },
            Said::Opened(code, compartment) => Happening::Keypad {
                typed: digits(code),
                opened: Some(*compartment),
            },
            Said::Scan(symbol) => Happening::Scan {
                parcel: estate
                    .is_waybill(now, &self.device, symbol)
                    .then(|| symbol.clone()),
                badge: badge_digest(symbol),
            },
            Said::Door(compartment, door, occupied) => Happening::Compartment {
                compartment: *compartment,
                door: *door,
                occupied: *occupied,
            },
            Said::Result(command, outcome) => Happening::Result {
                command: command.clone(),
                outcome: *outcome,
                reason: None,
            },
            Said::Access(direction, who) => Happening::Access {
                outcome: Access::Granted,
                direction: Some(*direction),
                method: None,
                credential: Some(quick(&[who])),
            },
            Said::Intent(item, quantity, who) => Happening::Intent {
                item: item.clone(),
                quantity: *quantity,
                household: Some(quick(&[who])),
            },
            Said::Hello(codes) => Happening::Hello {
                model: "cu48".into(),
                firmware: "1".into(),
                capabilities: codes.then(|| "codes".to_string()).into_iter().collect(),
            },
            Said::Reading => Happening::Reading,
        };
        DeviceEvent {
            device: self.device.clone(),
            form: Form::Cbor,
            boot: self.boot,
            seq: self.seq,
            at_ms: self.at_ms.unwrap_or(now.wall_ms),
            said_ms: self.at_ms,
            fingerprint: self.seq ^ (u64::from(self.boot) << 32),
            what,
        }
    }
}
