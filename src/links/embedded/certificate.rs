//! The certificate that a client has shown in TLS: whom it names.

use firmware_protocols::Ident;

/// A certificate of an authority that devices' certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    /// The devices that it names.
    pub names: Vec<Ident>,
    /// Its serial number: lower-case hex.
    pub serial: String,
}

impl ClientCertificate {
    /// One that doesn't hold any more: it names nobody.
    pub fn of_nobody() -> Self {
        Self {
            names: Vec::new(),
            serial: String::new(),
        }
    }

    /// Whether it stands for this device.
    pub fn names(&self, device: &Ident) -> bool {
        self.names.contains(device)
    }
}
