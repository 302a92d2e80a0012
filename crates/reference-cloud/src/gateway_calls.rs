//! The calls of gateways: `POST …/uplink` and `GET …/downlink`.

use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cloud_protocol::{NUMBER_MAX, Problem, ProblemType, Received, WAIT_MAX_SECONDS};
use firmware_protocols::value::{Value, map};
use firmware_protocols::{Form, Ident};

use crate::App;
use crate::body::{self, Refused, malformed, problem};
use crate::connections::Line;
use crate::store::polls::wait_for_items;
use crate::store::{Ingest, Nonce, StoreError};

/// `POST /v1/gateways/{gateway}/uplink`
pub(crate) async fn uplink(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Extension(line): Extension<Line>,
    request: Request,
) -> Response {
    if let Some(fault) = app.faults.refusal() {
        return body::unwell(fault);
    }
    let outcome = take_batch(&app, &gateway, request).await;
    if app.faults.loses_answer() {
        line.cut().await;
    }
    outcome.unwrap_or_else(|problem| body::refusal(&problem))
}

async fn take_batch(app: &App, gateway: &str, request: Request) -> Result<Response, Refused> {
    let gateway = known(app, gateway)?;
    let (head, body) = request.into_parts();
    let (value, form) = body::read(&head.headers, body).await?;
    let batch = Received::from_value(&value).map_err(|refused| {
        let mut problem = malformed(refused.reason.to_string());
        problem.lane = refused.lane;
        problem
    })?;
    let request = request_nonce();
    match app.store.ingest(&gateway, batch, &request).await {
        Ok(Ingest::Taken(acked)) => {
            let form = body::wanted(&head.headers, form);
            Ok(body::answer(StatusCode::OK, &acked.to_value(), form))
        }
        Ok(Ingest::Refused(problem)) => Err(problem),
        Err(e) => Err(failed(&e)),
    }
}

/// A nonce for a request that isn't signed.
fn request_nonce() -> Nonce {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let created_s = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0));
    Nonce {
        created_s,
        nonce: cloud_protocol::secure::signed::nonce().unwrap_or_default(),
    }
}

/// The query of a long poll.
#[derive(serde::Deserialize)]
pub(crate) struct Cursor {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

/// `GET /v1/gateways/{gateway}/downlink?after=n&wait=seconds`
pub(crate) async fn downlink(
    State(app): State<App>,
    Path(gateway): Path<String>,
    cursor: Result<Query<Cursor>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = app.faults.refusal() {
        return body::unwell(fault);
    }
    match items_after(&app, &gateway, cursor).await {
        Ok(items) => {
            let value = map([("items", Some(Value::Array(items)))]);
            body::answer(StatusCode::OK, &value, body::wanted(&headers, Form::Json))
        }
        Err(problem) => body::refusal(&problem),
    }
}

async fn items_after(
    app: &App,
    gateway: &str,
    cursor: Result<Query<Cursor>, QueryRejection>,
) -> Result<Vec<Value>, Refused> {
    let gateway = known(app, gateway)?;
    let Query(cursor) = cursor.map_err(|e| malformed(e.body_text()))?;
    if cursor.after > NUMBER_MAX {
        return Err(malformed(format!("'after' is over {NUMBER_MAX}")));
    }
    let wait = Duration::from_secs(cursor.wait.min(WAIT_MAX_SECONDS));
    let stop = app.stop.clone();
    let items = wait_for_items(app.store.as_ref(), &gateway, cursor.after, wait, stop);
    items.await.map_err(|e| failed(&e))
}

/// The gateway, if it may speak here.
fn known(app: &App, gateway: &str) -> Result<String, Refused> {
    let listed = Ident::new(gateway)
        .ok()
        .filter(|id| app.gateways.is_empty() || app.gateways.contains(id));
    match listed {
        Some(id) => Ok(id.to_string()),
        None => Err(problem(
            ProblemType::UnknownGateway,
            404,
            "This gateway isn't known here",
            "check the gateway's name in its configuration, or list it with --gateway".to_string(),
        )),
    }
}

pub(crate) fn failed(e: &StoreError) -> Refused {
    tracing::error!("{e}{}", source(e));
    Box::new(Problem {
        kind: None,
        status: 503,
        title: "The cloud can't keep anything at the moment".to_string(),
        detail: None,
        lane: None,
        expected: None,
    })
}

fn source(e: &StoreError) -> String {
    std::error::Error::source(e).map_or_else(String::new, |source| format!(": {source}"))
}
