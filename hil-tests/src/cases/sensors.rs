//! Sensors are read, and lines that are typed arrive once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::Ident;
use linli::config::serial::LineMeaning;
use serde_json::Value;

use super::{Case, Ended, ensure};
use crate::report::Figure;
use crate::rig::Rig;
use crate::simulated::{Expected, set_registers};

/// How long a line may take until it is on disk; a person takes longer to scan.
const TYPED_WITHIN: Duration = Duration::from_secs(5);

/// The cases of what hangs on a port beside boards.
pub fn cases(rig: &Rig, port: &Ident) -> Vec<Case> {
    let on_port = rig.bench.config.on_ports();
    let on_port = on_port.filter(|(_, on, _)| on.port == *port);
    let mut cases = Vec::new();
    for (id, on, _) in on_port {
        let device = id.clone();
        if !on.registers.is_empty() {
            let names: Vec<String> = on.registers.iter().map(|r| r.name.clone()).collect();
            cases.push(Case {
                name: "sensors-read",
                on: id.to_string(),
                clause: "Every register of the configuration becomes a reading, with the right value, and again when it changes.",
                run: Box::new(move |rig| Box::pin(readings(rig, device, names))),
            });
        } else if let Some(says) = on.says {
            cases.push(Case {
                name: "line-arrives-once",
                on: id.to_string(),
                clause: "A line that is scanned or typed becomes one event; neither digits nor a badge are kept as they are.",
                run: Box::new(move |rig| Box::pin(line(rig, device, says))),
            });
        }
    }
    cases
}

async fn readings(rig: Arc<Rig>, device: Ident, names: Vec<String>) -> Ended {
    let port = rig
        .bench
        .config
        .on_ports()
        .find(|(id, _, _)| **id == device);
    let port = port.map(|(_, on, _)| on.port.clone());
    let ports = &rig.bench.config.ports;
    let port = port.and_then(|id| ports.iter().find(|port| port.id == id));
    let within =
        rig.bench.settings.heard_within() + port.map_or(Duration::ZERO, |port| port.poll() * 2);
    for round in 0..2 {
        let mark = rig.mark();
        let slave = rig.simulation().and_then(|s| s.sensors.get(&device));
        let expected = slave.map(|slave| set_registers(&rig.bench, &device, slave, round));
        let wrong = |all: &BTreeMap<String, Value>| -> Option<String> {
            names.iter().find_map(|name| {
                let read = all.get(name);
                let Some(read) = read else {
                    return Some(format!("{name} wasn't read"));
                };
                let wanted = expected.as_ref()?.get(name)?;
                (!is(read, wanted)).then(|| format!("{name} is {read}, and should be {wanted:?}"))
            })
        };
        let right = rig
            .until(within, || {
                wrong(&last_values(&rig, &device, mark))
                    .is_none()
                    .then_some(())
            })
            .await;
        ensure(right.is_some(), || {
            let what = wrong(&last_values(&rig, &device, mark)).unwrap_or_default();
            let slaves = rig.ports().into_iter().flat_map(|port| port.slaves);
            let mut mine = slaves.filter(|slave| slave.device == device.as_str());
            let note = mine.find_map(|slave| slave.note).unwrap_or_default();
            format!("after {} s {what} {note}", within.as_secs())
        })?;
        if rig.simulation().is_none() {
            break;
        }
    }
    Ok(vec![Figure::new("registers", names.len() as f64, "")])
}

/// The last value of each name in a device's readings since the mark.
fn last_values(rig: &Rig, device: &Ident, mark: i64) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for event in rig.events(device, "reading", mark) {
        let records = event.body["senml"].as_array().cloned().unwrap_or_default();
        let mut base = String::new();
        for record in records {
            // Labels as in JSON or as in CBOR (RFC 8428, table 4).
            let field = |text: &str, number: &str| {
                let found = record.get(text).or_else(|| record.get(number));
                found.cloned()
            };
            if let Some(Value::String(name)) = field("bn", "-2") {
                base = name;
            }
            let name = field("n", "0").and_then(|name| Some(name.as_str()?.to_owned()));
            let full = base.clone() + &name.unwrap_or_default();
            let value = field("v", "2").or_else(|| field("vb", "4"));
            if let Some(value) = value {
                let prefix = format!("{device}/");
                let own = full.strip_prefix(&prefix).unwrap_or(&full);
                all.insert(own.to_owned(), value);
            }
        }
    }
    all
}

fn is(read: &Value, wanted: &Expected) -> bool {
    match wanted {
        Expected::Bit(wanted) => read.as_bool() == Some(*wanted),
        Expected::Number(wanted) => read
            .as_f64()
            .is_some_and(|read| (read - wanted).abs() <= wanted.abs() * 1e-9 + 1e-9),
    }
}

async fn line(rig: Arc<Rig>, device: Ident, says: LineMeaning) -> Ended {
    let (kind, line) = match says {
        LineMeaning::Scan => ("scan", "HIL-SF1234567890"),
        LineMeaning::Keypad => ("keypad", "90817263"),
    };
    let port = rig
        .bench
        .config
        .on_ports()
        .find(|(id, _, _)| **id == device);
    let port = port.map(|(_, on, _)| on.port.clone());
    let up = || {
        port.as_ref()
            .and_then(|id| rig.port(id))
            .filter(|port| port.up)
    };
    ensure(
        rig.until(rig.bench.settings.heard_within(), up)
            .await
            .is_some(),
        || format!("the port of {device} isn't open"),
    )?;
    let mark = rig.mark();
    let typed = rig.hands.type_line(&device, line).await?;
    let events = || rig.events(&device, kind, mark);
    let came = rig
        .until(TYPED_WITHIN, || (!events().is_empty()).then_some(()))
        .await;
    ensure(came.is_some(), || {
        format!("no '{kind}' event came of the line: check prefix, terminator and rate")
    })?;
    // As long again, to see whether it comes twice.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let events = events();
    ensure(events.len() == 1, || {
        format!("one line became {} events", events.len())
    })?;
    let body = events
        .first()
        .map(|event| event.body.clone())
        .unwrap_or_default();
    if let Some(typed) = typed {
        ensure(!body.to_string().contains(&typed), || {
            "what was typed is in the store, and only its digest may be".to_owned()
        })?;
    }
    Ok(Vec::new())
}
