//! What doesn't go the straight way: overdue, cancelled, brought to a desk, damaged, returned.

use std::time::{SystemTime, UNIX_EPOCH};

use cloud_protocol::downlink::{Downlink, ExpectedParcel};
use cloud_protocol::uplink::{ClaimKind, ParcelState};

use crate::evening::{Evening, parcel, steps, until};

/// A parcel whose time is over in a moment.
fn soon_overdue(id: &str) -> ExpectedParcel {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    ExpectedParcel {
        deadline: i64::try_from(now.as_millis()).unwrap() + 1_000,
        ..parcel(id)
    }
}

/// Waits until the technician sees why a parcel goes back.
async fn goes_back(evening: &Evening, parcel: &str, why: &str) {
    until(&format!("{parcel} to go back"), async || {
        let view = evening.linli(&["parcel", parcel]);
        (view["back"] == why).then_some(()).ok_or(view.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_one_is_taken_back_and_one_waits_on_at_the_desk() {
    let evening = Evening::begin().await;
    let forgotten = evening.announced(soon_overdue("forgotten")).await;
    let late = evening.announced(soon_overdue("late")).await;
    evening.badge_is_scanned("scan a waybill").await;
    let first = evening.is_brought("forgotten").await;
    let second = evening.is_brought("late").await;
    for id in ["forgotten", "late"] {
        goes_back(&evening, id, "overdue").await;
        evening.cloud_knows(id, ParcelState::Overdue).await;
    }

    // The office brings one to its desk, where its code still works.
    let acted = evening.linli(&["desk", "transfer", "late"]);
    assert_eq!(
        acted["opening"]["slot"],
        format!("bank-a/{second}"),
        "{acted}"
    );
    evening
        .is_taken(second, &["late"], "Bring it to: desk-1, Office")
        .await;
    let view = evening.technician_sees("late", "deposited").await;
    assert_eq!(view["desk"], "desk-1", "{view}");
    evening
        .digits_open_nothing(&late, "Your parcel waits at: desk-1, Office")
        .await;
    let said = evening.hand_over_at_the_desk(&late).unwrap();
    assert!(said.contains("late") && !said.contains(&late), "{said}");
    let view = evening.cloud_knows("late", ParcelState::Collected).await;
    assert_eq!(view.desk.as_deref(), Some("desk-1"));
    assert!(
        evening.hand_over_at_the_desk(&late).is_err(),
        "a second time"
    );

    // The courier takes the other one back; its code dies with that.
    evening.badge_is_scanned("1 to take back: type 0").await;
    assert_eq!(evening.opens_to_take_out("0").await, first);
    evening
        .is_taken(
            first,
            &["forgotten"],
            "Taken back: nothing more goes back here",
        )
        .await;
    evening
        .cloud_knows("forgotten", ParcelState::Retrieved)
        .await;
    evening
        .digits_open_nothing(&forgotten, "This code is not good any more")
        .await;
    evening
        .digits_open_nothing("0", "Nothing to take back here")
        .await;
    let view = evening.technician_sees("forgotten", "retrieved").await;
    assert!(steps(&view).contains(&"overdue"), "{view}");
    assert!(
        view["trace"].to_string().contains("courier sf-22"),
        "{view}"
    );
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_after_its_deposit_the_code_is_dead_and_it_is_taken_back() {
    let evening = Evening::begin().await;
    let code = evening.announced(parcel("p-1")).await;
    evening.badge_is_scanned("scan a waybill").await;
    let number = evening.is_brought("p-1").await;
    let parcel = "p-1".to_string();
    evening
        .cloud_says(&Downlink::ParcelCancelled { parcel })
        .await;
    goes_back(&evening, "p-1", "cancelled").await;
    let view = evening.cloud_knows("p-1", ParcelState::Cancelled).await;
    assert_eq!(view.compartment, Some(number), "it is still there");

    evening
        .digits_open_nothing(&code, "This code is not good any more")
        .await;
    // Nobody but a courier opens it with 0.
    assert!(!evening.bank.compartments()[usize::from(number) - 1].open);
    evening.badge_is_scanned("1 to take back: type 0").await;
    assert_eq!(evening.opens_to_take_out("0").await, number);
    // Closed with the parcel still in it: not taken back yet.
    evening
        .is_taken(number, &[], "is not empty: type 0 to open it again")
        .await;
    assert_eq!(evening.opens_to_take_out("0").await, number);
    evening.is_taken(number, &["p-1"], "Taken back").await;
    evening.cloud_knows("p-1", ParcelState::Retrieved).await;
    evening.technician_sees("p-1", "retrieved").await;
    assert_eq!(evening.compartment(number)["state"], "free");
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_goods_are_paid_for_on_the_spot_and_come_back_into_the_locker() {
    let evening = Evening::begin().await;
    let code = evening.announced(parcel("eggs")).await;
    evening.badge_is_scanned("scan a waybill").await;
    let number = evening.is_brought("eggs").await;
    assert_eq!(evening.opens_to_take_out(&code).await, number);
    evening
        .is_taken(number, &["eggs"], "Collected, thank you")
        .await;
    evening.cloud_knows("eggs", ParcelState::Collected).await;

    let claim = [
        "desk",
        "claim",
        "eggs",
        "--kind",
        "damaged",
        "--note",
        "six of ten broken",
    ];
    let claim = [&claim[..], &["--paid", "12.50", "--return-to", "bank-a"]].concat();
    let acted = evening.linli(&claim);
    let back = acted["code"].as_str().unwrap().to_string();
    assert_eq!(acted["good_at"]["point"], "bank-a", "{acted}");
    let claims = until("the cloud to hear of the claim", async || {
        let view = evening
            .cloud
            .parcel(&crate::evening::site(), "eggs")
            .await
            .unwrap();
        let claims = view.map(|view| view.claims).unwrap_or_default();
        (!claims.is_empty())
            .then_some(claims)
            .ok_or("none".to_string())
    })
    .await;
    let claim = &claims[0].what;
    assert_eq!(
        (claim.claim, claim.compensation_fen),
        (ClaimKind::Damaged, Some(1_250))
    );
    let id = claim.returned_as.clone().unwrap();
    assert_eq!(
        evening.notice(&id, "").await,
        back,
        "the cloud can send it too"
    );

    // The resident puts it in; from then on it waits for a courier.
    let at = evening.opens_for_digits(&back, "put the parcel in").await;
    evening.is_put_in(at, &id).await;
    let view = evening.cloud_knows(&id, ParcelState::Deposited).await;
    assert_eq!(
        (view.return_of.as_deref(), view.compartment),
        (Some("eggs"), Some(at))
    );
    goes_back(&evening, &id, "return").await;
    evening.badge_is_scanned("1 to take back: type 0").await;
    assert_eq!(evening.opens_to_take_out("0").await, at);
    evening.is_taken(at, &[&id], "Taken back").await;
    evening.cloud_knows(&id, ParcelState::Retrieved).await;
    evening
        .digits_open_nothing(&back, "This code is not good any more")
        .await;

    let view = evening.technician_sees("eggs", "collected").await;
    assert!(
        view["trace"]
            .to_string()
            .contains("paid 12.50 yuan on the spot"),
        "{view}"
    );
    evening.end().await;
}
