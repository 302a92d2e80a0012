//! Opening a port, for this process alone, and telling apart why it can't be.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::sys::termios::tcgetattr;
use tokio_serial::{ErrorKind, SerialPortBuilderExt as _, SerialStream};

use super::status::PortFault;
use super::users::users;
use crate::config::serial::{Parity, PortSection};

/// Opens a port for this process alone. Returns it with the device file that its path leads to now.
/// To be called within an async runtime; it may block for some milliseconds.
///
/// # Errors
/// What is wrong with it.
pub fn open(port: &PortSection) -> Result<(SerialStream, PathBuf), PortFault> {
    let device = std::fs::canonicalize(&port.path).map_err(|e| fault(&e))?;
    let about = std::fs::metadata(&device).map_err(|e| fault(&e))?;
    if !about.file_type().is_char_device() {
        return Err(PortFault::NotSerial);
    }
    // Kept until the port is open: to close a port that nobody has open drops its control lines.
    let first = open_file(&device).map_err(|fault| match fault {
        PortFault::InUse { .. } => in_use(about.rdev()),
        fault => fault,
    })?;
    if let Some(by) = others(&device) {
        return Err(PortFault::InUse { by: Some(by) });
    }
    is_free(&first, about.rdev())?;
    let opened = settings(port, &device)
        .open_native_async()
        .map_err(|e| library_fault(&e, about.rdev()))?;
    Ok((opened, device))
}

/// Another process that has a device file open, as far as this user can see it.
pub(super) fn others(device: &Path) -> Option<String> {
    let device = std::fs::metadata(device).ok()?.rdev();
    let ours = std::process::id();
    let mut others = having(device).into_iter().filter(|(pid, _)| *pid != ours);
    others.next().map(|(_, name)| name)
}

fn having(device: u64) -> Vec<(u32, String)> {
    let mut users = users(Path::new("/proc"), |file| {
        std::fs::metadata(file.link)
            .is_ok_and(|about| about.file_type().is_char_device() && about.rdev() == device)
    });
    users.retain(|(pid, _)| !is_far_end(*pid, device));
    users
}

/// Whether a process has the far end of a pseudo-terminal: then it is the device there, and no other
/// user of the port.
fn is_far_end(pid: u32, device: u64) -> bool {
    const NEAR_ENDS: std::ops::RangeInclusive<u64> = 136..=143;
    let (major, minor) = (device >> 8 & 0xFFF, device & 0xFF | device >> 12 & !0xFF);
    if !NEAR_ENDS.contains(&major) {
        return false;
    }
    let number = format!("{}", (major - NEAR_ENDS.start()) * 256 + minor);
    let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo"));
    let mut files = files.into_iter().flatten().flatten();
    files.any(|file| {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let mut indices = text.lines().filter_map(|it| it.strip_prefix("tty-index:"));
        indices.any(|index| index.trim() == number)
    })
}

fn open_file(device: &Path) -> Result<File, PortFault> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(O_NOCTTY | O_NONBLOCK);
    let file = options.open(device).map_err(|e| fault(&e))?;
    match tcgetattr(&file) {
        Ok(_) => Ok(file),
        Err(Errno::ENOTTY | Errno::EINVAL) => Err(PortFault::NotSerial),
        Err(e) => Err(fault(&e.into())),
    }
}

/// Programs that mean well lock a port; root isn't kept out by anything else.
fn is_free(file: &File, device: u64) -> Result<(), PortFault> {
    match file.try_lock() {
        Ok(()) => file.unlock().map_err(|e| fault(&e)),
        Err(TryLockError::WouldBlock) => Err(in_use(device)),
        Err(TryLockError::Error(e)) => Err(fault(&e)),
    }
}

fn in_use(device: u64) -> PortFault {
    let by = having(device);
    PortFault::InUse {
        by: by.into_iter().next().map(|(_, name)| name),
    }
}

fn settings(port: &PortSection, device: &Path) -> tokio_serial::SerialPortBuilder {
    let parity = match port.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop_bits = match port.stop_bits {
        2 => tokio_serial::StopBits::Two,
        _ => tokio_serial::StopBits::One,
    };
    tokio_serial::new(device.to_string_lossy(), port.baud())
        .parity(parity)
        .stop_bits(stop_bits)
}

fn fault(error: &io::Error) -> PortFault {
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        // No hardware behind a device file: EIO for a port of the board that isn't there, ENXIO and
        // ENODEV for one that goes just now.
        Some(
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ENXIO
            | Errno::ENODEV
            | Errno::EIO
            | Errno::ELOOP,
        ) => PortFault::Missing,
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => PortFault::Denied,
        Some(Errno::EBUSY) => PortFault::InUse { by: None },
        Some(Errno::ENOTTY) => PortFault::NotSerial,
        _ => PortFault::Other {
            error: error.to_string(),
        },
    }
}

fn library_fault(error: &tokio_serial::Error, device: u64) -> PortFault {
    match error.kind() {
        ErrorKind::NoDevice => in_use(device),
        ErrorKind::Io(io::ErrorKind::NotFound) => PortFault::Missing,
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => PortFault::Denied,
        _ => PortFault::Other {
            error: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> PortFault {
        fault(&errno.into())
    }

    #[test]
    fn why_a_port_cannot_be_opened_is_told_apart() {
        for gone in [Errno::ENOENT, Errno::ENXIO, Errno::ENODEV, Errno::EIO] {
            assert_eq!(of(gone), PortFault::Missing);
        }
        // Root may open everything, so this isn't seen in a test of the whole.
        assert_eq!(of(Errno::EACCES), PortFault::Denied);
        assert_eq!(of(Errno::EPERM), PortFault::Denied);
        assert_eq!(of(Errno::EBUSY), PortFault::InUse { by: None });
        assert_eq!(of(Errno::ENOTTY), PortFault::NotSerial);
        assert!(matches!(of(Errno::EMFILE), PortFault::Other { error } if !error.is_empty()));
    }
}
