//! What the staff does at a desk, to a parcel, or to a compartment: checked, recorded with the
//! operator's name, and followed if a compartment opens for it.
//!
//! Invariant: a pickup code goes from the request to its digest, and from the journal's answer to
//! the one who asked; it is in no log.

use std::io;

use cloud_protocol::uplink::ClaimKind;
use estate::Told;
use estate::input::{Claim, DeskAct};
use firmware_protocols::{Ident, Slot};

use super::answer;
use super::backend::Backend;
use super::conversation::Conversation;
use super::known::{self, bad};
use super::open::{TAKE_TIME, follow, reachable};
use super::operator::operator;
use super::secret::PickupCode;
use super::views::{Acted, Opening, PointView};
use super::wire::{Act, End, Failure, FailureKind, Reply, write_line};
use crate::store::read::ParcelRow;

/// The longest note of a claim, in characters.
const NOTE_MAX_CHARS: usize = 500;
/// The longest name of a courier, in characters.
const COURIER_MAX_CHARS: usize = 64;
/// The longest id of a parcel, in characters.
const PARCEL_MAX_CHARS: usize = 128;
/// The most that is paid on the spot, fen.
const PAID_MAX_FEN: u64 = 1_000_000;
/// The longest extension by hours: a month.
pub const HOURS_MAX: u32 = 31 * 24;

/// Answers `act`.
pub(super) async fn act(
    client: &mut Conversation,
    act: Act,
    claims: Option<String>,
) -> io::Result<()> {
    match perform(client, act, claims).await {
        Ok((acted, Some(opening))) => {
            let shown = |opening: &Opening| Acted {
                opening: Some(opening.clone()),
                ..acted.clone()
            };
            follow(client, opening, shown).await
        }
        Ok((acted, None)) => {
            let mut line = Vec::new();
            write_line(&mut line, &Reply::Item(acted))?;
            client.send(&line, Some(End::default())).await
        }
        Err(failure) => client.fail(failure).await,
    }
}

/// What goes to the journal.
enum Order {
    Desk(DeskAct),
    Disable { slot: Slot, reason: Option<String> },
}

/// A request that was checked.
struct Checked {
    order: Order,
    desk: Option<Ident>,
    slot: Option<String>,
    /// Where a code that comes of it is good.
    good_at: Option<PointView>,
    until_ms: Option<i64>,
    /// Why the compartment is out of use already.
    before: Option<String>,
}

impl Checked {
    fn new(order: Order) -> Self {
        Self {
            order,
            desk: None,
            slot: None,
            good_at: None,
            until_ms: None,
            before: None,
        }
    }

    fn at(desk: Ident, act: DeskAct) -> Self {
        Self {
            desk: Some(desk),
            ..Self::new(Order::Desk(act))
        }
    }

    fn disable(slot: Slot, reason: Option<String>) -> Self {
        Self {
            slot: Some(slot.to_string()),
            ..Self::new(Order::Disable { slot, reason })
        }
    }
}

/// The parcel that was named, and its row if it is known.
struct Named {
    id: String,
    row: Option<ParcelRow>,
}

async fn perform(
    client: &Conversation,
    act: Act,
    claims: Option<String>,
) -> Result<(Acted, Option<Opening>), Failure> {
    let word = act.word();
    let uid = client.uid;
    let prepare = move |backend: &dyn Backend| {
        let named = named(backend, &act)?;
        let checked = check(backend, act, named.as_ref())?;
        Ok((operator(uid, claims.as_deref()), named, checked))
    };
    let (operator, named, checked) = client.shared.read(prepare).await?;
    let (desk, slot) = (checked.desk.map(|desk| desk.to_string()), checked.slot);
    let parcel = named.as_ref().map(|named| named.id.clone());
    let told = match submit(client, checked.order, operator.clone()).await {
        Ok(told) => told,
        Err(why) => {
            tracing::info!(act = word, ?parcel, ?desk, ?slot, %operator, %why, "the staff was refused");
            return Err(refused(named.as_ref(), why));
        }
    };
    tracing::info!(act = word, ?parcel, ?desk, ?slot, %operator, "done by the staff");
    let opening = opening(client, &told, &operator).await?;
    let acted = Acted {
        act: word.to_string(),
        operator,
        parcel: told.parcel.or(parcel),
        desk,
        slot,
        text: told.text,
        good_at: checked.good_at.filter(|_| told.code.is_some()),
        code: told.code.map(Into::into),
        until_ms: checked.until_ms,
        before: checked.before,
        opening: None,
    };
    Ok((acted, opening))
}

