//! A scanner or keypad that types lines.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Say, Slave, Waker};
use crate::device::lock;

/// How many lines may wait to be typed; more are lost, as with a scanner's buffer.
const WAITING_MAX: usize = 1_000;

/// A device that types lines. Clones are the same one.
#[derive(Clone)]
pub struct LineDevice(Arc<Shared>);

struct Shared {
    prefix: String,
    terminator: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    waker: Option<Waker>,
    typed: u64,
}

impl LineDevice {
    /// A device that puts `prefix` before and `terminator` after each line.
    pub fn new(prefix: &str, terminator: &str) -> Self {
        Self(Arc::new(Shared {
            prefix: prefix.to_string(),
            terminator: terminator.to_string(),
            state: Mutex::default(),
        }))
    }

    /// Types a line. False if too many wait.
    pub fn type_line(&self, line: &str) -> bool {
        let mut state = lock(&self.0.state);
        let room = state.waiting.len() < WAITING_MAX;
        if room {
            state.waiting.push_back(line.to_string());
            if let Some(waker) = &state.waker {
                waker.wake();
            }
        }
        room
    }

    /// How many lines went out.
    pub fn typed(&self) -> u64 {
        lock(&self.0.state).typed
    }
}

impl Slave for LineDevice {
    fn connected(&mut self, waker: Waker) {
        lock(&self.0.state).waker = Some(waker);
    }

    fn hear(&mut self, _: u8, _: Instant) -> Option<Say> {
        None
    }

    fn due(&self) -> Option<Instant> {
        let waits = !lock(&self.0.state).waiting.is_empty();
        // A second ago is due in any case.
        waits.then(|| Instant::now().checked_sub(Duration::from_secs(1)))?
    }

    fn act(&mut self, _: Instant) -> Option<Say> {
        let mut state = lock(&self.0.state);
        let line = state.waiting.pop_front()?;
        state.typed += 1;
        let text = [&self.0.prefix, &line, &self.0.terminator];
        Some(Say {
            after: Duration::ZERO,
            bytes: text.map(String::as_bytes).concat(),
        })
    }
}
