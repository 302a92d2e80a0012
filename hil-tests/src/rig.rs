//! The running gateway with a bench on its ports. What the suite wants goes through the control
//! socket, as with the CLI; what came of it is read from the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Form, Ident, Order, Slot};
use linli::clock::Clock;
use linli::control::client::Client;
use linli::control::views::{Opening, Status};
use linli::control::wire::Request;
use linli::daemon::{self, Running};
use linli::links::ToDevice;
use linli::links::serial::Ports;
use linli::links::serial::status::{PortView, SlaveView};
use linli::store::read::{EventFilter, EventRow, Reader};
use linli::store::store_file;
use toml::Value;

use crate::bench::{self, Bench};
use crate::hands::Hands;
use crate::simulated::Simulated;

/// The most events of a device that are looked at.
const EVENTS_MAX: usize = 5_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The gateway, the bench, and who has hands there.
pub struct Rig {
    /// What hangs where.
    pub bench: Bench,
    /// Who closes doors and pulls plugs.
    pub hands: Hands,
    /// The seed of a simulated bench.
    pub seed: Option<u64>,
    ports: Arc<Ports>,
    socket: PathBuf,
    store: PathBuf,
    running: Option<Running>,
    /// How many commands to open the gateway was given by this suite, by compartment.
    asked: Mutex<BTreeMap<Slot, u64>>,
    /// Its state, and the simulated ports' links: gone when this is dropped.
    _folder: tempfile::TempDir,
}

/// What became of an opening.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The last state of the command: `opened`, `failed`, …
    pub state: String,
    /// What the bank said to it, or why the gateway didn't send it.
    pub answer: Option<String>,
    /// From the request to the door seen open, or to the end.
    pub took: Duration,
}

impl Opened {
    /// Whether the door was seen open.
    pub fn confirmed(&self) -> bool {
        matches!(self.state.as_str(), "opened" | "closed")
    }

    /// In words.
    pub fn words(&self) -> String {
        let answer = self.answer.as_deref().unwrap_or("no answer");
        format!(
            "{} ({answer}) after {} ms",
            self.state,
            self.took.as_millis()
        )
    }
}

impl Rig {
    /// Starts the gateway over real ports.
    ///
    /// # Errors
    /// With the remedy, when it can't start.
    pub async fn real(bench: Bench, interactive: bool) -> anyhow::Result<Self> {
        let doors = bench.settings.doors;
        let folder = tempfile::tempdir().context("a folder for the gateway's state")?;
        Self::start(bench, Hands::on_hardware(interactive, doors), None, folder).await
    }

