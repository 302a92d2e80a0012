//! A gateway's standing at the cloud: enrolment, its key and the change of it, the clock in its
//! requests; with answers lost, requests lost, and the gateway cut short in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "sync/gateway.rs"]
mod gateway;
#[allow(dead_code)]
#[path = "sync/ledger.rs"]
mod ledger;
#[path = "sync_enrolment/packing.rs"]
mod packing;
#[allow(dead_code)]
#[path = "sync/strange_cloud.rs"]
mod strange_cloud;
#[path = "sync_enrolment/time.rs"]
mod time;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cloud_protocol::{Acked, Batch, CBOR, Enrolment, KeyChange, Lane};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use gateway::{Papers, Sync, config, patient, until};
use ledger::Memory;
use linli::clock::Clock;
use linli::cloud::{CloudConfig, Request};
use reference_cloud::Config;
use strange_cloud::{Answer, Asked, StrangeCloud, answer, no_news, problem, view};

const HANG_UP: u16 = 0;

fn nothing() -> Answer {
    answer(HANG_UP, "", "")
}

fn parcels(n: usize) -> Arc<Memory> {
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(n);
    ledger
}

fn read(asked: &Asked) -> Value {
    Value::from_cbor(&asked.body).unwrap()
}

/// The answer of a good cloud to a batch or a poll.
fn good(asked: &Asked) -> Answer {
    if !asked.is_uplink() {
        return no_news();
    }
    let batch = Batch::from_value(&read(asked)).unwrap();
    let last = |(lane, part): (&Lane, &cloud_protocol::LaneBatch)| {
        (*lane, part.after + part.items.len() as u64)
    };
    let acked = Acked(batch.lanes.iter().map(last).collect());
    answer(200, CBOR, acked.to_value().to_cbor())
}

/// A cloud that knows keys: it checks every signature, and says what it took.
#[derive(Clone, Default)]
struct Keys(Arc<Mutex<Vec<[u8; 32]>>>);

impl Keys {
    fn known(&self) -> Vec<[u8; 32]> {
        self.0.lock().unwrap().clone()
    }

    /// Enrols, takes the first key that signs and drops those before it, and refuses others.
    fn check(&self, asked: &Asked) -> Option<Answer> {
        let stated = asked.signed();
        assert_eq!(stated.keyid, "estate-1");
        let mut keys = self.0.lock().unwrap();
        if asked.is_enrolment() {
            let enrolment = Enrolment::from_value(&read(asked)).unwrap();
            assert!(stated.is_by(&enrolment.public_key));
            *keys = vec![enrolment.public_key];
            return Some(view());
        }
        match keys.iter().position(|key| stated.is_by(key)) {
            Some(n) => {
                keys.drain(..n);
                None
            }
            None => Some(problem(401, "signature")),
        }
    }

    /// Enters the next key.
    fn change(&self, asked: &Asked) -> Answer {
        let change = KeyChange::from_value(&read(asked)).unwrap();
        self.0.lock().unwrap().push(change.public_key);
        view()
    }
}

fn is_key_change(asked: &Asked) -> bool {
    asked.path.ends_with("/key")
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn an_enrolment_whose_answer_is_lost_is_made_once() {
    let lost = AtomicUsize::new(3);
    let cloud = StrangeCloud::alone(move |asked| {
        if asked.is_enrolment() {
            let left = lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            return left.map_or_else(|_| view(), |_| nothing());
        }
        if asked.is_view() { view() } else { good(asked) }
    })
    .await;
    let ledger = parcels(3);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    let asked = cloud.asked();
    let enrolments: Vec<_> = asked.iter().filter(|a| a.is_enrolment()).collect();
    assert_eq!(enrolments.len(), 4);
    for asked in &enrolments {
        let enrolment = Enrolment::from_value(&read(asked)).unwrap();
        assert_eq!(enrolment.token.reveal(), "a-token");
        assert_eq!(enrolment.gateway.as_str(), "estate-1");
        assert_eq!(enrolment.public_key, sync.papers.public_key());
        assert!(asked.signed().is_by(&enrolment.public_key));
    }
    assert_eq!(ledger.epochs_asked.load(Ordering::SeqCst), 1);
    let folder = sync.papers.folder();
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("gateway.key")), 0o600);
    sync.until("it is shown", |s| s.enrolled_since_ms.is_some())
        .await;
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;
    // Enrolled is enrolled: the token isn't needed any more.
    std::fs::remove_file(papers.token_file()).unwrap();
    ledger.add_parcels(2);
    let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
    sync.all_acked().await;
    assert_eq!(cloud.enrolments(), 4);
    sync.stop().await;
}

