//! Point to point: one device, which speaks when it wants.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use firmware_protocols::command::BankCode;
use firmware_protocols::{Kind, Order};
use linli::links::serial::linli::Linli;
use linli::pace::Limits;
use tokio::io::duplex;
use tokio_serial::SerialStream;

use crate::bed::{Far, Recorder, Running, far_end, plan, until};

#[tokio::test]
async fn events_are_promised_once_they_are_on_disk_and_not_before() {
    let intake = Recorder::new(0);
    let far = Far::new("bank-a", 3, false, &intake);
    far.lock().unwrap().alarms(20);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    until("the device is there", || intake.is_online("bank-a")).await;
    until("a window has come", || intake.count() == 8).await;
    assert_eq!(
        far.lock().unwrap().store.events.len(),
        20,
        "none is promised"
    );
    intake.gate.add_permits(3);
    until("three are promised", || {
        far.lock().unwrap().store.events.len() == 17
    })
    .await;
    intake.gate.add_permits(1_000);
    until("all are promised", || {
        far.lock().unwrap().store.events.is_empty()
    })
    .await;
    assert_eq!(intake.stored("bank-a", 1), (1..=20).collect::<Vec<_>>());
    assert_eq!(intake.count(), 20, "each came once");
    let view = running.status.view();
    assert_eq!(view.slaves[0].answers, Some(true));
    assert_eq!(view.slaves[0].address, Some(3));
    running.stop().await;
    assert!(!intake.is_online("bank-a"));
}

