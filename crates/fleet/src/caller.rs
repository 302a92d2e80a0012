//! A gateway's calls: signed, packed, and sent through whatever befalls them. What comes back is judged
//! here: no copy of a request may be taken twice.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use cloud_protocol::secure::{compressed, signed};
use cloud_protocol::{CBOR, Problem, ProblemType};
use firmware_protocols::{Ident, Value};
use http::Method;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use simulator::Random;

use crate::line::{Answer, Asked, Break, Line};
use crate::tally::{Count, Tally};

/// The clouds' public address: signed by the gateways, the same for both clouds.
pub const PUBLIC_URL: &str = "https://cloud.example";
/// Its host.
pub const HOST: &str = "cloud.example";
/// How long a request may be on its way when it is sent late, ms.
const LATE_MS: (u64, u64) = (50, 1_500);

/// A gateway's name and key.
pub struct Identity {
    /// Its name.
    pub gateway: Ident,
    key: Ed25519KeyPair,
}

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Cut,
    AnswerLost,
    Doubled,
    Late(Duration),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// 200, and the body.
    Done(Value),
    /// A problem.
    Refused(Problem),
    /// Not now, or nobody knows: ask again.
    Again,
}

/// The calls of one track of a gateway.
pub struct Caller {
    identity: Arc<Identity>,
    line: Line,
    random: Random,
    /// Whether anything befalls its requests.
    pub stormy: bool,
    /// What is counted.
    pub tally: Arc<Tally>,
}

impl Identity {
    /// The key is drawn from `random`: it is a play's.
    pub fn new(gateway: Ident, random: &mut Random) -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&random.number().to_be_bytes());
        }
        let key = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|e| anyhow::anyhow!("making a key: {e}"))?;
        Ok(Self { gateway, key })
    }

    /// The public half.
    pub fn public_key(&self) -> anyhow::Result<[u8; 32]> {
        let public = self.key.public_key().as_ref();
        public.try_into().context("the length of a public key")
    }

    /// Signs a request: its content is final.
    pub fn sign(
        &self,
        method: Method,
        path: &str,
        content: Bytes,
        packed: bool,
    ) -> anyhow::Result<Asked> {
        let nonce = signed::nonce().context("the system has no random numbers")?;
        let created = i64::try_from(now_ms()? / 1_000)?;
        let signed = signed::sign(
            &self.key,
            (method.as_str(), &format!("{PUBLIC_URL}{path}")),
            &content,
            self.gateway.as_str(),
            (created, &nonce),
        );
        Ok(Asked {
            method,
            path: path.to_string(),
            host: HOST,
            signed: Some(signed),
            content,
            packed,
            media: CBOR,
        })
    }
}

/// A body as it is sent, and whether it is packed.
pub fn encoded(value: &Value) -> (Bytes, bool) {
    let body = value.to_cbor();
    match compressed::pack(&body) {
        Some(packed) => (packed.into(), true),
        None => (body.into(), false),
    }
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_millis())?)
}

impl Caller {
    /// Calls as `identity` on `line`.
    pub fn new(identity: Arc<Identity>, line: Line, random: Random, tally: Arc<Tally>) -> Self {
        Self {
            identity,
            line,
            random,
            stormy: false,
            tally,
        }
    }

    /// The same gateway from another box.
    pub fn copy(&self) -> Self {
        Self {
            identity: Arc::clone(&self.identity),
            line: self.line.beside(),
            random: self.random.fork("copy"),
            stormy: self.stormy,
            tally: Arc::clone(&self.tally),
        }
    }

    /// Who calls.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// A path under `/v1/gateways/{gateway}`.
    pub fn path(&self, call: &str) -> String {
        format!("/v1/gateways/{}{call}", self.identity.gateway)
    }

