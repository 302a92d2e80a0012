//! The driver over a line in memory, with boards that answer like the real ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Form, Ident, Kind, Order, event};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Boards;
use super::fake::{self, FakeBoard, Shared, Wire};
use crate::config::serial::{BoardSection, PortSection, Protocol};
use crate::intake::Answer;
use crate::links::serial::line::{Line, LineError};
use crate::links::serial::plan::{BankPlan, PortPlan};
use crate::links::serial::status::{PortStatus, SlaveView};
use crate::links::serial::{Bus, Driver, Outgoing};
use crate::links::{DeviceIntake, ToDevice};
use crate::pace::{Limits, Pace};

const BOARDS: [Protocol; 4] = [
    Protocol::KerongCu16,
    Protocol::KerongCu48,
    Protocol::EightA,
    Protocol::Wkly,
];

/// What the banks said, in their order.
#[derive(Default)]
struct Heard {
    said: Mutex<Vec<(Instant, String)>>,
    sent: Mutex<Vec<String>>,
    online: AtomicBool,
}

#[async_trait]
impl DeviceIntake for Heard {
    async fn events(&self, device: &Ident, payload: Bytes) -> Answer {
        let events = event::decode(&payload).unwrap();
        let words = events
            .into_iter()
            .filter_map(|event| word(device, &event.unwrap().kind));
        let words = words.map(|word| (Instant::now(), word));
        self.said.lock().unwrap().extend(words);
        Answer::Taken
    }
    async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
    fn presence(&self, _: &Ident, online: bool) {
        self.online.store(online, Ordering::SeqCst);
    }
    fn command_sent(&self, command: String) {
        self.sent.lock().unwrap().push(command);
    }
}

fn word(device: &Ident, kind: &Kind) -> Option<String> {
    match kind {
        Kind::Compartment {
            compartment,
            door,
            occupied,
        } => {
            let full = match occupied {
                Some(true) => " full",
                Some(false) => " empty",
                None => "",
            };
            Some(format!("{device}/{compartment} {}{full}", door.word()))
        }
        Kind::Result {
            command, outcome, ..
        } => Some(format!("{command} {}", outcome.word())),
        _ => None,
    }
}

struct Bed {
    wire: Shared,
    heard: Arc<Heard>,
    status: Arc<PortStatus>,
    outbound: mpsc::Sender<Outgoing>,
    by_itself: mpsc::Sender<Vec<u8>>,
    stop: watch::Sender<bool>,
    driving: JoinHandle<LineError>,
    playing: JoinHandle<()>,
}

/// A bank with these boards; each has so many of its compartments, on channels from 1 on.
fn bank(id: &str, boards: &[(u8, u16)], more: &str) -> BankPlan {
    let mut last = 0;
    let boards: Vec<BoardSection> = boards
        .iter()
        .map(|(address, count)| {
            let first = last + 1;
            last += count;
            let text = format!(
                "port = \"lockers\"\naddress = {address}\ncompartments = [{first}, {last}]\n{more}"
            );
            toml::from_str(&text).unwrap()
        })
        .collect();
    BankPlan {
        id: Ident::new(id).unwrap(),
        boot: 1,
        compartments: last,
        boards,
    }
}

/// The boards of these banks on a line, all answering, all doors closed. At 115,200 baud, since the
/// line in memory takes no time.
fn start(protocol: Protocol, banks: Vec<BankPlan>, replies: bool) -> Bed {
    let text = format!(
        "id = \"lockers\"\npath = \"/dev/null\"\nprotocol = \"{}\"\nbaud = 115200\ntimeout_ms = 120\npoll_ms = 20",
        protocol.word()
    );
    let port: PortSection = toml::from_str(&text).unwrap();
    let mut wire = Wire::default();
    for board in banks.iter().flat_map(|bank| &bank.boards) {
        let fake = FakeBoard {
            replies,
            ..FakeBoard::default()
        };
        wire.boards.insert(board.address, fake);
    }
    let wire = Arc::new(Mutex::new(wire));
    let (near, far) = tokio::io::duplex(4096);
    let (by_itself, itself) = mpsc::channel(16);
    let playing = tokio::spawn(fake::play(protocol, far, Arc::clone(&wire), itself));
    let heard = Arc::new(Heard::default());
    let intake: Arc<dyn DeviceIntake> = Arc::clone(&heard) as _;
    let status = Arc::new(PortStatus::new(port.clone()));
    let (outbound, outgoing) = mpsc::channel(64);
    let (stop, stopped) = watch::channel(false);
    let mut bus = Bus {
        port: port.clone(),
        status: Arc::clone(&status),
        intake: Arc::clone(&intake),
        pace: Arc::new(Pace::new(Limits::NONE, [])),
        outbound: outgoing,
        stopped,
    };
    let plan = PortPlan {
        port,
        banks,
        devices: Vec::new(),
    };
    let mut driver = Boards::new(&plan, &intake).unwrap();
    let line = Line::over(near, Arc::clone(&status));
    let driving = tokio::spawn(async move {
        let ended = driver.run(line, &mut bus).await;
        driver.lost(&bus);
        let late = outgoing_to("bank-a", "o-away", 1);
        driver.away(late, "the port is away");
        // The voices say what they have to until they are dropped.
        tokio::time::sleep(Duration::from_millis(20)).await;
        ended
    });
    Bed {
        wire,
        heard,
        status,
        outbound,
        by_itself,
        stop,
        driving,
        playing,
    }
}

