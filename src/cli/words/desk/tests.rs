//! What is said of hand-overs, whole.

use super::super::super::look::tests::{NOW_MS, plain};
use super::*;
use crate::control::secret::PickupCode;
use crate::control::views::Opening;
use crate::store::read::CloudRefused;

fn sample(act: &str) -> Acted {
    Acted {
        act: act.to_string(),
        operator: "wang".to_string(),
        parcel: Some("P-1".to_string()),
        desk: None,
        slot: None,
        text: String::new(),
        code: None,
        good_at: None,
        until_ms: None,
        before: None,
        opening: None,
    }
}

#[test]
fn codes_are_grouped_so_that_they_can_be_read_out() {
    let pairs = [
        ("7", "7"),
        ("12345", "12345"),
        ("482915", "482 915"),
        ("4829153", "482 9153"),
        ("48291537", "4829 1537"),
        ("482915370", "482 915 370"),
    ];
    for (digits, shown) in pairs {
        assert_eq!(grouped(digits), shown);
    }
}

#[test]
fn a_code_that_was_issued_is_shown_large_with_where_it_is_good() {
    let mut done = sample("reissue");
    done.code = Some(PickupCode::new("482915"));
    done.good_at = Some(PointView {
        point: "bank-a".to_string(),
        address: "Gate 1".to_string(),
    });
    let wanted = "\
The new code of P-1:

    482 915

Tell it to the recipient only; it isn't shown again. It is good at bank-a (Gate 1). The old code is dead, and the cloud is told the new one.
";
    assert_eq!(acted(&plain(None), &done), wanted);
}

#[test]
fn what_came_is_a_sentence() {
    let say = |done: &Acted| acted(&plain(None), done);
    let mut done = sample("hand-over");
    done.text = "hand over: P-1, P-2\u{1b}".to_string();
    assert_eq!(say(&done), "Hand over: P-1, P-2?.\n");
    done.text.clear();
    assert_eq!(say(&done), "Nothing to do: it is so already.\n");
    let mut done = sample("extend");
    done.until_ms = Some(NOW_MS);
    assert_eq!(
        say(&done),
        "P-1 may wait until 2026-11-22 17:03:21 (UTC+08:00).\n"
    );
    let mut done = sample("disable");
    done.slot = Some("bank-a/3".to_string());
    let back = "Back into use: linli compartment enable bank-a/3";
    let out = "bank-a/3 is out of use: nothing is put in any more.";
    assert_eq!(say(&done), format!("{out} {back}\n"));
    done.before = Some("wet\u{1b}".to_string());
    let before = "It was so already: the reason was 'wet?', and is replaced.";
    assert_eq!(say(&done), format!("{out} {before} {back}\n"));
    let mut done = sample("transfer");
    done.text = "bank-a/2 opens: bring P-1 to desk-1".to_string();
    done.opening = Some(Opening {
        command: "o-1".to_string(),
        slot: "bank-a/2".to_string(),
        operator: "wang".to_string(),
        reason: String::new(),
        state: "opened".to_string(),
        answer: None,
        waited_ms: 300,
    });
    let wanted = "bank-a/2 is open, after 0.3 s.\nbank-a/2 opens: bring P-1 to desk-1.\n";
    assert_eq!(say(&done), wanted);
}

#[test]
fn every_trouble_of_hand_overs_has_words_and_a_remedy() {
    let bank = "bank-a".to_string();
    let all = [
        Trouble::CompartmentsDisabled {
            bank: bank.clone(),
            compartments: vec![2, 3],
        },
        Trouble::KeypadsLocked {
            keypads: vec![LockedRow {
                keypad: bank.clone(),
                until_ms: NOW_MS + 60_000,
            }],
        },
        Trouble::DesksLocked {
            desks: vec![LockedRow {
                keypad: "desk-1".to_string(),
                until_ms: NOW_MS + 60_000,
            }],
        },
        Trouble::DoorsLeftOpen {
            doors: vec![LeftOpenRow {
                bank: bank.clone(),
                compartment: 2,
                parcel: "P-1".to_string(),
                since_ms: NOW_MS - 180_000,
            }],
        },
        Trouble::ParcelsGoBack(GoingBack {
            count: 3,
            overdue: 1,
            oldest_ms: NOW_MS - 7_200_000,
        }),
        Trouble::CloudRefused(CloudRefused {
            count: 2,
            newest_ms: NOW_MS - 60_000,
            newest_reason: "bank-z isn't here".to_string(),
        }),
        Trouble::BootsReused {
            devices: vec![bank],
        },
    ];
    let look = plain(None);
    let said: Vec<String> = all
        .iter()
        .map(|each| super::super::trouble(&look, each))
        .inspect(|(_, remedy)| assert!(remedy.contains("linli ")))
        .map(|(what, _)| what)
        .collect();
    let wanted = [
        "Bank bank-a has 2 compartments out of use: 2, 3.",
        "1 keypad is locked after wrong codes: bank-a until 17:04:21.",
        "1 desk is locked after wrong codes: desk-1 until 17:04:21.",
        "1 door was left open during a hand-over: bank-a/2 (P-1, for 3 min).",
        "1 parcel is overdue, 2 parcels wait to be taken back; the oldest has been here for 2 h.",
        "2 wishes of the cloud in the last 24 h couldn't be carried out, the newest 1 min ago: bank-z isn't here.",
        "1 device uses a boot number for more than one start: bank-a.",
    ];
    assert_eq!(said, wanted);
    let (_, at_desk) = super::super::trouble(&look, &all[2]);
    for unfit in ["keypad", "linli open"] {
        assert!(!at_desk.contains(unfit), "{at_desk}");
    }
}
