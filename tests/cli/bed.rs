//! A control server over a real store with a small estate in it, and the real binary to ask it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cloud_protocol::downlink::{Size, Zone};
use estate::input::DeskAct;
use estate::layout::{Bank, CompartmentSpec, Desk, Device, Rules};
use estate::parcel::TraceEntry;
use estate::{Layout, TimeQuality, Told, Typed};
use firmware_protocols::event::Secret;
use firmware_protocols::value::map;
use firmware_protocols::{Ident, Slot, Value};
use linli::audit::Auditing;
use linli::cloud::Requests;
use linli::config::serial::Protocol;
use linli::control::reload::{ConfigurationReport, ReloadView};
use linli::control::views::{ClockReport, JournalReport, LinksReport, StatusReport};
use linli::control::{Backend, Limits, serve_within};
use linli::links::serial::tap::Tap;
use linli::store::schema::{self, WriterConnection};
use linli::store::trace::{self, TraceHead};
use rusqlite::params;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

/// 2026-11-22 09:03:21 UTC.
pub const NOW_MS: i64 = 1_795_338_201_000;

/// The most that anything in here may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the tests set and see of the daemon.
pub struct Daemon {
    store: PathBuf,
    layout: Layout,
    pub report: Mutex<StatusReport>,
    pub answer: Mutex<Result<String, String>>,
    pub asked: Mutex<Vec<(Slot, String, String)>>,
    /// What the journal answers to the staff.
    pub told: Mutex<Result<Told, String>>,
    /// What the staff asked for: who, and what.
    pub acts: Mutex<Vec<(String, Asked)>>,
    /// Devices that are known not to be there.
    pub away: Mutex<Vec<String>>,
    newest: watch::Sender<i64>,
    auditing: Auditing,
    /// The way to a sync client, which is a test's; none if `sync` isn't set.
    pub requests: Requests,
    pub sync: std::sync::atomic::AtomicBool,
    /// Who had the configuration reloaded, and what came of it.
    pub reloads: Mutex<Vec<String>>,
    pub reloaded: Mutex<ReloadView>,
    /// What goes over the port `rs485-a`, which has CU16 boards.
    pub tap: Tap,
}

/// What the staff asked the journal for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    Desk(DeskAct),
    Disable(Slot, Option<String>),
}

#[async_trait]
impl Backend for Daemon {
    fn store_path(&self) -> &Path {
        &self.store
    }
    fn layout(&self) -> Arc<Layout> {
        Arc::new(self.layout.clone())
    }
    async fn reload(&self, operator: String) -> ReloadView {
        self.reloads.lock().unwrap().push(operator);
        self.reloaded.lock().unwrap().clone()
    }
    fn status(&self) -> StatusReport {
        StatusReport {
            audit: self.auditing.report(),
            ..self.report.lock().unwrap().clone()
        }
    }
    fn store_was_read(&self, outcome: Result<(), &str>) {
        let refused = outcome.err().map(|why| linli::disk::Refused {
            duty: linli::disk::Duty::Reading,
            error: why.to_string(),
            since_ms: NOW_MS,
            times: 1,
        });
        self.report.lock().unwrap().disk = refused.into_iter().collect();
    }
    fn online(&self, device: &Ident) -> Option<bool> {
        match device.as_str() {
            "bank-a" | "door-1" => Some(true),
            _ => None,
        }
    }
    async fn open(&self, slot: Slot, operator: String, reason: String) -> Result<String, String> {
        self.asked.lock().unwrap().push((slot, operator, reason));
        self.answer.lock().unwrap().clone()
    }
    fn away(&self, device: &Ident) -> bool {
        let away = self.away.lock().unwrap();
        away.iter().any(|known| known == device.as_str())
    }
    async fn disable(
        &self,
        slot: Slot,
        operator: String,
        reason: Option<String>,
    ) -> Result<Told, String> {
        let asked = Asked::Disable(slot, reason);
        self.acts.lock().unwrap().push((operator, asked));
        self.told.lock().unwrap().clone()
    }
    async fn desk(&self, operator: String, act: DeskAct) -> Result<Told, String> {
        let asked = Asked::Desk(act);
        self.acts.lock().unwrap().push((operator, asked));
        self.told.lock().unwrap().clone()
    }
    fn typed(&self, point: &Ident, digits: &Secret) -> Typed {
        typed(point.as_str(), digits.reveal())
    }
    fn auditing(&self) -> &Auditing {
        &self.auditing
    }
    fn serial_tap(&self, port: &str) -> Option<(Tap, Protocol)> {
        (port == "rs485-a").then(|| (self.tap.clone(), Protocol::KerongCu16))
    }
    fn sync_requests(&self) -> Option<&Requests> {
        let there = self.sync.load(std::sync::atomic::Ordering::SeqCst);
        there.then_some(&self.requests)
    }
    fn events_watch(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }
}

