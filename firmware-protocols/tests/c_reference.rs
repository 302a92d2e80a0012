//! The reference for firmware in C99 (`c/`): built with all warnings, run on the vectors, and as a
//! process on a pseudo-terminal against the gateway's side, with loss, noise and restarts of either.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use firmware_protocols::command::BankCode;
use firmware_protocols::event::Done;
use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::gateway::{Gateway, Heard, Terms};
use firmware_protocols::link::{Frame, Link, Ticket, ToSend};
use firmware_protocols::{Command, Form, Ident, Kind, Order, event};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use serde_json::Value as Json;

const WARNINGS: [&str; 6] = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-O1",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("c")
}

/// Builds a test program; what `cc` says, if it doesn't build.
fn build(into: &Path, main: &str, more: &[&str]) -> Result<PathBuf, String> {
    let program = into.join(format!("{main}-{}", more.len()));
    let mut cc = Program::new("cc");
    cc.args(WARNINGS).args(more).arg("-I").arg(into);
    cc.arg("-o").arg(&program);
    for source in [&format!("test/{main}.c"), "linli_link.c", "linli_cbor.c"] {
        cc.arg(folder().join(source));
    }
    let built = cc.output().expect(
        "no C compiler: install one (Debian: apt-get install gcc libc6-dev), the reference for firmware is tested with it",
    );
    match built.status.success() {
        true => Ok(program),
        false => Err(String::from_utf8_lossy(&built.stderr).into_owned()),
    }
}

#[test]
fn the_reference_does_what_the_vectors_say() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vectors.h"), vectors_h()).unwrap();
    let small = ["-Wconversion", "-DLINLI_COMMAND_MAX=42100"];
    run(&build(dir.path(), "vectors", &small).unwrap());
    // Not every cc has sanitizers.
    let sanitized = [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-g",
    ];
    match build(dir.path(), "vectors", &sanitized) {
        Ok(program) => run(&program),
        Err(why) => println!("without sanitizers: {why}"),
    }
}

fn run(program: &Path) {
    let ran = Program::new(program).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{errors}");
    assert!(said.contains(" 0 wrong"), "{said}");
    let checks: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(checks > 200, "{said}");
}

/// link-vectors.json as C.
fn vectors_h() -> String {
    let json: Json = serde_json::from_str(include_str!("../link-vectors.json")).unwrap();
    let mut out = String::new();
    let array = |hex: &Json| {
        let hex = hex.as_str().unwrap();
        let bytes: Vec<String> = (0..hex.len() / 2)
            .map(|n| format!("0x{}", &hex[n * 2..n * 2 + 2]))
            .collect();
        // C99 has no empty arrays.
        let list = if bytes.is_empty() {
            "0".to_owned()
        } else {
            bytes.join(",")
        };
        (format!("(const uint8_t[]){{{list}}}"), bytes.len())
    };
    let of = |name: &str| json[name].as_array().unwrap().clone();
    let kinds = ["hello", "welcome", "ask", "events", "command", "ack"];
    out.push_str("static const struct { const char *name; linli_frame frame; const uint8_t *wire; size_t length; } FRAMES[] = {\n");
    for vector in of("frames") {
        let (payload, length) = array(&vector["payload"]);
        let (wire, wire_length) = array(&vector["wire"]);
        let kind = kinds
            .iter()
            .position(|kind| vector["kind"] == *kind)
            .unwrap()
            + 1;
        let flags = ["over", "busy", "again", "withheld"].iter().enumerate();
        let set = |word: &str| vector["flags"].as_array().unwrap().contains(&word.into());
        let flags: u8 = flags.map(|(bit, word)| u8::from(set(word)) << bit).sum();
        let from_gateway = vector["from"] == "gateway";
        let (session, seq, ack) = (&vector["session"], &vector["seq"], &vector["ack"]);
        let (name, address) = (&vector["name"], &vector["address"]);
        writeln!(out, "{{{name}, {{1, {from_gateway}, {address}, {kind}, {flags}, {session}, {seq}, {ack}, {payload}, {length}}}, {wire}, {wire_length}}},").unwrap();
    }
    out.push_str("};\nstatic const struct { const char *name; const uint8_t *wire; size_t length, frames; } STREAMS[] = {\n");
    for vector in of("streams") {
        let (wire, length) = array(&vector["wire"]);
        let frames = vector["frames"].as_array().unwrap().len();
        writeln!(out, "{{{}, {wire}, {length}, {frames}}},", vector["name"]).unwrap();
    }
    out.push_str("};\nstatic const struct { const char *name; const uint8_t *bytes; size_t length; uint32_t crc; } CRCS[] = {\n");
    for vector in of("crc") {
        let (bytes, length) = array(&vector["bytes"]);
        let crc = vector["crc"].as_str().unwrap();
        writeln!(out, "{{\"{crc}\", {bytes}, {length}, 0x{crc}}},").unwrap();
    }
    out.push_str("};\nstatic const struct { const uint8_t *plain; size_t plain_length; const uint8_t *coded; size_t coded_length; } STUFFED[] = {\n");
    for vector in of("cobs") {
        let (plain, length) = array(&vector["plain"]);
        let (coded, coded_length) = array(&vector["coded"]);
        writeln!(out, "{{{plain}, {length}, {coded}, {coded_length}}},").unwrap();
    }
    out.push_str("};\n");
    out
}

