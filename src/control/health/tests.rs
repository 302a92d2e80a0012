//! The verdict, trouble by trouble.

use super::cloud::{BACKLOG_MS, CERTIFICATE_DAYS, HELD_MS, SKEW_MS};
use super::*;
use crate::cloud::{CertificateView, CloudSnapshot, Direction, HeldLane, Level, LineView};
use crate::control::reload::ConfigurationReport;
use crate::control::views::CompartmentState;
use crate::control::views::{ClockReport, CompartmentView, JournalReport, LinksReport, PartReport};
use crate::store::read::LaneRow;

pub(super) const NOW_MS: i64 = 1_700_000_000_000;

pub(super) fn report() -> StatusReport {
    StatusReport {
        version: "0.1.0".to_string(),
        site: "garden-court".to_string(),
        uptime_ms: SETTLING_MS + 1,
        journal: JournalReport {
            writing: true,
            ..JournalReport::default()
        },
        links: LinksReport::default(),
        parts: Vec::new(),
        cloud: serde_json::json!({}),
        clock: ClockReport {
            wall_ms: NOW_MS,
            quality: "synchronised".to_string(),
            tick_ms: 0,
        },
        memory_rss_bytes: None,
        audit: crate::audit::AuditReport::default(),
        disk: Vec::new(),
        serial: Vec::new(),
        configuration: ConfigurationReport::default(),
    }
}

pub(super) fn device(device: &str, role: &str, online: Option<bool>) -> DeviceView {
    DeviceView {
        device: device.to_string(),
        role: role.to_string(),
        building: None,
        point: None,
        online,
        slowed: None,
        rotation: None,
        last_heard_ms: None,
        form: None,
        boot: None,
        received: 0,
        stored: 0,
        duplicate: 0,
        quarantined: 0,
        boots: Vec::new(),
        model: None,
        firmware: None,
        capabilities: Vec::new(),
    }
}

fn lanes(oldest_waiting_ms: Option<i64>) -> LanesRow {
    LanesRow {
        epoch: Some(1),
        lanes: vec![LaneRow {
            lane: "fulfilment".to_string(),
            last_seq: 9,
            acked_seq: 6,
            waiting: 3,
            oldest_waiting_ms,
        }],
    }
}

/// The verdict over a report and devices, with nothing else wrong.
pub(super) fn judged(report: &StatusReport, devices: &[DeviceView]) -> (Health, Vec<Trouble>) {
    judge(report, &[], devices, &lanes(None), &Concerns::default())
}

#[test]
fn nothing_wrong_is_well() {
    let devices = [device("bank-a", "bank", Some(true))];
    let judged = judge(
        &report(),
        &[],
        &devices,
        &lanes(Some(NOW_MS - BACKLOG_MS)),
        &Concerns::default(),
    );
    assert_eq!(judged, (Health::Well, Vec::new()));
}

#[test]
fn a_disk_that_refuses_comes_before_all_else() {
    let mut sick = report();
    sick.clock.quality = "unknown".to_string();
    sick.journal.writing = false;
    sick.journal.last_error = Some("disk full".to_string());
    let (health, troubles) = judge(&sick, &[], &[], &lanes(None), &Concerns::default());
    assert_eq!(health, Health::Failing);
    assert!(matches!(troubles[0], Trouble::NotWriting { .. }));
    assert_eq!(troubles[1], Trouble::ClockUnknown);
}

#[test]
fn what_the_disk_refuses_is_named_once() {
    let refused = |duty| crate::disk::Refused {
        duty,
        error: "no".to_string(),
        since_ms: NOW_MS,
        times: 3,
    };
    let mut sick = report();
    sick.journal.writing = false;
    sick.journal.log_bytes = 7;
    sick.disk = vec![refused(Duty::Writing), refused(Duty::Checkpoint)];
    let (health, troubles) = judge(&sick, &[], &[], &lanes(None), &Concerns::default());
    assert_eq!(health, Health::Failing);
    let checkpoint = Trouble::DiskRefuses {
        duty: Duty::Checkpoint,
        error: "no".to_string(),
        since_ms: NOW_MS,
        log_bytes: 7,
    };
    assert_eq!(troubles.len(), 2);
    assert!(matches!(troubles[0], Trouble::NotWriting { .. }));
    assert_eq!(troubles[1], checkpoint);
    assert_eq!(checkpoint.health(), Health::Attention);
}

