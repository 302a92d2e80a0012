//! The demonstration, by the real binary: its balance, its output, its end by Ctrl-C.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The demo with its temporary files in a folder of the test.
fn demo(temp: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
    command.arg("demo").args(args).env("TMPDIR", temp);
    command
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The longest run of digits: a pickup code has six or more.
fn longest_number(text: &str) -> usize {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    runs.map(str::len).max().unwrap_or(0)
}

/// Plays an evening that must balance: its story, and the balance.
fn evening(temp: &Path, args: &[&str]) -> (Vec<Value>, Value) {
    let ran = demo(temp, args).arg("--json").output().unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{told}\n{errors}");
    let mut story: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let balance = story.pop().unwrap();
    assert_eq!(balance["holds"], true);
    let items = balance["balance"].as_array().unwrap();
    assert!(items.iter().all(|item| item["holds"] == true));
    assert_eq!(balance["figures"]["parcels"], 16);
    let key_to_open = &balance["figures"]["key_to_open_us"];
    assert!(key_to_open["p99"].as_u64().unwrap() > 0);
    for line in &story {
        let text = line["text"].as_str().unwrap();
        assert!(longest_number(text) < 6, "never a code: {text}");
    }
    (story, balance)
}

/// All of these happened.
fn has_all(story: &[Value], whats: &[&str]) {
    for what in whats {
        assert!(
            story.iter().any(|line| line["what"] == *what),
            "{what}: {story:?}"
        );
    }
}

#[test]
fn the_evening_balances_tells_its_story_in_json_and_keeps_what_it_is_told_to() {
    let temp = tempfile::tempdir().unwrap();
    let kept = temp.path().join("kept");
    let keep = ["--keep", kept.to_str().unwrap()];
    let short = ["--seconds", "15", "--households", "40", "--seed", "3"];
    let (story, _) = evening(temp.path(), &[&short[..], &keep].concat());
    has_all(
        &story,
        &[
            "announced",
            "courier",
            "brought",
            "collected",
            "refused",
            "not-taken",
            "taken-back",
            "cloud-away",
            "fault",
        ],
    );
    for file in ["linli.db", "linli.toml", "demo.log", "cloud.db"] {
        assert!(kept.join(file).is_file(), "{file} in {:?}", entries(&kept));
    }

    let again = demo(temp.path(), &keep).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}

#[test]
fn the_evening_balances_with_its_lockers_on_serial_lines() {
    let temp = tempfile::tempdir().unwrap();
    let short = ["--serial", "--seconds", "30", "--households", "40"];
    let (story, balance) = evening(temp.path(), &[&short[..], &["--seed", "3"]].concat());
    has_all(&story, &["brought", "collected", "taken-back"]);
    let faults: Vec<&str> = story
        .iter()
        .filter(|line| line["what"] == "fault")
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    for words in [
        "panel-a: its connection breaks",
        "bank-a: the adapter of its locker boards is pulled out",
        "bank-a: the adapter is in again, with another device file",
        "bank-b: its controller loses power",
        "bank-b: a bad contact",
    ] {
        assert!(
            faults.iter().any(|fault| fault.contains(words)),
            "{words}: {faults:?}"
        );
    }
    let items = balance["balance"].as_array().unwrap();
    let shown = items.iter().find(|item| item["name"] == "shown").unwrap();
    let text = shown["text"].as_str().unwrap();
    assert!(
        text.starts_with("states that boards and sensors showed"),
        "{text}"
    );
    // The ports are gone with it.
    assert_eq!(entries(temp.path()), Vec::<String>::new());
}

#[test]
fn ctrl_c_ends_it_cleanly_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let mut playing = demo(temp.path(), &["--seconds", "60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(playing.stdout.take().unwrap()).lines();
    // Plain lines, as the output isn't a terminal; the first parcel is in.
    let brought = lines
        .by_ref()
        .find(|line| line.as_ref().unwrap().contains("←"));
    assert!(brought.unwrap().unwrap().starts_with("17:0"));
    assert!(!entries(temp.path()).is_empty());
    interrupt(&playing);
    lines.for_each(drop);
    let ended = playing.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("interrupted"));
    assert_eq!(entries(temp.path()), Vec::<String>::new());
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn what_cannot_be_played_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let ran = demo(temp.path(), &["--seconds", "1"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--seconds takes 15 to 3600"));
}
