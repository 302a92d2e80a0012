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

    fn unhex(text: &str) -> alloc::vec::Vec<u8> {
        let pairs = (0..text.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// RFC 9180 appendix A.2.1: the key of our type is the one derived there, and our suite opens the
    /// first message.
    #[test]
    fn the_vector_of_the_rfc_opens() {
        let seed = unhex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df");
        let key = OpeningKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(
            key.public_key().to_vec(),
            unhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
        );
        let enc = unhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
        let ct = unhex(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        );
        let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &key.private,
            &<Kem as hpke::Kem>::EncappedKey::from_bytes(&enc).unwrap(),
            b"Ode on a Grecian Urn",
            &ct,
            b"Count-0",
        );
        assert_eq!(plain.unwrap(), b"Beauty is truth, truth beauty");
    }
}
