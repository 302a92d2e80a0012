//! From the key press at a serial keypad to the unlock on the locker boards' bus, while all eight
//! boards there are asked for their state; beside the time that the bytes themselves take.
//!
//! The keypad types at 9,600 baud, the boards (Kerong CU16) speak at 19,200; both lines are
//! pseudo-terminals with the simulator's line in between, which takes each byte's own time. It ends
//! when the board has heard the last byte of the unlock.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::{Downlink, badge_digest};
use simulator::compartments::Compartments;
use simulator::serial::board::Speech;
use simulator::serial::{Board, BoardSpec, LineDevice, Settings, Slave, Wire};

use crate::backlog::OwnCloud;
use crate::common::{Setup, ident, wait_until};
use crate::figures::{Aim, Figure, Table, ms, percentile};
use crate::{Bench, disk};

const BOARDS: u16 = 8;
const LOCKS: u16 = 16;
const BOARDS_BAUD: u32 = 19_200;
const TYPED_BAUD: u32 = 9_600;
/// A byte with its start and stop bit.
const BITS: u32 = 10;
/// A request to a board, and its answer with the status, as bytes.
const REQUEST: u32 = 5;
const STATUS: u32 = 9;
const PERCENTS: [f64; 2] = [50.0, 99.0];
/// What the gateway may add to the bytes' time and a sync at p99, in ms.
const EXTRA_MS: f64 = 3.0;
/// How often a board is asked: as configured by default, and as often as the line allows.
const POLLED: [(&str, u64); 2] = [("each 250 ms", 250), ("without a pause", 0)];

pub fn measure(bench: &Bench, table: &mut Table) {
    for (polled, poll_ms) in POLLED {
        let cloud = OwnCloud::start();
        let mut setup = bench.setup();
        setup.cloud = Some(cloud.url());
        let locker = Locker::lay(setup.dir.path());
        setup.more = config(setup.dir.path(), poll_ms);
        let _gateway = setup.start();
        let presses = bench.effort.presses / 4;
        bench.runtime.block_on(async {
            let (code, compartment) = locker.deposit(&cloud).await;
            let mut took = Vec::new();
            for _ in 0..presses {
                took.push(locker.press(&code, compartment).await);
            }
            rows(polled, &mut took, code.len(), &setup, table);
        });
    }
}

fn rows(polled: &str, took: &mut [Duration], digits: usize, setup: &Setup, table: &mut Table) {
    let mut sync = disk::syncs(setup.dir.path(), took.len());
    let bytes = on_the_line(digits);
    for percent in PERCENTS {
        let sync = ms(percentile(&mut sync, percent));
        let name = format!("key press to unlock on the bus, 8 boards asked {polled}, p{percent}");
        let figure = Figure::new(name, ms(percentile(took, percent)), "ms")
            .beside("the bytes' own time, an exchange under way", ms(bytes))
            .beside("the same + one sync", ms(bytes) + sync);
        table.add(if percent == 99.0 {
            figure.aim(Aim::AtMost(ms(bytes) + sync + EXTRA_MS))
        } else {
            figure
        });
    }
}

/// The code and its end at the keypad's rate; at the boards', an exchange that has just begun, the
/// silence after it, the unlock.
fn on_the_line(digits: usize) -> Duration {
    let bytes = |bytes: u32, baud: u32| Duration::from_secs(1) * bytes * BITS / baud;
    let typed = u32::try_from(digits).unwrap() + 1;
    let thinks = BoardSpec::new(Speech::KerongCu16, 0).thinks;
    let silence = bytes(7, BOARDS_BAUD) / 2;
    bytes(typed, TYPED_BAUD)
        + bytes(REQUEST + STATUS, BOARDS_BAUD)
        + thinks
        + silence
        + bytes(REQUEST, BOARDS_BAUD)
}

/// A bank of eight boards with a keypad and a scanner, each of these on a port of its own.
struct Locker {
    doors: Compartments,
    boards: Vec<Board>,
    keypad: LineDevice,
    scanner: LineDevice,
    _wires: [Wire; 3],
}

impl Locker {
    fn lay(folder: &Path) -> Self {
        let doors = Compartments::new(BOARDS * LOCKS);
        let boards: Vec<Board> = (0..BOARDS)
            .map(|board| {
                let address = u8::try_from(board).unwrap();
                let mut spec = BoardSpec::new(Speech::KerongCu16, address);
                spec.occupied_is_one = Some(true);
                Board::new(spec, &doors, board * LOCKS + 1)
            })
            .collect();
        let (keypad, scanner) = (LineDevice::new("", "\r"), LineDevice::new("", "\r"));
        let wire = |name: &str, baud, slaves| {
            let settings = Settings::new(baud, u64::from(baud));
            Wire::start(&folder.join(name), settings, slaves).unwrap()
        };
        let slaves = boards.iter().cloned();
        let slaves = slaves.map(|board| Box::new(board) as Box<dyn Slave>);
        Self {
            _wires: [
                wire("boards", BOARDS_BAUD, slaves.collect()),
                wire("keypad", TYPED_BAUD, vec![Box::new(keypad.clone())]),
                wire("scanner", TYPED_BAUD, vec![Box::new(scanner.clone())]),
            ],
            doors,
            boards,
            keypad,
            scanner,
        }
    }

