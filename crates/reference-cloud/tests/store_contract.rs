//! What every store does, the same body on SQLite and on PostgreSQL: two requests at the same time,
//! clones, nonces, enrolment, keys, the downlink, the outbox.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod stores;

use std::sync::Arc;
use std::time::Duration;

use cloud_protocol::downlink::Proof;
use cloud_protocol::uplink::ParcelState;
use cloud_protocol::{Acked, Downlink, DownlinkItem, Lane, ProblemType};
use firmware_protocols::event::Secret;
use firmware_protocols::value::{Value, map};
use reference_cloud::store::polls::wait_for_items;
use reference_cloud::store::{Enrolling, Ingest, Store};
use stores::{Source, Two, claim, demand, health, nonce, on_both, parcel, send, short};
use tokio::sync::watch;

const GATEWAY: &str = "estate-1";
const TOKEN: [u8; 32] = [1; 32];

fn source(items: u64) -> Source {
    let mut source = Source::new(7);
    for n in 0..items {
        source.add(parcel(&format!("P-{n}"), ParcelState::Expected, Some(3)));
        source.add(health(n));
        source.add(demand(i64::try_from(n).unwrap(), 1, n));
    }
    source
}

fn acked(lane: Lane, last: u64) -> Result<Acked, ProblemType> {
    Ok(Acked([(lane, last)].into()))
}

#[test]
fn the_same_batch_at_two_clouds_at_once_is_taken_once() {
    on_both(|two| async move {
        let source = source(20);
        for step in 0..20 {
            let batch = source.batch(&[(Lane::Fulfilment, step, step + 1)]);
            let (one, other) = tokio::join!(
                send(&two.0, GATEWAY, batch.clone()),
                send(&two.1, GATEWAY, batch.clone()),
            );
            assert_eq!(short(&one), acked(Lane::Fulfilment, step + 1));
            assert_eq!(one, other);
        }
        let lane = two.0.lanes(GATEWAY).await.unwrap().lanes[&Lane::Fulfilment];
        assert_eq!((lane.items, lane.last, lane.duplicates), (20, 20, 20));
    });
}

#[test]
fn two_clones_at_once_and_one_is_a_fork() {
    on_both(|two| async move {
        for round in 0..10 {
            let gateway = format!("estate-{round}");
            let first = source(3);
            send(&two.0, &gateway, first.whole(Lane::Fulfilment)).await;
            let (mut one, mut other) = (first.clone(), first);
            one.add(parcel("P-a", ParcelState::Deposited, None));
            other.add(parcel("P-b", ParcelState::Deposited, None));
            let next = [(Lane::Fulfilment, 3, 4)];
            let (one, other) = tokio::join!(
                send(&two.0, &gateway, one.batch(&next)),
                send(&two.1, &gateway, other.batch(&next)),
            );
            let outcomes = [short(&one), short(&other)];
            assert!(
                outcomes.contains(&acked(Lane::Fulfilment, 4)),
                "{outcomes:?}"
            );
            assert!(outcomes.contains(&Err(ProblemType::Fork)), "{outcomes:?}");
        }
    });
}

/// Two tracks of each of several gateways at the same time, every batch at both clouds, with two
/// lanes in one of the tracks.
#[test]
fn many_gateways_and_lanes_at_once_lose_nothing() {
    on_both(|two| async move {
        let mut tracks = tokio::task::JoinSet::new();
        for gateway in 0..6 {
            for lanes in [&[Lane::Fulfilment][..], &[Lane::Health, Lane::Demand][..]] {
                for store in [&two.0, &two.1] {
                    tracks.spawn(send_all(Arc::clone(store), format!("g-{gateway}"), lanes));
                }
            }
        }
        while let Some(done) = tracks.join_next().await {
            done.unwrap();
        }
        let source = source(30);
        for gateway in 0..6 {
            let gateway = format!("g-{gateway}");
            let (epoch, standing) = two.0.standing(&gateway).await.unwrap();
            assert_eq!(epoch, Some(7));
            let view = two.1.lanes(&gateway).await.unwrap();
            for lane in Lane::ALL {
                assert_eq!(standing[&lane].last, 30);
                assert_eq!(standing[&lane].chain, source.chain(lane, 30));
                assert_eq!(view.lanes[&lane].items, 30);
                assert_eq!(view.lanes[&lane].duplicates, 30);
            }
        }
    });
}

