//! A port's task: opens it, lets its driver speak, and opens it again when it failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

use super::line::{Line, LineError};
use super::plan::PortPlan;
use super::status::{PortFault, PortStatus};
use super::{Bus, Driver, Outgoing};
use crate::config::serial::{Parity, PortSection};
use crate::links::{DeviceIntake, OUTBOUND_MAX, ToDevice};
use crate::pace::Pace;

/// How long after a failure a port is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// A port that runs.
pub struct Running {
    /// How it is.
    pub status: Arc<PortStatus>,
    /// The way to its devices.
    pub outbound: mpsc::Sender<Outgoing>,
    /// Its task.
    pub task: tokio::task::JoinHandle<()>,
}

/// Starts a port's task.
///
/// # Errors
/// With the remedy, when a file that its driver needs can't be read. A port that isn't there is no
/// error: it is waited for.
pub fn start(
    plan: &PortPlan,
    intake: &Arc<dyn DeviceIntake>,
    pace: &Arc<Pace>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<Running> {
    let driver = super::driver(plan, intake)?;
    let status = Arc::new(PortStatus::new(plan.port.clone()));
    let (send, outbound) = mpsc::channel(OUTBOUND_MAX);
    let bus = Bus {
        port: plan.port.clone(),
        status: Arc::clone(&status),
        intake: Arc::clone(intake),
        pace: Arc::clone(pace),
        outbound,
        stopped,
    };
    Ok(Running {
        status,
        outbound: send,
        task: tokio::spawn(keep_open(driver, bus)),
    })
}

impl Running {
    /// Hands a message over; when too many wait it is dropped: a receipt comes again, a command runs
    /// out.
    pub fn send(&self, message: ToDevice) {
        let outgoing = Outgoing {
            message,
            came: Instant::now(),
        };
        if let Err(e) = self.outbound.try_send(outgoing) {
            tracing::warn!(error = %e, "a serial port is full: message dropped");
        }
    }
}

async fn keep_open(mut driver: Box<dyn Driver>, mut bus: Bus) {
    while !*bus.stopped.borrow() {
        match open(&bus.port) {
            Ok((port, device)) => {
                bus.status.up(device);
                let line = Line::over(port, Arc::clone(&bus.status));
                let ended = driver.run(line, &mut bus).await;
                driver.lost(&bus);
                match ended {
                    LineError::Stopped => return,
                    LineError::Failed(e) => {
                        tracing::warn!(port = %bus.port.id, error = %e, "a serial port failed");
                        bus.status.down(PortFault::Unplugged);
                    }
                }
            }
            Err(fault) => bus.status.down(fault),
        }
        let again = tokio::time::sleep(AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                _ = bus.stopped.wait_for(|stop| *stop) => return,
                Some(outgoing) = bus.outbound.recv() => driver.away(outgoing, "the port is away"),
            }
        }
    }
}

/// Opens a port for this process alone. Returns it with the device file that its path leads to.
///
/// # Errors
/// What is wrong with it.
pub fn open(port: &PortSection) -> Result<(SerialStream, PathBuf), PortFault> {
    let path = port.path.to_string_lossy();
    let parity = match port.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop_bits = match port.stop_bits {
        2 => tokio_serial::StopBits::Two,
        _ => tokio_serial::StopBits::One,
    };
    let opened = tokio_serial::new(path, port.baud())
        .parity(parity)
        .stop_bits(stop_bits)
        .open_native_async()
        .map_err(|e| fault(&port.path, &io::Error::from(e)))?;
    let device = std::fs::canonicalize(&port.path).unwrap_or_else(|_| port.path.clone());
    Ok((opened, device))
}

fn fault(path: &Path, error: &io::Error) -> PortFault {
    match error.kind() {
        io::ErrorKind::NotFound => PortFault::Missing,
        io::ErrorKind::PermissionDenied => PortFault::Denied,
        _ => PortFault::Other {
            error: format!("{}: {error}", path.display()),
        },
    }
}
