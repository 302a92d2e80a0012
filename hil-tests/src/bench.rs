//! The bench file: ports, banks and devices as in the gateway's own configuration, and a table
//! `[bench]` that says what the suite may do with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use firmware_protocols::{Ident, Slot};
use linli::config::Config;
use linli::config::serial::{BoardSection, PortSection, Protocol};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The simulated bench that is taken when there is no bench file.
pub const SIMULATED: &str = include_str!("../bench.simulated.toml");

/// The table `[bench]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Its name, for the report.
    pub name: String,
    /// The compartments that may be opened, `BANK/NUMBER`. Their doors are closed before a run.
    #[serde(default)]
    pub may_open: Vec<String>,
    /// Who closes doors on real hardware.
    #[serde(default)]
    pub doors: Doors,
    /// How long an opening may take until the door was seen open, ms. Default 3,000.
    #[serde(default = "default_confirm_ms")]
    pub confirm_within_ms: u64,
    /// How long a device, a port or a door's state may take to be heard of at first, or after it was
    /// away, ms. Default 15,000: the gateway's longest pause, and some.
    #[serde(default = "default_heard_ms")]
    pub heard_within_ms: u64,
    /// How long it is watched that nothing else opens, ms. Default 4,000: longer than the gateway
    /// waits until it sends a command again.
    #[serde(default = "default_watch_ms")]
    pub watch_ms: u64,
    /// How often a compartment is opened to measure. Default 5.
    #[serde(default = "default_openings")]
    pub openings: u32,
    /// The line's quality that is asked for, percent. Default 95.
    #[serde(default = "default_quality")]
    pub quality_min: u8,
    /// By port: an address where nothing hangs, to see that a dead board delays nobody. Without it
    /// that case isn't run.
    #[serde(default)]
    pub free_address: BTreeMap<String, u8>,
}

/// Who closes doors on real hardware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doors {
    /// A person: cases that need a door closed are interactive.
    #[default]
    Person,
    /// They fall shut, or the bench has locks without doors whose hooks return after the pulse.
    Themselves,
}

/// A bench, read and checked.
#[derive(Debug, Clone)]
pub struct Bench {
    /// What the suite may do.
    pub settings: Settings,
    /// The compartments that may be opened.
    pub may_open: Vec<Slot>,
    /// The gateway's configuration, as TOML.
    pub gateway: Table,
    /// The same, checked. Its paths are replaced when the bench is simulated.
    pub config: Config,
}

/// A bank of boards on a bench.
#[derive(Debug, Clone)]
pub struct BankOnBench {
    /// Its id.
    pub id: Ident,
    /// Its port.
    pub port: PortSection,
    /// Its boards.
    pub boards: Vec<BoardSection>,
    /// How many compartments it has.
    pub count: u16,
    /// Those that may be opened.
    pub may_open: Vec<u16>,
}

impl Settings {
    /// How long something may take to be heard of.
    pub fn heard_within(&self) -> Duration {
        Duration::from_millis(self.heard_within_ms)
    }
}

impl Bench {
    /// Reads a bench file.
    ///
    /// # Errors
    /// With what is wrong and how to mend it.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!(
                "{} can't be read: start from bench.example.toml",
                file.display()
            )
        })?;
        Self::parse(&text).with_context(|| format!("{} can't be used", file.display()))
    }

    /// Reads a bench.
    ///
    /// # Errors
    /// With what is wrong and how to mend it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut gateway: Table = text.parse()?;
        let settings = gateway
            .remove("bench")
            .context("it has no table [bench]: see bench.example.toml")?;
        let settings: Settings = settings.try_into().context("[bench]")?;
        complete(&mut gateway, &settings)?;
        let config = checked(&gateway)?;
        let slots = settings.may_open.iter();
        let may_open = slots
            .map(|slot| slot_of(&config, slot))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            settings,
            may_open,
            gateway,
            config,
        })
    }

    /// Its banks of boards, without the ghosts.
    pub fn banks(&self) -> Vec<BankOnBench> {
        let banks = self.config.banks.iter();
        banks
            .filter(|bank| !bank.id.as_str().starts_with(GHOST))
            .filter_map(|bank| {
                let port = &bank.boards.first()?.port;
                let port = self.config.ports.iter().find(|p| p.id == *port)?;
                let mine = self.may_open.iter().filter(|slot| slot.bank == bank.id);
                Some(BankOnBench {
                    id: bank.id.clone(),
                    port: port.clone(),
                    boards: bank.boards.clone(),
                    count: bank.count(),
                    may_open: mine.map(|slot| slot.compartment).collect(),
                })
            })
            .collect()
    }
}

