//! Refusals and damage claims, with what was paid on the spot, and the returns they make.

use cloud_protocol::uplink::ClaimKind;
use estate::Verdict;
use estate::input::Claim;
use estate::parcel::Back;

use crate::common::*;
use crate::staff::*;

fn damaged(keeps: bool, return_to: Option<&str>) -> Claim {
    Claim {
        kind: ClaimKind::Damaged,
        note: "two eggs broken".into(),
        compensation_fen: Some(1_250),
        keeps,
        return_to: return_to.map(id),
    }
}

fn refusal() -> Claim {
    Claim {
        kind: ClaimKind::Refused,
        note: "too late".into(),
        compensation_fen: None,
        keeps: false,
        return_to: None,
    }
}

fn taken(world: &mut World, name: &str, what: Claim) {
    assert_eq!(claim(world, name, what).0.verdict, Verdict::Taken);
}

fn refused(world: &mut World, name: &str, what: Claim, words: &str) {
    let (outcome, reports) = claim(world, name, what);
    assert!(why(&outcome.verdict).contains(words), "{outcome:?}");
    assert_eq!(reports, [], "nothing is reported");
    assert_eq!(outcome.told, None);
}

#[test]
fn a_refused_parcel_goes_back_and_its_code_dies() {
    for late in [false, true] {
        let mut world = World::new();
        let (place, code) = world.bring("p1");
        if late {
            world.pass(DAY_MS);
        }
        let (outcome, reports) = claim(&mut world, "p1", refusal());
        assert!(told(&outcome).contains("goes back"));
        assert_eq!(back(&world, "p1"), Some(Back::Refused));
        assert_eq!(live_codes(&world), 0);
        assert_eq!(heard(&world, "p1"), here("refused", &place.to_string()));
        let report = &reports[0];
        assert_eq!(report.claim, ClaimKind::Refused);
        assert_eq!(
            (report.operator.as_str(), report.note.as_str()),
            ("li", "too late")
        );
        assert_eq!(report.desk, id("desk-c"));
        let entry = world.traces.last().unwrap();
        assert_eq!(
            (entry.step, entry.who.as_str()),
            ("refused", "operator li at desk-c")
        );
        world.now.wall_ms += YEAR_MS;
        world.reload();
        world.pass(DAY_MS);
        assert_eq!(back(&world, "p1"), Some(Back::Refused));
        assert_eq!(opened(&world.key("bank-a", &code)), None);
        refused(&mut world, "p1", refusal(), "goes back already (refused)");
        let reports = world.reports.len();
        assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
        assert_eq!(world.reports.len(), reports, "nothing changes");
        assert_eq!(back(&world, "p1"), Some(Back::Refused));
    }
}

#[test]
fn only_what_is_at_a_point_is_refused() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    refused(&mut world, "p1", refusal(), "isn't here yet");
    let (_, code) = world.bring("p2");
    world.key("bank-a", &code);
    refused(&mut world, "p2", refusal(), "just now");
    swing(&mut world, "bank-a/1", Some(false));
    refused(&mut world, "p2", refusal(), "it was collected");
    refused(&mut world, "none", refusal(), "isn't known");
    cancel(&mut world, "p1");
    refused(&mut world, "p1", refusal(), "cancelled");
}

#[test]
fn a_kept_damaged_parcel_changes_nothing_but_the_record() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    let (outcome, reports) = claim(&mut world, "p1", damaged(true, None));
    assert!(told(&outcome).contains("taken down"));
    assert_eq!(reports[0].compensation_fen, Some(1_250));
    assert!(reports[0].keeps);
    let entry = world.traces.last().unwrap();
    assert_eq!(entry.step, "claimed");
    let detail = entry.detail.clone().unwrap();
    assert!(
        detail.contains("paid 12.50 yuan on the spot by li"),
        "{detail}"
    );
    assert_eq!(back(&world, "p1"), None);
    assert_eq!(heard(&world, "p1").0, "deposited");
    world.take(&code);
    let (_, reports) = claim(&mut world, "p1", damaged(true, None));
    assert_eq!(reports.len(), 1, "a collected one too");
    assert_eq!(heard(&world, "p1").0, "collected");
    assert_eq!(world.estate.parcels().count(), 1);
}

#[test]
fn a_damaged_parcel_that_is_still_here_goes_back() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    taken(&mut world, "p1", damaged(false, None));
    assert_eq!(back(&world, "p1"), Some(Back::Claimed));
    assert_eq!(live_codes(&world), 0);
    assert_eq!(heard(&world, "p1"), here("claimed", "bank-a/1"));
    world.reload();
    assert_eq!(opened(&world.key("bank-a", &code)), None);
    refused(&mut world, "p1", damaged(false, None), "already (claimed)");
    assert!(told(&retrieve(&mut world, "p1", None)).contains("opens"));
}

