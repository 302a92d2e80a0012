//! A recording: the real gateway's operations on its disk, with the world's marks among them, from a
//! program of its own that runs under the library of `tests/common/interposed`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use linli::journal::Weakness;
use serde::{Deserialize, Serialize};

use crate::days;
use crate::disk::{Disk, Found};
use crate::interposed::{self, Op};
use crate::mark::Mark;
use crate::memory::Memory;
use crate::rng::Rng;
use crate::world::World;

/// What a recording starts from, and how it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The recorded folder: the gateway's `state`, and `marks`.
    pub root: PathBuf,
    pub memory: Memory,
    pub seed: u64,
    pub happenings: u32,
    /// The promise that isn't kept: `sync-off`, `ack-first`.
    pub weakness: Option<String>,
}

/// A recording.
pub struct Recording {
    /// What the world knew before.
    pub memory: Memory,
    pub steps: Vec<Step>,
}

/// Something happened: to the disk, or to what the world knows.
pub enum Step {
    Disk(Op),
    World(Mark),
}

/// Records what `order` says. The folder must hold what it starts from; what it was is in the disk
/// that comes back.
pub fn record(order: &Order, beside: &Path) -> (Disk, Recording) {
    // Also for a repetition: what it was, beside what happened to it.
    let (found, inodes) = (Found::read(&order.root), inodes(&order.root));
    found.write(&beside.join("begin"));
    let numbers: Vec<_> = inodes.iter().collect();
    let numbers = serde_json::to_vec(&numbers).expect("numbers in JSON");
    fs::write(beside.join("inodes.json"), numbers).expect("the numbers");
    let (wish, trace) = (beside.join("order.json"), beside.join("trace"));
    let text = serde_json::to_vec(order).expect("an order in JSON");
    fs::write(&wish, text).expect("the order");
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.arg("work").arg(&wish);
    child.env("LINLI_DISK_TRACE", &trace);
    interposed::below(&mut child, &order.root);
    let ended = child.output().expect("this program again");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "the recording failed: {said}");
    let disk = disk(&order.root, &inodes, found);
    (disk, Recording::of(order, &trace))
}

impl Recording {
    /// One that was kept, with the disk that it begins on.
    pub fn read(kept: &Path) -> (Disk, Self) {
        let read = |name: &str| {
            let path = kept.join(name);
            fs::read(&path).unwrap_or_else(|e| {
                let path = path.display();
                panic!("{path}: {e}. Only a recording in which something failed is kept")
            })
        };
        let order: Order = serde_json::from_slice(&read("order.json")).expect("an order");
        let inodes: Vec<(PathBuf, u64)> =
            serde_json::from_slice(&read("inodes.json")).expect("the numbers");
        let found = Found::read(&kept.join("begin"));
        let disk = disk(&order.root, &inodes.into_iter().collect(), found);
        (disk, Self::of(&order, &kept.join("trace")))
    }

    fn of(order: &Order, trace: &Path) -> Self {
        let steps = steps(&order.root.join("marks"), interposed::read_trace(trace));
        Self {
            memory: order.memory.clone(),
            steps,
        }
    }
}

/// The recorded program: `power_cuts work ORDER`.
pub fn work(order: &Path) {
    let order = fs::read(order).expect("the order");
    let order: Order = serde_json::from_slice(&order).expect("an order");
    let marks = File::options()
        .create(true)
        .append(true)
        .open(order.root.join("marks"))
        .expect("the marks");
    let weakness = order.weakness.as_deref().map(|name| match name {
        "sync-off" => Weakness::SyncOff,
        "ack-first" => Weakness::AckFirst,
        other => panic!("no such weakness: {other}"),
    });
    let rng = Rng::of(&[order.seed, 0x3077]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let state = order.root.join("state");
        let world = World::start(&state, marks, order.memory, rng, weakness).await;
        let mut world = days::live(world, order.happenings).await;
        if world.rng.one_in(2) {
            world.stop().await;
        }
        vanish();
    });
}

/// Ends this program without stopping anything.
#[expect(
    clippy::disallowed_methods,
    reason = "a gateway that isn't stopped in order is what is recorded"
)]
pub fn vanish() -> ! {
    std::process::exit(0)
}

/// The kernel's numbers of everything below a folder, and of itself, by the path below it.
fn inodes(root: &Path) -> BTreeMap<PathBuf, u64> {
    let ino = |path: &Path| fs::metadata(path).expect("what is there").ino();
    let mut inodes = BTreeMap::from([(PathBuf::new(), ino(root))]);
    let found = Found::read(root);
    for below in found.folders.iter().chain(found.files.keys()) {
        inodes.insert(below.clone(), ino(&root.join(below)));
    }
    inodes
}

/// A disk on which everything of this was synced.
fn disk(root: &Path, inodes: &BTreeMap<PathBuf, u64>, mut found: Found) -> Disk {
    let mut disk = Disk::new(root, inodes[Path::new("")]);
    // In the order of their paths: a folder comes before what is in it.
    for (below, ino) in inodes.iter().skip(1) {
        let path = root.join(below);
        match found.files.remove(below) {
            Some(bytes) => disk.put_file(&path, *ino, bytes),
            None => disk.put_folder(&path, *ino),
        }
    }
    disk
}

/// Parts the world's own file from the gateway's: it is never damaged.
fn steps(marks: &Path, ops: Vec<Op>) -> Vec<Step> {
    let mut marks_ino = None;
    let mut steps = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            Op::Create { path, ino } if path == marks => marks_ino = Some(ino),
            Op::Write { ino, data, .. } if Some(ino) == marks_ino => {
                let mark = serde_json::from_slice(&data).expect("a mark");
                steps.push(Step::World(mark));
            }
            op => steps.push(Step::Disk(op)),
        }
    }
    steps
}
