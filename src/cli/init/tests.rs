//! What is written is always taken: over random answers, and for what stands there as a comment.

use proptest::collection::vec;
use proptest::prelude::*;

use super::answers::{Answers, Bank, Board, Cloud, Desk, Device, OnPort, Port, Run, Runs};
use super::text::{text, tls_listen};
use super::*;
use crate::config::serial::Protocol;
use cloud_protocol::downlink::{Size, Zone};
use firmware_protocols::Ident;

fn id(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn empty() -> Answers {
    Answers {
        site: id("willow-court"),
        state_dir: "/var/lib/linli".into(),
        socket: None,
        schema: SCHEMA_INSTALLED.to_string(),
        buildings: Vec::new(),
        banks: Vec::new(),
        desks: Vec::new(),
        devices: Vec::new(),
        listen: questions::here(Ipv4Addr::LOCALHOST),
        mqtts: false,
        cloud: None,
        ports: Vec::new(),
        boards: Vec::new(),
        on_ports: Vec::new(),
    }
}

fn an_id() -> impl Strategy<Value = Ident> {
    // Few enough that ids meet, and long ones among them.
    prop_oneof![
        "[a-c]".prop_map(|text| id(&text)),
        "[a-z0-9][a-z0-9-]{0,62}".prop_map(|text| id(&text)),
    ]
}

fn a_place() -> impl Strategy<Value = String> {
    // Whatever a person may type in one line: quotes, backslashes, Chinese, brackets.
    "\\PC{0,40}".prop_map(|text| short::place(&text).unwrap())
}

fn runs() -> impl Strategy<Value = Runs> {
    let sizes = prop_oneof![Just(Size::S), Just(Size::M), Just(Size::L)];
    let zones = prop_oneof![Just(Zone::Ambient), Just(Zone::Chilled), Just(Zone::Frozen)];
    let run = (1_u16..=128, sizes, zones, any::<bool>()).prop_map(|(count, size, zone, low)| Run {
        count,
        size,
        zone,
        low,
    });
    vec(run, 1..=4).prop_map(Runs)
}

fn a_bank() -> impl Strategy<Value = Bank> {
    (an_id(), an_id(), a_place(), runs()).prop_map(|(id, building, address, runs)| Bank {
        id,
        building,
        address,
        runs,
    })
}

fn a_port() -> impl Strategy<Value = Port> {
    let protocol = (0..Protocol::ALL.len()).prop_map(|n| Protocol::ALL[n]);
    let path = "/dev/[a-zA-Z0-9:,._\"' -]{1,20}".prop_map(PathBuf::from);
    let baud = proptest::option::of(300_u32..=4_000_000);
    (an_id(), path, protocol, baud).prop_map(|(id, path, protocol, baud)| Port {
        id,
        path,
        protocol,
        baud,
    })
}

fn on_port() -> impl Strategy<Value = OnPort> {
    let what = prop_oneof![
        Just(None),
        Just(Some("scan".to_string())),
        Just(Some("keypad".to_string())),
        Just(Some("gate".to_string())),
        Just(Some("No door".to_string())),
    ];
    let address = proptest::option::of(any::<u8>());
    (an_id(), an_id(), address, what).prop_map(|(device, port, address, what)| OnPort {
        device,
        port,
        address,
        what,
    })
}

/// Boards that open a whole bank, as the questions make them.
fn open_all(answers: &mut Answers) {
    let ports: Vec<Port> = answers.ports.clone();
    for bank in answers.banks.clone() {
        let usable = ports.iter().find(|port| {
            answers::channels(port.protocol).is_some()
                && !answers.boards.iter().any(|board| board.port == port.id)
        });
        let Some(port) = usable else { continue };
        let most = answers::channels(port.protocol).unwrap();
        let (mut next, mut address) = (1, 0);
        let count = bank.runs.count();
        while next <= count {
            let last = count.min(next + most - 1);
            let added = answers.add_board(Board {
                bank: bank.id.clone(),
                port: port.id.clone(),
                address,
                compartments: [next, last],
            });
            if added.is_err() {
                answers.boards.retain(|board| board.bank != bank.id);
                break;
            }
            (next, address) = (last + 1, address + 1);
        }
    }
}

prop_compose! {
    fn estates()(
        site in an_id(),
        buildings in vec(an_id(), 0..4),
        banks in vec(a_bank(), 0..4),
        desks in vec((an_id(), an_id(), a_place()), 0..3),
        devices in vec((an_id(), an_id(), proptest::option::of(an_id())), 0..4),
        ports in vec(a_port(), 0..4),
        boards in any::<bool>(),
        on_ports in vec(on_port(), 0..8),
        listen in any::<(u8, u16)>(),
        mqtts in any::<bool>(),
        cloud in proptest::option::of(any::<bool>()),
        state_dir in "/[a-z\"'\\\\ ]{1,12}",
    ) -> Answers {
        let mut answers = Answers {
            site,
            state_dir: state_dir.into(),
            listen: SocketAddr::from(([10, 0, 0, listen.0], listen.1)),
            mqtts,
            ..empty()
        };
        answers.cloud = cloud.map(|with_token| Cloud {
            url: "https://cloud.example/estates".to_string(),
            token: with_token.then(|| {
                (Token::new("secret-token").unwrap(), "credential:cloud-token".to_string())
            }),
        });
        // What doesn't fit is refused, as it is on a terminal.
        for building in buildings {
            let _ = answers.add_building(building);
        }
        for bank in banks {
            let _ = answers.add_bank(bank);
        }
        for (id, building, address) in desks {
            let _ = answers.add_desk(Desk { id, building, address });
        }
        for (id, building, point) in devices {
            let _ = answers.add_device(Device { id, building, point });
        }
        for port in ports {
            let _ = answers.add_port(port);
        }
        if boards {
            open_all(&mut answers);
        }
        for on in on_ports {
            let _ = answers.add_on_port(on);
        }
        answers
    }
}

use std::net::SocketAddr;

proptest! {
    #[test]
    fn what_is_written_is_taken_and_says_what_was_answered(answers in estates()) {
        let text = text(&answers);
        let config = match Config::parse(&text) {
            Ok(config) => config,
            Err(errors) => return Err(TestCaseError::fail(format!("{errors:?}\n{text}"))),
        };
        prop_assert_eq!(&config.site, &answers.site);
        prop_assert_eq!(&config.state_dir, &answers.state_dir);
        let buildings: Vec<Ident> = config.buildings.iter().map(|b| b.id.clone()).collect();
        prop_assert_eq!(&buildings, &answers.buildings);
        let layout = config.layout();
        prop_assert_eq!(layout.banks.len(), answers.banks.len());
        for (bank, said) in layout.banks.iter().zip(&answers.banks) {
            prop_assert_eq!(&bank.address, &said.address);
            let said = said.runs.0.iter().flat_map(|run| (0..run.count).map(move |_| run));
            let said: Vec<_> = said.map(|run| (run.size, run.zone, run.low)).collect();
            let is: Vec<_> = bank.compartments.iter().map(|c| (c.size, c.zone, c.low)).collect();
            prop_assert_eq!(is, said);
        }
        let broker = config.broker.clone().unwrap();
        prop_assert_eq!(broker.listen, answers.listen);
        prop_assert_eq!(broker.tls.map(|tls| tls.listen), answers.mqtts.then(|| tls_listen(answers.listen)));
        let over_mqtt: Vec<Ident> = answers.over_mqtt().into_iter().cloned().collect();
        prop_assert_eq!(config.mqtt_device_ids(), over_mqtt);
        let ports: Vec<_> = config.ports.iter().map(|p| (p.path.clone(), p.protocol, p.baud)).collect();
        let said: Vec<_> = answers.ports.iter().map(|p| (p.path.clone(), p.protocol, p.baud)).collect();
        prop_assert_eq!(ports, said);
        // The token itself stands nowhere.
        prop_assert!(!text.contains("secret-token"));
        prop_assert_eq!(
            config.cloud.and_then(|cloud| cloud.token_file).is_some(),
            answers.cloud.is_some_and(|cloud| cloud.token.is_some())
        );
    }
}

/// A small estate with one of everything that is commented differently.
fn usual() -> Answers {
    let mut answers = empty();
    answers.add_building(id("b1")).unwrap();
    answers
        .add_bank("bank-a@b1:8S,2Mc".parse().unwrap())
        .unwrap();
    answers
}

/// Every setting that stands as a comment, put in force; the two that exclude [broker] and sections that
/// hold an example are left out.
fn uncommented(text: &str) -> String {
    let mut skip = false;
    let lines = text.lines().map(|line| {
        let Some(bare) = line.strip_prefix("# ") else {
            skip &= !line.is_empty();
            return line.to_string();
        };
        if bare.starts_with('[') {
            skip = matches!(
                bare,
                "[external_broker]"
                    | "[[bridge]]"
                    | "[[port]]"
                    | "[[device]]"
                    | "[[desk]]"
                    | "[[bank]]"
                    | "[device.serial]"
            );
        }
        let is_key = bare
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        let sets = (bare.starts_with('[') && bare.ends_with(']')) || is_key;
        if sets && !skip {
            bare.to_string()
        } else {
            line.to_string()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_stands_as_a_comment_is_the_default() {
    let mut answers = usual();
    let without = text(&answers);
    let all = uncommented(&without);
    for section in [
        "[cloud]",
        "[cloud.line]",
        "[journal]",
        "[retention]",
        "[limits]",
        "[rules]",
        "[control]",
        "[broker.tls]",
    ] {
        assert!(all.lines().any(|line| line == section), "{section}\n{all}");
    }
    let set = Config::parse(&all).unwrap_or_else(|errors| panic!("{errors:?}\n{all}"));
    let default = Config::parse(&without).unwrap();
    assert_eq!(
        format!("{:?}", set.layout()),
        format!("{:?}", default.layout())
    );
    assert_eq!(
        format!("{:?}", set.retention()),
        format!("{:?}", default.retention())
    );
    assert_eq!(
        format!("{:?}", set.limits()),
        format!("{:?}", default.limits())
    );
    assert_eq!(set.journal.gather_ms, default.journal.gather_ms);
    assert_eq!(set.socket(), default.socket());
    let (broker, usual) = (set.broker.unwrap(), default.broker.unwrap());
    assert_eq!(broker.max_connections, usual.max_connections);
    assert_eq!(broker.anonymous, usual.anonymous);
    answers.cloud = Some(Cloud {
        url: "https://cloud.example".to_string(),
        token: None,
    });
    let cloud = Config::parse(&text(&answers)).unwrap().cloud.unwrap();
    assert_eq!(set.cloud.unwrap().line, cloud.line);
}

#[test]
fn the_examples_in_comments_can_be_taken() {
    let mut answers = empty();
    answers.add_building(id("b1")).unwrap();
    answers
        .add_port("bus-1=/dev/ttyUSB0,modbus".parse().unwrap())
        .unwrap();
    let text = text(&answers);
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("# A sensor on port"));
    let heading = lines.next().unwrap();
    let example: Vec<&str> = lines.map(|line| line.strip_prefix("# ").unwrap()).collect();
    let config = Config::parse(&format!("{text}\n{}", example.join("\n"))).unwrap();
    assert_eq!(config.devices.len(), 1, "{heading}");
    let external = text.split("[external_broker]").nth(1).unwrap();
    let keys: Vec<&str> = external
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix("# "))
        .collect();
    let whole = format!("site = 's'\n[external_broker]\n{}", keys.join("\n"));
    assert!(Config::parse(&whole).unwrap().external_broker.is_some());
}

#[test]
fn what_does_not_fit_is_told_with_what_is_there() {
    let mut answers = usual();
    for (added, said) in [
        (answers.clone().add_building(id("b1")), "there already"),
        (
            answers.clone().add_bank("bank-b@b2:1S".parse().unwrap()),
            "no building 'b2', but b1",
        ),
        (
            answers.clone().add_desk("bank-a@b1".parse().unwrap()),
            "'bank-a' is taken",
        ),
        (
            answers.clone().add_device("k@b1/bank-c".parse().unwrap()),
            "no bank or desk 'bank-c', but bank-a",
        ),
        (
            answers
                .clone()
                .add_board("bank-a@bus-1:0=1-10".parse().unwrap()),
            "no port 'bus-1'",
        ),
        (
            answers
                .clone()
                .add_on_port("bank-a@bus-1:1".parse().unwrap()),
            "no port 'bus-1'",
        ),
    ] {
        let why = added.unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    for port in [
        "bus-1=/dev/ttyUSB0,kerong-cu16",
        "tty-1=/dev/ttyUSB1,lines",
        "osdp-1=/dev/ttyUSB2,osdp",
        "link-1=/dev/ttyUSB3,linli",
        "rtu-1=/dev/ttyUSB4,modbus",
    ] {
        answers.add_port(port.parse().unwrap()).unwrap();
    }
    answers.add_device("dev-1@b1".parse().unwrap()).unwrap();
    for (board, said) in [
        ("bank-a@bus-1:16=1-10", "0 to 15"),
        ("bank-a@bus-1:0=0-3", "compartments 1 to 10"),
        ("bank-a@bus-1:0=3-2", "compartments 1 to 10"),
        ("bank-a@bus-1:0=1-11", "compartments 1 to 10"),
        ("bank-a@tty-1:0=1-10", "boards speak"),
        ("bank-a@rtu-1:1=1-10", "docs/serial.md"),
    ] {
        let why = answers.add_board(board.parse().unwrap()).unwrap_err();
        assert!(why.contains(said), "{board}: {why}");
    }
    for (on, said) in [
        ("dev-1@tty-1=scan", "belongs to a bank or desk"),
        ("bank-a@tty-1", "scan or keypad"),
        ("dev-1@osdp-1:1", "reads for a door"),
        ("dev-1@osdp-1:127=gate", "0 to 126"),
        ("dev-1@link-1:0", "1 to 126"),
        ("dev-1@link-1", "1 to 126"),
        ("dev-1@link-1:1=gate", "nothing after '='"),
        ("dev-1@rtu-1:1", "docs/serial.md"),
        ("dev-1@bus-1:1", "--board"),
        ("dev-2@link-1:1", "--device dev-2@BUILDING"),
    ] {
        let why = answers.add_on_port(on.parse().unwrap()).unwrap_err();
        assert!(why.contains(said), "{on}: {why}");
    }
}
