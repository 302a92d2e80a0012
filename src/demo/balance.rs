//! The balance of the evening: what the devices were promised, what the gateway has on disk, what
//! the cloud knows, and where every parcel really is must be one and the same story.

use std::collections::{BTreeMap, BTreeSet};

use simulator::Latency;
use simulator::world::Whereabouts;

use super::books::{Lane, Ledger, Parcel};
use super::shown::Shown;
use crate::cloud::TrafficView;

/// Everything that is held against each other, each side from its own source.
pub(super) struct Facts {
    /// What devices have on record as acknowledged: device, boot, sequence number.
    pub(super) acknowledged: BTreeSet<(String, u32, u64)>,
    /// Events that no device got an acknowledgement for.
    pub(super) unanswered: usize,
    /// The gateway's events of those devices, as they stand in its store.
    pub(super) stored: Vec<(String, u32, u64)>,
    /// What boards and sensors that number nothing showed on their wires, beside what is stored of it.
    pub(super) shown: Vec<Shown>,
    /// The gateway's ledgers.
    pub(super) ledgers: Vec<Ledger>,
    /// Parcels by the gateway.
    pub(super) gateway: BTreeMap<String, Parcel>,
    /// Parcels by the cloud.
    pub(super) cloud: BTreeMap<String, CloudParcel>,
    /// Parcels by what really happened.
    pub(super) world: BTreeMap<String, Whereabouts>,
    /// The gateway's lanes.
    pub(super) lanes: BTreeMap<String, Lane>,
    /// The cloud's lanes: items, last number.
    pub(super) cloud_lanes: BTreeMap<String, (u64, u64)>,
    /// Demand at the cloud: scope, start.
    pub(super) demand: Vec<(String, i64)>,
    /// Doors that opened for somebody who had nothing behind them.
    pub(super) wrong_doors: u64,
    /// From the last key of a code to the open command at the bank.
    pub(super) key_to_open: Latency,
    /// What crossed the line to the cloud, as the gateway counted it.
    pub(super) line: Vec<TrafficView>,
    /// The same as it stands in the gateway's store: bytes to the cloud, bytes from it.
    pub(super) line_kept: (u64, u64),
}

/// A parcel as the cloud knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CloudParcel {
    pub(super) state: &'static str,
    pub(super) bank: Option<String>,
    pub(super) compartment: Option<u16>,
    pub(super) desk: Option<String>,
}

/// One line of the balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// A word for machines.
    pub(super) name: &'static str,
    /// Whether it holds.
    pub(super) holds: bool,
    /// Both sides, for people; what is wrong, if something is.
    pub(super) text: String,
}

/// The balance, line by line.
pub(super) fn draw(facts: &Facts) -> Vec<Item> {
    let mut items = vec![events(facts)];
    items.extend((!facts.shown.is_empty()).then(|| shown(facts)));
    items.extend([
        once(facts),
        parcels_in_cloud(facts),
        parcels_in_world(facts),
        uplink(facts),
        demand(facts),
        line(facts),
        doors(facts),
        answered(facts),
    ]);
    items
}

fn events(facts: &Facts) -> Item {
    let stored: BTreeSet<_> = facts.stored.iter().cloned().collect();
    let missing = facts.acknowledged.difference(&stored).next();
    let unpromised = stored.difference(&facts.acknowledged).next();
    let mut text = format!(
        "events acknowledged to devices {} = events stored {}",
        facts.acknowledged.len(),
        facts.stored.len()
    );
    if let Some((device, boot, seq)) = missing {
        text += &format!(": acknowledged but not stored: {device} {boot}/{seq}");
    }
    if let Some((device, boot, seq)) = unpromised {
        text += &format!(": stored but not acknowledged: {device} {boot}/{seq}");
    }
    if facts.unanswered > 0 {
        text += &format!(": {} events never acknowledged", facts.unanswered);
    }
    Item {
        name: "events",
        holds: missing.is_none() && unpromised.is_none() && facts.unanswered == 0,
        text,
    }
}

fn shown(facts: &Facts) -> Item {
    let sum = |of: fn(&Shown) -> usize| facts.shown.iter().map(of).sum::<usize>();
    let (wire, stored) = (sum(|s| s.wire.len()), sum(|s| s.stored.len()));
    let wrong = facts.shown.iter().filter(|shown| !shown.holds());
    let wrong: Vec<String> = wrong
        .map(|shown| {
            let same = shown.wire.iter().zip(&shown.stored);
            let at = same.take_while(|(wire, stored)| wire == stored).count();
            let word = |words: &[String]| words.get(at).cloned().unwrap_or("nothing".to_string());
            let (wire, stored) = (word(&shown.wire), word(&shown.stored));
            format!(
                "{}, no. {}: shown {wire}, stored {stored}",
                shown.place,
                at + 1
            )
        })
        .collect();
    let text =
        format!("states that boards and sensors showed on the wire {wire} = stored {stored}");
    Item {
        name: "shown",
        holds: wrong.is_empty() && wire > 0,
        text: with_first(text, &wrong),
    }
}

