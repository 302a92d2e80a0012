//! Taking a batch, while other clouds take others.
//!
//! Each lane moves by one conditional update: from where the batch says that it stands to where it
//! then is. Whoever comes second finds no such row, looks at what is there, and sees a duplicate, a
//! gap, a fork or an older epoch. So nothing waits but two batches for the same lane. Lanes are
//! taken by urgency, so that two batches with several lanes can't wait for each other.
//!
//! The way of nearly every batch has two round trips: nonce and moves; then items, what they mean,
//! the outbox, and the commit. No outcome is told that the commit hasn't answered.

use std::collections::BTreeMap;

use cloud_protocol::received::{ReceivedItem, ReceivedLane};
use cloud_protocol::{Acked, Chain, Lane, Problem, Received};
use deadpool_postgres::Object;

use super::meaning::Meaning;
use super::nonces;
use super::pipeline::{Parameter, Pipeline};
use super::{number_of, signed, unsigned};
use crate::store::{Ingest, Nonce, StoreError, meaning, refusal};

/// How often a batch looks again when its lanes move under it.
const TRIES: usize = 16;

const MOVE: &str = "
    UPDATE lane SET last = $6, chain = $7, seen = true, items = items + $8,
                    unknown = unknown + $9, duplicates = duplicates + $10
    WHERE gateway = $1 AND lane = $2 AND epoch = $3 AND last = $4 AND chain = $5";
const ITEMS: &str = "
    INSERT INTO item (gateway, epoch, lane, seq, known, body, chain)
    SELECT $1::text, $2::bigint, * FROM unnest($3::smallint[], $4::bigint[], $5::bool[], $6::bytea[], $7::bytea[])";
const OUTBOX: &str = "
    INSERT INTO outbox (gateway, epoch, lane, first, last)
    SELECT $1::text, $2::bigint, * FROM unnest($3::smallint[], $4::bigint[], $5::bigint[])";
/// A new epoch: all lanes start again, or are made; in their order.
const ENTER: [&str; 4] = [
    "INSERT INTO gateway (gateway) VALUES ($1) ON CONFLICT DO NOTHING",
    "INSERT INTO lane (gateway, lane, last, chain)
     SELECT $1::text, lane, 0, $2::bytea FROM generate_series(0, 2) AS lane ON CONFLICT DO NOTHING",
    "SELECT FROM lane WHERE gateway = $1 ORDER BY lane FOR UPDATE",
    "UPDATE lane SET epoch = $3, last = 0, chain = $2
     WHERE gateway = $1 AND (epoch IS NULL OR epoch < $3)",
];
const AGAIN: &str = "UPDATE lane SET duplicates = duplicates + $3 WHERE gateway = $1 AND lane = $2";

/// A lane's part of a batch, with the chain after each of its items.
struct Part<'a> {
    lane: Lane,
    part: &'a ReceivedLane,
    chains: Vec<Chain>,
}

/// Where a lane stands.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    last: u64,
    chain: Chain,
}

/// What a batch does to a lane.
struct Move<'a> {
    lane: Lane,
    from: Position,
    to: Position,
    /// The items that are new, with their chains.
    new: Vec<(&'a ReceivedItem, Chain)>,
    /// How many were known.
    again: usize,
}

/// What a batch does.
struct Plan<'a> {
    /// Whether its epoch is new.
    enter: bool,
    moves: Vec<Move<'a>>,
}

/// What a look at the lanes tells.
enum Verdict<'a> {
    Refused(Box<Problem>),
    /// Everything is known: how many items of each lane.
    Known(Acked, Vec<(Lane, usize)>),
    Try(Plan<'a>),
}

/// Takes a batch of `gateway` on this connection. After an error the connection may be in the
/// middle of a transaction.
pub(super) async fn take(
    client: &Object,
    gateway: &str,
    batch: &Received,
    request: &Nonce,
) -> Result<Ingest, StoreError> {
    let parts: Vec<Part<'_>> = batch.lanes.iter().map(Part::of).collect();
    let mut taking = Taking {
        client,
        gateway,
        epoch: signed(batch.epoch),
        request,
        open: false,
    };
    // Without a lane there is nothing that would show whether the epoch is the one that is known.
    let mut plan = (!parts.is_empty()).then(|| Plan::as_stated(&parts));
    for _ in 0..TRIES {
        if let Some(plan) = &plan {
            match taking.attempt(plan).await? {
                Attempt::Taken(acked) => return Ok(Ingest::Taken(acked)),
                Attempt::Replay => return Ok(Ingest::Refused(refusal::replay())),
                Attempt::Elsewhere => {}
            }
        }
        match taking.look(batch.epoch, &parts).await? {
            Verdict::Refused(problem) => return taking.end(&[], Ingest::Refused(problem)).await,
            Verdict::Known(acked, again) => {
                return taking.end(&again, Ingest::Taken(acked)).await;
            }
            Verdict::Try(next) => plan = Some(next),
        }
    }
    Err(StoreError::Busy(format!(
        "the lanes of '{gateway}' moved {TRIES} times while a batch was taken"
    )))
}

