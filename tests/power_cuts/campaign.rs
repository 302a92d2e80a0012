//! A campaign: recordings one after the other, each cut many times, each beginning where a cut of the
//! one before has left the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::check::{Tally, check};
use crate::disk::{Disk, Found};
use crate::interposed::Op;
use crate::mark::Mark;
use crate::memory::Memory;
use crate::old_store;
use crate::record::{Order, Recording, Step, record};
use crate::rng::Rng;
use crate::site::FIRST_DAY_MS;

/// Cuts of one recording.
const CUTS_A_GENERATION: u64 = 250;
/// So many recordings follow on each other before another store begins.
const GENERATIONS_A_STORE: u64 = 3;
const WORKERS: usize = 2;
const HAPPENINGS: u32 = 150;
/// The generation of [`first_start`], which is none.
const FIRST_START: u64 = 1_000_000;
/// What is drawn at each of its steps.
const DRAWS: u64 = 2;

/// What is cut.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub cuts: u64,
    /// The promise that isn't kept.
    pub weakness: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub cuts: u64,
    pub generations: u64,
    pub operations: u64,
    pub acknowledged: u64,
    /// Cuts after which something that wasn't synced was gone.
    pub lossy: u64,
    pub in_start_up: u64,
    pub starts: u64,
    pub stops: u64,
    /// Day keys that were destroyed with their day's events.
    pub days_destroyed: u64,
    pub tally: Tally,
    /// The first cuts after which something didn't hold: generation, number, what.
    pub failed: Vec<(u64, u64, String)>,
}

impl Report {
    /// Adds what came of another run.
    pub fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.generations += other.generations;
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.lossy += other.lossy;
        self.in_start_up += other.in_start_up;
        self.starts += other.starts;
        self.stops += other.stops;
        self.days_destroyed += other.days_destroyed;
        self.tally.add(other.tally);
        self.failed.extend(other.failed);
    }

    fn operation(&mut self, op: &Op) {
        self.operations += 1;
        let day = |path: &Path| path.to_string_lossy().contains("/day-");
        self.days_destroyed += u64::from(matches!(op, Op::Unlink { path } if day(path)));
    }

    fn mark(&mut self, mark: &Mark) {
        match mark {
            Mark::Acked { seqs, .. } => self.acknowledged += seqs.len() as u64,
            Mark::Started => self.starts += 1,
            Mark::Stopped => self.stops += 1,
            _ => {}
        }
    }
}

/// A cut that is to be checked.
struct Cut {
    generation: u64,
    n: u64,
    found: Found,
    memory: Memory,
}

/// Where a recording begins.
#[derive(Clone)]
struct Begin {
    found: Found,
    memory: Memory,
}

/// Runs a plan in `folder`, until something fails or all is done.
pub fn run(plan: &Plan, folder: &Path, keep: &Path) -> Report {
    let mut report = Report::default();
    let mut begin = None;
    let generations = plan.cuts.div_ceil(CUTS_A_GENERATION);
    for generation in 0..generations {
        let from = begin
            .take()
            .filter(|_| generation % GENERATIONS_A_STORE != 0)
            .unwrap_or_else(|| fresh(generation / GENERATIONS_A_STORE, folder));
        let kept = kept_in(keep, plan.seed, generation);
        let (disk, recording) = recorded(plan, generation, &from, HAPPENINGS, folder, &kept);
        report.generations += 1;
        let cuts = CUTS_A_GENERATION.min(plan.cuts - generation * CUTS_A_GENERATION);
        let numbers: Vec<_> = (0..cuts).collect();
        begin = Some(cut_all(
            plan,
            generation,
            disk,
            recording,
            &numbers,
            folder,
            &mut report,
        ));
        if !report.failed.is_empty() {
            return report;
        }
        // What nobody has to repeat.
        let _ = fs::remove_dir_all(&kept);
    }
    report
}

/// The first start of all, cut after each of its steps: whatever is left of it, the next one succeeds,
/// and what was acknowledged since isn't lost with a folder that nobody had synced.
pub fn first_start(plan: &Plan, folder: &Path, keep: &Path) -> Report {
    let kept = kept_in(keep, plan.seed, FIRST_START);
    let (disk, recording) = recorded(plan, FIRST_START, &fresh(0, folder), 3, folder, &kept);
    let numbers: Vec<_> = (0..recording.steps.len() as u64 * DRAWS).collect();
    let mut report = Report::default();
    cut_all(
        plan,
        FIRST_START,
        disk,
        recording,
        &numbers,
        folder,
        &mut report,
    );
    if report.failed.is_empty() {
        let _ = fs::remove_dir_all(&kept);
    }
    report
}

