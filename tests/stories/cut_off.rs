//! The keypad when everything else is wrong: the cloud away, the power gone, a bank on its own.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use cloud_protocol::Lane;
use cloud_protocol::uplink::ParcelState;
use firmware_protocols::event::{Door, Secret};
use firmware_protocols::{Kind, Order};
use simulator::device::{Model, Obeyed};
use simulator::front::Answer;
use simulator::{Device, Tempo};
use tokio::sync::Notify;

use crate::evening::{BADGE, Evening, parcel, site, spec, steps, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_is_away_all_evening_and_hears_everything_afterwards_once_and_in_order() {
    use ParcelState::{Collected, Deposited, Expected};
    let evening = Evening::begin().await;
    let one = evening.announced(parcel("one")).await;
    let two = evening.announced(parcel("two")).await;
    evening.cloud.faults().set_reachable(false);

    evening.badge_is_scanned("scan a waybill").await;
    let first = evening.is_brought("one").await;
    let second = evening.is_brought("two").await;
    assert_eq!(evening.opens_to_take_out(&two).await, second);
    evening
        .is_taken(second, &["two"], "Collected, thank you")
        .await;
    assert_eq!(evening.opens_to_take_out(&one).await, first);
    evening
        .is_taken(first, &["one"], "Collected, thank you")
        .await;
    evening.technician_sees("one", "collected").await;
    // The cloud has heard nothing of all that.
    assert_eq!(evening.cloud_was_told().len(), 2);

    // It comes back; the first answer gets lost, so some of it is sent twice.
    evening.cloud.faults().lose_next_answers(1);
    evening.cloud.faults().set_reachable(true);
    evening.cloud_knows("one", Collected).await;
    let told = evening.cloud_was_told();
    let told: Vec<_> = told
        .iter()
        .map(|(id, state)| (id.as_str(), *state))
        .collect();
    let wanted = [
        ("one", Expected),
        ("two", Expected),
        ("one", Deposited),
        ("two", Deposited),
        ("two", Collected),
        ("one", Collected),
    ];
    assert_eq!(told, wanted);
    let lanes = evening.cloud.lanes(&site()).await.unwrap();
    let fulfilment = &lanes.lanes[&Lane::Fulfilment];
    assert_eq!(
        (fulfilment.items, fulfilment.last),
        (6, 6),
        "{fulfilment:?}"
    );
    until("the technician to see that nothing waits", async || {
        let sync = evening.linli(&["sync"]);
        let done = sync.to_string().contains("\"acked_seq\":6");
        done.then_some(()).ok_or(sync.to_string())
    })
    .await;
    evening.end().await;
}

/// A bank with one lock, whose power can fail together with the gateway's just when the lock is told
/// to open: nothing moves, and nobody answers.
#[derive(Default)]
struct Lock {
    told_to_open: AtomicU32,
    occupied: AtomicBool,
    /// The gateway's process, if the power fails with the next command.
    power_fails: Mutex<Option<u32>>,
    failed: Notify,
}

impl Lock {
    fn door(&self, door: Door) -> Kind {
        Kind::Compartment {
            compartment: 1,
            door,
            occupied: Some(self.occupied.load(Ordering::SeqCst)),
        }
    }

    fn told(&self) -> u32 {
        self.told_to_open.load(Ordering::SeqCst)
    }

    async fn until_told(&self, times: u32) {
        until("the lock to be told to open", async || {
            let told = self.told();
            (told == times).then_some(()).ok_or(told.to_string())
        })
        .await;
    }
}

impl Model for Lock {
    fn obey(&self, order: &Order) -> Obeyed {
        let Order::Open { .. } = order else {
            return Obeyed::done();
        };
        self.told_to_open.fetch_add(1, Ordering::SeqCst);
        if let Some(gateway) = self.power_fails.lock().unwrap().take() {
            let killed = Command::new("kill")
                .args(["-9", &gateway.to_string()])
                .status();
            assert!(killed.unwrap().success());
            self.failed.notify_one();
            return Obeyed::failed("no power");
        }
        Obeyed {
            then: vec![self.door(Door::Open)],
            ..Obeyed::done()
        }
    }

    fn at_start(&self) -> Vec<Kind> {
        vec![self.door(Door::Closed)]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_power_fails_between_the_command_and_the_door() {
    let mut evening = Evening::with_rules("command_ttl_s = 4\ncommand_retry_s = 1").await;
    evening.bank.device().stop().await;
    let lock = Arc::new(Lock::default());
    let bank = |boot| {
        let spec = simulator::device::Spec {
            boot,
            ..spec("bank-a")
        };
        let model: Arc<dyn Model> = Arc::clone(&lock) as _;
        Device::start(spec, evening.setup.address(), Tempo::real(), model)
    };
    let code = evening.announced(parcel("p-1")).await;
    let types = || Kind::Keypad {
        code: Secret::new(&code),
        opened: None,
    };
    let scans = |symbol| Kind::Scan {
        symbol: Secret::new(symbol),
    };

    let before = bank(2);
    before.report(scans(BADGE)).unwrap();
    before.report(scans("p-1")).unwrap();
    lock.until_told(1).await;
    lock.occupied.store(true, Ordering::SeqCst);
    before.report(lock.door(Door::Closed)).unwrap();
    evening.cloud_knows("p-1", ParcelState::Deposited).await;

    // The command has left the box, and the power is gone before a door moves.
    *lock.power_fails.lock().unwrap() = Some(evening.gateway_pid());
    before.report(types()).unwrap();
    lock.failed.notified().await;
    before.stop().await;
    assert_eq!(lock.told(), 2);

    // The power is back. Until the command's time is over, and after that, nothing opens by itself.
    let after = bank(3);
    evening.the_gateway_is_dead();
    evening.start_the_gateway();
    after.until_online().await;
    until("the command's time to be over", async || {
        let ledger = evening.linli(&["commands"]);
        let over = ledger[0]["state"] == "unknown";
        over.then_some(()).ok_or(ledger.to_string())
    })
    .await;
    assert_eq!(lock.told(), 2, "nothing fired again");

    // The code typed again opens.
    after.report(types()).unwrap();
    lock.until_told(3).await;
    lock.occupied.store(false, Ordering::SeqCst);
    after.report(lock.door(Door::Closed)).unwrap();
    let view = evening.technician_sees("p-1", "collected").await;
    evening.cloud_knows("p-1", ParcelState::Collected).await;
    let commands = view["commands"].as_array().unwrap();
    let states: Vec<_> = commands
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["closed", "unknown", "closed"], "{view}");
    after.stop().await;
    evening.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_on_its_own_gives_a_parcel_out_and_the_code_is_dead_everywhere_afterwards() {
    let mut bank = spec("bank-a");
    bank.capabilities = vec!["codes".to_string()];
    let mut evening = Evening::with("reopen_grace_s = 0", bank).await;
    let code = evening.announced(parcel("p-1")).await;
    let other = evening.announced(parcel("p-2")).await;
    evening.badge_is_scanned("scan a waybill").await;
    let number = evening.is_brought("p-1").await;
    until_the_bank_has_the_list(&evening).await;

    // The gateway is down. The bank knows the code, and opens for it once; it knows no other.
    evening.kill_the_gateway();
    evening.bank.device().until_offline().await;
    assert!(matches!(
        evening.bank.type_code(&other).await,
        Answer::No(_)
    ));
    let answer = evening.bank.type_code(&code).await;
    assert_eq!(answer, Answer::Opened(number));
    assert_eq!(evening.bank.take(number, |_| true).as_deref(), Some("p-1"));
    evening.bank.close(number);
    assert!(matches!(evening.bank.type_code(&code).await, Answer::No(_)));

    // Both are back.
    evening.start_the_gateway();
    evening.bank.device().until_online().await;
    let view = evening.technician_sees("p-1", "collected").await;
    assert!(steps(&view).contains(&"opened-by-bank"), "{view}");
    evening.cloud_knows("p-1", ParcelState::Collected).await;
    evening
        .digits_open_nothing(&code, "This code is not good any more")
        .await;
    let refused = evening.hand_over_at_the_desk(&code).unwrap_err();
    assert!(!refused.contains(&code), "{refused}");
    assert!(evening.bank.compartments().iter().all(|c| !c.open));
    evening.end().await;
}

/// Waits until the bank has confirmed a list that was sent after its last closed door.
async fn until_the_bank_has_the_list(evening: &Evening) {
    until("the bank to have the list", async || {
        let events = evening.linli(&["events", "--device", "bank-a", "--limit", "50"]);
        let rows = events.as_array().unwrap();
        let closed = rows.iter().rposition(|row| row["body"]["occupied"] == true);
        let list = rows.iter().rposition(|row| {
            let id = row["body"]["command"].as_str().unwrap_or_default();
            id.starts_with("k-") && row["body"]["outcome"] == "done"
        });
        (closed.is_some() && list > closed)
            .then_some(())
            .ok_or(events.to_string())
    })
    .await;
}
