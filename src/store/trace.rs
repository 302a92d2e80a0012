//! The hash chain over the trace: every entry numbered, and bound to all that came before it.
//!
//! h(0) = 32 zero bytes; h(n) = SHA-256(h(n−1) ‖ entry n in deterministic CBOR). `AUDIT.md` states it
//! in full, with vectors, for those who check a history without this program.
//!
//! Invariant: entries are numbered from 1 without a gap; the number is the row's id.
//! Invariant: a damaged end never stops the journal: parcels are handed over, the chain goes on from
//! what stands there, and so every verification finds the damage from then on.

use cloud_protocol::Chain;
use estate::parcel::TraceEntry;
use firmware_protocols::value::map;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::write::bits;
use super::{StoreError, doing};

/// How many rows are held in memory at once, here and when the chain is verified.
pub(super) const PAGE: usize = 500;

/// An entry as it enters the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// From 1, over all parcels, without a gap.
    pub n: u64,
    /// The parcel.
    pub parcel: &'a str,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// How far that can be trusted: `unknown`, `estimated`, `synchronised`.
    pub quality: &'a str,
    /// When, in ms of running time.
    pub tick_ms: u64,
    /// What.
    pub step: &'a str,
    /// Who.
    pub who: &'a str,
    /// More, in words.
    pub detail: Option<&'a str>,
}

impl Entry<'_> {
    /// The bytes that enter the chain: a map in the core deterministic encoding (RFC 8949 § 4.2.1).
    pub fn encoded(&self) -> Vec<u8> {
        map([
            ("n", Some(self.n.into())),
            ("parcel", Some(self.parcel.into())),
            ("at", Some(self.at_ms.into())),
            ("quality", Some(self.quality.into())),
            ("tick", Some(self.tick_ms.into())),
            ("step", Some(self.step.into())),
            ("who", Some(self.who.into())),
            ("detail", self.detail.map(Into::into)),
        ])
        .to_cbor()
    }

    /// The chain up to and including this entry, given the chain before it.
    #[must_use]
    pub fn chain(&self, before: Chain) -> Chain {
        before.then_encoded(&self.encoded())
    }
}

/// The end of the chain: how many entries there are, and the chain up to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceHead {
    /// The last entry's number; 0 before the first.
    pub entries: u64,
    /// The chain up to it.
    pub chain: Chain,
}

impl TraceHead {
    /// Where the trace stands. A last row that isn't what its chain says is logged, and gone on from.
    pub fn load(conn: &Connection) -> Result<Self, StoreError> {
        let Some(last) = last_row(conn)? else {
            return Ok(Self::default());
        };
        let before = stored_chain(conn, last.n.saturating_sub(1))?;
        let should = before.and_then(|before| last.entry_chain(before));
        if should.is_none() || should != last.chain() {
            tracing::error!(
                entry = last.n,
                "the last step in the parcels' history isn't what was written: see linli audit verify"
            );
        }
        Ok(Self {
            entries: last.n,
            chain: last.chain().unwrap_or_default(),
        })
    }
}

/// Appends a step and moves the head on. Runs in the journal's transaction: throw the head away with
/// it if that fails.
pub fn append(
    conn: &Connection,
    head: &mut TraceHead,
    step: &TraceEntry,
) -> Result<(), StoreError> {
    let entry = Entry {
        n: head.entries + 1,
        parcel: &step.parcel,
        at_ms: step.at_ms,
        quality: step.quality.word(),
        tick_ms: step.tick_ms,
        step: step.step,
        who: &step.who,
        detail: step.detail.as_deref(),
    };
    let chain = entry.chain(head.chain);
    conn.prepare_cached(
        "INSERT INTO trace (id, parcel, at_ms, quality, tick_ms, step, who, detail, chain)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .and_then(|mut insert| {
        insert.execute(params![
            bits(entry.n),
            entry.parcel,
            entry.at_ms,
            step.quality as u8,
            bits(entry.tick_ms),
            entry.step,
            entry.who,
            entry.detail,
            chain.0,
        ])
    })
    .map_err(doing("writing a parcel's history"))?;
    *head = TraceHead {
        entries: entry.n,
        chain,
    };
    Ok(())
}

