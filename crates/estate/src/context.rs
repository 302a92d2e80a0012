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
}
