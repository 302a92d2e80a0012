//! The world around a gateway that is being recorded: devices with buffers of their own, a cloud. It
//! writes down what it knows before it does something with it (`mark.rs`), into a file that stands in
//! the same recording as the disk's operations.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linli::cloud::Ledger as _;
use linli::intake::Answer;
use linli::journal::Weakness;
use tokio::task::JoinSet;

use crate::cloud;
use crate::gateway::{Gateway, Heard, send};
use crate::mark::{Mark, Moved, NewEvent};
use crate::memory::Memory;
use crate::rng::Rng;
use crate::site::devices;

/// A command to open that nobody has carried out yet.
#[derive(Debug, Clone)]
pub struct Opening {
    pub bank: String,
    pub compartment: u16,
    pub id: String,
}

pub struct World {
    pub memory: Memory,
    pub rng: Rng,
    pub gateway: Gateway,
    pub openings: Vec<Opening>,
    state: PathBuf,
    weakness: Option<Weakness>,
    marks: File,
    /// Commands that reached their devices since the gateway's start: they may be sent again.
    of_this_run: HashSet<String>,
}

impl World {
    /// Starts the gateway on `state`.
    pub async fn start(
        state: &Path,
        marks: File,
        mut memory: Memory,
        rng: Rng,
        weakness: Option<Weakness>,
    ) -> Self {
        let starts = Mark::Starts {
            wall_ms: memory.wall_ms,
        };
        let mut marks = marks;
        write(&mut marks, &starts);
        memory.apply(&starts);
        let gateway = match Gateway::open(state, memory.wall_ms, weakness) {
            Ok(gateway) => gateway,
            Err(e) => {
                let what = format!("the start-up failed: {e:#}");
                write(&mut marks, &Mark::Wrong { what });
                crate::record::vanish();
            }
        };
        let mut world = Self {
            memory,
            rng,
            gateway,
            openings: Vec::new(),
            state: state.to_path_buf(),
            weakness,
            marks,
            of_this_run: HashSet::new(),
        };
        world.mark(Mark::Started);
        world.begin().await;
        world
    }

    /// Stops the gateway in order and starts it again.
    pub async fn restart(self) -> Self {
        let Self {
            mut memory,
            rng,
            gateway,
            state,
            weakness,
            mut marks,
            ..
        } = self;
        gateway.stop().await;
        write(&mut marks, &Mark::Stopped);
        memory.apply(&Mark::Stopped);
        Self::start(&state, marks, memory, rng, weakness).await
    }

    /// Stops the gateway in order, for good.
    pub async fn stop(self) {
        let mut marks = self.marks;
        self.gateway.stop().await;
        write(&mut marks, &Mark::Stopped);
    }

    /// A start opens nothing; then the devices send what they still have.
    async fn begin(&mut self) {
        self.gateway.settled().await;
        self.listen();
        if let Some(opening) = self.openings.first() {
            let what = format!("{opening:?} came of a start");
            self.mark(Mark::Wrong { what });
        }
        for device in devices() {
            let waiting = self.memory.waiting(device);
            for events in waiting.chunks(32) {
                self.deliver(events).await;
            }
        }
        self.obey_all().await;
    }

    /// Learns something, and writes it down.
    pub fn mark(&mut self, mark: Mark) {
        write(&mut self.marks, &mark);
        self.memory.apply(&mark);
    }

    pub fn now_ms(&self) -> i64 {
        self.memory.wall_ms
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        self.gateway
            .clock
            .advance(u32::try_from(ms).unwrap_or(u32::MAX));
        let wall_ms = self.gateway.clock.now().wall_ms;
        self.mark(Mark::Time { wall_ms });
    }

    /// A device notes an event in its buffer.
    pub fn note(
        &mut self,
        device: &str,
        kind: &str,
        body: &str,
        parcel: Option<Moved>,
    ) -> NewEvent {
        let known = self.memory.devices.entry(device.to_owned()).or_default();
        let boot = known.boot;
        let last = known.boots.entry(boot).or_default().last;
        let event = NewEvent {
            device: device.to_owned(),
            boot,
            seq: last + 1,
            at_ms: self.memory.wall_ms,
            kind: kind.to_owned(),
            body: body.to_owned(),
            parcel,
        };
        self.mark(Mark::Event(event.clone()));
        event
    }

    /// A device notes an event and sends it.
    pub async fn tell(&mut self, device: &str, kind: &str, body: &str) {
        let event = self.note(device, kind, body, None);
        self.deliver(&[event]).await;
    }

    /// Sends events of one device, and notes what was acknowledged. What comes for the devices
    /// meanwhile reaches them at once.
    pub async fn deliver(&mut self, events: &[NewEvent]) {
        let intake = self.gateway.opened.intake.clone();
        let sending = send(&intake, events, self.now_ms());
        tokio::pin!(sending);
        let answer = loop {
            tokio::select! {
                biased;
                Some(message) = self.gateway.opened.from_journal.recv() => {
                    self.hear(Heard::of(&message));
                }
                answer = &mut sending => break answer,
            }
        };
        self.answered(events, &answer);
        self.listen();
    }

    /// Several devices send at once.
    pub async fn deliver_all(&mut self, payloads: Vec<Vec<NewEvent>>) {
        let mut sending = JoinSet::new();
        for events in payloads {
            let (intake, now_ms) = (self.gateway.opened.intake.clone(), self.now_ms());
            sending.spawn(async move {
                let answer = send(&intake, &events, now_ms).await;
                (events, answer)
            });
        }
        while let Some(sent) = sending.join_next().await {
            let (events, answer) = sent.expect("a device that sends");
            self.answered(&events, &answer);
            self.listen();
        }
    }

