//! Both sides of the Linli link against each other, over a channel that does what the bytes say.
//!
//! The fault model: each way of the channel keeps the order; a frame may be lost, damaged in a bit,
//! repeated at once, and come after noise. Either side may restart at any time; the device keeps its
//! events and the ids of the commands that it carried out, the gateway keeps what is on its disk. The
//! disk may refuse. After the last byte nothing more goes wrong, and all must come to its end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::gateway::{Gateway, Heard, Terms};
use firmware_protocols::link::wire::{Kind, Part};
use firmware_protocols::link::{Device, Frame, Hello, Link, Outbox, Ticket, ToSend};

/// The device's address.
const ADDRESS: u8 = 5;
/// More time than anything takes once nothing goes wrong.
const CALM_MS: u64 = 120_000;
/// How many events and commands there are at most.
const EVENTS_MAX: u32 = 200;
const COMMANDS_MAX: u32 = 24;

/// Every event comes to the disk and is promised, none before it is on disk, none before an older
/// one; every command is carried out once and in its time, with all its bytes.
pub fn link_session(bytes: &[u8]) {
    let Some((&first, schedule)) = bytes.split_first() else {
        return;
    };
    let mut world = World::new(first);
    for &step in schedule.iter().take(4_096) {
        world.happen(step);
    }
    world.calm();
}

/// The payloads of the device: each is one event's number.
struct Store(VecDeque<u32>);

impl Outbox for Store {
    fn waiting(&self) -> usize {
        self.0.len()
    }
    fn payload(&mut self, index: usize) -> Vec<u8> {
        self.0[index].to_be_bytes().to_vec()
    }
}

/// What a way of the channel does with the next frame.
#[derive(Default)]
struct Way {
    lose: u8,
    damage: Option<u8>,
    repeat: bool,
    noise: Vec<u8>,
    buffer: Vec<u8>,
}

struct World {
    polled: bool,
    now_ms: u64,
    gateway: Gateway,
    device: Device,
    boot: u32,
    session: u16,
    sessions: u32,
    to_device: Way,
    to_gateway: Way,
    store: Store,
    events: u32,
    /// Handed out and not settled yet.
    on_way_to_disk: VecDeque<(Ticket, u32)>,
    disk: BTreeSet<u32>,
    handed_highest: u32,
    disk_refuses: u8,
    disk_sleeps: bool,
    held: bool,
    commands: u32,
    /// The commands that are good, with their payload and their end.
    good: BTreeMap<String, (Vec<u8>, u64)>,
    ends: BTreeSet<u64>,
    carried_out: BTreeSet<String>,
    /// In which session each came: within one it comes once.
    came: BTreeSet<(String, u32)>,
}

impl World {
    fn new(first: u8) -> Self {
        let polled = first & 1 != 0;
        let mut hello = Hello::new(1);
        hello.window = 1 + (first >> 1) % 8;
        hello.max = if first & 16 != 0 { 256 } else { 1_024 };
        Self {
            polled,
            now_ms: 0,
            gateway: gateway(polled, u16::from(first) << 8),
            device: Device::new(ADDRESS, polled, 115_200, hello),
            boot: 1,
            session: u16::from(first) << 8,
            sessions: 0,
            to_device: Way::default(),
            to_gateway: Way::default(),
            store: Store(VecDeque::new()),
            events: 0,
            on_way_to_disk: VecDeque::new(),
            disk: BTreeSet::new(),
            handed_highest: 0,
            disk_refuses: 0,
            disk_sleeps: false,
            held: false,
            commands: 0,
            good: BTreeMap::new(),
            ends: BTreeSet::new(),
            carried_out: BTreeSet::new(),
            came: BTreeSet::new(),
        }
    }

