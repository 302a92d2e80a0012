//! The parcels' history as evidence: verified, exported, checked without a daemon; and what shows
//! when somebody tampered with it.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::bed::{Bed, Outcome, binary};

fn tamper(bed: &Bed, sql: &str) {
    bed.store.conn.execute_batch(sql).unwrap();
}

/// Runs the binary away from any daemon.
fn offline(dir: &Path, args: &[&str]) -> Outcome {
    let mut command = binary(dir, args);
    Outcome::of(command.env("LINLI_SOCKET", "/nowhere").output().unwrap())
}

/// Exports P-1 and returns the file's text and the public key.
fn export(bed: &Bed) -> (String, String) {
    let made = bed.linli(&["parcel", "P-1", "--export", "P-1.txt"]);
    assert_eq!(made.code, 0, "{made:?}");
    let file = std::fs::read_to_string(bed.dir.path().join("P-1.txt")).unwrap();
    let key = bed.linli(&["audit", "key"]).out.trim_end().to_string();
    assert_eq!(key.len(), 64);
    assert!(
        made.out
            .starts_with(&format!("P-1.txt: 3 steps, signed by {key}.\n")),
        "{made:?}"
    );
    (file, key)
}

#[test]
fn an_untouched_history_holds() {
    let bed = Bed::new();
    let one = bed.linli(&["parcel", "P-1", "--verify"]);
    assert_eq!(
        (one.code, one.out.as_str()),
        (0, "P-1: 3 steps, unbroken.\n")
    );
    let view = bed.json(&["parcel", "P-1", "--verify"]);
    let wanted = json!({"parcel": "P-1", "unbroken": true, "steps": 3, "broken": null});
    assert_eq!(view, wanted);
    // Announced, and nothing has happened to it: that is a history too.
    let none = bed.linli(&["parcel", "P-2", "--verify"]);
    assert_eq!(none.out, "P-2: 0 steps, unbroken.\n");
    assert_eq!(bed.linli(&["parcel", "P-404", "--verify"]).code, 4);

    let all = bed.linli(&["audit", "verify"]);
    assert_eq!(all.code, 0, "{all:?}");
    let view = bed.json(&["audit", "verify"]);
    assert_eq!(
        (&view["unbroken"], &view["entries"]),
        (&json!(true), &json!(3))
    );
    let head = format!("3:{}", view["head"].as_str().unwrap());
    assert_eq!(all.out, format!("3 entries, unbroken.\nHead: {head}\n"));
    let agrees = bed.linli(&["audit", "verify", "--against", &head]);
    assert_eq!(agrees.code, 0, "{agrees:?}");
    assert!(
        agrees
            .out
            .ends_with("agrees with the head given for 3 entries.\n"),
        "{agrees:?}"
    );
}