#[test]
fn collected_goods_are_handed_over_at_the_desk_as_a_return() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    world.reload();
    let (outcome, reports) = claim(&mut world, "p1", damaged(false, None));
    assert!(told(&outcome).contains("here as p1-R"));
    assert_eq!(outcome.told.unwrap().code, None);
    assert_eq!(reports[0].returned_as.as_deref(), Some("p1-R"));
    assert_eq!(heard(&world, "p1-R"), here("deposited", "desk-c"));
    assert_eq!(heard(&world, "p1").0, "collected");
    assert_eq!(back(&world, "p1-R"), Some(Back::Return));
    assert!(told(&retrieve(&mut world, "p1-R", None)).contains("give back"));
    refused(
        &mut world,
        "p1-R",
        damaged(false, None),
        "claim the original",
    );
}

#[test]
fn collected_goods_are_expected_back_at_a_point_with_a_code() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    let (outcome, reports) = claim(&mut world, "p1", damaged(false, Some("bank-a")));
    let code = outcome.told.clone().unwrap().code.unwrap();
    assert!(!format!("{outcome:?}").contains(code.reveal()));
    assert_eq!(world.codes["p1-R"], code.reveal());
    assert_eq!(reports[0].returned_as.as_deref(), Some("p1-R"));
    let report = world.reports.last().unwrap();
    assert_eq!(report.return_of.as_deref(), Some("p1"));
    let row = world.estate.parcel("p1-R").unwrap();
    assert_eq!(row.parcel.recipient, "recipient of p1");
    assert_eq!(row.parcel.deadline, EVENING_MS + 86_400_000);
    world.reload();
    let outcome = world.key("bank-a", code.reveal());
    let place = opened(&outcome).unwrap().to_string();
    swing(&mut world, &place, Some(true));
    assert_eq!(heard(&world, "p1-R"), here("deposited", &place));
    assert_eq!(back(&world, "p1-R"), Some(Back::Return));
}

#[test]
fn each_return_has_an_id_of_its_own_never_longer_than_allowed() {
    let mut world = World::new();
    let long = "包".repeat(128);
    for name in ["p1", &long] {
        let (_, code) = world.bring(name);
        world.take(&code);
        for _ in 0..2 {
            taken(&mut world, name, damaged(false, None));
        }
    }
    let ids: Vec<_> = world.estate.parcels().map(|r| &r.parcel.parcel).collect();
    assert!(ids.iter().any(|id| *id == "p1-R"));
    assert!(ids.iter().any(|id| *id == "p1-R2"));
    assert!(ids.iter().all(|id| id.chars().count() <= 128));
    assert_eq!(ids.len(), 6);
    for _ in 2..estate::claim::RETURNS_MAX {
        taken(&mut world, "p1", damaged(false, None));
    }
    refused(&mut world, "p1", damaged(false, None), "99 returns");
}

#[test]
fn a_claim_typed_twice_gives_out_no_second_code() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    let back_to = |point: &str| damaged(false, Some(point));
    taken(&mut world, "p1", back_to("bank-a"));
    refused(
        &mut world,
        "p1",
        back_to("bank-a"),
        "expected back as p1-R already",
    );
}

#[test]
fn what_a_claim_must_say_is_bounded() {
    let mut world = World::new();
    world.bring("p1");
    let note = |note: &str| Claim {
        note: note.into(),
        ..refusal()
    };
    for bad in ["", "  ", "two\nlines", &"x".repeat(501)] {
        refused(&mut world, "p1", note(bad), "in one line of 1 to 500");
    }
    let paid = |fen| Claim {
        compensation_fen: Some(fen),
        ..damaged(true, None)
    };
    refused(&mut world, "p1", paid(1_000_001), "at most 10000 yuan");
    taken(&mut world, "p1", paid(1_000_000));
    refused(
        &mut world,
        "p1",
        damaged(true, Some("bank-a")),
        "one of both",
    );
    refused(
        &mut world,
        "p1",
        damaged(false, Some("bank-a")),
        "wasn't collected",
    );
    let keeps = Claim {
        keeps: true,
        ..refusal()
    };
    refused(&mut world, "p1", keeps, "doesn't keep it");
    assert_eq!(back(&world, "p1"), None);
    taken(&mut world, "p1", note(&"x".repeat(500)));
}

#[test]
fn a_return_to_nowhere_is_refused_and_nothing_is_made() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    refused(
        &mut world,
        "p1",
        damaged(false, Some("nowhere")),
        "points: bank-a",
    );
    assert_eq!(world.estate.parcels().count(), 1);
}

#[test]
fn after_it_was_put_away_a_collected_parcel_is_not_claimed() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    world.pass(30 * DAY_MS);
    refused(&mut world, "p1", damaged(false, None), "isn't known");
}
