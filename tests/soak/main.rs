//! The soak: the real daemon for as long as one likes, with all faults on, and everything reconciled
//! at the end.
//!
//! **What goes on.** Some forty devices say 200 events a second in all over real MQTT, and keep what
//! isn't acknowledged. Couriers bring parcels to three banks and a desk, residents fetch them, some
//! are cancelled and taken back ([`town`]). The technician asks the command line all the time
//! ([`technician`]). Meanwhile one fault follows the other ([`faults`]): `kill -9` and SIGTERM; syncs
//! that fail, a full disk, a read-only one, single calls that fail; a cloud that is away, silent,
//! slow, unwell, resets, loses its answers or halves them; device connections cut at random or all at
//! once; a flood from one device, 200 connections that say nothing, a bank's cable that is out.
//!
//! **What must hold** at the end, with the faults off ([`check`]): each event that was acknowledged
//! is stored exactly once, and all that was sent is stored or in quarantine; each parcel is in one
//! state, on which gateway, cloud and people agree; no door opened without a command that somebody's
//! gesture had caused, none twice, and nobody was let in to what isn't his; the cloud has each item
//! once, on the gateway's chain; the history verifies; the status is clean in a stated time; memory,
//! descriptors, store and write-ahead log stayed bounded ([`watch`]).
//!
//! | variable | what |
//! |---|---|
//! | `LINLI_SOAK_MINUTES` | how long the faults go on; without it a short form: each kind once |
//! | `LINLI_SOAK_SEED` | decides faults and people; what the machine's timing decides it doesn't |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
#[path = "../common/mod.rs"]
mod common;
mod courier;
mod devices;
mod faults;
#[path = "../common/interposed/mod.rs"]
mod interposed;
mod resident;
mod site;
mod staff;
mod technician;
mod town;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud_protocol::badge_digest;
use cloud_protocol::downlink::{Downlink, Proof};
use simulator::Random;
use tempfile::TempDir;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{sleep, timeout};

use check::Store;
use devices::{Field, Flooder, Sloppy};
use faults::{Done, Pace, Tools};
use site::{FLOODER, SLOPPY, Site, site};
use technician::Asked;
use town::{NEXT_CENTURY_MS, Town, value};
use watch::{Stretch, Watch};

/// How soon after the last fault the status must be clean.
const CLEAN_WITHIN: Duration = Duration::from_secs(60);
/// How soon after the last fault people must be done, and everything must have arrived.
const DONE_WITHIN: Duration = Duration::from_secs(120);
/// The write-ahead log is checkpointed at 16 MiB under load; while the disk fails it waits for that.
const LOG_MAX_BYTES: u64 = 48 * 1024 * 1024;
/// Of the store, for each event, with what parcels and lanes take.
const STORE_BYTES_PER_EVENT: u64 = 600;
const STORE_SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// How long it goes on, and what decides it.
struct Plan {
    minutes: Option<f64>,
    seed: u64,
    pace: Pace,
}

impl Plan {
    fn of_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<f64>().ok();
        let minutes = number("LINLI_SOAK_MINUTES");
        let seed = std::env::var("LINLI_SOAK_SEED").ok();
        let pace = match minutes {
            None => Pace {
                length: None,
                no_restart_from: Duration::MAX,
                fault_ms: (250, 700),
                calm_ms: (80, 250),
            },
            Some(minutes) => {
                let length = Duration::from_secs_f64(minutes * 60.0);
                // An hour has more than a quarter of an hour without a restart.
                let watched = length.mul_f64(0.3).min(Duration::from_secs(18 * 60));
                Pace {
                    length: Some(length),
                    no_restart_from: length - watched,
                    fault_ms: (2_000, 9_000),
                    calm_ms: (1_500, 6_000),
                }
            }
        };
        Self {
            minutes,
            seed: seed.and_then(|seed| seed.parse().ok()).unwrap_or(1),
            pace,
        }
    }

    fn command(&self) -> String {
        let minutes = self.minutes.map(|m| format!("LINLI_SOAK_MINUTES={m} "));
        let minutes = minutes.unwrap_or_default();
        let seed = self.seed;
        format!("{minutes}LINLI_SOAK_SEED={seed} cargo test --test soak -- --nocapture")
    }
}

/// Says how to repeat it, and keeps the folder, unless all went well.
struct Evidence {
    dir: Option<TempDir>,
    plan: Plan,
}

impl Evidence {
    fn path(&self) -> PathBuf {
        self.dir.as_ref().unwrap().path().to_path_buf()
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take().filter(|_| std::thread::panicking()) {
            println!(
                "kept in {}; again: {}",
                dir.keep().display(),
                self.plan.command()
            );
        }
    }
}

