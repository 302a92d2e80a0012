//! One input's way through the estate: the time it came at, randomness, and the effects it asks for.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use firmware_protocols::Ident;

use crate::input::Told;
use crate::{Context, Digest, Effect, Now, TimeQuality};

/// What accompanies one input.
pub(crate) struct Turn<'t, 'c> {
    /// The time.
    pub(crate) now: Now,
    /// What to do once the changes are on disk.
    pub(crate) effects: Vec<Effect>,
    /// What the one who asked is told.
    pub(crate) told: Option<Told>,
    context: &'t mut Context<'c>,
}

/// Where an event comes from.
pub(crate) struct Origin {
    /// The device.
    pub(crate) device: Ident,
    /// The bank or desk that it is, or is a part of.
    pub(crate) point: Option<Ident>,
    /// The building that it belongs to.
    pub(crate) building: Ident,
    /// When it happened, ms since the Unix epoch.
    pub(crate) at_ms: i64,
    /// Whether it happened just now, as far as that is known.
    pub(crate) fresh: bool,
}

impl<'t, 'c> Turn<'t, 'c> {
    pub(crate) fn new(context: &'t mut Context<'c>) -> Self {
        Self {
            now: context.now,
            effects: Vec::new(),
            told: None,
            context,
        }
    }

    /// Random bytes.
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.context.random.fill(&mut bytes);
        bytes
    }

    /// A new id: `prefix` and 96 random bits.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        let mut id = String::with_capacity(prefix.len() + 24);
        id.push_str(prefix);
        for byte in self.random::<12>() {
            // Writing into a string can't fail.
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    /// The digest of `digits` for a bank that checks codes by itself.
    pub(crate) fn bank_digest(&self, bank: &Ident, digits: &str) -> Digest {
        self.context.digests.bank_digest(bank, digits)
    }

    /// The keyed digest of `digits` as a courier's code.
    pub(crate) fn courier_digest(&self, site: &Ident, digits: &str) -> Digest {
        let mut text = String::from("courier:");
        text.push_str(digits);
        self.digest(site, &text)
    }

    /// The salt with which a bank digests what is typed, if it checks codes by itself.
    pub(crate) fn bank_salt(&self, bank: &Ident) -> Digest {
        self.context.digests.bank_salt(bank)
    }

    /// The keyed digest of `digits` at `point`.
    pub(crate) fn digest(&self, point: &Ident, digits: &str) -> Digest {
        self.context.digests.digest(point, digits)
    }
}

impl Now {
    /// Whether the wall clock means anything.
    pub(crate) fn wall_known(&self) -> bool {
        self.quality >= TimeQuality::Estimated
    }

    /// The tick `ms` from now.
    pub(crate) const fn tick_in(&self, ms: u64) -> u64 {
        self.tick_ms.saturating_add(ms)
    }

    /// Whether `ms` have passed since `tick_ms`.
    pub(crate) const fn passed(&self, since_tick_ms: u64, ms: u64) -> bool {
        self.tick_ms.saturating_sub(since_tick_ms) >= ms
    }
}
