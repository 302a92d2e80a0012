//! What a technician does at the authority: gives certificates out and revokes them. Each is on disk
//! before it counts.

use std::path::Path;

use firmware_protocols::Ident;
use rcgen::PublicKeyData;
use rustls::pki_types::CertificateDer;

use super::{Authority, CaError, Facts, Record, take_turn};

/// Gives a device a certificate for this key, which holds for `days`. It is taken down first.
pub fn give_out(
    folder: &Path,
    device: &Ident,
    key: &impl PublicKeyData,
    now_ms: i64,
    days: u32,
) -> Result<(CertificateDer<'static>, Facts), CaError> {
    if !folder.is_dir() {
        return Err(CaError::NoAuthority);
    }
    let turn = take_turn(folder)?;
    let authority = Authority::open(folder)?.ok_or(CaError::NoAuthority)?;
    let certificate = authority.issue_device(device, key, now_ms, days)?;
    let facts = Facts::of(&certificate).ok_or(CaError::NoAuthority)?;
    let mut record = Record::read(folder)?;
    record.add(device, &facts, now_ms)?;
    record.write(&turn, folder)?;
    Ok((certificate, facts))
}

/// Revokes all certificates of a device that hold; returns how many.
pub fn revoke(folder: &Path, device: &Ident, now_ms: i64) -> Result<usize, CaError> {
    change(folder, |record| record.revoke(device, now_ms))
}

/// Revokes one certificate by its serial number; see [`Record::revoke_serial`].
pub fn revoke_serial(
    folder: &Path,
    serial: &str,
    now_ms: i64,
) -> Result<Option<Option<Ident>>, CaError> {
    change(folder, |record| record.revoke_serial(serial, now_ms))
}

fn change<T>(folder: &Path, change: impl FnOnce(&mut Record) -> T) -> Result<T, CaError> {
    let turn = take_turn(folder)?;
    let before = Record::read(folder)?;
    let mut record = before.clone();
    let done = change(&mut record);
    if record != before {
        record.write(&turn, folder)?;
    }
    Ok(done)
}
