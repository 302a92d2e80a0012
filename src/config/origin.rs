//! Every value that holds, and where it comes from: a line of the file, a default, or another key.

use std::path::Path;

use serde_json::Value as Json;

use super::document::{Document, Step, steps, within};
use super::{Broker, Config, ConfigError};

/// A value that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its key, named for people: `bank[bank-a].compartments[0].count`.
    pub key: String,
    /// The value; a list of plain values is one.
    pub value: Json,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// That line of the file.
    Line(usize),
    /// Nobody set it.
    Default,
    /// Nobody set it, and it follows from that key.
    From(&'static str),
}

/// All that holds in a file, or what begins with a key: named for people or counted.
pub fn held(file: &Path, key: Option<&str>) -> Result<Vec<Held>, ConfigError> {
    let (config, document) = Config::written(file)?;
    Ok(all(config, &document, key.unwrap_or_default()))
}

fn all(config: Config, document: &Document, wanted: &str) -> Vec<Held> {
    let (config, derived) = filled_in(config);
    let mut leaves = Vec::new();
    let json = serde_json::to_value(config).unwrap_or_default();
    gather(String::new(), json, &mut leaves);
    // What stands at the top of a file comes first.
    leaves.sort_by_key(|(key, _)| steps(key).len() > 1);
    let held = leaves.into_iter().map(|(key, value)| {
        let origin = match derived.iter().find(|(other, _)| *other == key) {
            _ if document.holds(&key) => {
                Origin::Line(document.line_and_column(document.place(&key).start).0)
            }
            Some((_, from)) => Origin::From(from),
            None => Origin::Default,
        };
        (document.named(&key), key, value, origin)
    });
    let wanted_steps = steps(wanted);
    let counts = !wanted_steps.contains(&Step::Item(None));
    let begins =
        |key: &str| counts && steps(key).len() >= wanted_steps.len() && within(key, wanted);
    // A list of tables with nothing in it says nothing.
    let says = |key: &str, value: &Json| *value != Json::Array(Vec::new()) || !key.contains('[');
    held.filter(|(_, key, value, _)| says(key, value) || document.holds(key))
        .filter(|(named, counted, ..)| begins(counted) || begins_named(named, wanted))
        .map(|(key, _, value, origin)| Held { key, value, origin })
        .collect()
}

