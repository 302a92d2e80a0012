//! The device's side of the link. The simulator speaks through it; the reference in C does the same.
//!
//! It keeps no events: they are the firmware's, which hands them out by [`Outbox`] each time that they
//! are sent, so that their `age` is worked out anew, and forgets them when it is told that they are
//! on disk.

use alloc::vec::Vec;

use super::wire::{Frame, Kind, Part};
use super::{
    AGAIN_LONGEST_MS, ALIVE_MS, BUSY_MS, HELLO_MS, Hello, VERSION, WINDOW_MAX, Welcome, again_ms,
    later,
};

/// The firmware's events that aren't promised yet, oldest first, in payloads as over MQTT.
pub trait Outbox {
    /// How many payloads there are.
    fn waiting(&self) -> usize;

    /// One of them, to be sent now; 0 is the oldest. Asked for again, it holds the same events, even
    /// if more have come meanwhile; only `age` may differ. At most [`Device::payload_max`] bytes.
    fn payload(&mut self, index: usize) -> Vec<u8>;
}

/// What a frame of the gateway means to the firmware.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// So many of the oldest payloads are on disk: forget them.
    pub promised: usize,
    /// A command, whole.
    pub command: Option<Received>,
}

/// A command that came.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The command as over MQTT; if it is withheld, its `id`, its `kind` and its length in `bytes`.
    pub payload: Vec<u8>,
    /// How long it is still good, ms.
    pub left_ms: u32,
    /// The device has no room for it: it answers `failed`, and drops the list of codes if it was one.
    pub withheld: bool,
}

/// Without the payload: codes are in it.
impl core::fmt::Debug for Received {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (length, left) = (self.payload.len(), self.left_ms);
        write!(f, "a command of {length} bytes, good for {left} ms")
    }
}

/// The device's side.
#[derive(Debug)]
pub struct Device {
    address: u8,
    polled: bool,
    again_ms: u64,
    hello: Hello,
    /// The hello's number: +1 whenever a session is lost.
    number: u16,
    hello_due_ms: u64,
    hello_pause_ms: u64,
    link: Option<Linked>,
    /// The gateway has said 'over'.
    turn: bool,
    /// Bytes of payload sent in this turn.
    turn_bytes: usize,
    heard_ms: Option<u64>,
}

#[derive(Debug)]
struct Linked {
    session: u16,
    max: u16,
    window: u16,
    turn_bytes: usize,
    /// All up to this number are promised.
    acked: u16,
    /// The number that is sent next.
    next: u16,
    /// The highest number that was ever sent.
    top: u16,
    /// Point to point: when everything that isn't promised is sent again.
    again_at_ms: u64,
    again_ms: u64,
    /// The number of the last part of a command that was read.
    read: u16,
    read_due: bool,
    /// A command that hasn't come whole yet.
    parts: Vec<u8>,
}

impl Device {
    /// A device that has just started. `hello` has its boot.
    pub fn new(address: u8, polled: bool, baud: u32, hello: Hello) -> Self {
        Self {
            address,
            polled,
            again_ms: again_ms(baud) + 800,
            hello,
            number: 1,
            hello_due_ms: 0,
            hello_pause_ms: HELLO_MS.0,
            link: None,
            turn: false,
            turn_bytes: 0,
            heard_ms: None,
        }
    }

    /// Whether there is a session, and the gateway was heard lately.
    pub fn is_linked(&self, now_ms: u64) -> bool {
        let heard = self.heard_ms;
        let lately = heard.is_some_and(|heard| now_ms.saturating_sub(heard) < ALIVE_MS);
        lately && self.link.is_some()
    }

    /// The most bytes that a payload of events may have.
    pub fn payload_max(&self) -> usize {
        let max = self.link.as_ref().map_or(self.hello.max, |link| link.max);
        usize::from(max)
    }

    /// A frame came. What isn't for this device is passed over.
    pub fn heard(&mut self, now_ms: u64, frame: &Frame) -> Heard {
        let mut heard = Heard::default();
        let ours = frame.from_gateway && frame.address == self.address;
        if !ours || frame.version != VERSION {
            return heard;
        }
        self.heard_ms = Some(now_ms);
        if frame.over {
            self.turn = true;
            self.turn_bytes = 0;
        }
        match frame.kind {
            Kind::Ask => self.lose_session(now_ms),
            Kind::Welcome => self.welcomed(frame),
            _ => {}
        }
        let session = self.link.as_ref().map(|link| link.session);
        let Some(link) = self
            .link
            .as_mut()
            .filter(|link| link.session == frame.session)
        else {
            if session.is_some() || frame.kind != Kind::Welcome {
                self.lose_session(now_ms);
            }
            return heard;
        };
        if frame.kind == Kind::Welcome {
            return heard;
        }
        heard.promised = link.acknowledged(frame.ack, now_ms, self.again_ms);
        if frame.again {
            link.next = link.acked.wrapping_add(1);
        }
        if frame.busy {
            link.again_at_ms = now_ms.saturating_add(BUSY_MS);
        }
        if frame.kind == Kind::Command {
            heard.command = link.command_came(frame, self.hello.command_max as usize);
        }
        heard
    }

