//! The line between a gateway and the real reference cloud: what crosses it is counted, a parcel
//! passes a month of demand on a narrow one, what isn't urgent waits its time, and a budget holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "sync/gateway.rs"]
mod gateway;
#[allow(dead_code)]
#[path = "sync/ledger.rs"]
mod ledger;
#[path = "sync/narrow_line.rs"]
mod narrow_line;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud_protocol::Lane;
use cloud_protocol::uplink::{DemandReport, Report};
use gateway::{Sync, config, ident, until};
use ledger::Memory;
use linli::cloud::{CloudConfig, CloudSnapshot, Level, LineConfig, LineUse, Traffic};
use narrow_line::NarrowLine;
use reference_cloud::{Cloud, Config};

const NEVER: Duration = Duration::from_secs(10_000_000);

async fn cloud() -> Cloud {
    reference_cloud::serve(Config::in_memory()).await.unwrap()
}

/// Where what isn't urgent waits for as good as ever.
fn spread(url: &str, spread: Duration) -> CloudConfig {
    let config = config(url);
    CloudConfig {
        line: LineConfig {
            spread,
            ..config.line.clone()
        },
        ..config
    }
}

/// Buckets that don't pack to nothing.
fn add_demand(ledger: &Memory, buckets: u64) {
    let mut random = 88_172_645_463_325_252_u64;
    for bucket in 0..buckets {
        let mut count = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let series = ["comings", "goings", "deposits", "intent:egg", "intent:rice"];
        ledger.add(Report::Demand(DemandReport {
            building: Some(ident("b1")),
            start: i64::try_from(bucket).unwrap() * 900_000,
            minutes: 15,
            revision: 1,
            series: series.map(|name| (name.to_string(), count() >> 32)).into(),
        }));
    }
}

fn of<'a>(status: &'a CloudSnapshot, what: &str) -> &'a linli::cloud::TrafficView {
    let mut traffic = status.line.traffic.iter();
    traffic.find(|traffic| traffic.what == what).unwrap()
}

/// 8 KB a second, thousands of buckets to catch up, and a parcel now and then.
#[tokio::test]
async fn a_parcel_passes_a_month_of_demand() {
    let cloud = cloud().await;
    let line = NarrowLine::to(cloud.address(), 8_000).await;
    let ledger = Arc::new(Memory::default());
    add_demand(&ledger, 6000);
    let sync = Sync::start(config(&line.url()), &ledger);
    sync.until("batches have found their size", |s| {
        s.line.throughput_bytes_per_s.is_some() && ledger.acked(Lane::Demand) > 200
    })
    .await;
    let mut waits = Vec::new();
    for n in 1..=4 {
        let before = ledger.acked(Lane::Demand);
        let made = Instant::now();
        ledger.add_parcels(1);
        until("it is acknowledged", || ledger.acked(Lane::Fulfilment) == n).await;
        waits.push(made.elapsed());
        until("demand goes on", || ledger.acked(Lane::Demand) > before).await;
    }
    assert!(ledger.acked(Lane::Demand) < 6000, "demand still waits");
    let status = sync.status();
    let throughput = status.line.throughput_bytes_per_s.unwrap();
    println!("parcels waited {waits:?} beside demand, {throughput} B/s measured of 8000");
    // Two batches of two seconds each, and one for a slow test machine.
    assert!(
        waits.iter().all(|wait| *wait < Duration::from_secs(6)),
        "{waits:?}"
    );
    assert!((2_000..=9_000).contains(&throughput), "{throughput}");
    let (fulfilment, demand) = (of(&status, "fulfilment"), of(&status, "demand"));
    assert!(demand.start_sent > 10 * fulfilment.start_sent);
}