/// What isn't known can't be found; all else was refused.
fn refused(named: Option<&Named>, why: String) -> Failure {
    match named {
        Some(Named { id, row: None }) => answer::unknown_parcel(id),
        _ => Failure::new(FailureKind::Refused, why),
    }
}

/// Has it decided and written.
async fn submit(client: &Conversation, order: Order, operator: String) -> Result<Told, String> {
    let backend = &client.shared.backend;
    let asked = async {
        match order {
            Order::Desk(act) => backend.desk(operator, act).await,
            Order::Disable { slot, reason } => backend.disable(slot, operator, reason).await,
        }
    };
    tokio::time::timeout(TAKE_TIME, asked).await.unwrap_or_else(|_| {
        let seconds = TAKE_TIME.as_secs();
        Err(format!(
            "the gateway hasn't written it within {seconds} s, so it may or may not be done. Look at 'linli status', then at the parcel's history"
        ))
    })
}

/// The compartment that is opened for it, if one is.
async fn opening(
    client: &Conversation,
    told: &Told,
    operator: &str,
) -> Result<Option<Opening>, Failure> {
    let Some(command) = told.command.clone() else {
        return Ok(None);
    };
    let id = command.clone();
    let look = move |backend: &dyn Backend| {
        let row = answer::open(backend)?
            .command(&id)
            .map_err(answer::failed)?;
        Ok(row.map(|row| format!("{}/{}", row.bank, row.compartment)))
    };
    let slot = client.shared.read(look).await?;
    Ok(Some(Opening {
        command,
        slot: slot.unwrap_or_default(),
        operator: operator.to_string(),
        reason: told.text.clone(),
        state: "requested".to_string(),
        answer: None,
        waited_ms: 0,
    }))
}

/// The parcel that a request names, as the store has it.
fn named(backend: &dyn Backend, act: &Act) -> Result<Option<Named>, Failure> {
    let id = match act {
        Act::Receive { parcel, .. }
        | Act::Claim { parcel, .. }
        | Act::Transfer { parcel, .. }
        | Act::Retrieve { parcel, .. }
        | Act::Reissue { parcel }
        | Act::Extend { parcel, .. } => parcel,
        Act::HandOver { .. } | Act::Disable { .. } | Act::Enable { .. } => return Ok(None),
    };
    let id = known::line("a parcel's id", id, PARCEL_MAX_CHARS)?;
    let found = answer::open(backend)?.parcel(id).map_err(answer::failed)?;
    Ok(Some(Named {
        id: id.to_string(),
        row: found.map(|history| history.parcel),
    }))
}

/// Checks a request against the configuration, and makes of it what goes to the journal.
fn check(backend: &dyn Backend, act: Act, named: Option<&Named>) -> Result<Checked, Failure> {
    let layout = backend.layout();
    let desk = |named: &Option<String>| known::desk(&layout, named.as_deref()).cloned();
    let row = named.and_then(|named| named.row.as_ref());
    let parcel = named.map_or_else(String::new, |named| named.id.clone());
    Ok(match act {
        Act::HandOver { code, desk: at } => hand_over(backend, desk(&at)?, &code)?,
        Act::Receive {
            courier, desk: at, ..
        } => {
            let (desk, courier) = (desk(&at)?, courier_name(courier)?);
            let act = DeskAct::Receive {
                desk: desk.clone(),
                parcel,
                courier,
            };
            Checked::at(desk, act)
        }
        act @ Act::Claim { .. } => claim(backend, parcel, act)?,
        Act::Transfer { desk: at, .. } => {
            let desk = desk(&at)?;
            bank_reachable(backend, row)?;
            let act = DeskAct::Transfer {
                desk: desk.clone(),
                parcel,
            };
            Checked::at(desk, act)
        }
        Act::Retrieve { courier, .. } => {
            let courier = courier_name(courier)?;
            bank_reachable(backend, row)?;
            Checked::new(Order::Desk(DeskAct::Retrieve { parcel, courier }))
        }
        Act::Reissue { .. } => Checked {
            good_at: row.and_then(|row| known::point(&layout, waits_at(row))),
            ..Checked::new(Order::Desk(DeskAct::Reissue { parcel }))
        },
        Act::Extend {
            until_ms, hours, ..
        } => {
            let deadline = deadline(backend, until_ms, hours)?;
            let act = DeskAct::Extend { parcel, deadline };
            Checked {
                until_ms: Some(deadline),
                ..Checked::new(Order::Desk(act))
            }
        }
        Act::Disable { slot, reason } => {
            let slot = known::slot(&layout, &slot)?;
            let reason = known::reason("taking a compartment out of use", &reason)?;
            Checked {
                before: out_of_use(backend, &slot)?,
                ..Checked::disable(slot, Some(reason.to_string()))
            }
        }
        Act::Enable { slot } => Checked::disable(known::slot(&layout, &slot)?, None),
    })
}

