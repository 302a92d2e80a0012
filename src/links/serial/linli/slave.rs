//! One device on a Linli link: its side of the protocol, and what is on its way to the disk.
//!
//! Bounds: a window of events may be parked because the device is over its limit, and
//! [`ON_WAY_MAX`] may be on their way to the disk, those of former sessions with them. What is beyond
//! isn't acknowledged, so the device keeps it.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use firmware_protocols::link::gateway::{Gateway, Heard, Refusal, Terms};
use firmware_protocols::link::{Frame, Hello, Kind, Ticket, ToSend};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Ident};
use tokio::time::Instant;

use crate::intake::{Answer, is_urgent};
use crate::links::ToDevice;
use crate::links::serial::Bus;
use crate::links::serial::plan::DevicePlan;
use crate::links::serial::rounds::SILENT_AFTER;
use crate::links::serial::status::SlaveStatus;

/// How many payloads of a device may be on their way to the disk.
const ON_WAY_MAX: usize = 16;

type Writing = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A device on the link.
pub(super) struct Slave {
    device: Ident,
    gateway: Gateway,
    status: Option<Arc<SlaveStatus>>,
    /// Came, and wait for the device's allowance; whether a person waits for them.
    parked: VecDeque<(Ticket, Bytes, bool)>,
    held_since: Option<Instant>,
    on_way: VecDeque<(Ticket, Writing)>,
    online: bool,
    /// An answer is awaited since.
    asked: Option<Instant>,
    /// Point to point: so many answers in a row didn't come.
    missed: u32,
}

impl Slave {
    pub(super) fn new(plan: &DevicePlan, terms: Terms, session: u16) -> Self {
        let address = plan.on.address.unwrap_or(1);
        Self {
            device: plan.id.clone(),
            gateway: Gateway::new(address, Some(plan.id.clone()), terms, session),
            status: None,
            parked: VecDeque::new(),
            held_since: None,
            on_way: VecDeque::new(),
            online: false,
            asked: None,
            missed: 0,
        }
    }

    /// Shows itself in the port's status.
    pub(super) fn register(&mut self, bus: &Bus) {
        let (device, address) = (&self.device, self.gateway.address());
        let status = &mut self.status;
        status.get_or_insert_with(|| bus.status.slave(device, Some(address)));
    }

    pub(super) fn is(&self, device: &Ident) -> bool {
        self.device == *device
    }

    pub(super) fn address(&self) -> u8 {
        self.gateway.address()
    }

    pub(super) fn has_commands(&self) -> bool {
        self.online && self.gateway.has_commands()
    }

    /// Whether events wait for the device's allowance.
    pub(super) fn is_held(&self) -> bool {
        !self.parked.is_empty()
    }

    /// A message for the device. A receipt isn't needed: the link's acknowledgement says the same.
    pub(super) fn put(&mut self, message: ToDevice, came_ms: u64) {
        if message.channel != Channel::Command {
            return;
        }
        let command = match Command::decode(&message.payload) {
            Ok(command) => command,
            Err(why) => {
                tracing::error!(device = %self.device, %why, "a command of our own can't be read, and isn't sent");
                return;
            }
        };
        let life_ms = message.expiry_ms.unwrap_or(command.ttl_ms);
        let dropped = self.gateway.dropped();
        self.gateway.put(ToSend {
            id: command.id,
            kind: command.order.name(),
            payload: message.payload.to_vec(),
            until_ms: came_ms.saturating_add(life_ms),
        });
        if self.gateway.dropped() > dropped {
            tracing::warn!(device = %self.device, "reads its commands too slowly: the oldest that waited was dropped");
        }
    }

    /// A frame of the device came.
    pub(super) async fn heard(&mut self, now_ms: u64, frame: &Frame, bus: &Bus) {
        if frame.from_gateway {
            return;
        }
        if let Some(status) = &self.status {
            match self.asked.take() {
                Some(asked) => status.answered(asked.elapsed()),
                None => status.heard(),
            }
        }
        for heard in self.gateway.heard(now_ms, frame) {
            match heard {
                Heard::Hello(hello) => self.said_hello(&hello),
                Heard::Events(ticket, payload) => {
                    let urgent = is_urgent(&payload);
                    self.parked.push_back((ticket, payload.into(), urgent));
                }
                Heard::Read(command) => {
                    tracing::debug!(device = %self.device, id = %command.id, "has read a command");
                }
                Heard::Refused(why) => self.refuse(&why),
            }
        }
        self.hand_on(bus).await;
        self.judge(now_ms, bus);
    }

