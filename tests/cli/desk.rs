//! What the staff does: checked, recorded with the operator's name, and answered in words. A pickup
//! code is seen by nobody but the journal's digest and the person who asked.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};

use cloud_protocol::uplink::ClaimKind;
use estate::Told;
use estate::input::{Claim, DeskAct};
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::bed::{Asked, Bed, NOW_MS, Outcome, logged, typed};

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn told(text: &str) -> Told {
    Told {
        parcel: Some("P-1".to_string()),
        text: text.to_string(),
        ..Told::default()
    }
}

/// A bed whose journal says that.
fn saying(told: Result<Told, &str>) -> Bed {
    let bed = Bed::new();
    *bed.daemon.told.lock().unwrap() = told.map_err(str::to_string);
    bed
}

/// What the journal was asked for, once.
fn asked(bed: &Bed) -> Asked {
    let mut acts = bed.daemon.acts.lock().unwrap();
    assert_eq!(acts.len(), 1, "{acts:?}");
    let (operator, asked) = acts.remove(0);
    assert_eq!(operator, me());
    asked
}

fn me() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    user.unwrap().name
}

fn hand_over(digits: &str) -> Asked {
    Asked::Desk(DeskAct::HandOver {
        desk: ident("desk-1"),
        typed: typed("desk-1", digits),
    })
}

fn finish(child: Child) -> Outcome {
    Outcome::of(child.wait_with_output().unwrap())
}

/// What anybody on the machine can see of a process.
fn seen_of(child: &Child) -> String {
    let read = |what: &str| {
        let path = format!("/proc/{}/{what}", child.id());
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    };
    format!("{}\n{}", read("cmdline"), read("environ"))
}

