//! What happened, as far as it can concern a parcel.

use cloud_protocol::Downlink;
use estate::input::DeskAct;
use estate::{Outcome, Verdict};

use estate::parcel::{Place, Taker};
use firmware_protocols::event::Door;
use firmware_protocols::{Ident, Slot};

use crate::common::id;
use crate::field::{Said, Sent};
use crate::play::{Act, Day};

/// Where a parcel is in its life. The flags say that the door was seen open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    Expected,
    Coming(Slot, bool),
    Here(Place),
    Leaving(Slot, Taker, bool),
    Gone,
    Retrieved,
    Cancelled,
}

/// What happened, as far as it can concern a parcel.
#[derive(Clone, Debug)]
pub enum Cause {
    Cancel(String),
    Extend(String),
    /// Taken to the letter: the cloud announces this parcel.
    Announce(String),
    Scan {
        point: Ident,
        symbol: String,
    },
    Key {
        point: Ident,
        digits: String,
    },
    BankOpened {
        slot: Slot,
        digits: String,
    },
    Door {
        slot: Slot,
        door: Door,
        occupied: Option<bool>,
    },
    Result,
    HandOver {
        desk: Ident,
        digits: String,
    },
    Receive(String),
    Claim(String),
    Transfer(String),
    Retrieve(String),
    ByHand(Slot),
    Tick,
    Other,
}

impl Day {
    /// What happened, as far as it concerns parcels.
    pub fn cause(&self, act: &Act, outcome: &Outcome) -> Cause {
        if outcome.verdict != Verdict::Taken {
            return Cause::Other;
        }
        match act {
            Act::Event(sent) => self.cause_of_event(sent),
            Act::Cloud(item) => match item {
                Downlink::ParcelExpected(parcel) => Cause::Announce(parcel.parcel.clone()),
                Downlink::ParcelCancelled { parcel } => Cause::Cancel(parcel.clone()),
                Downlink::ParcelExtended { parcel, .. } => Cause::Extend(parcel.clone()),
                _ => Cause::Other,
            },
            Act::Hand(slot) => Cause::ByHand(slot.clone()),
            Act::Desk(act, digits) => match act {
                DeskAct::HandOver { desk, .. } => Cause::HandOver {
                    desk: desk.clone(),
                    digits: digits.clone(),
                },
                DeskAct::Receive { parcel, .. } => Cause::Receive(parcel.clone()),
                DeskAct::Claim { parcel, .. } => Cause::Claim(parcel.clone()),
                DeskAct::Transfer { parcel, .. } => Cause::Transfer(parcel.clone()),
                DeskAct::Retrieve { parcel, .. } => Cause::Retrieve(parcel.clone()),
                DeskAct::Extend { parcel, .. } => Cause::Extend(parcel.clone()),
                DeskAct::Reissue { .. } => Cause::Other,
            },
            Act::Tick => Cause::Tick,
            Act::Disable(..) | Act::Sent(_) | Act::Unreadable(..) => Cause::Other,
        }
    }

    fn cause_of_event(&self, sent: &Sent) -> Cause {
        let point = || {
            self.estate
                .point_of(&sent.device)
                .unwrap_or_else(|| id("none"))
        };
        match &sent.said {
            Said::Key(digits) => Cause::Key {
                point: point(),
                digits: digits.clone(),
            },
            Said::Opened(digits, compartment) => Cause::BankOpened {
                slot: Slot {
                    bank: sent.device.clone(),
                    compartment: *compartment,
                },
                digits: digits.clone(),
            },
            Said::Scan(symbol) => Cause::Scan {
                point: point(),
                symbol: symbol.clone(),
            },
            Said::Door(compartment, door, occupied) => {
                let slot = Slot {
                    bank: sent.device.clone(),
                    compartment: *compartment,
                };
                let mut banks = self.layout.banks.iter();
                let sensor = banks.any(|bank| bank.id == slot.bank && bank.occupancy_sensor);
                Cause::Door {
                    slot,
                    door: *door,
                    occupied: occupied.filter(|_| sensor),
                }
            }
            Said::Result(..) => Cause::Result,
            Said::Access(..) | Said::Intent(..) | Said::Hello(_) | Said::Reading => Cause::Other,
        }
    }
}
