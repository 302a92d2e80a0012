//! What goes back: residents put returns in, couriers take out, and now and then the wrong door is
//! shut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use common::gateway::{Answers, Gateway};
use common::{Mosquitto, wait_for};
use firmware_protocols::command::Tone;
use firmware_protocols::event::{Door, Secret};
use firmware_protocols::{Ident, Kind, Order};
use simulator::device::Spec;
use simulator::people::{Errand, Pickup, Proof, Return, collect, send_back, take_back};
use simulator::witness::{Nobody, Sight};
use simulator::world::{Notices, Point, Whereabouts};
use simulator::{Bank, Desk, Login, Promise, Random, Tempo, Witness, World};

const START_MS: i64 = 1_780_000_000_000;

fn id(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn spec(name: &str) -> Spec {
    let login = Login {
        device: id(name),
        password: None,
    };
    let mut spec = Spec::new(login, "test");
    spec.promise = Promise::Receipt;
    spec
}

/// Each parcel's code is its name with P as 10000; those of one household begin alike.
struct Letters;

impl Notices for Letters {
    fn code(&self, parcel: &str) -> Option<String> {
        Some(format!("10000{}", parcel.trim_start_matches('P')))
    }

    fn same_recipient(&self, one: &str, other: &str) -> bool {
        one[..2] == other[..2]
    }
}

#[derive(Default)]
struct Eyes(Mutex<Vec<Sight>>);

impl Witness for Eyes {
    fn saw(&self, _: i64, sight: Sight) {
        self.0.lock().unwrap().push(sight);
    }
}

fn say(text: &str, tone: Tone) -> Option<Order> {
    Some(Order::Show {
        text: text.to_string(),
        tone,
    })
}

/// A code 10000n… opens compartment n; `0` gives back what waits for a courier, one by one.
fn answers(go_back: &[(&str, u16)]) -> Answers {
    let waiting = |point: &str| -> Vec<u16> {
        let there = go_back.iter().filter(|(at, _)| *at == point);
        there.map(|(_, compartment)| *compartment).collect()
    };
    let waiting = ["bank-a", "desk-1"].map(|point| (id(point), waiting(point)));
    let waiting = Mutex::new(BTreeMap::from(waiting));
    Arc::new(move |device, kind| {
        let digits = match kind {
            Kind::Keypad { code, .. } => code.reveal(),
            Kind::Compartment {
                door: Door::Closed, ..
            } => return say("thank you", Tone::Info),
            _ => return None,
        };
        if digits == "80471147" {
            return say("scan, or 0 for what goes back", Tone::Ok);
        }
        if digits == "0" {
            let mut waiting = waiting.lock().unwrap();
            return match waiting.get_mut(device).and_then(Vec::pop) {
                None => say("nothing goes back", Tone::Info),
                Some(_) if device.as_str() == "desk-1" => say("take it", Tone::Ok),
                Some(compartment) => Some(Order::Open { compartment }),
            };
        }
        let compartment = digits
            .strip_prefix("10000")
            .and_then(|n| n[..1].parse().ok());
        match compartment {
            Some(_) if device.as_str() == "desk-1" => say("put it here", Tone::Ok),
            Some(compartment) => Some(Order::Open { compartment }),
            None => say("wrong", Tone::Error),
        }
    })
}

struct Bed {
    gateway: Gateway,
    bank: Arc<Bank>,
    desk: Arc<Desk>,
    world: Arc<World>,
    _broker: Mosquitto,
}

async fn bed(go_back: &[(&str, u16)], witness: Arc<dyn Witness>) -> Option<Bed> {
    let broker = Mosquitto::start()?;
    let tempo = Tempo::new(START_MS, 400.0);
    let gateway = Gateway::start(broker.addr(), tempo, answers(go_back)).await;
    let bank = Arc::new(Bank::start(spec("bank-a"), 4, true, broker.addr(), tempo));
    let desk = Arc::new(Desk::start(spec("desk-1"), broker.addr(), tempo));
    let points = vec![
        Point::Bank(Arc::clone(&bank)),
        Point::Desk(Arc::clone(&desk)),
    ];
    let world = World::new(tempo, points, vec![], witness, Arc::new(Letters));
    bank.device().until_online().await;
    desk.device().until_online().await;
    Some(Bed {
        gateway,
        bank,
        desk,
        world: Arc::new(world),
        _broker: broker,
    })
}

impl Bed {
    /// Opens a compartment by hand and lays these in; it stays open.
    async fn lay_in(&self, compartment: u16, parcels: &[&str]) {
        let name = format!("by-hand-{compartment}");
        let order = self.gateway.order(&name, Order::Open { compartment });
        self.gateway.command(self.bank.id(), &order);
        let open = || self.bank.compartments()[usize::from(compartment) - 1].open;
        wait_for("an open door", open).await;
        for parcel in parcels {
            assert!(self.bank.put(compartment, parcel));
        }
    }
}

#[tokio::test]
async fn a_courier_takes_back_what_is_on_the_list_and_nothing_else() {
    let eyes = Arc::new(Eyes::default());
    let go_back = [("bank-a", 1), ("bank-a", 2), ("desk-1", 0)];
    let Some(bed) = bed(&go_back, Arc::clone(&eyes) as _).await else {
        return;
    };
    bed.lay_in(1, &["P11"]).await;
    bed.lay_in(2, &["P21", "P22"]).await;
    bed.lay_in(3, &["P31"]).await;
    for compartment in 1..=3 {
        bed.bank.close(compartment);
    }
    bed.desk.put("P41");
    bed.desk.put("P51");
    let list: BTreeSet<_> = ["P11", "P22", "P41"].map(str::to_string).into();
    let mut taken = BTreeSet::new();
    for point in ["bank-a", "desk-1"] {
        let pickup = Pickup {
            proof: Proof::Code(Secret::new("80471147")),
            point: id(point),
            from_ms: START_MS,
            parcels: list.clone(),
        };
        assert!(!format!("{pickup:?}").contains("80471147"));
        taken.extend(take_back(Arc::clone(&bed.world), pickup, Random::new(3)).await);
    }
    assert_eq!(taken, list);
    let inside: Vec<_> = (1..=3).map(|n| bed.bank.inside(n)).collect();
    assert_eq!(
        inside,
        [vec![], vec!["P21".to_string()], vec!["P31".to_string()]]
    );
    assert!(bed.bank.compartments().iter().all(|c| !c.open));
    assert_eq!(bed.desk.shelf(), ["P51".to_string()].into());
    assert!(bed.world.parcels().values().all(|w| *w == Whereabouts::Van));
    assert_eq!(bed.world.wrong_doors(), 0);
    let seen = eyes.0.lock().unwrap();
    let back = |s: &&Sight| matches!(s, Sight::TakenBack { .. });
    assert_eq!(seen.iter().filter(back).count(), 3);
}

#[tokio::test]
async fn residents_put_returns_in_and_take_all_that_is_theirs_at_once() {
    let Some(bed) = bed(&[], Arc::new(Nobody)).await else {
        return;
    };
    for (parcel, point) in [("P11", "bank-a"), ("P21", "desk-1")] {
        let back = Return {
            parcel: parcel.to_string(),
            point: id(point),
            from_ms: START_MS,
        };
        assert!(send_back(Arc::clone(&bed.world), back, Random::new(5)).await);
    }
    assert_eq!(bed.bank.inside(1), ["P11"]);
    assert_eq!(bed.desk.shelf(), ["P21".to_string()].into());
    let place = Whereabouts::Compartment(id("bank-a"), 1);
    assert_eq!(bed.world.parcels()["P11"], place);

    bed.lay_in(3, &["P31", "P32", "P41"]).await;
    bed.bank.close(3);
    let errand = Errand {
        parcel: "P31".to_string(),
        point: id("bank-a"),
        from_ms: START_MS,
        mistypes: false,
        forgets: false,
    };
    // Not brought by a courier: the world only has to know of it.
    let back = Return {
        parcel: "P31".to_string(),
        point: id("desk-1"),
        from_ms: START_MS,
    };
    assert!(send_back(Arc::clone(&bed.world), back, Random::new(5)).await);
    collect(Arc::clone(&bed.world), errand, Random::new(5)).await;
    assert_eq!(bed.bank.inside(3), ["P41"], "somebody else's stays");
    assert_eq!(bed.world.parcels()["P32"], Whereabouts::Home);
}

#[tokio::test]
async fn who_shuts_the_wrong_door_leaves_the_right_one_open() {
    let Some(bed) = bed(&[], Arc::new(Nobody)).await else {
        return;
    };
    bed.lay_in(1, &["P11"]).await;
    bed.lay_in(2, &[]).await;
    bed.bank.close(2);
    bed.bank.close(2);
    bed.bank.close(4);
    wait_for("an empty outbox", || bed.bank.device().waiting() == 0).await;
    let state = |compartment, door, occupied| Kind::Compartment {
        compartment,
        door,
        occupied: Some(occupied),
    };
    let told = bed
        .gateway
        .kept
        .lock()
        .unwrap()
        .of(&id("bank-a"), "compartment");
    // After the four of the start: a door that was shut before reports nothing.
    let expected = [
        state(1, Door::Open, false),
        state(2, Door::Open, false),
        state(2, Door::Closed, false),
    ];
    assert_eq!(told[4..], expected);
    assert!(bed.bank.compartments()[0].open);
    bed.bank.close(1);
    wait_for("an empty outbox", || bed.bank.device().waiting() == 0).await;
    let told = bed
        .gateway
        .kept
        .lock()
        .unwrap()
        .of(&id("bank-a"), "compartment");
    assert_eq!(told.last(), Some(&state(1, Door::Closed, true)));
}
