//! A gateway for the tests: signed calls, and lanes whose chains are kept as a gateway keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloud_protocol::enrol::{Enrolment, GatewayView, KeyChange, key_change_proof};
use cloud_protocol::secure::sealed::seal;
use cloud_protocol::secure::signed::{self, CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT};
use cloud_protocol::uplink::{DemandReport, ParcelReport, ParcelState};
use cloud_protocol::{
    Acked, Batch, CBOR, Chain, CodeForResident, DownlinkItem, Item, JSON, Lane, LaneBatch,
    PROBLEM_JSON, Problem, Report, SealedCode, SealingKey,
};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Ident, Value};
use reference_cloud::Cloud;
use reqwest::{Method, Response, StatusCode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

pub fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A key pair from a seed of this byte.
pub fn key(fill: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[fill; 32]).unwrap()
}

pub fn public(key: &Ed25519KeyPair) -> [u8; 32] {
    key.public_key().as_ref().try_into().unwrap()
}

/// A request before it is signed.
pub struct Call {
    pub method: Method,
    /// From `/v1` on.
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub content: Vec<u8>,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: Vec::new(),
            content: Vec::new(),
        }
    }

    pub fn post(path: impl Into<String>, media_type: &str, content: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            content,
            ..Self::get(path)
        }
        .with("content-type", media_type)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub struct Gateway {
    pub id: Ident,
    pub form: Form,
    pub key: Ed25519KeyPair,
    pub sealing_key: SealingKey,
    pub url: String,
    enrolled: Mutex<BTreeSet<Ident>>,
    http: reqwest::Client,
}

impl Gateway {
    /// It enrols of itself, under whatever name it has, before its first call; an open cloud lets it.
    pub fn of(cloud: &Cloud) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            id: ident("estate-1"),
            form: Form::Cbor,
            key: key(7),
            sealing_key: cloud.sealing_key(),
            url: cloud.url(),
            enrolled: Mutex::default(),
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

    pub fn path(&self, call: &str) -> String {
        format!("/v1/gateways/{}{call}", self.id)
    }

    /// The headers of the signature, made now.
    pub fn sign(&self, call: &Call, created: i64, nonce: &str) -> signed::SignedHeaders {
        let uri = format!("{}{}", self.url, call.path);
        let keyid = self.id.as_str();
        let what = (call.method.as_str(), uri.as_str());
        signed::sign(&self.key, what, &call.content, keyid, (created, nonce))
    }

    /// Signs and sends.
    pub async fn try_call(&self, call: Call) -> reqwest::Result<Response> {
        let signature = self.sign(&call, now_s(), &signed::nonce().unwrap());
        self.try_call_signed(call, signature).await
    }

    /// Sends with headers of a signature that needn't fit.
    pub async fn try_call_signed(
        &self,
        call: Call,
        signature: signed::SignedHeaders,
    ) -> reqwest::Result<Response> {
        let call = call
            .with(CONTENT_DIGEST, signature.content_digest)
            .with(SIGNATURE_INPUT, signature.signature_input)
            .with(SIGNATURE, signature.signature);
        self.send_as_it_is(call).await
    }

    pub async fn send_as_it_is(&self, call: Call) -> reqwest::Result<Response> {
        let url = format!("{}{}", self.url, call.path);
        let mut request = self.http.request(call.method, url);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        request.body(call.content).send().await
    }

    /// Enrols with this token.
    pub async fn enrol(&self, token: &Secret) -> reqwest::Result<Response> {
        let enrolment = Enrolment {
            token: token.clone(),
            gateway: self.id.clone(),
            public_key: public(&self.key),
        };
        let body = enrolment.to_value().write(self.form);
        self.try_call(Call::post("/v1/enrol", self.media_type(), body))
            .await
    }

    /// Asks for a change to this key, signed by the one it has.
    pub async fn change_key(&self, new: &Ed25519KeyPair) -> reqwest::Result<Response> {
        self.try_call(self.key_change(new)).await
    }

