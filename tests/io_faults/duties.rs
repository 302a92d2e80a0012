//! What the disk is needed for, duty by duty: while it refuses one, `linli status` names it with the
//! reason and the remedy, all else goes on, the log gets one line at the start and one at the end, and
//! it heals without a hand.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use firmware_protocols::value::Key;
use firmware_protocols::{Kind, Value};
use reference_cloud::Config;
use simulator::device::{Deaf, Spec};
use simulator::{Device, Login, Tempo};

use crate::common::interposed::{Op, kind, read_trace};
use crate::common::{Setup, ident, text, wait_until};
use crate::gateway::Gateway;
use crate::life::{card, old_day_key, reading};
use crate::locker::Locker;
use crate::points::{EIO, ENOSPC, EROFS};

/// How long a refusal lasts in these tests, so that a log that floods is caught.
const LASTS: Duration = Duration::from_millis(2_500);

fn device(gateway: &Gateway, id: &str, password: Option<&str>) -> Device {
    let login = Login {
        device: ident(id),
        password: password.map(str::to_owned),
    };
    let spec = Spec::new(login, "duty");
    Device::start(spec, gateway.address(), Tempo::real(), Arc::new(Deaf))
}

async fn running(setup: Setup) -> Gateway {
    let gateway = Gateway::new(setup);
    gateway.start().await.expect("a start on a sound disk");
    gateway
}

/// A gateway with a cloud, and a locker that is online.
async fn with_locker() -> (Gateway, Locker) {
    let cloud = Arc::new(reference_cloud::serve(Config::in_memory()).await.unwrap());
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = running(setup).await;
    let locker = Locker::start(&cloud, &ident("test-site"), gateway.address()).await;
    locker.device.until_online().await;
    (gateway, locker)
}

