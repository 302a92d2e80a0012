//! Devices: added, let in, taken out.

use super::args::DeviceCommand;
use super::password;
use super::stop::{self, Stop};
use super::{Done, Session};

impl Session {
    /// `linli device …`.
    pub(super) fn device(&mut self, command: DeviceCommand) -> Done {
        match command {
            DeviceCommand::Password { id } => {
                let made = password::make(&self.global, &id)?;
                self.password(id.as_str(), &made)
            }
            _ => Err(Stop::new(stop::FAILED, "not built yet")),
        }
    }
}
