//! The stage of a story: one bank, one desk, a cloud and a daemon of its own; and the gestures of the
//! people in front of them, each of which ends when what it leads to can be read on the display.

use std::sync::Mutex;
use std::time::Instant;

use cloud_protocol::badge_digest;
use cloud_protocol::downlink::{Downlink, ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::uplink::{Item, ParcelState, Report};
use firmware_protocols::event::Secret;
use firmware_protocols::{Ident, Value};
use reference_cloud::{Cloud, Config, ParcelView};
use simulator::device::Spec;
use simulator::front::{Answer, Display};
use simulator::{Bank, Desk, Login, Tempo};
use tokio::task::block_in_place;

use crate::common::{Gateway, PATIENCE, Setup, ident, text};

/// The badge of the courier `sf-22`.
pub const BADGE: &str = "BADGE-OF-SF-22";
/// The code of the courier `jd-7`, who has no badge.
pub const COURIERS_CODE: &str = "86420975";
/// A time far ahead.
const NEXT_CENTURY_MS: i64 = 4_000_000_000_000;

/// An evening in front of bank-a (compartments 1 to 8 of size S, 9 to 12 of size L, at Gate 1) and
/// desk-1 (the Office).
pub struct Evening {
    pub setup: Setup,
    pub cloud: Cloud,
    pub bank: Bank,
    pub desk: Desk,
    gateway: Option<Gateway>,
    /// The codes that residents were told: they may stand in no log.
    codes: Mutex<Vec<String>>,
}

/// A small parcel for a recipient of its own.
pub fn parcel(id: &str) -> ExpectedParcel {
    ExpectedParcel {
        parcel: id.to_string(),
        recipient: format!("recipient-of-{id}"),
        size: Size::S,
        zone: Zone::Ambient,
        point: ident("bank-a"),
        deadline: NEXT_CENTURY_MS,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    }
}

/// A login without a password.
pub fn spec(device: &str) -> Spec {
    let login = Login {
        device: ident(device),
        password: None,
    };
    Spec::new(login, "story")
}

/// Looks until it is as it should be, or fails with what was seen last.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < end, "in vain: {what}; last seen: {seen}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Beginning and end.
impl Evening {
    /// With the ordinary rules.
    pub async fn begin() -> Self {
        Self::with_rules("").await
    }

    /// With these lines of `[rules]`.
    pub async fn with_rules(rules: &str) -> Self {
        Self::with(rules, spec("bank-a")).await
    }

    /// With these lines of `[rules]`, and a bank of this kind.
    pub async fn with(rules: &str, bank: Spec) -> Self {
        let mut setup = Setup::new();
        let cloud = Config::in_file(setup.dir.path().join("cloud.db"));
        let cloud = reference_cloud::serve(cloud).await.unwrap();
        setup.cloud = Some(cloud.url());
        setup.more = format!("[rules]\n{rules}\n");
        let gateway = block_in_place(|| setup.start());
        let tempo = Tempo::real();
        let evening = Self {
            bank: Bank::start(bank, 12, true, setup.address(), tempo),
            desk: Desk::start(spec("desk-1"), setup.address(), tempo),
            setup,
            cloud,
            gateway: Some(gateway),
            codes: Mutex::default(),
        };
        evening.bank.device().until_online().await;
        evening.desk.device().until_online().await;
        let badge = Proof::Badge(badge_digest(BADGE));
        let code = Proof::Code(Secret::new(COURIERS_CODE));
        for (courier, proof) in [("sf-22", badge), ("jd-7", code)] {
            let what = Downlink::Courier {
                courier: courier.to_string(),
                proof,
                valid_until: NEXT_CENTURY_MS,
            };
            evening.cloud_says(&what).await;
        }
        evening
    }

    /// `kill -9`.
    pub fn kill_the_gateway(&mut self) {
        self.gateway.take().expect("it runs").kill();
    }

    /// Starts it again, where it was.
    pub fn start_the_gateway(&mut self) {
        self.gateway = Some(block_in_place(|| self.setup.start()));
    }

    /// The daemon's process.
    pub fn gateway_pid(&self) -> u32 {
        self.gateway.as_ref().expect("it runs").pid()
    }

    /// After [`Self::kill_the_gateway`] was done by somebody else.
    pub fn the_gateway_is_dead(&mut self) {
        drop(self.gateway.take());
    }

    /// The end of every story: the history is sound, and no code stands in the log.
    pub async fn end(mut self) {
        let history = self.linli(&["audit", "verify"]);
        assert_eq!(history["unbroken"], true, "{history}");
        let audit = self.cloud.audit(&site()).await.unwrap();
        assert_eq!(audit.contradictions, [], "{audit:?}");
        let gateway = self.gateway.take().expect("it runs");
        self.bank.device().stop().await;
        self.desk.device().stop().await;
        block_in_place(|| gateway.stop());
        self.cloud.shutdown().await;
        let log = self.setup.log_text();
        assert!(!log.contains("panicked"), "{log}");
        for code in self.codes.lock().unwrap().iter() {
            assert!(!log.contains(code), "a pickup code stands in the log");
        }
    }
}

/// The cloud.
impl Evening {
    /// It tells the gateway something.
    pub async fn cloud_says(&self, what: &Downlink) {
        self.cloud.push(&site(), what).await.unwrap();
    }

    /// It announces a parcel. Returns the code that its recipient is told.
    pub async fn announced(&self, parcel: ExpectedParcel) -> String {
        self.cloud.announce(&site(), &parcel).await.unwrap();
        self.notice(&parcel.parcel, "").await
    }

    /// The code that a recipient is told; another one than `old`.
    pub async fn notice(&self, parcel: &str, old: &str) -> String {
        let code = until("the notice with the code", async || {
            let codes = self.cloud.codes(&site()).await.unwrap();
            let code = codes.get(parcel).map(|code| code.reveal().to_string());
            code.filter(|code| code != old).ok_or("none".to_string())
        })
        .await;
        self.codes.lock().unwrap().push(code.clone());
        code
    }

    /// Waits until it knows a parcel in this state.
    pub async fn cloud_knows(&self, parcel: &str, state: ParcelState) -> ParcelView {
        until(&format!("the cloud to know {parcel}"), async || {
            let view = self.cloud.parcel(&site(), parcel).await.unwrap();
            let there = view.clone().filter(|view| view.state == Some(state));
            there.ok_or_else(|| format!("{view:?}, not {state:?}"))
        })
        .await
    }

    /// Every state of every parcel that it was told, in the order of the telling.
    pub fn cloud_was_told(&self) -> Vec<(String, ParcelState)> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let file = self.setup.dir.path().join("cloud.db");
        let store = rusqlite::Connection::open_with_flags(file, flags).unwrap();
        let mut items = store
            .prepare("SELECT body FROM item WHERE lane = 'fulfilment' ORDER BY epoch, seq")
            .unwrap();
        let bodies = items.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        let reports = bodies.map(|body| {
            let value = Value::from_cbor(&body.unwrap()).unwrap();
            Item::from_value(&value).unwrap().report
        });
        reports
            .filter_map(|report| match report {
                Report::Parcel(parcel) => Some((parcel.parcel, parcel.state)),
                _ => None,
            })
            .collect()
    }
}