#[test]
fn a_silent_device_is_given_time_after_a_start() {
    let devices = [
        device("bank-a", "bank", None),
        device("door-1", "device", None),
        device("old-1", "unconfigured", Some(false)),
    ];
    let (health, troubles) = judge(&report(), &[], &devices, &lanes(None), &Concerns::default());
    assert_eq!(health, Health::Failing);
    let bank = "bank-a".to_string();
    let others = vec!["door-1".to_string()];
    assert_eq!(
        troubles,
        [
            Trouble::BankOffline { bank },
            Trouble::DevicesOffline { devices: others }
        ]
    );
    let mut young = report();
    young.uptime_ms = SETTLING_MS;
    assert_eq!(
        judge(&young, &[], &devices, &lanes(None), &Concerns::default()).0,
        Health::Well
    );
}

#[test]
fn a_backlog_matters_only_when_it_is_old_and_there_is_a_cloud() {
    let old = lanes(Some(NOW_MS - BACKLOG_MS - 1));
    let (health, troubles) = judge(&report(), &[], &[], &old, &Concerns::default());
    assert_eq!(health, Health::Attention);
    assert!(matches!(troubles[0], Trouble::Backlog { waiting: 3, .. }));
    let mut alone = report();
    alone.cloud = serde_json::Value::Null;
    assert_eq!(
        judge(&alone, &[], &[], &old, &Concerns::default()).0,
        Health::Well
    );
}

/// The cloud client's status, as it comes to the verdict.
fn of_cloud(snapshot: &CloudSnapshot) -> StatusReport {
    let mut report = report();
    report.cloud = serde_json::to_value(snapshot).unwrap();
    report
}

fn judge_cloud(snapshot: &CloudSnapshot, lanes: &LanesRow) -> (Health, Vec<Trouble>) {
    judge(&of_cloud(snapshot), &[], &[], lanes, &Concerns::default())
}

fn held(lane: &'static str, since_ms: i64) -> CloudSnapshot {
    CloudSnapshot {
        held: vec![HeldLane {
            lane,
            what: "Items are missing".to_string(),
            remedy: "ask",
            since_ms,
        }],
        ..CloudSnapshot::default()
    }
}

#[test]
fn a_lane_that_the_cloud_refuses_is_named_and_fails_once_codes_wait_for_long() {
    let wanted = |lane: &str, since_ms, codes_wait| Trouble::Cloud {
        lane: Some(lane.to_string()),
        way: None,
        what: "Items are missing".to_string(),
        remedy: "ask".to_string(),
        since_ms: Some(since_ms),
        codes_wait,
    };
    let young = NOW_MS - HELD_MS;
    let cases = [
        ("fulfilment", young, Health::Attention, false),
        ("fulfilment", young - 1, Health::Failing, true),
        ("demand", 1, Health::Attention, false),
    ];
    for (lane, since_ms, health, codes_wait) in cases {
        let judged = judge_cloud(&held(lane, since_ms), &lanes(None));
        assert_eq!(judged, (health, vec![wanted(lane, since_ms, codes_wait)]));
    }
}

#[test]
fn a_direction_that_stopped_is_named_and_both_at_once_as_one() {
    let stopped = |remedy, since_ms| Direction {
        last_error: Some("no such gateway here".to_string()),
        remedy: Some(remedy),
        remedy_since_ms: Some(since_ms),
        failures: 1,
        ..Direction::default()
    };
    let shown = |uplink: Option<Direction>, downlink: Option<Direction>| {
        let snapshot = CloudSnapshot {
            uplink: uplink.unwrap_or_default(),
            downlink: downlink.unwrap_or_default(),
            ..CloudSnapshot::default()
        };
        let (health, troubles) = judge_cloud(&snapshot, &lanes(None));
        let ways = troubles.into_iter().map(|trouble| match trouble {
            Trouble::Cloud {
                way, lane: None, ..
            } => way,
            other => panic!("{other:?}"),
        });
        (health, ways.collect::<Vec<_>>())
    };
    let (up, down) = (Some("uplink".to_string()), Some("downlink".to_string()));
    let now = || Some(stopped("ask", NOW_MS));
    let long = || Some(stopped("ask", NOW_MS - HELD_MS - 1));
    assert_eq!(shown(now(), None), (Health::Attention, vec![up.clone()]));
    assert_eq!(shown(long(), None), (Health::Failing, vec![up.clone()]));
    assert_eq!(shown(None, long()), (Health::Attention, vec![down.clone()]));
    assert_eq!(shown(long(), now()), (Health::Failing, vec![None]));
    let other = Some(stopped("look", NOW_MS));
    assert_eq!(shown(now(), other), (Health::Attention, vec![up, down]));
    assert_eq!(shown(None, None), (Health::Well, vec![]));
}

