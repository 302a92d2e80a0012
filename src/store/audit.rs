//! Verifying the hash chain over the parcels' history: whole, or as far as one parcel goes.
//!
//! Read in pages, each a query of its own, so memory stays bounded and a long verification keeps
//! neither the journal's checkpoints nor anybody else waiting. Rows are only ever appended, so pages
//! fit together.
//!
//! What a chain alone can't show: a tail that was cut off, or rewritten with all its hashes. Those
//! show against a head that somebody else has ([`verify_all`] with `against`).

use std::time::Instant;

use cloud_protocol::Chain;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::trace::{self, PAGE, Stored, TraceHead};
use super::{StoreError, doing};

/// The most steps of one parcel that are verified or exported.
pub const STEPS_MAX: usize = 5_000;

/// Why it couldn't be verified.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It took too long, or the daemon stops.
    #[error("the verification was broken off after entry {upto}: try again when less is going on")]
    BrokenOff {
        /// The last entry that was looked at.
        upto: u64,
    },
    /// A parcel with more steps than any parcel has.
    #[error(
        "'{0}' has more than {STEPS_MAX} steps: use 'linli audit verify', which takes them all"
    )]
    TooMany(String),
}

/// Until when a verification may go on.
pub struct Bound<'a> {
    /// When it must end.
    pub until: Instant,
    /// Whether it is to end now.
    pub stopping: &'a dyn Fn() -> bool,
}

impl Bound<'_> {
    fn check(&self, upto: u64) -> Result<(), AuditError> {
        if (self.stopping)() || Instant::now() > self.until {
            return Err(AuditError::BrokenOff { upto });
        }
        Ok(())
    }
}

/// The first entry at which the chain doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The entry's number.
    pub n: u64,
    /// What is wrong with it.
    pub what: BreakKind,
    /// The parcel that the row there names now.
    pub parcel: Option<String>,
    /// The step that the row there names now.
    pub step: Option<String>,
    /// The time that the row there names now, ms since the Unix epoch.
    pub at_ms: Option<i64>,
}

/// What can be wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakKind {
    /// It isn't there.
    Missing,
    /// It, or its place, isn't what its chain value was made of.
    Changed,
    /// It holds what can't have been written.
    Unreadable,
}

/// What the verification of all entries found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Entries that hold, from the first.
    pub sound: TraceHead,
    /// The first that doesn't.
    pub broken: Option<Break>,
    /// The chain at the entry that was asked for, if the sound ones reach it.
    pub at: Option<Chain>,
}

/// Verifies every entry. `at` asks for the chain at an entry, to compare with a head from elsewhere.
pub fn verify_all(
    conn: &Connection,
    at: Option<u64>,
    bound: &Bound<'_>,
) -> Result<Verified, AuditError> {
    let mut sound = TraceHead::default();
    let mut found = at.filter(|at| *at == 0).map(|_| Chain::default());
    let mut after = i64::MIN;
    loop {
        bound.check(sound.entries)?;
        let rows = trace::page(conn, after, PAGE)?;
        let Some(last) = rows.last() else {
            return Ok(Verified {
                sound,
                broken: None,
                at: found,
            });
        };
        after = last.id;
        for row in &rows {
            match next(sound, row) {
                Ok(head) => sound = head,
                Err(broken) => {
                    return Ok(Verified {
                        sound,
                        broken: Some(broken),
                        at: found,
                    });
                }
            }
            if at == Some(sound.entries) {
                found = Some(sound.chain);
            }
        }
    }
}

/// What the verification of one parcel's history found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParcelVerified {
    /// Its steps that are there.
    pub steps: u64,
    /// The first entry that doesn't hold and concerns it.
    pub broken: Option<Break>,
}

/// Verifies each entry of a parcel from its stored predecessor, and the entry after each, which
/// holds it fast; and that no entry is missing since its first, which might have been one of its.
pub fn verify_parcel(
    conn: &Connection,
    parcel: &str,
    bound: &Bound<'_>,
) -> Result<ParcelVerified, AuditError> {
    let steps = steps(conn, parcel)?;
    let count = steps.len() as u64;
    let broken = |broken: Break| ParcelVerified {
        steps: count,
        broken: Some(broken),
    };
    for step in &steps {
        bound.check(step.n)?;
        if let Some(found) = check_row(conn, step)? {
            return Ok(broken(found));
        }
        let Some(after) = trace::row(conn, step.n.saturating_add(1))? else {
            continue;
        };
        if let Some(found) = check_row(conn, &after)? {
            return Ok(broken(found));
        }
    }
    let gap = match steps.first() {
        Some(first) => first_gap(conn, first.id)?,
        None => None,
    };
    Ok(match gap {
        Some(n) => broken(missing(n)),
        None => ParcelVerified {
            steps: count,
            broken: None,
        },
    })
}