    /// That call.
    pub fn key_change(&self, new: &Ed25519KeyPair) -> Call {
        let public_key = public(new);
        let proof = new.sign(&key_change_proof(self.id.as_str(), &public_key));
        let proof = proof.as_ref().try_into().unwrap();
        let body = KeyChange { public_key, proof }.to_value().write(self.form);
        Call::post(self.path("/key"), self.media_type(), body)
    }

    async fn is_enrolled(&self) {
        if self.enrolled.lock().unwrap().contains(&self.id) {
            return;
        }
        let answer = self.enrol(&Secret::new("any")).await;
        if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            self.enrolled.lock().unwrap().insert(self.id.clone());
        }
    }

    /// What the cloud says of it.
    pub async fn view(&self) -> GatewayView {
        self.is_enrolled().await;
        let answer = self.try_call(Call::get(self.path(""))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        GatewayView::from_value(&read(answer).await).unwrap()
    }

    /// Sends a body as it is.
    pub async fn post(&self, media_type: &str, body: Vec<u8>) -> reqwest::Result<Response> {
        self.is_enrolled().await;
        self.try_call(Call::post(self.path("/uplink"), media_type, body))
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

    /// A call of the operator, unsigned.
    pub async fn call(&self, method: Method, path: &str, body: &str) -> Response {
        let call = Call {
            method,
            ..Call::post(path, JSON, body.into())
        };
        self.send_as_it_is(call).await.unwrap()
    }

    pub async fn try_poll(&self, after: u64, wait_s: u64) -> reqwest::Result<Response> {
        self.poll_as(&format!("after={after}&wait={wait_s}")).await
    }

    /// A poll with this query.
    pub async fn poll_as(&self, query: &str) -> reqwest::Result<Response> {
        self.is_enrolled().await;
        let call = Call::get(self.path(&format!("/downlink?{query}")));
        self.try_call(call.with("accept", self.media_type())).await
    }

    pub async fn poll(&self, after: u64, wait_s: u64) -> Vec<DownlinkItem> {
        let response = self.try_poll(after, wait_s).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], self.media_type());
        DownlinkItem::read_all(&read(response).await).unwrap()
    }

    /// An empty lane, whose codes this gateway seals to its cloud.
    pub fn ledger(&self) -> Ledger {
        Ledger {
            seal: Some((self.sealing_key.clone(), self.id.clone())),
            ..Ledger::default()
        }
    }

    /// As [`parcels`], with codes that the cloud can open.
    pub fn parcels(&self, n: usize) -> Ledger {
        filled(self.ledger(), n)
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
    /// To what its codes are sealed, and for whom; none: always the same, and to nothing.
    seal: Option<(SealingKey, Ident)>,
}

impl Ledger {
    pub fn add(&mut self, mut report: Report) {
        if let Report::Parcel(parcel) = &mut report {
            parcel.code = parcel
                .code
                .take()
                .map(|code| self.sealed(&parcel.parcel, code));
        }
        let seq = self.items.len() as u64 + 1;
        let item = Item {
            seq,
            at: 1_760_000_000_000,
            report,
        };
        self.chains.push(self.chain(seq - 1).then(&item));
        self.items.push(item);
    }

    fn sealed(&self, parcel: &str, code: CodeForResident) -> CodeForResident {
        let CodeForResident::Plain(digits) = &code else {
            return code;
        };
        let Some((key, gateway)) = &self.seal else {
            return CodeForResident::Sealed(SealedCode {
                key: "k-nobody".to_string(),
                enc: [9; 32],
                ct: vec![9; 22],
            });
        };
        CodeForResident::Sealed(seal(key, gateway.as_str(), parcel, digits).unwrap())
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

/// At compartment 7 of the bank, with its code if it is new: sealed when it comes into a [`Ledger`].
pub fn parcel_report(id: &str, state: ParcelState) -> ParcelReport {
    let code = CodeForResident::Plain(Secret::new("004711"));
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
    filled(Ledger::default(), n)
}

fn filled(mut ledger: Ledger, n: usize) -> Ledger {
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
