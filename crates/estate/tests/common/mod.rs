//! A small estate to try the rules on: two banks, a desk, doors, and a world around it that keeps
//! time, numbers events, writes changes into a snapshot and reads what the estate wants sent.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

use std::collections::BTreeMap;

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::uplink::{DemandReport, ParcelReport};
use cloud_protocol::{Downlink, Report, badge_digest};
use estate::context::{CodeDigest, Random};
use estate::layout::{Bank, CompartmentSpec, Desk, Device, Rules};
use estate::parcel::{Stage, TraceEntry};
use estate::{
    Change, Context, DeviceEvent, Digest, Effect, Estate, Happening, Input, Layout, Now, Outcome,
    Snapshot, TimeQuality, Typed, Verdict,
};
use firmware_protocols::command::{Order, Tone};
use firmware_protocols::event::{Direction, Done, Door, Outcome as Access};
use firmware_protocols::{Form, Ident, Slot};

/// 2026-11-22 17:00 UTC, the start of an hour.
pub const EVENING_MS: i64 = 1_795_366_800_000;
pub const HOUR_MS: u64 = 3_600_000;
pub const DAY_MS: u64 = 24 * HOUR_MS;

pub fn id(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

pub fn slot(text: &str) -> Slot {
    text.parse().unwrap()
}

/// Random numbers from a seed: xorshift64*.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = u8::try_from(self.next() >> 56).unwrap();
        }
    }
}

/// A digest that is quick and tells texts apart; nobody attacks it here.
pub struct QuickDigest;

impl CodeDigest for QuickDigest {
    fn digest(&self, point: &Ident, digits: &str) -> Digest {
        quick(&[point.as_str(), digits])
    }

    fn bank_salt(&self, bank: &Ident) -> Digest {
        quick(&["salt", bank.as_str()])
    }

    fn bank_digest(&self, bank: &Ident, digits: &str) -> Digest {
        quick(&["bank", bank.as_str(), digits])
    }
}

/// Digits typed at a point, as the estate hears of them.
pub fn typed(layout: &Layout, point: &Ident, digits: &str) -> Typed {
    let banks = layout.banks.iter().map(|bank| &bank.id);
    let points = banks.chain(layout.desks.iter().map(|desk| &desk.id));
    Typed {
        code: QuickDigest.digest(point, digits),
        elsewhere: points
            .filter(|other| *other != point)
            .map(|other| (other.clone(), QuickDigest.digest(other, digits)))
            .collect(),
        courier: QuickDigest.digest(&layout.site, &format!("courier:{digits}")),
        digits: u8::try_from(digits.len()).unwrap(),
    }
}

pub fn quick(parts: &[&str]) -> Digest {
    let mut out = [0; 32];
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    for chunk in out.chunks_mut(8) {
        for part in parts {
            for byte in part.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
            }
        }
        chunk.copy_from_slice(&hash.to_be_bytes());
    }
    out
}

pub fn layout() -> Layout {
    let spec = |size, zone| CompartmentSpec {
        size,
        zone,
        low: false,
    };
    Layout {
        site: id("site"),
        buildings: vec![id("b1"), id("b2")],
        banks: vec![
            Bank {
                id: id("bank-a"),
                building: id("b1"),
                address: "north gate".into(),
                compartments: vec![
                    spec(Size::S, Zone::Ambient),
                    spec(Size::S, Zone::Ambient),
                    spec(Size::M, Zone::Ambient),
                    spec(Size::L, Zone::Ambient),
                    spec(Size::S, Zone::Chilled),
                ],
                occupancy_sensor: true,
            },
            Bank {
                id: id("bank-b"),
                building: id("b2"),
                address: "garage".into(),
                compartments: vec![spec(Size::M, Zone::Ambient), spec(Size::M, Zone::Ambient)],
                occupancy_sensor: false,
            },
        ],
        desks: vec![Desk {
            id: id("desk-c"),
            building: id("b1"),
            address: "the group leader's".into(),
        }],
        devices: vec![
            device("keypad-b", "b2", Some("bank-b")),
            device("door-1", "b1", None),
            device("door-2", "b2", None),
        ],
        rules: Rules::default(),
    }
}

fn device(name: &str, building: &str, point: Option<&str>) -> Device {
    Device {
        id: id(name),
        building: id(building),
        point: point.map(id),
    }
}

pub fn parcel(name: &str, point: &str) -> ExpectedParcel {
    ExpectedParcel {
        parcel: name.into(),
        recipient: format!("recipient of {name}"),
        size: Size::S,
        zone: Zone::Ambient,
        point: id(point),
        deadline: EVENING_MS + 86_400_000,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    }
}

/// The estate and the world around it. Each input is committed at once, unless `hold` is set.
pub struct World {
    pub estate: Estate,
    pub layout: Layout,
    pub snapshot: Snapshot,
    pub now: Now,
    pub dice: Dice,
    pub hold: bool,
    pub codes: BTreeMap<String, String>,
    pub reports: Vec<ParcelReport>,
    pub demand: Vec<DemandReport>,
    pub traces: Vec<TraceEntry>,
    seqs: BTreeMap<Ident, u64>,
}

