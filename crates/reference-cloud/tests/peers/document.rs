//! `openapi.yaml` and the crate say the same: its examples are read, and what the server answers is in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cloud_protocol::enrol::{Enrolment, GatewayView, KeyChange};
use cloud_protocol::secure::signed::nonce;
use cloud_protocol::{
    Acked, CBOR, DownlinkItem, JSON, PROBLEM_JSON, Problem, ProblemType, Received,
};
use firmware_protocols::Value;
use firmware_protocols::value::Key;
use reference_cloud::{Config, Refusal};
use reqwest::{Method, Response};

use crate::gateway::{Call, Gateway, now_s, parcels};
use crate::python;

/// The document.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cloud-protocol/openapi.yaml")
}

/// YAML as JSON, by Python; `None` where the test is left out.
async fn read() -> Option<Value> {
    let told = std::fs::read_to_string(path()).unwrap();
    let outcome = python::run("as_json.py", told).await?;
    assert!(outcome.well, "{}", outcome.err);
    Some(Value::from_json(outcome.out.as_bytes()).unwrap())
}

fn at<'a>(document: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(document, |value, name| {
        value
            .get(name)
            .unwrap_or_else(|| panic!("{path:?}: {name}"))
    })
}

fn names(value: &Value) -> Vec<&str> {
    let Value::Map(entries) = value else {
        panic!("{value:?}")
    };
    let names = entries.iter().map(|(key, _)| match key {
        Key::Text(name) => name.as_str(),
        Key::Int(_) => panic!("{key}"),
    });
    names.collect()
}

#[tokio::test]
async fn every_example_is_read_by_the_crate_and_said_the_same() {
    let Some(document) = read().await else {
        return;
    };
    let examples = at(&document, &["components", "examples"]);
    for name in names(examples) {
        let example = at(examples, &[name, "value"]);
        let again = match name {
            "Enrolment" => Enrolment::from_value(example).unwrap().to_value(),
            "KeyChange" => KeyChange::from_value(example).unwrap().to_value(),
            "Gateway" | "NewGateway" => GatewayView::from_value(example).unwrap().to_value(),
            "Batch" | "BatchOfEveryKind" | "EmptyBatch" => {
                let read = Received::from_value(example).unwrap();
                let known = read.clone().into_batch().map(|batch| batch.to_value());
                assert_eq!(
                    known.is_err(),
                    name == "BatchOfEveryKind",
                    "one is of no known kind"
                );
                known.unwrap_or_else(|_| example.clone())
            }
            "Acked" => Acked::from_value(example).unwrap().to_value(),
            "DownlinkItems" => {
                let items = DownlinkItem::read_all(example).unwrap();
                assert!(items.iter().all(|item| item.what.is_ok()));
                let items = items.iter().map(DownlinkItem::to_value).collect();
                Value::Map(vec![(Key::Text("items".into()), Value::Array(items))])
            }
            "Gap" => {
                let problem = Problem::from_value(example).unwrap();
                assert_eq!(problem.kind, Some(ProblemType::Gap));
                problem.to_value()
            }
            other => panic!("example {other}: what reads it?"),
        };
        assert_eq!(sorted(&again), sorted(example), "{name}");
    }
}

/// JSON with sorted keys: what two maps in another order have in common.
fn sorted(value: &Value) -> String {
    fn order(value: Value) -> Value {
        match value {
            Value::Map(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key, order(value)));
                let mut entries: Vec<_> = entries.collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                Value::Map(entries)
            }
            Value::Array(items) => Value::Array(items.into_iter().map(order).collect()),
            other => other,
        }
    }
    let json = order(value.clone()).to_json();
    // Byte strings became text, as in the document.
    order(Value::from_json(json.as_bytes()).unwrap()).to_json()
}