async fn send_all(store: Arc<dyn Store>, gateway: String, lanes: &[Lane]) {
    let source = source(30);
    for step in 0..10 {
        let parts = lanes.iter().map(|lane| (*lane, step * 3, step * 3 + 3));
        let batch = source.batch(&parts.collect::<Vec<_>>());
        let acked = short(&send(&store, &gateway, batch).await).unwrap();
        assert!(acked.0.values().all(|last| *last >= step * 3 + 3));
    }
}

#[test]
fn a_refusal_takes_nothing_of_the_batch() {
    on_both(|two| async move {
        let source = source(5);
        let sound = (Lane::Fulfilment, 0, 2);
        let with_gap = source.batch(&[sound, (Lane::Demand, 1, 2)]);
        let refused = short(&send(&two.0, GATEWAY, with_gap).await);
        assert_eq!(refused, Err(ProblemType::Gap));
        assert_eq!(two.0.standing(GATEWAY).await.unwrap().0, None);

        send(&two.0, GATEWAY, source.batch(&[sound])).await;
        let with_gap = source.batch(&[(Lane::Fulfilment, 2, 4), (Lane::Demand, 1, 2)]);
        let refused = short(&send(&two.1, GATEWAY, with_gap).await);
        assert_eq!(refused, Err(ProblemType::Gap));
        let mut newer = Source::new(8);
        newer.add(health(1));
        newer.add(health(2));
        let refused = newer.batch(&[(Lane::Health, 1, 2)]);
        let refused = short(&send(&two.1, GATEWAY, refused).await);
        assert_eq!(refused, Err(ProblemType::Gap));

        let (epoch, lanes) = two.0.standing(GATEWAY).await.unwrap();
        assert_eq!(epoch, Some(7));
        assert_eq!(lanes.len(), 1);
        assert_eq!(lanes[&Lane::Fulfilment].last, 2);
        assert_eq!(two.0.parcels(GATEWAY, None).await.unwrap().len(), 2);
    });
}

#[test]
fn a_nonce_is_good_once_whatever_became_of_the_request() {
    on_both(|two| async move {
        let source = source(2);
        let whole = source.whole(Lane::Fulfilment);
        let taken = nonce();
        for (store, expected) in [
            (&two.0, acked(Lane::Fulfilment, 2)),
            (&two.1, Err(ProblemType::Replay)),
        ] {
            let outcome = store.ingest(GATEWAY, whole.clone(), &taken).await.unwrap();
            assert_eq!(short(&outcome), expected);
        }
        let gap = source.batch(&[(Lane::Demand, 1, 2)]);
        let refused = nonce();
        for expected in [ProblemType::Gap, ProblemType::Replay] {
            let outcome = two.0.ingest(GATEWAY, gap.clone(), &refused).await.unwrap();
            assert_eq!(short(&outcome), Err(expected));
        }
        let known = nonce();
        for expected in [acked(Lane::Fulfilment, 2), Err(ProblemType::Replay)] {
            let outcome = two.1.ingest(GATEWAY, whole.clone(), &known).await.unwrap();
            assert_eq!(short(&outcome), expected);
        }
        assert!(!two.0.fresh(GATEWAY, &known).await.unwrap());
        assert!(two.0.fresh("estate-2", &known).await.unwrap());

        let both = nonce();
        let (one, other) = tokio::join!(two.0.fresh(GATEWAY, &both), two.1.fresh(GATEWAY, &both));
        assert_ne!(one.unwrap(), other.unwrap());
        let both = nonce();
        let more = source.whole(Lane::Health);
        let (one, other) = tokio::join!(
            two.0.ingest(GATEWAY, more.clone(), &both),
            two.1.ingest(GATEWAY, more.clone(), &both),
        );
        let outcomes = [short(&one.unwrap()), short(&other.unwrap())];
        assert!(outcomes.contains(&acked(Lane::Health, 2)), "{outcomes:?}");
        assert!(outcomes.contains(&Err(ProblemType::Replay)), "{outcomes:?}");
    });
}

fn enrolling(gateway: &str, key: u8, now_ms: i64) -> Enrolling {
    Enrolling {
        gateway: gateway.to_string(),
        token_digest: Some(TOKEN),
        public_key: [key; 32],
        now_ms,
    }
}

