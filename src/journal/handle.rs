//! Step one of a batch: the estate takes each piece of work, in memory. What has to be written and
//! sent is staged; nothing of it leaves before the commit.

use cloud_protocol::{Downlink, DownlinkItem};
use estate::{Context, DeviceEvent, Effect, Input, Now, Outcome, Told, Verdict};
use firmware_protocols::{Form, Ident, Slot};

use super::Work;
use super::batch::{Memory, Reply, Staged, StagedCut};
use super::thread::Parts;
use crate::cloud::EpochAt;
use crate::intake::{Answer, Piece, Prepared};
use crate::keys::OsRandom;
use crate::store::lanes::cut::next_epoch;
use crate::store::write::QuarantineRow;

/// Step one: the estate takes each piece of work, in memory.
pub(super) struct Handler<'a> {
    pub memory: &'a mut Memory,
    pub staged: &'a mut Staged,
    pub random: &'a mut OsRandom,
    pub parts: &'a Parts,
    pub now: Now,
    /// What the estate told whoever asked last.
    pub told: Option<Told>,
}

impl Handler<'_> {
    /// Takes a piece of work.
    pub fn work(&mut self, work: Work) {
        match work {
            Work::Device {
                device,
                form,
                pieces,
                reply,
                ..
            } => {
                let answer = self.device(&device, form, pieces);
                self.staged.replies.push(Reply::Device(reply, answer));
            }
            Work::Quarantine { device, row, reply } => {
                if let Some(device) = device {
                    self.input(Input::Unreadable {
                        device,
                        number: None,
                    });
                }
                let answer = Answer::Malformed(row.reason.clone());
                self.staged.quarantine.push(row);
                self.staged.replies.push(Reply::Device(reply, answer));
            }
            Work::Downlink { items, reply } => {
                items.into_iter().for_each(|item| self.downlink(item));
                self.staged.replies.push(Reply::Cloud(reply));
            }
            Work::Acked {
                epoch,
                acked,
                reply,
            } => {
                if epoch == self.memory.epoch {
                    self.staged.acked.push(acked);
                }
                self.staged.replies.push(Reply::Cloud(reply));
            }
            Work::Cut { cut, reply } => {
                let taken = cut.epoch == self.memory.epoch;
                self.staged.cuts.push(StagedCut { cut, reply, taken });
            }
            Work::NewEpoch { at, reply } => {
                let epoch = self.new_epoch();
                if at == EpochAt::NewCloud {
                    // Its numbers have nothing to do with those of the one before.
                    self.memory.cursor = 0;
                    self.staged.cursor = Some(0);
                }
                self.staged.replies.push(Reply::Epoch(reply, epoch));
            }
            Work::LineUse { uses, reply } => {
                self.staged.line_uses.extend(uses);
                self.staged.replies.push(Reply::Cloud(reply));
            }
            Work::CommandSent { command } => {
                self.input(Input::CommandSent { command });
            }
            Work::Disable {
                slot,
                operator,
                reason,
                reply,
            } => {
                let verdict = self.input(Input::Disable {
                    slot,
                    operator,
                    reason,
                });
                let answer = self.answer(verdict);
                self.staged.replies.push(Reply::Told(reply, answer));
            }
            Work::Desk {
                operator,
                act,
                reply,
            } => {
                let verdict = self.input(Input::Desk { operator, act });
                let answer = self.answer(verdict);
                self.staged.replies.push(Reply::Told(reply, answer));
            }
            // It is no part of a batch: the journal's thread takes it after one.
            Work::Relayout(_) => {}
            Work::Open {
                slot,
                operator,
                reason,
                reply,
            } => {
                let answer = self.open(slot, operator, reason);
                self.staged.replies.push(Reply::Open(reply, answer));
            }
        }
    }

    fn device(&mut self, device: &Ident, form: Form, pieces: Vec<Piece>) -> Answer {
        let mut malformed = None;
        for piece in pieces {
            match piece {
                Piece::Event(prepared) => {
                    if let Some(reason) = self.event(device, form, prepared) {
                        malformed.get_or_insert(reason);
                    }
                }
                Piece::Malformed { number, row } => {
                    malformed.get_or_insert_with(|| row.reason.clone());
                    let verdict = self.input(Input::Unreadable {
                        device: device.clone(),
                        number,
                    });
                    match verdict {
                        Verdict::Duplicate => self.staged.duplicates += 1,
                        _ => self.staged.quarantine.push(row),
                    }
                }
            }
        }
        malformed.map_or(Answer::Taken, Answer::Malformed)
    }

    /// Returns the reason if the event went to quarantine.
    fn event(&mut self, device: &Ident, form: Form, mut prepared: Prepared) -> Option<String> {
        let now = self.now;
        let what = prepared.settle(|symbol| self.memory.estate.is_waybill(&now, device, symbol));
        let outcome = self.input(Input::Event(DeviceEvent {
            device: device.clone(),
            form,
            boot: prepared.boot,
            seq: prepared.seq,
            at_ms: prepared.at_ms,
            said_ms: prepared.said_ms,
            fingerprint: prepared.fingerprint,
            what,
        }));
        match outcome {
            Verdict::Taken => {
                self.staged.events.push((device.clone(), prepared));
                None
            }
            Verdict::Duplicate => {
                self.staged.duplicates += 1;
                None
            }
            Verdict::Quarantine(reason) | Verdict::Refused(reason) => {
                self.staged
                    .quarantine
                    .push(quarantined(device, &prepared, reason.clone()));
                Some(reason)
            }
        }
    }

    /// An item that can't be carried out never holds up the next: it goes to quarantine.
    fn downlink(&mut self, item: DownlinkItem) {
        if item.seq <= self.memory.cursor {
            return;
        }
        self.memory.cursor = item.seq;
        self.staged.cursor = Some(item.seq);
        let (what, reason) = match item.what {
            Ok(what) => {
                let name = describe(&what);
                match self.input(Input::Downlink(what)) {
                    Verdict::Taken | Verdict::Duplicate => return,
                    Verdict::Quarantine(reason) | Verdict::Refused(reason) => (name, reason),
                }
            }
            Err(malformed) => ("item".to_owned(), malformed.0),
        };
        tracing::warn!(seq = item.seq, %reason, "the cloud said something that can't be done");
        self.staged.quarantine.push(QuarantineRow {
            received_ms: self.now.wall_ms,
            source: "cloud".to_owned(),
            topic: "downlink".to_owned(),
            reason,
            size_bytes: 0,
            preview: format!("{what}, seq {}", item.seq),
        });
    }

    /// One for all who ask in a batch. What the cloud says of the old one doesn't count from here on.
    fn new_epoch(&mut self) -> u64 {
        let memory = &mut *self.memory;
        *self.staged.new_epoch.get_or_insert_with(|| {
            memory.epoch = next_epoch(memory.epoch, self.now.wall_ms);
            memory.tell_history_anew();
            memory.epoch
        })
    }

    /// What whoever asked gets to hear: what was done, or why not.
    fn answer(&mut self, verdict: Verdict) -> Result<Told, String> {
        match verdict {
            Verdict::Taken | Verdict::Duplicate => Ok(self.told.take().unwrap_or_default()),
            Verdict::Quarantine(reason) | Verdict::Refused(reason) => Err(reason),
        }
    }

    fn open(&mut self, slot: Slot, operator: String, reason: String) -> Result<String, String> {
        let effects_before = self.staged.effects.len();
        let verdict = self.input(Input::OpenByHand {
            slot,
            operator,
            reason,
        });
        match verdict {
            Verdict::Taken | Verdict::Duplicate => {}
            Verdict::Quarantine(reason) | Verdict::Refused(reason) => return Err(reason),
        }
        let new = self.staged.effects.get(effects_before..).unwrap_or(&[]);
        new.iter()
            .map(|Effect::Command { command, .. }| command)
            .find(|command| command.order.name() == "open")
            .map(|command| command.id.clone())
            .ok_or_else(|| "no command came of it".to_owned())
    }

    /// Hands an input to the estate and stages its effects.
    pub fn input(&mut self, input: Input) -> Verdict {
        let mut context = Context {
            now: self.now,
            random: self.random,
            digests: &self.parts.keys.codes,
        };
        let Outcome {
            verdict,
            told,
            effects,
        } = self.memory.estate.handle(&mut context, input);
        self.staged.effects.extend(effects);
        self.told = told;
        verdict
    }
}

/// What an item was about, without anything personal.
fn describe(what: &Downlink) -> String {
    match what {
        Downlink::ParcelExpected(p) => format!("parcel.expected {}", p.parcel),
        Downlink::ParcelCancelled { parcel }
        | Downlink::ParcelExtended { parcel, .. }
        | Downlink::CodeReissue { parcel } => format!("{} {parcel}", what.kind()),
        Downlink::Courier { .. } | Downlink::Settings(_) => what.kind().to_owned(),
    }
}

fn quarantined(device: &Ident, event: &Prepared, reason: String) -> QuarantineRow {
    let body = firmware_protocols::Value::from_cbor(&event.body)
        .map_or_else(|_| "{}".to_owned(), |body| body.to_json());
    let (kind, boot, seq) = (event.kind, event.boot, event.seq);
    let preview = format!("{kind}, boot {boot}, seq {seq}: {body}");
    QuarantineRow {
        received_ms: event.received_ms,
        source: device.to_string(),
        topic: "event".to_owned(),
        reason,
        size_bytes: event.body.len(),
        preview: preview.chars().take(256).collect(),
    }
}
