//! What a program is given of a publication.

use firmware_protocols::Ident;
use serde::Serialize;
use serde_json::Value as Json;

use super::frames::PAYLOAD_MAX_BYTES;
use super::profile::PayloadForm;

#[derive(Serialize)]
struct Input<'a> {
    topic: &'a str,
    name: &'a str,
    device: &'a str,
    payload: Json,
}

/// The input: `{"topic":…,"name":…,"device":…,"payload":…}`.
///
/// The payload is read here, with a bound on how deep it goes, so that what a device sends can't break a
/// worker that has done no wrong.
///
/// # Errors
/// It isn't what the profile says: why, in words.
pub fn input(
    form: PayloadForm,
    topic: &str,
    name: &str,
    device: &Ident,
    payload: &[u8],
) -> Result<Vec<u8>, String> {
    if payload.len() > PAYLOAD_MAX_BYTES {
        return Err(format!(
            "the payload has {} bytes, at most {PAYLOAD_MAX_BYTES} are mapped",
            payload.len()
        ));
    }
    let text = |payload| match std::str::from_utf8(payload) {
        Ok(text) => Ok(Json::from(text)),
        Err(_) => Err("the payload isn't text in UTF-8".to_owned()),
    };
    let read = serde_json::from_slice(payload);
    let payload = match (form, read) {
        (PayloadForm::Json | PayloadForm::JsonOrText, Ok(json)) => json,
        (PayloadForm::Json, Err(e)) => return Err(format!("the payload isn't JSON: {e}")),
        (PayloadForm::JsonOrText | PayloadForm::Text, _) => text(payload)?,
    };
    let input = Input {
        topic,
        name,
        device: device.as_str(),
        payload,
    };
    serde_json::to_vec(&input).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(form: PayloadForm, payload: &[u8]) -> Result<String, String> {
        let device = Ident::new("d-1").unwrap();
        let input = input(form, "t/x", "x", &device, payload)?;
        Ok(String::from_utf8(input).unwrap())
    }

    #[test]
    fn a_payload_is_json_or_text_as_the_profile_says() {
        use PayloadForm::{Json, JsonOrText, Text};
        let with = |payload: &str| {
            format!(r#"{{"topic":"t/x","name":"x","device":"d-1","payload":{payload}}}"#)
        };
        assert_eq!(made(Json, b"{\"a\":21.5}").unwrap(), with(r#"{"a":21.5}"#));
        assert_eq!(made(Text, b"21").unwrap(), with(r#""21""#));
        assert_eq!(made(JsonOrText, b"21").unwrap(), with("21"));
        assert_eq!(made(JsonOrText, b"Online").unwrap(), with(r#""Online""#));
        assert_eq!(
            made(JsonOrText, b"1},\"name\":\"y\"").unwrap(),
            with(r#""1},\"name\":\"y\"""#)
        );
        assert!(made(Json, b"Online").unwrap_err().contains("isn't JSON"));
        assert!(made(Text, b"\xff").unwrap_err().contains("UTF-8"));
        assert!(made(JsonOrText, b"\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_payload_that_is_too_deep_or_too_large_never_gets_to_a_worker() {
        let deep = "[".repeat(100_000);
        assert!(made(PayloadForm::Json, deep.as_bytes()).is_err());
        let large = vec![b' '; PAYLOAD_MAX_BYTES + 1];
        let said = made(PayloadForm::Text, &large).unwrap_err();
        assert!(said.contains("at most 262144 are mapped"), "{said}");
        let escaped = vec![1; PAYLOAD_MAX_BYTES];
        let input = made(PayloadForm::Text, &escaped).unwrap();
        assert!(input.len() <= super::super::frames::INPUT_MAX_BYTES);
    }
}
