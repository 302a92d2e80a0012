//! The screen of the way to the cloud, whole.

use serde_json::json;

use super::*;
use crate::cli::look::tests::{NOW_MS, plain};
use crate::control::views::PartReport;
use crate::store::read::LanesRow;

const DAY_MS: i64 = 86_400_000;

fn lane(lane: &str, waiting: u64, oldest_waiting_ms: Option<i64>) -> LaneRow {
    LaneRow {
        lane: lane.to_string(),
        last_seq: 40 + waiting,
        acked_seq: 40,
        waiting,
        oldest_waiting_ms,
    }
}

fn sample(cloud: Json) -> Sync {
    Sync {
        cloud,
        part: None,
        lanes: LanesRow {
            epoch: Some(1),
            lanes: vec![
                lane("fulfilment", 3, Some(NOW_MS - 240_000)),
                lane("health", 0, None),
            ],
        },
    }
}

fn cloud() -> Json {
    json!({
        "url": "https://cloud.example",
        "connected_since_ms": NOW_MS - 60_000,
        "uplink": {"last_success_ms": NOW_MS - 4_000, "last_error": "old", "failures": 0, "next_try_ms": null},
        "downlink": {"last_success_ms": null, "last_error": "refused", "failures": 2, "next_try_ms": NOW_MS + 8_000},
        "gateway": "willow-court",
        "enrolled_since_ms": NOW_MS - 20 * DAY_MS,
        "key_since_ms": NOW_MS - 2 * DAY_MS,
        "key_changing": false,
        "skew_ms": 1_200,
        "certificates": [{"what": "cloud", "not_after_ms": NOW_MS + 63 * DAY_MS, "days_left": 63}],
        "line": {
            "metered": true,
            "month_since_ms": NOW_MS - 20 * DAY_MS,
            "month_until_ms": NOW_MS + 10 * DAY_MS,
            "traffic": [
                {"what": "fulfilment", "month_sent": 1_048_576, "month_received": 2_048,
                 "start_sent": 512, "start_received": 0},
                {"what": "downlink", "month_sent": 5_000, "month_received": 6_000,
                 "start_sent": 7, "start_received": 8},
            ],
            "used_bytes": 104_857_600_u64,
            "budget_bytes": 209_715_200_u64,
            "forecast_bytes": 157_286_400_u64,
            "level": "plenty",
            "throughput_bytes_per_s": 65_536,
            "spread_s": 900,
            "demand_next_ms": NOW_MS + 600_000,
            "health_next_ms": null,
            "quiet_until_ms": null,
            "wait_s": 300,
            "last_request": {"what": "uplink", "sent": 2_048, "received": 300, "took_ms": 180},
        },
    })
}

#[test]
fn the_way_to_the_cloud_is_shown_whole() {
    let wanted = "  \
  cloud     https://cloud.example, reached since 17:02:21, but: refused
  enrolled  as willow-court since 2026-11-02 17:03:21, its key since 2026-11-20 17:03:21
  papers    the cloud's, 63 days left, until 2027-01-24 17:03:21
  clock     1.2 s behind the cloud's
  uplink    last success 4.0 s ago
  downlink  no success yet; then: refused; next try in 8.0 s
            It is tried again by itself, and nothing is lost. If it lasts: is the network up (antenna, SIM card, name server), is the URL right? Else ask the cloud's operator.
  line      metered; 100.0 MiB of 200.0 MiB this month; if it goes on like this 150.0 MiB by 2026-12-02 17:03:21
            everything is sent as it comes
            demand is sent next in 10 min
            asks for news every 300 s; what isn't urgent is spread over 15 min; it carries about 64.0 KiB a second
            last request: uplink, 2.0 KiB up, 300 bytes down, 0.1 s

LANE        MADE  TAKEN  WAITING  OLDEST
fulfilment    43     40        3  4 min
health        40     40        0

BYTES       MONTH UP  MONTH DOWN   START UP  START DOWN
fulfilment   1.0 MiB     2.0 KiB  512 bytes     0 bytes
downlink     4.8 KiB     5.8 KiB    7 bytes     8 bytes
";
    let shown = sync(&plain(None), &sample(cloud()));
    assert_eq!(shown, wanted.replacen("    cloud", "  cloud", 1));
}

