//! One gateway's pauses by a clock that is set by hand, and a fleet of them after an outage.

use async_trait::async_trait;
use cloud_protocol::Problem;
use tokio::task::JoinSet;

use super::*;
use crate::cloud::path::{Probe, Settling};

const SPREAD: Duration = Duration::from_secs(900);

/// A way that is open from an instant on.
struct OpenFrom(Instant);

#[async_trait]
impl Probe for OpenFrom {
    async fn is_open(&self) -> bool {
        Instant::now() >= self.0
    }
}

fn contact(open_from: Instant) -> Contact {
    let path = Path::new(Box::new(OpenFrom(open_from)), Settling::of_spread(SPREAD));
    Contact::new(BackoffRange::default(), path, Arc::default())
}

fn refused() -> Failure {
    Failure::Network {
        words: "cannot connect".to_string(),
        cause: Cause::NoWay,
    }
}

fn busy(status: u16, retry_after_s: Option<u64>) -> Failure {
    Failure::Busy {
        problem: Box::new(Problem {
            kind: None,
            status,
            title: "Busy".to_string(),
            detail: None,
            lane: None,
            expected: None,
        }),
        retry_after: retry_after_s.map(Duration::from_secs),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_cloud_asks_of_one_loop_holds_all() {
    for status in [429, 503] {
        let contact = contact(Instant::now());
        let mut up = Patience::new(&contact, Way::Fulfilment);
        let mut rest = Patience::new(&contact, Way::Rest);
        let mut down = Patience::new(&contact, Way::Down);
        let began = Instant::now();
        let told = async {
            rest.pause(&busy(status, Some(60))).await;
            began.elapsed()
        };
        let others = async {
            tokio::task::yield_now().await;
            assert!(contact.quiet_for().is_some());
            contact.urge();
            tokio::join!(up.ready(), down.ready());
            began.elapsed()
        };
        let (told, others) = tokio::join!(told, others);
        for waited in [told, others] {
            assert!(waited >= Duration::from_secs(60), "{waited:?}");
            assert!(waited <= Duration::from_secs(121), "{waited:?}");
        }
        assert!(contact.quiet_for().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unwell_call_holds_only_its_loop() {
    let contact = contact(Instant::now());
    let mut up = Patience::new(&contact, Way::Fulfilment);
    let mut down = Patience::new(&contact, Way::Down);
    let unwell = busy(500, None);
    let (_, waited) = tokio::join!(up.pause(&unwell), async {
        tokio::task::yield_now().await;
        let asked = Instant::now();
        down.ready().await;
        asked.elapsed()
    });
    assert_eq!(waited, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_technician_or_another_loop_ends_a_pause() {
    let never = Instant::now() + Duration::from_secs(1_000_000);
    let contact = contact(never);
    let mut up = Patience::new(&contact, Way::Fulfilment);
    let mut down = Patience::new(&contact, Way::Down);
    for _ in 0..20 {
        down.ready().await;
        up.backoff.failed(1.0);
    }
    let (refused, began) = (refused(), Instant::now());
    tokio::join!(up.pause(&refused), async {
        tokio::task::yield_now().await;
        contact.urge();
    });
    assert!(began.elapsed() < Duration::from_millis(10));
    up.ready().await;
    down.pause(&refused).await;
    let began = Instant::now();
    tokio::join!(up.pause(&refused), async {
        tokio::task::yield_now().await;
        down.reached();
    });
    assert!(began.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_is_told_and_a_short_one_is_not() {
    let contact = contact(Instant::now());
    let outages = contact.outages();
    let mut up = Patience::new(&contact, Way::Fulfilment);
    contact.in_trouble();
    tokio::time::sleep(Duration::from_secs(50)).await;
    up.reached();
    assert_eq!(*outages.borrow(), 0);
    contact.in_trouble();
    tokio::time::sleep(Duration::from_secs(61)).await;
    up.reached();
    up.reached();
    assert_eq!(*outages.borrow(), 1);
}

/// When the first request of a gateway reaches a cloud that returns at `returns`, after that.
/// `waits_from`: since when it has a parcel's news to send.
async fn first_request(returns: Instant, waits_from: Option<Instant>) -> Duration {
    let contact = contact(returns);
    let knocks = async |way: Way| {
        let mut patience = Patience::new(&contact, way);
        // All connections of the fleet broke at once, or the first request found nobody.
        patience.pause(&refused()).await;
        while Instant::now() < returns {
            patience.ready().await;
            patience.pause(&refused()).await;
        }
    };
    let up = async {
        match waits_from {
            Some(from) => tokio::time::sleep_until(from).await,
            None => std::future::pending().await,
        }
        knocks(Way::Fulfilment).await;
    };
    tokio::select! {
        () = up => {}
        () = knocks(Way::Down) => {}
    }
    returns.elapsed()
}

/// How many of a thousand gateways knock first in each second after an outage. An estate has about
/// 160 pieces of news on its parcels a day, one in nine minutes.
async fn fleet(outage: Duration) -> Vec<u32> {
    let began = Instant::now();
    let returns = began + outage;
    let mut gateways = JoinSet::new();
    for _ in 0..1000 {
        let waits_after = Duration::from_secs(540).mul_f64(2.0 * jitter());
        let waits_from = (waits_after < outage).then_some(began + waits_after);
        gateways.spawn(first_request(returns, waits_from));
    }
    let mut seconds = vec![0; 120];
    for after in gateways.join_all().await {
        let second = usize::try_from(after.as_secs()).unwrap();
        seconds[second.min(119)] += 1;
    }
    seconds
}

/// With early tries, settling and back-off as they are by default: the busiest second, the busiest
/// ten seconds, and how long it takes until nine of ten are back.
#[tokio::test(start_paused = true)]
async fn a_fleet_comes_back_spread_out() {
    // The bounds are at least five standard deviations above the mean.
    let cases = [
        (2, 80, 540),
        (40, 75, 450),
        (600, 50, 280),
        (3 * 3600, 50, 280),
    ];
    for (outage_s, second_max, ten_max) in cases {
        let seconds = fleet(Duration::from_secs(outage_s)).await;
        assert_eq!(seconds.iter().sum::<u32>(), 1000);
        let busiest = seconds.iter().max().copied().unwrap();
        let ten = seconds.windows(10).map(|w| w.iter().sum::<u32>()).max();
        let mut back = 0;
        let nine_tenths = seconds.iter().position(|n| {
            back += n;
            back >= 900
        });
        let nine_tenths = nine_tenths.unwrap();
        println!(
            "outage {outage_s} s: busiest second {busiest} of 1000, busiest ten {}, nine tenths \
             after {nine_tenths} s",
            ten.unwrap()
        );
        assert!(busiest <= second_max, "{outage_s} s: {seconds:?}");
        assert!(ten.unwrap() <= ten_max, "{outage_s} s: {seconds:?}");
        assert!(nine_tenths <= 90, "{outage_s} s: {seconds:?}");
        assert_eq!(seconds[119], 0, "nobody stays away for long");
    }
}
