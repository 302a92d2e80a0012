//! The configuration: one TOML file, read whole, checked whole, before anything starts.
//!
//! Unknown keys are errors everywhere. Relative paths are taken from the working folder.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use estate::Layout;
use estate::layout::{Desk, Device};
use firmware_protocols::Ident;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::journal::Retention;
use crate::pace::Limits;

mod banks;
mod check;
mod cloud;
mod document;
pub mod fault;
mod limits;
mod origin;
mod profiles;
mod read;
mod register_check;
mod repair;
mod rules;
mod schema;
mod secret;
pub mod serial;
mod serial_check;
mod spelling;
mod structure;
mod syntax;
mod texts;
mod tls;
pub use banks::{BankSection, CompartmentRun};
pub use cloud::{Cloud, LineSection};
pub use limits::LimitsSection;
pub use origin::{Held, Origin, held};
pub use profiles::BridgeSection;
pub use read::{ConfigError, Told};
pub use rules::RulesSection;
pub use schema::schema;
pub use secret::secret_path;
use serial::{OnPort, PortSection};
use texts::{Address, Name};
pub use tls::{ClientCertificates, TlsSection};

/// The most connections that can be set: the kernel gives a process no more descriptors than some
/// ten times that.
const CONNECTIONS_MOST: usize = 100_000;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The site's id.
    #[schemars(with = "Name")]
    pub site: Ident,
    /// The folder that everything is kept in. Default `/var/lib/linli`.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// The local API.
    #[serde(default)]
    pub control: Control,
    /// The embedded broker. Left out when `external_broker` is there.
    pub broker: Option<Broker>,
    /// A broker of somebody else, instead of the embedded one.
    pub external_broker: Option<ExternalBroker>,
    /// The cloud. Without it the gateway works alone.
    pub cloud: Option<Cloud>,
    /// How events are written.
    #[serde(default)]
    pub journal: JournalSection,
    /// How long events are kept.
    #[serde(default)]
    pub retention: RetentionSection,
    /// How much a device may send.
    #[serde(default)]
    pub limits: LimitsSection,
    /// What the operator sets about hand-overs.
    #[serde(default)]
    pub rules: RulesSection,
    /// Buildings.
    #[serde(default, rename = "building")]
    pub buildings: Vec<BuildingSection>,
    /// Locker banks.
    #[serde(default, rename = "bank")]
    pub banks: Vec<BankSection>,
    /// Desks.
    #[serde(default, rename = "desk")]
    pub desks: Vec<DeskSection>,
    /// Other devices.
    #[serde(default, rename = "device")]
    pub devices: Vec<DeviceSection>,
    /// MQTT clients that speak for devices of others, as Zigbee2MQTT does.
    #[serde(default, rename = "bridge")]
    pub bridges: Vec<BridgeSection>,
    /// Serial ports.
    #[serde(default, rename = "port")]
    pub ports: Vec<PortSection>,
}

/// The local API.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its Unix socket. Default: `control.sock` in the state folder.
    pub socket: Option<PathBuf>,
}

/// The embedded broker.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Where it listens. Default `127.0.0.1:1883`.
    #[serde(default = "default_listen")]
    #[schemars(with = "Address")]
    pub listen: SocketAddr,
    /// Devices that may log in without a password. Default none.
    #[serde(default)]
    #[schemars(with = "Vec<Name>")]
    pub anonymous: Vec<Ident>,
    /// The most connections at once. Default 1,200.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = CONNECTIONS_MOST))]
    pub max_connections: usize,
    /// A second listener, for MQTT over TLS.
    pub tls: Option<TlsSection>,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            anonymous: Vec::new(),
            max_connections: default_max_connections(),
            tls: None,
        }
    }
}

/// A broker of somebody else.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalBroker {
    /// `mqtt://host:port` or `mqtts://host:port`.
    #[schemars(extend("examples" = ["mqtt://127.0.0.1:1883"]))]
    pub url: String,
    /// The user that the gateway logs in as.
    pub username: Option<String>,
    /// A file with that user's password, so that it stands in no configuration.
    pub password_file: Option<PathBuf>,
    /// The client id, which names the persistent session. Default `linli-SITE`.
    pub client_id: Option<String>,
    /// The certificate of the broker's CA, PEM, for `mqtts`. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// How many events may be under way to the disk at once. Default 256.
    #[serde(default = "default_window")]
    #[schemars(range(min = 1, max = 4_096))]
    pub window: u16,
}

