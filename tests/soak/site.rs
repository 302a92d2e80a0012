//! The site under test: the real daemon on a disk that can fail, the reference cloud, a proxy on
//! each of its two ways out, and the command line. What is started here is ended here.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use firmware_protocols::Ident;
use reference_cloud::Cloud;
use serde_json::Value;

use crate::common::interposed::{self, Faults};
use crate::common::proxy::Proxy;
use crate::common::{ident, text, token_file};

/// The gateway's name at the cloud.
pub const SITE: &str = "soak";
pub const BANKS: [&str; 3] = ["bank-a", "bank-b", "bank-c"];
pub const DESK: &str = "desk-1";
/// Compartments of each bank: eight of size S, four of size L.
pub const COMPARTMENTS: u16 = 12;
pub const SENSORS: usize = 24;
pub const DOORS: usize = 16;
pub const FLOODER: &str = "flood-1";
pub const SLOPPY: &str = "sloppy-1";

/// How long the daemon may take to start or to stop.
const START: Duration = Duration::from_secs(60);
/// How long the command line may take for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What the command line answered.
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

pub struct Site {
    dir: PathBuf,
    pub cloud: Cloud,
    /// Between the gateway and the cloud.
    pub cloud_line: Proxy,
    /// Between the devices and the gateway.
    device_line: OnceLock<Proxy>,
    pub disk: Faults,
    gateway: Mutex<Life>,
}

/// The daemon's process, which is started again and again.
#[derive(Default)]
struct Life {
    child: Option<Child>,
    /// Counts the starts.
    number: u32,
    port: u16,
}

impl Site {
    /// Starts cloud, proxies and daemon; everything is kept in `dir`.
    pub async fn set_up(dir: &Path) -> Self {
        let cloud = reference_cloud::Config::in_file(dir.join("cloud.db"));
        let cloud = reference_cloud::serve(cloud).await.unwrap();
        let site = Self {
            dir: dir.to_path_buf(),
            cloud_line: Proxy::start(cloud.address()),
            cloud,
            device_line: OnceLock::new(),
            disk: Faults::new(&dir.join("disk-faults")),
            gateway: Mutex::default(),
        };
        fs::create_dir(site.state()).unwrap();
        tokio::task::block_in_place(|| site.start());
        let port = site.gateway.lock().unwrap().port;
        let broker = SocketAddr::from(([127, 0, 0, 1], port));
        let _ = site.device_line.set(Proxy::start(broker));
        site
    }

    /// Between the devices and the gateway.
    pub fn device_line(&self) -> &Proxy {
        self.device_line.get().expect("the site is set up")
    }

    /// Where devices connect.
    pub fn broker(&self) -> SocketAddr {
        self.device_line().address()
    }

