//! Where and when the figures were taken, and of what.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

#[derive(serde::Serialize)]
pub struct Machine {
    /// UTC.
    date: String,
    version: String,
    /// What Cargo built: figures of a debug build tell nothing.
    build: &'static str,
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    file_system: String,
}

pub fn describe(folder: &Path) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let architecture = std::env::consts::ARCH;
    let cpuinfo = read("/proc/cpuinfo");
    let named = |field: &str| after(&cpuinfo, field).map(|name| format!("{name} ({architecture})"));
    let memory_kib = after(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok());
    Machine {
        date: jiff::Timestamp::now().to_string(),
        version: format!("{} ({})", env!("CARGO_PKG_VERSION"), revision()),
        build: if cfg!(debug_assertions) {
            "debug (its figures tell nothing)"
        } else {
            "release"
        },
        processor: named("model name").unwrap_or_else(|| architecture.to_owned()),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_mib: memory_kib.unwrap_or(0_u64) / 1_024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        file_system: file_system(folder),
    }
}

/// The type of the file system that a folder is on.
pub fn file_system(folder: &Path) -> String {
    let folder = fs::canonicalize(folder).unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?))
    });
    fields
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.as_os_str().len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

fn revision() -> String {
    let out = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match out {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        _ => "no git".to_owned(),
    }
}

/// The value of a `name : value` line.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))
        .map(str::trim)
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "linli {}, {} build, {}\n{} cores of {}, {} MiB, Linux {}, {}",
            self.version,
            self.build,
            self.date,
            self.cores,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.file_system
        )
    }
}
