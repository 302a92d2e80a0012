//! The end: faults are off, people finish, devices get rid of what they have, everything arrives; then
//! the books are compared, and the figures said.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::check::{self, Store, Wrong};
use crate::devices::{Sent, Sloppy};
use crate::faults::Done;
use crate::site::{FLOODER, SLOPPY, site};
use crate::technician::Asked;
use crate::town::{Town, value};
use crate::watch::{Stretch, Watch};
use crate::{Life, Plan};

/// How soon after the last fault the status must be clean.
const CLEAN_WITHIN: Duration = Duration::from_secs(60);
/// How soon after the last fault people must be done, and everything must have arrived.
const DONE_WITHIN: Duration = Duration::from_secs(120);
/// The write-ahead log is checkpointed at 16 MiB under load; while the disk fails it waits for that.
const LOG_MAX_BYTES: u64 = 48 * 1024 * 1024;
/// Of the store, for each event, with what parcels and lanes take.
const STORE_BYTES_PER_EVENT: u64 = 600;
const STORE_SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// Faults are off: people finish, devices get rid of what they have, and the books are compared.
pub async fn end(plan: &Plan, life: Life, done: Done) {
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
    let record = field.record.clone();
    let field = Arc::into_inner(field).expect("nobody else looks at it");
    let mut sent = field.finish().await;
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
    stop_all(&town, &sloppy).await;

    let gateway = Store::open(&town.site.store());
    let cloud = Store::open(&town.site.clouds_store());
    let books = Books {
        town: &town,
        sloppy: &sloppy,
        records: [&record, &flooder.record],
    };
    let compared = books.compare(&gateway, &cloud);
    let floods = flooder.sent.lock().unwrap();
    sent.floods = floods.published;
    sent.merge(&floods);
    let mut wrong = town.failures();
    wrong.extend(compared.wrong.clone());
    wrong.extend(check::integrity([&gateway, &cloud]));
    wrong.extend(bounded(plan, &watch, compared.events.stored));
    wrong.extend(quiet_log(&town));
    if sent.acknowledged != sent.published || sent.refused > 0 {
        wrong.push(format!("not everything was acknowledged: {sent:?}"));
    }
    say_faults(&done, begun.elapsed());
    say_figures(&town, &sent, &compared);
    println!(
        "slowest recovery {:?}; status clean after {clean:?}, drained after {drained:?}",
        done.slowest_recovery
    );
    say_asked(&asked);
    assert!(
        town.parcels().len() > 10 && value(&town.counts.fetched) > 3,
        "nothing went on"
    );
    let all = wrong.join("\n");
    assert!(
        wrong.is_empty(),
        "{} things don't hold:\n{all}",
        wrong.len()
    );
    println!("everything agrees");
    // Of a long run the stores are large, and the short one has shown it.
    if plan.minutes.is_none() {
        let compare = |gateway: &Store, cloud: &Store| books.compare(gateway, cloud).wrong;
        let (gateway, cloud) = (town.site.store(), town.site.clouds_store());
        let dir = town.site.state();
        let unnoticed = check::damaged::goes_unnoticed(&dir, &gateway, &cloud, compare);
        assert!(unnoticed.is_empty(), "{unnoticed:?}");
    }
}

/// What the two stores are held against.
struct Books<'a> {
    town: &'a Town,
    sloppy: &'a Sloppy,
    records: [&'a std::path::Path; 2],
}

/// What came of it.
struct Compared {
    events: check::events::Figures,
    states: check::parcels::States,
    commands: check::commands::Figures,
    wrong: Wrong,
}

impl Books<'_> {
    fn compare(&self, gateway: &Store, cloud: &Store) -> Compared {
        let (events, mut wrong) =
            check::events::check(gateway, self.town, self.sloppy, self.records);
        let (states, more) = check::parcels::check(gateway, cloud, self.town);
        wrong.extend(more);
        let (commands, more) = check::commands::check(gateway, self.town);
        wrong.extend(more);
        wrong.extend(check::lanes::check(gateway, cloud));
        Compared {
            events,
            states,
            commands,
            wrong,
        }
    }
}

fn say_faults(done: &Done, took: Duration) {
    println!(
        "\n{:.1} minutes with {} faults and {} restarts: {:?}",
        took.as_secs_f64() / 60.0,
        done.by_kind.values().sum::<u64>(),
        done.restarts,
        done.by_kind
    );
}

fn say_figures(town: &Town, sent: &Sent, compared: &Compared) {
    let Compared {
        events,
        states,
        commands,
        ..
    } = compared;
    println!(
        "events: {} sent, {} of them in floods, {} acknowledged; {} stored with those of the points, {} duplicate, {} in quarantine; {} sent again, {} connections lost",
        sent.published,
        sent.floods,
        sent.acknowledged,
        events.stored,
        events.duplicate,
        events.quarantined,
        sent.resent,
        sent.lost,
    );
    let counts = &town.counts;
    println!(
        "parcels: {} announced, {} brought, {} fetched, {} taken back, now {states:?}; {} late doors, {} silences; by the staff {} fetched, {} handed out, {} ended",
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
        "commands: {} in the ledger, {} doors opened, {} of them by banks alone",
        commands.commands, commands.openings, commands.by_banks,
    );
}

fn say_asked(asked: &Asked) {
    println!(
        "technician: {} answers, {} reasons why not, slowest {:?}: {:#?}",
        asked.answered, asked.said_why, asked.slowest, asked.whys
    );
}

async fn stop_all(town: &Town, sloppy: &Sloppy) {
    for bank in town.banks.values() {
        bank.device().stop().await;
    }
    town.desk.device().stop().await;
    sloppy.device.stop().await;
    if let Err(why) = block_in_place(|| town.site.stop()) {
        town.fails(why);
    }
    town.site.cloud.shutdown().await;
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
    if let Some(stretch) = &stretch {
        println!(
            "longest life {:.0} s: memory {} KiB at first, {} KiB at last; descriptors {:?}",
            stretch.length.as_secs_f64(),
            stretch.memory_kib.0,
            stretch.memory_kib.1,
            stretch.descriptors
        );
    }
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
