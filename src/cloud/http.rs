//! HTTP/1.1 to one cloud: a request in, the whole answer out, with what it cost.
//!
//! Bounds: the time for a request is the caller's, at most three connections are kept, an answer's
//! head is at most 64 KiB, its body at most [`BODY_MAX_BYTES`], counted while it comes in. No
//! redirect is followed and no cookie kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud_protocol::BODY_MAX_BYTES;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Connector;
use super::meter::Cost;
use super::stream::Tally;

/// The uplink's two tracks and the downlink.
const CONNECTIONS_MAX: usize = 3;
const IDLE_LONGEST: Duration = Duration::from_secs(90);
const HEAD_MAX_BYTES: usize = 64 * 1024;

/// Speaks HTTP with one cloud.
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
}

/// An answer, as it came.
pub(super) struct Answer {
    /// What it says.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its content, not unpacked.
    pub body: Vec<u8>,
    /// What it cost.
    pub cost: Cost,
}

/// Why there is no answer. What it cost has gone to the meter.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The time for the request ran out.
    #[error("the time ran out")]
    TimedOut,
    /// No connection, or it broke before the answer's head.
    #[error(transparent)]
    Request(#[from] hyper_util::client::legacy::Error),
    /// It broke within the answer.
    #[error(transparent)]
    Answer(#[from] hyper::Error),
    /// The answer is too large.
    #[error("the answer is over {BODY_MAX_BYTES} bytes")]
    TooLarge,
}

impl Http {
    /// Over connections by `connector`.
    pub fn new(connector: Connector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LONGEST)
            .pool_max_idle_per_host(CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_MAX_BYTES)
            .build(connector);
        Self { client }
    }

    /// Sends a request and reads the answer, all within `time`.
    pub async fn call(
        &self,
        request: Request<Full<Bytes>>,
        time: Duration,
    ) -> Result<Answer, NoAnswer> {
        let asked = Instant::now();
        let answered = tokio::time::timeout(time, async {
            let response = self.client.request(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, NoAnswer>((bounded(body).await?, head))
        });
        let (body, head) = answered.await.map_err(|_| NoAnswer::TimedOut)??;
        // A connection carries one request at a time, so what has crossed it is this one's.
        let tally = head.extensions.get::<Arc<Tally>>();
        let (sent, received) = tally.map(|tally| tally.take()).unwrap_or_default();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            cost: Cost {
                sent,
                received,
                took: asked.elapsed(),
            },
        })
    }
}

async fn bounded(mut body: Incoming) -> Result<Vec<u8>, NoAnswer> {
    let stated = body.size_hint().lower();
    if stated > BODY_MAX_BYTES as u64 {
        return Err(NoAnswer::TooLarge);
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else {
            continue;
        };
        if whole.len() + chunk.len() > BODY_MAX_BYTES {
            return Err(NoAnswer::TooLarge);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}
