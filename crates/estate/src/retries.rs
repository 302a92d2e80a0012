//! Commands that weren't answered are sent again, within their time and with the same id.
//!
//! A device carries an id out once, so sending twice never opens twice. What is to be sent again is
//! known in memory only: after a restart nothing is sent, and the person repeats the gesture. A
//! newer command for a compartment takes the place of the older one, and none is repeated whose
//! hand-over doesn't wait for it any more.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Slot;
use firmware_protocols::command::{Command, Order};

use crate::command::Purpose;
use crate::estate::Estate;
use crate::parcel::Stage;
use crate::turn::Turn;
use crate::{Effect, Now};

/// The commands that are sent again, by id: some of those that wait for an answer, so no more than
/// [`crate::opening::COMMANDS_MAX`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Retries(BTreeMap<String, Retry>);

#[derive(Debug, Clone)]
struct Retry {
    slot: Slot,
    /// Its end by the wall clock, as it was first sent.
    expires_ms: i64,
    next_tick_ms: u64,
    repeated: bool,
}

impl Retries {
    /// A command was made and goes out now.
    pub(crate) fn add(&mut self, id: &str, slot: &Slot, expires_ms: i64, next_tick_ms: u64) {
        self.0.retain(|_, retry| retry.slot != *slot);
        let retry = Retry {
            slot: slot.clone(),
            expires_ms,
            next_tick_ms,
            repeated: false,
        };
        self.0.insert(id.to_string(), retry);
    }

    /// Whether a command was sent more than once.
    pub(crate) fn repeated(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|retry| retry.repeated)
    }
}

impl Estate {
    /// Sends again what is due.
    pub(crate) fn retry_commands(&mut self, turn: &mut Turn<'_, '_>) {
        let now = turn.now;
        let mut retries = core::mem::take(&mut self.retries);
        retries.0.retain(|id, _| self.still_wanted(id));
        for (id, retry) in &mut retries.0 {
            if now.tick_ms < retry.next_tick_ms {
                continue;
            }
            retry.next_tick_ms = now.tick_in(self.rules.command_retry_ms);
            retry.repeated = true;
            turn.effects.extend(self.again(&now, id, retry));
        }
        self.retries = retries;
    }

    /// The same command once more: the same id and end, and the time that is left.
    fn again(&self, now: &Now, id: &str, retry: &Retry) -> Option<Effect> {
        let row = self.commands.get(id)?;
        Some(Effect::Command {
            device: row.slot.bank.clone(),
            form: self.form_of(&row.slot.bank),
            command: Command {
                id: id.to_string(),
                expires: retry.expires_ms,
                ttl_ms: row.expires_tick_ms.saturating_sub(now.tick_ms),
                order: Order::Open {
                    compartment: row.slot.compartment,
                },
            },
        })
    }

    /// Whether a command waits for an answer, and somebody for its door.
    fn still_wanted(&self, id: &str) -> bool {
        let Some(row) = self.commands.get(id).filter(|row| row.state.waiting()) else {
            return false;
        };
        if matches!(row.purpose, Purpose::ByHand { .. }) || self.is_reopening(id) {
            return true;
        }
        let parcels: Vec<String> = self.parcels_in(&row.slot);
        parcels.iter().any(|parcel| {
            let stage = self.parcels.get(parcel).map(|row| &row.stage);
            matches!(
                stage,
                Some(Stage::Depositing { command, .. } | Stage::Collecting { command, .. })
                    if command == id
            )
        })
    }
}
