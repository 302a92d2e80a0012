//! What link-vectors.json is made of: frames, streams, and two dialogues of both sides.

use firmware_protocols::link::gateway::{Gateway, Heard, Terms};
use firmware_protocols::link::{Device, Frame, Hello, Kind, Outbox, ToSend, Welcome, cobs, wire};
use firmware_protocols::{Command, Event, Form, Ident, Order, event};
use serde_json::{Value as Json, json};

use super::{hex, read};

const ABOUT: &str = "Test vectors of the Linli link (LINK.md). All bytes in hex. crc: CRC-32 of bytes. \
cobs: bytes and their coded form, without delimiters. frames: bytes on the line with both delimiters, \
and what they say. streams: bytes as they come, the names of the frames in them in their order, and how \
many bytes belong to none. hellos and welcomes: payloads, and what they say. malformed: payloads that a \
gateway refuses. dialogues: what both sides say, in their order, with the time in ms.";

/// The whole file.
pub fn file() -> String {
    write(&made())
}

fn made() -> Vec<(&'static str, Vec<Json>)> {
    let frames = frames();
    vec![
        ("crc", crcs()),
        ("cobs", stuffed()),
        (
            "frames",
            frames
                .iter()
                .map(|(name, frame)| shown(name, frame))
                .collect(),
        ),
        ("streams", streams(&frames)),
        ("hellos", hellos()),
        ("welcomes", welcomes()),
        ("malformed", malformed()),
        ("dialogues", vec![point_to_point(), polled()]),
    ]
}

fn crcs() -> Vec<Json> {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let all = [
        b"123456789".to_vec(),
        Vec::new(),
        vec![0],
        vec![0xff; 4],
        (0..=255).collect(),
    ];
    let one = |bytes: &Vec<u8>| json!({"bytes": hex(bytes), "crc": format!("{:08x}", crc.checksum(bytes))});
    all.iter().map(one).collect()
}

fn stuffed() -> Vec<Json> {
    let run = |length: usize| -> Vec<u8> { (0..length).map(|n| (n % 255) as u8 + 1).collect() };
    let all = [
        Vec::new(),
        vec![0],
        vec![0, 0],
        vec![0x11, 0x22, 0, 0x33],
        run(253),
        run(254),
        run(255),
        [run(254), vec![0]].concat(),
        [vec![0], run(254), vec![0, 1]].concat(),
        run(600),
        vec![0; 20],
    ];
    let one = |plain: &Vec<u8>| {
        let mut coded = Vec::new();
        cobs::encode(plain, &mut coded);
        json!({"plain": hex(plain), "coded": hex(&coded)})
    };
    all.iter().map(one).collect()
}

fn hello() -> Hello {
    let mut hello = Hello::new(4_711);
    hello.device = Some(Ident::new("bank-a").unwrap());
    hello.model = Some("LX-16".to_owned());
    hello.firmware = Some("2.4.1".to_owned());
    hello.capabilities = vec!["open".to_owned(), "codes".to_owned()];
    hello
}

fn small_hello() -> Hello {
    let mut hello = Hello::new(9);
    (hello.max, hello.window, hello.command_max) = (256, 1, 256);
    hello
}

fn welcome() -> Welcome {
    Welcome {
        boot: 4_711,
        version: 1,
        max: 1_024,
        window: 8,
        turn: 1_152,
    }
}

fn hellos() -> Vec<Json> {
    let all = [
        ("hello, every field", hello()),
        ("hello, the least", small_hello()),
    ];
    let one = |(name, hello): &(&str, Hello)| {
        let mut says = json!({"boot": hello.boot, "version": hello.version, "max": hello.max,
            "window": hello.window, "command": hello.command_max});
        for (key, text) in [
            ("device", hello.device.as_ref().map(Ident::as_str)),
            ("model", hello.model.as_deref()),
            ("firmware", hello.firmware.as_deref()),
        ] {
            if let Some(text) = text {
                says[key] = text.into();
            }
        }
        if !hello.capabilities.is_empty() {
            says["capabilities"] = hello.capabilities.clone().into();
        }
        assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(hello));
        json!({"name": name, "says": says, "payload": hex(&hello.encode())})
    };
    all.iter().map(one).collect()
}

