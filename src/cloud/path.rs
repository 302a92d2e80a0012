//! Noticing that the network is back, while a long pause would still have to be waited for.
//!
//! After an attempt found no way to the cloud, a TCP connection is tried now and then, nothing more:
//! no TLS, no request. It counts only as a change: if the first try connects, the network wasn't the
//! reason and the pause is waited for; if it fails (or the attempt itself showed that nobody listens
//! or no network is up), the tries go on until one connects. Bounds: the
//! gap between tries is a tenth of how long this outage has lasted, 5 to 30 s, with jitter from half
//! of it; so a cloud that returns meets its gateways spread over seconds, a gateway whose link
//! returns is back in seconds, and a metered link sees some hundred bytes a try at most.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::backoff::jitter;
use crate::names::Names;

const TRY_TIMEOUT: Duration = Duration::from_secs(3);
const GAP_SHORTEST: Duration = Duration::from_secs(5);
const GAP_LONGEST: Duration = Duration::from_secs(30);

/// Resolves when a way to `host` that was gone is there again; never if it wasn't gone.
/// `since`: the first failure of this outage; `gone`: the failure itself showed that there is no way.
pub(super) async fn returned(names: &Names, host: (&str, u16), since: Instant, gone: bool) {
    if !gone && is_open(names, host).await {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(gap(since.elapsed(), jitter())).await;
        if is_open(names, host).await {
            return;
        }
    }
}

async fn is_open(names: &Names, (host, port): (&str, u16)) -> bool {
    let connecting = async {
        let addresses = names.find(host, port).await?;
        TcpStream::connect(&addresses[..]).await
    };
    matches!(
        tokio::time::timeout(TRY_TIMEOUT, connecting).await,
        Ok(Ok(_))
    )
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

    #[tokio::test]
    async fn a_way_that_was_never_gone_does_not_return() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = ("127.0.0.1", listener.local_addr().unwrap().port());
        let names = Names::default();
        let (returned, accepted) = tokio::join!(
            tokio::time::timeout(
                Duration::from_millis(300),
                returned(&names, host, Instant::now(), false)
            ),
            listener.accept(),
        );
        assert!(returned.is_err());
        assert!(accepted.is_ok());
    }
}
