//! A port's task: opens it, lets its driver speak, and opens it again when it failed.
//!
//! Whatever goes wrong on a port stays on it: a driver that panics is shown as the port's fault and
//! begins again on a fresh line. Its state stays, as what it knows must not be forgotten: which
//! commands were carried out, which events aren't on disk.

use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use firmware_protocols::Ident;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_serial::SerialStream;

use super::line::{Line, LineError};
pub use super::opening::open;
use super::opening::others;
use super::plan::PortPlan;
use super::status::{PortFault, PortStatus};
use super::{Bus, Driver, Outgoing};
use crate::intake::Answer;
use crate::links::{DeviceIntake, OUTBOUND_MAX, ToDevice};
use crate::pace::Pace;

/// How long after a failure a port is tried again, first and at the most.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_LONGEST: Duration = Duration::from_secs(4);

/// A port that was open for so long is tried again at once when it fails.
const STEADY: Duration = Duration::from_secs(10);

/// How often an open port is looked after: is its device file still there, and every so many times,
/// has another process opened it.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS_FOR_OTHERS: u32 = 5;

/// When the gateway stops: how long a driver may take to end, and then its voices to bring what they
/// have to disk.
const ENDING: Duration = Duration::from_secs(1);
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A port that runs.
pub struct Running {
    /// How it is.
    pub status: Arc<PortStatus>,
    /// The way to its devices.
    pub outbound: mpsc::Sender<Outgoing>,
    stop: Arc<watch::Sender<bool>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Starts a port's task. It ends when the gateway is `stopped`, or with [`Running::stop`].
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
    let (stop, stopped) = own_stop(stopped);
    let (intake, in_use) = Counted::around(intake);
    let driver = super::driver(plan, &intake)?;
    let status = Arc::new(PortStatus::new(plan.port.clone()));
    let (send, outbound) = mpsc::channel(OUTBOUND_MAX);
    let bus = Bus {
        port: plan.port.clone(),
        status: Arc::clone(&status),
        intake,
        pace: Arc::clone(pace),
        outbound,
        stopped,
    };
    let port = Port {
        driver,
        bus,
        said: None,
        was_open: false,
    };
    let task = tokio::spawn(async move {
        port.keep_open().await;
        // What the voices have is on disk when nobody holds the intake any more.
        if timeout(LAST_WORDS, in_use.ended()).await.is_err() {
            tracing::warn!("the last events of a serial port couldn't be written: they are lost");
        }
    });
    Ok(Running {
        status,
        outbound: send,
        stop,
        task: Mutex::new(Some(task)),
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
            tracing::warn!(port = %self.status.port().id, error = %e, "a serial port is full: message dropped");
        }
    }

    /// Ends it, alone of all ports.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when it has ended, which it does when it is stopped: within some seconds, and with
    /// everything that its devices said on disk if the disk takes it.
    pub async fn ended(&self) {
        let take = || {
            self.task
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        let task = take();
        if let Some(task) = task {
            // One that panicked has ended too.
            let _ = task.await;
        }
    }
}

/// A port's own sign to stop, given when all are to.
fn own_stop(mut all: watch::Receiver<bool>) -> (Arc<watch::Sender<bool>>, watch::Receiver<bool>) {
    let (stop, stopped) = watch::channel(false);
    let stop = Arc::new(stop);
    let (giver, mut given) = (Arc::clone(&stop), stopped.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = all.wait_for(|stop| *stop) => drop(giver.send_replace(true)),
            _ = given.wait_for(|stop| *stop) => {}
        }
    });
    (stop, stopped)
}

struct Port {
    driver: Box<dyn Driver>,
    bus: Bus,
    /// What was logged last.
    said: Option<PortFault>,
    was_open: bool,
}

impl Port {
    async fn keep_open(mut self) {
        let mut again = AGAIN_FIRST;
        while !*self.bus.stopped.borrow() {
            let begun = Instant::now();
            let fault = match self.open().await {
                Ok((line, device)) => match self.speak(line, &device).await {
                    Some(fault) => fault,
                    None => return,
                },
                // It was there, so it isn't a mistake in the configuration.
                Err(PortFault::Missing) if self.was_open => PortFault::Unplugged,
                Err(fault) => fault,
            };
            if begun.elapsed() > STEADY {
                again = AGAIN_FIRST;
            }
            self.say(&fault);
            self.bus.status.down(fault.clone());
            if self.rest(again, words(&fault)).await {
                return;
            }
            again = (again * 2).min(AGAIN_LONGEST);
        }
    }

    /// Opens it on another thread: it is the system's business how long that takes.
    async fn open(&mut self) -> Result<(SerialStream, PathBuf), PortFault> {
        let port = self.bus.port.clone();
        let opened = spawn_blocking(move || open(&port)).await;
        opened.unwrap_or_else(|e| {
            let error = e.to_string();
            Err(PortFault::Other { error })
        })
    }

