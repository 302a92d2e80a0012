//! The gateway under test: its name and key, what it has sent, and how answers are judged.

use std::time::{SystemTime, UNIX_EPOCH};

use cloud_protocol::secure::signed::{COVERED, nonce};
use cloud_protocol::{Acked, GatewayView, Lane, PROBLEM_JSON, Problem, ProblemType, SealingKey};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Ident, Value};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::http::{Answer, Http};
use super::report::{Outcome, Report};
use super::request::{Draft, Signature};
use super::track::{Track, batch};
use super::{CannotRun, status_of};

/// What is wrong with an answer, in words, or nothing.
pub(super) type Judged = Result<(), String>;

/// The gateway under test.
pub(super) struct Run {
    pub http: Http,
    pub gateway: Ident,
    pub token: Secret,
    pub key: Ed25519KeyPair,
    /// The one that it enrolled with, once it has another.
    pub first_key: Option<Ed25519KeyPair>,
    /// The cloud's time less this machine's, seconds.
    pub skew_s: i64,
    pub epoch: u64,
    pub sealing_key: Option<SealingKey>,
    tracks: [Track; 3],
    report: Report,
}

impl Run {
    pub fn new(http: Http, gateway: Ident, token: Secret) -> Result<Self, CannotRun> {
        let report = Report::new(http.base().to_string(), gateway.clone());
        Ok(Self {
            http,
            gateway,
            token,
            key: new_key()?,
            first_key: None,
            skew_s: 0,
            epoch: 0,
            sealing_key: None,
            tracks: Lane::ALL.map(Track::new),
            report,
        })
    }

    pub fn into_report(self) -> Report {
        self.report
    }

    /// A call of this gateway: `""`, `/uplink`, `/downlink?…`, `/key`.
    pub fn path(&self, call: &str) -> String {
        format!("/v1/gateways/{}{call}", self.gateway)
    }

    /// The cloud's time, seconds since the Unix epoch.
    pub fn now_s(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let own = since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
        own.saturating_add(self.skew_s)
    }

    /// The same in milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_s().saturating_mul(1_000)
    }

    /// The signature that this request should have, by this key.
    pub fn signature<'a>(&self, draft: &Draft, key: &'a Ed25519KeyPair) -> Signature<'a> {
        let quoted = |text: &str| format!("\"{text}\"");
        Signature {
            key,
            label: "linli",
            method: draft.method.to_string(),
            target_uri: self.http.uri(draft),
            content: draft.body.clone(),
            covered: COVERED.to_vec(),
            params: vec![
                ("created", self.now_s().to_string()),
                ("nonce", quoted(&nonce().unwrap_or_default())),
                ("keyid", quoted(self.gateway.as_str())),
                ("alg", quoted("ed25519")),
            ],
        }
    }

    /// The request, signed as it must be by the gateway's key.
    pub fn signed(&self, draft: Draft) -> Draft {
        self.signature(&draft, &self.key).onto(draft)
    }

    /// A batch, signed.
    pub fn batch(&self, parts: Vec<(&str, Value)>, form: Form) -> Draft {
        self.signed(self.batch_of(self.epoch, parts, form))
    }

    /// A batch of an epoch, not signed.
    pub fn batch_of(&self, epoch: u64, parts: Vec<(&str, Value)>, form: Form) -> Draft {
        Draft::post(self.path("/uplink"), &batch(epoch, parts), form)
    }

    pub fn track(&mut self, lane: Lane) -> &mut Track {
        let at = Lane::ALL.iter().position(|l| *l == lane).unwrap_or(0);
        &mut self.tracks[at]
    }

    /// Starts over in a higher epoch.
    pub fn begin_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.tracks = Lane::ALL.map(Track::new);
    }

    /// The batch that has so many plain items more of a lane, signed; nothing of it was sent before.
    pub fn next_plain(&mut self, lane: Lane, count: usize, form: Form) -> Draft {
        let at_ms = self.now_ms();
        let track = self.track(lane);
        let after = track.last();
        track.push_plain(at_ms, count);
        let part = track.part(after, track.last());
        self.batch(vec![(lane.name(), part)], form)
    }

    pub fn held(&mut self, clause: &'static str) {
        self.report.record(clause, Outcome::Held);
    }

    pub fn broken(&mut self, clause: &'static str, asked: &str, answered: impl Into<String>) {
        let (asked, answered) = (asked.to_string(), answered.into());
        self.report
            .record(clause, Outcome::Broken { asked, answered });
    }

    pub fn not_shown(&mut self, clause: &'static str, why: impl Into<String>) {
        self.report
            .record(clause, Outcome::NotShown { why: why.into() });
    }

    /// Sends a request, and judges its answer by a clause. The answer, if the clause held.
    pub async fn ask(
        &mut self,
        clause: &'static str,
        asked: &str,
        draft: &Draft,
        judge: impl FnOnce(&Answer) -> Judged,
    ) -> Option<Answer> {
        let answer = self.send(draft).await;
        self.judge(clause, asked, answer, judge)
    }

    /// Sends a request; what every answer must have is judged here.
    pub async fn send(&mut self, draft: &Draft) -> Result<Answer, String> {
        let answer = self.http.send(draft).await?;
        self.common(draft, &answer);
        Ok(answer)
    }

    /// Judges an answer by a clause.
    pub fn judge(
        &mut self,
        clause: &'static str,
        asked: &str,
        answer: Result<Answer, String>,
        judge: impl FnOnce(&Answer) -> Judged,
    ) -> Option<Answer> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                self.broken(clause, asked, format!("no answer: {why}"));
                return None;
            }
        };
        if let Err(wrong) = judge(&answer) {
            self.broken(clause, asked, format!("{}: {wrong}", answer.shown()));
            return None;
        }
        self.held(clause);
        Some(answer)
    }

    /// What holds for every answer: a date, a problem where it is a refusal, a body that can be
    /// unpacked and came packed only if that was said to be taken.
    pub fn common(&mut self, draft: &Draft, answer: &Answer) {
        let asked = format!("{} {}", draft.method, draft.path);
        match answer.header("date") {
            Some(_) => self.held("http.date"),
            None => self.broken("http.date", &asked, format!("{}: no Date", answer.shown())),
        }
        let takes_zstd = draft
            .headers
            .iter()
            .any(|(name, _)| *name == "accept-encoding");
        match (&answer.damaged, answer.is_packed(), takes_zstd) {
            (Some(why), ..) => self.broken("zstd.answer", &asked, why),
            (None, true, false) => {
                self.broken("zstd.not-asked", &asked, "an answer in zstd");
            }
            (None, false, false) => self.held("zstd.not-asked"),
            _ => {}
        }
        if answer.status >= 400 {
            match problem_form(answer) {
                Ok(()) => self.held("problem.form"),
                Err(wrong) => {
                    let answered = format!("{}: {wrong}", answer.shown());
                    self.broken("problem.form", &asked, answered);
                }
            }
        }
    }
}

