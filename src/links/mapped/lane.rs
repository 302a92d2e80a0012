//! A profile in use: payloads wait in line for its worker, one after the other.
//!
//! Each profile has a worker of its own, so that what one does is of no concern to the others. A program
//! that breaks its bounds costs the payload, which goes to quarantine with the reason, and the worker,
//! which is started anew; after [`STRIKES`] in a row the profile is suspended, for longer each time. A
//! worker that somebody else ended costs nothing: the payload is given to the next one.
//!
//! Bounds: so many payloads and bytes may wait ([`WAITING_MAX`], [`WAITING_MAX_BYTES`]); beyond them 'not
//! taken', so their sender keeps them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::child::{Died, NotStarted, Worker};
use super::device::{Device, Retained};
use super::input::input;
use super::output::{Output, outputs};
use super::profile::Profile;
use crate::intake::Answer;
use crate::links::DeviceIntake;
use crate::links::embedded::limits::FOREIGN_PAYLOAD_MAX_BYTES;

/// How many payloads may wait.
pub const WAITING_MAX: usize = 1_024;
/// How many bytes of them.
pub const WAITING_MAX_BYTES: usize = 8 << 20;
/// After so many payloads in a row that broke the bounds a profile is suspended.
pub const STRIKES: u32 = 3;
const SUSPENDED_FIRST: Duration = Duration::from_secs(60);
const SUSPENDED_LONGEST: Duration = Duration::from_secs(3_600);
/// A worker that has nothing to do for so long is ended.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How often a payload is given to another worker when something else ended the last.
const TRIES: u32 = 3;
/// How long to wait before the next.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// A profile in use.
pub(super) struct Lane {
    /// Its name, or its file.
    pub name: String,
    /// What it says, or why it can't be used.
    pub profile: Result<Profile, String>,
    jobs: mpsc::Sender<Job>,
    waiting_bytes: AtomicUsize,
    health: Mutex<Health>,
}

/// A payload that waits.
pub(super) struct Job {
    pub device: Arc<Device>,
    pub topic: String,
    pub payload: Bytes,
    pub retained: Retained,
    pub settled: watch::Sender<Option<Settled>>,
}

/// What came of a payload.
#[derive(Clone)]
pub(super) enum Settled {
    /// It is on disk when there are so many events of the device.
    Said(watch::Receiver<u64>, u64),
    /// This.
    Answered(Answer),
}

/// How a profile does.
#[derive(Debug, Clone, Default)]
struct Health {
    /// Payloads in a row that broke the bounds.
    strikes: u32,
    suspended_until: Option<Instant>,
    suspended_for: Duration,
    /// Its program can't be compiled.
    broken: bool,
    why: Option<String>,
}

/// How a profile does, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    Works,
    Suspended { until: Instant, why: String },
    Broken { why: String },
}

/// Why a payload makes no events.
enum Why {
    /// It can't be mapped.
    Refused(String),
    /// Not now.
    NotTaken(String),
}

