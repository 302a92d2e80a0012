//! A device on the Linli link, over a simulated wire, with the gateway's side of the protocol at the
//! port: what it says is promised once it is on disk, and its faults lose nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmware_protocols::command::Tone;
use firmware_protocols::event::decode;
use firmware_protocols::frame::{Found, Framing as _};
use firmware_protocols::link::gateway::{Gateway, Heard, Terms};
use firmware_protocols::link::wire::Link;
use firmware_protocols::link::{ToSend, again_ms};
use firmware_protocols::{Form, Ident, Kind, Order};
use simulator::device::{Deaf, Model, Obeyed, Spec};
use simulator::serial::{Outlet, Settings, Wire};
use simulator::{Device, Line, Login, Port, Tempo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

const BAUD: u32 = 115_200;

/// What is on the gateway's disk.
type Stored = Arc<Mutex<BTreeSet<(u32, u64)>>>;

/// Keeps what comes, and has one command for the device.
async fn keep(mut port: SerialStream, stored: Stored, command: ToSend) {
    let terms = Terms {
        polled: false,
        again_ms: again_ms(BAUD),
        turn_bytes: 1_024,
    };
    let mut gateway = Gateway::new(1, None, terms, 77);
    gateway.put(command);
    let started = Instant::now();
    let now = || started.elapsed().as_millis() as u64;
    let mut buffer = Vec::new();
    loop {
        while let Some(frame) = gateway.next(now()) {
            port.write_all(&frame.encode()).await.unwrap();
        }
        let due = gateway.due(now()).saturating_sub(now());
        let read = port.read_buf(&mut buffer);
        let _ = tokio::time::timeout(Duration::from_millis(due.max(1)), read).await;
        loop {
            let used = match Link.find(&buffer) {
                Found::More => break,
                Found::Noise(bytes) => bytes,
                Found::Frame { frame, used } => {
                    for heard in gateway.heard(now(), &frame) {
                        if let Heard::Events(ticket, payload) = heard {
                            let events = decode(&payload).unwrap().into_iter();
                            let places = events.map(|e| e.unwrap()).map(|e| (e.boot, e.seq));
                            stored.lock().unwrap().extend(places);
                            gateway.settled(now(), ticket, true);
                        }
                    }
                    used
                }
            };
            buffer.drain(..used);
        }
    }
}

/// Remembers what it was told to show.
#[derive(Default)]
struct Screen(Mutex<Vec<String>>);

impl Model for Screen {
    fn obey(&self, order: &Order) -> Obeyed {
        if let Order::Show { text, .. } = order {
            self.0.lock().unwrap().push(text.clone());
        }
        Obeyed::done()
    }
}

fn hello_again() -> ToSend {
    let command = firmware_protocols::Command {
        id: "s-1".to_owned(),
        expires: 4_000_000_000_000,
        ttl_ms: 60_000,
        order: Order::Show {
            text: "欢迎 Welcome".to_owned(),
            tone: Tone::Info,
        },
    };
    ToSend {
        id: command.id.clone(),
        kind: "show",
        payload: command.encode(Form::Cbor),
        until_ms: 60_000,
    }
}

async fn until(what: &str, ready: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < end, "in vain: waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn alarm() -> Kind {
    Kind::Alarm {
        alarm: "tamper".to_owned(),
        text: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_says_is_promised_once_it_is_on_disk_whatever_becomes_of_its_cable() {
    let dir = tempfile::tempdir().unwrap();
    let outlet = Outlet::default();
    let slaves = vec![Box::new(outlet.clone()) as _];
    let wire = Wire::start(&dir.path().join("panel"), Settings::new(BAUD, 1), slaves).unwrap();
    let port = tokio_serial::new(wire.path().to_str().unwrap(), BAUD);
    let port = port.open_native_async().unwrap();
    let (stored, screen) = (Stored::default(), Arc::new(Screen::default()));
    let gateway = tokio::spawn(keep(port, Arc::clone(&stored), hello_again()));

    let login = Login {
        device: Ident::new("panel-a").unwrap(),
        password: None,
    };
    let line = Line::new(Port::Outlet(outlet));
    let model = Arc::clone(&screen) as Arc<dyn Model>;
    let device = Device::start(Spec::new(login, "panel"), line, Tempo::real(), model);
    device.until_online().await;
    device.report(alarm()).unwrap();
    until("the first events", || device.waiting() == 0).await;
    until("the words", || screen.0.lock().unwrap().len() == 1).await;

    // The same boot over a cable that was broken: a new session, nothing lost.
    device.report(alarm()).unwrap();
    device.cut().await;
    device.until_offline().await;
    device.report(alarm()).unwrap();
    device.until_online().await;
    until("the events around the cut", || device.waiting() == 0).await;
    // A new boot.
    device.reboot().await;
    until("the hello of the new boot", || {
        device.boot() == 2 && device.waiting() == 0
    })
    .await;
    // Out for a while.
    device.unplug().await;
    device.until_offline().await;
    let place = device.report(alarm()).unwrap();
    assert!(device.is_waiting(place));
    device.come_back().await;
    device.until_online().await;
    device.until_settled(place).await;

    device.stop().await;
    gateway.abort();
    let stored = stored.lock().unwrap().clone();
    let promised = device.record().into_iter().map(|e| (e.boot, e.seq));
    assert_eq!(promised.collect::<BTreeSet<_>>(), stored);
    assert_eq!(screen.0.lock().unwrap().len(), 1, "a command came twice");
    assert_eq!(device.tally().quarantined, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_speaks_at_a_device_file_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let ends = ["far", "near"].map(|end| dir.path().join(end));
    let pty = |end: &PathBuf| format!("pty,raw,echo=0,link={}", end.display());
    let cable = Command::new("socat").args(ends.each_ref().map(pty)).spawn();
    let mut cable = match cable {
        Ok(cable) => cable,
        Err(e) if std::env::var_os("CI").is_none() => {
            eprintln!("left out: socat, to join two pseudo-terminals: {e}");
            return;
        }
        Err(e) => panic!("socat is needed to join two pseudo-terminals: {e}"),
    };
    until("both ends", || ends.iter().all(|end| end.exists())).await;
    let [far, near] = ends;
    let far = tokio_serial::new(far.to_string_lossy(), BAUD);
    let far = far.open_native_async().unwrap();
    let stored = Stored::default();
    let gateway = tokio::spawn(keep(far, Arc::clone(&stored), hello_again()));
    let login = Login {
        device: Ident::new("door-1").unwrap(),
        password: None,
    };
    let line = Line::new(Port::Path(near));
    let device = Device::start(
        Spec::new(login, "reader"),
        line,
        Tempo::real(),
        Arc::new(Deaf),
    );
    let place = device.report(alarm()).unwrap();
    until("the promise", || !device.is_waiting(place)).await;
    device.stop().await;
    gateway.abort();
    cable.kill().unwrap();
    cable.wait().unwrap();
    assert!(stored.lock().unwrap().contains(&place));
}
