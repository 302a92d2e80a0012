//! The real binary and the tools at hand: `linli ca`, `mosquitto_pub`, `openssl`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::bed::*;
use crate::common::{Gateway, Setup, wait_for};
use crate::embedded::{Connect, Version};

/// A gateway that listens for TLS, and what a technician has exported of it.
struct House {
    setup: Setup,
    gateway: Option<Gateway>,
    port: u16,
}

impl House {
    fn new(more: &str) -> Self {
        let mut setup = Setup::new();
        setup.more = format!(
            "[broker.tls]\nlisten = \"127.0.0.1:0\"\nnames = [\"localhost\", \"127.0.0.1\"]\n{more}\n"
        );
        setup.with_password = vec!["door-1".into(), "door-2".into(), "door-3".into()];
        let gateway = Some(setup.start());
        let status = setup.json(&["status"]);
        let told = status["links"]["address"].as_str().unwrap().to_owned();
        let tls = told.split(", ").last().unwrap();
        let tls = tls.strip_suffix(" (TLS)").unwrap();
        let port = tls.rsplit(':').next().unwrap().parse().unwrap();
        let house = Self {
            setup,
            gateway,
            port,
        };
        house.ca(&["export", house.file("ca.pem").to_str().unwrap()]);
        house
    }

    fn file(&self, name: &str) -> PathBuf {
        self.setup.dir.path().join(name)
    }

