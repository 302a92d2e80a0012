//! Banks that check codes by themselves while nobody answers: the cable out, the gateway down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::gateway::{Answers, Gateway};
use common::{Mosquitto, wait_for};
use firmware_protocols::command::{BankCode, Tone};
use firmware_protocols::event::{Done, Door, Secret};
use firmware_protocols::{Form, Ident, Kind, Order};
use ring::hmac;
use simulator::device::Spec;
use simulator::front::Answer;
use simulator::{Bank, Login, Promise, Tempo, Version};

const WAYS: [(Version, Form); 2] = [(Version::V311, Form::Json), (Version::V5, Form::Cbor)];
const SALT: [u8; 32] = [42; 32];

fn id() -> Ident {
    Ident::new("bank-a").unwrap()
}

fn spec((version, form): (Version, Form)) -> Spec {
    let login = Login {
        device: id(),
        password: None,
    };
    let mut spec = Spec::new(login, "test");
    (spec.version, spec.form, spec.promise) = (version, form, Promise::Receipt);
    spec.capabilities = vec!["codes".to_string()];
    spec
}

fn list(codes: &[(&str, u16)]) -> Order {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SALT);
    let code = |&(digits, compartment): &(&str, u16)| BankCode {
        digest: hmac::sign(&key, digits.as_bytes())
            .as_ref()
            .try_into()
            .unwrap(),
        compartment,
    };
    Order::Codes {
        salt: SALT.to_vec(),
        digests: codes.iter().map(code).collect(),
    }
}

/// 111111 opens compartment 3, all else is wrong.
fn answers() -> Answers {
    Arc::new(|_, kind| match kind {
        Kind::Keypad { code, .. } if code.reveal() == "111111" => {
            Some(Order::Open { compartment: 3 })
        }
        Kind::Keypad { opened: None, .. } => Some(Order::Show {
            text: "wrong".to_string(),
            tone: Tone::Error,
        }),
        _ => None,
    })
}

struct Bed {
    gateway: Gateway,
    bank: Bank,
    _broker: Mosquitto,
}

impl Bed {
    async fn make(way: (Version, Form), answers: Answers, answer_within: Duration) -> Option<Self> {
        let broker = Mosquitto::start()?;
        let gateway = Gateway::start(broker.addr(), Tempo::real(), answers).await;
        let mut spec = spec(way);
        spec.answer_within = answer_within;
        let bank = Bank::start(spec, 3, true, broker.addr(), Tempo::real());
        bank.device().until_online().await;
        Some(Self {
            gateway,
            bank,
            _broker: broker,
        })
    }

    /// The bank is given a list, and what it answers.
    async fn list(&self, command: &str, codes: &[(&str, u16)]) -> Done {
        let order = self.gateway.order(command, list(codes));
        self.gateway.command(&id(), &order);
        let answer = || {
            let results = self.gateway.kept.lock().unwrap().results(&id());
            results.into_iter().find(|(of, _)| of == command)
        };
        wait_for("an answer to the list", || answer().is_some()).await;
        answer().unwrap().1
    }

    async fn until_told(&self) {
        wait_for("an empty outbox", || self.bank.device().waiting() == 0).await;
    }

    /// What the gateway has heard of entries and doors, in the order of the bank's numbers.
    fn told(&self) -> Vec<Kind> {
        let kept = self.gateway.kept.lock().unwrap();
        let mut events: Vec<_> = kept.events.iter().map(|(_, e)| e.clone()).collect();
        events.sort_by_key(|event| (event.boot, event.seq));
        let gestures = events.into_iter().map(|event| event.kind);
        gestures
            .filter(|kind| matches!(kind.name(), "keypad" | "compartment"))
            .collect()
    }

    fn is_open(&self, compartment: usize) -> bool {
        self.bank.compartments()[compartment - 1].open
    }
}

fn entry(digits: &str, opened: Option<u16>) -> Kind {
    Kind::Keypad {
        code: Secret::new(digits),
        opened,
    }
}

fn door(compartment: u16, door: Door, occupied: bool) -> Kind {
    Kind::Compartment {
        compartment,
        door,
        occupied: Some(occupied),
    }
}

