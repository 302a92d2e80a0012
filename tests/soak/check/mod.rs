//! The reconciliation: what the devices were promised, what the gateway has on disk, what the cloud
//! has on its own, what the banks did and what the people have must be one and the same story.
//!
//! Everything is read from the two stores by connections of one's own, after the daemon has ended.

pub mod commands;
pub mod damaged;
pub mod events;
pub mod lanes;
pub mod parcels;

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

/// What doesn't hold, in words.
pub type Wrong = Vec<String>;

/// The most that is told of one kind.
const TOLD_MAX: usize = 5;

/// A store, read only.
pub struct Store(Connection);

impl Store {
    pub fn open(file: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self(Connection::open_with_flags(file, flags).unwrap())
    }

    pub fn rows<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> C {
        let mut statement = self.0.prepare(sql).unwrap();
        let rows = statement.query_map([], read).unwrap();
        rows.collect::<rusqlite::Result<C>>().unwrap()
    }

    pub fn number(&self, sql: &str) -> u64 {
        let number: i64 = self.0.query_row(sql, [], |row| row.get(0)).unwrap();
        number.cast_unsigned()
    }
}

/// Both stores are sound files.
pub fn integrity(stores: [&Store; 2]) -> Wrong {
    let said =
        |store: &Store| -> Vec<String> { store.rows("PRAGMA integrity_check", |row| row.get(0)) };
    let said: Vec<String> = stores.into_iter().flat_map(said).collect();
    let wrong: Vec<String> = said.into_iter().filter(|line| line != "ok").collect();
    first_few("a store isn't sound", &wrong)
}

/// The first of many, and how many more there are.
pub fn first_few(what: &str, all: &[String]) -> Wrong {
    let mut wrong: Wrong = all.iter().take(TOLD_MAX).cloned().collect();
    for line in &mut wrong {
        *line = format!("{what}: {line}");
    }
    if all.len() > TOLD_MAX {
        wrong.push(format!("{what}: and {} more", all.len() - TOLD_MAX));
    }
    wrong
}
