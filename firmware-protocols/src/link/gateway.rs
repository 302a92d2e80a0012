//! The gateway's side of the link, for one device.
//!
//! Whoever drives it hands over what comes and asks for what is to be sent:
//!
//! * [`Gateway::heard`] for each frame of the device; the events that it returns go to the disk, in
//!   their order, and [`Gateway::settled`] says in the same order what became of them;
//! * [`Gateway::put`] for each command;
//! * point to point: [`Gateway::next`] until there is nothing, and again at [`Gateway::due`];
//! * several devices on a line: [`Gateway::poll`] in each of the device's turns, then `heard` until
//!   a frame says that the turn is over, or [`Gateway::silence`] when none does in time.
//!
//! Invariant: no frame acknowledges events that weren't said to be on disk.
//! Invariant: no command is sent once its time is over.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::commands::{Commands, Room, ToSend};
use super::wire::{Frame, Kind};
use super::{
    ALIVE_MS, ASK_MS, BEAT_MS, Hello, PAYLOAD_MAX_BYTES, REFUSED_MS, VERSION, WINDOW_MAX, Welcome,
    later,
};
use crate::Ident;
use crate::fields::Malformed;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Whether several devices share the line, and each speaks only when it is asked.
    pub polled: bool,
    /// Point to point: after how long a command is sent again, ms ([`super::again_ms`]).
    pub again_ms: u64,
    /// Several devices: the bytes of payload with which a turn ends.
    pub turn_bytes: u16,
}

/// What a frame of the device means.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A new session: the device has started, or lost its session.
    Hello(Hello),
    /// Events, to be handed on in this order.
    Events(Ticket, Vec<u8>),
    /// The device has read a command whole.
    Read(ToSend),
    /// It can't be spoken with.
    Refused(Refusal),
}

/// Why a device can't be spoken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It speaks a version that we don't.
    Version(u8),
    /// It says that it is another device.
    Other(Ident),
    /// Its hello can't be read.
    Malformed(Malformed),
}

/// Which events an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    session: u16,
    round: u16,
    seq: u16,
}

/// The gateway's side, for one device.
#[derive(Debug)]
pub struct Gateway {
    address: u8,
    device: Option<Ident>,
    terms: Terms,
    /// The number of the current session, or of the last one.
    session: u16,
    link: Option<Linked>,
    commands: Commands,
    heard_ms: Option<u64>,
    sent_ms: Option<u64>,
    /// Point to point: when a hello is asked for.
    ask_ms: u64,
    held: bool,
}

#[derive(Debug)]
struct Linked {
    hello: Hello,
    /// The hello's number.
    number: u16,
    /// The device has used the session.
    confirmed: bool,
    welcome_due: bool,
    /// All events up to this number are on disk.
    acked: u16,
    /// All up to this one were handed on.
    handed: u16,
    /// How often the disk refused: answers of an earlier round count for nothing.
    round: u16,
    ack_due: bool,
    /// Everything after `acked` is wanted again.
    again: bool,
    /// The last frame said so.
    told_again: bool,
    /// A number was skipped, and what was skipped hasn't come yet.
    gap: bool,
    /// The disk refused, and until then nothing is tried.
    refused_until: Option<u64>,
}

impl Gateway {
    /// For the device at `address`, which may only be `device` if it says who it is. `session` is any
    /// number that the last start most likely didn't use: random.
    pub fn new(address: u8, device: Option<Ident>, terms: Terms, session: u16) -> Self {
        Self {
            address,
            device,
            terms,
            session,
            link: None,
            commands: Commands::default(),
            heard_ms: None,
            sent_ms: None,
            ask_ms: 0,
            held: false,
        }
    }

    /// The device's address.
    pub fn address(&self) -> u8 {
        self.address
    }

    /// The hello of the session, if there is one.
    pub fn hello(&self) -> Option<&Hello> {
        self.link.as_ref().map(|link| &link.hello)
    }

    /// Whether there is a session, and the device was heard lately.
    pub fn is_alive(&self, now_ms: u64) -> bool {
        let heard = self.heard_ms;
        let lately = heard.is_some_and(|heard| now_ms.saturating_sub(heard) < ALIVE_MS);
        lately && self.link.is_some()
    }