impl World {
    pub fn new() -> Self {
        Self::with(layout())
    }

    pub fn with(layout: Layout) -> Self {
        Self {
            estate: Estate::load(layout.clone(), Snapshot::default()).unwrap(),
            layout,
            snapshot: Snapshot::default(),
            now: Now {
                tick_ms: 1_000_000,
                wall_ms: EVENING_MS,
                quality: TimeQuality::Synchronised,
            },
            dice: Dice::new(7),
            hold: false,
            codes: BTreeMap::new(),
            reports: Vec::new(),
            demand: Vec::new(),
            traces: Vec::new(),
            seqs: BTreeMap::new(),
        }
    }

    /// A rule set otherwise.
    pub fn rules(change: impl FnOnce(&mut Rules)) -> Self {
        let mut layout = layout();
        change(&mut layout.rules);
        Self::with(layout)
    }

    pub fn handle(&mut self, input: Input) -> Outcome {
        let mut context = Context {
            now: self.now,
            random: &mut self.dice,
            digests: &QuickDigest,
        };
        let outcome = self.estate.handle(&mut context, input);
        if !self.hold {
            self.commit();
        }
        outcome
    }

    /// Writes what changed, and reads what was appended as the cloud and the CLI would.
    pub fn commit(&mut self) -> Vec<Change> {
        let changes = self.estate.take_changes();
        for change in &changes {
            self.snapshot.apply(change.clone());
            match change {
                Change::Uplink {
                    report: Report::Parcel(report),
                    ..
                } => {
                    if let Some(code) = report.code.as_ref().and_then(|code| code.plain()) {
                        let digits = code.reveal().to_string();
                        self.codes.insert(report.parcel.clone(), digits);
                    }
                    self.reports.push(report.clone());
                }
                Change::Uplink {
                    report: Report::Demand(report),
                    ..
                } => {
                    self.demand.push(report.clone());
                }
                Change::Trace(entry) => self.traces.push(entry.clone()),
                _ => {}
            }
        }
        changes
    }

    /// A restart: all that isn't written is gone.
    pub fn reload(&mut self) {
        self.estate = Estate::load(self.layout.clone(), self.snapshot.clone()).unwrap();
    }

    /// Time passes, then the estate is told.
    pub fn pass(&mut self, ms: u64) -> Outcome {
        self.skip(ms);
        self.handle(Input::Tick)
    }

    /// Time passes; the estate isn't told.
    pub fn skip(&mut self, ms: u64) {
        self.now.tick_ms += ms;
        self.now.wall_ms += i64::try_from(ms).unwrap();
    }

    /// An event without a time of its own.
    pub fn event(&mut self, device: &str, what: Happening) -> Outcome {
        self.reported(device, self.now.wall_ms, None, what)
    }

    /// An event with a time of the device's own.
    pub fn event_at(&mut self, device: &str, at_ms: i64, what: Happening) -> Outcome {
        self.reported(device, at_ms, Some(at_ms), what)
    }

    fn reported(
        &mut self,
        device: &str,
        at_ms: i64,
        said_ms: Option<i64>,
        what: Happening,
    ) -> Outcome {
        let device = id(device);
        let seq = self.seqs.entry(device.clone()).or_insert(0);
        *seq += 1;
        let event = DeviceEvent {
            device,
            form: Form::Json,
            boot: 1,
            seq: *seq,
            at_ms,
            said_ms,
            fingerprint: *seq,
            what,
        };
        let outcome = self.handle(Input::Event(event));
        assert_eq!(outcome.verdict, Verdict::Taken);
        outcome
    }

    pub fn cloud(&mut self, item: Downlink) -> Verdict {
        self.handle(Input::Downlink(item)).verdict
    }

    pub fn expect(&mut self, parcel: ExpectedParcel) -> String {
        let name = parcel.parcel.clone();
        assert_eq!(self.cloud(Downlink::ParcelExpected(parcel)), Verdict::Taken);
        self.codes[&name].clone()
    }

    pub fn courier(&mut self, symbol: &str, valid_until: i64) {
        let item = Downlink::Courier {
            courier: format!("c-{symbol}"),
            proof: Proof::Badge(badge_digest(symbol)),
            valid_until,
        };
        assert_eq!(self.cloud(item), Verdict::Taken);
    }

    pub fn scan(&mut self, device: &str, symbol: &str) -> Outcome {
        let waybill = self.estate.is_waybill(&self.now, &id(device), symbol);
        let parcel = waybill.then(|| symbol.to_string());
        let badge = badge_digest(symbol);
        self.event(device, Happening::Scan { parcel, badge })
    }

