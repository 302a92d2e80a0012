//! Spans of demand: where the line is short, the buckets of a span go as one, their counts added.
//!
//! A span begins at a multiple of its length since the Unix epoch. It is summed up only if that says
//! the same as its parts:
//!
//! * it is over: its last hour is closed, so that no further part can come;
//! * nothing of it was cut, and all of it waits in first revisions;
//! * every part lies wholly in it.
//!
//! A span that isn't over waits, with all that comes after it. One that can't be summed up goes bucket
//! by bucket. A sum stands where the first of its parts stood. It shows less than its parts did, so k
//! households are behind each of its figures still.

use std::collections::{BTreeMap, BTreeSet};

use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Item, Report};
use estate::demand::HOUR_MS;
use firmware_protocols::Ident;
use rusqlite::{Connection, OptionalExtension as _};

use super::append::{demand_prefix, demand_subject};
use super::waiting::Row;
use super::{body, damaged};
use crate::store::{StoreError, doing};

/// The most parts of a sum: the hours of 31 days.
pub const PARTS_MAX: usize = 744;
/// The most series of a sum: about 32 KiB.
pub const SERIES_MAX: usize = 1_000;
/// The longest span, minutes (SYNC.md).
const MINUTES_MAX: u32 = 44_640;

/// What becomes of a row.
pub(super) enum Summed {
    /// It is sent: as it is, or as the sum of its span.
    Row(Row),
    /// It is part of a sum that came before.
    InAnother,
    /// Its span isn't over.
    Later,
}

/// The spans of one plan.
pub(super) struct Spans<'c> {
    conn: &'c Connection,
    minutes: u32,
    /// Up to when the hours are closed.
    closed_ms: i64,
    /// By building: up to when demand was cut, or goes bucket by bucket.
    cut_ms: BTreeMap<String, i64>,
    /// Rows that are part of a sum.
    parts: BTreeSet<i64>,
}

impl<'c> Spans<'c> {
    pub fn load(conn: &'c Connection, minutes: u32) -> Result<Self, StoreError> {
        let closed: Option<i64> = conn
            .query_row(
                // The mark of the last closed hour.
                "SELECT start_ms FROM cells WHERE building = '' AND series = ''
                 ORDER BY start_ms DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(doing("read"))?;
        let mut statement = conn
            .prepare_cached("SELECT building, until_ms FROM demand_cut")
            .map_err(doing("read"))?;
        let cut_ms = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(doing("read"))?;
        Ok(Self {
            conn,
            minutes: minutes.clamp(1, MINUTES_MAX),
            closed_ms: closed.map_or(i64::MIN, |start| start.saturating_add(HOUR_MS)),
            cut_ms,
            parts: BTreeSet::new(),
        })
    }

    /// What becomes of the next row of the lane.
    pub fn take(&mut self, row: Row) -> Result<Summed, StoreError> {
        if self.parts.remove(&row.id) {
            return Ok(Summed::InAnother);
        }
        let (_, first) = read(&row.body)?;
        let building = first.building.as_ref().map_or("", Ident::as_str);
        let length_ms = i64::from(self.minutes) * 60_000;
        let start_ms = first.start - first.start.rem_euclid(length_ms);
        let end_ms = start_ms.saturating_add(length_ms);
        let touched = self.cut_ms.get(building).is_some_and(|cut| *cut > start_ms);
        let whole = first.minutes < self.minutes && self::end_ms(&first) <= end_ms;
        if touched || !whole || row.subject.as_deref() != Some(&demand_subject(&first)) {
            return Ok(self.as_it_is(row, &first));
        }
        if end_ms > self.closed_ms {
            return Ok(Summed::Later);
        }
        match self.sum(&first, start_ms, end_ms)? {
            Some(sum) => Ok(Summed::Row(self.in_place_of(row, sum))),
            None => Ok(self.as_it_is(row, &first)),
        }
    }

    /// The rest of its span goes bucket by bucket then.
    fn as_it_is(&mut self, row: Row, report: &DemandReport) -> Summed {
        let building = report.building.as_ref().map_or("", Ident::as_str);
        let until = self.cut_ms.entry(building.to_owned()).or_insert(i64::MIN);
        *until = (*until).max(end_ms(report));
        Summed::Row(row)
    }

    /// `None` if the span can't be summed up.
    fn sum(
        &self,
        first: &DemandReport,
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Option<Sum>, StoreError> {
        let building = first.building.as_ref();
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT id, body FROM uplink WHERE subject >= ?1 AND subject < ?2
                 ORDER BY subject LIMIT ?3",
            )
            .map_err(doing("read"))?;
        let from = demand_prefix(building, start_ms);
        let to = demand_prefix(building, end_ms);
        let mut rows = statement
            .query((from, to, PARTS_MAX as i64 + 1))
            .map_err(doing("read"))?;
        let mut sum = Sum {
            at_ms: 0,
            report: DemandReport {
                building: building.cloned(),
                start: start_ms,
                minutes: self.minutes,
                revision: 1,
                series: BTreeMap::new(),
            },
            parts: Vec::new(),
        };
        while let Some(row) = rows.next().map_err(doing("read"))? {
            let id = row.get(0).map_err(doing("read"))?;
            let body: Vec<u8> = row.get(1).map_err(doing("read"))?;
            let (at_ms, part) = read(&body)?;
            let fits = part.revision == 1 && self::end_ms(&part) <= end_ms;
            if !fits || sum.parts.len() == PARTS_MAX {
                return Ok(None);
            }
            sum.at_ms = sum.at_ms.max(at_ms);
            sum.parts.push(id);
            for (name, count) in part.series {
                let total = sum.report.series.entry(name).or_insert(0);
                *total = total.saturating_add(count);
            }
            if sum.report.series.len() > SERIES_MAX {
                return Ok(None);
            }
        }
        Ok(Some(sum))
    }

    fn in_place_of(&mut self, row: Row, sum: Sum) -> Row {
        let others = sum.parts.into_iter().filter(|id| *id != row.id);
        let parts: Vec<i64> = others.collect();
        self.parts.extend(&parts);
        let item = Item {
            seq: 0,
            at: sum.at_ms,
            report: Report::Demand(sum.report),
        };
        Row {
            body: body::encode(&item),
            summed: true,
            parts,
            ..row
        }
    }
}

/// A span summed up.
struct Sum {
    at_ms: i64,
    report: DemandReport,
    parts: Vec<i64>,
}

/// When a bucket ends, ms since the Unix epoch.
pub(super) fn end_ms(report: &DemandReport) -> i64 {
    let length_ms = i64::from(report.minutes) * 60_000;
    report.start.saturating_add(length_ms)
}

fn read(body: &[u8]) -> Result<(i64, DemandReport), StoreError> {
    let item = body::decode(body, 1)?;
    match item.report {
        Report::Demand(report) => Ok((item.at, report)),
        _ => Err(damaged("something else stands among the demand")),
    }
}