#[test]
fn a_device_in_c_loses_nothing_point_to_point() {
    evening(false);
}

#[test]
fn a_device_in_c_loses_nothing_when_it_is_polled() {
    evening(true);
}

#[test]
fn a_list_without_room_is_withheld_and_one_with_room_comes_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path(), false, 0, 0, &[]);
    bench.put("k-small", list(10));
    bench.put("k-large", list(100));
    bench.until("the large one is withheld", |b| {
        b.printed.iter().any(|line| line == "withheld k-large")
    });
    let mut bench = Bench::new(dir.path(), false, 0, 0, &["-DLINLI_COMMAND_MAX=42100"]);
    let all = format!("codes {}", bench.put("k-all", list(700)));
    bench.until("all come", |b| b.printed.contains(&all));
}

/// Some boots, each killed in the middle, a gateway that restarts, a line that loses a frame in eight
/// and adds noise; then everything comes to its end.
fn evening(polled: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path(), polled, 8, 40, &[]);
    let mut opens = 0;
    for round in 1..=3 {
        for _ in 0..3 {
            opens += 1;
            bench.put(&format!("o-{opens}"), Order::Open { compartment: 7 });
            let on_disk = bench.disk.len();
            bench.until("some events came", |b| b.disk.len() > on_disk + 3);
        }
        bench.until("the opens are answered", |b| b.done.len() == opens);
        if round < 3 {
            bench.restart_device();
            bench.restart_gateway();
        }
    }
    bench.disk_refuses = 3;
    bench.until("every event is on disk", |b| {
        (1..=3).all(|boot| b.numbers(boot).is_superset(&(1..=40).collect()))
    });
    bench.lose_every = 0;
    bench.printed.clear();
    bench.put("o-last", Order::Open { compartment: 7 });
    bench.until("everything is promised", |b| {
        b.printed.iter().any(|line| line == "idle") && b.done.contains_key("o-last")
    });
    assert!(
        bench.done.values().all(|count| *count == 1),
        "done once: {:?}",
        bench.done
    );
    assert_eq!(bench.done.len(), opens + 1);
    for boot in 1..=3 {
        let numbers = bench.numbers(boot);
        let last = *numbers.last().unwrap();
        assert_eq!(numbers, (1..=last).collect(), "boot {boot} has no gap");
    }
    let opened: Vec<&String> = bench
        .opened
        .iter()
        .filter(|line| line.starts_with("open "))
        .collect();
    let distinct: BTreeSet<&&String> = opened.iter().collect();
    assert_eq!(
        opened.len(),
        distinct.len(),
        "no lock opens twice: {opened:?}"
    );
    assert!(bench.lost > 10, "{} frames were lost", bench.lost);
}

