//! What is asked of the sync client: the client here is the test's, the way to it is real.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use linli::cloud::{Request, Step, Told};
use linli::control::sync::SYNC_PART;
use linli::control::views::PartReport;
use serde_json::{Value, json};

use crate::bed::{Bed, Daemon, Outcome, logged};

const TOKEN: &str = "tok-8c1f-never-to-be-seen";

/// Serves one request of the command line as the sync client would.
fn serve(daemon: &Arc<Daemon>, answer: impl FnOnce(Request) + Send + 'static) {
    let daemon = Arc::clone(daemon);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        answer(runtime.block_on(daemon.requests.next()));
    });
}

/// Serves `sync now` with these steps.
fn serve_steps(daemon: &Arc<Daemon>, steps: Vec<Step>) {
    serve(daemon, move |request| {
        let Request::Now { account } = request else {
            panic!("{request:?}");
        };
        for step in steps {
            account.blocking_send(step).unwrap();
        }
    });
}

fn held(name: &'static str) -> Step {
    Step {
        name,
        outcome: Ok(format!("found {name}")),
        took_ms: 12,
    }
}

fn failed(name: &'static str) -> Step {
    let told = Told {
        what: "no connection to cloud.example:443 within the time\u{1b}[2J".to_string(),
        remedy: Some("check the antenna".to_string()),
    };
    Step {
        name,
        outcome: Err(told),
        took_ms: 10_000,
    }
}

/// Runs it with this on standard input.
fn typed(bed: &Bed, args: &[&str], text: &str) -> Outcome {
    use std::io::Write as _;
    let mut child = bed
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output: Output = child.wait_with_output().unwrap();
    Outcome::of(output)
}

#[test]
fn every_step_that_holds_is_told_as_it_ends() {
    let bed = Bed::new();
    serve_steps(&bed.daemon, vec![held("name"), held("downlink")]);
    let now = bed.linli(&["sync", "now"]);
    assert_eq!(now.code, 0, "{now:?}");
    let wanted = "\
ok    name        found name (12 ms)
ok    downlink    found downlink (12 ms)

All of it holds.
";
    assert_eq!(now.out, wanted);
    serve_steps(&bed.daemon, vec![held("name"), held("downlink")]);
    let now = bed.linli(&["sync", "now", "--json"]);
    let lines: Vec<Value> = now
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = json!({
        "step": "name", "held": true, "told": "found name", "remedy": null, "took_ms": 12
    });
    assert_eq!((lines.len(), &lines[0]), (2, &first));
}

#[test]
fn a_step_that_does_not_hold_is_a_failure_with_what_to_do() {
    let bed = Bed::new();
    serve_steps(&bed.daemon, vec![held("name"), failed("connection")]);
    let now = bed.linli(&["sync", "now"]);
    assert_eq!(now.code, 1);
    assert!(
        now.out.ends_with(
            "\
FAIL  connection  no connection to cloud.example:443 within the time?[2J (10000 ms)
                  Check the antenna.
"
        ),
        "{now:?}"
    );
    let said = "not all of it holds: connection; what comes after it wasn't tried";
    assert!(now.err.contains(said), "{now:?}");

    serve_steps(&bed.daemon, vec![failed("lanes"), held("downlink")]);
    let now = bed.linli(&["sync", "now", "--json"]);
    assert_eq!((now.code, now.out.lines().count()), (1, 2));
    assert!(
        now.err.contains("not all of it holds: lanes. What"),
        "{now:?}"
    );

    // All that came held, but it wasn't all.
    serve_steps(&bed.daemon, vec![held("name")]);
    let now = bed.linli(&["sync", "now"]);
    assert_eq!(now.code, 1);
    assert!(now.err.contains("ended before its last step"), "{now:?}");
}

#[test]
fn a_token_goes_to_the_client_and_nowhere_else() {
    let bed = Bed::new();
    let file = bed.dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let by_file = ["sync", "enrol", "--token-file", file.to_str().unwrap()];
    for (args, text) in [
        (&["sync", "enrol"][..], format!("  {TOKEN} \n")),
        (&by_file[..], String::new()),
    ] {
        serve(&bed.daemon, |request| {
            let Request::Enrol { token, reply } = request else {
                panic!("{request:?}");
            };
            assert_eq!(token.reveal(), TOKEN);
            reply
                .send(Ok("enrolled as willow-court".to_string()))
                .unwrap();
        });
        let enrolled = typed(&bed, args, &text);
        assert_eq!(enrolled.code, 0, "{enrolled:?}");
        assert_eq!(enrolled.out, "enrolled as willow-court\n");
    }
    assert!(logged().contains("asked to enrol"));
    assert!(!logged().contains(TOKEN));
}

