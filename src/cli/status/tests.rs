//! The screen of the status, whole.

use std::collections::BTreeMap;

use super::super::look::tests::{NOW_MS, plain};
use super::*;
use crate::control::health::Trouble;
use crate::control::health::compartments::Lacking;
use crate::control::reload::ConfigurationReport;
use crate::control::views::{
    ClockReport, DeviceCounts, JournalReport, LinksReport, StateCounts, StatusReport,
};
use crate::disk::Duty;
use crate::store::read::{LanesRow, StoreCounts};

fn sample() -> Status {
    let lane = |lane: &str, waiting, oldest_waiting_ms| LaneRow {
        lane: lane.to_string(),
        last_seq: 40 + waiting,
        acked_seq: 40,
        waiting,
        oldest_waiting_ms,
    };
    Status {
        health: Health::Well,
        troubles: Vec::new(),
        report: StatusReport {
            version: "0.1.0".to_string(),
            site: "willow-court".to_string(),
            uptime_ms: 273_600_000,
            journal: JournalReport {
                writing: true,
                commits: 3_000,
                events_taken: 12_000,
                ..JournalReport::default()
            },
            links: LinksReport {
                mode: "embedded".to_string(),
                address: "127.0.0.1:1883".to_string(),
                connected: 42,
                last_error: None,
                ..LinksReport::default()
            },
            parts: Vec::new(),
            cloud: serde_json::json!({
                "url": "https://cloud.example",
                "connected_since_ms": NOW_MS - 60_000,
                "uplink": {"last_success_ms": NOW_MS - 4_000, "last_error": "old", "failures": 0, "next_try_ms": null},
                "downlink": {"last_success_ms": null, "last_error": "refused", "failures": 2, "next_try_ms": NOW_MS + 8_000},
            }),
            clock: ClockReport {
                wall_ms: NOW_MS,
                quality: "synchronised".to_string(),
                tick_ms: 0,
            },
            memory_rss_bytes: Some(14_680_064),
            audit: crate::audit::AuditReport::default(),
            disk: Vec::new(),
            serial: Vec::new(),
            configuration: ConfigurationReport::default(),
        },
        rotating: Vec::new(),
        devices: DeviceCounts {
            configured: 44,
            online: 42,
            offline: 2,
            unknown: 0,
        },
        compartments: Some(StateCounts {
            free: 12,
            occupied: 6,
            ..StateCounts::default()
        }),
        store: Some(StoreCounts {
            stored: 1_204_233,
            duplicate: 17,
            quarantined: 3,
            parcels: BTreeMap::from([("deposited".to_string(), 6), ("expected".to_string(), 5)]),
            size_bytes: 220_200_960,
            ..StoreCounts::default()
        }),
        lanes: LanesRow {
            epoch: Some(1),
            lanes: vec![
                lane("fulfilment", 3, Some(NOW_MS - 240_000)),
                lane("health", 0, None),
            ],
        },
    }
}

#[test]
fn when_all_is_well_it_says_so_first() {
    let wanted = "\
linli 0.1.0 at willow-court: all is well

  running   for 3 d 4 h, in 14.0 MiB of memory
  disk      writes; since the start 12,000 events in 3,000 commits
  store     1,204,233 events stored, 17 seen before, 3 in quarantine; 210.0 MiB
  broker    embedded, 127.0.0.1:1883; 42 of 44 devices connected
  banks     12 free, 6 occupied of 18 compartments
  parcels   6 deposited, 5 expected
  cloud     https://cloud.example, reached since 17:02:21, but: refused
            It is tried again by itself, and nothing is lost. If it lasts: is the network up (antenna, SIM card, name server), is the URL right? Else ask the cloud's operator.
            fulfilment: 3 waiting, oldest 4 min
  clock     2026-11-22 17:03:21, synchronised
";
    assert_eq!(status(&plain(None), &sample()), wanted);
}

#[test]
fn troubles_come_before_all_else_with_what_to_do() {
    let mut sick = sample();
    sick.health = Health::Failing;
    sick.troubles = vec![
        Trouble::BankOffline {
            bank: "bank-a".to_string(),
        },
        Trouble::CompartmentsFaulty {
            bank: "bank-b".to_string(),
            compartments: vec![3],
        },
    ];
    let shown = status(&plain(Some(60)), &sick);
    let wanted = "\
linli 0.1.0 at willow-court: somebody isn't served

! Bank bank-a isn't connected, so its doors can't be opened.
  Check its power and its network cable. If it was given a
  wrong password: linli device password bank-a makes a new
  one, to be entered in it; the old one is replaced.

! Bank bank-b doesn't use 1 compartment: 3.
  See linli banks for why. After the repair: linli open
  bank-b/N --reason TEXT

  running   for 3 d 4 h, in 14.0 MiB of memory
  disk      writes; since the start 12,000 events in 3,000
            commits
";
    assert!(shown.starts_with(wanted), "{shown}");
}

