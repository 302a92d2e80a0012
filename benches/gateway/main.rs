//! What the gateway costs and how fast it is, beside what was measured in the same run on the same
//! disk: `cargo bench --bench gateway`.
//!
//! Each figure stands with its baseline and their ratio, since machines differ. The gateway is the
//! real binary, the devices are real MQTT clients over loopback; everything is kept in a folder
//! below `target`, on whatever file system that is. `LINLI_BENCH=short` does less of everything;
//! `-- keypad` and the like measure one part; `--json FILE` also writes the table there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod backlog;
mod catch_up;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/controller.rs"]
mod controller;
mod disk;
mod effort;
mod figures;
mod growth;
mod keypad;
mod load;
mod machine;
mod memory;
mod payload;
mod peers;
mod process;
mod serial;
mod start;
mod stored;
mod throughput;
mod writes;

use std::path::{Path, PathBuf};

use common::Setup;
use effort::Effort;
use figures::Table;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What every part of the bench has.
pub struct Bench {
    pub runtime: Runtime,
    pub effort: Effort,
    folder: TempDir,
}

type Part = fn(&Bench, &mut Table);

/// Cheap ones first.
const PARTS: [(&str, Part); 8] = [
    ("throughput", throughput::measure),
    ("keypad", keypad::measure),
    ("serial", serial::measure),
    ("memory", memory::measure),
    ("catch-up", catch_up::measure),
    ("start", start::measure),
    ("growth", growth::measure),
    ("writes", writes::measure),
];

/// The longest path of a Unix socket that the kernel takes, less the name of ours.
const SOCKET_FOLDER_MAX: usize = 90;

impl Bench {
    fn new(effort: Effort) -> Self {
        // A thousand devices are two thousand descriptors.
        let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
        let (_, hard) = nix::sys::resource::getrlimit(limit).unwrap();
        nix::sys::resource::setrlimit(limit, hard.min(16_384), hard).unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            effort,
            folder: short_named(Path::new(env!("CARGO_TARGET_TMPDIR"))),
        }
    }

    /// Where everything is kept that is measured.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A gateway with a store of its own below [`Self::folder`].
    pub fn setup(&self) -> Setup {
        let dir = short_named(self.folder());
        let length = dir.path().as_os_str().len();
        assert!(
            length < SOCKET_FOLDER_MAX,
            "{}: too long a path for a Unix socket; set CARGO_TARGET_DIR to a shorter one",
            dir.path().display()
        );
        Setup {
            dir,
            ..Setup::new()
        }
    }
}

fn short_named(inside: &Path) -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("b")
        .rand_bytes(4)
        .tempdir_in(inside)
        .unwrap()
}

struct Arguments {
    parts: Vec<(&'static str, Part)>,
    json: Option<PathBuf>,
}

fn arguments() -> Arguments {
    let mut parts = Vec::new();
    let mut json = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--json" => json = Some(PathBuf::from(words.next().expect("--json FILE"))),
            name => {
                let part = PARTS.into_iter().find(|(known, _)| *known == name);
                let known = PARTS.map(|(known, _)| known).join(", ");
                parts.push(part.unwrap_or_else(|| panic!("no part '{name}': there are {known}")));
            }
        }
    }
    if parts.is_empty() {
        parts = PARTS.to_vec();
    }
    Arguments { parts, json }
}

fn main() {
    let arguments = arguments();
    let bench = Bench::new(Effort::from_environment());
    let mut table = Table::new(machine::describe(bench.folder()), bench.effort.name);
    table.print_head();
    payload::check();
    for (name, measure) in arguments.parts {
        table.begin(name);
        measure(&bench, &mut table);
    }
    table.print();
    if let Some(file) = arguments.json {
        std::fs::write(file, table.json()).unwrap();
    }
}
