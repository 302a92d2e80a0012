//! The verdict on what was set up: configuration and profiles.

use super::tests::{NOW_MS, report};
use super::*;
use crate::control::profiles::ProfileDown;
use crate::control::reload::{ConfigurationReport, RefusedConfiguration};

#[test]
fn a_profile_that_is_not_run_should_be_looked_at() {
    let down = ProfileDown {
        profile: "/etc/linli/own.toml".to_string(),
        why: "the program computes for more than 250 ms".to_string(),
        until_ms: Some(NOW_MS + 60_000),
        devices: 2,
    };
    let mut report = report();
    report.links.profiles = vec![down.clone()];
    let (health, troubles) = judge(
        &report,
        &[],
        &[],
        &LanesRow::default(),
        &Concerns::default(),
    );
    assert_eq!(health, Health::Attention);
    assert_eq!(troubles, [Trouble::ProfileDown(down)]);
}

#[test]
fn a_configuration_that_was_refused_is_named_until_a_good_one_comes() {
    let mut report = report();
    let of = |report: &StatusReport| {
        let none = (LanesRow::default(), Concerns::default());
        judge(report, &[], &[], &none.0, &none.1)
    };
    assert_eq!(of(&report).0, Health::Well);
    let refused = RefusedConfiguration {
        at_ms: NOW_MS,
        by: "wang".to_owned(),
        why: "no".to_owned(),
    };
    report.configuration = ConfigurationReport {
        taken_ms: NOW_MS - 1,
        refused: Some(refused.clone()),
        ..ConfigurationReport::default()
    };
    let taken_ms = NOW_MS - 1;
    let named = Trouble::ConfigurationRefused { refused, taken_ms };
    assert_eq!(of(&report), (Health::Attention, vec![named]));
}