fn refuses(duty: Duty) -> Trouble {
    Trouble::DiskRefuses {
        duty,
        error: "Input/output error (os error 5)".to_string(),
        since_ms: NOW_MS,
        log_bytes: 5 << 20,
    }
}

#[test]
fn a_store_that_can_not_be_read_is_not_shown_as_an_empty_one() {
    let mut blind = sample();
    blind.health = Health::Attention;
    blind.troubles = vec![refuses(Duty::Checkpoint)];
    blind.compartments = None;
    blind.store = None;
    let wanted = "\
linli 0.1.0 at willow-court: works, but somebody should look at this

! The log can't be moved into the database since 17:03:21: Input/output error (os error 5).
  Nothing is lost: the log keeps it. It holds 5.0 MiB; beyond 256 MiB devices keep their events until it can. Look for space (df -h) and for a disk that fails (dmesg); it goes on by itself.

  running   for 3 d 4 h, in 14.0 MiB of memory
  disk      writes; since the start 12,000 events in 3,000 commits
  store     not known: the store can't be read
  broker    embedded, 127.0.0.1:1883; 42 of 44 devices connected
  banks     not known: the store can't be read
  parcels   not known: the store can't be read
";
    let shown = status(&plain(None), &blind);
    assert!(shown.starts_with(wanted), "{shown}");
}

#[test]
fn every_trouble_has_words_and_a_remedy() {
    let text = |text: &str| text.to_string();
    let all = [
        Trouble::NotWriting {
            error: Some(text("disk full")),
            since_ms: Some(NOW_MS),
        },
        Trouble::LinkDown {
            mode: text("external"),
            address: text("10.0.0.2:1883"),
            error: text("refused"),
        },
        Trouble::PartDown {
            part: text("cloud"),
            restarts: 3,
            error: None,
        },
        Trouble::BankOffline {
            bank: text("bank-a"),
        },
        Trouble::DevicesOffline {
            devices: vec![text("door-1"), text("door-2")],
        },
        Trouble::CompartmentsFaulty {
            bank: text("bank-a"),
            compartments: vec![1, 2],
        },
        Trouble::Backlog {
            waiting: 1,
            oldest_ms: NOW_MS - 3_600_000,
        },
        Trouble::Cloud {
            lane: None,
            way: None,
            what: text("it refuses this gateway"),
            remedy: text("ask its operator"),
            since_ms: None,
            codes_wait: false,
        },
        Trouble::ParcelsNotSeen {
            compartments: vec![lacking("bank-a/9", &["R2"])],
        },
        Trouble::ParcelsNotSeen {
            compartments: vec![
                lacking("bank-a/9", &["R2"]),
                lacking("bank-b/1", &["R3", "R4"]),
            ],
        },
        Trouble::NotBooked {
            slots: vec![text("bank-a/4"), text("bank-b/2")],
        },
        Trouble::ClockUnknown,
        refuses(Duty::Checkpoint),
        refuses(Duty::Retention),
        refuses(Duty::DayKeys),
        refuses(Duty::Passwords),
        refuses(Duty::Uplink),
        refuses(Duty::Reading),
        refuses(Duty::Audit),
    ];
    let said: Vec<String> = all
        .iter()
        .map(|trouble| words::trouble(&plain(None), trouble))
        .inspect(|(_, remedy)| assert!(!remedy.is_empty()))
        .map(|(what, _)| what)
        .collect();
    let wanted = [
        "Nothing can be written to the disk since 17:03:21: disk full.",
        "The external broker at 10.0.0.2:1883 can't be used: refused.",
        "The part 'cloud' isn't running.",
        "Bank bank-a isn't connected, so its doors can't be opened.",
        "2 devices are not connected: door-1, door-2.",
        "Bank bank-a doesn't use 2 compartments: 1, 2.",
        "The cloud has taken nothing for a while: 1 item is waiting, the oldest for 1 h.",
        "The cloud can't be used: it refuses this gateway.",
        "bank-a/9 should hold R2, but its sensor says empty.",
        "2 compartments should hold parcels, but their sensors say empty: bank-a/9 (R2), bank-b/1 (R3, R4).",
        "Something lies in bank-a/4, bank-b/2 that nobody booked.",
        "Nobody has told this box the time.",
        "The log can't be moved into the database since 17:03:21: Input/output error (os error 5).",
        "Old events can't be removed since 17:03:21: Input/output error (os error 5).",
        "The day's key for cards and households can't be used since 17:03:21: Input/output error (os error 5).",
        "The password file was changed and can't be read since 17:03:21: Input/output error (os error 5).",
        "What waits for the cloud can't be read since 17:03:21: Input/output error (os error 5).",
        "The store can't be read since 17:03:21: Input/output error (os error 5).",
        "The parcels' history can't be verified since 17:03:21: Input/output error (os error 5).",
    ];
    assert_eq!(said, wanted);
}