impl BankOnBench {
    /// The longest exchange with one of its boards, ms: both frames and the time for an answer.
    pub fn exchange_ms(&self) -> u64 {
        let bytes = match self.port.protocol {
            Protocol::KerongCu16 => 5 + 9,
            Protocol::KerongCu48 => 6 + 12,
            Protocol::EightA => 5 + 7,
            Protocol::Wkly => 8 + 10 + usize::from(self.count),
            _ => 8 + 16,
        };
        let frames = self.port.time_of(bytes) + self.port.timeout();
        u64::try_from(frames.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The banks that stand for boards that aren't there.
pub const GHOST: &str = "ghost-";

/// Adds what every gateway needs, and the ghosts.
fn complete(gateway: &mut Table, settings: &Settings) -> anyhow::Result<()> {
    let building = || Value::from("bench");
    let table = |entries: &[(&str, Value)]| {
        let entries = entries.iter().map(|(key, value)| (*key, value.clone()));
        Value::Table(
            entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    };
    let mut set = |key: &str, value: Value| {
        gateway.entry(key).or_insert(value);
    };
    set("site", "bench".into());
    set("broker", table(&[("listen", "127.0.0.1:0".into())]));
    set("building", vec![table(&[("id", building())])].into());
    for (port, address) in &settings.free_address {
        let ports = gateway.get("port").and_then(Value::as_array);
        let mut ports = ports.into_iter().flatten();
        let found = ports.find(|section| section.get("id").and_then(Value::as_str) == Some(port));
        let found = found.with_context(|| {
            format!("free_address names the port '{port}', which isn't there: correct it")
        })?;
        let mut board = vec![
            ("port", port.as_str().into()),
            ("address", i64::from(*address).into()),
            ("compartments", vec![1, 1].into()),
        ];
        if found.get("protocol").and_then(Value::as_str) == Some("modbus") {
            board.push(("relay", table(&[("flash_address", 0x0200.into())])));
        }
        let compartments = table(&[("count", 1.into()), ("size", "S".into())]);
        let ghost = table(&[
            ("id", format!("{GHOST}{port}").into()),
            ("compartments", vec![compartments].into()),
            ("board", vec![table(&board)].into()),
        ]);
        let banks = gateway
            .entry("bank")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(banks) = banks {
            banks.push(ghost);
        }
    }
    for section in ["bank", "desk", "device"] {
        let sections = gateway.get_mut(section).and_then(Value::as_array_mut);
        for section in sections.into_iter().flatten() {
            if let Value::Table(section) = section {
                section.entry("building").or_insert_with(building);
            }
        }
    }
    Ok(())
}

/// Has the gateway check a configuration.
pub fn checked(gateway: &Table) -> anyhow::Result<Config> {
    let text = toml::to_string(gateway)?;
    Config::parse(&text).map_err(|errors| anyhow::anyhow!(errors.join("\n")))
}

fn slot_of(config: &Config, text: &str) -> anyhow::Result<Slot> {
    let found = text.split_once('/').and_then(|(bank, number)| {
        let bank = config.banks.iter().find(|b| b.id.as_str() == bank)?;
        let compartment = number.parse().ok()?;
        (1..=bank.count()).contains(&compartment).then(|| Slot {
            bank: bank.id.clone(),
            compartment,
        })
    });
    found.with_context(|| format!("may_open names '{text}': write BANK/NUMBER of a bank here"))
}

const fn default_confirm_ms() -> u64 {
    3_000
}

const fn default_heard_ms() -> u64 {
    15_000
}

const fn default_watch_ms() -> u64 {
    4_000
}

const fn default_openings() -> u32 {
    5
}

const fn default_quality() -> u8 {
    95
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_that_come_with_the_suite_can_be_used() {
        let bench = Bench::parse(SIMULATED).unwrap();
        assert!(bench.banks().len() >= 5);
        assert!(bench.banks().iter().all(|bank| bank.may_open.len() >= 2));
        let example = include_str!("../bench.example.toml");
        let bench = Bench::parse(example).unwrap();
        assert_eq!(bench.settings.doors, Doors::Person);
    }

    #[test]
    fn what_is_wrong_with_a_bench_is_said_with_the_remedy() {
        let wrong = |from: &str, to: &str| {
            assert!(SIMULATED.contains(from), "{from}");
            let text = SIMULATED.replacen(from, to, 1);
            format!("{:#}", Bench::parse(&text).unwrap_err())
        };
        let said = wrong("\"bank-cu16/2\"", "\"bank-cu16/99\"");
        assert!(said.contains("write BANK/NUMBER"), "{said}");
        let said = wrong("bus-cu16 = 15", "bus-cu17 = 15");
        assert!(said.contains("'bus-cu17', which isn't there"), "{said}");
        let said = wrong("[bench]", "[bank-of-tests]");
        assert!(said.contains("no table [bench]"), "{said}");
    }
}