/// The test bed. Everything ends when it is dropped.
pub struct Bed {
    pub dir: tempfile::TempDir,
    pub socket: PathBuf,
    pub daemon: Arc<Daemon>,
    pub store: WriterConnection,
    shutdown: watch::Sender<bool>,
    _runtime: Runtime,
}

impl Bed {
    pub fn new() -> Self {
        Self::within(Limits::default())
    }

    pub fn within(limits: Limits) -> Self {
        log();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("linli.db");
        let store = schema::open_writer(&path, NOW_MS).unwrap();
        fill(&store.conn);
        let daemon = Arc::new(Daemon {
            store: path,
            layout: layout(),
            report: Mutex::new(report()),
            answer: Mutex::new(Err("the gateway is stopping".to_string())),
            asked: Mutex::new(Vec::new()),
            told: Mutex::new(Ok(Told::default())),
            acts: Mutex::new(Vec::new()),
            away: Mutex::new(Vec::new()),
            newest: watch::Sender::new(4),
            auditing: Auditing::new(&dir.path().join("keys")),
            requests: Requests::default(),
            reloads: Mutex::new(Vec::new()),
            reloaded: Mutex::new(ReloadView::default()),
            sync: true.into(),
            tap: Tap::default(),
        });
        let socket = dir.path().join("control.sock");
        let (shutdown, stopped) = watch::channel(false);
        let (ready, listening) = oneshot::channel();
        let runtime = Runtime::new().unwrap();
        let (at, backend) = (socket.clone(), Arc::clone(&daemon));
        runtime.spawn(async move {
            serve_within(limits, &at, backend, stopped, ready)
                .await
                .unwrap();
        });
        listening.blocking_recv().unwrap();
        Self {
            dir,
            socket,
            daemon,
            store,
            shutdown,
            _runtime: runtime,
        }
    }

    /// Tells the server to stop.
    pub fn stop(&self) {
        self.shutdown.send(true).unwrap();
    }

    /// Runs the binary against the server.
    pub fn linli(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().unwrap())
    }

    /// Runs it with `--json` and reads what it prints.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let outcome = self.linli(&[args, &["--json"]].concat());
        assert_eq!(outcome.code, 0, "{outcome:?}");
        serde_json::from_str(&outcome.out).unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = binary(self.dir.path(), args);
        command.arg("--socket").arg(&self.socket);
        command
    }

    /// A raw client.
    pub fn connect(&self) -> Raw {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(BufReader::new(stream))
    }

    /// Puts an event on disk and says so, as the journal does.
    pub fn happens(&self, device: i64, kind: &str, body: &Value) -> i64 {
        let id = add_event(&self.store.conn, device, kind, body);
        self.daemon.newest.send_replace(id);
        id
    }

    /// Sets what became of the command `o-9`.
    pub fn command_is(&self, state: &str, answer: Option<&str>) {
        set_command(&self.store.conn, state, answer);
    }
}

/// What stands for the digest of digits at a point.
pub fn typed(point: &str, digits: &str) -> Typed {
    let digest = |text: &str| {
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        <[u8; 32]>::try_from(hash.as_ref()).unwrap()
    };
    Typed {
        code: digest(&format!("{point}:{digits}")),
        elsewhere: Vec::new(),
        courier: digest(digits),
        digits: digits.len().try_into().unwrap(),
    }
}

/// What is logged in this process, at any level.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// All that the servers have logged.
pub fn logged() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

/// From the first bed on, everything is logged.
fn log() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let everything = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Log)
            .finish();
        tracing::subscriber::set_global_default(everything).unwrap();
    });
}

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sets what became of the command `o-9`.
pub fn set_command(conn: &rusqlite::Connection, state: &str, answer: Option<&str>) {
    conn.execute(
        "INSERT OR REPLACE INTO commands (id, bank, compartment, purpose, parcel, operator, reason,
             at_ms, quality, expires_tick_ms, state, answer, archived) VALUES
         ('o-9', 'bank-a', 2, 'by-hand', NULL, 'x', 'y', ?1, 2, 0, ?2, ?3, 0)",
        params![NOW_MS, state, answer],
    )
    .unwrap();
}