enum Attempt {
    Taken(Acked),
    Replay,
    /// The lanes aren't where the plan has them.
    Elsewhere,
}

struct Taking<'a> {
    client: &'a Object,
    gateway: &'a str,
    epoch: i64,
    request: &'a Nonce,
    /// Whether a transaction is open, with the nonce in it and nothing else.
    open: bool,
}

impl Taking<'_> {
    async fn attempt(&mut self, plan: &Plan<'_>) -> Result<Attempt, StoreError> {
        let rows: Vec<MoveRow> = plan.moves.iter().map(MoveRow::of).collect();
        let start = Chain::default();
        let nothing: &[u8] = &start.0;
        let mut pipeline = Pipeline::on(self.client);
        let had_nonce = self.open;
        if !self.open {
            pipeline.simple("BEGIN");
            nonces::add(&mut pipeline, &self.gateway, self.request).await?;
        }
        if plan.enter {
            let [gateway, make, hold, enter] = ENTER;
            pipeline.add(gateway, vec![&self.gateway]).await?;
            pipeline.add(make, vec![&self.gateway, &nothing]).await?;
            pipeline.add(hold, vec![&self.gateway]).await?;
            let parameters: Vec<Parameter<'_>> = vec![&self.gateway, &nothing, &self.epoch];
            pipeline.add(enter, parameters).await?;
        }
        for row in &rows {
            pipeline
                .add(MOVE, row.parameters(&self.gateway, &self.epoch))
                .await?;
        }
        let answers = pipeline.run().await?;
        if !had_nonce && answers.get(1) == Some(&0) {
            self.client.batch_execute("ROLLBACK").await?;
            return Ok(Attempt::Replay);
        }
        let moved = answers.iter().rev().take(rows.len());
        let moved = moved.filter(|count| **count == 1).count();
        if moved == rows.len() {
            return self.write(plan).await.map(Attempt::Taken);
        }
        self.open = moved == 0 && !plan.enter;
        if !self.open {
            self.client.batch_execute("ROLLBACK").await?;
        }
        Ok(Attempt::Elsewhere)
    }

    /// The lanes have moved in the open transaction: what goes with it, and the commit.
    async fn write(&self, plan: &Plan<'_>) -> Result<Acked, StoreError> {
        let rows = ItemRows::of(&plan.moves);
        let bodies: Vec<&[u8]> = rows.bodies.iter().map(Vec::as_slice).collect();
        let new = plan.moves.iter().flat_map(|lane| &lane.new);
        let meaning = Meaning::of(new.map(|(item, _)| *item));
        let mut pipeline = Pipeline::on(self.client);
        if !rows.seqs.is_empty() {
            let parameters: Vec<Parameter<'_>> = vec![
                &self.gateway,
                &self.epoch,
                &rows.lanes,
                &rows.seqs,
                &rows.known,
                &bodies,
                &rows.chains,
            ];
            pipeline.add(ITEMS, parameters).await?;
            let out = &rows.outbox;
            let parameters: Vec<Parameter<'_>> =
                vec![&self.gateway, &self.epoch, &out.0, &out.1, &out.2];
            pipeline.add(OUTBOX, parameters).await?;
        }
        meaning
            .write(&mut pipeline, &self.gateway, &self.epoch)
            .await?;
        pipeline.simple("COMMIT");
        pipeline.run().await?;
        self.tell_contradictions(&meaning).await?;
        Ok(plan.acked())
    }

    /// A person must know.
    async fn tell_contradictions(&self, meaning: &Meaning<'_>) -> Result<(), StoreError> {
        for (entries, head) in meaning.heads() {
            let row = self
                .client
                .query_opt(
                    "SELECT contradicts FROM audit WHERE gateway = $1 AND epoch = $2
                     AND entries = $3 AND head = $4 AND contradicts IS NOT NULL",
                    &[&self.gateway, &self.epoch, &entries, &head],
                )
                .await?;
            if let Some(row) = row {
                let (gateway, why): (&str, &str) = (self.gateway, row.get(0));
                tracing::error!(
                    gateway,
                    entries,
                    "the gateway's history contradicts itself: {why}"
                );
            }
        }
        Ok(())
    }

    /// Where the lanes are, and what that means for the batch. Reads only.
    async fn look<'p>(&self, epoch: u64, parts: &'p [Part<'p>]) -> Result<Verdict<'p>, StoreError> {
        let select = self
            .client
            .prepare_cached("SELECT lane, epoch, last, chain, seen FROM lane WHERE gateway = $1")
            .await?;
        let rows = self.client.query(&select, &[&self.gateway]).await?;
        let mut own = None;
        let mut lanes = BTreeMap::new();
        for row in rows {
            let lane: i16 = row.get(0);
            let stored: Option<i64> = row.get(1);
            own = stored.map(unsigned);
            let last = unsigned(row.get(2));
            let chain = chain_of(row.get(3))?;
            let seen: bool = row.get(4);
            lanes.insert(lane, (Position { last, chain }, seen));
        }
        if let Some(own) = own.filter(|own| epoch < *own) {
            return Ok(Verdict::Refused(refusal::epoch(epoch, own)));
        }
        let enter = own != Some(epoch);
        let mut moves = Vec::with_capacity(parts.len());
        let mut needed = enter;
        for part in parts {
            let there = lanes.get(&number_of(part.lane)).filter(|_| !enter);
            let (position, seen) = there.copied().unwrap_or((Position::START, false));
            if let Some(problem) = refusal::bad_start(part.lane, part.part, position.last) {
                return Ok(Verdict::Refused(problem));
            }
            if !self.agrees(part, position).await? {
                let seq = self.first_other(part, position).await?;
                return Ok(Verdict::Refused(refusal::fork(part.lane, seq)));
            }
            let step = part.from(position);
            needed |= !step.new.is_empty() || !seen;
            moves.push(step);
        }
        let plan = Plan { enter, moves };
        if needed {
            return Ok(Verdict::Try(plan));
        }
        let again = plan.moves.iter().map(|step| (step.lane, step.again));
        Ok(Verdict::Known(plan.acked(), again.collect()))
    }

    /// Whether what is sent again is what is here. One comparison is enough: the chain at the last
    /// item that both have is over everything before it.
    async fn agrees(&self, part: &Part<'_>, position: Position) -> Result<bool, StoreError> {
        let common = part.last().min(position.last);
        let Some(stated) = part.chain_at(common) else {
            return Ok(false);
        };
        if common == position.last {
            return Ok(stated == position.chain);
        }
        if common == 0 {
            return Ok(stated == Chain::default());
        }
        let stored = self.chains(part.lane, common, common).await?;
        Ok(stored.get(&common) == Some(&stated))
    }

    /// The first item whose chain is another here; for the words of the refusal.
    async fn first_other(&self, part: &Part<'_>, position: Position) -> Result<u64, StoreError> {
        let common = part.last().min(position.last);
        let first = part.part.after.max(1);
        let stored = self.chains(part.lane, first, common).await?;
        let other = |seq: &u64| stored.get(seq).copied() != part.chain_at(*seq);
        Ok((first..=common).find(other).unwrap_or(common))
    }

    async fn chains(
        &self,
        lane: Lane,
        first: u64,
        last: u64,
    ) -> Result<BTreeMap<u64, Chain>, StoreError> {
        let select = self
            .client
            .prepare_cached(
                "SELECT seq, chain FROM item
                 WHERE gateway = $1 AND epoch = $2 AND lane = $3 AND seq BETWEEN $4 AND $5",
            )
            .await?;
        let lane = number_of(lane);
        let range: [Parameter<'_>; 5] = [
            &self.gateway,
            &self.epoch,
            &lane,
            &signed(first),
            &signed(last),
        ];
        let rows = self.client.query(&select, &range).await?;
        rows.iter()
            .map(|row| Ok((unsigned(row.get(0)), chain_of(row.get(1))?)))
            .collect()
    }

    /// Ends with an outcome that writes nothing but the nonce and the count of what came again. It
    /// isn't waited for on the disk: if a crash loses it, the same request may come once more, and
    /// gets the same answer.
    async fn end(&self, again: &[(Lane, usize)], outcome: Ingest) -> Result<Ingest, StoreError> {
        let again = again.iter().filter(|(_, again)| *again > 0);
        let again: Vec<(i16, i64)> = again
            .map(|(lane, again)| (number_of(*lane), count(*again)))
            .collect();
        let mut pipeline = Pipeline::on(self.client);
        if !self.open {
            pipeline.simple("BEGIN");
            nonces::add(&mut pipeline, &self.gateway, self.request).await?;
        }
        for (lane, again) in &again {
            pipeline
                .add(AGAIN, vec![&self.gateway, lane, again])
                .await?;
        }
        pipeline.simple("SET LOCAL synchronous_commit = off");
        pipeline.simple("COMMIT");
        let answers = pipeline.run().await?;
        if !self.open && answers.get(1) == Some(&0) {
            return Ok(Ingest::Refused(refusal::replay()));
        }
        Ok(outcome)
    }
}

