//! What a technician finds out about a port from the command line: what hangs on it, what goes over
//! it. The devices are simulated ones that keep a record of what was asked of them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value as Json;
use simulator::compartments::Compartments;
use simulator::serial::board::Speech;
use simulator::serial::{Board, BoardSpec, LineDevice, ModbusSlave, Quirk, Settings, Slave, Wire};
use tempfile::TempDir;

use crate::bed::Bed;

/// A port at a path of its own, with these devices at this rate.
fn wire(baud: u32, slaves: Vec<Box<dyn Slave>>) -> (TempDir, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::start(&dir.path().join("port"), Settings::new(baud, 7), slaves).unwrap();
    (dir, wire)
}

fn board(speech: Speech, address: u8) -> Board {
    let spec = BoardSpec::new(speech, address);
    Board::new(spec, &Compartments::new(16), 1)
}

/// The binary, without a daemon or a configuration.
fn linli(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
    command
        .current_dir(dir)
        .args(["--socket", "no.sock", "--config", "no.toml", "serial"])
        .args(args)
        .env_remove("LINLI_SOCKET")
        .stdin(Stdio::null());
    command
}

/// Scans the port in `dir`, quickly. Returns the exit code and what programs read.
fn scan(dir: &Path, args: &[&str]) -> (i32, Json) {
    let quick = [
        "scan",
        "port",
        "--timeout",
        "40",
        "--listen",
        "60",
        "--json",
    ];
    let output = linli(dir, &[&quick, args].concat()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    let read = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), read.expect(&shown))
}

fn found(outcome: &Json) -> Vec<(String, u64, u64)> {
    let all = outcome["found"].as_array().unwrap().iter();
    let one = |found: &Json| {
        (
            found["protocol"].as_str().unwrap().to_string(),
            found["baud"].as_u64().unwrap(),
            found["address"].as_u64().unwrap(),
        )
    };
    all.map(one).collect()
}

#[test]
fn a_scan_finds_protocol_rate_and_addresses_and_opens_nothing() {
    let boards = [board(Speech::KerongCu16, 0), board(Speech::KerongCu16, 3)];
    let slaves = boards
        .iter()
        .map(|board| Box::new(board.clone()) as Box<dyn Slave>);
    let (dir, _wire) = wire(19_200, slaves.collect());
    let args = ["--baud", "9600,19200", "--addresses", "0-4"];
    let (code, outcome) = scan(dir.path(), &args);
    assert_eq!(code, 0, "{outcome}");
    let wanted = [0, 3].map(|address| ("kerong-cu16".to_string(), 19_200, address));
    assert_eq!(found(&outcome), wanted, "{outcome}");
    assert_eq!(
        (&outcome["ambiguous"], &outcome["complete"]),
        (&false.into(), &true.into())
    );
    let lines = outcome["configuration"].as_str().unwrap();
    let section: toml::Table = toml::from_str(lines).unwrap();
    assert_eq!(section["port"][0]["protocol"].as_str(), Some("kerong-cu16"));
    assert_eq!(section["bank"]["board"][1]["address"].as_integer(), Some(3));
    for board in &boards {
        assert!(board.asked() > 0);
        assert!(board.pulses().is_empty() && board.forbidden().is_empty());
    }
}

#[test]
fn every_kind_of_device_is_found_among_others() {
    let kinds = [
        (Speech::KerongCu48, "kerong-cu48"),
        (Speech::EightA, "8a"),
        (Speech::Wkly, "wkly"),
    ];
    let all = [
        "--protocol",
        "kerong-cu16,kerong-cu48,8a,wkly,osdp,modbus,linli",
    ];
    for (speech, word) in kinds {
        let board = board(speech, 2);
        let baud = speech.baud().to_string();
        let (dir, _wire) = wire(speech.baud(), vec![Box::new(board.clone())]);
        let args = [&all[..], &["--addresses", "1-2", "--baud", &baud]].concat();
        let (code, outcome) = scan(dir.path(), &args);
        assert_eq!(code, 0, "{word}: {outcome}");
        let wanted = [(word.to_string(), u64::from(speech.baud()), 2)];
        assert_eq!(found(&outcome), wanted, "{word}: {outcome}");
        assert!(
            board.pulses().is_empty() && board.forbidden().is_empty(),
            "{word}"
        );
    }
    // A slave without any register refuses, which is an answer.
    let slave = ModbusSlave::new(2, 9_600);
    let (dir, _wire) = wire(9_600, vec![Box::new(slave.clone())]);
    let args = [&all[..], &["--addresses", "1-2", "--baud", "9600"]].concat();
    let (_, outcome) = scan(dir.path(), &args);
    assert_eq!(
        found(&outcome),
        [("modbus".to_string(), 9_600, 2)],
        "{outcome}"
    );
    let says = outcome["found"][0]["says"].as_str().unwrap();
    assert!(says.contains("no such address"), "{says}");
}

