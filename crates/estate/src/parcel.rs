//! Parcels: their life, the couriers who bring them, and the trace of every step.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use cloud_protocol::CodeForResident;
use cloud_protocol::Report;
use cloud_protocol::downlink::ExpectedParcel;
use cloud_protocol::uplink::{ParcelReport, ParcelState};
use firmware_protocols::event::Secret;
use firmware_protocols::{Ident, Slot};

use crate::context::Deadline;
use crate::deposit::RECIPIENT;
use crate::estate::Estate;
use crate::turn::Turn;
use crate::{Digest, Now, TimeQuality};

/// A parcel: what was announced, and where it stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParcelRow {
    /// What the cloud announced.
    pub parcel: ExpectedParcel,
    /// Where it stands.
    pub stage: Stage,
    /// Why it goes back instead of to its recipient; `None` while it is the recipient's.
    pub back: Option<Back>,
    /// Until when it may wait. A repaired form of `parcel.deadline`.
    pub due: Deadline,
    /// It came without having been announced.
    pub unlisted: bool,
    /// No compartment took it, or may: every desk of the estate takes it.
    pub to_desk: bool,
    /// Since when, ms since the Unix epoch, as the wall clock stood. A hand-over whose door is
    /// seen open counts from then.
    pub since_ms: i64,
    /// Since when, in ticks.
    pub since_tick_ms: u64,
}

/// Why a parcel goes back instead of to its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Back {
    /// Past its deadline. Its code stays good until somebody takes it back.
    Overdue,
    /// Cancelled after its deposit, or while it was being put in.
    Cancelled,
    /// The recipient refused it.
    Refused,
    /// The recipient claimed damage and doesn't keep it.
    Claimed,
    /// It is a return: it was put in for a courier.
    Return,
}

impl Back {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("overdue", Self::Overdue),
        ("cancelled", Self::Cancelled),
        ("refused", Self::Refused),
        ("claimed", Self::Claimed),
        ("return", Self::Return),
    ];

    /// The word in stores and for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Claimed => "claimed",
            Self::Return => "return",
        }
    }

    /// Whether the recipient's code still opens.
    pub const fn still_for_recipient(self) -> bool {
        matches!(self, Self::Overdue)
    }
}

/// Who takes a parcel out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taker {
    /// Its recipient, by code.
    Recipient,
    /// A courier, to take it back.
    Courier(String),
    /// The staff, to take it back.
    Operator(String),
    /// The staff, to bring it to a desk.
    Desk {
        /// The desk that it goes to.
        desk: Ident,
        /// Who.
        operator: String,
    },
}

/// Where a parcel stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Announced; its code is issued but not good yet (that of a return is).
    Expected,
    /// Somebody is putting it in: compartment reserved, open commanded.
    Depositing {
        /// Where.
        slot: Slot,
        /// Who: a courier's name, or `recipient` for a return.
        courier: String,
        /// The open command.
        command: String,
        /// Whether the door was seen open since.
        opened: bool,
        /// Whether the alarm for a door left open was raised.
        alarmed: bool,
    },
    /// Waiting to be taken out; its code is good unless [`ParcelRow::back`] says otherwise.
    Deposited {
        /// Where.
        place: Place,
    },
    /// Somebody is taking it out: open commanded.
    Collecting {
        /// Where.
        slot: Slot,
        /// Who.
        taker: Taker,
        /// The open command.
        command: String,
        /// Whether the door was seen open since.
        opened: bool,
        /// Whether the alarm for a door left open was raised.
        alarmed: bool,
    },
    /// With its recipient. Its code opens `place` again until `reopen_until_tick_ms`.
    Collected {
        /// Where it was.
        place: Place,
        /// The end of the grace, in ticks.
        reopen_until_tick_ms: u64,
    },
    /// Taken back by a courier or the staff.
    Retrieved {
        /// Where it was.
        place: Place,
    },
    /// Cancelled before deposit.
    Cancelled,
}

/// Where a deposited parcel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a compartment.
    Slot(Slot),
    /// At a desk.
    Desk(Ident),
}

impl Place {
    /// The bank or desk.
    pub const fn point(&self) -> &Ident {
        match self {
            Self::Slot(slot) => &slot.bank,
            Self::Desk(desk) => desk,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => slot.fmt(f),
            Self::Desk(desk) => desk.fmt(f),
        }
    }
}

