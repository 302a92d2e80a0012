//! What the cloud knows of a parcel in every state, and what it forgets in time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod gateway;

use cloud_protocol::downlink::{Proof, Size, Zone};
use cloud_protocol::uplink::{ClaimKind, ClaimReport, ParcelReport, ParcelState, Unplaceable};
use cloud_protocol::{CodeForResident, Downlink, Report};
use firmware_protocols::Form;
use firmware_protocols::event::Secret;
use gateway::{Gateway, Ledger, ident, parcel, parcel_report, problem, read};
use reference_cloud::{Cloud, Config, ParcelView, Told};
use reqwest::Method;

const AT: i64 = 1_760_000_000_000;

/// A cloud and a gateway that sends one item after the other.
struct Sending {
    cloud: Cloud,
    gateway: Gateway,
    ledger: Ledger,
}

impl Sending {
    async fn start() -> Self {
        let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
        let gateway = Gateway::of(&cloud);
        Self {
            ledger: gateway.ledger(),
            gateway,
            cloud,
        }
    }

    async fn send(&mut self, report: Report) {
        self.ledger.add(report);
        let last = self.ledger.items.len() as u64;
        let batch = self.ledger.batch(1, last - 1, last);
        self.gateway.send(&batch).await;
    }

    async fn parcel(&self, id: &str) -> ParcelView {
        let found = self.cloud.parcel(&self.gateway.id, id).await.unwrap();
        found.expect("a parcel that was reported")
    }

    async fn shown(&self, path: &str) -> String {
        let path = format!("/v1/admin/gateways/estate-1/{path}");
        read(self.gateway.call(Method::GET, &path, "").await)
            .await
            .to_json()
    }
}

fn claim(claim: ClaimKind, compensation_fen: Option<u64>, keeps: bool) -> ClaimReport {
    ClaimReport {
        parcel: "P".to_string(),
        claim,
        operator: "Li Na".to_string(),
        desk: ident("desk-1"),
        note: "鸡蛋碎了".to_string(),
        compensation_fen,
        keeps,
        returned_as: (!keeps).then(|| "P-R".to_string()),
    }
}

fn unplaceable(desk: Option<&str>) -> Unplaceable {
    Unplaceable {
        parcel: "P".to_string(),
        point: ident("bank-a"),
        size: Size::L,
        zone: Zone::Chilled,
        desk: desk.map(ident),
    }
}

