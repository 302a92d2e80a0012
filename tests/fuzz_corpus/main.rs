//! The fuzz targets' corpus through the fuzz targets' properties, on stable Rust and without libFuzzer:
//! each file as it is, then damaged in random ways.
//!
//! Long: `LINLI_FUZZ_INPUTS=1000000 cargo test --release --test fuzz_corpus -- --nocapture`. `fuzz/run`
//! does it better, guided by coverage.
//!
//! The seeds are written again with `LINLI_WRITE_SEEDS=1 cargo test --test fuzz_corpus every_seed`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

#[path = "../../fuzz/src/gateway/mod.rs"]
mod gateway;
#[path = "../../fuzz/src/light/mod.rs"]
mod light;

mod damage;
mod largest;
mod seeds;

/// A target's name, which is also its corpus folder, and what takes its bytes.
type Target = (&'static str, fn(&[u8]));

/// How many damaged inputs each target gets, unless `LINLI_FUZZ_INPUTS` says otherwise.
const INPUTS: u64 = 5_000;

fn targets() -> impl Iterator<Item = &'static Target> {
    light::TARGETS.iter().chain(gateway::TARGETS)
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The files of a target, by name.
fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn holds(target: &Target, bytes: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| target.1(bytes))).is_ok()
}

#[test]
fn every_seed_and_everything_ever_found_holds() {
    let mut broken = Vec::new();
    let mut count = 0;
    for target in targets() {
        let files = files(target.0);
        assert!(files.len() >= 8, "{} has {} seeds", target.0, files.len());
        for (name, bytes) in files {
            count += 1;
            if !holds(target, &bytes) {
                broken.push(format!("fuzz/corpus/{}/{name}", target.0));
            }
        }
    }
    assert!(broken.is_empty(), "broken by: {broken:#?}");
    println!("{count} files hold");
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(targets().any(|(target, _)| *target == name), "{name}");
    }
}

/// Each target gets the same damaged inputs at every run of the same seed.
#[test]
fn damaged_seeds_hold() {
    let number = |name: &str, default| match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is '{text}', no number")),
        Err(_) => default,
    };
    let inputs = number("LINLI_FUZZ_INPUTS", INPUTS);
    let seed = number("LINLI_FUZZ_SEED", 1);
    let only = std::env::var("LINLI_FUZZ_TARGET").ok();
    let mut broken = Vec::new();
    for target in targets().filter(|target| only.as_ref().is_none_or(|only| only == target.0)) {
        let seeds: Vec<_> = files(target.0)
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect();
        let began = Instant::now();
        for n in 0..inputs {
            let bytes = damage::damaged(&seeds, seed, n);
            if !holds(target, &bytes) {
                let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{n}", target.0));
                fs::write(&file, bytes).unwrap();
                broken.push(format!(
                    "{0}: input {n} of seed {seed}. Repeat it: fuzz/run repeat {0} {1}, or \
                     LINLI_FUZZ_TARGET={0} LINLI_FUZZ_SEED={seed} cargo test --test fuzz_corpus damaged",
                    target.0,
                    file.display()
                ));
                break;
            }
        }
        let took = began.elapsed().as_secs_f64();
        println!(
            "{:<16} {inputs} damaged inputs of seed {seed} in {took:.1} s",
            target.0
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What is as large as may come, and built to be dear, costs no more than its size: growing eight
/// times it may take eight times the processor's time, and three times that would still pass here, but not
/// the 64 times of work that grows with the square.
#[test]
fn the_dearest_inputs_of_the_largest_size_are_read_in_time() {
    for (what, target, make, largest) in largest::ALL {
        let (_, read) = targets().find(|(name, _)| name == target).unwrap();
        let time = |size: usize| {
            let bytes = make(size);
            assert!(
                bytes.len() <= size && bytes.len() >= size / 2,
                "{what}: {}",
                bytes.len()
            );
            let took = (0..3).map(|_| {
                let began = processor_time();
                read(&bytes);
                processor_time() - began
            });
            took.min().unwrap()
        };
        let most = match cfg!(debug_assertions) {
            // As large as a device's payload at least: that is enough to tell one growth from another.
            true => (largest / 4).max(firmware_protocols::PAYLOAD_MAX_BYTES),
            false => *largest,
        };
        let (small, large) = (time(most / 8), time(most));
        println!("{what:<45} {most:>8} bytes: {large:>10.1?}, an eighth of it: {small:>10.1?}");
        let most = (small * 24).max(Duration::from_millis(100));
        assert!(
            large < most,
            "{what}: {small:?} for an eighth, {large:?} for all"
        );
    }
}

/// What this thread has used, so that it makes no difference who else is at work.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Every seed that can be written is in the corpus. `LINLI_WRITE_SEEDS=1` writes them there.
#[test]
fn the_corpus_holds_every_seed() {
    if std::env::var_os("LINLI_WRITE_SEEDS").is_some() {
        return seeds::write(&corpus());
    }
    let beside = tempfile::tempdir().unwrap();
    seeds::write(beside.path());
    let mut seen = 0;
    for target in fs::read_dir(beside.path()).unwrap() {
        let target = target.unwrap();
        for seed in fs::read_dir(target.path()).unwrap() {
            let name = seed.unwrap().file_name();
            let kept = corpus().join(target.file_name()).join(&name);
            assert!(kept.exists(), "{} isn't there", kept.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} seeds are few");
}
