//! The first set-up: by flags, on a terminal, and that a real daemon starts from what was written.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use crate::bed::PATIENCE;
use linli::config::Config;

const TOKEN: &str = "4b2e6b1c7a0f9d3e8c5512d7f06ab934";

fn linli(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
    command
        .current_dir(dir)
        .env_remove("LINLI_SOCKET")
        .stdin(Stdio::null())
        .args(args);
    command
}

fn ran(dir: &Path, args: &[&str]) -> Output {
    linli(dir, args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(file: &Path) -> Config {
    Config::read(file).unwrap_or_else(|e| panic!("{e}"))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

#[test]
fn every_answer_can_be_a_flag() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let done = ran(
        dir.path(),
        &[
            "init",
            "--yes",
            "--config",
            "etc/linli.toml",
            "--state-dir",
            "state",
            "--site",
            "willow-court",
            "--building",
            "b1",
            "--building",
            "b2",
            "--bank",
            "bank-a@b1:8S,6M,2L,2Mc=Gate 1, under the \"roof\"",
            "--bank",
            "bank-b@b2:20S",
            "--desk",
            "desk-1@b2=物业 Property office",
            "--device",
            "door-b1@b1",
            "--device",
            "scanner-a@b1/bank-a",
            "--listen",
            "0.0.0.0:1883",
            "--mqtts",
            "--cloud",
            "https://cloud.example",
            "--token-file",
            "token",
            "--port",
            "bus-1=/dev/serial/by-id/usb-1,kerong-cu16,9600",
            "--port",
            "tty-1=/dev/ttyS1,lines",
            "--board",
            "bank-b@bus-1:0=1-16",
            "--board",
            "bank-b@bus-1:1=17-20",
            "--on-port",
            "scanner-a@tty-1=scan",
        ],
    );
    assert!(done.status.success(), "{}", said(&done));
    let file = dir.path().join("etc/linli.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("#:schema "), "{text}");
    assert!(!text.contains(TOKEN));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    let config = read(&file);
    assert_eq!(config.banks[0].count(), 18);
    assert_eq!(config.desks[0].address, "物业 Property office");
    assert_eq!(config.banks[1].boards.len(), 2);
    let over_mqtt: Vec<String> = config
        .mqtt_device_ids()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(over_mqtt, ["bank-a", "desk-1", "door-b1"]);
    let kept = dir.path().join("state/cloud-token");
    assert_eq!(fs::read_to_string(&kept).unwrap(), TOKEN);
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        config.cloud.unwrap().token_file.unwrap(),
        Path::new("state/cloud-token")
    );
    let next = String::from_utf8(done.stdout).unwrap();
    for command in [
        "linli run --config etc/linli.toml",
        "linli device password bank-a",
        "linli bank walk-test bank-b",
        "linli ca init",
        "linli status",
    ] {
        assert!(next.contains(command), "{command}\n{next}");
    }
    assert!(!next.contains(TOKEN));
}

#[test]
fn what_is_there_is_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    let init = ["init", "--yes", "--config", "linli.toml", "--site", "s"];
    assert!(ran(dir.path(), &init).status.success());
    let file = dir.path().join("linli.toml");
    fs::write(&file, "mine").unwrap();
    let again = ran(dir.path(), &init);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("--force"), "{}", said(&again));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let forced = ran(dir.path(), &[&init[..], &["--force", "--json"]].concat());
    assert!(forced.status.success(), "{}", said(&forced));
    let told: serde_json::Value = serde_json::from_slice(&forced.stdout).unwrap();
    let kept = dir.path().join(told["kept"].as_str().unwrap());
    assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
    assert_eq!(read(&file).site.as_str(), "s");
    assert_eq!(entries(dir.path()).len(), 2);
}

