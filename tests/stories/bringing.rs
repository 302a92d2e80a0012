//! Couriers who bring parcels, and what goes wrong before the door is closed.

use cloud_protocol::downlink::{ExpectedParcel, Size};
use cloud_protocol::uplink::ParcelState;
use serde_json::json;
use simulator::front::Answer;

use crate::evening::{BADGE, COURIERS_CODE, Evening, parcel, steps};

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_without_a_badge_brings_three_parcels_of_one_household() {
    let evening = Evening::begin().await;
    let for_the_lis = |id: &str, size| ExpectedParcel {
        recipient: "the-lis".to_string(),
        size,
        ..parcel(id)
    };
    let vegetables = evening.announced(for_the_lis("vegetables", Size::M)).await;
    evening.announced(for_the_lis("rice", Size::M)).await;
    let milk = evening.announced(for_the_lis("milk", Size::S)).await;
    let other = evening.announced(parcel("of-the-wangs")).await;

    // He types his code; two parcels share a large compartment, the third finds it full.
    let answer = evening.bank.type_code(COURIERS_CODE).await;
    assert!(
        answer.words().contains("Code accepted: scan a waybill"),
        "{answer:?}"
    );
    let large = evening.is_brought("vegetables").await;
    assert_eq!(evening.is_brought("rice").await, large);
    let small = evening.is_brought("milk").await;
    let of_the_wangs = evening.is_brought("of-the-wangs").await;
    assert!(large > 8 && small <= 8 && of_the_wangs <= 8 && of_the_wangs != small);
    let seen = evening.compartment(large);
    assert_eq!(seen["parcels"], json!(["vegetables", "rice"]), "{seen}");

    // One code is enough for the household, one compartment after the other.
    assert_eq!(evening.opens_to_take_out(&milk).await, small);
    evening
        .is_taken(small, &["milk"], "2 more here: type your code again")
        .await;
    assert_eq!(evening.opens_to_take_out(&milk).await, large);
    evening
        .is_taken(large, &["vegetables", "rice"], "Collected, thank you")
        .await;
    // Within the grace their own codes still open, but only what is empty now.
    assert_eq!(evening.opens_to_take_out(&vegetables).await, large);
    assert_eq!(evening.bank.inside(large), Vec::<String>::new());
    evening.bank.close(large);
    assert_eq!(evening.opens_to_take_out(&other).await, of_the_wangs);
    evening
        .is_taken(of_the_wangs, &["of-the-wangs"], "Collected, thank you")
        .await;

    for id in ["vegetables", "rice", "milk", "of-the-wangs"] {
        evening.cloud_knows(id, ParcelState::Collected).await;
    }
    let rice = evening.technician_sees("rice", "collected").await;
    let accepted = rice["trace"].as_array().unwrap().iter();
    let accepted: Vec<_> = accepted
        .filter(|row| row["step"] == "code-accepted")
        .collect();
    assert!(
        accepted[0]["detail"]
            .to_string()
            .contains("by the code of milk"),
        "{rice}"
    );
    assert!(rice["trace"].to_string().contains("courier jd-7"), "{rice}");
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fits_so_the_desk_takes_the_parcel_and_its_code_works_there() {
    let evening = Evening::begin().await;
    let large = |id: &str| ExpectedParcel {
        size: Size::L,
        ..parcel(id)
    };
    for id in ["l-1", "l-2", "l-3", "l-4"] {
        evening.announced(large(id)).await;
    }
    let code = evening.announced(large("one-too-many")).await;
    evening.badge_is_scanned("scan a waybill").await;
    for id in ["l-1", "l-2", "l-3", "l-4"] {
        assert!(evening.is_brought(id).await > 8);
    }
    let go_to = "No free compartment fits: take the parcel to desk-1, Office";
    evening.waybill_is_refused("one-too-many", go_to).await;

    let at_the_desk = evening.desk.turn().await;
    assert!(matches!(
        at_the_desk.scan_badge(BADGE).await,
        Answer::Yes(_)
    ));
    let answer = at_the_desk.scan_waybill("one-too-many").await;
    assert!(
        answer.words().contains("keep the parcel at the desk"),
        "{answer:?}"
    );
    drop(at_the_desk);
    evening.desk.put("one-too-many");
    let waits = evening.linli(&["desk", "list"]);
    assert_eq!(waits[0]["parcel"], "one-too-many", "{waits}");
    let view = evening
        .cloud_knows("one-too-many", ParcelState::Deposited)
        .await;
    assert_eq!(view.desk.as_deref(), Some("desk-1"));
    assert_eq!(view.unplaceable.len(), 1, "told once: {view:?}");
    assert_eq!(view.unplaceable[0].what.size, Size::L);

    // The bank knows where it is; the desk gives it out for the same code.
    evening
        .digits_open_nothing(&code, "Your parcel waits at: desk-1, Office")
        .await;
    let answer = evening.desk.turn().await.type_code(&code).await;
    assert!(
        matches!(&answer, Answer::Yes(words) if words.contains("hand the parcel over")),
        "{answer:?}"
    );
    assert!(evening.desk.take("one-too-many"));
    evening
        .cloud_knows("one-too-many", ParcelState::Collected)
        .await;
    let answer = evening.desk.turn().await.type_code(&code).await;
    assert!(matches!(answer, Answer::No(_)), "a second time: {answer:?}");
    let view = evening.technician_sees("one-too-many", "collected").await;
    let told = steps(&view);
    assert!(
        told.contains(&"no-compartment") && told.contains(&"collected"),
        "{told:?}"
    );
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_compartment_nothing_inside_and_the_second_before_the_first() {
    let evening = Evening::begin().await;
    let first = evening.announced(parcel("first")).await;
    evening.announced(parcel("second")).await;
    evening.badge_is_scanned("scan a waybill").await;

    // The second waybill before the first door is closed.
    assert_eq!(evening.opens_for_waybill("first").await, 1);
    evening
        .waybill_is_refused("second", "Close compartment 1 first")
        .await;
    // Closed with nothing inside.
    evening.bank.close(1);
    evening
        .bank_says("Nothing was put in: scan the waybill again")
        .await;
    let view = evening.technician_sees("first", "expected").await;
    assert!(steps(&view).contains(&"deposit-undone"), "{view}");

    // A technician has left compartment 5 open, and that is where the parcel goes.
    let opened = evening.linli(&["open", "bank-a/5", "--reason", "hinge checked"]);
    assert_eq!(opened["state"], "opened", "{opened}");
    let meant = evening.opens_for_waybill("first").await;
    assert!(meant != 5);
    assert!(evening.bank.put(5, "first"));
    evening.bank.close(5);
    evening
        .bank_says(&format!("Parcel in 5? Yours is {meant}"))
        .await;
    evening.bank.close(meant);
    evening.bank_says("Nothing was put in").await;
    // Scanned again, the one opens where the parcel is, and it may stay there.
    assert_eq!(evening.opens_for_waybill("first").await, 5);
    evening.bank.close(5);
    evening.bank_says("Stored in compartment 5").await;
    evening.is_brought("second").await;

    assert_eq!(evening.opens_to_take_out(&first).await, 5);
    evening
        .is_taken(5, &["first"], "Collected, thank you")
        .await;
    let view = evening.cloud_knows("first", ParcelState::Collected).await;
    assert_eq!(view.compartment, Some(5));
    let view = evening.technician_sees("first", "collected").await;
    assert!(steps(&view).contains(&"wrong-compartment-closed"), "{view}");
    evening.cloud_knows("second", ParcelState::Deposited).await;
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consent_and_without_an_announcement_nothing_goes_into_the_locker() {
    let evening = Evening::begin().await;
    let shy = ExpectedParcel {
        consent: false,
        ..parcel("shy")
    };
    let code = evening.announced(shy).await;
    let answer = evening.bank.turn().await.scan_waybill("shy").await;
    assert!(
        answer.words().contains("Scan your badge first"),
        "{answer:?}"
    );
    evening.badge_is_scanned("scan a waybill").await;
    let words = "No consent to a locker: take the parcel to desk-1, Office";
    evening.waybill_is_refused("shy", words).await;
    evening
        .waybill_is_refused("of-nobody", "neither a badge nor an expected parcel")
        .await;

    // Brought to the office, where the staff takes it in by hand.
    let taken = evening.linli(&["desk", "receive", "shy", "--courier", "sf-22"]);
    assert_eq!(taken["parcel"], "shy", "{taken}");
    evening.cloud_knows("shy", ParcelState::Deposited).await;
    let said = evening.hand_over_at_the_desk(&code).unwrap();
    assert!(said.contains("shy"), "{said}");
    let view = evening.cloud_knows("shy", ParcelState::Collected).await;
    assert_eq!(
        (view.desk.as_deref(), view.compartment),
        (Some("desk-1"), None)
    );
    assert!(
        evening
            .bank
            .compartments()
            .iter()
            .all(|c| !c.open && c.inside.is_empty())
    );
    evening.end().await;
}