/// The device as a process, the gateway's side here, a terminal between them.
struct Bench {
    program: PathBuf,
    memory: PathBuf,
    tty: PathBuf,
    polled: bool,
    events: u32,
    master: File,
    from_device: mpsc::Receiver<Vec<u8>>,
    _slave: std::os::fd::OwnedFd,
    device: Option<Child>,
    lines: mpsc::Receiver<String>,
    printed: Vec<String>,
    opened: Vec<String>,
    gateway: Gateway,
    session: u16,
    buffer: Vec<u8>,
    on_way: VecDeque<(Ticket, Vec<u8>)>,
    disk: BTreeSet<(u32, u64)>,
    /// How many results said of a command that it is done.
    done: BTreeMap<String, u32>,
    disk_refuses: u32,
    began: Instant,
    lose_every: usize,
    passed: usize,
    lost: usize,
    /// Polled: the device's turn lasts until then.
    turn_until: Option<Instant>,
}

impl Bench {
    fn new(dir: &Path, polled: bool, lose_every: usize, events: u32, more: &[&str]) -> Self {
        let program = build(dir, "device", more).unwrap();
        let pty = openpty(None, None).unwrap();
        let mut raw = tcgetattr(&pty.slave).unwrap();
        cfmakeraw(&mut raw);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &raw).unwrap();
        let tty = format!("/proc/self/fd/{}", pty.slave.as_raw_fd());
        let tty = std::fs::read_link(tty).unwrap();
        let master: File = pty.master.into();
        let (send, from_device) = mpsc::sync_channel(1_024);
        let mut reading = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut chunk = [0; 512];
            while let Ok(read) = reading.read(&mut chunk) {
                if send.send(chunk[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (_, lines) = mpsc::sync_channel(1_024);
        let mut bench = Self {
            program,
            memory: dir.join(format!("memory-{}", more.len())),
            tty,
            polled,
            events,
            master,
            from_device,
            _slave: pty.slave,
            device: None,
            lines,
            printed: Vec::new(),
            opened: Vec::new(),
            gateway: gateway(polled, 77),
            session: 77,
            buffer: Vec::new(),
            on_way: VecDeque::new(),
            disk: BTreeSet::new(),
            done: BTreeMap::new(),
            disk_refuses: 0,
            began: Instant::now(),
            lose_every,
            passed: 0,
            lost: 0,
            turn_until: None,
        };
        bench.restart_device();
        bench
    }

    fn restart_device(&mut self) {
        if let Some(mut device) = self.device.take() {
            device.kill().unwrap();
            device.wait().unwrap();
            self.hear_prints();
        }
        let mut device = Program::new(&self.program)
            .arg(&self.tty)
            .arg(&self.memory)
            .arg("5")
            .arg(if self.polled { "polled" } else { "free" })
            .arg(self.events.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(device.stdout.take().unwrap());
        let (send, lines) = mpsc::sync_channel(1_024);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        self.device = Some(device);
        self.lines = lines;
    }

    fn restart_gateway(&mut self) {
        self.session = self.session.wrapping_mul(31);
        self.gateway = gateway(self.polled, self.session);
        self.on_way.clear();
        self.buffer.clear();
        self.turn_until = None;
    }

    /// Returns how long the command is.
    fn put(&mut self, id: &str, order: Order) -> usize {
        let kind = order.name();
        let command = Command {
            id: id.to_owned(),
            expires: 0,
            ttl_ms: 60_000,
            order,
        };
        let until_ms = self.now_ms() + 60_000;
        let payload = command.encode(Form::Cbor);
        let length = payload.len();
        self.gateway.put(ToSend {
            id: id.to_owned(),
            kind,
            payload,
            until_ms,
        });
        length
    }

    fn numbers(&self, boot: u32) -> BTreeSet<u64> {
        let of = self.disk.iter().filter(|(b, _)| *b == boot);
        of.map(|(_, seq)| *seq).collect()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < end, "never: {what}; {:?}", self.gateway);
            self.step();
        }
    }

    fn hear_prints(&mut self) {
        let lines: Vec<String> = self.lines.try_iter().collect();
        self.opened.extend(lines.iter().cloned());
        self.printed.extend(lines);
    }

    fn step(&mut self) {
        let now_ms = self.now_ms();
        if self.polled {
            if self.turn_until.is_some_and(|until| until <= Instant::now()) {
                self.gateway.silence();
                self.turn_until = None;
            }
            if self.turn_until.is_none() {
                let frame = self.gateway.poll(now_ms);
                self.send(&frame);
                self.turn_until = Some(Instant::now() + Duration::from_millis(100));
            }
        } else {
            while let Some(frame) = self.gateway.next(now_ms) {
                self.send(&frame);
            }
        }
        if let Ok(chunk) = self.from_device.recv_timeout(Duration::from_millis(5)) {
            self.buffer.extend(chunk);
            self.read_frames();
        }
        while let Some((ticket, payload)) = self.on_way.pop_front() {
            let taken = self.disk_refuses == 0;
            self.disk_refuses = self.disk_refuses.saturating_sub(1);
            if taken {
                self.store(&payload);
            }
            self.gateway.settled(self.now_ms(), ticket, taken);
        }
        self.hear_prints();
    }

    fn read_frames(&mut self) {
        loop {
            let used = match Link.find(&self.buffer) {
                Found::Frame { frame, used } => {
                    if !self.loses() {
                        self.heard(&frame);
                    }
                    used
                }
                Found::Noise(used) => used,
                Found::More => return,
            };
            self.buffer.drain(..used);
        }
    }

    fn heard(&mut self, frame: &Frame) {
        if self.polled && frame.over && !frame.from_gateway {
            self.turn_until = None;
        }
        for heard in self.gateway.heard(self.now_ms(), frame) {
            match heard {
                Heard::Events(ticket, payload) => self.on_way.push_back((ticket, payload)),
                Heard::Hello(hello) => assert_eq!(hello.model.as_deref(), Some("reference")),
                Heard::Read(_) => {}
                Heard::Refused(why) => panic!("{why}"),
            }
        }
    }

    fn store(&mut self, payload: &[u8]) {
        for event in event::decode(payload).unwrap() {
            let event = event.unwrap();
            let is_new = self.disk.insert((event.boot, event.seq));
            if let (
                true,
                Kind::Result {
                    command,
                    outcome: Done::Done,
                    ..
                },
            ) = (is_new, event.kind)
            {
                *self.done.entry(command).or_default() += 1;
            }
        }
    }

    /// Whether the next frame is lost.
    fn loses(&mut self) -> bool {
        self.passed += 1;
        let lost = self.lose_every > 0 && self.passed.is_multiple_of(self.lose_every);
        self.lost += usize::from(lost);
        lost
    }

    /// Damaged on its way, or after noise.
    fn send(&mut self, frame: &Frame) {
        let mut bytes = frame.encode();
        if self.loses() {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x21;
        } else if self.lose_every > 0 && self.passed.is_multiple_of(3) {
            bytes.splice(..0, [0xde, 0xad, 0x00, 0xbe, 0xef]);
        }
        self.master.write_all(&bytes).unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut device) = self.device.take() {
            let _ = device.kill();
            let _ = device.wait();
        }
    }
}

fn gateway(polled: bool, session: u16) -> Gateway {
    let terms = Terms {
        polled,
        again_ms: 200,
        turn_bytes: 200,
    };
    Gateway::new(5, Some(Ident::new("bank-c").unwrap()), terms, session)
}

fn list(codes: u16) -> Order {
    let code = |n: u16| BankCode {
        digest: [n.to_be_bytes(); 16].concat().try_into().unwrap(),
        compartment: 1,
    };
    Order::Codes {
        salt: vec![7; 32],
        digests: (0..codes).map(code).collect(),
    }
}
