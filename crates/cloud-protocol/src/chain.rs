//! The hash chain over a lane's items: h(0) = 32 zero bytes, h(n) = SHA-256(h(n−1) ‖ item n), the
//! item in CBOR's core deterministic encoding (RFC 8949 § 4.2.1), `seq` included.

use sha2::{Digest as _, Sha256};

use crate::uplink::Item;

/// A position in a lane's chain. The default is the start of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// The chain after `item`.
    #[must_use]
    pub fn then(self, item: &Item) -> Self {
        self.then_encoded(&item.to_value().to_cbor())
    }

    /// The chain after an item that is already in its deterministic encoding.
    #[must_use]
    pub fn then_encoded(self, item: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(item);
        Self(hash.finalize().into())
    }
}
