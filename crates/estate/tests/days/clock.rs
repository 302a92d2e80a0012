//! The wall clock is stepped while a parcel is in each of its states, a keypad is locked, a code rests,
//! a courier is known, a door is open: nothing changes at the step, and what is due comes when it is
//! really due. A wall clock that is behind only holds up what the cloud has named by the wall clock,
//! until it is set right.

use std::collections::BTreeSet;

use cloud_protocol::Downlink;
use cloud_protocol::uplink::ClaimKind;
use estate::code::CodeState;
use estate::input::{Claim, DeskAct};
use estate::parcel::ParcelRow;
use estate::{Deadline, Input, Snapshot, TimeQuality, Verdict};
use firmware_protocols::event::Door;

use crate::common::{DAY_MS, EVENING_MS, HOUR_MS, World, id, opens, parcel, shown};

const YEAR_MS: i64 = 31_536_000_000;
const HOUR: i64 = HOUR_MS as i64;
const RETENTION_MS: u64 = 6 * HOUR_MS;

/// A state, and what comes next in it by time alone.
struct Case {
    name: &'static str,
    /// The state that the parcel must be in: stage, and why it goes back.
    stage: (&'static str, &'static str),
    begin: fn(&mut World),
    next: Option<Next>,
}

#[derive(Clone, Copy)]
struct Next {
    after_ms: u64,
    has_come: fn(&mut World) -> bool,
    /// The cloud has named it by the wall clock.
    by_wall: bool,
}

/// How the wall clock is stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    By(i64),
    /// From 1970 and unknown to the truth.
    Known,
}

const STEPS: [Step; 5] = [
    Step::By(YEAR_MS),
    Step::By(-YEAR_MS),
    Step::By(HOUR),
    Step::By(-HOUR),
    Step::Known,
];

const fn ticks(after_ms: u64, has_come: fn(&mut World) -> bool) -> Option<Next> {
    Some(Next {
        after_ms,
        has_come,
        by_wall: false,
    })
}

const fn wall(after_ms: u64, has_come: fn(&mut World) -> bool) -> Option<Next> {
    Some(Next {
        after_ms,
        has_come,
        by_wall: true,
    })
}

fn cases() -> Vec<Case> {
    let case = |name, stage, back, begin, next| Case {
        name,
        stage: (stage, back),
        begin,
        next,
    };
    vec![
        case("expected", "expected", "", expected, None),
        case(
            "depositing",
            "depositing",
            "",
            scanned,
            ticks(10_000, |w| w.stage("p") == "expected"),
        ),
        case(
            "depositing, open",
            "depositing",
            "",
            put_in,
            ticks(120_000, alarmed),
        ),
        case(
            "depositing, cancelled",
            "depositing",
            "cancelled",
            cancelled_behind_the_door,
            ticks(120_000, alarmed),
        ),
        case(
            "deposited",
            "deposited",
            "",
            deposited,
            wall(RETENTION_MS, |w| back(w) == "overdue"),
        ),
        case(
            "at a desk",
            "deposited",
            "",
            at_desk,
            wall(RETENTION_MS, |w| back(w) == "overdue"),
        ),
        case("overdue", "deposited", "overdue", overdue, None),
        case(
            "cancelled late",
            "deposited",
            "cancelled",
            cancelled_late,
            ticks(DAY_MS, no_code),
        ),
        case(
            "refused",
            "deposited",
            "refused",
            refused,
            ticks(DAY_MS, no_code),
        ),
        case(
            "claimed",
            "deposited",
            "claimed",
            claimed,
            ticks(DAY_MS, no_code),
        ),
        case(
            "return",
            "deposited",
            "return",
            returned,
            ticks(120_000, dead),
        ),
        case(
            "collecting",
            "collecting",
            "",
            typed_code,
            ticks(10_000, |w| w.stage("p") == "deposited"),
        ),
        case(
            "collecting, open",
            "collecting",
            "",
            taking_out,
            ticks(120_000, alarmed),
        ),
        case(
            "collecting, overdue",
            "collecting",
            "overdue",
            overdue_taking_out,
            ticks(120_000, alarmed),
        ),
        case(
            "retrieving",
            "collecting",
            "refused",
            retrieving,
            ticks(10_000, |w| w.stage("p") == "deposited"),
        ),
        case(
            "retrieving, claimed",
            "collecting",
            "claimed",
            retrieving_claimed,
            ticks(10_000, |w| w.stage("p") == "deposited"),
        ),
        case(
            "retrieving, cancelled",
            "collecting",
            "cancelled",
            retrieving_cancelled,
            ticks(10_000, |w| w.stage("p") == "deposited"),
        ),
        case(
            "retrieving, return",
            "collecting",
            "return",
            retrieving_return,
            ticks(10_000, |w| w.stage("p") == "deposited"),
        ),
        case(
            "to a desk",
            "collecting",
            "",
            transferring,
            ticks(10_000, |w| w.stage("p") == "deposited"),
        ),
        case(
            "in its grace",
            "collected",
            "",
            collected,
            ticks(120_000, dead),
        ),
        case(
            "collected",
            "collected",
            "",
            past_grace,
            ticks(DAY_MS, no_code),
        ),
        case(
            "retrieved",
            "retrieved",
            "refused",
            retrieved,
            ticks(DAY_MS - 1, no_code),
        ),
        case(
            "cancelled",
            "cancelled",
            "",
            cancelled,
            ticks(DAY_MS, no_code),
        ),
        case(
            "locked",
            "expected",
            "",
            locked,
            ticks(60_000, |w| !locked_now(w)),
        ),
        case(
            "courier known",
            "expected",
            "",
            courier,
            ticks(180_000, badge_first),
        ),
        case(
            "courier valid",
            "expected",
            "",
            courier,
            wall(12 * HOUR_MS, badge_expired),
        ),
    ]
}