/// The technician and the staff.
impl Evening {
    /// `linli … --json`.
    pub fn linli(&self, args: &[&str]) -> serde_json::Value {
        block_in_place(|| self.setup.json(args))
    }

    /// `linli desk hand-over`, the code down a pipe. What it says on standard output, or why not.
    pub fn hand_over_at_the_desk(&self, code: &str) -> Result<String, String> {
        block_in_place(|| {
            let out = self.setup.hand_over(code);
            match out.status.success() {
                true => Ok(text(&out.stdout)),
                false => Err(text(&out.stderr)),
            }
        })
    }

    /// Waits until the technician sees a parcel in this state.
    pub async fn technician_sees(&self, parcel: &str, state: &str) -> serde_json::Value {
        until(&format!("linli parcel {parcel}"), async || {
            let view = self.linli(&["parcel", parcel]);
            if view["state"] == state {
                return Ok(view);
            }
            Err(format!("{view:#}, not {state}"))
        })
        .await
    }

    /// A compartment of the bank as the technician sees it.
    pub fn compartment(&self, number: u16) -> serde_json::Value {
        let banks = self.linli(&["banks"]);
        banks[0]["compartments"][usize::from(number) - 1].clone()
    }
}

/// The steps of a parcel's history as `linli parcel ID --json` has them.
pub fn steps(view: &serde_json::Value) -> Vec<&str> {
    let trace = view["trace"].as_array().unwrap();
    trace
        .iter()
        .map(|row| row["step"].as_str().unwrap())
        .collect()
}