#[tokio::test]
async fn with_the_cable_out_a_code_of_the_list_opens_once_and_is_reported_in_order() {
    for way in WAYS {
        let Some(bed) = Bed::make(way, answers(), Duration::from_secs(5)).await else {
            return;
        };
        let bank = &bed.bank;
        let codes = [("123456", 2), ("654321", 1)];
        assert_eq!(bed.list("k-1", &codes).await, Done::Done);

        // The gateway is there: it decides, whatever the list says.
        assert_eq!(bank.type_code("111111").await, Answer::Opened(3));
        bank.close(3);
        let no = Answer::No("wrong".to_string());
        assert_eq!(bank.type_code("123456").await, no);
        bed.until_told().await;
        let before = bed.told().len();

        bank.cut_off(true).await;
        assert_eq!(bank.type_code("123456").await, Answer::Opened(2));
        bank.close(2);
        assert!(matches!(bank.type_code("123456").await, Answer::No(_)));
        assert!(matches!(bank.type_code("111111").await, Answer::No(_)));
        assert!(matches!(bank.type_code("0").await, Answer::No(_)));
        bank.jam(1, true);
        assert!(matches!(bank.type_code("654321").await, Answer::No(_)));
        bank.jam(1, false);
        assert_eq!(bank.type_code("654321").await, Answer::Opened(1));
        assert!(bank.put(1, "P1") && bank.put(1, "P2"), "two may share");
        assert!(bank.take(1, |p| p == "P2").is_some());
        bank.close(1);
        assert!(bank.key_to_open().count() == 1, "only the gateway's time");

        bank.cut_off(false).await;
        bed.until_told().await;
        let expected = [
            entry("123456", Some(2)),
            door(2, Door::Open, false),
            door(2, Door::Closed, false),
            entry("654321", Some(1)),
            door(1, Door::Open, false),
            door(1, Door::Closed, true),
        ];
        assert_eq!(bed.told()[before..], expected);
        let alarms = bed.gateway.kept.lock().unwrap().of(&id(), "alarm");
        assert_eq!(alarms.len(), 1, "the jammed lock, and no opening");
    }
}

#[tokio::test]
async fn the_list_survives_a_restart_and_what_it_no_longer_names_is_revoked() {
    let Some(bed) = Bed::make(WAYS[1], answers(), Duration::from_secs(5)).await else {
        return;
    };
    let bank = &bed.bank;
    let codes = [("123456", 2), ("654321", 1)];
    assert_eq!(bed.list("k-1", &codes).await, Done::Done);
    bank.device().reboot().await;
    let hellos = || bed.gateway.kept.lock().unwrap().of(&id(), "hello").len();
    wait_for("the second hello", || hellos() == 2).await;
    bank.cut_off(true).await;
    assert_eq!(bank.type_code("123456").await, Answer::Opened(2));
    bank.close(2);
    bank.cut_off(false).await;
    bed.until_told().await;

    assert_eq!(bed.list("k-2", &codes[..1]).await, Done::Done);
    bank.cut_off(true).await;
    assert!(matches!(bank.type_code("654321").await, Answer::No(_)));
    // Its use is promised, and a newer list names it.
    assert_eq!(bank.type_code("123456").await, Answer::Opened(2));
    bank.cut_off(false).await;
    bed.until_told().await;
    assert_eq!(
        bed.list("k-2", &codes).await,
        Done::Done,
        "its first answer"
    );
    let again = || {
        let results = bed.gateway.kept.lock().unwrap().results(&id());
        results.iter().filter(|(of, _)| of == "k-2").count()
    };
    wait_for("a second answer", || again() == 2).await;
    let results = bed.gateway.kept.lock().unwrap().results(&id());
    assert_eq!(results.last().unwrap().1, Done::Refused, "repeated");
}

/// The broker is there and the gateway isn't: the bank decides after a while, and what the gateway
/// makes of the entry later opens nothing.
#[tokio::test]
async fn while_nobody_answers_the_bank_decides_and_a_late_answer_opens_nothing() {
    let late: Answers = Arc::new(|_, kind| match kind {
        Kind::Keypad { opened: None, .. } => Some(Order::Open { compartment: 3 }),
        _ => None,
    });
    for way in WAYS {
        let within = Duration::from_secs(1);
        let Some(bed) = Bed::make(way, Arc::clone(&late), within).await else {
            return;
        };
        let bank = &bed.bank;
        assert_eq!(bed.list("k-1", &[("123456", 2)]).await, Done::Done);
        bed.until_told().await;
        let before = bed.told().len();

        bed.gateway.be_deaf(true);
        assert_eq!(bank.type_code("123456").await, Answer::Opened(2));
        bank.cut_off(true).await;
        assert!(matches!(bank.type_code("222222").await, Answer::No(_)));
        bed.gateway.be_deaf(false);
        bank.cut_off(false).await;
        let refused = || {
            let results = bed.gateway.kept.lock().unwrap().results(&id());
            results.iter().any(|(_, done)| *done == Done::Refused)
        };
        wait_for("the late answer", refused).await;
        assert!(bed.is_open(2) && !bed.is_open(3));
        let expected = [
            entry("123456", None),
            entry("123456", Some(2)),
            door(2, Door::Open, false),
        ];
        assert_eq!(bed.told()[before..], expected);

        // Somebody else comes: what opens now is for them.
        assert_eq!(bank.type_code("111111").await, Answer::Opened(3));
    }
}

#[tokio::test]
async fn a_bank_without_the_capability_keeps_no_codes() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let gateway = Gateway::start(broker.addr(), Tempo::real(), answers()).await;
    let mut spec = spec(WAYS[0]);
    spec.capabilities = vec![];
    let bank = Bank::start(spec, 3, true, broker.addr(), Tempo::real());
    bank.device().until_online().await;
    gateway.command(&id(), &gateway.order("k-1", list(&[("123456", 2)])));
    let results = || gateway.kept.lock().unwrap().results(&id());
    wait_for("an answer", || results().len() == 1).await;
    assert_eq!(results()[0].1, Done::Failed);
    bank.cut_off(true).await;
    assert_eq!(bank.type_code("123456").await, Answer::Silence);
    assert!(bank.compartments().iter().all(|c| !c.open));
}
