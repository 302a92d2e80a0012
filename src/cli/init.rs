//! The first set-up: `linli init` asks what stands where, shows the configuration that comes of it, and
//! writes it after the last yes. With --yes it asks nothing.
//!
//! * `answers` — what is known, checked part by part.
//! * `short` — the short forms in which parts are written.
//! * `dialogue`, `questions`, `ports` — asking on a terminal.
//! * `text` — the configuration's text.
//! * `save` — the files.
//!
//! Invariant: what is written was read by the configuration's own reader and taken.

pub mod answers;
mod dialogue;
mod ports;
mod questions;
mod save;
mod short;
mod text;

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::InitArgs;
use super::stop::{self, Stop};
use super::words::init as say;
use super::{Done, Session, ask, locate};
use crate::cloud::CloudUrl;
use crate::config::Config;
use crate::control::secret::Token;
use answers::{Answers, Cloud};

/// Where an installed box has its configuration.
const INSTALLED: &str = "/etc/linli";
/// And the schema of it.
const SCHEMA_INSTALLED: &str = "/usr/share/linli/linli.schema.json";
/// The group that the service of an installed box reads its configuration by.
const GROUP: &str = "linli";
/// The name of the cloud's token among the service's credentials.
const TOKEN_NAME: &str = "cloud-token";
/// The longest token file that is read, bytes: beyond any token.
const TOKEN_FILE_MAX: u64 = 4_096;
/// How many devices the next steps name.
const NAMED_MOST: usize = 3;

/// Where everything goes.
struct Place {
    file: PathBuf,
    installed: bool,
    state_dir: PathBuf,
    /// The token's file, and how the configuration names it.
    token: (PathBuf, String),
}

impl Session {
    /// `linli init …`.
    pub(super) fn init(&mut self, args: InitArgs) -> Done {
        let place = Place::new(
            locate::new_config_file(&self.global),
            args.state_dir.as_deref(),
        )?;
        let asking = !args.yes && !args.print && io::stdin().is_terminal();
        if !asking && !args.yes && !args.print {
            return Err(Stop::new(stop::USAGE, say::NOBODY_TO_ASK));
        }
        if !args.print {
            place.is_free(args.force)?;
        }
        if asking {
            dialogue::tell(&say::begins(&place.file));
            dialogue::tell("");
        }
        let answers = answers(args.clone(), &place, asking)?;
        let text = text::text(&answers);
        if let Err(errors) = Config::parse(&text) {
            return Err(Stop::new(stop::USAGE, say::refused(&errors)));
        }
        if args.print {
            return Ok(self.out.write_all(text.as_bytes())?);
        }
        if asking && !agreed(&place, &answers, &text)? {
            return Err(Stop::new(stop::FAILED, say::NOT_WRITTEN));
        }
        let kept = place.write(&answers, &text)?;
        self.told(&place, &answers, kept.as_deref())
    }

    fn told(&mut self, place: &Place, answers: &Answers, kept: Option<&Path>) -> Done {
        let next = next(place, answers);
        if self.global.json {
            let has_token = answers.cloud.as_ref().is_some_and(|c| c.token.is_some());
            let item = json!({
                "config": place.file,
                "kept": kept,
                "token_file": has_token.then_some(&place.token.0),
                "next": next,
            });
            return Ok(writeln!(self.out, "{item}")?);
        }
        writeln!(
            self.out,
            "{}\n\n{}",
            say::written(&place.file, kept),
            say::NEXT
        )?;
        let widest = next
            .iter()
            .map(|(command, _)| command.chars().count())
            .max();
        for (command, why) in next {
            let width = widest.unwrap_or(0);
            writeln!(self.out, "  {command:width$}  # {why}")?;
        }
        Ok(())
    }
}

