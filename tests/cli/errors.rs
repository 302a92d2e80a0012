//! Every exit code, each with its remedy; and passwords, which need no daemon.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use firmware_protocols::Ident;
use linli::credentials::Credentials;

use crate::bed::{Bed, Outcome, binary};

fn run(dir: &Path, args: &[&str]) -> Outcome {
    Outcome::of(binary(dir, args).output().unwrap())
}

/// A folder with `linli.toml` in it, whose state folder is `state`.
fn configured() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = "site = \"court\"\nstate_dir = \"state\"\n[[building]]\nid = \"b1\"\n\
                [[device]]\nid = \"door-1\"\nbuilding = \"b1\"\n";
    std::fs::write(dir.path().join("linli.toml"), text).unwrap();
    dir
}

#[test]
fn a_daemon_that_is_not_running_is_3_and_says_how_to_start_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let commands: [&[&str]; 20] = [
        &["status"],
        &["devices"],
        &["banks"],
        &["parcels"],
        &["parcel", "P-1"],
        &["events", "--follow"],
        &["quarantine"],
        &["open", "bank-a/1", "--reason", "x"],
        &["commands"],
        &["desk", "list"],
        &["reissue", "P-1"],
        &["extend", "P-1", "--hours", "1"],
        &["compartment", "enable", "bank-a/1"],
        &["sync", "--json"],
        &["parcel", "P-1", "--verify"],
        &["parcel", "P-1", "--export", "x.txt"],
        &["audit", "verify"],
        &["audit", "key"],
        &["serial", "status"],
        &["bank", "walk-test", "bank-a"],
    ];
    for args in commands {
        let mut command = binary(dir.path(), args);
        let away = Outcome::of(command.env("LINLI_SOCKET", &socket).output().unwrap());
        assert_eq!(away.code, 3, "{away:?}");
        let wanted = format!(
            "error: linli isn't running (no answer at {}). Start it: systemctl start linli, or linli run --config /etc/linli/linli.toml\n",
            socket.display()
        );
        assert_eq!((away.err, away.out.as_str()), (wanted, ""));
    }
    // A dead daemon's socket is no daemon either.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let dead = run(
        dir.path(),
        &["status", "--socket", socket.to_str().unwrap()],
    );
    assert_eq!(dead.code, 3, "{dead:?}");
}

#[test]
fn the_socket_is_found_through_the_configuration() {
    let dir = configured();
    let away = run(dir.path(), &["status", "--config", "linli.toml"]);
    assert_eq!(away.code, 3, "{away:?}");
    assert!(
        away.err.contains("no answer at state/control.sock"),
        "{away:?}"
    );
    assert!(
        away.err.contains("linli run --config linli.toml"),
        "{away:?}"
    );
    let lost = run(dir.path(), &["status", "--config", "nowhere.toml"]);
    assert_eq!(lost.code, 1, "{lost:?}");
    assert!(lost.err.contains("nowhere.toml"), "{lost:?}");
    let nothing = run(dir.path(), &["status"]);
    assert!(
        nothing.err.contains("/run/linli/control.sock"),
        "{nothing:?}"
    );
}

#[test]
fn a_wrong_use_is_2() {
    let bed = Bed::new();
    let wrong: [&[&str]; 6] = [
        &[],
        &["fly"],
        &["parcels", "--state", "lost"],
        &["events", "--kind", "tea"],
        &["events", "--device", "Door 1"],
        &["device"],
    ];
    for args in wrong {
        let refused = run(bed.dir.path(), args);
        assert_eq!(refused.code, 2, "{args:?}: {refused:?}");
        assert!(!refused.err.is_empty());
    }
    let log = binary(bed.dir.path(), &["run"])
        .env("LINLI_LOG", "linli=loud")
        .output();
    let log = Outcome::of(log.unwrap());
    assert_eq!(log.code, 2, "{log:?}");
    assert!(log.err.contains("LINLI_LOG is 'linli=loud'"), "{log:?}");
}

