//! The town around the site: where each parcel really is, who did what at which point, and who got
//! what. Its people are in `courier.rs` and `resident.rs`.
//!
//! People are honest and read labels: they take what is theirs and shut a door that came open for
//! somebody else. They hold the front of a point for as long as they are at it. Some have no patience:
//! they leave before an answer comes, and the door that opens then stands open for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cloud_protocol::downlink::ExpectedParcel;
use firmware_protocols::{Form, Ident};
use simulator::device::{DeviceClock, Spec};
use simulator::{Bank, Desk, Login, Tempo, Version};
use tokio::time::sleep;

use crate::common::ident;
use crate::site::{BANKS, COMPARTMENTS, DESK, Site};

/// How long somebody waits in all for an answer: longer than a command holds.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// Where a parcel really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    Van,
    Inside(Ident, u16),
    Shelf,
    Home,
    TakenBack,
}

/// A parcel, as the people know it.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub expected: ExpectedParcel,
    pub at: Where,
    /// Where it is to be brought: its point, or a desk if there is no room.
    pub goes_to: Ident,
    /// The display has said that it is registered.
    pub confirmed: bool,
    pub cancelled: bool,
    /// It was given out by a bank on its own, and the staff took it off the books.
    pub ended_by_staff: bool,
    /// How often a courier was refused with it lying inside.
    pub refused: u32,
    pub not_before: Instant,
}

/// Somebody did something at a point that may open a door, or keep one open.
#[derive(Debug, Clone)]
pub struct Gesture {
    pub at_ms: i64,
    pub point: Ident,
    /// With whose parcel; `None` for the courier who takes back what goes back.
    pub parcel: Option<String>,
}

/// A parcel was taken out of a compartment by somebody who came for `by`.
#[derive(Debug, Clone)]
pub struct Handed {
    pub at_ms: i64,
    pub parcel: String,
    pub by: String,
    pub bank: Ident,
    pub compartment: u16,
}

/// What was seen, in numbers.
#[derive(Debug, Default)]
pub struct Counts {
    pub brought: AtomicU64,
    pub fetched: AtomicU64,
    pub taken_back: AtomicU64,
    pub late_doors: AtomicU64,
    pub silences: AtomicU64,
    pub mislaid: AtomicU64,
    pub by_hand: AtomicU64,
    pub ended_by_staff: AtomicU64,
    pub handed_by_staff: AtomicU64,
}

pub fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

