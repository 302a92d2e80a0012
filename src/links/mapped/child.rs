//! A worker from its parent's side: started, asked, watched, ended.
//!
//! What a payload costs is measured as the worker's computing time, not by the clock on the wall: on a box
//! that is busy with something else a good program waits long and computes little.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::frames::{OUTPUT_MAX_BYTES, WELL, length_of};
use super::worker::MEMORY_MAX_BYTES;

/// How much computing a payload may cost.
pub const PAYLOAD_MAX: Duration = Duration::from_millis(250);
/// How much computing the start may cost, the program's compilation among it.
const START_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take by the clock on the wall, however little is computed.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often the worker is looked at while it is computing.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What the kernel counts processes' times in: its own `USER_HZ`, the same on every Linux.
const TICKS_PER_S: u64 = 100;
/// How much of a worker's last words is read, bytes.
const LAST_WORDS_MAX_BYTES: u64 = 4096;

const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;
/// How linli exits after a panic.
const PANICKED: i32 = 70;

/// A worker that runs.
#[derive(Debug)]
pub struct Worker {
    process: Option<Child>,
    pid: u32,
    stream: UnixStream,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Died {
    /// The program is to blame.
    #[error("{0}")]
    Program(String),
    /// Something else ended the worker, or kept it from working.
    #[error("{0}")]
    Other(String),
}

/// Why a worker doesn't start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// The program can't be compiled.
    #[error("{0}")]
    Program(String),
    /// There is no worker to be had.
    #[error("the worker can't be started: {0}")]
    Other(String),
}

impl Worker {
    /// Starts one and has it compile the program. `exe` is linli itself.
    ///
    /// # Errors
    /// With the reason.
    pub async fn start(exe: &Path, program: &str) -> Result<Self, NotStarted> {
        let other = |e: io::Error| NotStarted::Other(e.to_string());
        let exe = exe.to_path_buf();
        let spawned = tokio::task::spawn_blocking(move || spawn(&exe)).await;
        let (process, stream) = spawned
            .map_err(|e| NotStarted::Other(e.to_string()))?
            .map_err(other)?;
        let mut worker = Self {
            pid: process.id(),
            process: Some(process),
            stream: UnixStream::from_std(stream).map_err(other)?,
        };
        match worker.exchange(program.as_bytes(), START_MAX).await {
            Ok(Ok(_)) => Ok(worker),
            Ok(Err(why)) => Err(NotStarted::Program(why)),
            Err(Died::Program(why)) => Err(NotStarted::Program(why)),
            Err(Died::Other(why)) => Err(NotStarted::Other(why)),
        }
    }

