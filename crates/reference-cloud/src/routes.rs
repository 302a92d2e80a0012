//! Every call by its path, and what they have in common: faults that are played, compressed answers,
//! and problems for what isn't a call.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};

use crate::answer::{self, plain};
use crate::connections::Line;
use crate::{App, admin, enrolment, gateway_calls};

/// The calls of gateways and of the operator.
pub(crate) fn all(app: App) -> Router {
    Router::new()
        .merge(of_gateways(app.clone()))
        .merge(admin::calls())
        .fallback(no_such_call)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

fn of_gateways(app: App) -> Router<App> {
    Router::new()
        .route("/v1/enrol", post(enrolment::enrol))
        .route("/v1/gateways/{gateway}", get(enrolment::view))
        .route("/v1/gateways/{gateway}/key", post(enrolment::change_key))
        .route("/v1/gateways/{gateway}/uplink", post(gateway_calls::uplink))
        .route(
            "/v1/gateways/{gateway}/downlink",
            get(gateway_calls::downlink),
        )
        .layer(from_fn_with_state(app, answered))
}

async fn answered(
    State(app): State<App>,
    Extension(line): Extension<Line>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(fault) = app.faults.refusal() {
        return answer::unwell(fault);
    }
    let batch = request.uri().path().ends_with("/uplink");
    let changes = request.method() == Method::POST;
    let packs = answer::takes_zstd(request.headers());
    let response = next.run(request).await;
    if changes && response.status().is_success() {
        let lost = match batch {
            true => app.faults.loses_answer(),
            false => app.faults.loses_key_answer(),
        };
        if lost {
            line.cut().await;
        }
    }
    match packs {
        true => answer::packed(response).await,
        false => response,
    }
}

async fn no_such_call() -> Response {
    answer::refusal(&plain(404, "There is no such call"))
}

async fn no_such_method() -> Response {
    answer::refusal(&plain(405, "This call has another method"))
}
