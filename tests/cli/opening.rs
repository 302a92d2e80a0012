//! A compartment opened by hand: recorded with the operator's name, followed to what became of it.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::bed::{Bed, Outcome, PATIENCE, set_command};

const ARGS: [&str; 4] = ["open", "bank-a/2", "--reason", "the resident lost the code"];

fn willing() -> Bed {
    let bed = Bed::new();
    *bed.daemon.answer.lock().unwrap() = Ok("o-9".to_string());
    bed
}

fn me() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    user.unwrap().name
}

#[test]
fn it_is_recorded_with_the_operator_s_name_and_reported_when_the_door_opens() {
    let bed = willing();
    bed.command_is("sent", None);
    let path = bed.dir.path().join("linli.db");
    let daemon = std::sync::Arc::clone(&bed.daemon);
    let opens = std::thread::spawn(move || {
        let start = Instant::now();
        while daemon.asked.lock().unwrap().is_empty() {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        set_command(&Connection::open(path).unwrap(), "opened", None);
    });
    let done = bed.linli(&ARGS);
    opens.join().unwrap();
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.starts_with("bank-a/2 is open, after "), "{done:?}");
    let asked = format!("Asked for bank-a/2 as {} (command o-9)\n", me());
    assert_eq!(done.err, asked);
    let (slot, operator, reason) = bed.daemon.asked.lock().unwrap()[0].clone();
    assert_eq!(slot.to_string(), "bank-a/2");
    assert_eq!(operator, me());
    assert_eq!(reason, "the resident lost the code");
}

#[test]
fn a_claim_stands_beside_the_kernel_s_word() {
    let bed = willing();
    bed.command_is("opened", None);
    let mut command = bed.command(&ARGS);
    command.env("SUDO_USER", "wang");
    assert_eq!(Outcome::of(command.output().unwrap()).code, 0);
    let (_, operator, _) = bed.daemon.asked.lock().unwrap()[0].clone();
    assert_eq!(operator, format!("{} (claims wang)", me()));
}

#[test]
fn what_the_controller_says_decides() {
    let bed = willing();
    bed.command_is("refused", Some("too late"));
    let refused = bed.linli(&ARGS);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("wasn't opened: its controller refused. It says: too late."),
        "{refused:?}"
    );
    bed.command_is("failed", None);
    let failed = bed.linli(&ARGS);
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("tried in vain"), "{failed:?}");
    bed.command_is("done", None);
    let done = bed.linli(&ARGS);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.out.contains("its door wasn't seen open yet"),
        "{done:?}"
    );
}

#[test]
fn a_door_that_is_closed_again_already_was_opened() {
    let bed = willing();
    bed.command_is("closed", None);
    let done = bed.linli(&ARGS);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.out.contains("was opened and is closed again"),
        "{done:?}"
    );
}

#[test]
fn a_command_that_never_left_the_box_opened_nothing() {
    let bed = willing();
    bed.command_is("expired", None);
    let late = bed.linli(&ARGS);
    assert_eq!(late.code, 1, "{late:?}");
    assert!(
        late.err
            .contains("its time ended before the command left this box"),
        "{late:?}"
    );
}

#[test]
fn silence_is_said_to_be_unknown() {
    for state in ["unknown", "sent", "requested"] {
        silence(state);
    }
}

fn silence(state: &str) {
    let bed = willing();
    bed.command_is(state, None);
    let silent = bed.linli(&ARGS);
    assert_eq!(silent.code, 1);
    assert!(
        silent.err.contains("whether it opened isn't known"),
        "{silent:?}"
    );
    assert_eq!(silent.out, "");
}

#[test]
fn programs_get_one_object() {
    let bed = willing();
    bed.command_is("opened", Some("ok"));
    let opening = bed.json(&ARGS);
    assert_eq!(opening["command"], "o-9");
    assert_eq!(opening["slot"], "bank-a/2");
    assert_eq!(opening["operator"], me());
    assert_eq!(
        (&opening["state"], &opening["answer"]),
        (&"opened".into(), &"ok".into())
    );
    assert!(opening["waited_ms"].is_u64());
}

#[test]
fn a_refusal_of_the_journal_is_passed_on() {
    let bed = Bed::new();
    let refused = bed.linli(&ARGS);
    assert_eq!(refused.code, 1);
    assert_eq!(refused.err, "error: the gateway is stopping\n");
}

#[test]
fn what_can_not_be_asked_never_reaches_the_journal() {
    let bed = willing();
    let cases: [(&[&str], i32, &str); 7] = [
        (
            &["open", "bank-z/1", "--reason", "x"],
            4,
            "Its banks: bank-a",
        ),
        (
            &["open", "bank-a/5", "--reason", "x"],
            4,
            "compartments 1 to 4",
        ),
        (
            &["open", "bank-a/0", "--reason", "x"],
            2,
            "write BANK/NUMBER",
        ),
        (&["open", "bank-a", "--reason", "x"], 2, "write BANK/NUMBER"),
        (&["open", "bank-a/2"], 2, "--reason"),
        (&["open", "bank-a/2", "--reason", "  "], 2, "needs a reason"),
        (
            &["open", "bank-a/2", "--reason", "two\nlines"],
            2,
            "one line",
        ),
    ];
    for (args, code, message) in cases {
        let refused = bed.linli(args);
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.err.contains(message), "{refused:?}");
        assert_eq!(refused.out, "");
    }
    assert!(bed.daemon.asked.lock().unwrap().is_empty());
}
