//! TLS between gateway and cloud, with real certificates: what is good goes through, and what isn't
//! is named with what a person can do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "sync/authority.rs"]
mod authority;
#[allow(dead_code)]
#[path = "sync/gateway.rs"]
mod gateway;
#[allow(dead_code)]
#[path = "sync/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "sync/strange_cloud.rs"]
mod strange_cloud;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use authority::{Authority, DAY_S, GOOD, Span};
use cloud_protocol::{Acked, Batch, CBOR, Lane};
use firmware_protocols::Value;
use gateway::{Papers, Sync, config, patient};
use ledger::Memory;
use linli::clock::Clock;
use linli::cloud::{CloudConfig, CloudSnapshot, NEAR_ITS_END_DAYS, TlsFiles};
use rustls::ServerConfig;
use strange_cloud::{Answer, Asked, StrangeCloud, answer, no_news, view};
use tempfile::TempDir;

fn good(asked: &Asked) -> Answer {
    if asked.is_enrolment() || asked.is_view() {
        return view();
    }
    if !asked.is_uplink() {
        return no_news();
    }
    let batch = Batch::from_value(&Value::from_cbor(&asked.body).unwrap()).unwrap();
    let last = |(lane, part): (&Lane, &cloud_protocol::LaneBatch)| {
        (*lane, part.after + part.items.len() as u64)
    };
    let acked = Acked(batch.lanes.iter().map(last).collect());
    answer(200, CBOR, acked.to_value().to_cbor())
}

async fn cloud(tls: Arc<ServerConfig>) -> StrangeCloud {
    StrangeCloud::over(Some(tls), good).await
}

fn parcels() -> Arc<Memory> {
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(3);
    ledger
}

/// Where PEM files are put for a gateway.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn pinned(&self, authority: &Authority) -> TlsFiles {
        TlsFiles {
            ca: Some(self.put("ca.pem", &authority.pem(), 0o644)),
            client: None,
        }
    }
}

/// What a gateway says of a cloud that it doesn't get through to.
async fn refused(cloud: &StrangeCloud, tls: TlsFiles, clock: Clock) -> (String, String) {
    let papers = Papers::new();
    let config = CloudConfig {
        tls,
        ..papers.config(patient(&cloud.url()))
    };
    let ledger = parcels();
    let sync = Sync::start_as_is(&papers, config, &ledger, clock);
    sync.until("it is named", |s| s.uplink.remedy.is_some())
        .await;
    let uplink = sync.status().uplink;
    assert_eq!(sync.status().connected_since_ms, None);
    sync.stop().await;
    assert_eq!(cloud.asked().len(), 0, "nothing was said");
    let words = uplink.last_error.unwrap();
    let at = format!("localhost:{}", cloud.address.port());
    assert!(words.contains(&at), "{words}");
    (words, uplink.remedy.unwrap().to_owned())
}

/// The status of a gateway that got everything through.
async fn through(cloud: &StrangeCloud, tls: TlsFiles) -> CloudSnapshot {
    let config = CloudConfig {
        tls,
        ..config(&cloud.url())
    };
    let sync = Sync::start(config, &parcels());
    sync.all_acked().await;
    let status = sync.status();
    sync.stop().await;
    status
}

fn days_left(status: &CloudSnapshot, what: &str) -> i64 {
    let found = status.certificates.iter().find(|c| c.what == what);
    found.expect(what).days_left
}

#[tokio::test]
async fn a_pinned_authority_is_trusted_and_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let cloud = cloud(authority.server("localhost", GOOD)).await;
    let files = Files::new();
    let status = through(&cloud, files.pinned(&authority)).await;
    assert_eq!(days_left(&status, "cloud"), 89);
    assert_eq!(days_left(&status, "ca"), 89);

    let cloud = self::cloud(authority.server("localhost", GOOD)).await;
    let (words, remedy) = refused(&cloud, files.pinned(&other), Clock::system()).await;
    assert!(
        words.ends_with("is by an authority that isn't trusted here"),
        "{words}"
    );
    assert!(remedy.contains("ca_file in [cloud]"));
    let (words, _) = refused(&cloud, TlsFiles::default(), Clock::system()).await;
    assert!(
        words.ends_with("is by an authority that isn't trusted here"),
        "{words}"
    );
}