#[tokio::test]
async fn every_kind_of_problem_and_every_call_is_in_it() {
    let Some(document) = read().await else {
        return;
    };
    let text = document.to_json();
    for (urn, _) in ProblemType::WORDS {
        assert!(text.contains(urn), "{urn}");
    }
    assert_eq!(
        names(at(&document, &["paths"])),
        [
            "/v1/enrol",
            "/v1/gateways/{gateway}",
            "/v1/gateways/{gateway}/key",
            "/v1/gateways/{gateway}/uplink",
            "/v1/gateways/{gateway}/downlink",
        ]
    );
}

/// Every status that a call can be made to answer with is in the document, with its media type, and
/// its problem is of a type that the document names there.
#[tokio::test]
async fn every_answer_is_in_it() {
    let Some(document) = read().await else {
        return;
    };
    let config = Config {
        gateways: vec![crate::ident("estate-1"), crate::ident("closed-1")],
        ..Config::in_memory()
    };
    let cloud = reference_cloud::serve(config).await.unwrap();
    let mut gateway = Gateway::of(&cloud);
    gateway.send(&parcels(2).batch(7, 0, 2)).await;
    let mut seen = BTreeSet::new();
    for template in names(at(&document, &["paths"])) {
        let call = at(&document, &["paths", template]);
        let method = names(call)
            .into_iter()
            .find(|m| ["get", "post"].contains(m));
        let method = method.unwrap();
        let responses = at(call, &[method, "responses"]);
        let path = template.replace("{gateway}", "estate-1");
        let unknown = template.replace("{gateway}", "nobody");
        for (what, answer) in provoked(&cloud, &mut gateway, method, &path, &unknown).await {
            let status = answer.status().as_u16().to_string();
            let Some(response) = responses.get(&status) else {
                panic!("{method} {template}, {what}: {status} isn't in the document");
            };
            is_said(
                &document,
                response,
                answer,
                &format!("{method} {template}, {what}"),
            )
            .await;
            seen.insert((template.to_string(), status));
        }
        // What only the clock or a token brings about is provoked elsewhere.
        for status in names(responses) {
            let elsewhere = ["403", "408", "409"].contains(&status);
            let hit = seen.contains(&(template.to_string(), status.to_string()));
            assert!(
                hit || elsewhere,
                "{method} {template}: {status} never comes"
            );
        }
    }
}

