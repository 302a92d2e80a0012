//! One batch: handled in memory, persisted in one transaction, then answered and sent.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cloud_protocol::{Acked, Report};
use estate::change::Change;
use estate::input::DueReceipt;
use estate::{Effect, Estate, Input, Layout, Now, TimeQuality, Told};
use firmware_protocols::Ident;
use firmware_protocols::command::Order;
use firmware_protocols::topic::Channel;
use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::handle::Handler;
use super::thread::{Parts, load_estate};
use super::timekeeping::{Anchor, load_anchor, load_clock, write_clock};
use super::{NotTaken, Status, Weakness, Work};
use crate::clock::Saved;
use crate::cloud::LineUse;
use crate::disk::{Duty, chain};
use crate::intake::{Answer, Prepared};
use crate::keys::OsRandom;
use crate::links::ToDevice;
use crate::store::lanes::Cut;
use crate::store::trace::{self, TraceHead};
use crate::store::write::{AUDIT_REPORTED, EventRow, Heads, QuarantineRow, Writer};
use crate::store::{FileId, StoreError, doing, lanes, line, load};

/// How much running time may go by before it is written down without another reason to write.
const SAVE_CLOCK_EVERY_MS: u64 = 600_000;
/// How much running time may go by unwritten when something is written anyway.
const SAVE_CLOCK_ALONG_MS: u64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
/// How far the log may grow while it can't be moved into the database (256 MiB). Beyond it nothing is
/// taken.
const LOG_MAX_BYTES: u64 = 256 << 20;

/// The estate with what belongs to it on disk.
pub struct Batcher {
    memory: Option<Memory>,
    status: Arc<Status>,
    random: OsRandom,
    saved: Saved,
    anchor: Anchor,
    /// The store's file, as it was opened.
    file: Option<FileId>,
}

/// What is in memory and must never be ahead of the disk.
pub(super) struct Memory {
    pub estate: Estate,
    heads: Heads,
    pub cursor: u64,
    pub epoch: u64,
    named: HashSet<Ident>,
    health_hour: i64,
    audit: Reported,
}

/// How far the chain over the parcels' history was told to the cloud.
struct Reported {
    entries: u64,
    /// At the start: what is to be told again, so that a past that was rewritten while the box was
    /// off shows. `None` once it was.
    again: Option<TraceHead>,
}

/// What a batch has come to so far: to be written, and to be sent once it is.
#[derive(Default)]
pub(super) struct Staged {
    pub events: Vec<(Ident, Prepared)>,
    pub quarantine: Vec<QuarantineRow>,
    pub acked: Vec<Acked>,
    pub cuts: Vec<StagedCut>,
    pub new_epoch: Option<u64>,
    pub line_uses: Vec<LineUse>,
    pub cursor: Option<u64>,
    pub effects: Vec<Effect>,
    pub replies: Vec<Reply>,
    pub duplicates: u64,
}

/// A cut that was asked for.
pub(super) struct StagedCut {
    pub cut: Cut,
    pub reply: oneshot::Sender<Result<bool, NotTaken>>,
    /// Whether it was written; before that, whether it may be.
    pub taken: bool,
}

/// What a batch has come to on disk.
#[derive(Clone, Copy)]
enum Written {
    /// There was nothing to write.
    Nothing,
    /// It is on disk; `newest` is the id of its last event.
    Committed { newest: Option<i64> },
}

/// An answer that waits for the commit.
pub(super) enum Reply {
    Device(oneshot::Sender<Answer>, Answer),
    Cloud(oneshot::Sender<Result<(), NotTaken>>),
    Epoch(oneshot::Sender<Result<u64, NotTaken>>, u64),
    Open(
        oneshot::Sender<Result<String, String>>,
        Result<String, String>,
    ),
    Told(oneshot::Sender<Result<Told, String>>, Result<Told, String>),
}

impl Batcher {
    /// Loads everything from the store and lets the clock go on from where it stopped.
    pub fn load(
        parts: &Parts,
        conn: &Connection,
        status: Arc<Status>,
        random: OsRandom,
    ) -> Result<Self, StoreError> {
        let saved = load_clock(conn)?;
        parts.clock.resume(saved);
        let memory = Memory::load(parts, conn)?;
        let newest: i64 = conn
            .query_row("SELECT coalesce(max(id), 0) FROM events", [], |r| r.get(0))
            .map_err(doing("read"))?;
        status.newest_event.send_replace(newest);
        let anchor = load_anchor(conn, parts.clock.now())?;
        parts.clock.was(anchor.past_ms(parts.clock.now()));
        Ok(Self {
            memory: Some(memory),
            status,
            random,
            saved,
            anchor,
            file: FileId::of(&parts.state.store()),
        })
    }