fn lacking(slot: &str, parcels: &[&str]) -> Lacking {
    Lacking {
        slot: slot.to_string(),
        parcels: parcels.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_remedy_for_a_parcel_that_no_sensor_sees_names_it() {
    let compartments = vec![lacking("bank-a/9", &["R2"])];
    let trouble = Trouble::ParcelsNotSeen { compartments };
    let (_, remedy) = words::trouble(&plain(None), &trouble);
    for command in [
        "linli open bank-a/9 --reason",
        "linli desk claim R2 --kind damaged --note missing --desk",
        "linli desk retrieve R2",
    ] {
        assert!(remedy.contains(command), "{remedy}");
    }
}

#[test]
fn who_is_slowed_stands_there_with_since_when_and_how_much() {
    let mut status = sample();
    let limits = &mut status.report.links.limits;
    limits.slowed = vec![crate::control::views::SlowedView {
        device: "sensor-1".to_string(),
        since_ms: NOW_MS - 60_000,
        over: "events".to_string(),
        held_ms: 42_000,
        put_off: 3,
    }];
    (limits.episodes, limits.held_ms, limits.put_off) = (2, 50_000, 3);
    let text = super::status(&plain(None), &status);
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("slowed"))
        .take(2)
        .collect();
    assert_eq!(
        lines,
        [
            "  slowed    sensor-1 since 17:02:21: too many events, not read for 42 s, 3 publications put off to be sent again",
            "            since the start 2 times, not read for 50 s, 3 put off",
        ]
    );
}

#[test]
fn serial_ports_stand_there_and_their_troubles_say_what_to_do() {
    use crate::control::health::serial::Silent;
    use crate::links::serial::status::PortFault;
    let mut status = sample();
    status.troubles = vec![
        Trouble::PortDown {
            port: "rs485-a".to_string(),
            path: "/dev/ttyUSB0".to_string(),
            protocol: "8a".to_string(),
            baud: 9_600,
            up: false,
            fault: PortFault::Denied,
            since_ms: NOW_MS - 60_000,
            banks: vec!["bank-a".to_string()],
            devices: Vec::new(),
        },
        Trouble::SlavesSilent {
            port: "rs485-b".to_string(),
            others_answer: true,
            slaves: vec![Silent {
                device: "bank-b".to_string(),
                bank: true,
                address: Some(2),
                compartments: Some([17, 32]),
                last_answer_ms: Some(NOW_MS - 60_000),
            }],
        },
    ];
    let text = super::status(&plain(None), &status);
    let wanted = [
        "! Serial port rs485-a (/dev/ttyUSB0) may not be opened by linli, since 17:02:21. The doors of bank bank-a can't be opened.\n",
        "sudo usermod -aG dialout linli, then restart: systemctl restart linli.",
        "! 1 device doesn't answer on serial port rs485-b: bank-b at address 2 (last heard 17:02:21), so its compartments 17 to 32 can't be opened.\n",
        "Others on the same port answer, so look at the device itself: its power,",
    ];
    for part in wanted {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn every_fault_of_a_port_has_a_remedy_of_its_own() {
    use crate::links::serial::status::PortFault;
    let by = |by: Option<&str>| PortFault::InUse {
        by: by.map(str::to_string),
    };
    let faults = [
        (PortFault::Missing, "linli serial list"),
        (PortFault::Unplugged, "Plug the adapter in again"),
        (PortFault::Denied, "usermod -aG dialout linli"),
        (by(Some("minicom (77)")), "Stop minicom (77)"),
        (by(None), "fuser -v /dev/ttyUSB0"),
        (PortFault::NotSerial, "[[port]] id = \"rs485-a\""),
        (PortFault::Garbled, "linli serial scan /dev/ttyUSB0"),
        (
            PortFault::Other {
                error: "odd".to_string(),
            },
            "dmesg",
        ),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (fault, wanted) in faults {
        let trouble = Trouble::PortDown {
            port: "rs485-a".to_string(),
            path: "/dev/ttyUSB0".to_string(),
            protocol: "modbus".to_string(),
            baud: 9_600,
            up: false,
            fault,
            since_ms: NOW_MS,
            banks: Vec::new(),
            devices: vec!["sensor-1".to_string()],
        };
        let (what, remedy) = words::trouble(&plain(None), &trouble);
        assert!(what.contains("Not heard: sensor-1."), "{what}");
        assert!(remedy.contains(wanted), "{remedy}");
        assert!(seen.insert(remedy), "{what}");
    }
}
