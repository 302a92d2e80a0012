//! Who closes doors, pulls plugs and scans labels: the simulator does, a person may be asked, or
//! there is nobody.

use std::io::{BufRead as _, Write as _};

use firmware_protocols::{Ident, Slot};

use crate::bench::Doors;
use crate::simulated::Simulated;

/// Who has hands at the bench.
pub enum Hands {
    /// The simulator.
    Simulated(Simulated),
    /// A person who is asked on the terminal.
    Person(Doors),
    /// Nobody.
    Nobody(Doors),
}

/// Nobody can do it: why a case can't be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cannot(pub String);

impl Hands {
    /// Hands at real hardware.
    pub fn on_hardware(interactive: bool, doors: Doors) -> Self {
        match interactive {
            true => Self::Person(doors),
            false => Self::Nobody(doors),
        }
    }

    /// Whether doors can be closed again.
    ///
    /// # Errors
    /// With why they can't.
    pub fn can_close(&self) -> Result<(), Cannot> {
        match self {
            Self::Nobody(Doors::Person) => Err(Cannot(
                "somebody must close doors: run it with --interactive, or set doors = \"themselves\""
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Closes a door.
    ///
    /// # Errors
    /// When nobody can.
    pub async fn close(&self, slot: &Slot) -> Result<(), Cannot> {
        match self {
            Self::Simulated(simulated) => {
                if let Some(bank) = simulated.banks.get(&slot.bank) {
                    bank.compartments.close(slot.compartment);
                }
                Ok(())
            }
            Self::Person(Doors::Themselves) | Self::Nobody(Doors::Themselves) => Ok(()),
            Self::Person(Doors::Person) => asked(format!("close the door of {slot}")).await,
            Self::Nobody(Doors::Person) => self.can_close(),
        }
    }

    /// Pulls a port's adapter out.
    ///
    /// # Errors
    /// When nobody can.
    pub async fn unplug(&self, port: &Ident) -> Result<(), Cannot> {
        match self {
            Self::Simulated(simulated) => {
                if let Some(wire) = simulated.wires.get(port.as_str()) {
                    wire.unplug();
                }
                Ok(())
            }
            Self::Person(_) => asked(format!("pull out the adapter of port {port}")).await,
            Self::Nobody(_) => Err(nobody("to pull the adapter out")),
        }
    }

    /// Puts it in again.
    ///
    /// # Errors
    /// When nobody can.
    pub async fn plug_in(&self, port: &Ident) -> Result<(), Cannot> {
        match self {
            Self::Simulated(simulated) => match simulated.wires.get(port.as_str()) {
                Some(wire) => wire.plug_in().map_err(|e| Cannot(e.to_string())),
                None => Ok(()),
            },
            Self::Person(_) => asked(format!(
                "put the adapter of port {port} in again, into another socket if its path is by-id"
            ))
            .await,
            Self::Nobody(_) => Err(nobody("to put the adapter in again")),
        }
    }

    /// Has a scanner or keypad type a line; the person may type another. Returns what was typed, if
    /// that is known.
    ///
    /// # Errors
    /// When nobody can.
    pub async fn type_line(&self, device: &Ident, line: &str) -> Result<Option<String>, Cannot> {
        match self {
            Self::Simulated(simulated) => {
                if let Some(typist) = simulated.lines.get(device) {
                    typist.type_line(line);
                }
                Ok(Some(line.to_owned()))
            }
            Self::Person(_) => {
                let what = format!("scan or type one line at {device}, for example {line}");
                asked(what).await.map(|()| None)
            }
            Self::Nobody(_) => Err(nobody("to scan or type")),
        }
    }
}

fn nobody(what: &str) -> Cannot {
    Cannot(format!(
        "somebody is needed {what}: run it with --interactive"
    ))
}

/// Asks a person, and waits until it is done.
async fn asked(what: String) -> Result<(), Cannot> {
    let ask = move || -> std::io::Result<usize> {
        let mut out = std::io::stderr().lock();
        writeln!(out, ">>> Please {what}, then press Enter.")?;
        out.flush()?;
        drop(out);
        std::io::stdin().lock().read_line(&mut String::new())
    };
    match tokio::task::spawn_blocking(ask).await {
        Ok(Ok(1..)) => Ok(()),
        _ => Err(Cannot(
            "nobody answers on the terminal: run it from one".to_owned(),
        )),
    }
}