impl Place {
    fn new(file: PathBuf, state_dir: Option<&Path>) -> Result<Self, Stop> {
        let installed = file.starts_with(INSTALLED);
        let state_dir = match state_dir {
            Some(folder) => folder.to_path_buf(),
            None if installed => PathBuf::from("/var/lib/linli"),
            // Beside the sources the configuration has a folder of its own.
            None if file.is_relative() => PathBuf::from("var/linli"),
            None => file.with_file_name("var"),
        };
        let named = state_dir
            .to_str()
            .filter(|name| !name.chars().any(char::is_control));
        let Some(named) = named.filter(|name| !name.is_empty()) else {
            return Err(Stop::new(
                stop::USAGE,
                say::flag("state-dir", say::FOLDER_WRONG),
            ));
        };
        let token = if installed {
            let file = Path::new(INSTALLED).join("credentials").join(TOKEN_NAME);
            (file, format!("credential:{TOKEN_NAME}"))
        } else {
            let file = state_dir.join(TOKEN_NAME);
            (
                file,
                format!("{}/{TOKEN_NAME}", named.trim_end_matches('/')),
            )
        };
        Ok(Self {
            file,
            installed,
            state_dir,
            token,
        })
    }

    /// Asked before the questions, so that nobody answers them in vain.
    fn is_free(&self, force: bool) -> Done {
        if self.file.exists() && !force {
            return Err(Stop::new(stop::FAILED, say::exists(&self.file)));
        }
        save::writable(&self.file).map_err(|e| self.cannot_write(&e))
    }

    fn cannot_write(&self, why: &io::Error) -> Stop {
        Stop::new(stop::FAILED, say::cannot_write(&self.file, why))
    }

    fn write(&self, answers: &Answers, text: &str) -> Result<Option<PathBuf>, Stop> {
        let token = answers.cloud.as_ref().and_then(|cloud| cloud.token.clone());
        if let Some((token, _)) = token {
            let file = &self.token.0;
            save::secret(file, token.into_secret().reveal())
                .map_err(|e| Stop::new(stop::FAILED, say::cannot_write(file, &e)))?;
        }
        let group = self.installed.then_some(GROUP);
        save::configuration(&self.file, text, group).map_err(|e| self.cannot_write(&e))
    }

    fn schema(&self) -> String {
        let beside = self.file.with_file_name("linli.schema.json");
        match beside.exists() && !self.installed {
            true => "./linli.schema.json".to_string(),
            false => SCHEMA_INSTALLED.to_string(),
        }
    }
}

/// What was said, and what is answered beside it.
fn answers(args: InitArgs, place: &Place, asking: bool) -> Result<Answers, Stop> {
    let site = match args.site.clone() {
        Some(site) => site,
        None if asking => questions::site()?,
        None => return Err(Stop::new(stop::USAGE, say::NO_SITE)),
    };
    let mut answers = Answers {
        site,
        state_dir: place.state_dir.clone(),
        socket: place.installed.then(|| locate::SOCKET_INSTALLED.into()),
        schema: place.schema(),
        buildings: Vec::new(),
        banks: Vec::new(),
        desks: Vec::new(),
        devices: Vec::new(),
        listen: questions::here(Ipv4Addr::LOCALHOST),
        mqtts: args.mqtts,
        cloud: None,
        ports: Vec::new(),
        boards: Vec::new(),
        on_ports: Vec::new(),
    };
    let (listen, mqtts) = (args.listen, args.mqtts);
    answers.cloud = said_cloud(&args, place)?;
    let has_cloud = answers.cloud.is_some();
    if asking && args.building.is_empty() && !args.bank.is_empty() {
        return Err(Stop::new(
            stop::USAGE,
            say::flag("bank", say::BUILDING_WANTED),
        ));
    }
    said(args, &mut answers)?;
    if asking {
        questions::estate(&mut answers)?;
        (answers.listen, answers.mqtts) = questions::network(listen, mqtts)?;
        if !has_cloud {
            answers.cloud = questions::cloud(&place.token.1)?;
        }
        if answers.ports.is_empty() {
            ports::ports(&mut answers)?;
        }
    } else if let Some(listen) = listen {
        answers.listen = listen;
    }
    Ok(answers)
}

/// What stands in flags.
fn said(args: InitArgs, answers: &mut Answers) -> Done {
    each("building", args.building, |id| answers.add_building(id))?;
    each("bank", args.bank, |bank| answers.add_bank(bank))?;
    each("desk", args.desk, |desk| answers.add_desk(desk))?;
    each("device", args.device, |device| answers.add_device(device))?;
    each("port", args.port, |port| answers.add_port(port))?;
    each("board", args.board, |board| answers.add_board(board))?;
    each("on-port", args.on_port, |on| answers.add_on_port(on))
}

