//! What the kernel knows of a process: memory, bytes written, time on the processor.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::wait_for;

/// Ticks of a second in `/proc/PID/stat`: 100 on every architecture that Linux gives a user.
const TICKS_PER_SECOND: f64 = 100.0;
/// The unit of a block device's counters, whatever its own sectors are.
const SECTOR_BYTES: u64 = 512;

/// MiB.
#[derive(Clone, Copy)]
pub struct Memory {
    /// All that is resident, pages of files included: those are shared and can be dropped.
    pub resident: f64,
    /// What is its own: heap, stacks, changed data.
    pub own: f64,
    /// The most that was ever resident.
    pub peak: f64,
}

/// A process by its id, as long as nobody has waited for its end.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    pub fn this() -> Self {
        Self(std::process::id())
    }

    pub fn memory(self) -> Memory {
        let text = self.read("status");
        let mib = |name| field(&text, name) as f64 / 1_024.0;
        Memory {
            resident: mib("VmRSS:"),
            own: mib("RssAnon:"),
            peak: mib("VmHWM:"),
        }
    }

    /// Bytes that it made the kernel write to a disk. Pages count when they become dirty; the file
    /// system's own journal isn't in it.
    pub fn written(self) -> u64 {
        field(&self.read("io"), "write_bytes:")
    }

    /// Time on a processor, in the kernel too, of all threads that ever were.
    pub fn cpu(self) -> Duration {
        let text = self.read("stat");
        let ticks: u64 = stat_fields(&text).skip(11).take(2).map(number).sum();
        Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Ends it in order and waits until it is over, but leaves it to be read once more.
    pub fn end(self) {
        let pid = self.0.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        wait_for("the process to end", || {
            (stat_fields(&self.read("stat")).next() == Some("Z")).then_some(())
        });
    }

    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).unwrap()
    }
}

/// Bytes that this thread made the kernel write to a disk.
pub fn written_by_this_thread() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").unwrap();
    field(&text, "write_bytes:")
}

/// Bytes written to the disk beneath `folder` by the whole machine, once everything that waits is
/// written. `None` where the file system isn't on one block device.
pub fn written_to_disk(folder: &Path) -> Option<u64> {
    Command::new("sync").status().unwrap();
    let device = fs::metadata(folder).unwrap().dev();
    // The numbers in a 64-bit dev_t of Linux.
    let major = (device >> 8) & 0xFFF;
    let minor = (device & 0xFF) | ((device >> 12) & 0xFFF00);
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * SECTOR_BYTES)
}

/// Bytes free for everybody below `folder`.
pub fn free_bytes(folder: &Path) -> u64 {
    let out = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    number(text.lines().last().unwrap().trim())
}

/// The fields of `/proc/PID/stat` after the name, which may hold spaces: the state comes first.
fn stat_fields(text: &str) -> impl Iterator<Item = &str> {
    let after_name = text.rfind(')').map_or(0, |at| at + 1);
    text[after_name..].split_whitespace()
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    number(line.split_whitespace().nth(1).unwrap())
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}
