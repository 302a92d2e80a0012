//! The first set-up.

use super::args::InitArgs;
use super::stop::{self, Stop};
use super::{Done, Session};

impl Session {
    /// `linli init …`.
    pub(super) fn init(&mut self, command: InitArgs) -> Done {
        let _ = command;
        Err(Stop::new(stop::FAILED, "not built yet"))
    }
}