impl Stage {
    /// The word for people and stores.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Depositing { .. } => "depositing",
            Self::Deposited { .. } => "deposited",
            Self::Collecting { .. } => "collecting",
            Self::Collected { .. } => "collected",
            Self::Retrieved { .. } => "retrieved",
            Self::Cancelled => "cancelled",
        }
    }

    /// The bank, compartment and desk that the cloud hears of.
    fn reported_place(&self) -> (Option<&Slot>, Option<&Ident>) {
        match self {
            Self::Deposited { place }
            | Self::Collected { place, .. }
            | Self::Retrieved { place } => match place {
                Place::Slot(slot) => (Some(slot), None),
                Place::Desk(desk) => (None, Some(desk)),
            },
            Self::Collecting { slot, .. } => (Some(slot), None),
            Self::Expected | Self::Depositing { .. } | Self::Cancelled => (None, None),
        }
    }

    /// Whether the parcel's life is over.
    pub const fn finished(&self) -> bool {
        matches!(
            self,
            Self::Collected { .. } | Self::Retrieved { .. } | Self::Cancelled
        )
    }
}

impl ParcelRow {
    /// A parcel that was just announced.
    pub fn announced(now: &Now, parcel: ExpectedParcel) -> Self {
        Self {
            due: Deadline::at(now, parcel.deadline),
            parcel,
            stage: Stage::Expected,
            back: None,
            unlisted: false,
            to_desk: false,
            since_ms: now.wall_ms,
            since_tick_ms: now.tick_ms,
        }
    }

    /// What the cloud hears of it: hand-overs under way are the box's own business.
    pub const fn reported(&self) -> ParcelState {
        match (&self.stage, self.back) {
            (Stage::Expected | Stage::Depositing { .. }, _) => ParcelState::Expected,
            (Stage::Deposited { .. } | Stage::Collecting { .. }, back) => match back {
                None | Some(Back::Return) => ParcelState::Deposited,
                Some(Back::Overdue) => ParcelState::Overdue,
                Some(Back::Cancelled) => ParcelState::Cancelled,
                Some(Back::Refused) => ParcelState::Refused,
                Some(Back::Claimed) => ParcelState::Claimed,
            },
            (Stage::Collected { .. }, _) => ParcelState::Collected,
            (Stage::Retrieved { .. }, _) => ParcelState::Retrieved,
            (Stage::Cancelled, _) => ParcelState::Cancelled,
        }
    }

    /// What the cloud is told of it, without its code.
    pub fn report(&self) -> ParcelReport {
        let (slot, desk) = self.stage.reported_place();
        let state = self.reported();
        let since = match state {
            ParcelState::Overdue => self.due.wall_ms.max(self.since_ms),
            _ => self.since_ms,
        };
        ParcelReport {
            parcel: self.parcel.parcel.clone(),
            state,
            since,
            bank: slot.map(|slot| slot.bank.clone()),
            compartment: slot.map(|slot| slot.compartment),
            desk: desk.cloned(),
            code: None,
            unlisted: self.unlisted,
            return_of: self.parcel.return_of.clone(),
        }
    }

    /// Whether it waits somewhere for its recipient, whose code is good.
    pub const fn waits_for_recipient(&self) -> bool {
        let good = match self.back {
            None => true,
            Some(back) => back.still_for_recipient(),
        };
        good && !self.is_return() && matches!(self.stage, Stage::Deposited { .. })
    }

    /// Whether it waits somewhere to be taken back.
    pub const fn waits_to_go_back(&self) -> bool {
        self.back.is_some() && matches!(self.stage, Stage::Deposited { .. })
    }

    /// Whether it is the return of another parcel.
    pub const fn is_return(&self) -> bool {
        self.parcel.return_of.is_some()
    }
}

/// What a courier identifies with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourierRow {
    /// [`cloud_protocol::badge_digest`] of a badge's symbol, or the keyed digest of a code (see
    /// [`crate::input::Typed::courier`]).
    pub proof: Digest,
    /// How many digits, if it is a code.
    pub digits: Option<u8>,
    /// An opaque name for the record.
    pub courier: String,
    /// Until when it is good.
    pub valid_until: Deadline,
}

