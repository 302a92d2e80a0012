//! A balance that holds, and one fault after the other that it must name.

use std::time::Duration;

use firmware_protocols::Ident;

use super::*;

fn door(wire: &[&str], stored: &[&str]) -> Shown {
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
    Shown {
        place: "bank-a/1".to_string(),
        wire: words(wire),
        stored: words(stored),
    }
}

fn good() -> Facts {
    let event = |seq| ("bank-a".to_string(), 1, seq);
    let at = |stage: &str, compartment: Option<u16>| Parcel {
        stage: stage.to_string(),
        bank: compartment.map(|_| "bank-a".to_string()),
        compartment,
        desk: None,
        back: None,
    };
    let cloud = |state, compartment: Option<u16>| CloudParcel {
        state,
        bank: compartment.map(|_| "bank-a".to_string()),
        compartment,
        desk: None,
    };
    let mut key_to_open = Latency::default();
    key_to_open.add(Duration::from_micros(900));
    let bank = Ident::new("bank-a").unwrap();
    let named = |name: &str| name.to_string();
    Facts {
        acknowledged: [event(1), event(2)].into(),
        unanswered: 0,
        stored: vec![event(1), event(2)],
        shown: vec![door(&["closed", "open"], &["closed", "open"])],
        ledgers: vec![Ledger {
            device: named("bank-a"),
            received: 3,
            stored: 2,
            duplicate: 1,
            quarantined: 0,
            rows: 2,
            distinct: 2,
        }],
        gateway: [
            (named("P1"), at("collected", Some(1))),
            (named("P2"), at("deposited", Some(2))),
            (named("P3"), at("depositing", Some(3))),
            (named("P4"), at("retrieved", Some(4))),
            (
                named("P5"),
                Parcel {
                    back: Some(named("cancelled")),
                    ..at("deposited", Some(5))
                },
            ),
        ]
        .into(),
        cloud: [
            (named("P1"), cloud("collected", None)),
            (named("P2"), cloud("deposited", Some(2))),
            (named("P3"), cloud("expected", None)),
            (named("P4"), cloud("retrieved", Some(4))),
            (named("P5"), cloud("cancelled", Some(5))),
        ]
        .into(),
        world: [
            (named("P1"), Whereabouts::Home),
            (named("P2"), Whereabouts::Compartment(bank.clone(), 2)),
            (named("P3"), Whereabouts::Van),
            (named("P4"), Whereabouts::Van),
            (named("P5"), Whereabouts::Compartment(bank, 5)),
        ]
        .into(),
        lanes: [(
            named("demand"),
            Lane {
                last: 1,
                acked: 1,
                waiting: 0,
            },
        )]
        .into(),
        cloud_lanes: [(named("demand"), (1, 1))].into(),
        demand: vec![(named("b1"), 0)],
        wrong_doors: 0,
        key_to_open,
        line: vec![carried("demand", 2_048, 512), carried("downlink", 0, 512)],
        line_kept: (2_048, 1_024),
    }
}

fn carried(what: &'static str, sent: u64, received: u64) -> TrafficView {
    TrafficView {
        what,
        start_sent: sent,
        start_received: received,
        ..TrafficView::default()
    }
}

#[test]
fn what_the_line_carried_is_in_the_books_and_no_lane_went_up_for_nothing() {
    assert_eq!(broken(|f| f.line_kept.0 += 1), ["line"]);
    assert_eq!(broken(|f| f.line[0].start_sent = 0), ["line"]);
    let text: Vec<String> = draw(&good()).into_iter().map(|item| item.text).collect();
    assert!(text.contains(
        &"carried to the cloud 2.0 KiB and back 1.0 KiB, kept in the store the same: demand 2.5 \
          KiB, downlink 0.5 KiB"
            .to_string()
    ));
}

fn broken(break_it: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    let mut facts = good();
    break_it(&mut facts);
    let items = draw(&facts).into_iter();
    items
        .filter(|item| !item.holds)
        .map(|item| item.name)
        .collect()
}

#[test]
fn a_true_evening_balances() {
    assert_eq!(broken(|_| {}), Vec::<&str>::new());
    let text: Vec<String> = draw(&good()).into_iter().map(|item| item.text).collect();
    assert_eq!(
        text[0],
        "events acknowledged to devices 2 = events stored 2"
    );
    assert_eq!(
        text[3],
        "parcels end in the gateway 5 = in the cloud 5 (1 cancelled, 1 collected, 1 deposited, 1 expected, 1 retrieved)"
    );
}

#[test]
fn what_was_shown_and_is_not_stored_is_named_by_its_place() {
    let mut facts = good();
    facts
        .shown
        .push(door(&["closed", "open", "closed"], &["closed", "closed"]));
    let said = draw(&facts)[1].text.clone();
    assert_eq!(
        said,
        "states that boards and sensors showed on the wire 5 = stored 4: bank-a/1, no. 2: shown open, stored closed"
    );
    facts.shown.clear();
    assert!(draw(&facts).iter().all(|item| item.name != "shown"));
}

#[test]
fn every_fault_is_named_by_its_line() {
    assert_eq!(broken(|f| drop(f.stored.pop())), ["events"]);
    assert_eq!(broken(|f| f.stored.push(("x".into(), 1, 1))), ["events"]);
    assert_eq!(broken(|f| f.unanswered = 1), ["events"]);
    assert_eq!(broken(|f| drop(f.shown[0].stored.pop())), ["shown"]);
    assert_eq!(broken(|f| drop(f.shown[0].wire.pop())), ["shown"]);
    assert_eq!(broken(|f| f.shown[0] = door(&[], &[])), ["shown"]);
    assert_eq!(broken(|f| f.ledgers[0].distinct = 1), ["once"]);
    assert_eq!(broken(|f| f.ledgers[0].duplicate = 0), ["once"]);
    assert_eq!(broken(|f| f.ledgers[0].rows = 3), ["once"]);
    assert_eq!(broken(|f| f.ledgers.clear()), ["once"]);
    let cloud = |change: fn(&mut CloudParcel)| broken(|f| f.cloud.values_mut().for_each(change));
    assert_eq!(cloud(|p| p.state = "expected"), ["parcels-in-cloud"]);
    assert_eq!(cloud(|p| p.compartment = Some(9)), ["parcels-in-cloud"]);
    assert_eq!(broken(|f| drop(f.cloud.remove("P1"))), ["parcels-in-cloud"]);
    assert_eq!(
        broken(|f| drop(f.world.insert("P1".into(), Whereabouts::Van))),
        ["parcels-in-world"]
    );
    assert_eq!(broken(|f| drop(f.world.remove("P1"))), ["parcels-in-world"]);
    assert_eq!(
        broken(|f| f.lanes.values_mut().for_each(|l| l.waiting = 1)),
        ["uplink"]
    );
    assert_eq!(broken(|f| f.cloud_lanes.clear()), ["uplink"]);
    assert_eq!(broken(|f| f.demand.push(("b1".into(), 0))), ["demand"]);
    assert_eq!(broken(|f| f.demand.clear()), ["demand"]);
    assert_eq!(broken(|f| f.wrong_doors = 1), ["doors"]);
    assert_eq!(broken(|f| f.key_to_open = Latency::default()), ["answered"]);
}
