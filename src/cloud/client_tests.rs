//! What calls cost, against what a proxy between gateway and cloud has seen.

#[path = "../../tests/sync/authority.rs"]
#[allow(dead_code)]
mod authority;
#[path = "../../tests/sync/strange_cloud.rs"]
#[allow(dead_code)]
mod strange_cloud;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use authority::{Authority, GOOD};
use cloud_protocol::Lane;
use firmware_protocols::Ident;
use strange_cloud::{Asked, StrangeCloud, answer, no_news, problem, view};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::cloud::{CloudUrl, TlsFiles};

/// Bytes that came through, to the cloud and from it.
#[derive(Clone, Default)]
struct Seen(Arc<(AtomicU64, AtomicU64)>);

impl Seen {
    fn now(&self) -> (u64, u64) {
        (
            self.0.0.load(Ordering::SeqCst),
            self.0.1.load(Ordering::SeqCst),
        )
    }
}

/// A proxy that counts, in front of `cloud`.
async fn proxy(cloud: SocketAddr) -> (u16, Seen, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let counted = seen.clone();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut lines = JoinSet::new();
        while let Ok((gateway, _)) = listener.accept().await {
            let counted = counted.clone();
            lines.spawn(async move {
                let cloud = TcpStream::connect(cloud).await.unwrap();
                let ((up_from, up_to), (down_from, down_to)) =
                    (gateway.into_split(), cloud.into_split());
                let both = &counted.0;
                tokio::join!(
                    pass(up_from, down_to, &both.0),
                    pass(down_from, up_to, &both.1)
                );
            });
        }
    });
    (port, seen, serving)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    seen: &AtomicU64,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        seen.fetch_add(n as u64, Ordering::SeqCst);
        if to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

struct Bed {
    client: Client,
    seen: Seen,
    _folder: tempfile::TempDir,
    _proxy: JoinSet<()>,
    _cloud: StrangeCloud,
}

async fn bed(
    tls: bool,
    answers: impl Fn(&Asked) -> strange_cloud::Answer + Send + Sync + 'static,
) -> Bed {
    let authority = Authority::new();
    let server = tls.then(|| authority.server("localhost", GOOD));
    let cloud = StrangeCloud::over(server, answers).await;
    let (port, seen, proxy) = proxy(cloud.address).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let scheme = if tls { "https" } else { "http" };
    let gateway = Ident::new("estate-1").unwrap();
    let url = format!("{scheme}://localhost:{port}/below/");
    let mut config = CloudConfig::new(&url, gateway, folder.path().join("cloud")).unwrap();
    config.tls = TlsFiles {
        ca: Some(ca),
        client: None,
    };
    let client = Client::new(Arc::new(config), Arc::default(), Clock::system()).unwrap();
    Bed {
        client,
        seen,
        _folder: folder,
        _proxy: proxy,
        _cloud: cloud,
    }
}

fn good(asked: &Asked) -> strange_cloud::Answer {
    assert!(asked.path.starts_with("/below/v1/"), "{}", asked.path);
    asked.signed();
    if asked.is_enrolment() {
        return view();
    }
    match asked.is_uplink() {
        true => answer(
            200,
            CBOR,
            Acked([(Lane::Health, 1)].into()).to_value().to_cbor(),
        ),
        false => no_news(),
    }
}

/// Waits until what is known adds up to what was seen; says both if it doesn't.
async fn adds_up(seen: &Seen, mut known: impl FnMut() -> (u64, u64)) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while known() != seen.now() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "known: {:?}, seen: {:?}",
            known(),
            seen.now()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn costs_and_meter_are_what_crossed_the_line() {
    for tls in [false, true] {
        let bed = bed(tls, good).await;
        let client = &bed.client;
        let mut known = (0, 0);
        let add = |cost: Cost, known: &mut (u64, u64)| {
            assert!(cost.sent > 0 && cost.received > 0 && cost.took > Duration::ZERO);
            known.0 += cost.sent;
            known.1 += cost.received;
        };
        let (_, first) = client.enrol(&Secret::new("token")).await.unwrap();
        add(first, &mut known);
        adds_up(&bed.seen, || known).await;
        for _ in 0..5 {
            let (_, cost) = client.downlink(0, 0).await.unwrap();
            add(cost, &mut known);
            let batch = vec![b'x'; 10_000];
            let (_, cost) = client.uplink(Encoded(batch)).await.unwrap();
            add(cost, &mut known);
            adds_up(&bed.seen, || known).await;
            // The handshake was paid for by the first call.
            assert!(!tls || cost.received < first.received);
        }
        assert_eq!(client.meter().take(), (0, 0));
        // The farewell belongs to nobody.
        let (meter, seen) = (client.meter().clone(), bed.seen.clone());
        let Bed {
            client,
            _proxy,
            _cloud,
            ..
        } = bed;
        drop(client);
        let sent = || {
            let (sent, _) = meter.take();
            meter.other(sent, 0);
            known.0 + sent
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while sent() != seen.now().0 || (tls && sent() == known.0) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} {:?}",
                sent(),
                seen.now()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn calls_that_fail_are_counted_by_the_meter() {
    for tls in [false, true] {
        let bed = bed(tls, |asked| {
            match (asked.is_uplink(), asked.is_enrolment()) {
                (true, _) => problem(500, "none"),
                (_, true) => answer(200, "text/html", "<p>"),
                // Hangs up.
                _ => answer(0, "", ""),
            }
        })
        .await;
        let client = &bed.client;
        assert!(client.uplink(Encoded(vec![b'x'; 5_000])).await.is_err());
        assert!(client.enrol(&Secret::new("token")).await.is_err());
        assert!(client.downlink(0, 0).await.is_err());
        let mut known = (0, 0);
        adds_up(&bed.seen, || {
            let (sent, received) = client.meter().take();
            known.0 += sent;
            known.1 += received;
            known
        })
        .await;
        assert!(known.0 > 1_000 && known.1 > 100);
    }
}

#[test]
fn a_base_path_stays_in_front() {
    for base in ["http://127.0.0.1:1/a", "http://127.0.0.1:1/a/"] {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Ident::new("estate-1").unwrap();
        let config = CloudConfig::new(base, gateway, folder.path()).unwrap();
        assert_eq!(config.url, CloudUrl::new(base).unwrap());
        let client = Client::new(Arc::new(config), Arc::default(), Clock::system()).unwrap();
        let call = Call {
            method: Method::GET,
            path: &client.of_gateway(&["downlink"]),
            query: Some("after=0&wait=0".to_owned()),
            content: Bytes::new(),
            time: CALL_TIMEOUT,
        };
        let url = client.url(&call);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:1/a/v1/gateways/estate-1/downlink?after=0&wait=0"
        );
    }
}