#[test]
fn what_holds_a_lane_is_shown_over_the_lanes_with_its_remedy() {
    let mut cloud = cloud();
    cloud["held"] = json!([{
        "lane": "fulfilment",
        "what": "Items are missing\u{1b}[2J",
        "remedy": "ask the cloud's operator to restore them",
        "since_ms": NOW_MS - 360_000,
    }]);
    let shown = sync(&plain(None), &sample(cloud));
    let wanted = "
! The cloud has refused the lane 'fulfilment' since 16:57:21: Items are missing?[2J. Residents don't get the codes of new parcels.
  Ask the cloud's operator to restore them.

LANE        MADE";
    assert!(shown.contains(wanted), "{shown}");
}

#[test]
fn what_will_keep_it_from_the_cloud_is_shown_with_what_to_do() {
    let mut cloud = cloud();
    cloud["certificates"] = json!([
        {"what": "client", "not_after_ms": NOW_MS + 29 * DAY_MS, "days_left": 29},
        {"what": "ca", "not_after_ms": NOW_MS - 1, "days_left": -1},
    ]);
    cloud["skew_ms"] = json!(-240_000);
    cloud["line"]["level"] = json!("exhausted");
    let shown = sync(&plain(None), &sample(cloud));
    for part in [
        "! The gateway's own certificate: 29 days left, until 2026-12-21 17:03:21.",
        "put it and its key where cloud.client_certificate_file",
        "! The pinned authority's certificate: over since 2026-11-22 17:03:20.",
        "into the file of cloud.ca_file beside the old one",
        "! The line's budget is used up but for parcels until 2026-12-02 17:03:21: 100.0 MiB of 200.0 MiB.",
        "raise cloud.line.monthly_mib",
        "! This box's clock is 4 min ahead of the cloud's.",
        "timedatectl",
        "            what is left of the budget is kept for parcels: demand and health go once a day",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn who_is_not_enrolled_is_told_how() {
    let mut cloud = cloud();
    cloud["enrolled_since_ms"] = Json::Null;
    let shown = sync(&plain(None), &sample(cloud));
    let wanted = "\n  enrolled  not enrolled: linli sync enrol\n";
    assert!(shown.contains(wanted), "{shown}");
}

#[test]
fn a_client_that_cannot_run_is_shown_with_the_reason_and_nothing_else_of_it() {
    let mut way = sample(cloud());
    way.part = Some(PartReport {
        name: "the sync client".to_string(),
        running: false,
        restarts: 2,
        last_error: Some("gateway.key can be read by others: chmod 600 it".to_string()),
    });
    let shown = sync(&plain(None), &way);
    let wanted = "! The part 'the sync client' isn't running: gateway.key can be read by others: chmod 600 it.";
    assert!(shown.contains(wanted), "{shown}");
    assert!(!shown.contains("enrolled"), "{shown}");
    assert!(shown.contains("fulfilment    43"), "{shown}");
}

#[test]
fn an_older_daemon_s_answer_is_shown_as_far_as_it_goes() {
    let old = json!({"url": "https://cloud.example", "uplink": {"failures": 0}});
    let shown = sync(&plain(None), &sample(old));
    assert!(
        shown.contains("https://cloud.example, not tried yet"),
        "{shown}"
    );
    assert!(shown.contains("fulfilment    43"), "{shown}");
}

#[test]
fn a_gateway_without_a_cloud_says_so() {
    let shown = sync(&plain(None), &sample(Json::Null));
    let wanted = "  cloud     none in the configuration\n\nLANE";
    assert!(shown.starts_with(wanted), "{shown}");
}
