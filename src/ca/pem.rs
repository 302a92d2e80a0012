//! Certificates and keys in PEM, from files that an operator names.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::CaError;
use super::file;

/// The certificates in a file, at least one.
pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let not_pem = || CaError::NotPem {
        path: path.to_path_buf(),
        what: "certificate",
    };
    let chain = certificates(&file::read(path)?).ok_or_else(not_pem)?;
    if chain.is_empty() {
        return Err(not_pem());
    }
    Ok(chain)
}

/// The private key in a file. A group may read it, as Debian's `ssl-cert` does; strangers may not.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CaError> {
    let pem = file::read(path)?;
    let metadata = std::fs::metadata(path).map_err(file::io_error("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(CaError::Open {
            path: path.to_path_buf(),
            mode,
        });
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CaError::NotPem {
        path: path.to_path_buf(),
        what: "private key without a password",
    })
}

/// The certificates in a text; `None` if something in it can't be read.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    read.ok()
}

/// A certificate in PEM.
pub fn of_certificate(certificate: &CertificateDer<'_>) -> String {
    armoured("CERTIFICATE", certificate)
}

/// A private key in PEM.
pub(super) fn of_key(key: &PrivateKeyDer<'_>) -> String {
    armoured("PRIVATE KEY", key.secret_der())
}

/// A text of lines of 64 characters between `BEGIN` and `END` (RFC 7468).
fn armoured(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
