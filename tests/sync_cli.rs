//! `linli sync` and its commands, by the real binary, with a real daemon and a real cloud: enrolled by a
//! typed token, tried step by step, cut off, restored from an old copy, its key changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Setup, ident, text, wait_until};
use firmware_protocols::Value;
use reference_cloud::{Cloud, Config};
use serde_json::{Value as Json, json};
use tokio::task::block_in_place;

const STEPS: [&str; 8] = [
    "name",
    "connection",
    "tls",
    "clock",
    "enrolment",
    "lanes",
    "uplink",
    "downlink",
];

/// A cloud that takes only tokens that it has issued.
async fn closed_cloud() -> Cloud {
    let closed = Config {
        open: false,
        ..Config::in_memory()
    };
    reference_cloud::serve(closed).await.unwrap()
}

fn expected(parcel: &str) -> Value {
    let item = format!(
        r#"{{"kind":"parcel.expected","parcel":"{parcel}","recipient":"r-1","size":"S",
            "zone":"ambient","point":"bank-a","deadline":4000000000000,"consent":true}}"#
    );
    Value::from_json(item.as_bytes()).unwrap()
}

async fn announce(cloud: &Cloud, setup: &Setup, parcel: &str) {
    let site = ident("test-site");
    cloud.push_value(&site, expected(parcel)).await.unwrap();
    wait_until("the cloud to have the code", async || {
        let codes = cloud.codes(&ident("test-site")).await.unwrap();
        let known = block_in_place(|| setup.cli(&["parcel", parcel]).status.success());
        (known && codes.contains_key(parcel)).then_some(())
    })
    .await;
}

/// The steps of `linli sync now --json`, and its exit code.
fn now(setup: &Setup) -> (Vec<Json>, Option<i32>) {
    let out = block_in_place(|| setup.cli(&["sync", "now", "--json"]));
    let steps = text(&out.stdout);
    let steps = steps
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (steps.collect(), out.status.code())
}

/// The words of a step that held.
fn held<'a>(steps: &'a [Json], name: &str) -> &'a str {
    let step = steps.iter().find(|step| step["step"] == name).unwrap();
    assert_eq!(step["held"], true, "{step}");
    step["told"].as_str().unwrap()
}

/// The last step, which didn't hold: its name, its words, what to do.
fn failed(steps: &[Json]) -> (&str, &str, &str) {
    let step = steps.iter().find(|step| step["held"] == false).unwrap();
    let word = |key: &str| step[key].as_str().unwrap_or_default();
    (word("step"), word("told"), word("remedy"))
}