    /// The gateway itself, without the proxy in front of it.
    pub fn gateways_own_port(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.gateway.lock().unwrap().port))
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn store(&self) -> PathBuf {
        self.state().join("linli.db")
    }

    pub fn clouds_store(&self) -> PathBuf {
        self.dir.join("cloud.db")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The running daemon: its process and the number of its start.
    pub fn running(&self) -> Option<(u32, u32)> {
        let life = self.gateway.lock().unwrap();
        life.child.as_ref().map(|child| (child.id(), life.number))
    }

    /// How the daemon ended if nobody had ended it.
    pub fn ended_by_itself(&self) -> Option<String> {
        let mut life = self.gateway.lock().unwrap();
        let status = life.child.as_mut()?.try_wait().unwrap()?;
        life.child = None;
        Some(status.to_string())
    }

    /// Starts the daemon, and waits until it answers. How long that took.
    pub fn start(&self) -> Duration {
        let begun = Instant::now();
        self.spawn();
        loop {
            if let Some(ended) = self.ended_by_itself() {
                panic!("the daemon ended at its start ({ended}): {}", self.tail());
            }
            let said = self.linli(&["status", "--json"]);
            let status: Value = serde_json::from_str(&said.out).unwrap_or_default();
            let address: Option<SocketAddr> = status["links"]["address"]
                .as_str()
                .and_then(|address| address.parse().ok());
            if let (Some(address), Value::Null) = (address, &status["links"]["last_error"]) {
                self.gateway.lock().unwrap().port = address.port();
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < START,
                "the daemon doesn't answer: {}{}{}",
                said.out,
                said.err,
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn spawn(&self) {
        let mut life = self.gateway.lock().unwrap();
        fs::write(self.config(), self.config_text(life.port)).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
        interposed::below(&mut command, &self.state());
        self.disk.apply(&mut command);
        let child = command
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        life.child = Some(child);
        life.number += 1;
    }

    /// `kill -9`.
    pub fn kill(&self) {
        let child = self.gateway.lock().unwrap().child.take();
        let mut child = child.expect("the daemon runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `SIGTERM`, and waits for the orderly end. How long that took.
    pub fn stop(&self) -> Result<Duration, String> {
        let child = self.gateway.lock().unwrap().child.take();
        let mut child = child.expect("the daemon runs");
        let begun = Instant::now();
        let pid = child.id().to_string();
        let signalled = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(signalled.unwrap().success());
        while begun.elapsed() < START {
            if let Some(status) = child.try_wait().unwrap() {
                let took = begun.elapsed();
                return match status.success() {
                    true => Ok(took),
                    false => Err(format!("after SIGTERM the daemon ended with {status}")),
                };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        Err(format!("the daemon didn't stop within {START:?}"))
    }

    /// Runs the command line against the daemon, whether it runs or not.
    pub fn linli(&self, args: &[&str]) -> Said {
        self.linli_with(args, "")
    }

    /// The same, with something on its standard input.
    pub fn linli_with(&self, args: &[&str], input: &str) -> Said {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_linli"))
            .arg("--config")
            .arg(self.config())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who reads nothing has closed it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let read_out = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = out.read_to_end(&mut bytes);
            bytes
        });
        let read_err = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = err.read_to_end(&mut bytes);
            bytes
        });
        let ok = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.success();
            }
            if begun.elapsed() > ANSWER {
                child.kill().unwrap();
                child.wait().unwrap();
                break false;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Said {
            ok,
            out: text(&read_out.join().unwrap()),
            err: text(&read_err.join().unwrap()),
            took: begun.elapsed(),
        }
    }

    /// The last of the daemon's log.
    pub fn tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub fn is_stuck(said: &Said) -> bool {
        said.took > ANSWER
    }

    fn config(&self) -> PathBuf {
        self.dir.join("linli.toml")
    }

    fn config_text(&self, port: u16) -> String {
        let others = other_devices();
        let points = BANKS.iter().map(ToString::to_string).chain([DESK.into()]);
        let all: Vec<String> = points.chain(others.iter().cloned()).collect();
        let mut text = format!(
            "site = {SITE:?}\nstate_dir = {:?}\n\
             [control]\nsocket = {:?}\n\
             [broker]\nlisten = \"127.0.0.1:{port}\"\nanonymous = {all:?}\n\
             [cloud]\nurl = {:?}\ntoken_file = {:?}\n\
             [cloud.line]\nspread_s = 0\n\
             [[building]]\nid = \"b1\"\n",
            self.state(),
            self.dir.join("control.sock"),
            self.cloud_line.url(),
            token_file(&self.dir),
        );
        for bank in BANKS {
            writeln!(
                text,
                "[[bank]]\nid = {bank:?}\nbuilding = \"b1\"\naddress = \"Gate\"\n\
                 compartments = [{{ count = 8, size = \"S\" }}, {{ count = 4, size = \"L\" }}]"
            )
            .unwrap();
        }
        writeln!(
            text,
            "[[desk]]\nid = {DESK:?}\nbuilding = \"b1\"\naddress = \"Office\""
        )
        .unwrap();
        for device in others {
            writeln!(text, "[[device]]\nid = {device:?}\nbuilding = \"b1\"").unwrap();
        }
        text
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(mut life) = self.gateway.lock()
            && let Some(mut child) = life.child.take()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The gateway's name at the cloud.
pub fn site() -> Ident {
    ident(SITE)
}

pub fn sensor(n: usize) -> String {
    format!("sensor-{n}")
}

pub fn door(n: usize) -> String {
    format!("door-{n}")
}

/// Every device that isn't a point.
fn other_devices() -> Vec<String> {
    let sensors = (1..=SENSORS).map(sensor);
    let rest = [FLOODER, SLOPPY].map(ToString::to_string);
    sensors.chain((1..=DOORS).map(door)).chain(rest).collect()
}