#[test]
fn a_refusal_says_what_to_do_and_the_token_is_not_repeated() {
    let bed = Bed::new();
    serve(&bed.daemon, |request| {
        let Request::Enrol { reply, .. } = request else {
            panic!("{request:?}");
        };
        let told = Told {
            what: "the token isn't good".to_string(),
            remedy: Some("ask the operator for another".to_string()),
        };
        reply.send(Err(told)).unwrap();
    });
    let refused = typed(&bed, &["sync", "enrol"], TOKEN);
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.err,
        "error: the token isn't good. Ask the operator for another\n"
    );
    for (text, said) in [
        ("\n", "no token was given"),
        (
            &"x".repeat(300),
            "a token is one line of 1 to 256 characters",
        ),
    ] {
        let wrong = typed(&bed, &["sync", "enrol"], text);
        assert_eq!(wrong.code, 2, "{wrong:?}");
        assert!(wrong.err.contains(said), "{wrong:?}");
        assert!(!wrong.err.contains("xxx"), "{wrong:?}");
    }
    let missing = bed.linli(&["sync", "enrol", "--token-file", "/nowhere/token"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.err.contains("/nowhere/token can't be read"),
        "{missing:?}"
    );
    let argument = bed.linli(&["sync", "enrol", TOKEN]);
    assert_eq!(argument.code, 2, "a token is never an argument");
}

#[test]
fn a_new_epoch_is_started_only_by_somebody_who_means_it() {
    let bed = Bed::new();
    let not = bed.linli(&["sync", "restored"]);
    assert_eq!(not.code, 2);
    assert!(not.err.contains("This starts a new epoch."), "{not:?}");
    assert!(not.err.contains("add --yes"), "{not:?}");
    serve(&bed.daemon, |request| {
        let Request::NewEpoch { reply } = request else {
            panic!("{request:?}");
        };
        reply
            .send(Ok("epoch 1795338202 has begun".to_string()))
            .unwrap();
    });
    let done = bed.json(&["sync", "restored", "--yes"]);
    assert_eq!(done, json!({"told": "epoch 1795338202 has begun"}));
    serve(&bed.daemon, |request| {
        let Request::ChangeKey { reply } = request else {
            panic!("{request:?}");
        };
        // It ends in the middle.
        drop(reply);
    });
    let ended = bed.linli(&["sync", "rotate-key"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("ended before it could answer"),
        "{ended:?}"
    );
}

#[test]
fn without_a_cloud_there_is_nobody_to_ask() {
    let bed = Bed::new();
    bed.daemon.sync.store(false, Ordering::SeqCst);
    for args in [
        &["sync", "now"][..],
        &["sync", "rotate-key"],
        &["sync", "restored", "--yes"],
    ] {
        let told = bed.linli(args);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.err.contains("add [cloud] with its url"), "{told:?}");
    }
}

#[test]
fn a_client_that_cannot_run_says_why_at_once() {
    let bed = Bed::new();
    bed.daemon.report.lock().unwrap().parts = vec![PartReport {
        name: SYNC_PART.to_string(),
        running: false,
        restarts: 3,
        last_error: Some("gateway.key can be read by others: chmod 600 it".to_string()),
    }];
    let told = bed.linli(&["sync", "now"]);
    assert_eq!(told.code, 1);
    assert!(
        told.err
            .contains("isn't running: gateway.key can be read by others"),
        "{told:?}"
    );
}

#[test]
fn too_many_who_ask_are_told_so() {
    let bed = Bed::new();
    let mut waiting = Vec::new();
    for _ in 0..linli::cloud::REQUESTS_MAX {
        let (reply, answer) = tokio::sync::oneshot::channel();
        waiting.push(answer);
        bed.daemon
            .requests
            .ask(Request::ChangeKey { reply })
            .unwrap();
    }
    let busy = bed.linli(&["sync", "rotate-key"]);
    assert_eq!(busy.code, 1);
    assert!(busy.err.contains("try again in a minute"), "{busy:?}");
}
