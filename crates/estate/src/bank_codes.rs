//! Banks that check codes by themselves while nobody answers them.
//!
//! A bank whose hello names the capability [`CAPABILITY`] is told which codes are good, and what
//! each opens: the whole list each time, when it has changed, when the bank says hello, and again
//! with growing pauses until the bank has answered `done`. What a bank was told is known in memory
//! only: after a restart it is told anew, even if the list is empty, since it may hold an old one.
//!
//! A code that was used at the bank comes as a keypad event that names the compartment, however
//! late: it happened. If the code was good for what lies there, that is being collected from then
//! on, by a command of the bank's own in the ledger ([`BANKS_OWN`]), and the door's events settle it
//! as ever. The grace counts from the time that the bank gives, so a code used long ago is dead at
//! once. If no closing is heard within the time in which a door left open raises the alarm, the
//! bank's word is taken, unless the sensor has said since that something is inside.
//! No wrong code is counted for any of this: the bank has a lockout of its own.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use firmware_protocols::command::{BankCode, Order};
use firmware_protocols::event::Done;
use firmware_protocols::{Ident, Slot};

use crate::code::CodeState;
use crate::command::{CommandRow, CommandState, Purpose};
use crate::device::DeviceRow;
use crate::estate::Estate;
use crate::input::Typed;
use crate::opening::COMMANDS_MAX;
use crate::parcel::{Back, Place, Stage, Taker};
use crate::turn::{Origin, Turn};
use crate::{Now, text};

/// What a bank that checks codes by itself says in its hello.
pub const CAPABILITY: &str = "codes";

/// How the ids of commands begin that carry a list.
pub const LIST_ID: &str = "k-";

/// How the ids begin of commands that a bank gave itself.
pub const BANKS_OWN: &str = "b-";

/// The most codes in a list, so that its command stays below 64 KiB in JSON too. Of more, those that
/// have waited longest are in it.
pub const LIST_MAX: usize = 700;

/// The pause before an unanswered list is sent again, ms; it doubles each time.
pub const PAUSE_MS: u64 = 10_000;

/// The longest pause, ms.
pub const PAUSE_LONGEST_MS: u64 = 300_000;

/// What banks that check codes were told. At most one entry for each bank of the layout.
#[derive(Debug, Clone, Default)]
pub(crate) struct BankLists(BTreeMap<Ident, BankList>);

#[derive(Debug, Clone)]
struct BankList {
    /// The command that it was sent with last.
    id: String,
    codes: Vec<BankCode>,
    answered: bool,
    /// How often it was sent again.
    repeats: u32,
    next_tick_ms: u64,
}

impl BankLists {
    /// Forgets what the other banks were told.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Ident) -> bool) {
        self.0.retain(|bank, _| keep(bank));
    }
}

/// Telling.
impl Estate {
    /// Tells each bank that checks codes what it doesn't know yet.
    pub(crate) fn tell_banks(&mut self, turn: &mut Turn<'_, '_>) {
        let banks = self.layout.banks.iter().map(|bank| bank.id.clone());
        for bank in banks.collect::<Vec<_>>() {
            if self.checks_codes(&bank) {
                self.tell_bank(turn, &bank);
            }
        }
    }

    /// A bank has started: what it was told may be lost.
    pub(crate) fn bank_says_hello(&mut self, turn: &mut Turn<'_, '_>, from: &Origin) {
        self.bank_lists.0.remove(&from.device);
        if self.checks_codes(&from.device) {
            self.tell_bank(turn, &from.device);
        }
    }

    /// A bank answers a list.
    pub(crate) fn bank_answers(&mut self, from: &Origin, command: &str, outcome: Done) {
        if let Some(told) = self.bank_lists.0.get_mut(&from.device)
            && told.id == command
            && outcome == Done::Done
        {
            told.answered = true;
        }
    }

    pub(crate) fn checks_codes(&self, bank: &Ident) -> bool {
        let named = |row: &DeviceRow| row.capabilities.iter().any(|name| name == CAPABILITY);
        self.places.bank(&self.layout, bank).is_some() && self.devices.get(bank).is_some_and(named)
    }

