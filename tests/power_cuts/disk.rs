//! The disk that loses its power.
//!
//! What a program has done to its files is on the disk for good only once it has synced them; this is
//! what may be found after a cut, for everything that it hadn't:
//!
//! * **A write** is there, absent, or torn at 512 bytes: each sector of each write on its own, whatever
//!   came before or after it. So a sector holds what it held at the last sync or what any later write
//!   put there, and writes between two syncs may have reached the disk in any order.
//! * **The length** of a file is the one it had at the last sync or after any later write or truncation,
//!   whether their data is there or not: it may have grown without its data, which is then zeros.
//! * **A truncation** is there or not.
//! * **A name** in a folder (made, renamed, removed; also a new folder's) is what it was at the folder's
//!   last sync, or any of the later changes is there and others aren't. A rename is whole: both names
//!   as before, or both as after. Syncing a file says nothing about its name, as POSIX has it.
//! * How much of it is there differs from cut to cut: nothing, a little, half, most, all.
//! * **A `-shm` file** is memory that happens to have a name: after a cut it is absent, rubbish, or what
//!   an earlier run left.
//!
//! What it doesn't cover: a disk that lies about a sync; bits that rot; sectors that were synced before
//! and suffer from a neighbour's write; a file system that itself breaks.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::interposed::Op;
use crate::rng::Rng;

const SECTOR: usize = 512;

/// How much of what wasn't synced is there, in 256ths.
const SHARES: [u64; 5] = [0, 24, 128, 232, 256];

/// A file or folder of the disk, whatever its names.
type Node = usize;

/// A disk with what was synced, and what wasn't.
#[derive(Debug, Default)]
pub struct Disk {
    root: PathBuf,
    files: HashMap<Node, File>,
    folders: HashMap<Node, Folder>,
    /// The kernel's numbers, which are used again.
    by_ino: HashMap<u64, Node>,
    nodes: usize,
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Arc<[u8]> },
    Truncate(usize),
}

#[derive(Debug, Default)]
struct Folder {
    /// As it is for the program.
    now: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<Naming>,
}

#[derive(Debug, Clone)]
enum Naming {
    Bind(String, Node),
    Unbind(String),
    Rename {
        from: String,
        to: String,
        node: Node,
    },
}

/// What is found after a cut: folders and files with their bytes, by path below the root.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    pub folders: Vec<PathBuf>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Whether anything that wasn't synced is gone.
    pub lost: bool,
}

impl Disk {
    /// A disk whose root holds nothing.
    pub fn new(root: &Path, root_ino: u64) -> Self {
        let mut disk = Self {
            root: root.to_path_buf(),
            ..Self::default()
        };
        disk.add_folder(root_ino);
        disk
    }

    /// Puts a file there that was synced long ago.
    pub fn put_file(&mut self, path: &Path, ino: u64, bytes: Vec<u8>) {
        let node = self.node(ino);
        let file = File {
            durable: bytes,
            pending: Vec::new(),
        };
        self.files.insert(node, file);
        self.put_name(path, node);
    }

    /// Puts a folder there that was synced long ago.
    pub fn put_folder(&mut self, path: &Path, ino: u64) {
        let node = self.add_folder(ino);
        self.put_name(path, node);
    }

