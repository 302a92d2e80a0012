//! A gateway for a test: the real binary on a configuration of its own, free ports, a temporary
//! folder. What is started here is ended here.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod interposed;
pub mod mosquitto;
pub mod proxy;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use firmware_protocols::Ident;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

thread_local! {
    /// What to show when a wait was in vain.
    static CONTEXT: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Waits until `ready` gives something, or fails with `what`.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(
            Instant::now() < until,
            "in vain: waited for {what}\n{}",
            CONTEXT.with_borrow(|context| context.clone())
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same, among async tasks.
pub async fn wait_until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(Instant::now() < until, "in vain: waited for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Changes the daemon's command before it starts.
pub type Prepare = Box<dyn Fn(&mut Command) + Send + Sync>;

/// What a gateway is configured with.
pub struct Setup {
    pub dir: TempDir,
    /// Devices beside `bank-a` (12 compartments) and `desk-1`; all may come without a password.
    pub devices: Vec<String>,
    /// Those that need one.
    pub with_password: Vec<String>,
    pub state_dir: Option<PathBuf>,
    pub cloud: Option<String>,
    /// Whether a file with an enrolment token is named; else somebody has to enrol.
    pub token: bool,
    pub external: Option<SocketAddr>,
    pub more: String,
    /// Log everything, to look for what mustn't be there.
    pub trace: bool,
    /// Variables for the daemon.
    pub env: Vec<(String, OsString)>,
    pub port: u16,
    /// What else is done to the daemon's command before it starts.
    pub prepare: Option<Prepare>,
}

impl Setup {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            devices: (1..=8).map(|n| format!("door-{n}")).collect(),
            with_password: Vec::new(),
            state_dir: None,
            cloud: None,
            token: true,
            external: None,
            more: String::new(),
            trace: false,
            env: Vec::new(),
            port: 0,
            prepare: None,
        }
    }

    pub fn state(&self) -> PathBuf {
        match &self.state_dir {
            Some(dir) => dir.clone(),
            None => self.dir.path().join("state"),
        }
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("linli.toml")
    }

    pub fn store(&self) -> PathBuf {
        self.state().join("linli.db")
    }

    /// Writes the configuration as it is set up now.
    pub fn write_config(&self) {
        let mut text = format!("site = \"test-site\"\nstate_dir = {:?}\n", self.state());
        writeln!(text, "[control]\nsocket = {:?}", self.socket()).unwrap();
        let everyone = ["bank-a".to_owned(), "desk-1".to_owned()];
        let all = everyone.iter().chain(&self.devices);
        let anonymous: Vec<_> = all.filter(|d| !self.with_password.contains(d)).collect();
        match self.external {
            Some(broker) => writeln!(text, "[external_broker]\nurl = \"mqtt://{broker}\"").unwrap(),
            None => writeln!(
                text,
                "[broker]\nlisten = \"127.0.0.1:{}\"\nanonymous = {anonymous:?}",
                self.port
            )
            .unwrap(),
        }
        if let Some(cloud) = &self.cloud {
            writeln!(text, "[cloud]\nurl = {cloud:?}").unwrap();
            if self.token {
                let token = token_file(self.dir.path());
                writeln!(text, "token_file = {token:?}").unwrap();
            }
            if !self.more.contains("[cloud.line]") {
                // A test doesn't wait for what is spread over a quarter of an hour.
                text.push_str("[cloud.line]\nspread_s = 0\n");
            }
        }
        text.push_str(&self.more);
        if !self.more.contains("[limits]") {
            // Loads in tests are faster than any device.
            text.push_str("\n[limits]\nevents_per_s = 0\nurgent_per_s = 0\nkib_per_s = 0\n");
        }
        text.push_str("\n[[building]]\nid = \"b1\"\n");
        text.push_str(
            "[[bank]]\nid = \"bank-a\"\nbuilding = \"b1\"\naddress = \"Gate 1\"\n\
             compartments = [{ count = 8, size = \"S\" }, { count = 4, size = \"L\" }]\n\
             [[desk]]\nid = \"desk-1\"\nbuilding = \"b1\"\naddress = \"Office\"\n",
        );
        for device in &self.devices {
            writeln!(text, "[[device]]\nid = {device:?}\nbuilding = \"b1\"").unwrap();
        }
        fs::write(self.config(), text).unwrap();
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    /// Runs the CLI against this gateway.
    pub fn cli(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_linli"))
            .arg("--config")
            .arg(self.config())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Says a pickup code at the desk, as to the question that `desk hand-over` asks.
    pub fn hand_over(&self, code: &str) -> Output {
        self.said(&["desk", "hand-over"], code)
    }

    /// Runs the CLI with this line on its standard input.
    pub fn said(&self, args: &[&str], line: &str) -> Output {
        use std::io::Write as _;
        let mut child = Command::new(env!("CARGO_BIN_EXE_linli"))
            .arg("--config")
            .arg(self.config())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{line}").unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs the CLI with `--json` and reads what it prints.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let out = self.cli(&args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&out.stdout)))
    }

    /// Starts the daemon without waiting for it.
    pub fn spawn(&self) -> Child {
        self.write_config();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
        if self.trace {
            command.env("LINLI_LOG", "trace");
        }
        if let Some(prepare) = &self.prepare {
            prepare(&mut command);
        }
        command.envs(self.env.iter().cloned());
        command
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Starts the daemon and waits until it takes events.
    pub fn start(&mut self) -> Gateway {
        let child = self.spawn();
        let mut gateway = Gateway { child };
        let status = wait_for("the daemon to answer", || {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                panic!("the daemon ended ({status}): {}", self.log_text());
            }
            let out = self.cli(&["status", "--json"]);
            CONTEXT.set(format!(
                "{}{}{}",
                self.log_text(),
                text(&out.stdout),
                text(&out.stderr)
            ));
            let status: Value = serde_json::from_slice(&out.stdout).ok()?;
            let up = status["links"]["last_error"].is_null();
            up.then_some(status)
        });
        if self.external.is_none() {
            let address = status["links"]["address"].as_str().unwrap();
            // That of TLS stands after it.
            let plain = address.split(", ").next().unwrap();
            let address: SocketAddr = plain.parse().unwrap();
            // A restart is found at the same place.
            self.port = address.port();
        }
        gateway
    }

    pub fn address(&self) -> SocketAddr {
        match self.external {
            Some(broker) => broker,
            None => SocketAddr::from(([127, 0, 0, 1], self.port)),
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Every stored event as (device, boot, seq) with how often it is there.
    pub fn stored(&self) -> BTreeMap<(String, u32, u64), u32> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let conn = rusqlite::Connection::open_with_flags(self.store(), flags).unwrap();
        let mut statement = conn
            .prepare(
                "SELECT d.device, e.boot, e.seq FROM events e JOIN devices d ON d.ref = e.device",
            )
            .unwrap();
        let rows = statement
            .query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64))
            })
            .unwrap();
        let mut out = BTreeMap::new();
        for row in rows {
            *out.entry(row.unwrap()).or_default() += 1;
        }
        out
    }
}

/// A one-time token in a file, as a technician gets it from the operator. The reference cloud of a
/// test is open: it takes any token.
pub fn token_file(dir: &Path) -> PathBuf {
    let file = dir.join("cloud-token");
    fs::write(&file, "a-token-of-the-tests\n").unwrap();
    file
}

/// A running daemon.
pub struct Gateway {
    child: Child,
}

impl Gateway {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it holds in memory, KiB (`VmRSS`).
    pub fn memory_kib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(file).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse().unwrap()
    }

    /// SIGKILL: what was acknowledged must be on disk.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the orderly end.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        let signalled = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(signalled.success());
        let status = wait_for("the daemon to stop", || self.child.try_wait().unwrap());
        assert!(status.success(), "the daemon ended with {status}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Already gone after `kill` and `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a program that a test needs is there. Its absence is a failure in CI.
pub fn have(program: &str) -> bool {
    let there = std::env::var_os("PATH").is_some_and(|path| {
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.push(Path::new("/usr/sbin").to_path_buf());
        folders.iter().any(|folder| folder.join(program).exists())
    });
    if !there {
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "{program} isn't installed: CI must have it");
        eprintln!("LEFT OUT: {program} isn't installed, so this test didn't run");
    }
    there
}
