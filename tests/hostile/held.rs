//! The limit of what a device may send, against the real program: what a device over it sees, and
//! what a technician sees of the device.
//!
//! A device over its limit waits; it loses nothing, and neither its link nor the person at its
//! keypad waits with it.

use std::time::{Duration, Instant};

use firmware_protocols::event::{Done, Event, Secret, When};
use firmware_protocols::{Command, Form, Kind, Order, event};

use crate::attacks::{V3, V5};
use crate::common::mosquitto::Mosquitto;
use crate::common::{PATIENCE, Setup, text, wait_for, wait_until};
use crate::embedded::{Client, Connect, Packet, Version, publish_with};

/// The most events of a publication.
const ARRAY: u64 = 256;

fn limited(events_per_s: u32) -> Setup {
    let mut setup = Setup::new();
    setup.more = format!("[limits]\nevents_per_s = {events_per_s}\nevents_burst = 256\n");
    setup
}

/// Ratings from `seq` on, which nobody waits for.
fn ratings(seq: u64, count: u64) -> Vec<u8> {
    let events: Vec<Event> = (seq..seq + count).map(|seq| one(seq, rating())).collect();
    event::encode(&events, Form::Cbor)
}

fn rating() -> Kind {
    Kind::Rating {
        score: 9,
        parcel: None,
    }
}

fn one(seq: u64, kind: Kind) -> Event {
    Event {
        boot: 1,
        seq,
        when: When::Unsaid,
        kind,
    }
}

fn publication(version: Version, device: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let topic = format!("linli/v1/{device}/event");
    publish_with(version, topic.as_bytes(), 0x32, id, &[], payload)
}

