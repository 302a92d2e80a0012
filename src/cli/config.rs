//! The configuration: checked, shown, taken over.

use super::args::ConfigCommand;
use super::stop::{self, Stop};
use super::{Done, Session};

impl Session {
    /// `linli config …`.
    pub(super) fn config_command(&mut self, command: ConfigCommand) -> Done {
        if let ConfigCommand::Reload = command {
            return self.reload();
        }
        Err(Stop::new(stop::FAILED, "not built yet"))
    }
}
