//! What waits for a device that is connected: at most [`limits::QUEUE_MAX`] messages, the oldest goes
//! for the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use firmware_protocols::Ident;
use firmware_protocols::topic::Channel;
use tokio::sync::Notify;

use super::limits;

/// A connected device's mailbox, shared between its session and those who write to it.
pub(super) struct Mailbox {
    device: Ident,
    waiting: Mutex<VecDeque<Letter>>,
    /// One bit for each channel that the device has subscribed to.
    subscribed: AtomicU8,
    notify: Notify,
    /// Messages dropped because too many waited.
    dropped: AtomicU64,
}

/// A message that waits.
pub(super) struct Letter {
    pub channel: Channel,
    pub payload: Bytes,
    /// When it is worth nothing any more.
    pub until: Option<Instant>,
    pub retain: bool,
    /// Whether the device published it itself.
    pub own: bool,
}

impl Letter {
    /// A letter that is worth something for `expiry_ms`, or always.
    pub fn new(channel: Channel, payload: Bytes, expiry_ms: Option<u64>) -> Self {
        Self {
            channel,
            payload,
            until: expiry_ms.map(|ms| Instant::now() + Duration::from_millis(ms)),
            retain: false,
            own: false,
        }
    }

    /// Whether its time is over.
    pub fn is_stale(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

impl Mailbox {
    /// The empty mailbox of a device that has just come.
    pub fn new(device: &Ident) -> Self {
        Self {
            device: device.clone(),
            waiting: Mutex::default(),
            subscribed: AtomicU8::new(0),
            notify: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// How many messages were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Puts a letter in, if the device has subscribed to its channel. Whether it was put in.
    pub fn put(&self, letter: Letter) -> bool {
        if self.subscribed.load(Ordering::Relaxed) & bit(letter.channel) == 0 || letter.is_stale() {
            return false;
        }
        let mut waiting = self.lock();
        if waiting.len() >= limits::QUEUE_MAX {
            waiting.pop_front();
            // Said once a connection, and summed up at its end.
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(device = %self.device, channel = letter.channel.name(),
                    "acknowledges too slowly what it is sent: the oldest message that waited was dropped, and so will be others");
            }
        }
        waiting.push_back(letter);
        drop(waiting);
        self.notify.notify_one();
        true
    }

    /// Takes the oldest letter whose time isn't over.
    pub fn take(&self) -> Option<Letter> {
        let mut waiting = self.lock();
        while let Some(letter) = waiting.pop_front() {
            if !letter.is_stale() {
                return Some(letter);
            }
        }
        None
    }

    /// Resolves when something may have been put in.
    pub async fn stirred(&self) {
        self.notify.notified().await;
    }

    /// Notes whether the device hears a channel. Whether it did before.
    pub fn subscribe(&self, channel: Channel, hears: bool) -> bool {
        let before = match hears {
            true => self.subscribed.fetch_or(bit(channel), Ordering::Relaxed),
            false => self.subscribed.fetch_and(!bit(channel), Ordering::Relaxed),
        };
        before & bit(channel) != 0
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Letter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn bit(channel: Channel) -> u8 {
    match channel {
        Channel::Event => 1,
        Channel::Status => 2,
        Channel::Command => 4,
        Channel::Receipt => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(n: u8) -> Letter {
        Letter::new(Channel::Receipt, Bytes::copy_from_slice(&[n]), None)
    }

    #[test]
    fn the_oldest_goes_for_the_next_and_nothing_waits_unasked() {
        let mailbox = Mailbox::new(&Ident::new("bank-a").unwrap());
        assert!(!mailbox.put(letter(0)), "not subscribed");
        assert!(!mailbox.subscribe(Channel::Receipt, true));
        for n in 1..=u8::try_from(limits::QUEUE_MAX).unwrap() + 2 {
            assert!(mailbox.put(letter(n)));
        }
        assert_eq!(mailbox.take().unwrap().payload.as_ref(), [3]);
        assert_eq!(mailbox.dropped(), 2);
        assert!(mailbox.subscribe(Channel::Receipt, false));
        assert!(!mailbox.put(letter(0)));
    }

    #[test]
    fn what_is_stale_is_neither_put_in_nor_taken_out() {
        let mailbox = Mailbox::new(&Ident::new("bank-a").unwrap());
        mailbox.subscribe(Channel::Command, true);
        let stale = |ms| Letter::new(Channel::Command, Bytes::new(), Some(ms));
        assert!(!mailbox.put(stale(0)));
        assert!(mailbox.put(stale(5)));
        while mailbox.lock().iter().any(|letter| !letter.is_stale()) {
            std::thread::yield_now();
        }
        assert!(mailbox.take().is_none());
    }
}