    fn happen(&mut self, step: u8) {
        let more = step >> 4;
        match step & 15 {
            0 => self.to_gateway.lose = more + 1,
            1 => self.to_device.lose = more + 1,
            2 => self.to_gateway.repeat = true,
            3 => self.to_device.repeat = true,
            4 => self.to_gateway.damage = Some(more),
            5 => self.to_device.damage = Some(more),
            6 => self.to_gateway.noise = vec![more * 17; usize::from(more)],
            7 => self.to_device.noise = vec![more; usize::from(more) * 100],
            8 => self.disk_refuses = more + 1,
            9 => self.disk_sleeps = !self.disk_sleeps,
            10 => {
                self.held = !self.held;
                self.gateway.hold(self.held);
            }
            11 => match more {
                0..=4 => self.restart_device(),
                5..=8 => self.restart_gateway(),
                _ => {}
            },
            12 => self.command(more),
            13 => (0..=more).for_each(|_| self.event()),
            _ => {}
        }
        self.now_ms += [0, 1, 20, 150, 400, 1_100, 2_500, 7_000][usize::from(more & 7)];
        self.exchange();
    }

    fn event(&mut self) {
        if self.events < EVENTS_MAX {
            self.events += 1;
            self.store.0.push_back(self.events);
        }
    }

    fn command(&mut self, more: u8) {
        if self.commands == COMMANDS_MAX {
            return;
        }
        self.commands += 1;
        let (kind, length) = match more {
            0..=9 => ("open", 10 + usize::from(more) * 50),
            _ => ("codes", 300 * usize::from(more)),
        };
        let id = format!("c-{}", self.commands);
        let mut payload = id.clone().into_bytes();
        payload.resize(length, more);
        let life_ms = [50, 3_000, 30_000, 1_000_000][usize::from(more & 3)];
        let until_ms = self.now_ms + life_ms;
        if kind == "codes" {
            self.good.retain(|_, (payload, _)| payload.len() < 3_000);
        }
        self.good.insert(id.clone(), (payload.clone(), until_ms));
        self.ends.insert(until_ms);
        self.gateway.put(ToSend {
            id,
            kind,
            payload,
            until_ms,
        });
    }

    fn restart_device(&mut self) {
        self.boot += 1;
        self.device = Device::new(ADDRESS, self.polled, 115_200, Hello::new(self.boot));
        self.to_device.buffer.clear();
    }

    /// What isn't on disk is forgotten, and so are the commands.
    fn restart_gateway(&mut self) {
        self.session = self.session.wrapping_mul(31).wrapping_add(7_919);
        self.gateway = gateway(self.polled, self.session);
        self.gateway.hold(self.held);
        self.on_way_to_disk.clear();
        self.good.clear();
        self.to_gateway.buffer.clear();
    }

    fn exchange(&mut self) {
        self.disk_works();
        if self.polled {
            self.turn();
        } else {
            self.free();
        }
        self.disk_works();
    }

    fn turn(&mut self) {
        let poll = self.gateway.poll(self.now_ms);
        self.check_sent(&poll);
        for frame in self.to_device.carry(&poll) {
            self.device_hears(&frame);
        }
        let mut over = false;
        let mut sent = 0;
        while let Some(frame) = self.device.next(self.now_ms, &mut self.store) {
            sent += 1;
            assert!(sent <= 9, "a turn ends");
            for frame in self.to_gateway.carry(&frame) {
                over |= frame.over;
                self.gateway_hears(&frame);
            }
            if frame.over {
                assert_eq!(self.device.next(self.now_ms, &mut self.store), None);
            }
        }
        if !over {
            self.gateway.silence();
        }
    }

    fn free(&mut self) {
        for _ in 0..3 {
            let mut sent = 0;
            while let Some(frame) = self.gateway.next(self.now_ms) {
                sent += 1;
                assert!(sent <= 3 + 70, "has always more to say");
                self.check_sent(&frame);
                for frame in self.to_device.carry(&frame) {
                    self.device_hears(&frame);
                }
            }
            let mut sent = 0;
            while let Some(frame) = self.device.next(self.now_ms, &mut self.store) {
                sent += 1;
                assert!(sent <= 20, "has always more to say");
                for frame in self.to_gateway.carry(&frame) {
                    self.gateway_hears(&frame);
                }
            }
        }
    }

    fn check_sent(&self, frame: &Frame) {
        if frame.kind == Kind::Command {
            let part = Part::decode(&frame.payload).unwrap();
            let end = self.now_ms + u64::from(part.left_ms);
            assert!(part.left_ms > 0, "sent after its end");
            assert!(self.ends.contains(&end), "says a wrong end");
            assert!(!frame.withheld, "there is room for all");
        }
    }