fn outgoing_to(bank: &str, id: &str, compartment: u16) -> Outgoing {
    let command = Command {
        id: id.to_owned(),
        expires: 0,
        ttl_ms: 10_000,
        order: Order::Open { compartment },
    };
    Outgoing {
        message: ToDevice {
            device: Ident::new(bank).unwrap(),
            channel: Channel::Command,
            payload: command.encode(Form::Cbor).into(),
            expiry_ms: Some(10_000),
            open: Some(id.to_owned()),
        },
        came: Instant::now(),
    }
}

impl Bed {
    fn wire<T>(&self, act: impl FnOnce(&mut Wire) -> T) -> T {
        act(&mut self.wire.lock().unwrap())
    }

    fn board<T>(&self, address: u8, act: impl FnOnce(&mut FakeBoard) -> T) -> T {
        self.wire(|wire| act(wire.boards.get_mut(&address).unwrap()))
    }

    async fn open(&self, bank: &str, id: &str, compartment: u16) {
        let outgoing = outgoing_to(bank, id, compartment);
        self.outbound.send(outgoing).await.unwrap();
    }

    fn said(&self) -> Vec<String> {
        let said = self.heard.said.lock().unwrap();
        said.iter().map(|(_, word)| word.clone()).collect()
    }

    /// Waits until it was said; when.
    async fn until(&self, word: &str) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let found = {
                let said = self.heard.said.lock().unwrap();
                said.iter().find(|(_, w)| w == word).map(|(at, _)| *at)
            };
            if let Some(at) = found {
                return at;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "'{word}' wasn't said, but {:?}", self.said());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until it is the case.
    async fn holds(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: never");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until so much was said.
    async fn until_said(&self, count: usize) {
        self.holds("so much was said", |bed| bed.said().len() >= count)
            .await;
    }

    fn slave(&self, index: usize) -> SlaveView {
        self.status.view().slaves[index].clone()
    }

    fn unlocks(&self) -> Vec<(u8, u16)> {
        self.wire(|wire| wire.unlocks.iter().map(|(_, a, c)| (*a, *c)).collect())
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        let ended = self.driving.await.unwrap();
        assert!(matches!(ended, LineError::Stopped), "{ended:?}");
        self.playing.await.unwrap();
    }
}

#[tokio::test]
async fn every_board_is_opened_once_and_confirmed_by_its_status() {
    for protocol in BOARDS {
        for replies in [false, true] {
            let bed = start(protocol, vec![bank("bank-a", &[(1, 6)], "")], replies);
            bed.until_said(6).await;
            assert!(bed.said().iter().all(|word| word.ends_with(" closed")));
            bed.open("bank-a", "o-1", 5).await;
            bed.until("o-1 done").await;
            assert_eq!(
                bed.said()[6..],
                ["bank-a/5 open", "o-1 done"],
                "{protocol:?}"
            );
            assert_eq!(*bed.heard.sent.lock().unwrap(), ["o-1"]);
            bed.board(1, |board| board.open.clear());
            bed.until_said(9).await;
            assert_eq!(bed.said()[8..], ["bank-a/5 closed"]);
            assert_eq!(bed.unlocks(), [(1, 5)], "{protocol:?}");
            assert!(bed.heard.online.load(Ordering::SeqCst));
            let slave = bed.slave(0);
            assert_eq!((slave.answers, slave.missed), (Some(true), 0), "{slave:?}");
            assert_eq!(slave.quality, Some(100));
            bed.end().await;
        }
    }
}

#[tokio::test]
async fn occupancy_comes_with_the_closing_of_the_door() {
    let plan = bank("bank-a", &[(0, 2)], "occupied = \"one\"");
    let bed = start(Protocol::KerongCu16, vec![plan], false);
    bed.until("bank-a/2 closed empty").await;
    bed.open("bank-a", "o-1", 2).await;
    bed.until("o-1 done").await;
    bed.board(0, |board| {
        board.full.insert(2);
        board.open.clear();
    });
    bed.until("bank-a/2 closed full").await;
    bed.end().await;
}

#[tokio::test]
async fn a_jammed_lock_fails_after_one_pulse() {
    let bed = start(Protocol::EightA, vec![bank("bank-a", &[(1, 2)], "")], true);
    bed.board(1, |board| board.jammed.insert(2));
    bed.until_said(2).await;
    let asked_before = bed.wire(|wire| wire.asked.len());
    bed.open("bank-a", "o-1", 2).await;
    let began = Instant::now();
    let failed = bed.until("o-1 failed").await;
    assert!(failed - began >= Duration::from_secs(3));
    assert_eq!(bed.unlocks(), [(1, 2)]);
    assert!(bed.wire(|wire| wire.asked.len()) > asked_before + 20);
    bed.end().await;
}

#[tokio::test]
async fn a_dead_board_delays_neither_the_others_nor_their_unlocks() {
    let boards = [(1, 2), (2, 2), (3, 2)];
    let bed = start(
        Protocol::KerongCu16,
        vec![bank("bank-a", &boards, "")],
        false,
    );
    bed.board(2, |board| board.dead = true);
    bed.until("bank-a/3 unknown").await;
    bed.until("bank-a/5 closed").await;
    assert!(bed.heard.online.load(Ordering::SeqCst));
    bed.open("bank-a", "o-dead", 3).await;
    bed.open("bank-a", "o-1", 1).await;
    bed.open("bank-a", "o-5", 5).await;
    let alive = bed.until("o-1 done").await.max(bed.until("o-5 done").await);
    assert!(
        bed.until("o-dead failed").await > alive,
        "they waited for the dead one: {:?}",
        bed.said()
    );
    let slave = bed.slave(1);
    assert_eq!(slave.answers, Some(false));
    assert!(slave.missed >= 3 && slave.answered == 0, "{slave:?}");
    // And back again.
    bed.board(2, |board| board.dead = false);
    bed.until("bank-a/3 closed").await;
    assert_eq!(bed.slave(1).answers, Some(true));
    bed.end().await;
}

#[tokio::test]
async fn two_banks_share_a_line() {
    let banks = vec![bank("bank-a", &[(1, 1)], ""), bank("bank-b", &[(2, 1)], "")];
    let bed = start(Protocol::KerongCu48, banks, true);
    bed.until("bank-a/1 closed").await;
    bed.until("bank-b/1 closed").await;
    bed.open("bank-b", "o-b", 1).await;
    bed.open("bank-a", "o-a", 1).await;
    bed.open("bank-z", "o-z", 1).await;
    bed.until("o-a done").await;
    bed.until("o-b done").await;
    let mut unlocks = bed.unlocks();
    unlocks.sort_unstable();
    assert_eq!(unlocks, [(1, 1), (2, 1)]);
    bed.end().await;
}

#[tokio::test]
async fn pulses_of_one_board_are_spaced() {
    let bed = start(Protocol::Wkly, vec![bank("bank-a", &[(1, 3)], "")], true);
    bed.until_said(3).await;
    for compartment in 1..=3 {
        bed.open("bank-a", &format!("o-{compartment}"), compartment)
            .await;
    }
    bed.until("o-3 done").await;
    let times: Vec<Instant> = bed.wire(|wire| wire.unlocks.iter().map(|(at, ..)| *at).collect());
    assert_eq!(bed.unlocks(), [(1, 1), (1, 2), (1, 3)]);
    for pair in times.windows(2) {
        // The fake's clock reads each a little after it was sent.
        let apart = pair[1] - pair[0];
        assert!(apart > Duration::from_millis(270), "{apart:?}");
    }
    bed.end().await;
}

#[tokio::test]
async fn what_a_board_tells_unasked_is_taken_at_once() {
    let bed = start(Protocol::Wkly, vec![bank("bank-a", &[(1, 40)], "")], false);
    bed.until_said(40).await;
    // Of a board that was forced, and of one that nobody has.
    bed.board(1, |board| board.open.insert(40));
    bed.by_itself
        .send(fake::wkly_state(0x85, 1, 40, false))
        .await
        .unwrap();
    bed.until("bank-a/40 open").await;
    bed.by_itself
        .send(fake::wkly_state(0x85, 9, 1, false))
        .await
        .unwrap();
    bed.holds("a note", |bed| bed.slave(0).note.is_some()).await;
    let note = bed.slave(0).note.unwrap();
    assert!(note.starts_with("1 frames of boards that the configuration doesn't have (address 9)"));
    bed.open("bank-a", "o-1", 1).await;
    bed.until("o-1 done").await;
    bed.end().await;
}

#[tokio::test]
async fn noise_costs_at_most_the_exchange_it_falls_into() {
    for protocol in BOARDS {
        let bed = start(protocol, vec![bank("bank-a", &[(1, 2)], "")], true);
        bed.until_said(2).await;
        // What looks like the beginning of a frame of each protocol.
        for noise in [&[0x02, 0x10, 0x35][..], b"WKLY\x40", &[0x80, 0x00, 0xff]] {
            bed.wire(|wire| wire.noise = noise.to_vec());
            bed.holds("the noise went out", |bed| bed.wire(|w| w.noise.is_empty()))
                .await;
        }
        bed.open("bank-a", "o-1", 2).await;
        bed.until("o-1 done").await;
        assert!(bed.slave(0).missed == 0, "{protocol:?}");
        assert!(bed.status.view().noise_bytes > 0);
        bed.end().await;
    }
}

#[tokio::test]
async fn an_adapter_that_hears_itself_is_no_other_controller() {
    for protocol in BOARDS {
        let bed = start(protocol, vec![bank("bank-a", &[(1, 2), (2, 2)], "")], true);
        bed.wire(|wire| wire.echo = true);
        bed.board(2, |board| board.dead = true);
        bed.until("bank-a/2 closed").await;
        bed.open("bank-a", "o-1", 2).await;
        bed.until("o-1 done").await;
        assert_eq!(bed.slave(0).note, None, "{protocol:?}");
        assert_eq!(bed.unlocks(), [(1, 2)]);
        bed.until("bank-a/3 unknown").await;
        bed.end().await;
    }
}

#[tokio::test]
async fn another_controller_on_the_line_is_told() {
    let bed = start(
        Protocol::KerongCu16,
        vec![bank("bank-a", &[(1, 1)], "")],
        false,
    );
    bed.until_said(1).await;
    let of_another = vec![0x02, 0x41, 0x31, 0x03, 0x77];
    bed.by_itself.send(of_another).await.unwrap();
    bed.holds("a note", |bed| bed.slave(0).note.is_some()).await;
    let note = bed.slave(0).note.unwrap();
    assert!(note.contains("another controller"), "{note}");
    bed.end().await;
}

#[tokio::test]
async fn a_line_that_ends_takes_its_banks_along() {
    let bed = start(
        Protocol::KerongCu16,
        vec![bank("bank-a", &[(1, 1)], "")],
        false,
    );
    bed.until("bank-a/1 closed").await;
    bed.playing.abort();
    let ended = bed.driving.await.unwrap();
    assert!(matches!(ended, LineError::Failed(_)), "{ended:?}");
    assert!(!bed.heard.online.load(Ordering::SeqCst));
    let said = bed.heard.said.lock().unwrap();
    let words: Vec<&str> = said.iter().map(|(_, word)| word.as_str()).collect();
    assert_eq!(words[1..], ["bank-a/1 unknown", "o-away refused"]);
}

#[tokio::test]
async fn a_slow_answer_is_still_an_answer() {
    let bed = start(Protocol::EightA, vec![bank("bank-a", &[(1, 1)], "")], false);
    bed.board(1, |board| board.slow = Duration::from_millis(30));
    bed.until("bank-a/1 closed").await;
    let slave = bed.slave(0);
    assert_eq!(slave.missed, 0);
    assert!(slave.rtt_ms.unwrap().0 >= 29.0, "{slave:?}");
    bed.end().await;
}
