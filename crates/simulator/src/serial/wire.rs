//! A simulated port: a stable path that leads to a pseudo-terminal, behind it a line, and devices on
//! it. Unplugged, its path is gone and who had it open hears that; plugged in again it is another
//! device file behind the same stable path, as with `/dev/serial/by-id`.
//!
//! A thread of its own keeps the line's time, to a fraction of a byte at the usual rates. A gateway
//! that opens it with another rate hears and sends garbage.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::line::{Faults, Line};
use super::pty::{self, Pty, Read};
use super::{Say, Slave};
use crate::Random;
use crate::device::lock;

/// The longest that nothing is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often it is looked whether somebody opens the port.
const LOOK_FOR_SOMEBODY: Duration = Duration::from_millis(5);

/// What a line is like.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Its devices' rate, bits a second.
    pub baud: u32,
    /// A byte with start, parity and stop bits: 10 for 8N1, 11 for 8E1.
    pub bits: u32,
    /// What is wrong with it.
    pub faults: Faults,
    /// What its chance comes from.
    pub seed: u64,
}

impl Settings {
    /// A good line, 8N1.
    pub fn new(baud: u32, seed: u64) -> Self {
        Self {
            baud,
            bits: 10,
            faults: Faults::default(),
            seed,
        }
    }
}

/// A simulated port. Dropped, it is gone.
pub struct Wire {
    link: PathBuf,
    device: Arc<Mutex<Option<PathBuf>>>,
    orders: SyncSender<Order>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Has a wire look again at what its devices want.
#[derive(Clone)]
pub struct Waker(Arc<UnixStream>);

impl Waker {
    /// Wakes it.
    pub fn wake(&self) {
        // Full means that it is going to wake anyway.
        let _ = (&*self.0).write(&[1]);
    }
}

enum Order {
    Unplug(SyncSender<()>),
    PlugIn(SyncSender<io::Result<()>>),
    Faults(Faults),
    Disturb(Vec<u8>),
    Stop,
}

impl Wire {
    /// A port at the path `link` (a symbolic link is made there), plugged in, with these devices.
    ///
    /// # Errors
    /// When the system has no pseudo-terminal left, or the link can't be made.
    pub fn start(
        link: &Path,
        settings: Settings,
        mut slaves: Vec<Box<dyn Slave>>,
    ) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let waker = Waker(Arc::new(wake));
        for slave in &mut slaves {
            slave.connected(waker.clone());
        }
        let (orders, taken) = sync_channel(16);
        let byte_time = Duration::from_secs(1) * settings.bits / settings.baud.max(1);
        let device = Arc::default();
        let mut running = Running {
            link: link.to_path_buf(),
            device: Arc::clone(&device),
            pty: None,
            next: None,
            baud: settings.baud,
            garbled: false,
            line: Line::new(byte_time, settings.faults, Random::new(settings.seed)),
            slaves,
            orders: taken,
            woken,
        };
        running.plug_in()?;
        let thread = std::thread::Builder::new()
            .name("wire".to_string())
            .spawn(move || running.run())?;
        Ok(Self {
            link: link.to_path_buf(),
            device,
            orders,
            waker,
            thread: Some(thread),
        })
    }

    /// Its stable path.
    pub fn path(&self) -> &Path {
        &self.link
    }

    /// The device file behind it; `None` while it is unplugged.
    pub fn device(&self) -> Option<PathBuf> {
        lock(&self.device).clone()
    }

    /// Fault: the adapter is pulled out. Returns when it is.
    pub fn unplug(&self) {
        let (done, is_done) = sync_channel(1);
        self.order(Order::Unplug(done));
        let _ = is_done.recv();
    }

