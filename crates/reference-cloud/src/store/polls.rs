//! The long polls of the downlink: who waits for which gateway, and waking only those.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firmware_protocols::value::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Store, StoreError};

/// The items after `after`, waiting up to `wait` for the first, or until `stop` is true.
pub async fn wait_for_items(
    store: &dyn Store,
    gateway: &str,
    after: u64,
    wait: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<Vec<Value>, StoreError> {
    let until = Instant::now() + wait;
    let mut pushed = store.pushed(gateway);
    loop {
        pushed.borrow_and_update();
        let items = store.downlink(gateway, after).await?;
        if !items.is_empty() || *stop.borrow() || Instant::now() >= until {
            return Ok(items);
        }
        tokio::select! {
            changed = pushed.changed() => changed.map_err(|_| StoreError::Closed)?,
            _ = stop.wait_for(|stop| *stop) => return Ok(Vec::new()),
            () = tokio::time::sleep_until(until) => return Ok(Vec::new()),
        }
    }
}

/// Who waits, by gateway. As many entries as gateways that wait, and at most as many again that
/// did: bounded by the connections that a cloud takes.
#[derive(Default)]
pub(super) struct Polls(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    by_gateway: HashMap<String, watch::Sender<()>>,
    sweep_at: usize,
}

impl Polls {
    /// What changes when something is pushed to this gateway.
    pub(super) fn of(&self, gateway: &str) -> watch::Receiver<()> {
        let mut waiting = self.lock();
        if waiting.by_gateway.len() >= waiting.sweep_at.max(64) {
            waiting
                .by_gateway
                .retain(|_, waits| waits.receiver_count() > 0);
            waiting.sweep_at = waiting.by_gateway.len() * 2;
        }
        let waits = waiting.by_gateway.entry(gateway.to_string());
        waits.or_default().subscribe()
    }

    /// Wakes those who wait for this gateway.
    pub(super) fn wake(&self, gateway: &str) {
        if let Some(waits) = self.lock().by_gateway.get(gateway) {
            waits.send_replace(());
        }
    }

    /// Wakes all: something may have been missed.
    pub(super) fn wake_all(&self) {
        for waits in self.lock().by_gateway.values() {
            waits.send_replace(());
        }
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        let waiting = self.lock();
        let counts = waiting.by_gateway.values();
        counts.map(watch::Sender::receiver_count).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
