//! Who speaks: every call of a gateway is signed (RFC 9421), and nothing of it is read before that.
//!
//! Checked in this order, the cheapest first: the gateway's name, the signature's headers, its time,
//! its key (from the process's memory, or one look-up), the signature; then the content is read and
//! compared with the digest that was signed. So a stranger makes the cloud keep no body.
//!
//! Invariant: a handler of a gateway's call gets the gateway's name from [`Signed`] only. That the
//! nonce is new is for the call to check: an uplink in the transaction that takes the batch, the
//! others by [`Signed::is_new`].

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequest, FromRequestParts as _, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use cloud_protocol::secure::signed::{
    self, CONTENT_DIGEST, CREATED_WITHIN_S, Stated, Unsigned, check_content,
};
use cloud_protocol::{BODY_MAX_BYTES, ProblemType};
use firmware_protocols::Ident;
use tokio::time::Instant;

use crate::App;
use crate::answer::{self, Refused, failed, malformed, problem};
use crate::body;
use crate::keys::Signer;
use crate::store::{Nonce, refusal};

/// A call of a gateway that it signed itself.
pub(crate) struct Signed {
    /// Its name.
    pub gateway: Ident,
    /// What makes this request one of its own.
    pub nonce: Nonce,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its content as it was sent.
    pub content: Vec<u8>,
}

impl FromRequest<App> for Signed {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut head, body) = request.into_parts();
        let (gateway, stated, signer) = match signer(app, &mut head).await {
            Ok(signer) => signer,
            Err(problem) => {
                body::drain(&head.headers, body).await;
                return Err(answer::refusal(&problem));
            }
        };
        let content = body::content(body, BODY_MAX_BYTES).await;
        let admitted = async {
            let content = content?;
            holds(&head, &content)?;
            if let Signer::Next(key) = signer {
                in_force_from_now(app, &gateway, key).await?;
            }
            Ok(Self {
                gateway,
                nonce: nonce_of(&stated),
                headers: head.headers,
                content,
            })
        };
        admitted
            .await
            .map_err(|problem: Refused| answer::refusal(&problem))
    }
}

impl Signed {
    /// That this very request hasn't come before.
    pub async fn is_new(&self, app: &App) -> Result<(), Refused> {
        is_new(app, &self.gateway, &self.nonce).await
    }
}

/// That this gateway's request hasn't come before.
pub(crate) async fn is_new(app: &App, gateway: &Ident, nonce: &Nonce) -> Result<(), Refused> {
    let new = app.store.fresh(gateway.as_str(), nonce).await;
    match new.map_err(|e| failed(&e))? {
        true => Ok(()),
        false => Err(refusal::replay()),
    }
}

/// The gateway of this name, if it may speak here at all.
pub(crate) fn listed(app: &App, name: &str) -> Result<Ident, Refused> {
    let id = Ident::new(name).ok();
    id.filter(|id| app.gateways.is_empty() || app.gateways.contains(id))
        .ok_or_else(unknown_gateway)
}

/// What the head says of its signature, with its time checked. The signature itself isn't yet.
pub(crate) fn stated(app: &App, head: &Parts) -> Result<Stated, Refused> {
    let uri = target_uri(app, head)?;
    let stated = signed::read(signed::Request {
        method: head.method.as_str(),
        target_uri: &uri,
        field: &|name| field(&head.headers, name),
    });
    let stated = stated.map_err(unsigned)?;
    if stated.created < app.not_before_s {
        return Err(problem(
            ProblemType::Clock,
            401,
            "The request is from before this cloud was restored",
            "which requests came then isn't known any more: sign it anew".to_string(),
        ));
    }
    let off = stated.created.saturating_sub(now_ms() / 1_000);
    if off.abs() > CREATED_WITHIN_S {
        let word = if off > 0 { "ahead of" } else { "behind" };
        return Err(problem(
            ProblemType::Clock,
            401,
            "The request's time is too far off",
            format!(
                "'created' is {} s {word} this cloud's time, at most {CREATED_WITHIN_S} s are \
                 taken: set the clock, or sign by the header Date of this answer",
                off.abs()
            ),
        ));
    }
    Ok(stated)
}

