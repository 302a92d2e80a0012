//! Every call that the daemon makes on its state folder fails: once, and for good until the cause is
//! taken away. The real `linli run`, a real MQTT client, the reference cloud, and a library between the
//! program and the C library's file calls.
//!
//! **The model.** Calls of a kind (open to read, open to write, read, write, truncate, sync, and names:
//! rename, remove, make a folder) are numbered over a whole life of the box: the first start on an empty
//! folder, devices, a parcel's deposit, `kill -9`, the next start, its collection, retention with the
//! destruction of a day's key, an orderly stop with its checkpoint. Number n fails, or all from number n
//! on. A call that fails does nothing. EIO for each kind; ENOSPC and EROFS for those that change
//! something.
//!
//! **What must hold.**
//! * The start either succeeds, or ends with exit code 1 and one message that names a file and what to
//!   do; the next start, once the cause is gone, succeeds.
//! * A daemon that runs doesn't end and doesn't panic.
//! * Nothing acknowledged is missing, nothing is stored twice, each device's ledger balances.
//! * No door is told to open by a command that isn't on disk, and by none twice.
//! * The parcel is collected, the cloud knows, the history is whole.
//! * `linli status` answers while it lasts, says so, and is clean again soon after.
//!
//! `LINLI_FAULTS=all` tries every number (hours), `LINLI_FAULTS=N` about N points, `LINLI_SEED` chooses
//! them, and `LINLI_FAULT=write:EIO:once:17` repeats one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod duties;
mod gateway;
mod life;
#[path = "../common/locker.rs"]
mod locker;
mod points;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use life::{Life, Lived};
use points::Point;

/// Lives at a time: most of one is waiting.
const AT_ONCE: usize = 6;
/// A life that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(240);

#[test]
fn every_call_fails_once_and_for_good() {
    let began = Instant::now();
    let points = match Point::asked_for() {
        Some(point) => vec![point],
        None => {
            let counts = live_all(points::clean());
            points::choose(
                &counts
                    .iter()
                    .map(|(_, lived)| lived.calls)
                    .collect::<Vec<_>>(),
            )
        }
    };
    let lives = live_all(points);
    let hit = lives.iter().filter(|(_, lived)| lived.hits > 0).count();
    let sum = |of: fn(&Lived) -> u64| lives.iter().map(|(_, lived)| of(lived)).sum::<u64>();
    let slowest = lives
        .iter()
        .filter_map(|(_, lived)| lived.clean_after)
        .max();
    println!(
        "{} points, {hit} hit a call: {} starts refused with a reason, seen in the status {} times, \
         status clean again at most {:?} after the cause was gone; {} events acknowledged and found, \
         {} doors opened; {:.0?}",
        lives.len(),
        sum(|lived| lived.refused),
        sum(|lived| u64::from(lived.seen)),
        slowest.unwrap_or(Duration::ZERO),
        sum(|lived| lived.acknowledged),
        sum(|lived| lived.opened),
        began.elapsed(),
    );
}

/// Lives them all, some at a time, each on a runtime of its own; a failure names the one that failed.
fn live_all(points: Vec<Point>) -> Vec<(Point, Lived)> {
    let left = Mutex::new(points.into_iter());
    let (lived, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(point) = left.lock().unwrap().next() else {
                        return;
                    };
                    let life = std::thread::Builder::new().name(point.to_string());
                    match life.spawn(move || live(point)).unwrap().join() {
                        Ok(life) => lived.lock().unwrap().push((point, life)),
                        Err(_) => failed.lock().unwrap().push(format!(
                            "LINLI_FAULT={point} cargo test --test io_faults every_call -- --nocapture"
                        )),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} failed; to repeat them:\n{}",
        failed.len(),
        failed.join("\n")
    );
    let mut lived = lived.into_inner().unwrap();
    lived.sort_by_key(|(point, _)| *point);
    lived
}

fn live(point: Point) -> Lived {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let life = tokio::time::timeout(LONGEST, Life::of(point)).await;
        life.unwrap_or_else(|_| panic!("{point}: it didn't end"))
    })
}
