//! Cancellation: a parcel won't come, or goes back before its recipient has it.
//!
//! Before the deposit that ends it. While it is being put in behind an open door it is remembered,
//! and takes force when the door closes. Once it is here its code dies at once and a courier takes
//! it back. A recipient who already has the door open is not held up: too late.

use alloc::format;
use alloc::string::{String, ToString};

use firmware_protocols::command::Tone;

use crate::announce::unknown;
use crate::estate::Estate;
use crate::parcel::{Back, Stage, Taker};
use crate::turn::Turn;
use crate::{Now, Verdict, text};

impl Estate {
    /// The cloud cancels a parcel.
    pub(crate) fn cancelled(&mut self, turn: &mut Turn<'_, '_>, id: &str) -> Verdict {
        let Some(row) = self.parcels.get(id) else {
            return unknown(id);
        };
        let (point, back, now) = (row.parcel.point.clone(), row.back, turn.now);
        match row.stage.clone() {
            Stage::Cancelled => Verdict::Taken,
            Stage::Expected => {
                self.end_cancelled(&now, id);
                Verdict::Taken
            }
            Stage::Depositing { opened: false, .. } => {
                self.undo_deposit(turn, id, "cancelled");
                self.end_cancelled(&now, id);
                self.show_at(turn, &point, text::CANCELLED, Tone::Error);
                Verdict::Taken
            }
            Stage::Depositing { opened: true, .. } => {
                self.cancel_behind_the_door(&now, id);
                Verdict::Taken
            }
            Stage::Collecting {
                taker: Taker::Recipient,
                ..
            } => {
                let why = "its recipient is taking it out: too late to cancel";
                self.refuse(turn, id, "cloud", why.to_string())
            }
            Stage::Deposited { .. } | Stage::Collecting { .. } => match back {
                None | Some(Back::Overdue) => {
                    self.send_back(&now, id, Back::Cancelled);
                    self.trace_cancelled(&now, id, "it is here and goes back");
                    Verdict::Taken
                }
                Some(Back::Return) => {
                    let why = "it is a return and was handed in: a courier takes it back";
                    self.refuse(turn, id, "cloud", why.to_string())
                }
                Some(Back::Cancelled | Back::Refused | Back::Claimed) => Verdict::Taken,
            },
            stage @ (Stage::Collected { .. } | Stage::Retrieved { .. }) => {
                let why = format!("it is {}: too late to cancel", stage.word());
                self.refuse(turn, id, "cloud", why)
            }
        }
    }

    /// The deposit of a parcel was undone: if it was cancelled meanwhile, that is its end.
    pub(crate) fn apply_cancellation(&mut self, now: &Now, id: &str) {
        let row = self.parcels.get(id);
        let remembered = row.is_some_and(|row| {
            row.back == Some(Back::Cancelled) && matches!(row.stage, Stage::Expected)
        });
        if remembered {
            self.set_stage(now, id, Stage::Cancelled);
            self.report(now, id, None);
        }
    }

    fn cancel_behind_the_door(&mut self, now: &Now, id: &str) {
        let Some(row) = self.parcels.get_mut(id) else {
            return;
        };
        if row.back == Some(Back::Cancelled) {
            return;
        }
        row.back = Some(Back::Cancelled);
        let point = row.parcel.point.clone();
        self.kill_code(&point, id, now.tick_ms);
        self.trace_cancelled(now, id, "while it is being put in");
    }

    fn end_cancelled(&mut self, now: &Now, id: &str) {
        let Some(point) = self.parcels.get(id).map(|row| row.parcel.point.clone()) else {
            return;
        };
        self.kill_code(&point, id, now.tick_ms);
        self.set_stage(now, id, Stage::Cancelled);
        self.trace(now, id, "cancelled", "cloud".to_string(), None);
        self.report(now, id, None);
    }

    fn trace_cancelled(&mut self, now: &Now, id: &str, detail: &str) {
        let detail = Some(String::from(detail));
        self.trace(now, id, "cancelled", "cloud".to_string(), detail);
    }
}
