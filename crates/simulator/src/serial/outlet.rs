//! A place on a wire for a device that lives elsewhere: what it says is put on the line, and it hears
//! what comes over the line. It can be left and taken again, as a controller that starts anew does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Say, Slave, Waker};
use crate::device::lock;

/// Bytes that wait for the device; beyond it they are lost, as in an overrun.
const HEARD_MAX: usize = 65_536;
/// Frames that wait for the line; beyond it the device's are lost.
const SAYS_MAX: usize = 256;

/// The place. Clones are the same one.
#[derive(Clone, Default)]
pub struct Outlet(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    waker: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct State {
    /// Counts who took the place.
    takers: u64,
    heard: Option<mpsc::Sender<u8>>,
    says: VecDeque<Vec<u8>>,
}

/// Whoever has the place.
pub(crate) struct Taken {
    outlet: Outlet,
    taker: u64,
    heard: mpsc::Receiver<u8>,
}

impl Outlet {
    /// Takes the place; who had it before is cut off.
    pub(crate) fn take(&self) -> Taken {
        let (hears, heard) = mpsc::channel(HEARD_MAX);
        let mut state = lock(&self.0.state);
        state.takers += 1;
        state.heard = Some(hears);
        state.says.clear();
        Taken {
            outlet: self.clone(),
            taker: state.takers,
            heard,
        }
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Taken {
    /// Waits for bytes and appends them; false when somebody else took the place. May be dropped
    /// at its await without losing a byte.
    pub(crate) async fn hear(&mut self, into: &mut Vec<u8>) -> bool {
        self.heard.recv_many(into, 256).await > 0
    }

    /// Puts bytes on the line.
    pub(crate) fn say(&self, bytes: &[u8]) {
        let mut state = lock(&self.outlet.0.state);
        if state.takers == self.taker && state.says.len() < SAYS_MAX {
            state.says.push_back(bytes.to_vec());
        }
        drop(state);
        if let Some(waker) = &*lock(&self.outlet.0.waker) {
            waker.wake();
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = lock(&self.outlet.0.state);
        if state.takers == self.taker {
            state.heard = None;
            state.says.clear();
        }
    }
}

impl Slave for Outlet {
    fn connected(&mut self, waker: Waker) {
        *lock(&self.0.waker) = Some(waker);
    }

    fn hear(&mut self, byte: u8, _: Instant) -> Option<Say> {
        if let Some(heard) = &lock(&self.0.state).heard {
            // Full: nobody listens, and the byte is lost as on a line.
            let _ = heard.try_send(byte);
        }
        None
    }

    fn due(&self) -> Option<Instant> {
        let waits = !lock(&self.0.state).says.is_empty();
        // A second ago is due in any case.
        let ago = || Instant::now().checked_sub(Duration::from_secs(1));
        waits.then(ago).flatten()
    }

    fn act(&mut self, _: Instant) -> Option<Say> {
        let bytes: Vec<u8> = lock(&self.0.state).says.drain(..).flatten().collect();
        (!bytes.is_empty()).then_some(Say {
            after: Duration::ZERO,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_takes_the_place_hears_and_speaks_and_who_had_it_is_cut_off() {
        let mut outlet = Outlet::default();
        let now = Instant::now();
        outlet.hear(1, now);
        let mut first = outlet.take();
        outlet.hear(2, now);
        let mut heard = Vec::new();
        assert!(first.hear(&mut heard).await);
        first.say(&[7]);
        assert!(outlet.due().is_some());
        assert_eq!(outlet.act(now).unwrap().bytes, [7]);
        let mut second = outlet.take();
        assert!(!first.hear(&mut heard).await);
        first.say(&[8]);
        assert_eq!((outlet.due(), outlet.act(now)), (None, None));
        drop(first);
        outlet.hear(3, now);
        assert!(second.hear(&mut heard).await);
        assert_eq!(heard, [2, 3]);
    }
}
