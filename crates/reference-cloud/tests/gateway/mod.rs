//! A gateway for the tests: plain HTTP calls, and lanes whose chains are kept as a gateway keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use cloud_protocol::uplink::{CodeForResident, DemandReport, ParcelReport, ParcelState};
use cloud_protocol::{
    Acked, Batch, CBOR, Chain, DownlinkItem, Item, JSON, Lane, LaneBatch, PROBLEM_JSON, Problem,
    Report,
};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Ident, Value};
use reference_cloud::Cloud;
use reqwest::{Method, Response, StatusCode};

pub fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

pub struct Gateway {
    pub id: Ident,
    pub form: Form,
    url: String,
    http: reqwest::Client,
}

impl Gateway {
    pub fn of(cloud: &Cloud) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            id: ident("estate-1"),
            form: Form::Cbor,
            url: cloud.url(),
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
        }
    }

    pub fn media_type(&self) -> &'static str {
        match self.form {
            Form::Cbor => CBOR,
            Form::Json => JSON,
        }
    }

    /// Sends a body as it is.
    pub async fn post(&self, media_type: &str, body: Vec<u8>) -> reqwest::Result<Response> {
        self.http
            .post(format!("{}/v1/gateways/{}/uplink", self.url, self.id))
            .header("content-type", media_type)
            .body(body)
            .send()
            .await
    }

    pub async fn try_send(&self, batch: &Batch) -> reqwest::Result<Response> {
        let body = batch.to_value().write(self.form);
        self.post(self.media_type(), body).await
    }

    /// Sends a batch that is taken.
    pub async fn send(&self, batch: &Batch) -> BTreeMap<Lane, u64> {
        let response = self.try_send(batch).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], self.media_type());
        Acked::from_value(&read(response).await).unwrap().0
    }

    /// Sends a batch that is refused.
    pub async fn refused(&self, batch: &Batch) -> Problem {
        problem(self.try_send(batch).await.unwrap()).await
    }

    pub async fn call(&self, method: Method, path: &str, body: &str) -> Response {
        self.http
            .request(method, format!("{}{path}", self.url))
            .header("content-type", JSON)
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    }

    pub async fn try_poll(&self, after: u64, wait_s: u64) -> reqwest::Result<Response> {
        let url = format!(
            "{}/v1/gateways/{}/downlink?after={after}&wait={wait_s}",
            self.url, self.id
        );
        self.http
            .get(url)
            .header("accept", self.media_type())
            .send()
            .await
    }

    pub async fn poll(&self, after: u64, wait_s: u64) -> Vec<DownlinkItem> {
        let response = self.try_poll(after, wait_s).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], self.media_type());
        DownlinkItem::read_all(&read(response).await).unwrap()
    }
}

pub async fn read(response: Response) -> Value {
    Value::read(&response.bytes().await.unwrap()).unwrap()
}

pub async fn problem(response: Response) -> Problem {
    assert_eq!(response.headers()["content-type"], PROBLEM_JSON);
    let status = response.status().as_u16();
    let problem = Problem::from_value(&read(response).await).unwrap();
    assert_eq!(problem.status, status);
    problem
}

/// A lane as a gateway has it.
#[derive(Clone, Default)]
pub struct Ledger {
    pub items: Vec<Item>,
    chains: Vec<Chain>,
}

impl Ledger {
    pub fn add(&mut self, report: Report) {
        let seq = self.items.len() as u64 + 1;
        let item = Item {
            seq,
            at: 1_760_000_000_000,
            report,
        };
        self.chains.push(self.chain(seq - 1).then(&item));
        self.items.push(item);
    }

    pub fn chain(&self, seq: u64) -> Chain {
        match usize::try_from(seq).unwrap() {
            0 => Chain::default(),
            n => self.chains[n - 1],
        }
    }

    /// The items after `after`, up to `last`.
    pub fn part(&self, after: u64, last: u64) -> LaneBatch {
        LaneBatch {
            after,
            chain: self.chain(after),
            items: self.items[usize::try_from(after).unwrap()..usize::try_from(last).unwrap()]
                .to_vec(),
        }
    }

    /// A batch with this lane alone.
    pub fn batch(&self, epoch: u64, after: u64, last: u64) -> Batch {
        let part = self.part(after, last);
        let lane = self
            .items
            .first()
            .map_or(Lane::Fulfilment, |item| item.report.lane());
        Batch {
            epoch,
            lanes: [(lane, part)].into(),
        }
    }
}

pub fn parcel(id: &str, state: ParcelState) -> Report {
    Report::Parcel(parcel_report(id, state))
}

/// At compartment 7 of the bank, with its code if it is new.
pub fn parcel_report(id: &str, state: ParcelState) -> ParcelReport {
    let code = CodeForResident {
        digits: Secret::new("004711"),
        salt: vec![7; 16],
    };
    ParcelReport {
        parcel: id.to_string(),
        state,
        since: 1_760_000_000_000,
        bank: Some(ident("bank-a")),
        compartment: Some(7),
        desk: None,
        code: (state == ParcelState::Expected).then_some(code),
        unlisted: false,
        return_of: None,
    }
}

pub fn parcels(n: usize) -> Ledger {
    let mut ledger = Ledger::default();
    for i in 0..n {
        ledger.add(parcel(&format!("P-{i:05}"), ParcelState::Expected));
    }
    ledger
}

pub fn demand(revision: u32, comings: u64) -> Report {
    Report::Demand(DemandReport {
        building: Some(ident("b1")),
        start: 1_760_000_400_000,
        minutes: 60,
        revision,
        series: [("comings".to_string(), comings)].into(),
    })
}