    /// Starts it over simulated devices.
    ///
    /// # Errors
    /// When the bench can't be simulated.
    pub async fn simulated(mut bench: Bench, seed: u64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the gateway's state")?;
        let ports = bench.gateway.get_mut("port").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            if let Value::Table(port) = port
                && let Some(id) = port.get("id").and_then(Value::as_str)
            {
                let path = folder.path().join(id).display().to_string();
                port.insert("path".to_owned(), path.into());
            }
        }
        bench.config = bench::checked(&bench.gateway)?;
        let simulated = Simulated::start(&bench, folder.path(), seed)?;
        Self::start(bench, Hands::Simulated(simulated), Some(seed), folder).await
    }

    async fn start(
        mut bench: Bench,
        hands: Hands,
        seed: Option<u64>,
        folder: tempfile::TempDir,
    ) -> anyhow::Result<Self> {
        bench.config.state_dir = folder.path().join("state");
        let store = store_file(&bench.config.state_dir);
        let running = daemon::start(bench.config.clone(), Clock::system()).await?;
        Ok(Self {
            bench,
            hands,
            seed,
            ports: Arc::clone(&running.ports),
            socket: running.control_socket.clone(),
            store,
            running: Some(running),
            asked: Mutex::default(),
            _folder: folder,
        })
    }

    /// Stops the gateway in order.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().await;
        }
    }

    /// The devices, if they are simulated.
    pub fn simulation(&self) -> Option<&Simulated> {
        match &self.hands {
            Hands::Simulated(simulated) => Some(simulated),
            _ => None,
        }
    }

    /// Whether a case may wait for a person.
    pub fn waits_for_people(&self) -> bool {
        matches!(self.hands, Hands::Person(_))
    }

    /// How a port is.
    pub fn port(&self, id: &Ident) -> Option<PortView> {
        self.ports()
            .into_iter()
            .find(|view| view.port == id.as_str())
    }

    /// How all ports are.
    pub fn ports(&self) -> Vec<PortView> {
        self.ports.views()
    }

    /// How a device's slave is; of a bank the board of that address.
    pub fn slave(&self, port: &Ident, device: &Ident, address: Option<u8>) -> Option<SlaveView> {
        let slaves = self.port(port)?.slaves;
        slaves.into_iter().find(|slave| {
            slave.device == device.as_str() && (address.is_none() || slave.address == address)
        })
    }

    /// A door's state as the gateway knows it: `open`, `closed`, `unknown`; `None` as long as it
    /// knows nothing.
    pub fn door(&self, slot: &Slot) -> Option<String> {
        let rows = self.reader()?.compartments().ok()?;
        let mut rows = rows.into_iter();
        rows.find(|row| row.bank == slot.bank.as_str() && row.compartment == slot.compartment)
            .map(|row| row.door)
    }

    /// The states of a bank's doors, by number.
    pub fn doors(&self, bank: &Ident) -> BTreeMap<u16, String> {
        let rows = self.reader().and_then(|reader| reader.compartments().ok());
        let rows = rows.into_iter().flatten();
        rows.filter(|row| row.bank == bank.as_str())
            .map(|row| (row.compartment, row.door))
            .collect()
    }

    /// The events of a device of a kind after the one of that id, oldest first.
    pub fn events(&self, device: &Ident, kind: &str, after: i64) -> Vec<EventRow> {
        let filter = EventFilter {
            device: Some(device.to_string()),
            kind: Some(kind.to_owned()),
        };
        let reader = self.reader();
        let page = reader.and_then(|r| r.events_after(&filter, after, EVENTS_MAX).ok());
        page.map(|page| page.events).unwrap_or_default()
    }

    /// The id of the newest event.
    pub fn mark(&self) -> i64 {
        let counts = self.reader().and_then(|reader| reader.counts().ok());
        counts.map_or(0, |counts| counts.newest_event_id)
    }

    /// How often a door was seen to open after that mark.
    pub fn openings_seen(&self, slot: &Slot, mark: i64) -> usize {
        let events = self.events(&slot.bank, "compartment", mark).into_iter();
        events
            .filter(|event| {
                event.body["compartment"] == slot.compartment && event.body["door"] == "open"
            })
            .count()
    }

    /// Opens a compartment by hand, as `linli open` does, and waits until it is known what came of
    /// it. The gateway may refuse: then that is the answer.
    ///
    /// # Errors
    /// When the gateway doesn't answer at all.
    pub async fn open(&self, slot: &Slot) -> anyhow::Result<Opened> {
        self.count(slot);
        let request = Request::Open {
            slot: slot.to_string(),
            reason: "hardware in the loop".to_owned(),
            claims: None,
        };
        let socket = self.socket.clone();
        let opened = tokio::task::spawn_blocking(move || follow(&socket, &request));
        opened.await.context("asking the gateway")?
    }

    /// Hands a bank's port a command as the journal does: `ttl` zero for one whose time is over.
    /// One that was handed over before, with the same id, is the same command.
    pub fn command(&self, slot: &Slot, id: &str, ttl: Duration) {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH);
        let now_ms = i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0);
        let command = Command {
            id: id.to_owned(),
            expires: now_ms.saturating_add(i64::try_from(ttl_ms).unwrap_or(0)),
            ttl_ms,
            order: Order::Open {
                compartment: slot.compartment,
            },
        };
        self.ports.send(ToDevice {
            device: slot.bank.clone(),
            channel: Channel::Command,
            payload: Bytes::from(command.encode(Form::Cbor)),
            expiry_ms: Some(ttl_ms),
            open: Some(id.to_owned()),
        });
    }

    /// How many commands to open a compartment the suite gave.
    pub fn asked(&self, slot: &Slot) -> u64 {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(slot).copied().unwrap_or(0)
    }

    /// The gateway's own word on its version.
    pub async fn version(&self) -> Option<String> {
        let socket = self.socket.clone();
        let status = tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(&socket).ok()?;
            client.one::<Status>(&Request::Status).ok()
        });
        Some(status.await.ok()??.report.version)
    }

    /// Waits until `ready` gives something, at most `within`.
    pub async fn until<T>(
        &self,
        within: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + within;
        loop {
            if let Some(value) = ready() {
                return Some(value);
            }
            if Instant::now() >= end {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Counts a command to open as one of this suite's.
    pub fn count(&self, slot: &Slot) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry(slot.clone()).or_default() += 1;
    }

    fn reader(&self) -> Option<Reader> {
        Reader::open(&self.store).ok()
    }
}

fn follow(socket: &Path, request: &Request) -> anyhow::Result<Opened> {
    let asked = Instant::now();
    let mut client = Client::connect(socket)?;
    let mut opened = Opened {
        state: "unasked".to_owned(),
        answer: None,
        took: Duration::ZERO,
    };
    let answered = client.ask(request, |opening: Opening| {
        opened.state = opening.state;
        opened.answer = opening.answer;
        opened.took = asked.elapsed();
        // Open is what is waited for; that it is closed again is looked for elsewhere.
        !opened.confirmed()
    });
    if let Err(refused) = answered {
        opened.state = "refused".to_owned();
        opened.answer = Some(refused.to_string());
        opened.took = asked.elapsed();
    }
    Ok(opened)
}
