//! Batches over real HTTP: taken once, compared, refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod gateway;

use std::collections::BTreeMap;

use cloud_protocol::uplink::ParcelState;
use cloud_protocol::{BODY_MAX_BYTES, Batch, Chain, JSON, Lane, ProblemType, Report};
use firmware_protocols::Form;
use gateway::{Gateway, Ledger, demand, ident, parcel, parcels, problem};
use reference_cloud::{Config, Refusal};

/// The fields of a problem that a gateway acts on.
async fn acts(
    gateway: &Gateway,
    batch: &Batch,
) -> (u16, Option<ProblemType>, Option<String>, Option<u64>) {
    let problem = gateway.refused(batch).await;
    (problem.status, problem.kind, problem.lane, problem.expected)
}

#[tokio::test]
async fn both_encodings_are_taken_and_answered() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut gateway = Gateway::of(&cloud);
    for (form, name) in [(Form::Cbor, "cbor"), (Form::Json, "json")] {
        gateway.form = form;
        gateway.id = ident(name);
        let acked = gateway.send(&parcels(3).batch(1, 0, 3)).await;
        assert_eq!(acked, [(Lane::Fulfilment, 3)].into());
        assert_eq!(cloud.parcels(&gateway.id).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn what_is_sent_again_changes_nothing() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let ledger = parcels(10);
    for (after, last) in [(0, 4), (0, 4), (0, 6), (2, 5), (6, 6), (5, 10), (0, 10)] {
        let acked = gateway.send(&ledger.batch(1, after, last)).await;
        let before = if (after, last) == (2, 5) { 6 } else { last };
        assert_eq!(acked[&Lane::Fulfilment], before, "{after}..{last}");
    }
    let lane = cloud.lanes(&gateway.id).await.unwrap().lanes[&Lane::Fulfilment];
    assert_eq!(
        (lane.items, lane.last, lane.duplicates),
        (10, 10, 4 + 4 + 3 + 1 + 10)
    );
}

#[tokio::test]
async fn a_gap_is_refused_with_what_is_expected_and_nothing_is_taken() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let ledger = parcels(9);
    gateway.send(&ledger.batch(1, 0, 3)).await;

    let mut batch = ledger.batch(1, 5, 9);
    let mut counts = Ledger::default();
    counts.add(demand(1, 9));
    batch.lanes.insert(Lane::Demand, counts.part(0, 1));
    let gap = (
        409,
        Some(ProblemType::Gap),
        Some("fulfilment".to_string()),
        Some(4),
    );
    assert_eq!(acts(&gateway, &batch).await, gap);

    let lanes = cloud.lanes(&gateway.id).await.unwrap().lanes;
    assert_eq!(lanes.keys().collect::<Vec<_>>(), [&Lane::Fulfilment]);
    assert_eq!(lanes[&Lane::Fulfilment].last, 3);
    assert_eq!(cloud.demand(&gateway.id).await.unwrap(), []);

    assert_eq!(
        gateway.send(&ledger.batch(1, 3, 9)).await[&Lane::Fulfilment],
        9
    );
}

/// A fork shows wherever histories overlap: in the chain before the batch, in items that are here
/// already, and at the very start.
#[tokio::test]
async fn another_history_is_refused_as_a_fork() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let ledger = parcels(8);
    gateway.send(&ledger.batch(1, 0, 5)).await;

    let mut clone = parcels(3);
    clone.add(parcel("OTHER", ParcelState::Deposited));
    for _ in 0..4 {
        clone.add(parcel("OTHER", ParcelState::Collected));
    }
    let mut bad_start = ledger.batch(1, 0, 8);
    bad_start.lanes.get_mut(&Lane::Fulfilment).unwrap().chain = Chain([1; 32]);
    let fork = (
        409,
        Some(ProblemType::Fork),
        Some("fulfilment".to_string()),
        None,
    );
    for batch in [
        clone.batch(1, 0, 4),
        clone.batch(1, 3, 8),
        clone.batch(1, 4, 5),
        clone.batch(1, 5, 8),
        bad_start,
    ] {
        assert_eq!(
            acts(&gateway, &batch).await,
            fork,
            "{:?}",
            batch.lanes[&Lane::Fulfilment].after
        );
    }
    assert_eq!(cloud.parcel(&gateway.id, "OTHER").await.unwrap(), None);
    assert_eq!(
        gateway.send(&ledger.batch(1, 0, 8)).await[&Lane::Fulfilment],
        8
    );
}