    /// Hands on what came, as far as the device's allowance goes; and up to the last that a person
    /// waits for, on credit.
    pub(super) async fn hand_on(&mut self, bus: &Bus) {
        let gauge = bus.pace.of(&self.device);
        while self.on_way.len() < ON_WAY_MAX {
            let now = Instant::now().into_std();
            let urgent = self.parked.iter().any(|(_, _, urgent)| *urgent);
            let hurries = urgent && gauge.may_hurry(now);
            if !hurries && !gauge.due(now).is_zero() {
                break;
            }
            let Some((ticket, payload, _)) = self.parked.pop_front() else {
                break;
            };
            gauge.charge_bytes(payload.len(), 1, 0, now);
            let (intake, device) = (Arc::clone(&bus.intake), self.device.clone());
            let mut writing: Writing =
                Box::pin(async move { intake.events(&device, payload).await });
            // What it does before it first waits is done here, so payloads go on in their order.
            let first = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await;
            if let Poll::Ready(answer) = first {
                writing = Box::pin(async move { answer });
            }
            self.on_way.push_back((ticket, writing));
        }
        let now = Instant::now();
        if let Some(since) = self.held_since.take() {
            gauge.held(now - since);
        }
        self.held_since = self.is_held().then_some(now);
        self.gateway.hold(self.is_held());
    }

    /// What became of the oldest payload that was handed on. May be dropped at any await.
    pub(super) async fn settled(&mut self) -> (Ticket, Answer) {
        let Some((ticket, writing)) = self.on_way.front_mut() else {
            return pending().await;
        };
        let settled = (*ticket, writing.await);
        self.on_way.pop_front();
        settled
    }

    /// Acknowledges it, or doesn't.
    pub(super) fn settle(&mut self, now_ms: u64, (ticket, answer): (Ticket, Answer)) {
        let on_disk = match answer {
            Answer::Taken => true,
            Answer::Malformed(why) => {
                tracing::debug!(device = %self.device, %why, "malformed, in quarantine");
                true
            }
            Answer::NotTaken(why) => {
                tracing::debug!(device = %self.device, %why, "not on disk: the device keeps it");
                // It all comes again.
                self.parked.clear();
                false
            }
        };
        self.gateway.settled(now_ms, ticket, on_disk);
    }

    /// Point to point: the next frame's bytes.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let frame = self.gateway.next(now_ms)?;
        if frame.over || frame.kind == Kind::Ask {
            let missed = self.asked.replace(Instant::now()).is_some();
            self.missed = if missed { self.missed + 1 } else { 0 };
            if let Some(status) = self.status.as_ref().filter(|_| missed) {
                status.missed(Duration::ZERO);
            }
            if self.missed == SILENT_AFTER {
                self.silent();
            }
        }
        Some(frame.encode())
    }

    /// The last frame was sent, or perhaps was: a command in it has left the box. Not only once the
    /// device has acknowledged it, as that may be lost when the door is open already.
    pub(super) fn tell_left(&mut self, bus: &Bus) {
        if let Some(command) = self.gateway.take_left() {
            bus.intake.command_sent(command);
        }
    }

    /// Point to point: when [`Self::next`] has something, if nothing happens meanwhile.
    pub(super) fn due(&self, now_ms: u64) -> u64 {
        self.gateway.due(now_ms)
    }

    /// The bytes that give the device its turn.
    pub(super) fn poll(&mut self, now_ms: u64) -> Vec<u8> {
        self.gateway.poll(now_ms).encode()
    }

    /// It has ended its turn.
    pub(super) fn answered(&mut self, round_trip: Duration) {
        if let Some(status) = &self.status {
            status.answered(round_trip);
        }
    }

    /// It didn't end its turn in time.
    pub(super) fn missed(&mut self, pause: Duration, unreadable: bool, silent: bool) {
        self.gateway.silence();
        if silent {
            self.gateway.line_lost();
        }
        match &self.status {
            Some(status) if unreadable => status.unreadable(pause),
            Some(status) => status.missed(pause),
            None => {}
        }
    }

    /// Says whether it is there, when that has changed.
    pub(super) fn judge(&mut self, now_ms: u64, bus: &Bus) {
        let online = self.gateway.is_alive(now_ms);
        if online == self.online {
            return;
        }
        self.online = online;
        bus.intake.presence(&self.device, online);
        if online {
            tracing::info!(device = %self.device, port = %bus.port.id, "is there, over the link");
        } else {
            self.silent();
            tracing::warn!(device = %self.device, port = %bus.port.id, "doesn't answer any more: see to its power and its wires");
        }
    }

    /// The port went away.
    pub(super) fn lost(&mut self, bus: &Bus) {
        self.gateway.line_lost();
        self.asked = None;
        if self.online {
            self.online = false;
            bus.intake.presence(&self.device, false);
        }
        self.silent();
    }

    fn silent(&self) {
        if let Some(status) = &self.status {
            status.silent();
        }
    }

    fn said_hello(&mut self, hello: &Hello) {
        // They belong to no session any more, and come again.
        self.parked.clear();
        let (model, firmware) = (hello.model.as_deref(), hello.firmware.as_deref());
        tracing::info!(device = %self.device, boot = hello.boot, ?model, ?firmware, "says hello");
        if let Some(status) = &self.status {
            status.note(None);
        }
    }

    fn refuse(&mut self, why: &Refusal) {
        self.parked.clear();
        if let Some(status) = &self.status {
            status.note(Some(why.to_string()));
        }
        tracing::debug!(device = %self.device, %why, "is not spoken with");
    }
}
