//! The technician's commands: clients of [`crate::control`], which know its wire types and nothing
//! else of the daemon. `run`, `demo` and `conform` are the exceptions, and only call what they start.
//!
//! Standard output carries what was asked for; all else goes to standard error. Each outcome has an
//! exit code ([`stop`]). A reader that closes early ends the command quietly.

pub mod args;
mod ask;
pub mod audit;
mod bank;
mod ca;
mod config;
mod conform;
mod desk;
mod device;
mod elsewhere;
mod history;
mod init;
mod lists;
mod locate;
mod logging;
mod look;
mod password;
mod picture;
mod profile;
mod reload;
mod serial;
#[cfg(feature = "osdp")]
mod serial_commission;
mod status;
pub mod stop;
mod sync;
mod table;
mod words;

use std::ffi::OsString;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;
use firmware_protocols::Ident;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::control::client::{Client, ClientError};
use crate::control::health::Health;
use crate::control::knocks::KnockView;
use crate::control::views::{BankView, DeviceView, Opening, Status};
use crate::control::wire::{Act, Request};
use crate::store::read::{EventRow, LedgerRow, ParcelHistory, ParcelRow, QuarantineRow};
use args::{Args, Command, Global};
use audit::ParcelArgs;
use look::Look;
use stop::Stop;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => return wrong_use(&e),
    };
    let done = catch_unwind(AssertUnwindSafe(|| {
        Session::new(args.global).run(args.command)
    }));
    let stop = match done {
        Ok(Ok(())) | Ok(Err(Stop::Unread)) => return ExitCode::SUCCESS,
        Ok(Err(stop)) => stop,
        Err(_) => Stop::new(stop::INTERNAL, words::FAULT),
    };
    match stop {
        Stop::Failed { code, message } => {
            // Nobody may be reading: the code still tells.
            let _ = writeln!(io::stderr(), "{} {}", words::ERROR, look::told(&message));
            ExitCode::from(code)
        }
        Stop::Told(code) => ExitCode::from(code),
        Stop::Unread => ExitCode::SUCCESS,
    }
}

/// Says how it was asked for in the wrong way, or gives the help that was asked for. What clap
/// repeats of the arguments could steer the terminal, so they are looked at first.
fn wrong_use(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    let shown = look::told(&text);
    let plain = |arg: OsString| look::safe(&arg.to_string_lossy()) == arg.to_string_lossy();
    let sound = shown == text.trim_end_matches('\n') && std::env::args_os().all(plain);
    if sound || !error.use_stderr() {
        error.exit();
    }
    // Nobody may be reading: the code still tells.
    let _ = writeln!(io::stderr(), "{shown}");
    ExitCode::from(stop::USAGE)
}

/// One command, with what it prints on.
struct Session {
    global: Global,
    look: Look,
    out: BufWriter<StdoutLock<'static>>,
}

type Done = Result<(), Stop>;

impl Session {
    fn new(global: Global) -> Self {
        Self {
            look: Look::of_stdout(global.no_color),
            out: BufWriter::new(io::stdout().lock()),
            global,
        }
    }

