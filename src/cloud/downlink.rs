//! The downlink: one long poll after the other, its cursor in the ledger.
//!
//! A poll waits as long as it is configured to, if the line lets it: where connections that are quiet
//! for so long die on the way, polls become shorter until they come through.

use std::time::{Duration, Instant};

use cloud_protocol::DownlinkItem;
use tokio::sync::watch;

use super::contact::Patience;
use super::failure::{Cause, Failure};
use super::status::Way;
use super::urge::Errand;
use super::{Shared, stopped};

/// The pause after an empty answer that came much too early: a cloud that doesn't wait.
const EARLY_ANSWER_PAUSE: Duration = Duration::from_secs(5);
/// A line on which polls die doesn't make them shorter than this.
const SHORTEST_WAIT_S: u64 = 25;
/// After so many polls that came through to their end, a shortened wait is doubled again.
const WHOLE_BEFORE_GROWTH: u32 = 48;

/// Runs until `shutdown`; a long poll in flight is dropped, which loses nothing.
pub(super) async fn run(shared: &Shared, shutdown: watch::Receiver<bool>) {
    tokio::select! {
        () = poll_forever(shared) => {}
        () = stopped(shutdown) => {}
    }
}

async fn poll_forever(shared: &Shared) {
    let mut patience = Patience::new(&shared.contact, Way::Down);
    let mut errand = Errand::new(shared, Way::Down);
    let mut wait = Wait::new(shared.config.wait_s());
    // The first poll, and each after a failure, doesn't wait: its answer tells that the cloud is there.
    let mut wait_s = 0;
    loop {
        patience.ready().await;
        if errand.is_on() {
            wait_s = 0;
        }
        shared.status.line(|line| line.wait_s = wait.now_s());
        let asked = Instant::now();
        let polled = tokio::select! {
            polled = poll(shared, wait_s, &mut errand) => polled,
            // Another loop found the cloud again: what this poll hangs on may be dead.
            () = patience.news() => {
                wait_s = 0;
                continue;
            }
        };
        match take(shared, polled, &mut errand).await {
            Ok(Taken { more, pause }) => {
                patience.succeeded();
                wait.came_through(wait_s, asked.elapsed());
                if more && errand.is_on() {
                    continue;
                }
                errand.is_done();
                wait_s = wait.now_s();
                tokio::time::sleep(pause).await;
            }
            Err(failure) => {
                wait.failed(wait_s, asked.elapsed(), &failure);
                errand.failed(&failure);
                patience.pause(&failure).await;
                wait_s = 0;
            }
        }
    }
}

/// What a poll brought: new items, or none and perhaps too early.
struct Polled {
    items: Vec<DownlinkItem>,
    early: bool,
}

/// What followed from it.
struct Taken {
    /// There may be more at once.
    more: bool,
    /// How long to pause before the next poll.
    pause: Duration,
}

async fn poll(shared: &Shared, wait_s: u64, errand: &mut Errand<'_>) -> Result<Polled, Failure> {
    let cursor = shared.ledger.downlink_cursor().await?;
    shared.status.cursor(cursor);
    let asked = Instant::now();
    let (items, cost) = shared.client.downlink(cursor, wait_s).await?;
    shared.line.downlink(&cost);
    errand.cost(&cost);
    Ok(Polled {
        items: new_items(items, cursor)?,
        early: wait_s > 0 && asked.elapsed() < Duration::from_secs(wait_s) / 2,
    })
}

/// Hands the items over.
async fn take(
    shared: &Shared,
    polled: Result<Polled, Failure>,
    errand: &mut Errand<'_>,
) -> Result<Taken, Failure> {
    let Polled { items, early } = polled?;
    if items.is_empty() {
        return Ok(Taken {
            more: false,
            pause: if early {
                EARLY_ANSWER_PAUSE
            } else {
                Duration::ZERO
            },
        });
    }
    for item in &items {
        if let Err(e) = &item.what {
            tracing::warn!(seq = item.seq, "a downlink item can't be read: {e}");
        }
    }
    shared.ledger.downlink(items.clone()).await?;
    shared.status.received(&items);
    errand.received(items.len());
    Ok(Taken {
        more: true,
        pause: Duration::ZERO,
    })
}

/// How long a long poll waits.
struct Wait {
    most_s: u64,
    now_s: u64,
    whole: u32,
}

