//! A pseudo-terminal that behaves like a serial adapter's end: raw, without an own hold on the other
//! side, and with a path that disappears when it is dropped.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// The side of the devices.
pub struct Pty {
    master: OwnedFd,
    path: PathBuf,
}

/// What reading came to.
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Nobody has the other side open.
    Nobody,
}

impl Pty {
    /// A new one. Nobody has the other side open.
    pub fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(name.to_string_lossy().into_owned());
        // Opened once, so that the kernel tells from then on whether somebody has it open.
        let slave = rustix::fs::open(
            &path,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self { master, path })
    }

    /// The other side's device file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what the gateway wrote.
    pub fn read(&self, into: &mut [u8]) -> io::Result<Read> {
        match rustix::io::read(&self.master, into) {
            Ok(0) | Err(Errno::IO) => Ok(Read::Nobody),
            Ok(n) => Ok(Read::Bytes(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Nothing),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes to the gateway. What it doesn't read in time is lost, as with a UART.
    pub fn write(&self, bytes: &[u8]) {
        let _ = rustix::io::write(&self.master, bytes);
    }

    /// The rate that the gateway has set, bits a second.
    pub fn rate(&self) -> Option<u32> {
        Some(tcgetattr(&self.master).ok()?.output_speed())
    }

    /// Its file, to wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

/// Waits until one of the files can be read, or the time has passed.
pub fn wait(files: &[BorrowedFd<'_>], time: std::time::Duration) {
    let mut polled: Vec<PollFd<'_>> = files
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(3_600),
        tv_nsec: time.subsec_nanos().into(),
    };
    // An interruption is a reason to look again like any other.
    let _ = poll(&mut polled, Some(&timeout));
}