#[test]
fn nothing_changes_when_the_clock_is_stepped_and_all_comes_when_it_is_due() {
    let mut states = BTreeSet::new();
    for case in cases() {
        states.insert(case.stage);
        for step in STEPS {
            for restart in [false, true] {
                // Who has identified shows the badge again after a restart.
                if !(restart && case.name == "courier known") {
                    check(&case, step, restart);
                }
            }
        }
    }
    assert!(states.len() >= 17, "{states:?}");
}

fn check(case: &Case, step: Step, restart: bool) {
    let what = format!("{}, {step:?}, restart: {restart}", case.name);
    let mut world = World::new();
    if step == Step::Known {
        world.now.quality = TimeQuality::Unknown;
        world.now.wall_ms = 0;
    }
    (case.begin)(&mut world);
    if step == Step::Known && case.stage.1 == "overdue" {
        return; // While the time is unknown nothing becomes overdue.
    }
    assert_eq!((world.stage("p"), back(&mut world)), case.stage, "{what}");
    let began = world.now.tick_ms;
    let before = timeless(&world.snapshot);
    match step {
        Step::By(ms) => world.now.wall_ms += ms,
        Step::Known => right(&mut world),
    }
    if restart {
        world.reload();
    }
    let outcome = world.handle(Input::Tick);
    assert_eq!(opens(&outcome), [], "{what}");
    assert_eq!(
        timeless(&world.snapshot),
        before,
        "{what}: the step changes nothing"
    );
    let Some(next) = case.next else {
        // Nothing comes by itself, however long it takes.
        let state = (world.stage("p"), back(&mut world));
        world.pass(5 * HOUR_MS);
        assert_eq!((world.stage("p"), back(&mut world)), state, "{what}");
        return;
    };
    world.pass(next.after_ms - 1);
    assert!(!(next.has_come)(&mut world), "{what}: too early");
    if next.by_wall {
        right(&mut world);
        world.handle(Input::Tick);
        assert!(
            !(next.has_come)(&mut world),
            "{what}: too early when the clock is right"
        );
    }
    assert_eq!(world.now.tick_ms, began + next.after_ms - 1);
    world.pass(1);
    assert!((next.has_come)(&mut world), "{what}: too late");
}

/// Sets the clock right.
fn right(world: &mut World) {
    world.now.quality = TimeQuality::Synchronised;
    world.now.wall_ms = truth(world);
}

fn truth(world: &World) -> i64 {
    EVENING_MS + i64::try_from(world.now.tick_ms - 1_000_000).unwrap()
}

/// What is on disk, without what a better known time may reckon anew.
fn timeless(snapshot: &Snapshot) -> Snapshot {
    let mut out = snapshot.clone();
    let any = |deadline: &mut Deadline| {
        (deadline.tick_ms, deadline.quality) = (None, TimeQuality::Unknown);
    };
    out.parcels.values_mut().for_each(|row| any(&mut row.due));
    out.couriers
        .values_mut()
        .for_each(|row| any(&mut row.valid_until));
    out.cells.clear();
    out.households.clear();
    out
}

fn row(world: &World) -> ParcelRow {
    world.estate.parcel("p").unwrap().clone()
}

fn back(world: &mut World) -> &'static str {
    row(world).back.map_or("", |back| back.word())
}

fn alarmed(world: &mut World) -> bool {
    world.steps("p").contains(&"door-left-open")
}

fn no_code(world: &mut World) -> bool {
    world.estate.codes().count() == 0
}

fn dead(world: &mut World) -> bool {
    let live = |state: &CodeState| matches!(state, CodeState::Live { .. });
    !world.estate.codes().any(|row| live(&row.state))
}

fn says(world: &mut World, symbol: &str, words: &str) -> bool {
    let outcome = world.scan("bank-a", symbol);
    shown(&outcome)
        .iter()
        .any(|(_, _, text)| text.contains(words))
}