    fn device_hears(&mut self, frame: &Frame) {
        let heard = self.device.heard(self.now_ms, frame);
        for _ in 0..heard.promised {
            let event = self.store.0.pop_front().unwrap();
            assert!(self.disk.contains(&event), "{event} was promised too early");
        }
        let Some(command) = heard.command else { return };
        let text = String::from_utf8_lossy(&command.payload);
        let digits = |c: &char| *c == 'c' || *c == '-' || c.is_ascii_digit();
        let id: String = text.chars().take_while(digits).collect();
        assert!(
            self.came.insert((id.clone(), self.sessions)),
            "{id} came twice in one session"
        );
        if self.carried_out.insert(id.clone())
            && let Some((payload, until_ms)) = self.good.get(&id)
        {
            assert_eq!(*payload, command.payload);
            assert!(self.now_ms < *until_ms);
        }
    }

    fn gateway_hears(&mut self, frame: &Frame) {
        for heard in self.gateway.heard(self.now_ms, frame) {
            match heard {
                Heard::Hello(hello) => {
                    assert_eq!(hello.boot, self.boot);
                    self.sessions += 1;
                }
                Heard::Events(ticket, payload) => {
                    let event = u32::from_be_bytes(payload.try_into().unwrap());
                    assert!(
                        event <= self.handed_highest + 1,
                        "{event} overtook {}",
                        self.handed_highest + 1
                    );
                    self.handed_highest = self.handed_highest.max(event);
                    self.on_way_to_disk.push_back((ticket, event));
                }
                Heard::Read(command) => {
                    assert!(
                        self.carried_out.contains(&command.id),
                        "read before it came"
                    );
                    self.good.remove(&command.id);
                }
                Heard::Refused(why) => panic!("{why}"),
            }
        }
    }

    fn disk_works(&mut self) {
        if self.disk_sleeps || self.held {
            return;
        }
        while let Some((ticket, event)) = self.on_way_to_disk.pop_front() {
            let taken = self.disk_refuses == 0;
            self.disk_refuses = self.disk_refuses.saturating_sub(1);
            if taken {
                self.disk.insert(event);
            }
            self.gateway.settled(self.now_ms, ticket, taken);
        }
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self) {
        self.to_device.calm();
        self.to_gateway.calm();
        self.disk_refuses = 0;
        self.disk_sleeps = false;
        self.held = false;
        self.gateway.hold(false);
        self.event();
        let end = self.now_ms + CALM_MS;
        let done = |world: &Self| {
            let due = |(_, until): &(Vec<u8>, u64)| *until > world.now_ms;
            world.store.0.is_empty() && !world.good.values().any(due)
        };
        while !done(self) {
            assert!(self.now_ms < end, "it came to no end: {self}");
            self.now_ms += 50;
            self.exchange();
        }
        assert_eq!(self.disk, (1..=self.events).collect());
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (waiting, good) = (&self.store.0, self.good.keys());
        writeln!(f, "waiting {waiting:?}, commands {good:?}")?;
        writeln!(f, "{:?}", self.gateway)?;
        writeln!(f, "{:?}", self.device)
    }
}

impl Way {
    fn calm(&mut self) {
        *self = Self {
            buffer: std::mem::take(&mut self.buffer),
            ..Self::default()
        };
    }

    /// What comes out of it.
    fn carry(&mut self, frame: &Frame) -> Vec<Frame> {
        self.buffer.append(&mut self.noise);
        let mut bytes = frame.encode();
        if let Some(bit) = self.damage.take() {
            let at = usize::from(bit) * 37 % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
        }
        if self.lose > 0 {
            self.lose -= 1;
            bytes.clear();
        }
        if std::mem::take(&mut self.repeat) {
            let again = bytes.clone();
            bytes.extend(again);
        }
        self.buffer.extend(bytes);
        let mut out = Vec::new();
        loop {
            let used = match Link.find(&self.buffer) {
                Found::Frame { frame, used } => {
                    out.push(frame);
                    used
                }
                Found::Noise(used) => used,
                Found::More => return out,
            };
            self.buffer.drain(..used);
        }
    }
}

fn gateway(polled: bool, session: u16) -> Gateway {
    let terms = Terms {
        polled,
        again_ms: 400,
        turn_bytes: 20,
    };
    Gateway::new(ADDRESS, None, terms, session)
}
