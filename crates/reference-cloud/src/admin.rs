//! `/v1/admin/…`: what an operator's own systems would do, small enough for curl, JSON only.
//!
//! Only peers on the loopback interface are served. It isn't part of the sync API, and not for a
//! cloud behind a reverse proxy on the same machine: there every peer is a loopback peer.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use cloud_protocol::uplink::ParcelState;
use cloud_protocol::{BODY_MAX_BYTES, DownlinkItem, Item, Report};
use firmware_protocols::fields::Fields;
use firmware_protocols::value::{Key, Value, map};
use firmware_protocols::{Form, Ident};

use crate::answer::{self, Refused, failed, malformed, plain};
use crate::connections::Line;
use crate::store::{HeadView, LanesView, ParcelView, StoreError, Told};
use crate::{App, body, tokens};

/// The calls, closed to all but loopback peers.
pub(crate) fn calls() -> Router<App> {
    Router::new()
        .route("/v1/admin/tokens", post(token))
        .route("/v1/admin/gateways", get(gateways))
        .route("/v1/admin/gateways/{gateway}/downlink", post(push))
        .route("/v1/admin/gateways/{gateway}/parcels", get(parcels))
        .route("/v1/admin/gateways/{gateway}/parcels/{parcel}", get(parcel))
        .route("/v1/admin/gateways/{gateway}/demand", get(demand))
        .route("/v1/admin/gateways/{gateway}/lanes", get(lanes))
        .route("/v1/admin/gateways/{gateway}/health", get(health))
        .route("/v1/admin/gateways/{gateway}/audit", get(audit))
        .layer(axum::middleware::from_fn(loopback_only))
}

async fn loopback_only(Extension(line): Extension<Line>, request: Request, next: Next) -> Response {
    if line.peer.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    answer::refusal(&plain(403, "Only from this machine"))
}

async fn gateways(State(app): State<App>) -> Response {
    let names = app.store.gateways().await;
    shown(names.map(|names| Value::Array(names.into_iter().map(Value::from).collect())))
}

async fn push(State(app): State<App>, Path(gateway): Path<String>, request: Request) -> Response {
    match push_item(&app, &gateway, request).await {
        Ok(seq) => {
            let value = map([("seq", Some(seq.into()))]);
            answer::answer(StatusCode::CREATED, &value, Form::Json)
        }
        Err(problem) => answer::refusal(&problem),
    }
}

/// Unlike a gateway's downlink in tests, only readable items are taken here.
async fn push_item(app: &App, gateway: &str, request: Request) -> Result<u64, Refused> {
    let gateway = Ident::new(gateway).map_err(|e| malformed(e.to_string()))?;
    let mut value = said(request).await?;
    if let Value::Map(entries) = &mut value {
        entries.retain(|(key, _)| !matches!(key, Key::Text(name) if name == "seq"));
        entries.push((Key::Text("seq".to_string()), 1_u64.into()));
    }
    let item = DownlinkItem::from_value(&value).map_err(|e| malformed(e.to_string()))?;
    if let Err(e) = &item.what {
        return Err(malformed(e.to_string()));
    }
    let pushed = app.store.push(gateway.as_str(), item.to_value()).await;
    pushed.map_err(|e| failed(&e))
}

async fn token(State(app): State<App>, request: Request) -> Response {
    match new_token(&app, request).await {
        Ok(token) => answer::answer(StatusCode::CREATED, &token, Form::Json),
        Err(problem) => answer::refusal(&problem),
    }
}

/// Asked for with `gateway` (none: for any) and `good_for_s` (3 days).
async fn new_token(app: &App, request: Request) -> Result<Value, Refused> {
    let value = said(request).await?;
    let wrong = |e: firmware_protocols::fields::Malformed| malformed(e.to_string());
    let f = Fields::of(&value).map_err(wrong)?;
    let gateway = f.get("gateway").map(|_| f.ident("gateway")).transpose();
    let gateway = gateway.map_err(wrong)?;
    let good_for_s = f.uint_opt("good_for_s", 1, tokens::GOOD_FOR_MAX.as_secs());
    let good_for = good_for_s.map_err(wrong)?.map(Duration::from_secs);
    let issued = tokens::issue(
        &*app.store,
        gateway.as_ref(),
        good_for.unwrap_or(tokens::GOOD_FOR),
    );
    let (token, valid_until) = issued.await.map_err(|e| failed(&e))?;
    Ok(map([
        ("token", Some(token.reveal().into())),
        ("valid_until", Some(valid_until.into())),
    ]))
}

/// The body, whatever its form.
async fn said(request: Request) -> Result<Value, Refused> {
    let (head, body) = request.into_parts();
    let content = body::content(body, BODY_MAX_BYTES).await?;
    Ok(body::value(&head.headers, &content)?.0)
}

async fn parcels(State(app): State<App>, Path(gateway): Path<String>) -> Response {
    let parcels = app.store.parcels(&gateway, None).await;
    shown(parcels.map(|parcels| {
        let parcels = parcels.into_iter();
        let opened = parcels.map(|parcel| app.sealing.opened(&gateway, parcel));
        Value::Array(opened.map(|parcel| parcel_value(&parcel)).collect())
    }))
}

