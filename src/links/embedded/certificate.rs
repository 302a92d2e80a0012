//! The certificate that a client has shown in TLS: whom it names.

use firmware_protocols::Ident;

/// A certificate that was issued by the authority that devices' certificates come from, and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    /// The devices that it names.
    pub names: Vec<Ident>,
}

impl ClientCertificate {
    /// Whether it stands for this device.
    pub fn names(&self, device: &Ident) -> bool {
        self.names.contains(device)
    }
}
