//! One parcel's history as a signed file: JSON for people to read, then the signature and the public
//! key in PEM-like blocks, so that `sed`, `base64` and `openssl` are enough to check it.
//!
//! ```text
//! {
//!   "format": "linli/v1/parcel-history",
//!   …
//! }
//! -----BEGIN LINLI SIGNATURE-----
//! …                                     base64 of the 64 bytes of the Ed25519 signature
//! -----END LINLI SIGNATURE-----
//! -----BEGIN PUBLIC KEY-----
//! …                                     base64 of the key (RFC 8410)
//! -----END PUBLIC KEY-----
//! ```
//!
//! Signed are exactly the bytes before the line `-----BEGIN LINLI SIGNATURE-----`, with their last
//! newline. A file is read strictly: what isn't byte for byte of this form isn't an export.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloud_protocol::Chain;
use serde::{Deserialize, Serialize};

use super::hex::{hex, unhex};
use crate::keys::signing::{PublicKey, Signature, SigningKey, is_signed_by};
use crate::store::audit::ChainedStep;
use crate::store::trace::{Entry, TraceHead};

/// What stands under `format`.
pub const FORMAT: &str = "linli/v1/parcel-history";

/// The largest file that is written or read, bytes: some 3,000 steps. Twice that, as a text within
/// JSON, still is a line that the control socket's client takes.
pub const FILE_MAX_BYTES: usize = 1_536 * 1024;

const SIGNATURE_BEGIN: &str = "-----BEGIN LINLI SIGNATURE-----\n";
const SIGNATURE_END: &str = "\n-----END LINLI SIGNATURE-----\n";
const KEY_BEGIN: &str = "-----BEGIN PUBLIC KEY-----\n";
const KEY_END: &str = "\n-----END PUBLIC KEY-----\n";
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const KEY_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// [`FORMAT`].
    pub format: String,
    /// The site that the gateway serves.
    pub site: String,
    /// The version of the program that made it.
    pub version: String,
    /// When it was made, UTC.
    pub exported: String,
    /// The same, ms since the Unix epoch.
    pub exported_ms: i64,
    /// How far that time can be trusted.
    pub exported_quality: String,
    /// The signer's public key, in hexadecimal.
    pub public_key: String,
    /// The recipient's opaque token; null if the parcel was never taken on.
    pub recipient: Option<String>,
    /// The parcel's facts, as `linli parcel ID --json` shows them; null if it was never taken on.
    pub parcel: serde_json::Value,
    /// The parcel's id.
    pub parcel_id: String,
    /// Every step of it.
    pub steps: Vec<Step>,
    /// Where the chain over all parcels' histories stood.
    pub head: Head,
}

/// A step, with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number among the steps of all parcels.
    pub n: u64,
    /// When, UTC.
    pub time: String,
    /// The same, ms since the Unix epoch.
    pub at: i64,
    /// How far that time can be trusted.
    pub quality: String,
    /// When, in ms of the gateway's running time, which no setting of its clock changes.
    pub tick: u64,
    /// What.
    pub step: String,
    /// Who.
    pub who: String,
    /// More, in words.
    pub detail: Option<String>,
    /// The chain before it, in hexadecimal.
    pub previous: String,
    /// The chain up to and including it, in hexadecimal.
    pub chain: String,
}

/// Where the chain stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many entries it had.
    pub entries: u64,
    /// The chain up to the last of them, in hexadecimal.
    pub chain: String,
}

impl From<&ChainedStep> for Step {
    fn from(step: &ChainedStep) -> Self {
        Self {
            n: step.n,
            time: utc(step.at_ms),
            at: step.at_ms,
            quality: step.quality.to_owned(),
            tick: step.tick_ms,
            step: step.step.clone(),
            who: step.who.clone(),
            detail: step.detail.clone(),
            previous: hex(&step.previous.0),
            chain: hex(&step.chain.0),
        }
    }
}

impl From<TraceHead> for Head {
    fn from(head: TraceHead) -> Self {
        Self {
            entries: head.entries,
            chain: hex(&head.chain.0),
        }
    }
}

