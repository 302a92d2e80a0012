//! The steps of the small estate.

use cloud_protocol::Downlink;
use cloud_protocol::badge_digest;
use cloud_protocol::downlink::{Proof, Size, Zone};
use estate::layout::{Bank, CompartmentSpec, Layout, Rules};
use estate::parcel::Taker;
use firmware_protocols::Slot;
use firmware_protocols::event::{Done, Door};

use crate::cause::At;
use crate::common::{EVENING_MS, id, parcel};
use crate::field::{Said, Whereabouts};
use crate::model::Parcel;
use crate::play::{Act, Day};
use crate::record::Kept;

/// The most messages and commands under way at once.
const UNDER_WAY_MAX: usize = 2;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Comes,
    ComesLate,
    Never,
}

const FATES: [Fate; 3] = [Fate::Comes, Fate::ComesLate, Fate::Never];

/// A step. Parcels, commands, compartments and messages by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Badge,
    Scan(usize, Fate),
    TakeBack,
    Key(usize, Fate),
    GuessUntilLocked,
    Cancel,
    Reissue,
    LockOpens(usize, Fate),
    LockFails(usize),
    CommandLost(usize),
    DoesAndCloses(u16, Fate),
    DoesNothingAndCloses(u16),
    Arrives(usize),
    Passes(u64),
    Restart,
}

/// Where a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Expected,
    OneDeposited,
    BothDeposited,
    OneCollected,
}

pub const STARTS: [Start; 4] = [
    Start::Expected,
    Start::OneDeposited,
    Start::BothDeposited,
    Start::OneCollected,
];

/// Short; past a command's end; past the alarm; past the grace.
pub const STEPS_MS: [u64; 4] = [3_100, 10_000, 60_000, 120_000];

pub const NAMES: [&str; 2] = ["p0", "p1"];

/// The small estate, some way into the day.
pub fn begin(sensor: bool, one_recipient: bool, start: Start) -> Day {
    let spec = CompartmentSpec {
        size: Size::M,
        zone: Zone::Ambient,
        low: false,
    };
    let bank = Bank {
        id: id("bank-a"),
        building: id("b1"),
        address: "north gate".into(),
        compartments: vec![spec, spec],
        occupancy_sensor: sensor,
    };
    let layout = Layout {
        site: id("site"),
        buildings: vec![id("b1")],
        banks: vec![bank],
        desks: Vec::new(),
        devices: Vec::new(),
        rules: Rules {
            door_open_alarm_ms: 60_000,
            no_sensor_hold_ms: 120_000,
            finished_keep_ms: u64::MAX,
            ..Rules::default()
        },
    };
    let mut day = Day::of(layout, 1);
    (day.calm, day.exact) = (true, true);
    let courier = Downlink::Courier {
        courier: "badge-0".into(),
        proof: Proof::Badge(badge_digest("badge-0")),
        valid_until: EVENING_MS + 86_400_000,
    };
    day.apply(Act::Cloud(courier)).unwrap();
    for (number, name) in NAMES.into_iter().enumerate() {
        let mut p = parcel(name, "bank-a");
        p.recipient = if one_recipient {
            "r0".into()
        } else {
            format!("r{number}")
        };
        day.apply(Act::Cloud(Downlink::ParcelExpected(p))).unwrap();
    }
    let brings = |number| [Move::Badge, Move::Scan(number, Fate::Comes)];
    let takes = [Move::Key(0, Fate::Comes)];
    let gestures: &[&[Move]] = match start {
        Start::Expected => &[],
        Start::OneDeposited => &[&brings(0)],
        Start::BothDeposited => &[&brings(0), &brings(1)],
        Start::OneCollected => &[&brings(0), &takes],
    };
    for gesture in gestures {
        for what in *gesture {
            step(&mut day, *what).unwrap();
        }
        step(&mut day, Move::LockOpens(0, Fate::Comes)).unwrap();
        let open = day.field.compartments.iter().find(|(_, c)| c.open);
        let compartment = open.map(|(slot, _)| slot.compartment).unwrap();
        step(&mut day, Move::DoesAndCloses(compartment, Fate::Comes)).unwrap();
    }
    day
}

/// What may happen next.
pub fn moves(day: &Day) -> Vec<Move> {
    let room = day.field.held.len() < UNDER_WAY_MAX;
    let may = move |fate: &Fate| room || *fate != Fate::ComesLate;
    let mut out = vec![
        Move::Badge,
        Move::TakeBack,
        Move::GuessUntilLocked,
        Move::Cancel,
        Move::Reissue,
        Move::Restart,
    ];
    if day.field.told.len() < UNDER_WAY_MAX {
        for number in 0..NAMES.len() {
            // A gesture that never arrives is none.
            let gestures = FATES
                .into_iter()
                .filter(may)
                .filter(|fate| *fate != Fate::Never);
            out.extend(gestures.clone().map(|fate| Move::Scan(number, fate)));
            out.extend(gestures.map(|fate| Move::Key(number, fate)));
        }
    }
    for number in 0..day.field.told.len() {
        out.extend(
            FATES
                .into_iter()
                .filter(may)
                .map(|fate| Move::LockOpens(number, fate)),
        );
        out.extend([Move::LockFails(number), Move::CommandLost(number)]);
    }
    for (slot, compartment) in &day.field.compartments {
        if compartment.open {
            let c = slot.compartment;
            out.extend(
                FATES
                    .into_iter()
                    .filter(may)
                    .map(|fate| Move::DoesAndCloses(c, fate)),
            );
            out.push(Move::DoesNothingAndCloses(c));
        }
    }
    out.extend((0..day.field.held.len()).map(Move::Arrives));
    out.extend(STEPS_MS.map(Move::Passes));
    out
}

