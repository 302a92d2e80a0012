//! What the staff does, as commands: at a desk, to a parcel, to a compartment.

use std::io::{self, Write as _};

use firmware_protocols::Ident;

use super::args::{ClaimArgs, CompartmentCommand, DeskCommand};
use super::look::safe;
use super::stop::{self, Stop};
use super::table::{Cell, Column};
use super::{Done, Draw, Session, ask, lists, words};
use crate::cli::look::{Look, Paint};
use crate::control::client::ClientError;
use crate::control::views::Acted;
use crate::control::wire::{Act, Request};
use crate::store::read::{LedgerRow, ParcelRow};

impl Session {
    /// `linli desk …`.
    pub(super) fn desk(&mut self, command: DeskCommand) -> Done {
        let named = |desk: Option<Ident>| desk.map(|desk| desk.to_string());
        let act = match command {
            DeskCommand::List { desk, limit } => {
                let request = Request::AtDesks {
                    desk: named(desk),
                    limit: Some(limit),
                };
                return self.list(&request, at_desks as Draw<ParcelRow>);
            }
            DeskCommand::HandOver { code, desk } => {
                let code = match code {
                    Some(code) => {
                        writeln!(io::stderr(), "{}", words::desk::CODE_WAS_SEEN)?;
                        code
                    }
                    None => ask::code()?,
                };
                if code.digits().is_none() {
                    return Err(Stop::new(stop::USAGE, words::desk::NOT_A_CODE));
                }
                let desk = named(desk);
                Act::HandOver { code, desk }
            }
            DeskCommand::Receive {
                parcel,
                courier,
                desk,
            } => Act::Receive {
                parcel,
                courier,
                desk: named(desk),
            },
            DeskCommand::Claim(claim) => claimed(claim),
            DeskCommand::Transfer { parcel, desk } => Act::Transfer {
                parcel,
                desk: named(desk),
            },
            DeskCommand::Retrieve { parcel, courier } => Act::Retrieve { parcel, courier },
        };
        self.act(act)
    }

    /// `linli compartment …`.
    pub(super) fn compartment(&mut self, command: CompartmentCommand) -> Done {
        self.act(match command {
            CompartmentCommand::Disable { slot, reason } => Act::Disable {
                slot: slot.to_string(),
                reason,
            },
            CompartmentCommand::Enable { slot } => Act::Enable {
                slot: slot.to_string(),
            },
        })
    }

    /// Has something done and shows what came of it; if a compartment opens for it, what became of
    /// that.
    pub(super) fn act(&mut self, act: Act) -> Done {
        let claims = std::env::var("SUDO_USER").ok();
        let request = Request::Act { act, claims };
        let mut client = self.connect()?;
        let quiet = self.global.json;
        let mut last: Option<Acted> = None;
        let asked = client.ask(&request, |acted: Acted| {
            if let (None, false, Some(opening)) = (&last, quiet, &acted.opening) {
                // Only news: what became of it is what counts.
                let _ = writeln!(io::stderr(), "{}", safe(&words::desk::opening(opening)));
            }
            last = Some(acted);
            true
        });
        asked.map_err(|e| self.stop(&e))?;
        let eof = || ClientError::BrokenOff(io::ErrorKind::UnexpectedEof.into());
        let acted = last.ok_or_else(|| self.stop(&eof()))?;
        if self.global.json {
            let item = serde_json::to_value(&acted).unwrap_or_default();
            writeln!(self.out, "{item}")?;
        }
        if let Some(opening) = acted.opening.as_ref().filter(|o| !o.succeeded()) {
            self.out.flush()?;
            let text = words::desk::opened(opening);
            return Err(Stop::new(stop::FAILED, safe(&text)));
        }
        if !self.global.json {
            self.out
                .write_all(words::desk::acted(&self.look, &acted).as_bytes())?;
        }
        Ok(())
    }
}

fn claimed(claim: ClaimArgs) -> Act {
    Act::Claim {
        parcel: claim.parcel,
        kind: claim.kind,
        note: claim.note,
        paid_fen: claim.paid.map(|paid| paid.fen),
        keeps: claim.keeps,
        return_to: claim.return_to.map(|point| point.to_string()),
        desk: claim.desk.map(|desk| desk.to_string()),
    }
}

/// What is at the desks, or is to come there.
fn at_desks(look: &Look, parcels: &[ParcelRow]) -> String {
    const HEAD: [Column; 6] = [
        Column::stretching("PARCEL"),
        Column::left("DESK"),
        Column::left("IS"),
        Column::left("SINCE"),
        Column::left("UNTIL"),
        Column::stretching("MARK"),
    ];
    let rows: Vec<Vec<Cell>> = parcels
        .iter()
        .map(|parcel| {
            let late = parcel.due_ms < look.now_ms;
            let until = if late { Paint::Warn } else { Paint::Plain };
            vec![
                Cell::from(&parcel.parcel),
                Cell::from(words::desk::desk_of(parcel)),
                Cell::from(words::desk::presence(parcel)),
                Cell::from(look.time(parcel.since_ms)),
                Cell::painted(look.time(parcel.due_ms), until),
                Cell::painted(words::desk::marks(parcel), Paint::Warn),
            ]
        })
        .collect();
    lists::listed(look, &HEAD, &rows)
}

/// The ledger of commands.
pub(super) fn commands(look: &Look, commands: &[LedgerRow]) -> String {
    const HEAD: [Column; 8] = [
        Column::left("REQUESTED"),
        Column::left("COMPARTMENT"),
        Column::stretching("WHAT FOR"),
        Column::stretching("BY"),
        Column::left("SENT"),
        Column::left("OPENED"),
        Column::left("CLOSED"),
        Column::stretching("STATE"),
    ];
    let time = |ms: Option<i64>| Cell::from(ms.map_or_else(String::new, |ms| look.time(ms)));
    let rows: Vec<Vec<Cell>> = commands
        .iter()
        .map(|row| {
            let command = &row.command;
            let paint = match command.state.as_str() {
                "refused" | "failed" | "expired" | "unknown" => Paint::Warn,
                _ => Paint::Plain,
            };
            vec![
                Cell::from(look.time_of_quality(command.at_ms, &command.quality)),
                Cell::from(format!("{}/{}", command.bank, command.compartment)),
                Cell::from(words::desk::purpose(command)),
                Cell::from(row.who.as_deref().unwrap_or_default()),
                time(command.sent_ms),
                time(command.opened_ms),
                time(command.closed_ms),
                Cell::painted(words::desk::command_state(command), paint),
            ]
        })
        .collect();
    lists::listed(look, &HEAD, &rows)
}
