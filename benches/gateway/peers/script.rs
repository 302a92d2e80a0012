//! The straightforward script (`straightforward.py`) as a process, with the Python that it needs.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{have, wait_for};
use crate::figures::Table;
use crate::process::Process;

/// What the script needs, at the version that it was written for.
const PAHO: &str = "paho-mqtt==2.1.0";

/// A Python that has the MQTT client: an environment of its own below `target`, kept for next time.
pub struct Python(PathBuf);

impl Python {
    /// Makes it if it isn't there; `None`, with a note in the table, where that can't be done.
    pub fn find(table: &mut Table) -> Option<Self> {
        if !have("python3") {
            table.note("the straightforward script: left out: no python3");
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        let python = folder.join("bin/python");
        let check = format!(
            "from importlib.metadata import version as v; assert 'paho-mqtt=='+v('paho-mqtt')=='{PAHO}'"
        );
        if quietly(Command::new(&python).args(["-c", &check])) {
            return Some(Self(python));
        }
        let made = quietly(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        ) && quietly(Command::new(&python).args(["-m", "pip", "install", "-q", PAHO]));
        if !made {
            table.note(format!(
                "the straightforward script: left out: no venv with {PAHO}"
            ));
            return None;
        }
        Some(Self(python))
    }
}

/// The script at work.
pub struct Script {
    child: Child,
    committed: Arc<AtomicU64>,
}

impl Script {
    /// Starts it on a broker with a database in `folder`; returns when it has subscribed.
    pub fn start(python: &Python, broker: SocketAddr, folder: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(&python.0)
            .arg(source.join("benches/gateway/straightforward.py"))
            .args([broker.ip().to_string(), broker.port().to_string()])
            .arg(folder.join("straightforward.db"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        // One byte when it has subscribed, one more for every commit.
        out.read_exact(&mut [0]).expect("the script to subscribe");
        let committed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&committed);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(read @ 1..) = out.read(&mut bytes) {
                counted.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        Self { child, committed }
    }

    /// Events committed so far.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Waits until it has committed so many.
    pub fn wait_for(&self, events: u64) {
        wait_for("the script to commit", || {
            (self.committed() >= events).then_some(())
        });
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quietly(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