    /// How the journal is.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Whether the wall clock may decide that something is old enough to be deleted.
    pub fn may_delete_by(&self, now: Now) -> bool {
        self.anchor.may_delete_by(now)
    }

    /// Handles, persists and answers a batch; `ticking` tells the estate that time has passed.
    pub fn run(
        &mut self,
        conn: &mut Connection,
        batch: &mut Vec<Work>,
        ticking: bool,
        parts: &Parts,
    ) {
        if batch.is_empty() && !ticking {
            return;
        }
        if let Err(e) = self.ready(conn, parts) {
            let why = Self::in_trouble(&e, parts);
            batch.drain(..).for_each(|work| work.refuse(&why));
            return;
        }
        let Some(mut memory) = self.memory.take() else {
            return;
        };
        let now = parts.clock.now();
        let mut staged = Staged::default();
        let mut handler = Handler {
            memory: &mut memory,
            staged: &mut staged,
            random: &mut self.random,
            parts,
            now,
            told: None,
        };
        if ticking {
            handler.input(Input::Tick);
        }
        batch.drain(..).for_each(|work| handler.work(work));
        let mut changes = memory.estate.take_changes();
        let receipts = memory.estate.take_receipts();
        let health = self.health(&mut memory, now, ticking);
        if ticking {
            changes.extend(memory.audit(now, health.is_some()));
        }
        changes.extend(health);
        if staged.new_epoch.is_some() {
            changes.extend(every_parcel(&memory.estate, now));
        }
        if parts.settings.weakness.is_some_and(Weakness::answers_first) {
            staged.replies.drain(..).for_each(Reply::send);
        }
        match self.persist(conn, &mut memory, &mut staged, &changes, now, parts) {
            Ok(written) => {
                self.memory = Some(memory);
                let uplink = |change: &Change| matches!(change, Change::Uplink { .. });
                let more = staged.new_epoch.is_some() || changes.iter().any(uplink);
                self.send(staged, receipts, written, parts);
                if more {
                    parts.nudge.notify_one();
                }
            }
            Err(e) => {
                // Dropping `memory` here is what keeps it from running ahead of the disk.
                let why = Self::in_trouble(&e, parts);
                staged.replies.into_iter().for_each(|r| r.refuse(&why));
                staged.cuts.into_iter().for_each(|cut| cut.refuse(&why));
            }
        }
    }

    /// Goes by another layout from now on, between two batches. How many parcels are expected at points
    /// that aren't there any more; or why it can't be, in words, and then nothing has changed.
    pub fn relayout(
        &mut self,
        conn: &Connection,
        layout: &Layout,
        parts: &Parts,
    ) -> Result<BTreeMap<Ident, usize>, String> {
        self.ready(conn, parts)
            .map_err(|e| Self::in_trouble(&e, parts).to_string())?;
        match &mut self.memory {
            Some(memory) => memory
                .estate
                .relayout(layout.clone())
                .map_err(|e| e.to_string()),
            None => Err(NotTaken::Stopping.to_string()),
        }
    }

    /// Writes the clock down: at the end, so that the next start goes on from here.
    pub fn save_clock(&mut self, conn: &mut Connection, parts: &Parts) {
        let saved = parts.clock.save();
        let written = conn.transaction().map_err(doing("written")).and_then(|tx| {
            let mut heads = Heads::default();
            write_clock(
                &Writer::new(&tx, &parts.keys.store, &mut heads),
                saved,
                self.anchor,
            )?;
            tx.commit().map_err(doing("written"))
        });
        if let Err(e) = written {
            tracing::warn!(error = %chain(&e), "the clock could not be written down");
        }
    }

    /// The estate as it is on disk, and a log with room.
    fn ready(&mut self, conn: &Connection, parts: &Parts) -> Result<(), StoreError> {
        let log_bytes = self.status.log_bytes.load(Ordering::Relaxed);
        if log_bytes > LOG_MAX_BYTES && parts.disk.is_refused(Duty::Checkpoint) {
            return Err(StoreError::LogFull { log_bytes });
        }
        if self.memory.is_none() {
            self.memory = Some(Memory::load(parts, conn)?);
        }
        Ok(())
    }