    fn run(mut self, command: Command) -> Done {
        match command {
            Command::Run => return self.daemon(),
            #[cfg(feature = "demo")]
            Command::Demo(args) => return self.demo(&args),
            Command::Status { check } => self.status(check)?,
            Command::Devices => {
                self.list(&Request::Devices, lists::devices as Draw<DeviceView>)?;
                self.who_knocked()?;
            }
            Command::Banks => self.list(&Request::Banks, picture::banks as Draw<BankView>)?,
            Command::Bank(command) => self.bank(command)?,
            Command::Serial(command) => self.serial(command)?,
            Command::Parcels { state, limit } => {
                let request = Request::Parcels {
                    state,
                    limit: Some(limit),
                };
                self.list(&request, lists::parcels as Draw<ParcelRow>)?;
            }
            Command::Parcel { id, history } if history.verify => self.parcel_verify(id)?,
            Command::Parcel {
                id,
                history:
                    ParcelArgs {
                        export: Some(file),
                        overwrite,
                        ..
                    },
            } => self.parcel_export(id, &file, overwrite)?,
            Command::Parcel { id, .. } => {
                let request = Request::Parcel { parcel: id };
                self.one(&request, |look, history: &ParcelHistory| {
                    history::parcel(look, history)
                })?;
            }
            Command::Events {
                follow,
                device,
                kind,
                limit,
            } => {
                let request = Request::Events {
                    device: device.map(|id| id.to_string()),
                    kind,
                    after: None,
                    limit: Some(limit),
                    follow,
                };
                self.events(&request, follow)?;
            }
            Command::Quarantine { limit } => {
                let request = Request::Quarantine { limit: Some(limit) };
                self.list(&request, lists::quarantine as Draw<QuarantineRow>)?;
            }
            Command::Commands { compartment, limit } => {
                let request = Request::Commands {
                    slot: compartment.map(|slot| slot.to_string()),
                    limit: Some(limit),
                };
                self.list(&request, desk::commands as Draw<LedgerRow>)?;
            }
            Command::Desk(command) => self.desk(command)?,
            Command::Reissue { parcel } => self.act(Act::Reissue { parcel })?,
            Command::Extend {
                parcel,
                until,
                hours,
            } => self.act(Act::Extend {
                parcel,
                until_ms: until.map(|until| until.ms),
                hours,
            })?,
            Command::Compartment(command) => self.compartment(command)?,
            Command::Open { slot, reason } => self.open(slot.to_string(), reason)?,
            Command::Audit(command) => self.audit(command)?,
            Command::Sync { command } => self.sync(command)?,
            Command::Conform(command) => self.conform(command)?,
            Command::Init(args) => self.init(*args)?,
            Command::Config(command) => self.config_command(command)?,
            Command::Device(command) => self.device(command)?,
            Command::Ca(command) => self.ca(command)?,
            Command::Profile(command) => self.profile(command)?,
            Command::MapWorker => return self.map_worker(),
            Command::Version => writeln!(self.out, "linli {}", env!("CARGO_PKG_VERSION"))?,
        }
        Ok(self.out.flush()?)
    }

    fn daemon(self) -> Done {
        logging::start()?;
        let config = locate::config_file(&self.global);
        // Standard output isn't ours to hold while others run.
        drop(self);
        elsewhere::run(&config).map_err(|e| Stop::new(stop::FAILED, format!("{e:#}")))
    }

    #[cfg(feature = "demo")]
    fn demo(self, args: &args::DemoArgs) -> Done {
        let global = self.global.clone();
        drop(self);
        match elsewhere::demo(&global, args) {
            Ok(0) => Ok(()),
            Ok(code) => Err(Stop::Told(code)),
            Err(e) => Err(Stop::new(stop::FAILED, format!("{e:#}"))),
        }
    }

    fn status(&mut self, check: bool) -> Done {
        let shown = self.one(&Request::Status, |look, status: &Status| {
            status::status(look, status)
        })?;
        let well = shown["health"] == serde_json::to_value(Health::Well).unwrap_or_default();
        if check && !well {
            self.out.flush()?;
            return Err(Stop::Told(stop::FAILED));
        }
        Ok(())
    }

    /// Shows an answer of many items: an array, or what `draw` makes of them.
    fn list<T: DeserializeOwned>(&mut self, request: &Request, draw: Draw<T>) -> Done {
        let mut client = self.connect()?;
        let (items, cut) = client.all::<Json>(request).map_err(|e| self.stop(&e))?;
        if self.global.json {
            return self.array(&items);
        }
        let shown = items.len();
        let rows = items.into_iter().map(serde_json::from_value);
        let rows: Vec<T> = rows
            .collect::<Result<_, _>>()
            .map_err(|e| self.stop(&ClientError::Unreadable(e)))?;
        let text = draw(&self.look, &rows);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        if cut {
            writeln!(io::stderr(), "{}", words::cut(shown))?;
        }
        Ok(())
    }

