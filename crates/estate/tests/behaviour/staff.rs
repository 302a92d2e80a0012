//! What the tests of the staff's and the cloud's acts share.

use cloud_protocol::downlink::ExpectedParcel;
use cloud_protocol::uplink::ClaimReport;
use cloud_protocol::{Downlink, Report};
use estate::code::{CodeRow, CodeState};
use estate::input::{Claim, DeskAct};
use estate::parcel::{Back, Place, Stage};
use estate::{Change, Input, Outcome, Verdict};
use firmware_protocols::Slot;
use firmware_protocols::event::Door;

use crate::common::*;

pub const YEAR_MS: i64 = 31_536_000_000;

pub fn staff(world: &mut World, act: DeskAct) -> Outcome {
    world.handle(Input::Desk {
        operator: "li".into(),
        act,
    })
}

pub fn hand_over(world: &mut World, code: &str) -> Outcome {
    let desk = id("desk-c");
    let typed = typed(&world.layout, &desk, code);
    staff(world, DeskAct::HandOver { desk, typed })
}

pub fn transfer(world: &mut World, name: &str) -> Outcome {
    let act = DeskAct::Transfer {
        desk: id("desk-c"),
        parcel: name.into(),
    };
    staff(world, act)
}

pub fn receive(world: &mut World, name: &str) -> Outcome {
    let act = DeskAct::Receive {
        desk: id("desk-c"),
        parcel: name.into(),
        courier: Some("c-9".into()),
    };
    staff(world, act)
}

pub fn retrieve(world: &mut World, name: &str, courier: Option<&str>) -> Outcome {
    let act = DeskAct::Retrieve {
        parcel: name.into(),
        courier: courier.map(Into::into),
    };
    staff(world, act)
}

/// A claim at the desk, and what the cloud hears of it.
pub fn claim(world: &mut World, name: &str, claim: Claim) -> (Outcome, Vec<ClaimReport>) {
    world.hold = true;
    let act = DeskAct::Claim {
        desk: id("desk-c"),
        parcel: name.into(),
        claim,
    };
    let outcome = staff(world, act);
    let reports = world
        .commit()
        .into_iter()
        .filter_map(|change| match change {
            Change::Uplink {
                report: Report::Claim(report),
                ..
            } => Some(report),
            _ => None,
        });
    world.hold = false;
    (outcome, reports.collect())
}

pub fn why(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

pub fn told(outcome: &Outcome) -> &str {
    assert_eq!(outcome.verdict, Verdict::Taken);
    &outcome.told.as_ref().expect("somebody is told").text
}

pub fn cancel(world: &mut World, name: &str) -> Verdict {
    world.cloud(Downlink::ParcelCancelled {
        parcel: name.into(),
    })
}

pub fn extend(world: &mut World, name: &str, deadline: i64) -> Verdict {
    world.cloud(Downlink::ParcelExtended {
        parcel: name.into(),
        deadline,
    })
}

/// A parcel for `recipient` at `point`.
pub fn parcel_of(recipient: &str, name: &str, point: &str) -> ExpectedParcel {
    ExpectedParcel {
        recipient: recipient.into(),
        ..parcel(name, point)
    }
}

/// A parcel for `recipient`, brought to bank-a. A compartment of its own is made for it, whatever
/// the rules on sharing: the world has them off.
pub fn bring_for(world: &mut World, recipient: &str, name: &str) -> (Slot, String) {
    let code = world.expect(parcel_of(recipient, name, "bank-a"));
    (world.put(name), code)
}

/// Nobody shares, unless a test moves parcels together.
pub fn apart() -> World {
    World::rules(|rules| rules.share_compartments = false)
}

/// As if the parcel had been put into this compartment together with what is in it.
pub fn share(world: &mut World, name: &str, place: &str) {
    let snapshot = &mut world.snapshot;
    let row = snapshot.parcels.get_mut(name).unwrap();
    let Stage::Deposited {
        place: Place::Slot(old),
    } = row.stage.clone()
    else {
        panic!("{:?}", row.stage)
    };
    let place = slot(place);
    row.stage = Stage::Deposited {
        place: Place::Slot(place.clone()),
    };
    let left = snapshot.compartments.get_mut(&old).unwrap();
    left.contents.clear();
    left.occupied = Some(false);
    let into = snapshot.compartments.get_mut(&place).unwrap();
    into.contents.push(name.into());
    world.reload();
}

/// A parcel for the desk, received there.
pub fn at_desk(world: &mut World, recipient: &str, name: &str) -> String {
    let code = world.expect(parcel_of(recipient, name, "desk-c"));
    assert_eq!(receive(world, name).verdict, Verdict::Taken);
    code
}

pub fn back(world: &World, name: &str) -> Option<Back> {
    world.estate.parcel(name).unwrap().back
}

/// The last state that the cloud heard of a parcel, with the place.
pub fn heard(world: &World, name: &str) -> (&'static str, String) {
    let report = world.reports.iter().rfind(|r| r.parcel == name).unwrap();
    let place = match (&report.bank, report.compartment, &report.desk) {
        (Some(bank), Some(n), None) => format!("{bank}/{n}"),
        (None, None, Some(desk)) => desk.to_string(),
        (None, None, None) => "nowhere".into(),
        other => panic!("{other:?}"),
    };
    (report.state.word(), place)
}

pub fn here(state: &'static str, place: &str) -> (&'static str, String) {
    (state, place.to_string())
}

/// The door opens and closes again; what the sensor says at the end.
pub fn swing(world: &mut World, place: &str, occupied: Option<bool>) -> Outcome {
    world.door(place, Door::Open, None);
    world.door(place, Door::Closed, occupied)
}

/// Whether the keypads have counted anything.
pub fn counted(world: &World) -> u32 {
    world.estate.keypads().map(|row| row.wrong).sum()
}

/// How many codes are good for something.
pub fn live_codes(world: &World) -> usize {
    let live = |row: &&CodeRow| matches!(row.state, CodeState::Live { .. });
    world.estate.codes().filter(live).count()
}
