//! The downlink over real HTTP, and the cloud going away, coming back and starting again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod gateway;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use cloud_protocol::uplink::ParcelState;
use cloud_protocol::{Downlink, Lane, ProblemType};
use firmware_protocols::Form;
use firmware_protocols::value::map;
use gateway::{Gateway, ident, parcels, problem, read};
use reference_cloud::{Cloud, Config, Keep, StoreError};
use reqwest::Method;

fn expected(parcel: &str) -> ExpectedParcel {
    ExpectedParcel {
        parcel: parcel.to_string(),
        recipient: "r-1".to_string(),
        size: Size::M,
        zone: Zone::Chilled,
        point: ident("bank-a"),
        deadline: 1_760_000_000_000,
        consent: true,
        items: Some(2),
        low: false,
        return_of: None,
    }
}

fn cancelled(n: u64) -> Downlink {
    Downlink::ParcelCancelled {
        parcel: format!("P-{n}"),
    }
}

async fn a_poll_waits(cloud: &Cloud) {
    let until = Instant::now() + Duration::from_secs(10);
    while cloud.long_polls() == 0 {
        assert!(Instant::now() < until, "the long poll arrives");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn items_come_in_order_after_the_cursor_in_both_encodings() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut gateway = Gateway::of(&cloud);
    let announced = cloud.announce(&gateway.id, &expected("P-1")).await.unwrap();
    assert_eq!(announced, 1);
    for n in 2..=230 {
        assert_eq!(cloud.push(&gateway.id, &cancelled(n)).await.unwrap(), n);
    }
    for form in [Form::Cbor, Form::Json] {
        gateway.form = form;
        let mut all = Vec::new();
        loop {
            let after = all
                .last()
                .map_or(0, |item: &cloud_protocol::DownlinkItem| item.seq);
            let items = gateway.poll(after, 0).await;
            if items.is_empty() {
                break;
            }
            assert!(items.len() <= 100);
            all.extend(items);
        }
        let numbers: Vec<_> = all.iter().map(|item| item.seq).collect();
        assert_eq!(numbers, (1..=230).collect::<Vec<_>>());
        assert_eq!(all[0].what, Ok(Downlink::ParcelExpected(expected("P-1"))));
        assert_eq!(all[229].what, Ok(cancelled(230)));
    }
    let announced = cloud.parcel(&gateway.id, "P-1").await.unwrap().unwrap();
    assert_eq!(announced.state, None);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_new_item() {
    let cloud = Arc::new(reference_cloud::serve(Config::in_memory()).await.unwrap());
    let gateway = Arc::new(Gateway::of(&cloud));
    let polling = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move {
            let items = gateway.poll(0, 60).await;
            (items, Instant::now())
        }
    });
    a_poll_waits(&cloud).await;
    // What is for others doesn't end it: it looks, and goes on waiting.
    cloud.push(&ident("estate-2"), &cancelled(9)).await.unwrap();
    cloud.lanes(&gateway.id).await.unwrap();
    assert!(!polling.is_finished());
    let pushed = Instant::now();
    cloud.push(&gateway.id, &cancelled(1)).await.unwrap();
    let (items, heard) = polling.await.unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].what, Ok(cancelled(1)));
    assert!(heard - pushed < Duration::from_secs(1));
}

#[tokio::test]
async fn a_long_poll_without_news_ends_empty_after_its_time() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let started = Instant::now();
    assert!(gateway.poll(0, 1).await.is_empty());
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_item_nobody_understands_is_sent_all_the_same() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let item = map([
        ("kind", Some("weather".into())),
        ("seq", Some(99_u64.into())),
    ]);
    assert_eq!(cloud.push_value(&gateway.id, item).await.unwrap(), 1);
    let items = gateway.poll(0, 0).await;
    assert_eq!(items[0].seq, 1);
    assert_eq!(
        items[0].what.as_ref().unwrap_err().0,
        "unknown kind 'weather'"
    );
    let not_a_map = cloud.push_value(&gateway.id, 7_u64.into()).await;
    assert!(matches!(not_a_map, Err(StoreError::NotAnItem(_))));
}

