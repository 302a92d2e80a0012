//! `linli conform cloud` against the reference cloud, over which nothing may be said, and against
//! clouds that each do one thing wrong, of which exactly that must be said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clouds;
mod command;
mod faults;

use std::collections::BTreeSet;

use clouds::Stand;
use faults::FAULTS;
use linli::conform::report::{Outcome, Report};
use linli::conform::{self, CannotRun, Options};
use tokio::task::JoinSet;

/// The clauses that were broken, and what was seen of each.
fn broken(report: &Report) -> Vec<(&'static str, String)> {
    let broken = report
        .clauses()
        .filter_map(|(clause, outcome)| match outcome {
            Outcome::Broken { asked, answered } => {
                Some((clause.id, format!("{asked}: {answered}")))
            }
            _ => None,
        });
    broken.collect()
}

async fn run(stand: &Stand) -> Result<Report, CannotRun> {
    let options = Options {
        url: stand.url.clone(),
        token: stand.token.clone(),
        ca_file: None,
        gateway: Some(stand.gateway.clone()),
    };
    conform::run(options, &mut |_| {}).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_holds_at_the_reference_cloud() {
    let stand = Stand::honest().await;
    for _ in 0..2 {
        stand.say_something().await;
    }
    let report = run(&stand).await.unwrap();
    assert_eq!(broken(&report), []);
    let not_shown = report
        .clauses()
        .filter_map(|(clause, outcome)| match outcome {
            Outcome::NotShown { why } => Some((clause.id, why)),
            _ => None,
        });
    assert_eq!(not_shown.collect::<Vec<_>>(), []);
    let (held, ..) = report.counts();
    assert_eq!(held, conform::clauses::CLAUSES.len());
}

/// A second run with the same gateway, as after a repair: a fresh token, and a store that knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_may_be_repeated_with_the_same_gateway() {
    let mut stand = Stand::honest().await;
    for again in [false, true] {
        let report = run(&stand).await.unwrap();
        assert_eq!(broken(&report), []);
        let first = report.outcome("gateway.first").unwrap();
        assert_eq!(
            matches!(first, Outcome::NotShown { .. }),
            again,
            "{first:?}"
        );
        stand.token = stand.fresh_token().await;
    }
}

/// Each fault is named by the clauses that it breaks, and by no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_cloud_is_named_by_what_it_breaks() {
    let mut runs = JoinSet::new();
    for fault in FAULTS {
        runs.spawn(async move {
            let stand = Stand::with(fault).await;
            let report = run(&stand).await.unwrap();
            (fault, broken(&report))
        });
    }
    let mut wrong = Vec::new();
    while let Some(done) = runs.join_next().await {
        let (fault, broken) = done.unwrap();
        let named: BTreeSet<&str> = broken.iter().map(|(clause, _)| *clause).collect();
        let breaks: BTreeSet<&str> = fault.breaks.iter().copied().collect();
        if named != breaks {
            wrong.push(format!(
                "{}: {breaks:?} is wanted, got {broken:#?}",
                fault.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_run_that_cannot_be_says_why() {
    let stand = Stand::honest().await;
    let options = |url: &str, gateway: &str| Options {
        url: url.to_string(),
        token: "never-made".into_secret(),
        ca_file: None,
        gateway: Some(firmware_protocols::Ident::new(gateway).unwrap()),
    };
    for (options, words) in [
        (
            options(&stand.url, "willow-court"),
            "could be a gateway in service",
        ),
        (
            options("http://cloud.example", "conform"),
            "plain http is only for",
        ),
        (options("https://127.0.0.1:9", "conform"), "doesn't answer"),
        (
            options(&stand.url, "conform-x"),
            "check that the token is good",
        ),
    ] {
        let refused = conform::run(options, &mut |_| {}).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
        assert!(!refused.to_string().contains("never-made"));
    }
}

trait IntoSecret {
    fn into_secret(self) -> firmware_protocols::event::Secret;
}

impl IntoSecret for &str {
    fn into_secret(self) -> firmware_protocols::event::Secret {
        firmware_protocols::event::Secret::new(self)
    }
}
