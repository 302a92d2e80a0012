//! What a program makes, read strictly: events without numbers, and what it says of the device's link.

use firmware_protocols::event::When;
use firmware_protocols::value::{Key, Value};
use firmware_protocols::{Event, Kind};

/// One thing that a program made of a payload.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// An event.
    Event {
        /// When it happened.
        when: When,
        /// What.
        kind: Kind,
    },
    /// Whether the device is there: `{"kind":"status","status":"online"}`, or `"offline"`.
    Status(bool),
}

/// Reads what a program made, a JSON array.
///
/// # Errors
/// One of it is no event: which and why, in words.
pub fn outputs(made: &[u8]) -> Result<Vec<Output>, String> {
    let made =
        Value::from_json(made).map_err(|e| format!("what the program makes is no JSON: {e}"))?;
    let Value::Array(made) = made else {
        return Err("what the program makes is no list".to_owned());
    };
    let numbered = made.into_iter().zip(1..);
    numbered
        .map(|(value, number)| {
            output(value).map_err(|why| format!("event {number} that the program makes: {why}"))
        })
        .collect()
}

fn output(value: Value) -> Result<Output, String> {
    if value.get("kind") == Some(&Value::from("status")) {
        return status(&value);
    }
    let Value::Map(mut entries) = value else {
        return Err(format!("an event is an object, not {}", value.kind()));
    };
    for own in ["boot", "seq"] {
        let key = Key::Text(own.to_owned());
        if entries.iter().any(|(have, _)| *have == key) {
            return Err(format!("'{own}' is given by the gateway: leave it out"));
        }
        entries.push((key, Value::from(1_u8)));
    }
    let event = Event::from_value(&Value::Map(entries)).map_err(|e| e.to_string())?;
    Ok(Output::Event {
        when: event.when,
        kind: event.kind,
    })
}

fn status(value: &Value) -> Result<Output, String> {
    match value.get("status") {
        Some(Value::Text(text)) if text == "online" => Ok(Output::Status(true)),
        Some(Value::Text(text)) if text == "offline" => Ok(Output::Status(false)),
        _ => Err("a status is 'online' or 'offline'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_without_numbers() {
        let made = outputs(
            br#"[{"kind":"reading","senml":[{"n":"t","u":"Cel","v":21.5}],"age":5},
                {"kind":"status","status":"offline"}]"#,
        )
        .unwrap();
        assert!(matches!(
            &made[0],
            Output::Event {
                when: When::Age(5),
                kind: Kind::Reading { .. }
            }
        ));
        assert_eq!(made[1], Output::Status(false));
        assert_eq!(outputs(b"[]").unwrap(), []);
    }

    #[test]
    fn what_is_no_event_is_told() {
        for (made, why) in [
            (
                "[1]",
                "event 1 that the program makes: an event is an object, not an integer",
            ),
            ("[{}]", "event 1 that the program makes: "),
            (
                r#"[{"kind":"reading","senml":[{"n":"t"}],"seq":1}]"#,
                "'seq' is given by the gateway",
            ),
            (
                r#"[{"kind":"status","status":"up"}]"#,
                "'online' or 'offline'",
            ),
            (
                r#"[{"kind":"reading","senml":[{"n":"t","v":NaN}]}]"#,
                "no JSON",
            ),
            (
                r#"[{"kind":"reading","senml":[{"n":"t","v":"1"}]}]"#,
                "a finite number",
            ),
        ] {
            let said = outputs(made.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{made}: {said}");
        }
    }
}
