//! A real Mosquitto on a free port, for as long as a test lasts.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod gateway;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A broker that is ended when it is dropped.
pub struct Mosquitto {
    child: Child,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts it. `None` where it isn't installed: the test is left out, except in CI.
    pub fn start() -> Option<Self> {
        if installed() {
            return Some(Self::start_on(free_port()));
        }
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "Mosquitto is not installed, and CI must not leave this test out: apt-get install mosquitto"
        );
        eprintln!("left out: Mosquitto is not installed (apt-get install mosquitto)");
        None
    }

    fn start_on(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temp folder");
        let config = folder.path().join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n\
             max_queued_messages 100000\nmax_inflight_messages 1000\n"
        );
        std::fs::write(&config, text).expect("a configuration");
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto starts");
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let broker = Self {
            child,
            addr,
            _folder: folder,
        };
        broker.wait_until_it_listens();
        broker
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it as a power cut would, and starts it again on the same port, with nothing kept.
    pub fn power_cut(&mut self) {
        let port = self.addr.port();
        let _ = self.child.kill();
        let _ = self.child.wait();
        *self = Self::start_on(port);
    }

    fn wait_until_it_listens(&self) {
        let begun = Instant::now();
        while TcpStream::connect(self.addr).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "mosquitto listens"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed() -> bool {
    Command::new("mosquitto")
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Waits until `holds`, for ten seconds at most.
pub async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
