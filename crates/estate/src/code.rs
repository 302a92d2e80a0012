//! Pickup codes: issued, live, resting; and how long they must be.
//!
//! A code is live from its issue until its parcel is collected (and the grace to open again is
//! over), cancelled, or given a new code. Then it rests: it is not given again for `code_rest_ms`.
//! Codes are found by their keyed digest in a map. A lookup's time could tell at most something of
//! the digest of what was typed, which without the key says nothing about any code.
//!
//! # How long a code is
//!
//! A code issued at a point gets the fewest digits d, between `code_min_digits` and
//! `code_max_digits`, for which
//!
//! ```text
//! n × T / (10^d − r)  ≤  1 / guess_one_in        with  T = K × (D + c × (lockout_after − 1))
//! ```
//!
//! * n: the live codes of the point, the new one included; r: its resting codes, which one who
//!   guesses might know and leave out.
//! * T: the most wrong codes that the point's keypads let through in a day. D is
//!   [`crate::keypad::tries_per_day`] of one keypad, 500 by default. A collection forgives up to
//!   `lockout_after − 1` wrong codes; c is how many collections a day are reckoned with: as many as
//!   the bank has compartments, or as there are live codes, if these are more. K is the number of
//!   keypads: the point itself and each device that is a part of it.
//! * Codes are drawn evenly from all 10^d, so each try hits a live code with a chance of at most
//!   n / (10^d − r), whatever is tried first; with T tries a day that makes the left side.
//!
//! With the defaults and a bank of 24 compartments with its own keypad (T = 596): 6 digits for
//! 1 live code, 7 up to 16, 8 up to 107 (where T has grown to 928).
//!
//! The length is reckoned with the codes that are live at the time of issue; codes keep their
//! length. Shorter ones issued earlier were few, and each length's own count is at most the n it
//! was reckoned with. When even the longest can't hold the chance, the longest is used, and the
//! parcel's history says so (`code-too-short`).

use alloc::format;
use alloc::string::String;

use firmware_protocols::Ident;

use crate::estate::Estate;
use crate::keypad::tries_per_day;
use crate::turn::Turn;
use crate::{Digest, Now};

/// The most digits a keypad takes.
const DIGITS_MAX: u8 = 16;

/// How often a free code is drawn for at one length before the next longer one is taken.
const DRAWS_MAX: u32 = 256;

/// A code of a point, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRow {
    /// The point.
    pub point: Ident,
    /// The keyed digest of its digits.
    pub digest: Digest,
    /// How many digits it has.
    pub digits: u8,
    /// The digest that a bank which checks codes by itself is given
    /// ([`crate::context::CodeDigest::bank_digest`]); `None` at a desk.
    pub bank_digest: Option<Digest>,
    /// Live or dead.
    pub state: CodeState,
}

/// Whether a code is good for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeState {
    /// Good for this parcel, from its deposit on, until the grace to open again is over.
    Live {
        /// The parcel.
        parcel: String,
    },
    /// Dead; not given again until then.
    Resting {
        /// The end of its rest, in ticks.
        until_tick_ms: u64,
    },
}

/// A length, and whether it holds the chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) digits: u8,
    pub(crate) enough: bool,
}

impl Estate {
    /// How many digits a code issued at `point` now would have.
    pub fn code_digits(&self, point: &Ident) -> u8 {
        self.code_length(point).digits
    }

    /// Issues a code for a parcel: its digits, for the resident's notice only. `None` if no code is
    /// free.
    pub(crate) fn issue_code(
        &mut self,
        turn: &mut Turn<'_, '_>,
        point: &Ident,
        parcel: &str,
    ) -> Option<(String, Length)> {
        let length = self.code_length(point);
        let (text, digest, digits) =
            (length.digits..=DIGITS_MAX).find_map(|digits| self.draw_code(turn, point, digits))?;
        let row = CodeRow {
            point: point.clone(),
            digest,
            digits,
            bank_digest: self
                .places
                .bank(&self.layout, point)
                .map(|bank| turn.bank_digest(&bank.id, &text)),
            state: CodeState::Live {
                parcel: parcel.into(),
            },
        };
        self.codes.insert((point.clone(), digest), row);
        Some((text, Length { digits, ..length }))
    }