/// The cloud was restored from an old copy: the gateway has more than it. New items get numbers
/// that the gateway doesn't know yet.
#[tokio::test]
async fn numbering_goes_on_above_what_the_gateway_has() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    cloud.push(&gateway.id, &cancelled(1)).await.unwrap();
    assert!(gateway.poll(40, 0).await.is_empty());
    assert_eq!(cloud.push(&gateway.id, &cancelled(2)).await.unwrap(), 41);
    assert_eq!(gateway.poll(40, 0).await.len(), 1);
}

#[tokio::test]
async fn a_senseless_cursor_is_malformed() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    for query in ["after=x", "after=-1", "after=9007199254740992", "wait=soon"] {
        let problem = problem(gateway.poll_as(query).await.unwrap()).await;
        assert_eq!(problem.kind, Some(ProblemType::Malformed), "{query}");
    }
}

#[tokio::test]
async fn an_unreachable_cloud_refuses_and_cuts_and_comes_back_at_its_address() {
    let cloud = Arc::new(reference_cloud::serve(Config::in_memory()).await.unwrap());
    let gateway = Arc::new(Gateway::of(&cloud));
    gateway.send(&parcels(1).batch(1, 0, 1)).await;
    for _ in 0..3 {
        let polling = tokio::spawn({
            let gateway = Arc::clone(&gateway);
            async move { gateway.try_poll(0, 60).await }
        });
        a_poll_waits(&cloud).await;
        cloud.faults().set_reachable(false);
        assert!(polling.await.unwrap().is_err(), "the long poll is cut");
        let refused = gateway.try_poll(0, 0).await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        let squatter = Config {
            listen: cloud.address(),
            ..Config::in_memory()
        };
        let taken = reference_cloud::serve(squatter).await;
        assert!(taken.is_err(), "the address stays the cloud's own");

        cloud.faults().set_reachable(true);
        let until = Instant::now() + Duration::from_secs(5);
        while gateway.try_poll(0, 0).await.is_err() {
            assert!(Instant::now() < until, "back within a moment");
        }
    }
    assert_eq!(
        gateway.send(&parcels(2).batch(1, 0, 2)).await[&Lane::Fulfilment],
        2
    );
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::in_file(folder.path().join("cloud.db"));

    let cloud = reference_cloud::serve(config.clone()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let ledger = gateway.parcels(5);
    gateway.send(&ledger.batch(7, 0, 3)).await;
    cloud
        .announce(&gateway.id, &expected("SOON"))
        .await
        .unwrap();
    cloud.shutdown().await;
    assert!(matches!(
        cloud.parcels(&gateway.id).await,
        Err(StoreError::Closed)
    ));
    drop(cloud);

    let cloud = reference_cloud::serve(config).await.unwrap();
    let gateway = Gateway::of(&cloud);
    assert_eq!(
        gateway.send(&ledger.batch(7, 3, 5)).await[&Lane::Fulfilment],
        5
    );
    let refused = gateway.refused(&ledger.batch(6, 0, 5)).await;
    assert_eq!(refused.kind, Some(ProblemType::Epoch));
    assert_eq!(gateway.poll(0, 0).await.len(), 1);
    assert_eq!(cloud.push(&gateway.id, &cancelled(1)).await.unwrap(), 2);
    let views = cloud.parcels(&gateway.id).await.unwrap();
    let known = views
        .iter()
        .filter(|view| view.state == Some(ParcelState::Expected));
    assert_eq!((views.len(), known.count()), (6, 5));
    assert_eq!(cloud.codes(&gateway.id).await.unwrap().len(), 5);
}

/// Codes come sealed and stay so.
#[tokio::test]
async fn a_code_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cloud.db");
    let cloud = reference_cloud::serve(Config::in_file(&path))
        .await
        .unwrap();
    let gateway = Gateway::of(&cloud);
    let ledger = gateway.parcels(1);
    gateway.send(&ledger.batch(1, 0, 1)).await;
    assert_eq!(
        cloud.codes(&gateway.id).await.unwrap()["P-00000"].reveal(),
        "004711"
    );
    let has = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!has(&bytes, b"004711"));
    }
    cloud.shutdown().await;
    let bytes = std::fs::read(&path).unwrap();
    assert!(has(&bytes, b"P-00000") && !has(&bytes, b"004711"));
}