    /// One transaction for all of it, if there is anything to write.
    fn persist(
        &mut self,
        conn: &mut Connection,
        memory: &mut Memory,
        staged: &mut Staged,
        changes: &[Change],
        now: Now,
        parts: &Parts,
    ) -> Result<Written, StoreError> {
        let idle_for = now.tick_ms.saturating_sub(self.saved.tick_ms);
        let nothing = changes.is_empty() && staged.is_empty();
        let due = idle_for >= SAVE_CLOCK_EVERY_MS || parts.disk.is_refused(Duty::Writing);
        if nothing && !due {
            return Ok(Written::Nothing);
        }
        // What is written to a file without its name is gone when the daemon ends.
        let store = parts.state.store();
        if FileId::of(&store) != self.file {
            return Err(StoreError::Replaced(store));
        }
        let tx = conn.transaction().map_err(doing("written"))?;
        let mut newest = None;
        for acked in &staged.acked {
            lanes::acked(&tx, &mut memory.heads, acked)?;
        }
        // Cuts come before what may replace their items, and before a new epoch.
        for StagedCut { cut, taken, .. } in &mut staged.cuts {
            *taken = *taken && lanes::cut(&tx, &mut memory.heads, cut)?;
        }
        if let Some(epoch) = staged.new_epoch {
            lanes::new_epoch(&tx, &mut memory.heads, epoch)?;
        }
        if !staged.line_uses.is_empty() {
            line::add(&tx, &staged.line_uses)?;
        }
        let mut writer = Writer::new(&tx, &parts.keys.store, &mut memory.heads);
        for change in changes {
            writer.change(change)?;
        }
        for (device, event) in &staged.events {
            if memory.named.insert(device.clone()) {
                writer.ensure_device(device)?;
            }
            newest = Some(writer.event(&event_row(device, event))?);
        }
        for row in &staged.quarantine {
            writer.quarantine(row)?;
        }
        if let Some(cursor) = staged.cursor {
            writer.meta("downlink_cursor", cursor.cast_signed())?;
        }
        let saved = (idle_for >= SAVE_CLOCK_ALONG_MS).then(|| parts.clock.save());
        if let Some(saved) = saved {
            self.anchor = self.anchor.then(now);
            write_clock(&writer, saved, self.anchor)?;
        }
        tx.commit().map_err(doing("committed"))?;
        self.saved = saved.unwrap_or(self.saved);
        Ok(Written::Committed { newest })
    }

    /// Everything is on disk: now the world may see it. Commands first, since people wait for them.
    fn send(&self, staged: Staged, receipts: Vec<DueReceipt>, written: Written, parts: &Parts) {
        let status = &self.status;
        if let Written::Committed { newest } = written {
            status.committed(newest);
        }
        parts.disk.serves(Duty::Writing);
        let add = |counter: &std::sync::atomic::AtomicU64, n: usize| {
            counter.fetch_add(n as u64, Ordering::Relaxed);
        };
        add(&status.events, staged.events.len());
        add(&status.quarantined, staged.quarantine.len());
        status
            .duplicates
            .fetch_add(staged.duplicates, Ordering::Relaxed);
        for effect in staged.effects {
            let Effect::Command {
                device,
                form,
                command,
            } = effect;
            let opens = matches!(command.order, Order::Open { .. });
            let message = ToDevice {
                device,
                channel: Channel::Command,
                open: opens.then(|| command.id.clone()),
                payload: command.encode(form).into(),
                expiry_ms: Some(command.ttl_ms),
            };
            self.outbound(&parts.outbound, message);
        }
        for reply in staged.replies {
            reply.send();
        }
        for cut in staged.cuts {
            // Whoever asked may have gone: what is cut is found again.
            drop(cut.reply.send(Ok(cut.taken)));
        }
        for due in receipts {
            let message = ToDevice {
                device: due.device,
                channel: Channel::Receipt,
                payload: due.receipt.encode(due.form).into(),
                expiry_ms: None,
                open: None,
            };
            self.outbound(&parts.outbound, message);
        }
    }

    /// Hands a message to the links. When they are full it is dropped and counted: a receipt comes
    /// again with the next event, a command runs out and the person tries again.
    fn outbound(&self, outbound: &mpsc::Sender<ToDevice>, message: ToDevice) {
        match outbound.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => {
                self.status.unsent.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(device = %message.device, channel = message.channel.name(),
                    "the way to the devices is full: message dropped");
            }
            Err(TrySendError::Closed(_)) => {}
        }
    }

    fn in_trouble(e: &StoreError, parts: &Parts) -> NotTaken {
        let what = chain(e);
        parts.disk.refuses(Duty::Writing, &what);
        NotTaken::Disk(what)
    }

    /// Once an hour, how the gateway itself is.
    fn health(&self, memory: &mut Memory, now: Now, ticking: bool) -> Option<Change> {
        let hour = now.wall_ms.div_euclid(HOUR_MS);
        if !ticking || now.quality == TimeQuality::Unknown || hour == memory.health_hour {
            return None;
        }
        memory.health_hour = hour;
        let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let counters = BTreeMap::from([
            ("commits".to_owned(), read(&self.status.commits)),
            ("events".to_owned(), read(&self.status.events)),
            ("duplicates".to_owned(), read(&self.status.duplicates)),
            ("quarantined".to_owned(), read(&self.status.quarantined)),
            ("turned_away".to_owned(), read(&self.status.turned_away)),
            ("unsent".to_owned(), read(&self.status.unsent)),
        ]);
        Some(Change::Uplink {
            at_ms: now.wall_ms,
            report: Report::Health(counters),
        })
    }
}