    fn tell_bank(&mut self, turn: &mut Turn<'_, '_>, bank: &Ident) {
        let codes = self.list_for(bank);
        let now = turn.now;
        let known = self.bank_lists.0.get(bank);
        let repeats = match known.filter(|told| told.codes == codes) {
            Some(told) if told.answered || now.tick_ms < told.next_tick_ms => return,
            Some(told) => told.repeats.saturating_add(1),
            None => 0,
        };
        let factor = 1_u64.checked_shl(repeats).unwrap_or(u64::MAX);
        let pause_ms = PAUSE_MS.saturating_mul(factor).min(PAUSE_LONGEST_MS);
        let told = BankList {
            id: turn.id(LIST_ID),
            codes,
            answered: false,
            repeats,
            next_tick_ms: now.tick_in(pause_ms),
        };
        let order = Order::Codes {
            salt: turn.bank_salt(bank).to_vec(),
            digests: told.codes.clone(),
        };
        self.command(turn, bank, told.id.clone(), order);
        self.bank_lists.0.insert(bank.clone(), told);
    }

    /// The codes that open something at a bank now, in order.
    fn list_for(&self, bank: &Ident) -> Vec<BankCode> {
        let mut waiting: Vec<_> = self
            .codes_at(bank)
            .filter_map(|row| {
                let CodeState::Live { parcel } = &row.state else {
                    return None;
                };
                let digest = row.bank_digest?;
                let row = self.parcels.get(parcel)?;
                let Stage::Deposited {
                    place: Place::Slot(slot),
                } = &row.stage
                else {
                    return None;
                };
                let here = slot.bank == *bank && row.back.is_none_or(Back::still_for_recipient);
                let compartment = slot.compartment;
                here.then_some((
                    row.since_tick_ms,
                    BankCode {
                        digest,
                        compartment,
                    },
                ))
            })
            .collect();
        waiting.sort_unstable();
        waiting.truncate(LIST_MAX);
        let mut list: Vec<_> = waiting.into_iter().map(|(_, code)| code).collect();
        list.sort_unstable();
        list
    }
}

/// Hearing.
impl Estate {
    /// A bank has opened a compartment by itself for digits that were typed.
    pub(crate) fn opened_by_bank(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        typed: &Typed,
        compartment: u16,
    ) {
        let Some(bank) = from.point.clone() else {
            return;
        };
        let slot = Slot { bank, compartment };
        if !self.compartments.contains(&slot) {
            return;
        }
        if from.fresh {
            let (point, device) = (slot.bank.clone(), from.device.clone());
            self.readers.insert(point, device);
        }
        let who = || format!("bank {}", slot.bank);
        let detail = || {
            Some(format!(
                "{slot}, at {} by its clock",
                text::moment(from.at_ms)
            ))
        };
        let Some(parcel) = self.good_in(typed, &slot) else {
            for parcel in self.parcels_in(&slot) {
                let step = "opened-by-bank-in-vain";
                self.trace(&turn.now, &parcel, step, who(), detail());
            }
            return;
        };
        let command = self.banks_command(turn, from, &slot, &parcel);
        let taken = self.waiting_in(&slot);
        if let Some(row) = self.compartments.get_mut(&slot) {
            row.openings = row.openings.saturating_add(1);
            // What the sensor said before says nothing about now.
            row.occupied = None;
        }
        for parcel in taken {
            let stage = Stage::Collecting {
                slot: slot.clone(),
                taker: Taker::Recipient,
                command: command.clone(),
                opened: true,
                alarmed: false,
            };
            self.set_stage(&turn.now, &parcel, stage);
            self.trace(&turn.now, &parcel, "opened-by-bank", who(), detail());
        }
    }

