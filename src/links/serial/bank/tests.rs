//! A bank with boards that are played by hand, and a time that is stepped.

mod states;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use firmware_protocols::command::Tone;
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Form, Ident, Kind, Order, event};

use super::{BETWEEN_PULSES, Bank, CONFIRM, IDS_MAX, OPENINGS_MAX, Raw};
use crate::config::serial::{BoardSection, Level};
use crate::intake::Answer;
use crate::links::serial::Outgoing;
use crate::links::serial::plan::BankPlan;
use crate::links::{DeviceIntake, ToDevice};

/// What came out of a bank, in its order.
#[derive(Default)]
struct Heard {
    kinds: Mutex<Vec<Kind>>,
    sent: Mutex<Vec<String>>,
    presence: Mutex<Vec<bool>>,
    disk_full: AtomicBool,
}

#[async_trait]
impl DeviceIntake for Heard {
    async fn events(&self, _: &Ident, payload: Bytes) -> Answer {
        if self.disk_full.load(Ordering::Relaxed) {
            return Answer::NotTaken("the disk is full".to_owned());
        }
        let events = event::decode(&payload).unwrap();
        let kinds = events.into_iter().map(|event| event.unwrap().kind);
        self.kinds.lock().unwrap().extend(kinds);
        Answer::Taken
    }
    async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
    fn presence(&self, _: &Ident, online: bool) {
        self.presence.lock().unwrap().push(online);
    }
    fn command_sent(&self, command: String) {
        self.sent.lock().unwrap().push(command);
    }
}

struct Bed {
    bank: Bank,
    heard: Arc<Heard>,
    now: Instant,
}

/// Two boards of four channels; the second one's bits are the other way round, and it has occupancy
/// sensors.
fn bed() -> Bed {
    let board = |address, compartments, closed, occupied| BoardSection {
        port: Ident::new("lockers").unwrap(),
        address,
        compartments,
        channels: None,
        closed,
        occupied,
        relay: None,
    };
    let plan = BankPlan {
        id: Ident::new("bank-a").unwrap(),
        boot: 7,
        compartments: 8,
        boards: vec![
            board(0, [1, 4], Level::One, None),
            board(1, [5, 8], Level::Zero, Some(Level::One)),
        ],
    };
    let heard = Arc::new(Heard::default());
    let intake: Arc<dyn DeviceIntake> = Arc::clone(&heard) as _;
    Bed {
        bank: Bank::start(&plan, "boards", &intake),
        heard,
        now: Instant::now(),
    }
}

impl Bed {
    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.bank.tick(self.now);
    }

    /// The first board shows these doors open, the others closed.
    fn first(&mut self, open: &[u16]) {
        let raw = |channel| Raw {
            state: !open.contains(&channel),
            occupied: None,
        };
        self.bank.shown(0, self.now, |channel| {
            Some(raw(channel)).filter(|_| channel <= 4)
        });
        self.pass(50);
    }

    /// The second board shows these doors open and these compartments full.
    fn second(&mut self, open: &[u16], full: &[u16]) {
        let raw = |channel| Raw {
            state: open.contains(&channel),
            occupied: Some(full.contains(&channel)),
        };
        self.bank.shown(1, self.now, |channel| Some(raw(channel)));
        self.pass(50);
    }

    fn order(&mut self, id: &str, order: Order) {
        self.order_for(id, order, 10_000);
    }

    fn order_for(&mut self, id: &str, order: Order, ttl_ms: u64) {
        let outgoing = outgoing(id, order, ttl_ms, self.now);
        self.bank.take(&outgoing, self.now);
    }

    fn open(&mut self, id: &str, compartment: u16) {
        self.order(id, Order::Open { compartment });
    }

    /// The driver sends what is to be sent: board and channel.
    fn send(&mut self) -> Option<(usize, u16)> {
        let unlock = self.bank.unlock(self.now)?;
        self.bank.unlock_sent(&unlock, self.now);
        Some((unlock.board, unlock.channel))
    }

    /// What was said since the last time.
    async fn told(&self) -> Vec<String> {
        while self.bank.voice.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let kinds = std::mem::take(&mut *self.heard.kinds.lock().unwrap());
        kinds.iter().filter_map(word).collect()
    }
}

fn outgoing(id: &str, order: Order, ttl_ms: u64, came: Instant) -> Outgoing {
    let command = Command {
        id: id.to_owned(),
        expires: 0,
        ttl_ms,
        order,
    };
    let message = ToDevice {
        device: Ident::new("bank-a").unwrap(),
        channel: Channel::Command,
        payload: command.encode(Form::Cbor).into(),
        expiry_ms: Some(ttl_ms),
        open: None,
    };
    Outgoing { message, came }
}

