//! When a token is good: the same for both stores.

use super::Enrolling;

/// A token as it is stored.
pub(super) struct Token {
    /// For which gateway; `None`: for any.
    pub(super) gateway: Option<String>,
    /// Ms since the Unix epoch.
    pub(super) valid_until: i64,
    /// Who enrolled with it, with which key.
    pub(super) used: Option<(String, [u8; 32])>,
}

/// Whether a token is good.
pub(super) enum Good {
    /// No.
    No,
    /// For this first use.
    Now,
    /// It was used by the same gateway with the same key, whose answer may have been lost: nothing
    /// changes.
    Again,
}

impl Token {
    /// For this gateway, at its time.
    pub(super) fn good_for(&self, enrolling: &Enrolling) -> Good {
        match &self.used {
            Some((by, key)) if *by == enrolling.gateway && *key == enrolling.public_key => {
                Good::Again
            }
            Some(_) => Good::No,
            None if self.valid_until < enrolling.now_ms => Good::No,
            None => match &self.gateway {
                Some(named) if *named != enrolling.gateway => Good::No,
                _ => Good::Now,
            },
        }
    }
}
