//! What the service manager sees of the real daemon: a datagram socket stands in its place
//! (sd_notify(3)). Ready means that a device is taken at once; the watchdog is fed while the journal
//! turns, and no longer when it hangs in a sync; a secret comes as a credential.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::interposed::{self, Faults, HANGS, kind};
use common::{PATIENCE, Setup, wait_for};

/// The watchdog's patience in these tests. It is checked four times in it.
const WATCHDOG: Duration = Duration::from_millis(1_200);

/// In the service manager's place.
struct Manager {
    socket: UnixDatagram,
    /// All that was told, by line.
    told: Vec<String>,
}

impl Manager {
    /// Listens, and has the daemon of `setup` told so.
    fn of(setup: &mut Setup) -> Self {
        let path = setup.dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let usec = WATCHDOG.as_micros().to_string();
        for (name, value) in [
            ("NOTIFY_SOCKET", path.into_os_string()),
            ("WATCHDOG_USEC", usec.into()),
        ] {
            setup.env.push((name.to_owned(), value));
        }
        Self {
            socket,
            told: Vec::new(),
        }
    }

    /// The next message, if one comes soon.
    fn next(&mut self) -> Option<Vec<String>> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(len) => {
                let text = std::str::from_utf8(&buffer[..len]).unwrap();
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                self.told.extend(lines.iter().cloned());
                Some(lines)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// Waits until a line is told, and returns the message.
    fn until(&mut self, line: &str, child: &mut Child) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.next()
                && message.iter().any(|told| told == line)
            {
                return message;
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "ended without {line}: {:?}", self.told);
            assert!(Instant::now() < end, "no {line} came: {:?}", self.told);
        }
    }

    /// All that waits.
    fn drain(&mut self) {
        while self.next().is_some() {}
    }

    fn was_told(&self, line: &str) -> bool {
        self.told.iter().any(|told| told == line)
    }

    fn has_status(&self, words: &str) -> bool {
        let mut told = self.told.iter();
        told.any(|line| line.starts_with("STATUS=") && line.contains(words))
    }
}

/// A child that doesn't outlive the test.
struct Daemon(Child);

impl Daemon {
    fn terminate(&mut self) {
        let pid = self.0.id().to_string();
        let signalled = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(signalled.unwrap().success());
    }

    fn end(&mut self) -> i32 {
        let status = wait_for("the daemon to end", || self.0.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already, or here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    held.local_addr().unwrap().port()
}

/// One login by MQTT 3.1.1, without a second try. The CONNACK's return code.
fn log_in(address: SocketAddr, device: &str) -> std::io::Result<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1000_0010, 0, 60];
    for _ in ["client id", "user name"] {
        body.extend(u16::try_from(device.len()).unwrap().to_be_bytes());
        body.extend(device.as_bytes());
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&packet)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer[0], 0x20, "not a CONNACK: {answer:?}");
    Ok(answer[3])
}