impl Position {
    const START: Self = Self {
        last: 0,
        chain: Chain([0; 32]),
    };
}

impl<'a> Part<'a> {
    fn of((lane, part): (&Lane, &'a ReceivedLane)) -> Self {
        let mut chain = part.chain;
        let chains = part.items.iter().map(|item| {
            chain = chain.then_encoded(&item.encoded());
            chain
        });
        Self {
            lane: *lane,
            chains: chains.collect(),
            part,
        }
    }

    fn last(&self) -> u64 {
        self.part.after + self.part.items.len() as u64
    }

    /// The chain up to `seq`, as the batch has it.
    fn chain_at(&self, seq: u64) -> Option<Chain> {
        let index = usize::try_from(seq.checked_sub(self.part.after)?).ok()?;
        match index.checked_sub(1) {
            None => Some(self.part.chain),
            Some(index) => self.chains.get(index).copied(),
        }
    }

    /// What is to do when the lane stands at `position`, with which the part agrees.
    fn from(&self, position: Position) -> Move<'a> {
        let items = self.part.items.iter().zip(self.chains.iter().copied());
        let new: Vec<_> = items.filter(|(item, _)| item.seq > position.last).collect();
        let to = new.last().map_or(position, |(item, chain)| Position {
            last: item.seq,
            chain: *chain,
        });
        Move {
            lane: self.lane,
            from: position,
            to,
            again: self.part.items.len() - new.len(),
            new,
        }
    }
}

