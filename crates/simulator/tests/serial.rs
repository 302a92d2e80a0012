//! The simulated serial devices as a gateway meets them: through a device file, in real time, with
//! the line's faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use simulator::compartments::Compartments;
use simulator::serial::board::Speech;
use simulator::serial::{
    Board, BoardSpec, Faults, LineDevice, ModbusSlave, Quirk, Settings, Slave, Wire,
};

const PATIENCE: Duration = Duration::from_secs(10);
const CU16_STATUS: [u8; 5] = [0x02, 0x00, 0x30, 0x03, 0x35];
const CU16_UNLOCK: [u8; 5] = [0x02, 0x00, 0x31, 0x03, 0x36];

/// Opens a port as a gateway would.
fn open(path: &Path, baud: u32) -> File {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags).unwrap())
        .open(path)
        .unwrap();
    let mut settings = tcgetattr(&file).unwrap();
    settings.make_raw();
    settings.set_speed(baud).unwrap();
    tcsetattr(&file, OptionalActions::Now, &settings).unwrap();
    file
}

/// Reads so many bytes, or what came until `within` has passed.
fn read(file: &mut File, count: usize, within: Duration) -> Vec<u8> {
    let end = Instant::now() + within;
    let mut all = Vec::new();
    while all.len() < count && Instant::now() < end {
        let mut bytes = [0; 256];
        match file.read(&mut bytes) {
            Ok(n) => all.extend_from_slice(&bytes[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(e) => panic!("{e}"),
        }
    }
    all
}

/// What is answered, of so many bytes at most, within a while.
fn ask(file: &mut File, request: &[u8], count: usize) -> Vec<u8> {
    file.write_all(request).unwrap();
    read(file, count, PATIENCE)
}

/// The same where nothing is to come.
fn silence(file: &mut File, request: &[u8]) -> bool {
    file.write_all(request).unwrap();
    read(file, 1, Duration::from_millis(150)).is_empty()
}

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < end, "in vain: waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Bed {
    dir: tempfile::TempDir,
    compartments: Compartments,
}

impl Bed {
    fn new(count: u16) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            compartments: Compartments::new(count),
        }
    }

    fn board(&self, speech: Speech, address: u8, first: u16) -> Board {
        Board::new(BoardSpec::new(speech, address), &self.compartments, first)
    }

    fn wire(&self, settings: Settings, slaves: Vec<Box<dyn Slave>>) -> Wire {
        let link = self.dir.path().join("usb-adapter");
        Wire::start(&link, settings, slaves).unwrap()
    }
}

#[test]
fn a_cu16_opens_once_and_tells_by_its_status_only() {
    let bed = Bed::new(16);
    let board = bed.board(Speech::KerongCu16, 0, 1);
    let wire = bed.wire(Settings::new(19_200, 1), vec![Box::new(board.clone())]);
    let mut port = open(wire.path(), 19_200);
    let closed = [0x02, 0x00, 0x35, 0xFF, 0xFF, 0x00, 0x00, 0x03, 0x38];
    assert_eq!(ask(&mut port, &CU16_STATUS, 9), closed);
    assert!(silence(&mut port, &CU16_UNLOCK));
    wait_for("the door", || bed.compartments.is_open(1) == Some(true));
    assert_eq!(board.pulses().len(), 1);
    assert_eq!(board.pulses_of(1), 1);
    let open_1 = [0x02, 0x00, 0x35, 0xFE, 0xFF, 0x00, 0x00, 0x03, 0x37];
    assert_eq!(ask(&mut port, &CU16_STATUS, 9), open_1);
    assert!(bed.compartments.put(1, "P-1") && bed.compartments.close(1));
    assert_eq!(ask(&mut port, &CU16_STATUS, 9), closed);
    assert!(board.forbidden().is_empty());
    // All at once: no gateway may ask for that.
    assert!(silence(&mut port, &[0x02, 0x00, 0x33, 0x03, 0x38]));
    assert_eq!(board.forbidden(), ["unlock all"]);
}

#[test]
fn several_boards_share_a_line_with_polarity_and_infrared() {
    let bed = Bed::new(32);
    let one = bed.board(Speech::KerongCu16, 0, 1);
    let spec = BoardSpec {
        closed_is_one: false,
        occupied_is_one: Some(false),
        replies_to_unlock: true,
        ..BoardSpec::new(Speech::KerongCu16, 1)
    };
    let two = Board::new(spec, &bed.compartments, 17);
    let slaves: Vec<Box<dyn Slave>> = vec![Box::new(one.clone()), Box::new(two.clone())];
    let wire = bed.wire(Settings::new(19_200, 1), slaves);
    let mut port = open(wire.path(), 19_200);
    let status = ask(&mut port, &[0x02, 0x10, 0x30, 0x03, 0x45], 9);
    assert_eq!(
        status,
        [0x02, 0x10, 0x35, 0x00, 0x00, 0xFF, 0xFF, 0x03, 0x48]
    );
    // Board 1, lock 3 is compartment 19.
    let reply = ask(&mut port, &[0x02, 0x12, 0x31, 0x03, 0x48], 9);
    assert_eq!(reply[..3], [0x02, 0x10, 0x35]);
    wait_for("the door", || bed.compartments.is_open(19) == Some(true));
    bed.compartments.put(19, "P-1");
    let status = ask(&mut port, &[0x02, 0x10, 0x30, 0x03, 0x45], 9);
    assert_eq!(
        status,
        [0x02, 0x10, 0x35, 0x04, 0x00, 0xFB, 0xFF, 0x03, 0x48]
    );
    assert_eq!((one.asked(), one.pulses().len()), (0, 0));
    assert_eq!(two.pulses_of(19), 1);
    // The dead one leaves the other alone.
    one.set(Quirk::Dead, true);
    assert!(silence(&mut port, &CU16_STATUS));
    assert_eq!(ask(&mut port, &[0x02, 0x10, 0x30, 0x03, 0x45], 9), status);
}

