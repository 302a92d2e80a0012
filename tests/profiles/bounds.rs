//! What a program does to its worker it does to nobody else.

use serde_json::json;

use crate::bed::{
    Client, Login, ONCE, device, kinds, mapped, own_profile, password, quarantined, signal, workers,
};
use crate::common::{Setup, text, wait_for};

const GOOD: &str = r#"{kind: "reading", senml: [{n: "v", v: .payload.v}]}"#;
const ENDLESS: &str = "[limit(1; repeat(1) | select(. > 1))]";
const HUNGRY: &str = r#"reduce range(1; 1e9) as $n ("x"; . + .)"#;
const TALKATIVE: &str = r#"repeat({kind: "reading", senml: [{n: "v", v: 1}]})"#;

/// A gateway with a device for each program, that may come without a password.
fn gateway(programs: &[(&str, &str)]) -> Setup {
    let mut setup = Setup::new();
    for (id, program) in programs {
        let profile = own_profile(&setup, id, program);
        setup.more += &device(id, &profile, "");
    }
    setup
}

fn client(setup: &Setup, id: &str) -> Client {
    let password = password(setup, id);
    let login = Login {
        client_id: "any",
        user: Some(id),
        password: Some(&password),
        will: None,
    };
    Client::log_in(setup.address(), &login).unwrap()
}

#[test]
fn a_program_that_breaks_its_bounds_costs_its_own_payloads() {
    let mut setup = gateway(&[
        ("good", GOOD),
        ("endless", ENDLESS),
        ("hungry", HUNGRY),
        ("talkative", TALKATIVE),
    ]);
    let _gateway = setup.start();
    let mut good = client(&setup, "good");
    let bad = ["endless", "hungry", "talkative"];
    let mut clients: Vec<Client> = bad.iter().map(|id| client(&setup, id)).collect();
    for n in 0..4 {
        // What is bad is under way while the good goes through.
        for (id, client) in bad.iter().zip(&mut clients) {
            client.send(&format!("{id}/{id}"), b"{}", ONCE);
        }
        good.publish("good/good", &format!("{{\"v\":{n}}}"), ONCE);
        for client in &mut clients {
            client.acknowledged().unwrap();
        }
    }
    assert_eq!(kinds(&setup, "good"), ["reading"; 4]);
    for id in bad {
        assert_eq!(kinds(&setup, id), Vec::<String>::new(), "{id}");
        assert_eq!(quarantined(&setup, id).len(), 4, "{id}");
    }
    let why = |id: &str| quarantined(&setup, id);
    assert!(
        why("endless")[3].contains("computes for more than 250 ms"),
        "{:?}",
        why("endless")
    );
    assert!(
        why("hungry")[3].contains("more than 64 MiB of memory"),
        "{:?}",
        why("hungry")
    );
    assert!(
        why("talkative")[0].contains("more than 256 events"),
        "{:?}",
        why("talkative")
    );

    // After three in a row a profile isn't run for a while, and that is shown with the remedy.
    for id in ["endless", "hungry"] {
        assert!(why(id)[0].contains("is suspended"), "{:?}", why(id));
        assert_eq!(mapped(&setup, id)["state"], "suspended");
    }
    // One that only says too much isn't dangerous.
    assert_eq!(mapped(&setup, "talkative")["state"], "works");
    let told = text(&setup.cli(&["profile", "list"]).stdout);
    assert!(told.contains("linli config reload"), "{told}");
}

/// By the order of the answers, as no time is the same on a machine that others use: while a worker
/// stands still, what is said to the others is on disk.
#[test]
fn a_worker_that_stands_still_holds_nobody_up() {
    let mut setup = gateway(&[("good", GOOD), ("stuck", GOOD)]);
    let gateway = setup.start();
    let mut stuck = client(&setup, "stuck");
    stuck.publish("stuck/stuck", "{\"v\":0}", ONCE);
    let worker = workers(gateway.pid());
    assert_eq!(worker.len(), 1, "one profile has said something");
    signal(worker[0], "STOP");
    let waiting = stuck.send("stuck/stuck", b"{\"v\":1}", ONCE);
    let mut good = client(&setup, "good");
    for n in 0..20 {
        good.publish("good/good", &format!("{{\"v\":{n}}}"), ONCE);
    }
    assert!(stuck.hears_nothing());
    assert_eq!(kinds(&setup, "good").len(), 20);
    signal(worker[0], "CONT");
    assert_eq!(stuck.acknowledged(), waiting);
    assert_eq!(kinds(&setup, "stuck").len(), 2);
    assert_eq!(mapped(&setup, "stuck")["state"], "works");
}

#[test]
fn a_worker_that_is_killed_from_outside_costs_nothing() {
    let mut setup = gateway(&[("good", GOOD)]);
    let gateway = setup.start();
    let mut good = client(&setup, "good");
    good.publish("good/good", "{\"v\":0}", ONCE);
    for n in 1..5 {
        let running = workers(gateway.pid());
        assert_eq!(running.len(), 1, "{running:?}");
        signal(running[0], "KILL");
        good.publish("good/good", &format!("{{\"v\":{n}}}"), ONCE);
    }
    assert_eq!(kinds(&setup, "good"), ["reading"; 5]);
    assert_eq!(setup.json(&["quarantine"]), json!([]));
    assert_eq!(mapped(&setup, "good")["state"], "works");

    // A daemon that is killed leaves no worker behind.
    let running = workers(gateway.pid());
    gateway.kill();
    wait_for("the worker to end", || {
        let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        running.iter().all(gone).then_some(())
    });
}

#[test]
fn a_program_that_cannot_be_compiled_is_shown() {
    let mut setup = gateway(&[("typo", ".payload | wether"), ("good", GOOD)]);
    setup.more += &device("lost", "/nowhere/lost.toml", "");
    let _gateway = setup.start();
    let mut typo = client(&setup, "typo");
    typo.publish("typo/typo", "{}", ONCE);
    let why = quarantined(&setup, "typo");
    assert!(why[0].contains("line 1, column 12, at 'wether'"), "{why:?}");
    assert_eq!(mapped(&setup, "typo")["state"], "broken");
    let lost = mapped(&setup, "lost");
    assert_eq!(lost["state"], "broken");
    assert!(
        lost["why"]
            .as_str()
            .unwrap()
            .contains("/nowhere/lost.toml can't be read"),
        "{lost}"
    );
    let mut good = client(&setup, "good");
    good.publish("good/good", "{\"v\":1}", ONCE);
    assert_eq!(kinds(&setup, "good"), ["reading"]);
}
