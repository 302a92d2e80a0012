//! `linli ca …`: works on the authority's files, so the daemon need not run. It notices by itself.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use firmware_protocols::Ident;
use rcgen::KeyPair;
use serde_json::json;

use super::args::{CaCommand, PaperArgs};
use super::look::{Paint, safe};
use super::stop::{self, Stop};
use super::table::{Cell, Column, table};
use super::words::ca as words;
use super::{Done, Session, locate};
use crate::ca::{
    self, Authority, CaError, FOLDER, Facts, Issued, Pair, Record, Request, pem, take_turn,
};
use crate::clock::Clock;
use crate::config::{Config, TlsSection};
use crate::links::embedded::TlsListener;
use crate::store::{make_private_dir, parent_of, sync_folder};

/// No certificate request is larger.
const REQUEST_MAX_BYTES: u64 = 64 * 1024;

impl Session {
    /// `linli ca …`.
    pub(super) fn ca(&mut self, command: CaCommand) -> Done {
        let config = locate::config(&self.global)?;
        let office = Office::of(&config);
        match command {
            CaCommand::Init => self.ca_init(&office),
            CaCommand::Show { pem: true } => {
                write!(self.out, "{}", office.authority()?.1)?;
                Ok(())
            }
            CaCommand::Show { pem: false } => self.ca_show(&office),
            CaCommand::Export { file, overwrite } => self.ca_export(&office, &file, overwrite),
            CaCommand::Issue { id, paper } => self.ca_issue(&office, &id, &paper),
            CaCommand::Sign { file, paper } => self.ca_sign(&office, &file, &paper),
            CaCommand::List => self.ca_list(&office),
            CaCommand::Revoke { id, serial } => self.ca_revoke(&office, id.as_ref(), serial),
        }
    }

    fn ca_init(&mut self, office: &Office<'_>) -> Done {
        make_private_dir(&office.config.state_dir)
            .map_err(|e| Stop::new(stop::FAILED, words::cannot_write(&office.folder, &e)))?;
        let (authority, made) = take_turn(&office.folder)
            .and_then(|turn| {
                let site = &office.config.site;
                Authority::open_or_make(&turn, &office.folder, site, office.now_ms)
            })
            .map_err(failed)?;
        if let Some(section) = office.own_tls() {
            TlsListener::make_pair(section, &office.folder, &authority, office.now_ms)
                .map_err(failed)?;
        }
        if self.global.json {
            let item = json!({"made": made, "authority": authority.facts()});
            return Ok(writeln!(self.out, "{item}")?);
        }
        let text = words::made(authority.facts(), made, office.tls().is_some());
        Ok(write!(self.out, "{}", told_lines(&text))?)
    }

    fn ca_show(&mut self, office: &Office<'_>) -> Done {
        let (authority, _) = office.authority()?;
        let server = office.server()?;
        let record = Record::read(&office.folder).map_err(failed)?;
        let count = |state: State| {
            let all = record.certificates.iter();
            all.filter(|issued| State::of(issued, office.now_ms) == state)
                .count()
        };
        let counts = [State::Holds, State::Revoked, State::Ended].map(count);
        if self.global.json {
            let item = json!({
                "authority": authority, "server": server,
                "devices": {"hold": counts[0], "revoked": counts[1], "ended": counts[2]},
            });
            return Ok(writeln!(self.out, "{item}")?);
        }
        let from = office.tls().and_then(|tls| tls.certificate_file.as_deref());
        let text = words::shown(&self.look, &authority, server.as_ref(), from, counts);
        Ok(write!(self.out, "{}", told_lines(&text))?)
    }

    fn ca_export(&mut self, office: &Office<'_>, file: &Path, overwrite: bool) -> Done {
        let (facts, pem) = office.authority()?;
        write_file(file, pem.as_bytes(), 0o644, overwrite)?;
        if self.global.json {
            let item = json!({"file": file, "sha256": facts.sha256});
            return Ok(writeln!(self.out, "{item}")?);
        }
        let text = words::exported(file, &facts);
        Ok(write!(self.out, "{}", told_lines(&text))?)
    }

    fn ca_issue(&mut self, office: &Office<'_>, id: &Ident, paper: &PaperArgs) -> Done {
        office.known(&self.global, id)?;
        let files = Files::of(id, &paper.out);
        files.are_free(true)?;
        let key = KeyPair::generate().map_err(|e| failed(e.into()))?;
        let (certificate, facts) =
            ca::give_out(&office.folder, id, &key, office.now_ms, paper.days).map_err(failed)?;
        let written = write_file(&files.key, key.serialize_pem().as_bytes(), 0o600, false)
            .and_then(|()| {
                let pem = pem::of_certificate(&certificate);
                write_file(&files.certificate, pem.as_bytes(), 0o644, false)
            });
        if written.is_err() {
            // Nobody has it.
            let _ = ca::revoke_serial(&office.folder, &facts.serial, office.now_ms);
            written?;
        }
        self.given_out(office, id, &files, &facts, true)
    }

