//! Devices against a real Mosquitto: obedience, the outbox, faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::gateway::Gateway;
use common::{Mosquitto, wait_for};
use firmware_protocols::command::Tone;
use firmware_protocols::event::{Done, When};
use firmware_protocols::{Form, Ident, Kind, Order};
use simulator::device::{Deaf, DeviceClock, Spec};
use simulator::{Bank, Device, Login, Promise, Tempo, Version};

const WAYS: [(Version, Form); 2] = [(Version::V311, Form::Json), (Version::V5, Form::Cbor)];

fn id(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn spec(name: &str, (version, form): (Version, Form)) -> Spec {
    let login = Login {
        device: id(name),
        password: None,
    };
    let mut spec = Spec::new(login, "test");
    (spec.version, spec.form, spec.promise) = (version, form, Promise::Receipt);
    spec
}

fn alarm(text: u32) -> Kind {
    Kind::Alarm {
        alarm: "tamper".to_string(),
        text: Some(text.to_string()),
    }
}

async fn silent(broker: &Mosquitto) -> Gateway {
    Gateway::start(broker.addr(), Tempo::real(), Arc::new(|_, _| None)).await
}

#[tokio::test]
async fn a_bank_opens_in_time_and_once_and_says_what_came_of_it() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    for way in WAYS {
        let gateway = silent(&broker).await;
        let bank = Bank::start(spec("bank-a", way), 3, true, broker.addr(), Tempo::real());
        bank.device().until_online().await;
        bank.jam(2, true);
        let open = |compartment| Order::Open { compartment };
        let ask = |command| gateway.command(&id("bank-a"), &command);
        ask(gateway.order("one", open(1)));
        ask(gateway.order("one", open(3)));
        ask(gateway.order("jammed", open(2)));
        ask(gateway.order("beyond", open(4)));
        let mut late = gateway.order("late", open(3));
        late.expires = 1_000_000;
        ask(late);
        let text = "请取件".to_string();
        let tone = Tone::Ok;
        ask(gateway.order("show", Order::Show { text, tone }));

        let results = || gateway.kept.lock().unwrap().results(&id("bank-a"));
        wait_for("six results", || results().len() == 6).await;
        let expected = [
            ("one", Done::Done),
            ("one", Done::Refused),
            ("jammed", Done::Failed),
            ("beyond", Done::Failed),
            ("late", Done::Refused),
            ("show", Done::Done),
        ];
        assert_eq!(results(), expected.map(|(id, done)| (id.to_string(), done)));
        let open: Vec<bool> = bank.compartments().iter().map(|c| c.open).collect();
        assert_eq!(open, [true, false, false]);
        let shown = bank.display().shown();
        assert_eq!(shown, Some(("请取件".to_string(), Tone::Ok)));

        assert!(bank.put(1, "P1") && !bank.put(3, "P3"));
        bank.close(1);
        wait_for("the door's states", || {
            let kept = gateway.kept.lock().unwrap();
            kept.of(&id("bank-a"), "compartment").len() == 5
        })
        .await;
        let of = |kind| gateway.kept.lock().unwrap().of(&id("bank-a"), kind);
        let states = of("compartment");
        let state = |compartment, door, occupied| Kind::Compartment {
            compartment,
            door,
            occupied: Some(occupied),
        };
        use firmware_protocols::event::Door::{Closed, Open};
        assert_eq!(states[3], state(1, Open, false));
        assert_eq!(states[4], state(1, Closed, true));
        assert_eq!(of("alarm").len(), 1);
        bank.device().stop().await;
        wait_for("offline", || {
            gateway.kept.lock().unwrap().status[&id("bank-a")] == "offline"
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_is_lost_by_cuts_reboots_and_absence_and_the_record_is_true() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    for way in WAYS {
        let gateway = silent(&broker).await;
        let mut spec = spec("door-1", way);
        spec.batch = 4;
        let device = Device::start(spec, broker.addr(), Tempo::real(), Arc::new(Deaf));
        device.until_online().await;
        for n in 0..50 {
            device.report(alarm(n)).unwrap();
            match n {
                10 => device.cut().await,
                20 => device.reboot().await,
                30 => device.go_away().await,
                45 => device.come_back().await,
                _ => {}
            }
        }
        wait_for("an empty outbox", || device.waiting() == 0).await;
        // 50 alarms and the hello of two starts.
        assert_eq!(device.tally().acknowledged, 52);
        let kept = || gateway.kept.lock().unwrap();
        assert_eq!(kept().events.len(), 52);
        let mut stored: Vec<_> = kept().events.iter().map(|(_, e)| (e.boot, e.seq)).collect();
        let mut record: Vec<_> = device.record().iter().map(|a| (a.boot, a.seq)).collect();
        stored.sort_unstable();
        record.sort_unstable();
        assert_eq!(stored, record);
        assert_eq!(
            record
                .iter()
                .filter(|(boot, _)| *boot == 2)
                .map(|(_, seq)| *seq)
                .min(),
            Some(1)
        );

        let before = kept().duplicates;
        let again = device.send_again();
        assert!(again > 40);
        wait_for("an empty outbox again", || device.waiting() == 0).await;
        // A receipt for one of them may come before the last of them is sent.
        assert!(kept().duplicates > before);
        assert_eq!(kept().events.len(), 52);
        assert_eq!(device.record().len(), 52);
        device.stop().await;
    }
}

#[tokio::test]
async fn a_device_that_vanishes_is_offline_by_its_will() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    for way in WAYS {
        let gateway = silent(&broker).await;
        let status = || {
            gateway
                .kept
                .lock()
                .unwrap()
                .status
                .get(&id("door-1"))
                .cloned()
        };
        // Its runtime is dropped with everything in it, as a power cut would.
        let world = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let spec = spec("door-1", way);
        let addr = broker.addr();
        world.spawn(async move {
            let device = Device::start(spec, addr, Tempo::real(), Arc::new(Deaf));
            std::future::pending::<()>().await;
            drop(device);
        });
        wait_for("online", || status().as_deref() == Some("online")).await;
        world.shutdown_background();
        wait_for("offline", || status().as_deref() == Some("offline")).await;
    }
}

#[tokio::test]
async fn devices_tell_the_time_as_well_as_they_know_it() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let gateway = silent(&broker).await;
    let tempo = Tempo::new(1_780_000_000_000, 1_000.0);
    let clocks = [DeviceClock::Set, DeviceClock::Counting, DeviceClock::None];
    for (n, clock) in clocks.into_iter().enumerate() {
        let mut spec = spec(&format!("door-{n}"), WAYS[n % 2]);
        spec.clock = clock;
        let device = Device::start(spec, broker.addr(), tempo, Arc::new(Deaf));
        wait_for("its hello", || device.waiting() == 0).await;
        device.stop().await;
    }
    let kept = gateway.kept.lock().unwrap();
    let when = |n: usize| kept.events[n].1.when;
    let now_ms = tempo.now_ms();
    assert!(matches!(when(0), When::At(at) if (1_780_000_000_000..=now_ms).contains(&at)));
    assert!(matches!(when(1), When::Age(age) if age < 60_000_000));
    assert_eq!(when(2), When::Unsaid);
}