    /// The live code of a parcel.
    pub(crate) fn live_code(&self, point: &Ident, parcel: &str) -> Option<Digest> {
        let live =
            |row: &&CodeRow| matches!(&row.state, CodeState::Live { parcel: p } if p == parcel);
        self.codes_at(point).find(live).map(|row| row.digest)
    }

    /// Kills the live code of a parcel; it rests from `from_tick_ms` on.
    pub(crate) fn kill_code(&mut self, point: &Ident, parcel: &str, from_tick_ms: u64) {
        if let Some(digest) = self.live_code(point, parcel) {
            self.lay_to_rest(point, digest, from_tick_ms);
        }
    }

    /// Kills a code; it rests from `from_tick_ms` on.
    pub(crate) fn lay_to_rest(&mut self, point: &Ident, digest: Digest, from_tick_ms: u64) {
        let rest = self.rules.code_rest_ms;
        if let Some(row) = self.codes.get_mut(&(point.clone(), digest)) {
            row.state = CodeState::Resting {
                until_tick_ms: from_tick_ms.saturating_add(rest),
            };
        }
    }

    fn codes_at(&self, point: &Ident) -> impl Iterator<Item = &CodeRow> {
        let (first, last) = ((point.clone(), [0; 32]), (point.clone(), [255; 32]));
        self.codes.range(first, last).map(|(_, row)| row)
    }

    fn code_length(&self, point: &Ident) -> Length {
        let (mut live, mut resting) = (1_u64, 0_u64);
        for row in self.codes_at(point) {
            match row.state {
                CodeState::Live { .. } => live += 1,
                CodeState::Resting { .. } => resting += 1,
            }
        }
        let bank = self.places.bank(&self.layout, point);
        let compartments = bank.map_or(0, |bank| bank.compartments.len() as u64);
        let keypads = self.places.parts(point).len().max(1) as u64;
        let forgiven = u64::from(self.rules.lockout_after.max(1) - 1);
        let tries = u128::from(tries_per_day(&self.rules))
            + u128::from(compartments.max(live)) * u128::from(forgiven);
        let needed =
            u128::from(keypads) * tries * u128::from(live) * u128::from(self.rules.guess_one_in);
        let longest = self.rules.code_max_digits.clamp(1, DIGITS_MAX);
        let shortest = self.rules.code_min_digits.clamp(1, longest);
        let holds = |digits: &u8| space(*digits).saturating_sub(u128::from(resting)) >= needed;
        let digits = (shortest..=longest).find(holds);
        Length {
            digits: digits.unwrap_or(longest),
            enough: digits.is_some(),
        }
    }

    /// Draws until a code is free at the point.
    fn draw_code(
        &self,
        turn: &mut Turn<'_, '_>,
        point: &Ident,
        digits: u8,
    ) -> Option<(String, Digest, u8)> {
        (0..DRAWS_MAX).find_map(|_| {
            let text = draw(turn, digits)?;
            let digest = turn.digest(point, &text);
            self.code_is_free(&turn.now, point, digest)
                .then_some((text, digest, digits))
        })
    }

    fn code_is_free(&self, now: &Now, point: &Ident, digest: Digest) -> bool {
        match self
            .codes
            .get(&(point.clone(), digest))
            .map(|row| &row.state)
        {
            None => true,
            Some(CodeState::Live { .. }) => false,
            Some(CodeState::Resting { until_tick_ms }) => *until_tick_ms <= now.tick_ms,
        }
    }
}

/// Even digits: a random number above the last whole multiple of 10^digits is thrown away.
fn draw(turn: &mut Turn<'_, '_>, digits: u8) -> Option<String> {
    let space = 10_u64.checked_pow(u32::from(digits))?;
    let random = u64::from_le_bytes(turn.random());
    let rest = (u64::MAX % space + 1) % space;
    if random > u64::MAX - rest {
        return None;
    }
    let width = usize::from(digits);
    Some(format!("{:0width$}", random % space))
}

fn space(digits: u8) -> u128 {
    10_u128.pow(u32::from(digits))
}
