//! Banks that check codes by themselves: what they are told, and what they report.

use cloud_protocol::Downlink;
use estate::command::{CommandState, Purpose};
use estate::context::CodeDigest;
use estate::{Effect, Happening, Input, Outcome};
use firmware_protocols::Form;
use firmware_protocols::command::{BankCode, Order};
use firmware_protocols::event::{Done, Door};

use crate::common::*;

/// A list that went to a bank: its command and its codes.
type List = (String, Vec<BankCode>);

fn lists(outcome: &Outcome) -> Vec<List> {
    let lists = outcome.effects.iter().filter_map(|effect| {
        let Effect::Command {
            device, command, ..
        } = effect;
        let Order::Codes { salt, digests } = &command.order else {
            return None;
        };
        assert_eq!(device, &id("bank-a"));
        assert_eq!(salt, &QuickDigest.bank_salt(device).to_vec());
        assert!(command.id.starts_with("k-"));
        Some((command.id.clone(), digests.clone()))
    });
    lists.collect()
}

fn hello(world: &mut World, capabilities: &[&str]) -> Outcome {
    let what = Happening::Hello {
        model: "m".into(),
        firmware: "1".into(),
        capabilities: capabilities.iter().map(|c| (*c).to_string()).collect(),
    };
    world.event("bank-a", what)
}

/// A bank that has taken its first, empty list.
fn checking() -> World {
    let mut world = World::new();
    let told = lists(&hello(&mut world, &["show", "codes"]));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, []);
    world.result("bank-a", &told[0].0, Done::Done);
    world
}

fn bank_code(code: &str, compartment: u16) -> BankCode {
    BankCode {
        digest: QuickDigest.bank_digest(&id("bank-a"), code),
        compartment,
    }
}

/// The bank has opened a compartment for a code, `age_ms` ago.
fn used(world: &mut World, code: &str, compartment: u16, age_ms: i64) -> Outcome {
    let what = Happening::Keypad {
        typed: typed(&world.layout, &id("bank-a"), code),
        opened: Some(compartment),
    };
    world.event_at("bank-a", world.now.wall_ms - age_ms, what)
}

fn door(world: &mut World, door: Door, occupied: Option<bool>, age_ms: i64) {
    let what = Happening::Compartment {
        compartment: 1,
        door,
        occupied,
    };
    world.event_at("bank-a", world.now.wall_ms - age_ms, what);
}

#[test]
fn only_a_bank_that_says_it_can_is_told() {
    let mut world = World::new();
    world.bring("p1");
    assert_eq!(lists(&hello(&mut world, &["show"])), []);
    assert_eq!(lists(&world.pass(1_000)), []);
    assert_eq!(lists(&hello(&mut world, &["codes"])).len(), 1);
}

#[test]
fn it_is_told_what_opens_something_now_and_what_doesnt_any_more() {
    let mut world = checking();
    let expected = world.expect(parcel("p1", "bank-a"));
    assert_eq!(lists(&world.pass(1_000)), [], "its code is no good yet");
    world.put("p1");
    let told = lists(&world.pass(1_000));
    assert_eq!(told[0].1, [bank_code(&expected, 1)]);
    world.result("bank-a", &told[0].0, Done::Done);
    let (_, other) = world.bring("p2");
    let told = lists(&world.pass(1_000));
    let mut both = vec![bank_code(&expected, 1), bank_code(&other, 2)];
    both.sort();
    assert_eq!(told[0].1, both, "the whole list, in order");
    world.result("bank-a", &told[0].0, Done::Done);
    world.take(&expected);
    let told = lists(&world.pass(1_000));
    assert_eq!(told[0].1, [bank_code(&other, 2)]);
    world.result("bank-a", &told[0].0, Done::Done);
    world.cloud(Downlink::CodeReissue {
        parcel: "p2".into(),
    });
    let again = world.codes["p2"].clone();
    assert_eq!(lists(&world.pass(1_000))[0].1, [bank_code(&again, 2)]);
}

#[test]
fn it_is_told_again_only_on_change_once_it_has_answered() {
    let mut world = checking();
    for _ in 0..400 {
        assert_eq!(lists(&world.pass(1_000)), []);
    }
}

