//! After a cut: the real start-up on what was found, against what the world knew when the power went.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use linli::cloud::Ledger as _;
use linli::intake::Answer;
use linli::store::audit::{Bound, verify_all};
use linli::store::{schema, store_file};
use rusqlite::Connection;

use crate::cloud;
use crate::gateway::{Gateway, Heard, send};
use crate::mark::{NewEvent, Place};
use crate::memory::{Memory, Parcel, may_be_gone};
use crate::rng::Rng;
use crate::site::devices;

/// How much was compared.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub events: u64,
    pub sent_again: u64,
    pub commands: u64,
    pub live_codes: u64,
    pub dead_codes: u64,
    pub uplink_items: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.sent_again += other.sent_again;
        self.commands += other.commands;
        self.live_codes += other.live_codes;
        self.dead_codes += other.dead_codes;
        self.uplink_items += other.uplink_items;
    }
}

/// Everything that must hold. An error says what doesn't.
pub async fn check(state: &Path, memory: Memory, rng: &mut Rng) -> Result<Tally, String> {
    let away_ms = match rng.below(6) {
        0 => rng.below(20 * 3_600_000),
        1 => rng.below(600_000),
        _ => rng.below(5_000),
    };
    let mut wall_ms = memory.wall_ms + away_ms as i64;
    let wrong = memory.wrong.first().cloned();
    let mut after = After::start(state, memory, wall_ms)?;
    after.opens_nothing("the start").await?;
    if rng.one_in(24) {
        after.opens_nothing_at_later_ticks().await?;
    }
    after.store_holds_what_was_acknowledged()?;
    after.books_have_what_was_opened()?;
    after.devices_send_again(rng).await?;
    after.ledgers_balance()?;
    after.uplink_goes_on(rng).await?;
    after.downlink_goes_on().await?;
    after.history_is_whole()?;
    after.parcels_are_where_they_are()?;
    after.codes_do_what_they_must(rng).await?;
    if rng.one_in(8) {
        wall_ms = after.gateway.clock.now().wall_ms;
        let (memory, tally) = (after.memory, after.tally);
        after.gateway.stop().await;
        after = After::start(state, memory, wall_ms)?;
        after.tally = tally;
        after.opens_nothing("a start after an orderly stop").await?;
        after.store_holds_what_was_acknowledged()?;
        after.history_is_whole()?;
    }
    let tally = after.tally;
    after.gateway.stop().await;
    match wrong {
        Some(wrong) => Err(format!("while it ran: {wrong}")),
        None => Ok(tally),
    }
}

/// A gateway after a cut, with a world that goes on.
struct After {
    gateway: Gateway,
    reader: Connection,
    memory: Memory,
    tally: Tally,
    receipts: BTreeMap<(String, u32), u64>,
}

impl After {
    fn start(state: &Path, memory: Memory, wall_ms: i64) -> Result<Self, String> {
        let gateway = Gateway::open(state, wall_ms, None)
            .map_err(|e| format!("the start-up failed: {e:#}"))?;
        let reader = schema::open_reader(&store_file(state))
            .map_err(|e| format!("the store can't be read: {e}"))?;
        let sound: String = reader
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .map_err(|e| format!("the store can't be read: {e}"))?;
        if sound != "ok" {
            return Err(format!("the store is damaged: {sound}"));
        }
        Ok(Self {
            gateway,
            reader,
            memory,
            tally: Tally::default(),
            receipts: BTreeMap::new(),
        })
    }

    /// What the gateway has for the devices: commands to open, none of which was sent before.
    fn openings(&mut self) -> Result<Vec<(String, u16)>, String> {
        let mut openings = Vec::new();
        for heard in self.gateway.heard() {
            let id = match heard {
                Heard::Receipt { device, boot, seq } => {
                    self.receipts.insert((device, boot), seq);
                    continue;
                }
                Heard::Open {
                    bank,
                    compartment,
                    id,
                } => {
                    openings.push((bank, compartment));
                    id
                }
                Heard::Other { id } => id,
            };
            self.tally.commands += 1;
            if self.memory.commands.contains(&id) {
                return Err(format!("command {id} was sent before the cut, and again"));
            }
        }
        Ok(openings)
    }

    async fn opens_nothing(&mut self, of_what: &str) -> Result<(), String> {
        self.gateway.settled().await;
        match self.openings()?.first() {
            Some((bank, n)) => Err(format!("{bank}/{n} was opened, by {of_what}")),
            None => Ok(()),
        }
    }

