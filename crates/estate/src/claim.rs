//! Refusals and claims for damage at the point, with what was paid there on the spot.
//!
//! Goods that are still here go back with a courier, and their code dies at once. Goods that were
//! collected come back as a return: handed over at the desk right now, or expected at a point with
//! a code of its own. Whoever keeps the goods changes nothing but the record.

use alloc::format;
use alloc::string::{String, ToString};

use cloud_protocol::Report;
use cloud_protocol::downlink::ExpectedParcel;
use cloud_protocol::uplink::{ClaimKind, ClaimReport};
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;

use crate::Verdict;
use crate::announce::{PARCELS_MAX, no_code_free, particulars, unknown};
use crate::desk::is_line;
use crate::estate::Estate;
use crate::input::{Claim, Told};
use crate::parcel::{Back, ParcelRow, Place, Stage};
use crate::turn::Turn;

/// The longest note, characters.
pub const NOTE_MAX: usize = 500;

/// The most that is paid on the spot, fen.
pub const COMPENSATION_MAX_FEN: u64 = 1_000_000;

/// The most returns of one parcel that are known at a time.
pub const RETURNS_MAX: u32 = 99;

/// The longest id of a parcel, characters.
const ID_MAX: usize = 128;

/// What a claim leads to.
enum Consequence {
    /// It is recorded, no more.
    Recorded,
    /// The parcel goes back from where it is.
    GoesBack(Back),
    /// A return is made: expected at a point, or handed over here.
    Return(Option<Ident>),
}

impl Estate {
    /// Takes down a refusal or a claim for damage.
    pub(crate) fn claim(
        &mut self,
        turn: &mut Turn<'_, '_>,
        operator: &str,
        desk: &Ident,
        parcel: &str,
        claim: Claim,
    ) -> Verdict {
        let Some(row) = self.parcels.get(parcel) else {
            return unknown(parcel);
        };
        let consequence = match well_formed(&claim).and_then(|()| consequence(row, &claim)) {
            Ok(consequence) => consequence,
            Err(why) => return Verdict::Refused(format!("parcel {parcel}: {why}")),
        };
        let mut told = Told::about(parcel, "taken down".to_string());
        let mut returned_as = None;
        match consequence {
            Consequence::Recorded => {}
            Consequence::GoesBack(back) => {
                self.send_back(&turn.now, parcel, back);
                told.text = format!("taken down: {parcel} goes back");
            }
            Consequence::Return(point) => {
                match self.make_return(turn, operator, desk, parcel, point) {
                    Ok((id, code)) => {
                        told.text = match &code {
                            Some(_) => format!("taken down: expected back as {id}, with the code"),
                            None => format!("taken down: here as {id}, keep it for the courier"),
                        };
                        told.code = code;
                        returned_as = Some(id);
                    }
                    Err(why) => return Verdict::Refused(format!("parcel {parcel}: {why}")),
                }
            }
        }
        self.record_claim(turn, operator, desk, parcel, claim, returned_as);
        turn.told = Some(told);
        Verdict::Taken
    }

    fn record_claim(
        &mut self,
        turn: &Turn<'_, '_>,
        operator: &str,
        desk: &Ident,
        parcel: &str,
        claim: Claim,
        returned_as: Option<String>,
    ) {
        let mut detail = claim.note.trim().to_string();
        if let Some(fen) = claim.compensation_fen {
            let (yuan, fen) = (fen / 100, fen % 100);
            detail.push_str(&format!(
                "; paid {yuan}.{fen:02} yuan on the spot by {operator}"
            ));
        }
        if let Some(id) = &returned_as {
            detail.push_str("; comes back as ");
            detail.push_str(id);
        }
        let step = match claim.kind {
            ClaimKind::Refused => "refused",
            ClaimKind::Damaged => "claimed",
        };
        let who = format!("operator {operator} at {desk}");
        self.trace(&turn.now, parcel, step, who, Some(detail));
        let report = ClaimReport {
            parcel: parcel.to_string(),
            claim: claim.kind,
            operator: operator.to_string(),
            desk: desk.clone(),
            note: claim.note.trim().to_string(),
            compensation_fen: claim.compensation_fen,
            keeps: claim.keeps,
            returned_as,
        };
        let at_ms = turn.now.wall_ms;
        self.uplinks.push((at_ms, Report::Claim(report)));
    }

