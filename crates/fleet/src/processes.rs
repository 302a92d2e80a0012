//! The clouds as processes of their own: built, started, killed, started again at the same address; and
//! what processes cost, from `/proc`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::DATABASE_CONNECTIONS;
use crate::caller::PUBLIC_URL;

/// Clock ticks a second in `/proc/PID/stat`: the same on every architecture that Linli runs on.
const TICKS_PER_S: f64 = 100.0;

/// The program `reference-cloud` beside this one. Run by cargo it is built, so that it is the one of
/// this source; else it is taken as it lies there.
pub fn cloud_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where this program is")?;
    let beside = own.parent().context("the folder of this program")?;
    let program = beside.join("reference-cloud");
    let by_cargo = std::env::var_os("CARGO");
    if by_cargo.is_none() && program.exists() {
        return Ok(program);
    }
    let mut cargo = Command::new(by_cargo.unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "reference-cloud", "--bins"]);
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    if let Some(target) = beside.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let built = cargo.stdout(Stdio::null()).status();
    match built {
        Ok(status) if status.success() && program.exists() => Ok(program),
        Ok(_) | Err(_) => bail!(
            "{} isn't there and can't be built: run `cargo build -p reference-cloud` first",
            program.display()
        ),
    }
}

/// One cloud. Dropping it kills it.
pub struct Cloud {
    program: PathBuf,
    files: Files,
    name: &'static str,
    /// Where it listens, all its life.
    pub address: SocketAddr,
    child: Option<Child>,
    /// What its earlier lives cost, CPU seconds.
    spent: f64,
}

/// What the clouds have in common.
#[derive(Debug, Clone)]
pub struct Files {
    /// Where logs go.
    pub folder: PathBuf,
    /// The file with the URL of the database.
    pub postgres: PathBuf,
    /// The file with the sealing key.
    pub sealing_key: PathBuf,
}

impl Cloud {
    /// Starts one on a free loopback port.
    pub fn start(program: PathBuf, files: Files, name: &'static str) -> anyhow::Result<Self> {
        let mut cloud = Self {
            program,
            files,
            name,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            child: None,
            spent: 0.0,
        };
        cloud.start_again()?;
        Ok(cloud)
    }

    /// Starts it where it was.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let log = self.log();
        let log = File::options().create(true).append(true).open(&log);
        let mut child = Command::new(&self.program)
            .args(["--listen", &self.address.to_string()])
            .arg("--postgres-url-file")
            .arg(&self.files.postgres)
            .arg("--sealing-key-file")
            .arg(&self.files.sealing_key)
            .args(["--public-url", PUBLIC_URL])
            .args(["--postgres-connections", &DATABASE_CONNECTIONS.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.context("the cloud's log")?)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let said = child.stdout.take().context("the cloud's standard output")?;
        self.child = Some(child);
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let address = line.trim().rsplit_once("http://").map(|(_, a)| a.parse());
        match address {
            Some(Ok(address)) => self.address = address,
            _ => bail!("the {} cloud didn't start: {}", self.name, self.log_text()),
        }
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.spent = self.cpu_s();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it has cost in all its lives, CPU seconds.
    pub fn cpu_s(&self) -> f64 {
        let own = self.child.as_ref().and_then(|child| stat(child.id()));
        self.spent + own.map_or(0.0, |stat| stat.own_s)
    }

    /// What it said on standard error.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Its largest memory in this life, MiB.
    pub fn memory_mib(&self) -> u64 {
        self.child
            .as_ref()
            .map_or(0, |child| memory_mib(child.id()))
    }

    fn log(&self) -> PathBuf {
        self.files.folder.join(format!("{}.log", self.name))
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Stat {
    parent: u32,
    own_s: f64,
    /// Of its children that ended.
    ended_s: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; the fields after it are numbers.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own_s: (number(11)? + number(12)?) / TICKS_PER_S,
        ended_s: (number(13)? + number(14)?) / TICKS_PER_S,
    })
}

/// What this process has cost, CPU seconds.
pub fn own_cpu_s() -> f64 {
    stat(std::process::id()).map_or(0.0, |stat| stat.own_s)
}

/// What a process and its children have cost, those that ended too: a PostgreSQL, CPU seconds.
pub fn family_cpu_s(pid: u32) -> f64 {
    let Some(parent) = stat(pid) else { return 0.0 };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = numbers.filter_map(stat).filter(|stat| stat.parent == pid);
    parent.own_s + parent.ended_s + children.map(|stat| stat.own_s).sum::<f64>()
}

/// The largest memory of a process so far, MiB (`VmHWM`).
pub fn memory_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}

/// How many cores there are.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
