//! Devices: added, let in, taken out.
//!
//! * `edit` — the configuration's text with a device more or less.
//! * `save` — its file, replaced as a whole.
//! * `pair` — waiting for a device that is being set up.

mod edit;
mod pair;
mod save;

use std::io::{self, Write as _};

use firmware_protocols::Ident;

use super::args::{AddArgs, DeviceCommand};
use super::look::told;
use super::password::{self, Made, Way};
use super::stop::{self, Stop};
use super::{Done, Session, ask, lists, locate, words};
use crate::config::Config;
use crate::control::client::{Client, ClientError};
use crate::control::knocks::KnockView;
use crate::control::reload::ReloadView;
use crate::control::wire::Request;
use crate::credentials::remove_password;
use edit::{EditError, NewDevice};
use save::Held;

impl Session {
    /// `linli device …`.
    pub(super) fn device(&mut self, command: DeviceCommand) -> Done {
        match command {
            DeviceCommand::Add(args) => self.device_add(&args),
            DeviceCommand::Password { id } => {
                let made = password::make(&self.global, &id, Way::AtOnce)?;
                self.password(id.as_str(), &made)
            }
            DeviceCommand::Rotate { id } => {
                let made = password::make(&self.global, &id, Way::Rotated)?;
                self.password(id.as_str(), &made)
            }
            DeviceCommand::Remove { id, yes } => self.device_remove(&id, yes),
            DeviceCommand::Pair(args) => self.device_pair(&args),
            DeviceCommand::Knocks => {
                self.list(&Request::Knocks, lists::knocks as super::Draw<KnockView>)
            }
        }
    }

    fn device_add(&mut self, args: &AddArgs) -> Done {
        let mut held = self.hold()?;
        let added = put_in(&mut held, args)?;
        drop(held);
        let made = match needs_password(&added.config, args) {
            true => Some(
                password::make(&self.global, &args.id, Way::AtOnce).map_err(|stop| {
                    Stop::new(
                        stop::FAILED,
                        words::device::added_without(args.id.as_str(), &stop.words()),
                    )
                })?,
            ),
            false => None,
        };
        let reloaded = self.have_reloaded();
        let news = words::device::added(args.id.as_str(), added.building.as_str(), &added.file);
        let without = match (&made, &added.config.external_broker) {
            (Some(_), _) => None,
            (None, Some(broker)) => Some(words::not_our_broker(&broker.url)),
            (None, None) => Some(words::device::no_password_needed(
                args.via.as_ref().map(Ident::as_str),
            )),
        };
        for news in [Some(news), without, Some(reloaded.words())]
            .into_iter()
            .flatten()
        {
            self.say(&news);
        }
        if self.global.json {
            let item = serde_json::json!({
                "device": args.id.as_str(),
                "building": added.building.as_str(),
                "config": added.file,
                "password": made.map(|made| made.password),
                "taken": reloaded.taken(),
            });
            return Ok(writeln!(self.out, "{item}")?);
        }
        match made {
            Some(made) => self.password(args.id.as_str(), &made),
            None => Ok(()),
        }
    }

    fn device_remove(&mut self, id: &Ident, yes: bool) -> Done {
        let file = locate::config_file(&self.global);
        let mut held = self.hold()?;
        let text = take_out(held.text(), id, &file)?;
        let config = checked(held.text(), &file)?;
        if !yes {
            match ask::agrees(&words::device::ask_remove(id.as_str()))? {
                Some(true) => {}
                Some(false) => return Err(Stop::new(stop::FAILED, words::device::NOT_REMOVED)),
                None => return Err(Stop::new(stop::USAGE, words::device::SAY_YES)),
            }
        }
        held.replace(&text)?;
        let file = held.file().to_path_buf();
        drop(held);
        let forgotten = remove_password_of(&config, id);
        let reloaded = self.have_reloaded();
        self.say(&words::device::removed(id.as_str(), &file));
        if let Err(why) = forgotten {
            self.say(&words::device::password_stays(id.as_str(), &why));
        }
        self.say(&reloaded.words());
        if self.global.json {
            let item = serde_json::json!({
                "device": id.as_str(),
                "config": file,
                "taken": reloaded.taken(),
            });
            writeln!(self.out, "{item}")?;
        }
        Ok(())
    }

    /// Holds the configuration's file for a change.
    fn hold(&self) -> Result<Held, Stop> {
        let file = locate::config_file(&self.global);
        let held = Held::take(&file)?;
        // One that is wrong already is for a person to put right.
        checked(held.text(), &file)
            .map_err(|stop| Stop::new(stop::FAILED, words::device::wrong_already(&stop.words())))?;
        Ok(held)
    }

    /// Has the daemon take the configuration over, if it runs.
    fn have_reloaded(&self) -> Reloaded {
        let claims = std::env::var("SUDO_USER").ok();
        let socket = match locate::socket(&self.global) {
            Ok(socket) => socket,
            Err(stop) => return Reloaded::Not(stop.words()),
        };
        let asked = Client::connect(&socket)
            .and_then(|mut client| client.one::<ReloadView>(&Request::Reload { claims }));
        match asked {
            Ok(view) => Reloaded::Taken(view),
            Err(ClientError::NotRunning(_)) => Reloaded::NotRunning,
            Err(e) => Reloaded::Not(self.stop(&e).words()),
        }
    }