    /// The next frame to be sent, if there is one. On a line with several devices there is none
    /// before the device's turn, and the turn is over with a frame that says so.
    pub fn next(&mut self, now_ms: u64, outbox: &mut dyn Outbox) -> Option<Frame> {
        if self.polled && !self.turn {
            return None;
        }
        if self.link.is_none() {
            return self.say_hello(now_ms);
        }
        if let Some(events) = self.events(now_ms, outbox) {
            return Some(events);
        }
        let link = self.link.as_mut()?;
        if !self.turn && !link.read_due {
            return None;
        }
        let mut ack = Frame::new(false, self.address, Kind::Ack);
        link.sign(&mut ack);
        ack.over = self.polled;
        self.turn = false;
        Some(ack)
    }

    /// Point to point: when [`Self::next`] has something, if nothing happens meanwhile.
    pub fn due(&self) -> Option<u64> {
        match &self.link {
            _ if self.polled => None,
            None => Some(self.hello_due_ms),
            Some(link) if link.top == link.acked => None,
            Some(link) => Some(link.again_at_ms),
        }
    }

    fn events(&mut self, now_ms: u64, outbox: &mut dyn Outbox) -> Option<Frame> {
        let link = self.link.as_mut()?;
        let on_their_way = link.top != link.acked;
        if !self.polled && on_their_way && now_ms >= link.again_at_ms {
            link.next = link.acked.wrapping_add(1);
            link.again_ms = (link.again_ms * 2).min(AGAIN_LONGEST_MS);
        }
        let most = usize::from(link.window).min(outbox.waiting());
        let index = usize::from(link.next.wrapping_sub(link.acked).wrapping_sub(1));
        if index >= most {
            return None;
        }
        let mut frame = Frame::new(false, self.address, Kind::Events);
        frame.payload = outbox.payload(index);
        frame.seq = link.next;
        link.sign(&mut frame);
        if later(link.next, link.top) {
            link.top = link.next;
        }
        link.next = link.next.wrapping_add(1);
        link.again_at_ms = now_ms.saturating_add(link.again_ms);
        self.turn_bytes += frame.payload.len();
        if self.polled {
            frame.over = index + 1 == most || self.turn_bytes >= link.turn_bytes;
            self.turn = !frame.over;
        } else {
            self.turn = false;
        }
        Some(frame)
    }

    fn say_hello(&mut self, now_ms: u64) -> Option<Frame> {
        if !self.polled && now_ms < self.hello_due_ms {
            return None;
        }
        self.hello_due_ms = now_ms.saturating_add(self.hello_pause_ms);
        self.hello_pause_ms = (self.hello_pause_ms * 2).min(HELLO_MS.1);
        let mut frame = Frame::new(false, self.address, Kind::Hello);
        frame.seq = self.number;
        frame.over = self.polled;
        frame.payload = self.hello.encode();
        self.turn = false;
        Some(frame)
    }

    /// The gateway doesn't know the session, or never did: a hello is due at once.
    fn lose_session(&mut self, now_ms: u64) {
        if self.link.take().is_some() {
            self.number = self.number.wrapping_add(1);
        }
        self.hello_due_ms = now_ms;
        self.hello_pause_ms = HELLO_MS.0;
    }

    fn welcomed(&mut self, frame: &Frame) {
        let Ok(welcome) = Welcome::decode(&frame.payload) else {
            return;
        };
        let ours = welcome.boot == self.hello.boot && frame.ack == self.number;
        if !ours || self.link.is_some() {
            return;
        }
        self.hello_pause_ms = HELLO_MS.0;
        self.link = Some(Linked {
            session: frame.session,
            max: welcome.max,
            window: u16::from(welcome.window.min(self.hello.window).min(WINDOW_MAX)),
            turn_bytes: usize::from(welcome.turn),
            acked: 0,
            next: 1,
            top: 0,
            again_at_ms: 0,
            again_ms: self.again_ms,
            read: 0,
            read_due: true,
            parts: Vec::new(),
        });
    }
}

impl Linked {
    /// What every frame of the session says.
    fn sign(&mut self, frame: &mut Frame) {
        frame.session = self.session;
        frame.ack = self.read;
        self.read_due = false;
    }

    /// How many more payloads are promised.
    fn acknowledged(&mut self, ack: u16, now_ms: u64, again_ms: u64) -> usize {
        let more = ack.wrapping_sub(self.acked);
        if more == 0 || more > self.top.wrapping_sub(self.acked) {
            return 0;
        }
        self.acked = ack;
        if !later(self.next, ack) {
            self.next = ack.wrapping_add(1);
        }
        self.again_ms = again_ms;
        self.again_at_ms = now_ms.saturating_add(again_ms);
        usize::from(more)
    }

    fn command_came(&mut self, frame: &Frame, most: usize) -> Option<Received> {
        self.read_due = true;
        if !later(frame.seq, self.read) {
            return None;
        }
        let part = Part::decode(&frame.payload)?;
        let received = |payload| Received {
            payload,
            left_ms: part.left_ms,
            withheld: frame.withheld,
        };
        // A short command may come between the parts of a long one.
        if part.offset == 0 && part.is_last() {
            self.read = frame.seq;
            return Some(received(part.bytes.clone()));
        }
        let offset = part.offset as usize;
        if offset == 0 {
            self.parts.clear();
        }
        if offset != self.parts.len() || part.total as usize > most {
            // Not read, so it isn't acknowledged; a new session begins the command anew.
            return None;
        }
        self.read = frame.seq;
        self.parts.extend_from_slice(&part.bytes);
        part.is_last()
            .then(|| received(core::mem::take(&mut self.parts)))
    }
}