impl Wait {
    fn new(most_s: u64) -> Self {
        Self {
            most_s,
            now_s: most_s,
            whole: 0,
        }
    }

    fn now_s(&self) -> u64 {
        self.now_s
    }

    /// A poll that asked for `wait_s` was answered after `took`.
    fn came_through(&mut self, wait_s: u64, took: Duration) {
        if wait_s < self.now_s || took < Duration::from_secs(wait_s) {
            return;
        }
        self.whole += 1;
        if self.whole >= WHOLE_BEFORE_GROWTH {
            self.whole = 0;
            self.now_s = self.now_s.saturating_mul(2).min(self.most_s);
        }
    }

    /// A poll that asked for `wait_s` ended without an answer.
    fn failed(&mut self, wait_s: u64, took: Duration, failure: &Failure) {
        let died_quietly = matches!(
            failure,
            Failure::Network {
                cause: Cause::TimedOut,
                ..
            }
        );
        if wait_s > SHORTEST_WAIT_S && died_quietly && took > Duration::from_secs(wait_s) {
            self.whole = 0;
            let half = (wait_s / 2).max(SHORTEST_WAIT_S);
            self.now_s = half.min(self.most_s);
        }
    }
}

/// Leaves out what is known. The rest must rise, or the cursor would skip or repeat something.
fn new_items(items: Vec<DownlinkItem>, cursor: u64) -> Result<Vec<DownlinkItem>, Failure> {
    let odd = |what: &str| Failure::Odd(format!("the cloud's downlink is out of order: {what}"));
    if items.windows(2).any(|pair| pair[0].seq >= pair[1].seq) {
        return Err(odd("its numbers don't rise"));
    }
    let any = !items.is_empty();
    let new: Vec<_> = items.into_iter().filter(|item| item.seq > cursor).collect();
    if any && new.is_empty() {
        return Err(odd("it sends only what was asked to be left out"));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_protocol::Downlink;

    fn items(numbers: &[u64]) -> Vec<DownlinkItem> {
        let item = |seq: &u64| DownlinkItem {
            seq: *seq,
            what: Ok(Downlink::CodeReissue {
                parcel: "P".to_string(),
            }),
        };
        numbers.iter().map(item).collect()
    }

    #[test]
    fn known_items_are_left_out_and_disorder_is_refused() {
        let kept = |numbers: &[u64], cursor| {
            let new = new_items(items(numbers), cursor).ok()?;
            Some(new.into_iter().map(|item| item.seq).collect::<Vec<_>>())
        };
        assert_eq!(kept(&[], 5), Some(vec![]));
        assert_eq!(kept(&[6, 9], 5), Some(vec![6, 9]));
        assert_eq!(kept(&[4, 5, 6], 5), Some(vec![6]));
        assert_eq!(kept(&[4, 5], 5), None);
        assert_eq!(kept(&[7, 6], 5), None);
        assert_eq!(kept(&[6, 6], 5), None);
    }

    #[test]
    fn a_wait_that_the_line_does_not_bear_is_halved_and_tried_again_later() {
        let died = Failure::Network {
            words: String::new(),
            cause: Cause::TimedOut,
        };
        let whole = |wait_s| Duration::from_secs(wait_s + 15);
        let mut wait = Wait::new(300);
        wait.failed(300, whole(300), &died);
        assert_eq!(wait.now_s(), 150);
        wait.failed(150, Duration::from_secs(10), &died);
        wait.failed(150, whole(150), &Failure::Odd(String::new()));
        wait.failed(0, whole(0), &died);
        assert_eq!(wait.now_s(), 150, "none of these died of the quiet");
        for _ in 0..9 {
            let now_s = wait.now_s();
            wait.failed(now_s, whole(now_s), &died);
        }
        assert_eq!(wait.now_s(), 25);
        for _ in 0..WHOLE_BEFORE_GROWTH {
            assert_eq!(wait.now_s(), 25);
            wait.came_through(25, Duration::from_secs(3));
            wait.came_through(25, Duration::from_secs(25));
        }
        assert_eq!(wait.now_s(), 50);
    }

    #[test]
    fn a_short_wait_that_was_configured_stays() {
        let mut wait = Wait::new(10);
        for _ in 0..100 {
            wait.came_through(10, Duration::from_secs(10));
        }
        assert_eq!(wait.now_s(), 10);
    }
}