fn welcomes() -> Vec<Json> {
    let welcome = welcome();
    assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
    let says = json!({"boot": welcome.boot, "version": welcome.version, "max": welcome.max,
        "window": welcome.window, "turn": welcome.turn});
    vec![json!({"name": "welcome", "says": says, "payload": hex(&welcome.encode())})]
}

fn malformed() -> Vec<Json> {
    let mut small = small_hello();
    small.max = 255;
    let mut no_window = small_hello();
    no_window.window = 0;
    let mut talkative = hello();
    talkative.capabilities = vec!["open".to_owned(); 17];
    let all = [
        ("nothing", Vec::new()),
        ("not a map", b"\x01".to_vec()),
        ("no boot", b"\xa0".to_vec()),
        ("a frame that is too small", small.encode()),
        ("a window of none", no_window.encode()),
        ("too many capabilities", talkative.encode()),
    ];
    let one = |(name, payload): &(&str, Vec<u8>)| {
        let reason = Hello::decode(payload).unwrap_err().0;
        json!({"name": name, "payload": hex(payload), "reason": reason})
    };
    all.iter().map(one).collect()
}

fn frames() -> Vec<(&'static str, Frame)> {
    let new = |from_gateway, kind, session, seq, ack, payload: &[u8]| {
        let mut frame = Frame::new(from_gateway, 3, kind);
        (frame.session, frame.seq, frame.ack) = (session, seq, ack);
        frame.payload = payload.to_vec();
        frame
    };
    let with = |mut frame: Frame, set: fn(&mut Frame)| {
        set(&mut frame);
        frame
    };
    let part = |offset, total, bytes: &[u8]| {
        wire::Part {
            left_ms: 9_500,
            offset,
            total,
            bytes: bytes.to_vec(),
        }
        .encode()
    };
    let open = command("o-1", Order::Open { compartment: 7 });
    let list = vec![0x5a; 1_500];
    let withheld = b"\xa3\x62id\x63k-1\x64kind\x65codes\x65bytes\x19\xa4\x10";
    let event = event_payload(1);
    vec![
        ("ask", new(true, Kind::Ask, 0, 0, 0, &[])),
        ("hello", new(false, Kind::Hello, 0, 1, 0, &hello().encode())),
        (
            "welcome frame",
            with(
                new(true, Kind::Welcome, 0x1234, 0, 1, &welcome().encode()),
                |f| f.over = true,
            ),
        ),
        (
            "ack of the device",
            new(false, Kind::Ack, 0x1234, 0, 0, &[]),
        ),
        ("events", new(false, Kind::Events, 0x1234, 1, 0, &event)),
        (
            "events, the device's turn is over",
            with(new(false, Kind::Events, 0x1234, 2, 1, &event), |f| {
                f.over = true
            }),
        ),
        ("acknowledged", new(true, Kind::Ack, 0x1234, 0, 1, &[])),
        (
            "poll",
            with(new(true, Kind::Ack, 0x1234, 0, 1, &[]), |f| f.over = true),
        ),
        (
            "busy",
            with(new(true, Kind::Ack, 0x1234, 0, 1, &[]), |f| f.busy = true),
        ),
        (
            "again",
            with(new(true, Kind::Ack, 0x1234, 0, 1, &[]), |f| f.again = true),
        ),
        (
            "command",
            new(
                true,
                Kind::Command,
                0x1234,
                1,
                2,
                &part(0, open.len() as u32, &open),
            ),
        ),
        (
            "command, first part",
            new(
                true,
                Kind::Command,
                0x1234,
                2,
                2,
                &part(0, 1_500, &list[..1_012]),
            ),
        ),
        (
            "command, last part",
            new(
                true,
                Kind::Command,
                0x1234,
                3,
                2,
                &part(1_012, 1_500, &list[1_012..]),
            ),
        ),
        (
            "command, withheld",
            with(
                new(
                    true,
                    Kind::Command,
                    0x1234,
                    4,
                    2,
                    &part(0, withheld.len() as u32, withheld),
                ),
                |f| f.withheld = true,
            ),
        ),
        (
            "numbers that go round",
            new(false, Kind::Events, 0xffff, 0xffff, 0xffff, &[0; 5]),
        ),
        (
            "the longest",
            new(false, Kind::Events, 1, 2, 3, &[0xff; 1_024]),
        ),
    ]
}

