//! A connection over the Linli link, by the device's side of the state machine that firmware is
//! written after.
//!
//! What the link knows outlives a broken cable, as it does in a controller that keeps running; a new
//! boot begins anew.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firmware_protocols::frame::{Found, Framing as _};
use firmware_protocols::link::wire::Link as Frames;
use firmware_protocols::link::{self, Frame, Hello, Kind, Outbox};
use firmware_protocols::topic::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

use super::{Answer, Client, Heard, NoRoom, REQUESTS_MAX, Told};
use crate::device::{Spec, lock};
use crate::serial::outlet::Taken;
use crate::{Line, Port};

/// How often it is looked whether the gateway is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a device remembers of its link as long as it runs. Clones are the same memory.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Option<Remembered>>>);

#[derive(Debug)]
struct Remembered {
    boot: u32,
    started: Instant,
    device: link::Device,
}

impl Memory {
    /// The device has found its cable again, or has started. A session that was there is lost.
    fn begin(&self, line: &Line, spec: &Spec, boot: u32) {
        let mut memory = lock(&self.0);
        match memory.as_mut().filter(|known| known.boot == boot) {
            Some(known) => {
                let now_ms = known.now_ms();
                let ask = Frame::new(true, line.address, Kind::Ask);
                known.device.heard(now_ms, &ask);
            }
            None => {
                let mut hello = Hello::new(boot);
                hello.device = Some(spec.login.device.clone());
                hello.model = Some(spec.model.clone());
                hello.capabilities.clone_from(&spec.capabilities);
                let device = link::Device::new(line.address, line.multi_drop, line.baud, hello);
                *memory = Some(Remembered {
                    boot,
                    started: Instant::now(),
                    device,
                });
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut link::Device, u64) -> T) -> Option<T> {
        let mut memory = lock(&self.0);
        let known = memory.as_mut()?;
        let now_ms = known.now_ms();
        Some(act(&mut known.device, now_ms))
    }

    /// When the device wants to say something by itself.
    fn due(&self) -> Option<Instant> {
        let memory = lock(&self.0);
        let known = memory.as_ref()?;
        let due = known.device.due()?;
        Some(known.started + Duration::from_millis(due))
    }
}

impl Remembered {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

struct Linli(mpsc::Sender<Asked>);

/// What the device wants.
enum Asked {
    Say(Said),
    Close,
}

/// A payload with events, and who waits for what becomes of it.
struct Said {
    payload: Vec<u8>,
    told: oneshot::Sender<Told>,
}

pub(super) fn open(
    line: &Line,
    spec: &Spec,
    boot: u32,
    says: mpsc::Sender<Heard>,
) -> (Box<dyn Client>, JoinHandle<()>) {
    let (asks, asked) = mpsc::channel(REQUESTS_MAX);
    line.memory.begin(line, spec, boot);
    let mut session = Session {
        memory: line.memory.clone(),
        waiting: Waiting::default(),
        buffer: Vec::new(),
        says,
        up: false,
    };
    let line = line.clone();
    let pump = tokio::spawn(async move {
        let why = match End::open(&line) {
            Ok(end) => session.run(end, asked).await,
            Err(error) => error.to_string(),
        };
        let _ = session.says.send(Heard::Down(why)).await;
    });
    (Box::new(Linli(asks)), pump)
}

impl Client for Linli {
    fn publish(&self, channel: Channel, payload: Vec<u8>) -> Result<Answer, NoRoom> {
        if channel != Channel::Event {
            // The link itself tells whether a device is there.
            return Ok(Box::pin(std::future::ready(Told::Taken)));
        }
        let (told, tells) = oneshot::channel();
        let said = Said { payload, told };
        self.0.try_send(Asked::Say(said)).map_err(|_| NoRoom)?;
        Ok(Box::pin(async { tells.await.unwrap_or(Told::Lost) }))
    }

