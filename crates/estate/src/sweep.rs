//! Time passes: commands end, doors stand open too long, codes rest, hours close, rows are put away.
//!
//! Everything that has an end is also judged by the clock where it is used, so nothing depends on
//! how often this runs: it makes ends visible, and room.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Slot;
use firmware_protocols::command::Tone;

use crate::code::CodeState;
use crate::command::{CommandRow, CommandState};
use crate::estate::Estate;
use crate::opening::{KEEP_MS, NO_ANSWER};
use crate::parcel::Stage;
use crate::turn::Turn;
use crate::{Now, text};

impl Estate {
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_, '_>) {
        self.end_commands(turn);
        self.retry_commands(turn);
        self.watch_hand_overs(turn);
        self.end_unlisted(&turn.now);
        self.watch_deadlines(&turn.now);
        self.end_codes(&turn.now);
        self.end_courier_codes(&turn.now);
        self.tell_banks(turn);
        self.close_hours(&turn.now);
        self.put_away(&turn.now);
    }

    /// A command without an answer by its end has expired, and the hand-over that waits for it is
    /// undone: whether the door opened isn't known, so the person repeats the gesture.
    fn end_commands(&mut self, turn: &mut Turn<'_, '_>) {
        let now = turn.now;
        let ended = |row: &&CommandRow| row.state.waiting() && row.expires_tick_ms <= now.tick_ms;
        let ids: Vec<_> = self
            .commands
            .values()
            .filter(ended)
            .map(|row| row.id.clone())
            .collect();
        for id in ids {
            let waiting = self.parcel_waiting_for(&id);
            if let Some(row) = self.commands.get_mut(&id) {
                let left_the_box =
                    self.perhaps_sent.remove(&id) || row.state != CommandState::Requested;
                row.state = match left_the_box {
                    false => CommandState::Expired,
                    true => CommandState::Unknown,
                };
            }
            if let Some(parcel) = waiting {
                self.hand_over_failed(turn, &parcel, NO_ANSWER);
            }
        }
    }

    /// A door open for too long raises the alarm, once. One that was never seen open although its
    /// command is settled ends the hand-over.
    fn watch_hand_overs(&mut self, turn: &mut Turn<'_, '_>) {
        let now = turn.now;
        let patience = self.rules.door_open_alarm_ms;
        let mut late: Vec<(String, Slot, bool)> = Vec::new();
        for (id, row) in self.parcels.iter() {
            let (Stage::Depositing {
                slot,
                command,
                opened,
                alarmed,
                ..
            }
            | Stage::Collecting {
                slot,
                command,
                opened,
                alarmed,
                ..
            }) = &row.stage
            else {
                continue;
            };
            let sent = self
                .commands
                .get(command)
                .is_some_and(|row| row.state.waiting());
            let due = if *opened { !alarmed } else { !sent };
            if due && now.passed(row.since_tick_ms, patience) {
                late.push((id.clone(), slot.clone(), *opened));
            }
        }
        for (parcel, slot, opened) in late {
            if opened && self.takes_banks_word(turn, &parcel, &slot) {
                continue;
            }
            if opened {
                self.raise_door_alarm(turn, &parcel, &slot);
            } else {
                self.hand_over_failed(turn, &parcel, "the door was never seen open");
            }
        }
    }

    fn raise_door_alarm(&mut self, turn: &mut Turn<'_, '_>, parcel: &str, slot: &Slot) {
        if let Some(row) = self.parcels.get_mut(parcel)
            && let Stage::Depositing { alarmed, .. } | Stage::Collecting { alarmed, .. } =
                &mut row.stage
        {
            *alarmed = true;
        }
        let detail = Some(format!(
            "{slot}: open for more than {} s",
            self.rules.door_open_alarm_ms / 1_000
        ));
        self.trace(
            &turn.now,
            parcel,
            "door-left-open",
            "gateway".to_string(),
            detail,
        );
        self.show_at(
            turn,
            &slot.bank,
            text::close_door(slot.compartment),
            Tone::Error,
        );
    }

    /// Codes of collected parcels die with their grace; rested ones are forgotten.
    fn end_codes(&mut self, now: &Now) {
        let (mut dead, mut rested) = (Vec::new(), Vec::new());
        for (key, row) in self.codes.iter() {
            match &row.state {
                CodeState::Resting { until_tick_ms } if *until_tick_ms <= now.tick_ms => {
                    rested.push(key.clone());
                }
                CodeState::Resting { .. } => {}
                CodeState::Live { parcel } => {
                    if let Some(Stage::Collected {
                        reopen_until_tick_ms,
                        ..
                    }) = self.parcels.get(parcel).map(|row| &row.stage)
                        && *reopen_until_tick_ms <= now.tick_ms
                        && !self.is_collecting_with(parcel)
                    {
                        dead.push((key.0.clone(), parcel.clone(), *reopen_until_tick_ms));
                    }
                }
            }
        }
        for (point, parcel, since) in dead {
            self.kill_code(&point, &parcel, since);
        }
        for key in rested {
            self.codes.remove(&key);
        }
    }

    /// Couriers' codes are forgotten some time after they ran out: each known one makes residents'
    /// codes longer.
    fn end_courier_codes(&mut self, now: &Now) {
        let rest = self.rules.code_rest_ms;
        let over: Vec<_> = self
            .couriers
            .values()
            .filter(|row| row.digits.is_some() && row.valid_until.later(rest).passed(now))
            .map(|row| row.proof)
            .collect();
        for proof in over {
            self.couriers.remove(&proof);
        }
    }

    /// What is over and written leaves the memory.
    fn put_away(&mut self, now: &Now) {
        let keep = self.rules.finished_keep_ms;
        let parcels: Vec<_> = self
            .parcels
            .iter()
            .filter(|(id, row)| {
                let over = row.stage.finished() && now.passed(row.since_tick_ms, keep);
                over && !self.parcels.is_touched(id) && !in_grace(now, &row.stage)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in parcels {
            self.parcels.remove(&id);
        }
        let commands: Vec<_> = self
            .commands
            .iter()
            .filter(|(id, row)| {
                let over = !row.state.waiting() && now.passed(row.expires_tick_ms, KEEP_MS);
                over && !self.commands.is_touched(id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in commands {
            self.commands.remove(&id);
        }
        self.sessions.retain(|_, session| !session.over(now));
    }
}

const fn in_grace(now: &Now, stage: &Stage) -> bool {
    matches!(stage, Stage::Collected { reopen_until_tick_ms, .. } if now.tick_ms < *reopen_until_tick_ms)
}