/// The binary, away from the sources' own configuration and the caller's environment.
pub fn binary(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
    command
        .args(args)
        .current_dir(dir)
        .env_remove("LINLI_SOCKET")
        .env_remove("LINLI_LOG")
        .env_remove("SUDO_USER")
        .env("TZ", "CST-8")
        .stdin(Stdio::null());
    command
}

/// What a run of the binary came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A client that speaks the socket's own language.
pub struct Raw(pub BufReader<UnixStream>);

impl Raw {
    pub fn say(&mut self, line: &str) {
        let stream = self.0.get_mut();
        stream.write_all(line.as_bytes()).unwrap();
        stream.write_all(b"\n").unwrap();
    }

    /// The next line; `None` at the end, however it came.
    pub fn hear(&mut self) -> Option<serde_json::Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(e) => {
                assert_ne!(e.kind(), std::io::ErrorKind::WouldBlock, "nothing came");
                None
            }
        }
    }

    /// All that comes until the server closes.
    pub fn rest(&mut self) -> usize {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        assert!(
            !matches!(&read, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock),
            "the server didn't close"
        );
        rest.len()
    }
}

/// A command that runs on, its lines taken one by one. It is ended when dropped.
pub struct Running {
    pub child: Child,
    pub lines: Option<BufReader<std::process::ChildStdout>>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = child.stdout.take().map(BufReader::new);
        Self { child, lines }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Waits for its end. Returns the exit code and what it said on standard error.
    pub fn end(&mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it runs on");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut err = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        (status.code(), err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn layout() -> Layout {
    let spec = |size, zone| CompartmentSpec {
        size,
        zone,
        low: false,
    };
    Layout {
        site: ident("willow-court"),
        buildings: vec![ident("b1")],
        banks: vec![Bank {
            id: ident("bank-a"),
            building: ident("b1"),
            address: "Gate 1".to_string(),
            compartments: vec![
                spec(Size::S, Zone::Ambient),
                spec(Size::M, Zone::Ambient),
                spec(Size::M, Zone::Chilled),
                spec(Size::L, Zone::Frozen),
            ],
            occupancy_sensor: true,
        }],
        desks: vec![Desk {
            id: ident("desk-1"),
            building: ident("b1"),
            address: "Office".to_string(),
        }],
        devices: vec![Device {
            id: ident("door-1"),
            building: ident("b1"),
            point: None,
        }],
        rules: Rules {
            command_ttl_ms: 200,
            ..Rules::default()
        },
    }
}

fn report() -> StatusReport {
    StatusReport {
        version: "0.1.0".to_string(),
        site: "willow-court".to_string(),
        uptime_ms: 60_000,
        journal: JournalReport {
            writing: true,
            ..JournalReport::default()
        },
        links: LinksReport {
            mode: "embedded".to_string(),
            address: "127.0.0.1:1883".to_string(),
            connected: 2,
            last_error: None,
            ..LinksReport::default()
        },
        parts: Vec::new(),
        cloud: serde_json::Value::Null,
        clock: ClockReport {
            wall_ms: NOW_MS,
            quality: "synchronised".to_string(),
            tick_ms: 1_000_000,
        },
        memory_rss_bytes: linli::control::memory_rss_bytes(),
        audit: linli::audit::AuditReport::default(),
        disk: Vec::new(),
        serial: Vec::new(),
        configuration: ConfigurationReport::default(),
    }
}

/// Three devices (one no longer configured), four events, two parcels, a quarantined payload.
fn fill(conn: &rusqlite::Connection) {
    let rows = [
        "INSERT INTO devices VALUES (1, 'bank-a', 'cbor', 3, 7, 5, 1, 1, 1795338200000, 'LB-24', '1.4', '[\"open\"]')",
        "INSERT INTO devices VALUES (2, 'door-1', 'json', 1, 2, 2, 0, 0, 1795338100000, NULL, NULL, '[]')",
        "INSERT INTO devices VALUES (3, 'old-1', 'json', 1, 0, 0, 0, 0, 0, NULL, NULL, '[]')",
        "INSERT INTO boots VALUES ('bank-a', 3, 4, '[[7,7]]', '[]', NULL, 0, 9)",
        "INSERT INTO compartments (bank, compartment, contents, door, occupied, openings)
             VALUES ('bank-a', 2, '[\"P-1\"]', 'closed', 1, 3)",
        "INSERT INTO compartments (bank, compartment, door, occupied, fault, openings)
             VALUES ('bank-a', 3, 'closed', 0, 'jammed', 1)",
        "INSERT INTO parcels (parcel, recipient, size, zone, point, deadline_ms, consent, items,
             stage, bank, compartment, courier, opened, alarmed, since_ms, since_tick_ms)
             VALUES ('P-1', 'token-of-li', 'M', 'ambient', 'bank-a', 1795400000000, 1, 2,
             'deposited', 'bank-a', 2, 'sf-22', 0, 0, 1795338000000, 5)",
        "INSERT INTO parcels (parcel, recipient, size, zone, point, deadline_ms, consent,
             stage, opened, alarmed, since_ms, since_tick_ms)
             VALUES ('P-2', 'token-of-wu', 'S', 'chilled', 'desk-1', 1795400000000, 0,
             'expected', 0, 0, 1795337000000, 4)",
        "INSERT INTO commands (id, bank, compartment, purpose, parcel, at_ms, quality,
             expires_tick_ms, state, archived)
             VALUES ('o-1', 'bank-a', 2, 'deposit', 'P-1', 1795337900000, 2, 0, 'opened', 1)",
        "INSERT INTO quarantine VALUES (1, 1795338190000, 'bank-a', 'linli/v1/bank-a/event', 'unknown kind', 12, 'x' || char(27) || '[2J')",
        "UPDATE parcels SET due_ms = deadline_ms",
        "INSERT OR REPLACE INTO lanes VALUES ('fulfilment', 5, zeroblob(32), 3, zeroblob(32), 2, 5)",
        "INSERT INTO uplink VALUES (4, 'fulfilment', NULL, 1795338000000, x'a0', NULL, 4, zeroblob(32))",
        "INSERT INTO uplink VALUES (5, 'fulfilment', NULL, 1795338100000, x'a0', NULL, 5, zeroblob(32))",
    ];
    for row in rows {
        conn.execute(row, []).unwrap();
    }
    use TimeQuality::{Estimated, Synchronised};
    let steps = [
        (1_795_330_000_000, Estimated, 1, "announced", "cloud", None),
        (
            1_795_337_900_000,
            Synchronised,
            4,
            "deposit-started",
            "courier sf-22",
            Some("bank-a/2"),
        ),
        (
            1_795_338_000_000,
            Synchronised,
            5,
            "deposited",
            "courier sf-22",
            None,
        ),
    ];
    let mut head = TraceHead::load(conn).unwrap();
    for (at_ms, quality, tick_ms, step, who, detail) in steps {
        let entry = TraceEntry {
            parcel: "P-1".to_string(),
            at_ms,
            quality,
            tick_ms,
            step,
            who: who.to_string(),
            detail: detail.map(str::to_string),
        };
        trace::append(conn, &mut head, &entry).unwrap();
    }
    let digest = Some(Value::Bytes(vec![0xd5; 16]));
    let typed = map([("code", digest), ("digits", Some(6_u8.into()))]);
    add_event(conn, 1, "keypad", &typed);
    add_event(conn, 1, "compartment", &door(2, "open"));
    add_event(conn, 1, "compartment", &door(2, "closed"));
    add_event(conn, 2, "access", &access("granted"));
}

/// What a bank says of a door.
pub fn door(compartment: u16, state: &str) -> Value {
    map([
        ("compartment", Some(compartment.into())),
        ("door", Some(state.into())),
    ])
}

/// What a door reader says.
pub fn access(outcome: &str) -> Value {
    map([
        ("door", Some("door-1".into())),
        ("outcome", Some(outcome.into())),
    ])
}

fn add_event(conn: &rusqlite::Connection, device: i64, kind: &str, body: &Value) -> i64 {
    conn.execute(
        "INSERT INTO events (device, boot, seq, kind, at_ms, at_by, received_ms, quality, body)
         VALUES (?1, 1, (SELECT count(*) + 1 FROM events), ?2, ?3, 'device', ?3, 2, ?4)",
        params![device, kind, NOW_MS, body.to_cbor()],
    )
    .unwrap();
    conn.last_insert_rowid()
}