/// In every state: the word, and whether the resident still has use for the code.
#[tokio::test]
async fn each_state_is_shown_and_a_dead_code_is_forgotten() {
    use ParcelState::{
        Cancelled, Claimed, Collected, Deposited, Expected, Overdue, Refused, Retrieved,
    };
    let mut at = Sending::start().await;
    for (n, (last, good)) in [
        (Expected, true),
        (Deposited, true),
        (Overdue, true),
        (Refused, false),
        (Claimed, false),
        (Cancelled, false),
        (Collected, false),
        (Retrieved, false),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("P-{n}");
        for state in [Expected, Deposited, last] {
            at.send(parcel(&id, state)).await;
        }
        let view = at.parcel(&id).await;
        assert_eq!(view.state, Some(last));
        assert_eq!(view.code.is_some(), good, "{last:?}");
        let place = (view.bank.as_deref(), view.compartment);
        assert_eq!(place, (Some("bank-a"), Some(7)));
        let shown = at.shown(&format!("parcels/{id}")).await;
        assert!(
            shown.contains(&format!(r#""state":"{}""#, last.word())),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn an_overdue_parcel_that_is_extended_or_carried_to_a_desk_keeps_its_code() {
    let mut at = Sending::start().await;
    for state in [
        ParcelState::Expected,
        ParcelState::Deposited,
        ParcelState::Overdue,
        ParcelState::Deposited,
    ] {
        at.send(parcel("P", state)).await;
    }
    at.send(Report::Parcel(ParcelReport {
        bank: None,
        compartment: None,
        desk: Some(ident("desk-1")),
        ..parcel_report("P", ParcelState::Deposited)
    }))
    .await;
    let view = at.parcel("P").await;
    assert_eq!((view.bank, view.compartment), (None, None));
    assert_eq!(view.desk.as_deref(), Some("desk-1"));
    assert!(view.code.is_some());
    assert_eq!(
        at.cloud.codes(&at.gateway.id).await.unwrap()["P"].reveal(),
        "004711"
    );
}

#[tokio::test]
async fn a_return_is_tied_to_its_original_and_its_code_ends_with_the_deposit() {
    let mut at = Sending::start().await;
    let put_in = |state| {
        Report::Parcel(ParcelReport {
            return_of: Some("P".to_string()),
            ..parcel_report("P-R", state)
        })
    };
    at.send(put_in(ParcelState::Expected)).await;
    let view = at.parcel("P-R").await;
    assert_eq!(view.return_of.as_deref(), Some("P"));
    assert!(view.code.is_some());
    at.send(put_in(ParcelState::Deposited)).await;
    let view = at.parcel("P-R").await;
    assert_eq!((view.code, view.unlisted), (None, false));
    at.send(put_in(ParcelState::Retrieved)).await;
    assert_eq!(
        at.shown("parcels/P-R").await,
        r#"{"parcel":"P-R","state":"retrieved","since":1760000000000,"bank":"bank-a","compartment":7,"return_of":"P"}"#
    );
}

#[tokio::test]
async fn an_unlisted_parcel_comes_with_its_code() {
    let mut at = Sending::start().await;
    let code = CodeForResident::Plain(Secret::new("123456"));
    at.send(Report::Parcel(ParcelReport {
        unlisted: true,
        code: Some(code),
        ..parcel_report("U", ParcelState::Deposited)
    }))
    .await;
    assert_eq!(
        at.shown("parcels/U").await,
        r#"{"parcel":"U","state":"deposited","since":1760000000000,"bank":"bank-a","compartment":7,"code":"123456","unlisted":true}"#
    );
}

/// They change no state, keep their order, and are taken once however often they are sent.
#[tokio::test]
async fn claims_and_what_no_compartment_took_are_shown_with_the_parcel() {
    let mut at = Sending::start().await;
    at.send(Report::Unplaceable(unplaceable(None))).await;
    let view = at.parcel("P").await;
    assert_eq!(view.state, None, "the gateway hasn't said a state");
    at.send(parcel("P", ParcelState::Deposited)).await;
    at.send(Report::Unplaceable(unplaceable(Some("desk-1"))))
        .await;
    at.send(Report::Claim(claim(ClaimKind::Damaged, Some(1_250), true)))
        .await;
    at.send(Report::Claim(claim(ClaimKind::Refused, None, false)))
        .await;
    at.send(parcel("OTHER", ParcelState::Deposited)).await;
    at.gateway.send(&at.ledger.batch(1, 0, 6)).await;

    let told = |what| Told { at: AT, what };
    let view = at.parcel("P").await;
    assert_eq!(view.state, Some(ParcelState::Deposited));
    let twice = [unplaceable(None), unplaceable(Some("desk-1"))];
    assert_eq!(view.unplaceable, twice.map(told));
    let told = |what| Told { at: AT, what };
    let both = [
        claim(ClaimKind::Damaged, Some(1_250), true),
        claim(ClaimKind::Refused, None, false),
    ];
    assert_eq!(view.claims, both.map(told));
    let other = at.parcel("OTHER").await;
    assert!(other.claims.is_empty() && other.unplaceable.is_empty());
    let all = at.cloud.parcels(&at.gateway.id).await.unwrap();
    assert_eq!((all.len(), all[1].claims.len()), (2, 2));

    assert_eq!(
        at.shown("parcels/P").await,
        concat!(
            r#"{"parcel":"P","state":"deposited","since":1760000000000,"bank":"bank-a","compartment":7,"#,
            r#""unplaceable":[{"at":1760000000000,"point":"bank-a","size":"L","zone":"chilled"},"#,
            r#"{"at":1760000000000,"point":"bank-a","size":"L","zone":"chilled","desk":"desk-1"}],"#,
            r#""claims":[{"at":1760000000000,"claim":"damaged","operator":"Li Na","desk":"desk-1","#,
            r#""note":"鸡蛋碎了","compensation_fen":1250,"keeps":true},"#,
            r#"{"at":1760000000000,"claim":"refused","operator":"Li Na","desk":"desk-1","#,
            r#""note":"鸡蛋碎了","keeps":false,"returned_as":"P-R"}]}"#
        )
    );
}

/// A new store of the gateway starts its numbers over: what the old one claimed stays.
#[tokio::test]
async fn claims_of_an_older_store_stay() {
    let mut at = Sending::start().await;
    at.send(Report::Claim(claim(ClaimKind::Damaged, Some(1), true)))
        .await;
    let mut newer = Ledger::default();
    newer.add(Report::Claim(claim(ClaimKind::Damaged, Some(2), true)));
    at.gateway.send(&newer.batch(2, 0, 1)).await;
    let claims = at.parcel("P").await.claims;
    let paid: Vec<_> = claims.iter().map(|c| c.what.compensation_fen).collect();
    assert_eq!(paid, [Some(1), Some(2)]);
}

/// As a stranger with curl would; and the digits are gone once the gateway has them.
#[tokio::test]
async fn a_courier_is_announced_by_code_and_the_code_is_forgotten_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloud.db");
    let cloud = reference_cloud::serve(Config::in_file(&file))
        .await
        .unwrap();
    let mut gateway = Gateway::of(&cloud);
    let path = "/v1/admin/gateways/estate-1/downlink";
    let item =
        r#"{"kind":"courier","courier":"carl","code":"80471147","valid_until":1760000000000}"#;
    let pushed = gateway.call(Method::POST, path, item).await;
    assert_eq!(pushed.status(), 201);
    let neither = r#"{"kind":"courier","courier":"carl","valid_until":1760000000000}"#;
    let refused = problem(gateway.call(Method::POST, path, neither).await).await;
    assert_eq!(
        refused.detail.unwrap(),
        "expected either 'badge' or 'code', got neither or both"
    );

    let courier = Downlink::Courier {
        courier: "carl".to_string(),
        proof: Proof::Code(Secret::new("80471147")),
        valid_until: AT,
    };
    for form in [Form::Cbor, Form::Json] {
        gateway.form = form;
        assert_eq!(gateway.poll(0, 0).await[0].what, Ok(courier.clone()));
    }
    cloud.push(&gateway.id, &courier).await.unwrap();
    // Up to item 1 it is on the gateway's disk; the second has its code until it is, too.
    assert_eq!(gateway.poll(1, 0).await[0].what, Ok(courier));
    let items = gateway.poll(0, 0).await;
    assert!(items[0].what.is_err() && items[1].what.is_ok());
    assert!(gateway.poll(2, 0).await.is_empty());
    cloud.shutdown().await;
    drop(cloud);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"80471147"));
    }
}
