//! The outbox and a real NATS JetStream, which is killed and comes back, while two clouds publish.
#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod stores;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use cloud_protocol::Lane;
use firmware_protocols::event::Secret;
use firmware_protocols::value::Value;
use reference_cloud::store::nats::{NatsAt, publish};
use stores::{Source, health, on_both, send};
use tokio::sync::watch;

const GATEWAYS: u64 = 4;
const ITEMS: u64 = 60;

/// A server with its files in a temporary folder.
struct Nats {
    folder: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Nats {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let server = spawn(folder.path(), port);
        Self {
            folder,
            port,
            server,
        }
    }

    fn kill_and_restart(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        self.server = spawn(self.folder.path(), self.port);
    }

    fn at(&self) -> NatsAt {
        NatsAt {
            url: Secret::new(format!("nats://127.0.0.1:{}", self.port)),
            stream: "LINLI".to_string(),
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn spawn(folder: &std::path::Path, port: u16) -> Child {
    let server = Command::new("nats-server")
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < until, "nats-server doesn't come up");
        std::thread::sleep(Duration::from_millis(10));
    }
    server
}

/// Whether there is no server to test with; says so. CI must have it.
fn left_out() -> bool {
    let ran = Command::new("nats-server").arg("--version").output();
    if ran.is_ok() {
        return false;
    }
    let ci = std::env::var_os("CI").is_some();
    assert!(!ci, "nats-server isn't there: apt install nats-server");
    eprintln!("LEFT OUT: nats-server isn't there (Debian: apt install nats-server)");
    true
}

#[test]
fn each_item_is_in_the_stream_once_and_in_its_lanes_order() {
    if left_out() {
        return;
    }
    on_both(|two| async move {
        let mut nats = Nats::start();
        let (stop, stopped) = watch::channel(false);
        let mut publishing = tokio::task::JoinSet::new();
        for store in [&two.0, &two.1] {
            publishing.spawn(publish(store.clone(), nats.at(), stopped.clone()));
        }
        for gateway in 0..GATEWAYS {
            let mut source = Source::new(gateway + 1);
            for step in 0..ITEMS {
                source.add(health(step));
                if step % 3 == 2 {
                    let batch = source.batch(&[(Lane::Health, step - 2, step + 1)]);
                    send(&two.0, &format!("g-{gateway}"), batch).await;
                }
            }
            if gateway == 1 {
                nats.kill_and_restart();
            }
        }
        let client = async_nats::connect(nats.at().url.reveal()).await.unwrap();
        let context = jetstream::new(client);
        let expected = GATEWAYS * ITEMS;
        let mut last = 0;
        for _ in 0..600 {
            if let Ok(mut stream) = context.get_stream("LINLI").await {
                last = stream.info().await.unwrap().state.messages;
            }
            if last >= expected {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(last, expected);
        stop.send_replace(true);
        publishing.join_all().await;
        check(&context, expected).await;
        for store in [&two.0, &two.1] {
            if let Some(waits) = store.outbox(9).await.unwrap() {
                assert!(waits.is_empty());
            }
        }
    });
}

async fn check(context: &jetstream::Context, messages: u64) {
    let stream = context.get_stream("LINLI").await.unwrap();
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for sequence in 1..=messages {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let gateway = message.subject.split('.').nth(2).unwrap().to_string();
        let next = next.entry(gateway.clone()).or_insert(1);
        let epoch = gateway[2..].parse::<u64>().unwrap() + 1;
        let id = message.headers.get("Nats-Msg-Id").unwrap().as_str();
        assert_eq!(id, format!("{gateway}/{epoch}/health/{next}"));
        let item = Value::from_cbor(&message.payload).unwrap().to_json();
        assert!(item.contains(&format!("\"seq\":{next}")), "{item}");
        *next += 1;
    }
    assert!(next.values().all(|next| *next == ITEMS + 1));
}
