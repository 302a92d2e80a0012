//! `linli bank walk-test`: each compartment opened in turn before the technician's eyes.
//!
//! * `walk` — asks, opens, listens: one compartment.
//! * `happening` — what can come in meanwhile: events, keys, signals.
//! * `judge` — what an opening showed.
//! * `advice` — what is to be changed.
//! * `record` — the acceptance record.

pub mod advice;
mod happening;
pub mod judge;
pub mod record;
mod walk;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use self::advice::advice;
use self::happening::Happenings;
use self::judge::Verdict;
use self::record::{Came, Entry, Record};
use self::walk::{Broken, Walk};
use super::args::{BankCommand, WalkTestArgs};
use super::look::told;
use super::stop::{self, Stop};
use super::words::bank as say;
use super::{Done, Session, locate};
use crate::config::serial::BoardSection;
use crate::control::views::{BankView, DeviceView, Status};
use crate::control::wire::Request;
use crate::store::read::EventRow;

/// The bank, as it is before the test.
struct Before {
    bank: BankView,
    status: Status,
    device: Option<DeviceView>,
    /// The newest event then.
    newest: i64,
}

impl Session {
    /// `linli bank …`.
    pub(super) fn bank(&mut self, command: BankCommand) -> Done {
        match command {
            BankCommand::WalkTest(args) => self.walk_test(&args),
        }
    }

    fn walk_test(&mut self, args: &WalkTestArgs) -> Done {
        let before = self.before(args.bank.as_str())?;
        let mut record = begun(&before, args, self.look.now_ms)?;
        // Saved before anything opens: a folder that can't be written is known now.
        self.save(&record, args)?;
        let numbers = |came: Came| -> Vec<u16> {
            let entries = record
                .compartments
                .iter()
                .filter(|entry| entry.came == came);
            entries.map(|entry| entry.compartment).collect()
        };
        let (to_try, passed_over) = (numbers(Came::NOT_REACHED), numbers(Came::HOLDS));
        if to_try.is_empty() {
            return Err(Stop::new(stop::FAILED, say::NOTHING_TO_TRY));
        }
        tell(&say::begins(&record.bank, to_try.len(), &passed_over));
        let socket = locate::socket(&self.global)?;
        let happenings = Happenings::start(&socket, &record.bank, before.newest, !args.yes)
            .map_err(|e| self.stop(&e))?;
        let mut walk = Walk::new(&before.bank, happenings, args);
        let broken = self.walk(&mut walk, &mut record, args)?;
        self.show(&record, args)?;
        match broken {
            Some(Broken::Interrupted) => Err(Stop::Told(stop::INTERRUPTED)),
            _ if record.passed => Ok(()),
            _ => Err(Stop::Told(stop::FAILED)),
        }
    }

    fn before(&self, wanted: &str) -> Result<Before, Stop> {
        let mut client = self.connect()?;
        let newest = Request::Events {
            device: None,
            kind: None,
            after: None,
            limit: Some(1),
            follow: false,
        };
        // First of all: what comes after it is heard, so nothing falls between the questions.
        let newest = client.all::<EventRow>(&newest);
        let (newest, _) = newest.map_err(|e| self.stop(&e))?;
        let banks = client.all::<BankView>(&Request::Banks);
        let (banks, _) = banks.map_err(|e| self.stop(&e))?;
        let status = client.one(&Request::Status).map_err(|e| self.stop(&e))?;
        let devices = client.all::<DeviceView>(&Request::Devices);
        let (devices, _) = devices.map_err(|e| self.stop(&e))?;
        let known: Vec<String> = banks.iter().map(|bank| bank.bank.clone()).collect();
        let Some(bank) = banks.into_iter().find(|bank| bank.bank == wanted) else {
            return Err(Stop::new(
                stop::NOT_FOUND,
                say::no_such_bank(wanted, &known),
            ));
        };
        Ok(Before {
            bank,
            status,
            device: devices.into_iter().find(|device| device.device == wanted),
            newest: newest.last().map_or(0, |row| row.id),
        })
    }

    /// Tries each compartment of the record that is to be tried, and keeps it up to date on disk.
    fn walk(
        &self,
        walk: &mut Walk,
        record: &mut Record,
        args: &WalkTestArgs,
    ) -> Result<Option<Broken>, Stop> {
        let boards = self.boards(args);
        let to_try = |entry: &&mut Entry| entry.came == Came::NOT_REACHED;
        let of = record.compartments.iter_mut().filter(to_try).count();
        let mut nth = 0;
        for index in 0..record.compartments.len() {
            let Some(entry) = record.compartments.get_mut(index).filter(|e| to_try(e)) else {
                continue;
            };
            nth += 1;
            // Somebody may have brought something meanwhile.
            let tried = match self.holds(&record.bank, entry.compartment, args) {
                Ok(true) => {
                    entry.came = Came::HOLDS;
                    Ok(())
                }
                Ok(false) => walk.compartment(entry, nth, of),
                Err(why) => Err(why),
            };
            record.operator.clone_from(&walk.operator);
            record.change = advice(&verdicts(record), &boards);
            record.passed = record.compartments.iter().all(Entry::passed);
            record.ended_ms = jiff::Timestamp::now().as_millisecond();
            let broken = tried.err();
            record.broken_off = broken.as_ref().map(Broken::words);
            // So that even a power cut leaves what was found.
            self.save(record, args)?;
            if broken.is_some() {
                return Ok(broken);
            }
        }
        Ok(None)
    }

