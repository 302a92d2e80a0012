//! The packaging is one thing said once: what cross.toml, debian/ and the scripts share is the same, and
//! the unit has what the daemon counts on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Lines of `KEY=VALUE`; of a key that stands several times, all values.
fn assignments(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            found
                .entry(key.to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    found
}

/// What `packaging/targets` says: the targets by Debian's name of the architecture.
fn targets() -> BTreeMap<String, String> {
    let said = assignments(&source("packaging/targets"));
    said.into_iter()
        .filter_map(|(key, values)| {
            let arch = key.strip_prefix("TARGET_")?;
            Some((arch.to_owned(), values[0].clone()))
        })
        .collect()
}

#[test]
fn cross_builds_for_the_same_targets_as_the_script() {
    let config: toml::Table = source("cross.toml").parse().unwrap();
    let theirs: BTreeSet<String> = config["target"]
        .as_table()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let ours: BTreeSet<String> = targets().into_values().collect();
    assert_eq!(theirs, ours);
    // The rest isn't in cross.toml: profile and features are arguments of the one script.
    for (arch, target) in targets() {
        let image = &config["target"][&target]["dockerfile"];
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(image["file"].as_str().unwrap())
                .is_file()
        );
        let tools = image["build-args"]["TOOLS"].as_str().unwrap();
        let compiler = format!("gcc-{}-linux-gnu", target.split('-').next().unwrap());
        assert!(
            arch == "amd64" || tools.contains(&compiler),
            "{arch}: {tools}"
        );
    }
    let image = source("packaging/cross.dockerfile");
    for line in source("packaging/stage").lines() {
        // The variables of the cross compiler.
        let Some((variable, program)) = line
            .trim()
            .strip_prefix("export ")
            .and_then(|line| line.split_once('='))
            .filter(|(_, program)| program.ends_with("-linux-gnu-gcc"))
        else {
            continue;
        };
        assert!(
            image.contains(&format!("{variable}={program}")),
            "{variable}"
        );
    }
}

#[test]
fn packages_are_made_for_every_target() {
    let control = source("debian/control");
    let made: Vec<&str> = control
        .lines()
        .filter_map(|line| line.strip_prefix("Architecture: "))
        .collect();
    let all: Vec<String> = targets().into_keys().collect();
    assert!(!made.is_empty());
    for architectures in made {
        assert_eq!(architectures, all.join(" "));
    }
    let build = source("packaging/build");
    assert!(all.iter().all(|arch| build.contains(arch.as_str())));
}

#[test]
fn the_package_has_the_version_of_the_program() {
    let changelog = source("debian/changelog");
    let newest = changelog.lines().next().unwrap();
    let version = format!("linli ({})", env!("CARGO_PKG_VERSION"));
    assert!(newest.starts_with(&version), "debian/changelog: {newest}");
}

#[test]
fn the_unit_has_what_the_daemon_counts_on() {
    let unit = assignments(&source("systemd/linli.service"));
    let one = |key: &str| {
        let values = unit.get(key).unwrap_or_else(|| panic!("no {key}"));
        assert_eq!(values.len(), 1, "{key}");
        values[0].as_str()
    };
    assert_eq!(one("Type"), "notify");
    assert_eq!(one("ConditionPathExists"), "/etc/linli/linli.toml");
    assert_eq!(
        one("ExecStart"),
        "/usr/bin/linli run --config /etc/linli/linli.toml"
    );
    // The count of failures (src/daemon/service/failures.rs).
    assert_eq!(one("RuntimeDirectory"), "linli");
    assert_eq!(one("RuntimeDirectoryPreserve"), "restart");
    assert_eq!(one("StartLimitIntervalSec"), "0");
    // The names of credentials (src/config/secret.rs).
    assert_eq!(one("LoadCredential"), "linli:/etc/linli/credentials");
    // No file is read that the service may not see.
    assert_eq!(one("ProtectHome"), "yes");
    let devices = &unit["DeviceAllow"];
    for serial in ["char-4 rw", "char-166 rw", "char-188 rw", "char-204 rw"] {
        assert!(devices.iter().any(|allowed| allowed == serial), "{serial}");
    }
}
