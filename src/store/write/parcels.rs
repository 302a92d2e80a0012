//! Writing what a hand-over is about: compartments, parcels, codes, keypads, couriers, commands.

use estate::code::{CodeRow, CodeState};
use estate::command::{CommandRow, CommandState, Purpose};
use estate::compartment::CompartmentRow;
use estate::keypad::KeypadRow;
use estate::parcel::{CourierRow, ParcelRow, Place, Stage, Taker};
use rusqlite::params;

use super::{Writer, bits, json};
use crate::store::StoreError;

impl Writer<'_> {
    pub(super) fn compartment(&self, row: &CompartmentRow) -> Result<(), StoreError> {
        self.run(
            "writing a compartment",
            "INSERT OR REPLACE INTO compartments
                 (bank, compartment, contents, reserved, door, occupied, fault, disabled, openings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                row.slot.bank.as_str(),
                row.slot.compartment,
                json(&row.contents),
                row.reserved,
                row.door.word(),
                row.occupied,
                row.fault,
                row.disabled,
                bits(row.openings),
            ],
        )
    }

    pub(super) fn parcel(&self, row: &ParcelRow) -> Result<(), StoreError> {
        let stage = StageColumns::of(&row.stage);
        let p = &row.parcel;
        self.run(
            "writing a parcel",
            "INSERT OR REPLACE INTO parcels
                 (parcel, recipient, size, zone, point, deadline_ms, consent, items, stage, bank,
                  compartment, desk, courier, command, opened, alarmed, reopen_until_tick_ms,
                  since_ms, since_tick_ms, low, return_of, back, due_ms, due_tick_ms, due_quality,
                  unlisted, to_desk, taker)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                     ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)",
            params![
                p.parcel,
                p.recipient,
                p.size.word(),
                p.zone.word(),
                p.point.as_str(),
                p.deadline,
                p.consent,
                p.items,
                row.stage.word(),
                stage.bank,
                stage.compartment,
                stage.desk,
                stage.courier,
                stage.command,
                stage.opened,
                stage.alarmed,
                stage.reopen_until_tick_ms.map(bits),
                row.since_ms,
                bits(row.since_tick_ms),
                p.low,
                p.return_of,
                row.back.map(|back| back.word()),
                row.due.wall_ms,
                row.due.tick_ms.map(bits),
                row.due.quality as u8,
                row.unlisted,
                row.to_desk,
                stage.taker,
            ],
        )
    }

    pub(super) fn code(&self, row: &CodeRow) -> Result<(), StoreError> {
        let (parcel, until) = match &row.state {
            CodeState::Live { parcel } => (Some(parcel), None),
            CodeState::Resting { until_tick_ms } => (None, Some(bits(*until_tick_ms))),
        };
        self.run(
            "writing a code",
            "INSERT OR REPLACE INTO codes
                 (point, digest, digits, bank_digest, parcel, until_tick_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                row.point.as_str(),
                row.digest,
                row.digits,
                row.bank_digest,
                parcel,
                until
            ],
        )
    }

    pub(super) fn keypad(&self, row: &KeypadRow) -> Result<(), StoreError> {
        self.run(
            "writing a keypad",
            "INSERT OR REPLACE INTO keypads (keypad, wrong, astray, lockouts, locked_until_tick_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                row.keypad.as_str(),
                row.wrong,
                row.astray,
                row.lockouts,
                row.locked_until_tick_ms.map(bits),
            ],
        )
    }

    pub(super) fn courier(&self, row: &CourierRow) -> Result<(), StoreError> {
        self.run(
            "writing a courier",
            "INSERT OR REPLACE INTO couriers
                 (proof, courier, valid_until_ms, digits, due_tick_ms, due_quality)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                row.proof,
                row.courier,
                row.valid_until.wall_ms,
                row.digits,
                row.valid_until.tick_ms.map(bits),
                row.valid_until.quality as u8,
            ],
        )
    }

    pub(super) fn command(&self, row: &CommandRow) -> Result<(), StoreError> {
        let (operator, reason) = match &row.purpose {
            Purpose::ByHand { operator, reason } => (Some(operator), Some(reason)),
            _ => (None, None),
        };
        let answer = match &row.state {
            CommandState::Refused { reason } | CommandState::Failed { reason } => Some(reason),
            _ => None,
        };
        self.run(
            "writing a command",
            "INSERT OR REPLACE INTO commands
                 (id, bank, compartment, purpose, parcel, operator, reason, at_ms, quality,
                  expires_tick_ms, state, answer, sent_ms, opened_ms, closed_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                row.id,
                row.slot.bank.as_str(),
                row.slot.compartment,
                row.purpose.word(),
                row.purpose.parcel(),
                operator,
                reason,
                row.at_ms,
                row.quality as u8,
                bits(row.expires_tick_ms),
                row.state.word(),
                answer,
                row.sent_ms,
                row.opened_ms,
                row.closed_ms,
            ],
        )
    }
}

/// A stage's own facts, as columns.
#[derive(Default)]
struct StageColumns<'a> {
    bank: Option<&'a str>,
    compartment: Option<u16>,
    desk: Option<&'a str>,
    courier: Option<&'a str>,
    taker: Option<&'static str>,
    command: Option<&'a str>,
    opened: bool,
    alarmed: bool,
    reopen_until_tick_ms: Option<u64>,
}

impl<'a> StageColumns<'a> {
    fn of(stage: &'a Stage) -> Self {
        match stage {
            Stage::Expected | Stage::Cancelled => Self::default(),
            Stage::Depositing {
                slot,
                courier,
                command,
                opened,
                alarmed,
            } => Self {
                bank: Some(slot.bank.as_str()),
                compartment: Some(slot.compartment),
                courier: Some(courier),
                command: Some(command),
                opened: *opened,
                alarmed: *alarmed,
                ..Self::default()
            },
            Stage::Deposited { place } | Stage::Retrieved { place } => Self::at(place),
            Stage::Collecting {
                slot,
                taker,
                command,
                opened,
                alarmed,
            } => {
                let (word, who, desk) = taken_by(taker);
                Self {
                    bank: Some(slot.bank.as_str()),
                    compartment: Some(slot.compartment),
                    desk,
                    courier: who,
                    taker: Some(word),
                    command: Some(command),
                    opened: *opened,
                    alarmed: *alarmed,
                    ..Self::default()
                }
            }
            Stage::Collected {
                place,
                reopen_until_tick_ms,
            } => Self {
                reopen_until_tick_ms: Some(*reopen_until_tick_ms),
                ..Self::at(place)
            },
        }
    }

    fn at(place: &'a Place) -> Self {
        match place {
            Place::Slot(slot) => Self {
                bank: Some(slot.bank.as_str()),
                compartment: Some(slot.compartment),
                ..Self::default()
            },
            Place::Desk(desk) => Self {
                desk: Some(desk.as_str()),
                ..Self::default()
            },
        }
    }
}

/// The word, the person, the desk.
fn taken_by(taker: &Taker) -> (&'static str, Option<&str>, Option<&str>) {
    match taker {
        Taker::Recipient => ("recipient", None, None),
        Taker::Courier(name) => ("courier", Some(name), None),
        Taker::Operator(name) => ("operator", Some(name), None),
        Taker::Desk { desk, operator } => ("desk", Some(operator), Some(desk.as_str())),
    }
}
