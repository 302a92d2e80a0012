//! The walk test of a bank: each compartment opened before the technician's eyes, what its door
//! showed, and the record of it.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::bed::{Bed, PATIENCE, Running, door};

/// What the bank says when a compartment is opened: of which compartment, its door.
type Says = &'static [(u16, &'static str)];

/// A bank that takes openings and answers each as scripted, in their order.
struct Played {
    bed: Bed,
    running: Running,
    script: VecDeque<Says>,
    answered: usize,
    /// What it said on standard error.
    said: String,
}

impl Played {
    fn start(args: &[&str], state: &str, script: &[Says]) -> Self {
        let bed = Bed::new();
        *bed.daemon.answer.lock().unwrap() = Ok("o-9".to_string());
        bed.command_is(state, None);
        let all = [&["bank", "walk-test", "bank-a"], args].concat();
        let mut command = bed.command(&all);
        command.stdin(Stdio::piped());
        Self {
            running: Running::start(command),
            bed,
            script: script.iter().copied().collect(),
            answered: 0,
            said: String::new(),
        }
    }

    /// Says what the next opening shows, once it was asked for.
    fn answer_one(&mut self) {
        let start = Instant::now();
        while self.bed.daemon.asked.lock().unwrap().len() == self.answered {
            assert!(start.elapsed() < PATIENCE, "nothing was opened");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.answered += 1;
        for (compartment, state) in self.script.pop_front().unwrap() {
            self.bed
                .happens(1, "compartment", &door(*compartment, state));
        }
    }

    /// Answers a question, once it was asked.
    fn types(&mut self, question: &str, answer: &str) {
        let stderr = self.running.child.stderr.as_mut().unwrap();
        let asked = self.said.len();
        while !self.said[asked..].contains(question) {
            let mut chunk = [0; 256];
            let n = stderr.read(&mut chunk).unwrap();
            assert!(n > 0, "{question} wasn't asked: {}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&chunk[..n]));
        }
        let stdin = self.running.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    /// Waits for the end. Returns the exit code, what it printed, and what it said beside.
    fn end(mut self) -> (Option<i32>, String, String, Bed) {
        let mut out = String::new();
        let mut lines = self.running.lines.take().unwrap();
        lines.read_to_string(&mut out).unwrap();
        let (code, err) = self.running.end();
        (code, out, self.said + &err, self.bed)
    }

    /// Answers every opening of the script and waits for the end.
    fn whole(mut self) -> (Option<i32>, String, String, Bed) {
        while !self.script.is_empty() {
            self.answer_one();
        }
        self.end()
    }
}

/// The record that was saved, as programs read it.
fn saved(bed: &Bed) -> Json {
    let files = std::fs::read_dir(bed.dir.path()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let records: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|kind| kind == "json"))
        .collect();
    assert_eq!(records.len(), 1, "{records:?}");
    let mode = std::fs::metadata(&records[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert!(records[0].with_extension("md").is_file());
    serde_json::from_str(&std::fs::read_to_string(&records[0]).unwrap()).unwrap()
}

const RIGHT: [Says; 4] = [
    &[(1, "open"), (1, "closed")],
    &[(2, "open"), (2, "closed")],
    &[(3, "open"), (3, "closed")],
    &[(4, "open"), (4, "closed")],
];

#[test]
fn a_bank_whose_doors_all_open_and_close_has_passed() {
    let played = Played::start(&["--yes", "--occupied"], "opened", &RIGHT);
    let (code, out, err, bed) = played.whole();
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("**PASSED**: 4 of 4 compartments passed."),
        "{out}"
    );
    let record = saved(&bed);
    assert_eq!(record["passed"], true);
    assert_eq!(record["compartments"][3]["verdict"], "passed");
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    assert_eq!(record["operator"], user.unwrap().name);
    let asked = bed.daemon.asked.lock().unwrap();
    assert!(
        asked.iter().all(|(_, _, reason)| reason == "walk-test"),
        "{asked:?}"
    );
}

#[test]
fn what_holds_a_parcel_is_not_opened_and_so_not_all_passed() {
    let script = [RIGHT[0], RIGHT[2], RIGHT[3]];
    let played = Played::start(&["--yes", "--json"], "opened", &script);
    let (code, out, err, bed) = played.whole();
    assert_eq!(code, Some(1), "{out}{err}");
    let record: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(record["compartments"][1]["verdict"], "holds-a-parcel");
    let asked = bed.daemon.asked.lock().unwrap();
    assert!(
        asked.iter().all(|(slot, ..)| slot.compartment != 2),
        "{asked:?}"
    );
}

#[test]
fn polarity_and_wiring_are_learnt() {
    // The door of 3 is known as closed; 1 and 4 aren't known.
    let script: [Says; 3] = [
        &[(1, "closed"), (1, "open")],
        &[(4, "open"), (4, "closed")],
        &[(3, "open"), (3, "closed")],
    ];
    let played = Played::start(&["--yes", "--compartments", "1,3-4"], "opened", &script);
    let (code, out, err, bed) = played.whole();
    assert_eq!(code, Some(1), "{out}{err}");
    let record = saved(&bed);
    let tried = &record["compartments"];
    assert_eq!(tried[0]["verdict"], "inverted", "{record}");
    assert_eq!(
        (&tried[1]["verdict"], &tried[1]["with"]),
        (&"swapped".into(), &4.into())
    );
    assert_eq!(
        (&tried[2]["verdict"], &tried[2]["with"]),
        (&"swapped".into(), &3.into())
    );
    assert_eq!(record["change"].as_array().unwrap().len(), 3, "{record}");
    assert!(out.contains("## To be changed"), "{out}");
}

#[test]
fn eyes_tell_a_jammed_door_from_one_without_a_contact() {
    let args = ["--compartments", "1,3"];
    let mut played = Played::start(&args, "failed", &[&[], &[]]);
    for (eyes, compartment) in [("n", 1), ("y", 3)] {
        played.types(&format!("bank-a/{compartment}: Enter opens it"), "");
        played.answer_one();
        played.types("itself open?", eyes);
        played.types("r repeats it", "");
    }
    let (code, out, err, bed) = played.end();
    assert_eq!(code, Some(1), "{out}{err}");
    let record = saved(&bed);
    assert_eq!(record["compartments"][0]["verdict"], "jammed", "{err}");
    assert_eq!(record["compartments"][1]["verdict"], "no-sensor", "{err}");
    assert!(
        err.contains("Did the door of bank-a/1 itself open?"),
        "{err}"
    );
}

#[test]
fn one_that_failed_can_be_repeated_and_one_skipped() {
    let args = ["--compartments", "1,3", "--wait", "1"];
    // Not closed at first; what is left then is an opening that looks inverted.
    let script: [Says; 2] = [&[(1, "open")], &[(1, "closed"), (1, "open")]];
    let mut played = Played::start(&args, "opened", &script);
    played.types("bank-a/1: Enter opens it", "");
    played.answer_one();
    played.types("r repeats it", "r");
    played.answer_one();
    played.types("r repeats it", "");
    played.types("bank-a/3: Enter opens it", "s");
    let (code, out, err, bed) = played.end();
    assert_eq!(code, Some(1), "{out}{err}");
    let record = saved(&bed);
    assert!(
        err.contains("bank-a/1: seen to open, not to close"),
        "{err}"
    );
    assert_eq!(record["compartments"][0]["verdict"], "inverted", "{err}");
    assert_eq!(record["compartments"][0]["openings"], 2);
    assert_eq!(record["compartments"][1]["verdict"], "skipped");
}

#[test]
fn a_door_with_another_number_is_seen_by_eyes_only() {
    let args = ["--compartments", "1,3"];
    let mut played = Played::start(&args, "opened", &[RIGHT[0], RIGHT[2]]);
    for (compartment, opened) in [(1, "3"), (3, "1")] {
        played.types(&format!("bank-a/{compartment}: Enter opens it"), "");
        played.answer_one();
        played.types("r repeats it", opened);
    }
    let (code, out, err, bed) = played.end();
    assert_eq!(code, Some(1), "{out}{err}");
    let record = saved(&bed);
    assert_eq!(record["asked"], true);
    let first = &record["compartments"][0];
    assert_eq!(
        (&first["verdict"], &first["opened"]),
        (&"other-door".into(), &3.into())
    );
    assert!(
        out.contains("what should open compartment 1 opens 3"),
        "{out}"
    );
}

#[test]
fn a_record_is_saved_also_when_it_is_broken_off() {
    let mut played = Played::start(&["--yes"], "opened", &[RIGHT[0], &[(3, "open")]]);
    played.answer_one();
    played.answer_one();
    let pid = played.running.child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let (code, _, err, bed) = played.end();
    assert_eq!(code, Some(130), "{err}");
    let record = saved(&bed);
    assert_eq!(record["broken_off"], "interrupted");
    assert_eq!(record["compartments"][0]["verdict"], "passed");
    assert_eq!(record["compartments"][3]["verdict"], "not-reached");
}

/// Found by a stranger: his answers ended while a door was opening, and the record said that nothing was
/// opened.
#[test]
fn a_door_that_is_opening_when_the_answers_end_stands_in_the_record() {
    let mut played = Played::start(&["--occupied"], "opened", &[RIGHT[0]]);
    played.types("bank-a/1", "");
    played.running.child.stdin = None;
    played.answer_one();
    let (code, _, err, bed) = played.end();
    assert_eq!(code, Some(1), "{err}");
    let record = saved(&bed);
    assert_eq!(record["compartments"][0]["verdict"], "passed", "{record}");
    assert_eq!(record["compartments"][0]["command"], "o-9");
    assert!(record["broken_off"].is_string(), "{record}");
}

#[test]
fn a_daemon_that_goes_away_breaks_it_off() {
    let mut played = Played::start(&["--yes"], "opened", &[RIGHT[0], &[]]);
    played.answer_one();
    played.answer_one();
    played.bed.stop();
    let (code, _, err, bed) = played.end();
    assert_eq!(code, Some(1), "{err}");
    let why = saved(&bed)["broken_off"].as_str().unwrap().to_string();
    assert!(why.starts_with("the daemon was lost"), "{why}");
}

#[test]
fn what_can_not_be_tried_is_said_before_anything_opens() {
    let bed = Bed::new();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["bank-z"], 4, "Its banks: bank-a"),
        (&["bank-a", "--compartments", "5"], 4, "has 1 to 4"),
        (&["bank-a", "--compartments", "x"], 2, "as in 1-8,12"),
        (&["bank-a", "--compartments", "2"], 1, "--occupied"),
        (&["bank-a", "--out", "nowhere"], 1, "--out DIR"),
    ];
    for (args, code, message) in cases {
        let refused = bed.linli(&[&["bank", "walk-test"], args].concat());
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.err.contains(message), "{refused:?}");
    }
    assert!(bed.daemon.asked.lock().unwrap().is_empty());
}
