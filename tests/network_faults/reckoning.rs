//! The reckoning when the faults are over: what the cloud's own store has is compared with what the
//! gateway's has, with what the devices were promised, and with what was done by hand.

use std::collections::{BTreeMap, BTreeSet};

use cloud_protocol::{Chain, Item, Lane, Report};
use firmware_protocols::Value;
use rusqlite::Connection;
use simulator::load::read_record;

use crate::estate::{Estate, site, until};

/// The figures of a test.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sums {
    pub items: u64,
    pub duplicates: u64,
    pub parcels: usize,
    pub handed_over: usize,
    pub events: u64,
    pub resent: u64,
}

impl Estate {
    /// Waits until gateway and cloud have told each other everything, and checks it all.
    pub async fn reckoning(&self) -> Sums {
        let figures = self.doors_are_done().await;
        self.shut_all();
        self.until("the bank's events to be promised", async || {
            let waiting = self.bank.device().waiting();
            (waiting == 0).then_some(()).ok_or(waiting.to_string())
        })
        .await;
        self.in_step().await;
        let mut sums = self.lanes_are_equal().await;
        self.parcels_are_right().await;
        self.orders_were_obeyed_once();
        self.events_are_there_once();
        assert_eq!(figures.published, figures.acknowledged, "{figures:?}");
        self.nothing_is_said_or_broken().await;
        let told = self.told();
        sums.parcels = told.ends.len();
        sums.handed_over = told.handed_over.len();
        sums.events = figures.acknowledged;
        sums.resent = figures.resent;
        sums
    }

    /// Waits until nothing is under way between gateway and cloud.
    pub async fn in_step(&self) {
        until("gateway and cloud to be in step", async || {
            let gateway = self.gateways_store();
            let waiting: i64 = one(&gateway, "SELECT count(*) FROM uplink");
            let cursor: i64 = one(
                &gateway,
                "SELECT value FROM meta WHERE name = 'downlink_cursor'",
            );
            let at_cloud = self.cloud.lanes(&site()).await.unwrap();
            let pushed = at_cloud.downlink_last.cast_signed();
            let seen = format!(
                "{waiting} wait, cursor {cursor} of {pushed}: {}",
                self.linli(&["sync"])
            );
            (waiting == 0 && cursor == pushed).then_some(()).ok_or(seen)
        })
        .await;
    }

    /// Each item of each lane once, in order, with an unbroken chain, and the same at both.
    async fn lanes_are_equal(&self) -> Sums {
        assert_eq!(self.kept.epochs().await, 1, "one store, one epoch");
        let at_cloud = self.cloud.lanes(&site()).await.unwrap();
        let mut sums = Sums::default();
        let mut with_code = 0;
        for lane in Lane::ALL {
            let items = self.kept.items(lane).await;
            let gateway = self.gateways_store();
            let of = format!("WHERE lane = '{}'", lane.name());
            let made: u64 = one_or(&gateway, &format!("SELECT last_seq FROM lanes {of}"));
            let acked: u64 = one_or(&gateway, &format!("SELECT acked_seq FROM lanes {of}"));
            assert_eq!(made, acked, "{lane:?}: all acknowledged");
            let numbers: Vec<u64> = items.iter().map(|(seq, ..)| *seq).collect();
            assert_eq!(
                numbers,
                (1..=made).collect::<Vec<_>>(),
                "{lane:?}: each once"
            );
            let mut chain = Chain::default();
            for (seq, body, stored) in &items {
                // A code is part of what is chained, and not of what the cloud keeps in the item.
                if chain.then_encoded(body) != *stored {
                    assert!(reports_parcel(body), "{lane:?}: the chain breaks at {seq}");
                    with_code += 1;
                }
                chain = *stored;
            }
            if made > 0 {
                let head: [u8; 32] = one(&gateway, &format!("SELECT last_chain FROM lanes {of}"));
                assert_eq!(chain, Chain(head), "{lane:?}: the same items at both");
            }
            sums.items += made;
            let view = at_cloud.lanes.get(&lane);
            sums.duplicates += view.map_or(0, |view| view.duplicates);
        }
        let gateway = self.gateways_store();
        let issued = "SELECT count(*) FROM trace WHERE step IN ('code-issued', 'code-reissued')";
        let issued = one_or(&gateway, issued);
        assert_eq!(with_code, issued, "each code was sent once");
        sums
    }