#[tokio::test]
async fn a_new_store_starts_over_and_an_old_one_is_refused() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let (old, mut new) = (parcels(5), Ledger::default());
    gateway.send(&old.batch(100, 0, 5)).await;

    new.add(parcel("P-00001", ParcelState::Collected));
    new.add(parcel("NEW", ParcelState::Expected));
    let unfounded = (
        409,
        Some(ProblemType::Gap),
        Some("fulfilment".to_string()),
        Some(1),
    );
    assert_eq!(acts(&gateway, &new.batch(101, 1, 2)).await, unfounded);
    assert_eq!(cloud.lanes(&gateway.id).await.unwrap().epoch, Some(100));

    assert_eq!(
        gateway.send(&new.batch(101, 0, 2)).await[&Lane::Fulfilment],
        2
    );
    let lanes = cloud.lanes(&gateway.id).await.unwrap();
    assert_eq!(lanes.epoch, Some(101));
    assert_eq!(
        (
            lanes.lanes[&Lane::Fulfilment].items,
            lanes.lanes[&Lane::Fulfilment].last
        ),
        (7, 2)
    );
    let collected = cloud.parcel(&gateway.id, "P-00001").await.unwrap().unwrap();
    assert_eq!(collected.state, Some(ParcelState::Collected));

    let outdated = (409, Some(ProblemType::Epoch), None, Some(101));
    assert_eq!(acts(&gateway, &old.batch(100, 5, 5)).await, outdated);
    let nothing = Batch {
        epoch: 100,
        lanes: BTreeMap::new(),
    };
    assert_eq!(acts(&gateway, &nothing).await, outdated);
}

#[tokio::test]
async fn a_parcel_has_its_last_state_and_its_code_while_it_waits() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let mut ledger = gateway.ledger();
    ledger.add(parcel("P", ParcelState::Expected));
    ledger.add(parcel("P", ParcelState::Deposited));
    gateway.send(&ledger.batch(1, 0, 2)).await;
    let view = cloud.parcel(&gateway.id, "P").await.unwrap().unwrap();
    assert_eq!(view.state, Some(ParcelState::Deposited));
    assert_eq!(
        (view.bank.as_deref(), view.compartment),
        (Some("bank-a"), Some(7))
    );
    assert_eq!(
        cloud.codes(&gateway.id).await.unwrap()["P"].reveal(),
        "004711"
    );

    ledger.add(parcel("P", ParcelState::Collected));
    gateway.send(&ledger.batch(1, 2, 3)).await;
    assert!(cloud.codes(&gateway.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_correction_of_demand_replaces_and_an_older_one_does_not() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let mut ledger = Ledger::default();
    for (revision, comings, shown) in [(1, 20, 20), (3, 26, 26), (2, 23, 26)] {
        ledger.add(demand(revision, comings));
        let last = ledger.items.len() as u64;
        gateway.send(&ledger.batch(1, last - 1, last)).await;
        let cells = cloud.demand(&gateway.id).await.unwrap();
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].series["comings"], shown);
    }
}

#[tokio::test]
async fn the_last_health_is_kept() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let mut ledger = Ledger::default();
    for events in [1, 2] {
        ledger.add(Report::Health([("events".to_string(), events)].into()));
    }
    gateway.send(&ledger.batch(1, 0, 2)).await;
    let health = cloud.health(&gateway.id).await.unwrap().unwrap();
    assert_eq!(
        (health.at, health.counters["events"]),
        (1_760_000_000_000, 2)
    );
}