    /// Tells something beside the output.
    fn say(&self, news: &str) {
        if !news.is_empty() {
            // Nobody may be reading.
            let _ = writeln!(io::stderr(), "{}", told(news));
        }
    }
}

/// Whether the daemon goes by the changed file.
enum Reloaded {
    Taken(ReloadView),
    NotRunning,
    Not(String),
}

impl Reloaded {
    fn words(&self) -> String {
        match self {
            Self::Taken(view) => words::device::taken(&view.after_restart),
            Self::NotRunning => words::device::TAKEN_LATER.to_string(),
            Self::Not(why) => words::device::not_taken(why),
        }
    }

    /// For programs: whether it holds now; null if nothing runs.
    const fn taken(&self) -> Option<bool> {
        match self {
            Self::Taken(_) => Some(true),
            Self::NotRunning => None,
            Self::Not(_) => Some(false),
        }
    }
}

/// What was put in.
struct Added {
    file: std::path::PathBuf,
    building: Ident,
    config: Config,
}

/// Puts a device into the configuration's file, if the whole is right with it.
fn put_in(held: &mut Held, args: &AddArgs) -> Result<Added, Stop> {
    let file = held.file().to_path_buf();
    let wrong = |e: EditError| Stop::new(stop::FAILED, words::device::cannot_edit(&file, &e));
    if let Some(found) = edit::find(held.text(), &args.id).map_err(wrong)? {
        let message = words::device::exists(args.id.as_str(), found.kind, &file, found.line);
        return Err(Stop::new(stop::FAILED, message));
    }
    let building = building(&checked(held.text(), &file)?, args)?;
    let device = NewDevice {
        id: &args.id,
        building: &building,
        point: args.point.as_ref(),
        profile: args.profile.as_deref(),
        named: args.named.as_deref(),
        via: args.via.as_ref(),
    };
    let text = edit::add(held.text(), &device).map_err(wrong)?;
    let config = checked(&text, &file)
        .map_err(|stop| Stop::new(stop::FAILED, words::device::would_be_wrong(&stop.words())))?;
    held.replace(&text)?;
    Ok(Added {
        file,
        building,
        config,
    })
}

/// The text without a device, if the whole is right without it.
fn take_out(text: &str, id: &Ident, file: &std::path::Path) -> Result<String, Stop> {
    let wrong = |e: EditError| Stop::new(stop::FAILED, words::device::cannot_edit(file, &e));
    match edit::find(text, id).map_err(wrong)? {
        Some(found) if found.kind == "device" => {}
        Some(found) => {
            let message = words::device::not_a_device(id.as_str(), found.kind, file, found.line);
            return Err(Stop::new(stop::FAILED, message));
        }
        None => {
            let message = words::no_such_device(id.as_str(), file);
            return Err(Stop::new(stop::NOT_FOUND, message));
        }
    }
    let without = edit::remove(text, id).map_err(wrong)?;
    let without = without.unwrap_or_else(|| text.to_string());
    checked(&without, file).map_err(|stop| {
        Stop::new(
            stop::FAILED,
            words::device::referred_to(id.as_str(), &stop.words()),
        )
    })?;
    Ok(without)
}

/// The building that was named, or the only one.
fn building(config: &Config, args: &AddArgs) -> Result<Ident, Stop> {
    if let Some(building) = &args.building {
        return Ok(building.clone());
    }
    let all: Vec<&str> = config.buildings.iter().map(|b| b.id.as_str()).collect();
    match config.buildings.as_slice() {
        [only] => Ok(only.id.clone()),
        _ => Err(Stop::new(stop::USAGE, words::device::which_building(&all))),
    }
}

/// Whether a device logs in at our broker itself.
const fn needs_password(config: &Config, args: &AddArgs) -> bool {
    args.via.is_none() && config.external_broker.is_none()
}

/// A configuration's text, checked whole.
fn checked(text: &str, file: &std::path::Path) -> Result<Config, Stop> {
    Config::parse(text).map_err(|errors| {
        let errors = errors.join("\n");
        Stop::new(stop::FAILED, words::device::cannot_be_used(file, &errors))
    })
}

/// Removes the password's hash; an error is why it stays.
fn remove_password_of(config: &Config, id: &Ident) -> Result<(), String> {
    let file = config.passwords();
    if !file.exists() {
        return Ok(());
    }
    remove_password(&file, id)
        .map_err(anyhow::Error::new)
        .and_then(|()| Ok(password::give_to_owner(&config.state_dir, &file)?))
        .map_err(|e| format!("{e:#}"))
}

impl Session {
    /// What was made, for people and programs.
    pub(super) fn password(&mut self, id: &str, made: &Made) -> Done {
        if self.global.json {
            let item = serde_json::json!({
                "device": id,
                "password": made.password,
                "old_good_until_ms": made.old_good_until_ms(),
            });
            return Ok(writeln!(self.out, "{item}")?);
        }
        writeln!(self.out, "{}", made.password)?;
        self.out.flush()?;
        let old = made.old_words(&self.look);
        let how = match made.mapped {
            true => super::words::profile::password_made(id, made.broker, &made.file, &old),
            false => words::password_made(id, made.broker, &made.file, &old),
        };
        self.say(&how);
        Ok(())
    }
}