pub fn value(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Book {
    parcels: BTreeMap<String, Parcel>,
    codes: BTreeMap<String, String>,
    /// Every code that anybody was told.
    told: BTreeSet<String>,
    gestures: Vec<Gesture>,
    handed: Vec<Handed>,
    failures: Vec<String>,
}

pub struct Town {
    pub site: Arc<Site>,
    pub banks: BTreeMap<Ident, Arc<Bank>>,
    pub desk: Arc<Desk>,
    pub tempo: Tempo,
    pub counts: Counts,
    book: Mutex<Book>,
    /// Nothing new is announced, and nobody sets out.
    closing: AtomicBool,
    /// Whoever isn't done goes home.
    closed: AtomicBool,
}

impl Town {
    /// Starts the points.
    pub fn new(site: Arc<Site>) -> Self {
        let tempo = Tempo::real();
        let banks = BANKS.iter().enumerate().map(|(n, bank)| {
            let spec = bank_spec(n, bank);
            let bank = Bank::start(spec, COMPARTMENTS, true, site.broker(), tempo);
            (bank.id().clone(), Arc::new(bank))
        });
        Self {
            banks: banks.collect(),
            desk: Arc::new(Desk::start(spec(DESK), site.broker(), tempo)),
            site,
            tempo,
            counts: Counts::default(),
            book: Mutex::default(),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    pub fn close(&self, everybody_home: bool) {
        self.closing.store(true, Ordering::SeqCst);
        self.closed.fetch_or(everybody_home, Ordering::SeqCst);
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub fn fails(&self, what: String) {
        println!("FAILED: {what}");
        self.book().failures.push(what);
    }

    pub fn failures(&self) -> Vec<String> {
        self.book().failures.clone()
    }

    pub fn parcels(&self) -> BTreeMap<String, Parcel> {
        self.book().parcels.clone()
    }

    pub fn gestures(&self) -> Vec<Gesture> {
        self.book().gestures.clone()
    }

    pub fn handed(&self) -> Vec<Handed> {
        self.book().handed.clone()
    }

    pub fn told_codes(&self) -> BTreeSet<String> {
        self.book().told.clone()
    }

    pub fn parcel(&self, id: &str) -> Parcel {
        self.book().parcels[id].clone()
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Parcel)) {
        if let Some(parcel) = self.book().parcels.get_mut(id) {
            change(parcel);
        }
    }

    pub fn moved(&self, id: &str, to: Where) {
        self.change(id, |parcel| parcel.at = to);
    }

    /// Not again for a while.
    pub fn later(&self, id: &str, pause: Duration) {
        self.change(id, |parcel| parcel.not_before = Instant::now() + pause);
    }

    /// The code of the notice to a parcel's recipient.
    pub fn code(&self, id: &str) -> Option<String> {
        self.book().codes.get(id).cloned()
    }

    pub fn same_recipient(&self, one: &str, other: &str) -> bool {
        let book = self.book();
        let of = |id| book.parcels.get(id).map(|p| &p.expected.recipient);
        of(one).is_some() && of(one) == of(other)
    }

    pub fn gesture(&self, point: &Ident, parcel: Option<&str>) {
        let gesture = Gesture {
            at_ms: self.tempo.now_ms(),
            point: point.clone(),
            parcel: parcel.map(ToString::to_string),
        };
        self.book().gestures.push(gesture);
    }

    /// A parcel was taken out of a compartment.
    pub fn took(&self, parcel: &str, by: &str, bank: &Ident, compartment: u16, to: Where) {
        self.moved(parcel, to);
        let handed = Handed {
            at_ms: self.tempo.now_ms(),
            parcel: parcel.to_string(),
            by: by.to_string(),
            bank: bank.clone(),
            compartment,
        };
        self.book().handed.push(handed);
    }

    /// What a courier has to do next at a point: bring a parcel, or find out whether it is registered.
    pub fn next_at(&self, point: &Ident) -> Option<String> {
        let book = self.book();
        let now = Instant::now();
        let due = book.parcels.iter().filter(|(_, parcel)| {
            let open = match parcel.at {
                Where::Van => !parcel.cancelled,
                Where::Inside(..) | Where::Shelf => !parcel.confirmed,
                Where::Home | Where::TakenBack => false,
            };
            open && parcel.goes_to == *point && parcel.not_before <= now
        });
        let next = due.min_by_key(|(_, parcel)| parcel.not_before);
        next.map(|(id, _)| id.clone())
    }

    /// What was cancelled and lies in a bank.
    pub fn cancelled_in(&self, bank: &Ident) -> Vec<String> {
        let book = self.book();
        let mut inside = Vec::new();
        for (id, parcel) in &book.parcels {
            let here = matches!(&parcel.at, Where::Inside(at, _) if at == bank);
            if here && parcel.cancelled && parcel.confirmed {
                inside.push(id.clone());
            }
        }
        inside
    }

    /// What couriers still have to do: to bring, to confirm, to take back.
    pub fn couriers_work(&self) -> Vec<String> {
        let book = self.book();
        let open = book.parcels.iter().filter(|(_, parcel)| match parcel.at {
            Where::Van => !parcel.cancelled,
            Where::Inside(..) => !parcel.confirmed || parcel.cancelled,
            Where::Shelf => !parcel.confirmed,
            Where::Home | Where::TakenBack => false,
        });
        open.map(|(id, parcel)| format!("{id}: {parcel:?}"))
            .collect()
    }

    /// Shuts every door that stands open at a bank.
    pub fn shut_all(&self, bank: &Bank) {
        for (index, compartment) in bank.compartments().iter().enumerate() {
            if compartment.open {
                count(&self.counts.late_doors);
                bank.close(u16::try_from(index + 1).unwrap());
            }
        }
    }

    /// Waits a little until the bank has sent what was entered before, and shuts what stands open.
    pub async fn step_up(&self, bank: &Bank) {
        let until = Instant::now() + Duration::from_secs(3);
        while bank.device().waiting() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
        sleep(Duration::from_millis(50)).await;
        self.shut_all(bank);
    }

    /// The first door that comes open within one's patience.
    pub async fn look_on(&self, bank: &Bank) -> Option<u16> {
        count(&self.counts.silences);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && !self.is_closed() {
            let open = bank.compartments().iter().position(|c| c.open);
            if let Some(index) = open {
                return u16::try_from(index + 1).ok();
            }
            sleep(Duration::from_millis(50)).await;
        }
        None
    }

    pub fn announced(&self, parcel: Parcel) {
        let id = parcel.expected.parcel.clone();
        self.book().parcels.insert(id, parcel);
    }

    /// The parcel announced last.
    pub fn last_announced(&self) -> Option<ExpectedParcel> {
        let book = self.book();
        let last = book.parcels.values().next_back();
        last.map(|parcel| parcel.expected.clone())
    }

    /// Parcels that couriers or residents have something to do with.
    pub fn under_way(&self) -> usize {
        let book = self.book();
        let open = |p: &&Parcel| !matches!(p.at, Where::Home | Where::TakenBack);
        let open = book.parcels.values().filter(open);
        open.filter(|p| !p.cancelled || p.at != Where::Van).count()
    }

    /// The residents' phones have these codes now, by parcel.
    pub fn told(&self, codes: BTreeMap<String, String>) {
        let mut book = self.book();
        book.told.extend(codes.values().cloned());
        book.codes = codes;
    }
}

fn spec(device: &str) -> Spec {
    let login = Login {
        device: ident(device),
        password: None,
    };
    Spec::new(login, "soak")
}

/// The first has a clock, the second speaks MQTT 3.1.1 and JSON and only counts, the third checks
/// codes by itself while nobody answers.
fn bank_spec(n: usize, bank: &str) -> Spec {
    let mut spec = spec(bank);
    match n {
        1 => {
            spec.version = Version::V311;
            spec.form = Form::Json;
            spec.clock = DeviceClock::Counting;
        }
        2 => {
            spec.capabilities = vec!["codes".to_string()];
            spec.answer_within = Duration::from_secs(3);
        }
        _ => {}
    }
    spec
}