#[test]
fn a_backlog_that_is_explained_already_is_not_named_again() {
    let mut old = lanes(Some(NOW_MS - BACKLOG_MS - 1));
    let (_, troubles) = judge_cloud(&held("fulfilment", NOW_MS), &old);
    assert!(matches!(troubles.as_slice(), [Trouble::Cloud { .. }]));
    let other = LaneRow {
        lane: "demand".to_string(),
        waiting: 7,
        ..old.lanes[0].clone()
    };
    old.lanes.push(other);
    let (_, troubles) = judge_cloud(&held("fulfilment", NOW_MS), &old);
    assert!(matches!(troubles[1], Trouble::Backlog { waiting: 7, .. }));
}

#[test]
fn what_waits_for_its_turn_on_the_line_is_no_backlog() {
    let mut old = lanes(Some(NOW_MS - 2 * BACKLOG_MS));
    let mut snapshot = CloudSnapshot::default();
    let told = |snapshot: &CloudSnapshot, old: &LanesRow| judge_cloud(snapshot, old).1.len();
    old.lanes[0].lane = "demand".to_string();
    assert_eq!(told(&snapshot, &old), 1);
    for (next_ms, troubles) in [
        (NOW_MS + 6 * 3_600_000, 0),
        (NOW_MS - BACKLOG_MS + 1, 0),
        (NOW_MS - BACKLOG_MS, 1),
    ] {
        snapshot.line.demand_next_ms = Some(next_ms);
        assert_eq!(told(&snapshot, &old), troubles, "{}", next_ms - NOW_MS);
    }
    snapshot.line.demand_next_ms = Some(NOW_MS);
    old.lanes[0].lane = "fulfilment".to_string();
    assert_eq!(told(&snapshot, &old), 1, "parcels have no turn to wait for");
}

#[test]
fn papers_that_end_a_budget_that_is_used_up_and_a_clock_that_is_off_are_named() {
    let certificate = |days_left| CertificateView {
        what: "client".to_string(),
        not_after_ms: NOW_MS,
        days_left,
    };
    let told = |snapshot: CloudSnapshot| {
        let (health, troubles) = judge_cloud(&snapshot, &lanes(None));
        assert_eq!(health == Health::Attention, !troubles.is_empty());
        troubles
    };
    let with = |days_left| CloudSnapshot {
        certificates: vec![certificate(days_left)],
        ..CloudSnapshot::default()
    };
    assert_eq!(told(with(CERTIFICATE_DAYS + 1)), []);
    for days_left in [CERTIFICATE_DAYS, 0, -1] {
        assert_eq!(
            told(with(days_left)),
            [Trouble::CertificateEnds {
                what: "client".to_string(),
                not_after_ms: NOW_MS,
                days_left,
            }]
        );
    }
    let at = |level| CloudSnapshot {
        line: LineView {
            level,
            used_bytes: 7,
            budget_bytes: Some(8),
            month_until_ms: Some(NOW_MS),
            ..LineView::default()
        },
        ..CloudSnapshot::default()
    };
    assert_eq!(told(at(Level::Plenty)), []);
    assert_eq!(told(at(Level::Short)), []);
    assert_eq!(
        told(at(Level::Exhausted)),
        [Trouble::LineExhausted {
            used_bytes: 7,
            budget_bytes: 8,
            until_ms: Some(NOW_MS),
        }]
    );
    let off = |skew_ms| CloudSnapshot {
        skew_ms: Some(skew_ms),
        ..CloudSnapshot::default()
    };
    assert_eq!(told(off(SKEW_MS)), []);
    for skew_ms in [SKEW_MS + 1, -SKEW_MS - 1] {
        assert_eq!(told(off(skew_ms)), [Trouble::ClockOff { skew_ms }]);
    }
}