#[test]
fn ready_means_that_a_device_is_taken_and_the_watchdog_follows_the_journal() {
    let mut setup = Setup::new();
    setup.port = free_port();
    let faults = Faults::new(&setup.dir.path().join("faults"));
    let (state, block) = (setup.state(), setup.dir.path().join("faults"));
    setup.prepare = Some(Box::new(move |command| {
        interposed::below(command, &state);
        Faults::open(&block).apply(command);
    }));
    let mut manager = Manager::of(&mut setup);
    let mut daemon = Daemon(setup.spawn());

    let message = manager.until("READY=1", &mut daemon.0);
    let code = log_in(setup.address(), "door-1").expect("ready, and nobody listens");
    assert_eq!(code, 0, "ready, and a device is refused");
    let at = format!("STATUS=taking devices at {}", setup.address());
    assert!(message.contains(&at), "{message:?}");
    assert!(manager.has_status("starting"), "{:?}", manager.told);

    for _ in 0..3 {
        manager.until("WATCHDOG=1", &mut daemon.0);
    }

    // A card that doesn't come back: the journal hangs in the sync of what a technician asks for.
    faults.fail_all(kind::SYNC, HANGS);
    let asks = Command::new(env!("CARGO_BIN_EXE_linli"))
        .arg("--config")
        .arg(setup.config())
        .args(["compartment", "disable", "bank-a/1", "--reason", "a test"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut asks = Daemon(asks.unwrap());
    wait_for("the journal to hang", || (faults.hits() > 0).then_some(()));
    // What was told before it hung, and the last turn's.
    let hung = Instant::now();
    while hung.elapsed() < WATCHDOG {
        manager.next();
    }
    manager.drain();
    let before = manager.told.len();
    let hung = Instant::now();
    while hung.elapsed() < WATCHDOG * 2 {
        manager.next();
    }
    let since = &manager.told[before..];
    assert!(!since.iter().any(|line| line == "WATCHDOG=1"), "{since:?}");
    assert_eq!(daemon.0.try_wait().unwrap(), None, "it ended by itself");

    // It comes back: so does the watchdog's food, and what was asked for is done.
    faults.heal();
    manager.until("WATCHDOG=1", &mut daemon.0);
    assert_eq!(asks.end(), 0);

    assert!(!manager.was_told("STOPPING=1"));
    daemon.terminate();
    manager.until("STOPPING=1", &mut daemon.0);
    assert_eq!(daemon.end(), 0, "{}", setup.log_text());
}

#[test]
fn who_can_not_take_devices_is_never_ready_and_says_why() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut setup = Setup::new();
    setup.port = taken.local_addr().unwrap().port();
    let mut manager = Manager::of(&mut setup);
    let mut daemon = Daemon(setup.spawn());
    assert_eq!(daemon.end(), 1);
    manager.drain();
    assert!(!manager.was_told("READY=1"), "{:?}", manager.told);
    assert!(manager.has_status("failed: "), "{:?}", manager.told);
    let port = setup.port.to_string();
    assert!(manager.has_status(&port), "{:?}", manager.told);
}

#[test]
fn failures_wait_longer_each_time_and_a_person_s_restart_does_not() {
    let runtime = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut setup = Setup::new();
    setup.port = taken.local_addr().unwrap().port();
    let mut manager = Manager::of(&mut setup);
    let folder = runtime.path().as_os_str().to_owned();
    setup.env.push(("RUNTIME_DIRECTORY".to_owned(), folder));
    for _ in 0..2 {
        let mut daemon = Daemon(setup.spawn());
        assert_eq!(daemon.end(), 1);
    }
    manager.drain();
    assert!(!manager.has_status("the next try"), "{:?}", manager.told);
    // Many more, without waiting for them.
    fs::write(runtime.path().join("failures"), "20").unwrap();
    let mut daemon = Daemon(setup.spawn());
    wait_for("it to wait", || {
        manager.next();
        manager.has_status("the next try is in 300 s").then_some(())
    });
    daemon.terminate();
    assert_eq!(daemon.end(), 0);
    drop(taken);
    let mut daemon = Daemon(setup.spawn());
    manager.until("READY=1", &mut daemon.0);
    daemon.terminate();
    assert_eq!(daemon.end(), 0);
    assert!(!runtime.path().join("failures").exists());
}

#[test]
fn a_secret_comes_as_a_credential() {
    let credentials = tempfile::tempdir().unwrap();
    let mut setup = Setup::new();
    setup.port = free_port();
    // Nobody listens there: it is enough that the token is read.
    setup.more = format!(
        "[cloud]\nurl = \"http://127.0.0.1:{}\"\ntoken_file = \"credential:cloud-token\"\n",
        free_port()
    );
    let mut manager = Manager::of(&mut setup);
    let folder = credentials.path().as_os_str().to_owned();
    setup.env.push(("CREDENTIALS_DIRECTORY".to_owned(), folder));

    // It isn't there: devices are served, and it is said which file is to be put where.
    let mut daemon = Daemon(setup.spawn());
    manager.until("READY=1", &mut daemon.0);
    let said = "/etc/linli/credentials/cloud-token";
    assert!(setup.log_text().contains(said), "{}", setup.log_text());
    sync_says(&setup, "linli_cloud-token");
    daemon.terminate();
    assert_eq!(daemon.end(), 0);

    // As systemd names what it loads from the unit's folder.
    private(&credentials.path().join("linli_cloud-token"), "a-token");
    let mut daemon = Daemon(setup.spawn());
    manager.until("READY=1", &mut daemon.0);
    sync_says(&setup, "cannot connect to");
    daemon.terminate();
    assert_eq!(daemon.end(), 0);
    assert!(!setup.log_text().contains("a-token\""));
}

/// Waits until the sync client says so.
fn sync_says(setup: &Setup, words: &str) {
    wait_for(words, || {
        let out = setup.cli(&["sync"]);
        let text = common::text(&out.stdout) + &common::text(&out.stderr);
        text.contains(words).then_some(())
    });
}

fn private(file: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::File::options();
    let file = options.write(true).create(true).mode(0o400).open(file);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}