    /// Past the time at which a waiting command is sent again.
    async fn opens_nothing_at_later_ticks(&mut self) -> Result<(), String> {
        self.gateway.clock.advance(4_000);
        let until = Instant::now() + Duration::from_millis(600);
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.opens_nothing("a tick after the start").await?;
        }
        Ok(())
    }

    /// The events that are stored: device, boot and number, in order; none of them twice.
    fn stored(&self) -> Result<BTreeMap<(String, u32), Vec<u64>>, String> {
        let read = || {
            let mut select = self.reader.prepare(
                "SELECT d.device, e.boot, json_group_array(e.seq ORDER BY e.seq)
                 FROM events e JOIN devices d ON d.ref = e.device GROUP BY d.device, e.boot",
            )?;
            let rows = select.query_map([], |row| {
                let seqs: String = row.get(2)?;
                let seqs: Vec<u64> = serde_json::from_str(&seqs).expect("numbers in JSON");
                Ok(((row.get(0)?, row.get(1)?), seqs))
            })?;
            rows.collect::<rusqlite::Result<BTreeMap<_, _>>>()
        };
        let stored = read().map_err(|e| format!("the events can't be read: {e}"))?;
        for (boot, seqs) in &stored {
            if let Some(twice) = seqs.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("{boot:?} {} is stored twice", twice[0]));
            }
        }
        Ok(stored)
    }

    fn store_holds_what_was_acknowledged(&mut self) -> Result<(), String> {
        let mut stored = self.stored()?;
        let wall_ms = self.gateway.clock.now().wall_ms;
        for (device, known) in &self.memory.devices {
            for (boot, known) in &known.boots {
                let key = (device.clone(), *boot);
                let seqs = stored.remove(&key).unwrap_or_default();
                for (seq, known) in &known.events {
                    let event = &known.event;
                    let stays = known.acked && event.kind != "nonsense";
                    if !stays || may_be_gone(event, wall_ms) {
                        continue;
                    }
                    self.tally.events += 1;
                    if seqs.binary_search(seq).is_err() {
                        let kind = &event.kind;
                        return Err(format!(
                            "{device}, boot {boot}, {seq} ({kind}) was acknowledged, and is gone"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Nothing was opened that isn't on disk.
    fn books_have_what_was_opened(&self) -> Result<(), String> {
        for id in &self.memory.opened {
            let select = "SELECT count(*) FROM commands WHERE id = ?1";
            let known = self
                .reader
                .query_row(select, [id], |row| row.get::<_, i64>(0));
            if known.map_err(|e| format!("the commands can't be read: {e}"))? == 0 {
                return Err(format!("command {id} has opened a door, and isn't on disk"));
            }
        }
        Ok(())
    }

    /// What was acknowledged and comes again changes nothing; what wasn't is taken; the receipts reach
    /// what the devices have sent.
    async fn devices_send_again(&mut self, rng: &mut Rng) -> Result<(), String> {
        for device in devices() {
            let again = self.acknowledged(device, rng);
            self.deliver(&again).await?;
            self.opens_nothing("what was acknowledged and came again")
                .await?;
        }
        for device in devices() {
            let waiting = self.memory.waiting(device);
            for events in waiting.chunks(1 + rng.below(32) as usize) {
                self.deliver(events).await?;
            }
            self.gateway.settled().await;
            // A person's gesture that hadn't been taken may open now.
            self.openings()?;
            self.receipts_reach(device, &waiting)?;
        }
        self.stored().map(|_| ())
    }

    /// The last acknowledged events of the device's boot.
    fn acknowledged(&self, device: &str, rng: &mut Rng) -> Vec<NewEvent> {
        let Some(known) = self.memory.devices.get(device) else {
            return Vec::new();
        };
        let events = known
            .boots
            .get(&known.boot)
            .map(|boot| boot.events.values());
        let acked = events
            .into_iter()
            .flatten()
            .rev()
            .filter(|event| event.acked);
        let last = acked.take(1 + rng.below(6) as usize);
        last.map(|event| event.event.clone()).collect()
    }

    async fn deliver(&mut self, events: &[NewEvent]) -> Result<(), String> {
        let now_ms = self.gateway.clock.now().wall_ms;
        self.tally.sent_again += events.len() as u64;
        match send(&self.gateway.opened.intake, events, now_ms).await {
            Answer::Taken | Answer::Malformed(_) => Ok(()),
            Answer::NotTaken(why) => Err(format!("events weren't taken after the cut: {why}")),
        }
    }

    fn receipts_reach(&self, device: &str, sent: &[NewEvent]) -> Result<(), String> {
        let Some(last) = sent.last() else {
            return Ok(());
        };
        let known = (device.to_owned(), last.boot);
        match self.receipts.get(&known) {
            Some(seq) if *seq >= last.seq => Ok(()),
            other => Err(format!(
                "{device} has sent up to {} of boot {}, the last receipt is {other:?}",
                last.seq, last.boot
            )),
        }
    }

    fn ledgers_balance(&self) -> Result<(), String> {
        let unbalanced = self.reader.query_row(
            "SELECT group_concat(device) FROM devices d
             WHERE received != stored + duplicate + quarantined
                OR stored < (SELECT count(*) FROM events WHERE device = d.ref)",
            [],
            |row| row.get::<_, Option<String>>(0),
        );
        match unbalanced.map_err(|e| format!("the ledgers can't be read: {e}"))? {
            None => Ok(()),
            Some(devices) => Err(format!("the ledger doesn't balance: {devices}")),
        }
    }

    /// The cloud takes the rest, without a gap or a fork.
    async fn uplink_goes_on(&mut self, rng: &mut Rng) -> Result<(), String> {
        loop {
            let limits = cloud::limits(1 + rng.below(60) as usize, 262_144);
            let ledger = &self.gateway.opened.ledger;
            let batch = ledger.next_batch(limits).await;
            let Some(batch) = batch.map_err(|e| format!("the uplink can't be read: {e}"))? else {
                break;
            };
            let (marks, acked) = cloud::take(&self.memory.cloud, &batch)?;
            let items = batch.lanes.values().map(|lane| lane.items.len() as u64);
            self.tally.uplink_items += items.sum::<u64>();
            marks.iter().for_each(|mark| self.memory.apply(mark));
            let entered = ledger.acked(batch.epoch, acked).await;
            entered.map_err(|e| format!("what the cloud has isn't entered: {e}"))?;
        }
        let heads = linli::store::lanes::heads(&self.reader);
        let heads = heads.map_err(|e| format!("the lanes can't be read: {e}"))?;
        for (lane, head) in heads {
            let known = self.memory.cloud.lanes.get(lane.name());
            let has = known.map_or(0, Vec::len) as u64;
            let chain = known.and_then(|lane| lane.last());
            let same = chain.is_none_or(|chain| *chain == cloud::hex(head.last_chain));
            if head.last_seq != has || !same {
                return Err(format!(
                    "lane {}: the gateway ends at {}, the cloud at {has}",
                    lane.name(),
                    head.last_seq
                ));
            }
        }
        Ok(())
    }

    /// The cursor is where it was known to be, or further; what is said again isn't taken again.
    async fn downlink_goes_on(&mut self) -> Result<(), String> {
        let ledger = &self.gateway.opened.ledger;
        let cursor = ledger.downlink_cursor().await;
        let cursor = cursor.map_err(|e| format!("the downlink's cursor can't be read: {e}"))?;
        let (taken, said) = (self.memory.cloud.taken, self.memory.cloud.says.len() as u64);
        if !(taken..=said).contains(&cursor) {
            return Err(format!(
                "the downlink's cursor is {cursor}, the gateway had taken {taken} of {said}"
            ));
        }
        let again = cloud::says(&self.memory.cloud, cursor.saturating_sub(3), usize::MAX);
        let entered = ledger.downlink(again).await;
        entered.map_err(|e| format!("the downlink isn't taken: {e}"))?;
        self.memory.cloud.taken = said;
        let mut select = self
            .reader
            .prepare(
                "SELECT parcel, count(*) FROM trace WHERE step = 'announced' GROUP BY parcel
                 HAVING count(*) > 1",
            )
            .map_err(|e| format!("the history can't be read: {e}"))?;
        let twice = select.query_row([], |row| row.get::<_, String>(0));
        match twice {
            Ok(parcel) => Err(format!("{parcel} was announced twice")),
            Err(_) => Ok(()),
        }
    }

    /// The chain over the parcels' history holds, and has the last head that the cloud was told.
    fn history_is_whole(&self) -> Result<(), String> {
        let none = (0, cloud::hex(cloud_protocol::Chain::default()));
        let (entries, head) = self.memory.cloud.heads.last().unwrap_or(&none);
        let bound = Bound {
            until: Instant::now() + Duration::from_secs(60),
            stopping: &|| false,
        };
        let verified = verify_all(&self.reader, Some(*entries), &bound);
        let verified = verified.map_err(|e| format!("the history can't be read: {e}"))?;
        if let Some(broken) = verified.broken {
            return Err(format!("the history is broken: {broken:?}"));
        }
        if verified.at.map(cloud::hex).as_ref() != Some(head) {
            let has = verified.sound.entries;
            return Err(format!(
                "the cloud was told the history's head at {entries}; the store has {has} entries \
                 and another one"
            ));
        }
        Ok(())
    }

    /// No parcel is lost, none in two places.
    fn parcels_are_where_they_are(&self) -> Result<(), String> {
        let held = self
            .held()
            .map_err(|e| format!("the compartments can't be read: {e}"))?;
        for id in self.memory.parcels.keys() {
            let at = held.get(id).map_or(&[][..], Vec::as_slice);
            if at.len() > 1 {
                return Err(format!("{id} is in {at:?}"));
            }
        }
        for (id, parcel) in self.memory.settled() {
            let stage: Result<String, _> =
                self.reader
                    .query_row("SELECT stage FROM parcels WHERE parcel = ?1", [id], |row| {
                        row.get(0)
                    });
            let Ok(stage) = stage else {
                return Err(format!("{id} was announced, and is gone"));
            };
            let at = held.get(id).and_then(|at| at.first());
            let should = match parcel.place {
                Place::In(n) => Some((parcel.point.clone(), n)),
                Place::Outside | Place::Gone => None,
            };
            if at != should.as_ref() {
                return Err(format!(
                    "{id} is in {should:?}; the books have it in {at:?}, {stage}"
                ));
            }
        }
        Ok(())
    }

    /// What the books have in which compartments.
    fn held(&self) -> rusqlite::Result<BTreeMap<String, Vec<(String, u16)>>> {
        let mut select = self.reader.prepare(
            "SELECT j.value, c.bank, c.compartment FROM compartments c, json_each(c.contents) j",
        )?;
        let rows = select.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?)))
        })?;
        let mut held = BTreeMap::<_, Vec<_>>::new();
        for row in rows {
            let (parcel, at) = row?;
            held.entry(parcel).or_default().push(at);
        }
        Ok(held)
    }

    /// Used codes open nothing any more, live ones exactly their compartment.
    async fn codes_do_what_they_must(&mut self, rng: &mut Rng) -> Result<(), String> {
        // Past the grace in which a used code opens again, and whatever was going on.
        self.gateway.clock.advance(400_000);
        self.gateway.settled().await;
        self.openings()?;
        let now_ms = self.gateway.clock.now().wall_ms;
        let settled = self.memory.settled();
        let mut all: Vec<(String, Parcel)> =
            settled.map(|(id, p)| (id.clone(), p.clone())).collect();
        let mut live = 0;
        let mut dead = 0;
        while !all.is_empty() {
            let (id, parcel) = all.swap_remove(rng.below(all.len() as u64) as usize);
            let bank = parcel.point.clone();
            if self.locked(&bank)? {
                continue;
            }
            let good = !parcel.cancelled && parcel.deadline > now_ms + 10_000;
            match (parcel.place, &parcel.code) {
                (Place::In(n), Some(code)) if good && live < 3 => {
                    live += 1;
                    let opened = self.type_code(&bank, code).await?;
                    if opened != [(bank.clone(), n)] {
                        return Err(format!(
                            "the code of {id}, in {bank}/{n}, has opened {opened:?}"
                        ));
                    }
                }
                (Place::Gone, Some(code)) if dead < 2 => {
                    dead += 1;
                    let opened = self.type_code(&bank, code).await?;
                    if !opened.is_empty() {
                        return Err(format!("the used code of {id} has opened {opened:?}"));
                    }
                }
                _ => {
                    let taken = self.memory.cloud.taken;
                    let old = parcel.dead.iter().find(|(_, n)| *n <= taken);
                    let Some((code, _)) = old.filter(|_| dead < 2) else {
                        continue;
                    };
                    dead += 1;
                    let opened = self.type_code(&bank, code).await?;
                    if !opened.is_empty() {
                        return Err(format!("an earlier code of {id} has opened {opened:?}"));
                    }
                }
            }
        }
        self.tally.live_codes += live;
        self.tally.dead_codes += dead;
        Ok(())
    }

    async fn type_code(&mut self, bank: &str, code: &str) -> Result<Vec<(String, u16)>, String> {
        let now_ms = self.gateway.clock.now().wall_ms;
        let device = self.memory.devices.entry(bank.to_owned()).or_default();
        let boot = device.boots.entry(device.boot).or_default();
        boot.last += 1;
        let typed = NewEvent {
            device: bank.to_owned(),
            boot: device.boot,
            seq: boot.last,
            at_ms: now_ms,
            kind: "keypad".to_owned(),
            body: format!("\"code\":\"{code}\""),
            parcel: None,
        };
        self.deliver(&[typed]).await?;
        self.openings()
    }

    /// Whether a stranger's guesses have locked the keypad.
    fn locked(&self, keypad: &str) -> Result<bool, String> {
        let tick_ms = self.gateway.clock.now().tick_ms.cast_signed();
        let locked = self.reader.query_row(
            "SELECT count(*) FROM keypads WHERE keypad = ?1 AND locked_until_tick_ms > ?2",
            rusqlite::params![keypad, tick_ms],
            |row| row.get::<_, i64>(0),
        );
        locked
            .map(|locked| locked > 0)
            .map_err(|e| format!("the keypads can't be read: {e}"))
    }
}