impl<'a> Plan<'a> {
    /// Every lane stands where the batch begins.
    fn as_stated(parts: &[Part<'a>]) -> Self {
        let moves = parts.iter().map(|part| {
            part.from(Position {
                last: part.part.after,
                chain: part.part.chain,
            })
        });
        Self {
            enter: false,
            moves: moves.collect(),
        }
    }

    fn acked(&self) -> Acked {
        let lanes = self.moves.iter().map(|step| (step.lane, step.to.last));
        Acked(lanes.collect())
    }
}

/// The parameters of a [`MOVE`].
struct MoveRow<'a> {
    lane: i16,
    from: i64,
    from_chain: &'a [u8],
    to: i64,
    to_chain: &'a [u8],
    new: i64,
    unknown: i64,
    again: i64,
}

impl<'a> MoveRow<'a> {
    fn of(step: &'a Move<'_>) -> Self {
        let unknown = step.new.iter().filter(|(item, _)| item.report.is_none());
        Self {
            lane: number_of(step.lane),
            from: signed(step.from.last),
            from_chain: &step.from.chain.0,
            to: signed(step.to.last),
            to_chain: &step.to.chain.0,
            new: count(step.new.len()),
            unknown: count(unknown.count()),
            again: count(step.again),
        }
    }

    fn parameters<'b>(&'b self, gateway: &'b &'b str, epoch: &'b i64) -> Vec<Parameter<'b>> {
        vec![
            gateway,
            &self.lane,
            epoch,
            &self.from,
            &self.from_chain,
            &self.to,
            &self.to_chain,
            &self.new,
            &self.unknown,
            &self.again,
        ]
    }
}

/// The new items by column, and the outbox's rows by column: lane, first, last.
#[derive(Default)]
struct ItemRows<'a> {
    lanes: Vec<i16>,
    seqs: Vec<i64>,
    known: Vec<bool>,
    bodies: Vec<Vec<u8>>,
    chains: Vec<&'a [u8]>,
    outbox: (Vec<i16>, Vec<i64>, Vec<i64>),
}

impl<'a> ItemRows<'a> {
    fn of(moves: &'a [Move<'_>]) -> Self {
        let mut rows = Self::default();
        for step in moves {
            for (item, chain) in &step.new {
                rows.lanes.push(number_of(step.lane));
                rows.seqs.push(signed(item.seq));
                rows.known.push(item.report.is_some());
                rows.bodies
                    .push(meaning::without_code(&item.value).to_cbor());
                rows.chains.push(&chain.0);
            }
            if !step.new.is_empty() {
                rows.outbox.0.push(number_of(step.lane));
                rows.outbox.1.push(signed(step.from.last + 1));
                rows.outbox.2.push(signed(step.to.last));
            }
        }
        rows
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A stored chain.
pub(super) fn chain_of(stored: &[u8]) -> Result<Chain, StoreError> {
    let chain = stored.try_into().map(Chain);
    chain.map_err(|_| StoreError::Unreadable("a chain that isn't 32 bytes".to_string()))
}
