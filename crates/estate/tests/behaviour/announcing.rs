//! Announcements of what is here already, of returns, and of parcels that need a low compartment.

use cloud_protocol::Downlink;
use cloud_protocol::downlink::{ExpectedParcel, Size};
use estate::Verdict;
use estate::parcel::Back;

use crate::common::*;
use crate::staff::*;

/// As if p1 had come without having been announced.
fn unlisted(world: &mut World) {
    let row = world.snapshot.parcels.get_mut("p1").unwrap();
    row.unlisted = true;
    row.parcel.recipient = "unlisted:p1".into();
    world.reload();
}

fn announced(point: &str) -> ExpectedParcel {
    ExpectedParcel {
        size: Size::M,
        deadline: EVENING_MS + 2 * 86_400_000,
        ..parcel_of("wang", "p1", point)
    }
}

#[test]
fn an_unlisted_parcel_is_merged_with_its_announcement() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    unlisted(&mut world);
    let verdict = world.cloud(Downlink::ParcelExpected(announced("bank-a")));
    assert_eq!(verdict, Verdict::Taken);
    let row = world.estate.parcel("p1").unwrap();
    assert!(!row.unlisted);
    assert_eq!(row.parcel, announced("bank-a"));
    let report = world.reports.last().unwrap();
    assert!(!report.unlisted && report.code.is_none());
    assert_eq!(heard(&world, "p1"), here("deposited", &place.to_string()));
    world.reload();
    let reports = world.reports.len();
    world.cloud(Downlink::ParcelExpected(announced("bank-a")));
    assert_eq!(world.reports.len(), reports, "announced again: nothing");
    assert_eq!(world.take(&code), place);
}

#[test]
fn an_unlisted_parcel_stays_where_it_is_whatever_point_was_meant() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    unlisted(&mut world);
    let verdict = world.cloud(Downlink::ParcelExpected(announced("bank-b")));
    assert_eq!(verdict, Verdict::Taken);
    let entry = world.traces.last().unwrap();
    assert!(entry.detail.as_ref().unwrap().contains("stays at bank-a"));
    world.reload();
    assert_eq!(world.take(&code), place);
}

#[test]
fn an_announcement_with_a_later_deadline_takes_overdue_back() {
    let mut world = World::new();
    world.bring("p1");
    unlisted(&mut world);
    world.pass(DAY_MS);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    world.cloud(Downlink::ParcelExpected(announced("bank-a")));
    assert_eq!(heard(&world, "p1").0, "deposited");
}

#[test]
fn a_collected_unlisted_parcel_is_merged_too() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.take(&code);
    unlisted(&mut world);
    let verdict = world.cloud(Downlink::ParcelExpected(announced("bank-a")));
    assert_eq!(verdict, Verdict::Taken);
    assert_eq!(heard(&world, "p1"), here("collected", &place.to_string()));
}

#[test]
fn a_return_is_announced_though_its_original_is_not_known() {
    let mut world = World::new();
    let returned = ExpectedParcel {
        return_of: Some("long-gone".into()),
        ..parcel("r1", "bank-a")
    };
    world.expect(returned);
    let report = world.reports.last().unwrap();
    assert_eq!(report.return_of.as_deref(), Some("long-gone"));
    assert_eq!(heard(&world, "r1").0, "expected");
    let detail = world.traces[0].detail.clone().unwrap();
    assert!(detail.contains("return of long-gone"), "{detail}");
}

#[test]
fn low_is_kept_and_said() {
    let mut world = World::new();
    let low = ExpectedParcel {
        low: true,
        ..parcel("p1", "bank-a")
    };
    world.expect(low);
    assert!(world.estate.parcel("p1").unwrap().parcel.low);
    assert!(world.traces[0].detail.as_ref().unwrap().contains("low"));
}
