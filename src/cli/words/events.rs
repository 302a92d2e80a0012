//! What an event says, in a few words.

use serde_json::Value as Json;

/// An event's own fields in a few words. `body` is as the control API shows it.
pub fn happening(kind: &str, body: &Json) -> String {
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_string();
    match kind {
        "access" => access(body),
        "reading" => reading(&body["senml"]),
        "keypad" => format!("{} digits typed", body["digits"]),
        "scan" => match body["parcel"].as_str() {
            Some(parcel) => format!("parcel {parcel}"),
            None => "a symbol that is no parcel's: a badge?".to_string(),
        },
        "compartment" => compartment(body),
        "intent" => format!("{} x {}", body["quantity"], text("item")),
        "result" => with(
            format!("{}: {}", text("command"), text("outcome")),
            &text("reason"),
        ),
        "rating" => match body["parcel"].as_str() {
            Some(parcel) => format!("{} of 10, for {parcel}", body["score"]),
            None => format!("{} of 10", body["score"]),
        },
        "alarm" => with(text("alarm"), &text("text")),
        "hello" => format!("{} {}", text("model"), text("firmware")),
        _ => body.to_string(),
    }
}

fn access(body: &Json) -> String {
    let mut words: Vec<String> = ["door", "outcome", "direction"]
        .iter()
        .filter_map(|key| body[key].as_str().map(str::to_string))
        .collect();
    if let Some(method) = body["method"].as_str() {
        words.push(format!("by {method}"));
    }
    words.join(" ")
}

fn compartment(body: &Json) -> String {
    let number = &body["compartment"];
    let door = body["door"].as_str().unwrap_or("unknown");
    match body["occupied"].as_bool() {
        Some(true) => format!("{number} {door}, something in it"),
        Some(false) => format!("{number} {door}, empty"),
        None => format!("{number} {door}"),
    }
}

/// The records of a SenML pack (RFC 8428), names after their base name.
fn reading(pack: &Json) -> String {
    let Some(records) = pack.as_array() else {
        return String::new();
    };
    let mut base = String::new();
    let mut unit = String::new();
    let mut said = Vec::new();
    for record in records {
        if let Some(name) = record["bn"].as_str() {
            base = name.to_string();
        }
        if let Some(name) = record["bu"].as_str() {
            unit = name.to_string();
        }
        let value = ["v", "vs", "vb", "s"]
            .into_iter()
            .find_map(|key| record.get(key));
        let Some(value) = value else {
            continue;
        };
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string);
        let name = record["n"].as_str().unwrap_or_default();
        let unit = record["u"].as_str().unwrap_or(&unit);
        said.push(format!("{base}{name} {value} {unit}").trim().to_string());
    }
    said.join(", ")
}

fn with(text: String, more: &str) -> String {
    match more.is_empty() {
        true => text,
        false => format!("{text}: {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_has_its_words() {
        let pairs = [
            (
                "access",
                json!({"door": "door-1", "outcome": "granted", "direction": "in", "method": "card"}),
                "door-1 granted in by card",
            ),
            (
                "access",
                json!({"door": "door-1", "outcome": "forced"}),
                "door-1 forced",
            ),
            (
                "reading",
                json!({"senml": [{"bn": "fridge/", "bu": "Cel", "n": "top", "v": 4.5}, {"n": "fan", "vb": true, "u": ""}]}),
                "fridge/top 4.5 Cel, fridge/fan true",
            ),
            ("keypad", json!({"digits": 6}), "6 digits typed"),
            ("scan", json!({"parcel": "P-7"}), "parcel P-7"),
            ("scan", json!({}), "a symbol that is no parcel's: a badge?"),
            (
                "compartment",
                json!({"compartment": 7, "door": "closed", "occupied": false}),
                "7 closed, empty",
            ),
            (
                "compartment",
                json!({"compartment": 7, "door": "open"}),
                "7 open",
            ),
            (
                "intent",
                json!({"item": "pak choi", "quantity": 3}),
                "3 x pak choi",
            ),
            (
                "result",
                json!({"command": "o-1", "outcome": "refused", "reason": "late"}),
                "o-1: refused: late",
            ),
            (
                "rating",
                json!({"score": 9, "parcel": "P-7"}),
                "9 of 10, for P-7",
            ),
            ("alarm", json!({"alarm": "tamper"}), "tamper"),
            (
                "hello",
                json!({"model": "LB-24", "firmware": "1.4"}),
                "LB-24 1.4",
            ),
            ("new", json!({"a": 1}), "{\"a\":1}"),
        ];
        for (kind, body, words) in pairs {
            assert_eq!(happening(kind, &body), words);
        }
    }
}