impl Memory {
    fn load(parts: &Parts, conn: &Connection) -> Result<Self, StoreError> {
        let estate = load_estate(&parts.layout, conn)?;
        let cursor = load::meta(conn, "downlink_cursor")?.unwrap_or(0);
        Ok(Self {
            estate,
            heads: Heads::load(conn)?,
            cursor: cursor.cast_unsigned(),
            epoch: lanes::epoch(conn)?,
            named: HashSet::new(),
            health_hour: parts.clock.now().wall_ms.div_euclid(HOUR_MS),
            audit: Reported::load(conn)?,
        })
    }

    /// In a new epoch the cloud may know nothing of the history.
    pub fn tell_history_anew(&mut self) {
        self.audit = Reported {
            entries: 0,
            again: Some(TraceHead::default()),
        };
    }

    /// At the start and once an hour, where the chain over the parcels' history stands, if it has
    /// moved. It is what is on disk: this batch's own steps come with the next.
    fn audit(&mut self, now: Now, hourly: bool) -> Vec<Change> {
        let again = self.audit.again.take();
        let head = self.heads.trace;
        let moved = head.entries != self.audit.entries;
        let due = moved && (hourly || again.is_some());
        if due {
            self.audit.entries = head.entries;
        }
        let known = again.filter(|again| again.entries > 0);
        let told = known.into_iter().chain(due.then_some(head));
        told.map(|head| Change::Uplink {
            at_ms: now.wall_ms,
            report: Report::Audit {
                entries: head.entries,
                head: head.chain.0,
            },
        })
        .collect()
    }
}

impl Reported {
    fn load(conn: &Connection) -> Result<Self, StoreError> {
        let entries = load::meta(conn, AUDIT_REPORTED)?.unwrap_or(0);
        let entries = entries.cast_unsigned();
        // An entry that is gone isn't told again: the head then has fewer, which shows as well.
        let again = trace::stored_chain(conn, entries)?.map(|chain| TraceHead { entries, chain });
        Ok(Self {
            entries,
            again: Some(again.unwrap_or_default()),
        })
    }
}

impl Staged {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.quarantine.is_empty()
            && self.acked.is_empty()
            && self.cuts.is_empty()
            && self.new_epoch.is_none()
            && self.line_uses.is_empty()
            && self.cursor.is_none()
    }
}

impl StagedCut {
    fn refuse(self, why: &NotTaken) {
        drop(self.reply.send(Err(why.clone())));
    }
}

impl Reply {
    fn send(self) {
        // Whoever asked may have gone: then nobody needs the answer.
        match self {
            Self::Device(to, answer) => drop(to.send(answer)),
            Self::Cloud(to) => drop(to.send(Ok(()))),
            Self::Epoch(to, epoch) => drop(to.send(Ok(epoch))),
            Self::Open(to, answer) => drop(to.send(answer)),
            Self::Told(to, answer) => drop(to.send(answer)),
        }
    }

    fn refuse(self, why: &NotTaken) {
        match self {
            Self::Device(to, _) => drop(to.send(Answer::NotTaken(why.to_string()))),
            Self::Cloud(to) => drop(to.send(Err(why.clone()))),
            Self::Epoch(to, _) => drop(to.send(Err(why.clone()))),
            Self::Open(to, _) => drop(to.send(Err(why.to_string()))),
            Self::Told(to, _) => drop(to.send(Err(why.to_string()))),
        }
    }
}

/// How every parcel stands.
fn every_parcel(estate: &Estate, now: Now) -> impl Iterator<Item = Change> {
    estate.parcels().map(move |row| Change::Uplink {
        at_ms: now.wall_ms,
        report: Report::Parcel(row.report()),
    })
}

fn event_row<'a>(device: &'a Ident, event: &'a Prepared) -> EventRow<'a> {
    EventRow {
        device,
        boot: event.boot,
        seq: event.seq,
        kind: event.kind,
        at_ms: event.at_ms,
        at_by: event.at_by,
        received_ms: event.received_ms,
        quality: event.quality,
        body: &event.body,
    }
}
