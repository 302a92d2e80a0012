//! A gateway with serial ports, in this process, and the far ends of its lines.
//!
//! A [`Wire`] is a pseudo-terminal: the test holds the far end (what a device would be), the daemon
//! opens the near one by its path. A [`Socket`] is a name that stays while wires are plugged in and
//! out, as those below `/dev/serial/by-id` do. Everything ends when it is dropped.

#![allow(dead_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use linli::clock::Clock;
use linli::config::Config;
use linli::control::reload::ReloadView;
use linli::daemon::{self, Running};
use linli::links::serial::status::{PortView, SlaveView};
use linli::store::read::{EventFilter, EventRow, Reader};
use nix::fcntl::OFlag;
use nix::libc::O_NOCTTY;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take before a test gives up. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `ready` gives something, or fails with `what`.
pub async fn wait_until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < until, "in vain: waited for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A gateway of building `b1`, with what the test adds.
pub struct Bed {
    pub dir: TempDir,
    daemon: Option<Running>,
}

impl Bed {
    /// Starts one. `more` is TOML: ports, banks, desks, devices.
    pub async fn start(more: &str) -> Self {
        let mut bed = Self {
            dir: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        bed.write_config(more);
        bed.begin().await;
        bed
    }

    /// Stops it, and starts it again with its state.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.begin().await;
    }

    /// Stops it. Says how long that took.
    pub async fn stop(&mut self) -> Duration {
        let started = Instant::now();
        if let Some(daemon) = self.daemon.take() {
            timeout(PATIENCE, daemon.shutdown()).await.unwrap();
        }
        started.elapsed()
    }

    /// Starts it again after [`Self::stop`].
    pub async fn begin(&mut self) {
        let config = Config::read(&self.config()).unwrap();
        let file = self.config();
        let running = daemon::start_from(Some(&file), config, Clock::system()).await;
        self.daemon = Some(running.unwrap());
    }

    /// Has it go by another configuration.
    pub async fn reload(&self, more: &str) -> ReloadView {
        self.write_config(more);
        self.daemon().reload("the test").await
    }

    fn write_config(&self, more: &str) {
        let text = format!(
            "site = \"test-site\"\nstate_dir = {:?}\n\
             [broker]\nlisten = \"127.0.0.1:0\"\n\
             [limits]\nevents_per_s = 0\nurgent_per_s = 0\nkib_per_s = 0\n\
             [[building]]\nid = \"b1\"\n{more}",
            self.state()
        );
        fs::write(self.config(), text).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("linli.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn store(&self) -> PathBuf {
        self.state().join("linli.db")
    }

    pub fn daemon(&self) -> &Running {
        self.daemon.as_ref().unwrap()
    }

    /// How a port is.
    pub fn port(&self, id: &str) -> PortView {
        let mut views = self.daemon().ports.views().into_iter();
        views.find(|view| view.port == id).unwrap()
    }

    /// How a device on a port is; `None` before its driver knows it.
    pub fn slave(&self, port: &str, device: &str) -> Option<SlaveView> {
        let mut slaves = self.port(port).slaves.into_iter();
        slaves.find(|slave| slave.device == device)
    }

    /// Waits until a port is as wanted.
    pub async fn port_is(&self, id: &str, what: &str, is: impl Fn(&PortView) -> bool) -> PortView {
        let what = format!("port {id}: {what}");
        wait_until(&what, || Some(self.port(id)).filter(|view| is(view))).await
    }

    /// What a device said, oldest first, its `hello` too.
    pub fn events(&self, device: &str) -> Vec<EventRow> {
        let filter = EventFilter {
            device: Some(device.to_owned()),
            kind: None,
        };
        let reader = Reader::open(&self.store()).unwrap();
        reader.events_after(&filter, 0, 1_000).unwrap().events
    }

    /// What a device said of a kind, oldest first.
    pub fn events_of(&self, device: &str, kind: &str) -> Vec<EventRow> {
        let mut events = self.events(device);
        events.retain(|event| event.kind == kind);
        events
    }

    /// Waits until a device has said so many events of a kind.
    pub async fn said(&self, device: &str, kind: &str, count: usize) -> Vec<EventRow> {
        let what = format!("{count} {kind} of {device}");
        let enough = || Some(self.events_of(device, kind)).filter(|events| events.len() >= count);
        wait_until(&what, enough).await
    }

    /// Runs the CLI against it.
    pub async fn linli(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
        command.arg("--config").arg(self.config()).args(args);
        command.stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || command.output());
        ran.await.unwrap().unwrap()
    }
}

/// A line: its far end.
pub struct Wire {
    from_daemon: pipe::Receiver,
    to_daemon: pipe::Sender,
    path: PathBuf,
    /// Keeps what the far end says until the daemon opens the near end.
    near: File,
}

impl Wire {
    pub fn new() -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let far = posix_openpt(flags).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let path = PathBuf::from(ptsname_r(&far).unwrap());
        let near = open_tty(&path).unwrap();
        let mut settings = tcgetattr(&near).unwrap();
        cfmakeraw(&mut settings);
        tcsetattr(&near, SetArg::TCSANOW, &settings).unwrap();
        let far = File::from(OwnedFd::from(far));
        Self {
            to_daemon: pipe::Sender::from_file_unchecked(far.try_clone().unwrap()).unwrap(),
            from_daemon: pipe::Receiver::from_file_unchecked(far).unwrap(),
            path,
            near,
        }
    }

    /// The near end's device file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The near end, for a process that inherits it.
    pub fn near(&self) -> File {
        self.near.try_clone().unwrap()
    }

    /// Says something to the daemon.
    pub async fn say(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.write_all(bytes))
            .await
            .unwrap()
            .unwrap();
    }

    /// The next so many bytes from the daemon.
    pub async fn hear(&mut self, bytes: usize) -> Vec<u8> {
        let mut heard = vec![0; bytes];
        timeout(PATIENCE, self.read_exact(&mut heard))
            .await
            .unwrap()
            .unwrap();
        heard
    }
}

/// Opens a terminal without making it ours.
pub fn open_tty(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_NOCTTY)
        .open(path)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.from_daemon).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to_daemon).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to_daemon).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to_daemon).poll_shutdown(cx)
    }
}

/// Where wires are plugged in: a symbolic link that stays when the device file's name changes.
pub struct Socket {
    dir: TempDir,
}

impl Socket {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// One with a wire in it.
    pub fn with(wire: &Wire) -> Self {
        let socket = Self::new();
        socket.plug(wire.path());
        socket
    }

    /// The path for the configuration.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("usb-adapter")
    }

    /// Plugs in what has this device file.
    pub fn plug(&self, device: &Path) {
        let new = self.dir.path().join("new");
        std::os::unix::fs::symlink(device, &new).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// Takes the name away, as udev does when the adapter is pulled out.
    pub fn unplug(&self) {
        fs::remove_file(self.path()).unwrap();
    }
}
