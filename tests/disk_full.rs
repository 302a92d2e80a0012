//! A full disk: nothing is acknowledged that isn't on it, everybody is told, and it goes on by
//! itself when there is room again. On a small tmpfs, which takes the right to mount one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Setup, ident, text, wait_until};
use simulator::load::{Until, read_record};
use simulator::{Load, Login, Version};

/// A tmpfs that is taken away when the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount (which fails in CI).
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let out = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size},mode=0700"))
            .arg("tmpfs")
            .arg(at)
            .output();
        match out {
            Ok(out) if out.status.success() => Some(Self(at.to_path_buf())),
            failed => {
                let why = failed.map_or_else(|e| e.to_string(), |out| text(&out.stderr));
                let ci = std::env::var_os("CI").is_some();
                assert!(!ci, "CI must be able to mount a tmpfs: {why}");
                eprintln!("LEFT OUT: no tmpfs can be mounted here, so this test didn't run: {why}");
                None
            }
        }
    }

    fn resize(&self, size: &str) {
        let option = format!("remount,size={size}");
        let resized = Command::new("mount")
            .args(["-o", &option])
            .arg(&self.0)
            .status();
        assert!(resized.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_heals() {
    for version in [Version::V5, Version::V311] {
        fill_and_heal(version).await;
    }
}

async fn fill_and_heal(version: Version) {
    let mut setup = Setup::new();
    let state = setup.dir.path().join("small");
    let Some(disk) = SmallDisk::mount(&state, "2m") else {
        return;
    };
    setup.state_dir = Some(state);
    let gateway = setup.start();
    let record = setup.dir.path().join("acknowledged");
    let logins = setup.devices.iter().map(|device| Login {
        device: ident(device),
        password: None,
    });
    let mut load = Load::new(setup.address(), logins.collect());
    load.version = version;
    load.window = 20;
    load.until = Until::Stopped;
    load.record = Some(record.clone());
    load.drain = Duration::from_secs(30);
    let load = load.start().unwrap();
    let writing = |setup: &Setup| setup.json(&["status"])["journal"]["writing"].as_bool();
    wait_until("the disk to be full", async || {
        (writing(&setup) == Some(false)).then_some(())
    })
    .await;
    let status = setup.cli(&["status"]);
    assert!(
        text(&status.stdout).contains("disk"),
        "{}",
        text(&status.stdout)
    );
    let before = load.acknowledged();
    disk.resize("256m");
    wait_until("the gateway to write again", async || {
        let going = load.acknowledged() > before + 1_000;
        (going && writing(&setup) == Some(true)).then_some(())
    })
    .await;
    load.stop();
    let figures = load.finish().await.unwrap();
    gateway.stop();

    let stored = setup.stored();
    assert!(stored.values().all(|times| *times == 1), "stored twice");
    for ((device, boot), seqs) in read_record(&record).unwrap() {
        for seq in seqs {
            let key = (device.clone(), boot, seq);
            assert!(stored.contains_key(&key), "acknowledged and gone: {key:?}");
        }
    }
    assert!(figures.acknowledged > before + 1_000);
}
