//! `sign.key`: the Ed25519 seed that signs what leaves the box as evidence. Made on first need.
//!
//! The public key is no secret: it belongs into the operator's papers, where a court finds it.

use std::path::Path;

use ring::signature::{self, Ed25519KeyPair, KeyPair as _};

use super::{KeyError, io_error, read_or_make};

/// An Ed25519 public key.
pub type PublicKey = [u8; 32];

/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// The box's signing key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Reads the key from `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        crate::store::make_private_dir(folder).map_err(io_error("made", folder))?;
        let path = folder.join("sign.key");
        let made = !path.exists();
        let seed = read_or_make(&path, true)?;
        let damaged = || KeyError::Damaged(path.clone());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| damaged())?;
        let public = pair.public_key().as_ref();
        let public = public.try_into().map_err(|_| damaged())?;
        if made {
            tracing::info!(path = %path.display(), "made a key to sign exports with");
        }
        Ok(Self { pair, public })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        let mut out = [0; 64];
        out.copy_from_slice(self.pair.sign(bytes).as_ref());
        out
    }
}

/// Whether `signature` over `bytes` was made with the private half of `key`.
pub fn is_signed_by(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
    signature::UnparsedPublicKey::new(&signature::ED25519, key)
        .verify(bytes, signature)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let key = SigningKey::open(&folder).unwrap();
        let signature = key.sign(b"said");
        let again = SigningKey::open(&folder).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(is_signed_by(&again.public(), b"said", &signature));
        assert!(!is_signed_by(&again.public(), b"sai", &signature));
        let mode = std::fs::metadata(folder.join("sign.key")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn another_key_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let one = SigningKey::open(&dir.path().join("one")).unwrap();
        let two = SigningKey::open(&dir.path().join("two")).unwrap();
        assert!(!is_signed_by(&two.public(), b"said", &one.sign(b"said")));
        std::fs::write(dir.path().join("two/sign.key"), b"short").unwrap();
        assert!(SigningKey::open(&dir.path().join("two")).is_err());
    }
}
