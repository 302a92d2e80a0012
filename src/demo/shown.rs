//! What a board or a sensor showed on its wire beside what the gateway stored of it. Such a device
//! numbers nothing and keeps nothing, so this stands for the promise that other devices get.

use firmware_protocols::Value;

use super::books::Books;

/// One place on a wire, in the same words from both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Which, for people.
    pub(super) place: String,
    /// What went over the wire, without repetitions.
    pub(super) wire: Vec<String>,
    /// What the gateway stored, without repetitions.
    pub(super) stored: Vec<String>,
}

impl Shown {
    /// Whether both sides are the same story.
    pub(super) fn holds(&self) -> bool {
        self.wire == self.stored
    }
}

/// The locks' pulses, and the openings that the gateway has as done. Each is a word of its own, so that
/// their number is compared.
pub(super) fn openings(bank: &str, pulses: usize, books: &Books) -> anyhow::Result<Shown> {
    let results = books.bodies(bank, "result")?;
    let done = |body: &&Value| matches!(body.get("outcome"), Some(Value::Text(t)) if t == "done");
    let numbered = |count: usize| (1..=count).map(|n| format!("opening {n}")).collect();
    Ok(Shown {
        place: format!("{bank}'s locks"),
        wire: numbered(pulses),
        stored: numbered(results.iter().filter(done).count()),
    })
}

/// A door: open, and each time that it is closed what lies behind it in the end. `wire`: bit 0 = closed,
/// bit 1 = occupied.
pub(super) fn doors(bank: &str, number: u16, wire: &[u16], books: &Books) -> anyhow::Result<Shown> {
    let bodies = books.bodies(bank, "compartment")?;
    let own = bodies
        .iter()
        .filter(|body| body.get("compartment") == Some(&Value::Int(number.into())));
    Ok(Shown {
        place: format!("{bank}/{number}"),
        wire: runs(wire.iter().map(|bits| (bits & 1 == 1, bits & 2 == 2))),
        stored: runs(own.filter_map(stored_door)),
    })
}

/// A register of a sensor. `wire`: the raw numbers, in tenths.
pub(super) fn values(
    sensor: &str,
    name: &str,
    wire: &[u16],
    books: &Books,
) -> anyhow::Result<Shown> {
    let bodies = books.bodies(sensor, "reading")?;
    let tenths = |value: f64| format!("{:.1}", value);
    let mut stored: Vec<String> = bodies
        .iter()
        .filter_map(|body| value_of(body, name))
        .map(tenths)
        .collect();
    stored.dedup();
    let raw = wire.iter().map(|raw| f64::from(raw.cast_signed()) / 10.0);
    Ok(Shown {
        place: format!("{sensor}'s {name}"),
        wire: raw.map(tenths).collect(),
        stored,
    })
}

/// A door's story out of its states (closed, occupied): what is inside counts when it stays closed.
fn runs(states: impl Iterator<Item = (bool, bool)>) -> Vec<String> {
    let mut runs: Vec<(bool, bool)> = Vec::new();
    for (closed, occupied) in states {
        match runs.last_mut() {
            Some(last) if last.0 == closed => *last = (closed, occupied),
            _ => runs.push((closed, occupied)),
        }
    }
    let word = |(closed, occupied): (bool, bool)| match (closed, occupied) {
        (false, _) => "open",
        (true, false) => "closed, empty",
        (true, true) => "closed, occupied",
    };
    runs.into_iter().map(|run| word(run).to_owned()).collect()
}

/// What a stored event says of its door; `None` where nothing was known.
fn stored_door(body: &Value) -> Option<(bool, bool)> {
    let Some(Value::Text(door)) = body.get("door") else {
        return None;
    };
    let occupied = body.get("occupied") == Some(&Value::Bool(true));
    match door.as_str() {
        "open" => Some((false, occupied)),
        "closed" => Some((true, occupied)),
        _ => None,
    }
}

/// A value in a stored SenML pack, by its name.
fn value_of(body: &Value, name: &str) -> Option<f64> {
    let Some(Value::Array(records)) = body.get("senml") else {
        return None;
    };
    records.iter().find_map(|record| {
        let named = matches!(record.get("n"), Some(Value::Text(n)) if n == name);
        match record.get("v").filter(|_| named)? {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use firmware_protocols::value::Key;

    use super::*;

    #[test]
    fn a_doors_story_has_each_opening_and_what_lay_behind_it_in_the_end() {
        // Closed and empty; opened; something is put in; closed; the sensor wavers.
        let wire = [
            (true, false),
            (false, false),
            (false, true),
            (true, true),
            (true, false),
        ];
        assert_eq!(
            runs(wire.into_iter()),
            ["closed, empty", "open", "closed, empty"]
        );
    }

    #[test]
    fn a_value_is_found_by_its_name() {
        let record = |name: &str, value: Value| {
            Value::Map(vec![
                (Key::Text("n".to_owned()), Value::Text(name.to_owned())),
                (Key::Text("v".to_owned()), value),
            ])
        };
        let records = vec![
            record("temperature", Value::Float(3.9)),
            record("humidity", Value::Int(55)),
        ];
        let senml = Key::Text("senml".to_owned());
        let body = Value::Map(vec![(senml, Value::Array(records))]);
        assert_eq!(value_of(&body, "temperature"), Some(3.9));
        assert_eq!(value_of(&body, "humidity"), Some(55.0));
        assert_eq!(value_of(&body, "pressure"), None);
    }
}