#[test]
fn a_wrong_flag_writes_nothing_and_says_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let base = ["init", "--yes", "--config", "linli.toml"];
    for (more, told) in [
        (&[][..], "--site ID"),
        (&["--site", "Willow Court"], "a-z"),
        (
            &["--site", "s", "--bank", "bank-a@b1:8S"],
            "--bank: there is no building 'b1'",
        ),
        (
            &["--site", "s", "--building", "b1", "--bank", "bank-a@b1:8Q"],
            "'8Q' says no compartments",
        ),
        (
            &["--site", "s", "--building", "b1", "--building", "b1"],
            "--building: building 'b1' is there already",
        ),
        (
            &["--site", "s", "--cloud", "http://cloud.example"],
            "use https",
        ),
        (&["--site", "s", "--token-file", "token"], "--cloud"),
        (
            &["--site", "s", "--port", "bus-1=/dev/ttyUSB0,rs485"],
            "kerong-cu16",
        ),
        (
            &[
                "--site",
                "s",
                "--building",
                "b1",
                "--bank",
                "bank-a@b1:20S",
                "--port",
                "bus-1=/dev/ttyUSB0,kerong-cu16",
                "--board",
                "bank-a@bus-1:0=1-16",
            ],
            "opens compartment 17, 18, 19, 20",
        ),
    ] {
        let done = ran(dir.path(), &[&base[..], more].concat());
        assert_eq!(done.status.code(), Some(2), "{more:?} {}", said(&done));
        assert!(said(&done).contains(told), "{more:?} {}", said(&done));
        assert_eq!(entries(dir.path()), Vec::<PathBuf>::new(), "{more:?}");
    }
    let asked = ran(
        dir.path(),
        &["init", "--site", "s", "--config", "linli.toml"],
    );
    assert_eq!(asked.status.code(), Some(2));
    assert!(said(&asked).contains("--yes"), "{}", said(&asked));
    let printed = ran(dir.path(), &["init", "--site", "s", "--print"]);
    assert!(printed.status.success());
    assert!(Config::parse(&String::from_utf8(printed.stdout).unwrap()).is_ok());
    assert_eq!(entries(dir.path()), Vec::<PathBuf>::new());
}

/// `linli init` on a terminal of its own.
struct AtTerminal {
    child: Child,
    terminal: fs::File,
    shown: Receiver<Vec<u8>>,
    seen: String,
    at: usize,
}

impl AtTerminal {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = linli(dir, args);
        command.stdin(slave()).stdout(slave()).stderr(slave());
        // A session of its own, whose terminal this is, so that Ctrl-C reaches it; and not ignored, as
        // it is in what a shell started in the background.
        let mut shell = Command::new("setsid");
        shell
            .current_dir(dir)
            .env_remove("LINLI_SOCKET")
            .args(["--ctty", "--wait", "env", "--default-signal=INT"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .process_group(0);
        let child = shell.spawn().unwrap();
        drop((pty.slave, shell, command));
        let terminal = fs::File::from(pty.master);
        let mut reading = terminal.try_clone().unwrap();
        let (tell, shown) = sync_channel(64);
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut some) {
                if tell.send(some[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            terminal,
            shown,
            seen: String::new(),
            at: 0,
        }
    }

    /// Waits for a question, and answers it.
    fn answer(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        self.terminal.write_all(answer.as_bytes()).unwrap();
        self.terminal.write_all(b"\r").unwrap();
    }

    fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen[self.at..].find(text) {
                self.at += found + text.len();
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("in vain: waited for {text:?} in\n{}", self.seen),
            }
        }
    }