/// How events are written.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalSection {
    /// How long readings and access events may wait for company, ms, to spare the flash. 0 for
    /// never. Default 20.
    #[serde(default = "default_gather_ms")]
    #[schemars(range(max = 1_000))]
    pub gather_ms: u64,
}

impl Default for JournalSection {
    fn default() -> Self {
        Self {
            gather_ms: default_gather_ms(),
        }
    }
}

/// How long events are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// Access events, days. The keys of their digests go with them.
    pub access_days: u32,
    /// Everything else, days.
    pub events_days: u32,
    /// The database's size beyond which the oldest events go, MiB.
    pub store_max_mib: u32,
}

impl Default for RetentionSection {
    fn default() -> Self {
        let d = Retention::default();
        Self {
            access_days: d.access_days,
            events_days: d.events_days,
            store_max_mib: d.store_max_mib,
        }
    }
}

/// A building.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildingSection {
    /// Its id.
    #[schemars(with = "Name")]
    pub id: Ident,
}

/// A desk. Its id is also its terminal's device id.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeskSection {
    /// Its id.
    #[schemars(with = "Name")]
    pub id: Ident,
    /// The building it belongs to.
    #[schemars(with = "Name")]
    pub building: Ident,
    /// For people: where it is.
    #[serde(default)]
    pub address: String,
    /// Where its terminal hangs, if on a serial port.
    pub serial: Option<OnPort>,
}

/// A device that isn't a bank or a desk.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceSection {
    /// Its id.
    #[schemars(with = "Name")]
    pub id: Ident,
    /// The building it belongs to.
    #[schemars(with = "Name")]
    pub building: Ident,
    /// The bank or desk that it is a keypad or scanner of.
    #[schemars(with = "Option<Name>")]
    pub point: Option<Ident>,
    /// Where it hangs, if on a serial port.
    pub serial: Option<OnPort>,
    /// For a device that speaks its maker's JSON: the profile that makes our events of it. The name of
    /// one that is shipped (`linli profile list`), or the path of a file.
    pub profile: Option<String>,
    /// With `profile`: what the device calls itself in its topics. Default: its id.
    pub named: Option<String>,
    /// With `profile`: the bridge that speaks for it. Default: it logs in itself.
    #[schemars(with = "Option<Name>")]
    pub via: Option<Ident>,
}

impl Config {
    /// The local API's socket.
    pub fn socket(&self) -> PathBuf {
        match &self.control.socket {
            Some(socket) => socket.clone(),
            None => self.state_dir.join("control.sock"),
        }
    }

    /// The file of the devices' password hashes.
    pub fn passwords(&self) -> PathBuf {
        self.state_dir.join("passwords")
    }

    /// What stands where.
    pub fn layout(&self) -> Layout {
        Layout {
            site: self.site.clone(),
            buildings: self.buildings.iter().map(|b| b.id.clone()).collect(),
            banks: self.banks.iter().map(BankSection::bank).collect(),
            desks: self
                .desks
                .iter()
                .map(|desk| Desk {
                    id: desk.id.clone(),
                    building: desk.building.clone(),
                    address: desk.address.clone(),
                })
                .collect(),
            devices: self
                .devices
                .iter()
                .map(|device| Device {
                    id: device.id.clone(),
                    building: device.building.clone(),
                    point: device.point.clone(),
                })
                .collect(),
            rules: self.rules.rules(),
        }
    }

    /// Every device: banks, desks and the others.
    pub fn device_ids(&self) -> Vec<Ident> {
        let banks = self.banks.iter().map(|bank| &bank.id);
        let desks = self.desks.iter().map(|desk| &desk.id);
        let devices = self.devices.iter().map(|device| &device.id);
        banks.chain(desks).chain(devices).cloned().collect()
    }

