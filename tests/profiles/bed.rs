//! A client of MQTT 3.1.1 that does exactly what it is told, packet by packet, and what is asked of the
//! gateway after it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::common::{PATIENCE, Setup, wait_for};

/// A client that has logged in.
pub struct Client {
    stream: TcpStream,
    next: u16,
}

/// How a client logs in.
#[derive(Clone, Default)]
pub struct Login<'a> {
    pub client_id: &'a str,
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    pub will: Option<(&'a str, &'a str)>,
}

/// How something is published.
#[derive(Clone, Copy, Default)]
pub struct How {
    pub qos: u8,
    pub retain: bool,
    pub again: Option<u16>,
}

pub const ONCE: How = How {
    qos: 1,
    retain: false,
    again: None,
};

impl Client {
    /// Logs in; the return code if that is refused.
    pub fn log_in(address: SocketAddr, login: &Login<'_>) -> Result<Self, u8> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut flags = 0x02;
        let mut rest = text(login.client_id);
        if let Some((topic, payload)) = login.will {
            flags |= 0x04 | 0x08 | 0x20;
            rest.extend(text(topic));
            rest.extend(text(payload));
        }
        for (flag, part) in [(0x80, login.user), (0x40, login.password)] {
            if let Some(part) = part {
                flags |= flag;
                rest.extend(text(part));
            }
        }
        let mut body = text("MQTT");
        body.extend([4, flags, 0, 60]);
        body.extend(rest);
        stream.write_all(&packet(0x10, &body)).unwrap();
        let mut ack = [0; 4];
        stream.read_exact(&mut ack).unwrap();
        match ack[3] {
            0 => Ok(Self { stream, next: 0 }),
            code => Err(code),
        }
    }

    /// Sends a publication; its id, at QoS 1 and 2.
    pub fn send(&mut self, topic: &str, payload: &[u8], how: How) -> Option<u16> {
        let id = (how.qos > 0).then(|| {
            how.again.unwrap_or_else(|| {
                self.next += 1;
                self.next
            })
        });
        let mut body = text(topic);
        body.extend(id.into_iter().flat_map(u16::to_be_bytes));
        body.extend(payload);
        let again = u8::from(how.again.is_some()) << 3;
        let first = 0x30 | again | how.qos << 1 | u8::from(how.retain);
        self.stream.write_all(&packet(first, &body)).unwrap();
        id
    }

    /// Publishes and waits for the PUBACK.
    pub fn publish(&mut self, topic: &str, payload: &str, how: How) {
        let id = self.send(topic, payload.as_bytes(), how);
        assert_eq!(self.acknowledged(), id, "{topic} {payload}");
    }

    /// The id of the next PUBACK.
    pub fn acknowledged(&mut self) -> Option<u16> {
        let mut ack = [0; 4];
        self.stream.read_exact(&mut ack).unwrap();
        assert_eq!(ack[..2], [0x40, 2], "{ack:x?}");
        Some(u16::from_be_bytes([ack[2], ack[3]]))
    }

    /// Whether nothing has come so far.
    pub fn hears_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let nothing = self.stream.peek(&mut [0]).is_err();
        self.stream.set_nonblocking(false).unwrap();
        nothing
    }

    /// The granted QoS of a subscription.
    pub fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 99];
        body.extend(text(filter));
        body.push(1);
        self.stream.write_all(&packet(0x82, &body)).unwrap();
        let mut ack = [0; 5];
        self.stream.read_exact(&mut ack).unwrap();
        assert_eq!(ack[0], 0x90);
        ack[4]
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = u8::from(length > 127) << 7;
        packet.push(u8::try_from(length & 127).unwrap() | more);
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// The configuration of a device of another maker.
pub fn device(id: &str, profile: &str, more: &str) -> String {
    format!("\n[[device]]\nid = \"{id}\"\nbuilding = \"b1\"\nprofile = \"{profile}\"\n{more}\n")
}

/// A profile of a test's own, in its folder.
pub fn own_profile(setup: &Setup, name: &str, program: &str) -> String {
    let file = setup.dir.path().join(format!("{name}.toml"));
    let profile = format!(
        "about = \"a test's\"\ntopics = [\"{name}/{{name}}\"]\npayload = \"json\"\nprogram = '''{program}'''\n"
    );
    std::fs::write(&file, profile).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A new password for somebody.
pub fn password(setup: &Setup, id: &str) -> String {
    let made = setup.json(&["device", "password", id]);
    made["password"].as_str().unwrap().to_owned()
}

/// The kinds of a device's events with their bodies, oldest first, without the hello.
pub fn events(setup: &Setup, device: &str) -> Vec<(String, Value)> {
    let all = setup.json(&["events", "--device", device]);
    let mut rows: Vec<&Value> = all.as_array().unwrap().iter().collect();
    rows.sort_by_key(|row| row["seq"].as_u64().unwrap());
    let rows = rows.into_iter().map(|row| {
        let kind = row["kind"].as_str().unwrap().to_owned();
        (kind, row["body"].clone())
    });
    rows.filter(|(kind, _)| kind != "hello").collect()
}

/// The kinds of a device's events.
pub fn kinds(setup: &Setup, device: &str) -> Vec<String> {
    let events = events(setup, device).into_iter();
    events.map(|(kind, _)| kind).collect()
}

/// How a device with a profile does.
pub fn mapped(setup: &Setup, device: &str) -> Value {
    let list = setup.json(&["profile", "list"]);
    let mut devices = list["devices"].as_array().unwrap().iter();
    let found = devices.find(|view| view["device"] == device);
    found.unwrap_or_else(|| panic!("{device}: {list}")).clone()
}

/// Whether a device is there.
pub fn is_there(setup: &Setup, device: &str) -> Option<bool> {
    let list = setup.json(&["devices"]);
    let mut devices = list.as_array().unwrap().iter();
    let found = devices.find(|view| view["device"] == device).unwrap();
    found["online"].as_bool()
}

/// Waits until it is, or isn't.
pub fn wait_there(setup: &Setup, device: &str, online: bool) {
    wait_for(&format!("{device} to be there: {online}"), || {
        (is_there(setup, device) == Some(online)).then_some(())
    });
}

/// Why payloads of a device are in quarantine, newest first.
pub fn quarantined(setup: &Setup, device: &str) -> Vec<String> {
    let list = setup.json(&["quarantine"]);
    let rows = list.as_array().unwrap().iter();
    let mut own: Vec<&Value> = rows.filter(|row| row["source"] == device).collect();
    own.sort_by_key(|row| std::cmp::Reverse(row["id"].as_i64().unwrap()));
    own.iter()
        .map(|row| row["reason"].as_str().unwrap().to_owned())
        .collect()
}

/// The worker processes of a daemon.
pub fn workers(daemon: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split(' ').nth(2)?.parse().ok());
        parent == Some(daemon)
    });
    children.collect()
}

/// Sends a signal to a process that a test's own daemon started.
pub fn signal(pid: u32, name: &str) {
    let done = std::process::Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}
