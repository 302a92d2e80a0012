//! OSDP readers by libosdp, over a pseudo-terminal, against the real daemon: an implementation of the
//! standard that isn't ours, as a peripheral device with secure channel.
//!
//! The peer is `osdp_peer.py` with libosdp from PyPI, in an environment of its own below `target`. Where
//! there is no Python to make one the tests say that they were left out; in CI they fail.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use linli::links::serial::status::SlaveView;
use serde_json::{Value as Json, json};

use super::bed::{Bed, PATIENCE, wait_until};

/// The peer's library, at the version that the tests were written for.
const LIBOSDP: &str = "libosdp==3.2.9";
const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const OTHER_KEY: &str = "00112233445566778899aabbccddeeff";

/// What the peer's library calls the commands that it gets.
const LED: i64 = 2;
const BUZZER: i64 = 3;
const TEXT: i64 = 4;

/// A Python with libosdp; `None` where it can't be had (which fails in CI).
fn python() -> Option<&'static Path> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libosdp");
        let python = folder.join("bin/python");
        let check = format!(
            "from importlib.metadata import version as v; assert 'libosdp=='+v('libosdp')=='{LIBOSDP}'; import osdp"
        );
        if quietly(Command::new(&python).args(["-c", &check])) {
            return Some(python);
        }
        let venv = ["-m", "venv", "--clear"];
        let made = quietly(Command::new("python3").args(venv).arg(&folder))
            && quietly(Command::new(&python).args(["-m", "pip", "install", "-q", LIBOSDP]));
        made.then_some(python)
    });
    if made.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no Python with {LIBOSDP}");
        eprintln!("left out: no Python with {LIBOSDP}");
    }
    made.as_deref()
}

