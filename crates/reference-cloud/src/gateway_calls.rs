//! `POST …/uplink` and `GET …/downlink`.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use cloud_protocol::{NUMBER_MAX, ProblemType, Received, WAIT_MAX_SECONDS};
use firmware_protocols::Form;
use firmware_protocols::value::{Value, map};

use crate::answer::{self, Refused, failed, malformed};
use crate::signed::Signed;
use crate::store::Ingest;
use crate::store::polls::wait_for_items;
use crate::{App, body};

/// `POST /v1/gateways/{gateway}/uplink`
pub(crate) async fn uplink(State(app): State<App>, call: Signed) -> Response {
    let taken = take_batch(&app, call).await;
    taken.unwrap_or_else(|problem| answer::refusal(&problem))
}

async fn take_batch(app: &App, call: Signed) -> Result<Response, Refused> {
    // Reading a batch takes many times its size: only so many at once.
    let _turn = app.at_work.acquire().await;
    let (value, form) = body::value(&call.headers, &call.content)?;
    let batch = Received::from_value(&value).map_err(|refused| {
        let mut problem = malformed(refused.reason.to_string());
        problem.lane = refused.lane;
        problem
    })?;
    let gateway = call.gateway.as_str();
    match app.store.ingest(gateway, batch, &call.nonce).await {
        Ok(Ingest::Taken(acked)) => {
            let form = answer::wanted(&call.headers, form);
            Ok(answer::answer(StatusCode::OK, &acked.to_value(), form))
        }
        Ok(Ingest::Refused(problem)) => {
            if problem.kind == Some(ProblemType::Fork) {
                tracing::warn!(gateway, "two stores send as this gateway: {problem}");
            }
            Err(problem)
        }
        Err(e) => Err(failed(&e)),
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
    cursor: Result<Query<Cursor>, QueryRejection>,
    call: Signed,
) -> Response {
    match items_after(&app, cursor, &call).await {
        Ok(items) => {
            let value = map([("items", Some(Value::Array(items)))]);
            let form = answer::wanted(&call.headers, Form::Json);
            answer::answer(StatusCode::OK, &value, form)
        }
        Err(problem) => answer::refusal(&problem),
    }
}

async fn items_after(
    app: &App,
    cursor: Result<Query<Cursor>, QueryRejection>,
    call: &Signed,
) -> Result<Vec<Value>, Refused> {
    let Query(cursor) = cursor.map_err(|e| malformed(e.body_text()))?;
    if cursor.after > NUMBER_MAX {
        return Err(malformed(format!("'after' is over {NUMBER_MAX}")));
    }
    call.is_new(app).await?;
    let wait = Duration::from_secs(cursor.wait.min(WAIT_MAX_SECONDS));
    let gateway = call.gateway.as_str();
    let stop = app.stop.clone();
    let items = wait_for_items(&*app.store, gateway, cursor.after, wait, stop);
    items.await.map_err(|e| failed(&e))
}