#[test]
fn an_hour_with_all_faults_on_and_everything_reconciled_at_the_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let evidence = Evidence {
        dir: Some(tempfile::tempdir().unwrap()),
        plan: Plan::of_environment(),
    };
    println!("seed {}: {}", evidence.plan.seed, evidence.plan.command());
    runtime.block_on(soak(&evidence.plan, &evidence.path()));
}

/// Everything that goes on beside the faults.
struct Life {
    town: Arc<Town>,
    field: Arc<Field>,
    flooder: Arc<Flooder>,
    watch: Arc<Watch>,
    sloppy: JoinHandle<Sloppy>,
    asked: JoinHandle<Asked>,
    people: Vec<JoinHandle<()>>,
    begun: Instant,
}

async fn soak(plan: &Plan, dir: &Path) {
    let life = begin(plan, dir).await;
    let tools = Tools {
        town: Arc::clone(&life.town),
        field: Arc::clone(&life.field),
        flooder: Arc::clone(&life.flooder),
        begun: life.begun,
    };
    let done = tools
        .play(plan.pace, Random::new(plan.seed).fork("faults"))
        .await;
    drop(tools);
    println!(
        "  {:7.1} s  no more faults",
        life.begun.elapsed().as_secs_f64()
    );
    end(plan, life, done).await;
}

async fn begin(plan: &Plan, dir: &Path) -> Life {
    let random = Random::new(plan.seed);
    let begun = Instant::now();
    let site = Arc::new(Site::set_up(dir).await);
    let courier = Downlink::Courier {
        courier: "sf-22".to_string(),
        proof: Proof::Badge(badge_digest(courier::BADGE)),
        valid_until: NEXT_CENTURY_MS,
    };
    site.cloud.push(&site::site(), &courier).await.unwrap();
    let field = Arc::new(Field::start(&site, dir));
    let sloppy = Sloppy::start(&site);
    let town = Arc::new(Town::new(Arc::clone(&site)));
    let short = plan.minutes.is_none();
    let pause = Duration::from_millis(if short { 250 } else { 1_200 });
    let mut people = vec![
        tokio::spawn(Arc::clone(&town).announce(pause, random.fork("cloud"))),
        tokio::spawn(Arc::clone(&town).carry_post()),
        tokio::spawn(staff::look_after(Arc::clone(&town))),
        tokio::spawn(courier::serve_desk(Arc::clone(&town), random.fork("desk"))),
    ];
    for bank in town.banks.values() {
        let random = random.fork(bank.id().as_str());
        let serving = courier::serve_bank(Arc::clone(&town), Arc::clone(bank), random);
        people.push(tokio::spawn(serving));
    }
    let watch = Arc::new(Watch::default());
    let every = Duration::from_millis(if short { 500 } else { 10_000 });
    people.push(tokio::spawn(Arc::clone(&watch).look(
        Arc::clone(&town),
        begun,
        every,
    )));
    let pause = Duration::from_millis(if short { 150 } else { 500 });
    let asking = technician::ask(Arc::clone(&town), pause, random.fork("technician"));
    Life {
        asked: tokio::spawn(asking),
        sloppy: tokio::spawn(sloppy.speak(Arc::clone(&town))),
        flooder: Arc::new(Flooder::new(dir)),
        town,
        field,
        watch,
        people,
        begun,
    }
}