#[tokio::test]
async fn what_the_disk_refuses_comes_again() {
    let intake = Recorder::open();
    intake.refuses.store(2, Ordering::SeqCst);
    let far = Far::new("bank-a", 3, false, &intake);
    far.lock().unwrap().alarms(12);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    until("all are promised", || {
        far.lock().unwrap().store.events.is_empty()
    })
    .await;
    assert_eq!(intake.stored("bank-a", 1), (1..=12).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn a_line_that_loses_every_fifth_frame_loses_no_event_and_no_command() {
    let intake = Recorder::open();
    let far = Far::new("bank-a", 3, false, &intake);
    far.lock().unwrap().alarms(60);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 5);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    for n in 0..6 {
        let order = Order::Open { compartment: 7 };
        running
            .command("bank-a", &format!("o-{n}"), order, 20_000)
            .await;
    }
    until("all are promised", || {
        far.lock().unwrap().store.events.is_empty()
    })
    .await;
    until("all commands are carried out", || {
        far.lock().unwrap().carried_out.len() == 6
    })
    .await;
    assert_eq!(intake.stored("bank-a", 1), (1..=60).collect::<Vec<_>>());
    let ids: Vec<String> = (0..6).map(|n| format!("o-{n}")).collect();
    assert_eq!(far.lock().unwrap().carried_out, ids, "each once, in order");
    // Told when it leaves; again, if the device forgot it by then.
    let mut told = intake.sent.lock().unwrap().clone();
    told.dedup();
    assert_eq!(told, ids);
    assert!(running.status.view().noise_bytes > 0);
    running.stop().await;
}

#[tokio::test]
async fn a_command_whose_time_is_over_is_never_sent() {
    let intake = Recorder::open();
    let far = Far::new("bank-a", 3, false, &intake);
    far.lock().unwrap().dead = true;
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    let late = Instant::now() + Duration::from_millis(200);
    running
        .command("bank-a", "late", Order::Open { compartment: 1 }, 200)
        .await;
    running
        .command("bank-a", "good", Order::Open { compartment: 1 }, 20_000)
        .await;
    until("the first's time is over", || Instant::now() > late).await;
    far.lock().unwrap().dead = false;
    until("the second is read", || {
        !intake.sent.lock().unwrap().is_empty()
    })
    .await;
    assert_eq!(far.lock().unwrap().carried_out, ["good"]);
    running.stop().await;
}

/// 700 codes have some forty thousand bytes, so they go in parts; a door doesn't wait for them.
#[tokio::test]
async fn a_list_of_codes_goes_in_parts_and_an_open_overtakes_it() {
    let intake = Recorder::open();
    let far = Far::new("bank-a", 3, false, &intake);
    let (near, end) = duplex(2_048);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    let code = |n: u16| BankCode {
        digest: [n.to_be_bytes(); 16].concat().try_into().unwrap(),
        compartment: 1,
    };
    let codes = Order::Codes {
        salt: vec![7; 32],
        digests: (0..700).map(code).collect(),
    };
    running.command("bank-a", "codes", codes, 20_000).await;
    running
        .command("bank-a", "open", Order::Open { compartment: 1 }, 20_000)
        .await;
    until("both came", || far.lock().unwrap().carried_out.len() == 2).await;
    assert_eq!(far.lock().unwrap().carried_out, ["open", "codes"]);
    assert_eq!(far.lock().unwrap().codes, Some(700));
    until("its link says so", || {
        *intake.sent.lock().unwrap() == ["open"]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_device_over_its_limit_waits_and_what_a_person_waits_for_does_not() {
    let intake = Recorder::open();
    let far = Far::new("bank-a", 3, false, &intake);
    far.lock().unwrap().wishes(8);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let plan = plan(&[("bank-a", 3)], false);
    let limits = Limits {
        kib_per_s: 1,
        kib_burst: 1,
        ..Limits::default()
    };
    let driver = Box::new(Linli::new(&plan).unwrap());
    let began = Instant::now();
    let running = Running::go_on(driver, &plan, limits, &intake, near);
    until("the allowance is used up", || intake.count() >= 3).await;
    until("what was taken is promised", || {
        far.lock().unwrap().store.events.len() <= 5
    })
    .await;
    let left = far.lock().unwrap().store.events.len();
    assert!(left >= 3, "the others wait: {left}, {:?}", began.elapsed());
    let code = firmware_protocols::event::Secret::new("004711");
    far.lock().unwrap().say(Kind::Keypad { code, opened: None });
    let typed = Instant::now();
    until("the keypad is served, and all before it", || {
        far.lock().unwrap().store.events.is_empty()
    })
    .await;
    assert!(typed.elapsed() < Duration::from_secs(2), "{typed:?}");
    let sent = far.lock().unwrap().store.sent;
    assert_eq!(sent, 9, "whoever is told to wait sends nothing again");
    running.stop().await;
}

#[tokio::test]
async fn after_a_restart_of_either_side_everything_goes_on() {
    let intake = Recorder::new(4);
    let far = Far::new("bank-a", 3, false, &intake);
    far.lock().unwrap().alarms(10);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    until("some are promised", || {
        far.lock().unwrap().store.events.len() == 6
    })
    .await;
    running.stop().await;

    intake.gate.add_permits(1_000);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    until("the rest is promised", || {
        far.lock().unwrap().store.events.is_empty()
    })
    .await;
    assert_eq!(intake.stored("bank-a", 1), (1..=10).collect::<Vec<_>>());

    far.lock().unwrap().alarms(1);
    far.lock().unwrap().restart();
    far.lock().unwrap().alarms(3);
    until("both boots are promised", || {
        far.lock().unwrap().store.events.is_empty()
    })
    .await;
    assert_eq!(intake.stored("bank-a", 1).len(), 11);
    assert_eq!(intake.stored("bank-a", 2), [1, 2, 3]);
    running.stop().await;
}

#[tokio::test]
async fn a_device_that_says_it_is_another_is_told_of_and_not_spoken_with() {
    let intake = Recorder::open();
    let far = Far::says("bank-b", "bank-a", 3, false, &intake);
    far.lock().unwrap().alarms(1);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    running
        .command("bank-a", "open", Order::Open { compartment: 1 }, 20_000)
        .await;
    let note = || running.status.view().slaves.first()?.note.clone();
    until("it is noted", || note().is_some()).await;
    assert!(note().unwrap().contains("says that it is 'bank-b'"));
    assert_eq!(intake.count(), 0);
    assert!(far.lock().unwrap().carried_out.is_empty());
    running.stop().await;
}

/// An adapter that is pulled out and put in again: the session goes on where it was.
#[tokio::test]
async fn a_terminal_that_goes_and_comes_back_costs_nothing() {
    let intake = Recorder::open();
    let far = Far::new("bank-a", 3, false, &intake);
    far.lock().unwrap().alarms(3);
    let plan = plan(&[("bank-a", 3)], false);
    let mut driver: Box<dyn linli::links::serial::Driver> = Box::new(Linli::new(&plan).unwrap());
    for round in 1..=2 {
        let (near, end) = SerialStream::pair().unwrap();
        let far_end = far_end(end, vec![far.clone()], 7);
        let running = Running::go_on(driver, &plan, Limits::NONE, &intake, near);
        until("all are promised", || {
            far.lock().unwrap().store.events.is_empty() && intake.is_online("bank-a")
        })
        .await;
        far_end.abort();
        until("the line is gone", || running.has_ended()).await;
        assert!(!intake.is_online("bank-a"));
        driver = running.stop().await;
        far.lock().unwrap().alarms(round);
    }
    assert_eq!(intake.stored("bank-a", 1), [1, 2, 3, 4]);
}

/// Found by a stranger: the acknowledgements were lost on the way back, and the ledger said 'never sent'
/// of a door that was open.
#[tokio::test]
async fn a_command_counts_as_sent_when_it_leaves_and_not_only_when_it_is_acknowledged() {
    let intake = Recorder::open();
    let far = Far::new("bank-a", 3, false, &intake);
    let (near, end) = duplex(4_096);
    let _far = far_end(end, vec![far.clone()], 0);
    let running = Running::start(&plan(&[("bank-a", 3)], false), &intake, near);
    until("the device is there", || intake.is_online("bank-a")).await;
    far.lock().unwrap().mute = true;
    let order = Order::Open { compartment: 7 };
    running.command("bank-a", "o-1", order, 20_000).await;
    until("the door opens", || {
        far.lock().unwrap().carried_out.len() == 1
    })
    .await;
    until("it counts as sent", || {
        *intake.sent.lock().unwrap() == ["o-1"]
    })
    .await;
    running.stop().await;
}
