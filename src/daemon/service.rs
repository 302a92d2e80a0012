//! What the service manager is told, by sd_notify(3): ready when the first event could be taken, alive
//! as long as the journal turns, reloading, stopping. Where no service manager listens (`NOTIFY_SOCKET`
//! isn't set), nothing is told and nothing changes.

mod failures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::journal;
pub use failures::Failures;

/// The longest line of status that is told, in characters.
const STATUS_MAX_CHARS: usize = 200;

/// Tells what the daemon is doing, for `systemctl status`. One line; never anything secret.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(&line(text))]);
}

/// Tells that devices are served, and what `systemctl status` is to show: after the start, and when a
/// reload is over, whether it changed anything or not.
pub fn ready(text: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&line(text))]);
}

/// Tells that the configuration is being taken over. [`ready`] must follow, whatever comes of it.
pub fn reloading() {
    let status = NotifyState::Status("the configuration is taken over");
    // Of use to systemd from 253 on, and unknown to those before.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, status]),
        Err(_) => tell(&[NotifyState::Reloading, status]),
    }
}

/// Tells that the daemon stops.
pub fn stopping() {
    let status = NotifyState::Status("stopping: what was taken is written");
    tell(&[NotifyState::Stopping, status]);
}

/// Feeds the watchdog with the journal's progress, if the service manager has one (`WATCHDOG_USEC`): a
/// journal that hangs isn't fed, and neither is one whose async runtime does. Runs until it is dropped.
pub async fn feed_watchdog(journal: Arc<journal::Status>) {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    // The journal turns four times a second when nobody wants anything.
    let mut check = tokio::time::interval((patience / 4).max(Duration::from_millis(1)));
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut fed_at_turn = None;
    loop {
        check.tick().await;
        let turn = Some(journal.turns.load(Ordering::Relaxed));
        if turn != fed_at_turn {
            fed_at_turn = turn;
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::warn!(
                "the journal hasn't turned for {} ms: the disk may be stalling",
                (patience / 4).as_millis()
            );
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    static REFUSED: AtomicBool = AtomicBool::new(false);
    if let Err(e) = sd_notify::notify(states)
        && !REFUSED.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(error = %e, "the service manager can't be told (NOTIFY_SOCKET); it may stop the gateway. Check the unit's Type= and NotifyAccess=");
    }
}

/// A line of the protocol ends with the line.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let plain = first.chars().filter(|c| !c.is_control());
    plain.take(STATUS_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_and_bounded() {
        assert_eq!(line("taking devices\nREADY=1"), "taking devices");
        assert_eq!(line(""), "");
        assert_eq!(line(&"门".repeat(500)).chars().count(), STATUS_MAX_CHARS);
    }
}
