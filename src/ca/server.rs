//! The certificate and key of this box's listener.

use std::fmt;
use std::path::Path;

use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::authority::{DAY_MS, SERVER_DAYS};
use super::file::{self, Turn};
use super::{Authority, CaError, Facts, pem};

const NAME: &str = "server.pem";

/// A certificate (with what leads to its authority) and its key.
pub struct Pair {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// What the certificate says.
    pub facts: Facts,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Clone for Pair {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            facts: self.facts.clone(),
        }
    }
}

/// Why this box's certificate has to be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Less than a third of its time is left.
    Ends,
    /// It holds for longer than any does: the clock was wrong when it was made.
    TooLong,
    /// The box has a name or address that isn't on it, or one is to be taken off.
    Names,
    /// Another authority has made it.
    Authority,
}

impl Pair {
    /// Reads this box's pair in `folder`; `None` if there is none, or nothing that can be used.
    pub fn open(folder: &Path) -> Result<Option<Self>, CaError> {
        let path = folder.join(NAME);
        let Some(both) = file::read_private(&path)? else {
            return Ok(None);
        };
        let chain = pem::certificates(&both).unwrap_or_default();
        let key = PrivateKeyDer::from_pem_slice(&both);
        let facts = chain.first().and_then(Facts::of);
        // It can be made anew at any time: what is damaged counts for nothing.
        Ok(match (key, facts) {
            (Ok(key), Some(facts)) => Some(Self { chain, key, facts }),
            _ => None,
        })
    }

    /// Reads a pair from files that an operator names.
    pub fn of_files(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let chain = pem::chain(certificate)?;
        let facts = chain.first().and_then(Facts::of);
        let facts = facts.ok_or_else(|| CaError::NotPem {
            path: certificate.to_path_buf(),
            what: "certificate that can be read",
        })?;
        let key = pem::key(key)?;
        Ok(Self { chain, key, facts })
    }

    /// Makes a new pair with these names. It isn't written yet.
    pub fn make(authority: &Authority, names: &[String], now_ms: i64) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let certificate = authority.issue_server(names, &key, now_ms)?;
        let facts = Facts::of(&certificate).ok_or(CaError::NoAuthority)?;
        Ok(Self {
            chain: vec![certificate],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            facts,
        })
    }

    /// Keeps it in `folder`.
    pub fn write(&self, turn: &Turn, folder: &Path) -> Result<(), CaError> {
        let mut both: String = self.chain.iter().map(pem::of_certificate).collect();
        both.push_str(&pem::of_key(&self.key));
        file::write(turn, &folder.join(NAME), both.as_bytes())
    }

    /// Whether one of which this is told has to be made anew. Names that were `set` must be just these;
    /// those that were found out must all be there, as an address that went may come back.
    pub fn due(
        facts: &Facts,
        authority: &Authority,
        names: &[String],
        set: bool,
        now_ms: i64,
    ) -> Option<Due> {
        let days = i64::from(SERVER_DAYS);
        let left_ms = facts.not_after_ms - now_ms;
        let has = |name: &String| facts.names.contains(&name.to_ascii_lowercase());
        let more = set && facts.names.len() != names.len();
        if facts.issuer != authority.facts().subject_der {
            return Some(Due::Authority);
        }
        if more || !names.iter().all(has) {
            return Some(Due::Names);
        }
        if left_ms > (days + 1) * DAY_MS {
            return Some(Due::TooLong);
        }
        // Near its own end the authority can't give it more.
        let all_there_is = facts.not_after_ms >= authority.facts().not_after_ms;
        (left_ms < days * DAY_MS / 3 && !all_there_is).then_some(Due::Ends)
    }
}
