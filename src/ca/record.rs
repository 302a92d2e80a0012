//! What the authority gave to devices, and what of it was revoked: `issued.json`.
//!
//! It is written before a certificate leaves, so nothing is out there that isn't on it. A certificate of
//! the authority that isn't on it (an older backup was restored) holds all the same; by its serial
//! number it can be revoked.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use firmware_protocols::Ident;
use serde::{Deserialize, Serialize};

use super::file::{self, Turn};
use super::{CaError, Facts};

/// How many certificates are on the list. Past that those that have ended make room, and if none has,
/// no more are given out.
pub const ISSUED_MAX: usize = 10_000;

pub(super) const NAME: &str = "issued.json";

/// What was issued and what was revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// In the order of their making.
    pub certificates: Vec<Issued>,
}

/// A certificate that was given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its serial number: lower-case hex.
    pub serial: String,
    /// Whose it is; none if only its serial number is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Ident>,
    /// When it was made, ms since the Unix epoch; by a box without a clock, some time before.
    pub issued_ms: i64,
    /// Until when it holds, ms since the Unix epoch.
    pub not_after_ms: i64,
    /// SHA-256 of the certificate, hex with colons.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// When it was revoked, ms since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<i64>,
}

impl Issued {
    /// Whether it holds at `now_ms`.
    pub fn holds(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none() && now_ms <= self.not_after_ms
    }
}

/// What tells one state of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified_s: i64,
    modified_ns: i64,
    length_bytes: u64,
    inode: u64,
}

impl Stamp {
    /// Of a file; `None` if it isn't there or can't be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
            length_bytes: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

impl Record {
    /// Where it is, in the authority's folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Reads it. Without a file nothing was issued.
    pub fn read(folder: &Path) -> Result<Self, CaError> {
        let path = Self::path(folder);
        let Some(json) = file::read_private(&path)? else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&json).map_err(|_| CaError::Damaged {
            path,
            what: "a list of certificates",
        })
    }

    /// Writes it.
    pub fn write(&self, turn: &Turn, folder: &Path) -> Result<(), CaError> {
        let mut json = String::from("{\"certificates\":[");
        for (index, issued) in self.certificates.iter().enumerate() {
            json.push_str(if index == 0 { "\n" } else { ",\n" });
            // Of texts and numbers: it can't fail.
            json.push_str(&serde_json::to_string(issued).unwrap_or_default());
        }
        json.push_str("\n]}\n");
        file::write(turn, &Self::path(folder), json.as_bytes())
    }

    /// Takes down a certificate that is going to be given out.
    pub fn add(&mut self, device: &Ident, facts: &Facts, now_ms: i64) -> Result<(), CaError> {
        if self.certificates.len() >= ISSUED_MAX {
            self.certificates
                .retain(|issued| issued.not_after_ms >= now_ms);
        }
        if self.certificates.len() >= ISSUED_MAX {
            return Err(CaError::Full);
        }
        self.certificates.push(Issued {
            serial: facts.serial.clone(),
            device: Some(device.clone()),
            issued_ms: now_ms,
            not_after_ms: facts.not_after_ms,
            sha256: facts.sha256.clone(),
            revoked_ms: None,
        });
        Ok(())
    }

    /// Revokes all certificates of a device that hold; returns how many.
    pub fn revoke(&mut self, device: &Ident, now_ms: i64) -> usize {
        let theirs = self
            .certificates
            .iter_mut()
            .filter(|issued| issued.device.as_ref() == Some(device) && issued.holds(now_ms));
        theirs
            .map(|issued| issued.revoked_ms = Some(now_ms))
            .count()
    }

    /// Revokes the certificate of this serial number (hex, with or without colons), also one that isn't
    /// on the list. Returns whose it is, if that is known; `None` if it was revoked before or `serial`
    /// isn't one.
    pub fn revoke_serial(&mut self, serial: &str, now_ms: i64) -> Option<Option<Ident>> {
        let serial = serial.replace(':', "").to_ascii_lowercase();
        if serial.is_empty() || serial.len() > 40 || !serial.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return None;
        }
        if let Some(issued) = self.certificates.iter_mut().find(|i| i.serial == serial) {
            if issued.revoked_ms.is_some() {
                return None;
            }
            issued.revoked_ms = Some(now_ms);
            return Some(issued.device.clone());
        }
        if self.certificates.len() >= ISSUED_MAX {
            return None;
        }
        self.certificates.push(Issued {
            serial,
            device: None,
            issued_ms: now_ms,
            not_after_ms: i64::MAX,
            sha256: String::new(),
            revoked_ms: Some(now_ms),
        });
        Some(None)
    }

    /// The serial numbers of all that was revoked.
    pub fn revoked(&self) -> impl Iterator<Item = &str> {
        self.certificates
            .iter()
            .filter(|issued| issued.revoked_ms.is_some())
            .map(|issued| issued.serial.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::take_turn;

    fn issued(serial: &str, device: &str, not_after_ms: i64) -> Issued {
        Issued {
            serial: serial.into(),
            device: Some(Ident::new(device).unwrap()),
            issued_ms: 0,
            not_after_ms,
            sha256: "AB:CD".into(),
            revoked_ms: None,
        }
    }

    #[test]
    fn what_is_revoked_stays_revoked_over_a_write() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("ca");
        let turn = take_turn(&folder).unwrap();
        let door = Ident::new("door-1").unwrap();
        let mut record = Record {
            certificates: vec![
                issued("01", "door-1", 100),
                issued("02", "door-1", 1_000),
                issued("03", "door-2", 1_000),
            ],
        };
        assert_eq!(record.revoke(&door, 500), 1, "one had ended by itself");
        assert_eq!(record.revoke(&door, 501), 0);
        assert_eq!(record.revoke_serial("0A:FF", 502), Some(None));
        assert_eq!(record.revoke_serial("0aff", 503), None, "twice");
        assert_eq!(record.revoke_serial("door", 503), None, "not a number");
        let two = Ident::new("door-2").unwrap();
        assert_eq!(record.revoke_serial("03", 504), Some(Some(two)));
        record.write(&turn, &folder).unwrap();
        let read = Record::read(&folder).unwrap();
        assert_eq!(read, record);
        assert_eq!(Vec::from_iter(read.revoked()), ["02", "03", "0aff"]);
    }

    #[test]
    fn a_full_list_makes_room_by_what_has_ended_and_only_by_that() {
        let mut record = Record {
            certificates: (0..ISSUED_MAX)
                .map(|n| issued(&format!("{n:x}"), "door-1", if n == 3 { 10 } else { 1_000 }))
                .collect(),
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let facts = Facts::of(params.self_signed(&key).unwrap().der()).unwrap();
        let device = Ident::new("door-9").unwrap();
        assert!(record.add(&device, &facts, 500).is_ok());
        assert_eq!(record.certificates.len(), ISSUED_MAX);
        assert!(matches!(
            record.add(&device, &facts, 500),
            Err(CaError::Full)
        ));
    }
}
