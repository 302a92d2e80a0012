//! A gateway on a configuration that the commands may change, and devices with real MQTT libraries.

#![allow(dead_code)]

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::common::{PATIENCE, text, wait_for};

/// The estate, with what people write into such a file.
pub const ESTATE: &str = "\
# Willow Court.
site = \"willow-court\" # as on the lease

[[building]]
id = \"b1\"

[[bank]]
id = \"bank-a\"
building = \"b1\"
address = \"Gate 1\"
compartments = [{ count = 2, size = \"S\" }]

# The reader at the gate.
[[device]]
id = \"door-1\" # north
building = \"b1\"
";

/// A folder with a configuration, and the commands for it.
pub struct Bed {
    pub dir: tempfile::TempDir,
    pub address: SocketAddr,
    child: Option<Child>,
}

impl Bed {
    /// A configuration, and nothing that runs.
    pub fn new(estate: &str) -> Self {
        // Free just now; who starts soon gets it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        let bed = Self {
            dir: tempfile::tempdir().unwrap(),
            address,
            child: None,
        };
        let state = bed.dir.path().join("state");
        let own = format!("state_dir = {state:?}\nbroker = {{ listen = \"{address}\" }}\n");
        let (head, rest) = estate.split_once("\n\n").unwrap();
        fs::write(bed.config(), format!("{head}\n{own}\n{rest}")).unwrap();
        bed
    }

    /// The same, and the daemon runs.
    pub fn running(estate: &str) -> Self {
        let mut bed = Self::new(estate);
        bed.start();
        bed
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("linli.toml")
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let child = self
            .command(&["run"])
            .env("LINLI_LOG", "trace")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        wait_for("the daemon to answer", || {
            let child = self.child.as_mut().unwrap();
            if let Some(ended) = child.try_wait().unwrap() {
                panic!("the daemon ended ({ended}): {}", self.log());
            }
            self.cli(&["status", "--json"])
                .status
                .success()
                .then_some(())
        });
    }

    /// SIGKILL, as in a power cut.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linli"));
        command
            .arg("--config")
            .arg(self.config())
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("LINLI_SOCKET")
            .env_remove("SUDO_USER")
            .stdin(Stdio::null());
        command
    }

    pub fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints that is done.
    pub fn done(&self, args: &[&str]) -> String {
        let out = self.cli(args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[args, &["--json"]].concat())).unwrap()
    }

    /// What a command says that fails.
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        let out = self.cli(args);
        let told = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {told}");
        told
    }

    /// A command that goes on.
    pub fn goes_on(&self, args: &[&str]) -> GoesOn {
        let out = self.dir.path().join("out");
        let err = self.dir.path().join("err");
        let mut command = self.command(args);
        command.stdout(File::create(&out).unwrap());
        command.stderr(File::create(&err).unwrap());
        GoesOn {
            child: command.spawn().unwrap(),
            out,
            err,
        }
    }

    /// Who knocked, as (client id, why).
    pub fn knocks(&self) -> Vec<(String, String)> {
        let all = self.json(&["device", "knocks"]);
        let all = all.as_array().unwrap().iter();
        let word = |value: &Value| value.as_str().unwrap().to_string();
        all.map(|knock| (word(&knock["client_id"]), word(&knock["why"])))
            .collect()
    }

    /// Waits until somebody knocked so.
    pub fn knocked(&self, id: &str, why: &str) {
        let wanted = (id.to_string(), why.to_string());
        wait_for(&format!("{wanted:?} among the knocks"), || {
            self.knocks().contains(&wanted).then_some(())
        });
    }

    /// Whether a device is let in, with MQTT 5.
    pub async fn lets_in(&self, id: &str, password: &str) -> bool {
        Device5::login(self.address, (id, id), password)
            .await
            .is_some()
    }

    /// Bytes that somebody sends to the broker, from an address of this machine.
    pub async fn says(&self, from: Ipv4Addr, bytes: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that goes on. It is ended with the test.
pub struct GoesOn {
    pub child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl GoesOn {
    pub fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// Waits until it has said so.
    pub fn says(&mut self, what: &str) {
        wait_for(&format!("'{what}'"), || {
            if let Some(ended) = self.child.try_wait().unwrap()
                && !self.out().contains(what)
            {
                let err = fs::read_to_string(&self.err).unwrap();
                panic!("it ended ({ended}) without '{what}': {}\n{err}", self.out());
            }
            self.out().contains(what).then_some(())
        });
    }

    /// Its exit code, what it printed, and what it said beside.
    pub fn ends(mut self) -> (Option<i32>, String, String) {
        let ended = wait_for("the command to end", || self.child.try_wait().unwrap());
        let err = fs::read_to_string(&self.err).unwrap();
        (ended.code(), self.out(), err)
    }

    pub fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for GoesOn {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A device with a library for one version of MQTT: logs in, and sends an event.
macro_rules! device {
    ($name:ident, $library:ident, $event:path, $incoming:path) => {
        pub struct $name {
            client: $library::AsyncClient,
            events: $library::EventLoop,
            id: String,
        }

        impl $name {
            /// `names`: client id and user name. `None` if it isn't let in.
            pub async fn login(
                address: SocketAddr,
                names: (&str, &str),
                password: &str,
            ) -> Option<Self> {
                use $event as Event;
                use $incoming as Packet;
                let (host, port) = (address.ip().to_string(), address.port());
                let mut options = $library::MqttOptions::new(names.0, (host, port));
                options.set_credentials(names.1, password.to_string());
                let (client, events) = $library::AsyncClient::builder(options).capacity(8).build();
                let id = names.0.to_string();
                let mut device = Self { client, events, id };
                loop {
                    match timeout(PATIENCE, device.events.poll()).await.unwrap() {
                        Ok(Event::Incoming(Packet::ConnAck(_))) => return Some(device),
                        Ok(_) => {}
                        Err(_) => return None,
                    }
                }
            }

            /// Waits until the gateway ends the connection.
            pub async fn ends(&mut self) {
                while timeout(PATIENCE, self.events.poll()).await.unwrap().is_ok() {}
            }

            /// Sends an event and waits until it is on the gateway's disk.
            pub async fn sends(&mut self, event: &str) {
                use $event as Event;
                use $incoming as Packet;
                let qos = $library::mqttbytes::QoS::AtLeastOnce;
                let topic = format!("linli/v1/{}/event", self.id);
                let options = $library::PublishOptions::new(qos);
                self.client.publish(topic, event, options).await.unwrap();
                loop {
                    let next = timeout(PATIENCE, self.events.poll()).await.unwrap();
                    if let Event::Incoming(Packet::PubAck(_)) = next.unwrap() {
                        return;
                    }
                }
            }
        }
    };
}

device!(Device3, rumqttc_v4, rumqttc_v4::Event, rumqttc_v4::Packet);
device!(
    Device5,
    rumqttc,
    rumqttc::Event,
    rumqttc::mqttbytes::v5::Packet
);
