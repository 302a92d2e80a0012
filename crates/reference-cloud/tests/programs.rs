//! Two clouds as programs of their own, beside each other on one PostgreSQL: what a gateway did at one holds at
//! the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod gateway;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cloud_protocol::enrol::GatewayView;
use cloud_protocol::secure::signed::nonce;
use cloud_protocol::{Acked, Chain, JSON, Lane, ProblemType, SealingKey};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use gateway::{Call, Gateway, key, now_s, problem, read};
use local_postgres::LocalPostgres;
use reference_cloud::Config;
use reqwest::Method;

const PUBLIC: &str = "https://cloud.example";

/// The program; ended when it is dropped.
struct Program {
    child: Child,
    /// Where it really listens.
    url: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reference-cloud"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening at ");
        let url = url.unwrap_or_else(|| panic!("{line:?}")).to_string();
        Self { child, url }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program says when it doesn't start.
fn refused(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-cloud"));
    let ended = command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    let ended = ended.output().unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

/// Sends to one of the programs what is signed for the public URL.
async fn at(program: &Program, gateway: &mut Gateway, call: Call) -> reqwest::Response {
    gateway.url = PUBLIC.to_string();
    let signature = gateway.sign(&call, now_s(), &nonce().unwrap());
    gateway.url.clone_from(&program.url);
    gateway.try_call_signed(call, signature).await.unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn what_a_gateway_did_at_one_holds_at_the_other() {
    if local_postgres::left_out() {
        return;
    }
    let postgres = LocalPostgres::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url_file = folder.path().join("postgres.url");
    std::fs::write(&url_file, postgres.url() + "\n").unwrap();
    let keys = folder.path().join("sealing.keys");
    let arguments = [
        "--postgres-url-file",
        text(&url_file),
        "--sealing-key-file",
        text(&keys),
        "--public-url",
        PUBLIC,
    ];
    let (one, two) = (Program::start(&arguments), Program::start(&arguments));
    let mode = std::fs::metadata(&keys).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The gateway of the tests, made beside a cloud of its own that it never speaks to.
    let beside = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut gateway = Gateway::of(&beside);
    gateway.form = firmware_protocols::Form::Json;
    gateway.url.clone_from(&one.url);
    let made = gateway.call(Method::POST, "/v1/admin/tokens", "{}").await;
    let token = match read(made).await.get("token") {
        Some(Value::Text(token)) => Secret::new(token.clone()),
        other => panic!("{other:?}"),
    };
    let enrolment = cloud_protocol::Enrolment {
        token,
        gateway: gateway.id.clone(),
        public_key: gateway::public(&gateway.key),
    };
    let enrol = Call::post("/v1/enrol", JSON, enrolment.to_value().to_json().into());
    let view = read(at(&one, &mut gateway, enrol).await).await;
    let view = GatewayView::from_value(&view).unwrap();
    gateway.sealing_key = view.sealing_key.clone();

    let ledger = gateway.parcels(4);
    for (program, after) in [(&two, 0), (&one, 2)] {
        let body = ledger.batch(9, after, after + 2).to_value().to_json();
        let call = Call::post(gateway.path("/uplink"), JSON, body.into());
        let acked = read(at(program, &mut gateway, call).await).await;
        let acked = Acked::from_value(&acked).unwrap().0;
        assert_eq!(acked, [(Lane::Fulfilment, after + 2)].into());
    }
    for program in [&one, &two] {
        let call = Call::get(gateway.path(""));
        let view = read(at(program, &mut gateway, call).await).await;
        let view = GatewayView::from_value(&view).unwrap();
        assert_eq!(view.sealing_key, gateway.sealing_key);
        let lane = view.lanes[&Lane::Fulfilment];
        assert_eq!((lane.last, lane.chain), (4, ledger.chain(4)));
        assert_ne!(lane.chain, Chain::default());
        let shown = gateway.call(
            Method::GET,
            "/v1/admin/gateways/estate-1/parcels/P-00003",
            "",
        );
        let code = read(shown.await).await.get("code").cloned();
        assert_eq!(code, Some("004711".into()), "either opens what was sealed");
    }

    // A request that one took isn't taken by the other.
    let call = || Call::get("/v1/gateways/estate-1");
    gateway.url = PUBLIC.to_string();
    let signature = gateway.sign(&call(), now_s(), &nonce().unwrap());
    gateway.url.clone_from(&one.url);
    let first = gateway.try_call_signed(call(), signature.clone());
    assert_eq!(first.await.unwrap().status(), 200);
    gateway.url.clone_from(&two.url);
    let again = gateway.try_call_signed(call(), signature).await.unwrap();
    assert_eq!(problem(again).await.kind, Some(ProblemType::Replay));

    // A key that was changed at one speaks at the other at once.
    let next = key(8);
    let change = gateway.key_change(&next);
    assert_eq!(at(&one, &mut gateway, change).await.status(), 200);
    gateway.key = next;
    assert_eq!(at(&two, &mut gateway, call()).await.status(), 200);
    assert_eq!(at(&one, &mut gateway, call()).await.status(), 200);
    gateway.key = key(7);
    let dead = at(&two, &mut gateway, call()).await;
    assert_eq!(problem(dead).await.kind, Some(ProblemType::Signature));

    // A sealing key that is new at a restart; codes of before still open.
    drop(two);
    let renewed = [&arguments[..], &["--new-sealing-key"]].concat();
    let two = Program::start(&renewed);
    gateway.key = key(8);
    let view = read(at(&two, &mut gateway, call()).await).await;
    let view: SealingKey = GatewayView::from_value(&view).unwrap().sealing_key;
    assert_ne!(view, gateway.sealing_key);
    let path = "/v1/admin/gateways/estate-1/parcels/P-00000";
    let shown = read(gateway.call(Method::GET, path, "").await).await;
    assert_eq!(shown.get("code"), Some(&"004711".into()));
}

#[test]
fn a_wrong_start_is_refused_with_the_remedy_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let url = format!("postgres://linli:verysecret@127.0.0.1:{port}/linli");
    std::fs::write(&file, url).unwrap();
    let words = refused(&["--postgres-url-file", text(&file)]);
    assert!(words.contains("--sealing-key-file"), "{words}");
    let keys = folder.path().join("keys");
    let with_keys = [
        "--postgres-url-file",
        text(&file),
        "--sealing-key-file",
        text(&keys),
    ];
    let words = refused(&with_keys);
    assert!(!words.contains("verysecret"), "{words}");
    assert!(words.contains("cannot open the store"), "{words}");
    let words = refused(&["--public-url", "cloud.example"]);
    assert!(words.contains("https://cloud.example"), "{words}");
}
