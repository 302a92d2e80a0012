//! The downlink: one long poll after the other, its cursor in the ledger.

use std::time::{Duration, Instant};

use cloud_protocol::DownlinkItem;
use tokio::sync::watch;

use super::failure::Failure;
use super::status::Way;
use super::{Patience, Shared, stopped};

/// The pause after an empty answer that came much too early: a cloud that doesn't wait.
const EARLY_ANSWER_PAUSE: Duration = Duration::from_secs(5);

/// Runs until `shutdown`; a long poll in flight is dropped, which loses nothing.
pub(super) async fn run(shared: &Shared, shutdown: watch::Receiver<bool>) {
    tokio::select! {
        () = poll_forever(shared) => {}
        () = stopped(shutdown) => {}
    }
}

async fn poll_forever(shared: &Shared) {
    let mut patience = Patience::new(shared, Way::Down);
    // The first poll, and each after a failure, doesn't wait: its answer tells that the cloud is there.
    let mut wait_s = 0;
    loop {
        patience.trying();
        let polled = tokio::select! {
            polled = poll(shared, wait_s) => polled,
            // The uplink found the cloud again: what this poll hangs on may be dead.
            () = patience.other_is_back() => {
                wait_s = 0;
                continue;
            }
        };
        match take(shared, polled).await {
            Ok(pause) => {
                patience.succeeded();
                wait_s = shared.config.wait_s();
                tokio::time::sleep(pause).await;
            }
            Err(failure) => {
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

async fn poll(shared: &Shared, wait_s: u64) -> Result<Polled, Failure> {
    let cursor = shared.ledger.downlink_cursor().await?;
    shared.status.cursor(cursor);
    let asked = Instant::now();
    let (items, _cost) = shared.client.downlink(cursor, wait_s).await?;
    Ok(Polled {
        items: new_items(items, cursor)?,
        early: wait_s > 0 && asked.elapsed() < Duration::from_secs(wait_s) / 2,
    })
}

/// Hands the items over; returns how long to pause before the next poll.
async fn take(shared: &Shared, polled: Result<Polled, Failure>) -> Result<Duration, Failure> {
    let Polled { items, early } = polled?;
    if items.is_empty() {
        return Ok(if early {
            EARLY_ANSWER_PAUSE
        } else {
            Duration::ZERO
        });
    }
    for item in &items {
        if let Err(e) = &item.what {
            tracing::warn!(seq = item.seq, "a downlink item can't be read: {e}");
        }
    }
    shared.ledger.downlink(items.clone()).await?;
    shared.status.received(&items);
    Ok(Duration::ZERO)
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
}