#[test]
fn a_cu48_and_an_8a_answer_as_known() {
    let bed = Bed::new(48);
    let board = bed.board(Speech::KerongCu48, 1, 1);
    let wire = bed.wire(Settings::new(19_200, 1), vec![Box::new(board.clone())]);
    let mut port = open(wire.path(), 19_200);
    let unlocked = ask(&mut port, &[0x02, 0x01, 0x2F, 0x61, 0x03, 0x96], 6);
    assert_eq!(unlocked, [0x02, 0x01, 0x2F, 0x75, 0x00, 0xA7]);
    wait_for("the door", || bed.compartments.is_open(48) == Some(true));
    let status = ask(&mut port, &[0x02, 0x01, 0x00, 0x60, 0x03, 0x66], 12);
    let mut expected = vec![2, 1, 0, 0x75, 6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    expected.push(
        expected
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
    );
    assert_eq!(status, expected);
    drop(port);
    drop(wire);
    let board = bed.board(Speech::EightA, 1, 1);
    let wire = bed.wire(Settings::new(9_600, 1), vec![Box::new(board.clone())]);
    let mut port = open(wire.path(), 9_600);
    let reply = ask(&mut port, &[0x8A, 0x01, 0x01, 0x11, 0x9B], 5);
    assert_eq!(reply, [0x8A, 0x01, 0x01, 0x11, 0x9B], "not open yet");
    wait_for("the door", || bed.compartments.is_open(1) == Some(true));
    let status = ask(&mut port, &[0x80, 0x01, 0x00, 0x33, 0xB2], 7);
    assert_eq!(status, [0x80, 0x01, 0xFF, 0xFF, 0xFE, 0x33, 0x4C]);
    assert_eq!(board.pulses_of(1), 1);
}

#[test]
fn a_wkly_board_tells_changes_by_itself() {
    let bed = Bed::new(12);
    let board = bed.board(Speech::Wkly, 10, 1);
    let wire = bed.wire(Settings::new(9_600, 1), vec![Box::new(board.clone())]);
    let mut port = open(wire.path(), 9_600);
    let open_1 = [0x57, 0x4B, 0x4C, 0x59, 0x09, 0x0A, 0x82, 0x01, 0x89];
    let said = ask(&mut port, &open_1, 21);
    let reply = [0x57, 0x4B, 0x4C, 0x59, 0x0B, 0x0A, 0x82, 0, 1, 1, 0x8A];
    let change = [0x57, 0x4B, 0x4C, 0x59, 0x0A, 0x0A, 0x85, 1, 0, 0x8D];
    assert_eq!(said, [&reply[..], &change[..]].concat());
    assert!(bed.compartments.close(1));
    let change = [0x57, 0x4B, 0x4C, 0x59, 0x0A, 0x0A, 0x85, 1, 1, 0x8C];
    assert_eq!(read(&mut port, 10, PATIENCE), change);
    // There is no channel 13.
    let none = [0x57, 0x4B, 0x4C, 0x59, 0x09, 0x0A, 0x82, 13, 0x85];
    let said = ask(&mut port, &none, 11);
    assert_eq!(said[6..10], [0x82, 0xFF, 13, 0]);
    assert_eq!(board.pulses().len(), 1);
}

#[test]
fn bytes_take_the_line_s_time() {
    let bed = Bed::new(16);
    let board = bed.board(Speech::KerongCu16, 0, 1);
    let thinks = board.spec().thinks;
    let wire = bed.wire(Settings::new(1_200, 1), vec![Box::new(board)]);
    let mut port = open(wire.path(), 1_200);
    let start = Instant::now();
    assert_eq!(ask(&mut port, &CU16_STATUS, 9).len(), 9);
    // 14 bytes of 10 bits.
    let least = Duration::from_secs(14 * 10) / 1_200 + thinks;
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
}

#[test]
fn unplugged_it_is_gone_and_it_comes_back_as_another_file() {
    let bed = Bed::new(16);
    let board = bed.board(Speech::KerongCu16, 0, 1);
    let wire = bed.wire(Settings::new(19_200, 1), vec![Box::new(board)]);
    let before = wire.device().unwrap();
    let mut port = open(wire.path(), 19_200);
    assert_eq!(ask(&mut port, &CU16_STATUS, 9).len(), 9);
    wire.unplug();
    assert!(!wire.path().exists() && !before.exists() && wire.device().is_none());
    let mut bytes = [0; 16];
    assert!(matches!(port.read(&mut bytes), Ok(0) | Err(_)));
    assert!(port.write_all(&CU16_STATUS).is_err());
    wire.plug_in().unwrap();
    let after = wire.device().unwrap();
    assert_ne!(before, after);
    assert_eq!(std::fs::canonicalize(wire.path()).unwrap(), after);
    let mut port = open(wire.path(), 19_200);
    assert_eq!(ask(&mut port, &CU16_STATUS, 9).len(), 9);
}

#[test]
fn another_rate_an_echo_and_stray_bytes_are_as_on_a_real_line() {
    let bed = Bed::new(16);
    let board = bed.board(Speech::KerongCu16, 0, 1);
    let wire = bed.wire(Settings::new(19_200, 1), vec![Box::new(board.clone())]);
    let mut port = open(wire.path(), 9_600);
    assert!(silence(&mut port, &CU16_STATUS), "it hears garbage");
    assert_eq!(board.asked(), 0);
    drop(port);
    let mut port = open(wire.path(), 19_200);
    wire.set_faults(Faults {
        echo: true,
        ..Faults::default()
    });
    wait_for("the echo", || {
        let mut port = open(wire.path(), 19_200);
        let said = ask(&mut port, &CU16_STATUS, 14);
        said.starts_with(&CU16_STATUS) && said.len() == 14
    });
    wire.set_faults(Faults::default());
    wire.disturb(&[0xDE, 0xAD]);
    assert_eq!(read(&mut port, 2, PATIENCE), [0xDE, 0xAD]);
}

#[test]
fn what_is_wrong_with_a_board_shows_in_its_record() {
    let bed = Bed::new(16);
    let board = bed.board(Speech::KerongCu16, 0, 1);
    let wire = bed.wire(Settings::new(19_200, 1), vec![Box::new(board.clone())]);
    let mut port = open(wire.path(), 19_200);
    for (quirk, pulses) in [
        (Quirk::OpensTwice, vec![1, 1]),
        (Quirk::OpensNeighbour, vec![2]),
        (Quirk::OpensLater, vec![1, 2]),
    ] {
        let before = board.pulses().len();
        board.set(quirk, true);
        assert!(silence(&mut port, &CU16_UNLOCK));
        let new = || -> Vec<u16> {
            let all = board.pulses();
            all[before..].iter().map(|pulse| pulse.channel).collect()
        };
        wait_for("its pulses", || new().len() == pulses.len());
        assert_eq!(new(), pulses, "{quirk:?}");
        board.set(quirk, false);
    }
    bed.compartments.close(1);
    bed.compartments.close(2);
    board.set(Quirk::WrongPolarity, true);
    assert_eq!(ask(&mut port, &CU16_STATUS, 9)[3..5], [0x00, 0x00]);
    board.set(Quirk::WrongPolarity, false);
    board.set(Quirk::BadChecksums, true);
    assert_ne!(ask(&mut port, &CU16_STATUS, 9)[8], 0x38);
    board.set(Quirk::BadChecksums, false);
    board.set(Quirk::NeverConfirms, true);
    bed.compartments.jam(1, false);
    assert!(silence(&mut port, &CU16_UNLOCK));
    wait_for("the door", || bed.compartments.is_open(1) == Some(true));
    assert_eq!(ask(&mut port, &CU16_STATUS, 9)[3..5], [0xFF, 0xFF]);
}

#[test]
fn a_modbus_slave_and_a_scanner_work_over_a_port() {
    let bed = Bed::new(1);
    let slave = ModbusSlave::new(1, 9_600);
    slave.set_holding(0, 0x00FA);
    let wire = bed.wire(Settings::new(9_600, 1), vec![Box::new(slave)]);
    let mut port = open(wire.path(), 9_600);
    let answer = ask(&mut port, &[1, 3, 0, 0, 0, 1, 0x84, 0x0A], 7);
    assert_eq!(answer, [0x01, 0x03, 0x02, 0x00, 0xFA, 0x38, 0x07]);
    drop(port);
    drop(wire);
    let scanner = LineDevice::new("S:", "\r\n");
    let wire = bed.wire(Settings::new(9_600, 1), vec![Box::new(scanner.clone())]);
    let mut port = open(wire.path(), 9_600);
    // Only what is typed while somebody listens is heard.
    wait_for("the first line", || {
        scanner.type_line("WB-1");
        let mut port = open(wire.path(), 9_600);
        read(&mut port, 8, Duration::from_millis(500)) == *b"S:WB-1\r\n"
    });
    scanner.type_line("WB-2");
    scanner.type_line("WB-3");
    let said = read(&mut port, 16, PATIENCE);
    assert_eq!(String::from_utf8(said).unwrap(), "S:WB-2\r\nS:WB-3\r\n");
}
