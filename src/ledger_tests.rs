//! The ledger over a running journal.

use std::sync::Arc;

use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use cloud_protocol::secure::sealed::OpeningKey;
use cloud_protocol::{Downlink, Report, SealingKey};
use estate::Layout;
use estate::layout::{Bank, CompartmentSpec, Rules};
use firmware_protocols::Ident;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::cloud::{Seal, Traffic};
use crate::daemon::{Opened, open};
use crate::journal::{Retention, Settings};
use crate::pace::{Limits, Pace};

const NOW_MS: i64 = 1_780_000_000_000;

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn gateway() -> (TempDir, Opened) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout {
        site: ident("site"),
        buildings: vec![ident("b1")],
        banks: vec![Bank {
            id: ident("bank-a"),
            building: ident("b1"),
            address: String::new(),
            compartments: vec![CompartmentSpec {
                size: Size::S,
                zone: Zone::Ambient,
                low: false,
            }],
            occupancy_sensor: true,
        }],
        desks: Vec::new(),
        devices: Vec::new(),
        rules: Rules::default(),
    };
    let settings = Settings {
        gather_ms: 0,
        retention: Retention::default(),
        weakness: None,
    };
    let clock = Clock::by_hand(NOW_MS);
    let pace = Arc::new(Pace::new(Limits::NONE, []));
    let disk = Disk::new(clock.clone());
    let opened = open(dir.path(), &layout, settings, &clock, &pace, &disk).unwrap();
    (dir, opened)
}

fn limits() -> BatchLimits {
    let public_key = OpeningKey::from_seed(&[9; 32]).public_key();
    BatchLimits {
        items: 100,
        bytes: 100_000,
        // Health comes when it comes.
        held: vec![Lane::Health, Lane::Demand],
        seal: Seal {
            key: SealingKey {
                id: "k1".to_owned(),
                public_key,
            },
            gateway: ident("site"),
        },
        demand_minutes: None,
    }
}

async fn announce(ledger: &StoreLedger, seq: u64, parcel: &str) {
    let what = Downlink::ParcelExpected(ExpectedParcel {
        parcel: parcel.to_owned(),
        recipient: "r".to_owned(),
        size: Size::S,
        zone: Zone::Ambient,
        point: ident("bank-a"),
        deadline: NOW_MS + 86_400_000,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    });
    let what = Ok(what);
    ledger
        .downlink(vec![DownlinkItem { seq, what }])
        .await
        .unwrap();
}

fn parcels(batch: &Batch) -> Vec<(u64, String, bool)> {
    let items = batch.lanes[&Lane::Fulfilment].items.iter();
    items
        .map(|item| match &item.report {
            Report::Parcel(report) => (item.seq, report.parcel.clone(), report.code.is_some()),
            _ => panic!("not a parcel"),
        })
        .collect()
}

#[tokio::test]
async fn a_new_epoch_tells_every_parcel_anew() {
    let (_dir, opened) = gateway();
    let ledger = &opened.ledger;
    announce(ledger, 1, "p-1").await;
    announce(ledger, 2, "p-2").await;
    let first = ledger.next_batch(limits()).await.unwrap().unwrap();
    // What is cut is found again, whoever has asked for it.
    assert_eq!(
        ledger.next_batch(limits()).await.unwrap(),
        Some(first.clone())
    );
    let acked = |seq| Acked([(Lane::Fulfilment, seq)].into());
    let ahead = ledger.acked(first.epoch, acked(3)).await;
    assert!(matches!(ahead, Err(LedgerError::Ahead { last: 2, .. })));
    ledger.acked(first.epoch, acked(1)).await.unwrap();

    let epoch = ledger.new_epoch(EpochAt::SameCloud).await.unwrap();
    assert_eq!(epoch, first.epoch + 1);
    // The word for the epoch that is over says nothing of this one.
    ledger.acked(first.epoch, acked(2)).await.unwrap();
    let backlog = ledger.backlog().await.unwrap().unwrap();
    assert_eq!(backlog[&Lane::Fulfilment], 3);
    let batch = ledger.next_batch(limits()).await.unwrap().unwrap();
    assert_eq!(batch.epoch, epoch);
    let told = |seq, parcel: &str, code| (seq, parcel.to_owned(), code);
    let wanted = [
        told(1, "p-2", true),
        told(2, "p-1", false),
        told(3, "p-2", false),
    ];
    assert_eq!(parcels(&batch), wanted);
    ledger.acked(epoch, acked(3)).await.unwrap();
    assert_eq!(ledger.next_batch(limits()).await.unwrap(), None);
    opened.journal.stop().await;
}

#[tokio::test]
async fn a_new_cloud_is_heard_from_its_first_item_on() {
    let (_dir, opened) = gateway();
    let ledger = &opened.ledger;
    announce(ledger, 28, "p-1").await;
    ledger.new_epoch(EpochAt::SameCloud).await.unwrap();
    assert_eq!(ledger.downlink_cursor().await.unwrap(), 28);
    ledger.new_epoch(EpochAt::NewCloud).await.unwrap();
    assert_eq!(ledger.downlink_cursor().await.unwrap(), 0);
    announce(ledger, 1, "p-2").await;
    assert_eq!(ledger.downlink_cursor().await.unwrap(), 1);
    let batch = ledger.next_batch(limits()).await.unwrap().unwrap();
    let told = parcels(&batch).into_iter().map(|(_, parcel, _)| parcel);
    assert!(told.collect::<Vec<_>>().contains(&"p-2".to_owned()));
    opened.journal.stop().await;
}

#[tokio::test]
async fn what_crossed_the_line_adds_up() {
    let (_dir, opened) = gateway();
    let ledger = &opened.ledger;
    let used = LineUse {
        month: 20_600,
        traffic: Traffic::Lane(Lane::Fulfilment),
        sent: 7,
        received: 3,
    };
    for _ in 0..2 {
        ledger.line_used(vec![used]).await.unwrap();
    }
    let twice = LineUse {
        sent: 14,
        received: 6,
        ..used
    };
    assert_eq!(ledger.line_use().await.unwrap(), [twice]);
    opened.journal.stop().await;
}