    /// The devices that hang on a serial port on their own, with whether they are a point or belong to
    /// one. Banks whose locker boards do aren't among them.
    pub fn on_ports(&self) -> impl Iterator<Item = (&Ident, &OnPort, bool)> {
        let banks = self.banks.iter().map(|b| (&b.id, &b.serial, true));
        let desks = self.desks.iter().map(|d| (&d.id, &d.serial, true));
        let devices = self.devices.iter();
        let devices = devices.map(|d| (&d.id, &d.serial, d.point.is_some()));
        let all = banks.chain(desks).chain(devices);
        all.filter_map(|(id, on, at_point)| Some((id, on.as_ref()?, at_point)))
    }

    /// Everybody who may have a password: devices, and bridges.
    pub fn login_ids(&self) -> Vec<Ident> {
        let mut all = self.device_ids();
        all.extend(self.bridges.iter().map(|bridge| bridge.id.clone()));
        all
    }

    /// Who logs in with his id as user name under any client id, and is mapped by profiles: bridges, and
    /// devices with a profile that no bridge speaks for.
    pub fn mapped_client_ids(&self) -> Vec<Ident> {
        let bridges = self.bridges.iter().map(|bridge| &bridge.id);
        let devices = self.devices.iter();
        let alone = devices.filter(|device| device.profile.is_some() && device.via.is_none());
        bridges
            .chain(alone.map(|device| &device.id))
            .cloned()
            .collect()
    }

    /// The devices that are reached over MQTT and speak our own protocol: all that hang on no serial port
    /// and have no profile.
    pub fn mqtt_device_ids(&self) -> Vec<Ident> {
        let boards = self.banks.iter().filter(|bank| !bank.boards.is_empty());
        let serial: BTreeSet<&Ident> = boards
            .map(|bank| &bank.id)
            .chain(self.on_ports().map(|(id, _, _)| id))
            .chain(
                self.devices
                    .iter()
                    .filter(|device| device.profile.is_some())
                    .map(|device| &device.id),
            )
            .collect();
        let all = self.device_ids();
        all.into_iter().filter(|id| !serial.contains(id)).collect()
    }

    /// How long events are kept.
    pub fn retention(&self) -> Retention {
        let set = &self.retention;
        Retention {
            access_days: set.access_days,
            events_days: set.events_days,
            store_max_mib: set.store_max_mib,
        }
    }

    /// How much a device may send.
    pub fn limits(&self) -> Limits {
        self.limits.limits()
    }
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/linli")
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1883))
}

const fn default_max_connections() -> usize {
    1_200
}

const fn default_window() -> u16 {
    256
}

const fn default_gather_ms() -> u64 {
    20
}

#[cfg(test)]
mod faults_tests;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        Config::parse(text).unwrap_err().join("\n")
    }

    /// Found by the fuzz target `config`: the hours were made milliseconds before they were judged.
    #[test]
    fn a_rule_that_is_far_too_large_is_refused_and_no_panic() {
        for rule in [
            "retention_h",
            "command_ttl_s",
            "finished_keep_days",
            "lockout_first_s",
        ] {
            let said = errors(&format!("site = 's'\n[rules]\n{rule} = {}\n", i64::MAX));
            assert!(
                said.starts_with(&format!("line 3: rules.{rule}: is {}", i64::MAX)),
                "{said}"
            );
        }
    }

    /// Found by the fuzz target `config`: the broker would have stopped the daemon with a panic, or
    /// let nobody in.
    #[test]
    fn a_broker_has_room_for_some_and_not_for_all_the_world() {
        for (most, good) in [
            ("0", false),
            ("1", true),
            ("100000", true),
            ("9223372036854775807", false),
        ] {
            let text = format!("site = 's'\n[broker]\nmax_connections = {most}\n");
            assert_eq!(Config::parse(&text).is_ok(), good, "{most}");
        }
        let said = errors("site = 's'\n[broker]\nmax_connections = 0\n");
        assert!(
            said.contains("broker.max_connections: is 0; 1 to 100000 is allowed"),
            "{said}"
        );
    }
}
