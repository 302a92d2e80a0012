//! A cloud behind real TLS whose certificate isn't good: of another name, run out, by an unknown CA.
//! Nothing is sent to it, a person is told, and when the right one is back everything goes on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::cloud::{healed, life_goes_on};
use crate::common::{have, text};
use crate::estate::{Estate, Plan, Story, run, story};

/// One for each kind of wrong certificate; none where `openssl` isn't installed.
pub fn stories() -> Vec<Story> {
    if !have("openssl") {
        return Vec::new();
    }
    type Make = fn(&Certificates) -> Pair;
    let wrong: [(_, Make, &[&str]); 3] = [
        (
            "certificate-of-another-name",
            |c| c.good("other.example"),
            &["is for another name", "the host in the cloud's URL"],
        ),
        (
            "certificate-run-out",
            |c| c.run_out("localhost"),
            &[
                "expired on 2020-02-01",
                "the cloud's operator must renew the certificate",
            ],
        ),
        (
            "certificate-of-an-unknown-ca",
            |c| c.by_a_stranger("localhost"),
            &[
                "by an authority that isn't trusted here",
                "this machine's certificate authorities",
            ],
        ),
    ];
    let stories = wrong.map(|(name, make, words)| {
        story(name, move || {
            let folder = tempfile::tempdir().unwrap();
            let certificates = Certificates::make(folder.path());
            let (good, wrong) = (certificates.good("localhost"), make(&certificates));
            run(survive(name, good, wrong, words, certificates.ca()));
        })
    });
    stories.into()
}

async fn survive(name: &str, good: Pair, wrong: Pair, words: &[&str], ca: PathBuf) {
    let terminator = Arc::new(Mutex::new(good.acceptor()));
    let shown = Arc::clone(&terminator);
    let estate = Estate::begin(Plan {
        url: Box::new(|address| format!("https://localhost:{}", address.port())),
        behind: Box::new(move |cloud| terminate(shown.clone(), cloud)),
        env: vec![("SSL_CERT_FILE".to_string(), ca.into())],
        ..Plan::default()
    })
    .await;
    estate.announce_four().await;
    estate.all_have_their_codes().await;
    *terminator.lock().unwrap() = wrong.acceptor();
    estate.to_cloud.reset_all();
    estate.announce_four().await;
    life_goes_on(&estate).await;
    estate.says(words).await;
    life_goes_on(&estate).await;
    *terminator.lock().unwrap() = good.acceptor();
    healed(name, estate).await;
}

/// TLS with the certificate of the moment, before the cloud; returns where it listens.
fn terminate(acceptor: Arc<Mutex<TlsAcceptor>>, cloud: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.lock().unwrap().clone();
            tokio::spawn(async move {
                let mut tls = acceptor.accept(stream).await?;
                let mut plain = TcpStream::connect(cloud).await?;
                copy_bidirectional(&mut tls, &mut plain).await
            });
        }
    });
    address
}

/// A certificate and its key, PEM.
#[derive(Clone)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(&self.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Made by `openssl` in a folder of the test.
struct Certificates<'a>(&'a Path);

impl<'a> Certificates<'a> {
    /// Two authorities: the one that the gateway believes, and a stranger.
    fn make(folder: &'a Path) -> Self {
        let made = Self(folder);
        std::fs::write(folder.join("ca.cnf"), CA_CONFIG).unwrap();
        for ca in ["ca", "stranger"] {
            made.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
                 -subj /CN={ca} -addext basicConstraints=critical,CA:TRUE -keyout {ca}.key -out {ca}.pem"
            ));
        }
        made
    }

    fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn good(&self, name: &str) -> Pair {
        self.signed(name, "ca", "20200101000000Z", "20991231000000Z", name)
    }

    fn run_out(&self, name: &str) -> Pair {
        self.signed(name, "ca", "20200101000000Z", "20200201000000Z", "old")
    }

    fn by_a_stranger(&self, name: &str) -> Pair {
        self.signed(
            name,
            "stranger",
            "20200101000000Z",
            "20991231000000Z",
            "strange",
        )
    }

    fn signed(&self, name: &str, ca: &str, from: &str, until: &str, file: &str) -> Pair {
        let extensions = format!("subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n");
        std::fs::write(self.0.join("ext"), extensions).unwrap();
        std::fs::write(self.0.join("index"), "").unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={file} \
             -keyout {file}.key -out {file}.csr"
        ));
        self.openssl(&format!(
            "ca -batch -notext -rand_serial -config ca.cnf -cert {ca}.pem -keyfile {ca}.key \
             -startdate {from} -enddate {until} -extfile ext -in {file}.csr -out {file}.pem"
        ));
        Pair {
            certificate: self.0.join(format!("{file}.pem")),
            key: self.0.join(format!("{file}.key")),
        }
    }

    fn openssl(&self, args: &str) {
        let out = Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(self.0)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "openssl {args}: {}",
            text(&out.stderr)
        );
    }
}

const CA_CONFIG: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nnew_certs_dir = .\nserial = serial\n\
    default_md = sha256\npolicy = any\nunique_subject = no\n[any]\ncommonName = supplied\n";
