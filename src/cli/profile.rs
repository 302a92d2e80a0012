//! Profiles: listed, shown, tried.

use super::args::ProfileCommand;
use super::stop::{self, Stop};
use super::{Done, Session};

impl Session {
    /// `linli profile …`.
    pub(super) fn profile(&mut self, command: ProfileCommand) -> Done {
        let _ = command;
        Err(Stop::new(stop::FAILED, "not built yet"))
    }
}
