//! Clocks that differ, and a box that has none.

use super::*;

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

fn date(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap();
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT");
    format!("date: {date}\r\n")
}

/// A good cloud whose clock is `ahead_ms` of this machine's.
async fn cloud_ahead(ahead_ms: i64) -> StrangeCloud {
    StrangeCloud::alone(move |asked| {
        let now_ms = now_ms() + ahead_ms;
        let mut answer = if (asked.signed().created - now_ms / 1000).abs() > 300 {
            problem(401, "clock")
        } else if asked.is_enrolment() || asked.is_view() {
            view()
        } else {
            good(asked)
        };
        answer.headers.push_str(&date(now_ms));
        answer
    })
    .await
}

#[tokio::test]
async fn a_clock_that_differs_is_learnt_for_the_signatures() {
    for ahead_ms in [3_600_000, -40 * 86_400_000] {
        let cloud = cloud_ahead(ahead_ms).await;
        let ledger = parcels(3);
        let clock = Clock::by_hand(now_ms());
        let papers = Papers::new();
        let config = papers.config(patient(&cloud.url()));
        let sync = Sync::start_as_is(&papers, config, &ledger, clock.clone());
        sync.all_acked().await;
        let skew_ms = sync.status().skew_ms.unwrap();
        assert!((skew_ms - ahead_ms).abs() < 30_000, "{skew_ms}");
        // Learnt with the first refusal, and kept.
        assert_eq!(cloud.enrolments(), 2);
        assert_eq!(cloud.uplinks(), 1);
        assert!(
            clock.now().wall_ms <= now_ms(),
            "the clock itself isn't moved"
        );
        sync.stop().await;
    }
}

/// A date beyond all reason is nothing to learn from: a person is told.
#[tokio::test]
async fn an_absurd_date_is_not_learnt() {
    for date in [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 01 Jan 2199 00:00:00 GMT",
        "noon",
    ] {
        let cloud = StrangeCloud::alone(move |_| {
            let mut refusal = problem(401, "clock");
            refusal.headers.push_str(&format!("date: {date}\r\n"));
            refusal
        })
        .await;
        let sync = Sync::start(patient(&cloud.url()), &parcels(1));
        sync.until("it is told", |s| s.uplink.remedy.is_some())
            .await;
        assert!(sync.status().uplink.remedy.unwrap().contains("timedatectl"));
        assert_eq!(cloud.enrolments(), 1, "{date}");
        sync.stop().await;
    }
}

/// A box without a battery for its clock, and no time server: the cloud's time does.
#[tokio::test]
async fn an_unset_clock_takes_the_clouds_time_as_an_estimate() {
    let cloud = cloud_ahead(0).await;
    let ledger = parcels(3);
    let clock = Clock::by_hand(0);
    let papers = Papers::new();
    let config = papers.config(patient(&cloud.url()));
    let sync = Sync::start_as_is(&papers, config, &ledger, clock.clone());
    sync.all_acked().await;
    let now = clock.now();
    assert_eq!(now.quality, estate::TimeQuality::Estimated);
    assert!((now.wall_ms - now_ms()).abs() < 30_000);
    sync.stop().await;
}