    /// Whether a hand-over that is open for long, without a closing, is complete by the bank's word;
    /// then it is ended.
    pub(crate) fn takes_banks_word(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        slot: &Slot,
    ) -> bool {
        let Some(row) = self.parcels.get(parcel) else {
            return false;
        };
        let command = match &row.stage {
            Stage::Collecting { command, .. } => command,
            Stage::Depositing { .. } => return false,
            // It was settled together with another one.
            _ => return true,
        };
        let inside = self.compartments.get(slot).and_then(|row| row.occupied);
        if !Self::is_banks_own(command) || inside == Some(true) {
            return false;
        }
        let command = command.clone();
        let opened_ms = self.commands.get(&command).and_then(|row| row.opened_ms);
        let since_ms = turn.now.tick_ms.saturating_sub(row.since_tick_ms);
        let taken: Vec<_> = self
            .parcels_in(slot)
            .into_iter()
            .filter(|id| {
                let stage = self.parcels.get(id).map(|row| &row.stage);
                matches!(stage, Some(Stage::Collecting { command: c, .. }) if *c == command)
            })
            .collect();
        self.collection_closed(turn, slot, &taken, None, None);
        let said_ms = opened_ms.map_or(0, |at_ms| turn.now.wall_ms.saturating_sub(at_ms));
        let said_ms = u64::try_from(said_ms).unwrap_or(0);
        self.shorten_grace(&turn.now, slot, since_ms.max(said_ms));
        true
    }

    /// What was collected from a compartment just now was collected so long ago in truth: so much of
    /// the grace is over.
    pub(crate) fn shorten_grace(&mut self, now: &Now, slot: &Slot, age_ms: u64) {
        let just_now: Vec<_> = self
            .parcels
            .iter()
            .filter(|(_, row)| {
                let from_here = matches!(
                    &row.stage,
                    Stage::Collected { place: Place::Slot(place), .. } if place == slot
                );
                from_here && row.since_tick_ms == now.tick_ms
            })
            .map(|(id, row)| (id.clone(), row.parcel.point.clone()))
            .collect();
        for (id, point) in just_now {
            let Some(Stage::Collected {
                reopen_until_tick_ms: until,
                ..
            }) = self.parcels.get_mut(&id).map(|row| &mut row.stage)
            else {
                continue;
            };
            *until = until.saturating_sub(age_ms);
            if *until <= now.tick_ms {
                self.kill_code(&point, &id, now.tick_ms);
            }
        }
    }

    /// Whether a command is one that a bank gave itself.
    pub(crate) fn is_banks_own(command: &str) -> bool {
        command.starts_with(BANKS_OWN)
    }

    /// The parcel for which digits are good, if it waits in this compartment for its recipient.
    fn good_in(&self, typed: &Typed, slot: &Slot) -> Option<String> {
        let parcel = self.parcel_of_code(&slot.bank, &typed.code)?;
        self.waiting_in(slot)
            .into_iter()
            .find(|waiting| waiting == parcel)
    }

    /// What waits in a compartment for its recipient, or is about to be taken out by him.
    fn waiting_in(&self, slot: &Slot) -> Vec<String> {
        let inside = self.compartments.get(slot).map(|row| row.contents.iter());
        let waits = |id: &&String| {
            self.parcels.get(*id).is_some_and(|row| {
                row.back.is_none_or(Back::still_for_recipient)
                    && matches!(
                        row.stage,
                        Stage::Deposited { .. }
                            | Stage::Collecting {
                                taker: Taker::Recipient,
                                opened: false,
                                ..
                            }
                    )
            })
        };
        inside
            .into_iter()
            .flatten()
            .filter(waits)
            .cloned()
            .collect()
    }

    /// Enters into the ledger what the bank did. The command's id.
    fn banks_command(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        slot: &Slot,
        parcel: &str,
    ) -> String {
        let id = turn.id(BANKS_OWN);
        let now = turn.now;
        // It happened, with a row or without: one is missing only if too many are under way.
        if self.commands.len() < COMMANDS_MAX {
            let row = CommandRow {
                id: id.clone(),
                slot: slot.clone(),
                purpose: Purpose::Collect {
                    parcel: parcel.into(),
                },
                at_ms: from.at_ms,
                quality: now.quality,
                expires_tick_ms: now.tick_ms,
                state: CommandState::Opened,
                sent_ms: None,
                opened_ms: Some(from.at_ms),
                closed_ms: None,
            };
            self.commands.insert(id.clone(), row);
        }
        id
    }
}
