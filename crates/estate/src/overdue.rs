//! Deadlines: parcels that waited too long, and those that may wait longer.
//!
//! An overdue parcel stays where it is and its code stays good, until a courier or the staff takes
//! it back; collecting it is an ordinary collection. A parcel that is just being taken out isn't
//! touched until it is back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::announce::unknown;
use crate::context::Deadline;
use crate::estate::Estate;
use crate::parcel::{Back, ParcelRow, Stage, Taker};
use crate::turn::Turn;
use crate::{Now, Verdict, text};

impl Estate {
    /// Time passes: deadlines that are better known now, parcels past theirs, returns whose code
    /// opens no more.
    pub(crate) fn watch_deadlines(&mut self, now: &Now) {
        self.repair_deadlines(now);
        let late: Vec<_> = self
            .parcels
            .iter()
            .filter(|(_, row)| {
                let waits = matches!(row.stage, Stage::Deposited { .. }) && row.back.is_none();
                waits && row.due.passed(now)
            })
            .map(|(id, row)| (id.clone(), row.due.wall_ms))
            .collect();
        for (id, deadline) in late {
            self.send_back(now, &id, Back::Overdue);
            let detail = Some(format!("its time was over at {}", text::moment(deadline)));
            self.trace(now, &id, "overdue", "gateway".to_string(), detail);
        }
        self.end_return_codes(now);
    }

    /// Lets a parcel wait until another deadline. One that lies ahead makes an overdue parcel its
    /// recipient's again.
    pub(crate) fn extend(
        &mut self,
        turn: &mut Turn<'_, '_>,
        id: &str,
        deadline: i64,
        who: String,
    ) -> Verdict {
        match self.parcels.get(id) {
            None => return unknown(id),
            Some(row) if row.parcel.deadline == deadline => return Verdict::Taken,
            Some(row) if row.stage.finished() => {
                let why = format!("it is {}: too late to extend", row.stage.word());
                return self.refuse(turn, id, &who, why);
            }
            Some(row) if deadline < row.parcel.deadline => {
                let until = text::moment(row.parcel.deadline);
                let why = format!("it may wait until {until} already: name a later time");
                return self.refuse(turn, id, &who, why);
            }
            Some(row) if is_taken_back(row) => {
                let why = "it is just being taken back: too late to extend";
                return self.refuse(turn, id, &who, why.to_string());
            }
            Some(_) => {}
        }
        let detail = Some(format!("until {}", text::moment(deadline)));
        self.trace(&turn.now, id, "extended", who, detail);
        if self.set_deadline(&turn.now, id, deadline) {
            self.report(&turn.now, id, None);
        }
        Verdict::Taken
    }

    /// Sets a deadline. Whether that took the parcel back from being overdue. Who is just taking it
    /// back has it.
    pub(crate) fn set_deadline(&mut self, now: &Now, id: &str, deadline: i64) -> bool {
        let Some(row) = self.parcels.get_mut(id) else {
            return false;
        };
        let later = deadline > row.due.wall_ms;
        row.parcel.deadline = deadline;
        row.due = Deadline::at(now, deadline);
        let overdue = row.back == Some(Back::Overdue) && !is_taken_back(row);
        let freed = overdue && later && !row.due.passed(now);
        if freed {
            row.back = None;
        }
        freed
    }

    /// Reckons every deadline anew that was named when the time was less well known than now.
    fn repair_deadlines(&mut self, now: &Now) {
        let parcels: Vec<_> = self
            .parcels
            .iter()
            .filter(|(_, row)| !row.stage.finished())
            .filter_map(|(id, row)| Some((id.clone(), row.due.repaired(now)?)))
            .collect();
        for (id, due) in parcels {
            if let Some(row) = self.parcels.get_mut(&id) {
                row.due = due;
            }
        }
        let couriers: Vec<_> = self
            .couriers
            .iter()
            .filter_map(|(proof, row)| Some((*proof, row.valid_until.repaired(now)?)))
            .collect();
        for (proof, valid_until) in couriers {
            if let Some(row) = self.couriers.get_mut(&proof) {
                row.valid_until = valid_until;
            }
        }
    }
}

/// Whether a courier or the staff has opened a compartment to take the parcel back.
const fn is_taken_back(row: &ParcelRow) -> bool {
    matches!(
        row.stage,
        Stage::Collecting {
            taker: Taker::Courier(_) | Taker::Operator(_),
            ..
        }
    )
}
