//! What comes in from the world with every input: the time, random bytes, the keyed digest.

use firmware_protocols::Ident;

/// What the box really knows about the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds that this estate has been running, over all its starts. Never goes back, never
    /// jumps: what the wall clock does can't shorten a lockout or kill a code. Time without power
    /// counts only as far as it is known.
    pub tick_ms: u64,
    /// The wall clock, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// How far the wall clock can be trusted.
    pub quality: TimeQuality,
}

/// How far a time can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeQuality {
    /// Nobody has told the box the time since it started.
    Unknown,
    /// Carried on from what was known before, or told by the cloud.
    Estimated,
    /// The system's clock says that it is synchronised.
    Synchronised,
}

impl TimeQuality {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("unknown", Self::Unknown),
        ("estimated", Self::Estimated),
        ("synchronised", Self::Synchronised),
    ];

    /// The word in stores and for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Estimated => "estimated",
            Self::Synchronised => "synchronised",
        }
    }
}

/// A digest: all that is kept of a pickup code (HMAC-SHA256), a badge (SHA-256), a credential.
pub type Digest = [u8; 32];

/// What comes in with an input.
pub struct Context<'a> {
    /// The time.
    pub now: Now,
    /// Random bytes from the operating system (or from a seed, in a simulation).
    pub random: &'a mut dyn Random,
    /// The keyed digest of pickup codes.
    pub digests: &'a dyn CodeDigest,
}

/// A source of random bytes.
pub trait Random {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The keyed digest of pickup codes; the key stays outside.
pub trait CodeDigest {
    /// The digest of `digits` at `point`, so that one code at two points has two digests.
    fn digest(&self, point: &Ident, digits: &str) -> Digest;

    /// The salt with which a bank that checks codes by itself digests what is typed. Never stored.
    fn bank_salt(&self, bank: &Ident) -> Digest;

    /// The digest of `digits` for such a bank: HMAC-SHA256 with its salt as the key.
    fn bank_digest(&self, bank: &Ident, digits: &str) -> Digest;
}

/// A moment that the cloud has named by the wall clock, kept so that a wall clock that jumps can't
/// bring it about.
///
/// It has passed when the wall clock says so *and* as much running time has gone by as there was
/// left when the moment became known. A clock that jumps a year ahead passes nothing; one that
/// jumps back only delays. When a better time becomes known the running time is reckoned anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The moment, ms since the Unix epoch.
    pub wall_ms: i64,
    /// Not before this tick; `None` while no time was known since it was named.
    pub tick_ms: Option<u64>,
    /// How good the time was by which `tick_ms` was reckoned.
    pub quality: TimeQuality,
}

/// The longest that running time alone holds a deadline up, ms: against a clock that stood far in
/// the past when the deadline became known.
pub const DEADLINE_HOLD_MS: u64 = 40 * 24 * 3_600_000;

impl Deadline {
    /// The moment `wall_ms`, as it looks now.
    pub fn at(now: &Now, wall_ms: i64) -> Self {
        let left = wall_ms.saturating_sub(now.wall_ms).max(0).unsigned_abs();
        let tick_ms = now.tick_ms.saturating_add(left.min(DEADLINE_HOLD_MS));
        Self {
            wall_ms,
            tick_ms: (now.quality > TimeQuality::Unknown).then_some(tick_ms),
            quality: now.quality,
        }
    }

    /// Whether it has passed, as far as that is known.
    pub fn passed(&self, now: &Now) -> bool {
        now.quality > TimeQuality::Unknown
            && now.wall_ms >= self.wall_ms
            && self.tick_ms.is_some_and(|tick_ms| now.tick_ms >= tick_ms)
    }

    /// The moment `ms` after this one.
    pub(crate) fn later(&self, ms: u64) -> Self {
        Self {
            wall_ms: self.wall_ms.saturating_add_unsigned(ms),
            tick_ms: self.tick_ms.map(|tick_ms| tick_ms.saturating_add(ms)),
            quality: self.quality,
        }
    }

    /// The same moment, reckoned anew if the time is better known now than it was.
    pub fn repaired(&self, now: &Now) -> Option<Self> {
        (now.quality > self.quality).then(|| Self::at(now, self.wall_ms))
    }
}
