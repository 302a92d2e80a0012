//! The serial ports of the machine, for `linli serial list`: what the kernel knows of each (sysfs),
//! the names that stay when it is plugged in again (`/dev/serial`), and who has it open.
//!
//! Everything is read below a folder, `/` on a machine, so that a test can stand one up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::users::users;

/// How far above a port's own folder in sysfs its USB device may be.
const USB_ABOVE: usize = 6;

/// A serial port of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialFile {
    /// Its device file, whose name may change at the next plugging in: `/dev/ttyUSB0`.
    pub device: PathBuf,
    /// The same by what it is; stays when it is plugged in elsewhere.
    pub by_id: Option<PathBuf>,
    /// The same by where it is plugged in; stays when the adapter is replaced.
    pub by_path: Option<PathBuf>,
    /// The USB device that it is.
    pub usb: Option<Usb>,
    /// The kernel's driver.
    pub driver: Option<String>,
    /// The processes that have it open, `name (pid)`, as far as this user can see them.
    pub used_by: Vec<String>,
}

/// What a USB device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usb {
    /// Who made its chip, four hexadecimal digits.
    pub vendor: String,
    /// Which, four hexadecimal digits.
    pub product: String,
    /// Its serial number, if it has one.
    pub serial: Option<String>,
    /// The maker and the product, in its own words.
    pub name: Option<String>,
}

impl SerialFile {
    /// The path for the configuration: the one that stays the longest.
    pub fn path(&self) -> &Path {
        let stable = self.by_id.as_ref().or(self.by_path.as_ref());
        stable.unwrap_or(&self.device)
    }
}

/// Every serial port of the machine whose root folder this is, by the names of their device files.
/// What can't be read isn't there.
pub fn list(root: &Path) -> Vec<SerialFile> {
    let (by_id, by_path) = (links(root, "by-id"), links(root, "by-path"));
    let mut ports: Vec<SerialFile> = names(root)
        .into_iter()
        .map(|name| {
            let about = root.join("sys/class/tty").join(&name).join("device");
            let device = Path::new("/dev").join(&name);
            let users = users(&root.join("proc"), |file| file.leads_to == device);
            SerialFile {
                by_id: by_id.get(&name).cloned(),
                by_path: by_path.get(&name).cloned(),
                usb: usb(root, &about),
                driver: target_name(&about.join("driver")),
                used_by: users.into_iter().map(|(_, name)| name).collect(),
                device,
            }
        })
        .collect();
    ports.sort_by_key(|port| natural(&port.device));
    ports
}

/// The ports' names. Most machines have device files for more ports than they have.
fn names(root: &Path) -> Vec<String> {
    let in_sysfs = entries(&root.join("sys/class/tty"));
    if in_sysfs.is_empty() {
        // Without sysfs, as in some containers: what is plugged in has a device file only then.
        let mut names = entries(&root.join("dev"));
        let plugged = ["ttyUSB", "ttyACM", "ttyAMA"];
        names.retain(|name| plugged.iter().any(|kind| name.starts_with(kind)));
        return names;
    }
    let real = |name: &String| {
        let about = root.join("sys/class/tty").join(name);
        // 0 is a port that the kernel found no chip for. Not every driver says a type.
        let chip = fs::read_to_string(about.join("type")).map(|kind| kind.trim() != "0");
        about.join("device").exists()
            && chip.unwrap_or(true)
            && root.join("dev").join(name).exists()
    };
    in_sysfs.into_iter().filter(real).collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// The links in a folder of `/dev/serial`, by the name of the device file that they lead to.
fn links(root: &Path, folder: &str) -> BTreeMap<String, PathBuf> {
    let below = Path::new("dev/serial").join(folder);
    let mut names = entries(&root.join(&below));
    // An adapter may have several: the shortest says the most clearly what it is.
    names.sort_by_key(|name| std::cmp::Reverse((name.len(), name.clone())));
    let lead = names.into_iter().filter_map(|name| {
        let to = target_name(&root.join(&below).join(&name))?;
        Some((to, Path::new("/").join(&below).join(name)))
    });
    lead.collect()
}

fn target_name(link: &Path) -> Option<String> {
    let to = fs::read_link(link).ok()?;
    Some(to.file_name()?.to_str()?.to_owned())
}

/// The USB device that a port belongs to: the first folder above it that says a vendor.
fn usb(root: &Path, about: &Path) -> Option<Usb> {
    let about = fs::canonicalize(about).ok()?;
    let root = fs::canonicalize(root).ok()?;
    let folders = about.ancestors().take(USB_ABOVE);
    let mut folders = folders.filter(|folder| folder.starts_with(&root));
    let device = folders.find(|folder| folder.join("idVendor").exists())?;
    let says = |what: &str| {
        let text = fs::read_to_string(device.join(what)).ok()?;
        let text: String = text.chars().filter(|c| !c.is_control()).take(128).collect();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let name: Vec<String> = ["manufacturer", "product"]
        .into_iter()
        .filter_map(says)
        .collect();
    Some(Usb {
        vendor: says("idVendor")?,
        product: says("idProduct")?,
        serial: says("serial"),
        name: (!name.is_empty()).then(|| name.join(" ")),
    })
}

/// `ttyUSB2` before `ttyUSB10`.
fn natural(device: &Path) -> (String, u64) {
    let name = device.to_string_lossy().into_owned();
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.get(letters.len()..).and_then(|n| n.parse().ok());
    (letters.to_owned(), number.unwrap_or(0))
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