/// Gestures at the bank.
impl Evening {
    /// Waits until the bank's display says this.
    pub async fn bank_says(&self, words: &str) {
        says(self.bank.display(), words).await;
    }

    /// The courier `sf-22` scans the badge, and reads this.
    pub async fn badge_is_scanned(&self, words: &str) {
        let answer = self.bank.turn().await.scan_badge(BADGE).await;
        assert!(matches!(&answer, Answer::Yes(_)), "{answer:?}");
        self.bank_says(words).await;
    }

    /// A courier scans a waybill, and a compartment opens.
    pub async fn opens_for_waybill(&self, parcel: &str) -> u16 {
        let answer = self.bank.turn().await.scan_waybill(parcel).await;
        let Answer::Opened(number) = answer else {
            panic!("nothing opened for {parcel}: {answer:?}");
        };
        self.bank_says(&format!("Compartment {number}: put the parcel in"))
            .await;
        number
    }

    /// A courier scans a waybill, nothing opens, and the display says this.
    pub async fn waybill_is_refused(&self, parcel: &str, words: &str) {
        let answer = self.bank.turn().await.scan_waybill(parcel).await;
        assert!(matches!(&answer, Answer::No(_)), "{answer:?}");
        self.bank_says(words).await;
    }

    /// A courier brings a parcel: scans, puts it in, closes the door. The compartment.
    pub async fn is_brought(&self, parcel: &str) -> u16 {
        let number = self.opens_for_waybill(parcel).await;
        self.is_put_in(number, parcel).await;
        number
    }

    /// A parcel is put into an open compartment, and the door closed.
    pub async fn is_put_in(&self, number: u16, parcel: &str) {
        assert!(
            self.bank.put(number, parcel),
            "compartment {number} is closed"
        );
        self.bank.close(number);
        self.bank_says(&format!("Stored in compartment {number}"))
            .await;
    }

    /// Somebody types digits, and a compartment opens: to take something out.
    pub async fn opens_to_take_out(&self, digits: &str) -> u16 {
        self.opens_for_digits(digits, "take").await
    }

    /// Somebody types digits, and a compartment opens; the display says what to do.
    pub async fn opens_for_digits(&self, digits: &str, words: &str) -> u16 {
        let answer = self.bank.type_code(digits).await;
        let Answer::Opened(number) = answer else {
            panic!("nothing opened: {answer:?}");
        };
        self.bank_says(&format!("Compartment {number}: {words}"))
            .await;
        number
    }

    /// Somebody types digits, nothing opens, and the display says this.
    pub async fn digits_open_nothing(&self, digits: &str, words: &str) {
        let answer = self.bank.type_code(digits).await;
        let spoken = matches!(answer, Answer::Word(_) | Answer::No(_));
        assert!(
            spoken && answer.words().contains(words),
            "{answer:?}, not {words:?}"
        );
    }

    /// Parcels are taken out of an open compartment, the door is closed, and the display says this.
    pub async fn is_taken(&self, number: u16, parcels: &[&str], words: &str) {
        for parcel in parcels {
            let taken = self.bank.take(number, |inside| inside == *parcel);
            assert_eq!(taken.as_deref(), Some(*parcel), "in compartment {number}");
        }
        self.bank.close(number);
        self.bank_says(words).await;
    }
}

/// Waits until a display says this.
async fn says(display: &Display, words: &str) {
    until(&format!("the display to say {words:?}"), async || {
        let shown = display.shown().map(|(text, _)| text).unwrap_or_default();
        if shown.contains(words) {
            return Ok(());
        }
        Err(shown)
    })
    .await;
}

/// The same digits with a slip of the finger in the last one.
pub fn mistyped(code: &str) -> String {
    let (rest, last) = code.split_at(code.len() - 1);
    let last: u8 = last.parse().unwrap();
    format!("{rest}{}", (last + 1) % 10)
}

pub fn site() -> Ident {
    ident("test-site")
}
