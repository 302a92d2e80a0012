//! `POST /v1/enrol`, `GET /v1/gateways/{gateway}` and `POST /v1/gateways/{gateway}/key`: how a
//! gateway and its cloud come to know each other's keys.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cloud_protocol::ProblemType;
use cloud_protocol::enrol::{Enrolment, GatewayView, KeyChange, key_change_proof};
use firmware_protocols::{Form, Ident};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::answer::{self, Refused, failed, malformed, problem};
use crate::signed::{self, Signed};
use crate::store::Enrolling;
use crate::{App, body, tokens};

/// `POST /v1/enrol`: signed by the key that its body names.
pub(crate) async fn enrol(State(app): State<App>, request: Request) -> Response {
    let enrolled = taken_in(&app, request).await;
    enrolled.unwrap_or_else(|problem| answer::refusal(&problem))
}

/// `GET /v1/gateways/{gateway}`
pub(crate) async fn view(State(app): State<App>, call: Signed) -> Response {
    let viewed = async {
        call.is_new(&app).await?;
        shown(&app, &call.gateway, &call.headers, Form::Json).await
    };
    viewed
        .await
        .unwrap_or_else(|problem| answer::refusal(&problem))
}

/// `POST /v1/gateways/{gateway}/key`: signed by the key in force.
pub(crate) async fn change_key(State(app): State<App>, call: Signed) -> Response {
    let changed = changed(&app, call).await;
    changed.unwrap_or_else(|problem| answer::refusal(&problem))
}

async fn taken_in(app: &App, request: Request) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let stated = match signed::stated(app, &head) {
        Ok(stated) => stated,
        Err(problem) => {
            body::drain(&head.headers, body).await;
            return Err(problem);
        }
    };
    let content = body::content(body, body::SMALL_MAX_BYTES).await?;
    signed::holds(&head, &content)?;
    let (value, form) = body::value(&head.headers, &content)?;
    let asked = Enrolment::from_value(&value).map_err(|e| malformed(e.to_string()))?;
    let gateway = signed::listed(app, asked.gateway.as_str())?;
    if stated.keyid != gateway.as_str() || !stated.is_by(&asked.public_key) {
        return Err(signed::not_by(
            app,
            &head,
            "the key and gateway of the body",
        ));
    }
    let enrolling = Enrolling {
        gateway: gateway.to_string(),
        token_digest: (!app.open).then(|| tokens::digest(&asked.token)),
        public_key: asked.public_key,
        now_ms: signed::now_ms(),
    };
    let enrolled = app.store.enrol(&enrolling).await.map_err(|e| failed(&e))?;
    app.keys.forget(gateway.as_str());
    if !enrolled {
        return Err(problem(
            ProblemType::Token,
            403,
            "The token isn't good",
            "it was used, is too old, or is for another gateway: ask the operator for a new one"
                .to_string(),
        ));
    }
    // After the token, so that nobody without one makes the store keep anything. To take the same
    // enrolment twice changes nothing.
    signed::is_new(app, &gateway, &signed::nonce_of(&stated)).await?;
    tracing::info!(%gateway, "enrolled");
    shown(app, &gateway, &head.headers, form).await
}

async fn changed(app: &App, call: Signed) -> Result<Response, Refused> {
    let (value, form) = body::value(&call.headers, &call.content)?;
    let asked = KeyChange::from_value(&value).map_err(|e| malformed(e.to_string()))?;
    let proof = key_change_proof(call.gateway.as_str(), &asked.public_key);
    let proven = UnparsedPublicKey::new(&ED25519, asked.public_key).verify(&proof, &asked.proof);
    if proven.is_err() {
        return Err(problem(
            ProblemType::Signature,
            401,
            "The proof of the new key doesn't hold",
            "'proof' must be the new key's own signature".to_string(),
        ));
    }
    call.is_new(app).await?;
    let gateway = call.gateway.as_str();
    let keys = app.store.keys(gateway).await.map_err(|e| failed(&e))?;
    let known = keys.is_some_and(|keys| keys.contains(&asked.public_key));
    if !known {
        let added = app.store.add_key(gateway, asked.public_key).await;
        added.map_err(|e| failed(&e))?;
        tracing::info!(gateway, "a new key waits for its first request");
    }
    app.keys.forget(gateway);
    shown(app, &call.gateway, &call.headers, form).await
}

/// What the cloud says of a gateway.
async fn shown(
    app: &App,
    gateway: &Ident,
    headers: &HeaderMap,
    form: Form,
) -> Result<Response, Refused> {
    let standing = app.store.standing(gateway.as_str()).await;
    let (epoch, lanes) = standing.map_err(|e| failed(&e))?;
    let view = GatewayView {
        sealing_key: app.sealing.in_force(),
        settings: Default::default(),
        time: signed::now_ms(),
        epoch,
        lanes,
    };
    let form = answer::wanted(headers, form);
    Ok(answer::answer(StatusCode::OK, &view.to_value(), form))
}