/// Why a compartment is out of use, if it is.
fn out_of_use(backend: &dyn Backend, slot: &Slot) -> Result<Option<String>, Failure> {
    let rows = answer::open(backend)?
        .compartments()
        .map_err(answer::failed)?;
    let row = rows
        .into_iter()
        .find(|row| row.bank == slot.bank.as_str() && row.compartment == slot.compartment);
    Ok(row.and_then(|row| row.disabled))
}

fn hand_over(backend: &dyn Backend, desk: Ident, code: &PickupCode) -> Result<Checked, Failure> {
    let digits = code.digits().ok_or_else(|| {
        bad("a code is 1 to 16 digits, 0 to 9; spaces and dashes between them don't matter")
    })?;
    let typed = backend.typed(&desk, &digits);
    let act = DeskAct::HandOver {
        desk: desk.clone(),
        typed,
    };
    Ok(Checked::at(desk, act))
}

fn claim(backend: &dyn Backend, parcel: String, act: Act) -> Result<Checked, Failure> {
    let Act::Claim {
        kind,
        note,
        paid_fen,
        keeps,
        return_to,
        desk,
        ..
    } = act
    else {
        return Err(bad("not a claim"));
    };
    let layout = backend.layout();
    let desk = known::desk(&layout, desk.as_deref())?.clone();
    let good_at = return_to
        .as_deref()
        .and_then(|id| known::point(&layout, id));
    let return_to = return_to.map(|id| known::return_point(&layout, &id));
    let claim = Claim {
        kind: claim_kind(&kind)?,
        note: known::line("a note", &note, NOTE_MAX_CHARS)?.to_string(),
        compensation_fen: paid(paid_fen)?,
        keeps,
        return_to: return_to.transpose()?,
    };
    let act = DeskAct::Claim {
        desk: desk.clone(),
        parcel,
        claim,
    };
    Ok(Checked {
        good_at,
        ..Checked::at(desk, act)
    })
}

/// Where a parcel waits, or is to wait.
fn waits_at(row: &ParcelRow) -> &str {
    match (row.state.as_str(), &row.desk, &row.bank) {
        ("deposited", Some(at), _) | ("deposited", None, Some(at)) => at,
        _ => &row.point,
    }
}

/// The bank that the parcel lies in must be there to open.
fn bank_reachable(backend: &dyn Backend, row: Option<&ParcelRow>) -> Result<(), Failure> {
    let bank = row
        .filter(|row| !row.finished())
        .and_then(|row| row.bank.as_deref());
    match bank.map(Ident::new) {
        Some(Ok(bank)) => reachable(backend, &bank),
        _ => Ok(()),
    }
}

fn courier_name(courier: Option<String>) -> Result<Option<String>, Failure> {
    courier
        .map(|name| known::line("a courier's name", &name, COURIER_MAX_CHARS).map(str::to_string))
        .transpose()
}

fn claim_kind(word: &str) -> Result<ClaimKind, Failure> {
    let found = ClaimKind::WORDS.iter().find(|(known, _)| *known == word);
    found
        .map(|(_, kind)| *kind)
        .ok_or_else(|| bad(format!("'{word}' is no kind of claim: refused or damaged")))
}

fn paid(fen: Option<u64>) -> Result<Option<u64>, Failure> {
    match fen {
        Some(fen) if fen == 0 || fen > PAID_MAX_FEN => Err(bad(format!(
            "what is paid on the spot is 0.01 to {}.00 yuan",
            PAID_MAX_FEN / 100
        ))),
        fen => Ok(fen),
    }
}

/// The new deadline. Hours count from now, by this box's clock, if it knows the time.
fn deadline(
    backend: &dyn Backend,
    until_ms: Option<i64>,
    hours: Option<u32>,
) -> Result<i64, Failure> {
    let clock = backend.status().clock;
    let known = clock.quality != "unknown";
    match (until_ms, hours) {
        (Some(until), None) if known && until <= clock.wall_ms => {
            Err(bad("that time has passed already: name a later one"))
        }
        (Some(until), None) => Ok(until),
        (None, Some(hours @ 1..=HOURS_MAX)) if known => {
            Ok(clock.wall_ms.saturating_add(i64::from(hours) * 3_600_000))
        }
        (None, Some(1..=HOURS_MAX)) => Err(Failure::new(
            FailureKind::Refused,
            "nobody has told this box the time, so 'hours from now' says nothing: name the time with --until",
        )),
        (None, Some(_)) => Err(bad(format!("hours are 1 to {HOURS_MAX}"))),
        _ => Err(bad("say until when: either --until TIME or --hours N")),
    }
}
