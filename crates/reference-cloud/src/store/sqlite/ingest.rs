//! Taking a batch: what is new goes in once, what is known is compared, and what doesn't fit is
//! refused as a whole. All of it in one transaction.

use std::collections::BTreeMap;

use cloud_protocol::enrol::LaneView;
use cloud_protocol::received::{ReceivedItem, ReceivedLane};
use cloud_protocol::uplink::{DemandReport, ParcelReport};
use cloud_protocol::{Acked, Chain, CodeForResident, Lane, Problem, Received, Report};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{Ingest, Nonce, Standing, StoreError, audit, enrolment, outbox, signed, unsigned};
use crate::store::meaning::{code_is_dead, without_code};
use crate::store::refusal;

/// A reason to roll back.
enum Stop {
    Refused(Box<Problem>),
    Failed(StoreError),
}

impl<E: Into<StoreError>> From<E> for Stop {
    fn from(e: E) -> Self {
        Self::Failed(e.into())
    }
}

/// Takes a batch of `gateway`, or nothing of it. The nonce stays also when the batch is refused.
pub(super) fn take(
    connection: &mut Connection,
    gateway: &str,
    batch: &Received,
    request: &Nonce,
) -> Result<Ingest, StoreError> {
    let mut tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !enrolment::fresh(&tx, gateway, request)? {
        return Ok(Ingest::Refused(refusal::replay()));
    }
    let savepoint = tx.savepoint()?;
    let outcome = match take_lanes(&savepoint, gateway, batch) {
        Ok(acked) => {
            savepoint.commit()?;
            Ingest::Taken(acked)
        }
        Err(Stop::Refused(problem)) => {
            drop(savepoint);
            Ingest::Refused(problem)
        }
        Err(Stop::Failed(e)) => return Err(e),
    };
    tx.commit()?;
    Ok(outcome)
}

/// Where a gateway's lanes stand in its epoch.
pub(super) fn standing(connection: &Connection, gateway: &str) -> Result<Standing, StoreError> {
    let epoch = epoch_of(connection, gateway)?;
    let mut lanes = BTreeMap::new();
    for lane in Lane::ALL {
        let view = connection
            .query_row(
                "SELECT last, chain FROM lane WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3
                 AND last > 0",
                params![gateway, epoch, lane.name()],
                |row| {
                    Ok(LaneView {
                        last: unsigned(row.get(0)?),
                        chain: Chain(row.get(1)?),
                    })
                },
            )
            .optional()?;
        lanes.extend(view.map(|view| (lane, view)));
    }
    Ok((epoch.map(unsigned), lanes))
}

fn take_lanes(tx: &Connection, gateway: &str, batch: &Received) -> Result<Acked, Stop> {
    enter_epoch(tx, gateway, batch.epoch)?;
    let mut acked = Acked::default();
    for (lane, part) in &batch.lanes {
        let mut position = Position::load(tx, gateway, batch.epoch, *lane)?;
        position.check_start(tx, part)?;
        let mut chain = part.chain;
        let known = position.last;
        for item in &part.items {
            chain = chain.then_encoded(&item.encoded());
            if item.seq <= position.last {
                position.compare(tx, item.seq, chain)?;
                position.duplicates += 1;
            } else {
                position.append(tx, item, chain)?;
                project(tx, gateway, batch.epoch, item)?;
            }
        }
        position.save(tx)?;
        if position.last > known {
            outbox::add(
                tx,
                (gateway, batch.epoch, *lane),
                (known + 1, position.last),
            )?;
        }
        acked.0.insert(*lane, position.last);
    }
    Ok(acked)
}

/// A gateway's epoch as it stands in its row; `None` before its first.
fn epoch_of(connection: &Connection, gateway: &str) -> rusqlite::Result<Option<i64>> {
    let row = connection.query_row(
        "SELECT epoch FROM gateway WHERE gateway = ?1",
        [gateway],
        |row| row.get(0),
    );
    Ok(row.optional()?.flatten())
}

/// A higher epoch is taken, the known one goes on, a lower one is refused.
fn enter_epoch(tx: &Connection, gateway: &str, epoch: u64) -> Result<(), Stop> {
    let own = epoch_of(tx, gateway)?;
    if let Some(own) = own.map(unsigned).filter(|own| epoch < *own) {
        return Err(Stop::Refused(refusal::epoch(epoch, own)));
    }
    tx.execute(
        "INSERT INTO gateway (gateway, epoch) VALUES (?1, ?2)
         ON CONFLICT (gateway) DO UPDATE SET epoch = excluded.epoch",
        params![gateway, signed(epoch)],
    )?;
    Ok(())
}

/// Where a lane of a gateway stands in its epoch.
struct Position<'a> {
    gateway: &'a str,
    epoch: u64,
    lane: Lane,
    last: u64,
    chain: Chain,
    duplicates: i64,
}