/// A step with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainedStep {
    /// Its number.
    pub n: u64,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// How far that can be trusted.
    pub quality: &'static str,
    /// When, in ms of running time.
    pub tick_ms: u64,
    /// What.
    pub step: String,
    /// Who.
    pub who: String,
    /// More, in words.
    pub detail: Option<String>,
    /// The chain before it.
    pub previous: Chain,
    /// The chain up to and including it.
    pub chain: Chain,
}

/// A parcel's steps with their places in the chain. An error if one can't be read: verify first.
pub fn chained_steps(conn: &Connection, parcel: &str) -> Result<Vec<ChainedStep>, AuditError> {
    let mut out = Vec::new();
    for row in steps(conn, parcel)? {
        let previous = trace::stored_chain(conn, row.n.saturating_sub(1))?;
        let chain = row.chain();
        let (Some(previous), Some(chain), Some(fields)) = (previous, chain, row.fields) else {
            return Err(StoreError::Damaged {
                table: "trace",
                what: format!("entry {} has no place in the chain", row.n),
            }
            .into());
        };
        out.push(ChainedStep {
            n: row.n,
            at_ms: fields.at_ms,
            quality: fields.quality,
            tick_ms: fields.tick_ms,
            step: fields.step,
            who: fields.who,
            detail: fields.detail,
            previous,
            chain,
        });
    }
    Ok(out)
}

/// The chain after one more row, or what is wrong with that.
fn next(sound: TraceHead, row: &Stored) -> Result<TraceHead, Break> {
    let n = sound.entries + 1;
    if row.n != n {
        // A row below 1 stands where none was ever written.
        return match row.id {
            1.. => Err(missing(n)),
            _ => Err(broken(row, BreakKind::Unreadable)),
        };
    }
    let Some(chain) = row.entry_chain(sound.chain) else {
        return Err(broken(row, BreakKind::Unreadable));
    };
    if row.chain() != Some(chain) {
        return Err(broken(row, BreakKind::Changed));
    }
    Ok(TraceHead { entries: n, chain })
}

/// What is wrong with a row, seen from its stored predecessor.
fn check_row(conn: &Connection, row: &Stored) -> Result<Option<Break>, StoreError> {
    if row.id < 1 {
        return Ok(Some(broken(row, BreakKind::Unreadable)));
    }
    let before = row.n - 1;
    let Some(chain) = trace::stored_chain(conn, before)? else {
        let there = trace::row(conn, before)?;
        return Ok(Some(match there {
            Some(there) => broken(&there, BreakKind::Unreadable),
            None => missing(before),
        }));
    };
    let sound = TraceHead {
        entries: before,
        chain,
    };
    Ok(next(sound, row).err())
}

fn steps(conn: &Connection, parcel: &str) -> Result<Vec<Stored>, AuditError> {
    let rows = trace::page_of(conn, parcel, i64::MIN, STEPS_MAX + 1)?;
    if rows.len() > STEPS_MAX {
        return Err(AuditError::TooMany(parcel.to_owned()));
    }
    Ok(rows)
}

/// The first number above `from` that is missing below the last one.
fn first_gap(conn: &Connection, from: i64) -> Result<Option<u64>, StoreError> {
    let (count, last): (i64, i64) = conn
        .query_row(
            "SELECT count(*), max(id) FROM trace WHERE id >= ?1",
            [from],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(doing("read"))?;
    if i128::from(count) == i128::from(last) - i128::from(from) + 1 {
        return Ok(None);
    }
    conn.query_row(
        "SELECT id + 1 FROM trace t WHERE id >= ?1 AND id < ?2
         AND NOT EXISTS (SELECT 1 FROM trace WHERE id = t.id + 1) ORDER BY id LIMIT 1",
        params![from, last],
        |row| row.get::<_, i64>(0),
    )
    .optional()
    .map(|found| found.map(i64::cast_unsigned))
    .map_err(doing("read"))
}

fn missing(n: u64) -> Break {
    Break {
        n,
        what: BreakKind::Missing,
        parcel: None,
        step: None,
        at_ms: None,
    }
}

fn broken(row: &Stored, what: BreakKind) -> Break {
    let fields = row.fields.as_ref();
    Break {
        n: row.n,
        what,
        parcel: fields.map(|fields| fields.parcel.clone()),
        step: fields.map(|fields| fields.step.clone()),
        at_ms: fields.map(|fields| fields.at_ms),
    }
}

#[cfg(test)]
mod tests;