#[tokio::test]
async fn a_kind_of_a_newer_gateway_is_kept_and_acknowledged() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let zero = "A".repeat(43);
    let body = format!(
        r#"{{"epoch":1,"lanes":{{"demand":{{"after":0,"chain":"{zero}","items":[{{"seq":1,"at":5,"kind":"forecast","hours":[1,2]}}]}}}}}}"#
    );
    let response = gateway.post(JSON, body.into()).await.unwrap();
    assert_eq!(response.status(), 200);
    let lane = cloud.lanes(&gateway.id).await.unwrap().lanes[&Lane::Demand];
    assert_eq!((lane.items, lane.unknown, lane.last), (1, 1, 1));
}

#[tokio::test]
async fn an_unreadable_body_is_refused_with_its_reason() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let cases: [(&str, &[u8], u16, &str); 5] = [
        (JSON, b"{\"epoch\":1", 400, "not well-formed JSON"),
        (
            JSON,
            b"{\"epoch\":1,\"epoch\":1}",
            400,
            "duplicate key 'epoch'",
        ),
        ("application/cbor", b"\xa1\x61", 400, "not well-formed CBOR"),
        ("application/cbor", b"{}", 400, ""),
        (
            "text/plain",
            b"{}",
            415,
            "set the header Content-Type to application/cbor or application/json",
        ),
    ];
    for (media_type, body, status, reason) in cases {
        let problem = problem(gateway.post(media_type, body.to_vec()).await.unwrap()).await;
        assert_eq!(
            (problem.status, problem.kind),
            (status, Some(ProblemType::Malformed))
        );
        assert!(
            problem.detail.as_deref().unwrap().starts_with(reason),
            "{problem}"
        );
    }

    let mut batch = parcels(2).batch(1, 0, 2);
    let items = &mut batch.lanes.get_mut(&Lane::Fulfilment).unwrap().items;
    items[1].seq = 7;
    let problem = gateway.refused(&batch).await;
    assert_eq!(problem.lane.as_deref(), Some("fulfilment"));
    assert_eq!(
        problem.detail.unwrap(),
        "lane 'fulfilment': item 2: field 'seq': expected 2 (items are numbered from after + 1 \
         without a gap), got 7"
    );
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_as_too_large() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    for size in [BODY_MAX_BYTES + 1, 3 * BODY_MAX_BYTES] {
        let problem = problem(gateway.post(JSON, vec![b' '; size]).await.unwrap()).await;
        assert_eq!(
            (problem.status, problem.kind),
            (413, Some(ProblemType::TooLarge))
        );
    }
    // Just as large as allowed: read, and found to be nothing.
    let problem = problem(
        gateway
            .post(JSON, vec![b' '; BODY_MAX_BYTES])
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(problem.kind, Some(ProblemType::Malformed));
}

#[tokio::test]
async fn only_listed_gateways_are_known() {
    let config = Config {
        gateways: vec![ident("estate-1")],
        ..Config::in_memory()
    };
    let cloud = reference_cloud::serve(config).await.unwrap();
    let mut gateway = Gateway::of(&cloud);
    gateway.send(&parcels(1).batch(1, 0, 1)).await;
    gateway.id = ident("estate-2");
    let refused = gateway.refused(&parcels(1).batch(1, 0, 1)).await;
    assert_eq!(
        (refused.status, refused.kind),
        (404, Some(ProblemType::UnknownGateway))
    );
    let refused = problem(gateway.try_poll(0, 0).await.unwrap()).await;
    assert_eq!(refused.kind, Some(ProblemType::UnknownGateway));
}