async fn parcel(
    State(app): State<App>,
    Path((gateway, parcel)): Path<(String, String)>,
) -> Response {
    match app.store.parcels(&gateway, Some(&parcel)).await {
        Ok(mut parcels) => match parcels.pop() {
            Some(parcel) => {
                let opened = app.sealing.opened(&gateway, parcel);
                answer::answer(StatusCode::OK, &parcel_value(&opened), Form::Json)
            }
            None => answer::refusal(&plain(404, "No such parcel")),
        },
        Err(e) => answer::refusal(&failed(&e)),
    }
}

async fn demand(State(app): State<App>, Path(gateway): Path<String>) -> Response {
    let cells = app.store.demand(&gateway).await;
    shown(cells.map(|cells| {
        let cells = cells.into_iter().map(|cell| {
            let item = Item {
                seq: 1,
                at: 0,
                report: Report::Demand(cell),
            };
            without(item.to_value(), &["seq", "at", "kind"])
        });
        Value::Array(cells.collect())
    }))
}

async fn lanes(State(app): State<App>, Path(gateway): Path<String>) -> Response {
    shown(
        app.store
            .lanes(&gateway)
            .await
            .map(|view| lanes_value(&view)),
    )
}

async fn health(State(app): State<App>, Path(gateway): Path<String>) -> Response {
    let health = app.store.health(&gateway).await;
    shown(health.map(|health| match health {
        Some(health) => map([
            ("at", Some(health.at.into())),
            ("counters", Some(counts(health.counters))),
        ]),
        None => Value::Null,
    }))
}

async fn audit(State(app): State<App>, Path(gateway): Path<String>) -> Response {
    let audit = app.store.audit(&gateway).await;
    shown(audit.map(|view| {
        let contradictions = view.contradictions.iter().map(head_value).collect();
        map([
            ("sound", Some(view.contradictions.is_empty().into())),
            ("latest", view.latest.as_ref().map(head_value)),
            ("contradictions", Some(Value::Array(contradictions))),
        ])
    }))
}

/// The head in hexadecimal: as `linli audit verify --against` takes it.
fn head_value(view: &HeadView) -> Value {
    let head: String = view.head.iter().map(|byte| format!("{byte:02x}")).collect();
    map([
        ("epoch", Some(view.epoch.into())),
        ("entries", Some(view.entries.into())),
        ("head", Some(head.into())),
        ("at", Some(view.at.into())),
        ("contradicts", view.contradicts.as_deref().map(Value::from)),
    ])
}

fn parcel_value(view: &ParcelView) -> Value {
    map([
        ("parcel", Some(view.parcel.as_str().into())),
        (
            "state",
            Some(view.state.map_or("announced", ParcelState::word).into()),
        ),
        ("since", view.since.map(Value::from)),
        ("bank", view.bank.as_deref().map(Value::from)),
        ("compartment", view.compartment.map(Value::from)),
        ("desk", view.desk.as_deref().map(Value::from)),
        (
            "code",
            view.digits.as_ref().map(|code| code.reveal().into()),
        ),
        ("unlisted", view.unlisted.then(|| true.into())),
        ("return_of", view.return_of.as_deref().map(Value::from)),
        (
            "unplaceable",
            told(&view.unplaceable, |what| Report::Unplaceable(what.clone())),
        ),
        (
            "claims",
            told(&view.claims, |what| Report::Claim(what.clone())),
        ),
    ])
}

/// Items about one parcel, with their times; nothing if there are none.
fn told<T>(items: &[Told<T>], report: impl Fn(&T) -> Report) -> Option<Value> {
    let items = items.iter().map(|told| {
        let item = Item {
            seq: 1,
            at: told.at,
            report: report(&told.what),
        };
        without(item.to_value(), &["seq", "kind", "parcel"])
    });
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then_some(Value::Array(items))
}

fn lanes_value(view: &LanesView) -> Value {
    let lanes = view.lanes.iter().map(|(lane, view)| {
        let counts = map([
            ("items", Some(view.items.into())),
            ("last", Some(view.last.into())),
            ("duplicates", Some(view.duplicates.into())),
            ("unknown", Some(view.unknown.into())),
        ]);
        (Key::Text(lane.name().to_string()), counts)
    });
    map([
        ("epoch", view.epoch.map(Value::from)),
        ("lanes", Some(Value::Map(lanes.collect()))),
        ("downlink_last", Some(view.downlink_last.into())),
    ])
}

fn counts(counts: impl IntoIterator<Item = (String, u64)>) -> Value {
    let entries = counts
        .into_iter()
        .map(|(name, n)| (Key::Text(name), n.into()));
    Value::Map(entries.collect())
}

fn without(value: Value, names: &[&str]) -> Value {
    let Value::Map(mut entries) = value else {
        return value;
    };
    entries.retain(|(key, _)| !matches!(key, Key::Text(name) if names.contains(&name.as_str())));
    Value::Map(entries)
}

fn shown(value: Result<Value, StoreError>) -> Response {
    match value {
        Ok(value) => answer::answer(StatusCode::OK, &value, Form::Json),
        Err(e) => answer::refusal(&failed(&e)),
    }
}
