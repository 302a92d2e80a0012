//! The authority: its key, and what it signs.
//!
//! How long things hold:
//!
//! * Everything holds from 1970-01-01 on. A small device without a clock starts there, and so does a
//!   box whose battery-less clock wasn't set: with any later date neither could check a certificate
//!   before it has the time, which it may get over this very connection. Nobody gains by it, since
//!   nothing was signed before the authority was there.
//! * The authority: 20 years, as long as locks and readers hang in a stairwell, since to replace it
//!   somebody has to go to every device.
//! * A device's certificate: 10 years unless asked otherwise, as no device renews it by itself; what
//!   ends it early is [`Record::revoke`](super::Record::revoke), which holds at the next login.
//! * This box's: a year. The daemon renews it when a third of that is left, so a box that lay in a
//!   store-room for half a year still has one that holds; and a stolen one is of use for a year at most.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firmware_protocols::Ident;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;

use super::file::{self, Turn};
use super::read::Facts;
use super::{CaError, pem};

/// How long a device's certificate holds unless asked otherwise, days.
pub const DEVICE_DAYS: u32 = 3_653;
/// The longest that a device's certificate can be asked to hold, days; it never outlives the authority.
pub const DEVICE_DAYS_MAX: u32 = 7_305;
/// How long this box's certificate holds, days.
pub(super) const SERVER_DAYS: u32 = 365;
const AUTHORITY_DAYS: u32 = 7_305;

pub(super) const DAY_MS: i64 = 86_400_000;
/// The longest common name (X.520).
const COMMON_NAME_MAX: usize = 64;
const SERIAL_BYTES: usize = 16;

/// The estate's certificate authority, with its key.
pub struct Authority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    facts: Facts,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority in `folder`; `None` if there is none yet.
    pub fn open(folder: &Path) -> Result<Option<Self>, CaError> {
        let path = path(folder);
        let Some(pem) = file::read_private(&path)? else {
            // What was issued outlives who issued it only by an accident.
            return if folder.join(super::record::NAME).exists() {
                Err(CaError::Missing(path))
            } else {
                Ok(None)
            };
        };
        let damaged = || CaError::Damaged {
            path: path.clone(),
            what: "a certificate authority with its key",
        };
        let text = std::str::from_utf8(&pem).map_err(|_| damaged())?;
        let certificates = pem::certificates(&pem).ok_or_else(damaged)?;
        let certificate = certificates.into_iter().next().ok_or_else(damaged)?;
        let key = text.find(KEY_BEGINS).ok_or_else(damaged)?;
        let key = KeyPair::from_pem(&text[key..]).map_err(|_| damaged())?;
        let facts = Facts::of(&certificate).ok_or_else(damaged)?;
        if facts.public_key != key.public_key_raw() {
            return Err(damaged());
        }
        Ok(Some(Self {
            key,
            certificate,
            facts,
        }))
    }

    /// The authority in `folder`, made for `site` if there is none. `now_ms`: the time, as far as it is
    /// known to be past. Also whether it was made.
    pub fn open_or_make(
        turn: &Turn,
        folder: &Path,
        site: &Ident,
        now_ms: i64,
    ) -> Result<(Self, bool), CaError> {
        if let Some(there) = Self::open(folder)? {
            return Ok((there, false));
        }
        let key = KeyPair::generate()?;
        let mut params = params(&common_name(site)?)?;
        ends(&mut params, now_ms + i64::from(AUTHORITY_DAYS) * DAY_MS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().clone();
        let both = pem::of_certificate(&certificate) + &key.serialize_pem();
        file::write(turn, &path(folder), both.as_bytes())?;
        let facts = Facts::of(&certificate).ok_or(CaError::Damaged {
            path: path(folder),
            what: "a certificate",
        })?;
        let made = Self {
            key,
            certificate,
            facts,
        };
        Ok((made, true))
    }

    /// Its certificate, which devices need to know this box by.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What its certificate says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A certificate for a device, by which it logs in. It holds for `days`, but never longer than the
    /// authority.
    pub fn issue_device(
        &self,
        device: &Ident,
        key: &impl PublicKeyData,
        now_ms: i64,
        days: u32,
    ) -> Result<CertificateDer<'static>, CaError> {
        let mut params = params(device.as_str())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, key, now_ms, days)
    }

    /// A certificate for the listener of this box, with these names and addresses.
    pub(super) fn issue_server(
        &self,
        names: &[String],
        key: &impl PublicKeyData,
        now_ms: i64,
    ) -> Result<CertificateDer<'static>, CaError> {
        let short = |name: &&String| name.len() <= COMMON_NAME_MAX;
        let first = names.iter().find(short).map_or("linli", String::as_str);
        let mut params = params(first)?;
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => Ok(SanType::IpAddress(address)),
                Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            })
            .collect::<Result<_, rcgen::Error>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, key, now_ms, SERVER_DAYS)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        now_ms: i64,
        days: u32,
    ) -> Result<CertificateDer<'static>, CaError> {
        let end_ms = now_ms + i64::from(days) * DAY_MS;
        ends(&mut params, end_ms.min(self.facts.not_after_ms));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let own = self::params(&self.facts.subject)?;
        let issuer = Issuer::from_params(&own, &self.key);
        let certificate = params.signed_by(key, &issuer)?.der().clone();
        let issuer = Facts::of(&certificate).map(|facts| facts.issuer);
        if issuer.as_ref() != Some(&self.facts.subject_der) {
            // Its own name was written in another way than we write it.
            return Err(CaError::Damaged {
                path: PathBuf::from("authority.pem"),
                what: "an authority that linli has made",
            });
        }
        Ok(certificate)
    }
}

const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----";

fn path(folder: &Path) -> PathBuf {
    folder.join("authority.pem")
}

/// What all certificates share: a random serial number, from 1970 on.
fn params(common_name: &str) -> Result<CertificateParams, CaError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| CaError::Random)?;
    // Positive, and as long whatever comes.
    serial[0] = serial[0] & 0x3f | 0x40;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date_time_ymd(1970, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

/// A name of its own for each authority: two of the same name with different keys confuse who checks.
fn common_name(site: &Ident) -> Result<String, CaError> {
    let mut mark = [0; 4];
    SystemRandom::new()
        .fill(&mut mark)
        .map_err(|_| CaError::Random)?;
    let mut name = format!("Linli CA {:08x} of {site}", u32::from_be_bytes(mark));
    name.truncate(COMMON_NAME_MAX);
    Ok(name)
}

fn ends(params: &mut CertificateParams, ms: i64) {
    // The last second that a certificate can be written with.
    const LAST_S: u64 = 253_402_300_799;
    let seconds = u64::try_from(ms / 1000).unwrap_or(0).min(LAST_S);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
}