/// Repeats one cut of a recording that was kept because something failed.
pub fn repeat(plan: &Plan, generation: u64, n: u64, folder: &Path, keep: &Path) -> Report {
    let kept = kept_in(keep, plan.seed, generation);
    let (disk, recording) = Recording::read(&kept);
    let mut report = Report {
        generations: 1,
        ..Report::default()
    };
    cut_all(plan, generation, disk, recording, &[n], folder, &mut report);
    report
}

fn kept_in(keep: &Path, seed: u64, generation: u64) -> PathBuf {
    keep.join(format!("{seed}-{generation}"))
}

/// A store to begin with: none, or one that an earlier version has left.
fn fresh(number: u64, folder: &Path) -> Begin {
    let schema = match number % 3 {
        0 => {
            let memory = Memory {
                wall_ms: FIRST_DAY_MS,
                ..Memory::default()
            };
            let found = Found::default();
            return Begin { found, memory };
        }
        schema => schema as u32,
    };
    let made = folder.join("old");
    let _ = fs::remove_dir_all(&made);
    let memory = old_store::make(&made.join("state"), schema);
    let found = Found::read(&made);
    Begin { found, memory }
}

/// Records a generation, and keeps the recording beside until nobody needs it.
fn recorded(
    plan: &Plan,
    generation: u64,
    from: &Begin,
    happenings: u32,
    folder: &Path,
    kept: &Path,
) -> (Disk, Recording) {
    let root = folder.join("root");
    for old in [root.as_path(), kept] {
        let _ = fs::remove_dir_all(old);
        fs::create_dir_all(old).expect("a folder for the recording");
    }
    from.found.write(&root);
    let seed = Rng::of(&[plan.seed, generation]).next();
    let mut memory = from.memory.clone();
    memory.wall_ms += 1_000 + Rng::of(&[seed]).below(16 * 3_600_000) as i64;
    let order = Order {
        root,
        memory,
        seed,
        happenings,
        weakness: plan.weakness.clone(),
    };
    record(&order, kept)
}

/// Replays a recording up to each of its cuts, and has what is found then checked. Returns where the
/// next recording begins.
fn cut_all(
    plan: &Plan,
    generation: u64,
    mut disk: Disk,
    recording: Recording,
    numbers: &[u64],
    folder: &Path,
    report: &mut Report,
) -> Begin {
    let mut at: Vec<(usize, u64)> = numbers
        .iter()
        .map(|n| (position(&recording, plan.seed, generation, *n), *n))
        .collect();
    at.sort_unstable();
    let next = at[at.len() / 2
        + Rng::of(&[plan.seed, generation, 7]).below(at.len().div_ceil(2) as u64) as usize]
        .1;
    let (checking, workers) = Workers::start(plan, folder);
    let mut memory = recording.memory;
    let mut begin = None;
    let mut done = 0;
    let mut starting = false;
    for (position, n) in at {
        for step in &recording.steps[done..position] {
            match step {
                Step::Disk(op) => {
                    disk.apply(op);
                    report.operation(op);
                }
                Step::World(mark) => {
                    memory.apply(mark);
                    report.mark(mark);
                    starting = match mark {
                        Mark::Starts { .. } => true,
                        Mark::Started => false,
                        _ => starting,
                    };
                }
            }
        }
        done = position;
        let found = disk.cut(&mut draw(plan.seed, generation, n));
        report.cuts += 1;
        report.lossy += u64::from(found.lost);
        report.in_start_up += u64::from(starting);
        if n == next {
            begin = Some(Begin {
                found: found.clone(),
                memory: memory.clone(),
            });
        }
        let cut = Cut {
            generation,
            n,
            found,
            memory: memory.clone(),
        };
        if checking.send(cut).is_err() {
            break;
        }
    }
    drop(checking);
    workers.end(report);
    begin.unwrap_or(Begin {
        found: Found::default(),
        memory,
    })
}

fn draw(seed: u64, generation: u64, n: u64) -> Rng {
    Rng::of(&[seed, generation, n, 1])
}