fn badge_first(world: &mut World) -> bool {
    // Looking would prolong it: one looks at a copy.
    let estate = world.estate.clone();
    world.hold = true;
    let first = says(world, "p", "badge first");
    world.hold = false;
    world.estate = estate;
    first
}

fn badge_expired(world: &mut World) -> bool {
    says(world, "badge", "Badge expired")
}

fn locked_now(world: &mut World) -> bool {
    let outcome = world.key("bank-a", "1");
    shown(&outcome)
        .iter()
        .any(|(_, _, text)| text.contains("Locked"))
}

// The states, each reached as in life.

fn announce(world: &mut World, point: &str, return_of: Option<&str>) {
    let mut p = parcel("p", point);
    p.deadline = truth(world) + i64::try_from(RETENTION_MS).unwrap();
    p.return_of = return_of.map(Into::into);
    world.expect(p);
}

fn expected(world: &mut World) {
    announce(world, "bank-a", None);
}

fn courier(world: &mut World) {
    expected(world);
    world.courier("badge", truth(world) + 12 * HOUR);
    world.scan("bank-a", "badge");
}

fn scanned(world: &mut World) {
    expected(world);
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p");
}

fn put_in(world: &mut World) {
    scanned(world);
    world.door("bank-a/1", Door::Open, Some(false));
}

fn cancel(world: &mut World) {
    let item = Downlink::ParcelCancelled { parcel: "p".into() };
    assert_eq!(world.cloud(item), Verdict::Taken);
}

fn cancelled_behind_the_door(world: &mut World) {
    put_in(world);
    cancel(world);
}

fn deposited(world: &mut World) {
    put_in(world);
    world.door("bank-a/1", Door::Closed, Some(true));
}

fn at_desk(world: &mut World) {
    announce(world, "desk-c", None);
    desk(
        world,
        DeskAct::Receive {
            desk: id("desk-c"),
            parcel: "p".into(),
            courier: None,
        },
    );
}

fn overdue(world: &mut World) {
    deposited(world);
    world.pass(RETENTION_MS);
}

fn cancelled_late(world: &mut World) {
    deposited(world);
    cancel(world);
}

fn desk(world: &mut World, act: DeskAct) {
    let operator = "wang".into();
    let outcome = world.handle(Input::Desk { operator, act });
    assert_eq!(outcome.verdict, Verdict::Taken);
}

fn claim(world: &mut World, kind: ClaimKind) {
    deposited(world);
    let claim = Claim {
        kind,
        note: "broken".into(),
        compensation_fen: None,
        keeps: false,
        return_to: None,
    };
    desk(
        world,
        DeskAct::Claim {
            desk: id("desk-c"),
            parcel: "p".into(),
            claim,
        },
    );
}

fn refused(world: &mut World) {
    claim(world, ClaimKind::Refused);
}

fn claimed(world: &mut World) {
    claim(world, ClaimKind::Damaged);
}

fn returned(world: &mut World) {
    announce(world, "bank-a", Some("p0"));
    let code = world.codes["p"].clone();
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(false));
    world.door("bank-a/1", Door::Closed, Some(true));
}

fn typed_code(world: &mut World) {
    deposited(world);
    let code = world.codes["p"].clone();
    world.key("bank-a", &code);
}

fn taking_out(world: &mut World) {
    typed_code(world);
    world.door("bank-a/1", Door::Open, Some(true));
}

fn overdue_taking_out(world: &mut World) {
    overdue(world);
    let code = world.codes["p"].clone();
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(true));
}

fn retrieve(world: &mut World) {
    desk(
        world,
        DeskAct::Retrieve {
            parcel: "p".into(),
            courier: Some("c".into()),
        },
    );
}

fn retrieving(world: &mut World) {
    refused(world);
    retrieve(world);
}

fn retrieving_claimed(world: &mut World) {
    claimed(world);
    retrieve(world);
}

fn retrieving_cancelled(world: &mut World) {
    cancelled_late(world);
    retrieve(world);
}

fn retrieving_return(world: &mut World) {
    returned(world);
    retrieve(world);
}

fn transferring(world: &mut World) {
    deposited(world);
    desk(
        world,
        DeskAct::Transfer {
            desk: id("desk-c"),
            parcel: "p".into(),
        },
    );
}

fn collected(world: &mut World) {
    taking_out(world);
    world.door("bank-a/1", Door::Closed, Some(false));
}

fn past_grace(world: &mut World) {
    collected(world);
    world.pass(120_000);
}

fn retrieved(world: &mut World) {
    retrieving(world);
    world.door("bank-a/1", Door::Open, Some(true));
    world.skip(1);
    world.door("bank-a/1", Door::Closed, Some(false));
}

fn cancelled(world: &mut World) {
    expected(world);
    cancel(world);
}

fn locked(world: &mut World) {
    expected(world);
    for _ in 0..5 {
        world.key("bank-a", "1");
    }
}
