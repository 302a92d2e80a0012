//! Residents who collect, strangers who guess, codes that are lost.

use std::time::Duration;

use cloud_protocol::uplink::ParcelState;
use simulator::front::Answer;

use crate::evening::{Evening, mistyped, parcel, steps, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_jams_something_is_left_and_the_same_code_opens_again() {
    let evening = Evening::begin().await;
    let code = evening.announced(parcel("p-1")).await;
    evening
        .digits_open_nothing(&code, "Your parcel is not here yet")
        .await;
    evening
        .badge_is_scanned("Badge accepted: scan a waybill")
        .await;
    let number = evening.is_brought("p-1").await;
    evening.cloud_knows("p-1", ParcelState::Deposited).await;

    // The lock doesn't move.
    evening.bank.jam(number, true);
    let answer = evening.bank.type_code(&code).await;
    assert!(!matches!(answer, Answer::Opened(_)), "{answer:?}");
    evening
        .bank_says("The door did not open: please try again")
        .await;
    assert_eq!(evening.compartment(number)["state"], "faulty");
    evening.bank.jam(number, false);

    // It moves, but the parcel stays inside.
    assert_eq!(evening.opens_to_take_out(&code).await, number);
    evening
        .is_taken(number, &[], "is not empty: your code stays good")
        .await;
    // Now it is taken out.
    assert_eq!(evening.opens_to_take_out(&code).await, number);
    evening
        .is_taken(number, &["p-1"], "Collected, thank you")
        .await;
    evening.cloud_knows("p-1", ParcelState::Collected).await;

    // An umbrella was left behind: within the grace the same code opens again.
    assert_eq!(evening.opens_to_take_out(&code).await, number);
    evening.bank.close(number);
    until("the compartment to be free", async || {
        let seen = evening.compartment(number);
        (seen["state"] == "free")
            .then_some(())
            .ok_or(seen.to_string())
    })
    .await;
    let view = evening.technician_sees("p-1", "collected").await;
    let told = steps(&view);
    let count = |step| told.iter().filter(|told| **told == step).count();
    assert_eq!((count("collected"), count("reopened")), (1, 1), "{told:?}");
    let states: Vec<_> = evening
        .cloud_was_told()
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    let life = [
        ParcelState::Expected,
        ParcelState::Deposited,
        ParcelState::Collected,
    ];
    assert_eq!(states, life, "each once");
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_locks_the_keypad_and_a_kill_doesnt_unlock_it() {
    let mut evening = Evening::with_rules("lockout_first_s = 25").await;
    let code = evening.announced(parcel("p-1")).await;
    evening.badge_is_scanned("scan a waybill").await;
    let number = evening.is_brought("p-1").await;
    evening.cloud_knows("p-1", ParcelState::Deposited).await;

    let guess = mistyped(&code);
    for left in (1..=4).rev() {
        evening
            .digits_open_nothing(&guess, &format!("Wrong code, {left} more tr"))
            .await;
    }
    evening
        .digits_open_nothing(&guess, "Locked: try again in 1 min")
        .await;
    let status = evening.linli(&["status"]);
    assert_eq!(status["health"], "attention", "{status}");
    assert!(
        status["troubles"].to_string().contains("bank-a"),
        "{status}"
    );

    evening.kill_the_gateway();
    evening.start_the_gateway();
    evening.bank.device().until_online().await;
    evening
        .digits_open_nothing(&code, "Locked: try again in 1 min")
        .await;
    assert!(!evening.bank.compartments()[0].open);

    // The resident waits, and gets in.
    let opened = until("the keypad to unlock", async || {
        match evening.bank.type_code(&code).await {
            Answer::Opened(number) => Ok(number),
            other => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Err(format!("{other:?}"))
            }
        }
    })
    .await;
    assert_eq!(opened, number);
    evening.bank_says("take your parcel").await;
    evening
        .is_taken(number, &["p-1"], "Collected, thank you")
        .await;
    evening.cloud_knows("p-1", ParcelState::Collected).await;
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compartment_out_of_use_and_a_lost_code() {
    let evening = Evening::begin().await;
    let args = [
        "compartment",
        "disable",
        "bank-a/1",
        "--reason",
        "hinge broken",
    ];
    evening.linli(&args);
    let seen = evening.compartment(1);
    assert_eq!(
        (&seen["state"], &seen["disabled"]),
        (&"disabled".into(), &"hinge broken".into())
    );

    let old = evening.announced(parcel("p-1")).await;
    evening.badge_is_scanned("scan a waybill").await;
    assert_eq!(
        evening.is_brought("p-1").await,
        2,
        "the first is out of use"
    );

    let reissued = evening.linli(&["reissue", "p-1"]);
    let new = reissued["code"].as_str().unwrap();
    assert_ne!(new, old);
    // The cloud has the new one, for the notice.
    assert_eq!(evening.notice("p-1", &old).await, new);
    evening
        .digits_open_nothing(&old, "This code is not good any more")
        .await;
    assert_eq!(evening.opens_to_take_out(new).await, 2);
    evening.is_taken(2, &["p-1"], "Collected, thank you").await;
    evening.cloud_knows("p-1", ParcelState::Collected).await;

    evening.linli(&["compartment", "enable", "bank-a/1"]);
    evening.announced(parcel("p-2")).await;
    assert_eq!(evening.is_brought("p-2").await, 1, "back in use");
    let ledger = evening.linli(&["commands"]);
    let states: Vec<_> = ledger
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["state"])
        .collect();
    assert_eq!(states, ["closed"; 3], "{ledger}");
    evening.end().await;
}
