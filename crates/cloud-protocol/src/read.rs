//! Reading what several bodies have in common, with errors that say where and what.

use alloc::format;
use alloc::string::{String, ToString as _};

use firmware_protocols::event::Secret;
use firmware_protocols::fields::{Fields, Malformed};
use firmware_protocols::value::Key;

use crate::NUMBER_MAX;

/// A time in milliseconds since the Unix epoch.
pub(crate) fn time(f: Fields<'_>, name: &str) -> Result<i64, Malformed> {
    let ms = f.uint(name, 0, NUMBER_MAX)?;
    i64::try_from(ms).map_err(|_| Malformed::field(name, "a time", &ms.to_string()))
}

/// A byte string of exactly `N` bytes (base64url without padding in JSON).
pub(crate) fn bytes<const N: usize>(f: Fields<'_>, name: &str) -> Result<[u8; N], Malformed> {
    let value = f.need(name)?;
    let expected = || format!("{N} bytes (in JSON: base64url without padding)");
    let Some(bytes) = value.as_bytes() else {
        return Err(Malformed::field(name, &expected(), value.kind()));
    };
    let got = format!("{} bytes", bytes.len());
    bytes
        .try_into()
        .map_err(|_| Malformed::field(name, &expected(), &got))
}

/// 1 to 16 digits. The error never repeats them.
pub(crate) fn digits(f: Fields<'_>, name: &str) -> Result<Secret, Malformed> {
    let digits = f.text(name, 16)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed::field(name, "digits 0 to 9", "other characters"));
    }
    Ok(Secret::new(digits))
}

/// Optional text of 1 to 128 characters.
pub(crate) fn text_opt(f: Fields<'_>, name: &str) -> Result<Option<String>, Malformed> {
    Ok(f.text_opt(name, 128)?.map(|text| text.to_string()))
}

/// A name in a map by name. An integer isn't one: 1 and "1" are two keys in CBOR, and one in JSON.
pub(crate) fn name_of(key: &Key, field: &str) -> Result<String, Malformed> {
    match key {
        Key::Text(name) => Ok(name.clone()),
        Key::Int(_) => Err(Malformed::field(field, "names", "an integer")),
    }
}

/// The same error with the place where it was met.
pub(crate) fn within(place: &str, e: &Malformed) -> Malformed {
    Malformed(format!("{place}: {e}"))
}
