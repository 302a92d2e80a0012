//! A real Mosquitto on a free port, with persistence, that a test may kill and start again.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait_for;

pub struct Mosquitto {
    pub address: SocketAddr,
    /// Whether nobody may log in; from the next start on.
    pub closed: bool,
    dir: TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one, or `None` where it isn't installed (which fails in CI).
    pub fn start() -> Option<Self> {
        if !super::have("mosquitto") {
            return None;
        }
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut broker = Self {
            address,
            closed: false,
            dir: tempfile::tempdir().unwrap(),
            child: None,
        };
        broker.start_again();
        Some(broker)
    }

    /// Starts it on the same port with what it has persisted.
    pub fn start_again(&mut self) {
        let folder = self.dir.path().display();
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous {}\nset_tcp_nodelay true\n\
             max_queued_messages 0\nmax_inflight_messages 256\npersistence true\n\
             persistence_location {folder}/\nuser root\n",
            self.address.port(),
            !self.closed,
        );
        let file = self.dir.path().join("mosquitto.conf");
        fs::write(&file, config).unwrap();
        let child = Command::new(program())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let address = self.address;
        wait_for("mosquitto to listen", || TcpStream::connect(address).ok());
    }

    /// SIGKILL: what it hasn't saved is lost, its sessions with it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM: it saves what it has, and goes.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn program() -> PathBuf {
    let sbin = PathBuf::from("/usr/sbin/mosquitto");
    if sbin.exists() {
        return sbin;
    }
    PathBuf::from("mosquitto")
}