    fn ca_sign(&mut self, office: &Office<'_>, file: &Path, paper: &PaperArgs) -> Done {
        let request = Request::read(&read_file(file)?).map_err(failed)?;
        let id = Ident::new(&request.subject)
            .map_err(|_| Stop::new(stop::FAILED, words::not_an_id(file, &request.subject)))?;
        office.known(&self.global, &id)?;
        let files = Files::of(&id, &paper.out);
        files.are_free(false)?;
        let (certificate, facts) =
            ca::give_out(&office.folder, &id, &request, office.now_ms, paper.days)
                .map_err(failed)?;
        let pem = pem::of_certificate(&certificate);
        write_file(&files.certificate, pem.as_bytes(), 0o644, false)?;
        self.given_out(office, &id, &files, &facts, false)
    }

    fn given_out(
        &mut self,
        office: &Office<'_>,
        id: &Ident,
        files: &Files,
        facts: &Facts,
        with_key: bool,
    ) -> Done {
        let record = Record::read(&office.folder).map_err(failed)?;
        let others: Vec<&str> = record
            .certificates
            .iter()
            .filter(|issued| issued.device.as_ref() == Some(id) && issued.holds(office.now_ms))
            .map(|issued| issued.serial.as_str())
            .filter(|serial| *serial != facts.serial)
            .collect();
        if self.global.json {
            let key = with_key.then_some(&files.key);
            let item = json!({
                "device": id.as_str(), "certificate": files.certificate, "key": key,
                "serial": facts.serial, "not_after_ms": facts.not_after_ms,
                "sha256": facts.sha256, "others": others,
            });
            return Ok(writeln!(self.out, "{item}")?);
        }
        let key = with_key.then_some(files.key.as_path());
        let text = words::given_out(&self.look, id, &files.certificate, key, facts, &others);
        Ok(write!(self.out, "{}", told_lines(&text))?)
    }

    fn ca_list(&mut self, office: &Office<'_>) -> Done {
        let record = Record::read(&office.folder).map_err(failed)?;
        let mut all = record.certificates;
        all.sort_by(|a, b| (&a.device, a.issued_ms).cmp(&(&b.device, b.issued_ms)));
        if self.global.json {
            let items: Vec<_> = all
                .iter()
                .map(|issued| {
                    let mut item = serde_json::to_value(issued).unwrap_or_default();
                    item["state"] = State::of(issued, office.now_ms).word().into();
                    item
                })
                .collect();
            return self.array(&items);
        }
        if all.is_empty() {
            return Ok(writeln!(self.out, "{}", words::NONE_ISSUED)?);
        }
        const HEAD: [Column; 5] = [
            Column::left("DEVICE"),
            Column::left("STATE"),
            Column::left("MADE"),
            Column::left("GOOD UNTIL"),
            Column::left("SERIAL"),
        ];
        let rows: Vec<Vec<Cell>> = all
            .iter()
            .map(|issued| {
                let state = State::of(issued, office.now_ms);
                let device = issued.device.as_ref().map_or("?", Ident::as_str);
                vec![
                    Cell::from(device),
                    Cell::painted(state.word(), state.paint()),
                    Cell::from(words::day(&self.look, issued.issued_ms)),
                    Cell::from(words::day(&self.look, issued.not_after_ms)),
                    Cell::from(&issued.serial),
                ]
            })
            .collect();
        Ok(write!(self.out, "{}", table(&self.look, &HEAD, &rows))?)
    }

    fn ca_revoke(
        &mut self,
        office: &Office<'_>,
        id: Option<&Ident>,
        serial: Option<String>,
    ) -> Done {
        if !office.folder.is_dir() {
            return Err(failed(CaError::NoAuthority));
        }
        let (whose, count) = match (id, serial) {
            (Some(id), _) => {
                let count = ca::revoke(&office.folder, id, office.now_ms).map_err(failed)?;
                if count == 0 {
                    return Err(Stop::new(stop::NOT_FOUND, words::has_none(id)));
                }
                (Some(id.clone()), count)
            }
            (None, serial) => {
                let serial = serial.unwrap_or_default();
                let whose = ca::revoke_serial(&office.folder, &serial, office.now_ms);
                let not_one = || Stop::new(stop::NOT_FOUND, words::no_such_serial(&serial));
                (whose.map_err(failed)?.ok_or_else(not_one)?, 1)
            }
        };
        if self.global.json {
            let item = json!({"device": whose, "revoked": count});
            return Ok(writeln!(self.out, "{item}")?);
        }
        let text = words::revoked(whose.as_ref(), count);
        Ok(write!(self.out, "{}", told_lines(&text))?)
    }
}

