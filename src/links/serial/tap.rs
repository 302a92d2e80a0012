//! What goes over a line, for `linli serial monitor`: nothing is kept, and nobody waits for it.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::broadcast;

/// How many chunks may wait for a listener; one that is slower misses some.
const WAITING_MAX: usize = 1_024;

/// Some bytes that went over a line.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// When.
    pub at: Instant,
    /// Whether the gateway sent them.
    pub ours: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// Lets somebody listen to a line. Clones are the same tap.
#[derive(Debug, Clone)]
pub struct Tap(broadcast::Sender<Chunk>);

impl Default for Tap {
    fn default() -> Self {
        Self(broadcast::channel(WAITING_MAX).0)
    }
}

impl Tap {
    /// Everything from now on.
    pub fn listen(&self) -> broadcast::Receiver<Chunk> {
        self.0.subscribe()
    }

    /// Passes bytes on to whoever listens.
    pub fn pass(&self, ours: bool, bytes: &[u8]) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let chunk = Chunk {
            at: Instant::now(),
            ours,
            bytes: Bytes::copy_from_slice(bytes),
        };
        // Whoever listened may be gone by now.
        let _ = self.0.send(chunk);
    }
}