fn once(facts: &Facts) -> Item {
    let sum = |of: fn(&Ledger) -> u64| facts.ledgers.iter().map(of).sum::<u64>();
    let twice = sum(|l| l.rows - l.distinct.min(l.rows));
    let wrong: Vec<&str> = facts
        .ledgers
        .iter()
        .filter(|l| l.received != l.stored + l.duplicate + l.quarantined || l.stored != l.rows)
        .map(|l| l.device.as_str())
        .collect();
    let mut text = format!(
        "received {} = stored {} + duplicate {} + quarantined {}; {twice} stored twice",
        sum(|l| l.received),
        sum(|l| l.stored),
        sum(|l| l.duplicate),
        sum(|l| l.quarantined),
    );
    if !wrong.is_empty() {
        text += &format!("; the ledger is wrong for {}", wrong.join(", "));
    }
    Item {
        name: "once",
        holds: twice == 0 && wrong.is_empty() && !facts.ledgers.is_empty(),
        text,
    }
}

fn parcels_in_cloud(facts: &Facts) -> Item {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (id, parcel) in &facts.gateway {
        let (state, waits) = (state(parcel), waits(parcel));
        *states.entry(state).or_default() += 1;
        let here = CloudParcel {
            state,
            bank: parcel.bank.clone().filter(|_| waits),
            compartment: parcel.compartment.filter(|_| waits),
            desk: parcel.desk.clone().filter(|_| waits),
        };
        let there = facts.cloud.get(id).map(|p| CloudParcel {
            state: p.state,
            bank: p.bank.clone().filter(|_| waits),
            compartment: p.compartment.filter(|_| waits),
            desk: p.desk.clone().filter(|_| waits),
        });
        if there.as_ref() != Some(&here) {
            let there = there.map_or("unknown".to_string(), |p| describe(&p));
            wrong.push(format!("{id} is {}, in the cloud {there}", describe(&here)));
        }
    }
    let strange = facts
        .cloud
        .keys()
        .filter(|id| !facts.gateway.contains_key(*id));
    wrong.extend(strange.map(|id| format!("{id} is only in the cloud")));
    let states: Vec<String> = states
        .iter()
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    Item {
        name: "parcels-in-cloud",
        holds: wrong.is_empty() && !facts.gateway.is_empty(),
        text: with_first(
            format!(
                "parcels end in the gateway {} = in the cloud {} ({})",
                facts.gateway.len(),
                facts.cloud.len(),
                states.join(", ")
            ),
            &wrong,
        ),
    }
}

fn parcels_in_world(facts: &Facts) -> Item {
    let mut wrong = Vec::new();
    for (id, really) in &facts.world {
        let Some(parcel) = facts.gateway.get(id) else {
            wrong.push(format!("{id} isn't known to the gateway"));
            continue;
        };
        let (state, waits) = (state(parcel), waits(parcel));
        let fits = match really {
            Whereabouts::Van => !waits && matches!(state, "expected" | "cancelled" | "retrieved"),
            Whereabouts::Home => state == "collected",
            Whereabouts::Compartment(bank, number) => {
                waits
                    && parcel.bank.as_deref() == Some(bank.as_str())
                    && parcel.compartment == Some(*number)
            }
            Whereabouts::Shelf(desk) => waits && parcel.desk.as_deref() == Some(desk.as_str()),
        };
        if !fits {
            wrong.push(format!("{id} is {}, really {really:?}", parcel.stage));
        }
    }
    Item {
        name: "parcels-in-world",
        holds: wrong.is_empty() && facts.world.len() == facts.gateway.len(),
        text: with_first(
            format!(
                "parcels that really are where the gateway says {} = parcels {}",
                facts.world.len() - wrong.len().min(facts.world.len()),
                facts.gateway.len()
            ),
            &wrong,
        ),
    }
}

fn uplink(facts: &Facts) -> Item {
    let mut wrong = Vec::new();
    let mut sent = Vec::new();
    for (name, lane) in &facts.lanes {
        let (items, last) = facts.cloud_lanes.get(name).copied().unwrap_or_default();
        sent.push(format!("{name} {} = {items}", lane.last));
        if lane.waiting > 0 || lane.acked != lane.last {
            wrong.push(format!("{} of {name} still wait", lane.waiting));
        } else if items != lane.last || last != lane.last {
            wrong.push(format!("{name}: the cloud has {items} up to {last}"));
        }
    }
    Item {
        name: "uplink",
        holds: wrong.is_empty() && !facts.lanes.is_empty(),
        text: with_first(
            format!("items sent = items that the cloud has: {}", sent.join(", ")),
            &wrong,
        ),
    }
}

