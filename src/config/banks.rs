//! Locker banks: their compartments, and what opens them.

use cloud_protocol::downlink::{Size, Zone};
use estate::layout::{Bank, CompartmentSpec};
use firmware_protocols::Ident;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::serial::{BoardSection, OnPort};
use super::texts::{Name, one_of};

/// A locker bank. Its id is also its controller's device id.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BankSection {
    /// Its id.
    #[schemars(with = "Name")]
    pub id: Ident,
    /// The building it belongs to.
    #[schemars(with = "Name")]
    pub building: Ident,
    /// For people: where it stands.
    #[serde(default)]
    pub address: String,
    /// Whether compartments can tell that something is in them. Default true; with locker boards, if
    /// each of them has `occupied`.
    #[serde(default = "yes")]
    pub occupancy_sensor: bool,
    /// Runs of equal compartments, numbered on from 1.
    pub compartments: Vec<CompartmentRun>,
    /// The locker boards that open them, if they hang on a serial port.
    #[serde(default, rename = "board")]
    pub boards: Vec<BoardSection>,
    /// Where its own controller hangs, if on a serial port.
    pub serial: Option<OnPort>,
}

/// A run of equal compartments.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompartmentRun {
    /// How many.
    #[schemars(range(max = 512))]
    pub count: u16,
    /// `S`, `M` or `L`.
    #[schemars(schema_with = "sizes")]
    pub size: String,
    /// `ambient`, `chilled` or `frozen`. Default `ambient`.
    #[serde(default = "default_zone")]
    #[schemars(schema_with = "zones")]
    pub zone: String,
    /// Whether they are within reach from a wheelchair. Default no.
    #[serde(default)]
    pub low: bool,
}

impl BankSection {
    pub(super) fn bank(&self) -> Bank {
        let compartments = self
            .compartments
            .iter()
            .filter_map(|run| Some((run, run.spec()?)))
            .flat_map(|(run, spec)| (0..run.count).map(move |_| spec))
            .collect();
        Bank {
            id: self.id.clone(),
            building: self.building.clone(),
            address: self.address.clone(),
            compartments,
            occupancy_sensor: self.tells_occupied(),
        }
    }

    /// Whether its compartments can tell that something is in them; on locker boards only if each says
    /// how.
    pub(super) fn tells_occupied(&self) -> bool {
        let mut boards = self.boards.iter();
        self.occupancy_sensor && boards.all(|board| board.occupied.is_some())
    }

    /// How many compartments it has.
    pub fn count(&self) -> u16 {
        let counts = self.compartments.iter().map(|run| run.count);
        counts.fold(0, u16::saturating_add)
    }

    pub(super) fn check(&self, at: &str, errors: &mut Faults) {
        let count: u64 = self.compartments.iter().map(|c| u64::from(c.count)).sum();
        if !(1..=512).contains(&count) {
            errors.at(
                format!("{at}.compartments"),
                format!("are {count} together, 1 to 512 are allowed: set 'count' in each run"),
            );
        }
    }
}

impl CompartmentRun {
    fn spec(&self) -> Option<CompartmentSpec> {
        let size = Size::WORDS.iter().find(|(word, _)| *word == self.size)?.1;
        let zone = Zone::WORDS.iter().find(|(word, _)| *word == self.zone)?.1;
        Some(CompartmentSpec {
            size,
            zone,
            low: self.low,
        })
    }
}

pub(super) fn sizes(_: &mut SchemaGenerator) -> Schema {
    one_of(Size::WORDS)
}

fn zones(_: &mut SchemaGenerator) -> Schema {
    one_of(Zone::WORDS)
}

fn default_zone() -> String {
    "ambient".to_owned()
}

const fn yes() -> bool {
    true
}