    /// Whether a compartment must not be opened, because of what is known to lie in it.
    fn holds(&self, bank: &str, compartment: u16, args: &WalkTestArgs) -> Result<bool, Broken> {
        if args.occupied {
            return Ok(false);
        }
        let lost = |stop: Stop| Broken::Daemon(stop.words());
        let mut client = self.connect().map_err(lost)?;
        let banks = client.all::<BankView>(&Request::Banks);
        let (banks, _) = banks.map_err(|e| lost(self.stop(&e)))?;
        let mut all = banks.iter().filter(|view| view.bank == bank);
        let its = all.next().map(|view| view.compartments.iter());
        let mut its = its.into_iter().flatten();
        Ok(its.any(|view| view.compartment == compartment && holds(view)))
    }

    /// The bank's boards, if a configuration can be read here.
    fn boards(&self, args: &WalkTestArgs) -> Vec<BoardSection> {
        let config = locate::config(&self.global).ok();
        let banks = config.map(|config| config.banks).unwrap_or_default();
        let mut its = banks.into_iter().filter(|bank| bank.id == args.bank);
        its.next().map(|bank| bank.boards).unwrap_or_default()
    }

    fn save(&self, record: &Record, args: &WalkTestArgs) -> Result<Vec<PathBuf>, Stop> {
        let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("."));
        let saved = record.save(&self.look, &folder);
        let files =
            saved.map_err(|(file, why)| Stop::new(stop::FAILED, say::cannot_save(&file, &why)))?;
        Ok(files.into())
    }

    fn show(&mut self, record: &Record, args: &WalkTestArgs) -> Done {
        if self.global.json {
            let item = serde_json::to_value(record).unwrap_or_default();
            writeln!(self.out, "{item}")?;
        } else {
            for line in record.markdown(&self.look).lines() {
                writeln!(self.out, "{line}")?;
            }
        }
        self.out.flush()?;
        tell(&say::saved(&self.save(record, args)?));
        Ok(())
    }
}

/// News, beside what was asked for.
fn tell(text: &str) {
    // Nobody may be reading: the record still tells.
    let _ = writeln!(io::stderr(), "{}", told(text));
}

fn holds(view: &crate::control::views::CompartmentView) -> bool {
    !view.parcels.is_empty() || view.reserved.is_some()
}

/// A record before the first opening.
fn begun(before: &Before, args: &WalkTestArgs, now_ms: i64) -> Result<Record, Stop> {
    let Before { bank, status, .. } = before;
    let device = before.device.as_ref();
    Ok(Record {
        site: status.report.site.clone(),
        bank: bank.bank.clone(),
        address: bank.address.clone(),
        controller: device.and_then(|device| device.model.clone()),
        firmware: device.and_then(|device| device.firmware.clone()),
        gateway_version: status.report.version.clone(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        operator: None,
        started_ms: now_ms,
        ended_ms: now_ms,
        clock: status.report.clock.quality.clone(),
        occupancy: args.occupancy,
        asked: !args.yes,
        broken_off: None,
        passed: false,
        change: Vec::new(),
        compartments: entries(bank, args)?,
    })
}

/// The compartments that are asked for.
fn entries(bank: &BankView, args: &WalkTestArgs) -> Result<Vec<Entry>, Stop> {
    let most = bank.compartments.len();
    let wanted = args
        .compartments
        .as_ref()
        .map(|numbers| numbers.0.as_slice());
    let beyond = |n: &&u16| usize::from(**n) > most;
    if let Some(number) = wanted.and_then(|wanted| wanted.iter().find(beyond)) {
        let message = say::no_such_compartment(&bank.bank, *number, most);
        return Err(Stop::new(stop::NOT_FOUND, message));
    }
    let views = bank.compartments.iter();
    let views = views.filter(|view| wanted.is_none_or(|all| all.contains(&view.compartment)));
    Ok(views
        .map(|view| Entry {
            compartment: view.compartment,
            size: view.size.clone(),
            zone: view.zone.clone(),
            came: match holds(view) && !args.occupied {
                true => Came::HOLDS,
                false => Came::NOT_REACHED,
            },
            occupancy: None,
            command: None,
            asked_ms: None,
            opened_after_ms: None,
            closed_after_ms: None,
            openings: 0,
        })
        .collect())
}

fn verdicts(record: &Record) -> BTreeMap<u16, Verdict> {
    let tried = record
        .compartments
        .iter()
        .filter_map(|entry| match &entry.came {
            Came::Tried(verdict) => Some((entry.compartment, verdict.clone())),
            Came::Not { .. } => None,
        });
    tried.collect()
}