fn streams(frames: &[(&'static str, Frame)]) -> Vec<Json> {
    let of = |name: &str| frames.iter().find(|(n, _)| *n == name).unwrap().1.encode();
    let damaged = |name, at: usize| {
        let mut bytes = of(name);
        bytes[at] ^= 4;
        bytes
    };
    let all: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
        (
            "two frames",
            [of("ask"), of("poll")].concat(),
            vec!["ask", "poll"],
        ),
        (
            "noise before",
            [vec![0xaa, 0x55], of("ask")].concat(),
            vec!["ask"],
        ),
        (
            "noise with zeros before",
            [vec![0, 1, 2, 0, 0, 7], of("ask")].concat(),
            vec!["ask"],
        ),
        (
            "a bit is wrong",
            [damaged("events", 9), of("events")].concat(),
            vec!["events"],
        ),
        (
            "half a frame",
            [of("events")[..20].to_vec(), of("poll")].concat(),
            vec!["poll"],
        ),
        (
            "one zero between two frames",
            [&of("ask")[..], &of("poll")[1..]].concat(),
            vec!["ask", "poll"],
        ),
        (
            "longer than any frame",
            [vec![1; 2_000], of("ask")].concat(),
            vec!["ask"],
        ),
        ("nothing but a frame's end", of("ask")[5..].to_vec(), vec![]),
    ];
    let one = |(name, bytes, names): &(&str, Vec<u8>, Vec<&str>)| {
        let (found, noise) = read(bytes);
        assert_eq!(found.len(), names.len(), "{name}");
        json!({"name": name, "wire": hex(bytes), "frames": names, "noise": noise})
    };
    all.iter().map(one).collect()
}

/// One payload with each number from 1, of which the first so many are promised.
struct Store(u64, u64);

impl Outbox for Store {
    fn waiting(&self) -> usize {
        (self.1 - self.0) as usize
    }
    fn payload(&mut self, index: usize) -> Vec<u8> {
        event_payload(self.0 + index as u64 + 1)
    }
}

struct Dialogue {
    gateway: Gateway,
    device: Device,
    store: Store,
    said: Vec<Json>,
    now_ms: u64,
}

impl Dialogue {
    fn new(polled: bool) -> Self {
        let terms = Terms {
            polled,
            again_ms: 382,
            turn_bytes: 1_152,
        };
        let device = Ident::new("bank-a").unwrap();
        Self {
            gateway: Gateway::new(3, Some(device), terms, 0x1233),
            device: Device::new(3, polled, 115_200, hello()),
            store: Store(0, 0),
            said: Vec::new(),
            now_ms: 0,
        }
    }

    fn note(&mut self, frame: &Frame, lost: bool) {
        let from = if frame.from_gateway {
            "gateway"
        } else {
            "device"
        };
        let mut said = json!({"ms": self.now_ms, "from": from, "wire": hex(&frame.encode())});
        if lost {
            said["lost"] = true.into();
        }
        self.said.push(said);
    }

    /// The gateway says this.
    fn gateway_says(&mut self, frame: &Frame) {
        self.note(frame, false);
        let heard = self.device.heard(self.now_ms, frame);
        self.store.0 += heard.promised as u64;
    }

    /// The device says all that it has; the disk takes it. The nth is lost.
    fn device_says(&mut self, lost: Option<usize>) {
        let mut n = 0;
        while let Some(frame) = self.device.next(self.now_ms, &mut self.store) {
            self.note(&frame, Some(n) == lost);
            if Some(n) != lost {
                for heard in self.gateway.heard(self.now_ms, &frame) {
                    if let Heard::Events(ticket, _) = heard {
                        self.gateway.settled(self.now_ms, ticket, true);
                    }
                }
            }
            n += 1;
        }
    }

    /// Point to point: everything that both have to say.
    fn free(&mut self, lost: Option<usize>) {
        while let Some(frame) = self.gateway.next(self.now_ms) {
            self.gateway_says(&frame);
        }
        self.device_says(lost);
    }

    fn turn(&mut self, lost: Option<usize>) {
        let poll = self.gateway.poll(self.now_ms);
        self.gateway_says(&poll);
        self.device_says(lost);
        if lost.is_some() {
            self.gateway.silence();
        }
    }

    fn open(&mut self) {
        let payload = command("o-1", Order::Open { compartment: 7 });
        self.gateway.put(ToSend {
            id: "o-1".to_owned(),
            kind: "open",
            payload,
            until_ms: self.now_ms + 9_500,
        });
    }

    fn end(self, name: &str) -> Json {
        json!({"name": name, "frames": self.said})
    }
}

fn point_to_point() -> Json {
    let mut d = Dialogue::new(false);
    d.free(None); // ask, hello
    d.now_ms = 10;
    d.free(None); // welcome, ack
    d.store.1 = 1;
    d.now_ms = 1_000;
    d.free(None); // events 1
    d.now_ms = 1_010;
    d.free(None); // acknowledged
    d.store.1 = 4;
    d.now_ms = 1_500;
    d.free(Some(0)); // events 2 (lost), 3, 4
    d.now_ms = 1_510;
    d.free(None); // again; 2, 3, 4
    d.now_ms = 1_520;
    d.free(None); // acknowledged
    d.open();
    d.now_ms = 1_600;
    d.free(None); // command; read
    d.now_ms = 3_700;
    d.free(None); // beat, ack
    d.end("point to point")
}

fn polled() -> Json {
    let mut d = Dialogue::new(true);
    d.turn(None);
    d.now_ms = 10;
    d.turn(None);
    d.store.1 = 2;
    d.now_ms = 30;
    d.turn(None);
    d.now_ms = 50;
    d.turn(None);
    d.store.1 = 3;
    d.now_ms = 70;
    d.turn(Some(0));
    d.now_ms = 170;
    d.turn(None);
    d.open();
    d.now_ms = 190;
    d.turn(None);
    d.end("polled")
}

fn command(id: &str, order: Order) -> Vec<u8> {
    Command {
        id: id.to_owned(),
        expires: 1_780_000_010_000,
        ttl_ms: 10_000,
        order,
    }
    .encode(Form::Cbor)
}

fn event_payload(seq: u64) -> Vec<u8> {
    let event = Event {
        boot: 4_711,
        seq,
        when: event::When::Age(40),
        kind: firmware_protocols::Kind::Compartment {
            compartment: 7,
            door: event::Door::Closed,
            occupied: None,
        },
    };
    event::encode(&[event], Form::Cbor)
}

fn shown(name: &str, frame: &Frame) -> Json {
    let flags = [
        (frame.over, "over"),
        (frame.busy, "busy"),
        (frame.again, "again"),
        (frame.withheld, "withheld"),
    ];
    let flags: Vec<&str> = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, word)| *word)
        .collect();
    json!({
        "name": name,
        "wire": hex(&frame.encode()),
        "from": if frame.from_gateway { "gateway" } else { "device" },
        "address": frame.address,
        "kind": format!("{:?}", frame.kind).to_lowercase(),
        "flags": flags,
        "session": frame.session,
        "seq": frame.seq,
        "ack": frame.ack,
        "payload": hex(&frame.payload),
    })
}

fn write(groups: &[(&str, Vec<Json>)]) -> String {
    let groups = groups.iter().map(|(name, vectors)| {
        let lines: Vec<String> = vectors.iter().map(|v| format!("    {v}")).collect();
        format!("  \"{name}\": [\n{}\n  ]", lines.join(",\n"))
    });
    let about = json!(ABOUT);
    let groups: Vec<String> = groups.collect();
    format!("{{\n  \"about\": {about},\n{}\n}}\n", groups.join(",\n"))
}