    /// Shows an answer of one item, and returns it.
    fn one<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        draw: impl Fn(&Look, &T) -> String,
    ) -> Result<Json, Stop> {
        let mut client = self.connect()?;
        let item: Json = client.one(request).map_err(|e| self.stop(&e))?;
        if self.global.json {
            writeln!(self.out, "{item}")?;
            return Ok(item);
        }
        let row = T::deserialize(&item).map_err(|e| self.stop(&ClientError::Unreadable(e)))?;
        self.out.write_all(draw(&self.look, &row).as_bytes())?;
        Ok(item)
    }

    fn events(&mut self, request: &Request, follow: bool) -> Done {
        let mut client = self.connect()?;
        if self.global.json && !follow {
            let (items, _) = client.all::<Json>(request).map_err(|e| self.stop(&e))?;
            return self.array(&items);
        }
        if follow {
            client.patient().map_err(|e| self.stop(&e))?;
        }
        let mut printed = Ok(());
        let mut shown = 0_usize;
        let asked = client.ask(request, |item: Json| {
            shown += 1;
            printed = self.event(&item, follow);
            printed.is_ok()
        });
        printed?;
        asked.map_err(|e| self.stop(&e))?;
        if shown == 0 && !follow {
            writeln!(self.out, "{}", words::NONE)?;
        }
        Ok(())
    }

    fn event(&mut self, item: &Json, follow: bool) -> Done {
        if self.global.json {
            writeln!(self.out, "{item}")?;
        } else {
            use serde::Deserialize as _;
            let row =
                EventRow::deserialize(item).map_err(|e| self.stop(&ClientError::Unreadable(e)))?;
            if follow {
                self.look.now_ms = self.look.now_ms.max(row.received_ms);
            }
            let line = lists::event(&self.look, &row);
            self.out.write_all(line.as_bytes())?;
        }
        if follow {
            self.out.flush()?;
        }
        Ok(())
    }

    /// Opens, says that it was asked for at once, and then what became of it.
    fn open(&mut self, slot: String, reason: String) -> Done {
        let claims = std::env::var("SUDO_USER").ok();
        let request = Request::Open {
            slot,
            reason,
            claims,
        };
        let mut client = self.connect()?;
        let mut last: Option<Opening> = None;
        let quiet = self.global.json;
        let asked = client.ask(&request, |opening: Opening| {
            if last.is_none() && !quiet {
                // Only news: what became of it is what counts.
                let news = words::desk::opening(&opening);
                let _ = writeln!(io::stderr(), "{}", look::told(&news));
            }
            last = Some(opening);
            true
        });
        asked.map_err(|e| self.stop(&e))?;
        let eof = || ClientError::BrokenOff(io::ErrorKind::UnexpectedEof.into());
        let opening = last.ok_or_else(|| self.stop(&eof()))?;
        if self.global.json {
            let item = serde_json::to_value(&opening).unwrap_or_default();
            writeln!(self.out, "{item}")?;
        }
        let text = words::desk::opened(&opening);
        match (opening.succeeded(), self.global.json) {
            (true, false) => writeln!(self.out, "{}", look::safe(&text))?,
            (true, true) => {}
            (false, _) => {
                self.out.flush()?;
                return Err(Stop::new(stop::FAILED, look::safe(&text)));
            }
        }
        Ok(())
    }

    #[cfg(feature = "osdp")]
    fn commission(&mut self, device: &Ident) -> Done {
        let done = serial_commission::run(&self.global, device)?;
        if self.global.json {
            let item = serde_json::json!({
                "device": device.as_str(),
                "done": done.word(),
                "key_file": done.key_file,
            });
            writeln!(self.out, "{item}")?;
        } else {
            writeln!(self.out, "{}", look::safe(&done.told))?;
        }
        Ok(())
    }

    #[cfg(not(feature = "osdp"))]
    fn commission(&mut self, _: &Ident) -> Done {
        Err(Stop::new(stop::FAILED, words::NO_OSDP))
    }

    /// An array with one item a line: whole for programs, and for people with grep.
    fn array(&mut self, items: &[Json]) -> Done {
        if items.is_empty() {
            return Ok(writeln!(self.out, "[]")?);
        }
        for (index, item) in items.iter().enumerate() {
            let before = if index == 0 { "[" } else { "," };
            write!(self.out, "{before}\n{item}")?;
        }
        Ok(writeln!(self.out, "\n]")?)
    }

    fn connect(&self) -> Result<Client, Stop> {
        let socket = locate::socket(&self.global)?;
        Client::connect(&socket).map_err(|e| self.stop(&e))
    }

    /// Below the devices: that there are others, who weren't let in. An older daemon doesn't know.
    fn who_knocked(&mut self) -> Done {
        if self.global.json {
            return Ok(());
        }
        let asked = self.connect()?.all::<KnockView>(&Request::Knocks);
        let knocks = asked.map_or_else(|_| Vec::new(), |(knocks, _)| knocks);
        let line = lists::unknown_knocked(&knocks);
        Ok(self.out.write_all(line.as_bytes())?)
    }

    fn stop(&self, error: &ClientError) -> Stop {
        Stop::of_client(error, &locate::config_file(&self.global))
    }
}

/// How a list is shown to people.
type Draw<T> = fn(&Look, &[T]) -> String;
