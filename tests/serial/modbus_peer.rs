//! Modbus slaves that others wrote: pymodbus at the far end of the line (`modbus_peer.py`).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::bed::{Bed, Socket, Wire, wait_until};

/// What the peer needs, at the versions that it was written for.
const NEEDS: [&str; 2] = ["pymodbus==3.11.4", "pyserial==3.5"];

/// A Python that has them: an environment of its own below `target`, kept for next time.
fn python() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pymodbus");
        let python = folder.join("bin/python");
        let check = format!(
            "from importlib.metadata import version as v; n={NEEDS:?}; assert all(v(x.split('==')[0]) == x.split('==')[1] for x in n)"
        );
        if ran(Command::new(&python).args(["-c", &check])).is_ok() {
            return python;
        }
        let venv = ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        venv.expect("python3 with venv is needed: install python3-venv");
        let pip = ran(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(NEEDS));
        pip.expect("pymodbus is needed from PyPI");
        python
    })
}

fn ran(command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|e| e.to_string())?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
    }
}

/// The peer, and the line between it and the daemon.
struct Peer {
    child: Child,
    orders: ChildStdin,
    said: Arc<Mutex<Vec<String>>>,
    line: JoinHandle<()>,
}

impl Peer {
    /// At the far end of this wire. Returns when it listens.
    async fn at(mut near: Wire) -> Self {
        let mut far = Wire::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serial/modbus_peer.py");
        let python = tokio::task::spawn_blocking(python).await.unwrap();
        let mut child = Command::new(python)
            .arg(script)
            .arg(far.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let says = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                says.lock().unwrap().push(line);
            }
        });
        let peer = Self {
            orders: child.stdin.take().unwrap(),
            child,
            said,
            line: tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }),
        };
        peer.says("ready").await;
        peer
    }

    async fn says(&self, line: &str) {
        wait_until(&format!("'{line}' of the peer"), || {
            self.all().iter().any(|said| said == line).then_some(())
        })
        .await;
    }

    fn all(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.line.abort();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sensor at address 1, one that nobody is, and the relay board at 2.
fn config(socket: &Socket) -> String {
    let port = format!(
        "[[port]]\nid = \"p1\"\npath = {:?}\nprotocol = \"modbus\"\nbaud = 115200\npoll_ms = 300\ntimeout_ms = 300\n",
        socket.path()
    );
    let rest = r#"
[[device]]
id = "cellar"
building = "b1"
[device.serial]
port = "p1"
address = 1
registers = [
    { name = "temperature", function = "input", address = 0, type = "i16", scale = 0.1, unit = "Cel" },
    { name = "top", function = "input", address = 1 },
    { name = "energy", function = "input", address = 2, type = "u32", unit = "Wh" },
    { name = "balance", function = "input", address = 4, type = "i32", words = "little" },
    { name = "level", function = "input", address = 6, type = "f32", unit = "m" },
    { name = "slope", function = "input", address = 8, type = "f32", words = "little" },
    { name = "broken", function = "input", address = 10, type = "f32" },
    { name = "behind-the-gap", function = "input", address = 14 },
    { name = "setpoint", function = "holding", address = 1, scale = 0.01 },
    { name = "pump", function = "coil", address = 1 },
    { name = "hatch", function = "discrete", address = 1, door_closed = true },
    { name = "nowhere", function = "holding", address = 5000 },
]

[[device]]
id = "gone"
building = "b1"
serial = { port = "p1", address = 9, registers = [{ name = "x", function = "input", address = 0 }] }

[[bank]]
id = "bank-a"
building = "b1"
compartments = [{ count = 4, size = "S" }]
[[bank.board]]
port = "p1"
address = 2
compartments = [1, 4]
channels = [2, 4, 6, 8]
relay = { flash_address = 0x200, flash_time = 4, contact_address = 0 }
"#;
    format!("{port}{rest}")
}

/// The values of a reading, by name.
fn values(body: &Value) -> BTreeMap<String, Value> {
    let records = body["senml"].as_array().unwrap().iter();
    let named = records.map(|record| {
        let value = record.get("v").or(record.get("vb")).unwrap().clone();
        (record["n"].as_str().unwrap().to_owned(), value)
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_of_every_type_become_a_reading_and_the_dead_are_in_nobodys_way() {
    let wire = Wire::new();
    let socket = Socket::with(&wire);
    let mut peer = Peer::at(wire).await;
    let bed = Bed::start(&config(&socket)).await;
    let whole = |events: &[linli::store::read::EventRow]| {
        let all = events.iter().map(|event| values(&event.body));
        all.filter(|values| values.len() >= 10).collect::<Vec<_>>()
    };
    let readings = wait_until("two whole readings", || {
        Some(whole(&bed.events_of("cellar", "reading"))).filter(|whole| whole.len() > 1)
    })
    .await;
    let expected = serde_json::json!({
        "temperature": -12.3,
        "top": 65_535,
        "energy": 3_000_000_000_u32,
        "balance": -70_000,
        "level": 21.3,
        "slope": -0.5,
        "behind-the-gap": 7,
        "setpoint": 2.0,
        "pump": true,
        "hatch": true,
    });
    for reading in &readings {
        for (name, value) in expected.as_object().unwrap() {
            let same = match (value.as_f64(), reading[name].as_f64()) {
                (Some(value), Some(read)) => value == read,
                _ => *value == reading[name],
            };
            assert!(same, "{name}: {} instead of {value}", reading[name]);
        }
        assert_eq!(reading.len(), 10, "no number, no value: {reading:?}");
    }
    let first = &bed.events_of("cellar", "reading")[0].body["senml"][0];
    assert_eq!(first["bn"], "cellar/");

    let note = bed.slave("p1", "cellar").unwrap().note.unwrap();
    assert!(
        note.starts_with("register 'broken' holds no number; and 1 more"),
        "{note}"
    );
    wait_until("the dead one to be known as dead", || {
        bed.slave("p1", "gone")
            .filter(|it| it.answers == Some(false))
    })
    .await;
    peer.order("set 0 215");
    wait_until("the new temperature", || {
        let readings = whole(&bed.events_of("cellar", "reading"));
        let last = readings.last()?["temperature"].as_f64()?;
        (last == 21.5).then_some(())
    })
    .await;
    let cellar = bed.slave("p1", "cellar").unwrap();
    // The peer shares a busy machine; the dead one must not cost it more than that.
    assert!(cellar.missed <= cellar.answered / 4, "{cellar:?}");
    assert_eq!(cellar.unreadable, 0, "{cellar:?}");
    assert!(!peer.all().iter().any(|said| said.starts_with("write")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_flashed_once_and_by_the_boards_own_clock() {
    let wire = Wire::new();
    let socket = Socket::with(&wire);
    let mut peer = Peer::at(wire).await;
    let bed = Bed::start(&config(&socket)).await;
    // Compartment 3 is channel 6.
    let door = |state: &'static str| {
        let events = bed.events_of("bank-a", "compartment");
        let mut of_3 = events.iter().filter(|event| event.body["compartment"] == 3);
        of_3.next_back()
            .filter(|last| last.body["door"] == state)
            .map(|_| ())
    };
    wait_until("the closed door", || door("closed")).await;
    let opened = bed.linli(&["open", "bank-a/3", "--reason", "trial"]).await;
    let out = String::from_utf8_lossy(&opened.stdout).into_owned();
    let err = String::from_utf8_lossy(&opened.stderr).into_owned();
    assert!(opened.status.success(), "{out}{err}");
    assert!(out.starts_with("bank-a/3 is open"), "{out}");
    peer.says("off 6").await;
    assert_eq!(peer.all(), ["ready", "flash 6 4", "on 6", "off 6"]);
    wait_until("the open door", || door("open")).await;
    peer.order("close 6");
    wait_until("the closed door", || door("closed")).await;
    let results = bed.events_of("bank-a", "result");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].body["outcome"], "done");
}
