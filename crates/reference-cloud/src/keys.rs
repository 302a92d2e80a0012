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

use crate::store::{Store, StoreError};

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
    /// Whose key `fits`.
    pub async fn signer(
        &self,
        store: &dyn Store,
        gateway: &str,
        fits: impl Fn(&PublicKey) -> bool,
    ) -> Result<Signer, StoreError> {
        let now = Instant::now();
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
        let keys = store.keys(gateway).await?;
        let known = Known {
            keys: keys.map(Arc::from),
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
