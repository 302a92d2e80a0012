//! What goes into the estate and what comes out.

use alloc::string::String;
use alloc::vec::Vec;

use cloud_protocol::Downlink;
use cloud_protocol::uplink::ClaimKind;
use firmware_protocols::event::{Direction, Done, Door, Method, Outcome as AccessOutcome, Secret};
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
    /// A technician takes a compartment out of use, or back into it.
    Disable {
        /// Which one.
        slot: Slot,
        /// Who.
        operator: String,
        /// Why nothing is put in any more; `None` puts it back into use.
        reason: Option<String>,
    },
    /// Somebody of the staff does something at a desk, or to a parcel.
    Desk {
        /// Who.
        operator: String,
        /// What.
        act: DeskAct,
    },
    /// A link has handed a command to its device for the first time.
    CommandSent {
        /// The command's id.
        command: String,
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
    /// When it happened by the device's own word, ms since the Unix epoch, right or wrong; `None` if
    /// it said nothing. Only [compared](crate::keypad::STALE_MS) with its own earlier words and the
    /// running time.
    pub said_ms: Option<i64>,
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
        /// What was typed.
        typed: Typed,
        /// The compartment that the bank has opened for them on its own.
        opened: Option<u16>,
    },
    /// A symbol read by a scanner.
    Scan {
        /// The symbol, if [`crate::Estate::is_waybill`] says that it is one.
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

/// Digits that somebody typed, as all that may be known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// Their keyed digest at the keypad's own point.
    pub code: Digest,
    /// Their keyed digests at the estate's other points.
    pub elsewhere: Vec<(Ident, Digest)>,
    /// Their keyed digest as a courier's code: of `courier:` and the digits, at the site.
    pub courier: Digest,
    /// How many digits.
    pub digits: u8,
}

/// What the staff does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskAct {
    /// Hands over what waits at the desk for this code. Counts wrong codes like a keypad.
    HandOver {
        /// The desk.
        desk: Ident,
        /// The code that the resident said.
        typed: Typed,
    },
    /// Takes a parcel in at the desk.
    Receive {
        /// The desk.
        desk: Ident,
        /// The parcel.
        parcel: String,
        /// Who brings it, if that is known.
        courier: Option<String>,
    },
    /// Takes down a refusal or a claim.
    Claim {
        /// The desk.
        desk: Ident,
        /// The parcel.
        parcel: String,
        /// What the resident says, and what was done.
        claim: Claim,
    },
    /// Opens a parcel's compartment to bring the parcel to the desk.
    Transfer {
        /// The desk that it goes to.
        desk: Ident,
        /// The parcel.
        parcel: String,
    },
    /// Gives back a parcel that goes back: out of a desk at once, out of a compartment by opening it.
    Retrieve {
        /// The parcel.
        parcel: String,
        /// To whom, if it is a courier.
        courier: Option<String>,
    },
    /// Gives a parcel a new code; the old one dies. The operator is told the new one.
    Reissue {
        /// The parcel.
        parcel: String,
    },
    /// Lets a parcel wait longer.
    Extend {
        /// The parcel.
        parcel: String,
        /// The new deadline, ms since the Unix epoch.
        deadline: i64,
    },
}

/// A refusal or a claim for damage at the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub kind: ClaimKind,
    /// In words.
    pub note: String,
    /// What the group leader paid on the spot, in fen (1/100 yuan).
    pub compensation_fen: Option<u64>,
    /// Whether the recipient keeps the goods.
    pub keeps: bool,
    /// The point to which the recipient will bring the goods back, if they were already collected:
    /// a return is expected there, and the operator is told its code.
    pub return_to: Option<Ident>,
}

/// What the one who asked is told, once it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// The parcel that it is about.
    pub parcel: Option<String>,
    /// In words.
    pub text: String,
    /// A code that was issued for this, for the person who stands there.
    pub code: Option<Secret>,
    /// The open command that was made for this.
    pub command: Option<String>,
}

impl Told {
    /// Words about a parcel.
    pub(crate) fn about(parcel: &str, text: String) -> Self {
        Self {
            parcel: Some(parcel.into()),
            text,
            code: None,
            command: None,
        }
    }
}

/// What came of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What became of the input itself.
    pub verdict: Verdict,
    /// What the one who asked is told, if anybody asked.
    pub told: Option<Told>,
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