fn demand(facts: &Facts) -> Item {
    let distinct: BTreeSet<_> = facts.demand.iter().collect();
    let sent = facts.lanes.get("demand").map_or(0, |lane| lane.last);
    let buckets = facts.demand.len();
    Item {
        name: "demand",
        holds: distinct.len() == buckets && sent == buckets as u64,
        text: format!(
            "demand released {sent} = buckets at the cloud {}, each once",
            distinct.len()
        ),
    }
}

/// What the line carried, by what it was for; what had items had bytes.
fn line(facts: &Facts) -> Item {
    let sum = |of: fn(&TrafficView) -> u64| facts.line.iter().map(of).sum::<u64>();
    let counted = (sum(|t| t.start_sent), sum(|t| t.start_received));
    let kib = |bytes: u64| format!("{:.1} KiB", bytes as f64 / 1_024.0);
    let parts: Vec<String> = facts
        .line
        .iter()
        .map(|t| format!("{} {}", t.what, kib(t.start_sent + t.start_received)))
        .collect();
    let for_nothing = facts.lanes.iter().filter(|(name, lane)| {
        let mut lanes = facts.line.iter();
        let carried = lanes.find(|t| t.what == name.as_str());
        lane.acked > 0 && carried.is_none_or(|t| t.start_sent == 0)
    });
    let mut wrong: Vec<String> = for_nothing
        .map(|(name, _)| format!("{name} went up without a byte"))
        .collect();
    if counted != facts.line_kept {
        let (sent, received) = facts.line_kept;
        wrong.push(format!(
            "in the store {} up, {} down",
            kib(sent),
            kib(received)
        ));
    }
    Item {
        name: "line",
        holds: wrong.is_empty(),
        text: with_first(
            format!(
                "carried to the cloud {} and back {}, kept in the store the same: {}",
                kib(counted.0),
                kib(counted.1),
                parts.join(", ")
            ),
            &wrong,
        ),
    }
}

fn doors(facts: &Facts) -> Item {
    Item {
        name: "doors",
        holds: facts.wrong_doors == 0,
        text: format!(
            "compartments opened for the wrong person {} = 0",
            facts.wrong_doors
        ),
    }
}

fn answered(facts: &Facts) -> Item {
    Item {
        name: "answered",
        holds: facts.key_to_open.count() > 0,
        text: latency(&facts.key_to_open),
    }
}

/// Median and 99th percentile, for people.
pub(super) fn latency(latency: &Latency) -> String {
    let ms = |percent| match latency.percentile_us(percent) {
        Some(us) => format!("{:.2} ms", us as f64 / 1_000.0),
        None => "–".to_string(),
    };
    format!(
        "key press → open command: median {}, 99th percentile {}, of {} codes",
        ms(50.0),
        ms(99.0),
        latency.count()
    )
}

/// The state that the cloud hears of, for a parcel in the gateway.
fn state(parcel: &Parcel) -> &'static str {
    match (parcel.stage.as_str(), parcel.back.as_deref()) {
        ("deposited" | "collecting", None | Some("return")) => "deposited",
        ("deposited" | "collecting", Some("overdue")) => "overdue",
        ("deposited" | "collecting", Some("refused")) => "refused",
        ("deposited" | "collecting", Some("claimed")) => "claimed",
        ("deposited" | "collecting", Some(_)) | ("cancelled", _) => "cancelled",
        ("collected", _) => "collected",
        ("retrieved", _) => "retrieved",
        _ => "expected",
    }
}

/// Whether a parcel is in a compartment or at a desk, whoever will get it.
fn waits(parcel: &Parcel) -> bool {
    matches!(parcel.stage.as_str(), "deposited" | "collecting")
}

fn describe(parcel: &CloudParcel) -> String {
    let at = match (&parcel.bank, parcel.compartment, &parcel.desk) {
        (Some(bank), Some(number), _) => format!(" in {bank}/{number}"),
        (_, _, Some(desk)) => format!(" at {desk}"),
        _ => String::new(),
    };
    format!("{}{at}", parcel.state)
}

/// Adds the first of what is wrong, and how much more there is.
fn with_first(text: String, wrong: &[String]) -> String {
    match wrong {
        [] => text,
        [one] => format!("{text}: {one}"),
        [first, rest @ ..] => format!("{text}: {first}, and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests;
