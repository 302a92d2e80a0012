//! Secrets that the service manager hands over: a file of the configuration that reads
//! `credential:NAME` is one of the service's credentials (`LoadCredential=`, systemd.exec(5)), which only
//! the daemon can read and which never lie where a backup of `/etc` takes them along.

use std::env;
use std::path::{Path, PathBuf};

use super::Config;
use super::fault::Faults;

/// What such a value begins with.
const PREFIX: &str = "credential:";
/// The id that the unit loads its folder under: systemd puts it and `_` before each file's name.
const UNIT_ID: &str = "linli_";
/// The folder that the unit loads.
const FOLDER: &str = "/etc/linli/credentials";
/// The longest name that systemd takes, less what it puts before it.
const NAME_MAX: usize = 240;

/// Where a file of the configuration is: itself, or the credential that it names. A credential that
/// isn't there has the path where it would be, so that whoever opens it says which one is missing.
pub fn secret_path(named: &Path) -> PathBuf {
    let Some(name) = credential(named) else {
        return named.to_path_buf();
    };
    let given = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let path = given_at(given.as_deref(), name);
    if !path.exists() {
        tracing::warn!(
            "the secret '{name}' isn't there: put it into {FOLDER}/{name} (root, mode 600) and restart: systemctl restart linli"
        );
    }
    path
}

/// In the service's credentials, under its own name or that of the unit's folder. For one who runs the
/// daemon by hand, in the folder itself, which only root can read.
fn given_at(given: Option<&Path>, name: &str) -> PathBuf {
    let Some(given) = given else {
        return Path::new(FOLDER).join(name);
    };
    let own = given.join(name);
    if own.exists() {
        return own;
    }
    given.join(format!("{UNIT_ID}{name}"))
}

/// The name of the credential, if it is one.
fn credential(named: &Path) -> Option<&str> {
    named.to_str()?.strip_prefix(PREFIX)
}

/// Finds names that can't be credentials', and a key that is no credential since it is written here.
pub(super) fn check(config: &Config, errors: &mut Faults) {
    let mut named = Vec::new();
    if let Some(cloud) = &config.cloud {
        named.extend([
            ("cloud.token_file", &cloud.token_file),
            ("cloud.ca_file", &cloud.ca_file),
            (
                "cloud.client_certificate_file",
                &cloud.client_certificate_file,
            ),
            ("cloud.client_key_file", &cloud.client_key_file),
        ]);
    }
    if let Some(broker) = &config.external_broker {
        named.extend([
            ("external_broker.password_file", &broker.password_file),
            ("external_broker.ca_file", &broker.ca_file),
        ]);
    }
    if let Some(tls) = config
        .broker
        .as_ref()
        .and_then(|broker| broker.tls.as_ref())
    {
        named.extend([
            ("broker.tls.certificate_file", &tls.certificate_file),
            ("broker.tls.key_file", &tls.key_file),
            ("broker.tls.client_ca_file", &tls.client_ca_file),
        ]);
    }
    for (key, file) in named {
        let name = file.as_deref().and_then(credential);
        if name.is_some_and(|name| !is_name(name)) {
            errors.at(
                key,
                format!(
                    "after '{PREFIX}' the name of a file in {FOLDER} is allowed: letters, digits, '-', '_' and '.', at most {NAME_MAX}, as in {PREFIX}cloud-token"
                ),
            );
        }
    }
    let desks = config.desks.iter().map(|desk| &desk.serial);
    let banks = config.banks.iter().map(|bank| &bank.serial);
    let devices = config.devices.iter().map(|device| &device.serial);
    for (table, n, on) in numbered("desk", desks)
        .chain(numbered("bank", banks))
        .chain(numbered("device", devices))
    {
        let key_file = on.as_ref().and_then(|on| on.key_file.as_deref());
        if key_file.and_then(credential).is_some() {
            errors.at(
                format!("{table}[{n}].serial.key_file"),
                "this can't be a credential, as 'linli serial commission' makes it: write the path of a file, as in /var/lib/linli/keys/reader.key",
            );
        }
    }
}

fn numbered<T>(
    table: &'static str,
    items: impl Iterator<Item = T>,
) -> impl Iterator<Item = (&'static str, usize, T)> {
    items.enumerate().map(move |(n, item)| (table, n, item))
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(allowed) && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_itself() {
        let file = Path::new("/etc/linli/token");
        assert_eq!(secret_path(file), file);
    }

    #[test]
    fn a_credential_is_where_the_service_manager_put_it() {
        let given = tempfile::tempdir().unwrap();
        let by_folder = given.path().join("linli_token");
        assert_eq!(given_at(Some(given.path()), "token"), by_folder);
        std::fs::write(&by_folder, "1").unwrap();
        assert_eq!(given_at(Some(given.path()), "token"), by_folder);
        let own = given.path().join("token");
        std::fs::write(&own, "2").unwrap();
        assert_eq!(given_at(Some(given.path()), "token"), own);
        let by_hand = Path::new("/etc/linli/credentials/token");
        assert_eq!(given_at(None, "token"), by_hand);
    }

    /// What is wrong, as (key, words).
    fn faults(text: &str) -> Vec<(String, String)> {
        let config: Config = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        check(&config, &mut faults);
        let all = faults.all().iter();
        all.map(|fault| (fault.key.clone(), fault.what.clone()))
            .collect()
    }

    #[test]
    fn names_that_can_not_be_files_of_the_folder_are_errors() {
        let named = |name: &str| {
            faults(&format!(
                "site = \"s-1\"\n[cloud]\nurl = \"https://c.example\"\ntoken_file = \"credential:{name}\"\n"
            ))
        };
        assert_eq!(named("cloud-token"), []);
        for wrong in ["", "..", "a/b", "../linli.toml", "a b", &"x".repeat(300)] {
            let [(key, what)] = &named(wrong)[..] else {
                panic!("{wrong} is taken");
            };
            assert_eq!(key, "cloud.token_file");
            assert!(what.contains("credential:cloud-token"), "{what}");
        }
    }

    #[test]
    fn a_readers_key_is_no_credential() {
        let [(key, what)] = &faults(
            r#"
site = "s-1"
[[device]]
id = "door-1"
building = "b1"
[[device]]
id = "reader-1"
building = "b1"
[device.serial]
port = "p1"
key_file = "credential:reader"
"#,
        )[..] else {
            panic!("it is taken");
        };
        assert_eq!(key, "device[1].serial.key_file");
        assert!(what.contains("linli serial commission"), "{what}");
    }
}
