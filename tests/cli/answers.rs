//! What each command shows, to people and to programs.

use linli::links::serial::status::{PortFault, PortView};
use serde_json::json;

use crate::bed::{Bed, NOW_MS, Outcome, Running, access, binary, door};

#[test]
fn status_says_first_whether_all_is_well() {
    let bed = Bed::new();
    let shown = bed.linli(&["status"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let first = shown.out.lines().next().unwrap();
    let wanted = "linli 0.1.0 at willow-court: works, but somebody should look at this";
    assert_eq!(first, wanted);
    assert!(
        shown
            .out
            .contains("! Bank bank-a doesn't use 1 compartment: 3.")
    );
    assert!(
        shown
            .out
            .contains("7 events stored, 1 seen before, 1 in quarantine")
    );
    assert!(shown.out.contains("2 of 3 devices connected"));

    let status = bed.json(&["status"]);
    assert_eq!(status["health"], "attention");
    let trouble = json!({"trouble": "compartments-faulty", "bank": "bank-a", "compartments": [3]});
    assert_eq!(status["troubles"], json!([trouble]));
    assert_eq!(status["store"]["stored"], 7);
    assert_eq!(status["store"]["newest_event_id"], 4);
    assert_eq!(
        status["store"]["parcels"],
        json!({"deposited": 1, "expected": 1})
    );
    assert_eq!(status["compartments"]["faulty"], 1);
    assert_eq!(status["devices"]["unknown"], 1);
    assert_eq!(status["lanes"][0]["waiting"], 2);
    assert_eq!(status["journal"]["writing"], true);
    assert!(status["memory_rss_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn status_with_check_fails_unless_all_is_well() {
    let bed = Bed::new();
    assert_eq!(bed.linli(&["status", "--check"]).code, 1);
    bed.store
        .conn
        .execute("UPDATE compartments SET fault = NULL", [])
        .unwrap();
    let well = bed.linli(&["status", "--check"]);
    assert_eq!(well.code, 0, "{well:?}");
    assert!(
        well.out
            .starts_with("linli 0.1.0 at willow-court: all is well\n")
    );
}

#[test]
fn devices_are_shown_as_configured_with_what_was_heard() {
    let bed = Bed::new();
    let devices = bed.json(&["devices"]);
    let ids: Vec<_> = devices
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["device"])
        .collect();
    assert_eq!(ids, ["bank-a", "desk-1", "door-1", "old-1"]);
    let bank = &devices[0];
    assert_eq!(bank["role"], "bank");
    assert_eq!(bank["online"], true);
    assert_eq!((&bank["received"], &bank["stored"]), (&json!(7), &json!(5)));
    assert_eq!(bank["boots"][0]["missing"], json!([[5, 6]]));
    assert_eq!(devices[1]["online"], json!(null));
    assert_eq!(devices[1]["last_heard_ms"], json!(null));
    assert_eq!(devices[3]["role"], "unconfigured");
    let shown = bed.linli(&["devices"]);
    let bank = shown
        .out
        .lines()
        .find(|line| line.starts_with("bank-a"))
        .unwrap();
    assert!(
        bank.contains("yes") && bank.contains("5-6") && bank.contains("LB-24 1.4"),
        "{bank}"
    );
}

#[test]
fn banks_are_drawn() {
    let bed = Bed::new();
    let shown = bed.linli(&["banks"]);
    let wanted = "\
bank-a  b1, Gate 1  2 free, 1 occupied, 1 faulty of 4 compartments  connected
  +-------+-------+-------+-------+
  |  1 S  |  2 M  | 3 M*  | 4 L** |
  |   .   | ##### | ! ! ! |   .   |
  +-------+-------+-------+-------+
  3: jammed

. free   r reserved   ##### occupied   /   / open   ! ! ! faulty   * chilled  ** frozen
";
    assert_eq!(shown.out, wanted);
    let banks = bed.json(&["banks"]);
    let full = &banks[0]["compartments"][1];
    let wanted = json!({
        "compartment": 2, "size": "M", "zone": "ambient", "state": "occupied", "parcels": ["P-1"],
        "reserved": null, "door": "closed", "occupied": true, "fault": null, "disabled": null,
        "low": false, "openings": 3,
    });
    assert_eq!(full, &wanted);
    assert_eq!(banks[0]["compartments"][0]["door"], "unknown");
}

#[test]
fn parcels_are_listed_by_state_and_never_with_their_recipients() {
    let bed = Bed::new();
    let all = bed.json(&["parcels"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(
        (&all[0]["parcel"], &all[1]["parcel"]),
        (&json!("P-1"), &json!("P-2"))
    );
    assert!(!all.to_string().contains("token-of"));
    let expected = bed.json(&["parcels", "--state", "expected"]);
    assert_eq!(expected[0]["parcel"], "P-2");
    assert_eq!(bed.json(&["parcels", "--state", "collected"]), json!([]));
    assert_eq!(
        bed.linli(&["parcels", "--state", "collected"]).out,
        "None.\n"
    );

    let one = bed.linli(&["parcels", "--limit", "1"]);
    assert_eq!(one.out.lines().count(), 2, "{one:?}");
    assert!(one.err.contains("Only 1 are shown"), "{one:?}");
    assert!(bed.linli(&["parcels"]).err.is_empty());
}

#[test]
fn a_parcel_comes_with_its_whole_history() {
    let bed = Bed::new();
    let parcel = bed.json(&["parcel", "P-1"]);
    assert_eq!(parcel["state"], "deposited");
    let steps: Vec<_> = parcel["trace"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["step"])
        .collect();
    assert_eq!(steps, ["announced", "deposit-started", "deposited"]);
    assert_eq!(parcel["commands"][0]["state"], "opened");
    let shown = bed.linli(&["parcel", "P-1"]).out;
    let at = |text: &str| {
        shown
            .find(text)
            .unwrap_or_else(|| panic!("{text} in {shown}"))
    };
    assert!(at("deposit-started") < at("open bank-a/2 to deposit, opened"));
    assert!(at("open bank-a/2 to deposit, opened") < at("deposited        courier sf-22"));
    assert!(
        shown.contains("deposited, since 2026-11-22 17:00:00"),
        "{shown}"
    );
}

#[test]
fn events_are_filtered_and_show_no_digests() {
    let bed = Bed::new();
    let all = bed.json(&["events"]);
    assert_eq!(all.as_array().unwrap().len(), 4);
    assert_eq!(all[0]["body"], json!({"digits": 6}));
    let wanted = json!({
        "id": 4, "device": "door-1", "boot": 1, "seq": 4, "kind": "access", "at_ms": NOW_MS,
        "at_by": "device", "received_ms": NOW_MS, "quality": "synchronised",
        "body": {"door": "door-1", "outcome": "granted"},
    });
    assert_eq!(all[3], wanted);
    let ids = |args: &[&str]| -> Vec<i64> {
        let events = bed.json(args);
        let events = events.as_array().unwrap();
        events
            .iter()
            .map(|event| event["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ids(&["events", "--device", "door-1"]), [4]);
    assert_eq!(ids(&["events", "--kind", "compartment"]), [2, 3]);
    assert_eq!(ids(&["events", "--limit", "2"]), [3, 4]);
    assert_eq!(ids(&["events", "--device", "desk-1"]), [0_i64; 0]);
    assert_eq!(ids(&["events", "--limit", "0"]), [0_i64; 0]);
    for number in 1..=1_200_u16 {
        bed.happens(1, "alarm", &door(number, "open"));
    }
    let many = ids(&["events", "--limit", "1100", "--kind", "alarm"]);
    assert_eq!(many, (105..=1_204).collect::<Vec<i64>>());
    let shown = bed.linli(&["events", "--kind", "compartment"]);
    assert_eq!(shown.out.lines().count(), 2);
    assert!(shown.out.contains("2 open"), "{shown:?}");
}

#[test]
fn following_shows_events_as_they_come() {
    let bed = Bed::new();
    let args = ["events", "--follow", "--json", "--device", "door-1"];
    let mut following = Running::start(bed.command(&args));
    assert!(following.line().contains("granted"));
    bed.happens(1, "compartment", &door(4, "open"));
    bed.happens(2, "access", &access("denied"));
    let seen: serde_json::Value = serde_json::from_str(&following.line()).unwrap();
    assert_eq!(seen["id"], 6);
    assert_eq!(seen["body"]["outcome"], "denied");
    bed.happens(2, "access", &access("forced"));
    assert!(following.line().contains("forced"));
}

#[test]
fn many_events_at_once_are_all_shown_to_one_who_follows() {
    let bed = Bed::new();
    let mut following = Running::start(bed.command(&["events", "--follow", "--limit", "1"]));
    assert!(following.line().contains("granted"));
    for number in 1..=1_200_u16 {
        bed.happens(1, "compartment", &door(number, "open"));
    }
    for number in 1..=1_200 {
        let line = following.line();
        assert!(
            line.trim_end().ends_with(&format!(" {number} open")),
            "{line}"
        );
    }
}

#[test]
fn following_ends_quietly_when_nobody_reads() {
    let bed = Bed::new();
    let mut following = Running::start(bed.command(&["events", "--follow"]));
    following.line();
    drop(following.lines.take());
    let start = std::time::Instant::now();
    while following.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < crate::bed::PATIENCE, "it runs on");
        bed.happens(2, "access", &access("granted"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(following.end(), (Some(0), String::new()));
}

#[test]
fn following_ends_with_a_reason_when_the_daemon_stops() {
    let bed = Bed::new();
    let mut following = Running::start(bed.command(&["events", "--follow"]));
    following.line();
    bed.stop();
    let (code, err) = following.end();
    assert_eq!(code, Some(1));
    assert!(err.contains("the daemon broke off"), "{err}");
    assert!(!bed.socket.exists());
}

#[test]
fn quarantine_is_shown_without_what_could_steer_a_terminal() {
    let bed = Bed::new();
    let shown = bed.linli(&["quarantine"]);
    assert!(shown.out.contains("unknown kind"), "{shown:?}");
    assert!(shown.out.contains("x?[2J"), "{shown:?}");
    assert!(!shown.out.contains('\u{1b}'));
    let rows = bed.json(&["quarantine"]);
    assert_eq!(rows[0]["source"], "bank-a");
    assert_eq!(rows[0]["size_bytes"], 12);
}

#[test]
fn sync_shows_the_lanes() {
    let bed = Bed::new();
    let sync = bed.json(&["sync"]);
    assert_eq!(sync["cloud"], json!(null));
    let wanted = json!({
        "lane": "fulfilment", "last_seq": 5, "acked_seq": 3, "waiting": 2,
        "oldest_waiting_ms": 1_795_338_000_000_i64,
    });
    assert_eq!(sync["lanes"][0], wanted);
    assert_eq!(sync["epoch"], NOW_MS / 1000);
    let shown = bed.linli(&["sync"]);
    assert!(shown.out.contains("none in the configuration"), "{shown:?}");
}

#[test]
fn the_version_and_the_help_need_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| Outcome::of(binary(dir.path(), args).output().unwrap());
    let version = run(&["version"]);
    assert_eq!(
        version.out,
        format!("linli {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for line in [
        "0   done",
        "2   asked",
        "3   the daemon",
        "4   what",
        "70  a fault",
    ] {
        assert!(help.out.contains(line), "{line} in {}", help.out);
    }
}

#[test]
fn output_that_is_no_terminal_has_no_colour() {
    let bed = Bed::new();
    for args in [
        &["status"][..],
        &["banks"],
        &["devices"],
        &["parcel", "P-1"],
    ] {
        let shown = bed.linli(args);
        assert!(!shown.out.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn serial_ports_are_shown_with_what_hangs_on_them() {
    let bed = Bed::new();
    let none = bed.linli(&["serial", "status"]);
    assert_eq!(none.code, 0, "{none:?}");
    assert!(none.out.starts_with("No serial port stands"), "{none:?}");
    let port = PortView {
        port: "rs485-a".to_string(),
        path: "/dev/serial/by-id/usb-a".to_string(),
        device: None,
        protocol: "modbus".to_string(),
        baud: 9_600,
        up: false,
        fault: Some(PortFault::InUse {
            by: Some("minicom (77)".to_string()),
        }),
        for_ms: 61_000,
        opened: 0,
        echo: None,
        noise_bytes: 0,
        devices: vec!["bank-a".to_string()],
        slaves: Vec::new(),
    };
    bed.daemon.report.lock().unwrap().serial = vec![port];
    let shown = bed.linli(&["serial", "status"]);
    assert!(
        shown
            .out
            .starts_with("rs485-a: is in use by minicom (77), modbus at 9600 baud"),
        "{shown:?}"
    );
    let items = bed.json(&["serial", "status"]);
    assert_eq!(items[0]["fault"]["by"], "minicom (77)");
    let status = bed.linli(&["status", "--check"]);
    assert_eq!(status.code, 1, "{status:?}");
    for part in [
        "somebody isn't served",
        "The doors of bank bank-a can't be opened.",
        "Stop minicom (77)",
    ] {
        assert!(status.out.contains(part), "{part}: {status:?}");
    }
}
