//! What waits for the cloud: a long lane of reports, and a cloud on threads of its own to take them.

use std::collections::BTreeMap;

use cloud_protocol::Report;
use cloud_protocol::uplink::DemandReport;
use estate::change::Change;
use linli::keys::Keys;
use linli::store::write::{Heads, Writer};
use linli::store::{lanes, schema};
use reference_cloud::{Cloud, Config};
use tokio::runtime::Runtime;

use crate::common::{Setup, ident};

/// Reports in one transaction of the filling.
const CHUNK: u64 = 10_000;
/// The length of a report's bucket.
const MINUTES: u32 = 60;

/// A reference cloud that shares nothing with the devices' side of the bench but the machine.
pub struct OwnCloud {
    pub cloud: Cloud,
    _runtime: Runtime,
}

impl OwnCloud {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let cloud = reference_cloud::serve(Config::in_memory());
        Self {
            cloud: runtime.block_on(cloud).unwrap(),
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        self.cloud.url()
    }
}

/// Appends so many reports of closed buckets to the lane of demand. The gateway must be stopped.
pub fn put(setup: &Setup, reports: u64) {
    put_all(setup, reports, |number| Report::Demand(bucket(number)));
}

/// Appends so many reports to their lanes, by the gateway's own writer. It must be stopped.
pub fn put_all(setup: &Setup, reports: u64, report: impl Fn(u64) -> Report) {
    let keys = Keys::open(&setup.state().join("keys"), false).unwrap();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let mut writer = schema::open_writer(&setup.store(), now_ms).unwrap();
    // If this is interrupted, so is the bench.
    writer
        .conn
        .pragma_update(None, "synchronous", "OFF")
        .unwrap();
    let mut heads = Heads::load(&writer.conn).unwrap();
    let mut made = 0;
    while made < reports {
        let tx = writer.conn.transaction().unwrap();
        let mut open = Writer::new(&tx, &keys.store, &mut heads);
        let to = reports.min(made + CHUNK);
        for number in made..to {
            let at_ms = now_ms;
            let report = report(number);
            open.change(&Change::Uplink { at_ms, report }).unwrap();
        }
        tx.commit().unwrap();
        writer.checkpoint().unwrap();
        made = to;
    }
}

/// How many of them the cloud hasn't acknowledged.
pub fn waiting(setup: &Setup) -> u64 {
    let conn = schema::open_reader(&setup.store()).unwrap();
    let heads = lanes::heads(&conn).unwrap();
    heads[&cloud_protocol::Lane::Demand].waiting
}

/// A building's report as an estate of some size makes it.
fn bucket(number: u64) -> DemandReport {
    let counts = [
        "comings",
        "goings",
        "deposits",
        "collections",
        "intent:eggs",
    ];
    let series = counts.into_iter().zip(5..);
    DemandReport {
        building: Some(ident("b1")),
        // Buckets needn't follow one another; no two may be the same.
        start: i64::try_from(number).unwrap() * 60_000,
        minutes: MINUTES,
        revision: 1,
        series: BTreeMap::from_iter(series.map(|(name, count)| (name.to_owned(), count))),
    }
}