#[test]
fn an_unanswered_list_comes_again_with_growing_pauses() {
    let mut world = checking();
    world.bring("p1");
    let mut first = None;
    let mut at = Vec::new();
    for second in 0..1_300 {
        for (id, codes) in lists(&world.pass(1_000)) {
            assert_eq!(codes.len(), 1);
            first.get_or_insert(id);
            at.push(second);
        }
    }
    let pauses: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn only_done_to_the_last_list_is_an_answer() {
    let mut world = checking();
    world.bring("p1");
    let first = lists(&world.pass(1_000)).remove(0).0;
    world.result("bank-a", &first, Done::Failed);
    let second = lists(&world.pass(10_000)).remove(0).0;
    assert_ne!(first, second);
    world.result("bank-b", &second, Done::Done);
    let third = lists(&world.pass(20_000)).remove(0).0;
    world.result("bank-a", &third, Done::Done);
    assert_eq!(lists(&world.pass(40_000)), []);
}

#[test]
fn its_hello_brings_it_at_once_and_so_does_our_restart() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    let told = lists(&hello(&mut world, &["codes"]));
    assert_eq!(told[0].1, [bank_code(&code, 1)]);
    world.result("bank-a", &told[0].0, Done::Done);
    world.reload();
    assert_eq!(lists(&world.pass(1_000))[0].1, [bank_code(&code, 1)]);

    let mut world = checking();
    world.reload();
    assert_eq!(lists(&world.pass(1_000))[0].1, [], "it may hold an old one");
    hello(&mut world, &[]);
    assert_eq!(lists(&world.pass(10_000)), [], "it can't any more");
}

#[test]
fn the_longest_list_fits_into_a_message() {
    let mut layout = layout();
    let spec = layout.banks[0].compartments[0];
    layout.banks[0].compartments = vec![spec; 1_000];
    let mut world = World::with(layout);
    world.courier("badge", i64::MAX);
    let mut codes = Vec::new();
    for n in 0..720 {
        let code = world.expect(parcel(&format!("p{n}"), "bank-a"));
        world.scan("bank-a", "badge");
        let place = opened(&world.scan("bank-a", &format!("p{n}"))).unwrap();
        world.door(&place.to_string(), Door::Open, Some(false));
        world.door(&place.to_string(), Door::Closed, Some(true));
        codes.push(bank_code(&code, place.compartment));
        world.skip(1_000);
    }
    let outcome = hello(&mut world, &["codes"]);
    let (_, list) = lists(&outcome).remove(0);
    let mut oldest = codes[..700].to_vec();
    oldest.sort();
    assert_eq!(list, oldest, "those that wait longest");
    for effect in &outcome.effects {
        let Effect::Command { command, .. } = effect;
        assert!(command.encode(Form::Json).len() < 64 * 1024);
    }
}

#[test]
fn a_code_used_at_the_bank_is_a_collection_with_a_row_of_its_own() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    let outcome = used(&mut world, &code, 1, 5_000);
    assert_eq!(opened(&outcome), None, "it is open already");
    assert_eq!(world.stage("p1"), "collecting");
    let row = world.estate.commands().find(|row| row.id.starts_with("b-"));
    let row = row.unwrap().clone();
    assert_eq!(row.state, CommandState::Opened);
    assert_eq!(
        row.purpose,
        Purpose::Collect {
            parcel: "p1".into()
        }
    );
    assert_eq!(row.opened_ms, Some(world.now.wall_ms - 5_000));
    let entry = world.traces.last().unwrap();
    assert_eq!(
        (entry.step, entry.who.as_str()),
        ("opened-by-bank", "bank bank-a")
    );
    let detail = entry.detail.as_ref().unwrap();
    assert!(
        detail.starts_with("bank-a/1, at 20") && detail.contains("Z by its clock"),
        "{detail}"
    );
    world.reload();
    door(&mut world, Door::Open, Some(true), 4_000);
    door(&mut world, Door::Closed, Some(false), 1_000);
    assert_eq!(world.stage("p1"), "collected");
    assert_eq!(world.command_state(&row.id), CommandState::Closed);
    assert_eq!(world.reports.last().unwrap().state.word(), "collected");
    assert!(opened(&world.key("bank-a", &code)).is_some(), "the grace");
}

#[test]
fn the_grace_counts_from_the_devices_time() {
    for (age_ms, good) in [(60_000, true), (120_000, false), (7_200_000, false)] {
        let mut world = checking();
        let (_, code) = world.bring("p1");
        used(&mut world, &code, 1, age_ms + 10_000);
        door(&mut world, Door::Open, None, age_ms + 9_000);
        door(&mut world, Door::Closed, Some(false), age_ms);
        assert_eq!(world.stage("p1"), "collected");
        world.reload();
        assert_eq!(
            opened(&world.key("bank-a", &code)).is_some(),
            good,
            "{age_ms}"
        );
        let elsewhere = text(&world.key("keypad-b", &code));
        assert_eq!(elsewhere.contains("Your parcel is at"), good, "{elsewhere}");
    }
}

#[test]
fn still_occupied_is_still_there() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    used(&mut world, &code, 1, 1_000);
    door(&mut world, Door::Closed, Some(true), 500);
    assert_eq!(world.stage("p1"), "deposited");
    assert!(opened(&world.key("bank-a", &code)).is_some());
}

#[test]
fn without_a_closing_the_banks_word_is_taken() {
    for seen_open in [false, true] {
        let mut world = checking();
        let (_, code) = world.bring("p1");
        used(&mut world, &code, 1, 1_000);
        if seen_open {
            door(&mut world, Door::Open, None, 500);
        }
        world.reload();
        world.pass(119_999);
        assert_eq!(world.stage("p1"), "collecting");
        world.pass(1);
        assert_eq!(world.stage("p1"), "collected");
        assert_eq!(opened(&world.key("bank-a", &code)), None, "it is long over");
    }
}