#[tokio::test]
async fn what_crosses_the_line_is_counted_by_lane_and_kept() {
    let cloud = cloud().await;
    let line = NarrowLine::to(cloud.address(), 10_000_000).await;
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(300);
    ledger.add_health(1);
    add_demand(&ledger, 20);
    let sync = Sync::start(config(&line.url()), &ledger);
    sync.all_acked().await;
    cloud
        .push(
            &ident("estate-1"),
            &cloud_protocol::Downlink::ParcelCancelled {
                parcel: "P-1".to_string(),
            },
        )
        .await
        .unwrap();
    sync.until("the downlink is counted", |s| {
        s.downlink_cursor == 1 && of(s, "downlink").start_received > 0
    })
    .await;
    until("the next long poll waits", || cloud.long_polls() == 1).await;
    let status = sync.status();
    for what in ["fulfilment", "health", "demand", "downlink"] {
        let traffic = of(&status, what);
        assert!(
            traffic.start_sent > 0 && traffic.start_received > 0,
            "{what}"
        );
        assert_eq!(traffic.month_sent, traffic.start_sent, "{what}");
    }
    assert!(of(&status, "fulfilment").start_sent > of(&status, "health").start_sent);
    let (sent, received) = line.passed();
    // What isn't accounted for is the long poll that waits.
    assert!(status.bytes_sent <= sent && sent - status.bytes_sent < 2_000);
    assert!(status.bytes_received <= received && received - status.bytes_received < 200);
    let last = status.line.last_request.clone().unwrap();
    assert_eq!(last.what, "downlink");
    assert!(last.sent > 0 && last.received > 0);
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;

    let kept = ledger.line();
    let total = |uses: &[LineUse]| uses.iter().map(|u| u.sent + u.received).sum::<u64>();
    assert!(total(&kept) >= status.line.used_bytes);
    let fulfilment = kept
        .iter()
        .find(|u| u.traffic == Traffic::Lane(Lane::Fulfilment));
    assert_eq!(
        fulfilment.unwrap().sent,
        of(&status, "fulfilment").start_sent
    );

    // A restart goes on from there.
    let sync = Sync::start_with(&papers, config(&line.url()), &ledger);
    sync.until("the month goes on", |s| s.line.used_bytes >= total(&kept))
        .await;
    assert!(sync.status().bytes_sent < status.bytes_sent);
    sync.stop().await;
}

#[tokio::test]
async fn what_is_not_urgent_waits_for_its_part_of_the_spread() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    add_demand(&ledger, 3);
    ledger.add_health(1);
    let sync = Sync::start(spread(&cloud.url(), NEVER), &ledger);
    sync.until("it is shown when they go", |s| {
        s.line.demand_next_ms.is_some() && s.line.health_next_ms.is_some()
    })
    .await;
    for n in 1..=3 {
        ledger.add_parcels(1);
        until("parcels go at once", || ledger.acked(Lane::Fulfilment) == n).await;
    }
    assert_eq!(
        (ledger.acked(Lane::Demand), ledger.acked(Lane::Health)),
        (0, 0)
    );
    // When the gateway stops they go along, as the line costs nothing.
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;
    assert!(ledger.all_acked());

    let soon = Duration::from_millis(500);
    add_demand(&ledger, 3);
    let sync = Sync::start_with(&papers, spread(&cloud.url(), soon), &ledger);
    sync.all_acked().await;
    sync.until("nothing is to come", |s| s.line.demand_next_ms.is_none())
        .await;
    sync.stop().await;
}

#[tokio::test]
async fn on_a_metered_line_a_stop_sends_parcels_only() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    add_demand(&ledger, 3);
    let mut config = spread(&cloud.url(), NEVER);
    config.line.metered = true;
    let sync = Sync::start(config, &ledger);
    sync.until("connected", |s| s.connected_since_ms.is_some())
        .await;
    ledger.add_parcels(2);
    sync.stop().await;
    assert_eq!(ledger.acked(Lane::Fulfilment), 2);
    assert_eq!(ledger.acked(Lane::Demand), 0);
}

#[tokio::test]
async fn a_budget_that_is_used_up_leaves_the_line_to_parcels() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(1);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    assert_eq!(sync.status().line.level, Level::Plenty);
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;

    let month = ledger.line()[0].month;
    ledger.set_line(vec![LineUse {
        month,
        traffic: Traffic::Downlink,
        sent: 0,
        received: 100 << 20,
    }]);
    let mut tight = config(&cloud.url());
    tight.line.monthly_bytes = Some(100 << 20);
    let sync = Sync::start_with(&papers, tight, &ledger);
    sync.until("it is known", |s| s.line.level == Level::Exhausted)
        .await;
    add_demand(&ledger, 3);
    ledger.add_health(1);
    ledger.add_parcels(5);
    until("parcels go", || ledger.acked(Lane::Fulfilment) == 6).await;
    sync.until("demand is put off by hours", |s| {
        let now = jiff::Timestamp::now().as_millisecond();
        s.line.demand_next_ms.is_some_and(|next| next > now)
    })
    .await;
    let asked = ledger.asked();
    let last = asked
        .iter()
        .rfind(|limits| !limits.held.contains(&Lane::Fulfilment));
    assert_eq!(last.unwrap().demand_minutes, Some(1440));
    assert_eq!(
        (ledger.acked(Lane::Demand), ledger.acked(Lane::Health)),
        (0, 0)
    );
    sync.stop().await;
    assert_eq!(
        ledger.acked(Lane::Demand),
        0,
        "a stop doesn't spend it either"
    );
}