fn linli(gateway: &Gateway, args: &[&str]) -> (bool, String) {
    let setup = gateway.setup.lock().unwrap();
    let out = tokio::task::block_in_place(|| setup.cli(args));
    let said = format!("{}{}", text(&out.stdout), text(&out.stderr));
    (
        out.status.success(),
        said.split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

/// Waits until the status names the duty; returns it.
async fn seen(gateway: &Gateway, duty: &str) -> serde_json::Value {
    wait_until(&format!("'{duty}' in the status"), async || {
        let status = gateway.status()?;
        Gateway::disk_troubles(&status)
            .contains(&duty.to_owned())
            .then_some(status)
    })
    .await
}

/// Takes the cause away, and waits for a clean status.
async fn heals(gateway: &Gateway) {
    gateway.faults.heal();
    let healed = Instant::now();
    wait_until("a clean status", async || {
        let status = gateway.status()?;
        Gateway::disk_troubles(&status).is_empty().then_some(())
    })
    .await;
    println!("clean again after {:?}", healed.elapsed());
}

/// One line when it began, one when it was over.
fn said_once(gateway: &Gateway, duty: &str) {
    let log = gateway.log();
    let mark = format!("duty={duty} ");
    let lines = |level: &str| {
        let lines = log.lines().filter(|line| line.contains(level));
        lines
            .filter(|line| format!("{line} ").contains(&mark))
            .count()
    };
    assert_eq!((lines(" ERROR "), lines(" INFO ")), (1, 1), "{duty}: {log}");
}

async fn all_taken(device: &Device) {
    wait_until("all events to be taken", async || {
        (device.waiting() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_that_can_not_be_moved_into_the_database_grows_and_is_seen() {
    let gateway = running(Setup::new()).await;
    let sensor = device(&gateway, "door-1", None);
    all_taken(&sensor).await;
    // Only a checkpoint truncates.
    gateway.faults.fail_all(kind::TRUNCATE, EIO);
    for _ in 0..130 {
        sensor.report(large_reading()).unwrap();
    }
    all_taken(&sensor).await;
    let status = seen(&gateway, "checkpoint").await;
    let log_bytes = status["journal"]["log_bytes"].as_u64().unwrap();
    assert!(log_bytes > 4 << 20, "{status}");
    let (_, said) = linli(&gateway, &["status"]);
    assert!(
        said.contains("The log can't be moved into the database since"),
        "{said}"
    );
    assert!(
        said.contains("MiB; beyond 256 MiB devices keep their events"),
        "{said}"
    );
    tokio::time::sleep(LASTS).await;
    heals(&gateway).await;
    said_once(&gateway, "Checkpoint");
    // Nothing of it was ever in the way of an event.
    assert!(!gateway.log().contains("duty=Writing"), "{}", gateway.log());
    assert_eq!(gateway.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_of_days_that_are_gone_are_destroyed_as_soon_as_they_can_be() {
    let mut setup = Setup::new();
    setup.more = "[retention]\naccess_days = 0\n".to_owned();
    let gateway = running(setup).await;
    assert_eq!(gateway.stop().await, 0);
    let key = {
        let setup = gateway.setup.lock().unwrap();
        old_day_key(&setup);
        setup.state().join("keys/day-1.key")
    };
    gateway.faults.fail_all(kind::NAME, EROFS);
    gateway.start().await.expect("a start that names nothing");
    seen(&gateway, "retention").await;
    // Written over before it is removed.
    assert_eq!(std::fs::read(&key).unwrap(), [0; 32]);
    let (_, said) = linli(&gateway, &["status"]);
    assert!(said.contains("Old events can't be removed since"), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    tokio::time::sleep(LASTS).await;
    heals(&gateway).await;
    assert!(!key.exists());
    said_once(&gateway, "Retention");
    assert_eq!(gateway.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_card_waits_with_its_device_while_the_key_of_the_day_can_not_be_made() {
    let gateway = running(Setup::new()).await;
    let reader = device(&gateway, "door-1", None);
    all_taken(&reader).await;
    gateway.faults.fail_all(kind::OPEN_WRITE, ENOSPC);
    let place = reader.report(card(1)).unwrap();
    seen(&gateway, "day-keys").await;
    assert!(reader.is_waiting(place));
    let (_, said) = linli(&gateway, &["status"]);
    assert!(
        said.contains("The day's key for cards and households can't be used since"),
        "{said}"
    );
    assert!(said.contains("No space left on device"), "{said}");
    tokio::time::sleep(LASTS).await;
    heals(&gateway).await;
    all_taken(&reader).await;
    said_once(&gateway, "DayKeys");
    assert_eq!(gateway.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn devices_log_in_with_the_passwords_from_before_while_the_file_can_not_be_read() {
    let mut setup = Setup::new();
    setup.with_password = vec!["door-1".to_owned()];
    let gateway = running(setup).await;
    let made = |gateway: &Gateway| {
        let setup = gateway.setup.lock().unwrap();
        let out = tokio::task::block_in_place(|| setup.cli(&["device", "password", "door-1"]));
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout).trim().to_owned()
    };
    let old = made(&gateway);
    let door = device(&gateway, "door-1", Some(&old));
    all_taken(&door).await;
    gateway.faults.fail_all(kind::OPEN_READ, EIO);
    let new = made(&gateway);
    door.cut().await;
    seen(&gateway, "passwords").await;
    door.until_online().await;
    door.report(reading(1)).unwrap();
    all_taken(&door).await;
    tokio::time::sleep(LASTS).await;
    heals(&gateway).await;
    said_once(&gateway, "Passwords");
    door.stop().await;
    // The new one holds from now on.
    let door = device(&gateway, "door-1", Some(&new));
    door.until_online().await;
    assert_eq!(gateway.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_for_the_cloud_waits_longer_while_it_can_not_be_read() {
    let (gateway, locker) = with_locker().await;
    gateway.faults.fail_all(kind::READ, EIO);
    locker.announce("p-1").await;
    seen(&gateway, "uplink").await;
    tokio::time::sleep(LASTS).await;
    heals(&gateway).await;
    said_once(&gateway, "Uplink");
    let never = AtomicBool::new(false);
    assert!(locker.bring("p-1", &never).await);
    assert!(locker.collect("p-1", &never).await);
    assert_eq!(gateway.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_disk_is_told_to_whoever_asks_and_nothing_opens() {
    let (gateway, locker) = with_locker().await;
    all_taken(&locker.device).await;
    let sensor = device(&gateway, "door-1", None);
    all_taken(&sensor).await;

    gateway.faults.fail_all(kind::ALL, EIO);
    let place = sensor.report(reading(1)).unwrap();
    seen(&gateway, "writing").await;
    let asked = Instant::now();
    let (answered, said) = linli(&gateway, &["status"]);
    assert!(
        answered && asked.elapsed() < Duration::from_secs(10),
        "{said}"
    );
    assert!(
        said.contains("Nothing can be written to the disk since"),
        "{said}"
    );
    assert!(
        said.contains("store not known: the store can't be read"),
        "{said}"
    );
    let (opened, said) = linli(
        &gateway,
        &["open", "bank-a/1", "--reason", "the disk is dead"],
    );
    assert!(
        !opened && said.contains("the gateway can't write to its disk"),
        "{said}"
    );
    let (listed, said) = linli(&gateway, &["parcels"]);
    assert!(
        !listed && said.contains("the store can't be read"),
        "{said}"
    );
    tokio::time::sleep(LASTS).await;
    assert!(sensor.is_waiting(place));
    assert_eq!(locker.opened(), 0);

    heals(&gateway).await;
    all_taken(&sensor).await;
    for duty in ["Writing", "Reading"] {
        said_once(&gateway, duty);
    }
    let (opened, said) = linli(&gateway, &["open", "bank-a/1", "--reason", "it is back"]);
    assert!(opened, "{said}");
    assert_eq!(locker.opened(), 1);
    assert_eq!(gateway.stop().await, 0);
}

/// Orderly, with what it couldn't do said in the log; the next start has it all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_stops_on_a_dead_disk_and_starts_again_on_a_sound_one() {
    let gateway = running(Setup::new()).await;
    let sensor = device(&gateway, "door-1", None);
    sensor.report(reading(1)).unwrap();
    all_taken(&sensor).await;
    gateway.faults.fail_all(kind::ALL, EIO);
    sensor.stop().await;
    assert_eq!(gateway.stop().await, 0);
    let log = gateway.log();
    assert!(
        log.contains("no checkpoint at the end; the next start does it"),
        "{log}"
    );
    assert!(!log.contains("panicked"), "{log}");
    let refused = gateway.start().await.unwrap_err();
    assert!(refused.contains("df -h"), "{refused}");
    gateway.faults.heal();
    gateway.start().await.expect("a start on a sound disk");
    let stored = gateway.setup.lock().unwrap().stored();
    for event in sensor.record() {
        assert!(stored.contains_key(&("door-1".to_owned(), event.boot, event.seq)));
    }
    assert_eq!(gateway.stop().await, 0);
}

/// SQLite falls back to reading when it can't open the store for writing, and stays with that: such a
/// start would refuse every event for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_opens_only_for_reading_is_refused_at_the_start() {
    let gateway = running(Setup::new()).await;
    assert_eq!(gateway.stop().await, 0);
    let log = gateway.setup.lock().unwrap().state().join("linli.db-wal");
    assert_eq!(
        log.metadata().map_or(0, |log| log.len()),
        0,
        "the stop empties the log"
    );
    // After the lock file's and the daemon's own look at the store come SQLite's: the store, its log.
    for call in [2, 3] {
        gateway.faults.set(kind::OPEN_WRITE, call, call + 1, EROFS);
        let said = gateway.start().await.unwrap_err();
        assert!(said.contains("linli.db can't be written"), "{said}");
    }
    gateway.start().await.expect("the next start");
    assert_eq!(gateway.stop().await, 0);
}

/// After a failed sync the page cache shows what the disk may not have. A daemon that starts on such a
/// log must not build on it: later commits would stand on frames that a power cut takes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_that_a_failed_sync_left_is_written_over_before_it_is_used() {
    use std::os::unix::fs::MetadataExt as _;
    let setup = Setup::new();
    let trace = setup.dir.path().join("trace");
    let log = setup.state().join("linli.db-wal");
    let gateway = Gateway::traced(setup, &trace);
    gateway.start().await.expect("a start on a sound disk");
    let sensor = device(&gateway, "door-1", None);
    all_taken(&sensor).await;
    gateway.faults.fail_all(kind::SYNC, EIO);
    let place = sensor.report(reading(1)).unwrap();
    seen(&gateway, "writing").await;
    assert!(sensor.is_waiting(place));
    gateway.kill();
    let (wal, before) = (log.metadata().unwrap().ino(), read_trace(&trace));
    let of_log = |op: &Op| match op {
        Op::Write { ino, offset, data } if *ino == wal => Some((*offset, data.len() as u64)),
        _ => None,
    };
    let synced = before.iter().rposition(|op| *op == Op::Sync { ino: wal });
    let unsure: Vec<_> = before[synced.unwrap()..]
        .iter()
        .filter_map(of_log)
        .collect();
    assert!(!unsure.is_empty(), "nothing was written that wasn't synced");

    gateway.faults.heal();
    gateway.start().await.expect("the start after it");
    let after = read_trace(&trace).split_off(before.len());
    let synced = after.iter().position(|op| *op == Op::Sync { ino: wal });
    let again: Vec<_> = after[..synced.unwrap()].iter().filter_map(of_log).collect();
    for (offset, len) in unsure {
        let covered = again
            .iter()
            .any(|(from, n)| *from <= offset && offset + len <= from + n);
        assert!(
            covered,
            "{len} bytes at {offset} aren't written again before the first sync: {again:?}"
        );
    }
    all_taken(&sensor).await;
    assert_eq!(gateway.stop().await, 0);
}

/// A hundred of these make a log that is due to be moved.
fn large_reading() -> Kind {
    let records = (0..200_i64).map(|n| {
        Value::Map(vec![
            (Key::Int(0), Value::Text(format!("meter-{n}"))),
            (Key::Int(3), Value::Text("x".repeat(200))),
        ])
    });
    Kind::Reading {
        senml: Value::Array(records.collect()),
    }
}
