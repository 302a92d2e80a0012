//! A gateway's connection: HTTP/1.1 to one of the two clouds, to the other one when it fails, as behind
//! a balancer that knows nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud_protocol::secure::compressed::{self, ZSTD};
use cloud_protocol::secure::signed::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT, SignedHeaders};
use cloud_protocol::{BODY_MAX_BYTES, CBOR};
use firmware_protocols::Value;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::stream::{Counted, Wire};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that wasn't used for so long is closed: a fleet doesn't keep idle ones.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// A request, ready to be sent as often as one likes.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How.
    pub method: Method,
    /// The path and the query.
    pub path: String,
    /// The host of the public URL.
    pub host: &'static str,
    /// Its signature; none for the calls of the operator.
    pub signed: Option<SignedHeaders>,
    /// The body as it is sent.
    pub content: Bytes,
    /// Whether it is in zstd.
    pub packed: bool,
    /// The media type of the body.
    pub media: &'static str,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Nothing.
    Nothing,
    /// The connection, after so many bytes of the request.
    Request(u64),
    /// The connection, with the first byte of the answer.
    Answer,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, if it could be read.
    pub value: Option<Value>,
    /// Bytes up and down on the connection.
    pub passed: (u64, u64),
    /// From the first byte up to the last one down.
    pub took: Duration,
}

/// The connection.
pub struct Line {
    clouds: Arc<[SocketAddr]>,
    at: usize,
    held: Option<Held>,
}

struct Held {
    sender: SendRequest<Full<Bytes>>,
    wire: Arc<Wire>,
    used: Instant,
}

impl Line {
    /// To one of `clouds` first; not connected yet.
    pub fn new(clouds: Arc<[SocketAddr]>, first: usize) -> Self {
        let at = first % clouds.len().max(1);
        Self {
            clouds,
            at,
            held: None,
        }
    }

    /// A line of its own to another cloud than this one.
    pub fn beside(&self) -> Self {
        Self::new(Arc::clone(&self.clouds), self.at + 1)
    }

    /// Asks, and waits for the answer. An error is the connection's: what became of the request isn't
    /// known.
    pub async fn ask(&mut self, asked: &Asked, breaks: Break) -> anyhow::Result<Answer> {
        let answer = match tokio::time::timeout(TIMEOUT, self.attempt(asked, breaks)).await {
            Ok(answer) => answer,
            Err(_) => Err(anyhow::anyhow!("no answer within {TIMEOUT:?}")),
        };
        if answer.is_err() {
            self.held = None;
            if breaks == Break::Nothing {
                self.at = (self.at + 1) % self.clouds.len().max(1);
            }
        }
        answer
    }

    async fn attempt(&mut self, asked: &Asked, breaks: Break) -> anyhow::Result<Answer> {
        let held = self.connected().await?;
        held.sender.ready().await?;
        let before = held.wire.passed();
        match breaks {
            Break::Nothing => {}
            Break::Request(bytes) => held.wire.cut_after(bytes),
            Break::Answer => held.wire.deafen(),
        }
        let started = Instant::now();
        let answer = held.sender.send_request(asked.request()?).await?;
        let status = answer.status().as_u16();
        let value = read(answer).await?;
        held.used = Instant::now();
        let after = held.wire.passed();
        Ok(Answer {
            status,
            value,
            passed: (after.0 - before.0, after.1 - before.1),
            took: started.elapsed(),
        })
    }

    async fn connected(&mut self) -> anyhow::Result<&mut Held> {
        let good = |held: &Held| !held.sender.is_closed() && held.used.elapsed() < IDLE_MAX;
        let held = match self.held.take().filter(good) {
            Some(held) => held,
            None => Held::connect(self.clouds[self.at]).await?,
        };
        Ok(self.held.insert(held))
    }
}

impl Held {
    async fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let wire = Arc::new(Wire::default());
        let stream = Counted::new(stream, Arc::clone(&wire));
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender, or breaks, which the sender tells.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            wire,
            used: Instant::now(),
        })
    }
}

impl Asked {
    /// Its bytes on the wire are at least so many.
    pub fn bytes_at_least(&self) -> u64 {
        let signed = self.signed.as_ref().map_or(0, |signed| {
            signed.content_digest.len() + signed.signature_input.len() + signed.signature.len()
        });
        (signed + self.path.len() + self.content.len()) as u64
    }

    fn request(&self) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::HOST, self.host)
            .header(header::ACCEPT, self.media)
            .header(header::ACCEPT_ENCODING, ZSTD);
        if !self.content.is_empty() {
            request = request.header(header::CONTENT_TYPE, self.media);
        }
        if self.packed {
            request = request.header(header::CONTENT_ENCODING, ZSTD);
        }
        if let Some(signed) = &self.signed {
            request = request
                .header(CONTENT_DIGEST, &signed.content_digest)
                .header(SIGNATURE_INPUT, &signed.signature_input)
                .header(SIGNATURE, &signed.signature);
        }
        Ok(request.body(Full::new(self.content.clone()))?)
    }
}

async fn read(answer: Response<Incoming>) -> anyhow::Result<Option<Value>> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, BODY_MAX_BYTES).collect().await;
    let body = body.map_err(|e| anyhow::anyhow!("the answer broke off: {e}"))?;
    let body = body.to_bytes();
    let is = |name, value| has(&head.headers, name, value);
    let body = match is(header::CONTENT_ENCODING, ZSTD) {
        true => Bytes::from(compressed::unpack(&body)?),
        false => body,
    };
    Ok(match is(header::CONTENT_TYPE, CBOR) {
        true => Value::from_cbor(&body).ok(),
        false => Value::from_json(&body).ok(),
    })
}

fn has(headers: &HeaderMap, name: header::HeaderName, value: &str) -> bool {
    headers.get(name).is_some_and(|v| v.as_bytes() == value.as_bytes())
}
