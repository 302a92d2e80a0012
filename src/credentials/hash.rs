//! The slow hash: Argon2id, stored as a PHC string.
//!
//! Its working memory is taken in one piece of [`SCRATCH_BYTES`], of which only what is used is
//! ever backed by memory. So large a piece the allocator takes from the system and gives back at
//! once; a piece of 4 MiB it would keep, cut up between the sessions of the devices that have
//! logged in meanwhile, and take another for the next login: measured, a thousand first logins
//! grew the process to 460 MiB that way.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};

use super::CredentialsError;

const MEMORY_KIB: u32 = 4096;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// The dearest stored hash that is accepted: the file can't make a login cost more than the box
/// has.
const MEMORY_MAX_KIB: u32 = 32 * 1024;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Larger than the largest threshold (32 MiB) up to which glibc serves from its own heap.
const SCRATCH_BYTES: usize = 33 * 1024 * 1024;

/// The PHC string for `password`, under a fresh salt.
pub(super) fn hash(password: &[u8]) -> Result<String, CredentialsError> {
    let failed = |error: &dyn std::fmt::Display| CredentialsError::Hash(error.to_string());
    let mut salt = [0_u8; SALT_BYTES];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| CredentialsError::Random)?;
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(|e| failed(&e))?;
    let mut hash = [0_u8; HASH_BYTES];
    compute(password, &salt, &params, &mut hash).ok_or_else(|| failed(&"out of range"))?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|e| failed(&e))?,
        salt: Some(Salt::new(&salt).map_err(|e| failed(&e))?),
        hash: Some(Output::new(&hash).map_err(|e| failed(&e))?),
    };
    Ok(phc.to_string())
}

/// Whether `stored` is the hash of `password`. Compares in constant time.
pub fn verify(password: &[u8], stored: &str) -> bool {
    let Some((stored, params)) = parse(stored) else {
        return false;
    };
    let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
        return false;
    };
    let mut hash = vec![0_u8; expected.len()];
    compute(password, &salt, &params, &mut hash)
        .and_then(|()| Output::new(&hash).ok())
        .is_some_and(|hash| hash == expected)
}

/// Whether `stored` is a hash that can be checked here, at a price the box can pay.
pub(super) fn is_acceptable(stored: &str) -> bool {
    parse(stored).is_some()
}

fn parse(stored: &str) -> Option<(PasswordHash, Params)> {
    let stored = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&stored).ok()?;
    let complete = stored.salt.is_some() && stored.hash.is_some();
    let ours = stored.algorithm.as_str() == "argon2id" && stored.version == Some(0x13);
    let affordable = params.m_cost() <= MEMORY_MAX_KIB
        && params.t_cost() <= PASSES_MAX
        && params.p_cost() <= LANES_MAX;
    (complete && ours && affordable).then_some((stored, params))
}

fn compute(password: &[u8], salt: &[u8], params: &Params, hash: &mut [u8]) -> Option<()> {
    let mut scratch: Vec<Block> = Vec::with_capacity(SCRATCH_BYTES / Block::SIZE);
    scratch.resize(params.block_count(), Block::new());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password, salt, hash, &mut scratch)
        .ok()
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    #[test]
    fn our_hashes_are_what_others_compute_too() {
        let stored = hash(b"secret").unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=4096,t=3,p=1$"),
            "{stored}"
        );
        assert!(
            Argon2::default()
                .verify_password(b"secret", stored.as_str())
                .is_ok()
        );
        assert!(verify(b"secret", &stored));
        assert!(!verify(b"secres", &stored));
    }

    #[test]
    fn hashes_made_elsewhere_with_other_parameters_are_checked() {
        // argon2 0.6 `Argon2::default()`: m=19456, t=2, p=1.
        use argon2::PasswordHasher;
        let stored = Argon2::default()
            .hash_password_with_salt(b"secret", b"sixteen bytes!!!")
            .unwrap()
            .to_string();
        assert!(stored.contains("m=19456,t=2,p=1"), "{stored}");
        assert!(verify(b"secret", &stored));
        assert!(!verify(b"Secret", &stored));
    }

    #[test]
    fn what_cannot_be_checked_is_not_accepted() {
        for bad in [
            "",
            "plain",
            "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ",
            "$argon2i$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$argon2id$v=16$m=4096,t=3,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$argon2id$v=19$m=4096,t=999,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
        ] {
            assert!(!is_acceptable(bad), "{bad}");
            assert!(!verify(b"x", bad), "{bad}");
        }
    }
}
