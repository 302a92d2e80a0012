//! What crosses the line: bytes on the TCP stream, so with TLS and HTTP, without the headers of TCP
//! and IP.
//!
//! A call that went through has its [`Cost`]: all that crossed its connection since the last call
//! that went through on it, so the first one pays for the handshake. Whatever else crosses (calls
//! that failed, connections that died or never came about, farewells) goes to the [`Meter`]. So the
//! costs and the meter together are everything, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a call that went through took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes to the cloud.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
    /// From the call to the end of the answer, with the connection's making if it had to be made.
    pub took: Duration,
}

/// What crossed the line and belongs to no call that went through. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Both>);

#[derive(Debug, Default)]
struct Both {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    /// Adds bytes to the cloud and from it.
    pub fn other(&self, sent: u64, received: u64) {
        self.0.sent.fetch_add(sent, Ordering::Relaxed);
        self.0.received.fetch_add(received, Ordering::Relaxed);
    }

    /// What was added since the last time: bytes to the cloud, bytes from it.
    pub fn take(&self) -> (u64, u64) {
        let sent = self.0.sent.swap(0, Ordering::Relaxed);
        (sent, self.0.received.swap(0, Ordering::Relaxed))
    }
}
