//! A device: its outbox, its connection, its obedience. What it has to obey with (locks, a display)
//! is its [`Model`].

mod life;
mod outbox;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firmware_protocols::event::Done;
use firmware_protocols::{Form, Ident, Kind, Order};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::{Login, Promise, Tempo, Version, Way};
use outbox::Outbox;
pub use outbox::{Acknowledged, DeviceClock, OutboxFull, Place, Tally};

/// What a device is, and how it speaks.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its id and password.
    pub login: Login,
    /// MQTT 3.1.1 or 5, if it speaks MQTT.
    pub version: Version,
    /// CBOR or JSON.
    pub form: Form,
    /// What it takes as the promise that an event is on disk.
    pub promise: Promise,
    /// How it knows the time.
    pub clock: DeviceClock,
    /// The most events it puts into one publication, 1 to 256.
    pub batch: usize,
    /// Its boot at the start; rises by one with each reboot.
    pub boot: u32,
    /// For its `hello`.
    pub model: String,
    /// For its `hello`. A bank with `codes` checks codes by itself while nobody answers.
    pub capabilities: Vec<String>,
    /// How long such a bank waits for an answer, in real time.
    pub answer_within: Duration,
}

impl Spec {
    /// MQTT 5, CBOR, PUBACK as promise, a clock, one event a publication, boot 1, no capabilities,
    /// 5 s for an answer.
    pub fn new(login: Login, model: &str) -> Self {
        Self {
            login,
            version: Version::V5,
            form: Form::Cbor,
            promise: Promise::Puback,
            clock: DeviceClock::Set,
            batch: 1,
            boot: 1,
            model: model.to_string(),
            capabilities: Vec::new(),
            answer_within: Duration::from_secs(5),
        }
    }
}

/// What a device can do when it is told to.
pub trait Model: Send + Sync {
    /// Carries out an order that is new and in time. Must not wait.
    fn obey(&self, order: &Order) -> Obeyed;

    /// What it reports after its `hello`, at every start.
    fn at_start(&self) -> Vec<Kind> {
        Vec::new()
    }

    /// Hears that these events are on disk, or given up.
    fn promised(&self, _: &[Place]) {}
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Obeyed {
    /// For the `result`.
    pub outcome: Done,
    /// For the `result`.
    pub reason: Option<String>,
    /// What the device reports after the `result`.
    pub then: Vec<Kind>,
}

impl Obeyed {
    /// It was done, and nothing more is to be said.
    pub fn done() -> Self {
        Self {
            outcome: Done::Done,
            reason: None,
            then: Vec::new(),
        }
    }

    /// It isn't done now.
    pub fn refused(reason: &str) -> Self {
        Self {
            outcome: Done::Refused,
            ..Self::failed(reason)
        }
    }

    /// This device can't do that.
    pub fn failed(reason: &str) -> Self {
        Self {
            outcome: Done::Failed,
            reason: Some(reason.to_string()),
            then: Vec::new(),
        }
    }
}

/// A door that came open at a bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The command that was carried out; `None` if the bank decided by itself.
    pub command: Option<String>,
    /// The compartment.
    pub compartment: u16,
    /// When, ms since the Unix epoch, by the clock of the play.
    pub at_ms: i64,
}

/// A device without anything to obey with: a sensor, a door reader.
#[derive(Debug, Clone, Copy)]
pub struct Deaf;

impl Model for Deaf {
    fn obey(&self, order: &Order) -> Obeyed {
        match order {
            Order::Identify => Obeyed::done(),
            _ => Obeyed::failed("not a device that does this"),
        }
    }
}

/// A running device. Cheap to clone; ended by [`Self::stop`] or with the runtime.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

/// What the device's handles and its own task share.
struct Inner {
    spec: Spec,
    way: Way,
    tempo: Tempo,
    model: Arc<dyn Model>,
    outbox: Mutex<Outbox>,
    /// Ids of commands carried out, the last 64: they survive a reboot.
    obeyed: Mutex<VecDeque<String>>,
    /// Every door that came open, in order.
    openings: Mutex<Vec<Opening>>,
    /// There is something to send.
    news: Notify,
    asks: mpsc::Sender<Ask>,
    online: watch::Sender<bool>,
    /// Events were promised or given up.
    settled: watch::Sender<()>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a device's task is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Cut,
    Reboot,
    Leave,
    Unplug,
    Return,
    Stop,
}

impl Device {
    /// Starts a device: it says `hello`, connects, and stays connected.
    pub fn start(spec: Spec, way: impl Into<Way>, tempo: Tempo, model: Arc<dyn Model>) -> Self {
        let (asks, asked) = mpsc::channel(16);
        let inner = Arc::new(Inner {
            outbox: Mutex::new(Outbox::new(spec.boot)),
            spec,
            way: way.into(),
            tempo,
            model,
            obeyed: Mutex::new(VecDeque::new()),
            openings: Mutex::default(),
            news: Notify::new(),
            asks,
            online: watch::channel(false).0,
            settled: watch::channel(()).0,
            task: Mutex::new(None),
        });
        inner.say_hello();
        let task = tokio::spawn(life::live(Arc::clone(&inner), asked));
        *lock(&inner.task) = Some(task);
        Self { inner }
    }

