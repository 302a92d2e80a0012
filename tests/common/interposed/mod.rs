//! What stands between a program and the C library's file calls: builds `interposed.c`, starts programs
//! under it, lets their calls fail, and reads the trace that it wrote.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The library, built once a process with the machine's C compiler (which linking Rust needs as well).
pub fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/interposed/interposed.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mine = folder.join(format!("interposed-{}.so", std::process::id()));
        let built = Command::new("cc")
            .args([
                "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-pthread", "-o",
            ])
            .arg(&mine)
            .arg(&source)
            .arg("-ldl")
            .output()
            .expect("a C compiler named cc");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{}: {said}", source.display());
        // By name for everybody: a rename is whole, whoever comes last.
        let shared = folder.join("interposed.so");
        fs::rename(&mine, &shared).unwrap();
        shared
    })
}

/// Lets `command` run under the library, for what lies below `root` (absolute).
pub fn below(command: &mut Command, root: &Path) {
    command
        .env("LINLI_DISK_ROOT", root)
        .env("LD_PRELOAD", library());
}

/// One change of a file or folder, in the order in which they happened. Files are known by their inode's
/// number, which a later file may get again after the first is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Create {
        path: PathBuf,
        ino: u64,
    },
    Write {
        ino: u64,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        ino: u64,
        len: u64,
    },
    /// What was written to the file before is on disk.
    Sync {
        ino: u64,
    },
    /// The names in the folder are on disk.
    SyncDir {
        ino: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    Mkdir {
        path: PathBuf,
        ino: u64,
    },
    Rmdir {
        path: PathBuf,
    },
}

/// Reads a trace (LINLI_DISK_TRACE), as `interposed.c` writes it.
pub fn read_trace(path: &Path) -> Vec<Op> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut ops = Vec::new();
    while !rest.is_empty() {
        ops.push(take_op(&mut rest));
    }
    ops
}

fn take_op(rest: &mut &[u8]) -> Op {
    let op = u32::from_le_bytes(take(rest, 4).try_into().unwrap());
    let lens: [usize; 3] =
        std::array::from_fn(|_| u32::from_le_bytes(take(rest, 4).try_into().unwrap()) as usize);
    let ino = u64::from_le_bytes(take(rest, 8).try_into().unwrap());
    let offset = u64::from_le_bytes(take(rest, 8).try_into().unwrap());
    let mut path = |len| PathBuf::from(std::str::from_utf8(take(rest, len)).unwrap());
    let (path, to) = (path(lens[0]), path(lens[1]));
    let data = take(rest, lens[2]).to_vec();
    match op {
        1 => Op::Create { path, ino },
        2 => Op::Write { ino, offset, data },
        3 => Op::Truncate { ino, len: offset },
        4 => Op::Sync { ino },
        5 => Op::SyncDir { ino },
        6 => Op::Rename { from: path, to },
        7 => Op::Unlink { path },
        8 => Op::Mkdir { path, ino },
        9 => Op::Rmdir { path },
        other => panic!("the trace is damaged: record {other}"),
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

/// Kinds of calls that can fail (`enum kind` in `interposed.c`), a bit each.
pub mod kind {
    pub const OPEN_READ: u32 = 1;
    pub const OPEN_WRITE: u32 = 2;
    pub const READ: u32 = 4;
    pub const WRITE: u32 = 8;
    pub const TRUNCATE: u32 = 16;
    pub const SYNC: u32 = 32;
    /// Rename, remove, make a folder.
    pub const NAME: u32 = 64;
    pub const ALL: u32 = 127;
    /// Those that a full or a read-only disk refuses.
    pub const CHANGING: u32 = OPEN_WRITE | WRITE | TRUNCATE | NAME;
}

/// In place of an error's number: the calls don't come back until they are healed, and then succeed.
pub const HANGS: i32 = 4095;

/// The control block (`struct control` in `interposed.c`), shared through a file.
pub struct Faults {
    path: PathBuf,
    file: File,
}

impl Faults {
    /// A block by which nothing fails and nothing is counted.
    pub fn new(path: &Path) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap();
        file.set_len(4096).unwrap();
        Self {
            path: path.to_path_buf(),
            file,
        }
    }

    /// A second handle on the block at `path`.
    pub fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Self {
            path: path.to_path_buf(),
            file,
        }
    }

    /// Lets `command` take its faults from here.
    pub fn apply(&self, command: &mut Command) {
        command.env("LINLI_DISK_FAULTS", &self.path);
    }

    /// Counts calls of these kinds from 0, and fails those numbered from `from` up to but without `until`.
    pub fn set(&self, kinds: u32, from: u64, until: u64, errno: i32) {
        self.put(36, &0_u32.to_le_bytes());
        for (at, value) in [(0, 0), (8, from), (16, until), (24, 0)] {
            self.put(at, &u64::to_le_bytes(value));
        }
        self.put(32, &errno.to_le_bytes());
        self.put(36, &kinds.to_le_bytes());
    }

    /// Every call of these kinds fails from now on.
    pub fn fail_all(&self, kinds: u32, errno: i32) {
        self.set(kinds, 0, u64::MAX, errno);
    }

    /// Counts calls of these kinds, and fails none.
    pub fn count(&self, kinds: u32) {
        self.set(kinds, 0, 0, 0);
    }

    /// Nothing fails any more; the counting goes on.
    pub fn heal(&self) {
        self.put(16, &0_u64.to_le_bytes());
    }

    /// Whether calls may still fail.
    pub fn failing(&self) -> bool {
        self.calls() < self.get(16)
    }

    /// Calls counted since `set`.
    pub fn calls(&self) -> u64 {
        self.get(0)
    }

    /// Calls that failed since `set`.
    pub fn hits(&self) -> u64 {
        self.get(24)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).unwrap();
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_le_bytes(bytes)
    }
}