#[test]
fn unless_the_sensor_has_said_that_something_is_inside() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    used(&mut world, &code, 1, 1_000);
    door(&mut world, Door::Open, Some(true), 500);
    world.pass(120_000);
    assert_eq!(world.stage("p1"), "collecting");
    assert!(world.steps("p1").contains(&"door-left-open"));
    world.pass(600_000);
    assert_eq!(world.stage("p1"), "collecting");
}

#[test]
fn a_deposit_whose_door_stays_open_is_not_taken_for_that() {
    let mut world = checking();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    world.door("bank-a/1", Door::Open, None);
    world.pass(120_000);
    assert_eq!(world.stage("p1"), "depositing");
    assert!(world.steps("p1").contains(&"door-left-open"));
}

#[test]
fn a_dead_code_or_another_compartment_changes_nothing_but_the_history() {
    let mut world = checking();
    let (_, old) = world.bring("p1");
    world.cloud(Downlink::CodeReissue {
        parcel: "p1".into(),
    });
    let (_, other) = world.bring("p2");
    for (n, code) in [old, other, "99999999".into()].into_iter().enumerate() {
        let before = world.full_stage("p1");
        used(&mut world, &code, 1, 1_000);
        assert_eq!(world.full_stage("p1"), before);
        let vain = |step: &&&str| **step == "opened-by-bank-in-vain";
        assert_eq!(world.steps("p1").iter().filter(vain).count(), n + 1);
    }
    assert_eq!(world.stage("p2"), "deposited");
    assert!(!world.steps("p2").contains(&"opened-by-bank-in-vain"));
    assert_eq!(
        world.estate.keypads().count(),
        0,
        "the bank has its own lockout"
    );
    assert!(world.estate.commands().all(|row| !row.id.starts_with("b-")));
}

#[test]
fn a_locked_keypad_here_doesnt_undo_what_the_bank_did() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    for _ in 0..5 {
        world.key("bank-a", "999999999");
    }
    used(&mut world, &code, 1, 1_000);
    assert_eq!(world.stage("p1"), "collecting");
}

#[test]
fn however_old_it_happened() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    world.pass(7 * DAY_MS);
    used(&mut world, &code, 1, 6 * 86_400_000);
    door(
        &mut world,
        Door::Closed,
        Some(false),
        6 * 86_400_000 - 20_000,
    );
    assert_eq!(world.stage("p1"), "collected");
    assert!(text(&world.key("bank-a", &code)).contains("not good any more"));
}

#[test]
fn delivered_twice_it_happened_once() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    let event = estate::DeviceEvent {
        device: id("bank-a"),
        form: Form::Json,
        boot: 9,
        seq: 1,
        at_ms: world.now.wall_ms - 1_000,
        said_ms: Some(world.now.wall_ms - 1_000),
        fingerprint: 1,
        what: Happening::Keypad {
            typed: typed(&world.layout, &id("bank-a"), &code),
            opened: Some(1),
        },
    };
    world.handle(Input::Event(event.clone()));
    door(&mut world, Door::Closed, Some(false), 500);
    let before = world.snapshot.parcels.clone();
    world.reload();
    world.handle(Input::Event(event));
    assert_eq!(world.snapshot.parcels, before);
    let own = world
        .estate
        .commands()
        .filter(|row| row.id.starts_with("b-"));
    assert_eq!(own.count(), 1);
}

#[test]
fn what_the_gateway_was_opening_just_then_is_taken_over() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    let ours = open_id(&world.key("bank-a", &code));
    used(&mut world, &code, 1, 100);
    let again = opens(&world.pass(3_000));
    assert_eq!(again, [], "it is open: nothing is sent again");
    world.result("bank-a", &ours, Done::Refused);
    assert_eq!(world.stage("p1"), "collecting");
    door(&mut world, Door::Closed, Some(false), 100);
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn a_compartment_that_doesnt_exist_changes_nothing() {
    let mut world = checking();
    let (_, code) = world.bring("p1");
    let before = world.snapshot.parcels.clone();
    used(&mut world, &code, 99, 1_000);
    assert_eq!(world.snapshot.parcels, before);
}

#[test]
fn the_banks_own_lockout_counts_as_one_more_keypad() {
    // One keypad lets 520 tries through, two 1,040: with one code and 1 in 1,000 that is 10^6 or more.
    let digits = |world: &World| world.estate.code_digits(&id("bank-a"));
    let one_in = |rules: &mut estate::layout::Rules| rules.guess_one_in = 980;
    let mut world = World::rules(one_in);
    world.layout.devices.clear();
    world.reload();
    assert_eq!(digits(&world), 6);
    hello(&mut world, &["codes"]);
    assert_eq!(digits(&world), 7);
}
