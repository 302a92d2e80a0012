//! Pickup codes: issued, live, resting; and how long they must be.
//!
//! A code is live from its issue until its parcel is collected (and the grace to open again is
//! over), cancelled, or given a new code. Then it rests: it is not given again for `code_rest_ms`.
//! A new code differs from the live and resting ones of its point, from the live ones of every
//! other point, and from every courier's code: so whatever is typed means one thing at most.
//!
//! # What is compared, and what its time tells
//!
//! Typed digits are digested with a key (HMAC-SHA256) before they come here, and the digest is
//! looked up in an ordered map. The lookup takes longer the more leading bytes the digest shares
//! with one that is stored. That tells at most something of digests, and who doesn't have the key
//! can't choose digits by the digest that they will have: it tells him nothing of any code. Nowhere
//! else are digests compared with an early end (see [`same`]).
//!
//! # How long a code is
//!
//! A code gets the fewest digits d, between `code_min_digits` and `code_max_digits`, for which
//!
//! ```text
//! n × T / (10^d − r)  ≤  1 / guess_one_in        with  T = max over points of K × (D + c × (lockout_after − 1))
//! ```
//!
//! * n: what a try can find. A keypad answers a code of another point with where the parcel is, and
//!   opens a session for a courier's code; so these are all live codes of the site, the new one
//!   included, and all couriers' codes, until `code_rest_ms` after they ran out.
//! * r: the resting codes of the site, which one who guesses might know and leave out.
//! * T: the most tries in vain that the keypads of one point let through in a day. D is
//!   [`crate::keypad::tries_per_day`] of one keypad, 500 by default. A collection forgives up to
//!   `lockout_after − 1` wrong codes; c is how many collections a day are reckoned with: as many as
//!   the bank has compartments, or as the point has live codes, if these are more. K is the number
//!   of keypads: the point itself and each device that is a part of it, and one more for a bank that
//!   checks codes by itself, whose lockout of its own counts apart. Since a code can be found at
//!   any point, the point that lets most tries through counts, wherever the code is issued.
//! * Codes are drawn evenly from the 10^d, so each try hits a live code with a chance of at most
//!   n / (10^d − r), whatever is tried first; with T tries a day that makes the left side.
//! * What isn't counted as wrong, or only mildly, adds no tries: a code whose parcel isn't here yet
//!   or waits elsewhere is a hit. It has found a code, and that is what n × T / (10^d − r) reckons.
//!
//! On a site with a bank of 24 compartments with its own keypad and a desk, by default (T = 596): 6
//! digits for 1 live code, 7 up to 16, 8 up to 107 (where T has grown to 928). Each courier's code
//! takes the place of one of these: with 20 of them, 8 digits hold up to 94.
//!
//! The length is reckoned with what is live at the time of issue; codes keep their length. Of the
//! live codes of one length the last issued was reckoned with all of them, so each length holds the
//! chance for itself, however tries are spread over lengths. It holds for the T of that time: when
//! the live codes of a point multiply afterwards, and all are collected in one day, more tries are
//! forgiven, and the chance for the earlier, shorter codes grows as T does (in the example by 928 /
//! 596 at most). When even the longest can't hold the chance, the longest is used, and the parcel's
//! history says so (`code-too-short`).
//!
//! Couriers' codes come from the cloud. One with fewer than `code_max_digits` digits is refused, as
//! is one that is somebody's pickup code ([`crate::announce`]).

use alloc::collections::BTreeMap;
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

    pub(crate) fn codes_at(&self, point: &Ident) -> impl Iterator<Item = &CodeRow> {
        let (first, last) = ((point.clone(), [0; 32]), (point.clone(), [255; 32]));
        self.codes.range(first, last).map(|(_, row)| row)
    }

    fn code_length(&self, point: &Ident) -> Length {
        let mut live: BTreeMap<&Ident, u64> = BTreeMap::from([(point, 1)]);
        let mut resting = 0_u64;
        for row in self.codes.values() {
            match row.state {
                CodeState::Live { .. } => *live.entry(&row.point).or_default() += 1,
                CodeState::Resting { .. } => resting += 1,
            }
        }
        let couriers = self.couriers.values().filter(|row| row.digits.is_some());
        let findable = live.values().sum::<u64>() + couriers.count() as u64;
        let tries = self
            .places
            .points()
            .map(|point| self.tries_at(point, live.get(point).copied().unwrap_or(0)))
            .max()
            .unwrap_or(0);
        let needed = tries * u128::from(findable) * u128::from(self.rules.guess_one_in);
        let longest = self.longest_code();
        let shortest = self.rules.code_min_digits.clamp(1, longest);
        let holds = |digits: &u8| space(*digits).saturating_sub(u128::from(resting)) >= needed;
        let digits = (shortest..=longest).find(holds);
        Length {
            digits: digits.unwrap_or(longest),
            enough: digits.is_some(),
        }
    }

    /// The digits of the longest code that is issued.
    pub(crate) fn longest_code(&self) -> u8 {
        self.rules.code_max_digits.clamp(1, DIGITS_MAX)
    }

    /// The most tries in vain that the keypads of a point with so many live codes let through in a
    /// day.
    fn tries_at(&self, point: &Ident, live: u64) -> u128 {
        let bank = self.places.bank(&self.layout, point);
        let compartments = bank.map_or(0, |bank| bank.compartments.len() as u64);
        let keypads = self.places.parts(point).len().max(1) as u64;
        let keypads = keypads + u64::from(self.checks_codes(point));
        let forgiven = u64::from(self.rules.lockout_after.max(1) - 1);
        let collections = u128::from(compartments.max(live));
        let tries = u128::from(tries_per_day(&self.rules)) + collections * u128::from(forgiven);
        u128::from(keypads) * tries
    }

    /// The parcel whose live code `digest` is at `point`.
    pub(crate) fn parcel_of_code(&self, point: &Ident, digest: &Digest) -> Option<&String> {
        match &self.codes.get(&(point.clone(), *digest))?.state {
            CodeState::Live { parcel } => Some(parcel),
            CodeState::Resting { .. } => None,
        }
    }

    /// Whether digits are a live pickup code of any point.
    pub(crate) fn is_live_code(&self, turn: &Turn<'_, '_>, digits: &str) -> bool {
        self.places.points().any(|point| {
            let digest = turn.digest(point, digits);
            self.parcel_of_code(point, &digest).is_some()
        })
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
            let free = self.has_rested(&turn.now, point, digest)
                && !self.is_live_code(turn, &text)
                && !self
                    .couriers
                    .contains(&turn.courier_digest(&self.layout.site, &text));
            free.then_some((text, digest, digits))
        })
    }

    /// Whether a digest isn't that of a live or resting code of the point.
    fn has_rested(&self, now: &Now, point: &Ident, digest: Digest) -> bool {
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

/// Whether two digests are the same, in a time that doesn't depend on where they differ.
pub(crate) fn same(a: &Digest, b: &Digest) -> bool {
    let differ = |differ: u8, (a, b): (&u8, &u8)| differ | (a ^ b);
    a.iter().zip(b).fold(0, differ) == 0
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