    fn answered(&mut self, events: &[NewEvent], answer: &Answer) {
        if let Answer::NotTaken(why) = answer {
            let what = format!("events weren't taken: {why}");
            return self.mark(Mark::Wrong { what });
        }
        let Some(first) = events.first() else {
            return;
        };
        let mut by_boot = std::collections::BTreeMap::<u32, Vec<u64>>::new();
        for event in events {
            by_boot.entry(event.boot).or_default().push(event.seq);
        }
        for (boot, seqs) in by_boot {
            let device = first.device.clone();
            self.mark(Mark::Acked { device, boot, seqs });
        }
    }

    /// Takes what the gateway has for the devices.
    pub fn listen(&mut self) {
        for heard in self.gateway.heard() {
            self.hear(heard);
        }
    }

    fn hear(&mut self, heard: Heard) {
        let id = match &heard {
            Heard::Receipt { device, boot, seq } => {
                let (device, boot, seq) = (device.clone(), *boot, *seq);
                return self.mark(Mark::Receipt { device, boot, seq });
            }
            Heard::Open { id, .. } | Heard::Other { id } => id.clone(),
        };
        let first = self.of_this_run.insert(id.clone());
        if first && self.memory.commands.contains(&id) {
            let what = format!("{heard:?} was sent before the restart");
            self.mark(Mark::Wrong { what });
        }
        let opens = matches!(heard, Heard::Open { .. });
        self.mark(Mark::Command { id, opens });
        match heard {
            Heard::Open {
                bank,
                compartment,
                id,
            } if first => self.openings.push(Opening {
                bank,
                compartment,
                id,
            }),
            _ => {}
        }
    }

    /// The command to open that comes of what was just done at `bank`, if one does.
    pub async fn opening(&mut self, bank: &str) -> Option<Opening> {
        let until = Instant::now() + Duration::from_millis(20);
        loop {
            self.listen();
            let at = self.openings.iter().position(|open| open.bank == bank);
            if let Some(at) = at {
                return Some(self.openings.remove(at));
            }
            if Instant::now() > until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The lock releases, somebody does something with what is inside, the door closes.
    pub async fn obey(&mut self, opening: &Opening, moved: Option<Moved>) {
        let Opening {
            bank,
            compartment,
            id,
        } = opening;
        let bank = bank.as_str();
        let occupied = |world: &Self| world.memory.inside(bank, *compartment).is_some();
        let door = |door, occupied| {
            format!("\"compartment\":{compartment},\"door\":\"{door}\",\"occupied\":{occupied}")
        };
        let done = format!("\"command\":\"{id}\",\"outcome\":\"done\"");
        let (before, apart) = (occupied(self), self.rng.one_in(2));
        let mut events = vec![
            self.note(bank, "result", &done, None),
            self.note(bank, "compartment", &door("open", before), None),
        ];
        if apart {
            self.deliver(&events[..1]).await;
            self.deliver(&events[1..]).await;
            events.clear();
            self.pass(3_000);
        }
        let after = match &moved {
            Some(moved) => moved.to == crate::mark::Place::In(*compartment),
            None => before,
        };
        events.push(self.note(bank, "compartment", &door("closed", after), moved));
        self.deliver(&events).await;
    }

    /// Nobody does anything at what has opened.
    pub async fn obey_all(&mut self) {
        while let Some(opening) = self.openings.pop() {
            self.obey(&opening, None).await;
        }
    }

    /// The cloud takes what waits for it. Now and then its answer is lost.
    pub async fn uplink(&mut self) {
        for _ in 0..10 {
            let limits = cloud::limits(1 + self.rng.below(40) as usize, 65_536);
            let batch = match self.gateway.opened.ledger.next_batch(limits).await {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(e) => return self.wrong(format!("the uplink can't be read: {e}")),
            };
            let (marks, acked) = match cloud::take(&self.memory.cloud, &batch) {
                Ok(taken) => taken,
                Err(what) => return self.wrong(what),
            };
            marks.into_iter().for_each(|mark| self.mark(mark));
            if self.rng.one_in(5) {
                continue;
            }
            if let Err(e) = self.gateway.opened.ledger.acked(batch.epoch, acked).await {
                return self.wrong(format!("what the cloud has isn't entered: {e}"));
            }
        }
    }

    /// The gateway hears what the cloud has to say.
    pub async fn downlink(&mut self) {
        let cursor = match self.gateway.opened.ledger.downlink_cursor().await {
            Ok(cursor) => cursor,
            Err(e) => return self.wrong(format!("the downlink's cursor can't be read: {e}")),
        };
        if cursor < self.memory.cloud.taken {
            let taken = self.memory.cloud.taken;
            return self.wrong(format!("the downlink's cursor is {cursor}, was {taken}"));
        }
        let count = 1 + self.rng.below(6) as usize;
        let items = cloud::says(&self.memory.cloud, cursor, count);
        let n = cursor + items.len() as u64;
        if items.is_empty() {
            return;
        }
        match self.gateway.opened.ledger.downlink(items).await {
            Ok(()) => self.mark(Mark::SaysTaken { n }),
            Err(e) => self.wrong(format!("the downlink isn't taken: {e}")),
        }
        self.listen();
    }

    /// What must never happen did.
    pub fn wrong(&mut self, what: String) {
        self.mark(Mark::Wrong { what });
    }
}

/// One write a mark, so that it has its place among the disk's operations.
fn write(marks: &mut File, mark: &Mark) {
    let mut line = serde_json::to_string(mark).expect("a mark in JSON");
    line.push('\n');
    marks.write_all(line.as_bytes()).expect("the marks");
}
