//! The journal's thread: waits for work, gathers a batch, ticks the estate, keeps the log short.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use estate::{Estate, Layout, Now};
use tokio::sync::{Notify, mpsc, oneshot};

use super::batch::Batcher;
use super::{BATCH_MAX, INBOX_MAX, Inbox, Relayout, Settings, Status, Weakness, Work, retention};
use crate::clock::Clock;
use crate::disk::{self, Disk, Duty, chain};
use crate::keys::{DayKeys, KeyError, Keys, OsRandom};
use crate::links::ToDevice;
use crate::store::schema::{self, WriterConnection};
use crate::store::{StateDir, StoreError, doing, load};

/// Pages of the write-ahead log beyond which it is checkpointed even under load (16 MiB).
const WAL_PAGES_MAX: i32 = 4_096;
/// Pages beyond which it is checkpointed when nobody waits (4 MiB).
const WAL_PAGES_IDLE: i32 = 1_024;
/// So much company is enough: what a commit costs is shared well by then.
const GATHER_ENOUGH: usize = 32;
/// How often the estate is told that time passes.
const TICK: Duration = Duration::from_millis(250);
/// When old events are first looked for: a box that loses its power often sweeps too. Ms of running
/// time, as the next two.
const SWEEP_FIRST_MS: u64 = 1_000;
/// How often old events are looked for, and how soon again while there are more.
const SWEEP_EVERY_MS: u64 = 60_000;
const SWEEP_AGAIN_MS: u64 = 200;

/// What the journal is made of.
pub struct Parts {
    /// The locked state folder.
    pub state: StateDir,
    /// The long-lived keys.
    pub keys: Arc<Keys>,
    /// The daily keys.
    pub days: Arc<DayKeys>,
    /// The time.
    pub clock: Clock,
    /// What stands where.
    pub layout: Layout,
    /// What the operator set.
    pub settings: Settings,
    /// The way to the links.
    pub outbound: mpsc::Sender<ToDevice>,
    /// Wakes the uplink.
    pub nudge: Arc<Notify>,
    /// What the disk refuses.
    pub disk: Disk,
}

/// A running journal.
pub struct Journal {
    /// The way in.
    pub inbox: Inbox,
    /// How it is.
    pub status: Arc<Status>,
    stop: crossbeam_channel::Sender<()>,
    thread: JoinHandle<()>,
}