/// After which step the power goes: half of the times just after the world has learned something or
/// the disk has synced something, often in the start-up, or anywhere.
fn position(recording: &Recording, seed: u64, generation: u64, n: u64) -> usize {
    if generation == FIRST_START {
        return (n / DRAWS) as usize + 1;
    }
    let mut rng = Rng::of(&[seed, generation, n]);
    let steps = &recording.steps;
    let somewhere = |rng: &mut Rng| 1 + rng.below(steps.len() as u64) as usize;
    match rng.below(20) {
        0..10 => {
            let from = somewhere(&mut rng) - 1;
            let telling = |step: &Step| match step {
                Step::Disk(op) => matches!(op, Op::Sync { .. } | Op::SyncDir { .. }),
                Step::World(mark) => !matches!(
                    mark,
                    Mark::Time { .. } | Mark::Event(_) | Mark::Says { .. } | Mark::Touched { .. }
                ),
            };
            let found = steps[from..].iter().position(telling);
            found.map_or(steps.len(), |after| from + after + 1)
        }
        10..13 => {
            let marks = |wanted: fn(&Mark) -> bool| {
                move |(at, step): (usize, &Step)| match step {
                    Step::World(mark) if wanted(mark) => Some(at),
                    _ => None,
                }
            };
            let starts = |mark: &Mark| matches!(mark, Mark::Starts { .. });
            let started = |mark: &Mark| matches!(mark, Mark::Started);
            let all = steps.iter().enumerate();
            let starts: Vec<_> = all.clone().filter_map(marks(starts)).collect();
            let started: Vec<_> = all.filter_map(marks(started)).collect();
            let which = rng.below(starts.len() as u64) as usize;
            match (starts.get(which), started.get(which)) {
                (Some(from), Some(to)) => from + 1 + rng.below((to - from) as u64) as usize,
                _ => somewhere(&mut rng),
            }
        }
        _ => somewhere(&mut rng),
    }
}

/// Those who check.
struct Workers {
    threads: Vec<std::thread::JoinHandle<()>>,
    checked: Arc<Mutex<Checked>>,
}

#[derive(Default)]
struct Checked {
    tally: Tally,
    failed: Vec<(u64, u64, String)>,
}

impl Workers {
    fn start(plan: &Plan, folder: &Path) -> (mpsc::SyncSender<Cut>, Self) {
        let (send, receive) = mpsc::sync_channel::<Cut>(2);
        let receive = Arc::new(Mutex::new(receive));
        let checked = Arc::new(Mutex::new(Checked::default()));
        let threads = (0..WORKERS).map(|number| {
            let (receive, checked) = (Arc::clone(&receive), Arc::clone(&checked));
            let (seed, scratch) = (plan.seed, folder.join(format!("cut-{number}")));
            std::thread::spawn(move || {
                let mut shm = Vec::new();
                loop {
                    let cut = receive.lock().expect("the cuts").recv();
                    let Ok(cut) = cut else {
                        return;
                    };
                    let (generation, n) = (cut.generation, cut.n);
                    let outcome = check_cut(cut, seed, &scratch, &mut shm);
                    let mut checked = checked.lock().expect("the outcomes");
                    match outcome {
                        Ok(tally) => checked.tally.add(tally),
                        Err(what) => checked.failed.push((generation, n, what)),
                    }
                }
            })
        });
        let threads = threads.collect();
        (send, Self { threads, checked })
    }

    fn end(self, report: &mut Report) {
        for thread in self.threads {
            if let Err(panicked) = thread.join() {
                std::panic::resume_unwind(panicked);
            }
        }
        let mut checked = self.checked.lock().expect("the outcomes");
        report.tally.add(checked.tally);
        report.failed.append(&mut checked.failed);
        report.failed.sort();
    }
}

fn check_cut(cut: Cut, seed: u64, scratch: &Path, shm: &mut Vec<u8>) -> Result<Tally, String> {
    let _ = fs::remove_dir_all(scratch);
    fs::create_dir_all(scratch).expect("a folder for what is found");
    cut.found.write(scratch);
    let mut rng = Rng::of(&[seed, cut.generation, cut.n, 2]);
    let state = scratch.join("state");
    let index = state.join("linli.db-shm");
    let rubbish: Vec<u8> = match rng.below(3) {
        0 => Vec::new(),
        1 => (0..32_768).map(|_| rng.next() as u8).collect(),
        _ => shm.clone(),
    };
    if !rubbish.is_empty() && state.join("linli.db").exists() {
        fs::write(&index, rubbish).expect("the index");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(check(&state, cut.memory, &mut rng));
    if let Ok(left) = fs::read(&index) {
        *shm = left;
    }
    outcome
}

impl Found {
    /// Puts it into a folder.
    pub fn write(&self, root: &Path) {
        fs::create_dir_all(root).expect("a folder");
        for folder in &self.folders {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for (path, bytes) in &self.files {
            fs::write(root.join(path), bytes).expect("a file");
        }
    }

    /// What is in a folder.
    pub fn read(root: &Path) -> Self {
        let mut found = Self::default();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let below = path.strip_prefix(root).expect("below it").to_path_buf();
                if path.is_dir() {
                    found.folders.push(below);
                    folders.push(path);
                } else {
                    let bytes = fs::read(&path).expect("a file");
                    found.files.insert(below, bytes);
                }
            }
        }
        found
    }
}
