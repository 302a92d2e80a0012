//! The cloud's keys for pickup codes. Gateways seal to the last; the ones before it still open what
//! was sealed to them.
//!
//! They are in a file of their own, not in the store: who has a copy of the store alone can't read a
//! code. Several clouds on one store are given the same file. A line each, the newest last: the key's
//! id and its 32 secret bytes in hexadecimal.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use cloud_protocol::secure::sealed::{OpeningKey, SealError};
use cloud_protocol::{SealedCode, SealingKey};
use firmware_protocols::event::Secret;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::store::ParcelView;
use crate::tokens::hex;

const HEADING: &str = "\
# Keys that open the pickup codes at this cloud, the newest last. Secret: keep it readable by the
# cloud alone, and keep a copy. Without it the codes in the store can't be read.
";
/// The largest file: some thousand keys.
const FILE_MAX_BYTES: u64 = 256 * 1024;

/// The keys, at least one.
pub(crate) struct SealingKeys {
    in_force: OpeningKey,
    before: Vec<OpeningKey>,
}

impl SealingKeys {
    /// One that is gone with the process.
    pub fn in_memory() -> anyhow::Result<Self> {
        Ok(Self {
            in_force: OpeningKey::from_seed(&*seed()?),
            before: Vec::new(),
        })
    }

    /// Those of a file, which is made with a new one if it isn't there. `renew`: with a new one more.
    pub fn in_file(path: &Path, renew: bool) -> anyhow::Result<Self> {
        let at = || format!("the file of sealing keys {}", path.display());
        if !path.exists() {
            make(path).with_context(at)?;
        } else if renew {
            let mut file = OpenOptions::new()
                .append(true)
                .open(path)
                .with_context(at)?;
            file.write_all(line(&*seed()?).as_bytes())
                .with_context(at)?;
            file.sync_all().with_context(at)?;
        }
        read(path).with_context(at)
    }

    /// What gateways seal to.
    pub fn in_force(&self) -> SealingKey {
        SealingKey {
            id: id(&self.in_force),
            public_key: self.in_force.public_key(),
        }
    }

    /// Opens the code of a parcel.
    pub fn open(
        &self,
        gateway: &str,
        parcel: &str,
        code: &SealedCode,
    ) -> Result<Secret, SealError> {
        let mut keys = self.before.iter().chain([&self.in_force]);
        let key = keys.find(|key| id(key) == code.key);
        key.ok_or(SealError::Key)?.open(gateway, parcel, code)
    }

    /// The parcel with the digits of its code, if it has one that opens.
    pub fn opened(&self, gateway: &str, mut parcel: ParcelView) -> ParcelView {
        if let Some(code) = &parcel.code {
            match self.open(gateway, &parcel.parcel, code) {
                Ok(digits) => parcel.digits = Some(digits),
                Err(e) => tracing::warn!(
                    gateway,
                    parcel = parcel.parcel,
                    key = code.key,
                    "its code can't be told to the resident: {e}; is the file of sealing keys the one \
                     that all clouds of this store have?"
                ),
            }
        }
        parcel
    }
}

/// A key is known by its public half.
fn id(key: &OpeningKey) -> String {
    let digest = digest(&SHA256, &key.public_key());
    format!("k-{}", hex(digest.as_ref().get(..8).unwrap_or_default()))
}

fn seed() -> anyhow::Result<Box<[u8; 32]>> {
    let mut seed = Box::new([0; 32]);
    let filled = SystemRandom::new().fill(&mut *seed);
    ensure!(filled.is_ok(), "the system has no random numbers to give");
    Ok(seed)
}

fn line(seed: &[u8; 32]) -> String {
    format!("{} {}\n", id(&OpeningKey::from_seed(seed)), hex(seed))
}

/// Whole or not at all, and never over one that another cloud has just made.
fn make(path: &Path) -> anyhow::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(HEADING.as_bytes())?;
    file.write_all(line(&*seed()?).as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e.into()),
        _ => {}
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<SealingKeys> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    ensure!(
        mode & 0o077 == 0,
        "others may read it: chmod 600 {}",
        path.display()
    );
    let mut text = String::new();
    file.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    let mut keys = Vec::new();
    for (n, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(key) = key_of(line) else {
            bail!("line {} isn't a key's id and 64 hexadecimal digits", n + 1);
        };
        keys.push(key);
    }
    let in_force = keys
        .pop()
        .context("it has no key: move it away, and a new one is made")?;
    Ok(SealingKeys {
        in_force,
        before: keys,
    })
}

fn key_of(line: &str) -> Option<OpeningKey> {
    let (stated, digits) = line.trim().split_once(' ')?;
    let mut seed = Box::new([0; 32]);
    let digits = digits.trim();
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    let key = OpeningKey::from_seed(&seed);
    (id(&key) == stated).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_protocol::secure::sealed::seal;

    #[test]
    fn a_key_stays_over_a_restart_and_opens_after_it_was_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud.keys");
        let first = SealingKeys::in_file(&path, false).unwrap().in_force();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = SealingKeys::in_file(&path, false).unwrap();
        assert_eq!(again.in_force(), first);
        let code = seal(&first, "g", "P", &Secret::new("4711")).unwrap();

        let renewed = SealingKeys::in_file(&path, true).unwrap();
        assert_ne!(renewed.in_force(), first);
        assert_eq!(renewed.open("g", "P", &code).unwrap().reveal(), "4711");
        assert_eq!(
            SealingKeys::in_memory().unwrap().open("g", "P", &code),
            Err(SealError::Key)
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud.keys");
        SealingKeys::in_file(&path, false).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = SealingKeys::in_file(&path, false).err().unwrap();
        assert!(format!("{refused:#}").contains("chmod 600"), "{refused:#}");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let other = if text.contains("00\n") {
            "11\n"
        } else {
            "00\n"
        };
        let at = text.len() - 3;
        fs::write(&path, format!("{}{other}", &text[..at])).unwrap();
        let refused = SealingKeys::in_file(&path, false).err().unwrap();
        let words = format!("{refused:#}");
        assert!(words.contains("line 3 isn't a key's id"), "{words}");
    }
}
