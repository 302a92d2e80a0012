//! The estate's own small certificate authority: for the listener of MQTT over TLS, and for devices
//! that log in with a certificate.
//!
//! It lives in `ca/` in the state folder, which travels with the backup:
//!
//! * `authority.pem`: its certificate and key in one file, so that no power cut parts them.
//! * `server.pem`: the certificate and key of this box's listener, made anew by the daemon.
//! * `issued.json`: what devices were given, and what of it was revoked ([`Issued`]).
//!
//! All files are for the daemon's user alone (0600), written beside, synced and renamed; writers take
//! turns by a lock. The keys of devices are never kept.
//!
//! Every key is ECDSA on P-256 with SHA-256: what the chips of small devices compute in hardware or
//! fastest, and a certificate of half a kilobyte. How long what holds stands in [`authority`].

pub mod authority;
mod file;
mod names;
mod office;
pub mod pem;
mod read;
mod record;
mod request;
mod server;

use std::path::PathBuf;

pub use authority::{Authority, DEVICE_DAYS, DEVICE_DAYS_MAX};
pub use file::{Turn, take_turn};
pub(crate) use names::canonical;
pub use names::{NAMES_MAX, box_names, is_name};
pub use office::{give_out, revoke, revoke_serial};
pub use read::Facts;
pub use record::{ISSUED_MAX, Issued, Record, Stamp};
pub use request::Request;
pub use server::{Due, Pair};

/// The authority's folder in the state folder.
pub const FOLDER: &str = "ca";

/// What can go wrong with the authority and what it issues.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file system says no.
    #[error("{path} could not be {doing}: {}", crate::disk::REMEDY)]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Others could read a key.
    #[error(
        "{path} can be read by others (mode {mode:o}): chmod 600 it, and if strangers could log in \
         here, have its certificate replaced"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file isn't what it should be.
    #[error("{path} isn't {what}: restore the folder ca from the backup")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// A file that the operator named isn't what it should be.
    #[error("{path} holds no {what} in PEM: put one there, or change [broker.tls]")]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The authority is gone, and devices have certificates of it.
    #[error(
        "{0} is missing, but certificates of it were given out: devices would not know a new one. \
         Restore the folder ca from the backup, or remove the folder to begin anew with all devices"
    )]
    Missing(PathBuf),
    /// There is no authority yet.
    #[error("there is no certificate authority yet: make it with 'linli ca init'")]
    NoAuthority,
    /// A request that can't be signed.
    #[error("the request can't be signed: {0}")]
    Request(&'static str),
    /// The list of what was issued is full.
    #[error(
        "{ISSUED_MAX} certificates are on the list of those given out, and none of them has ended: \
         no more can be made"
    )]
    Full,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// The library says no.
    #[error("the certificate can't be made: {0}")]
    Library(#[from] rcgen::Error),
}