    fn disconnect(&self) {
        let _ = self.0.try_send(Asked::Close);
    }
}

/// What isn't promised yet, in its order.
#[derive(Default)]
struct Waiting(VecDeque<Said>);

impl Outbox for Waiting {
    fn waiting(&self) -> usize {
        self.0.len()
    }

    fn payload(&mut self, index: usize) -> Vec<u8> {
        let said = self.0.get(index);
        said.map(|said| said.payload.clone()).unwrap_or_default()
    }
}

/// A connection's task.
struct Session {
    memory: Memory,
    waiting: Waiting,
    /// Read, and no frame yet.
    buffer: Vec<u8>,
    says: mpsc::Sender<Heard>,
    up: bool,
}

impl Session {
    /// Speaks until the line fails, the gateway isn't heard any more, or it is to close. Says why.
    async fn run(&mut self, mut end: End, mut asked: mpsc::Receiver<Asked>) -> String {
        loop {
            while let Some(Some(frame)) = self.memory.with(|d, now| d.next(now, &mut self.waiting))
            {
                if let Err(error) = end.say(&frame.encode()).await {
                    return error.to_string();
                }
            }
            let look = Instant::now() + LOOK_AGAIN;
            let due = self.memory.due().map_or(look, |due| due.min(look));
            tokio::select! {
                heard = end.hear(&mut self.buffer) => if let Err(error) = heard {
                    return error.to_string();
                },
                ask = asked.recv() => match ask {
                    Some(Asked::Say(said)) => self.waiting.0.push_back(said),
                    Some(Asked::Close) | None => return "closed".to_string(),
                },
                () = sleep_until(due) => {}
            }
            for message in self.understand() {
                if self.says.send(message).await.is_err() {
                    return "nobody listens".to_string();
                }
            }
            let linked = self.memory.with(|d, now| d.is_linked(now)) == Some(true);
            if self.up && !linked {
                return "the gateway isn't heard any more".to_string();
            }
        }
    }

    /// What the frames that came mean for the device.
    fn understand(&mut self) -> Vec<Heard> {
        let mut messages = Vec::new();
        loop {
            let used = match Frames.find(&self.buffer) {
                Found::More => return messages,
                Found::Noise(bytes) => bytes,
                Found::Frame { frame, used } => {
                    self.heard(&frame, &mut messages);
                    used
                }
            };
            self.buffer.drain(..used.min(self.buffer.len()));
        }
    }

    fn heard(&mut self, frame: &Frame, messages: &mut Vec<Heard>) {
        let Some((heard, linked)) = self
            .memory
            .with(|d, now| (d.heard(now, frame), d.is_linked(now)))
        else {
            return;
        };
        for _ in 0..heard.promised {
            if let Some(said) = self.waiting.0.pop_front() {
                let _ = said.told.send(Told::Taken);
            }
        }
        if linked && !self.up {
            self.up = true;
            messages.push(Heard::Up);
        }
        // One that doesn't fit can't be: the device has room for the largest there is.
        if let Some(command) = heard.command.filter(|command| !command.withheld) {
            messages.push(Heard::Message {
                channel: Channel::Command,
                payload: command.payload.into(),
            });
        }
    }
}

/// The device's end of its line.
enum End {
    Port(SerialStream),
    Outlet(Taken),
}

impl End {
    fn open(line: &Line) -> io::Result<Self> {
        match &line.port {
            Port::Outlet(outlet) => Ok(Self::Outlet(outlet.take())),
            Port::Path(path) => {
                let port = tokio_serial::new(path.to_string_lossy(), line.baud);
                Ok(Self::Port(port.open_native_async()?))
            }
        }
    }

    /// Waits for bytes and appends them. May be dropped at its await without losing a byte.
    async fn hear(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let heard = match self {
            Self::Port(port) => port.read_buf(into).await? > 0,
            Self::Outlet(taken) => taken.hear(into).await,
        };
        match heard {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Port(port) => port.write_all(bytes).await,
            Self::Outlet(taken) => {
                taken.say(bytes);
                Ok(())
            }
        }
    }
}
