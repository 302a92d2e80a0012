//! The signed file of a parcel's history, as anybody may hand it in to be checked.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linli::audit::export::{FORMAT, check};
use linli::keys::signing::SigningKey;

/// Takes the bytes as a whole file, and as what stands in one that is signed as it should be: so that
/// what lies behind the signature is tried too. What is accepted is of our format and in order.
pub fn export(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    accepted(text);
    accepted(&signed(text));
}

fn accepted(file: &str) {
    let Ok(payload) = check(file, None) else {
        return;
    };
    assert_eq!(payload.format, FORMAT);
    assert!(payload.steps.windows(2).all(|pair| pair[0].n < pair[1].n));
    assert!(
        payload
            .steps
            .iter()
            .all(|step| step.n <= payload.head.entries)
    );
    // Not one byte of it can be another.
    let mut forged = file.replacen(FORMAT, "linli/v1/parcel-histary", 1);
    assert!(check(&forged, None).is_err());
    forged.push('\n');
    assert!(check(&forged, None).is_err());
}

/// The text, signed, with the key that it must name in place of `KEY`.
fn signed(text: &str) -> String {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        SigningKey::open(&super::keys_folder("export")).expect("a key can be made in TMPDIR")
    });
    let public = key.public();
    let mut signed = text.replacen("KEY", &linli::audit::hex::hex(&public), 1);
    signed.push('\n');
    let signature = STANDARD.encode(key.sign(signed.as_bytes()));
    // RFC 8410: what stands before the 32 bytes of an Ed25519 key.
    let prefix = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    let public = STANDARD.encode([prefix.as_slice(), &public].concat());
    format!(
        "{signed}-----BEGIN LINLI SIGNATURE-----\n{signature}\n-----END LINLI SIGNATURE-----\n\
         -----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n"
    )
}