    /// How many commands were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.commands.dropped()
    }

    /// The id of a command, other than a list of codes, of which the last frame that was handed out is
    /// the whole or the rest. From then on the device may carry it out, whether it says so or not.
    pub fn take_left(&mut self) -> Option<String> {
        self.commands.take_left()
    }

    /// Whether commands wait.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// The line is away, or the device is silent: it counts as gone until it is heard again. The
    /// session stays.
    pub fn line_lost(&mut self) {
        self.heard_ms = None;
        self.sent_ms = None;
        self.silence();
    }

    /// Adds a command. It is sent until the device has read it, or its time is over.
    pub fn put(&mut self, command: ToSend) {
        self.commands.put(command);
    }

    /// Whether the gateway keeps events waiting although they have come, because the device sends
    /// more than it may: it is told, and sends nothing again meanwhile.
    pub fn hold(&mut self, held: bool) {
        if self.held != held {
            self.held = held;
            if let Some(link) = &mut self.link {
                link.ack_due = true;
            }
        }
    }

    /// A frame came. What isn't the device's is passed over.
    pub fn heard(&mut self, now_ms: u64, frame: &Frame) -> Vec<Heard> {
        if frame.from_gateway || frame.address != self.address {
            return Vec::new();
        }
        self.heard_ms = Some(now_ms);
        if frame.version != VERSION {
            return [Heard::Refused(Refusal::Version(frame.version))].into();
        }
        if frame.kind == Kind::Hello {
            self.ask_ms = now_ms.saturating_add(ASK_MS);
            return self.hello_came(frame).into_iter().collect();
        }
        let session = self.session;
        let Some(link) = self.link.as_mut().filter(|_| frame.session == session) else {
            if self.link.is_none() {
                self.ask_ms = self.ask_ms.min(now_ms);
            }
            return Vec::new();
        };
        link.confirmed = true;
        link.welcome_due = false;
        let mut heard: Vec<Heard> = Vec::new();
        heard.extend(self.commands.read(frame.ack).map(Heard::Read));
        if frame.kind == Kind::Events {
            let ticket = link.events_came(session, frame.seq);
            heard.extend(ticket.map(|ticket| Heard::Events(ticket, frame.payload.clone())));
        }
        if self.terms.polled && frame.over {
            link.again = link.gap || link.again && !link.told_again;
        }
        heard
    }

    /// Whether events came to the disk (or into quarantine on it), or not. To be said in the order in
    /// which they were handed out.
    pub fn settled(&mut self, now_ms: u64, ticket: Ticket, on_disk: bool) {
        let session = self.session;
        let Some(link) = self.link.as_mut().filter(|_| ticket.session == session) else {
            return;
        };
        if ticket.round != link.round || ticket.seq != link.acked.wrapping_add(1) {
            return;
        }
        link.ack_due = true;
        if on_disk {
            link.acked = ticket.seq;
            return;
        }
        link.round = link.round.wrapping_add(1);
        link.handed = link.acked;
        link.refused_until = Some(now_ms.saturating_add(REFUSED_MS));
    }

    /// Point to point: the next frame to be sent, if there is one.
    pub fn next(&mut self, now_ms: u64) -> Option<Frame> {
        self.disk_may_take_again(now_ms);
        let frame = self.due_frame(now_ms)?;
        self.sent_ms = Some(now_ms);
        Some(frame)
    }

    /// Point to point: when [`Self::next`] has something, if nothing happens meanwhile.
    pub fn due(&self, now_ms: u64) -> u64 {
        let link = match &self.link {
            Some(link) if link.welcome_due => return now_ms,
            Some(link) if link.confirmed => link,
            _ => return self.ask_ms,
        };
        if link.ack_due {
            return now_ms;
        }
        let beat = self.sent_ms.map_or(now_ms, |sent| sent + BEAT_MS);
        let command = self.commands.due(now_ms, self.terms.again_ms);
        let disk = link.refused_until;
        let rest = [Some(beat), command, disk].into_iter().flatten();
        rest.min().unwrap_or(beat).max(now_ms)
    }

    /// Several devices on a line: the frame that gives the device its turn.
    pub fn poll(&mut self, now_ms: u64) -> Frame {
        self.disk_may_take_again(now_ms);
        let mut frame = match &mut self.link {
            Some(link) if link.welcome_due => {
                link.welcome_due = false;
                self.welcome()
            }
            Some(link) if link.confirmed => self.command(now_ms, 0).unwrap_or_else(|| self.ack()),
            Some(_) => self.ack(),
            None => Frame::new(true, self.address, Kind::Ask),
        };
        frame.over = true;
        self.sent_ms = Some(now_ms);
        frame
    }

    /// Several devices on a line: the turn wasn't ended in time. What was sent in it may be lost.
    pub fn silence(&mut self) {
        if let Some(link) = &mut self.link {
            link.again = true;
        }
    }

    fn due_frame(&mut self, now_ms: u64) -> Option<Frame> {
        let Some(link) = &mut self.link else {
            return self.ask(now_ms);
        };
        if link.welcome_due {
            link.welcome_due = false;
            let mut welcome = self.welcome();
            welcome.over = true;
            return Some(welcome);
        }
        if !link.confirmed {
            return self.ask(now_ms);
        }
        if let Some(command) = self.command(now_ms, self.terms.again_ms) {
            return Some(command);
        }
        let beat = self
            .sent_ms
            .is_none_or(|sent| now_ms.saturating_sub(sent) >= BEAT_MS);
        let due = self.link.as_ref().is_some_and(|link| link.ack_due);
        if !beat && !due {
            return None;
        }
        let mut ack = self.ack();
        ack.over = beat;
        if let Some(link) = &mut self.link {
            link.again = false;
        }
        Some(ack)
    }

    fn ask(&mut self, now_ms: u64) -> Option<Frame> {
        if now_ms < self.ask_ms {
            return None;
        }
        self.ask_ms = now_ms.saturating_add(ASK_MS);
        Some(Frame::new(true, self.address, Kind::Ask))
    }

    fn hello_came(&mut self, frame: &Frame) -> Option<Heard> {
        let hello = match Hello::decode(&frame.payload) {
            Ok(hello) => hello,
            Err(why) => return Some(Heard::Refused(Refusal::Malformed(why))),
        };
        if let (Some(says), Some(is)) = (&hello.device, &self.device)
            && says != is
        {
            self.link = None;
            return Some(Heard::Refused(Refusal::Other(says.clone())));
        }
        if let Some(link) = &mut self.link
            && (link.hello.boot, link.number) == (hello.boot, frame.seq)
        {
            link.welcome_due = true;
            return None;
        }
        self.session = self.session.wrapping_add(1).max(1);
        self.commands.restart();
        self.link = Some(Linked::new(hello.clone(), frame.seq));
        Some(Heard::Hello(hello))
    }

    fn welcome(&self) -> Frame {
        let mut frame = Frame::new(true, self.address, Kind::Welcome);
        let Some(link) = &self.link else {
            return frame;
        };
        frame.session = self.session;
        frame.ack = link.number;
        frame.payload = Welcome {
            boot: link.hello.boot,
            version: VERSION.min(link.hello.version),
            max: link.hello.max.min(PAYLOAD_MAX_BYTES as u16),
            window: link.hello.window.min(WINDOW_MAX),
            turn: self.terms.turn_bytes.max(1),
        }
        .encode();
        frame
    }

    fn ack(&mut self) -> Frame {
        let frame = self.framed(Kind::Ack);
        if let Some(link) = &mut self.link {
            link.ack_due = false;
        }
        frame
    }

    /// A command's frame; it acknowledges too.
    fn command(&mut self, now_ms: u64, again_ms: u64) -> Option<Frame> {
        let hello = &self.link.as_ref()?.hello;
        let room = Room {
            payload: usize::from(hello.max),
            command: hello.command_max as usize,
        };
        let outgoing = self.commands.next(now_ms, again_ms, room)?;
        let mut frame = self.framed(Kind::Command);
        frame.seq = outgoing.seq;
        frame.withheld = outgoing.withheld;
        frame.payload = outgoing.part.encode();
        if let Some(link) = &mut self.link {
            link.ack_due = false;
            link.again &= self.terms.polled;
        }
        Some(frame)
    }

    /// A frame of the session, with all that the device is to know.
    fn framed(&mut self, kind: Kind) -> Frame {
        let mut frame = Frame::new(true, self.address, kind);
        if let Some(link) = &mut self.link {
            frame.session = self.session;
            frame.ack = link.acked;
            frame.busy = self.held || link.refused_until.is_some();
            frame.again = link.again && !frame.busy;
            link.told_again = frame.again;
        }
        frame
    }

    fn disk_may_take_again(&mut self, now_ms: u64) {
        if let Some(link) = &mut self.link
            && link
                .refused_until
                .take_if(|until| *until <= now_ms)
                .is_some()
        {
            link.again = true;
            link.ack_due = true;
        }
    }
}