fn word(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Hello { .. } => None,
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
            Some(format!("{compartment} {}{full}", door.word()))
        }
        Kind::Result {
            command,
            outcome,
            reason,
        } => {
            let reason = reason.as_deref().map(|r| format!(": {r}"));
            let outcome = outcome.word();
            Some(format!("{command} {outcome}{}", reason.unwrap_or_default()))
        }
        other => Some(format!("{other:?}")),
    }
}

#[tokio::test]
async fn an_opening_is_confirmed_by_the_first_status_that_shows_its_door_open() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.first(&[]);
    }
    bed.told().await;
    bed.open("o-1", 2);
    assert!(bed.heard.sent.lock().unwrap().is_empty());
    assert_eq!(bed.send(), Some((0, 2)));
    assert_eq!(*bed.heard.sent.lock().unwrap(), ["o-1"]);
    assert_eq!(bed.bank.watched(0), [2]);
    bed.first(&[]);
    assert!(bed.told().await.is_empty(), "the bolt hasn't moved yet");
    bed.first(&[2]);
    assert_eq!(bed.told().await, ["2 open", "o-1 done"]);
    assert!(bed.bank.watched(0).is_empty());
    bed.first(&[]);
    bed.first(&[]);
    assert_eq!(bed.told().await, ["2 closed"]);
    assert_eq!(bed.send(), None);
}

#[tokio::test]
async fn a_door_that_is_open_already_is_no_reason_to_refuse() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.first(&[2]);
    }
    bed.told().await;
    bed.open("o-1", 2);
    assert_eq!(bed.send(), Some((0, 2)));
    bed.first(&[2]);
    // Said again: the hand-over that waits for it must see it.
    assert_eq!(bed.told().await, ["2 open", "o-1 done"]);
}

#[tokio::test]
async fn a_door_that_isnt_seen_open_has_failed_and_no_pulse_is_repeated() {
    let mut bed = bed();
    bed.open("o-1", 1);
    assert_eq!(bed.send(), Some((0, 1)));
    let mut ms = 0;
    while ms < 2_900 {
        bed.first(&[]);
        ms += 50;
        assert_eq!(bed.send(), None);
    }
    assert_eq!(bed.told().await.len(), 4, "the states, no result");
    bed.pass(100);
    let told = bed.told().await;
    assert!(told[0].starts_with("o-1 failed: its door wasn't seen open"));
    bed.open("o-1", 1);
    assert_eq!(bed.send(), None);
    assert_eq!(bed.told().await, ["o-1 refused: carried out before"]);
    assert_eq!(*bed.heard.sent.lock().unwrap(), ["o-1"]);
}

#[tokio::test]
async fn of_a_board_that_doesnt_answer_it_isnt_known() {
    let mut bed = bed();
    bed.open("o-1", 5);
    assert_eq!(bed.send(), Some((1, 1)));
    bed.pass(u64::try_from(CONFIRM.as_millis()).unwrap());
    let told = bed.told().await;
    assert!(told[0].starts_with("o-1 failed: board 1 doesn't answer"));
}

#[tokio::test]
async fn a_command_is_carried_out_once_and_each_repetition_refused_after_its_result() {
    let mut bed = bed();
    bed.open("o-1", 1);
    bed.open("o-1", 1);
    assert_eq!(bed.send(), Some((0, 1)));
    bed.open("o-1", 1);
    bed.pass(1_000);
    assert_eq!(bed.send(), None);
    assert!(bed.told().await.is_empty());
    bed.first(&[1]);
    let again = "o-1 refused: carried out before";
    assert_eq!(bed.told().await, ["1 open", "o-1 done", again, again]);
}

#[tokio::test]
async fn the_last_ids_are_remembered() {
    let mut bed = bed();
    let first = bed.now;
    for n in 0..=IDS_MAX {
        let order = Order::Open { compartment: 1 };
        bed.bank
            .take(&outgoing(&format!("o-{n}"), order, 0, first), first);
    }
    bed.told().await;
    bed.open("o-1", 1);
    assert_eq!(bed.told().await, ["o-1 refused: carried out before"]);
    assert_eq!(bed.bank.ids.len(), IDS_MAX);
}

#[tokio::test]
async fn late_is_refused_to_the_millisecond() {
    let mut bed = bed();
    bed.order_for("o-1", Order::Open { compartment: 1 }, 500);
    bed.order_for("o-2", Order::Open { compartment: 5 }, 501);
    bed.now += Duration::from_millis(500);
    assert_eq!(bed.bank.due(), Some(bed.now));
    assert_eq!(bed.send(), Some((1, 1)));
    assert_eq!(bed.send(), None);
    let told = bed.told().await;
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("o-1 refused: too late"));
    bed.order_for("o-3", Order::Open { compartment: 1 }, 0);
    assert_eq!(bed.send(), None);
    assert!(bed.told().await[0].starts_with("o-3 refused: too late"));
}