#[test]
fn an_error_repeats_no_controls_and_no_endless_text() {
    let bed = Bed::new();
    let steering = "P\u{1b}[2J\u{202e}\rx";
    let long = "9".repeat(20_000);
    let wrong: [(&[&str], i32); 9] = [
        (&["parcel", steering], 4),
        (&["parcel", "a\nerror: all is lost"], 4),
        (&["parcel", &long], 4),
        (&["open", steering, "--reason", "x"], 2),
        (&["open", &long, "--reason", "x"], 2),
        (&["events", "--kind", steering], 2),
        (&["parcels", "--limit", &long], 2),
        (&["extend", "P-1", "--until", steering], 2),
        (&["reissue", &long], 2),
    ];
    for (args, code) in wrong {
        let refused = bed.linli(args);
        assert_eq!(refused.code, code, "{refused:?}");
        let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!refused.err.contains(raw), "{refused:?}");
        assert!(refused.err.chars().count() < 2_000, "{refused:?}");
        let forged = refused.err.lines().any(|line| line == "error: all is lost");
        assert!(!forged, "{refused:?}");
    }
}

#[test]
fn what_is_not_there_is_4() {
    let bed = Bed::new();
    let parcel = bed.linli(&["parcel", "P-404"]);
    assert_eq!(parcel.code, 4, "{parcel:?}");
    assert!(
        parcel
            .err
            .contains("no parcel 'P-404' is known here. See 'linli parcels'"),
        "{parcel:?}"
    );
    let device = bed.linli(&["events", "--device", "door-9"]);
    assert_eq!(device.code, 4, "{device:?}");
    let follow = bed.linli(&["events", "--follow", "--device", "door-9"]);
    assert_eq!(follow.code, 4, "{follow:?}");
}

#[test]
fn a_store_that_can_not_be_read_is_70() {
    let bed = Bed::new();
    bed.store.conn.execute("DROP TABLE devices", []).unwrap();
    let broken = bed.linli(&["devices"]);
    assert_eq!(broken.code, 70, "{broken:?}");
    assert!(broken.err.contains("no such table: devices"), "{broken:?}");
    // The rest still answers.
    assert_eq!(bed.linli(&["banks"]).code, 0);
}

#[test]
fn a_configuration_that_can_not_be_used_fails_the_daemon_with_1() {
    let dir = configured();
    std::fs::write(dir.path().join("bad.toml"), "site = 7\n").unwrap();
    let failed = run(dir.path(), &["run", "--config", "bad.toml"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("bad.toml can't be used"), "{failed:?}");
}

#[test]
fn a_device_gets_a_password_that_is_shown_once() {
    let dir = configured();
    let args = ["device", "password", "door-1", "--config", "linli.toml"];
    let first = run(dir.path(), &args);
    assert_eq!(first.code, 0, "{first:?}");
    let password = first.out.trim_end();
    assert_eq!(first.out.lines().count(), 1);
    assert!(password.len() >= 20, "{password}");
    assert!(!first.err.contains(password));
    assert!(
        first.err.contains("mosquitto_pub -h 127.0.0.1 -p 1883 "),
        "{first:?}"
    );

    let file = dir.path().join("state/passwords");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("door-1 = $argon2id$"), "{text}");
    assert!(!text.contains(password));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let known = Credentials::open(&file).unwrap();
    assert!(known.has_password(&Ident::new("door-1").unwrap()));

    let second = run(dir.path(), &args);
    assert_ne!(second.out, first.out);
    let json = run(dir.path(), &[&args[..], &["--json"]].concat());
    let made: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(made["device"], "door-1");
    assert!(made["password"].is_string());
}

#[test]
fn a_device_that_is_not_configured_gets_no_password() {
    let dir = configured();
    let args = ["device", "password", "door-9", "--config", "linli.toml"];
    let refused = run(dir.path(), &args);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("linli device add"), "{refused:?}");
    assert!(!dir.path().join("state/passwords").exists());
}

#[test]
fn passwords_for_somebody_else_s_broker_are_made_there() {
    let dir = configured();
    let text = std::fs::read_to_string(dir.path().join("linli.toml")).unwrap();
    let other = format!("{text}[external_broker]\nurl = \"mqtt://10.0.0.2:1883\"\n");
    std::fs::write(dir.path().join("linli.toml"), other).unwrap();
    let args = ["device", "password", "door-1", "--config", "linli.toml"];
    let refused = run(dir.path(), &args);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("mosquitto_passwd"), "{refused:?}");
}
