//! A day of the staff with a real daemon and a real cloud: parcels taken in, handed over by code,
//! claimed; and no code in the log or the store, whatever is logged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::process::Output;
use std::sync::Arc;

use common::{Setup, ident, text, wait_until};
use firmware_protocols::Value;
use firmware_protocols::value::map;
use reference_cloud::{Cloud, Config};
use simulator::device::Spec;
use simulator::front::Answer;
use simulator::{Bank, Login, Tempo};

async fn announce(cloud: &Cloud, setup: &Setup, parcel: &str, point: &str) {
    let item = format!(
        r#"{{"kind":"parcel.expected","parcel":"{parcel}","recipient":"r-1","size":"S",
            "zone":"ambient","point":"{point}","deadline":4000000000000,"consent":true}}"#
    );
    let item = Value::from_json(item.as_bytes()).unwrap();
    cloud.push_value(&ident("test-site"), item).await.unwrap();
    wait_until("the parcel to be taken on", async || {
        let known = setup.cli(&["parcel", parcel]).status.success();
        known.then_some(())
    })
    .await;
}

fn done(setup: &Setup, args: &[&str]) -> String {
    let out = setup.cli(args);
    assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

/// Another code of the same length.
fn other(code: &str) -> String {
    let turned = |digit: char| if digit == '9' { '0' } else { '9' };
    code.chars().map(turned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_staff_takes_in_hands_over_and_takes_down_and_no_code_is_left_lying() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    setup.trace = true;
    // Long enough not to be found by chance among the log's times.
    setup.more = "[rules]\ncode_min_digits = 8\n".to_owned();
    let gateway = tokio::task::block_in_place(|| setup.start());
    for parcel in ["p-1", "p-2"] {
        announce(&cloud, &setup, parcel, "desk-1").await;
        done(&setup, &["desk", "receive", parcel, "--courier", "sf-1"]);
    }
    let here = setup.json(&["desk", "list"]);
    assert_eq!(here.as_array().unwrap().len(), 2, "{here}");
    assert_eq!(here[0]["desk"], "desk-1");

    let reissued = setup.json(&["reissue", "p-1"]);
    let code = reissued["code"].as_str().unwrap().to_owned();
    assert_eq!(reissued["good_at"]["point"], "desk-1");
    let wrong = setup.hand_over(&other(&code));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("4"), "{}", text(&wrong.stderr));
    let grouped = format!("{} {}", &code[..3], &code[3..]);
    let given = setup.hand_over(&grouped);
    assert!(given.status.success(), "{}", text(&given.stderr));
    let words = text(&given.stdout);
    assert!(words.contains("p-1") && words.contains("p-2"), "{words}");
    for parcel in ["p-1", "p-2"] {
        let history = setup.json(&["parcel", parcel]);
        assert_eq!(history["state"], "collected", "{history}");
        let steps = history["trace"].as_array().unwrap();
        let by_staff = |step: &&serde_json::Value| {
            let who = step["who"].as_str().unwrap();
            who.starts_with("operator ") && who.ends_with(" at desk-1")
        };
        assert!(steps.iter().any(|step| by_staff(&step)), "{history}");
    }

    let claim = [
        "desk",
        "claim",
        "p-1",
        "--kind",
        "damaged",
        "--note",
        "two eggs broken",
        "--paid",
        "3.20",
        "--return-to",
        "bank-a",
    ];
    let claimed = setup.json(&claim);
    let return_code = claimed["code"].as_str().unwrap().to_owned();
    assert_eq!(claimed["good_at"]["point"], "bank-a");
    let history = setup.json(&["parcel", "p-1"]).to_string();
    assert!(history.contains("3.20 yuan"), "{history}");

    let reason = ["compartment", "disable", "bank-a/2", "--reason", "wet"];
    done(&setup, &reason);
    let banks = setup.json(&["banks"]);
    assert_eq!(banks[0]["compartments"][1]["state"], "disabled");
    assert_eq!(banks[0]["compartments"][1]["disabled"], "wet");
    done(&setup, &["compartment", "enable", "bank-a/2"]);
    let opened = setup.cli(&["open", "bank-a/2", "--reason", "x"]);
    assert_eq!(opened.status.code(), Some(1));
    assert_eq!(setup.json(&["commands"]), serde_json::json!([]));

    let log = setup.log_text();
    assert!(log.contains("hand-over") && log.contains("TRACE"), "{log}");
    gateway.stop();
    let store = text(&std::fs::read(setup.store()).unwrap());
    for code in [&code, &return_code, &other(&code), &grouped] {
        assert!(!log.contains(code.as_str()), "a code stands in the log");
        assert!(!store.contains(code.as_str()), "a code stands in the store");
    }
}

/// A courier, by badge, who is known once the parcel that is announced after him is.
async fn announce_courier(cloud: &Cloud, name: &str, badge: &str) {
    let digest = cloud_protocol::badge_digest(badge).to_vec();
    let item = map([
        ("kind", Some("courier".into())),
        ("courier", Some(name.into())),
        ("badge", Some(Value::Bytes(digest))),
        ("valid_until", Some(4_000_000_000_000_i64.into())),
    ]);
    cloud.push_value(&ident("test-site"), item).await.unwrap();
}

/// Runs the CLI where waiting is allowed, while `meanwhile` goes on.
async fn beside<T>(
    setup: &Arc<Setup>,
    args: &'static [&'static str],
    meanwhile: impl Future<Output = T>,
) -> (Output, T) {
    let here = Arc::clone(setup);
    let command = tokio::task::spawn_blocking(move || here.cli(args));
    let (out, seen) = tokio::join!(command, meanwhile);
    (out.unwrap(), seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_is_brought_from_its_locker_to_the_desk_where_its_code_works_on() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = tokio::task::block_in_place(|| setup.start());
    announce_courier(&cloud, "carl", "B-77").await;
    announce(&cloud, &setup, "p-1", "bank-a").await;
    let login = Login {
        device: ident("bank-a"),
        password: None,
    };
    let spec = Spec::new(login, "LB-12");
    let bank = Bank::start(spec, 12, true, setup.address(), Tempo::real());
    bank.device().until_online().await;
    let number = {
        let turn = bank.turn().await;
        turn.scan_badge("B-77").await;
        let Answer::Opened(number) = turn.scan_waybill("p-1").await else {
            panic!("nothing opened");
        };
        assert!(bank.put(number, "p-1"));
        turn.close(|| bank.close(number)).await;
        number
    };
    let code = setup.json(&["reissue", "p-1"])["code"].clone();
    let code = code.as_str().unwrap();

    let setup = Arc::new(setup);
    let carry = async {
        wait_until("the door to open", async || {
            bank.compartments()[usize::from(number) - 1]
                .open
                .then_some(())
        })
        .await;
        let taken = bank.take(number, |parcel| parcel == "p-1");
        bank.close(number);
        taken
    };
    let (moved, taken) = beside(&setup, &["desk", "transfer", "p-1"], carry).await;
    assert!(moved.status.success(), "{}", text(&moved.stderr));
    let words = text(&moved.stdout);
    assert!(words.contains("bring p-1 to desk-1"), "{words}");
    assert_eq!(taken.as_deref(), Some("p-1"));
    let here = wait_until("the parcel to be at the desk", async || {
        let list = setup.json(&["desk", "list"]);
        (!list[0].is_null()).then_some(list)
    })
    .await;
    assert_eq!(
        (&here[0]["parcel"], &here[0]["desk"]),
        (&"p-1".into(), &"desk-1".into())
    );

    let given = setup.hand_over(code);
    assert!(given.status.success(), "{}", text(&given.stderr));
    let commands = setup.json(&["commands"]);
    let of = |index: usize, field: &str| commands[index][field].as_str().unwrap().to_owned();
    assert_eq!(
        (of(0, "state"), of(1, "state")),
        ("closed".into(), "closed".into())
    );
    assert!(of(0, "who").starts_with("operator "), "{commands}");
    assert_eq!(of(1, "who"), "courier carl");
    assert!(commands[0]["sent_ms"].as_i64() <= commands[0]["opened_ms"].as_i64());
    assert!(commands[0]["opened_ms"].as_i64() <= commands[0]["closed_ms"].as_i64());
    bank.device().stop().await;
    gateway.stop();
}
