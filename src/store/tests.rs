//! The SQL store against its reference: what writing a change means is [`Snapshot::apply`].

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::{Downlink, badge_digest};
use estate::change::{Change, Snapshot};
use estate::context::{CodeDigest, Random};
use estate::layout::{Bank, CompartmentSpec, Rules};
use estate::{
    Context, DeviceEvent, Digest, Effect, Estate, Happening, Input, Layout, Now, TimeQuality, Typed,
};
use firmware_protocols::event::{Direction, Door, Outcome};
use firmware_protocols::{Form, Ident, Order};
use rusqlite::Connection;
use tempfile::TempDir;

use super::write::{Heads, QUARANTINE_MAX_ROWS, QuarantineRow, Writer};
use super::{StateDir, StoreError, load, schema};
use crate::keys::Keys;

/// A store with its keys, as the journal has it.
pub(super) struct Store {
    pub dir: TempDir,
    pub conn: Connection,
    pub keys: Keys,
    pub heads: Heads,
}

impl Store {
    pub fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    pub fn in_folder(dir: TempDir) -> Self {
        let keys = Keys::open(&dir.path().join("keys"), true).unwrap();
        let conn = schema::open_writer(&dir.path().join("linli.db"), 1_780_000_000_000)
            .unwrap()
            .conn;
        let heads = Heads::load(&conn).unwrap();
        Self {
            dir,
            conn,
            keys,
            heads,
        }
    }

    pub fn write(&mut self, changes: &[Change]) {
        let tx = self.conn.unchecked_transaction().unwrap();
        let mut writer = Writer::new(&tx, &self.keys.store, &mut self.heads);
        for change in changes {
            writer.change(change).unwrap();
        }
        tx.commit().unwrap();
    }
}

pub(super) fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

/// xorshift64: the same history from the same seed.
pub(super) struct Seeded(pub u64);

impl Seeded {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|b| *b = self.below(256) as u8);
    }
}

struct Plain;

impl CodeDigest for Plain {
    fn digest(&self, point: &Ident, digits: &str) -> Digest {
        badge_digest(&format!("{point}/{digits}"))
    }

    fn bank_salt(&self, bank: &Ident) -> Digest {
        badge_digest(bank.as_str())
    }

    fn bank_digest(&self, bank: &Ident, digits: &str) -> Digest {
        badge_digest(&format!("{bank}:{digits}"))
    }
}

pub(super) fn layout() -> Layout {
    let compartment = |size| CompartmentSpec {
        size,
        zone: Zone::Ambient,
        low: false,
    };
    Layout {
        site: ident("site"),
        buildings: vec![ident("b1")],
        banks: vec![Bank {
            id: ident("bank-a"),
            building: ident("b1"),
            address: String::new(),
            compartments: [Size::S, Size::M, Size::L].map(compartment).to_vec(),
            occupancy_sensor: true,
        }],
        desks: Vec::new(),
        devices: Vec::new(),
        rules: Rules {
            demand_k: 2,
            ..Rules::default()
        },
    }
}

/// Some evening: parcels announced, brought, collected, wrong codes, doors, hours that close.
struct Evening {
    random: Seeded,
    tick_ms: u64,
    seq: u64,
    codes: Vec<Digest>,
    open: Vec<u16>,
}

impl Evening {
    fn step(&mut self, estate: &mut Estate) {
        self.tick_ms += self.random.below(90_000);
        let input = self.input();
        let now = Now {
            tick_ms: self.tick_ms,
            wall_ms: 1_780_000_000_000 + self.tick_ms as i64,
            quality: TimeQuality::Synchronised,
        };
        let mut random = Seeded(self.random.below(u64::MAX) | 1);
        let mut ctx = Context {
            now,
            random: &mut random,
            digests: &Plain,
        };
        for Effect::Command { command, .. } in estate.handle(&mut ctx, input).effects {
            if let Order::Open { compartment } = command.order {
                self.open.push(compartment);
            }
        }
        self.codes = estate.codes().map(|code| code.digest).collect();
    }

    fn input(&mut self) -> Input {
        let parcel = format!("p-{}", self.random.below(12));
        let what = match self.random.below(10) {
            0 | 1 => return Input::Downlink(expected(parcel)),
            2 => return Input::Tick,
            3 => {
                return Input::Downlink(Downlink::Courier {
                    courier: "c".to_owned(),
                    proof: Proof::Badge(badge_digest("badge")),
                    valid_until: i64::MAX,
                });
            }
            4 => Happening::Scan {
                parcel: None,
                badge: badge_digest("badge"),
            },
            5 => Happening::Scan {
                parcel: Some(parcel),
                badge: [1; 32],
            },
            6 => Happening::Keypad {
                typed: Typed {
                    code: match self.codes.len() as u64 {
                        0 => [0; 32],
                        n => self.codes[self.random.below(n) as usize],
                    },
                    elsewhere: Vec::new(),
                    courier: [0; 32],
                    digits: 6,
                },
                opened: None,
            },
            7 => Happening::Access {
                outcome: Outcome::Granted,
                direction: Some(Direction::In),
                method: None,
                credential: Some([self.random.below(9) as u8; 32]),
            },
            n => Happening::Compartment {
                compartment: self.open.last().copied().unwrap_or(1),
                door: if n == 8 { Door::Open } else { Door::Closed },
                occupied: Some(self.random.below(2) == 0),
            },
        };
        self.seq += 1 + self.random.below(3) / 2;
        Input::Event(DeviceEvent {
            device: ident("bank-a"),
            form: Form::Json,
            boot: 1 + self.random.below(3) as u32,
            seq: self.seq,
            at_ms: 1_780_000_000_000 + self.tick_ms as i64,
            said_ms: None,
            fingerprint: self.seq,
            what,
        })
    }
}