    /// A courier brings a parcel. Returns its code and where it is.
    async fn deposit(&self, cloud: &OwnCloud) -> (String, u16) {
        let gateway = ident("test-site");
        let courier = Downlink::Courier {
            courier: "c-1".to_owned(),
            proof: Proof::Badge(badge_digest("badge-1")),
            valid_until: 4_000_000_000_000,
        };
        cloud.cloud.push(&gateway, &courier).await.unwrap();
        let parcel = ExpectedParcel {
            parcel: "p-1".to_owned(),
            recipient: "r-1".to_owned(),
            size: Size::S,
            zone: Zone::Ambient,
            point: ident("locker"),
            deadline: 4_000_000_000_000,
            consent: true,
            items: None,
            low: false,
            return_of: None,
        };
        cloud.cloud.announce(&gateway, &parcel).await.unwrap();
        let code = wait_until("the code to reach the cloud", async || {
            cloud.cloud.codes(&gateway).await.unwrap().remove("p-1")
        })
        .await;
        self.all_asked().await;
        self.scanner.type_line("badge-1");
        self.scanner.type_line("p-1");
        let open = wait_until("a door to open", async || self.open()).await;
        assert!(self.doors.put(open, "p-1"));
        self.close(open).await;
        (code.reveal().to_owned(), open)
    }

    /// Types the code: how long until the board had the unlock. The parcel is left inside, so the
    /// code stays good.
    async fn press(&self, code: &str, compartment: u16) -> Duration {
        let board = &self.boards[usize::from((compartment - 1) / LOCKS)];
        let before = board.pulses_of(compartment);
        let from = Instant::now();
        self.keypad.type_line(code);
        wait_until("the unlock", async || {
            (board.pulses_of(compartment) > before).then_some(())
        })
        .await;
        let pulse = board.pulses().last().unwrap().at;
        wait_until("the door to open", async || self.open()).await;
        self.close(compartment).await;
        pulse - from
    }

    fn open(&self) -> Option<u16> {
        (1..=self.doors.count()).find(|n| self.doors.is_open(*n) == Some(true))
    }

    /// Closes a door that the gateway has seen open, and waits until it has seen that.
    async fn close(&self, compartment: u16) {
        self.all_asked().await;
        self.doors.close(compartment);
        self.all_asked().await;
    }

    /// Each board was asked and had time to answer.
    async fn all_asked(&self) {
        let asked = |board: &Board| board.asked();
        let before: Vec<u64> = self.boards.iter().map(asked).collect();
        wait_until("all boards to be asked", async || {
            let now = self.boards.iter().map(asked);
            let all = now.zip(&before).all(|(now, before)| now > before + 1);
            all.then_some(())
        })
        .await;
    }
}

fn config(folder: &Path, poll_ms: u64) -> String {
    let mut text = String::new();
    let ports = [
        ("boards", "kerong-cu16", format!("poll_ms = {poll_ms}\n")),
        ("keypad", "lines", String::new()),
        ("scanner", "lines", String::new()),
    ];
    for (id, protocol, more) in ports {
        let path = folder.join(id);
        writeln!(
            text,
            "\n[[port]]\nid = {id:?}\npath = {path:?}\nprotocol = {protocol:?}\n{more}"
        )
        .unwrap();
    }
    writeln!(
        text,
        "[[bank]]\nid = \"locker\"\nbuilding = \"b1\"\naddress = \"Gate 2\"\n\
         compartments = [{{ count = {}, size = \"S\" }}]",
        BOARDS * LOCKS
    )
    .unwrap();
    for board in 0..BOARDS {
        let (first, last) = (board * LOCKS + 1, (board + 1) * LOCKS);
        writeln!(
            text,
            "[[bank.board]]\nport = \"boards\"\naddress = {board}\n\
             compartments = [{first}, {last}]\noccupied = \"one\""
        )
        .unwrap();
    }
    for (id, says) in [("keypad", "keypad"), ("scanner", "scan")] {
        writeln!(
            text,
            "[[device]]\nid = \"{id}-1\"\nbuilding = \"b1\"\npoint = \"locker\"\n\
             serial = {{ port = {id:?}, says = {says:?} }}"
        )
        .unwrap();
    }
    text
}
