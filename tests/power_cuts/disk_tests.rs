//! The disk's model against what its prose says. Run before it is relied on.

use std::collections::BTreeSet;
use std::path::Path;

use crate::disk::{Disk, Found};
use crate::interposed::Op;
use crate::rng::Rng;

/// Every promise of the model, by name.
pub fn all() {
    what_was_synced_is_there();
    a_write_is_torn_at_sectors_and_nowhere_else();
    two_writes_reach_the_disk_in_any_order();
    a_file_grows_without_its_data();
    a_rename_is_whole();
    a_name_needs_its_folder_synced();
    a_removed_file_may_be_back_with_what_it_held();
}

const ROOT: &str = "/r";

fn disk() -> Disk {
    let mut disk = Disk::new(Path::new(ROOT), 1);
    disk.put_file(Path::new("/r/a"), 2, vec![b'a'; 1024]);
    disk
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(ROOT).join(name)
}

fn write(ino: u64, offset: u64, byte: u8, len: usize) -> Op {
    Op::Write {
        ino,
        offset,
        data: vec![byte; len],
    }
}

/// What is found after many cuts here.
fn cuts(disk: &Disk) -> Vec<Found> {
    (0..400).map(|n| disk.cut(&mut Rng::of(&[n]))).collect()
}

/// The ways in which a file is found: the first byte of each sector, '-' for a zero.
fn ways(disk: &Disk, name: &str) -> BTreeSet<String> {
    let shown = |bytes: &Vec<u8>| {
        let first = bytes.chunks(512).map(|sector| {
            assert!(sector.iter().all(|b| *b == sector[0]), "torn elsewhere");
            if sector[0] == 0 {
                '-'
            } else {
                char::from(sector[0])
            }
        });
        first.collect()
    };
    let found = cuts(disk).into_iter();
    found
        .map(|found| {
            found
                .files
                .get(Path::new(name))
                .map_or("absent".into(), shown)
        })
        .collect()
}

fn set(ways: &[&str]) -> BTreeSet<String> {
    ways.iter().map(|way| (*way).to_owned()).collect()
}

fn what_was_synced_is_there() {
    let mut disk = disk();
    disk.apply(&write(2, 0, b'b', 1024));
    disk.apply(&Op::Sync { ino: 2 });
    assert_eq!(ways(&disk, "a"), set(&["bb"]));
    assert!(cuts(&disk).iter().all(|found| !found.lost));
}

fn a_write_is_torn_at_sectors_and_nowhere_else() {
    let mut disk = disk();
    disk.apply(&write(2, 0, b'b', 1024));
    assert_eq!(ways(&disk, "a"), set(&["aa", "ab", "ba", "bb"]));
    assert!(cuts(&disk).iter().any(|found| found.lost));
}

fn two_writes_reach_the_disk_in_any_order() {
    let mut disk = disk();
    disk.apply(&write(2, 0, b'b', 512));
    disk.apply(&write(2, 0, b'c', 1024));
    assert_eq!(ways(&disk, "a"), set(&["aa", "ac", "ba", "bc", "ca", "cc"]));
}

fn a_file_grows_without_its_data() {
    let mut disk = disk();
    disk.apply(&write(2, 1024, b'b', 512));
    assert_eq!(ways(&disk, "a"), set(&["aa", "aa-", "aab"]));
    disk.apply(&Op::Truncate { ino: 2, len: 512 });
    disk.apply(&Op::Sync { ino: 2 });
    assert_eq!(ways(&disk, "a"), set(&["a"]));
}

fn a_rename_is_whole() {
    let mut disk = disk();
    disk.put_file(&path("b"), 3, vec![b'b'; 512]);
    disk.apply(&Op::Rename {
        from: path("b"),
        to: path("a"),
    });
    for found in cuts(&disk) {
        let bytes = found.files[Path::new("a")][0];
        let old = found.files.contains_key(Path::new("b"));
        assert_eq!(bytes, if old { b'a' } else { b'b' });
    }
    assert_eq!(ways(&disk, "b"), set(&["b", "absent"]));
    disk.apply(&Op::SyncDir { ino: 1 });
    assert_eq!(ways(&disk, "b"), set(&["absent"]));
}

fn a_name_needs_its_folder_synced() {
    let mut disk = disk();
    disk.apply(&Op::Mkdir {
        path: path("d"),
        ino: 4,
    });
    disk.apply(&Op::Create {
        path: path("d/f"),
        ino: 5,
    });
    disk.apply(&write(5, 0, b'f', 512));
    disk.apply(&Op::Sync { ino: 5 });
    disk.apply(&Op::SyncDir { ino: 4 });
    assert_eq!(ways(&disk, "d/f"), set(&["f", "absent"]));
    disk.apply(&Op::SyncDir { ino: 1 });
    assert_eq!(ways(&disk, "d/f"), set(&["f"]));
}

fn a_removed_file_may_be_back_with_what_it_held() {
    let mut disk = disk();
    disk.apply(&Op::Unlink { path: path("a") });
    // The kernel gives its number again.
    disk.apply(&Op::Create {
        path: path("n"),
        ino: 2,
    });
    disk.apply(&write(2, 0, b'n', 512));
    disk.apply(&Op::Sync { ino: 2 });
    assert_eq!(ways(&disk, "a"), set(&["aa", "absent"]));
    assert_eq!(ways(&disk, "n"), set(&["n", "absent"]));
}
