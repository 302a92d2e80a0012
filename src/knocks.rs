//! Who knocked and wasn't let in: kept for a while, for the technician who wonders where a device is.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many different ones are kept. Beyond it the one that was heard of longest ago makes room.
pub const KNOCKS_MAX: usize = 64;

/// Who knocked. Clones share it.
#[derive(Clone, Default)]
pub struct Knocks(Arc<Mutex<Vec<Knock>>>);

/// Somebody that wasn't let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    /// What it calls itself, cut to 64 characters.
    pub client_id: String,
    /// The user name that it gave, cut to 64 characters. Never a password.
    pub username: Option<String>,
    /// From where.
    pub from: Option<IpAddr>,
    /// Why it wasn't let in: a word for programs.
    pub why: &'static str,
}

impl Knocks {
    /// Somebody wasn't let in.
    pub fn note(&self, knock: Knock) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| *known != knock);
        if all.len() >= KNOCKS_MAX {
            all.remove(0);
        }
        all.push(knock);
    }
}
