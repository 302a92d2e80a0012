//! Several devices on a line, polled.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmware_protocols::Order;
use linli::links::serial::linli::Linli;
use tokio::io::duplex;

use crate::bed::{Far, Recorder, Running, far_end, plan, until};

const BANKS: [(&str, u8); 4] = [("bank-a", 1), ("bank-b", 2), ("bank-c", 90), ("dead", 126)];

fn banks(intake: &Arc<Recorder>) -> Vec<Arc<Mutex<Far>>> {
    let banks: Vec<_> = BANKS
        .iter()
        .map(|(id, address)| Far::new(id, *address, true, intake))
        .collect();
    banks[3].lock().unwrap().dead = true;
    banks
}

fn all_promised(banks: &[Arc<Mutex<Far>>]) -> bool {
    let mut alive = banks.iter().take(3);
    alive.all(|far| far.lock().unwrap().store.events.is_empty())
}

#[tokio::test]
async fn all_are_served_although_one_is_dead_and_frames_are_lost() {
    let intake = Recorder::open();
    let banks = banks(&intake);
    for bank in &banks {
        bank.lock().unwrap().alarms(30);
    }
    let (near, end) = duplex(4_096);
    let _far = far_end(end, banks.clone(), 9);
    let running = Running::start(&plan(&BANKS, true), &intake, near);
    until("all are promised", || all_promised(&banks)).await;
    for (n, (id, _)) in BANKS.iter().enumerate().take(3) {
        let order = Order::Open { compartment: 1 };
        running.command(id, &format!("o-{n}"), order, 20_000).await;
        assert_eq!(intake.stored(id, 1), (1..=30).collect::<Vec<_>>());
    }
    until("all commands are read", || {
        intake.sent.lock().unwrap().len() == 3
    })
    .await;
    for (n, bank) in banks.iter().enumerate().take(3) {
        assert_eq!(bank.lock().unwrap().carried_out, [format!("o-{n}")]);
    }
    until("the dead one is known to be", || {
        running.status.view().slaves[3].answers == Some(false)
            || running.status.view().slaves[3].missed >= 3
    })
    .await;
    let view = running.status.view();
    assert!(!intake.is_online("dead"));
    assert!(intake.is_online("bank-c"));
    assert!(view.slaves[0].rtt_ms.is_some());
    assert!(view.slaves[3].pause_ms > 0);
    running.stop().await;
}

/// The command doesn't wait for the others, and the dead one costs a time-out.
#[tokio::test]
async fn a_command_is_sent_within_a_round() {
    let intake = Recorder::open();
    let banks = banks(&intake);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, banks.clone(), 0);
    let running = Running::start(&plan(&BANKS, true), &intake, near);
    until("they are there", || {
        ["bank-a", "bank-b", "bank-c"]
            .iter()
            .all(|id| intake.is_online(id))
    })
    .await;
    let mut longest = Duration::ZERO;
    for n in 0..20 {
        let began = Instant::now();
        let order = Order::Open { compartment: 1 };
        running
            .command("bank-b", &format!("o-{n}"), order, 9_000)
            .await;
        until("it is read", || intake.sent.lock().unwrap().len() == n + 1).await;
        longest = longest.max(began.elapsed());
    }
    println!("the longest of 20: {longest:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    running.stop().await;
}

#[tokio::test]
async fn after_a_restart_of_either_side_everything_goes_on() {
    let intake = Recorder::open();
    let banks = banks(&intake);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, banks.clone(), 0);
    let running = Running::start(&plan(&BANKS, true), &intake, near);
    banks[0].lock().unwrap().alarms(5);
    until("they are promised", || all_promised(&banks)).await;
    banks[0].lock().unwrap().restart();
    banks[0].lock().unwrap().alarms(2);
    until("they are promised", || all_promised(&banks)).await;
    running.stop().await;

    banks[1].lock().unwrap().alarms(4);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, banks.clone(), 0);
    let running = Running::start(&plan(&BANKS, true), &intake, near);
    until("they are promised", || all_promised(&banks)).await;
    assert_eq!(intake.stored("bank-a", 1).len(), 5);
    assert_eq!(intake.stored("bank-a", 2), [1, 2]);
    assert_eq!(intake.stored("bank-b", 1), [1, 2, 3, 4]);
    running.stop().await;
}

#[test]
fn several_devices_need_a_shared_line() {
    let refused = Linli::new(&plan(&BANKS, false)).err().unwrap().to_string();
    assert!(refused.contains("multi_drop = true"), "{refused}");
}