#[test]
fn a_token_is_good_for_one_gateway_and_key() {
    on_both(|two| async move {
        let enrol = async |it: Enrolling| two.1.enrol(&it).await.unwrap();
        assert!(!enrol(enrolling(GATEWAY, 1, 0)).await, "never issued");
        two.0
            .issue_token(Some(GATEWAY), TOKEN, 1_000)
            .await
            .unwrap();
        assert!(!enrol(enrolling("estate-2", 1, 0)).await, "for another");
        assert!(!enrol(enrolling(GATEWAY, 1, 1_001)).await, "too late");
        assert_eq!(two.0.keys(GATEWAY).await.unwrap(), None);

        assert!(enrol(enrolling(GATEWAY, 1, 1_000)).await);
        assert!(enrol(enrolling(GATEWAY, 1, 2_000)).await, "a lost answer");
        assert!(!enrol(enrolling(GATEWAY, 2, 1_000)).await, "another key");
        assert_eq!(two.0.keys(GATEWAY).await.unwrap(), Some(vec![[1; 32]]));

        // A new box with a fresh token: its key replaces the old one, its lanes stay.
        send(&two.0, GATEWAY, source(2).whole(Lane::Health)).await;
        two.0.add_key(GATEWAY, [3; 32]).await.unwrap();
        let fresh = [2; 32];
        two.1.issue_token(None, fresh, 9_000).await.unwrap();
        let mut new_box = enrolling(GATEWAY, 9, 5_000);
        new_box.token_digest = Some(fresh);
        assert!(enrol(new_box).await);
        assert_eq!(two.0.keys(GATEWAY).await.unwrap(), Some(vec![[9; 32]]));
        assert_eq!(
            two.0.standing(GATEWAY).await.unwrap().1[&Lane::Health].last,
            2
        );
        // The old token, sent again by whoever recorded it, brings no old key back.
        enrol(enrolling(GATEWAY, 1, 5_000)).await;
        assert_eq!(two.0.keys(GATEWAY).await.unwrap(), Some(vec![[9; 32]]));

        let mut open = enrolling("estate-2", 4, 0);
        open.token_digest = None;
        assert!(enrol(open).await);
        assert_eq!(two.0.keys("estate-2").await.unwrap(), Some(vec![[4; 32]]));
    });
}

#[test]
fn two_boxes_with_one_token_at_once_and_one_enrols() {
    on_both(|two| async move {
        for round in 0..10_u8 {
            let digest = [100 + round; 32];
            two.0.issue_token(None, digest, 1_000).await.unwrap();
            let [mut one, mut other] = [enrolling("a", 1, 0), enrolling("b", 2, 0)];
            one.token_digest = Some(digest);
            other.token_digest = Some(digest);
            let (one, other) = tokio::join!(two.0.enrol(&one), two.1.enrol(&other));
            assert_ne!(one.unwrap(), other.unwrap());
        }
    });
}

#[test]
fn the_old_key_is_good_until_the_new_one_is_used() {
    on_both(|two| async move {
        let keys = async || two.1.keys(GATEWAY).await.unwrap().unwrap();
        two.0.issue_token(None, TOKEN, 1_000).await.unwrap();
        two.0.add_key(GATEWAY, [2; 32]).await.unwrap();
        assert_eq!(two.0.keys(GATEWAY).await.unwrap(), None, "not enrolled");
        assert!(two.0.enrol(&enrolling(GATEWAY, 1, 0)).await.unwrap());

        two.0.add_key(GATEWAY, [2; 32]).await.unwrap();
        two.0.add_key(GATEWAY, [2; 32]).await.unwrap();
        two.0.key_used(GATEWAY, [1; 32]).await.unwrap();
        assert_eq!(keys().await, [[1; 32], [2; 32]]);
        two.0.add_key(GATEWAY, [3; 32]).await.unwrap();
        assert_eq!(keys().await, [[1; 32], [3; 32]]);
        two.0.key_used(GATEWAY, [2; 32]).await.unwrap();
        assert_eq!(keys().await, [[1; 32], [3; 32]]);
        two.0.key_used(GATEWAY, [3; 32]).await.unwrap();
        assert_eq!(keys().await, [[3; 32]]);
        two.0.add_key(GATEWAY, [3; 32]).await.unwrap();
        assert_eq!(keys().await, [[3; 32]]);
    });
}

fn courier(name: &str) -> Value {
    let what = Downlink::Courier {
        courier: name.to_string(),
        proof: Proof::Code(Secret::new("12345678")),
        valid_until: 1_760_000_000_000,
    };
    DownlinkItem {
        seq: 1,
        what: Ok(what),
    }
    .to_value()
}

fn seqs(items: &[Value]) -> Vec<u64> {
    let read = items.iter().map(DownlinkItem::from_value);
    read.map(|item| item.unwrap().seq).collect()
}