/// A step in a parcel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEntry {
    /// The parcel.
    pub parcel: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// How far that time can be trusted.
    pub quality: TimeQuality,
    /// When, in ticks.
    pub tick_ms: u64,
    /// What: `announced`, `code-issued`, `deposit-started`, `deposited`, …
    pub step: &'static str,
    /// Who: `cloud`, `courier NAME`, `keypad bank-a`, `operator NAME`, `gateway`.
    pub who: String,
    /// More, in words; never a code.
    pub detail: Option<String>,
}

impl Estate {
    /// The only way in which a parcel's stage changes. A finished parcel stays as it is.
    pub(crate) fn set_stage(&mut self, now: &Now, parcel: &str, stage: Stage) {
        if let Some(row) = self.parcels.get_mut(parcel)
            && !row.stage.finished()
        {
            row.stage = stage;
            row.since_ms = now.wall_ms;
            row.since_tick_ms = now.tick_ms;
        }
    }

    /// Keeps a compartment for a parcel that is being put in.
    pub(crate) fn reserve(&mut self, slot: &Slot, parcel: &str) {
        if let Some(row) = self.compartments.get_mut(slot) {
            row.reserved = Some(parcel.to_string());
        }
    }

    /// A parcel is in a compartment.
    pub(crate) fn put_in(&mut self, slot: &Slot, parcel: &str) {
        if let Some(row) = self.compartments.get_mut(slot) {
            row.reserved = None;
            if !row.contents.iter().any(|inside| inside == parcel) {
                row.contents.push(parcel.to_string());
            }
        }
    }

    /// A parcel isn't in a compartment, or isn't coming into it, any more.
    pub(crate) fn take_out(&mut self, slot: &Slot, parcel: &str) {
        if let Some(row) = self.compartments.get_mut(slot) {
            row.reserved.take_if(|reserved| reserved == parcel);
            row.contents.retain(|inside| inside != parcel);
            if row.contents.is_empty() {
                self.missing.remove(slot);
            }
        }
    }

    /// The parcel has come to where it waits, brought by a courier, or by the `recipient` of a return.
    pub(crate) fn deposited(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        place: Place,
        courier: &str,
    ) {
        let by_recipient =
            courier == RECIPIENT && self.parcels.get(parcel).is_some_and(ParcelRow::is_return);
        let who = if by_recipient {
            RECIPIENT.to_string()
        } else {
            format!("courier {courier}")
        };
        let detail = place.to_string();
        self.deposited_by(turn, parcel, place, who, detail);
    }

    /// The parcel has come to where it waits; a return waits for a courier.
    pub(crate) fn deposited_by(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        place: Place,
        who: String,
        detail: String,
    ) {
        let now = turn.now;
        let Some(row) = self.parcels.get_mut(parcel) else {
            return;
        };
        if row.is_return() && row.back.is_none() {
            row.back = Some(Back::Return);
        }
        let handed_in = row.is_return() && matches!(place, Place::Desk(_));
        let code_at = row.parcel.point.clone();
        let (point, recipient) = (place.point().clone(), row.parcel.recipient.clone());
        if handed_in {
            self.kill_code(&code_at, parcel, now.tick_ms);
        }
        self.set_stage(&now, parcel, Stage::Deposited { place });
        self.report(&now, parcel, None);
        self.trace(&now, parcel, "deposited", who, Some(detail));
        self.count_parcel(turn, &point, "deposits", &recipient);
    }

    /// From now on a parcel goes back, for this reason. Unless it is overdue, its code dies.
    pub(crate) fn send_back(&mut self, now: &Now, parcel: &str, back: Back) {
        let Some(row) = self.parcels.get_mut(parcel) else {
            return;
        };
        row.back = Some(back);
        if !back.still_for_recipient() {
            if matches!(row.stage, Stage::Deposited { .. }) {
                row.since_ms = now.wall_ms;
                row.since_tick_ms = now.tick_ms;
            }
            let point = row.parcel.point.clone();
            self.kill_code(&point, parcel, now.tick_ms);
        }
        self.report(now, parcel, None);
    }

    /// Tells the cloud where a parcel stands, with its code if that is new.
    pub(crate) fn report(&mut self, now: &Now, parcel: &str, code: Option<Secret>) {
        let Some(row) = self.parcels.get(parcel) else {
            return;
        };
        let report = ParcelReport {
            code: code.map(CodeForResident::Plain),
            ..row.report()
        };
        self.uplinks.push((now.wall_ms, Report::Parcel(report)));
    }
}