/// Gateways don't see or disturb each other.
#[tokio::test]
async fn each_gateway_has_its_own_history() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut gateway = Gateway::of(&cloud);
    gateway.send(&parcels(4).batch(9, 0, 4)).await;
    gateway.id = ident("estate-2");
    assert_eq!(
        gateway.send(&parcels(2).batch(3, 0, 2)).await[&Lane::Fulfilment],
        2
    );
    assert_eq!(cloud.parcels(&ident("estate-1")).await.unwrap().len(), 4);
    assert_eq!(cloud.parcels(&ident("estate-2")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_lost_answer_is_made_good_by_sending_again() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let ledger = parcels(6);
    cloud.faults().lose_next_answers(2);
    for last in [3, 6] {
        assert!(gateway.try_send(&ledger.batch(1, 0, last)).await.is_err());
        let lane = cloud.lanes(&gateway.id).await.unwrap().lanes[&Lane::Fulfilment];
        assert_eq!(lane.last, last, "taken although nobody heard of it");
    }
    assert_eq!(
        gateway.send(&ledger.batch(1, 0, 6)).await[&Lane::Fulfilment],
        6
    );
    let lane = cloud.lanes(&gateway.id).await.unwrap().lanes[&Lane::Fulfilment];
    assert_eq!((lane.items, lane.duplicates), (6, 3 + 6));
}

#[tokio::test]
async fn an_unwell_cloud_answers_so_and_takes_nothing() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    let batch = parcels(1).batch(1, 0, 1);
    cloud.faults().answer_with(Some(Refusal {
        status: 429,
        retry_after_s: Some(7),
    }));
    let response = gateway.try_send(&batch).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(gateway.try_poll(0, 5).await.unwrap().status(), 429);
    assert!(cloud.lanes(&gateway.id).await.unwrap().lanes.is_empty());
    cloud.faults().answer_with(None);
    gateway.send(&batch).await;
}

fn head(entries: u64, fill: u8) -> Report {
    Report::Audit {
        entries,
        head: [fill; 32],
    }
}

/// The batch is taken all the same: what a person looks at is the admin's view.
#[tokio::test]
async fn a_rewritten_history_is_taken_and_shown() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    for form in [Form::Cbor, Form::Json] {
        let mut gateway = Gateway::of(&cloud);
        gateway.form = form;
        gateway.id = ident(if form == Form::Cbor { "cbor" } else { "json" });
        let mut ledger = Ledger::default();
        for report in [head(10, 1), head(10, 1), head(25, 2)] {
            ledger.add(report);
        }
        gateway.send(&ledger.batch(1, 0, 3)).await;
        let view = cloud.audit(&gateway.id).await.unwrap();
        assert_eq!(view.contradictions, []);
        let latest = view.latest.unwrap();
        assert_eq!((latest.entries, latest.head), (25, [2; 32]));

        // The same number with another head, and fewer than before.
        ledger.add(head(25, 9));
        ledger.add(head(24, 3));
        // Known from before the contradiction, so nothing new is wrong with it.
        ledger.add(head(25, 2));
        let acked = gateway.send(&ledger.batch(1, 3, 6)).await;
        assert_eq!(acked[&Lane::Health], 6);
        let view = cloud.audit(&gateway.id).await.unwrap();
        let wrong: Vec<_> = view.contradictions.iter().map(|c| c.entries).collect();
        assert_eq!(wrong, [24, 25]);
        assert_eq!(view.latest.unwrap().head, [2; 32]);
        let path = format!("/v1/admin/gateways/{}/audit", gateway.id);
        let shown = gateway.call(reqwest::Method::GET, &path, "").await;
        let shown = gateway::read(shown).await;
        assert_eq!(shown.get("sound"), Some(&false.into()));

        // A new epoch starts over.
        let mut restored = Ledger::default();
        restored.add(head(3, 7));
        gateway.send(&restored.batch(2, 0, 1)).await;
        let view = cloud.audit(&gateway.id).await.unwrap();
        assert_eq!(
            (view.contradictions.len(), view.latest.unwrap().entries),
            (2, 3)
        );
    }
}