impl Linked {
    fn new(hello: Hello, number: u16) -> Self {
        Self {
            hello,
            number,
            confirmed: false,
            welcome_due: true,
            acked: 0,
            handed: 0,
            round: 0,
            ack_due: false,
            again: false,
            told_again: false,
            gap: false,
            refused_until: None,
        }
    }

    /// Events of this number came: whether they are the next.
    fn events_came(&mut self, session: u16, seq: u16) -> Option<Ticket> {
        if self.refused_until.is_some() {
            return None;
        }
        let expected = self.handed.wrapping_add(1);
        if seq != expected {
            let skipped = later(seq, expected);
            // Wanted again once a gap: what is on its way tells of the same one.
            self.again |= skipped && !self.gap;
            self.gap |= skipped;
            // What comes again is asked after.
            self.ack_due = true;
            return None;
        }
        if self.handed.wrapping_sub(self.acked) >= u16::from(WINDOW_MAX) {
            self.gap = true;
            return None;
        }
        self.gap = false;
        self.handed = seq;
        Some(Ticket {
            session,
            round: self.round,
            seq,
        })
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Version(version) => write!(
                f,
                "speaks version {version} of the link, and this gateway {VERSION}: bring both to the same"
            ),
            Self::Other(id) => write!(
                f,
                "says that it is '{id}': correct serial.address or the wires, as commands would reach the wrong one"
            ),
            Self::Malformed(why) => {
                let why = why.to_string();
                write!(f, "its hello can't be read ({why}): mend its firmware")
            }
        }
    }
}