    /// The program does something.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { path, ino } => {
                let node = self.node(*ino);
                self.files.insert(node, File::default());
                self.name(path, |name| Naming::Bind(name, node));
            }
            Op::Mkdir { path, ino } => {
                let node = self.add_folder(*ino);
                self.name(path, |name| Naming::Bind(name, node));
            }
            Op::Write { ino, offset, data } => {
                let change = Change::Write {
                    offset: *offset as usize,
                    data: data.clone().into(),
                };
                self.file(*ino).pending.push(change);
            }
            Op::Truncate { ino, len } => {
                let change = Change::Truncate(*len as usize);
                self.file(*ino).pending.push(change);
            }
            Op::Sync { ino } => self.file(*ino).sync(),
            Op::SyncDir { ino } => {
                let folder = self.by_ino.get(ino).and_then(|n| self.folders.get_mut(n));
                let folder = folder.expect("a synced folder that isn't known");
                folder.durable = folder.now.clone();
                folder.pending.clear();
            }
            Op::Rename { from, to } => {
                let node = self.look_up(from).expect("a renamed file that isn't known");
                let from = file_name(from);
                self.name(to, |to| Naming::Rename { from, to, node });
            }
            Op::Unlink { path } | Op::Rmdir { path } => self.name(path, Naming::Unbind),
        }
    }

    /// The power goes. What is found when it comes back is drawn from `rng`.
    pub fn cut(&self, rng: &mut Rng) -> Found {
        let share = SHARES[rng.below(SHARES.len() as u64) as usize];
        let mut there = |rng: &mut Rng| rng.below(256) < share;
        let mut found = Found::default();
        self.find(0, Path::new(""), &mut found, rng, &mut there);
        found
    }

    fn find(
        &self,
        folder: Node,
        path: &Path,
        found: &mut Found,
        rng: &mut Rng,
        there: &mut dyn FnMut(&mut Rng) -> bool,
    ) {
        let folder = &self.folders[&folder];
        let mut names = folder.durable.clone();
        for naming in &folder.pending {
            if there(rng) {
                naming.apply(&mut names);
            } else {
                found.lost = true;
            }
        }
        for (name, node) in names {
            let path = path.join(name);
            if let Some(file) = self.files.get(&node) {
                let (bytes, lost) = file.after_cut(rng, there);
                found.lost |= lost;
                found.files.insert(path, bytes);
            } else {
                found.folders.push(path.clone());
                self.find(node, &path, found, rng, there);
            }
        }
    }

    fn node(&mut self, ino: u64) -> Node {
        let node = self.nodes;
        self.nodes += 1;
        self.by_ino.insert(ino, node);
        node
    }

    fn add_folder(&mut self, ino: u64) -> Node {
        let node = self.node(ino);
        self.folders.insert(node, Folder::default());
        node
    }

    fn file(&mut self, ino: u64) -> &mut File {
        let node = self.by_ino.get(&ino);
        node.and_then(|node| self.files.get_mut(node))
            .expect("a file that isn't known")
    }

    fn put_name(&mut self, path: &Path, node: Node) {
        let folder = self.parent(path);
        folder.now.insert(file_name(path), node);
        folder.durable.insert(file_name(path), node);
    }

    fn name(&mut self, path: &Path, naming: impl FnOnce(String) -> Naming) {
        let folder = self.parent(path);
        let naming = naming(file_name(path));
        naming.apply(&mut folder.now);
        folder.pending.push(naming);
    }

    fn parent(&mut self, path: &Path) -> &mut Folder {
        let folder = self.look_up(path.parent().expect("a path below the root"));
        let folder = folder.and_then(|node| self.folders.get_mut(&node));
        folder.unwrap_or_else(|| panic!("{}: its folder isn't known", path.display()))
    }

    /// What the program sees by this name.
    fn look_up(&self, path: &Path) -> Option<Node> {
        let below = path.strip_prefix(&self.root).ok()?;
        let mut node = 0;
        for part in below.components() {
            let Component::Normal(name) = part else {
                continue;
            };
            node = *self.folders.get(&node)?.now.get(name.to_str()?)?;
        }
        Some(node)
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Bind(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Unbind(name) => {
                names.remove(name);
            }
            Self::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Change {
    fn len_after(&self, before: usize) -> usize {
        match self {
            Self::Write { offset, data } => before.max(offset + data.len()),
            Self::Truncate(len) => *len,
        }
    }
}

impl File {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, data } => put(&mut self.durable, offset, &data),
                Change::Truncate(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// The bytes found after a cut, and whether any that were written aren't.
    fn after_cut(&self, rng: &mut Rng, there: &mut dyn FnMut(&mut Rng) -> bool) -> (Vec<u8>, bool) {
        if self.pending.is_empty() {
            return (self.durable.clone(), false);
        }
        let mut bytes = self.durable.clone();
        let mut lens = vec![bytes.len()];
        let mut lost = false;
        for change in &self.pending {
            lens.push(change.len_after(*lens.last().unwrap_or(&0)));
            match change {
                Change::Truncate(len) if there(rng) => bytes.truncate(*len),
                Change::Truncate(_) => lost = true,
                Change::Write { offset, data } => {
                    let mut at = 0;
                    while at < data.len() {
                        let sector_ends = (offset + at) / SECTOR * SECTOR + SECTOR - offset;
                        let end = sector_ends.min(data.len());
                        if there(rng) {
                            put(&mut bytes, offset + at, &data[at..end]);
                        } else {
                            lost = true;
                        }
                        at = end;
                    }
                }
            }
        }
        // All of it there: the length as well. Otherwise it goes its own way.
        let last = lens.len() - 1;
        let len = if lost {
            lens[rng.below(lens.len() as u64) as usize]
        } else {
            lens[last]
        };
        bytes.resize(len, 0);
        (bytes, lost)
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str());
    name.expect("a name in UTF-8").to_owned()
}
