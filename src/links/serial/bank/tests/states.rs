//! What is said of the compartments' states, and when.

use std::sync::atomic::Ordering;

use firmware_protocols::Order;

use super::{Bed, bed};
use crate::links::serial::voice::WAITING_MAX;

#[tokio::test]
async fn each_state_is_said_once_at_the_start_and_then_when_it_changes() {
    let mut bed = bed();
    bed.first(&[3]);
    assert!(bed.told().await.is_empty(), "one status is none");
    bed.first(&[3]);
    assert_eq!(
        bed.told().await,
        ["1 closed", "2 closed", "3 open", "4 closed"]
    );
    for _ in 0..5 {
        bed.first(&[3]);
    }
    assert!(bed.told().await.is_empty());
    bed.first(&[]);
    bed.first(&[3]);
    bed.first(&[3]);
    assert!(bed.told().await.is_empty(), "a bounce is no news");
    bed.first(&[]);
    bed.first(&[]);
    assert_eq!(bed.told().await, ["3 closed"]);
}

#[tokio::test]
async fn polarity_and_occupancy_are_as_the_settings_say() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.second(&[2], &[1]);
    }
    assert_eq!(
        bed.told().await,
        [
            "5 closed full",
            "6 open empty",
            "7 closed empty",
            "8 closed empty"
        ]
    );
}

#[tokio::test]
async fn what_is_inside_is_said_when_the_door_is_closed() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.second(&[], &[]);
    }
    bed.told().await;
    for (open, full) in [(true, false), (true, true), (true, false), (true, true)] {
        let (open, full) = (open.then_some(1), full.then_some(1));
        bed.second(open.as_slice(), full.as_slice());
        bed.second(open.as_slice(), full.as_slice());
    }
    assert_eq!(bed.told().await, ["5 open empty"], "hands are no news");
    bed.second(&[], &[1]);
    bed.second(&[], &[1]);
    assert_eq!(bed.told().await, ["5 closed full"]);
    bed.second(&[], &[]);
    bed.second(&[], &[]);
    assert_eq!(bed.told().await, ["5 closed empty"]);
}

#[tokio::test]
async fn a_closed_door_waits_for_a_wavering_sensor_but_not_for_ever() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.second(&[1], &[]);
    }
    bed.told().await;
    let waver = |bed: &mut Bed, n: u32| {
        bed.second(&[], if n.is_multiple_of(2) { &[1] } else { &[] });
    };
    for n in 0..20 {
        waver(&mut bed, n);
    }
    assert!(bed.told().await.is_empty());
    for n in 20..24 {
        waver(&mut bed, n);
    }
    assert_eq!(bed.told().await, ["5 closed"], "it isn't guessed");
    bed.second(&[], &[1]);
    bed.second(&[], &[1]);
    assert_eq!(bed.told().await, ["5 closed full"]);
}

#[tokio::test]
async fn a_silent_boards_doors_are_unknown_until_it_is_back() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.first(&[1]);
        bed.second(&[], &[]);
    }
    bed.told().await;
    bed.bank.silent(0);
    bed.bank.silent(0);
    assert_eq!(
        bed.told().await,
        ["1 unknown", "2 unknown", "3 unknown", "4 unknown"]
    );
    assert_eq!(*bed.heard.presence.lock().unwrap(), [true]);
    for _ in 0..3 {
        bed.first(&[]);
    }
    assert_eq!(
        bed.told().await,
        ["1 closed", "2 closed", "3 closed", "4 closed"]
    );
    bed.bank.silent(0);
    bed.bank.silent(1);
    assert_eq!(*bed.heard.presence.lock().unwrap(), [true, false]);
    bed.second(&[], &[]);
    assert_eq!(*bed.heard.presence.lock().unwrap(), [true, false, true]);
}

#[tokio::test]
async fn a_board_never_heard_is_unknown_too() {
    let mut bed = bed();
    bed.bank.silent(0);
    assert_eq!(bed.told().await.len(), 4);
    assert!(bed.heard.presence.lock().unwrap().is_empty());
    bed.bank.silent(1);
    assert_eq!(*bed.heard.presence.lock().unwrap(), [false]);
}

#[tokio::test]
async fn a_loose_contact_doesnt_fill_the_disk_and_the_latest_state_is_said() {
    let mut bed = bed();
    for n in 0..1_000 {
        let open: &[u16] = if n % 2 == 0 { &[1] } else { &[] };
        bed.first(open);
        bed.first(open);
    }
    let told = bed.told().await;
    // 100 s: 30 at once, then one each 10 s; and the other three doors once.
    assert!((35..=45).contains(&told.len()), "{}", told.len());
    bed.first(&[1]);
    bed.first(&[1]);
    bed.pass(20_000);
    assert_eq!(bed.told().await.last().unwrap(), "1 open");
    // And a command's opening is said whatever was said before.
    bed.open("o-1", 1);
    bed.send();
    bed.first(&[1]);
    assert_eq!(bed.told().await, ["1 open", "o-1 done"]);
}

#[tokio::test]
async fn after_events_were_lost_every_state_is_said_again() {
    let mut bed = bed();
    for _ in 0..2 {
        bed.first(&[3]);
    }
    bed.bank.silent(1);
    bed.told().await;
    bed.heard.disk_full.store(true, Ordering::Relaxed);
    for n in 0..WAITING_MAX + 10 {
        bed.order(&format!("i-{n}"), Order::Identify);
    }
    bed.first(&[]);
    bed.first(&[]);
    assert!(bed.bank.voice.lost() > 0);
    tokio::task::yield_now().await;
    bed.heard.disk_full.store(false, Ordering::Relaxed);
    bed.told().await;
    bed.pass(0);
    bed.first(&[]);
    assert_eq!(
        bed.told().await,
        [
            "5 unknown",
            "6 unknown",
            "7 unknown",
            "8 unknown",
            "1 closed",
            "2 closed",
            "3 closed",
            "4 closed"
        ]
    );
    bed.first(&[]);
    assert!(bed.told().await.is_empty());
}
