//! What keeps items from the cloud, or the cloud's from us, and doesn't go away by trying again:
//! a lane that it refuses, a direction that it stopped, an answer that isn't a cloud's. And what will
//! keep them from it some day: a certificate that ends, a budget that is used up, a clock that is off.

use serde_json::Value as Json;

use super::Trouble;
use crate::store::read::LaneRow;

/// How long new pickup codes may be kept from the cloud before residents lack them, ms.
pub const HELD_MS: i64 = 5 * 60_000;

/// How long an item may wait for the cloud before it is worth a word, ms.
pub const BACKLOG_MS: i64 = 15 * 60_000;

/// How many days before its end a certificate is worth a word.
pub const CERTIFICATE_DAYS: i64 = 30;

/// How far the box's clock may be from the cloud's, ms. The cloud refuses requests beyond 300 s.
pub const SKEW_MS: i64 = 60_000;

/// The lane that carries the codes.
const FULFILMENT: &str = "fulfilment";

/// What the cloud client's own status tells of, with its remedies.
pub fn lane_troubles(cloud: &Json, now_ms: i64, lanes: &[LaneRow]) -> Vec<Trouble> {
    let too_long = |since: Option<i64>| since.is_some_and(|ms| now_ms.saturating_sub(ms) > HELD_MS);
    let held = cloud["held"].as_array().into_iter().flatten();
    let mut troubles: Vec<Trouble> = held
        .map(|held| {
            let (lane, since_ms) = (text(held, "lane"), held["since_ms"].as_i64());
            Trouble::Cloud {
                codes_wait: lane == FULFILMENT && too_long(since_ms),
                lane: Some(lane),
                way: None,
                what: text(held, "what"),
                remedy: text(held, "remedy"),
                since_ms,
            }
        })
        .collect();
    let (up, down) = (&cloud["uplink"], &cloud["downlink"]);
    let stopped = |direction: &Json| direction["remedy"].is_string();
    let both = stopped(up) && up["remedy"] == down["remedy"];
    let code_waits = lanes.iter().any(|l| l.lane == FULFILMENT && l.waiting > 0);
    for (way, direction) in [("uplink", up), ("downlink", down)] {
        if !stopped(direction) || (both && way == "downlink") {
            continue;
        }
        let since_ms = direction["remedy_since_ms"].as_i64();
        troubles.push(Trouble::Cloud {
            codes_wait: way == "uplink" && code_waits && too_long(since_ms),
            lane: None,
            way: (!both).then(|| way.to_string()),
            what: text(direction, "last_error"),
            remedy: text(direction, "remedy"),
            since_ms,
        });
    }
    troubles
}

/// What the cloud client tells of its papers, its line and its clock.
pub fn paper_troubles(cloud: &Json) -> Vec<Trouble> {
    let certificates = cloud["certificates"].as_array().into_iter().flatten();
    let ends = certificates.filter_map(|certificate| {
        let days_left = certificate["days_left"].as_i64()?;
        (days_left <= CERTIFICATE_DAYS).then(|| Trouble::CertificateEnds {
            what: text(certificate, "what"),
            not_after_ms: certificate["not_after_ms"].as_i64().unwrap_or_default(),
            days_left,
        })
    });
    let mut troubles: Vec<Trouble> = ends.collect();
    let line = &cloud["line"];
    if line["level"] == "exhausted" {
        troubles.push(Trouble::LineExhausted {
            used_bytes: line["used_bytes"].as_u64().unwrap_or_default(),
            budget_bytes: line["budget_bytes"].as_u64().unwrap_or_default(),
            until_ms: line["month_until_ms"].as_i64(),
        });
    }
    let skew_ms = cloud["skew_ms"].as_i64().unwrap_or_default();
    if skew_ms.saturating_abs() > SKEW_MS {
        troubles.push(Trouble::ClockOff { skew_ms });
    }
    troubles
}

/// Items wait for long, and nothing is known of why. What isn't urgent may wait for its turn on the
/// line.
pub fn backlog(now_ms: i64, cloud: &Json, lanes: &[LaneRow], known: &[Trouble]) -> Option<Trouble> {
    let turn = |lane: &str| match lane {
        "demand" => cloud["line"]["demand_next_ms"].as_i64(),
        "health" => cloud["line"]["health_next_ms"].as_i64(),
        _ => None,
    };
    let explained = |lane: &&LaneRow| {
        let waits_its_turn = turn(&lane.lane).is_some_and(|ms| now_ms - ms < BACKLOG_MS);
        waits_its_turn
            || known.iter().any(|trouble| match trouble {
                Trouble::Cloud {
                    lane: None, way, ..
                } => way.as_deref() != Some("downlink"),
                Trouble::Cloud {
                    lane: Some(held), ..
                } => *held == lane.lane,
                _ => false,
            })
    };
    let waiting: Vec<&LaneRow> = lanes.iter().filter(|lane| !explained(lane)).collect();
    let oldest_ms = waiting.iter().filter_map(|l| l.oldest_waiting_ms).min()?;
    (now_ms.saturating_sub(oldest_ms) > BACKLOG_MS).then(|| Trouble::Backlog {
        waiting: waiting.iter().map(|lane| lane.waiting).sum(),
        oldest_ms,
    })
}

fn text(of: &Json, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_string()
}
