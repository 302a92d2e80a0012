//! How gateway and cloud prove who they are in TLS 1.2 and 1.3.
//!
//! By `ring`. The cloud's certificate is checked by the machine's own authorities (on Debian: the
//! package `ca-certificates`, or the file that `SSL_CERT_FILE` names), or only by those of a pinned
//! file. The gateway shows a certificate if it has one. How long certificates hold is judged by the
//! box's clock, or while that can't be right, by the latest time that is known to be past: so a
//! certificate that ended before that stays refused.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::certificates::{Certificates, Whose};
use super::config::TlsFiles;
use crate::certificate_time::CertificateTime;
use crate::clock::Clock;

/// No PEM file here is larger: a whole bundle of public authorities is a quarter of it.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// A file can't be read.
    #[error("{path} can't be read: {source}. Check the path in [cloud] and the file's rights")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file isn't what it should be.
    #[error("{path} holds no {what} in PEM: put it there, or take the line out of [cloud]")]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// An authority that can't be used.
    #[error("{path}: certificate {number} can't be used as an authority: {source}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Which in it, from 1.
        number: usize,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A key that others can read.
    #[error(
        "{path} can be read by everybody on this machine (mode {mode:o}): chmod 600 it, and have \
         the certificate replaced if strangers could log in here"
    )]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Certificate and key don't make a pair.
    #[error("{certificate} and {key} can't be used together: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// There is nothing to check the cloud's certificate by.
    #[error(
        "no certificate authorities on this machine: install the package ca-certificates, name a \
         file of them in SSL_CERT_FILE, or set ca_file in [cloud]: {0}"
    )]
    NoAuthorities(#[source] rustls::Error),
    /// The TLS library says no.
    #[error("TLS can't be set up: {0}")]
    Library(#[source] rustls::Error),
}

/// The configuration of TLS by these files; notes how long their certificates hold.
pub(super) fn config(
    files: &TlsFiles,
    clock: &Clock,
    certificates: &Certificates,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(default_provider());
    let time = Arc::new(CertificateTime(clock.clone()));
    let config = ClientConfig::builder_with_details(Arc::clone(&provider), time)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Library)?;
    let config = match &files.ca {
        Some(path) => {
            let roots = Arc::new(pinned(path, certificates)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier
                .map_err(|e| TlsError::NoAuthorities(rustls::Error::General(e.to_string())))?;
            config.with_webpki_verifier(verifier)
        }
        None => config
            .with_platform_verifier()
            .map_err(TlsError::NoAuthorities)?,
    };
    let mut config = match &files.client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = chain(certificate)?;
            if let Some(own) = chain.first() {
                certificates.note(Whose::Client, own);
            }
            let pair = |source| TlsError::Pair {
                certificate: certificate.clone(),
                key: key.clone(),
                source,
            };
            config
                .with_client_auth_cert(chain, private_key(key)?)
                .map_err(pair)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn pinned(path: &Path, certificates: &Certificates) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (n, certificate) in chain(path)?.into_iter().enumerate() {
        certificates.note(Whose::Ca, &certificate);
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority {
                path: path.to_path_buf(),
                number: n + 1,
                source,
            })?;
    }
    Ok(roots)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = || TlsError::NotPem {
        path: path.to_path_buf(),
        what: "certificate",
    };
    let pem = read(path)?;
    let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = read.map_err(|_| not_pem())?;
    if chain.is_empty() {
        return Err(not_pem());
    }
    Ok(chain)
}

/// A group may read it, as Debian's `ssl-cert` does; strangers may not.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    let metadata = std::fs::metadata(path).map_err(unreadable(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(TlsError::OpenKey {
            path: path.to_path_buf(),
            mode,
        });
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NotPem {
        path: path.to_path_buf(),
        what: "private key without a password",
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable(path))?;
    file.take(FILE_MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(unreadable(path))?;
    Ok(bytes)
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> TlsError {
    let path = path.to_path_buf();
    move |source| TlsError::Unreadable { path, source }
}