#[test]
fn a_history_that_cannot_be_trusted_comes_directly_after_what_fails() {
    let mut sick = report();
    sick.links.last_error = Some("refused".to_string());
    sick.clock.quality = "unknown".to_string();
    sick.audit.broken = Some(crate::store::audit::Break {
        n: 3,
        what: crate::store::audit::BreakKind::Changed,
        parcel: None,
        step: None,
        at_ms: None,
    });
    let concerns = Concerns {
        locked: vec![LockedRow {
            keypad: "bank-a".to_string(),
            until_ms: NOW_MS,
        }],
        ..Concerns::default()
    };
    let (_, troubles) = judge(&sick, &[], &[], &lanes(None), &concerns);
    assert!(matches!(
        troubles.as_slice(),
        [
            Trouble::LinkDown { .. },
            Trouble::HistoryBroken { .. },
            Trouble::KeypadsLocked { .. },
            Trouble::ClockUnknown,
        ]
    ));
}

fn compartment(number: u16, state: CompartmentState) -> CompartmentView {
    CompartmentView {
        compartment: number,
        size: "S".to_string(),
        zone: "ambient".to_string(),
        state,
        parcels: Vec::new(),
        reserved: None,
        door: "closed".to_string(),
        occupied: None,
        fault: None,
        disabled: None,
        low: false,
        openings: 0,
    }
}

fn bank(compartments: Vec<CompartmentView>) -> BankView {
    BankView {
        bank: "bank-a".to_string(),
        building: "b1".to_string(),
        address: String::new(),
        online: Some(true),
        occupancy_sensor: true,
        compartments,
    }
}

#[test]
fn a_sensor_that_contradicts_the_books_is_named() {
    let mut lost = compartment(1, CompartmentState::Occupied);
    lost.parcels = vec!["R2".to_string()];
    lost.occupied = Some(false);
    let mut left = compartment(2, CompartmentState::Occupied);
    left.occupied = Some(true);
    let shown =
        |bank: BankView| judge(&report(), &[bank], &[], &lanes(None), &Concerns::default()).1;
    let not_seen = Trouble::ParcelsNotSeen {
        compartments: vec![Lacking {
            slot: "bank-a/1".to_string(),
            parcels: vec!["R2".to_string()],
        }],
    };
    let not_booked = Trouble::NotBooked {
        slots: vec!["bank-a/2".to_string()],
    };
    let both = bank(vec![lost.clone(), left.clone()]);
    assert_eq!(shown(both.clone()), [not_seen, not_booked]);
    let blind = BankView {
        occupancy_sensor: false,
        ..both
    };
    assert_eq!(shown(blind), []);
    let mut agreeing = vec![lost.clone(), lost, left.clone(), left.clone(), left];
    agreeing[0].door = "open".to_string();
    agreeing[1].occupied = Some(true);
    agreeing[2].reserved = Some("P-1".to_string());
    agreeing[3].door = "unknown".to_string();
    agreeing[4].parcels = vec!["P-2".to_string()];
    assert_eq!(shown(bank(agreeing)), []);
}

#[test]
fn a_desk_that_is_locked_is_no_keypad() {
    let row = |keypad: &str| LockedRow {
        keypad: keypad.to_string(),
        until_ms: NOW_MS,
    };
    let concerns = Concerns {
        locked: vec![row("bank-a"), row("desk-1")],
        ..Concerns::default()
    };
    let devices = [
        device("bank-a", "bank", Some(true)),
        device("desk-1", "desk", Some(true)),
    ];
    let (_, troubles) = judge(&report(), &[], &devices, &lanes(None), &concerns);
    let (keypads, desks) = (vec![row("bank-a")], vec![row("desk-1")]);
    let wanted = [
        Trouble::KeypadsLocked { keypads },
        Trouble::DesksLocked { desks },
    ];
    assert_eq!(troubles, wanted);
}

#[test]
fn faulty_compartments_and_parts_are_named() {
    let mut report = report();
    report.parts.push(PartReport {
        name: "cloud".to_string(),
        running: false,
        restarts: 4,
        last_error: None,
    });
    let bank = bank(vec![
        compartment(1, CompartmentState::Free),
        compartment(2, CompartmentState::Faulty),
    ]);
    let (_, troubles) = judge(&report, &[bank], &[], &lanes(None), &Concerns::default());
    assert!(matches!(
        &troubles[0],
        Trouble::PartDown { restarts: 4, .. }
    ));
    assert_eq!(
        troubles[1],
        Trouble::CompartmentsFaulty {
            bank: "bank-a".to_string(),
            compartments: vec![2]
        }
    );
}