/// Where the authority is, by the configuration.
struct Office<'a> {
    config: &'a Config,
    folder: PathBuf,
    now_ms: i64,
}

impl<'a> Office<'a> {
    fn of(config: &'a Config) -> Self {
        Self {
            config,
            folder: config.state_dir.join(FOLDER),
            now_ms: Clock::system().at_least_ms(),
        }
    }

    fn tls(&self) -> Option<&TlsSection> {
        self.config.broker.as_ref()?.tls.as_ref()
    }

    /// The listener, if its certificate comes from here.
    fn own_tls(&self) -> Option<&TlsSection> {
        self.tls().filter(|tls| tls.certificate_file.is_none())
    }

    /// What the authority's certificate says, and itself in PEM.
    fn authority(&self) -> Result<(Facts, String), Stop> {
        let authority = Authority::open(&self.folder).map_err(failed)?;
        let authority = authority.ok_or_else(|| failed(CaError::NoAuthority))?;
        let pem = pem::of_certificate(authority.certificate());
        Ok((authority.facts().clone(), pem))
    }

    fn server(&self) -> Result<Option<Facts>, Stop> {
        let files = self.tls().map(|tls| (&tls.certificate_file, &tls.key_file));
        let pair = match files {
            Some((Some(certificate), Some(key))) => Pair::of_files(certificate, key).map(Some),
            _ => Pair::open(&self.folder),
        };
        Ok(pair.map_err(failed)?.map(|pair| pair.facts))
    }

    fn known(&self, global: &super::args::Global, id: &Ident) -> Result<(), Stop> {
        if self.config.device_ids().contains(id) {
            return Ok(());
        }
        let message = super::words::no_such_device(id.as_str(), &locate::config_file(global));
        Err(Stop::new(stop::NOT_FOUND, message))
    }
}

/// How a certificate is that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Holds,
    Revoked,
    Ended,
}

impl State {
    fn of(issued: &Issued, now_ms: i64) -> Self {
        if issued.revoked_ms.is_some() {
            Self::Revoked
        } else if issued.holds(now_ms) {
            Self::Holds
        } else {
            Self::Ended
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Holds => "good",
            Self::Revoked => "revoked",
            Self::Ended => "ended",
        }
    }

    fn paint(self) -> Paint {
        match self {
            Self::Holds => Paint::Good,
            Self::Revoked => Paint::Bad,
            Self::Ended => Paint::Warn,
        }
    }
}

/// What a device gets.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn of(id: &Ident, folder: &Path) -> Self {
        Self {
            certificate: folder.join(format!("{id}.crt")),
            key: folder.join(format!("{id}.key")),
        }
    }

    fn are_free(&self, with_key: bool) -> Done {
        let key = with_key.then_some(&self.key);
        for file in std::iter::once(&self.certificate).chain(key) {
            if file.symlink_metadata().is_ok() {
                return Err(Stop::new(stop::FAILED, words::in_the_way(file)));
            }
        }
        Ok(())
    }
}

fn failed(error: CaError) -> Stop {
    if let CaError::Io { path, source, .. } = &error
        && source.kind() == ErrorKind::PermissionDenied
    {
        return Stop::new(stop::FAILED, words::not_yours(path));
    }
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        message.push_str(&format!(" ({deeper})"));
        cause = deeper.source();
    }
    Stop::new(stop::FAILED, message)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Stop> {
    let failed = |e: std::io::Error| {
        let code = match e.kind() {
            ErrorKind::NotFound => stop::NOT_FOUND,
            _ => stop::FAILED,
        };
        Stop::new(code, words::cannot_read(path, &e))
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(REQUEST_MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Writes a file that wasn't there, or replaces it; with these rights from the first byte on.
fn write_file(path: &Path, bytes: &[u8], mode: u32, overwrite: bool) -> Done {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(!overwrite)
        .create(overwrite)
        .truncate(overwrite)
        .mode(mode)
        .open(path);
    let mut file = match opened {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            return Err(Stop::new(stop::FAILED, words::in_the_way(path)));
        }
        file => file.map_err(|e| Stop::new(stop::FAILED, words::cannot_write(path, &e)))?,
    };
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder(parent_of(path)));
    written.map_err(|e| {
        if !overwrite {
            // It was made just now, so nothing of anybody's is lost.
            let _ = std::fs::remove_file(path);
        }
        Stop::new(stop::FAILED, words::cannot_write(path, &e))
    })
}

/// Lines for people: what stands in a certificate can't steer a terminal.
fn told_lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(&safe(line));
        out.push('\n');
    }
    out
}