#[test]
fn nothing_found_is_a_failure_with_what_to_look_at() {
    let (dir, _wire) = wire(9_600, Vec::new());
    let args = [
        "scan",
        "port",
        "--protocol",
        "wkly",
        "--addresses",
        "1",
        "--baud",
        "9600",
    ];
    let output = linli(dir.path(), &args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("Nothing answered 1 request."), "{shown}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("then sends at most 1 request that only"),
        "{said}"
    );
}

#[test]
fn a_line_with_traffic_of_its_own_is_not_disturbed() {
    let scanner = LineDevice::new("", "\r\n");
    let (dir, _wire) = wire(9_600, vec![Box::new(scanner.clone())]);
    let over = Arc::new(AtomicBool::new(false));
    let typing = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                scanner.type_line("SF1234567890");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    });
    let (code, outcome) = scan(dir.path(), &["--baud", "9600"]);
    over.store(true, Ordering::Relaxed);
    typing.join().unwrap();
    assert_eq!(code, 0, "{outcome}");
    assert_eq!(outcome["overheard"]["protocol"], "lines", "{outcome}");
    assert_eq!(outcome["asked"], 0);
    assert!(!outcome.to_string().contains("SF1234567890"), "{outcome}");
}

#[test]
fn an_interrupted_scan_shows_what_it_has_found() {
    let (dir, _wire) = wire(9_600, vec![Box::new(board(Speech::KerongCu16, 0))]);
    let args = [
        "scan",
        "port",
        "--baud",
        "9600",
        "--listen",
        "20",
        "--timeout",
        "200",
    ];
    let mut child = Ended(piped(linli(dir.path(), &args)));
    let mut said = BufReader::new(child.0.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("found: kerong-cu16")));
    let pid = child.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    // Its last words mustn't be in the way.
    let said = std::thread::spawn(move || said.count());
    let mut shown = String::new();
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(130));
    said.join().unwrap();
    assert!(shown.contains("kerong-cu16"), "{shown}");
    assert!(shown.contains("Not everything was tried"), "{shown}");
}

#[test]
fn a_port_that_is_listened_to_says_what_goes_over_it() {
    let (dir, wire) = wire(19_200, Vec::new());
    let args = [
        "monitor",
        "port",
        "--protocol",
        "kerong-cu16",
        "--count",
        "2",
        "--raw",
    ];
    let mut child = Ended(piped(linli(dir.path(), &args)));
    let mut said = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    assert!(
        first.starts_with("Listening to port as kerong-cu16 at 19200 baud"),
        "{first}"
    );
    wire.disturb(&[0x02, 0x10, 0x30, 0x03, 0x45]);
    wire.disturb(&[0x02, 0x10, 0x35, 0xff, 0x01, 0x00, 0x00, 0x03, 0x4a]);
    let mut shown = String::new();
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    assert!(
        shown.contains("gateway  board 1: status of all channels?"),
        "{shown}"
    );
    assert!(
        shown.contains("device   board 1: lock bits set: 1-9;"),
        "{shown}"
    );
    assert!(shown.contains("02 10 30 03 45"), "{shown}");
}