/// Why a file isn't a sound export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// Not of the form that is written.
    #[error(
        "it isn't a whole export of a parcel's history: {0}. Was it edited, cut, or changed by a mail program? Ask for the file again"
    )]
    Form(String),
    /// The signature isn't of these bytes and this key.
    #[error(
        "its signature doesn't hold: it was changed after it was signed. Don't rely on it; ask for the file again"
    )]
    Signature,
    /// Signed by another key.
    #[error(
        "it is signed by another key, {found}, not by {wanted}. Ask at the gateway for its key: linli audit key"
    )]
    Key {
        /// The key that it is signed by.
        found: String,
        /// The key that was asked for.
        wanted: String,
    },
    /// The steps aren't those of the chain.
    #[error("entry {n} isn't what its place in the chain says: {what}. Don't rely on it")]
    Chain {
        /// The entry.
        n: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Makes the file. `None` if it would be larger than [`FILE_MAX_BYTES`].
pub fn seal(payload: &Payload, key: &SigningKey) -> Option<String> {
    let mut signed = serde_json::to_string_pretty(payload).ok()?;
    signed.push('\n');
    let signature = key.sign(signed.as_bytes());
    signed.push_str(&blocks(&signature, &key.public()));
    (signed.len() <= FILE_MAX_BYTES).then_some(signed)
}

/// Checks a file: its form, its signature, whose it is, and that its steps fit the chain.
pub fn check(file: &str, wanted: Option<&PublicKey>) -> Result<Payload, Forged> {
    let form = |what: &str| Forged::Form(what.to_owned());
    let at = file
        .find(SIGNATURE_BEGIN)
        .filter(|at| file.get(..*at).is_some_and(|signed| signed.ends_with('\n')))
        .ok_or_else(|| form("there is no signature"))?;
    let (signed, rest) = file.split_at(at);
    let (signature, key) = read_blocks(rest).ok_or_else(|| form("the signature can't be read"))?;
    if !is_signed_by(&key, signed.as_bytes(), &signature) {
        return Err(Forged::Signature);
    }
    let payload: Payload = serde_json::from_str(signed).map_err(|e| Forged::Form(e.to_string()))?;
    if payload.format != FORMAT {
        return Err(form("its format is of another version of linli"));
    }
    if payload.public_key != hex(&key) {
        return Err(form("it names another key than it carries"));
    }
    if let Some(wanted) = wanted.filter(|wanted| **wanted != key) {
        return Err(Forged::Key {
            found: hex(&key),
            wanted: hex(wanted),
        });
    }
    check_steps(&payload)?;
    Ok(payload)
}

/// The gateway signs only what holds, so this fails for a signer that doesn't keep to its own rules.
fn check_steps(payload: &Payload) -> Result<(), Forged> {
    let head = &payload.head;
    if unhex::<32>(&head.chain).is_none() {
        return Err(Forged::Form("its head can't be read".to_owned()));
    }
    let mut before: Option<&Step> = None;
    for step in &payload.steps {
        let wrong = |what| Forged::Chain { n: step.n, what };
        let previous = unhex(&step.previous).ok_or_else(|| wrong("its predecessor"))?;
        let entry = Entry {
            n: step.n,
            parcel: &payload.parcel_id,
            at_ms: step.at,
            quality: &step.quality,
            tick_ms: step.tick,
            step: &step.step,
            who: &step.who,
            detail: step.detail.as_deref(),
        };
        if step.chain != hex(&entry.chain(Chain(previous)).0) {
            return Err(wrong("its content gives another hash"));
        }
        if step.time != utc(step.at) {
            return Err(wrong("its time is written in two ways that differ"));
        }
        if let Some(before) = before {
            if step.n <= before.n {
                return Err(wrong("it isn't in its order"));
            }
            if step.n == before.n + 1 && step.previous != before.chain {
                return Err(wrong("it doesn't follow the entry before it"));
            }
        }
        before = Some(step);
    }
    let Some(last) = before else {
        return Ok(());
    };
    if last.n > head.entries || (last.n == head.entries && last.chain != head.chain) {
        return Err(Forged::Chain {
            n: last.n,
            what: "it isn't below the end of the chain",
        });
    }
    Ok(())
}

/// A time for people, in UTC.
pub fn utc(at_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => format!("{at_ms} ms since 1970"),
    }
}

fn blocks(signature: &Signature, key: &PublicKey) -> String {
    let signature = STANDARD.encode(signature);
    let key = STANDARD.encode([KEY_PREFIX.as_slice(), key].concat());
    format!("{SIGNATURE_BEGIN}{signature}{SIGNATURE_END}{KEY_BEGIN}{key}{KEY_END}")
}

/// Only what [`blocks`] writes, byte for byte.
fn read_blocks(text: &str) -> Option<(Signature, PublicKey)> {
    let rest = text.strip_prefix(SIGNATURE_BEGIN)?;
    let (signature, rest) = rest.split_once(SIGNATURE_END)?;
    let key = rest.strip_prefix(KEY_BEGIN)?.strip_suffix(KEY_END)?;
    let signature: Signature = STANDARD.decode(signature).ok()?.try_into().ok()?;
    let key: PublicKey = STANDARD
        .decode(key)
        .ok()?
        .strip_prefix(&KEY_PREFIX)?
        .try_into()
        .ok()?;
    (blocks(&signature, &key) == text).then_some((signature, key))
}

#[cfg(test)]
mod tests;