/// The call, right and wrong in every way.
async fn provoked(
    cloud: &reference_cloud::Cloud,
    gateway: &mut Gateway,
    method: &str,
    path: &str,
    unknown: &str,
) -> Vec<(&'static str, Response)> {
    let body = match path {
        "/v1/enrol" => Enrolment {
            token: firmware_protocols::event::Secret::new("any"),
            gateway: gateway.id.clone(),
            public_key: crate::gateway::public(&gateway.key),
        }
        .to_value(),
        path if path.ends_with("/key") => key_change(gateway),
        _ => parcels(2).batch(7, 0, 2).to_value(),
    };
    let call = |content: Option<Vec<u8>>| match method {
        "get" => Call {
            content: content.unwrap_or_default(),
            ..Call::get(path)
        },
        _ => Call::post(path, JSON, content.unwrap_or_else(|| body.to_json().into())),
    };
    let mut answers = vec![("right", gateway.try_call(call(None)).await.unwrap())];
    let mut add = |what, answer: reqwest::Result<Response>| answers.push((what, answer.unwrap()));
    let packed = call(None)
        .with("accept-encoding", "zstd")
        .with("accept", JSON);
    add("packed", gateway.try_call(packed).await);
    let no_signature = gateway.send_as_it_is(call(None)).await;
    add("unsigned", no_signature);
    let late = gateway.sign(&call(None), now_s() - 900, &nonce().unwrap());
    add("late", gateway.try_call_signed(call(None), late).await);
    let once = gateway.sign(&call(None), now_s(), &nonce().unwrap());
    add(
        "once",
        gateway.try_call_signed(call(None), once.clone()).await,
    );
    add("twice", gateway.try_call_signed(call(None), once).await);
    let large = call(Some(vec![b' '; 2 << 20]));
    add("large", gateway.try_call(large).await);
    let other_method = Call {
        method: Method::DELETE,
        ..call(None)
    };
    add("deleted", gateway.try_call(other_method).await);
    if method == "post" {
        add("rubbish", gateway.try_call(call(Some(b"{".to_vec()))).await);
        let text = Call::post(path, "text/plain", b"{}".to_vec());
        add("text", gateway.try_call(text).await);
        let gzip = call(None).with("content-encoding", "gzip");
        add("gzip", gateway.try_call(gzip).await);
    }
    if method == "get" {
        // Without the header Host there is no URI that could have been signed.
        add(
            "no host",
            gateway.try_call(call(None).with("host", "")).await,
        );
    }
    if path.ends_with("/uplink") {
        let gap = parcels(9).batch(7, 5, 9).to_value().to_json();
        add("gap", gateway.try_call(call(Some(gap.into()))).await);
        let epoch = parcels(1).batch(6, 0, 1).to_value().to_json();
        add("epoch", gateway.try_call(call(Some(epoch.into()))).await);
        let fork = parcels(1)
            .batch(7, 0, 1)
            .to_value()
            .to_json()
            .replace("P-00000", "P-X");
        add("fork", gateway.try_call(call(Some(fork.into()))).await);
    }
    let own = std::mem::replace(&mut gateway.id, crate::ident("nobody"));
    let stranger = match path {
        "/v1/enrol" => {
            let body = Enrolment {
                token: firmware_protocols::event::Secret::new("any"),
                gateway: gateway.id.clone(),
                public_key: crate::gateway::public(&gateway.key),
            };
            Call::post(path, JSON, body.to_value().to_json().into())
        }
        _ => Call {
            path: unknown.to_string(),
            ..call(None)
        },
    };
    add("unknown", gateway.try_call(stranger).await);
    gateway.id = own;
    for status in [429, 503] {
        cloud.faults().answer_with(Some(Refusal {
            status,
            retry_after_s: Some(1),
        }));
        add("unwell", gateway.try_call(call(None)).await);
        cloud.faults().answer_with(None);
    }
    answers
}

fn key_change(gateway: &Gateway) -> Value {
    let public_key = crate::gateway::public(&gateway.key);
    let proof = cloud_protocol::enrol::key_change_proof(gateway.id.as_str(), &public_key);
    let proof = gateway.key.sign(&proof).as_ref().try_into().unwrap();
    KeyChange { public_key, proof }.to_value()
}

async fn is_said(document: &Value, response: &Value, answer: Response, what: &str) {
    let response = followed(document, response);
    let media_type = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_string();
    assert!(
        [CBOR, JSON, PROBLEM_JSON].contains(&media_type.as_str()),
        "{what}"
    );
    let content = at(response, &["content"]);
    let said = content.get(&media_type);
    let said = said.unwrap_or_else(|| panic!("{what}: {media_type} isn't in the document"));
    for name in names(at(response, &["headers"])) {
        let header = followed(document, at(response, &["headers", name]));
        let needed = header.get("required") == Some(&Value::Bool(true));
        assert!(
            !needed || answer.headers().contains_key(name),
            "{what}: {name}"
        );
    }
    if media_type != PROBLEM_JSON || answer.headers().contains_key("content-encoding") {
        return;
    }
    let status = answer.status().as_u16();
    let problem = Value::from_json(&answer.bytes().await.unwrap()).unwrap();
    let problem = Problem::from_value(&problem).unwrap();
    assert_eq!(problem.status, status, "{what}");
    if let Some(kind) = problem.kind {
        let schema = followed(document, at(said, &["schema"])).to_json();
        assert!(schema.contains(kind.urn()), "{what}: {kind:?}");
    }
}

fn followed<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref") {
        Some(Value::Text(pointer)) => {
            let path: Vec<_> = pointer.trim_start_matches("#/").split('/').collect();
            at(document, &path)
        }
        _ => value,
    }
}