fn each<T>(flag: &str, all: Vec<T>, mut add: impl FnMut(T) -> Result<(), String>) -> Done {
    for one in all {
        add(one).map_err(|why| Stop::new(stop::USAGE, say::flag(flag, &why)))?;
    }
    Ok(())
}

fn said_cloud(args: &InitArgs, place: &Place) -> Result<Option<Cloud>, Stop> {
    let Some(url) = args.cloud.clone() else {
        return Ok(None);
    };
    CloudUrl::new(&url).map_err(|e| Stop::new(stop::USAGE, say::flag("cloud", &e.to_string())))?;
    let token = match &args.token_file {
        Some(file) => Some((read_token(file)?, place.token.1.clone())),
        None => None,
    };
    Ok(Some(Cloud { url, token }))
}

fn read_token(file: &Path) -> Result<Token, Stop> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(TOKEN_FILE_MAX).read_to_string(&mut text))
        .map_err(|e| Stop::new(stop::FAILED, say::cannot_read_token(file, &e)))?;
    Token::new(&text).ok_or_else(|| Stop::new(stop::USAGE, say::TOKEN_WRONG))
}

/// Shows what would be written, and asks.
fn agreed(place: &Place, answers: &Answers, text: &str) -> Result<bool, Stop> {
    let has_token = answers.cloud.as_ref().is_some_and(|c| c.token.is_some());
    let token = has_token.then_some(place.token.0.as_path());
    // What was typed into it holds nothing that steers a terminal: each answer was checked for that.
    let shown = format!("\n{}\n\n{text}\n", say::preview(&place.file, token));
    io::stderr().write_all(shown.as_bytes())?;
    Ok(ask::agrees(say::ASK_WRITE)?.unwrap_or(false))
}

/// The commands to go on with, and what each is for.
fn next(place: &Place, answers: &Answers) -> Vec<(String, String)> {
    let here = place.file.as_path() == Path::new(locate::CONFIG_HERE) || place.installed;
    let config = match here {
        true => String::new(),
        false => format!(" --config {}", place.file.display()),
    };
    let mut next = vec![(
        format!("linli config check{config}"),
        say::NEXT_CHECK.to_string(),
    )];
    if answers.mqtts {
        next.push((format!("linli ca init{config}"), say::NEXT_CA.to_string()));
    }
    next.push(match place.installed {
        true => (
            "systemctl enable --now linli".to_string(),
            say::NEXT_RUN.to_string(),
        ),
        false => (format!("linli run{config}"), say::NEXT_RUN.to_string()),
    });
    let devices = answers.over_mqtt();
    for id in devices.iter().take(NAMED_MOST) {
        let command = format!("linli device password {id}{config}");
        next.push((command, say::NEXT_PASSWORD.to_string()));
    }
    if let Some(more) = devices.len().checked_sub(NAMED_MOST + 1)
        && let Some((_, why)) = next.last_mut()
    {
        *why = format!("{why}; {}", say::and_more(more + 1));
    }
    for on in &answers.on_ports {
        let port = answers.ports.iter().find(|port| port.id == on.port);
        if port.is_some_and(|port| port.protocol == crate::config::serial::Protocol::Osdp) {
            let command = format!("linli serial commission {}{config}", on.device);
            next.push((command, say::NEXT_COMMISSION.to_string()));
        }
    }
    for bank in answers.banks.iter().filter(|bank| {
        let mut boards = answers.boards.iter();
        boards.any(|board| board.bank == bank.id)
    }) {
        let command = format!("linli bank walk-test {}{config}", bank.id);
        next.push((command, say::NEXT_WALK.to_string()));
    }
    match &answers.cloud {
        Some(cloud) if cloud.token.is_none() => {
            next.push((
                format!("linli sync enrol{config}"),
                say::NEXT_ENROL.to_string(),
            ));
        }
        Some(_) => next.push((
            format!("linli sync now{config}"),
            say::NEXT_SYNC.to_string(),
        )),
        None => {}
    }
    next.push((
        format!("linli status{config}"),
        say::NEXT_STATUS.to_string(),
    ));
    next
}

#[cfg(test)]
mod tests;
