//! The estate's certificate authority.

use super::args::CaCommand;
use super::stop::{self, Stop};
use super::{Done, Session};

impl Session {
    /// `linli ca …`.
    pub(super) fn ca(&mut self, command: CaCommand) -> Done {
        let _ = command;
        Err(Stop::new(stop::FAILED, "not built yet"))
    }
}