/// Cut short after the cloud has taken the token, before the new epoch is in the store: all of it
/// is done again, with the same key.
#[tokio::test]
async fn an_enrolment_that_is_cut_short_is_done_again() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let ledger = parcels(3);
    ledger.epochs_hang.store(true, Ordering::SeqCst);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    until("it is between", || {
        ledger.epochs_asked.load(Ordering::SeqCst) == 1
    })
    .await;
    let papers = Arc::clone(&sync.papers);
    let key = papers.public_key();
    sync.kill().await;
    assert!(!papers.is_enrolled());
    ledger.epochs_hang.store(false, Ordering::SeqCst);
    let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
    sync.all_acked().await;
    assert!(papers.is_enrolled());
    assert_eq!(papers.public_key(), key);
    assert_eq!(ledger.epochs_asked.load(Ordering::SeqCst), 2);
    sync.stop().await;
}

#[tokio::test]
async fn without_a_token_it_waits_for_the_technician() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let ledger = parcels(3);
    let papers = Papers::new();
    let config = CloudConfig {
        token_file: None,
        ..papers.config(patient(&cloud.url()))
    };
    let sync = Sync::start_as_is(&papers, config, &ledger, Clock::system());
    sync.until("it says so", |s| {
        s.uplink.remedy.is_some() && s.downlink.remedy.is_some()
    })
    .await;
    let status = sync.status();
    let error = status.uplink.last_error.unwrap();
    assert_eq!(
        error,
        format!("this gateway isn't enrolled at {}/", cloud.url())
    );
    assert!(status.uplink.remedy.unwrap().contains("linli sync enrol"));
    assert_eq!(status.enrolled_since_ms, None);
    let told = sync
        .ask(|reply| Request::ChangeKey { reply })
        .await
        .unwrap_err();
    assert!(told.remedy.unwrap().contains("linli sync enrol"));

    let token = Secret::new("by-hand");
    let told = sync
        .ask(|reply| Request::Enrol { token, reply })
        .await
        .unwrap();
    assert_eq!(told, format!("enrolled at {}/ as estate-1", cloud.url()));
    sync.all_acked().await;
    sync.until("the trouble is over", |s| {
        s.uplink.remedy.is_none() && s.downlink.remedy.is_none() && s.enrolled_since_ms.is_some()
    })
    .await;
    sync.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_good_is_named_and_nothing_is_sent() {
    let cloud = StrangeCloud::alone(|asked| match asked.is_enrolment() {
        true => problem(403, "token"),
        false => good(asked),
    })
    .await;
    let ledger = parcels(3);
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until("it is refused", |s| s.uplink.remedy.is_some())
        .await;
    let uplink = sync.status().uplink;
    assert_eq!(
        uplink.last_error.unwrap(),
        "the cloud refuses: No (HTTP 403)"
    );
    assert!(uplink.remedy.unwrap().contains("get a fresh one"));
    let token = Secret::new("by-hand");
    let told = sync
        .ask(|reply| Request::Enrol { token, reply })
        .await
        .unwrap_err();
    assert!(told.remedy.unwrap().contains("get a fresh one"));
    assert!(cloud.asked().iter().all(Asked::is_enrolment));
    assert_eq!(ledger.epochs_asked.load(Ordering::SeqCst), 0);
    sync.stop().await;
}

/// Another cloud, or another name: another enrolment, and a new epoch.
#[tokio::test]
async fn another_cloud_is_another_enrolment() {
    let (one, other) = (
        reference_cloud::serve(Config::in_memory()).await.unwrap(),
        reference_cloud::serve(Config::in_memory()).await.unwrap(),
    );
    let ledger = parcels(3);
    let sync = Sync::start(config(&one.url()), &ledger);
    sync.all_acked().await;
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;
    for (epochs, cloud) in [(2, &other), (3, &one)] {
        ledger.add_parcels(2);
        let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
        sync.all_acked().await;
        assert_eq!(ledger.epochs_asked.load(Ordering::SeqCst), epochs);
        let lanes = cloud.lanes(&gateway::ident("estate-1")).await.unwrap();
        assert_eq!(
            lanes.lanes[&Lane::Fulfilment].last,
            ledger.made(Lane::Fulfilment)
        );
        sync.stop().await;
    }
}