#[tokio::test]
async fn tls_1_2_will_do() {
    let authority = Authority::new();
    let files = Files::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let cloud = cloud(authority.server_of(versions, "localhost", GOOD)).await;
        through(&cloud, files.pinned(&authority)).await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_named() {
    let authority = Authority::new();
    let cloud = cloud(authority.server("other.example", GOOD)).await;
    let tls = Files::new().pinned(&authority);
    let (words, remedy) = refused(&cloud, tls, Clock::system()).await;
    assert!(
        words.contains("is for another name") && words.contains("other.example"),
        "{words}"
    );
    assert!(remedy.contains("check the host in the cloud's URL"));
}

#[tokio::test]
async fn a_certificate_that_is_over_is_named() {
    let authority = Authority::new();
    let cloud = cloud(authority.server("localhost", (-20 * DAY_S, -3 * DAY_S))).await;
    let tls = Files::new().pinned(&authority);
    let (words, remedy) = refused(&cloud, tls, Clock::system()).await;
    assert!(
        words.contains("expired on 20") && words.contains("takes it to be 20"),
        "{words}"
    );
    assert!(remedy.contains("timedatectl") && remedy.contains("renew"));
}

/// 2026-11-01, when nobody has told the box better.
const MADE_MS: i64 = 1_793_491_200_000;

/// A box that doesn't know the time judges by the latest that is past for sure: a certificate made
/// after that is refused, until somebody tells it the time.
#[tokio::test]
async fn a_certificate_from_the_future_of_an_unset_clock_is_named() {
    let authority = Authority::that_holds((-900 * DAY_S, 900 * DAY_S));
    let cloud = cloud(authority.server("localhost", (-3600, 90 * DAY_S))).await;
    let files = Files::new();
    let (words, remedy) = refused(&cloud, files.pinned(&authority), Clock::by_hand(0)).await;
    assert!(words.contains("holds only from 20"), "{words}");
    let known = jiff::Timestamp::from_millisecond(MADE_MS).unwrap();
    let known = known.strftime("takes it to be %Y-%m-%d").to_string();
    assert!(words.contains(&known), "{words}");
    assert!(remedy.contains("set this box's clock"));

    let clock = Clock::by_hand(0);
    clock.was(jiff::Timestamp::now().as_millisecond());
    let papers = Papers::new();
    let config = CloudConfig {
        tls: files.pinned(&authority),
        ..papers.config(patient(&cloud.url()))
    };
    let sync = Sync::start_as_is(&papers, config, &parcels(), clock);
    sync.all_acked().await;
    sync.stop().await;
}

#[tokio::test]
async fn a_cloud_that_wants_a_certificate_gets_the_gateways() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let files = Files::new();
    let own = |name: &str, from: &Authority, span: Span| {
        let (certificate, key) = from.client(span);
        let certificate = files.put(&format!("{name}.pem"), &certificate, 0o644);
        (certificate, files.put(&format!("{name}.key"), &key, 0o600))
    };
    let pinned = || files.pinned(&authority);
    let cloud = cloud(authority.server_with_clients()).await;
    let with = |client| TlsFiles {
        client: Some(client),
        ..pinned()
    };
    for tls in [pinned(), with(own("strange", &stranger, GOOD))] {
        let (words, remedy) = refused(&cloud, tls, Clock::system()).await;
        assert!(words.contains("refuses the TLS connection"), "{words}");
        assert!(remedy.contains("client_certificate_file and client_key_file"));
    }
    let status = through(&cloud, with(own("own", &authority, GOOD))).await;
    assert_eq!(days_left(&status, "client"), 89);
}