impl<'a> Position<'a> {
    fn load(tx: &Connection, gateway: &'a str, epoch: u64, lane: Lane) -> Result<Self, Stop> {
        let row = tx
            .query_row(
                "SELECT last, chain, duplicates FROM lane
                 WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3",
                params![gateway, signed(epoch), lane.name()],
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, [u8; 32]>(1)?,
                        row.get(2)?,
                    ))
                },
            )
            .optional()?;
        let (last, chain, duplicates) = row.unwrap_or_default();
        Ok(Self {
            gateway,
            epoch,
            lane,
            last: unsigned(last),
            chain: Chain(chain),
            duplicates,
        })
    }

    /// The batch must go on from something that is here, and agree with it.
    fn check_start(&self, tx: &Connection, part: &ReceivedLane) -> Result<(), Stop> {
        if let Some(problem) = refusal::bad_start(self.lane, part, self.last) {
            return Err(Stop::Refused(problem));
        }
        if part.after > 0 {
            self.compare(tx, part.after, part.chain)?;
        }
        Ok(())
    }

    /// The chain up to `seq` must be the one that is here.
    fn compare(&self, tx: &Connection, seq: u64, chain: Chain) -> Result<(), Stop> {
        let own = if seq == self.last {
            self.chain
        } else {
            Chain(tx.prepare(
                "SELECT chain FROM item WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3 AND seq = ?4",
            )?
            .query_row(
                params![self.gateway, signed(self.epoch), self.lane.name(), signed(seq)],
                |row| row.get(0),
            )?)
        };
        if own == chain {
            Ok(())
        } else {
            Err(Stop::Refused(refusal::fork(self.lane, seq)))
        }
    }

    fn append(&mut self, tx: &Connection, item: &ReceivedItem, chain: Chain) -> Result<(), Stop> {
        tx.prepare(
            "INSERT INTO item (gateway, epoch, lane, seq, known, body, chain)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            self.gateway,
            signed(self.epoch),
            self.lane.name(),
            signed(item.seq),
            item.report.is_some(),
            without_code(&item.value).to_cbor(),
            chain.0,
        ])?;
        self.last = item.seq;
        self.chain = chain;
        Ok(())
    }

    fn save(&self, tx: &Connection) -> Result<(), Stop> {
        tx.execute(
            "INSERT INTO lane (gateway, epoch, lane, last, chain, duplicates)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (gateway, epoch, lane) DO UPDATE
             SET last = excluded.last, chain = excluded.chain, duplicates = excluded.duplicates",
            params![
                self.gateway,
                signed(self.epoch),
                self.lane.name(),
                signed(self.last),
                self.chain.0,
                self.duplicates,
            ],
        )?;
        Ok(())
    }
}

/// What an item means for the tables that people ask.
fn project(tx: &Connection, gateway: &str, epoch: u64, item: &ReceivedItem) -> Result<(), Stop> {
    let about = |parcel: &str| project_about(tx, gateway, parcel, epoch, item.seq);
    match &item.report {
        Some(Report::Parcel(report)) => project_parcel(tx, gateway, report),
        Some(Report::Unplaceable(report)) => about(&report.parcel),
        Some(Report::Claim(report)) => about(&report.parcel),
        Some(Report::Demand(report)) => project_demand(tx, gateway, report, item),
        Some(Report::Health(_)) => {
            tx.execute(
                "INSERT OR REPLACE INTO health (gateway, body) VALUES (?1, ?2)",
                params![gateway, item.encoded()],
            )?;
            Ok(())
        }
        Some(Report::Audit { entries, head }) => {
            Ok(audit::keep(tx, gateway, item.at, *entries, head)?)
        }
        None => Ok(()),
    }
}

fn project_parcel(tx: &Connection, gateway: &str, report: &ParcelReport) -> Result<(), Stop> {
    tx.prepare(
        "INSERT OR REPLACE INTO parcel
         (gateway, parcel, state, since, bank, compartment, desk, unlisted, return_of)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        gateway,
        report.parcel,
        report.state.word(),
        report.since,
        report.bank.as_ref().map(|id| id.as_str()),
        report.compartment,
        report.desk.as_ref().map(|id| id.as_str()),
        report.unlisted,
        report.return_of,
    ])?;
    if let Some(CodeForResident::Sealed(code)) = &report.code {
        tx.execute(
            "INSERT OR REPLACE INTO notice (gateway, parcel, sealed) VALUES (?1, ?2, ?3)",
            params![gateway, report.parcel, code.to_value().to_cbor()],
        )?;
    }
    if code_is_dead(report) {
        tx.execute(
            "DELETE FROM notice WHERE gateway = ?1 AND parcel = ?2",
            params![gateway, report.parcel],
        )?;
    }
    Ok(())
}

/// An item that says something of a parcel and changes no state. The parcel needn't be known.
fn project_about(
    tx: &Connection,
    gateway: &str,
    parcel: &str,
    epoch: u64,
    seq: u64,
) -> Result<(), Stop> {
    tx.execute(
        "INSERT OR IGNORE INTO parcel (gateway, parcel) VALUES (?1, ?2)",
        params![gateway, parcel],
    )?;
    tx.execute(
        "INSERT INTO about (gateway, parcel, epoch, seq) VALUES (?1, ?2, ?3, ?4)",
        params![gateway, parcel, signed(epoch), signed(seq)],
    )?;
    Ok(())
}

/// A correction replaces what it corrects; an older revision changes nothing.
fn project_demand(
    tx: &Connection,
    gateway: &str,
    report: &DemandReport,
    item: &ReceivedItem,
) -> Result<(), Stop> {
    tx.execute(
        "INSERT INTO demand (gateway, building, start, minutes, revision, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (gateway, building, start, minutes) DO UPDATE
         SET revision = excluded.revision, body = excluded.body
         WHERE excluded.revision >= revision",
        params![
            gateway,
            report.building.as_ref().map_or("", |id| id.as_str()),
            report.start,
            report.minutes,
            report.revision,
            item.encoded(),
        ],
    )?;
    Ok(())
}