#[test]
fn the_downlink_is_numbered_once_for_all_clouds_and_forgets_couriers_codes() {
    on_both(|two| async move {
        let mut pushes = tokio::task::JoinSet::new();
        for n in 0..20 {
            let store = Arc::clone(if n % 2 == 0 { &two.0 } else { &two.1 });
            pushes.spawn(async move { store.push(GATEWAY, courier("c")).await.unwrap() });
        }
        let mut numbers: Vec<u64> = pushes.join_all().await;
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
        assert_eq!(seqs(&two.0.downlink(GATEWAY, 0).await.unwrap()), numbers);
        let rest = two.1.downlink(GATEWAY, 15).await.unwrap();
        assert_eq!(seqs(&rest), [16, 17, 18, 19, 20]);
        let all = two.0.downlink(GATEWAY, 0).await.unwrap();
        let coded = all.iter().filter(|it| it.to_json().contains("12345678"));
        assert_eq!(coded.count(), 5, "only those that the gateway hasn't");

        // A gateway that has more than this store ever gave: it is an old copy.
        assert!(two.0.downlink(GATEWAY, 40).await.unwrap().is_empty());
        assert_eq!(two.1.push(GATEWAY, courier("c")).await.unwrap(), 41);
        assert_eq!(two.0.lanes(GATEWAY).await.unwrap().downlink_last, 41);
    });
}

#[test]
fn what_is_pushed_at_one_cloud_wakes_the_long_poll_at_another() {
    on_both(|two| async move {
        let (_stop, stopped) = watch::channel(false);
        for after in 0..5 {
            let store = Arc::clone(&two.0);
            let stopped = stopped.clone();
            let wait = Duration::from_secs(20);
            let poll = tokio::spawn(async move {
                wait_for_items(store.as_ref(), GATEWAY, after, wait, stopped).await
            });
            while two.0.long_polls() == 0 {
                tokio::task::yield_now().await;
            }
            let item = map([("kind", Some("settings".into()))]);
            two.1.push("estate-2", item.clone()).await.unwrap();
            assert_eq!(two.1.push(GATEWAY, item).await.unwrap(), after + 1);
            let items = tokio::time::timeout(Duration::from_secs(5), poll).await;
            let items = items.expect("woken long before its wait is over");
            assert_eq!(items.unwrap().unwrap().len(), 1);
            assert_eq!(two.0.long_polls(), 0);
        }
        let outcome = wait_for_items(
            two.0.as_ref(),
            GATEWAY,
            5,
            Duration::from_millis(20),
            stopped,
        );
        assert!(outcome.await.unwrap().is_empty());
    });
}

#[test]
fn the_outbox_has_each_item_once_in_its_lanes_order() {
    on_both(|two| async move {
        let Two(store, _) = two;
        let mut source = source(4);
        source.add(claim("P-1"));
        send(&store, GATEWAY, source.batch(&[(Lane::Fulfilment, 0, 2)])).await;
        send(&store, GATEWAY, source.batch(&[(Lane::Fulfilment, 1, 4)])).await;
        send(&store, GATEWAY, source.whole(Lane::Demand)).await;
        send(&store, GATEWAY, source.whole(Lane::Fulfilment)).await;

        let first = store.outbox(2).await.unwrap().unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(
            store.outbox(2).await.unwrap().unwrap(),
            first,
            "not told yet"
        );
        let mut fulfilment = Vec::new();
        let mut next = first;
        while !next.is_empty() {
            for outgoing in &next {
                assert_eq!((outgoing.gateway.as_str(), outgoing.epoch), (GATEWAY, 7));
                if outgoing.lane == Lane::Fulfilment {
                    fulfilment.extend(outgoing.items.iter().map(|(seq, _)| *seq));
                }
                let open = outgoing.items.iter().all(|(_, body)| {
                    let item = Value::from_cbor(body).unwrap().to_json();
                    !item.contains("\"code\"")
                });
                assert!(open, "a sealed code leaves by the notice only");
            }
            let ids: Vec<u64> = next.iter().map(|outgoing| outgoing.id).collect();
            store.told(&ids).await.unwrap();
            next = store.outbox(2).await.unwrap().unwrap();
        }
        assert_eq!(fulfilment, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_closed_store_says_so() {
    on_both(|two| async move {
        two.0.close().await;
        let outcome: Result<Ingest, _> = {
            let batch = source(1).whole(Lane::Health);
            two.0.ingest(GATEWAY, batch, &nonce()).await
        };
        assert!(outcome.is_err());
        assert!(two.0.keys(GATEWAY).await.is_err());
    });
}
