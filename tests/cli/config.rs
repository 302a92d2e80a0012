//! The configuration: checked, shown, its schema, and tried against the world.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value as Json;

use crate::bed::{Outcome, binary};

const GOOD: &str = "\
site = \"court\"
state_dir = \"state\"

[[building]]
id = \"b1\"

[[device]]
id = \"door-1\"
building = \"b1\"
";

fn written(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("linli.toml"), text).unwrap();
    dir
}

fn linli(dir: &Path, args: &[&str]) -> Outcome {
    Outcome::of(binary(dir, args).output().unwrap())
}

fn json(done: &Outcome) -> Json {
    serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{e}: {done:?}"))
}

#[test]
fn a_good_file_is_said_to_be_good_and_what_stands_in_it() {
    let dir = written(GOOD);
    let good = linli(dir.path(), &["config", "check", "linli.toml"]);
    assert_eq!(
        (good.code, good.out.as_str()),
        (0, "linli.toml is good: 1 building, 1 device, no cloud\n"),
        "{good:?}"
    );
    // By --config too, and nothing is wrong for programs either.
    let good = linli(
        dir.path(),
        &["config", "check", "--config", "linli.toml", "--json"],
    );
    assert_eq!((good.code, good.out.as_str()), (0, "[]\n"), "{good:?}");
    // Nothing was made or asked.
    assert!(!dir.path().join("state").exists());
}

#[test]
fn all_that_is_wrong_is_told_with_file_line_and_key() {
    let dir = written(&GOOD.replace("building = \"b1\"", "bulding = \"b1\"\npoint = \"desk-1\""));
    let bad = linli(dir.path(), &["config", "check", "linli.toml"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    let lines: Vec<&str> = bad.out.lines().collect();
    assert_eq!(lines.len(), 2, "{bad:?}");
    assert!(
        lines[0].starts_with(
            "linli.toml:9: device[door-1].bulding: isn't known; did you mean 'building'?"
        ),
        "{bad:?}"
    );
    assert!(
        lines[1].starts_with(
            "linli.toml:10: device[door-1].point: is 'desk-1', which is no bank or desk"
        )
    );
    let bad = linli(dir.path(), &["config", "check", "linli.toml", "--json"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    let faults = json(&bad);
    let first = &faults[0];
    assert_eq!(faults.as_array().unwrap().len(), 2);
    assert_eq!(
        (
            &first["file"],
            &first["line"],
            &first["column"],
            &first["key"]
        ),
        (
            &"linli.toml".into(),
            &9.into(),
            &1.into(),
            &"device[door-1].bulding".into()
        )
    );
    // Every command that needs it says the same.
    let run = linli(dir.path(), &["run", "--config", "linli.toml"]);
    assert_eq!(run.code, 1, "{run:?}");
    for line in lines {
        assert!(run.err.contains(line), "{line}: {run:?}");
    }
}

#[test]
fn what_a_fault_repeats_cannot_steer_a_terminal() {
    let dir = written("\"\\u001b[31m\" = 1\nsite = \"\\u001b[2J\"\n");
    let bad = linli(dir.path(), &["config", "check", "linli.toml"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(!bad.out.contains('\u{1b}'), "{bad:?}");
}

#[test]
fn what_holds_is_shown_with_where_it_comes_from() {
    let dir = written(GOOD);
    let shown = linli(dir.path(), &["config", "show", "--config", "linli.toml"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let has = |start: &str, end: &str| {
        let mut lines = shown.out.lines();
        let found = lines.any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(found, "{start} … {end}: {}", shown.out);
    };
    has("site = \"court\"", "  # linli.toml:1");
    has("device[door-1].building = \"b1\"", "  # linli.toml:9");
    has("rules.code_min_digits = 6", "  # default");
    has(
        "control.socket = \"state/control.sock\"",
        "  # default, from state_dir",
    );
    let args = [
        "config",
        "show",
        "device[door-1]",
        "--config",
        "linli.toml",
        "--json",
    ];
    let rows = json(&linli(dir.path(), &args));
    assert_eq!(rows[1]["key"], "device[door-1].building");
    assert_eq!(
        (&rows[1]["value"], &rows[1]["line"]),
        (&"b1".into(), &9.into())
    );
    let none = linli(
        dir.path(),
        &["config", "show", "nothing", "--config", "linli.toml"],
    );
    assert_eq!(none.code, 4, "{none:?}");
}

#[test]
fn the_schema_is_the_shipped_one() {
    let dir = tempfile::tempdir().unwrap();
    let printed = json(&linli(dir.path(), &["config", "schema"]));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/linli.schema.json");
    let shipped: Json = serde_json::from_str(&fs::read_to_string(shipped).unwrap()).unwrap();
    assert_eq!(printed, shipped);
}

#[test]
fn the_world_is_asked_only_when_asked_for() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let dir = written(&format!(
        "{GOOD}\n[broker]\nlisten = \"{address}\"\n[cloud]\nurl = \"http://{address}\"\ntoken_file = \"token\"\n\
         [[port]]\nid = \"bus-1\"\npath = \"none\"\nprotocol = \"modbus\"\n"
    ));
    let args = ["config", "check", "linli.toml", "--probe"];
    let tried = linli(dir.path(), &args);
    assert_eq!(tried.code, 1, "{tried:?}");
    let says = |tried: &Outcome, start: &str, part: &str| {
        let mut lines = tried.out.lines();
        let found = lines.any(|line| line.starts_with(start) && line.contains(part));
        assert!(found, "{start} … {part}: {}", tried.out);
    };
    says(&tried, "✗ broker.listen: ", "is held by another program");
    says(&tried, "✓ cloud.url: ", "answers");
    says(
        &tried,
        "✗ cloud.token_file: ",
        "token isn't there: put it there",
    );
    says(
        &tried,
        "✗ port[bus-1].path: ",
        "none isn't there: is the adapter plugged in?",
    );
    assert_eq!(linli(dir.path(), &args[..3]).code, 0);
    drop(held);
    fs::write(dir.path().join("token"), "t").unwrap();
    let tried = linli(dir.path(), &args);
    says(&tried, "✓ broker.listen: ", "is free");
    says(&tried, "✗ cloud.url: ", "");
    let rows = json(&linli(dir.path(), &[&args[..], &["--json"]].concat()));
    let listen = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["key"] == "broker.listen");
    assert_eq!(listen.unwrap()["ok"], true);
}