#[test]
fn a_changed_step_is_named_and_shown_in_the_status() {
    let bed = Bed::new();
    tamper(&bed, "UPDATE trace SET detail = 'bank-a/4' WHERE id = 2");
    let one = bed.linli(&["parcel", "P-1", "--verify"]);
    assert_eq!(one.code, 1, "{one:?}");
    let wanted =
        "P-1: Entry 2 ('deposit-started' of P-1, 2026-11-22 16:58:20) isn't what was written";
    assert!(one.out.starts_with(wanted), "{one:?}");
    assert!(one.err.is_empty(), "{one:?}");

    let before = bed.json(&["status"]);
    assert!(!before["troubles"].to_string().contains("history-broken"));
    let all = bed.linli(&["audit", "verify", "--json"]);
    assert_eq!(all.code, 1, "{all:?}");
    let view: serde_json::Value = serde_json::from_str(&all.out).unwrap();
    assert_eq!(
        (&view["unbroken"], &view["entries"]),
        (&json!(false), &json!(1))
    );
    let broken = &view["broken"];
    assert_eq!(
        (&broken["n"], &broken["what"]),
        (&json!(2), &json!("changed"))
    );
    let shown = bed.linli(&["status"]);
    assert!(
        shown
            .out
            .contains("The parcels' history can't be trusted. Entry 2"),
        "{shown:?}"
    );
    assert!(
        bed.json(&["status"])["troubles"]
            .to_string()
            .contains("history-broken")
    );
    assert_eq!(bed.linli(&["status", "--check"]).code, 1);

    // Nothing is signed that doesn't hold.
    let refused = bed.linli(&["parcel", "P-1", "--export", "P-1.txt"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("at entry 2, so nothing was signed"),
        "{refused:?}"
    );
    assert!(!bed.dir.path().join("P-1.txt").exists());
}

#[test]
fn a_missing_step_is_named() {
    let bed = Bed::new();
    tamper(&bed, "DELETE FROM trace WHERE id = 2");
    let one = bed.linli(&["parcel", "P-1", "--verify"]);
    assert_eq!(one.code, 1, "{one:?}");
    assert!(
        one.out
            .contains("2 steps found, but entry 2 of the history is missing"),
        "{one:?}"
    );
    let all = bed.linli(&["audit", "verify"]);
    assert_eq!(all.code, 1, "{all:?}");
    assert!(
        all.out
            .starts_with("Entry 2 is missing.\nThe 1 entry before it hold"),
        "{all:?}"
    );
}

#[test]
fn a_cut_tail_shows_only_against_a_head_from_elsewhere() {
    let bed = Bed::new();
    let view = bed.json(&["audit", "verify"]);
    let head = format!("3:{}", view["head"].as_str().unwrap());
    tamper(&bed, "DELETE FROM trace WHERE id = 3");
    assert_eq!(bed.linli(&["audit", "verify"]).code, 0);
    let cut = bed.linli(&["audit", "verify", "--against", &head]);
    assert_eq!(cut.code, 1, "{cut:?}");
    assert!(
        cut.out
            .contains("It ends before the 3 entries of the head given"),
        "{cut:?}"
    );
    // Another head for the same number.
    let other = format!("2:{}", "00".repeat(32));
    let rewritten = bed.linli(&["audit", "verify", "--against", &other]);
    assert_eq!(rewritten.code, 1, "{rewritten:?}");
    assert!(
        rewritten.out.contains("rewritten at or before entry 2"),
        "{rewritten:?}"
    );
    for wrong in ["3", "3:abc", "x:00", ""] {
        let usage = bed.linli(&["audit", "verify", "--against", wrong]);
        assert_eq!(usage.code, 2, "{wrong}: {usage:?}");
    }
}

#[test]
fn an_export_is_checked_without_a_daemon() {
    let bed = Bed::new();
    let (file, key) = export(&bed);
    assert!(file.contains("\"recipient\": \"token-of-li\""), "{file}");
    let dir = bed.dir.path();
    for args in [
        &["audit", "check", "P-1.txt"][..],
        &["audit", "check", "P-1.txt", "--key", &key],
    ] {
        let sound = offline(dir, args);
        assert_eq!(sound.code, 0, "{sound:?}");
        assert!(
            sound.out.contains("sound. 3 steps of parcel P-1, unbroken"),
            "{sound:?}"
        );
    }
    let view = offline(dir, &["audit", "check", "P-1.txt", "--json"]);
    let view: serde_json::Value = serde_json::from_str(&view.out).unwrap();
    assert_eq!((&view["sound"], &view["steps"]), (&json!(true), &json!(3)));
    assert_eq!(
        (&view["public_key"], &view["head"]["entries"]),
        (&json!(key), &json!(3))
    );
    // The head in the file is one to verify the store against later.
    let head = format!("3:{}", view["head"]["chain"].as_str().unwrap());
    assert_eq!(bed.linli(&["audit", "verify", "--against", &head]).code, 0);
}

#[test]
fn a_forged_export_is_refused() {
    let bed = Bed::new();
    let (file, key) = export(&bed);
    let dir = bed.dir.path();
    let forged = file.replace("bank-a/2", "bank-a/3");
    assert_ne!(forged, file);
    for (name, text) in [
        ("forged", forged.as_str()),
        ("cut", &file[..file.len() / 2]),
        ("added", &format!("{file}\n")),
        ("no-text", "\u{0}"),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
        let refused = offline(dir, &["audit", "check", name, "--key", &key]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.out.starts_with(&format!("{name}: NOT sound: ")),
            "{refused:?}"
        );
    }
    // A whole file, and somebody else's.
    let theirs = Bed::new();
    export(&theirs);
    let other = theirs.dir.path().join("P-1.txt");
    let other = other.to_str().unwrap();
    assert_eq!(offline(dir, &["audit", "check", other]).code, 0);
    let refused = offline(dir, &["audit", "check", other, "--key", &key]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.out.contains("it is signed by another key"),
        "{refused:?}"
    );
    assert_eq!(offline(dir, &["audit", "check", "nowhere"]).code, 4);
    assert_eq!(
        offline(dir, &["audit", "check", other, "--key", "77"]).code,
        2
    );
}

#[test]
fn a_file_that_is_there_is_left_alone_unless_asked_for() {
    let bed = Bed::new();
    let path = bed.dir.path().join("kept.txt");
    std::fs::write(&path, "a letter").unwrap();
    let refused = bed.linli(&["parcel", "P-1", "--export", "kept.txt"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("is there already"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a letter");
    let made = bed.linli(&["parcel", "P-1", "--export", "kept.txt", "--overwrite"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(
        offline(bed.dir.path(), &["audit", "check", "kept.txt"]).code,
        0
    );
    assert_eq!(bed.linli(&["parcel", "P-404", "--export", "x.txt"]).code, 4);
    assert!(!bed.dir.path().join("x.txt").exists());
    let both = bed.linli(&["parcel", "P-1", "--verify", "--export", "x.txt"]);
    assert_eq!(both.code, 2, "{both:?}");
}

/// The commands of that kind in AUDIT.md.
fn documented(language: &str) -> String {
    let document = include_str!("../../AUDIT.md");
    let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_string()
}

/// Runs one in the bed's folder.
fn run(bed: &Bed, program: &str, flag: &str, script: &str) -> Outcome {
    let mut command = Command::new(program);
    command.args([flag, script]).current_dir(bed.dir.path());
    Outcome::of(command.stdin(Stdio::null()).output().unwrap())
}

fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--help").output().is_ok();
    if !there {
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "{program} isn't installed: CI must have it");
        eprintln!("LEFT OUT: {program} isn't installed, so this test didn't run");
    }
    there
}

/// What AUDIT.md tells those who have no linli, to the letter.
#[test]
fn a_file_can_be_checked_without_linli_as_documented() {
    if !have("openssl") || !have("python3") {
        return;
    }
    let bed = Bed::new();
    let (text, _) = export(&bed);
    let signature = format!("set -e\n{}", documented("sh"));
    let good = run(&bed, "sh", "-c", &signature);
    assert_eq!(good.code, 0, "{good:?}");
    let steps = run(&bed, "python3", "-c", &documented("python"));
    assert_eq!(steps.code, 0, "{steps:?}");
    let lines: Vec<_> = steps.out.lines().collect();
    assert_eq!(lines.len(), 3, "{steps:?}");
    assert!(
        lines.iter().all(|line| line.ends_with(" holds")),
        "{steps:?}"
    );

    let path = bed.dir.path().join("P-1.txt");
    let forged = text.replace("\"detail\": \"bank-a/2\"", "\"detail\": \"bank-a/3\"");
    assert_ne!(forged, text);
    std::fs::write(&path, forged).unwrap();
    assert_ne!(run(&bed, "sh", "-c", &signature).code, 0);
    let steps = run(&bed, "python3", "-c", &documented("python"));
    let second = steps.out.lines().nth(1).unwrap();
    assert!(second.ends_with("DOESN'T HOLD"), "{steps:?}");
}

/// What a forger writes into the file can't pass for linli's own words.
#[test]
fn a_file_can_not_speak_for_linli() {
    let bed = Bed::new();
    tamper(
        &bed,
        "UPDATE trace SET who = 'x' WHERE id = 1;
         UPDATE trace SET step = 'a' || char(10) || 'P-1: 3 steps, unbroken.' WHERE id = 1",
    );
    let shown = bed.linli(&["parcel", "P-1", "--verify"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown.out.starts_with("P-1: Entry 1 ('a?P-1: 3 steps"),
        "{shown:?}"
    );
}