/// The cloud has lost the gateway: the words say what to do, and enrolling again brings it back.
#[tokio::test]
async fn a_cloud_that_forgot_the_gateway_takes_it_again() {
    let known = Keys::default();
    let keys = known.clone();
    let cloud = StrangeCloud::alone(move |asked| match keys.check(asked) {
        Some(answer) => answer,
        None if asked.is_view() => view(),
        None => good(asked),
    })
    .await;
    let ledger = parcels(3);
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.all_acked().await;
    known.0.lock().unwrap().clear();
    ledger.add_parcels(1);
    sync.until("it is refused", |s| s.uplink.remedy.is_some())
        .await;
    assert!(
        sync.status()
            .uplink
            .remedy
            .unwrap()
            .contains("linli sync enrol")
    );
    let token = Secret::new("fresh");
    sync.ask(|reply| Request::Enrol { token, reply })
        .await
        .unwrap();
    ledger.nudge.notify_one();
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;
    let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
    sync.all_acked().await;
    // It doesn't know the store any more either, so it heard everything again.
    assert_eq!(ledger.epochs_asked.load(Ordering::SeqCst), 2);
    sync.stop().await;
}

#[tokio::test]
async fn the_key_is_changed_and_the_old_one_is_dead() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let ledger = parcels(3);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    let before = sync.papers.public_key();
    sync.ask(|reply| Request::ChangeKey { reply })
        .await
        .unwrap();
    let after = sync.papers.public_key();
    assert_ne!(before, after);
    assert!(!sync.papers.folder().join("gateway.key.next").exists());
    assert_eq!(mode(&sync.papers.folder().join("gateway.key")), 0o600);
    assert!(!sync.status().key_changing);
    ledger.add_parcels(3);
    sync.all_acked().await;
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;
    ledger.add_parcels(3);
    let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
    sync.all_acked().await;
    assert_eq!(papers.public_key(), after);
    sync.stop().await;
}

/// The cloud took the next key, but the answer was lost: it is found out by using it.
#[tokio::test]
async fn a_change_of_key_whose_answer_is_lost_is_found_out() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let ledger = parcels(3);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    let before = sync.papers.public_key();
    cloud.faults().lose_next_key_answers(1);
    let told = sync
        .ask(|reply| Request::ChangeKey { reply })
        .await
        .unwrap_err();
    assert!(told.what.contains("broke"), "{}", told.what);
    until("it is found out", || sync.papers.public_key() != before).await;
    ledger.add_parcels(3);
    sync.all_acked().await;
    assert!(!sync.papers.folder().join("gateway.key.next").exists());
    sync.until("it is shown", |s| !s.key_changing).await;
    sync.stop().await;
}

/// The change never reached the cloud, and the gateway was cut short: both keys are there, and the
/// change comes to its end after the next start.
#[tokio::test]
async fn a_change_of_key_that_never_arrived_is_made_after_the_start() {
    let known = Keys::default();
    let keys = known.clone();
    let lost = Arc::new(AtomicUsize::new(usize::MAX));
    let losing = Arc::clone(&lost);
    let cloud = StrangeCloud::alone(move |asked| {
        if let Some(answer) = keys.check(asked) {
            return answer;
        }
        if !is_key_change(asked) {
            return if asked.is_view() { view() } else { good(asked) };
        }
        let left = losing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_or_else(|_| keys.change(asked), |_| nothing())
    })
    .await;
    let ledger = parcels(3);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    let before = sync.papers.public_key();
    sync.ask(|reply| Request::ChangeKey { reply })
        .await
        .unwrap_err();
    let papers = Arc::clone(&sync.papers);
    sync.kill().await;
    assert_eq!(papers.public_key(), before);
    let next = papers.folder().join("gateway.key.next");
    assert!(next.exists() && mode(&next) == 0o600);
    assert_eq!(known.known(), [before]);

    lost.store(0, Ordering::SeqCst);
    ledger.add_parcels(3);
    let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
    sync.all_acked().await;
    until("the change is made", || papers.public_key() != before).await;
    assert!(!next.exists());
    ledger.add_parcels(1);
    sync.all_acked().await;
    assert_eq!(known.known(), [papers.public_key()], "the old one is dead");
    sync.stop().await;
}

#[tokio::test]
async fn a_change_of_key_that_is_refused_leaves_the_old_one() {
    let cloud = StrangeCloud::that(|asked| match is_key_change(asked) {
        true => problem(400, "malformed"),
        false => good(asked),
    })
    .await;
    let ledger = parcels(3);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    let before = sync.papers.public_key();
    sync.ask(|reply| Request::ChangeKey { reply })
        .await
        .unwrap_err();
    assert_eq!(sync.papers.public_key(), before);
    assert!(!sync.papers.folder().join("gateway.key.next").exists());
    ledger.add_parcels(3);
    sync.all_acked().await;
    sync.stop().await;
}