impl Journal {
    /// Opens the store, loads the estate and starts the thread.
    pub fn start(parts: Parts) -> anyhow::Result<Self> {
        let (sender, receiver) = crossbeam_channel::bounded(INBOX_MAX);
        let (stop, stopped) = crossbeam_channel::bounded(1);
        let status = Arc::new(Status::default());
        let store = parts.state.store();
        let told = |e: StoreError| e.at_start(&store);
        let writer = schema::open_writer(&store, parts.clock.now().wall_ms).map_err(told)?;
        if own_mark(&writer.conn, &parts.keys).map_err(told)? != parts.keys.codes.mark() {
            return Err(KeyError::Foreign.into());
        }
        if parts.settings.weakness.is_some_and(Weakness::never_syncs) {
            writer.conn.pragma_update(None, "synchronous", "OFF")?;
        }
        let random = OsRandom::new()?;
        let batcher =
            Batcher::load(&parts, &writer.conn, Arc::clone(&status), random).map_err(told)?;
        let looped = Loop {
            receiver,
            stopped,
            writer,
            batcher,
            gather: Duration::from_millis(parts.settings.gather_ms),
            checkpoint_at: Instant::now(),
            parts,
        };
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || looped.run())?;
        let inbox = Inbox {
            sender,
            status: Arc::clone(&status),
        };
        Ok(Self {
            inbox,
            status,
            stop,
            thread,
        })
    }

    /// Commits what waits, and ends. Work that comes later is answered 'stopping'.
    pub async fn stop(self) {
        let Self { stop, thread, .. } = self;
        let (done, ended) = oneshot::channel();
        std::thread::spawn(move || {
            // The thread takes the signal, or has already ended.
            let _ = stop.send(());
            let _ = done.send(thread.join());
        });
        if let Ok(Err(_)) = ended.await {
            tracing::error!("the journal's thread panicked");
        }
    }

    /// Whether the thread has ended, which it doesn't on its own unless it panicked.
    pub fn ended(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Loop {
    receiver: Receiver<Work>,
    stopped: Receiver<()>,
    writer: WriterConnection,
    batcher: Batcher,
    gather: Duration,
    /// Not before this is a checkpoint tried.
    checkpoint_at: Instant,
    parts: Parts,
}

impl Loop {
    fn run(mut self) {
        let mut tick_at = Instant::now();
        let mut sweep_at_tick_ms = self.parts.clock.now().tick_ms + SWEEP_FIRST_MS;
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            if self.stopped.try_recv().is_ok() {
                return self.drain();
            }
            let turns = &self.batcher.status().turns;
            turns.fetch_add(1, Ordering::Relaxed);
            let relayout = match self.receiver.recv_timeout(self.until(tick_at)) {
                Ok(first) => self.fill(first, &mut batch),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let ticking = Instant::now() >= tick_at;
            if ticking {
                tick_at = Instant::now() + TICK;
            }
            self.batcher
                .run(&mut self.writer.conn, &mut batch, ticking, &self.parts);
            relayout.into_iter().for_each(|new| self.relayout(*new));
            self.checkpoint();
            let now = self.parts.clock.now();
            if now.tick_ms >= sweep_at_tick_ms && self.receiver.is_empty() {
                sweep_at_tick_ms = now.tick_ms + self.sweep(now);
            }
        }
    }

    fn until(&self, tick_at: Instant) -> Duration {
        tick_at
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1))
    }

    /// Takes what waits. If nobody in it waits in person, lets company come for a moment. A new layout
    /// ends the batch, and is taken after it.
    fn fill(&self, first: Work, batch: &mut Vec<Work>) -> Option<Box<Relayout>> {
        let deadline = Instant::now() + self.gather;
        let (mut next, mut urgent) = (first, false);
        loop {
            if let Work::Relayout(relayout) = next {
                return Some(relayout);
            }
            urgent |= next.urgent();
            batch.push(next);
            if batch.len() >= BATCH_MAX {
                return None;
            }
            let enough = urgent || batch.len() >= GATHER_ENOUGH || self.gather.is_zero();
            next = if enough {
                self.receiver.try_recv().ok()?
            } else {
                self.receiver.recv_deadline(deadline).ok()?
            };
        }
    }

    fn relayout(&mut self, new: Relayout) {
        let Relayout {
            layout,
            settings,
            reply,
        } = new;
        let conn = &self.writer.conn;
        let taken = self.batcher.relayout(conn, &layout, &self.parts);
        if taken.is_ok() {
            self.gather = Duration::from_millis(settings.gather_ms);
            self.parts.days.keep(settings.retention.access_days);
            self.parts.layout = layout;
            self.parts.settings = Settings {
                weakness: self.parts.settings.weakness,
                ..settings
            };
        }
        // Whoever asked may have gone: it holds all the same.
        drop(reply.send(taken));
    }

    /// The last batches, as long as something waits.
    fn drain(mut self) {
        let mut batch = Vec::new();
        while let Ok(first) = self.receiver.try_recv() {
            let relayout = self.fill(first, &mut batch);
            self.batcher
                .run(&mut self.writer.conn, &mut batch, false, &self.parts);
            relayout.into_iter().for_each(|new| self.relayout(*new));
        }
        self.batcher.save_clock(&mut self.writer.conn, &self.parts);
        if let Err(e) = self.writer.checkpoint_at_the_end() {
            tracing::warn!(error = %chain(&e), "no checkpoint at the end; the next start does it");
        }
    }

    fn checkpoint(&mut self) {
        let pages = self.writer.wal_pages();
        self.note_log(pages);
        let idle = self.receiver.is_empty();
        let disk = &self.parts.disk;
        let due = pages >= WAL_PAGES_MAX || (pages >= WAL_PAGES_IDLE && idle);
        let due = due || disk.is_refused(Duty::Checkpoint);
        if !due || Instant::now() < self.checkpoint_at {
            return;
        }
        let done = self.writer.checkpoint();
        disk.note(Duty::Checkpoint, &done);
        match done {
            Ok(()) => self.note_log(self.writer.wal_pages()),
            Err(_) => self.checkpoint_at = Instant::now() + disk::TRY_AGAIN,
        }
    }

    fn note_log(&self, pages: i32) {
        let bytes = u64::try_from(pages).unwrap_or(0) * schema::PAGE_BYTES;
        let log_bytes = &self.batcher.status().log_bytes;
        log_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Returns how soon to sweep again, ms.
    fn sweep(&mut self, now: Now) -> u64 {
        if !self.batcher.may_delete_by(now) {
            return SWEEP_EVERY_MS;
        }
        let retention = &self.parts.settings.retention;
        let conn = &mut self.writer.conn;
        let swept = retention::sweep(conn, retention, &self.parts.days, now.wall_ms);
        self.parts.disk.note(Duty::Retention, &swept);
        match swept {
            Ok(true) => SWEEP_AGAIN_MS,
            Ok(false) => SWEEP_EVERY_MS,
            Err(_) => u64::try_from(disk::TRY_AGAIN.as_millis()).unwrap_or(SWEEP_EVERY_MS),
        }
    }
}

/// The mark of the key that the store was made with; a new store gets the mark of this one.
fn own_mark(conn: &rusqlite::Connection, keys: &Keys) -> Result<i64, StoreError> {
    if let Some(known) = load::meta(conn, "code_key_mark")? {
        return Ok(known);
    }
    let mark = keys.codes.mark();
    conn.execute(
        "INSERT INTO meta (name, value) VALUES ('code_key_mark', ?1)",
        [mark],
    )
    .map_err(doing("marked as this box's"))?;
    Ok(mark)
}

/// Loads the estate from the store.
pub(super) fn load_estate(
    layout: &Layout,
    conn: &rusqlite::Connection,
) -> Result<Estate, StoreError> {
    let snapshot = crate::store::load::snapshot(conn)?;
    Estate::load(layout.clone(), snapshot).map_err(|e| StoreError::Damaged {
        table: "estate",
        what: e.to_string(),
    })
}

impl Status {
    /// Notes a commit.
    pub(super) fn committed(&self, newest_event: Option<i64>) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        if let Some(id) = newest_event {
            self.newest_event.send_replace(id);
        }
    }
}
