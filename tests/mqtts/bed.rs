//! A broker with a listener of TLS, the estate's authority beside it, and a client over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use linli::ca::{self, Authority, DEVICE_DAYS, FOLDER};
use linli::clock::Clock;
use linli::config::TlsSection;
use linli::disk::Disk;
use linli::knocks::Knocks;
use linli::links::embedded::{EmbeddedBroker, TlsAt, TlsHouse, TlsListener};
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::embedded::*;

/// 2026-11-22 09:03:21 UTC.
pub const NOW_MS: i64 = 1_795_338_201_000;
pub const DAY_MS: i64 = 86_400_000;

/// `[broker.tls]` with these lines more.
pub fn section(more: &str) -> TlsSection {
    let text = format!("site = \"s\"\n[broker.tls]\nlisten = \"127.0.0.1:0\"\n{more}");
    let config = linli::config::Config::parse(&text);
    config
        .map_err(|e| format!("{e:?}"))
        .unwrap()
        .broker
        .unwrap()
        .tls
        .unwrap()
}

/// A broker that listens for TLS too.
pub struct Bed {
    pub broker: Broker,
    pub listener: Arc<TlsListener>,
    pub clock: Clock,
    pub dir: tempfile::TempDir,
}

impl Bed {
    pub async fn start(more: &str) -> Self {
        Self::with(more, Clock::by_hand(NOW_MS), |_| {}).await
    }

    pub async fn with(more: &str, clock: Clock, change: impl FnOnce(&mut EmbeddedBroker)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let house = house(&dir, &clock);
        let listener = Arc::new(TlsListener::open(&section(more), house).unwrap());
        let at = TlsAt {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            listener: Arc::clone(&listener),
        };
        let broker = Broker::with(Recorder::open(), |config| {
            config.tls = Some(at);
            change(config);
        })
        .await;
        Self {
            broker,
            listener,
            clock,
            dir,
        }
    }

    pub fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join(FOLDER)
    }

    pub fn address(&self) -> SocketAddr {
        *self.broker.addresses.last().unwrap()
    }

    pub fn authority(&self) -> Authority {
        Authority::open(&self.folder()).unwrap().unwrap()
    }

    /// A certificate of the estate's for a device, with its key, and its serial number.
    pub fn paper(&self, device: &str) -> Paper {
        self.paper_for(device, DEVICE_DAYS)
    }

    pub fn paper_for(&self, device: &str, days: u32) -> Paper {
        let key = KeyPair::generate().unwrap();
        let now_ms = self.clock.at_least_ms();
        let (certificate, facts) =
            ca::give_out(&self.folder(), &ident(device), &key, now_ms, days).unwrap();
        Paper {
            certificate,
            key: key.serialize_der(),
            serial: facts.serial,
        }
    }

    pub fn client(&self, paper: Option<&Paper>) -> Arc<ClientConfig> {
        config(&self.authority(), paper, rustls::ALL_VERSIONS)
    }

    /// Connects and logs in; what came of it.
    pub async fn login(&self, paper: Option<&Paper>, connect: &Connect) -> Result<Tls, Failed> {
        Tls::login(self.address(), self.client(paper), connect).await
    }
}

/// Where the authority of a test lives.
pub fn house(dir: &tempfile::TempDir, clock: &Clock) -> TlsHouse {
    TlsHouse {
        state_dir: dir.path().to_path_buf(),
        site: ident("test-site"),
        clock: clock.clone(),
        disk: Disk::new(clock.clone()),
        knocks: Knocks::default(),
    }
}

/// What a device has to show.
pub struct Paper {
    pub certificate: CertificateDer<'static>,
    pub key: Vec<u8>,
    pub serial: String,
}

impl Paper {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// A client that knows this authority.
pub fn config(
    authority: &Authority,
    paper: Option<&Paper>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match paper {
        None => builder.with_no_client_auth(),
        Some(paper) => builder
            .with_client_auth_cert(vec![paper.certificate.clone()], paper.key())
            .unwrap(),
    })
}

/// A login that came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// TLS said no, or the connection ended before an answer.
    Tls(String),
    /// A CONNACK with this code.
    Connack(u8),
}

/// A client over TLS that writes exact bytes.
#[derive(Debug)]
pub struct Tls {
    pub stream: TlsStream<TcpStream>,
}

impl Tls {
    pub async fn open(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Self, Failed> {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::from(address.ip());
        let shaken = TlsConnector::from(config).connect(name, tcp);
        let stream = timeout(LONG, shaken).await.expect("a handshake");
        let stream = stream.map_err(|e| Failed::Tls(e.to_string()))?;
        Ok(Self { stream })
    }

    pub async fn login(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        connect: &Connect,
    ) -> Result<Self, Failed> {
        let mut client = Self::open(address, config).await?;
        client.send(&connect.packet()).await;
        match client.packet().await {
            Ok(answer) if answer.body[1] == 0 => Ok(client),
            Ok(answer) => Err(Failed::Connack(answer.body[1])),
            Err(ended) => Err(Failed::Tls(ended)),
        }
    }

    /// Writes all it can: the broker may close while we write.
    pub async fn send(&mut self, bytes: &[u8]) {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let _ = timeout(LONG, written)
            .await
            .expect("the broker reads no more");
    }

    /// The next packet, or how the connection ended.
    pub async fn packet(&mut self) -> Result<Packet, String> {
        timeout(LONG, self.read())
            .await
            .expect("neither an answer nor the end")
            .map_err(|e| e.to_string())
    }

    async fn read(&mut self) -> std::io::Result<Packet> {
        let first = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(Packet { first, body })
    }

    /// Has an event of `door-1` acknowledged.
    pub async fn is_served(&mut self, device: &str) {
        let topic = format!("linli/v1/{device}/event");
        self.send(&publish(Version::V5, &topic, 1, b"well")).await;
        assert_eq!(self.packet().await.unwrap().kind(), 4, "no PUBACK");
    }
}

/// A login without a password.
pub fn bare(version: Version, device: &str) -> Connect {
    let mut connect = Connect::new(version, device);
    connect.password = None;
    connect.username = None;
    connect
}
