//! The SQL store against its reference: what writing a change means is [`Snapshot::apply`].

use std::path::Path;

use cloud_protocol::CodeForResident;
use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::uplink::{ParcelReport, ParcelState};
use cloud_protocol::{Acked, Chain, Downlink, Lane, Report, badge_digest};
use estate::change::{Change, Snapshot};
use estate::context::{CodeDigest, Random};
use estate::layout::{Bank, CompartmentSpec, Rules};
use estate::{
    Context, DeviceEvent, Digest, Effect, Estate, Happening, Input, Layout, Now, TimeQuality, Typed,
};
use firmware_protocols::event::{Direction, Door, Outcome, Secret};
use firmware_protocols::{Form, Ident, Order};
use rusqlite::Connection;
use tempfile::TempDir;

use super::write::{Heads, QUARANTINE_MAX_ROWS, QuarantineRow, Writer};
use super::{StateDir, StoreError, lanes, load, schema};
use crate::keys::Keys;

struct Store {
    dir: TempDir,
    conn: Connection,
    keys: Keys,
    heads: Heads,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
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

    fn write(&mut self, changes: &[Change]) {
        let tx = self.conn.unchecked_transaction().unwrap();
        let mut writer = Writer::new(&tx, &self.keys.store, &mut self.heads);
        for change in changes {
            writer.change(change).unwrap();
        }
        tx.commit().unwrap();
    }

    fn acked(&mut self, lane: Lane, seq: u64) {
        let acked = Acked([(lane, seq)].into());
        lanes::acked(&self.conn, &mut self.heads.lanes, &acked).unwrap();
    }
}

pub(super) fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn parcel_report(parcel: &str, digits: Option<&str>) -> Change {
    Change::Uplink {
        at_ms: 5,
        report: Report::Parcel(ParcelReport {
            parcel: parcel.to_owned(),
            state: ParcelState::Expected,
            since: 5,
            bank: None,
            compartment: None,
            desk: None,
            code: digits.map(|digits| CodeForResident::Plain(Secret::new(digits))),
            unlisted: false,
            return_of: None,
        }),
    }
}

/// xorshift64: the same history from the same seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: u64) -> u64 {
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
fn a_plain_code_is_in_no_file() {
    let mut store = Store::new();
    store.write(&[parcel_report("p-1", Some("90817263"))]);
    // The write-ahead log and the database itself, before and after a checkpoint.
    assert_files_lack(store.dir.path(), b"90817263");
    store
        .conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    assert_files_lack(store.dir.path(), b"90817263");
    let batch = lanes::next_batch(&store.conn, &store.keys.store, 10, 10_000, &[])
        .unwrap()
        .unwrap();
    let Report::Parcel(report) = &batch.lanes[&Lane::Fulfilment].items[0].report else {
        panic!("not a parcel");
    };
    assert_eq!(report.code.as_ref().unwrap().digits.reveal(), "90817263");
}

fn assert_files_lack(folder: &Path, needle: &[u8]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_files_lack(&path, needle);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{} holds it", path.display());
    }
}

#[test]
fn a_lane_is_sent_acknowledged_and_chained() {
    let mut store = Store::new();
    for n in 1..=5 {
        store.write(&[parcel_report(&format!("p-{n}"), Some("123456"))]);
    }
    let next = |store: &Store, items| {
        lanes::next_batch(&store.conn, &store.keys.store, items, 10_000, &[])
            .unwrap()
            .map(|batch| batch.lanes[&Lane::Fulfilment].clone())
    };
    let first = next(&store, 3).unwrap();
    assert_eq!((first.after, first.chain), (0, Chain::default()));
    assert_eq!(first.items.len(), 3);
    let chain = first.items.iter().fold(first.chain, |c, item| c.then(item));

    store.acked(Lane::Fulfilment, 3);
    let second = next(&store, 3).unwrap();
    assert_eq!((second.after, second.chain), (3, chain));
    assert_eq!(second.items.len(), 2);

    // Old or impossible acknowledgements change nothing.
    store.acked(Lane::Fulfilment, 2);
    store.acked(Lane::Fulfilment, 6);
    assert_eq!(next(&store, 3), Some(second));
    store.acked(Lane::Fulfilment, 5);
    assert_eq!(next(&store, 3), None);
    // The heads in memory are those on disk.
    assert_eq!(Heads::load(&store.conn).unwrap(), store.heads);
}

#[test]
fn an_urgent_lane_fills_the_batch_before_the_others() {
    let mut store = Store::new();
    let demand = Change::Uplink {
        at_ms: 1,
        report: Report::Health([("events".to_owned(), 1)].into()),
    };
    store.write(&[
        demand,
        parcel_report("p-1", None),
        parcel_report("p-2", None),
    ]);
    let lanes_of = |items, held: &[Lane]| {
        let batch = lanes::next_batch(&store.conn, &store.keys.store, items, 10_000, held);
        let lanes = batch.unwrap().unwrap().lanes;
        lanes.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(lanes_of(2, &[]), [Lane::Fulfilment]);
    assert_eq!(lanes_of(3, &[]), [Lane::Fulfilment, Lane::Health]);
    assert_eq!(lanes_of(3, &[Lane::Fulfilment]), [Lane::Health]);
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