#[test]
fn a_code_that_comes_down_a_pipe_is_seen_nowhere() {
    const CODE: &str = "73 51-9264";
    let bed = saying(Ok(told("hand over: P-1, P-2")));
    let mut command = bed.command(&["desk", "hand-over"]);
    command.stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let seen = seen_of(&child);
    let mut pipe = child.stdin.take().unwrap();
    writeln!(pipe, "{CODE}").unwrap();
    let done = finish(child);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("Hand over: P-1, P-2.\n", "")
    );
    assert_eq!(asked(&bed), hand_over("73519264"));
    let log = logged();
    assert!(log.contains("act=\"hand-over\""), "{log}");
    for text in [&seen, &log] {
        for secret in [CODE, "73519264"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// `linli desk hand-over` on a terminal of its own, up to the question.
struct AtTerminal {
    child: Child,
    terminal: File,
    slave: std::os::fd::OwnedFd,
}

impl AtTerminal {
    fn start(bed: &Bed) -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut command = bed.command(&["desk", "hand-over"]);
        let mut child = command
            .stdin(Stdio::from(pty.slave.try_clone().unwrap()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut question = Vec::new();
        let stderr = child.stderr.as_mut().unwrap();
        while !question.ends_with(b"shown): ") {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{question:?}");
            question.push(byte[0]);
        }
        Self {
            child,
            terminal: File::from(pty.master),
            slave: pty.slave,
        }
    }

    fn echoes(&self) -> bool {
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    }
}

#[test]
fn a_code_that_is_typed_is_not_shown_and_the_terminal_is_as_before() {
    let bed = saying(Ok(told("hand over: P-1")));
    let mut at = AtTerminal::start(&bed);
    assert!(!at.echoes());
    at.terminal.write_all(b"55820\x7f1946\r").unwrap();
    let seen = seen_of(&at.child);
    let status = at.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(at.echoes());
    assert_eq!(asked(&bed), hand_over("55821946"));
    // Something that is there to be read, so that reading ends even if nothing was echoed.
    let mut slave = File::from(at.slave.try_clone().unwrap());
    slave.write_all(b"END").unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b"END") {
        let mut some = [0; 64];
        let count = at.terminal.read(&mut some).unwrap();
        shown.extend_from_slice(&some[..count]);
    }
    assert_eq!(shown, b"END");
    assert!(!seen.contains("55821946"), "{seen}");
    assert!(!logged().contains("55821946"));
}

#[test]
fn ctrl_c_at_the_question_asks_nothing_and_leaves_the_terminal_as_before() {
    let bed = saying(Ok(told("hand over: P-1")));
    let mut at = AtTerminal::start(&bed);
    at.terminal.write_all(b"12\x03").unwrap();
    assert_eq!(at.child.wait().unwrap().code(), Some(130));
    assert!(at.echoes());
    assert!(bed.daemon.acts.lock().unwrap().is_empty());
}

#[test]
fn a_code_in_the_arguments_works_with_a_warning() {
    let bed = saying(Ok(told("hand over: P-1")));
    let done = bed.linli(&["desk", "hand-over", "482 915", "--desk", "desk-1"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.err
            .starts_with("note: a code given as an argument shows"),
        "{done:?}"
    );
    assert_eq!(asked(&bed), hand_over("482915"));
    let typed_wide = bed.linli(&["desk", "hand-over", "４８２－９１５"]);
    assert_eq!(typed_wide.code, 0, "{typed_wide:?}");
    assert_eq!(asked(&bed), hand_over("482915"));
    let help = bed.linli(&["desk", "hand-over", "--help"]);
    assert!(help.out.contains("list of processes"), "{help:?}");
}

#[test]
fn what_is_no_code_never_reaches_the_journal_and_is_not_repeated() {
    let bed = saying(Ok(told("hand over: P-1")));
    for wrong in ["48291x", "12345678123456781", "٤٨٢٩"] {
        let refused = bed.linli(&["desk", "hand-over", wrong]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("1 to 16 digits"), "{refused:?}");
        assert!(!refused.err.contains(wrong), "{refused:?}");
    }
    let nothing = bed.linli(&["desk", "hand-over"]);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    assert!(nothing.err.contains("no code was given"), "{nothing:?}");
    let mut raw = bed.connect();
    for code in [r#""48291x""#, "482915", r#"["482915"]"#] {
        raw.say(&format!(
            r#"{{"request":"act","act":"hand-over","code":{code}}}"#
        ));
        let refused = raw.hear().unwrap();
        assert_eq!(refused["error"]["kind"], "bad-request", "{refused}");
        assert!(!refused.to_string().contains("4829"), "{refused}");
    }
    assert!(bed.daemon.acts.lock().unwrap().is_empty());
}

#[test]
fn a_refusal_is_1_with_the_reason_and_the_tries_that_are_left() {
    let bed = saying(Err("wrong code: 4 more tries before desk-1 is locked"));
    let refused = bed.linli(&["desk", "hand-over", "90210777"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .err
            .ends_with("error: wrong code: 4 more tries before desk-1 is locked\n"),
        "{refused:?}"
    );
    assert_eq!(refused.out, "");
    assert!(!logged().contains("90210777"));
}

#[test]
fn each_act_reaches_the_journal_as_it_was_meant() {
    let parcel = || "P-1".to_string();
    let desk = || ident("desk-1");
    let cases: [(&[&str], DeskAct); 5] = [
        (
            &["desk", "receive", "P-1", "--courier", "sf-22"],
            DeskAct::Receive {
                desk: desk(),
                parcel: parcel(),
                courier: Some("sf-22".to_string()),
            },
        ),
        (
            &[
                "desk",
                "claim",
                "P-1",
                "--kind",
                "damaged",
                "--note",
                " two eggs ",
                "--paid",
                "12.50",
                "--keeps",
            ],
            DeskAct::Claim {
                desk: desk(),
                parcel: parcel(),
                claim: Claim {
                    kind: ClaimKind::Damaged,
                    note: "two eggs".to_string(),
                    compensation_fen: Some(1_250),
                    keeps: true,
                    return_to: None,
                },
            },
        ),
        (
            &["desk", "retrieve", "P-1"],
            DeskAct::Retrieve {
                parcel: parcel(),
                courier: None,
            },
        ),
        (&["reissue", " P-1 "], DeskAct::Reissue { parcel: parcel() }),
        (
            &["extend", "P-1", "--hours", "24"],
            DeskAct::Extend {
                parcel: parcel(),
                deadline: NOW_MS + 86_400_000,
            },
        ),
    ];
    for (args, wanted) in cases {
        let bed = saying(Ok(told("well")));
        let done = bed.linli(args);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(asked(&bed), Asked::Desk(wanted));
    }
}

#[test]
fn a_deadline_is_a_time_that_is_yet_to_come() {
    let bed = saying(Ok(told("")));
    let until = bed.linli(&["extend", "P-1", "--until", "2026-11-23 09:00"]);
    assert_eq!(
        until.out, "P-1 may wait until 2026-11-23 09:00:00 (UTC+08:00).\n",
        "{until:?}"
    );
    let Asked::Desk(DeskAct::Extend { deadline, .. }) = asked(&bed) else {
        panic!("not an extension");
    };
    assert_eq!(deadline, 1_795_395_600_000);
    let wrong: [&[&str]; 6] = [
        &["extend", "P-1", "--until", "2026-11-22 17:00"],
        &["extend", "P-1", "--until", "soon"],
        &["extend", "P-1"],
        &["extend", "P-1", "--hours", "0"],
        &["extend", "P-1", "--hours", "800"],
        &[
            "extend",
            "P-1",
            "--hours",
            "1",
            "--until",
            "2026-11-23 01:00",
        ],
    ];
    for args in wrong {
        assert_eq!(bed.linli(args).code, 2, "{args:?}");
    }
    let limits = [
        (["extend", "P-1", "--hours", "-3"], "1 to 744 (31 days)"),
        (["extend", "P-1", "--hours", "800"], "1 to 744 (31 days)"),
        (
            ["extend", "P-1", "--until", "9999-12-31T23:59:59Z"],
            "too far away",
        ),
    ];
    for (args, wanted) in limits {
        let refused = bed.linli(&args);
        assert!(refused.err.contains(wanted), "{refused:?}");
        assert!(!refused.err.contains("-- -3"), "{refused:?}");
    }
    bed.daemon.report.lock().unwrap().clock.quality = "unknown".to_string();
    let refused = bed.linli(&["extend", "P-1", "--hours", "1"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("--until"), "{refused:?}");
    assert!(bed.daemon.acts.lock().unwrap().is_empty());
}

#[test]
fn a_code_that_is_issued_is_shown_once_with_where_it_is_good() {
    let code = Told {
        code: Some(Secret::new("60318842")),
        ..told("expected back as P-1-R, with the code")
    };
    let bed = saying(Ok(code));
    let args = [
        "desk",
        "claim",
        "P-1",
        "--kind",
        "damaged",
        "--note",
        "wet",
        "--return-to",
        "bank-a",
    ];
    let done = bed.linli(&args);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("\n    6031 8842\n"), "{done:?}");
    assert!(
        done.out.contains("It is good at bank-a (Gate 1)."),
        "{done:?}"
    );
    let json = bed.json(&args);
    assert_eq!(json["code"], "60318842");
    assert_eq!(json["good_at"]["point"], "bank-a");
    assert_eq!(json["operator"], me());
    let reissued = bed.linli(&["reissue", "P-1"]);
    assert!(
        reissued.out.contains("The old code is dead"),
        "{reissued:?}"
    );
    assert!(
        reissued.out.contains("It is good at bank-a (Gate 1)."),
        "{reissued:?}"
    );
    assert!(!logged().contains("60318842"));
}

#[test]
fn a_compartment_that_opens_for_it_is_followed() {
    let bed = saying(Ok(Told {
        command: Some("o-9".to_string()),
        ..told("bank-a/2 opens: bring P-1 to desk-1")
    }));
    bed.command_is("opened", None);
    let done = bed.linli(&["desk", "transfer", "P-1"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.starts_with("bank-a/2 is open, after "), "{done:?}");
    assert!(
        done.out.ends_with("bank-a/2 opens: bring P-1 to desk-1.\n"),
        "{done:?}"
    );
    assert_eq!(
        done.err,
        format!("Asked for bank-a/2 as {} (command o-9)\n", me())
    );
    let json = bed.json(&["desk", "transfer", "P-1"]);
    assert_eq!(json["opening"]["state"], "opened");
    assert_eq!(json["opening"]["slot"], "bank-a/2");
    bed.command_is("expired", None);
    let late = bed.linli(&["desk", "retrieve", "P-1"]);
    assert_eq!(late.code, 1, "{late:?}");
    assert!(
        late.err.contains("before the command left this box"),
        "{late:?}"
    );
}

#[test]
fn nothing_is_asked_of_a_bank_that_is_not_there() {
    let bed = saying(Ok(told("well")));
    bed.daemon.away.lock().unwrap().push("bank-a".to_string());
    for args in [
        &["desk", "transfer", "P-1"][..],
        &["desk", "retrieve", "P-1"],
        &["open", "bank-a/2", "--reason", "x"],
    ] {
        let refused = bed.linli(args);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.err.contains("bank-a isn't connected"),
            "{refused:?}"
        );
    }
    assert!(bed.daemon.acts.lock().unwrap().is_empty());
    assert!(bed.daemon.asked.lock().unwrap().is_empty());
}

#[test]
fn a_compartment_is_taken_out_of_use_and_put_back() {
    let bed = saying(Ok(Told::default()));
    let done = bed.linli(&[
        "compartment",
        "disable",
        "bank-a/3",
        "--reason",
        "wet inside",
    ]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.out.contains("linli compartment enable bank-a/3"),
        "{done:?}"
    );
    let slot = "bank-a/3".parse().unwrap();
    let reason = Some("wet inside".to_string());
    assert_eq!(asked(&bed), Asked::Disable(slot, reason));
    let done = bed.linli(&["compartment", "enable", "bank-a/3"]);
    assert!(done.out.starts_with("bank-a/3 is in use again"), "{done:?}");
    assert_eq!(
        asked(&bed),
        Asked::Disable("bank-a/3".parse().unwrap(), None)
    );
}

#[test]
fn a_reason_that_is_replaced_is_said() {
    let bed = saying(Ok(Told::default()));
    let disable = [
        "compartment",
        "disable",
        "bank-a/3",
        "--reason",
        "broken hinge",
    ];
    assert!(!bed.linli(&disable).out.contains("already"));
    bed.store
        .conn
        .execute(
            "UPDATE compartments SET disabled = 'wet inside' WHERE compartment = 3",
            [],
        )
        .unwrap();
    let done = bed.linli(&disable);
    assert!(
        done.out
            .contains("It was so already: the reason was 'wet inside', and is replaced."),
        "{done:?}"
    );
    assert_eq!(bed.json(&disable)["before"], "wet inside");
}

#[test]
fn what_can_not_be_asked_never_reaches_the_journal() {
    let bed = saying(Ok(told("well")));
    let claim = ["desk", "claim", "P-1", "--kind", "damaged", "--note"];
    let with = |more: &[&'static str]| [&claim[..], more].concat();
    let cases: Vec<(Vec<&str>, i32, &str)> = vec![
        (
            vec!["desk", "receive", "P-1", "--desk", "desk-9"],
            4,
            "Its desks: desk-1",
        ),
        (vec!["desk", "receive", " "], 2, "a parcel's id is one line"),
        (
            vec!["desk", "receive", "P-1", "--courier", "a\nb"],
            2,
            "a courier's name is one line",
        ),
        (with(&[""]), 2, "a note is one line"),
        (with(&["x", "--paid", "10000.01"]), 2, "12.50"),
        (with(&["x", "--paid", "12.505"]), 2, "12.50"),
        (with(&["x", "--paid", "-5"]), 2, "12.50"),
        (
            with(&["x", "--return-to", "bank-z"]),
            4,
            "no bank or desk 'bank-z'",
        ),
        (
            with(&["x", "--keeps", "--return-to", "bank-a"]),
            2,
            "cannot be used with",
        ),
        (
            vec!["desk", "claim", "P-1", "--kind", "late", "--note", "x"],
            2,
            "possible values",
        ),
        (
            vec!["desk", "claim", "P-1", "--kind", "refused"],
            2,
            "--note",
        ),
        (vec!["compartment", "disable", "bank-a/3"], 2, "--reason"),
        (
            vec!["compartment", "disable", "bank-a/3", "--reason", " "],
            2,
            "needs a reason",
        ),
        (
            vec!["compartment", "enable", "bank-a/9"],
            4,
            "compartments 1 to 4",
        ),
        (
            vec!["commands", "--compartment", "bank-z/1"],
            4,
            "Its banks: bank-a",
        ),
        (
            vec!["desk", "list", "--desk", "desk-9"],
            4,
            "Its desks: desk-1",
        ),
    ];
    for (args, code, message) in cases {
        let refused = bed.linli(&args);
        assert_eq!(refused.code, code, "{args:?}: {refused:?}");
        assert!(refused.err.contains(message), "{args:?}: {refused:?}");
        assert_eq!(refused.out, "");
    }
    assert!(bed.daemon.acts.lock().unwrap().is_empty());
}

#[test]
fn a_parcel_that_nobody_knows_is_4() {
    let bed = saying(Err("unknown"));
    for args in [
        &["reissue", "P-404"][..],
        &["extend", "P-404", "--hours", "1"],
        &["desk", "retrieve", "P-404"],
    ] {
        let refused = bed.linli(args);
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(
            refused.err.contains("no parcel 'P-404' is known"),
            "{refused:?}"
        );
    }
    let known = bed.linli(&["reissue", "P-1"]);
    assert_eq!((known.code, known.err.as_str()), (1, "error: unknown\n"));
}