/// Faults are off: people finish, devices get rid of what they have, and the books are compared.
async fn end(plan: &Plan, life: Life, done: Done) {
    let Life {
        town,
        field,
        flooder,
        watch,
        sloppy,
        asked,
        people,
        begun,
    } = life;
    let over = Instant::now();
    town.close(false);
    let clean = clean_status(&town, over).await;
    wait_for_couriers(&town, over).await;
    let field_record = field.record.clone();
    let published = field.published();
    let field = Arc::into_inner(field).expect("nobody else looks at it");
    let sent = field.finish().await;
    let sloppy = sloppy.await.unwrap();
    everything_arrived(&town, &sloppy, over).await;
    let drained = over.elapsed();
    town.close(true);
    for one in people {
        if timeout(DONE_WITHIN, one).await.is_err() {
            town.fails("somebody didn't go home".to_string());
        }
    }
    let asked = asked.await.unwrap();
    verify(&town);
    for bank in town.banks.values() {
        bank.device().stop().await;
    }
    town.desk.device().stop().await;
    sloppy.device.stop().await;
    if let Err(why) = block_in_place(|| town.site.stop()) {
        town.fails(why);
    }
    town.site.cloud.shutdown().await;

    let (gateway, cloud) = (
        Store::open(&town.site.store()),
        Store::open(&town.site.clouds_store()),
    );
    let records = [field_record.as_path(), flooder.record.as_path()];
    let (events, wrong_events) = check::events::check(&gateway, &town, &sloppy, records);
    let (states, wrong_parcels) = check::parcels::check(&gateway, &cloud, &town);
    let (commands, wrong_commands) = check::commands::check(&gateway, &town);
    let wrong_lanes = check::lanes::check(&gateway, &cloud);
    let mut wrong = town.failures();
    wrong.extend(check::integrity([&gateway, &cloud]));
    wrong.extend([wrong_events, wrong_parcels, wrong_commands, wrong_lanes].concat());
    wrong.extend(bounded(plan, &watch, events.stored));
    wrong.extend(quiet_log(&town));
    let floods = flooder.sent.lock().unwrap();
    if sent.acknowledged != sent.published || sent.refused + floods.refused > 0 {
        let all = (
            sent.published,
            sent.acknowledged,
            sent.refused,
            floods.refused,
        );
        wrong.push(format!(
            "published, acknowledged, refused, in floods: {all:?}"
        ));
    }
    if floods.acknowledged != floods.published {
        let all = (floods.published, floods.acknowledged);
        wrong.push(format!("in floods published, acknowledged: {all:?}"));
    }

    let counts = &town.counts;
    println!(
        "\n{:.1} minutes with {} faults: {:?}",
        begun.elapsed().as_secs_f64() / 60.0,
        done.by_kind.values().sum::<u64>(),
        done.by_kind
    );
    println!(
        "events: {} sent at {:.0}/s and {} in floods, {} acknowledged, {} stored, {} duplicate, {} in quarantine, {} sent again, {} connections lost",
        published,
        sent.published as f64 / begun.elapsed().as_secs_f64(),
        floods.published,
        sent.acknowledged + floods.acknowledged,
        events.stored,
        events.duplicate,
        events.quarantined,
        sent.resent + floods.resent,
        sent.lost + floods.lost,
    );
    println!(
        "parcels: {} announced, {} brought, {} fetched, {} taken back, now {states:?}; {} late doors, {} silences, {} fetched by hand, {} handed out and {} ended by the staff",
        town.parcels().len(),
        value(&counts.brought),
        value(&counts.fetched),
        value(&counts.taken_back),
        value(&counts.late_doors),
        value(&counts.silences),
        value(&counts.mislaid),
        value(&counts.handed_by_staff),
        value(&counts.ended_by_staff),
    );
    println!(
        "commands: {} in the ledger, {} doors opened, {} of them by banks alone; {} restarts; slowest recovery {:?}; status clean after {clean:?}, drained after {drained:?}",
        commands.commands,
        commands.openings,
        commands.by_banks,
        done.restarts,
        done.slowest_recovery,
    );
    println!(
        "technician: {} answers, {} reasons why not, slowest {:?}: {:#?}",
        asked.answered, asked.said_why, asked.slowest, asked.whys
    );
    if let Some(stretch) = Stretch::longest(&watch.samples()) {
        println!(
            "longest life {:?}: memory {} KiB at first, {} KiB at last; descriptors {:?}",
            stretch.length, stretch.memory_kib.0, stretch.memory_kib.1, stretch.descriptors
        );
    }
    assert!(
        town.parcels().len() > 10 && value(&counts.fetched) > 3,
        "nothing went on"
    );
    assert!(
        wrong.is_empty(),
        "{} things don't hold:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("everything agrees");
    let compare = |gateway: &Store, cloud: &Store| {
        let all = [
            check::events::check(gateway, &town, &sloppy, records).1,
            check::parcels::check(gateway, cloud, &town).1,
            check::commands::check(gateway, &town).1,
            check::lanes::check(gateway, cloud),
        ];
        all.concat()
    };
    // Of a long run the stores are large, and the short one has shown it.
    if plan.minutes.is_none() {
        let (gateway, cloud) = (town.site.store(), town.site.clouds_store());
        let unnoticed =
            check::damaged::goes_unnoticed(&town.site.state(), &gateway, &cloud, compare);
        assert!(unnoticed.is_empty(), "{unnoticed:?}");
    }
}

/// Waits until the status is clean but for what is so on purpose.
async fn clean_status(town: &Town, over: Instant) -> Duration {
    loop {
        let said = block_in_place(|| town.site.linli(&["status", "--json"]));
        let status: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        let troubles = status["troubles"].as_array().cloned().unwrap_or_default();
        let wrong: Vec<_> = troubles.iter().filter(|t| !is_on_purpose(t)).collect();
        if said.ok && status["health"].is_string() && wrong.is_empty() {
            return over.elapsed();
        }
        if over.elapsed() > CLEAN_WITHIN {
            town.fails(format!("the status isn't clean: {wrong:?} {}", said.err));
            return over.elapsed();
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// The flooder is away between floods; parcels are cancelled too late; what was cancelled waits for a
/// courier, and doors are open while people are at them.
fn is_on_purpose(trouble: &serde_json::Value) -> bool {
    match trouble["trouble"].as_str().unwrap_or_default() {
        "devices-offline" => {
            let devices = trouble["devices"].as_array().unwrap().iter();
            devices.into_iter().all(|d| d == FLOODER || d == SLOPPY)
        }
        "cloud-refused" | "parcels-go-back" | "keypads-locked" | "desks-locked" => true,
        _ => false,
    }
}

async fn wait_for_couriers(town: &Town, over: Instant) {
    loop {
        let work = town.couriers_work();
        if work.is_empty() {
            return;
        }
        if over.elapsed() > DONE_WITHIN {
            town.fails(format!("couriers aren't done: {work:#?}"));
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until no point has anything to send, and nothing waits for the cloud.
async fn everything_arrived(town: &Town, sloppy: &Sloppy, over: Instant) {
    loop {
        let points = town.banks.values().map(|bank| bank.device().waiting());
        let waiting =
            points.sum::<usize>() + town.desk.device().waiting() + sloppy.device.waiting();
        let said = block_in_place(|| town.site.linli(&["sync", "--json"]));
        let sync: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        let lanes = sync["lanes"].as_array().cloned().unwrap_or_default();
        let backlog: u64 = lanes
            .iter()
            .filter_map(|lane| lane["waiting"].as_u64())
            .sum();
        let heard = sync["cloud"]["downlink_cursor"].as_u64();
        let said_last = town.site.cloud.lanes(&site()).await.unwrap().downlink_last;
        if waiting == 0 && backlog == 0 && !lanes.is_empty() && heard == Some(said_last) {
            return;
        }
        if over.elapsed() > 2 * DONE_WITHIN {
            town.fails(format!("not everything arrived: {waiting} events, {sync}"));
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// The history, by the daemon's own word.
fn verify(town: &Town) {
    let said = block_in_place(|| town.site.linli(&["audit", "verify", "--json"]));
    let history: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
    if history["unbroken"] != true {
        town.fails(format!(
            "the history doesn't verify: {}{}",
            said.out, said.err
        ));
    }
}

/// Memory and descriptors are flat, store and write-ahead log within their bounds.
fn bounded(plan: &Plan, watch: &Watch, events: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let samples = watch.samples();
    let log = samples.iter().map(|s| s.log_bytes).max().unwrap_or(0);
    let store = samples.iter().map(|s| s.store_bytes).max().unwrap_or(0);
    println!(
        "largest: store {} KiB, its log {} KiB",
        store / 1024,
        log / 1024
    );
    if log > LOG_MAX_BYTES {
        wrong.push(format!("the store's log grew to {log} bytes"));
    }
    if store > events * STORE_BYTES_PER_EVENT + STORE_SPARE_BYTES {
        wrong.push(format!(
            "the store grew to {store} bytes with {events} events"
        ));
    }
    let stretch = Stretch::longest(&samples);
    let Some(stretch) = stretch.filter(|_| plan.minutes.is_some()) else {
        return wrong;
    };
    wrong.extend(stretch.growth());
    if plan.minutes >= Some(60.0) && stretch.length < Duration::from_secs(15 * 60) {
        wrong.push(format!("the longest life was only {:?}", stretch.length));
    }
    wrong
}

/// Nothing panicked, and no code that anybody was told stands in the log.
fn quiet_log(town: &Town) -> Vec<String> {
    let log = std::fs::read_to_string(town.site.log()).unwrap_or_default();
    let mut wrong = Vec::new();
    if log.contains("panicked") {
        wrong.push(format!("the daemon panicked: {}", town.site.tail()));
    }
    println!("the daemon's log: {} lines", log.lines().count());
    let codes = town.told_codes();
    // The first word of a line is its time, whose digits are no code.
    let said = log.lines().filter_map(|line| line.split_once(' '));
    let words = said.flat_map(|(_, said)| said.split(|c: char| !c.is_ascii_digit()));
    let words: BTreeSet<&str> = words.collect();
    let shown = codes
        .iter()
        .filter(|code| words.contains(code.as_str()))
        .count();
    if shown > 0 {
        wrong.push(format!("{shown} pickup codes stand in the log"));
    }
    wrong
}
