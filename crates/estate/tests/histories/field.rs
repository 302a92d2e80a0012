//! The field: devices with their logs, locks and doors, and what people do at them.

use std::collections::BTreeMap;

use cloud_protocol::badge_digest;
use estate::context::CodeDigest;
use estate::{DeviceEvent, Estate, Happening, Now};
use firmware_protocols::event::{Direction, Done, Door, Outcome};
use firmware_protocols::{Form, Ident, Slot};

use crate::common::{QuickDigest, quick};

/// What a device reports, in the clear.
#[derive(Clone, Debug)]
pub enum Deed {
    Key(String),
    Scan(String),
    Door(u16, Door, Option<bool>),
    Result(String, Done),
    Access(Direction, String),
    Intent(String, u32, String),
    Reading,
}

/// An event in a device's log.
#[derive(Clone, Debug)]
pub struct Sent {
    pub device: Ident,
    pub boot: u32,
    pub seq: u64,
    pub at_ms: i64,
    pub deed: Deed,
}

/// A lock that was told to open.
#[derive(Clone, Debug)]
pub struct Told {
    pub slot: Slot,
    pub command: String,
    pub until_tick_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Compartment {
    pub open: bool,
    pub inside: Option<String>,
}

#[derive(Default)]
struct Log {
    boot: u32,
    seq: u64,
}

#[derive(Default)]
pub struct Field {
    logs: BTreeMap<Ident, Log>,
    /// Everything ever sent: any of it may come again.
    pub sent: Vec<Sent>,
    /// Sent, but not arrived yet.
    pub held: Vec<Sent>,
    pub told: Vec<Told>,
    pub compartments: BTreeMap<Slot, Compartment>,
}

impl Field {
    /// Enters a deed into its device's log.
    pub fn enter(&mut self, now: &Now, device: &Ident, deed: Deed) -> Sent {
        let log = self.logs.entry(device.clone()).or_default();
        log.seq += 1;
        let sent = Sent {
            device: device.clone(),
            boot: log.boot,
            seq: log.seq,
            at_ms: now.wall_ms,
            deed,
        };
        self.sent.push(sent.clone());
        sent
    }

    /// A device starts anew; not more often than its boots are all kept open.
    pub fn restart(&mut self, device: &Ident) {
        let log = self.logs.entry(device.clone()).or_default();
        if log.boot < 7 {
            log.boot += 1;
            log.seq = 0;
        }
    }
}

impl Sent {
    /// The event as the estate gets it: everything personal digested.
    pub fn event(&self, estate: &Estate) -> DeviceEvent {
        let what = match &self.deed {
            Deed::Key(digits) => Happening::Keypad {
                code: QuickDigest.digest(&estate.point_of(&self.device).unwrap(), digits),
                digits: u8::try_from(digits.len()).unwrap(),
            },
            Deed::Scan(symbol) => Happening::Scan {
                parcel: estate.knows_parcel(symbol).then(|| symbol.clone()),
                badge: badge_digest(symbol),
            },
            Deed::Door(compartment, door, occupied) => Happening::Compartment {
                compartment: *compartment,
                door: *door,
                occupied: *occupied,
            },
            Deed::Result(command, outcome) => Happening::Result {
                command: command.clone(),
                outcome: *outcome,
                reason: None,
            },
            Deed::Access(direction, who) => Happening::Access {
                outcome: Outcome::Granted,
                direction: Some(*direction),
                method: None,
                credential: Some(quick(&[who])),
            },
            Deed::Intent(item, quantity, who) => Happening::Intent {
                item: item.clone(),
                quantity: *quantity,
                household: Some(quick(&[who])),
            },
            Deed::Reading => Happening::Reading,
        };
        DeviceEvent {
            device: self.device.clone(),
            form: Form::Cbor,
            boot: self.boot,
            seq: self.seq,
            at_ms: self.at_ms,
            fingerprint: self.seq ^ (u64::from(self.boot) << 32),
            what,
        }
    }
}