    /// Each parcel in the state in which the people left it, at both; each live code once.
    async fn parcels_are_right(&self) {
        let ends = self.told().ends.clone();
        let views = self.cloud.parcels(&site()).await.unwrap();
        let at_cloud: BTreeMap<String, &str> = views
            .iter()
            .map(|view| {
                (
                    view.parcel.clone(),
                    view.state.map_or("", |state| state.word()),
                )
            })
            .collect();
        assert_eq!(at_cloud, ends, "the cloud's parcels");
        let mut select = self.gateways_store();
        let select = select.transaction().unwrap();
        let mut rows = select.prepare("SELECT parcel, stage FROM parcels").unwrap();
        let rows = rows
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        let at_gateway: BTreeMap<String, String> = rows.map(Result::unwrap).collect();
        let ends: BTreeMap<String, String> = ends
            .into_iter()
            .map(|(id, end)| (id, end.to_string()))
            .collect();
        assert_eq!(at_gateway, ends, "the gateway's parcels");
        let codes = self.cloud.codes(&site()).await.unwrap();
        let live = codes.len();
        assert_eq!(live, ends.values().filter(|end| *end == "expected").count());
        let different: BTreeSet<&str> = codes.values().map(|code| code.reveal()).collect();
        assert_eq!(different.len(), live, "no two parcels have the same code");
    }

    /// Every item of the downlink had its effect once, and every hand-over happened once.
    fn orders_were_obeyed_once(&self) {
        let gateway = self.gateways_store();
        let told = self.told().clone();
        let mut steps: BTreeMap<(String, String), u32> = BTreeMap::new();
        let mut select = gateway.prepare("SELECT parcel, step FROM trace").unwrap();
        let rows = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        for row in rows {
            *steps.entry(row.unwrap()).or_default() += 1;
        }
        for parcel in told.ends.keys() {
            let times = |step: &str| {
                let key = (parcel.clone(), step.to_string());
                steps.get(&key).copied().unwrap_or(0)
            };
            let handed_over = u32::from(told.handed_over.contains(parcel));
            let expected = [
                ("announced", 1),
                ("code-issued", 1),
                ("code-reissued", u32::from(told.reissued.contains(parcel))),
                ("cancelled", u32::from(told.cancelled.contains(parcel))),
                ("deposited", handed_over),
                ("collected", handed_over),
                ("downlink-refused", 0),
            ];
            for (step, count) in expected {
                assert_eq!(times(step), count, "{parcel}: {step}: {steps:?}");
            }
        }
        let badges: i64 = one(&gateway, "SELECT count(*) FROM couriers");
        assert_eq!(badges, 1);
        let refused = "SELECT count(*) FROM quarantine WHERE source = 'cloud'";
        let refused: i64 = one(&gateway, refused);
        assert_eq!(refused, 0, "the cloud said nothing wrong");
    }

    /// What a device was promised is stored, each event once, and the ledgers balance.
    fn events_are_there_once(&self) {
        let stored = self.setup.stored();
        let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "stored twice: {twice:?}");
        let record = read_record(&self.setup.dir.path().join("record")).unwrap();
        for ((device, boot), numbers) in record {
            for seq in numbers {
                let key = (device.clone(), boot, seq);
                assert!(stored.contains_key(&key), "promised and gone: {key:?}");
            }
        }
        let bank = self.bank.device();
        for one in bank.record() {
            let key = ("bank-a".to_string(), one.boot, one.seq);
            assert!(stored.contains_key(&key), "promised and gone: {key:?}");
        }
        let off = "SELECT count(*) FROM devices WHERE received <> stored + duplicate + quarantined";
        let off: i64 = one(&self.gateways_store(), off);
        assert_eq!(off, 0, "ledgers that don't balance");
        let odd: i64 = one(&self.gateways_store(), "SELECT count(*) FROM quarantine");
        assert_eq!(odd, 0, "{}", self.linli(&["quarantine"]));
    }

    /// The history is whole at both, nothing panicked, no code stands in the log.
    async fn nothing_is_said_or_broken(&self) {
        let history = self.linli(&["audit", "verify", "--json"]);
        let history: serde_json::Value = serde_json::from_str(&history).unwrap();
        assert_eq!(history["unbroken"], true, "{history}");
        let audit = self.cloud.audit(&site()).await.unwrap();
        assert_eq!(audit.contradictions, [], "{audit:?}");
        let log = self.setup.log_text();
        assert!(!log.contains("panicked"), "{log}");
        for code in &self.told().codes {
            assert!(!log.contains(code), "a pickup code stands in the log");
        }
    }
}

fn one<T: rusqlite::types::FromSql>(store: &Connection, query: &str) -> T {
    store.query_row(query, [], |row| row.get(0)).unwrap()
}

/// The same, 0 if there is no row.
fn one_or(store: &Connection, query: &str) -> u64 {
    let found = store.query_row(query, [], |row| row.get::<_, i64>(0));
    u64::try_from(found.unwrap_or(0)).unwrap()
}

fn reports_parcel(body: &[u8]) -> bool {
    let item = Item::from_value(&Value::from_cbor(body).unwrap()).unwrap();
    matches!(item.report, Report::Parcel(_))
}
