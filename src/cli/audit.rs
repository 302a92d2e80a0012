//! `linli audit …`, `linli parcel ID --verify` and `--export`: the history as evidence. Checking a
//! file needs no daemon.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::args::AuditCommand;
use super::look::safe;
use super::stop::{self, Stop};
use super::words::audit as words;
use super::{Done, Session};
use crate::audit::export::{FILE_MAX_BYTES, Payload, check};
use crate::audit::hex::{hex, unhex};
use crate::control::audit::{Against, AuditView, ExportView, KeyView, ParcelAuditView};
use crate::control::client::ClientError;
use crate::control::wire::Request;

impl Session {
    /// `linli audit …`.
    pub(super) fn audit(&mut self, command: AuditCommand) -> Done {
        match command {
            AuditCommand::Verify { against } => self.audit_verify(against.map(|a| a.0)),
            AuditCommand::Check { file, key } => self.audit_check(&file, key),
            AuditCommand::Key => {
                let (item, view) = self.ask::<KeyView>(&Request::AuditKey)?;
                self.verdict(&item, &words::key(&view.public_key), true)
            }
        }
    }

    /// `linli parcel ID --verify`.
    pub(super) fn parcel_verify(&mut self, parcel: String) -> Done {
        let (item, view) = self.ask::<ParcelAuditView>(&Request::ParcelVerify { parcel })?;
        let text = words::parcel(&self.look, &view);
        self.verdict(&item, &text, view.unbroken)
    }

    /// `linli parcel ID --export FILE`.
    pub(super) fn parcel_export(&mut self, parcel: String, file: &Path, overwrite: bool) -> Done {
        if !overwrite && file.exists() {
            return Err(Stop::new(stop::FAILED, words::file_exists(file)));
        }
        let (_, view) = self.ask::<ExportView>(&Request::ParcelExport { parcel })?;
        write(file, &view.file, overwrite)?;
        let item = json!({
            "file": file, "steps": view.steps, "public_key": view.public_key,
        });
        let text = words::exported(file, view.steps, &view.public_key);
        self.verdict(&item, &text, true)
    }

    fn audit_verify(&mut self, against: Option<Against>) -> Done {
        let (item, view) = self.ask::<AuditView>(&Request::AuditVerify { against })?;
        let text = words::all(&self.look, &view);
        self.verdict(&item, &text, view.unbroken)
    }

    fn audit_check(&mut self, file: &Path, key: Option<KeyHex>) -> Done {
        let text = read(file)?;
        let checked = check(&text, key.as_ref().map(|key| &key.0));
        match checked {
            Ok(payload) => {
                let known = key.is_some();
                let item = checked_json(file, &payload);
                let text = words::checked(&self.look, file, &payload, known);
                self.verdict(&item, &text, true)
            }
            Err(forged) => {
                let why = forged.to_string();
                let item = json!({"file": file, "sound": false, "why": why});
                let text = words::forged(file, &why);
                self.verdict(&item, &text, false)
            }
        }
    }

    /// Asks for one item, however long it takes.
    fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<(Json, T), Stop> {
        let mut client = self.connect()?;
        client.patient().map_err(|e| self.stop(&e))?;
        let item: Json = client.one(request).map_err(|e| self.stop(&e))?;
        let view = T::deserialize(&item).map_err(|e| self.stop(&ClientError::Unreadable(e)))?;
        Ok((item, view))
    }

    /// Shows what was found. Bad news is a failure for programs too.
    fn verdict(&mut self, item: &Json, text: &str, good: bool) -> Done {
        match self.global.json {
            true => writeln!(self.out, "{item}")?,
            // The text's own line breaks stay; what stands in the store can't steer a terminal.
            false => {
                for line in text.lines() {
                    writeln!(self.out, "{}", safe(line))?;
                }
            }
        }
        if good {
            return Ok(());
        }
        self.out.flush()?;
        Err(Stop::Told(stop::FAILED))
    }
}

/// `N:HEX`: a head that somebody else has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgainstArg(pub Against);

impl FromStr for AgainstArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (entries, chain) = text.split_once(':')?;
            let chain = hex(&unhex::<32>(chain.trim())?);
            Some(Against {
                entries: entries.trim().parse().ok()?,
                chain,
            })
        };
        read().map(Self).ok_or(words::BAD_AGAINST)
    }
}

/// A public key in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHex(pub [u8; 32]);

impl FromStr for KeyHex {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unhex(text.trim()).map(Self).ok_or(words::BAD_KEY)
    }
}

fn checked_json(file: &Path, payload: &Payload) -> Json {
    json!({
        "file": file, "sound": true, "public_key": payload.public_key, "site": payload.site,
        "parcel": payload.parcel_id, "steps": payload.steps.len(),
        "exported_ms": payload.exported_ms, "exported_quality": payload.exported_quality,
        "head": payload.head,
    })
}

fn read(path: &Path) -> Result<String, Stop> {
    let failed = |e| Stop::new(stop::FAILED, words::cannot_read(path, &e));
    let mut text = String::new();
    let file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Stop::new(stop::NOT_FOUND, words::cannot_read(path, &e)));
        }
        file => file.map_err(failed)?,
    };
    let read = file
        .take(FILE_MAX_BYTES as u64 + 1)
        .read_to_string(&mut text);
    read.map_err(failed)?;
    Ok(text)
}

/// Writes the whole file or none: a half that stays would look like a forgery.
fn write(path: &Path, text: &str, overwrite: bool) -> Done {
    let opened = File::options()
        .write(true)
        .create_new(!overwrite)
        .create(overwrite)
        .truncate(overwrite)
        .open(path);
    let mut file = match opened {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Stop::new(stop::FAILED, words::file_exists(path)));
        }
        file => file.map_err(|e| Stop::new(stop::FAILED, words::cannot_write(path, &e)))?,
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|e| {
        if !overwrite {
            // It was made just now, so nothing of anybody's is lost.
            let _ = std::fs::remove_file(path);
        }
        Stop::new(stop::FAILED, words::cannot_write(path, &e))
    })
}

/// Where to write an export, and how.
#[derive(Debug, clap::Args)]
pub struct ParcelArgs {
    /// Say whether its history is as it was written (exit code 1 if not)
    #[arg(long, conflicts_with = "export")]
    pub verify: bool,
    /// Write its history to a file, signed, for a dispute
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// With --export: replace the file if it is there
    #[arg(long, requires = "export")]
    pub overwrite: bool,
}
