//! Somebody else's broker: a real Mosquitto that restarts, forgets, kicks, sends again, keeps silent,
//! is slow or refuses the login. `linli status` says so, what was promised is there once, and no
//! command comes late.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cloud::{healed, life_goes_on};
use crate::common::mosquitto::Mosquitto;
use crate::common::proxy::{Fault, Proxy};
use crate::estate::{Estate, Plan, run, side_by_side, story, until};

#[test]
fn each_fault_between_devices_and_gateway_is_survived() {
    type Tell = fn(Mosquitto);
    let stories: [(_, Tell); 8] = [
        ("restarts", |b| run(it_restarts_with_what_it_had(b))),
        ("forgets", |b| run(it_is_killed_and_has_forgotten(b))),
        ("kicks", |b| run(it_kicks_us(b))),
        ("cuts-packets", |b| run(it_cuts_in_the_middle_of_packets(b))),
        ("sends-again", |b| {
            run(acknowledgements_are_lost_both_ways(b))
        }),
        ("keeps-silent", |b| run(it_never_lets_us_in(b))),
        ("slow", |b| run(it_is_slow(b))),
        ("refuses", |b| run(it_refuses_the_login(b))),
    ];
    let stories = stories.map(|(name, tell)| {
        story(name, move || {
            if let Some(broker) = Mosquitto::start() {
                tell(broker);
            }
        })
    });
    side_by_side(stories.into_iter().chain(crate::devices::stories()));
}

async fn with(broker: &Mosquitto) -> Estate {
    let estate = Estate::begin(Plan {
        broker: Some(broker.address),
        ..Plan::default()
    })
    .await;
    for _ in 0..3 {
        estate.announce_four().await;
    }
    estate.all_have_their_codes().await;
    life_goes_on(&estate).await;
    estate
}

fn proxy(estate: &Estate) -> &Proxy {
    estate.to_broker.as_ref().unwrap()
}

/// Waits until `linli status` says all this.
async fn status_says(estate: &Estate, words: &[&str]) {
    until(&format!("linli status to say {words:?}"), async || {
        let said = estate.linli(&["status"]);
        words
            .iter()
            .all(|w| said.contains(w))
            .then_some(())
            .ok_or(said)
    })
    .await;
}

async fn is_up(estate: &Estate) {
    until("the link to work again", async || {
        let said = estate.linli(&["status"]);
        (!said.contains("can't be used")).then_some(()).ok_or(said)
    })
    .await;
}

const DOWN: &str = "The external broker at mqtt://";

async fn it_restarts_with_what_it_had(mut broker: Mosquitto) {
    let estate = with(&broker).await;
    for _ in 0..3 {
        broker.stop();
        status_says(&estate, &[DOWN, "can't be used"]).await;
        broker.start_again();
        is_up(&estate).await;
        estate.bank.device().until_online().await;
        life_goes_on(&estate).await;
    }
    healed("broker restarts", estate).await;
}

async fn it_is_killed_and_has_forgotten(mut broker: Mosquitto) {
    let estate = with(&broker).await;
    for _ in 0..3 {
        broker.kill();
        broker.start_again();
        estate.bank.device().until_online().await;
        life_goes_on(&estate).await;
    }
    healed("broker forgets", estate).await;
}