    /// Lets the driver speak until the port fails; `None` when the gateway stops.
    async fn speak(&mut self, opened: SerialStream, device: &Path) -> Option<PortFault> {
        let (port, status) = (&self.bus.port.id, Arc::clone(&self.bus.status));
        status.up(device.to_path_buf());
        self.was_open = true;
        self.said = None;
        tracing::info!(%port, device = %device.display(), "a serial port is open");
        let mut stopped = self.bus.stopped.clone();
        let ends = async {
            let _ = stopped.wait_for(|stop| *stop).await;
            sleep(ENDING).await;
        };
        let line = Line::over(opened, Arc::clone(&status));
        let ended = {
            let running = self.driver.run(line, &mut self.bus);
            tokio::select! {
                ended = unwinding(running) => ended,
                () = gone(device, &status) => Ok(LineError::Failed(io::ErrorKind::NotFound.into())),
                () = ends => Ok(LineError::Stopped),
            }
        };
        let lost = catch_unwind(AssertUnwindSafe(|| self.driver.lost(&self.bus)));
        match (ended, lost) {
            (Ok(LineError::Stopped), _) => None,
            (Ok(LineError::Failed(e)), Ok(())) => {
                tracing::debug!(port = %self.bus.port.id, error = %e, "a serial port failed");
                Some(PortFault::Unplugged)
            }
            _ => Some(PortFault::Other {
                error: "its driver broke down, which is a fault of linli: it is started again. Please report it with the log"
                    .to_owned(),
            }),
        }
    }

    /// Waits, and says of commands that they can't be carried out; true when the gateway stops.
    async fn rest(&mut self, pause: Duration, why: &'static str) -> bool {
        let again = sleep(pause);
        tokio::pin!(again);
        let (bus, driver) = (&mut self.bus, &mut self.driver);
        loop {
            tokio::select! {
                () = &mut again => return false,
                _ = bus.stopped.wait_for(|stop| *stop) => return true,
                Some(outgoing) = bus.outbound.recv() => {
                    // What it can't say of one message it can of the next.
                    let _ = catch_unwind(AssertUnwindSafe(|| driver.away(outgoing, why)));
                }
            }
        }
    }

    /// Logs a change, not each try.
    fn say(&mut self, fault: &PortFault) {
        if self.said.as_ref() == Some(fault) {
            return;
        }
        let (port, path) = (&self.bus.port.id, self.bus.port.path.display());
        tracing::warn!(%port, %path, ?fault, "a serial port can't be used: {}; it is tried again, and 'linli status' has the remedy", words(fault));
        self.said = Some(fault.clone());
    }
}

/// Resolves when the device file isn't there any more, or is another one. Meanwhile says who else
/// has opened it.
async fn gone(device: &Path, status: &PortStatus) {
    let about = |path: &Path| std::fs::metadata(path).map(|about| (about.rdev(), about.ino()));
    let Ok(ours) = about(device) else {
        return;
    };
    let mut looks = 0_u32;
    let mut with: Option<String> = None;
    loop {
        sleep(LOOK).await;
        if about(device).ok() != Some(ours) {
            return;
        }
        looks = looks.wrapping_add(1);
        if !looks.is_multiple_of(LOOKS_FOR_OTHERS) {
            continue;
        }
        let path = device.to_path_buf();
        let other = spawn_blocking(move || others(&path)).await.ok().flatten();
        if other != with {
            if let Some(by) = &other {
                tracing::warn!(port = %status.port().id, %by, "another process has opened a serial port too: it takes what is meant for us, so end it");
            }
            with.clone_from(&other);
            status.shared_with(other);
        }
    }
}

/// Runs a driver; an error if it panics.
async fn unwinding<T>(mut running: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Result<T, ()> {
    poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Ready(ended)) => Poll::Ready(Ok(ended)),
            Ok(Poll::Pending) => Poll::Pending,
            // What it said is on standard error already.
            Err(_) => Poll::Ready(Err(())),
        }
    })
    .await
}

/// Why a command can't be carried out, for whoever waits for it, and for the log.
const fn words(fault: &PortFault) -> &'static str {
    match fault {
        PortFault::Missing => "the serial port isn't there",
        PortFault::Unplugged => "the serial port is unplugged",
        PortFault::Denied => "the serial port may not be opened",
        PortFault::InUse { .. } => "the serial port is in use by another process",
        PortFault::NotSerial => "the serial port's path isn't one",
        PortFault::Garbled | PortFault::Other { .. } => "the serial port failed",
    }
}

/// The intake, and a way to know when nobody uses it any more.
struct Counted {
    intake: Arc<dyn DeviceIntake>,
    _used: mpsc::Sender<()>,
}

/// Ends with the last use of an intake.
struct InUse(mpsc::Receiver<()>);

impl Counted {
    fn around(intake: &Arc<dyn DeviceIntake>) -> (Arc<dyn DeviceIntake>, InUse) {
        let (used, in_use) = mpsc::channel(1);
        let intake = Arc::clone(intake);
        let counted = Self {
            intake,
            _used: used,
        };
        (Arc::new(counted), InUse(in_use))
    }
}

impl InUse {
    async fn ended(mut self) {
        let _ = self.0.recv().await;
    }
}

#[async_trait]
impl DeviceIntake for Counted {
    async fn events(&self, device: &Ident, payload: Bytes) -> Answer {
        self.intake.events(device, payload).await
    }
    async fn foreign(&self, device: &Ident, topic: &str, payload: Bytes) {
        self.intake.foreign(device, topic, payload).await;
    }
    fn presence(&self, device: &Ident, online: bool) {
        self.intake.presence(device, online);
    }
    fn command_sent(&self, command: String) {
        self.intake.command_sent(command);
    }
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