/// Codes are sealed to the key that the cloud names now.
#[tokio::test]
async fn the_sealing_key_follows_the_cloud() {
    let cloud = StrangeCloud::alone(|asked| {
        if asked.is_view() {
            let mut other = view();
            let text = String::from_utf8(other.body).unwrap().replace("k-1", "k-2");
            other.body = text.into_bytes();
            return other;
        }
        if asked.is_enrolment() {
            view()
        } else {
            good(asked)
        }
    })
    .await;
    let ledger = parcels(1);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    let enrolment = sync.papers.folder().join("enrolment.json");
    until("it is entered", || {
        std::fs::read_to_string(&enrolment).is_ok_and(|text| text.contains("k-2"))
    })
    .await;
    // It is on disk before it is used.
    until("codes are sealed to it", || {
        ledger.nudge.notify_one();
        let last = ledger.asked().pop();
        last.is_some_and(|last| last.seal.key.id == "k-2")
    })
    .await;
    let last = ledger.asked().pop().unwrap();
    assert_eq!(last.seal.gateway.as_str(), "estate-1");
    sync.stop().await;
}

/// A proxy that sends twice: sent again at once with another nonce, and once only.
#[tokio::test]
async fn a_replay_is_sent_again_once() {
    let refusals = AtomicUsize::new(1);
    let cloud = StrangeCloud::that(move |asked| {
        if !asked.is_uplink() {
            return good(asked);
        }
        let left = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_or_else(|_| good(asked), |_| problem(401, "replay"))
    })
    .await;
    let ledger = parcels(1);
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.all_acked().await;
    let asked = cloud.asked();
    let nonces: Vec<_> = asked
        .iter()
        .filter(|a| a.is_uplink())
        .map(|a| a.signed().nonce)
        .collect();
    assert_eq!(nonces.len(), 2);
    assert_ne!(nonces[0], nonces[1]);
    sync.stop().await;

    let cloud = StrangeCloud::that(|asked| match asked.is_uplink() {
        true => problem(401, "replay"),
        false => good(asked),
    })
    .await;
    let sync = Sync::start(patient(&cloud.url()), &parcels(1));
    sync.until("it gives up", |s| s.uplink.failures == 1).await;
    assert_eq!(cloud.uplinks(), 2);
    sync.stop().await;
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    let cloud = StrangeCloud::that(good).await;
    let sync = Sync::start(config(&cloud.url()), &parcels(1));
    sync.all_acked().await;
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;
    let key = papers.folder().join("gateway.key");
    let rights = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode));
    for open in [0o640, 0o604] {
        rights(open).unwrap();
        let sync = Sync::start_with(&papers, config(&cloud.url()), &parcels(1));
        let e = sync.ends().await.to_string();
        assert!(
            e.contains("chmod 600") && e.contains("linli sync rotate-key"),
            "{e}"
        );
    }
    rights(0o600).unwrap();
    std::fs::write(&key, b"short").unwrap();
    let sync = Sync::start_with(&papers, config(&cloud.url()), &parcels(1));
    let e = sync.ends().await.to_string();
    assert!(e.contains("isn't a key of 32 bytes"), "{e}");
}

/// Everything that is logged, down to the last detail, while a gateway enrols and changes its key.
#[tokio::test]
async fn no_secret_is_logged() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let to_log = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || Log(Arc::clone(&to_log)))
        .finish();
    // Of all tests in this process, which only adds to what is looked through.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let cloud = StrangeCloud::that(|asked| match is_key_change(asked) {
        true => view(),
        false => good(asked),
    })
    .await;
    let ledger = parcels(3);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    let seeds = || std::fs::read(sync.papers.folder().join("gateway.key")).unwrap();
    let before = seeds();
    sync.ask(|reply| Request::ChangeKey { reply })
        .await
        .unwrap();
    let token = Secret::new("another-token");
    sync.ask(|reply| {
        let request = Request::Enrol { token, reply };
        assert!(!format!("{request:?}").contains("another-token"));
        request
    })
    .await
    .unwrap();
    let after = seeds();
    sync.stop().await;
    let log = log.lock().unwrap();
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains("enrolled at"), "the log is taken down");
    for secret in ["a-token", "another-token"] {
        assert!(!text.contains(secret), "{secret}");
    }
    for seed in [before, after] {
        let hex: String = seed.iter().map(|b| format!("{b:02x}")).collect();
        let list = format!("{seed:?}");
        assert!(!text.contains(&hex) && !text.contains(&list[1..list.len() - 1]));
    }
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