/// Takes a step, and checks it.
pub fn step(day: &mut Day, what: Move) -> Kept {
    match what {
        Move::Badge => says(day, Said::Scan("badge-0".into()), Fate::Comes),
        Move::Scan(number, fate) => says(day, Said::Scan(NAMES[number].into()), fate),
        Move::TakeBack => says(day, Said::Key("0".into()), Fate::Comes),
        Move::Key(number, fate) => {
            let digits = day.digits[NAMES[number]].clone();
            says(day, Said::Key(digits), fate)
        }
        Move::GuessUntilLocked => {
            for _ in 0..5 {
                says(day, Said::Key("1".into()), Fate::Comes)?;
            }
            Ok(())
        }
        Move::Cancel => cloud(
            day,
            Downlink::ParcelCancelled {
                parcel: NAMES[0].into(),
            },
        ),
        Move::Reissue => cloud(
            day,
            Downlink::CodeReissue {
                parcel: NAMES[0].into(),
            },
        ),
        Move::LockOpens(number, fate) => lock_opens(day, number, fate),
        Move::LockFails(number) => {
            let told = day.field.told.remove(number);
            says(day, Said::Result(told.command, Done::Failed), Fate::Comes)
        }
        Move::CommandLost(number) => {
            day.field.told.remove(number);
            Ok(())
        }
        Move::DoesAndCloses(compartment, fate) => {
            let slot = slot(compartment);
            // A door that stood open already, before the gesture, tells nothing by being closed.
            let unseen =
                |p: &Parcel| matches!(p.at, At::Coming(_, false) | At::Leaving(_, _, false));
            if day.model.in_slot(&slot).any(|(_, p)| unseen(p)) {
                day.field.doubt(&slot);
            }
            does(day, &slot);
            closes(day, &slot, fate)
        }
        Move::DoesNothingAndCloses(compartment) => {
            let slot = slot(compartment);
            let sensor = day.layout.banks[0].occupancy_sensor;
            let others = day.model.in_slot(&slot).count() > 1;
            if !sensor || others {
                day.field.doubt(&slot);
            }
            closes(day, &slot, Fate::Comes)
        }
        Move::Arrives(number) => {
            let sent = day.field.held.remove(number);
            day.apply(Act::Event(sent.clone()))?;
            day.apply(Act::Event(sent)).map(drop)
        }
        Move::Passes(ms) => {
            day.pass(ms);
            day.apply(Act::Tick).map(drop)
        }
        Move::Restart => {
            day.check_reloaded()?;
            day.restart()
        }
    }
}

fn slot(compartment: u16) -> Slot {
    Slot {
        bank: id("bank-a"),
        compartment,
    }
}

fn cloud(day: &mut Day, item: Downlink) -> Kept {
    day.apply(Act::Cloud(item)).map(drop)
}

/// The bank says something. What arrives comes once more, and does nothing then.
fn says(day: &mut Day, said: Said, fate: Fate) -> Kept {
    let (true_ms, jumps) = (day.true_ms(), day.clock_jumps);
    let sent = day
        .field
        .enter(&day.now, true_ms, jumps, &id("bank-a"), said);
    day.field.sent.clear();
    if fate == Fate::Comes {
        day.apply(Act::Event(sent.clone()))?;
        return day.apply(Act::Event(sent)).map(drop);
    }
    day.lose(&sent);
    if fate == Fate::ComesLate {
        day.field.held.push(sent);
    }
    Ok(())
}

fn lock_opens(day: &mut Day, number: usize, fate: Fate) -> Kept {
    let told = day.field.told.remove(number);
    if day.now.tick_ms >= told.until_tick_ms {
        return says(day, Said::Result(told.command, Done::Refused), fate);
    }
    day.field.done.insert(told.command);
    day.field.compartment(&told.slot).open = true;
    state(day, &told.slot, fate)
}

fn closes(day: &mut Day, slot: &Slot, fate: Fate) -> Kept {
    day.field.compartment(slot).open = false;
    state(day, slot, fate)
}

fn state(day: &mut Day, slot: &Slot, fate: Fate) -> Kept {
    let open = day.field.compartment(slot).open;
    let door = if open { Door::Open } else { Door::Closed };
    let inside = !day.field.inside(slot).is_empty();
    let occupied = day.layout.banks[0].occupancy_sensor.then_some(inside);
    says(day, Said::Door(slot.compartment, door, occupied), fate)
}

/// Puts in or takes out what the estate expects, as people do who read what they are told.
fn does(day: &mut Day, slot: &Slot) {
    let here = Whereabouts::In(slot.clone());
    for name in NAMES {
        let p = day.model.parcels[name].clone();
        match &p.at {
            At::Coming(at, _) if at == slot && day.field.is_outside(name) => {
                day.field.put(name, here.clone());
            }
            At::Leaving(at, taker, _)
                if at == slot && day.field.parcels.get(name) == Some(&here) =>
            {
                let to = match taker {
                    Taker::Recipient => Whereabouts::Recipient,
                    _ => Whereabouts::Outside,
                };
                day.field.put(name, to);
            }
            _ => {}
        }
    }
}