#[test]
fn what_in_the_hand_overs_needs_a_look_is_named_and_serves_on() {
    let concerns = Concerns {
        locked: vec![LockedRow {
            keypad: "bank-a".to_string(),
            until_ms: NOW_MS + 1,
        }],
        left_open: vec![LeftOpenRow {
            bank: "bank-a".to_string(),
            compartment: 2,
            parcel: "P-1".to_string(),
            since_ms: NOW_MS,
        }],
        going_back: Some(GoingBack {
            count: 2,
            overdue: 1,
            oldest_ms: NOW_MS,
        }),
        cloud_refused: Some(CloudRefused {
            count: 1,
            newest_ms: NOW_MS,
            newest_reason: "no such bank".to_string(),
        }),
    };
    let (health, troubles) = judge(&report(), &[], &[], &lanes(None), &concerns);
    assert_eq!(health, Health::Attention);
    let wanted = [
        Trouble::DoorsLeftOpen {
            doors: concerns.left_open.clone(),
        },
        Trouble::KeypadsLocked {
            keypads: concerns.locked.clone(),
        },
        Trouble::ParcelsGoBack(concerns.going_back.unwrap()),
        Trouble::CloudRefused(concerns.cloud_refused.clone().unwrap()),
    ];
    assert_eq!(troubles, wanted);
    let json = serde_json::to_value(&troubles).unwrap();
    assert_eq!(json[2]["trouble"], "parcels-go-back");
    let read: Vec<Trouble> = serde_json::from_value(json).unwrap();
    assert_eq!(read, wanted);
}

#[test]
fn a_boot_number_used_twice_is_named_until_newer_boots_push_it_out() {
    let boot = |reused, closed| crate::store::read::BootRow {
        boot: 1,
        upto: 4,
        missing: Vec::new(),
        given_up: Vec::new(),
        reused,
        closed,
    };
    let mut devices = [
        device("door-1", "device", Some(true)),
        device("door-2", "device", Some(true)),
        device("old-1", "unconfigured", None),
    ];
    devices[0].boots = vec![boot(false, false), boot(true, false)];
    devices[1].boots = vec![boot(true, true), boot(false, true)];
    devices[2].boots = vec![boot(true, false)];
    let (health, troubles) = judge(&report(), &[], &devices, &lanes(None), &Concerns::default());
    assert_eq!(health, Health::Attention);
    let devices = vec!["door-1".to_string()];
    assert_eq!(troubles, [Trouble::BootsReused { devices }]);
}

#[test]
fn a_link_that_is_down_is_named_once() {
    let mut sick = report();
    sick.links.last_error = Some("refused".to_string());
    sick.parts = vec![PartReport {
        name: "the link to the external broker".to_string(),
        running: false,
        restarts: 3,
        last_error: Some("refused".to_string()),
    }];
    let (_, troubles) = judge(&sick, &[], &[], &lanes(None), &Concerns::default());
    assert_eq!(troubles.len(), 1);
    assert!(matches!(troubles[0], Trouble::LinkDown { .. }));
}

#[test]
fn a_device_that_is_slowed_for_long_should_be_looked_at() {
    let slowed = |since_ms| SlowedView {
        device: "sensor-1".to_string(),
        since_ms,
        over: "events".to_string(),
        held_ms: 1_000,
        put_off: 0,
    };
    let mut report = report();
    report.links.limits.slowed = vec![slowed(NOW_MS - SLOWED_MS + 1)];
    let judged =
        |report: &StatusReport| judge(report, &[], &[], &lanes(None), &Concerns::default());
    assert_eq!(judged(&report).0, Health::Well, "a backlog");
    report.links.limits.slowed.push(slowed(NOW_MS - SLOWED_MS));
    let (health, troubles) = judged(&report);
    assert_eq!(health, Health::Attention);
    let devices = vec![slowed(NOW_MS - SLOWED_MS)];
    assert_eq!(troubles, [Trouble::DevicesSlowed { devices }]);
}
