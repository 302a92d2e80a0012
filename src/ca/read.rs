//! What a certificate says, as far as it matters here.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// How many names of a certificate are looked at: each is compared at a login.
const NAMES_MAX: usize = 100;
/// How a device is named in a URI.
const DEVICE_URN: &str = "urn:linli:device:";

/// What a certificate says of itself. It is true only if somebody has verified the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Its serial number: lower-case hex.
    pub serial: String,
    /// The common name of its subject; empty if it has none.
    pub subject: String,
    /// Names and addresses (dNSName, iPAddress), and devices named in a URI.
    pub names: Vec<String>,
    /// From when on it holds, ms since the Unix epoch.
    pub not_before_ms: i64,
    /// Until when it holds, ms since the Unix epoch.
    pub not_after_ms: i64,
    /// SHA-256 of the certificate, upper-case hex with colons, as `openssl x509 -fingerprint` has it.
    pub sha256: String,
    /// The issuer's name as it stands there (DER).
    #[serde(skip)]
    pub issuer: Vec<u8>,
    /// The subject's name as it stands there (DER).
    #[serde(skip)]
    pub subject_der: Vec<u8>,
    /// The public key, without its kind.
    #[serde(skip)]
    pub public_key: Vec<u8>,
}

impl Facts {
    /// Reads a certificate; `None` if it can't be read.
    pub fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let body = certificate.tbs_certificate();
        let ms = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX)
        };
        let common_name = body.subject().common_name().ok().flatten();
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        Some(Self {
            serial: hex(body.serial_number().as_bytes()),
            subject: common_name
                .map(|name| name.value().into_owned())
                .unwrap_or_default(),
            names: names(&certificate)?,
            not_before_ms: ms(body.validity().not_before),
            not_after_ms: ms(body.validity().not_after),
            sha256: with_colons(digest.as_ref()),
            issuer: body.issuer().to_der().ok()?,
            subject_der: body.subject().to_der().ok()?,
            public_key: body
                .subject_public_key_info()
                .subject_public_key
                .raw_bytes()
                .to_vec(),
        })
    }

    /// Everything that may be a device's id.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.subject.as_str()).chain(self.names.iter().map(String::as_str))
    }
}

fn names(certificate: &Certificate) -> Option<Vec<String>> {
    let found = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .ok()?;
    let Some((_, SubjectAltName(all))) = found else {
        return Some(Vec::new());
    };
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()),
        GeneralName::UniformResourceIdentifier(uri) => {
            uri.as_str().strip_prefix(DEVICE_URN).map(str::to_owned)
        }
        _ => None,
    };
    Some(all.iter().take(NAMES_MAX).filter_map(text).collect())
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(sixteen).to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
