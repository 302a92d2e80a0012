//! Sealing and opening pickup codes by HPKE.

use alloc::string::String;

use firmware_protocols::event::Secret;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};

use crate::code::{SEALING_INFO, SealedCode, SealingKey, sealing_aad};

type Kem = X25519HkdfSha256;

/// Why a code can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The sealing key isn't a point of X25519 that may be used.
    #[error("the sealing key can't be used")]
    Key,
    /// It was sealed to another key, for another parcel or gateway, or was changed.
    #[error(
        "the code doesn't open: it was sealed to another key, for another parcel, or was changed"
    )]
    Closed,
}

/// Seals `digits` for `parcel` of `gateway` to the cloud's key.
pub fn seal(
    key: &SealingKey,
    gateway: &str,
    parcel: &str,
    digits: &Secret,
) -> Result<SealedCode, SealError> {
    let public =
        <Kem as hpke::Kem>::PublicKey::from_bytes(&key.public_key).map_err(|_| SealError::Key)?;
    let (enc, ct) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &public,
        SEALING_INFO,
        digits.reveal().as_bytes(),
        &sealing_aad(gateway, parcel),
    )
    .map_err(|_| SealError::Key)?;
    let mut encapsulated = [0; 32];
    encapsulated.copy_from_slice(&enc.to_bytes());
    Ok(SealedCode {
        key: key.id.clone(),
        enc: encapsulated,
        ct,
    })
}

/// The cloud's private half of a sealing key.
pub struct OpeningKey {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: [u8; 32],
}

impl OpeningKey {
    /// From 32 secret bytes, by RFC 9180's derivation: the same bytes give the same key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let (private, public) = Kem::derive_keypair(seed);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&public.to_bytes());
        Self {
            private,
            public: bytes,
        }
    }

    /// The public half, raw X25519.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// Opens the code of `parcel` of `gateway`.
    pub fn open(
        &self,
        gateway: &str,
        parcel: &str,
        code: &SealedCode,
    ) -> Result<Secret, SealError> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&code.enc)
            .map_err(|_| SealError::Closed)?;
        let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.private,
            &enc,
            SEALING_INFO,
            &code.ct,
            &sealing_aad(gateway, parcel),
        )
        .map_err(|_| SealError::Closed)?;
        let digits = String::from_utf8(plain).map_err(|_| SealError::Closed)?;
        Ok(Secret::new(digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    fn keys() -> (OpeningKey, SealingKey) {
        let opening = OpeningKey::from_seed(&[7; 32]);
        let sealing = SealingKey {
            id: "k1".to_string(),
            public_key: opening.public_key(),
        };
        (opening, sealing)
    }

    #[test]
    fn a_code_opens_for_its_own_parcel_and_gateway_only() {
        let (opening, sealing) = keys();
        let code = seal(&sealing, "g-1", "P-1", &Secret::new("004711")).unwrap();
        assert_eq!(code.ct.len(), 6 + 16);
        assert_eq!(
            opening.open("g-1", "P-1", &code).unwrap().reveal(),
            "004711"
        );
        assert_eq!(opening.open("g-1", "P-2", &code), Err(SealError::Closed));
        assert_eq!(opening.open("g-2", "P-1", &code), Err(SealError::Closed));
        let other = OpeningKey::from_seed(&[8; 32]);
        assert_eq!(other.open("g-1", "P-1", &code), Err(SealError::Closed));
        let mut changed = code.clone();
        changed.ct[0] ^= 1;
        assert_eq!(opening.open("g-1", "P-1", &changed), Err(SealError::Closed));
    }

    #[test]
    fn the_same_digits_are_sealed_differently_each_time() {
        let (_, sealing) = keys();
        let seal = || seal(&sealing, "g-1", "P-1", &Secret::new("1234")).unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_key_of_zeros_is_refused() {
        let key = SealingKey {
            id: "bad".to_string(),
            public_key: [0; 32],
        };
        let sealed = seal(&key, "g", "P", &Secret::new("1234"));
        assert_eq!(sealed, Err(SealError::Key));
    }
}
