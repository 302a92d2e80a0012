//! The secure channel key of a reader, and its file: 32 hexadecimal digits, for its owner's eyes only.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use osdp::secure::SCBK_D;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::keys::write_private;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file isn't there: the reader wasn't commissioned yet.
    #[error("its key file {} isn't there yet", .0.display())]
    Missing(PathBuf),
    /// Others may read it.
    #[error("its key file {} is open to others (mode {mode:o}): run chmod 600 {}, and if others use this machine, give the reader a new key", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It isn't a key.
    #[error("its key file {} doesn't hold 32 hexadecimal digits: put the right ones there, or remove it and commission the reader anew", .0.display())]
    Form(PathBuf),
    /// It is the key that every reader leaves the factory with.
    #[error("its key file {} holds the installation key, which everyone knows: remove it and commission the reader", .0.display())]
    Installation(PathBuf),
    /// It can't be read.
    #[error("its key file {} can't be read ({source}): it must belong to the daemon's user", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// A reader's own key. Wiped from memory after use, and never printed.
pub struct Key(Zeroizing<[u8; 16]>);

impl Key {
    /// The key in a file.
    ///
    /// # Errors
    /// Why there is none, with the remedy.
    pub fn read(path: &Path) -> Result<Self, KeyFault> {
        let fault = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyFault::Missing(path.to_path_buf()),
            _ => KeyFault::Io {
                path: path.to_path_buf(),
                source,
            },
        };
        let file = File::open(path).map_err(fault)?;
        let mode = file.metadata().map_err(fault)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFault::Mode {
                path: path.to_path_buf(),
                mode,
            });
        }
        // Longer than a key with the line's end can be.
        let mut text = Zeroizing::new(Vec::with_capacity(64));
        file.take(64).read_to_end(&mut text).map_err(fault)?;
        let key = digits(text.trim_ascii()).ok_or_else(|| KeyFault::Form(path.to_path_buf()))?;
        if *key == SCBK_D {
            return Err(KeyFault::Installation(path.to_path_buf()));
        }
        Ok(Self(key))
    }

    /// A new one, from the operating system.
    pub fn fresh() -> Result<Self, KeyFault> {
        let mut key = Zeroizing::new([0; 16]);
        let filled = SystemRandom::new().fill(key.as_mut());
        filled.map_err(|_| KeyFault::Random)?;
        Ok(Self(key))
    }

    /// Writes it to a file of mode 0600, so that a power cut leaves a whole key or none.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = Zeroizing::new(String::with_capacity(33));
        for byte in self.0.iter() {
            text.push_str(&Zeroizing::new(format!("{byte:02x}")));
        }
        text.push('\n');
        write_private(path, text.as_bytes())
    }

    /// Its bytes: for the secure channel.
    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn digits(text: &[u8]) -> Option<Zeroizing<[u8; 16]>> {
    if text.len() != 32 {
        return None;
    }
    let mut key = Zeroizing::new([0; 16]);
    for (byte, pair) in key.iter_mut().zip(text.chunks(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reader.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_key_is_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reader.key");
        assert!(matches!(Key::read(&path), Err(KeyFault::Missing(_))));
        let key = Key::fresh().unwrap();
        key.write(&path).unwrap();
        assert_eq!(Key::read(&path).unwrap().bytes(), key.bytes());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(Key::fresh().unwrap().bytes(), key.bytes());
    }

    #[test]
    fn digits_of_either_case_with_or_without_a_line_end() {
        for text in [
            "000102030405060708090A0b0C0d0E0f",
            "000102030405060708090a0b0c0d0e0f\r\n",
        ] {
            let (_dir, path) = file(text, 0o400);
            let expected: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
            assert_eq!(Key::read(&path).unwrap().bytes(), &expected);
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        for mode in [0o640, 0o604, 0o660, 0o644] {
            let (_dir, path) = file("000102030405060708090a0b0c0d0e0f", mode);
            let error = Key::read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        for text in [
            "",
            "0102",
            "not a key",
            "000102030405060708090a0b0c0d0e0g",
            "000102030405060708090a0b0c0d0e0f00",
            "000102030405060708090a0b0c0d0e0f\n000102030405060708090a0b0c0d0e0f",
        ] {
            let (_dir, path) = file(text, 0o600);
            let error = Key::read(&path).unwrap_err();
            assert!(matches!(error, KeyFault::Form(_)), "{text}: {error}");
            assert!(!error.to_string().contains("0102"), "{error}");
        }
    }

    #[test]
    fn the_installation_key_is_no_key() {
        let (_dir, path) = file("303132333435363738393a3b3c3d3e3f", 0o600);
        let error = Key::read(&path).unwrap_err();
        assert!(matches!(error, KeyFault::Installation(_)), "{error}");
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", Key::fresh().unwrap()), "***");
    }
}