/// Ed25519, from the system's random bytes.
pub(super) fn new_key() -> Result<Ed25519KeyPair, CannotRun> {
    let mut seed = [0; 32];
    let filled = SystemRandom::new().fill(&mut seed);
    filled.map_err(|_| CannotRun::Random)?;
    Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| CannotRun::Random)
}

/// Its public half.
pub(super) fn public(key: &Ed25519KeyPair) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.public_key().as_ref());
    bytes
}

fn problem_form(answer: &Answer) -> Judged {
    if answer.media_type() != Some(PROBLEM_JSON) {
        return Err(format!("its Content-Type isn't {PROBLEM_JSON}"));
    }
    let Some(value) = answer.value() else {
        return Err("its body isn't JSON".to_string());
    };
    let status = value.get("status");
    if status.is_some_and(|status| *status != Value::from(answer.status)) {
        return Err("its 'status' isn't the HTTP status".to_string());
    }
    match (value.get("type"), value.get("title")) {
        (Some(Value::Text(_)), Some(Value::Text(title))) if !title.is_empty() => Ok(()),
        _ => Err("it lacks 'type' or 'title'".to_string()),
    }
}

/// `200`.
pub(super) fn taken(answer: &Answer) -> Judged {
    match (answer.status, answer.value()) {
        (200, Some(_)) => Ok(()),
        (200, None) => Err("its body can't be read".to_string()),
        _ => Err("200 is wanted".to_string()),
    }
}

/// `200`, and these lanes acknowledged up to here, no others.
pub(super) fn acked(wanted: &[(Lane, u64)]) -> impl Fn(&Answer) -> Judged {
    let wanted: Acked = Acked(wanted.iter().copied().collect());
    move |answer| {
        taken(answer)?;
        let read = answer.value().map(|value| Acked::from_value(&value));
        match read {
            Some(Ok(got)) if got == wanted => Ok(()),
            Some(Ok(_)) => Err(format!("{} is wanted", wanted.to_value().to_json())),
            Some(Err(e)) => Err(e.to_string()),
            None => Err("its body can't be read".to_string()),
        }
    }
}

/// A problem of this type, with its status.
pub(super) fn refused(kind: ProblemType) -> impl Fn(&Answer) -> Judged {
    move |answer| refused_with(answer, kind, |_| Ok(()))
}

/// The same, and more of the problem judged.
pub(super) fn refused_with(
    answer: &Answer,
    kind: ProblemType,
    more: impl FnOnce(&Problem) -> Judged,
) -> Judged {
    let status = status_of(kind);
    let wanted = || format!("{status} with {} is wanted", kind.urn());
    let problem = answer.problem().ok_or_else(wanted)?;
    if answer.status != status || problem.kind != Some(kind) {
        return Err(wanted());
    }
    more(&problem)
}

/// `200` and a gateway.
pub(super) fn view(answer: &Answer) -> Result<GatewayView, String> {
    taken(answer)?;
    let value = answer.value().ok_or("its body can't be read")?;
    GatewayView::from_value(&value).map_err(|e| e.to_string())
}