impl Lane {
    /// A profile in use, with the task that serves it. It ends when nobody holds the lane any more.
    pub fn start(
        name: String,
        profile: Result<Profile, String>,
        exe: PathBuf,
        intake: Arc<dyn DeviceIntake>,
    ) -> Arc<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let lane = Arc::new(Self {
            name,
            profile,
            jobs,
            waiting_bytes: AtomicUsize::new(0),
            health: Mutex::default(),
        });
        let serving = Serving {
            exe,
            intake,
            worker: None,
        };
        tokio::spawn(serving.run(waiting));
        lane
    }

    /// Puts a payload in line.
    ///
    /// # Errors
    /// There is no room.
    pub fn submit(&self, job: Job) -> Result<(), Answer> {
        let full = || Answer::NotTaken(format!("too much waits for profile '{}'", self.name));
        let bytes = job.payload.len();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > WAITING_MAX_BYTES || self.jobs.try_send(job).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(full());
        }
        Ok(())
    }

    /// How it does.
    pub fn condition(&self) -> Condition {
        if let Err(why) = &self.profile {
            return Condition::Broken { why: why.clone() };
        }
        let health = self.lock();
        let why = health.why.clone().unwrap_or_default();
        match health.suspended_until {
            _ if health.broken => Condition::Broken { why },
            Some(until) if until > Instant::now() => Condition::Suspended { until, why },
            _ => Condition::Works,
        }
    }

    /// A payload kept to the bounds.
    fn well(&self) {
        let mut health = self.lock();
        if health.strikes > 0 || health.suspended_until.is_some() {
            *health = Health::default();
        }
    }

    /// A payload broke them.
    fn strike(&self, why: &str) {
        let mut health = self.lock();
        health.strikes += 1;
        health.why = Some(why.to_owned());
        tracing::warn!(profile = %self.name, strikes = health.strikes, %why, "a profile's program broke its bounds");
        if health.strikes < STRIKES {
            return;
        }
        let pause = (health.suspended_for * 2).clamp(SUSPENDED_FIRST, SUSPENDED_LONGEST);
        health.suspended_for = pause;
        health.suspended_until = Some(Instant::now() + pause);
        tracing::error!(profile = %self.name, %why, pause_s = pause.as_secs(), "a profile is suspended: what comes of its devices is in quarantine. See 'linli profile list'");
    }

    fn broken(&self, why: &str) {
        let mut health = self.lock();
        health.broken = true;
        health.why = Some(why.to_owned());
        tracing::error!(profile = %self.name, %why, "a profile's program can't be compiled: mend it, then 'linli config reload'");
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that serves a lane.
struct Serving {
    exe: PathBuf,
    intake: Arc<dyn DeviceIntake>,
    worker: Option<Worker>,
}

impl Serving {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        loop {
            let next = match &self.worker {
                Some(_) => timeout(IDLE_MAX, waiting.recv()).await,
                None => Ok(waiting.recv().await),
            };
            match next {
                Ok(Some(job)) => self.serve(job).await,
                Ok(None) => return,
                Err(_) => self.worker = None,
            }
        }
    }

    async fn serve(&mut self, job: Job) {
        // A device of the job holds it.
        let lane = Arc::clone(&job.device.lane);
        let made = self.made(&lane, &job).await;
        lane.waiting_bytes
            .fetch_sub(job.payload.len(), Ordering::Relaxed);
        let said = made.and_then(|made| {
            let device = &job.device;
            device
                .say(&job.topic, &job.payload, job.retained, made, &self.intake)
                .map_err(Why::NotTaken)
        });
        let settled = match said {
            Ok(Some((on_disk, position))) => Settled::Said(on_disk, position),
            Ok(None) => Settled::Answered(Answer::Taken),
            Err(Why::NotTaken(why)) => Settled::Answered(Answer::NotTaken(why)),
            Err(Why::Refused(why)) => {
                job.device.refused(&why);
                // The next payload need not wait for the disk.
                tokio::spawn(refuse(job, why, Arc::clone(&self.intake)));
                return;
            }
        };
        job.settled.send_replace(Some(settled));
    }

    /// What the program makes of a payload.
    async fn made(&mut self, lane: &Lane, job: &Job) -> Result<Vec<Output>, Why> {
        let profile = lane.profile.as_ref();
        let profile = profile.map_err(|why| Why::Refused(cannot(&lane.name, why)))?;
        match lane.condition() {
            Condition::Works => {}
            Condition::Broken { why } => return Err(Why::Refused(cannot(&lane.name, &why))),
            Condition::Suspended { why, .. } => {
                let name = &lane.name;
                return Err(Why::Refused(format!(
                    "profile '{name}' is suspended: {why}"
                )));
            }
        }
        let (form, device) = (profile.payload, &job.device);
        let input = input(form, &job.topic, &device.named, &device.id, &job.payload);
        let input = input.map_err(Why::Refused)?;
        let mut ended = String::new();
        for _ in 0..TRIES {
            let worker = match self.worker(profile).await {
                Ok(worker) => worker,
                Err(NotStarted::Program(why)) => {
                    lane.broken(&why);
                    return Err(Why::Refused(cannot(&lane.name, &why)));
                }
                Err(e @ NotStarted::Other(_)) => {
                    tracing::warn!(profile = %lane.name, error = %e, "no worker");
                    ended = e.to_string();
                    sleep(TRY_AGAIN).await;
                    continue;
                }
            };
            match worker.ask(&input).await {
                Ok(made) => {
                    lane.well();
                    return made.and_then(|made| outputs(&made)).map_err(Why::Refused);
                }
                Err(Died::Program(why)) => {
                    self.worker = None;
                    lane.strike(&why);
                    return Err(Why::Refused(why));
                }
                Err(Died::Other(why)) => {
                    tracing::warn!(profile = %lane.name, %why, "a worker is gone; another goes on");
                    self.worker = None;
                    ended = why;
                }
            }
        }
        Err(Why::NotTaken(ended))
    }

    async fn worker(&mut self, profile: &Profile) -> Result<&mut Worker, NotStarted> {
        if self.worker.is_none() {
            self.worker = Some(Worker::start(&self.exe, &profile.program).await?);
        }
        let none = || NotStarted::Other("it ended at once".to_owned());
        self.worker.as_mut().ok_or_else(none)
    }
}

fn cannot(profile: &str, why: &str) -> String {
    format!("profile '{profile}' can't be used: {why}")
}

/// Puts a payload into quarantine.
async fn refuse(job: Job, why: String, intake: Arc<dyn DeviceIntake>) {
    let most = job.payload.len().min(FOREIGN_PAYLOAD_MAX_BYTES);
    let payload = job.payload.slice(..most);
    let answer = intake
        .unmapped(&job.device.id, &job.topic, why, payload)
        .await;
    let answer = match answer {
        Answer::Malformed(_) => Answer::Taken,
        answer => answer,
    };
    job.settled.send_replace(Some(Settled::Answered(answer)));
}