    /// Runs `linli ca …`, which must do.
    fn ca(&self, args: &[&str]) -> String {
        let args: Vec<&str> = ["ca"].iter().chain(args).copied().collect();
        let out = self.setup.cli(&args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    fn issue(&self, device: &str) {
        let out = self.setup.dir.path().to_str().unwrap();
        self.ca(&["issue", device, "--out", out]);
    }

    fn mosquitto_pub(&self, device: &str, seq: u64, more: &[&str]) -> Output {
        let event = format!("{{\"kind\":\"alarm\",\"boot\":1,\"seq\":{seq},\"alarm\":\"tamper\"}}");
        Command::new("mosquitto_pub")
            .args(["-h", "localhost", "-p", &self.port.to_string(), "-q", "1"])
            .args(["-i", device, "-t", &format!("linli/v1/{device}/event")])
            .args(["-m", &event, "--cafile"])
            .arg(self.file("ca.pem"))
            .args(more)
            .output()
            .expect("mosquitto-clients is installed")
    }

    fn paper(&self, device: &str) -> [String; 4] {
        let path = |ending: &str| {
            let path = self.file(&format!("{device}.{ending}"));
            path.to_str().unwrap().to_owned()
        };
        ["--cert".into(), path("crt"), "--key".into(), path("key")]
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn mosquitto_clients_come_in_by_certificate() {
    let house = House::new("");
    house.issue("door-1");
    let paper = house.paper("door-1");
    let paper: Vec<&str> = paper.iter().map(String::as_str).collect();
    for (seq, version) in [(1, "tlsv1.2"), (2, "tlsv1.3")] {
        let args = [&paper[..], &["--tls-version", version]].concat();
        let out = house.mosquitto_pub("door-1", seq, &args);
        assert!(out.status.success(), "{version}: {}", text(&out.stderr));
    }
    let stored = house.setup.stored();
    assert_eq!(stored.len(), 2, "{stored:?}");
    // Without a certificate and without a password, and with another's.
    for (device, args) in [("door-1", &[][..]), ("door-2", &paper)] {
        let out = house.mosquitto_pub(device, 9, args);
        assert!(!out.status.success(), "{device}");
    }
    // Who knows another authority doesn't come either: the box is not the one it looks for.
    let stranger = House::new("");
    fs::copy(stranger.file("ca.pem"), house.file("ca.pem")).unwrap();
    assert!(!house.mosquitto_pub("door-1", 9, &paper).status.success());
    stranger.ca(&[
        "export",
        "--overwrite",
        house.file("ca.pem").to_str().unwrap(),
    ]);
    assert_eq!(house.setup.stored().len(), 2);
    house.gateway.unwrap().kill();
    stranger.gateway.unwrap().kill();
}

#[test]
fn a_running_daemon_notices_what_is_revoked() {
    let house = House::new("client_certificates = \"required\"");
    house.issue("door-1");
    let paper = house.paper("door-1");
    let paper: Vec<&str> = paper.iter().map(String::as_str).collect();
    let out = house.mosquitto_pub("door-1", 1, &paper);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let told = house.ca(&["revoke", "door-1"]);
    assert!(
        told.starts_with("1 certificate of door-1 revoked."),
        "{told}"
    );
    let mut seq = 1;
    let refused = wait_for("the daemon to notice", || {
        seq += 1;
        let out = house.mosquitto_pub("door-1", seq, &paper);
        (!out.status.success()).then(|| text(&out.stderr))
    });
    println!("{refused}");
    let list: Value = house.setup.json(&["ca", "list"]);
    assert_eq!(list[0]["state"], "revoked");
    house.gateway.unwrap().kill();
}

#[test]
fn old_versions_of_tls_are_refused() {
    let house = House::new("");
    let hello = |version: &str| {
        let out = Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", house.port)])
            .args([version, "-cipher", "DEFAULT@SECLEVEL=0", "-CAfile"])
            .arg(house.file("ca.pem"))
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        text(&out.stdout) + &text(&out.stderr)
    };
    let told = hello("-tls1_2");
    assert!(told.contains("Verify return code: 0 (ok)"), "{told}");
    for old in ["-tls1", "-tls1_1"] {
        let told = hello(old);
        let alert = ["alert protocol version", "alert handshake failure"];
        assert!(
            alert.iter().any(|word| told.contains(word)),
            "{old}: {told}"
        );
        assert!(!told.contains("BEGIN CERTIFICATE"), "{old}: {told}");
    }
    house.gateway.unwrap().kill();
}

#[test]
fn the_technicians_commands_keep_keys_where_they_belong() {
    let house = House::new("");
    let ca = house.setup.state().join("ca");
    for file in ["authority.pem", "server.pem"] {
        assert_eq!(mode(&ca.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&ca), 0o700);
    let pem = house.ca(&["show", "--pem"]);
    assert_eq!(pem, fs::read_to_string(house.file("ca.pem")).unwrap());
    assert!(!pem.contains("PRIVATE"), "{pem}");
    let told = house.ca(&["init"]);
    assert!(
        told.contains("is there already; nothing was changed"),
        "{told}"
    );

    let out = house.setup.dir.path().to_str().unwrap().to_owned();
    let told = house.ca(&["issue", "door-1", "--out", &out]);
    assert!(!told.contains("PRIVATE"), "{told}");
    assert_eq!(mode(&house.file("door-1.key")), 0o600);
    let key = fs::read_to_string(house.file("door-1.key")).unwrap();
    let body: String = key.lines().nth(1).unwrap().to_owned();
    for entry in fs::read_dir(&ca).unwrap() {
        let held = fs::read(entry.unwrap().path()).unwrap();
        assert!(!text(&held).contains(&body), "the key stays nowhere here");
    }
    // Nothing is written over, and nobody gets one who isn't there.
    for (args, code, said) in [
        (
            ["ca", "issue", "door-1", "--out", &out],
            1,
            "is there already",
        ),
        (["ca", "issue", "door-77", "--out", &out], 4, "door-77"),
        (
            [
                "ca",
                "export",
                &format!("{out}/ca.pem"),
                "--json",
                "--no-color",
            ],
            1,
            "is there already",
        ),
    ] {
        let run = house.setup.cli(&args);
        assert_eq!(run.status.code(), Some(code), "{args:?}");
        assert!(text(&run.stderr).contains(said), "{}", text(&run.stderr));
    }
    // A device that keeps its key to itself.
    let request = house.file("door-2.csr");
    let made = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-subj", "/CN=door-2", "-keyout"])
        .arg(house.file("door-2.key"))
        .arg("-out")
        .arg(&request)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    house.ca(&[
        "sign",
        request.to_str().unwrap(),
        "--out",
        &out,
        "--days",
        "30",
    ]);
    let paper = house.paper("door-2");
    let paper: Vec<&str> = paper.iter().map(String::as_str).collect();
    let sent = house.mosquitto_pub("door-2", 1, &paper);
    assert!(sent.status.success(), "{}", text(&sent.stderr));

    let list: Value = house.setup.json(&["ca", "list"]);
    let devices: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["device"].as_str().unwrap())
        .collect();
    assert_eq!(devices, ["door-1", "door-2"]);
    assert_eq!(mode(&ca.join("issued.json")), 0o600);
    let shown: Value = house.setup.json(&["ca", "show"]);
    assert_eq!(shown["devices"]["hold"], 2);
    assert_eq!(shown["server"]["names"][0], "localhost");
    // What openssl says of it is what we say.
    let print = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(house.file("ca.pem"))
        .output()
        .unwrap();
    let ours = shown["authority"]["sha256"].as_str().unwrap();
    assert!(
        text(&print.stdout).contains(ours),
        "{}",
        text(&print.stdout)
    );
    let serial = list[0]["serial"].as_str().unwrap();
    house.ca(&["revoke", "--serial", serial]);
    let again = house.setup.cli(&["ca", "revoke", "--serial", serial]);
    assert_eq!(again.status.code(), Some(4));
    house.gateway.unwrap().kill();
}

/// How many devices come over TLS at once, and what each may cost the daemon.
const DEVICES: usize = 200;
const EACH_KIB: u64 = 48;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_devices_over_tls_cost_little() {
    let mut setup = Setup::new();
    setup.devices = (0..2 * DEVICES).map(|n| format!("door-{n}")).collect();
    setup.more = "[broker.tls]\nlisten = \"127.0.0.1:0\"\nnames = [\"127.0.0.1\"]\n".into();
    let gateway = setup.start();
    let status = setup.json(&["status"]);
    let told = status["links"]["address"].as_str().unwrap().to_owned();
    let tls = told
        .split(", ")
        .last()
        .unwrap()
        .strip_suffix(" (TLS)")
        .unwrap();
    let (tls, plain) = (tls.parse().unwrap(), setup.address());
    let out = setup.dir.path().to_str().unwrap();
    let made = setup.cli(&["ca", "issue", "door-0", "--out", out]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let paper = Paper {
        certificate: CertificateDer::from_pem_file(setup.dir.path().join("door-0.crt")).unwrap(),
        key: PrivateKeyDer::from_pem_file(setup.dir.path().join("door-0.key"))
            .unwrap()
            .secret_der()
            .to_vec(),
        serial: String::new(),
    };
    let authority = linli::ca::Authority::open(&setup.state().join("ca"));
    let authority = authority.unwrap().unwrap();
    // The first brings what all of them share.
    let connect = |n: usize| {
        let mut connect = Connect::new(Version::V5, &format!("door-{n}"));
        (connect.username, connect.password) = (None, None);
        connect
    };
    let first = config(&authority, Some(&paper), rustls::ALL_VERSIONS);
    let mut there = vec![Tls::login(tls, first, &connect(0)).await.unwrap()];
    let anyone = config(&authority, None, rustls::ALL_VERSIONS);
    let before = gateway.memory_kib();
    for n in 1..=DEVICES {
        let mut client = Tls::login(tls, anyone.clone(), &connect(n)).await.unwrap();
        client.send(&[0xc0, 0]).await;
        assert_eq!(client.packet().await.unwrap().first, 0xd0);
        there.push(client);
    }
    let with_tls = gateway.memory_kib() - before;
    let before = gateway.memory_kib();
    let mut plainly = Vec::new();
    for n in DEVICES + 1..2 * DEVICES {
        let mut client = crate::embedded::Client::open(plain).await;
        client.send(&connect(n).packet()).await;
        assert_eq!(client.packet().await.unwrap().body[1], 0);
        plainly.push(client);
    }
    let without = gateway.memory_kib().saturating_sub(before);
    println!(
        "{DEVICES} devices over TLS: {with_tls} KiB more, {:.1} each; {} without: {without} KiB",
        with_tls as f64 / DEVICES as f64,
        DEVICES - 1
    );
    assert!(with_tls < EACH_KIB * DEVICES as u64, "{with_tls} KiB");
    gateway.kill();
}