/// Somebody logs in under the gateway's client id, for a moment; with a `clean` session the broker
/// forgets what it kept for the gateway.
pub fn kick(broker: SocketAddr, clean: bool) {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "127.0.0.1", "-p", &broker.port().to_string()]);
    command.args([
        "-V",
        "5",
        "-i",
        "linli-test-site",
        "-q",
        "1",
        "-t",
        "nothing",
        "-E",
    ]);
    if !clean {
        command.args(["-c", "-x", "3600"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let _ = command.stderr(Stdio::null()).status();
}

async fn it_kicks_us(broker: Mosquitto) {
    if !crate::common::have("mosquitto_sub") {
        return;
    }
    let estate = with(&broker).await;
    for clean in [false, true, false, true] {
        kick(broker.address, clean);
        life_goes_on(&estate).await;
    }
    healed("broker kicks", estate).await;
}

async fn it_cuts_in_the_middle_of_packets(broker: Mosquitto) {
    let estate = with(&broker).await;
    for seed in 0..4 {
        let mean_bytes = 1_500;
        proxy(&estate).set(Fault::CutAtRandom { seed, mean_bytes });
        proxy(&estate).reset_all();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert!(proxy(&estate).resets() >= 8, "{}", proxy(&estate).resets());
    proxy(&estate).set(Fault::None);
    is_up(&estate).await;
    life_goes_on(&estate).await;
    healed("broker cuts packets", estate).await;
}

/// What the gateway publishes arrives, its PUBACK doesn't; what it acknowledges isn't heard of.
async fn acknowledgements_are_lost_both_ways(broker: Mosquitto) {
    let estate = with(&broker).await;
    for _ in 0..4 {
        proxy(&estate).set(Fault::SwallowAnswer);
        tokio::time::sleep(Duration::from_millis(400)).await;
        proxy(&estate).set(Fault::None);
        is_up(&estate).await;
        proxy(&estate).set(Fault::Reset {
            up: 30,
            down: u64::MAX,
        });
        tokio::time::sleep(Duration::from_millis(400)).await;
        proxy(&estate).set(Fault::None);
        life_goes_on(&estate).await;
    }
    let again = "SELECT sum(duplicate) FROM devices";
    let again: i64 = estate
        .gateways_store()
        .query_row(again, [], |row| row.get(0))
        .unwrap();
    assert!(again > 0, "nothing was sent again");
    healed("broker sends again", estate).await;
}

async fn it_never_lets_us_in(broker: Mosquitto) {
    let estate = with(&broker).await;
    proxy(&estate).set(Fault::Silence);
    proxy(&estate).reset_all();
    status_says(&estate, &[DOWN, "can't be used", "imeout"]).await;
    proxy(&estate).set(Fault::None);
    is_up(&estate).await;
    life_goes_on(&estate).await;
    healed("broker keeps silent", estate).await;
}

async fn it_is_slow(broker: Mosquitto) {
    let estate = with(&broker).await;
    proxy(&estate).set(Fault::Slow {
        bytes_per_s: 12_000,
    });
    life_goes_on(&estate).await;
    life_goes_on(&estate).await;
    proxy(&estate).set(Fault::None);
    healed("broker slow", estate).await;
}

async fn it_refuses_the_login(mut broker: Mosquitto) {
    let estate = with(&broker).await;
    broker.stop();
    broker.closed = true;
    broker.start_again();
    status_says(&estate, &[DOWN, "can't be used", "NotAuthorized"]).await;
    broker.stop();
    broker.closed = false;
    broker.start_again();
    is_up(&estate).await;
    estate.bank.device().until_online().await;
    life_goes_on(&estate).await;
    healed("broker refuses", estate).await;
}

/// A command that could not be sent in its time is never sent: a bank without a clock counts the
/// command's time from its arrival, and would open a door before which nobody stands any more.
#[test]
fn a_command_is_not_sent_after_its_time() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let estate = Estate::begin(Plan {
            broker: Some(broker.address),
            clockless: true,
            more: "[rules]\ncommand_ttl_s = 2\n".to_string(),
            ..Plan::default()
        })
        .await;
        proxy(&estate).set(Fault::Refuse);
        let said = estate.linli(&["open", "bank-a/5", "--reason", "nobody hears it"]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        proxy(&estate).set(Fault::None);
        is_up(&estate).await;
        // What the gateway says to a later gesture arrives, so what was said before would have.
        let answer = estate.bank.type_code("000000").await;
        assert!(!answer.words().is_empty(), "{answer:?}");
        let open: Vec<_> = estate
            .bank
            .compartments()
            .into_iter()
            .filter(|c| c.open)
            .collect();
        assert!(
            open.is_empty(),
            "a door opened late; linli open had said: {said}"
        );
        println!("linli open said: {said}");
        estate.end().await;
    });
}