/// The content is the one that was signed.
pub(crate) fn holds(head: &Parts, content: &[u8]) -> Result<(), Refused> {
    let digest = field(&head.headers, CONTENT_DIGEST).ok_or(Unsigned::Missing(CONTENT_DIGEST));
    digest
        .and_then(|digest| check_content(&digest, content))
        .map_err(unsigned)
}

/// The signature isn't by the key that it should be by.
pub(crate) fn not_by(app: &App, head: &Parts, whose: &str) -> Refused {
    let uri = target_uri(app, head).unwrap_or_default();
    problem(
        ProblemType::Signature,
        401,
        "The signature doesn't hold",
        format!(
            "it isn't by {whose} over {} {uri}: if that isn't the URL that was asked for, the cloud \
             needs its --public-url",
            head.method
        ),
    )
}

/// What makes a request one of its own.
pub(crate) fn nonce_of(stated: &Stated) -> Nonce {
    Nonce {
        created_s: stated.created,
        nonce: stated.nonce.clone(),
    }
}

/// The cloud's time, ms since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

async fn signer(app: &App, head: &mut Parts) -> Result<(Ident, Stated, Signer), Refused> {
    let name = Path::<String>::from_request_parts(head, app).await;
    let Path(name) = name.map_err(|_| unknown_gateway())?;
    let gateway = listed(app, &name)?;
    let stated = stated(app, head)?;
    if stated.keyid != gateway.as_str() {
        return Err(problem(
            ProblemType::Signature,
            401,
            "The signature is another gateway's",
            "'keyid' must be the gateway of the path".to_string(),
        ));
    }
    let name = gateway.as_str();
    let fits = |key: &[u8; 32]| stated.is_by(key);
    let look_up = async || app.store.keys(name).await;
    let signer = app.keys.signer(name, fits, Instant::now(), look_up);
    match signer.await.map_err(|e| failed(&e))? {
        Signer::NoGateway => Err(unknown_gateway()),
        Signer::Stranger => Err(not_by(app, head, "this gateway's key")),
        signer => Ok((gateway, stated, signer)),
    }
}

/// The first request by the next key: the one before it is dead.
async fn in_force_from_now(app: &App, gateway: &Ident, key: [u8; 32]) -> Result<(), Refused> {
    let used = app.store.key_used(gateway.as_str(), key).await;
    app.keys.forget(gateway.as_str());
    used.map_err(|e| failed(&e))?;
    tracing::info!(%gateway, "the gateway's new key is in force");
    Ok(())
}

/// The URL as the gateway asked for it.
fn target_uri(app: &App, head: &Parts) -> Result<String, Refused> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if let Some(base) = &app.public_url {
        return Ok(format!("{base}{path}"));
    }
    let host = field(&head.headers, header::HOST.as_str());
    let host = host.filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| malformed("the header Host is missing".to_string()))?;
    Ok(format!("http://{host}{path}"))
}

/// A header's value; several lines of it are one (RFC 9421 § 2.1).
fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(name).into_iter();
    let lines: Result<Vec<&str>, _> = lines
        .map(|line| line.to_str().map(|line| line.trim()))
        .collect();
    lines
        .ok()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join(", "))
}

fn unsigned(e: Unsigned) -> Refused {
    problem(
        ProblemType::Signature,
        401,
        "The request isn't signed as it must be",
        e.to_string(),
    )
}

fn unknown_gateway() -> Refused {
    problem(
        ProblemType::UnknownGateway,
        404,
        "This gateway isn't known here",
        "check the gateway's name in its configuration, and that it is enrolled at this cloud"
            .to_string(),
    )
}
