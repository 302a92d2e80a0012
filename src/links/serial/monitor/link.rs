//! The Linli link, in words.

use firmware_protocols::Command;
use firmware_protocols::command::Order;
use firmware_protocols::event::{self, Kind as Event};
use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::wire::Part;
use firmware_protocols::link::{Frame, Hello, Kind, Link, VERSION};

use super::Said;

/// Frames of the link, as what they say.
#[derive(Debug, Clone, Copy)]
pub struct Words;

impl Framing for Words {
    type Frame = Said;

    const MAX_BYTES: usize = Link::MAX_BYTES;

    fn find(&self, buffer: &[u8]) -> Found<Said> {
        match Link.find(buffer) {
            Found::Frame { frame, used } => Found::Frame {
                frame: words(&frame),
                used,
            },
            Found::Noise(bytes) => Found::Noise(bytes),
            Found::More => Found::More,
        }
    }
}

/// What a frame says.
pub fn words(frame: &Frame) -> Said {
    let address = frame.address;
    let head = match frame.from_gateway {
        true => format!("to {address}"),
        false => format!("{address}"),
    };
    let mut said = match frame.version {
        VERSION => content(frame),
        version => Said::personal(format!("a frame of version {version}")),
    };
    let mut marks = String::new();
    for (set, word) in [
        (frame.over, "over"),
        (frame.busy, "busy"),
        (frame.again, "send again"),
        (frame.withheld, "withheld"),
    ] {
        if set {
            marks.push_str(&format!(" [{word}]"));
        }
    }
    let (session, seq, ack) = (frame.session, frame.seq, frame.ack);
    said.words = format!(
        "{head}: {} (session {session}, number {seq}, acknowledges {ack}){marks}",
        said.words
    );
    said.from_gateway(frame.from_gateway)
}

fn content(frame: &Frame) -> Said {
    match frame.kind {
        Kind::Hello => match Hello::decode(&frame.payload) {
            Ok(hello) => Said::open(format!("hello, {}", hello_words(&hello))),
            Err(why) => Said::open(format!("a hello that can't be read: {why}")),
        },
        Kind::Welcome => Said::open("welcome"),
        Kind::Ask => Said::open("who is there?"),
        Kind::Ack => Said::open(if frame.over {
            "your turn"
        } else {
            "nothing new"
        }),
        Kind::Events => events(&frame.payload),
        Kind::Command => command(&frame.payload),
        Kind::Other(kind) => Said::personal(format!("kind {kind}, which isn't known")),
    }
}

/// What a device says of itself.
pub fn hello_words(hello: &Hello) -> String {
    let mut words = match &hello.device {
        Some(device) => format!("device {device}"),
        None => "a device without an id".to_string(),
    };
    for text in [&hello.model, &hello.firmware].into_iter().flatten() {
        words.push_str(&format!(", {text}"));
    }
    format!("{words}, boot {}", hello.boot)
}

fn events(payload: &[u8]) -> Said {
    let Ok(events) = event::decode(payload) else {
        return Said::personal("events that can't be read");
    };
    let mut personal = false;
    let mut words = Vec::new();
    for event in &events {
        match event {
            Ok(event) => {
                let said = event_words(&event.kind);
                personal |= said.personal;
                words.push(format!("#{} {}", event.seq, said.words));
            }
            Err(_) => {
                personal = true;
                words.push("one that can't be read".to_string());
            }
        }
    }
    let words = format!("events: {}", words.join("; "));
    match personal {
        true => Said::personal(words),
        false => Said::open(words),
    }
}

fn event_words(kind: &Event) -> Said {
    match kind {
        Event::Access { door, outcome, .. } => {
            Said::personal(format!("access at {door}: {}", outcome.word()))
        }
        Event::Keypad { .. } => Said::personal("digits (not shown)"),
        Event::Scan { .. } => Said::personal("a symbol (not shown)"),
        Event::Intent { .. } => Said::personal("an intent (not shown)"),
        Event::Rating { .. } => Said::personal("a rating (not shown)"),
        Event::Reading { .. } => Said::open("reading"),
        Event::Compartment {
            compartment,
            door,
            occupied,
        } => {
            let occupied = match occupied {
                Some(true) => ", occupied",
                Some(false) => ", empty",
                None => "",
            };
            Said::open(format!(
                "compartment {compartment} {}{occupied}",
                door.word()
            ))
        }
        Event::Result {
            command, outcome, ..
        } => Said::open(format!("result of {command}: {}", outcome.word())),
        Event::Alarm { alarm, .. } => Said::open(format!("alarm: {alarm}")),
        Event::Hello {
            model, firmware, ..
        } => Said::open(format!("hello: {model} {firmware}")),
    }
}

fn command(payload: &[u8]) -> Said {
    let Some(part) = Part::decode(payload) else {
        return Said::personal("a command that can't be read");
    };
    if part.offset != 0 || !part.is_last() {
        return Said::personal(format!("a part of a command: {part:?}"));
    }
    let left = part.left_ms;
    match Command::decode(&part.bytes) {
        Ok(command) => {
            let head = |what: &str| format!("command {}: {what}, good for {left} ms", command.id);
            match &command.order {
                Order::Open { compartment } => {
                    Said::open(head(&format!("OPEN compartment {compartment}")))
                }
                Order::Identify => Said::open(head("identify")),
                Order::Show { tone, .. } => Said::personal(head(&format!(
                    "show a text (not shown here), {}",
                    tone.word()
                ))),
                Order::Codes { digests, .. } => {
                    Said::personal(head(&format!("{} codes (not shown)", digests.len())))
                }
            }
        }
        // Withheld: its id and kind only, or something damaged.
        Err(_) => Said::personal("a command that can't be read"),
    }
}