fn expected(parcel: String) -> Downlink {
    Downlink::ParcelExpected(ExpectedParcel {
        recipient: format!("r-{parcel}"),
        parcel,
        size: Size::S,
        zone: Zone::Ambient,
        point: ident("bank-a"),
        deadline: 1_790_000_000_000,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    })
}

#[test]
fn what_is_written_is_what_is_loaded_through_random_evenings() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..=40 {
        let mut store = Store::new();
        let mut reference = Snapshot::default();
        let mut estate = Estate::load(layout(), Snapshot::default()).unwrap();
        let mut evening = Evening {
            random: Seeded(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15)),
            tick_ms: 0,
            seq: 0,
            codes: Vec::new(),
            open: Vec::new(),
        };
        for _ in 0..60 {
            for _ in 0..=evening.random.below(4) {
                evening.step(&mut estate);
            }
            let changes = estate.take_changes();
            store.write(&changes);
            seen.extend(changes.iter().filter_map(|change| match change {
                Change::Parcel(row) => Some(row.stage.word()),
                Change::Command(_) => Some("command"),
                Change::CellHousehold { .. } => Some("household"),
                Change::CellGone(_) => Some("cell gone"),
                Change::Keypad(_) => Some("keypad"),
                _ => None,
            }));
            changes.into_iter().for_each(|c| reference.apply(c));
            let loaded = load::snapshot(&store.conn).unwrap();
            assert_eq!(loaded, reference, "seed {seed}");
        }
        let again = Estate::load(layout(), load::snapshot(&store.conn).unwrap()).unwrap();
        assert!(
            again == estate,
            "seed {seed}: the estate differs after a reload"
        );
    }
    // The evenings were worth the name.
    for what in [
        "expected",
        "depositing",
        "deposited",
        "collecting",
        "collected",
        "command",
        "household",
        "cell gone",
        "keypad",
    ] {
        assert!(seen.contains(what), "no evening had: {what}");
    }
}

#[test]
fn numbers_beyond_i64_survive() {
    let mut store = Store::new();
    let row = estate::device::BootRow {
        device: ident("d"),
        boot: u32::MAX,
        upto: u64::MAX - 9,
        ahead: vec![(u64::MAX - 5, u64::MAX)],
        given_up: vec![(1, 2)],
        first: Some(u64::MAX),
        reused: true,
        heard_tick_ms: u64::MAX,
    };
    store.write(&[Change::Boot(row.clone())]);
    let loaded = load::snapshot(&store.conn).unwrap();
    assert_eq!(loaded.boots.into_values().next(), Some(row));
}

#[test]
fn quarantine_is_bounded() {
    let store = Store::new();
    let mut heads = Heads::default();
    let tx = store.conn.unchecked_transaction().unwrap();
    let writer = Writer::new(&tx, &store.keys.store, &mut heads);
    let row = QuarantineRow {
        received_ms: 1,
        source: "d".to_owned(),
        topic: "event".to_owned(),
        reason: "r".to_owned(),
        size_bytes: 1,
        preview: String::new(),
    };
    for _ in 0..QUARANTINE_MAX_ROWS + 50 {
        writer.quarantine(&row).unwrap();
    }
    tx.commit().unwrap();
    let rows: i64 = store
        .conn
        .query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, QUARANTINE_MAX_ROWS);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let store = Store::new();
    let path = store.dir.path().join("linli.db");
    store.conn.pragma_update(None, "user_version", 99).unwrap();
    drop(store.conn);
    let refused = schema::open_writer(&path, 0).err().unwrap();
    assert!(matches!(refused, StoreError::Newer { found: 99, .. }));
    assert!(refused.to_string().contains("nothing was changed"));
    assert!(matches!(
        schema::open_reader(&path),
        Err(StoreError::Newer { .. })
    ));
}

#[test]
fn a_state_folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let first = StateDir::lock(dir.path()).unwrap();
    let second = StateDir::lock(dir.path());
    assert!(matches!(second, Err(StoreError::Locked(_))));
    drop(first);
    StateDir::lock(dir.path()).unwrap();
}

#[test]
fn missing_keys_of_a_store_are_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    Keys::open(&keys, true).unwrap();
    Keys::open(&keys, false).unwrap();
    std::fs::remove_file(keys.join("code.key")).unwrap();
    let missing = Keys::open(&keys, false).err().unwrap();
    assert!(missing.to_string().contains("Restore the keys folder"));
    std::fs::write(keys.join("code.key"), b"short").unwrap();
    assert!(Keys::open(&keys, false).is_err());
}
