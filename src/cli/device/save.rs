//! The configuration's file, changed as a whole: a power cut leaves the old one or the new one, with the
//! owner and mode it had. Who changes it takes turns with others, and changes nothing that somebody
//! else has changed meanwhile.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::super::stop::{self, Stop};
use super::super::words;
use crate::store::{parent_of, sync_folder};

/// The file, held for a change.
pub struct Held {
    file: PathBuf,
    text: String,
    meta: Metadata,
    /// The folder, locked as long as the file is held.
    _turn: File,
}

impl Held {
    /// Reads the file, and waits until nobody else changes it. A link is followed.
    pub fn take(shown: &Path) -> Result<Self, Stop> {
        let wrong = |e: io::Error| refused(shown, &e);
        let file = fs::canonicalize(shown).map_err(wrong)?;
        let turn = File::open(parent_of(&file)).map_err(wrong)?;
        turn.lock().map_err(wrong)?;
        // Whoever may not write it may not replace it either, whatever the folder allows.
        let there = OpenOptions::new().write(true).open(&file).map_err(wrong)?;
        let meta = there.metadata().map_err(wrong)?;
        let text = fs::read_to_string(&file).map_err(wrong)?;
        Ok(Self {
            file,
            text,
            meta,
            _turn: turn,
        })
    }

    /// What stands in it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file that a link leads to.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Puts another text in its place.
    pub fn replace(&mut self, text: &str) -> Result<(), Stop> {
        if fs::read_to_string(&self.file).is_ok_and(|now| now != self.text) {
            let message = words::device::changed_meanwhile(&self.file);
            return Err(Stop::new(stop::FAILED, message));
        }
        let beside = self.beside();
        let replaced = self.write(&beside, text);
        if replaced.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&beside);
        }
        replaced.map_err(|e| refused(&self.file, &e))?;
        self.text = text.to_string();
        Ok(())
    }

    fn write(&self, beside: &Path, text: &str) -> io::Result<()> {
        // One that was left by a power cut.
        if let Err(e) = fs::remove_file(beside)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(beside)?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (self.meta.uid(), self.meta.gid()) {
            fchown(&file, Some(self.meta.uid()), Some(self.meta.gid()))?;
        }
        let mode = self.meta.permissions().mode() & 0o7777;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, &self.file)?;
        sync_folder(parent_of(&self.file))
    }

    /// A hidden name, so that nothing that looks for `*.toml` takes it.
    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.file.file_name().unwrap_or_default());
        name.push(".new");
        self.file.with_file_name(name)
    }
}

fn refused(file: &Path, error: &io::Error) -> Stop {
    let sudo = matches!(error.kind(), io::ErrorKind::PermissionDenied);
    Stop::new(stop::FAILED, words::device::cannot_write(file, error, sudo))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf, Held) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("linli.toml");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let held = Held::take(&file).unwrap();
        (dir, file, held)
    }

    #[test]
    fn the_text_changes_and_the_mode_stays() {
        let (dir, file, mut held) = held("old", 0o640);
        fs::write(dir.path().join(".linli.toml.new"), "left by a power cut").unwrap();
        held.replace("new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640);
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        // And once more, as when what was added is taken out again.
        held.replace("old").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    }

    #[test]
    fn a_link_stays_a_link() {
        let (dir, file, first) = held("old", 0o644);
        drop(first);
        let link = dir.path().join("link.toml");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Held::take(&link).unwrap().replace("new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_stays() {
        let (_dir, file, mut held) = held("old", 0o644);
        fs::write(&file, "by an editor").unwrap();
        let stop = held.replace("new").unwrap_err();
        assert!(stop.words().contains("try again"), "{}", stop.words());
        assert_eq!(fs::read_to_string(&file).unwrap(), "by an editor");
    }

    #[test]
    fn a_file_that_may_not_be_written_says_who_may() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = refused(Path::new("/etc/linli/linli.toml"), &denied).words();
        assert!(told.contains("sudo"), "{told}");
    }
}