/// Numbers and chains the rows of a store that was made before there was a chain. Part of the
/// migration, in its transaction.
pub(super) fn chain_existing(conn: &Connection) -> Result<(), StoreError> {
    let mut head = TraceHead::default();
    // A row below 1 was never written by us: it is left for a verification to find.
    let mut after = 0;
    loop {
        let rows = page(conn, after, PAGE)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.id;
        for mut row in rows {
            let id = row.id;
            // Never above the old number, and the lower ones are taken already: no two rows meet.
            row.n = head.entries + 1;
            head = TraceHead {
                entries: row.n,
                chain: row.entry_chain(head.chain).unwrap_or(head.chain),
            };
            // Naming the id, even to leave it, would write the index anew.
            let sql = match id == bits(row.n) {
                true => "UPDATE trace SET chain = ?3 WHERE id = ?1 AND id = ?2",
                false => "UPDATE trace SET id = ?2, chain = ?3 WHERE id = ?1",
            };
            conn.prepare_cached(sql)
                .and_then(|mut update| update.execute(params![id, bits(row.n), head.chain.0]))
                .map_err(doing("migrated"))?;
        }
    }
}

/// A row as it is stored, whatever it is: what can't be one of ours is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub id: i64,
    pub n: u64,
    pub fields: Option<Fields>,
    pub chain: Option<[u8; 32]>,
}

/// A row's own facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub parcel: String,
    pub at_ms: i64,
    pub quality: &'static str,
    pub tick_ms: u64,
    pub step: String,
    pub who: String,
    pub detail: Option<String>,
}

impl Stored {
    /// The chain that stands in the row.
    pub fn chain(&self) -> Option<Chain> {
        self.chain.map(Chain)
    }

    /// The chain that the row should have.
    pub fn entry_chain(&self, before: Chain) -> Option<Chain> {
        self.entry().map(|entry| entry.chain(before))
    }

    /// The row as an entry.
    pub fn entry(&self) -> Option<Entry<'_>> {
        self.fields.as_ref().map(|fields| Entry {
            n: self.n,
            parcel: &fields.parcel,
            at_ms: fields.at_ms,
            quality: fields.quality,
            tick_ms: fields.tick_ms,
            step: &fields.step,
            who: &fields.who,
            detail: fields.detail.as_deref(),
        })
    }
}

const COLUMNS: &str = "id, parcel, at_ms, quality, tick_ms, step, who, detail, chain";

/// The rows after `after`, in the order of their ids, at most `limit`.
pub(super) fn page(conn: &Connection, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM trace WHERE id > ?1 ORDER BY id LIMIT ?2");
    rows(conn, &sql, params![after, limit as i64])
}

/// The rows of a parcel after `after`, in the order of their ids, at most `limit`.
pub(super) fn page_of(
    conn: &Connection,
    parcel: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<Stored>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM trace WHERE parcel = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    rows(conn, &sql, params![parcel, after, limit as i64])
}

/// One row.
pub(super) fn row(conn: &Connection, n: u64) -> Result<Option<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM trace WHERE id = ?1");
    Ok(rows(conn, &sql, params![bits(n)])?.pop())
}

/// The chain that is stored with entry `n`; `None` if it isn't there, or isn't a chain.
pub fn stored_chain(conn: &Connection, n: u64) -> Result<Option<Chain>, StoreError> {
    if n == 0 {
        return Ok(Some(Chain::default()));
    }
    conn.prepare_cached("SELECT chain FROM trace WHERE id = ?1")
        .and_then(|mut select| {
            select
                .query_row([bits(n)], |row| Ok(row.get::<_, [u8; 32]>(0).ok()))
                .optional()
        })
        .map(|found| found.flatten().map(Chain))
        .map_err(doing("read"))
}

fn last_row(conn: &Connection) -> Result<Option<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM trace ORDER BY id DESC LIMIT 1");
    Ok(rows(conn, &sql, [])?.pop())
}

fn rows(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Stored>, StoreError> {
    let mut statement = conn.prepare_cached(sql).map_err(doing("read"))?;
    let found = statement.query_map(params, stored).map_err(doing("read"))?;
    found.collect::<Result<_, _>>().map_err(doing("read"))
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let id: i64 = row.get("id")?;
    Ok(Stored {
        id,
        n: id.cast_unsigned(),
        fields: fields(row),
        chain: row.get("chain").ok(),
    })
}

/// `None` if a column holds what was never written there.
fn fields(row: &Row<'_>) -> Option<Fields> {
    Some(Fields {
        parcel: row.get("parcel").ok()?,
        at_ms: row.get("at_ms").ok()?,
        quality: quality(row.get("quality").ok()?)?,
        tick_ms: row.get::<_, i64>("tick_ms").ok()?.cast_unsigned(),
        step: row.get("step").ok()?,
        who: row.get("who").ok()?,
        detail: row.get("detail").ok()?,
    })
}

fn quality(stored: i64) -> Option<&'static str> {
    use estate::TimeQuality::{Estimated, Synchronised, Unknown};
    [Unknown, Estimated, Synchronised]
        .into_iter()
        .find(|quality| *quality as i64 == stored)
        .map(estate::TimeQuality::word)
}