    /// It is put in again, and gets another device file. Returns when it is there.
    ///
    /// # Errors
    /// When the link can't be made.
    pub fn plug_in(&self) -> io::Result<()> {
        let (done, is_done) = sync_channel(1);
        self.order(Order::PlugIn(done));
        is_done
            .recv()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// From now on these are wrong with it.
    pub fn set_faults(&self, faults: Faults) {
        self.order(Order::Faults(faults));
    }

    /// Fault: these bytes come to the gateway, from nowhere.
    pub fn disturb(&self, bytes: &[u8]) {
        self.order(Order::Disturb(bytes.to_vec()));
    }

    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
        self.waker.wake();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's state.
struct Running {
    link: PathBuf,
    device: Arc<Mutex<Option<PathBuf>>>,
    pty: Option<Pty>,
    /// The one that is plugged in next: open before the old one goes, so that its name is another.
    next: Option<Pty>,
    baud: u32,
    garbled: bool,
    line: Line,
    slaves: Vec<Box<dyn Slave>>,
    orders: Receiver<Order>,
    woken: UnixStream,
}

impl Running {
    fn run(mut self) {
        while self.obey() {
            let somebody = self.take();
            let now = Instant::now();
            self.let_devices_hear(now);
            self.let_devices_act(now);
            let reached = self.line.reached(Instant::now());
            if let Some(pty) = self.pty.as_ref().filter(|_| somebody)
                && !reached.is_empty()
            {
                pty.write(&reached);
            }
            self.rest(somebody);
        }
        self.unplug();
    }

    /// Carries out what was ordered; false when it is to stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Unplug(done)) => {
                    self.next = Pty::open().ok();
                    self.unplug();
                    let _ = done.send(());
                }
                Ok(Order::PlugIn(done)) => {
                    let plugged = self.plug_in();
                    let _ = done.send(plugged);
                }
                Ok(Order::Faults(faults)) => self.line.set_faults(faults),
                Ok(Order::Disturb(bytes)) => self.line.disturb(&bytes, Instant::now()),
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn plug_in(&mut self) -> io::Result<()> {
        if self.pty.is_some() {
            return Ok(());
        }
        let pty = match self.next.take() {
            Some(pty) => pty,
            None => Pty::open()?,
        };
        // Put in place whole: who looks sees the old link, none, or the new one.
        let fresh = self.link.with_extension("new");
        let _ = std::fs::remove_file(&fresh);
        std::os::unix::fs::symlink(pty.path(), &fresh)?;
        std::fs::rename(&fresh, &self.link)?;
        *lock(&self.device) = Some(pty.path().to_path_buf());
        self.pty = Some(pty);
        Ok(())
    }

    fn unplug(&mut self) {
        if self.pty.take().is_some() {
            let _ = std::fs::remove_file(&self.link);
            *lock(&self.device) = None;
            self.line.cut();
        }
    }

    /// Takes what the gateway sends. Returns whether somebody has the port open.
    fn take(&mut self) -> bool {
        let Some(pty) = &self.pty else {
            return false;
        };
        let mut bytes = [0; 1_024];
        match pty.read(&mut bytes) {
            Ok(Read::Bytes(n)) => {
                self.garbled = pty.rate() != Some(self.baud);
                let sent = bytes.get(..n).unwrap_or(&[]);
                self.line.send(sent, self.garbled, Instant::now());
                true
            }
            Ok(Read::Nothing) => {
                self.garbled = pty.rate() != Some(self.baud);
                true
            }
            Ok(Read::Nobody) => false,
            Err(error) => {
                tracing::warn!(%error, "a simulated port can't be read");
                false
            }
        }
    }

    fn let_devices_hear(&mut self, now: Instant) {
        while let Some(heard) = self.line.heard(now) {
            let mut said = VecDeque::new();
            for (index, slave) in self.slaves.iter_mut().enumerate() {
                if heard.by == Some(index) {
                    continue;
                }
                // What it meant to do before that byte comes first.
                if slave.due().is_some_and(|due| due < heard.at)
                    && let Some(say) = slave.act(heard.at)
                {
                    said.push_back((index, say, heard.at));
                }
                if let Some(say) = slave.hear_from(heard.by.is_none(), heard.byte, heard.at) {
                    said.push_back((index, say, heard.at));
                }
            }
            self.say(said);
        }
    }

    fn let_devices_act(&mut self, now: Instant) {
        let mut said = VecDeque::new();
        for (index, slave) in self.slaves.iter_mut().enumerate() {
            if let Some(due) = slave.due()
                && due <= now
                && let Some(say) = slave.act(now)
            {
                said.push_back((index, say, due.max(now)));
            }
        }
        self.say(said);
    }

    fn say(&mut self, said: VecDeque<(usize, Say, Instant)>) {
        for (by, say, at) in said {
            if self.pty.is_some() {
                self.line.say(by, &say, self.garbled, at);
            }
        }
    }

    /// Waits until something is to be done.
    fn rest(&mut self, somebody: bool) {
        let now = Instant::now();
        let longest = match (somebody, &self.pty) {
            (false, Some(_)) => LOOK_FOR_SOMEBODY,
            _ => LOOK_AGAIN,
        };
        let due = self.slaves.iter().filter_map(|slave| slave.due());
        let next = due.chain(self.line.next()).min();
        let time = next.map_or(longest, |next| next.saturating_duration_since(now));
        let mut files = vec![self.woken.as_fd()];
        if somebody && let Some(pty) = &self.pty {
            files.push(pty.fd());
        }
        pty::wait(&files, time.min(longest));
        let mut wakes = [0; 64];
        while matches!((&self.woken).read(&mut wakes), Ok(n) if n == wakes.len()) {}
    }
}
