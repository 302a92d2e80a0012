//! What the gateway has for a device: one frame under way at a time, sent again until it is
//! acknowledged or the command's time is over, and never after that.
//!
//! Short commands go before the parts of a list of codes. Bound: [`WAITING_MAX`] short ones, the
//! oldest goes for the next; one list, a newer one replaces it, as it is always the whole list.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use super::wire::{COMMAND_HEADER_BYTES, Part};
use crate::value::{Value, map};

/// How many short commands may wait for a device.
pub const WAITING_MAX: usize = 32;

/// A command on its way to a device.
#[derive(Clone, PartialEq, Eq)]
pub struct ToSend {
    /// Its id.
    pub id: String,
    /// Its kind's word.
    pub kind: &'static str,
    /// The command as over MQTT.
    pub payload: Vec<u8>,
    /// When its time is over.
    pub until_ms: u64,
}

/// Without the payload: it may hold codes.
impl core::fmt::Debug for ToSend {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ToSend")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl ToSend {
    fn is_list(&self) -> bool {
        self.kind == "codes"
    }
}

/// A frame's worth of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The frame's number.
    pub seq: u16,
    /// Its payload.
    pub part: Part,
    /// Whether the command is withheld, as the device has no room for it.
    pub withheld: bool,
}

/// What a device can take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The largest payload of a frame.
    pub payload: usize,
    /// The largest command.
    pub command: usize,
}

/// All commands for a device.
#[derive(Debug, Default)]
pub struct Commands {
    short: VecDeque<ToSend>,
    list: Option<ToSend>,
    /// How much of the oldest short command, and of the list, was acknowledged.
    short_done: usize,
    list_done: usize,
    under_way: Option<UnderWay>,
    /// The short command whose last part was handed out and not told of yet.
    left: Option<String>,
    last_seq: u16,
    dropped: u64,
}

#[derive(Debug)]
struct UnderWay {
    seq: u16,
    sent_ms: u64,
    /// Whether it belongs to the list, or to the oldest short command.
    list: bool,
    /// Where it ends in its command.
    end: usize,
    /// Whether it is the command's last part.
    last: bool,
}

impl Commands {
    /// Adds one.
    pub fn put(&mut self, command: ToSend) {
        if command.is_list() {
            self.drop_list();
            self.list = Some(command);
            return;
        }
        if self.short.len() == WAITING_MAX {
            self.drop_oldest();
            self.dropped += 1;
        }
        self.short.push_back(command);
    }

    /// A new session: everything begins again.
    pub fn restart(&mut self) {
        self.under_way = None;
        self.last_seq = 0;
        self.short_done = 0;
        self.list_done = 0;
    }

    /// The frame to be sent now. One that was sent is sent again after `again_ms`.
    pub fn next(&mut self, now_ms: u64, again_ms: u64, room: Room) -> Option<Outgoing> {
        self.expire(now_ms);
        let first = self.under_way.is_none();
        match &self.under_way {
            Some(sent) if now_ms < sent.sent_ms.saturating_add(again_ms) => return None,
            Some(_) => {}
            None => self.begin(now_ms, room)?,
        }
        let sent = self.under_way.as_mut()?;
        sent.sent_ms = now_ms;
        let (seq, end) = (sent.seq, sent.end);
        let (command, from) = match sent.list {
            true => (self.list.as_ref()?, self.list_done),
            false => (self.short.front()?, self.short_done),
        };
        let withheld = withheld(command, room);
        let whole = withheld.as_ref().unwrap_or(&command.payload);
        let bytes = whole.get(from..end)?;
        if first && sent.last && !sent.list && withheld.is_none() {
            self.left = Some(command.id.clone());
        }
        let left_ms = command.until_ms.saturating_sub(now_ms);
        Some(Outgoing {
            seq,
            part: Part {
                left_ms: u32::try_from(left_ms).unwrap_or(u32::MAX),
                offset: u32::try_from(from).ok()?,
                total: u32::try_from(whole.len()).ok()?,
                bytes: bytes.to_vec(),
            },
            withheld: withheld.is_some(),
        })
    }

    /// When [`Self::next`] has something, if nothing happens meanwhile.
    pub fn due(&self, now_ms: u64, again_ms: u64) -> Option<u64> {
        match &self.under_way {
            Some(sent) => Some(sent.sent_ms.saturating_add(again_ms)),
            None if self.is_empty() => None,
            None => Some(now_ms),
        }
    }

    /// The device has read the frame of this number. Returns the command that it has read whole.
    pub fn read(&mut self, seq: u16) -> Option<ToSend> {
        let sent = self.under_way.take_if(|sent| sent.seq == seq)?;
        match (sent.list, sent.last) {
            (true, true) => {
                self.list_done = 0;
                self.list.take()
            }
            (true, false) => {
                self.list_done = sent.end;
                None
            }
            (false, true) => {
                self.short_done = 0;
                self.short.pop_front()
            }
            (false, false) => {
                self.short_done = sent.end;
                None
            }
        }
    }

    /// The id of a short command that has left whole since this was asked last: from then on the
    /// device may carry it out, whether it says so or not.
    pub fn take_left(&mut self) -> Option<String> {
        self.left.take()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.short.is_empty() && self.list.is_none()
    }

    /// How many were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The command's next frame gets its number.
    fn begin(&mut self, now_ms: u64, room: Room) -> Option<()> {
        let space = room.payload.saturating_sub(COMMAND_HEADER_BYTES);
        let (command, done, list) = match (self.short.front(), &self.list) {
            (Some(short), _) => (short, self.short_done, false),
            (None, Some(list)) => (list, self.list_done, true),
            (None, None) => return None,
        };
        let total = withheld(command, room).map_or(command.payload.len(), |stub| stub.len());
        let end = total.min(done.saturating_add(space));
        if !list && end < total {
            // The device puts one command together at a time.
            self.list_done = 0;
        }
        self.last_seq = self.last_seq.wrapping_add(1);
        self.under_way = Some(UnderWay {
            seq: self.last_seq,
            sent_ms: now_ms,
            list,
            end,
            last: end == total,
        });
        Some(())
    }

    fn expire(&mut self, now_ms: u64) {
        let over = |command: &ToSend| command.until_ms <= now_ms;
        if self.list.as_ref().is_some_and(over) {
            self.drop_list();
        }
        if self.short.front().is_some_and(over) {
            self.drop_oldest();
        }
        self.short.retain(|command| !over(command));
    }

    fn drop_list(&mut self) {
        self.list = None;
        self.list_done = 0;
        self.under_way.take_if(|sent| sent.list);
    }

    fn drop_oldest(&mut self) {
        self.short.pop_front();
        self.short_done = 0;
        self.under_way.take_if(|sent| !sent.list);
    }
}

/// What stands in for a command that the device has no room for, so that it can say that it failed,
/// and drop the list that such a one would have replaced.
fn withheld(command: &ToSend, room: Room) -> Option<Vec<u8>> {
    let fits = command.payload.len() <= room.command;
    (!fits).then(|| {
        let bytes = Value::Int(command.payload.len() as i128);
        map([
            ("id", Some(command.id.as_str().into())),
            ("kind", Some(command.kind.into())),
            ("bytes", Some(bytes)),
        ])
        .to_cbor()
    })
}
