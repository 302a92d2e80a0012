//! What the daemon takes of the box: memory and descriptors of its process, the size of its store and
//! of the store's write-ahead log, sampled as it runs.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::town::Town;

/// Memory may grow by a tenth and this over a stretch without a restart.
const MEMORY_SLACK_KIB: u64 = 2 * 1024;
/// Descriptors may be so many more.
const DESCRIPTORS_SLACK: u64 = 8;

/// One look.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    /// The number of the daemon's start.
    pub life: u32,
    pub memory_kib: u64,
    pub descriptors: u64,
    pub store_bytes: u64,
    pub log_bytes: u64,
}

#[derive(Default)]
pub struct Watch {
    samples: Mutex<Vec<Sample>>,
}

impl Watch {
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap().clone()
    }

    /// Looks on until the town is closed; says how it stands every `say` samples.
    pub async fn look(self: Arc<Self>, town: Arc<Town>, begun: Instant, every: Duration) {
        let mut looks = 0_u64;
        while !town.is_closed() {
            if let Some(ended) = town.site.ended_by_itself() {
                town.fails(format!("the daemon ended by itself: {ended}"));
            }
            if let Some(sample) = take(&town, begun) {
                if looks.is_multiple_of(6) {
                    println!(
                        "  {:7.1} s  start {:3}  {:6} KiB  {:3} descriptors  store {:6} KiB  its log {:6} KiB",
                        sample.at.as_secs_f64(),
                        sample.life,
                        sample.memory_kib,
                        sample.descriptors,
                        sample.store_bytes / 1024,
                        sample.log_bytes / 1024,
                    );
                }
                looks += 1;
                self.samples.lock().unwrap().push(sample);
            }
            sleep(every).await;
        }
    }
}

fn take(town: &Town, begun: Instant) -> Option<Sample> {
    let (pid, life) = town.site.running()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let memory_kib = line.split_whitespace().nth(1)?.parse().ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let size = |name: &str| {
        let file = town.site.state().join(name);
        fs::metadata(file).map_or(0, |meta| meta.len())
    };
    Some(Sample {
        at: begun.elapsed(),
        life,
        memory_kib,
        descriptors: descriptors as u64,
        store_bytes: size("linli.db"),
        log_bytes: size("linli.db-wal"),
    })
}

/// A stretch of one process's life, judged: the first third's median against the last third's.
pub struct Stretch {
    pub length: Duration,
    pub memory_kib: (u64, u64),
    pub descriptors: (u64, u64),
}

impl Stretch {
    /// The longest life among the samples, without its first half minute.
    pub fn longest(samples: &[Sample]) -> Option<Self> {
        let lives = samples.chunk_by(|a, b| a.life == b.life);
        let span = |life: &&[Sample]| match (life.first(), life.last()) {
            (Some(first), Some(last)) => last.at - first.at,
            _ => Duration::ZERO,
        };
        let life = lives.max_by_key(span)?;
        let warm = life.first()?.at + Duration::from_secs(30).min(span(&life) / 10);
        let life: Vec<Sample> = life.iter().filter(|s| s.at >= warm).copied().collect();
        let third = life.len() / 3;
        if third == 0 {
            return None;
        }
        let (first, last) = (&life[..third], &life[life.len() - third..]);
        let both = |of: fn(&Sample) -> u64| (median(first, of), median(last, of));
        Some(Self {
            length: span(&life.as_slice()),
            memory_kib: both(|s| s.memory_kib),
            descriptors: both(|s| s.descriptors),
        })
    }

    /// What grew that shouldn't.
    pub fn growth(&self) -> Option<String> {
        let (first, last) = self.memory_kib;
        if last > first + first / 10 + MEMORY_SLACK_KIB {
            return Some(format!("memory grew from {first} to {last} KiB"));
        }
        let (first, last) = self.descriptors;
        (last > first + DESCRIPTORS_SLACK)
            .then(|| format!("descriptors grew from {first} to {last}"))
    }
}

fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
