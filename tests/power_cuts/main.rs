//! Simulated power cuts under the real store code: 'acknowledged' means 'on disk'.
//!
//! A gateway below its links runs in a program of its own, with a world around it, while every change
//! of its files is recorded (`record.rs`). The recording is replayed on a disk that may lose whatever
//! wasn't synced (`disk.rs`: the fault model), the power is cut at many points, and the real start-up
//! runs on what is found, against what the world knew by then (`check.rs`). One of the cuts is where
//! the next recording begins, so that there are also cuts after cuts.
//!
//! * `cargo test --test power_cuts`: 2,000 cuts.
//! * `LINLI_CUTS=50000 cargo test --release --test power_cuts`: so many.
//! * `LINLI_SEED=7`: other ones. The gateway's threads and keys make each recording its own.
//! * `LINLI_CUT=seed:generation:n`: one that failed, from its recording, which was kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod campaign;
mod check;
mod cloud;
mod days;
mod disk;
mod disk_tests;
mod gateway;
#[path = "../common/interposed/mod.rs"]
mod interposed;
mod mark;
mod memory;
mod old_store;
mod record;
mod rng;
mod site;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use campaign::{Plan, Report};

const CUTS: u64 = 2_000;
const WEAKENED_CUTS: u64 = 100;
const NAME: &str = "power_cuts";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [work, order] = arguments.as_slice()
        && work == "work"
    {
        record::work(Path::new(order));
        return ExitCode::SUCCESS;
    }
    // As `cargo test` calls its tests.
    let filter = arguments.iter().find(|word| !word.starts_with('-'));
    if arguments.iter().any(|word| word == "--list")
        || filter.is_some_and(|f| !NAME.contains(f.as_str()))
    {
        return ExitCode::SUCCESS;
    }
    disk_tests::all();
    let scratch = Scratch::new();
    let keep = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(NAME);
    if let Ok(which) = std::env::var("LINLI_CUT") {
        return repeat(&which, &scratch, &keep);
    }
    let plan = Plan {
        seed: number("LINLI_SEED").unwrap_or(1),
        cuts: number("LINLI_CUTS").unwrap_or(CUTS),
        weakness: None,
    };
    let began = Instant::now();
    let mut whole = campaign::first_start(&plan, &scratch.0, &keep);
    whole.add(campaign::run(&plan, &scratch.0, &keep));
    if !ended_well(&plan, &whole, began) {
        return ExitCode::FAILURE;
    }
    let mut found = true;
    for weakness in ["sync-off", "ack-first"] {
        found &= is_found(weakness, plan.seed, &scratch, &keep);
    }
    match found {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Says what came of the cuts, and whether all was well.
fn ended_well(plan: &Plan, report: &Report, began: Instant) -> bool {
    for (generation, n, what) in report.failed.iter().take(10) {
        let seed = plan.seed;
        println!("cut {n} of generation {generation}: {what}");
        println!("  again: LINLI_CUT={seed}:{generation}:{n} cargo test --test {NAME}");
    }
    let Report {
        cuts,
        generations,
        operations,
        acknowledged,
        lossy,
        in_start_up,
        starts,
        stops,
        days_destroyed,
        tally,
        failed,
    } = report;
    println!(
        "{NAME}: {cuts} cuts in {generations} generations, {} s: {operations} operations recorded, \
         {starts} starts, {stops} orderly stops, {days_destroyed} day keys destroyed, {acknowledged} \
         events acknowledged; {lossy} cuts lost something that wasn't synced, \
         {in_start_up} fell into a start-up; checked: {} acknowledged events, {} sent again, {} \
         commands, {} live and {} used codes, {} items of the uplink; {} cuts failed",
        began.elapsed().as_secs(),
        tally.events,
        tally.sent_again,
        tally.commands,
        tally.live_codes,
        tally.dead_codes,
        tally.uplink_items,
        failed.len(),
    );
    failed.is_empty()
}

/// A gateway that doesn't keep a promise: its loss must be found, or the cuts prove nothing.
fn is_found(weakness: &str, seed: u64, scratch: &Scratch, keep: &Path) -> bool {
    let plan = Plan {
        seed,
        cuts: WEAKENED_CUTS,
        weakness: Some(weakness.to_owned()),
    };
    let report = campaign::run(&plan, &scratch.0, &keep.join(weakness));
    let lost = |what: &String| what.contains("acknowledged, and is gone");
    let found: Vec<_> = report.failed.iter().map(|(_, _, what)| what).collect();
    match found.iter().find(|what| lost(what)) {
        Some(what) => println!(
            "{NAME}: with {weakness}, {} of {} cuts show the loss: {what}",
            found.len(),
            report.cuts
        ),
        None => println!("{NAME}: with {weakness} no loss was found: the cuts prove nothing"),
    }
    found.iter().any(|what| lost(what))
}

/// One cut again, from its recording.
fn repeat(which: &str, scratch: &Scratch, keep: &Path) -> ExitCode {
    let parts: Vec<u64> = which
        .split(':')
        .filter_map(|part| part.parse().ok())
        .collect();
    let [seed, generation, n] = parts[..] else {
        println!("LINLI_CUT is seed:generation:n");
        return ExitCode::FAILURE;
    };
    let plan = Plan {
        seed,
        cuts: 1,
        weakness: None,
    };
    let report = campaign::repeat(&plan, generation, n, &scratch.0, keep);
    match ended_well(&plan, &report, Instant::now()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}: '{text}' isn't a number")))
}

/// A folder in memory if there is one: nothing here needs a real disk.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let below = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let folder = below.join(format!("linli-{NAME}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the cuts");
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