    pub fn key(&mut self, device: &str, digits: &str) -> Outcome {
        let point = self
            .estate
            .point_of(&id(device))
            .unwrap_or_else(|| id("none"));
        let typed = typed(&self.layout, &point, digits);
        self.event(
            device,
            Happening::Keypad {
                typed,
                opened: None,
            },
        )
    }

    pub fn door(&mut self, place: &str, door: Door, occupied: Option<bool>) -> Outcome {
        let slot = slot(place);
        let what = Happening::Compartment {
            compartment: slot.compartment,
            door,
            occupied,
        };
        self.event(slot.bank.as_str(), what)
    }

    pub fn result(&mut self, device: &str, command: &str, outcome: Done) -> Outcome {
        let command = command.to_string();
        let reason = (outcome != Done::Done).then(|| "stuck".to_string());
        self.event(
            device,
            Happening::Result {
                command,
                outcome,
                reason,
            },
        )
    }

    pub fn access(&mut self, device: &str, direction: Direction, who: &str) -> Outcome {
        let what = Happening::Access {
            outcome: Access::Granted,
            direction: Some(direction),
            method: None,
            credential: Some(quick(&[who])),
        };
        self.event(device, what)
    }

    pub fn intent(&mut self, device: &str, item: &str, quantity: u32, who: &str) -> Outcome {
        let household = Some(quick(&[who]));
        self.event(
            device,
            Happening::Intent {
                item: item.into(),
                quantity,
                household,
            },
        )
    }

    /// A parcel brought to bank-a by a courier, up to the closed door. The compartment and the code.
    pub fn bring(&mut self, name: &str) -> (Slot, String) {
        let code = self.expect(parcel(name, "bank-a"));
        (self.put(name), code)
    }

    /// An expected parcel put into a compartment of bank-a.
    pub fn put(&mut self, name: &str) -> Slot {
        self.courier("badge", i64::MAX);
        self.scan("bank-a", "badge");
        let outcome = self.scan("bank-a", name);
        let slot = opened(&outcome).expect("a compartment opens");
        self.door(&slot.to_string(), Door::Open, Some(false));
        self.door(&slot.to_string(), Door::Closed, Some(true));
        assert_eq!(self.stage(name), "deposited");
        slot
    }

    /// A resident at bank-a takes a parcel out.
    pub fn take(&mut self, code: &str) -> Slot {
        let outcome = self.key("bank-a", code);
        let slot = opened(&outcome).expect("a compartment opens");
        self.door(&slot.to_string(), Door::Open, Some(true));
        self.door(&slot.to_string(), Door::Closed, Some(false));
        slot
    }

    pub fn stage(&self, name: &str) -> &'static str {
        self.estate
            .parcel(name)
            .map_or("unknown", |row| row.stage.word())
    }

    pub fn full_stage(&self, name: &str) -> Stage {
        self.estate.parcel(name).unwrap().stage.clone()
    }

    pub fn steps(&self, name: &str) -> Vec<&'static str> {
        self.traces
            .iter()
            .filter(|t| t.parcel == name)
            .map(|t| t.step)
            .collect()
    }

    pub fn command_state(&self, command: &str) -> estate::command::CommandState {
        let row = self.estate.commands().find(|row| row.id == command);
        row.expect("the command is kept").state.clone()
    }

    pub fn compartment(&self, place: &str) -> estate::compartment::CompartmentRow {
        let slot = slot(place);
        self.estate
            .compartments()
            .find(|row| row.slot == slot)
            .unwrap()
            .clone()
    }
}

/// The compartment that the outcome opens, if it does.
pub fn opened(outcome: &Outcome) -> Option<Slot> {
    let slots: Vec<_> = opens(outcome).into_iter().map(|(slot, _)| slot).collect();
    assert!(
        slots.len() <= 1,
        "one gesture opens at most one compartment"
    );
    slots.into_iter().next()
}

/// Every open command of an outcome, with its id.
pub fn opens(outcome: &Outcome) -> Vec<(Slot, String)> {
    let open = outcome.effects.iter().filter_map(|effect| {
        let Effect::Command {
            device, command, ..
        } = effect;
        let Order::Open { compartment } = command.order else {
            return None;
        };
        Some((
            Slot {
                bank: device.clone(),
                compartment,
            },
            command.id.clone(),
        ))
    });
    open.collect()
}

pub fn open_id(outcome: &Outcome) -> String {
    opens(outcome).pop().expect("an open command").1
}

/// What is shown, to whom, and how it is meant.
pub fn shown(outcome: &Outcome) -> Vec<(String, Tone, String)> {
    let shows = outcome.effects.iter().filter_map(|effect| {
        let Effect::Command {
            device, command, ..
        } = effect;
        let Order::Show { text, tone } = &command.order else {
            return None;
        };
        Some((device.to_string(), *tone, text.clone()))
    });
    shows.collect()
}

/// The one text that is shown.
pub fn text(outcome: &Outcome) -> String {
    let mut shown = shown(outcome);
    assert_eq!(shown.len(), 1, "one text is shown: {shown:?}");
    shown.remove(0).2
}