#[test]
fn a_port_that_nothing_is_known_of_can_not_be_listened_to() {
    let (dir, _wire) = wire(9_600, Vec::new());
    let output = linli(dir.path(), &["monitor", "port"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--protocol"), "{said}");
    let output = linli(dir.path(), &["scan", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("nowhere isn't there: linli serial list"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_s_own_port_is_listened_to_and_not_scanned() {
    let board = board(Speech::KerongCu16, 0);
    let (_dir, wire) = wire(19_200, vec![Box::new(board.clone())]);
    let mut bed = Bed::start(&format!(
        "[[port]]\nid = \"rs485-a\"\npath = {:?}\nprotocol = \"kerong-cu16\"\npoll_ms = 50\n\
         [[bank]]\nid = \"bank-a\"\nbuilding = \"b1\"\noccupancy_sensor = false\n\
         compartments = [{{ count = 16, size = \"M\" }}]\n\
         [[bank.board]]\nport = \"rs485-a\"\naddress = 0\ncompartments = [1, 16]\n",
        wire.path()
    ))
    .await;
    let output = bed
        .linli(&["serial", "monitor", "rs485-a", "--count", "4", "--json"])
        .await;
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let heard: Vec<Json> = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |from: &str, words: &str| {
        let mut heard = heard.iter();
        heard.any(|heard| heard["from"] == from && heard["words"].as_str().unwrap().contains(words))
    };
    assert!(
        said("gateway", "board 0: status of all channels?"),
        "{shown}"
    );
    assert!(said("device", "board 0: lock bits set: 1-16"), "{shown}");
    let path = wire.path().display().to_string();
    let refused = bed.linli(&["serial", "scan", &path]).await;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("(its port 'rs485-a')") && said.contains("systemctl stop"),
        "{said}"
    );
    bed.stop().await;
}

/// A bank of four on a simulated board, and somebody who pushes each door shut that opens.
async fn walked(prepare: impl FnOnce(&Board), args: &[&str]) -> (i32, Json) {
    let doors = Compartments::new(4);
    let board = Board::new(BoardSpec::new(Speech::KerongCu16, 0), &doors, 1);
    prepare(&board);
    let (dir, wire) = wire(19_200, vec![Box::new(board.clone())]);
    let mut bed = Bed::start(&format!(
        "[[port]]\nid = \"rs485-a\"\npath = {:?}\nprotocol = \"kerong-cu16\"\npoll_ms = 20\n\
         [[bank]]\nid = \"bank-a\"\nbuilding = \"b1\"\noccupancy_sensor = false\n\
         compartments = [{{ count = 4, size = \"M\" }}]\n\
         [[bank.board]]\nport = \"rs485-a\"\naddress = 0\ncompartments = [1, 4]\n",
        wire.path()
    ))
    .await;
    bed.said("bank-a", "compartment", 4).await;
    let over = Arc::new(AtomicBool::new(false));
    let closing = std::thread::spawn({
        let (over, doors) = (Arc::clone(&over), doors.clone());
        move || {
            // Each door stands open for a moment, as behind a hand.
            let mut open = [0; 4];
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(20));
                for (door, looks) in (1..).zip(&mut open) {
                    *looks = if doors.is_open(door) == Some(true) {
                        *looks + 1
                    } else {
                        0
                    };
                    if *looks > 20 {
                        doors.close(door);
                    }
                }
            }
        }
    });
    let out = dir.path().display().to_string();
    let walk = [
        "bank",
        "walk-test",
        "bank-a",
        "--yes",
        "--json",
        "--out",
        &out,
    ];
    let output = bed.linli(&[&walk, args].concat()).await;
    over.store(true, Ordering::Relaxed);
    closing.join().unwrap();
    bed.stop().await;
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(board.forbidden().is_empty());
    let record = serde_json::from_slice(&output.stdout).expect(&shown);
    (output.status.code().unwrap(), record)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_on_a_board_passes_its_walk_test() {
    let (code, record) = walked(|_| {}, &["--wait", "20"]).await;
    assert_eq!(code, 0, "{record:#}");
    assert_eq!(record["passed"], true);
    let tried = record["compartments"].as_array().unwrap();
    assert!(
        tried.iter().all(|entry| entry["openings"] == 1),
        "{record:#}"
    );
    assert!(
        tried.iter().all(|entry| entry["closed_after_ms"].is_u64()),
        "{record:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_of_the_other_polarity_is_learnt_by_a_walk_test() {
    let inverted = |board: &Board| board.set(Quirk::WrongPolarity, true);
    let (code, record) = walked(inverted, &["--wait", "20", "--compartments", "1-2"]).await;
    assert_eq!(code, 1, "{record:#}");
    let tried = record["compartments"].as_array().unwrap();
    assert!(
        tried.iter().all(|entry| entry["verdict"] == "inverted"),
        "{record:#}"
    );
    let change = record["change"][0].as_str().unwrap();
    assert!(
        change.ends_with("address = 0: closed = \"zero\""),
        "{change}"
    );
}

fn piped(mut command: Command) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// A command that runs on; ended when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