    /// Its id.
    pub fn id(&self) -> &Ident {
        &self.inner.spec.login.device
    }

    /// Puts an event into the outbox, from where it is sent as soon as the connection allows.
    ///
    /// # Errors
    /// When 4,096 events wait already.
    pub fn report(&self, kind: Kind) -> Result<Place, OutboxFull> {
        self.inner.report(kind)
    }

    /// Whether the gateway knows it, and commands reach it.
    pub fn is_online(&self) -> bool {
        *self.inner.online.borrow()
    }

    /// Waits until it is logged in and subscribed.
    pub async fn until_online(&self) {
        let _ = self.inner.online.subscribe().wait_for(|on| *on).await;
    }

    /// Waits until it isn't logged in any more.
    pub async fn until_offline(&self) {
        let _ = self.inner.online.subscribe().wait_for(|on| !*on).await;
    }

    /// Waits until an event is promised to be on disk, or given up.
    pub async fn until_settled(&self, place: Place) {
        let mut settled = self.inner.settled.subscribe();
        while self.is_waiting(place) {
            if settled.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether an event waits for the promise to be on disk.
    pub fn is_waiting(&self, place: Place) -> bool {
        lock(&self.inner.outbox).is_waiting(place)
    }

    /// Whether so many more events fit into its memory.
    pub(crate) fn has_room(&self, events: usize) -> bool {
        self.waiting() + events <= outbox::WAITING_MAX
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    /// Events that wait for the promise to be on disk.
    pub fn waiting(&self) -> usize {
        lock(&self.inner.outbox).waiting()
    }

    /// The device's own record of what was promised to be on disk, in the order of the promises.
    pub fn record(&self) -> Vec<Acknowledged> {
        lock(&self.inner.outbox).record.clone()
    }

    /// The device's own counts.
    pub fn tally(&self) -> Tally {
        lock(&self.inner.outbox).tally
    }

    /// Every door that came open, in order; only a bank has some.
    pub fn openings(&self) -> Vec<Opening> {
        lock(&self.inner.openings).clone()
    }

    /// A door came open: by a command, or by the bank's own decision.
    pub(crate) fn opened(&self, command: Option<String>, compartment: u16) {
        self.inner.opened(command, compartment);
    }

    /// Its running boot.
    pub fn boot(&self) -> u32 {
        lock(&self.inner.outbox).boot
    }

    /// Fault: the connection breaks, without a goodbye; the device connects again on its own.
    pub async fn cut(&self) {
        self.ask(Ask::Cut).await;
    }

    /// Fault: the last acknowledged events, 64 at most, are sent once more. Returns how many.
    pub fn send_again(&self) -> usize {
        let count = lock(&self.inner.outbox).again();
        self.inner.news.notify_one();
        count
    }

    /// Fault: power off and on. A new boot begins; what waited is kept.
    pub async fn reboot(&self) {
        self.ask(Ask::Reboot).await;
    }

    /// Fault: the device says goodbye and stays away until [`Self::come_back`].
    pub async fn go_away(&self) {
        self.ask(Ask::Leave).await;
    }

    /// Fault: the network cable is out, without a goodbye, until [`Self::come_back`].
    pub async fn unplug(&self) {
        self.ask(Ask::Unplug).await;
    }

    /// After [`Self::go_away`] or [`Self::unplug`].
    pub async fn come_back(&self) {
        self.ask(Ask::Return).await;
    }

    /// Ends it: status `offline`, goodbye. What waits stays in the record as not acknowledged.
    pub async fn stop(&self) {
        self.ask(Ask::Stop).await;
        let task = lock(&self.inner.task).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    async fn ask(&self, ask: Ask) {
        let _ = self.inner.asks.send(ask).await;
    }
}

impl Inner {
    fn opened(&self, command: Option<String>, compartment: u16) {
        lock(&self.openings).push(Opening {
            command,
            compartment,
            at_ms: self.tempo.now_ms(),
        });
    }

    /// These events wait no longer.
    fn settled(&self, places: &[Place]) {
        self.model.promised(places);
        self.settled.send_replace(());
    }

    fn report(&self, kind: Kind) -> Result<Place, OutboxFull> {
        let place = lock(&self.outbox).add(kind, self.tempo.now_ms())?;
        self.news.notify_one();
        Ok(place)
    }

    fn say_hello(&self) {
        let hello = Kind::Hello {
            model: self.spec.model.clone(),
            firmware: env!("CARGO_PKG_VERSION").to_string(),
            capabilities: self.spec.capabilities.clone(),
        };
        for kind in std::iter::once(hello).chain(self.model.at_start()) {
            // A full outbox has the older events in it, which matter more.
            let _ = self.report(kind);
        }
    }
}

/// The value behind a lock; a panic elsewhere doesn't make it wrong, every change here is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