fn quietly(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    let ended = command.stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// Readers on a line.
struct Peer {
    child: Child,
    orders: ChildStdin,
    said: Mutex<Receiver<Json>>,
    path: PathBuf,
    dir: tempfile::TempDir,
}

impl Peer {
    fn start() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serial/osdp_peer.py");
        let mut child = Command::new(python()?)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let path = PathBuf::from(lines.next().unwrap().unwrap());
        let (tell, said) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(what) = serde_json::from_str(&line)
                    && tell.send(what).is_err()
                {
                    return;
                }
            }
        });
        Some(Self {
            orders: child.stdin.take().unwrap(),
            said: Mutex::new(said),
            child,
            path,
            dir: tempfile::tempdir().unwrap(),
        })
    }

    fn order(&mut self, order: &Json) {
        writeln!(self.orders, "{order}").unwrap();
        let done = order["do"].as_str().unwrap().to_owned();
        self.until(&format!("did {done}"), |said| said["did"] == done.as_str());
    }

    /// A reader with its own key, or one in installation mode.
    fn add(&mut self, address: u8, key: Option<&str>) {
        self.order(&json!({"do": "add", "address": address, "key": key}));
    }

    fn remove(&mut self, address: u8) {
        self.order(&json!({"do": "remove", "address": address}));
    }

    fn card(&mut self, address: u8, bits: u16, data: &str) {
        self.order(&json!({"do": "card", "address": address, "bits": bits, "data": data}));
    }

    fn keys(&mut self, address: u8, keys: &[u8]) {
        let data: String = keys.iter().map(|key| format!("{key:02x}")).collect();
        self.order(&json!({"do": "keys", "address": address, "data": data}));
    }

    /// Waits until something is said; what else is said before that is passed over.
    fn until(&self, what: &str, mut is: impl FnMut(&Json) -> bool) -> Json {
        let until = Instant::now() + PATIENCE;
        let said = self.said.lock().unwrap();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let next = said.recv_timeout(left);
            let next = next.unwrap_or_else(|e| panic!("in vain: waited for the peer: {what}: {e}"));
            if is(&next) {
                return next;
            }
        }
    }

    fn key_file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_key(&self, name: &str, key: &str) -> PathBuf {
        let file = self.key_file(name);
        fs::write(&file, format!("{key}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// The configuration of a port with these devices. They are given time: this machine may be busy.
    fn config(&self, devices: &[String]) -> String {
        self.config_within(600, devices)
    }

    fn config_within(&self, timeout_ms: u64, devices: &[String]) -> String {
        format!(
            "[[desk]]\nid = \"desk-1\"\nbuilding = \"b1\"\n\
             [[port]]\nid = \"p1\"\npath = {:?}\nprotocol = \"osdp\"\nbaud = 115200\n\
             timeout_ms = {timeout_ms}\n{}",
            self.path,
            devices.concat()
        )
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keypad(address: u8, key_file: &Path) -> String {
    format!(
        "[[device]]\nid = \"keypad-{address}\"\nbuilding = \"b1\"\npoint = \"desk-1\"\n\
         serial = {{ port = \"p1\", address = {address}, key_file = {key_file:?} }}\n"
    )
}

fn door(address: u8, trust: &str) -> String {
    format!(
        "[[device]]\nid = \"door-{address}\"\nbuilding = \"b1\"\n\
         serial = {{ port = \"p1\", address = {address}, {trust}, door = \"gate-1\" }}\n"
    )
}

async fn slave(bed: &Bed, id: &str, what: &str, is: impl Fn(&SlaveView) -> bool) -> SlaveView {
    let what = format!("{id}: {what}");
    let seen = || bed.slave("p1", id).filter(|slave| is(slave));
    wait_until(&what, seen).await
}

/// Waits until a reader is ready: it has said who it is.
async fn ready(bed: &Bed, id: &str) {
    bed.said(id, "hello", 2).await;
}

fn noted(slave: &SlaveView, words: &str) -> bool {
    let note = slave.note.as_ref();
    note.is_some_and(|note| note.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_and_keys_come_and_wrong_digits_light_and_beep() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let file = peer.write_key("one", KEY);
    peer.add(1, Some(KEY));
    let bed = Bed::start(&peer.config(&[keypad(1, &file)])).await;
    ready(&bed, "keypad-1").await;

    peer.keys(1, b"12");
    peer.keys(1, b"3456\r");
    let typed = bed.said("keypad-1", "keypad", 1).await;
    // Digits are digested on receipt: nothing of them stands anywhere.
    assert!(!format!("{typed:?}").contains("123456"));

    // Nobody's code: the person is told, at the reader.
    let led = peer.until("a light", |said| said["command"] == LED);
    assert_eq!(
        (&led["told"], &led["on_color"]),
        (&json!(1), &json!(1)),
        "{led}"
    );
    let buzzer = peer.until("beeps", |said| said["command"] == BUZZER);
    assert_eq!(buzzer["rep_count"], 3, "{buzzer}");
    let text = peer.until("words", |said| said["command"] == TEXT);
    assert!(!text["data"].as_str().unwrap().is_empty(), "{text}");
    let results = bed.said("keypad-1", "result", 1).await;
    assert!(
        format!("{:?}", results[0].body).contains("done"),
        "{results:?}"
    );

    peer.card(1, 26, "deadbec0");
    bed.said("keypad-1", "scan", 1).await;
    let seen = slave(&bed, "keypad-1", "good", |slave| {
        slave.answers == Some(true)
    })
    .await;
    assert_eq!(seen.note, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_door_a_card_is_presented_and_tampering_is_an_alarm() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let file = peer.write_key("one", KEY);
    peer.add(7, Some(KEY));
    let bed = Bed::start(&peer.config(&[door(7, &format!("key_file = {file:?}"))])).await;
    ready(&bed, "door-7").await;
    peer.card(7, 32, "00112233");
    let access = bed.said("door-7", "access", 1).await;
    let body = format!("{:?}", access[0].body);
    assert!(
        body.contains("presented") && body.contains("card"),
        "{body}"
    );
    assert!(!body.contains("32:00112233"), "{body}");

    peer.order(&json!({"do": "status", "address": 7, "tamper": 1}));
    let alarms = bed.said("door-7", "alarm", 1).await;
    assert!(format!("{:?}", alarms[0].body).contains("tamper"));
    slave(&bed, "door-7", "a note", |slave| noted(slave, "tampered")).await;
    peer.order(&json!({"do": "status", "address": 7, "tamper": 0}));
    slave(&bed, "door-7", "no note", |slave| slave.note.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_and_said_and_the_right_one_found_without_a_restart() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let file = peer.write_key("one", OTHER_KEY);
    peer.add(1, Some(KEY));
    let bed = Bed::start(&peer.config(&[keypad(1, &file)])).await;
    let seen = slave(&bed, "keypad-1", "wrong key", |slave| {
        noted(slave, "wrong key")
    })
    .await;
    assert!(!seen.note.unwrap().contains(OTHER_KEY));
    assert!(bed.events_of("keypad-1", "hello").len() <= 1);

    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    slave(&bed, "keypad-1", "open to others", |slave| {
        noted(slave, "chmod 600")
    })
    .await;

    peer.write_key("one", KEY);
    ready(&bed, "keypad-1").await;
    slave(&bed, "keypad-1", "no note", |slave| slave.note.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_refuses_the_installation_key_and_commissioning_gives_another() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let file = peer.key_file("one");
    peer.add(1, None);
    let mut bed = Bed::start(&peer.config(&[keypad(1, &file)])).await;
    slave(&bed, "keypad-1", "no key yet", |slave| {
        noted(slave, "linli serial commission keypad-1")
    })
    .await;
    peer.write_key("one", KEY);
    slave(&bed, "keypad-1", "installation key", |slave| {
        noted(slave, "installation key")
    })
    .await;
    assert!(bed.events_of("keypad-1", "hello").len() <= 1);
    fs::remove_file(&file).unwrap();

    // Not while the daemon has the port.
    let refused = bed.linli(&["serial", "commission", "keypad-1"]).await;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("linli is running"),
        "{words}"
    );
    assert!(!file.exists());

    bed.stop().await;
    let done = bed.linli(&["serial", "commission", "keypad-1"]).await;
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{words}");
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!String::from_utf8_lossy(&done.stdout).contains(key.trim()));

    // Again is as good.
    let again = bed
        .linli(&["--json", "serial", "commission", "keypad-1"])
        .await;
    let again: Json = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["done"], "already");
    assert_eq!(fs::read_to_string(&file).unwrap(), key);

    bed.begin().await;
    ready(&bed, "keypad-1").await;
    peer.keys(1, b"1#");
    bed.said("keypad-1", "keypad", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commissioning_goes_on_where_a_power_cut_left_it() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    // The key was stored, and the reader didn't get it any more.
    let file = peer.write_key("one", KEY);
    peer.add(1, None);
    let mut bed = Bed::start(&peer.config(&[keypad(1, &file)])).await;
    bed.stop().await;
    let done = bed
        .linli(&["--json", "serial", "commission", "keypad-1"])
        .await;
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    let done: Json = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{words}"));
    assert_eq!(done["done"], "key-of-file");

    // A reader with another key keeps it, and the file stays as it is.
    peer.remove(1);
    peer.add(1, Some(OTHER_KEY));
    let refused = bed.linli(&["serial", "commission", "keypad-1"]).await;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("installation mode"),
        "{words}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), KEY);

    // Nobody there: no key is made.
    fs::remove_file(&file).unwrap();
    peer.remove(1);
    let silent = bed.linli(&["serial", "commission", "keypad-1"]).await;
    let words = String::from_utf8_lossy(&silent.stderr).into_owned();
    assert!(
        !silent.status.success() && words.contains("doesn't answer"),
        "{words}"
    );
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_reader_does_not_hold_up_another_and_comes_back() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let (one, two) = (peer.write_key("one", KEY), peer.write_key("two", OTHER_KEY));
    peer.add(1, Some(KEY));
    peer.add(2, Some(OTHER_KEY));
    let bed = Bed::start(&peer.config_within(200, &[keypad(1, &one), keypad(2, &two)])).await;
    ready(&bed, "keypad-1").await;
    ready(&bed, "keypad-2").await;

    peer.remove(2);
    slave(&bed, "keypad-2", "silent", |slave| {
        slave.answers == Some(false)
    })
    .await;
    let asked = bed.slave("p1", "keypad-1").unwrap().answered;
    for n in 1..=5 {
        let since = Instant::now();
        peer.keys(1, b"7#");
        bed.said("keypad-1", "keypad", n).await;
        // A time-out of the other (some 220 ms), a poll, and what a shared machine takes.
        let took = since.elapsed();
        eprintln!("an entry beside a dead reader: {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let seen = bed.slave("p1", "keypad-1").unwrap();
    assert!(seen.answered > asked, "{seen:?}");

    peer.order(&json!({"do": "noise", "data": "53810a00045300ff1353"}));
    peer.add(2, Some(OTHER_KEY));
    peer.keys(2, b"8#");
    bed.said("keypad-2", "keypad", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_restarted_gets_a_new_channel() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let file = peer.write_key("one", KEY);
    peer.add(1, Some(KEY));
    let bed = Bed::start(&peer.config(&[keypad(1, &file)])).await;
    ready(&bed, "keypad-1").await;
    peer.remove(1);
    peer.add(1, Some(KEY));
    peer.card(1, 26, "deadbec0");
    bed.said("keypad-1", "scan", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_a_key_is_used_only_if_that_is_said() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    peer.add(3, None);
    let bed = Bed::start(&peer.config(&[door(3, "insecure = true")])).await;
    ready(&bed, "door-3").await;
    peer.card(3, 26, "deadbec0");
    bed.said("door-3", "access", 1).await;
    slave(&bed, "door-3", "a warning", |slave| {
        noted(slave, "isn't encrypted")
    })
    .await;
}

#[test]
fn the_words_of_the_peers_library_are_as_written_here() {
    let Some(python) = python() else {
        return;
    };
    let script = "from osdp import Command as C; print(C.Buzzer, C.LED, C.Text)";
    let said = Command::new(python).args(["-c", script]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.trim(), format!("{BUZZER} {LED} {TEXT}"));
}