    /// Calls once; a copy that was refused as a replay is signed anew and sent again at once.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        (content, packed): (Bytes, bool),
    ) -> anyhow::Result<Outcome> {
        let asked = self
            .identity
            .sign(method.clone(), path, content.clone(), packed)?;
        let fate = self.fate();
        let outcome = self.outcome(&asked, fate).await;
        let is_replay = matches!(&outcome,
            Outcome::Refused(problem) if problem.kind == Some(ProblemType::Replay));
        match fate {
            Fate::Doubled if is_replay => {
                let asked = self.identity.sign(method, path, content, packed)?;
                Ok(self.outcome(&asked, Fate::Well).await)
            }
            _ => Ok(outcome),
        }
    }

    async fn outcome(&mut self, asked: &Asked, fate: Fate) -> Outcome {
        let answer = self.send(asked, fate).await;
        if answer
            .as_ref()
            .is_some_and(|answer| is_not_now(answer.status))
        {
            self.tally.one(Count::NotNow);
        }
        judged(answer)
    }

    /// Nothing is to be sent for a while.
    pub fn hang_up(&mut self) {
        self.line.hang_up();
    }

    /// Something that must not be.
    pub fn wrong(&self, what: &str) {
        self.tally
            .wrong(format!("{}: {what}", self.identity.gateway));
    }

    /// A pause before try `failures + 1`: full jitter.
    pub fn pause(&mut self, failures: u32) -> Duration {
        const FIRST_MS: u64 = 100;
        const LONGEST_MS: u64 = 3_000;
        let longest = FIRST_MS
            .saturating_mul(1 << failures.min(16))
            .min(LONGEST_MS);
        Duration::from_millis(self.random.between(0, longest))
    }

    fn fate(&mut self) -> Fate {
        if !self.stormy {
            return Fate::Well;
        }
        match self.random.below(100) {
            0..10 => Fate::Cut,
            10..20 => Fate::Doubled,
            20..30 => Fate::Late(Duration::from_millis(
                self.random.between(LATE_MS.0, LATE_MS.1),
            )),
            30..35 => Fate::AnswerLost,
            _ => Fate::Well,
        }
    }

    async fn send(&mut self, asked: &Asked, fate: Fate) -> Option<Answer> {
        self.tally.one(Count::Requests);
        match fate {
            Fate::Well => {
                let answer = self.passed(asked).await?;
                self.tally.clean(answer.took, answer.passed);
                Some(answer)
            }
            Fate::Cut => {
                self.tally.one(Count::Cut);
                let bytes = self.random.below(asked.bytes_at_least());
                self.broken(asked, Break::Request(bytes)).await
            }
            Fate::AnswerLost => {
                self.tally.one(Count::AnswersLost);
                self.broken(asked, Break::Answer).await
            }
            Fate::Late(pause) => {
                self.tally.one(Count::Delayed);
                tokio::time::sleep(pause).await;
                self.passed(asked).await
            }
            Fate::Doubled => {
                self.tally.one(Count::Doubled);
                self.doubled(asked).await
            }
        }
    }

    async fn passed(&mut self, asked: &Asked) -> Option<Answer> {
        let answer = self.line.ask(asked, Break::Nothing).await.ok();
        if answer.is_none() {
            self.tally.one(Count::Broken);
        }
        answer
    }

    async fn broken(&mut self, asked: &Asked, breaks: Break) -> Option<Answer> {
        if self.line.ask(asked, breaks).await.is_ok() {
            self.wrong("an answer came over a broken line: the fault didn't happen");
        }
        None
    }

    /// The same bytes at both clouds at the same time: one of them may take it.
    async fn doubled(&mut self, asked: &Asked) -> Option<Answer> {
        let mut beside = self.line.beside();
        let (one, other) = tokio::join!(
            self.line.ask(asked, Break::Nothing),
            beside.ask(asked, Break::Nothing)
        );
        let (one, other) = (one.ok(), other.ok());
        for copy in [&one, &other] {
            match copy {
                Some(answer) if is_replay(answer) => self.tally.one(Count::Replays),
                Some(_) => {}
                None => self.tally.one(Count::Broken),
            }
        }
        let taken = |answer: &Option<Answer>| answer.as_ref().is_some_and(|a| a.status == 200);
        if taken(&one) && taken(&other) {
            self.wrong("both copies of a request were taken");
        }
        match (one, other, self.random.chance(50)) {
            (Some(one), Some(_), true) => Some(one),
            (Some(_), Some(other), false) => Some(other),
            (one, other, _) => one.or(other),
        }
    }
}

fn is_replay(answer: &Answer) -> bool {
    matches!(judged(Some(answer.clone())),
        Outcome::Refused(problem) if problem.kind == Some(ProblemType::Replay))
}

fn is_not_now(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

fn judged(answer: Option<Answer>) -> Outcome {
    let Some(answer) = answer else {
        return Outcome::Again;
    };
    match (answer.status, answer.value) {
        (200, Some(value)) => Outcome::Done(value),
        (status, _) if is_not_now(status) => Outcome::Again,
        (status, value) => {
            let problem = value.and_then(|value| Problem::from_value(&value).ok());
            Outcome::Refused(problem.unwrap_or(Problem {
                kind: None,
                status,
                title: "an answer that isn't understood".to_string(),
                detail: None,
                lane: None,
                expected: None,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_protocol::secure::signed::{CONTENT_DIGEST, Request, SIGNATURE, SIGNATURE_INPUT};

    #[test]
    fn what_a_gateway_signs_a_cloud_reads() {
        let gateway = Ident::new("g-1").unwrap();
        let identity = Identity::new(gateway, &mut Random::new(5)).unwrap();
        let path = "/v1/gateways/g-1/uplink";
        let content = Bytes::from_static(b"content");
        let asked = identity
            .sign(Method::POST, path, content.clone(), false)
            .unwrap();
        let headers = asked.signed.unwrap();
        let uri = format!("{PUBLIC_URL}{path}");
        let stated = signed::read(Request {
            method: "POST",
            target_uri: &uri,
            field: &|name| match name {
                CONTENT_DIGEST => Some(headers.content_digest.clone()),
                SIGNATURE_INPUT => Some(headers.signature_input.clone()),
                SIGNATURE => Some(headers.signature.clone()),
                _ => None,
            },
        })
        .unwrap();
        assert_eq!(stated.keyid, "g-1");
        assert!(stated.is_by(&identity.public_key().unwrap()));
        signed::check_content(&headers.content_digest, &content).unwrap();
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        let answer = |status, json: &str| Answer {
            status,
            value: Value::from_json(json.as_bytes()).ok(),
            passed: (0, 0),
            took: Duration::ZERO,
        };
        let replay = "{\"type\":\"urn:linli:problem:replay\",\"title\":\"t\",\"status\":401}";
        assert!(is_replay(&answer(401, replay)));
        assert!(!is_replay(&answer(200, "{}")));
        assert_eq!(judged(None), Outcome::Again);
        assert_eq!(judged(Some(answer(503, replay))), Outcome::Again);
        assert!(matches!(judged(Some(answer(404, ""))), Outcome::Refused(_)));
        let done = judged(Some(answer(200, "{}")));
        assert!(matches!(done, Outcome::Done(_)));
    }
}