    fn ends(&mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it goes on:\n{}", self.seen);
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        while let Ok(bytes) = self
            .shown
            .recv_timeout(std::time::Duration::from_millis(100))
        {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        status.code().unwrap_or(-1)
    }
}

impl Drop for AtTerminal {
    /// The terminal goes, and with it whoever still waits at it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn have_setsid() -> bool {
    let asked = Command::new("setsid").arg("--version").output();
    asked.is_ok_and(|asked| asked.status.success())
}

/// All questions up to the cloud; ports are named, so that this machine's aren't asked for.
fn answered(dir: &Path) -> AtTerminal {
    let mut at = AtTerminal::start(
        dir,
        &[
            "init",
            "--config",
            "linli.toml",
            "--port",
            "bus-1=/dev/ttyUSB0,modbus",
        ],
    );
    at.answer("The site's id, as the cloud knows it: ", "Willow Court");
    at.answer("is not a valid identifier", "willow-court");
    at.answer("[b1]: ", "b1 b1");
    at.answer("is there already", "b1, b2");
    at.answer("How many locker banks [1]: ", "many");
    at.answer("0 to 99", "2");
    at.answer("[bank-a]: ", "");
    at.answer("The building of bank-a [b1]: ", "b9");
    at.answer("no building 'b9', but b1, b2", "b2");
    at.answer("Where bank-a stands", "Gate 1 \"north\"");
    at.answer("[8S 6M 2L]: ", "8 small");
    at.answer("says no compartments", "8S 6M 2L 2Mc");
    at.answer("[bank-b]: ", "bank-a");
    at.answer("is taken", "");
    at.answer("The building of bank-b [b1]: ", "");
    at.answer("Where bank-b stands", "");
    at.answer("[8S 6M 2L]: ", "");
    at.answer("How many desks", "1");
    at.answer("[desk-1]: ", "");
    at.answer("The building of desk-1 [b1]: ", "");
    at.answer("Where desk-1 stands", "Property office");
    at.answer("How many other devices", "1");
    at.answer("[door-1]: ", "");
    at.answer("The building of door-1 [b1]: ", "");
    at.answer("Who connects over MQTT", "3");
    at.answer("1, 2, or an address", "2");
    at.answer("Encrypt it", "");
    at.answer("The cloud's URL", "http://cloud.example");
    at.answer("use https", "https://cloud.example");
    at
}

#[test]
fn the_questions_lead_to_a_configuration() {
    if !have_setsid() {
        eprintln!("left out: needs setsid (util-linux)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut at = answered(dir.path());
    at.answer("one-time token", TOKEN);
    at.wait_for("site = \"willow-court\"");
    assert_eq!(entries(dir.path()), Vec::<PathBuf>::new());
    at.answer("Write it? [y/N] ", "y");
    assert_eq!(at.ends(), 0, "{}", at.seen);
    assert!(at.seen.contains("Next:"), "{}", at.seen);
    assert!(!at.seen.contains(TOKEN), "{}", at.seen);
    let config = read(&dir.path().join("linli.toml"));
    assert_eq!(config.banks[0].address, "Gate 1 \"north\"");
    assert_eq!(config.banks[0].building.as_str(), "b2");
    assert_eq!((config.banks[0].count(), config.banks[1].count()), (18, 16));
    let broker = config.broker.unwrap();
    assert_eq!(broker.listen.to_string(), "0.0.0.0:1883");
    assert_eq!(broker.tls.unwrap().listen.to_string(), "0.0.0.0:8883");
    let token = dir.path().join("var/linli/cloud-token");
    assert_eq!(fs::read_to_string(token).unwrap(), TOKEN);
}

#[test]
fn whoever_stops_in_the_middle_leaves_nothing() {
    if !have_setsid() {
        eprintln!("left out: needs setsid (util-linux)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let nothing = |at: &AtTerminal| {
        assert_eq!(entries(dir.path()), Vec::<PathBuf>::new(), "{}", at.seen);
    };
    // Ctrl-C where the token is typed, Ctrl-C and the end of input at a question, and a no at the last.
    let mut at = answered(dir.path());
    at.wait_for("one-time token");
    at.terminal.write_all(b"4b2e\x03").unwrap();
    assert_eq!(at.ends(), 130, "{}", at.seen);
    nothing(&at);
    let mut at = AtTerminal::start(dir.path(), &["init", "--config", "linli.toml"]);
    at.wait_for("The site's id, as the cloud knows it: ");
    at.terminal.write_all(b"s\x03").unwrap();
    assert_ne!(at.ends(), 0, "{}", at.seen);
    nothing(&at);
    let mut at = AtTerminal::start(dir.path(), &["init", "--config", "linli.toml"]);
    at.wait_for("The site's id, as the cloud knows it: ");
    at.terminal.write_all(b"\x04").unwrap();
    assert_eq!(at.ends(), 1, "{}", at.seen);
    assert!(at.seen.contains("nothing was written"), "{}", at.seen);
    nothing(&at);
    let mut at = answered(dir.path());
    at.answer("one-time token", "");
    at.answer("Write it? [y/N] ", "");
    assert_eq!(at.ends(), 1, "{}", at.seen);
    nothing(&at);
}

#[test]
fn a_daemon_starts_from_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let done = ran(
        dir.path(),
        &[
            "init",
            "--yes",
            "--site",
            "willow-court",
            "--building",
            "b1",
            "--bank",
            "bank-a@b1:8S,6M,2L,2Mc",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    assert!(done.status.success(), "{}", said(&done));
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let mut daemon = linli(dir.path(), &["run"]).stderr(log).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    let banks = loop {
        let banks = ran(dir.path(), &["banks", "--json"]);
        if banks.status.success() {
            break banks;
        }
        let log = || fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(daemon.try_wait().unwrap().is_none(), "{}", log());
        assert!(Instant::now() < until, "{}\n{}", said(&banks), log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let banks: serde_json::Value = serde_json::from_slice(&banks.stdout).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(banks[0]["bank"], "bank-a", "{banks}");
    assert_eq!(banks[0]["compartments"].as_array().unwrap().len(), 18);
}