/// The packet id of a PUBACK.
fn id_of(puback: &Packet) -> u16 {
    assert_eq!(puback.kind(), 4, "{puback:?}");
    u16::from_be_bytes([puback.body[0], puback.body[1]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_over_its_limit_waits_and_loses_nothing() {
    let mut setup = limited(128);
    let gateway = tokio::task::block_in_place(|| setup.start());
    tokio::join!(
        over_its_limit(&setup, V3, "door-1"),
        over_its_limit(&setup, V5, "door-2")
    );
    gateway.stop();
    assert_eq!(setup.stored().len(), 2 * 6 * 256);
}

/// Six times 256 events, of which 256 are free and the last may be owed: 8 s at 128 a second, which
/// is longer than its keep-alive lets a link be silent.
async fn over_its_limit(setup: &Setup, version: Version, device: &str) {
    const ARRAYS: u16 = 6;
    let mut connect = Connect::new(version, device);
    (connect.username, connect.password) = (None, None);
    connect.keep_alive = 5;
    let mut client = Client::open(setup.address()).await;
    client.send(&connect.packet()).await;
    assert_eq!(client.packet().await.unwrap().first, 0x20);
    let began = Instant::now();
    for n in 0..ARRAYS {
        let payload = ratings(1 + u64::from(n) * ARRAY, ARRAY);
        let packet = publication(version, device, n + 1, &payload);
        client.send(&packet).await;
    }
    // Its link lives all the while, and answers at once.
    client.send(b"\xc0\x00").await;
    let mut next = 1;
    loop {
        let packet = client.packet().await.unwrap();
        if packet.first == 0xd0 {
            break;
        }
        assert_eq!(id_of(&packet), next, "in their order");
        next += 1;
    }
    assert!(next <= ARRAYS, "PINGRESP before the last PUBACK");
    shown(setup, device);
    for n in next..=ARRAYS {
        assert_eq!(id_of(&client.packet().await.unwrap()), n, "in their order");
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(8), "{took:?}");
    let log = setup.log_text();
    let told = log
        .lines()
        .filter(|line| line.contains("more than its limit"));
    let told = told.filter(|line| line.contains(device)).count();
    assert_eq!(told, 1, "once an episode: {log}");
}

/// The technician sees who is slowed, since when and how much.
fn shown(setup: &Setup, device: &str) {
    tokio::task::block_in_place(|| {
        let status = setup.json(&["status"]);
        let limits = &status["links"]["limits"];
        let of = |slowed: &&serde_json::Value| slowed["device"] == device;
        let slowed = limits["slowed"].as_array().unwrap().iter().find(of);
        let slowed = slowed.unwrap_or_else(|| panic!("{device} isn't shown: {status}"));
        assert_eq!(slowed["over"], "events");
        let now_ms = status["clock"]["wall_ms"].as_i64().unwrap();
        assert!(
            (0..60_000).contains(&(now_ms - slowed["since_ms"].as_i64().unwrap())),
            "{slowed}"
        );
        assert!(limits["episodes"].as_u64().unwrap() > 0);
        let devices = setup.json(&["devices"]);
        let row = devices
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["device"] == device);
        assert_eq!(row.unwrap()["slowed"]["over"], "events");
        let screen = text(&setup.cli(&["status"]).stdout);
        assert!(screen.contains(&format!("{device} since ")), "{screen}");
    });
}

/// A bank whose sensors chatter is held for half a minute; its keypad and its doors aren't.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_waits_for_is_not_held() {
    let mut setup = limited(20);
    let gateway = tokio::task::block_in_place(|| setup.start());
    let mut connect = Connect::new(V5, "bank-a");
    (connect.username, connect.password) = (None, None);
    let mut client = Client::open(setup.address()).await;
    client.send(&connect.packet()).await;
    assert_eq!(client.packet().await.unwrap().first, 0x20);
    assert_eq!(client.subscribe(V5, "linli/v1/bank-a/command").await, 1);
    let began = Instant::now();
    for n in 0..5 {
        let payload = ratings(1 + u64::from(n) * ARRAY, ARRAY);
        let packet = publication(V5, "bank-a", n + 1, &payload);
        client.send(&packet).await;
    }
    wait_until("the bank to be held", async || {
        let status = tokio::task::block_in_place(|| setup.json(&["status"]));
        let slowed = &status["links"]["limits"]["slowed"][0];
        (slowed["held_ms"].as_u64()? > 0).then_some(())
    })
    .await;
    shown(&setup, "bank-a");

    // A technician's command reaches it, and its answer comes back, with what stood before it.
    let opening = opening(&setup);
    let mut taken = Taken::default();
    let command = taken.command(&mut client).await;
    let Order::Open { compartment } = command.order else {
        panic!("not an open command: {command:?}");
    };
    assert_eq!(compartment, 1);
    let done = Kind::Result {
        command: command.id,
        outcome: Done::Done,
        reason: None,
    };
    client.send(&urgent(5 * ARRAY + 1, 11, done)).await;
    let opened = opening.await.unwrap();
    assert!(opened.status.success(), "{}", text(&opened.stderr));

    // Somebody types behind another array.
    let payload = ratings(5 * ARRAY + 2, ARRAY);
    client.send(&publication(V5, "bank-a", 12, &payload)).await;
    let code = Secret::new("000000");
    let press = Kind::Keypad { code, opened: None };
    client.send(&urgent(6 * ARRAY + 2, 13, press)).await;
    let answer = taken.command(&mut client).await;
    assert!(matches!(answer.order, Order::Show { .. }), "{answer:?}");
    while taken.acknowledged.len() < 8 {
        taken.hear(&mut client).await;
    }
    assert_eq!(taken.acknowledged, [1, 2, 3, 4, 5, 11, 12, 13]);
    // Five times 256, of which 256 are free: 51 s at 20 a second, within the minute's credit.
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    gateway.stop();
    assert_eq!(setup.stored().len(), 6 * 256 + 2);
}

fn opening(setup: &Setup) -> tokio::task::JoinHandle<std::process::Output> {
    let mut open = std::process::Command::new(env!("CARGO_BIN_EXE_linli"));
    open.arg("--config").arg(setup.config());
    open.args(["open", "bank-a/1", "--reason", "test"]);
    tokio::task::spawn_blocking(move || open.output().unwrap())
}

fn urgent(seq: u64, id: u16, kind: Kind) -> Vec<u8> {
    publication(
        V5,
        "bank-a",
        id,
        &event::encode(&[one(seq, kind)], Form::Cbor),
    )
}

/// What a client was told.
#[derive(Default)]
struct Taken {
    acknowledged: Vec<u16>,
}

impl Taken {
    /// The next packet; the command, if it is one.
    async fn hear(&mut self, client: &mut Client) -> Option<Command> {
        let packet = client.packet().await.unwrap();
        if packet.kind() != 3 {
            self.acknowledged.push(id_of(&packet));
            return None;
        }
        let (topic, payload) = packet.message(V5);
        assert_eq!(topic, "linli/v1/bank-a/command");
        Some(Command::decode(&payload).unwrap())
    }

    async fn command(&mut self, client: &mut Client) -> Command {
        loop {
            if let Some(command) = self.hear(client).await {
                return command;
            }
        }
    }
}

/// To come again and again doesn't fill the allowance.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_the_devices_and_not_its_connections() {
    let mut setup = limited(16);
    let gateway = tokio::task::block_in_place(|| setup.start());
    let began = Instant::now();
    let mut acknowledged = 0_u64;
    while began.elapsed() < Duration::from_secs(3) {
        let mut connect = Connect::new(V5, "door-1");
        (connect.username, connect.password) = (None, None);
        let mut client = Client::open(setup.address()).await;
        client.send(&connect.packet()).await;
        assert_eq!(client.packet().await.unwrap().first, 0x20);
        let payload = ratings(1 + acknowledged * ARRAY, ARRAY);
        client.send(&publication(V5, "door-1", 1, &payload)).await;
        let answer = tokio::time::timeout(Duration::from_millis(300), client.packet());
        acknowledged += u64::from(answer.await.is_ok_and(|packet| packet.is_some()));
    }
    assert!(
        acknowledged <= 2,
        "{acknowledged} times 256 in 3 s, at 16 a second"
    );
    gateway.stop();
}

