//! The small estate that loses its power: two banks, a desk, doors and a meter.

use cloud_protocol::downlink::{Size, Zone};
use estate::Layout;
use estate::layout::{Bank, CompartmentSpec, Desk, Device, Rules};
use firmware_protocols::Ident;
use linli::journal::{Retention, Settings, Weakness};

pub const BANKS: [&str; 2] = ["bank-a", "bank-b"];
pub const DOORS: [&str; 5] = ["door-1", "door-2", "door-3", "door-4", "meter-1"];
/// A courier's badge that the cloud has announced.
pub const BADGE: &str = "badge-of-courier-1";
const DAY_MS: i64 = 86_400_000;
const ACCESS_DAYS: u32 = 1;
const EVENTS_DAYS: u32 = 2;
/// How long access events are kept for sure, ms.
pub const ACCESS_KEPT_MS: i64 = ACCESS_DAYS as i64 * DAY_MS;
/// How long other events are.
pub const EVENTS_KEPT_MS: i64 = EVENTS_DAYS as i64 * DAY_MS;
/// 30 May 2026.
pub const FIRST_DAY_MS: i64 = 1_780_100_000_000;

pub fn ident(text: &str) -> Ident {
    Ident::new(text).expect("an identifier")
}

/// Every device.
pub fn devices() -> impl Iterator<Item = &'static str> {
    BANKS.into_iter().chain(DOORS)
}

pub fn layout() -> Layout {
    let compartment = |n: usize| CompartmentSpec {
        size: match n {
            0..20 => Size::S,
            20..32 => Size::M,
            _ => Size::L,
        },
        zone: Zone::Ambient,
        low: false,
    };
    let bank = |id: &str| Bank {
        id: ident(id),
        building: ident("b1"),
        address: "Gate 1".to_owned(),
        compartments: (0..40).map(compartment).collect(),
        occupancy_sensor: true,
    };
    let device = |id: &str| Device {
        id: ident(id),
        building: ident("b1"),
        point: None,
    };
    Layout {
        site: ident("estate-1"),
        buildings: vec![ident("b1")],
        banks: BANKS.into_iter().map(bank).collect(),
        desks: vec![Desk {
            id: ident("desk-1"),
            building: ident("b1"),
            address: "Office".to_owned(),
        }],
        devices: DOORS.into_iter().map(device).collect(),
        rules: Rules::default(),
    }
}

pub fn settings(weakness: Option<Weakness>) -> Settings {
    Settings {
        gather_ms: 2,
        retention: Retention {
            access_days: ACCESS_DAYS,
            events_days: EVENTS_DAYS,
            store_max_mib: 1_024,
        },
        weakness,
    }
}
