//! Feeding the outbox to a stream of NATS JetStream (feature `nats`).
//!
//! Each item goes to the subject `linli.uplink.GATEWAY.LANE`, its body in CBOR as it is stored, with
//! the message id `GATEWAY/EPOCH/LANE/SEQ`. It is taken out of the outbox after the stream has
//! acknowledged it: so each item comes at least once, and a lane's items come in their order. What
//! comes again within the stream's window is dropped by JetStream; who reads after longer knows it by
//! its id. One cloud publishes at a time ([`Store::outbox`]).
//!
//! JetStream acknowledges before its file is synced, unless the server has `sync_interval: always`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, stream};
use cloud_protocol::Lane;
use firmware_protocols::event::Secret;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Outgoing, Store, StoreError};

/// The subjects of the stream.
pub const SUBJECTS: &str = "linli.uplink.>";
/// The most rows of the outbox at a time; a row is a lane's part of a batch.
const ROWS: usize = 256;
/// Between two looks into an outbox that was empty, or that another cloud has.
const IDLE: Duration = Duration::from_millis(250);
/// Between two tries after a failure: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How long the stream may take to acknowledge.
const ACK: Duration = Duration::from_secs(5);
/// For how long the stream knows a message again.
const WINDOW: Duration = Duration::from_secs(600);

/// Where the stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsAt {
    /// `nats://user:password@host:port`
    pub url: Secret,
    /// The stream's name; it is made, in files, if it isn't there.
    pub stream: String,
}

/// Why nothing could be published.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The outbox can't be read.
    #[error("the outbox can't be read")]
    Store(#[from] StoreError),
    /// The stream isn't there, or doesn't acknowledge.
    #[error("NATS: {0}: check that it runs with JetStream (-js), and the URL")]
    Nats(String),
}

/// Publishes until `stop` is true. Failures are logged and tried again.
pub async fn publish(store: Arc<dyn Store>, at: NatsAt, mut stop: watch::Receiver<bool>) {
    let mut context = None;
    let mut pause = PAUSE.0;
    while !*stop.borrow() {
        let wait = match round(&store, &at, &mut context).await {
            Ok(0) => IDLE,
            Ok(_) => Duration::ZERO,
            Err(e) => {
                tracing::warn!("items wait in the outbox: {e}");
                pause = (pause * 2).min(PAUSE.1);
                pause
            }
        };
        if wait < pause {
            pause = PAUSE.0;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Publishes what waits, up to [`ROWS`]; how many rows that were.
async fn round(
    store: &Arc<dyn Store>,
    at: &NatsAt,
    connected: &mut Option<Context>,
) -> Result<usize, NatsError> {
    let context = match connected {
        Some(context) => context.clone(),
        None => connected.insert(connect(at).await?).clone(),
    };
    let Some(rows) = store.outbox(ROWS).await? else {
        return Ok(0);
    };
    // A lane's rows one after the other, each item after the stream has the one before; the lanes
    // beside each other.
    let mut lanes: BTreeMap<(String, Lane), Vec<Outgoing>> = BTreeMap::new();
    for row in rows {
        let lane = (row.gateway.clone(), row.lane);
        lanes.entry(lane).or_default().push(row);
    }
    let mut sending = JoinSet::new();
    for rows in lanes.into_values() {
        sending.spawn(send_rows(context.clone(), rows));
    }
    let (mut told, mut failure) = (Vec::new(), None);
    while let Some(sent) = sending.join_next().await {
        let (ids, outcome) = sent.map_err(|e| NatsError::Nats(e.to_string()))?;
        told.extend(ids);
        failure = outcome.err().or(failure);
    }
    if !told.is_empty() {
        store.told(&told).await?;
    }
    failure.map_or(Ok(told.len()), Err)
}

async fn connect(at: &NatsAt) -> Result<Context, NatsError> {
    let options = async_nats::ConnectOptions::new().name("linli-reference-cloud");
    let client = options.connect(at.url.reveal()).await.map_err(nats)?;
    let context = jetstream::ContextBuilder::new()
        .timeout(ACK)
        .ack_timeout(ACK)
        .build(client);
    let config = stream::Config {
        name: at.stream.clone(),
        subjects: vec![SUBJECTS.to_string()],
        storage: stream::StorageType::File,
        duplicate_window: WINDOW,
        ..stream::Config::default()
    };
    context.get_or_create_stream(config).await.map_err(nats)?;
    Ok(context)
}

/// Sends the rows of one lane; the ids of those that the stream has whole, up to the first failure.
async fn send_rows(context: Context, rows: Vec<Outgoing>) -> (Vec<u64>, Result<(), NatsError>) {
    let mut told = Vec::with_capacity(rows.len());
    for row in rows {
        if let Err(e) = send_row(&context, &row).await {
            return (told, Err(e));
        }
        told.push(row.id);
    }
    (told, Ok(()))
}

async fn send_row(context: &Context, row: &Outgoing) -> Result<(), NatsError> {
    let lane = row.lane.name();
    let subject = format!("linli.uplink.{}.{lane}", row.gateway);
    for (seq, body) in &row.items {
        let message = PublishMessage::build()
            .message_id(format!("{}/{}/{lane}/{seq}", row.gateway, row.epoch))
            .payload(body.clone().into());
        let acked = context.send_publish(subject.clone(), message);
        acked.await.map_err(nats)?.await.map_err(nats)?;
    }
    Ok(())
}

fn nats(e: impl std::fmt::Display) -> NatsError {
    NatsError::Nats(e.to_string())
}
