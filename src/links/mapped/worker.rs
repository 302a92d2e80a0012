//! `linli map-worker`: the process that runs one profile's program. What a program does to it, it does to
//! nobody else.
//!
//! It binds its own hands before it reads anything: memory, computing, files. Its parent measures what a
//! payload costs and ends it ([`super::child`]); the limit on computing here only makes sure that
//! it ends when there is no parent any more.

use std::fs;
use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, UsageWho, getrusage, rlim_t, setrlimit};

use super::frames::{self, ILL, INPUT_MAX_BYTES, PROGRAM_MAX_BYTES, WELL};
use super::program::Program;

/// How much more memory it may take than it has at the start, bytes.
pub const MEMORY_MAX_BYTES: u64 = 64 << 20;
/// How much computing one payload may cost when nobody watches, seconds.
const UNWATCHED_MAX_S: rlim_t = 5;

/// Serves its parent until that closes the line.
///
/// # Errors
/// The limits can't be set, or the parent sends what it shouldn't.
pub fn run() -> io::Result<()> {
    confine()?;
    let (mut from, mut to) = (io::stdin().lock(), io::stdout().lock());
    let Some(source) = frames::read(&mut from, PROGRAM_MAX_BYTES)? else {
        return Ok(());
    };
    let compiled = match String::from_utf8(source) {
        Ok(source) => Program::compile(&source),
        Err(_) => Err("the program isn't text in UTF-8".to_owned()),
    };
    let program = match compiled {
        Ok(program) => program,
        Err(why) => return frames::answer(&mut to, ILL, why.as_bytes()),
    };
    frames::answer(&mut to, WELL, b"")?;
    while let Some(input) = frames::read(&mut from, INPUT_MAX_BYTES)? {
        allow_computing()?;
        match program.run(&input) {
            Ok(made) => frames::answer(&mut to, WELL, &made)?,
            Err(why) => frames::answer(&mut to, ILL, why.as_bytes())?,
        }
    }
    Ok(())
}

fn confine() -> io::Result<()> {
    // When memory runs out, this process is the first to go. Not everywhere is that allowed.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let memory = memory_bytes()? + MEMORY_MAX_BYTES;
    setrlimit(Resource::RLIMIT_AS, memory, memory)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    setrlimit(Resource::RLIMIT_NOFILE, 3, 3)?;
    allow_computing()
}

/// So much from now on.
fn allow_computing() -> io::Result<()> {
    let used = getrusage(UsageWho::RUSAGE_SELF)?;
    let used_s = used.user_time().tv_sec() + used.system_time().tv_sec();
    let until_s = rlim_t::try_from(used_s).unwrap_or(0) + UNWATCHED_MAX_S;
    Ok(setrlimit(Resource::RLIMIT_CPU, until_s, RLIM_INFINITY)?)
}

/// The addresses that are in use, the program's own code among them.
fn memory_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| io::Error::other("/proc/self/status names no VmSize"))
}
