//! The real daemon with a disk that can be made to fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use linli::control::client::Client;
use linli::control::wire::Request;
use serde_json::Value;

use crate::common::interposed::{self, Faults};
use crate::common::{PATIENCE, Setup};

/// The daemon, started and ended as a life goes on.
pub struct Gateway {
    pub setup: Mutex<Setup>,
    pub faults: Faults,
    socket: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Gateway {
    /// None runs yet; no call fails yet.
    pub fn new(setup: Setup) -> Self {
        Self::under(setup, None)
    }

    /// The same, with each change of a file appended to `trace`.
    pub fn traced(setup: Setup, trace: &Path) -> Self {
        Self::under(setup, Some(trace.to_path_buf()))
    }

    fn under(mut setup: Setup, trace: Option<PathBuf>) -> Self {
        let block = setup.dir.path().join("faults");
        let faults = Faults::new(&block);
        let state = setup.state();
        let shared = Faults::open(&block);
        setup.prepare = Some(Box::new(move |command: &mut Command| {
            interposed::below(command, &state);
            shared.apply(command);
            if let Some(trace) = &trace {
                command.env("LINLI_DISK_TRACE", trace);
            }
        }));
        Self {
            socket: setup.socket(),
            setup: Mutex::new(setup),
            faults,
            child: Mutex::new(None),
        }
    }

    /// Starts it, and waits until it takes devices. When it refuses, says what it said; whether that
    /// is a proper refusal is checked here.
    pub async fn start(&self) -> Result<(), String> {
        let before = self.log().len();
        let child = self.setup.lock().unwrap().spawn();
        *self.child.lock().unwrap() = Some(child);
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(code) = self.ended() {
                let said = self.log().split_off(before);
                self.child.lock().unwrap().take();
                is_a_proper_refusal(code, &said, &self.setup.lock().unwrap().state());
                return Err(said);
            }
            if let Some(status) = self.status()
                && status["links"]["last_error"].is_null()
            {
                let address = status["links"]["address"].as_str().unwrap();
                let address: SocketAddr = address.parse().unwrap();
                self.setup.lock().unwrap().port = address.port();
                return Ok(());
            }
            assert!(Instant::now() < end, "neither up nor ended: {}", self.log());
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Where devices reach it.
    pub fn address(&self) -> SocketAddr {
        self.setup.lock().unwrap().address()
    }

    /// The exit code, if it has ended (-1 for a signal).
    pub fn ended(&self) -> Option<i32> {
        let mut child = self.child.lock().unwrap();
        let status = child.as_mut()?.try_wait().unwrap()?;
        Some(status.code().unwrap_or(-1))
    }

    /// What `linli status --json` answers; `None` while nobody does.
    pub fn status(&self) -> Option<Value> {
        tokio::task::block_in_place(|| {
            let mut client = Client::connect(&self.socket).ok()?;
            client.one::<Value>(&Request::Status).ok()
        })
    }

    /// Troubles of the disk in a status.
    pub fn disk_troubles(status: &Value) -> Vec<String> {
        let troubles = status["troubles"].as_array().unwrap();
        let disk = troubles
            .iter()
            .filter_map(|trouble| match trouble["trouble"].as_str()? {
                "not-writing" => Some("writing".to_owned()),
                "disk-refuses" => Some(trouble["duty"].as_str()?.to_owned()),
                _ => None,
            });
        disk.collect()
    }

    /// `kill -9`.
    pub fn kill(&self) {
        let child = self.child.lock().unwrap().take();
        let mut child = child.expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end. The exit code.
    pub async fn stop(&self) -> i32 {
        let pid = self.child.lock().unwrap().as_ref().expect("it runs").id();
        let signalled = Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status();
        assert!(signalled.unwrap().success());
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(code) = self.ended() {
                self.child.lock().unwrap().take();
                return code;
            }
            assert!(Instant::now() < end, "it doesn't stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.setup.lock().unwrap().log_text()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            // Already gone, or ended here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_a_proper_refusal(code: i32, said: &str, state: &Path) {
    if said.contains("can't listen on") {
        // The port of the start before was taken by somebody meanwhile: not the disk's fault.
        return;
    }
    let errors: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("error:"))
        .collect();
    let [error] = errors.as_slice() else {
        panic!("not one message of error: {said}");
    };
    assert_eq!(code, 1, "{said}");
    assert!(
        error.contains(state.to_str().unwrap()),
        "names no file: {error}"
    );
    let remedies = ["df -h", "check that", "Restore"];
    assert!(
        remedies.iter().any(|remedy| error.contains(remedy)),
        "says not what to do: {error}"
    );
    assert!(!said.contains("panicked"), "{said}");
}