    /// What the program makes of an input: a JSON array, or why it can't. After `Err` there is no worker
    /// any more.
    ///
    /// # Errors
    /// The worker ended, or was ended.
    pub async fn ask(&mut self, input: &[u8]) -> Result<Result<Vec<u8>, String>, Died> {
        self.exchange(input, PAYLOAD_MAX).await
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    async fn exchange(
        &mut self,
        said: &[u8],
        computing_max: Duration,
    ) -> Result<Result<Vec<u8>, String>, Died> {
        let (before, began) = (computed(self.pid), Instant::now());
        let pid = self.pid;
        let why = {
            let exchange = exchanged(&mut self.stream, said);
            tokio::pin!(exchange);
            loop {
                tokio::select! {
                    answer = &mut exchange => match answer {
                        Ok(answer) => return Ok(answer),
                        Err(_) => break None,
                    },
                    () = sleep(LOOK_EVERY) => {}
                }
                let used = computed(pid)
                    .unwrap_or_default()
                    .saturating_sub(before.unwrap_or_default());
                if used >= computing_max {
                    break Some(Died::Program(too_slow(computing_max)));
                }
                if began.elapsed() >= SILENCE_MAX {
                    let seconds = SILENCE_MAX.as_secs();
                    break Some(Died::Other(format!(
                        "the worker was silent for {seconds} s"
                    )));
                }
            }
        };
        let end = self.end(why.is_some()).await;
        Err(why.unwrap_or(end))
    }

    /// Ends the process, at once or after it had a moment to end by itself, and says why it has.
    async fn end(&mut self, at_once: bool) -> Died {
        let Some(mut process) = self.process.take() else {
            return Died::Other("the worker has ended".to_owned());
        };
        let ended = tokio::task::spawn_blocking(move || {
            let ended = (!at_once).then(|| ended_soon(&mut process)).flatten();
            let status = match ended {
                Some(status) => Ok(status),
                None => process.kill().and_then(|()| process.wait()),
            };
            let mut words = String::new();
            if let Some(said) = process.stderr.take() {
                // What can't be read isn't told.
                let _ = said.take(LAST_WORDS_MAX_BYTES).read_to_string(&mut words);
            }
            (status, words)
        });
        match ended.await {
            Ok((Ok(status), words)) => died(status, &words),
            Ok((Err(e), _)) => Died::Other(e.to_string()),
            Err(e) => Died::Other(e.to_string()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // A process that was killed is gone at once.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn spawn(exe: &Path) -> io::Result<(Child, StdStream)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let process = Command::new(exe)
        .arg0("linli")
        .arg("map-worker")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        // What a terminal sends to the gateway is the gateway's business.
        .process_group(0)
        .spawn()?;
    Ok((process, ours))
}

async fn exchanged(stream: &mut UnixStream, said: &[u8]) -> io::Result<Result<Vec<u8>, String>> {
    stream.write_all(&length_of(said)).await?;
    stream.write_all(said).await?;
    let word = stream.read_u8().await?;
    let length = stream.read_u32_le().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > OUTPUT_MAX_BYTES {
        return Err(io::Error::other("a longer answer than there may be"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    match word {
        WELL => Ok(Ok(answer)),
        _ => Ok(Err(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// A process that ends by itself takes a moment.
fn ended_soon(process: &mut Child) -> Option<ExitStatus> {
    for _ in 0..20 {
        if let Ok(Some(status)) = process.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Why a worker ended that wasn't told to.
fn died(status: ExitStatus, words: &str) -> Died {
    let program = |why: &str| Died::Program(why.to_owned());
    if words.contains("memory allocation of") || words.contains("capacity overflow") {
        return Died::Program(format!(
            "the program takes more than {} MiB of memory",
            MEMORY_MAX_BYTES >> 20
        ));
    }
    if words.contains("overflowed its stack") {
        return program("the program calls itself too deep");
    }
    match (status.signal(), status.code()) {
        (Some(SIGXCPU), _) => Died::Program(too_slow(PAYLOAD_MAX)),
        (Some(SIGABRT | SIGBUS | SIGSEGV), _) => program("the program broke its worker"),
        (Some(signal), _) => Died::Other(format!("the worker was ended by signal {signal}")),
        (None, Some(0)) => Died::Other("the worker ended by itself".to_owned()),
        (None, Some(PANICKED)) => program("the program broke its worker"),
        (None, code) => {
            let code = code.unwrap_or_default();
            let said = words.lines().next_back().unwrap_or_default();
            Died::Other(format!("the worker ended with {code}: {said}"))
        }
    }
}

fn too_slow(max: Duration) -> String {
    format!("the program computes for more than {} ms", max.as_millis())
}

/// How much a process has computed so far (proc_pid_stat(5): `utime` and `stime`).
fn computed(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_has_computed_can_be_read() {
        let before = computed(std::process::id()).unwrap();
        let until = before + Duration::from_millis(30);
        let mut n = 0_u64;
        while computed(std::process::id()).unwrap() < until {
            n = n.wrapping_mul(31).wrapping_add(std::hint::black_box(7));
        }
        assert!(std::hint::black_box(n) != 1);
    }

    #[tokio::test]
    async fn a_worker_that_is_none_is_told() {
        let none = Worker::start(Path::new("/nowhere/linli"), ".")
            .await
            .unwrap_err();
        assert!(matches!(&none, NotStarted::Other(_)), "{none}");
        let other = Worker::start(Path::new("/bin/false"), ".")
            .await
            .unwrap_err();
        assert!(
            matches!(&other, NotStarted::Other(why) if why.contains("ended with 1")),
            "{other}"
        );
    }
}
