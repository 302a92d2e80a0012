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
mod finish;
mod orders;
mod resident;
mod site;
mod staff;
mod technician;
mod town;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud_protocol::badge_digest;
use cloud_protocol::downlink::{Downlink, Proof};
use simulator::Random;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use devices::{Field, Flooder, Sloppy};
use faults::{Pace, Tools};
use orders::NEXT_CENTURY_MS;
use site::Site;
use technician::Asked;
use town::Town;
use watch::Watch;

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
        let release = if self.minutes.is_some() {
            " --release"
        } else {
            ""
        };
        let seed = self.seed;
        format!("{minutes}LINLI_SOAK_SEED={seed} cargo test{release} --test soak -- --nocapture")
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
    finish::end(plan, life, done).await;
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
        tokio::spawn(orders::announce(
            Arc::clone(&town),
            pause,
            random.fork("cloud"),
        )),
        tokio::spawn(orders::carry_post(Arc::clone(&town))),
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
