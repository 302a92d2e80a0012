//! Noticing that the network is back, while a long pause would still have to be waited for.
//!
//! After an attempt found no way to the cloud, a TCP connection is tried now and then, nothing more:
//! no TLS, no request. It counts only as a change: if the first try connects, the network wasn't the
//! reason and the pause is waited for; if it fails (or the attempt itself showed that nobody listens
//! or no network is up), the tries go on until one connects. One loop of a gateway tries at a time.
//! The gap between tries is a tenth of how long this outage has lasted, 5 to 30 s, with jitter from
//! half of it, so a metered link sees some hundred bytes a try at most.
//!
//! What connects then waits once more before it says so: anywhere below [`Settling`], by default up
//! to 60 s if the cloud was away, and up to 10 s if this box's own link was. For 100,000 gateways
//! that means, while their cloud is away, about 4,400 TCP connections a second (a SYN and its answer
//! each); and when it returns after ten minutes or more, about 2,000 a second in the busiest ten
//! seconds that go on to TLS and a request, nine of ten within a minute. After a restart of seconds,
//! which breaks every long poll at once, it is 4,500 a second over half a minute (see the tests of
//! [`contact`](mod@super::contact), which play it with a thousand).

use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::backoff::jitter;
use crate::names::Names;

const TRY_TIMEOUT: Duration = Duration::from_secs(3);
const GAP_SHORTEST: Duration = Duration::from_secs(5);
const GAP_LONGEST: Duration = Duration::from_secs(30);

/// The way to the cloud, as one gateway sees it.
pub(super) struct Path {
    probe: Box<dyn Probe>,
    settling: Settling,
    /// Whether it is known to be closed. Held by the loop that tries it.
    closed: Mutex<bool>,
}

impl Path {
    /// Over how long a fleet comes back whose cloud was away.
    pub fn return_takes(&self) -> Duration {
        self.settling.cloud
    }
}

/// The longest wait between a way that opens and the first request over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    cloud: Duration,
    own_link: Duration,
}

/// What was gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It isn't known whether the way was gone at all.
    Unknown,
    /// The cloud: nobody listens there.
    Cloud,
    /// This box's own link: no network, no resolver.
    OwnLink,
}

/// Whether the way is open now.
#[async_trait]
pub(super) trait Probe: Send + Sync {
    async fn is_open(&self) -> bool;
}

/// A TCP connection to the cloud, closed as soon as it is there.
pub(super) struct TcpProbe {
    /// Who finds the address.
    pub names: Names,
    /// The cloud's name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Settling {
    /// Where what isn't urgent is spread over `spread` (900 s by default).
    pub fn of_spread(spread: Duration) -> Self {
        Self {
            cloud: spread / 15,
            own_link: spread / 90,
        }
    }

    fn longest(self, gone: Gone) -> Duration {
        match gone {
            Gone::OwnLink => self.own_link,
            Gone::Cloud | Gone::Unknown => self.cloud,
        }
    }
}

impl Path {
    pub fn new(probe: Box<dyn Probe>, settling: Settling) -> Self {
        Self {
            probe,
            settling,
            closed: Mutex::new(false),
        }
    }

    /// Resolves when the way that was gone has been there again for a while; never if it wasn't
    /// gone. `since`: the first failure of this outage.
    pub async fn returned(&self, since: Instant, gone: Gone) {
        let mut closed = self.closed.lock().await;
        *closed |= gone != Gone::Unknown;
        if !*closed && self.probe.is_open().await {
            drop(closed);
            return std::future::pending().await;
        }
        *closed = true;
        loop {
            tokio::time::sleep(gap(since.elapsed(), jitter())).await;
            if self.probe.is_open().await {
                break;
            }
        }
        *closed = false;
        let settling = self.settling.longest(gone).mul_f64(jitter());
        tokio::time::sleep(settling).await;
    }
}

#[async_trait]
impl Probe for TcpProbe {
    async fn is_open(&self) -> bool {
        let connecting = async {
            let addresses = self.names.find(&self.host, self.port).await?;
            TcpStream::connect(&addresses[..]).await
        };
        matches!(
            tokio::time::timeout(TRY_TIMEOUT, connecting).await,
            Ok(Ok(_))
        )
    }
}

fn gap(outage: Duration, jitter: f64) -> Duration {
    let gap = (outage / 10).clamp(GAP_SHORTEST, GAP_LONGEST);
    gap.mul_f64(0.5 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_grows_with_the_outage_within_bounds() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(gap(Duration::ZERO, 1.0).as_millis(), 5_000);
        assert_eq!(gap(Duration::ZERO, 0.0).as_millis(), 2_500);
        assert_eq!(gap(minutes(2), 1.0).as_millis(), 12_000);
        assert_eq!(gap(minutes(600), 1.0).as_millis(), 30_000);
        assert_eq!(gap(minutes(600), 0.0).as_millis(), 15_000);
    }

    #[test]
    fn what_settles_follows_the_spread() {
        let usual = Settling::of_spread(Duration::from_secs(900));
        assert_eq!(usual.longest(Gone::Cloud).as_secs(), 60);
        assert_eq!(usual.longest(Gone::Unknown).as_secs(), 60);
        assert_eq!(usual.longest(Gone::OwnLink).as_secs(), 10);
        let none = Settling::of_spread(Duration::ZERO);
        assert_eq!(none.longest(Gone::Cloud), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_way_that_was_never_gone_does_not_return() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = TcpProbe {
            names: Names::default(),
            host: "127.0.0.1".to_string(),
            port: listener.local_addr().unwrap().port(),
        };
        let path = Path::new(Box::new(probe), Settling::of_spread(Duration::ZERO));
        let (returned, accepted) = tokio::join!(
            tokio::time::timeout(
                Duration::from_millis(300),
                path.returned(Instant::now(), Gone::Unknown)
            ),
            listener.accept(),
        );
        assert!(returned.is_err());
        assert!(accepted.is_ok());
    }

    /// Open from an instant on.
    struct From(Instant);

    #[async_trait]
    impl Probe for From {
        async fn is_open(&self) -> bool {
            Instant::now() >= self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_way_found_closed_by_one_loop_counts_for_the_next() {
        let began = Instant::now();
        let opens = began + Duration::from_secs(100);
        let path = Path::new(
            Box::new(From(opens)),
            Settling::of_spread(Duration::from_secs(900)),
        );
        let first = path.returned(began, Gone::Unknown);
        let first = tokio::time::timeout(Duration::from_secs(99), first).await;
        assert!(first.is_err(), "its pause ended before the way opened");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let second = path.returned(began, Gone::Unknown);
        let second = tokio::time::timeout(Duration::from_secs(72), second).await;
        assert!(second.is_ok(), "12 s of gap and 60 s at most");
    }
}