fn run(setup: &Setup, args: &[&str]) -> Output {
    block_in_place(|| setup.cli(args))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_enrolled_by_a_typed_token_that_is_good_once() {
    let cloud = closed_cloud().await;
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    setup.token = false;
    setup.trace = true;
    let gateway = block_in_place(|| setup.start());
    wait_until("the status to say so", async || {
        let status = text(&run(&setup, &["status"]).stdout);
        status.contains("linli sync enrol").then_some(())
    })
    .await;
    assert_eq!(run(&setup, &["status", "--check"]).status.code(), Some(1));
    let shown = text(&run(&setup, &["sync"]).stdout);
    assert!(shown.contains("not enrolled: linli sync enrol"), "{shown}");
    let (steps, code) = now(&setup);
    let (step, _, remedy) = failed(&steps);
    assert_eq!((step, code), ("enrolment", Some(1)));
    assert!(remedy.contains("linli sync enrol"), "{remedy}");

    let wrong = "never-issued-7f3a";
    let out = block_in_place(|| setup.said(&["sync", "enrol"], wrong));
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(
        said.contains("get a fresh one from the cloud's operator"),
        "{said}"
    );

    let token = cloud.issue_token(&ident("test-site")).await.unwrap();
    let out = block_in_place(|| setup.said(&["sync", "enrol"], token.reveal()));
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(
        text(&out.stdout).contains("as test-site"),
        "{}",
        text(&out.stdout)
    );
    let sync = block_in_place(|| setup.json(&["sync"]));
    assert!(sync["cloud"]["enrolled_since_ms"].is_i64(), "{sync}");
    assert_eq!(sync["cloud"]["gateway"], "test-site");
    announce(&cloud, &setup, "p-1").await;

    let folder = setup.state().join("cloud");
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("gateway.key")), 0o600);
    let log = setup.log_text();
    for secret in [token.reveal(), wrong] {
        assert!(!log.contains(secret), "a token stands in the log");
    }
    block_in_place(|| gateway.stop());
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_told_and_what_does_not_hold_says_why() {
    let cloud = Arc::new(reference_cloud::serve(Config::in_memory()).await.unwrap());
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    // Spread so far that nothing of it would go by itself meanwhile.
    setup.more = "[cloud.line]\nspread_s = 86400\nmonthly_mib = 100\n".to_owned();
    let gateway = block_in_place(|| setup.start());
    announce(&cloud, &setup, "p-1").await;
    block_in_place(|| gateway.stop());
    // At a start the head of the history is told; it isn't urgent.
    let gateway = block_in_place(|| setup.start());

    let (steps, code) = now(&setup);
    let names: Vec<&str> = steps.iter().filter_map(|s| s["step"].as_str()).collect();
    assert_eq!((names.as_slice(), code), (&STEPS[..], Some(0)), "{steps:?}");
    assert_eq!(held(&steps, "name"), "127.0.0.1 needs no name server");
    assert!(held(&steps, "connection").starts_with("connected to 127.0.0.1:"));
    assert!(held(&steps, "tls").contains("on this machine"));
    assert!(held(&steps, "clock").contains("within two seconds"));
    assert!(held(&steps, "enrolment").contains("known as test-site"));
    assert!(held(&steps, "lanes").contains("fulfilment: the cloud has"));
    // It waits for its turn, but not for that of a technician.
    assert!(held(&steps, "uplink").contains("health"), "{steps:?}");
    assert!(held(&steps, "downlink").starts_with("nothing new"));
    let lanes = cloud.lanes(&ident("test-site")).await.unwrap().lanes;
    assert!(lanes.values().any(|lane| lane.last > 0), "{lanes:?}");

    let sync = block_in_place(|| setup.json(&["sync"]));
    let line = &sync["cloud"]["line"];
    assert_eq!(line["budget_bytes"], 100 << 20);
    let traffic = line["traffic"].as_array().unwrap();
    let sent = |what: &str| {
        let found = traffic.iter().find(|row| row["what"] == what).unwrap();
        found["start_sent"].as_u64().unwrap()
    };
    assert!(sent("health") > 0 && sent("downlink") > 0, "{line}");
    let shown = text(&run(&setup, &["sync"]).stdout);
    for part in ["as test-site since", "of 100.0 MiB this month", "MONTH UP"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    cloud.faults().set_reachable(false);
    let out = run(&setup, &["sync", "now"]);
    assert_eq!(out.status.code(), Some(1));
    let (told, said) = (text(&out.stdout), text(&out.stderr));
    assert!(
        told.contains("FAIL  connection  cannot connect to 127.0.0.1:"),
        "{told}"
    );
    assert!(said.contains("not all of it holds: connection"), "{said}");
    cloud.faults().set_reachable(true);
    let (steps, code) = now(&setup);
    assert_eq!(code, Some(0), "{steps:?}");
    block_in_place(|| gateway.stop());
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_store_is_noticed_and_begins_a_new_epoch_when_told_to() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let site = ident("test-site");
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = block_in_place(|| setup.start());
    announce(&cloud, &setup, "p-1").await;
    block_in_place(|| gateway.stop());
    let backup = setup.dir.path().join("backup");
    copy_files(&setup.state(), &backup);

    let gateway = block_in_place(|| setup.start());
    announce(&cloud, &setup, "p-2").await;
    block_in_place(|| gateway.stop());
    fs::remove_dir_all(setup.state()).unwrap();
    fs::rename(&backup, setup.state()).unwrap();

    // The backup knows nothing of p-2, and hears of it again; but its past isn't the cloud's.
    let gateway = block_in_place(|| setup.start());
    let (steps, code) = now(&setup);
    let (step, told, remedy) = failed(&steps);
    assert_eq!((step, code), ("lanes", Some(1)), "{steps:?}");
    assert!(told.contains("ahead") || told.contains("fork"), "{told}");
    assert!(remedy.contains("linli sync restored"), "{remedy}");

    let before = cloud.lanes(&site).await.unwrap().epoch;
    let unasked = run(&setup, &["sync", "restored"]);
    assert_eq!(unasked.status.code(), Some(2));
    assert_eq!(cloud.lanes(&site).await.unwrap().epoch, before);
    let done = block_in_place(|| setup.json(&["sync", "restored", "--yes"]));
    assert!(done["told"].as_str().unwrap().contains("epoch"), "{done}");
    // What was refused of the old epoch isn't said of the new one.
    let held = block_in_place(|| setup.json(&["sync"]))["cloud"]["held"].clone();
    assert_eq!(held.as_array().map_or(0, Vec::len), 0, "{held}");
    wait_until(
        "the cloud to have the new epoch, and both to agree",
        async || {
            let (epoch, known) = (cloud.lanes(&site).await.unwrap().epoch, before);
            let (steps, code) = now(&setup);
            (epoch > known && code == Some(0)).then_some(steps)
        },
    )
    .await;
    let parcels = block_in_place(|| setup.json(&["parcels"]));
    let here: Vec<&str> = parcels
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|parcel| parcel["parcel"].as_str())
        .collect();
    assert!(here.contains(&"p-1"), "{here:?}");
    for parcel in here {
        let view = cloud.parcel(&site, parcel).await.unwrap().unwrap();
        assert_eq!(view.state.map(|state| state.word()), Some("expected"));
    }
    block_in_place(|| gateway.stop());
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_cloud_told_before_the_gateway_came_arrives() {
    let site = ident("test-site");
    let first = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(first.url());
    let gateway = block_in_place(|| setup.start());
    for parcel in ["p-1", "p-2", "p-3"] {
        announce(&first, &setup, parcel).await;
    }
    block_in_place(|| gateway.stop());
    first.shutdown().await;

    let second = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let told = second.push_value(&site, expected("p-new")).await;
    assert_eq!(told.unwrap(), 1);
    setup.cloud = Some(second.url());
    let gateway = block_in_place(|| setup.start());
    wait_until("both to agree on all four", async || {
        let known = second.parcels(&site).await.unwrap();
        let expected = known.iter().filter(|parcel| parcel.state.is_some());
        (expected.count() == 4).then_some(())
    })
    .await;
    block_in_place(|| gateway.stop());
    second.shutdown().await;
}

/// Every file below a folder, with what is in it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_the_cloud_was_told_stands_in_no_file_of_either() {
    let site = ident("test-site");
    let kept = tempfile::tempdir().unwrap();
    let in_file = Config::in_file(kept.path().join("cloud.db"));
    let cloud = reference_cloud::serve(in_file).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = block_in_place(|| setup.start());
    for parcel in ["p-1", "p-2", "p-3"] {
        announce(&cloud, &setup, parcel).await;
    }
    let told = cloud.codes(&site).await.unwrap();
    let codes: Vec<&str> = told.values().map(|code| code.reveal()).collect();
    assert_eq!(codes.len(), 3);
    let holds = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    let none_in = |folder: &Path| {
        let found = files(folder);
        assert!(
            found.iter().any(|(_, bytes)| holds(bytes, "p-2")),
            "the search finds what is there"
        );
        for (path, bytes) in &found {
            for code in &codes {
                assert!(!holds(bytes, code), "a code in {}", path.display());
            }
        }
    };
    // While both run, with their logs; in a copy; and when both have ended.
    none_in(setup.dir.path());
    none_in(kept.path());
    copy_files(&setup.state(), &setup.dir.path().join("backup"));
    block_in_place(|| gateway.stop());
    cloud.shutdown().await;
    none_in(setup.dir.path());
    none_in(kept.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_without_a_gap() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = block_in_place(|| setup.start());
    announce(&cloud, &setup, "p-1").await;
    let key = setup.state().join("cloud").join("gateway.key");
    let old = fs::read(&key).unwrap();
    let done = block_in_place(|| setup.json(&["sync", "rotate-key"]));
    assert!(done["told"].as_str().unwrap().contains("new key"), "{done}");
    assert_ne!(fs::read(&key).unwrap(), old);
    assert_eq!(mode(&key), 0o600);
    assert!(!key.with_file_name("gateway.key.next").exists());
    announce(&cloud, &setup, "p-2").await;
    let (steps, code) = now(&setup);
    assert_eq!(code, Some(0), "{steps:?}");

    // With the cloud away it is begun, and ends by itself once the cloud is back.
    cloud.faults().set_reachable(false);
    let changed = fs::read(&key).unwrap();
    let out = run(&setup, &["sync", "rotate-key"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    let said = text(&out.stderr);
    assert!(
        said.contains("ends by itself once the cloud answers"),
        "{said}"
    );
    let sync = block_in_place(|| setup.json(&["sync"]));
    assert_eq!(sync["cloud"]["key_changing"], json!(true));
    cloud.faults().set_reachable(true);
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until && fs::read(&key).unwrap() == changed {
        // A technician need not wait for the pause.
        now(&setup);
    }
    wait_until("the change to be over", async || {
        (fs::read(&key).unwrap() != changed).then_some(())
    })
    .await;
    announce(&cloud, &setup, "p-3").await;
    block_in_place(|| gateway.stop());
    cloud.shutdown().await;
}

#[test]
fn what_the_configuration_may_not_say_is_said_before_anything_starts() {
    let mut setup = Setup::new();
    setup.cloud = Some("http://192.0.2.1".to_owned());
    setup.more = "[cloud.line]\nwait_s = 0\nmonth_starts = 31\n".to_owned();
    let mut child = setup.spawn();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let log = setup.log_text();
    for part in [
        "cloud.url: plain http is only for a cloud on this machine",
        "cloud.line.wait_s: is 0; 1 to 600 is allowed",
        "cloud.line.month_starts: is 31; 1 to 28 is allowed",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

/// Files and folders, but no sockets.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_files(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
