//! Enrolment tokens: given once to a person who sets up a gateway. The store has their digests only.

use std::time::Duration;

use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use ring::digest::{SHA256, digest as hash};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::signed::now_ms;
use crate::store::{Store, StoreError};

/// How long a token is good unless its issuer says otherwise.
pub(crate) const GOOD_FOR: Duration = Duration::from_secs(3 * 86_400);
/// The longest that a token may be good.
pub(crate) const GOOD_FOR_MAX: Duration = Duration::from_secs(90 * 86_400);

/// A new token, 128 random bits in hexadecimal, and until when it is good (ms since the Unix epoch).
pub(crate) async fn issue(
    store: &dyn Store,
    gateway: Option<&Ident>,
    good_for: Duration,
) -> Result<(Secret, i64), StoreError> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| StoreError::Busy("the system has no random numbers to give".to_string()))?;
    let token = Secret::new(hex(&bytes));
    let good_for = i64::try_from(good_for.as_millis()).unwrap_or(i64::MAX);
    let valid_until = now_ms().saturating_add(good_for);
    let gateway = gateway.map(Ident::as_str);
    let issued = store.issue_token(gateway, digest(&token), valid_until);
    issued.await?;
    Ok((token, valid_until))
}

/// What the store knows of a token: SHA-256 over its text.
pub(crate) fn digest(token: &Secret) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(hash(&SHA256, token.reveal().as_bytes()).as_ref());
    digest
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