#[tokio::test]
async fn a_store_that_is_made_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.db");
    let cloud = reference_cloud::serve(Config::in_file(&path))
        .await
        .unwrap();
    for name in ["cloud.db", "cloud.db-wal", "cloud.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_newer_store_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cloud.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let config = Config {
        store: Keep::File(path),
        ..Config::in_memory()
    };
    let e = reference_cloud::serve(config).await.err().unwrap();
    let refusal = format!("{e:#}");
    assert!(
        refusal.contains("schema 99, this version knows up to "),
        "{e:#}"
    );
    assert!(refusal.ends_with(": use a newer version"), "{e:#}");
}

#[tokio::test]
async fn shutdown_ends_long_polls_at_once() {
    let cloud = Arc::new(reference_cloud::serve(Config::in_memory()).await.unwrap());
    let gateway = Arc::new(Gateway::of(&cloud));
    gateway.poll(0, 0).await;
    let polling = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.poll(0, 60).await }
    });
    a_poll_waits(&cloud).await;
    let started = Instant::now();
    cloud.shutdown().await;
    assert!(polling.await.unwrap().is_empty());
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(gateway.try_poll(0, 0).await.unwrap_err().is_connect());
}

/// As a stranger with curl would.
#[tokio::test]
async fn an_operator_announces_a_parcel_and_sees_its_state_and_code() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let path = "/v1/admin/gateways/estate-1";
    let item = r#"{"kind":"parcel.expected","parcel":"P-00000","recipient":"r","size":"S","zone":"ambient","point":"bank-a","deadline":1760000000000,"consent":true}"#;
    let pushed = gateway
        .call(Method::POST, &format!("{path}/downlink"), item)
        .await;
    assert_eq!(pushed.status(), 201);
    assert_eq!(read(pushed).await.to_json(), r#"{"seq":1}"#);
    let shown = gateway
        .call(Method::GET, &format!("{path}/parcels/P-00000"), "")
        .await;
    assert_eq!(
        read(shown).await.to_json(),
        r#"{"parcel":"P-00000","state":"announced"}"#
    );
    assert_eq!(gateway.poll(0, 0).await.len(), 1);

    gateway.send(&gateway.parcels(1).batch(1, 0, 1)).await;
    let shown = gateway
        .call(Method::GET, &format!("{path}/parcels"), "")
        .await;
    assert_eq!(
        read(shown).await.to_json(),
        r#"[{"parcel":"P-00000","state":"expected","since":1760000000000,"bank":"bank-a","compartment":7,"code":"004711"}]"#
    );
    let shown = gateway
        .call(Method::GET, &format!("{path}/lanes"), "")
        .await;
    assert_eq!(
        read(shown).await.to_json(),
        r#"{"epoch":1,"lanes":{"fulfilment":{"items":1,"last":1,"duplicates":0,"unknown":0}},"downlink_last":1}"#
    );
    let shown = gateway.call(Method::GET, "/v1/admin/gateways", "").await;
    assert_eq!(read(shown).await.to_json(), r#"["estate-1"]"#);

    let bad = gateway
        .call(
            Method::POST,
            &format!("{path}/downlink"),
            r#"{"kind":"parcel.expected"}"#,
        )
        .await;
    assert_eq!(
        problem(bad).await.detail.unwrap(),
        "field 'parcel' is missing"
    );
    let none = gateway
        .call(Method::GET, &format!("{path}/parcels/NONE"), "")
        .await;
    assert_eq!(problem(none).await.status, 404);
}
