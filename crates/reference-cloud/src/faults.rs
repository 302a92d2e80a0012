//! What a demo or a test does to the cloud: take it away, lose its answers, let it be unwell.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The switches. Cheap to clone; all clones are the same switches.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Switches>);

#[derive(Debug)]
struct Switches {
    reachable: watch::Sender<bool>,
    answers_to_lose: AtomicU32,
    key_answers_to_lose: AtomicU32,
    refusal: Mutex<Option<Refusal>>,
}

/// What every call of a gateway is answered while the cloud is unwell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Switches {
            reachable: watch::Sender::new(true),
            answers_to_lose: AtomicU32::new(0),
            key_answers_to_lose: AtomicU32::new(0),
            refusal: Mutex::new(None),
        }))
    }
}

impl Faults {
    /// `false`: new connections are refused and running ones reset, long polls too. `true`: back
    /// again at the same address.
    pub fn set_reachable(&self, reachable: bool) {
        self.0.reachable.send_replace(reachable);
    }

    /// The next `n` batches are taken for good, but their connection is reset without an answer.
    pub fn lose_next_answers(&self, n: u32) {
        self.0.answers_to_lose.store(n, Ordering::SeqCst);
    }

    /// The same for the next `n` enrolments and changes of key.
    pub fn lose_next_key_answers(&self, n: u32) {
        self.0.key_answers_to_lose.store(n, Ordering::SeqCst);
    }

    /// From now on every call of a gateway gets this answer and nothing else happens; `None` ends it.
    pub fn answer_with(&self, refusal: Option<Refusal>) {
        *self
            .0
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *self
            .0
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reachable(&self) -> watch::Receiver<bool> {
        self.0.reachable.subscribe()
    }

    /// Whether this answer to a batch is one of those to lose.
    pub(crate) fn loses_answer(&self) -> bool {
        one_less(&self.0.answers_to_lose)
    }

    /// Whether this answer to an enrolment or a change of key is one of those to lose.
    pub(crate) fn loses_key_answer(&self) -> bool {
        one_less(&self.0.key_answers_to_lose)
    }
}

/// Takes one off, if there is one.
fn one_less(count: &AtomicU32) -> bool {
    let one_less = |n: u32| n.checked_sub(1);
    let taken = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
    taken.is_ok()
}