#[tokio::test]
async fn the_end_of_a_certificate_is_announced_a_month_before() {
    let authority = Authority::new();
    let files = Files::new();
    let cloud = cloud(authority.server_with_clients()).await;
    for (days, near) in [(29, true), (31, false)] {
        let (certificate, key) = authority.client((-DAY_S, days * DAY_S + 3600));
        let certificate = files.put("own.pem", &certificate, 0o644);
        let key = files.put("own.key", &key, 0o600);
        let tls = TlsFiles {
            client: Some((certificate, key)),
            ..files.pinned(&authority)
        };
        let status = through(&cloud, tls).await;
        assert_eq!(days_left(&status, "client"), days);
        assert_eq!(days_left(&status, "client") < NEAR_ITS_END_DAYS, near);
        assert!(days_left(&status, "cloud") > NEAR_ITS_END_DAYS);
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_anything_is_tried() {
    let authority = Authority::new();
    let files = Files::new();
    let (certificate, key) = authority.client(GOOD);
    let other_key = authority.client(GOOD).1;
    let pem = files.put("own.pem", &certificate, 0o644);
    let good_key = files.put("own.key", &key, 0o600);
    let ca = |path: &Path| TlsFiles {
        ca: Some(path.to_path_buf()),
        client: None,
    };
    let client = |certificate: &Path, key: &Path| TlsFiles {
        ca: None,
        client: Some((certificate.to_path_buf(), key.to_path_buf())),
    };
    let cases = [
        (
            ca(Path::new("/nowhere/ca.pem")),
            "/nowhere/ca.pem can't be read",
        ),
        (
            ca(&files.put("empty.pem", "", 0o644)),
            "holds no certificate in PEM",
        ),
        (ca(&good_key), "holds no certificate in PEM"),
        (client(&pem, &pem), "everybody on this machine"),
        (
            client(&pem, &files.put("open.key", &key, 0o644)),
            "everybody on this machine",
        ),
        (
            client(&pem, &files.put("none.key", &certificate, 0o600)),
            "holds no private key",
        ),
        (
            client(&pem, &files.put("other.key", &other_key, 0o640)),
            "can't be used together",
        ),
    ];
    for (tls, words) in cases {
        let config = CloudConfig {
            tls,
            ..config("https://localhost:1")
        };
        let e = Sync::start(config, &parcels()).ends().await.to_string();
        assert!(e.contains(words), "{e}");
    }
}

/// Somebody else answers: over TLS that holds, so it is a mistaken URL or a firewall's own page.
#[tokio::test]
async fn what_stands_between_is_named() {
    let authority = Authority::new();
    let files = Files::new();
    type Case = (fn() -> Answer, &'static str, &'static str);
    let cases: [Case; 4] = [
        (
            || answer(200, "text/html", "<html>log in</html>"),
            "a web page",
            "captive portal",
        ),
        (
            || Answer {
                status: 302,
                headers: "location: https://portal.example/login?mac=00\r\n".to_owned(),
                body: Vec::new(),
            },
            "it sends elsewhere to portal.example (HTTP 302 Found)",
            "captive portal",
        ),
        (
            || answer(511, "text/html", "<html>log in</html>"),
            "this network wants a login first (HTTP 511 Network Authentication Required)",
            "captive portal",
        ),
        (
            || answer(407, "text/html", ""),
            "a proxy wants a login (HTTP 407 Proxy Authentication Required)",
            "directly",
        ),
    ];
    for (say, words, remedy) in cases {
        let tls = authority.server("localhost", GOOD);
        let cloud = StrangeCloud::over(Some(tls), move |_| say()).await;
        let config = CloudConfig {
            tls: files.pinned(&authority),
            ..patient(&cloud.url())
        };
        let sync = Sync::start(config, &parcels());
        sync.until(words, |s| s.uplink.remedy.is_some()).await;
        let uplink = sync.status().uplink;
        let error = uplink.last_error.unwrap();
        assert_eq!(error, format!("what answers isn't the cloud: {words}"));
        assert!(uplink.remedy.unwrap().contains(remedy));
        assert!(
            cloud.asked().iter().all(Asked::is_enrolment),
            "nothing followed"
        );
        sync.stop().await;
    }
}