#[tokio::test]
async fn the_messages_own_expiry_counts_too() {
    let mut bed = bed();
    let mut outgoing = outgoing("o-1", Order::Open { compartment: 1 }, 10_000, bed.now);
    outgoing.message.expiry_ms = Some(200);
    bed.bank.take(&outgoing, bed.now);
    bed.now += Duration::from_millis(200);
    assert_eq!(bed.send(), None);
    assert!(bed.told().await[0].starts_with("o-1 refused: too late"));
}

#[tokio::test]
async fn two_pulses_of_a_board_are_spaced_and_other_boards_dont_wait() {
    let mut bed = bed();
    bed.open("o-1", 1);
    bed.open("o-2", 2);
    bed.open("o-3", 6);
    assert_eq!(bed.send(), Some((0, 1)));
    assert_eq!(bed.send(), Some((1, 2)));
    assert_eq!(bed.send(), None);
    let free = bed.now + BETWEEN_PULSES;
    assert_eq!(bed.bank.due(), Some(free));
    bed.now = free - Duration::from_millis(1);
    assert_eq!(bed.send(), None);
    bed.now = free;
    assert_eq!(bed.send(), Some((0, 2)));
}

#[tokio::test]
async fn a_newer_command_takes_the_place_of_one_that_waits() {
    let mut bed = bed();
    bed.open("o-1", 1);
    bed.send();
    bed.open("o-2", 2);
    bed.open("o-3", 2);
    bed.pass(300);
    assert_eq!(bed.send(), Some((0, 2)));
    bed.pass(300);
    assert_eq!(bed.send(), None);
    assert_eq!(
        bed.told().await,
        ["o-2 refused: a newer command took its place"]
    );
    assert_eq!(*bed.heard.sent.lock().unwrap(), ["o-1", "o-3"]);
}

#[tokio::test]
async fn there_is_an_end_to_what_may_wait() {
    let mut bed = bed();
    // Handed out and never answered: they count until their time is over.
    for n in 0..OPENINGS_MAX {
        bed.open(&format!("o-{n}"), 1);
        assert!(bed.send().is_some());
        bed.now += BETWEEN_PULSES;
    }
    assert!(bed.told().await.is_empty());
    bed.open("o-more", 2);
    let told = bed.told().await;
    assert!(told[0].starts_with("o-more refused: 64 openings wait already"));
}

#[tokio::test]
async fn what_a_board_cant_do_is_refused() {
    let mut bed = bed();
    let show = Order::Show {
        text: "请取件".to_owned(),
        tone: Tone::Ok,
    };
    let codes = Order::Codes {
        salt: vec![1; 32],
        digests: Vec::new(),
    };
    bed.order("s-1", show);
    bed.order("i-1", Order::Identify);
    bed.order("k-1", codes);
    bed.open("o-1", 9);
    let told = bed.told().await;
    assert_eq!(told[0], "s-1 refused: a locker board has no display");
    assert_eq!(told[1], "i-1 refused: a locker board has no display");
    assert_eq!(told[2], "k-1 refused: a locker board can't check codes");
    assert!(told[3].starts_with("o-1 failed: no board opens compartment 9"));
    assert_eq!(bed.send(), None);
}

#[tokio::test]
async fn what_cant_be_read_is_passed_over() {
    let mut bed = bed();
    let mut outgoing = outgoing("o-1", Order::Open { compartment: 1 }, 10_000, bed.now);
    outgoing.message.payload = Bytes::from_static(b"{");
    bed.bank.take(&outgoing, bed.now);
    assert_eq!(bed.send(), None);
    assert!(bed.told().await.is_empty());
}

#[tokio::test]
async fn with_the_port_everything_is_gone() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.first(&[]);
    }
    bed.told().await;
    bed.open("o-1", 1);
    bed.send();
    bed.open("o-2", 2);
    bed.bank.port_lost();
    let told = bed.told().await;
    assert_eq!(told[0], "o-2 refused: the port went away");
    assert!(told[1].starts_with("o-1 failed: the port went away before"));
    assert_eq!(told.len(), 2 + 8, "and each compartment unknown: {told:?}");
    assert_eq!(bed.heard.presence.lock().unwrap().last(), Some(&false));
    let late = outgoing("o-3", Order::Open { compartment: 1 }, 10_000, bed.now);
    bed.bank.away(&late, "the port is away");
    assert_eq!(bed.told().await, ["o-3 refused: the port is away"]);
}

#[tokio::test]
async fn without_a_sensor_the_boards_word_must_do() {
    let mut bed = bed();
    bed.open("o-1", 1);
    let unlock = bed.bank.unlock(bed.now).unwrap();
    bed.bank.unlock_sent(&unlock, bed.now);
    bed.bank.unlock_carried_out(&unlock);
    bed.open("o-2", 5);
    let unlock = bed.bank.unlock(bed.now).unwrap();
    bed.bank.unlock_sent(&unlock, bed.now);
    bed.bank.unlock_failed(&unlock, "illegal address");
    assert_eq!(
        bed.told().await,
        ["o-1 done", "o-2 failed: illegal address"]
    );
}
