//! What must hold, each with its clause: a promise of the gateway or a need of the hand-over.

pub mod commands;
pub mod doors;
pub mod faults;
pub mod line;
pub mod sensors;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use firmware_protocols::{Ident, Slot};

use crate::bench::BankOnBench;
use crate::hands::Cannot;
use crate::report::Figure;
use crate::rig::Rig;

/// Why a case didn't pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// What must hold doesn't.
    Failed(String),
    /// It can't be tried here.
    NotRun(String),
}

impl From<Cannot> for Stop {
    fn from(cannot: Cannot) -> Self {
        Self::NotRun(cannot.0)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

/// What a case comes to: what was measured, or why it didn't pass.
pub type Ended = Result<Vec<Figure>, Stop>;

/// A case while it runs.
pub type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// Something that must hold.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Of which bank, device or port.
    pub on: String,
    /// What must hold, in a sentence.
    pub clause: &'static str,
    /// Tries it.
    pub run: Box<dyn FnOnce(Arc<Rig>) -> Running + Send>,
}

/// The cases of what hangs on one port, in their order; those of different ports can be run at once.
pub fn of_port(rig: &Rig, port: &Ident) -> Vec<Case> {
    let banks = rig.bench.banks();
    let banks: Vec<BankOnBench> = banks.into_iter().filter(|b| b.port.id == *port).collect();
    let mut cases = Vec::new();
    for bank in &banks {
        cases.extend(doors::cases(bank));
        cases.extend(commands::cases(bank));
        cases.extend(line::delay_cases(bank));
    }
    cases.extend(sensors::cases(rig, port));
    cases.extend(line::quality_cases(port));
    for bank in &banks {
        cases.extend(faults::cases(bank));
    }
    for bank in &banks {
        cases.push(commands::untouched(bank));
    }
    cases
}

/// A case of a bank.
fn of_bank<F, R>(name: &'static str, clause: &'static str, bank: &BankOnBench, run: F) -> Case
where
    F: FnOnce(Arc<Rig>, BankOnBench) -> R + Send + 'static,
    R: Future<Output = Ended> + Send + 'static,
{
    let of = bank.clone();
    Case {
        name,
        on: bank.id.to_string(),
        clause,
        run: Box::new(move |rig| Box::pin(run(rig, of))),
    }
}

/// It must hold.
fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), Stop> {
    match holds {
        true => Ok(()),
        false => Err(Stop::Failed(why())),
    }
}

/// The compartments that may be opened. Without one there is nothing to try.
fn may_open(bank: &BankOnBench) -> Result<Vec<Slot>, Stop> {
    let slots: Vec<Slot> = bank
        .may_open
        .iter()
        .map(|number| slot(bank, *number))
        .collect();
    match slots.is_empty() {
        true => Err(Stop::NotRun(format!(
            "no compartment of {} stands in may_open",
            bank.id
        ))),
        false => Ok(slots),
    }
}

/// The first of them, with hands to close it.
fn one_to_open(rig: &Rig, bank: &BankOnBench) -> Result<Slot, Stop> {
    rig.hands.can_close()?;
    let mut slots = may_open(bank)?;
    Ok(slots.remove(0))
}

fn slot(bank: &BankOnBench, compartment: u16) -> Slot {
    Slot {
        bank: bank.id.clone(),
        compartment,
    }
}

/// How many pulses a lock really got; `None` on hardware, where nobody counts them.
fn pulses(rig: &Rig, slot: &Slot) -> Option<usize> {
    let bank = rig.simulation()?.banks.get(&slot.bank)?;
    Some(bank.pulses_of(slot.compartment))
}
