//! The driver for our own link.

use async_trait::async_trait;

use super::line::{Line, LineError};
use super::plan::PortPlan;
use super::{Bus, Driver, Outgoing};

/// The driver.
pub struct Linli {}

impl Linli {
    /// The driver of a port.
    ///
    /// # Errors
    /// With the remedy, when a file that it needs can't be read.
    pub fn new(plan: &PortPlan) -> anyhow::Result<Self> {
        let _ = plan;
        Ok(Self {})
    }
}

#[async_trait]
impl Driver for Linli {
    async fn run(&mut self, line: Line, bus: &mut Bus) -> LineError {
        drop(line);
        let _ = bus.stopped.wait_for(|stop| *stop).await;
        LineError::Stopped
    }

    fn away(&mut self, outgoing: Outgoing, why: &str) {
        let _ = (outgoing, why);
    }

    fn lost(&mut self, bus: &Bus) {
        let _ = bus;
    }
}