    /// Makes the return of a collected parcel: expected at `point` with a code, or, without a
    /// point, handed over at this desk. Its id and code.
    fn make_return(
        &mut self,
        turn: &mut Turn<'_, '_>,
        operator: &str,
        desk: &Ident,
        original: &str,
        point: Option<Ident>,
    ) -> Result<(String, Option<Secret>), String> {
        let at = point.clone().unwrap_or_else(|| desk.clone());
        if !self.places.is_point(&at) {
            let points = self.places.point_names();
            return Err(format!("'{at}' isn't a pickup point; points: {points}"));
        }
        if self.parcels.len() >= PARCELS_MAX {
            return Err(format!(
                "{PARCELS_MAX} parcels are known already: cancel those that won't come"
            ));
        }
        let expected = self.parcels.values().find(|row| {
            let of_this = row.parcel.return_of.as_deref() == Some(original);
            of_this && row.stage == Stage::Expected
        });
        if let Some(row) = expected {
            let id = &row.parcel.parcel;
            return Err(format!(
                "it is expected back as {id} already: give out a new code with linli reissue {id}"
            ));
        }
        let id = self.return_id(original).ok_or_else(|| {
            format!("{RETURNS_MAX} returns of it are known already: cancel those that won't come")
        })?;
        let Some(row) = self.parcels.get(original) else {
            return Err("it isn't known here".to_string());
        };
        let now = turn.now;
        let retention = i64::try_from(self.rules.retention_ms).unwrap_or(i64::MAX);
        let parcel = ExpectedParcel {
            parcel: id.clone(),
            point: at,
            deadline: now.wall_ms.saturating_add(retention),
            items: None,
            return_of: Some(original.to_string()),
            ..row.parcel.clone()
        };
        let code = match &point {
            Some(_) => Some(
                self.new_code(turn, &parcel)
                    .ok_or_else(|| no_code_free(&parcel))?,
            ),
            None => None,
        };
        let who = format!("operator {operator} at {desk}");
        let detail = Some(particulars(&parcel));
        let row = ParcelRow::announced(&now, parcel);
        self.parcels.insert(id.clone(), row);
        self.trace(&now, &id, "announced", who.clone(), detail);
        let Some((code, length)) = code else {
            let place = Place::Desk(desk.clone());
            self.deposited_by(turn, &id, place, who, desk.to_string());
            return Ok((id, None));
        };
        self.trace_code(turn, &id, "code-issued", length);
        self.report(&now, &id, Some(code.clone()));
        Ok((id, Some(code)))
    }

    /// The first free id for a return: `ID-R`, `ID-R2`, …
    fn return_id(&self, original: &str) -> Option<String> {
        (1..=RETURNS_MAX).find_map(|n| {
            let suffix = match n {
                1 => "-R".to_string(),
                n => format!("-R{n}"),
            };
            let stem: String = original.chars().take(ID_MAX - suffix.len()).collect();
            let id = format!("{stem}{suffix}");
            (!self.parcels.contains(&id)).then_some(id)
        })
    }
}

/// Whether a claim says what it must, within its bounds.
fn well_formed(claim: &Claim) -> Result<(), String> {
    if !is_line(claim.note.trim(), NOTE_MAX) {
        return Err(format!(
            "say what is wrong, in one line of 1 to {NOTE_MAX} characters"
        ));
    }
    if claim
        .compensation_fen
        .is_some_and(|fen| fen > COMPENSATION_MAX_FEN)
    {
        let most = COMPENSATION_MAX_FEN / 100;
        return Err(format!(
            "at most {most} yuan are paid on the spot: leave the rest to the cloud"
        ));
    }
    if claim.keeps && claim.return_to.is_some() {
        return Err("who keeps the goods doesn't bring them back: say one of both".to_string());
    }
    Ok(())
}

/// What a claim leads to, as the parcel stands; or why it can't be.
fn consequence(row: &ParcelRow, claim: &Claim) -> Result<Consequence, String> {
    let refusal = claim.kind == ClaimKind::Refused;
    if row.is_return() {
        return Err("it is a return itself: claim the original".to_string());
    }
    match &row.stage {
        Stage::Expected | Stage::Depositing { .. } => {
            Err("it isn't here yet: claim it when it is".to_string())
        }
        Stage::Cancelled | Stage::Retrieved { .. } => {
            let word = row.stage.word();
            Err(format!("it is {word}: nothing is left to claim here"))
        }
        Stage::Collected { .. } if refusal => {
            Err("it was collected: claim it as damaged, or have a return announced".to_string())
        }
        Stage::Collected { .. } if claim.keeps => Ok(Consequence::Recorded),
        Stage::Collected { .. } => Ok(Consequence::Return(claim.return_to.clone())),
        _ if refusal && claim.keeps => {
            Err("who refuses a parcel doesn't keep it: claim it as damaged".to_string())
        }
        _ if claim.return_to.is_some() => {
            Err("it wasn't collected: it goes back from where it is, without a return".to_string())
        }
        _ if claim.keeps => Ok(Consequence::Recorded),
        Stage::Collecting { .. } => {
            Err("it is being taken out just now: wait until the door is closed".to_string())
        }
        Stage::Deposited { .. } => match row.back {
            None | Some(Back::Overdue) if refusal => Ok(Consequence::GoesBack(Back::Refused)),
            None | Some(Back::Overdue) => Ok(Consequence::GoesBack(Back::Claimed)),
            Some(back) => Err(format!("it goes back already ({})", back.word())),
        },
    }
}
