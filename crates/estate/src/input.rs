//! What goes into the estate and what comes out.

use alloc::string::String;
use alloc::vec::Vec;

use cloud_protocol::Downlink;
use firmware_protocols::event::{Direction, Done, Door, Method, Outcome as AccessOutcome};
use firmware_protocols::{Command, Form, Ident, Receipt, Slot};

use crate::Digest;

/// Something that happened, or is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A device reports.
    Event(DeviceEvent),
    /// A device sent something that can't be an event and goes to quarantine; counted in its ledger.
    Unreadable {
        /// The device.
        device: Ident,
        /// Its boot and number in that boot, if they could be read.
        number: Option<(u32, u64)>,
    },
    /// The cloud says something.
    Downlink(Downlink),
    /// A technician opens a compartment.
    OpenByHand {
        /// Which one.
        slot: Slot,
        /// Who.
        operator: String,
        /// Why.
        reason: String,
    },
    /// Time passes: expiries, alarms, closed hours. At least once a second.
    Tick,
}

/// An event of a device, with everything personal already digested.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEvent {
    /// Who.
    pub device: Ident,
    /// In which encoding it came; answers go out in the same.
    pub form: Form,
    /// The device's boot.
    pub boot: u32,
    /// Its number in that boot, from 1.
    pub seq: u64,
    /// When it happened, ms since the Unix epoch: the device's time if it is plausible, else the
    /// receiving time.
    pub at_ms: i64,
    /// A hash of what it says, without times: tells a redelivery from a boot number used twice.
    pub fingerprint: u64,
    /// What.
    pub what: Happening,
}

/// What a device reports, without anything personal: digits, credentials and households are
/// digests here, so that nothing above can store or log them.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// Somebody at a door.
    Access {
        /// What came of it.
        outcome: AccessOutcome,
        /// Which way.
        direction: Option<Direction>,
        /// By what means.
        method: Option<Method>,
        /// The day's keyed digest of what was presented.
        credential: Option<Digest>,
    },
    /// A sensor's reading: kept, not looked into.
    Reading,
    /// Digits at a keypad.
    Keypad {
        /// Their keyed digest at the keypad's point.
        code: Digest,
        /// How many digits.
        digits: u8,
    },
    /// A symbol read by a scanner.
    Scan {
        /// The symbol, if it is a parcel's id that [`crate::Estate::knows_parcel`] knows.
        parcel: Option<String>,
        /// [`cloud_protocol::badge_digest`] of the symbol.
        badge: Digest,
    },
    /// The state of a compartment.
    Compartment {
        /// Its number.
        compartment: u16,
        /// The door's sensor.
        door: Door,
        /// The occupancy sensor, if it has one.
        occupied: Option<bool>,
    },
    /// A wish to buy.
    Intent {
        /// A catalogue entry or a category.
        item: String,
        /// How many.
        quantity: u32,
        /// The day's keyed digest of who.
        household: Option<Digest>,
    },
    /// What became of a command.
    Result {
        /// Its id.
        command: String,
        /// What became of it.
        outcome: Done,
        /// Why.
        reason: Option<String>,
    },
    /// A resident's judgement.
    Rating {
        /// 0 to 10.
        score: u8,
    },
    /// Something that a person should see to.
    Alarm {
        /// Which.
        alarm: String,
    },
    /// What the device is.
    Hello {
        /// Its model.
        model: String,
        /// Its firmware's version.
        firmware: String,
        /// What it can do.
        capabilities: Vec<String>,
    },
}

/// What came of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What became of the input itself.
    pub verdict: Verdict,
    /// What to do once the changes are on disk.
    pub effects: Vec<Effect>,
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken: an event's row is to be written; a downlink item or a request is carried out.
    Taken,
    /// Seen before: acknowledged again, nothing changed.
    Duplicate,
    /// An event that can't be taken as one and goes to quarantine, with the reason.
    Quarantine(String),
    /// A request that can't be carried out, with the reason and the remedy.
    Refused(String),
}

/// What to do in the world, once the changes are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a command.
    Command {
        /// To whom.
        device: Ident,
        /// In the encoding that it last spoke.
        form: Form,
        /// What.
        command: Command,
    },
}

/// A receipt that is due to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueReceipt {
    /// To whom.
    pub device: Ident,
    /// In the encoding that it last spoke.
    pub form: Form,
    /// What is on disk.
    pub receipt: Receipt,
}
