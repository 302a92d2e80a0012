//! The real binary, end to end: what a device publishes a technician sees; what mustn't pass
//! doesn't; one store has one owner.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Setup, ident, text, wait_for};
use firmware_protocols::event::{Direction, Event, Outcome, Secret, When};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Form, Kind, event};
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};

fn somebody_comes(seq: u64, card: &str) -> Event {
    Event {
        boot: 1,
        seq,
        when: When::Unsaid,
        kind: Kind::Access {
            door: ident("gate"),
            outcome: Outcome::Granted,
            direction: Some(Direction::In),
            method: None,
            credential: Some(Secret::new(card)),
        },
    }
}

/// Publishes one payload at QoS 1 over MQTT 5 and returns the PUBACK's reason, or the error.
async fn publish_v5(
    setup: &Setup,
    login: (&str, Option<&str>),
    topic: &str,
    payload: Vec<u8>,
) -> Result<PubAckReason, String> {
    let address = setup.address();
    let broker = rumqttc::Broker::tcp(address.ip().to_string(), address.port());
    let mut options = rumqttc::MqttOptions::new(login.0, broker);
    if let Some(password) = login.1 {
        options.set_credentials(login.0, password.to_owned());
    }
    let (client, mut events) = rumqttc::AsyncClient::builder(options).capacity(8).build();
    let publish = rumqttc::PublishOptions::new(rumqttc::QoS::AtLeastOnce);
    client.publish(topic, payload, publish).await.unwrap();
    let acknowledged = async {
        loop {
            match events.poll().await {
                Ok(rumqttc::Event::Incoming(Packet::PubAck(ack))) => return Ok(ack.reason),
                Ok(_) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    };
    tokio::time::timeout(common::PATIENCE, acknowledged)
        .await
        .expect("an answer in time")
}

/// The same over MQTT 3.1.1, which has no reasons: acknowledged, or the connection's end.
async fn publish_v4(setup: &Setup, device: &str, payload: Vec<u8>) -> Result<(), String> {
    use rumqttc_v4 as v4;
    let address = setup.address();
    let broker = v4::Broker::tcp(address.ip().to_string(), address.port());
    let options = v4::MqttOptions::new(device, broker);
    let (client, mut events) = v4::AsyncClient::builder(options).capacity(8).build();
    let topic = Channel::Event.topic(&ident(device));
    let publish = v4::PublishOptions::new(v4::QoS::AtLeastOnce);
    client.publish(topic, payload, publish).await.unwrap();
    let acknowledged = async {
        loop {
            match events.poll().await {
                Ok(v4::Event::Incoming(v4::Packet::PubAck(_))) => return Ok(()),
                Ok(_) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    };
    tokio::time::timeout(common::PATIENCE, acknowledged)
        .await
        .expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_and_both_forms_reach_the_technician() {
    let mut setup = Setup::new();
    let _gateway = setup.start();
    let topic = |device: &str| Channel::Event.topic(&ident(device));
    for (device, form) in [("door-1", Form::Cbor), ("door-2", Form::Json)] {
        let payload = event::encode(&[somebody_comes(1, "04:a2:19:77")], form);
        let acknowledged = publish_v5(&setup, (device, None), &topic(device), payload).await;
        assert_eq!(acknowledged, Ok(PubAckReason::Success));
    }
    for (device, form) in [("door-3", Form::Cbor), ("door-4", Form::Json)] {
        let payload = event::encode(&[somebody_comes(1, "04:a2:19:77")], form);
        publish_v4(&setup, device, payload).await.unwrap();
    }
    let events = setup.json(&["events", "--kind", "access"]);
    let mut devices: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["device"].as_str().unwrap())
        .collect();
    devices.sort_unstable();
    assert_eq!(devices, ["door-1", "door-2", "door-3", "door-4"]);
    // The card's number is nowhere, in no form; the four digests are the same.
    assert!(!events.to_string().contains("04:a2:19"));
    let digests: std::collections::BTreeSet<String> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["body"]["credential"].to_string())
        .collect();
    assert_eq!(digests.len(), 1, "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_gets_a_reason_and_a_row() {
    let mut setup = Setup::new();
    let _gateway = setup.start();
    let topic = "linli/v1/door-1/event";
    let hello = br#"{"kind":"hello","boot":1,"seq":1,"model":"m","firmware":"1"}"#;
    let clock = |seq: u64, at: i64| {
        format!(r#"{{"kind":"alarm","boot":1,"seq":{seq},"at":{at},"alarm":"x"}}"#).into_bytes()
    };
    let cases: Vec<(Vec<u8>, PubAckReason)> = vec![
        (hello.to_vec(), PubAckReason::Success),
        (b"{".to_vec(), PubAckReason::PayloadFormatInvalid),
        (b"".to_vec(), PubAckReason::PayloadFormatInvalid),
        (vec![0xff; 300], PubAckReason::PayloadFormatInvalid),
        (vec![b'['; 60_000], PubAckReason::PayloadFormatInvalid),
        (
            br#"{"kind":"keypad","boot":1,"seq":2,"code":424242}"#.to_vec(),
            PubAckReason::PayloadFormatInvalid,
        ),
        (
            br#"{"kind":"warp","boot":1,"seq":3}"#.to_vec(),
            PubAckReason::PayloadFormatInvalid,
        ),
        (clock(4, 0), PubAckReason::Success),
        (clock(5, 4_200_000_000_000), PubAckReason::Success),
        // A jump, a step back to what is there, and the largest number.
        (clock(1_000_000, 1), PubAckReason::Success),
        (clock(5, 4_200_000_000_000), PubAckReason::Success),
        (clock(u64::MAX, 1), PubAckReason::Success),
    ];
    for (payload, expected) in cases {
        let shown = text(&payload[..payload.len().min(80)]);
        let reason = publish_v5(&setup, ("door-1", None), topic, payload).await;
        assert_eq!(reason, Ok(expected), "{shown}");
    }
    let quarantine = setup.json(&["quarantine"]);
    assert_eq!(quarantine.as_array().unwrap().len(), 6, "{quarantine}");
    assert!(!quarantine.to_string().contains("424242"), "{quarantine}");

    let devices = setup.json(&["devices"]);
    let door = devices
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["device"] == "door-1")
        .unwrap();
    let count = |name: &str| door[name].as_u64().unwrap();
    assert_eq!(
        count("received"),
        count("stored") + count("duplicate") + count("quarantined"),
        "{door}"
    );
    assert_eq!(
        (count("stored"), count("duplicate"), count("quarantined")),
        (5, 1, 6)
    );
    // Clocks in 1970 and 2103 aren't believed; the events are kept at their receiving time.
    let events = setup.json(&["events", "--kind", "alarm"]);
    for event in events.as_array().unwrap() {
        assert_eq!(event["at_by"], "implausible", "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_pass_over_what_is_in_quarantine() {
    let mut setup = Setup::new();
    let _gateway = setup.start();
    let topic = "linli/v1/door-1/event";
    for payload in [
        r#"{"kind":"alarm","boot":1,"seq":1,"alarm":"x"}"#,
        r#"{"kind":"warp","boot":1,"seq":2}"#,
        r#"{"kind":"alarm","boot":1,"seq":3,"alarm":"x"}"#,
    ] {
        let payload = payload.as_bytes().to_vec();
        publish_v5(&setup, ("door-1", None), topic, payload)
            .await
            .unwrap();
    }
    let devices = setup.json(&["devices"]);
    let boots = &devices
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["device"] == "door-1")
        .unwrap()["boots"];
    assert_eq!(boots[0]["upto"], 3, "{boots}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_topics_are_kept_apart() {
    let mut setup = Setup::new();
    setup.with_password = vec!["door-1".to_owned()];
    let _gateway = setup.start();
    let made = setup.cli(&["device", "password", "door-1"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let password = text(&made.stdout).trim().to_owned();
    assert!(password.len() >= 20);

    let event = || event::encode(&[somebody_comes(1, "c")], Form::Json);
    let own = "linli/v1/door-1/event";
    let right = publish_v5(&setup, ("door-1", Some(&password)), own, event()).await;
    assert_eq!(right, Ok(PubAckReason::Success));
    for wrong in [None, Some("wrong"), Some("")] {
        let refused = publish_v5(&setup, ("door-1", wrong), own, event()).await;
        assert!(refused.is_err(), "{wrong:?} got in: {refused:?}");
    }
    let unknown = publish_v5(&setup, ("stranger", Some(&password)), own, event()).await;
    assert!(unknown.is_err());
    // A foreign topic: told so, and put into quarantine.
    let foreign = "linli/v1/door-2/event";
    let refused = publish_v5(&setup, ("door-1", Some(&password)), foreign, event()).await;
    assert_eq!(refused, Ok(PubAckReason::NotAuthorized));
    wait_for("the foreign publication in quarantine", || {
        let rows = setup.json(&["quarantine"]);
        let row = rows.as_array().unwrap().first()?.clone();
        (row["source"] == "door-1" && row["topic"] == foreign).then_some(())
    });
    // The password is stored as a slow hash, and stands in no file as it is.
    let file = std::fs::read_to_string(setup.state().join("passwords")).unwrap();
    assert!(file.contains("$argon2id$") && !file.contains(&password));
    assert!(!setup.log_text().contains(&password));
}

#[test]
fn a_second_daemon_on_one_store_is_refused() {
    let mut setup = Setup::new();
    let _gateway = setup.start();
    let out = Command::new(env!("CARGO_BIN_EXE_linli"))
        .args(["run", "--config"])
        .arg(setup.config())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!out.status.success());
    let said = text(&out.stderr);
    assert!(
        said.contains("another linli is running on this store"),
        "{said}"
    );
}

#[test]
fn a_plain_http_cloud_elsewhere_is_refused() {
    let mut setup = Setup::new();
    setup.cloud = Some("http://cloud.example".to_owned());
    let mut child = setup.spawn();
    let status = wait_for("the daemon to refuse", || child.try_wait().unwrap());
    assert!(!status.success());
    assert!(setup.log_text().contains("https"), "{}", setup.log_text());
    setup.cloud = None;
    setup.start().stop();
}

#[test]
fn a_bank_that_is_not_there_is_not_opened() {
    let mut setup = Setup::new();
    let _gateway = setup.start();
    let refused = setup.cli(&["open", "bank-a/1", "--reason", "nobody answers"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("isn't connected, so nothing was sent"),
        "{said}"
    );
}

#[test]
fn a_key_of_another_store_is_refused() {
    let mut setup = Setup::new();
    setup.start().stop();
    std::fs::write(setup.state().join("keys/code.key"), [7; 32]).unwrap();
    let mut child = setup.spawn();
    let status = wait_for("the daemon to refuse", || child.try_wait().unwrap());
    assert!(!status.success());
    let said = setup.log_text();
    assert!(
        said.contains("isn't the key that this store was made with"),
        "{said}"
    );
}

#[test]
fn what_cannot_start_says_why_each_time() {
    let mut setup = Setup::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    setup.port = taken.local_addr().unwrap().port();
    for _ in 0..5 {
        let mut child = setup.spawn();
        let status = wait_for("the daemon to refuse", || child.try_wait().unwrap());
        assert!(!status.success());
    }
    let said = setup.log_text();
    assert!(said.matches("can't listen on").count() >= 5, "{said}");
    drop(taken);
    std::fs::write(setup.socket(), b"an ordinary file").unwrap();
    let mut child = setup.spawn();
    let status = wait_for("the daemon to refuse", || child.try_wait().unwrap());
    assert!(!status.success(), "{}", setup.log_text());
}

#[test]
fn it_stops_in_order_and_starts_where_it_was() {
    let mut setup = Setup::new();
    let first = setup.start();
    let epoch = setup.json(&["sync"])["epoch"].clone();
    first.stop();
    assert!(!setup.socket().exists(), "the socket is removed at the end");
    let _second = setup.start();
    assert_eq!(setup.json(&["sync"])["epoch"], epoch);
}

#[test]
fn following_shows_events_as_they_come() {
    use std::io::{BufRead as _, BufReader};
    let mut setup = Setup::new();
    let _gateway = setup.start();
    let mut follow = Command::new(env!("CARGO_BIN_EXE_linli"))
        .arg("--config")
        .arg(setup.config())
        .args(["events", "--follow", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for seq in 1..=3 {
            let payload = event::encode(&[somebody_comes(seq, "c")], Form::Json);
            publish_v4(&setup, "door-1", payload).await.unwrap();
        }
    });
    let seen: Vec<serde_json::Value> = lines
        .take(3)
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    let seqs: Vec<u64> = seen.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    follow.kill().unwrap();
    follow.wait().unwrap();
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// What is written to a file without its name is gone when the daemon ends.
#[test]
fn a_store_that_is_moved_away_takes_nothing_until_it_is_back() {
    let mut setup = Setup::new();
    let gateway = setup.start();
    let disable = |n: u32| {
        let slot = format!("bank-a/{n}");
        setup.cli(&["compartment", "disable", "--reason", "paint", &slot])
    };
    assert!(disable(1).status.success());
    let aside = setup.dir.path().join("aside.db");
    std::fs::rename(setup.store(), &aside).unwrap();
    assert!(!disable(2).status.success());
    // Another file in its place isn't it.
    std::fs::copy(&aside, setup.store()).unwrap();
    let refused = disable(2);
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("moved away or replaced"), "{said}");
    assert_eq!(setup.json(&["status"])["journal"]["writing"], false);
    std::fs::rename(&aside, setup.store()).unwrap();
    wait_for("the gateway to write again", || {
        disable(3).status.success().then_some(())
    });
    assert_eq!(setup.json(&["status"])["journal"]["writing"], true);
    gateway.stop();
}
