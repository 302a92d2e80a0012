//! A new configuration, taken over by the running daemon: who stays keeps the connection, what differs
//! holds, and an invalid file changes nothing.
//!
//! * `client` — devices that never connect twice.
//! * `hand_over` — parcels and their codes in the middle of a reload.
//! * `ways` — the cloud, and somebody else's broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/controller.rs"]
mod controller;
mod hand_over;
mod ways;

use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::Client;
use common::{Gateway, Setup, text, wait_for};
use controller::Controller as _;
use serde_json::Value;
use tokio::task::block_in_place;

/// Writes the configuration as it is set up, with the port that the daemon was started with.
fn write(setup: &mut Setup) {
    let port = std::mem::replace(&mut setup.port, 0);
    setup.write_config();
    setup.port = port;
}

/// Starts it.
fn start(setup: &mut Setup) -> Gateway {
    block_in_place(|| setup.start())
}

/// `linli config reload`.
fn reload(setup: &Setup) -> Output {
    block_in_place(|| setup.cli(&["config", "reload"]))
}

/// The same, which succeeds; what it says.
fn reloaded(setup: &mut Setup) -> String {
    write(setup);
    let out = reload(setup);
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stdout)
}

fn status(setup: &Setup) -> Value {
    block_in_place(|| setup.json(&["status"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_keeps_the_connection_who_comes_logs_in_and_who_goes_is_dropped() {
    let mut setup = Setup::new();
    let _gateway = start(&mut setup);
    let broker = setup.address();
    let mut stays = Client::connect(broker, "door-1").await.unwrap();
    let goes = Client::connect(broker, "door-2").await.unwrap();
    stays.is_heard().await;
    assert!(Client::connect(broker, "door-9").await.is_none());

    setup.devices.retain(|device| device != "door-2");
    setup.devices.push("door-9".to_owned());
    let said = reloaded(&mut setup);
    assert!(said.contains("device new: door-9"), "{said}");
    assert!(said.contains("device gone: door-2"), "{said}");
    goes.is_dropped().await;
    assert!(Client::connect(broker, "door-2").await.is_none());
    let mut comes = Client::connect(broker, "door-9").await.unwrap();
    comes.is_heard().await;
    stays.is_heard().await;

    let now = status(&setup);
    assert_eq!(now["links"]["connected"], 2, "{now}");
    let devices = block_in_place(|| setup.json(&["devices"]));
    let role = |id: &str| {
        let all = devices.as_array().unwrap().iter();
        let mut found = all.filter(|device| device["device"] == id);
        found.next().map(|device| device["role"].to_string())
    };
    assert_eq!(role("door-9").as_deref(), Some("\"device\""));
    assert_eq!(role("door-2"), None, "it never said anything");
    let configuration = &now["configuration"];
    assert!(configuration["by"].is_string(), "{configuration}");
    assert!(configuration["refused"].is_null(), "{configuration}");
    assert_eq!(
        reloaded(&mut setup).trim(),
        "The configuration is as it was: nothing has changed."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_file_changes_nothing_and_is_told_until_a_good_one_comes() {
    let mut setup = Setup::new();
    let _gateway = start(&mut setup);
    let mut door = Client::connect(setup.address(), "door-1").await.unwrap();
    let good = fs::read_to_string(setup.config()).unwrap();
    let wrong = "[[device]]\nid = \"door-9\"\nbuilding = \"nowhere\"\n\
                 [[device]]\nid = \"door-1\"\nbuilding = \"b1\"\n";
    for bad in [format!("{good}{wrong}"), format!("{good}\n[[[")] {
        fs::write(setup.config(), &bad).unwrap();
        let out = reload(&setup);
        assert_eq!(out.status.code(), Some(1));
        let said = text(&out.stderr);
        assert!(
            said.contains("was refused, and nothing has changed"),
            "{said}"
        );
        if bad.contains("nowhere") {
            assert!(said.contains("'nowhere'"), "{said}");
            assert!(said.contains("'door-1' names two"), "all faults: {said}");
        }
        let now = status(&setup);
        assert_eq!(now["health"], "attention", "{now}");
        let trouble = now["troubles"].as_array().unwrap().iter();
        let mut trouble = trouble.map(|trouble| trouble["trouble"].as_str().unwrap());
        assert!(trouble.any(|word| word == "configuration-refused"), "{now}");
        let shown = text(&block_in_place(|| setup.cli(&["status"])).stdout);
        assert!(
            shown.contains("The configuration was refused at"),
            "{shown}"
        );
        assert!(shown.contains("still holds"), "{shown}");
        assert!(Client::connect(setup.address(), "door-9").await.is_none());
        door.is_heard().await;
    }
    fs::write(setup.config(), &good).unwrap();
    let out = reload(&setup);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(status(&setup)["configuration"]["refused"].is_null());
    door.is_heard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_does_the_same_and_keys_that_need_a_restart_are_named() {
    let mut setup = Setup::new();
    let gateway = start(&mut setup);
    let mut stays = Client::connect(setup.address(), "door-1").await.unwrap();
    setup.devices.push("door-9".to_owned());
    setup.more = "[journal]\ngather_ms = 0\n".to_owned();
    write(&mut setup);
    let text = fs::read_to_string(setup.config()).unwrap();
    let text = text.replace("\"test-site\"", "\"another-site\"");
    fs::write(setup.config(), text).unwrap();
    let pid = gateway.pid().to_string();
    let told = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
    assert!(told.success());
    let configuration = block_in_place(|| {
        wait_for("the configuration to be taken", || {
            let configuration = setup.json(&["status"])["configuration"].take();
            (configuration["by"] == "SIGHUP").then_some(configuration)
        })
    });
    assert_eq!(configuration["after_restart"][0], "site", "{configuration}");
    let mut comes = Client::connect(setup.address(), "door-9").await.unwrap();
    comes.is_heard().await;
    stays.is_heard().await;
    assert_eq!(status(&setup)["site"], "test-site");
    let shown = common::text(&block_in_place(|| setup.cli(&["status"])).stdout);
    assert!(
        shown.contains("by SIGHUP; after a restart: site"),
        "{shown}"
    );
    block_in_place(|| gateway.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_room_follow_and_a_password_is_asked_at_the_next_login() {
    let mut setup = Setup::new();
    let _gateway = start(&mut setup);
    let mut door = Client::connect(setup.address(), "door-1").await.unwrap();
    setup.with_password.push("door-1".to_owned());
    setup.more = "[limits]\nevents_per_s = 1000\n".to_owned();
    write(&mut setup);
    let text = fs::read_to_string(setup.config()).unwrap();
    let text = text.replacen("anonymous =", "max_connections = 1\nanonymous =", 1);
    fs::write(setup.config(), text).unwrap();
    let out = reload(&setup);
    let said = common::text(&out.stdout);
    for told in ["limits", "broker.anonymous", "broker.max_connections"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    door.is_heard().await;
    assert!(Client::connect(setup.address(), "door-2").await.is_none());
    assert!(Client::connect(setup.address(), "door-1").await.is_none());
    door.is_heard().await;
    setup.more.clear();
    reloaded(&mut setup);
    assert!(Client::connect(setup.address(), "door-2").await.is_some());
}

/// Twenty devices publish as fast as they are answered while devices come and go fifty times.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_reloads_under_load_lose_no_event_and_no_connection() {
    const RELOADS: usize = 50;
    let mut setup = Setup::new();
    setup.devices = (1..=20).map(|n| format!("door-{n}")).collect();
    let gateway = start(&mut setup);
    let over = Arc::new(AtomicBool::new(false));
    let mut loads = Vec::new();
    for device in setup.devices.clone() {
        let mut client = Client::connect(setup.address(), &device).await.unwrap();
        let over = Arc::clone(&over);
        loads.push(tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                client.publish().await;
                client.until_at_most(8).await;
            }
            client.settle().await;
            (device, client.acknowledged())
        }));
    }
    // By the signal, as fast as they are taken: it is one process less than the command line.
    let pid = gateway.pid().to_string();
    let before = text(&fs::read(setup.dir.path().join("log")).unwrap());
    let taken = |log: &str| log.matches("a new configuration was taken").count();
    let begun = taken(&before);
    for n in 0..RELOADS {
        setup.devices.retain(|device| !device.starts_with("extra-"));
        setup.devices.push(format!("extra-{n}"));
        write(&mut setup);
        Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        let log = || fs::read_to_string(setup.dir.path().join("log")).unwrap();
        block_in_place(|| {
            wait_for("the reload", || (taken(&log()) > begun + n).then_some(()));
        });
    }
    over.store(true, Ordering::SeqCst);
    let stored = |setup: &Setup| block_in_place(|| setup.stored());
    let mut published = 0;
    let mut acknowledged = Vec::new();
    for load in loads {
        acknowledged.push(load.await.unwrap());
    }
    let stored = stored(&setup);
    for (device, count) in acknowledged {
        published += count;
        for seq in 1..=count {
            let key = (device.clone(), 1, seq);
            assert_eq!(stored.get(&key), Some(&1), "{key:?}");
        }
    }
    assert!(published > 20 * RELOADS as u64, "a load: {published}");
    let newest = Client::connect(setup.address(), &format!("extra-{}", RELOADS - 1)).await;
    assert!(newest.is_some());
    assert!(Client::connect(setup.address(), "extra-0").await.is_none());
    block_in_place(|| gateway.stop());
}
