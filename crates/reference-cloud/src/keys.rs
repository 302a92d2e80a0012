//! The gateways' public keys as this process knows them: asked of the store, and kept for a moment.
//!
//! Bounds: at most [`NAMES_MAX`] names are kept; when they are that many, those that aged go, and if
//! none has, all go. However many requests with wrong signatures or unknown names come in, a name
//! is looked up at most once in [`AGAIN`].
//!
//! Several clouds on one store each have such a memory: a key that died at one of them is taken by
//! another for up to [`KEPT`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::StoreError;

/// How long a key is taken without asking the store.
const KEPT: Duration = Duration::from_secs(5);
/// How soon a name is looked up again when it was unknown, or its keys didn't fit.
const AGAIN: Duration = Duration::from_secs(1);
/// The most names.
const NAMES_MAX: usize = 65_536;

type PublicKey = [u8; 32];

/// Whose key it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signer {
    /// The key in force.
    InForce,
    /// The key that is to follow it.
    Next(PublicKey),
    /// None that this gateway has.
    Stranger,
    /// There is no such gateway.
    NoGateway,
}

/// The memory. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<HashMap<String, Known>>>);

#[derive(Clone)]
struct Known {
    /// In force first; `None`: no such gateway.
    keys: Option<Arc<[PublicKey]>>,
    read: Instant,
    /// When it was last read because nothing fitted.
    missed: Option<Instant>,
}

impl Keys {
    /// Whose key `fits`. `look_up` asks the store for the gateway's keys.
    pub async fn signer(
        &self,
        gateway: &str,
        fits: impl Fn(&PublicKey) -> bool,
        now: Instant,
        look_up: impl AsyncFnOnce() -> Result<Option<Vec<PublicKey>>, StoreError>,
    ) -> Result<Signer, StoreError> {
        let known = self.names().get(gateway).cloned();
        let known = known.filter(|known| now.duration_since(known.read) < KEPT);
        let mut missed = None;
        if let Some(known) = known {
            let signer = known.signer(&fits);
            let asked_lately = known.keys.is_none().then_some(known.read).or(known.missed);
            let lately = asked_lately.is_some_and(|at| now.duration_since(at) < AGAIN);
            if lately || matches!(signer, Signer::InForce | Signer::Next(_)) {
                return Ok(signer);
            }
            missed = Some(now);
        }
        let known = Known {
            keys: look_up().await?.map(Arc::from),
            read: now,
            missed,
        };
        let signer = known.signer(&fits);
        self.keep(gateway, known, now);
        Ok(signer)
    }

    /// The next request asks the store: its keys changed.
    pub fn forget(&self, gateway: &str) {
        self.names().remove(gateway);
    }

    fn keep(&self, gateway: &str, known: Known, now: Instant) {
        let mut names = self.names();
        if names.len() >= NAMES_MAX {
            names.retain(|_, known| now.duration_since(known.read) < AGAIN);
        }
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(gateway.to_string(), known);
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn signer(&self, fits: impl Fn(&PublicKey) -> bool) -> Signer {
        let Some(keys) = &self.keys else {
            return Signer::NoGateway;
        };
        match keys.iter().position(fits) {
            Some(0) => Signer::InForce,
            Some(n) => keys.get(n).copied().map_or(Signer::Stranger, Signer::Next),
            None => Signer::Stranger,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: PublicKey = [1; 32];
    const NEXT: PublicKey = [2; 32];

    /// A memory, and a store that counts how often it was asked.
    struct Bed {
        keys: Keys,
        stored: Option<Vec<PublicKey>>,
        asked: usize,
        now: Instant,
    }

    impl Bed {
        fn new(stored: Option<Vec<PublicKey>>) -> Self {
            let keys = Keys::default();
            let now = Instant::now();
            Self {
                keys,
                stored,
                asked: 0,
                now,
            }
        }

        async fn signer(&mut self, gateway: &str, key: PublicKey) -> Signer {
            let (asked, stored) = (&mut self.asked, &self.stored);
            let look_up = async || {
                *asked += 1;
                Ok(stored.clone())
            };
            let fits = |own: &PublicKey| *own == key;
            let signer = self.keys.signer(gateway, fits, self.now, look_up);
            signer.await.unwrap()
        }

        fn later(&mut self, by: Duration) {
            self.now += by;
        }
    }

    #[tokio::test]
    async fn a_good_key_is_looked_up_once_in_its_time() {
        let mut at = Bed::new(Some(vec![OWN, NEXT]));
        for _ in 0..100 {
            assert_eq!(at.signer("g", OWN).await, Signer::InForce);
            assert_eq!(at.signer("g", NEXT).await, Signer::Next(NEXT));
        }
        assert_eq!(at.asked, 1);
        at.later(KEPT);
        at.signer("g", OWN).await;
        assert_eq!(at.asked, 2);
        at.keys.forget("g");
        at.signer("g", OWN).await;
        assert_eq!(at.asked, 3);
    }

    /// The first one that doesn't fit asks at once, as the key may have been changed at another cloud.
    #[tokio::test]
    async fn a_flood_of_wrong_signatures_asks_once_a_second() {
        let mut at = Bed::new(Some(vec![OWN]));
        assert_eq!(at.signer("g", OWN).await, Signer::InForce);
        at.stored = Some(vec![NEXT]);
        assert_eq!(at.signer("g", NEXT).await, Signer::InForce);
        assert_eq!(at.asked, 2);
        for _ in 0..1_000 {
            assert_eq!(at.signer("g", [9; 32]).await, Signer::Stranger);
        }
        assert_eq!(at.asked, 2);
        at.later(AGAIN);
        for _ in 0..1_000 {
            assert_eq!(at.signer("g", [9; 32]).await, Signer::Stranger);
            assert_eq!(at.signer("g", NEXT).await, Signer::InForce);
        }
        assert_eq!(at.asked, 3);
    }

    #[tokio::test]
    async fn an_unknown_name_is_remembered_for_a_second() {
        let mut at = Bed::new(None);
        for _ in 0..1_000 {
            assert_eq!(at.signer("g", OWN).await, Signer::NoGateway);
        }
        assert_eq!(at.asked, 1);
        at.later(AGAIN);
        at.stored = Some(vec![OWN]);
        assert_eq!(at.signer("g", OWN).await, Signer::InForce);
    }

    #[tokio::test]
    async fn a_flood_of_names_is_bounded() {
        let mut at = Bed::new(None);
        for n in 0..NAMES_MAX + 10 {
            at.signer(&format!("g-{n}"), OWN).await;
        }
        assert!(at.keys.names().len() <= NAMES_MAX);
    }
}