/// Behind somebody else's broker nobody can be made to wait: what is over the limit gets no receipt
/// and is sent again, and nothing is lost by that.
#[tokio::test(flavor = "multi_thread")]
async fn behind_another_broker_it_is_sent_again_until_there_is_a_receipt() {
    let Some(broker) = tokio::task::block_in_place(Mosquitto::start) else {
        return;
    };
    let mut setup = limited(200);
    setup.external = Some(broker.address);
    let gateway = tokio::task::block_in_place(|| setup.start());
    let mut client = subscribed(&setup, "door-1").await;
    let mut other = subscribed(&setup, "door-2").await;
    let (last, until) = (2_000, Instant::now() + PATIENCE);
    let (mut covered, mut rounds) = (0, 0);
    while covered < last {
        rounds += 1;
        for seq in covered + 1..=last {
            let payload = event::encode(&[one(seq, rating())], Form::Cbor);
            client
                .send(&publication(
                    V5,
                    "door-1",
                    1 + (seq % 1_000) as u16,
                    &payload,
                ))
                .await;
        }
        // Meanwhile another device has its receipt.
        let payload = event::encode(&[one(rounds, rating())], Form::Cbor);
        other.send(&publication(V5, "door-2", 1, &payload)).await;
        while receipt(&mut other, PATIENCE)
            .await
            .is_some_and(|seq| seq < rounds)
        {}
        while let Some(seq) = receipt(&mut client, Duration::from_secs(1)).await {
            covered = seq.max(covered);
        }
        assert!(Instant::now() < until, "{covered} of {last}");
    }
    assert!(rounds > 1, "nothing was put off");
    let status = tokio::task::block_in_place(|| setup.json(&["status"]));
    assert!(
        status["links"]["limits"]["put_off"].as_u64().unwrap() > 0,
        "{status}"
    );
    let devices = tokio::task::block_in_place(|| setup.json(&["devices"]));
    let row = devices
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["device"] == "door-1");
    let row = row.unwrap();
    assert_eq!(row["stored"], last);
    assert_eq!(row["quarantined"], 0);
    assert_eq!(row["boots"][0]["given_up"], serde_json::json!([]));
    gateway.stop();
    assert_eq!(setup.stored().values().filter(|n| **n > 1).count(), 0);
}

async fn subscribed(setup: &Setup, device: &str) -> Client {
    let mut connect = Connect::new(V5, device);
    (connect.username, connect.password) = (None, None);
    let mut client = Client::open(setup.address()).await;
    client.send(&connect.packet()).await;
    assert_eq!(client.packet().await.unwrap().first, 0x20);
    let topic = format!("linli/v1/{device}/receipt");
    assert_eq!(client.subscribe(V5, &topic).await, 1);
    client
}

/// Up to where everything is on disk, by the next receipt. `None`: none comes for so long.
async fn receipt(client: &mut Client, wait: Duration) -> Option<u64> {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let packet = tokio::time::timeout(left, client.packet()).await.ok()?;
        let packet = packet.expect("the broker has closed");
        if packet.kind() != 3 {
            continue;
        }
        let topic = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
        let (high, low) = (packet.body[2 + topic], packet.body[3 + topic]);
        client.send(&[0x40, 2, high, low]).await;
        let (_, payload) = packet.message(V5);
        let receipt = firmware_protocols::Receipt::decode(&payload).unwrap();
        return Some(receipt.seq);
    }
}

#[test]
fn limits_that_make_no_sense_are_refused_with_the_remedy() {
    for (section, says) in [
        (
            "events_per_s = 200000",
            "limits.events_per_s: is 200000; 0 to 100000 is allowed",
        ),
        (
            "events_burst = 100",
            "limits.events_burst: is 100; 256 to 10000000 is allowed with events_per_s = 100",
        ),
        (
            "kib_per_s = 1",
            "limits.kib_per_s: is 1; 16 to 1000000 is allowed",
        ),
        (
            "urgent_per_s = 900\nurgent_burst = 500",
            "limits.urgent_burst: is 500; 900 to 10000000 is allowed",
        ),
        ("per_hour = 1", "limits.per_hour: isn't known"),
    ] {
        let mut setup = Setup::new();
        setup.more = format!("[limits]\n{section}\n");
        let mut child = setup.spawn();
        wait_for("the daemon to refuse", || child.try_wait().unwrap());
        assert!(
            setup.log_text().contains(says),
            "{section}: {}",
            setup.log_text()
        );
    }
}