/// Whether a key named for people begins with another, whole words each.
fn begins_named(key: &str, wanted: &str) -> bool {
    let rest = key.strip_prefix(wanted);
    rest.is_some_and(|rest| wanted.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The plain values, each with its key.
fn gather(key: String, value: Json, leaves: &mut Vec<(String, Json)>) {
    match value {
        Json::Null => {}
        Json::Object(mut keys) => {
            let dot = if key.is_empty() { "" } else { "." };
            let id = keys.remove_entry("id");
            for (name, value) in id.into_iter().chain(keys) {
                gather(format!("{key}{dot}{name}"), value, leaves);
            }
        }
        Json::Array(items) if items.iter().any(Json::is_object) => {
            for (i, item) in items.into_iter().enumerate() {
                gather(format!("{key}[{i}]"), item, leaves);
            }
        }
        Json::Array(items) if items.is_empty() && !key.contains('.') => {}
        value => leaves.push((key, value)),
    }
}

/// With what goes without saying, and which key each of that follows from.
fn filled_in(mut config: Config) -> (Config, Vec<(String, &'static str)>) {
    let mut derived = Vec::new();
    let mut from = |key: &str, from: &'static str| derived.push((key.to_owned(), from));
    if config.control.socket.is_none() {
        config.control.socket = Some(config.socket());
        from("control.socket", "state_dir");
    }
    match &mut config.external_broker {
        None => config.broker = config.broker.or_else(|| Some(Broker::default())),
        Some(broker) if broker.client_id.is_none() => {
            broker.client_id = Some(format!("linli-{}", config.site));
            from("external_broker.client_id", "site");
        }
        Some(_) => {}
    }
    if let Some(cloud) = &mut config.cloud {
        if cloud.gateway.is_none() {
            cloud.gateway = Some(config.site.clone());
            from("cloud.gateway", "site");
        }
        if cloud.line.wait_s.is_none() {
            cloud.line.wait_s = Some(cloud.wait_s());
            from("cloud.line.wait_s", "cloud.line.metered");
        }
    }
    for (i, port) in config.ports.iter_mut().enumerate() {
        if port.baud.is_none() {
            port.baud = Some(port.baud());
            from(&format!("port[{i}].baud"), "protocol");
        }
        if port.poll_ms.is_none() {
            port.poll_ms = u64::try_from(port.poll().as_millis()).ok();
            from(&format!("port[{i}].poll_ms"), "protocol");
        }
    }
    for (i, bank) in config.banks.iter_mut().enumerate() {
        let tells = bank.tells_occupied();
        if bank.occupancy_sensor != tells {
            bank.occupancy_sensor = tells;
            from(&format!("bank[{i}].occupancy_sensor"), "board");
        }
    }
    for (i, device) in config.devices.iter_mut().enumerate() {
        if device.profile.is_some() && device.named.is_none() {
            device.named = Some(device.id.to_string());
            from(&format!("device[{i}].named"), "id");
        }
        let registers = device.serial.iter_mut().flat_map(|on| &mut on.registers);
        for (j, register) in registers.enumerate() {
            if register.kind.is_none() {
                register.kind = Some(register.kind());
                let key = format!("device[{i}].serial.registers[{j}].type");
                from(&key, "function");
            }
        }
    }
    (config, derived)
}

#[cfg(test)]
mod tests {
    use super::super::read::load;
    use super::*;

    const ESTATE: &str = r#"site = "s"
state_dir = "/srv/linli"
[cloud]
url = "https://cloud.example"
[cloud.line]
metered = true
[[building]]
id = "b1"
[[port]]
id = "bus-1"
path = "/dev/ttyS1"
protocol = "modbus"
[[bank]]
id = "bank-a"
building = "b1"
compartments = [
    { count = 8, size = "S" },
    { count = 2, size = "M", zone = "chilled" },
]
"#;

    fn shown(key: &str) -> Vec<String> {
        let (config, document) = load(ESTATE).unwrap();
        let held = all(config, &document, key).into_iter();
        held.map(|held| format!("{} = {} # {:?}", held.key, held.value, held.origin))
            .collect()
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        let all = shown("");
        for line in [
            r#"site = "s" # Line(1)"#,
            r#"control.socket = "/srv/linli/control.sock" # From("state_dir")"#,
            r#"broker.listen = "127.0.0.1:1883" # Default"#,
            "broker.anonymous = [] # Default",
            "cloud.line.metered = true # Line(6)",
            r#"cloud.line.wait_s = 300 # From("cloud.line.metered")"#,
            "port[bus-1].baud = 9600 # From(\"protocol\")",
            "bank[bank-a].compartments[1].count = 2 # Line(18)",
            r#"bank[bank-a].compartments[0].zone = "ambient" # Default"#,
            "rules.code_min_digits = 6 # Default",
        ] {
            assert!(all.iter().any(|shown| shown == line), "{line}: {all:#?}");
        }
        assert!(all[0].starts_with("site") || all[1].starts_with("site"));
    }

    #[test]
    fn a_key_takes_what_begins_with_it() {
        assert_eq!(shown("cloud.line.wait_s").len(), 1);
        assert_eq!(shown("bank[bank-a]"), shown("bank[0]"));
        assert_eq!(shown("bank[bank-a].compartments[1]").len(), 4);
        assert_eq!(shown("bank[bank-b]"), [""; 0]);
        assert_eq!(shown("cloud.li"), [""; 0]);
        assert!(
            shown("port")
                .iter()
                .all(|line| line.starts_with("port[bus-1]."))
        );
    }
}
