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

    /// Closes the connection; the next request makes another one.
    pub fn hang_up(&mut self) {
        self.held = None;
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
    headers
        .get(name)
        .is_some_and(|v| v.as_bytes() == value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                            content-length: 11\r\n\r\n{\"good\":[]}";

    /// Answers every whole request, and counts them.
    async fn cloud() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&whole);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut held = Vec::new();
                    let mut chunk = [0; 4096];
                    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
                        held.extend_from_slice(&chunk[..n]);
                        if held.ends_with(b"the end") {
                            counted.fetch_add(1, Ordering::SeqCst);
                            held.clear();
                            stream.write_all(ANSWER).await.unwrap();
                        }
                    }
                });
            }
        });
        (address, whole)
    }

    fn asked() -> Asked {
        Asked {
            method: Method::POST,
            path: "/v1".to_string(),
            host: "h",
            signed: None,
            content: Bytes::from_static(b"from the start to the end"),
            packed: false,
            media: CBOR,
        }
    }

    #[tokio::test]
    async fn answers_come_and_bytes_are_counted() {
        let (address, whole) = cloud().await;
        let mut line = Line::new(Arc::from([address]), 0);
        for n in 1..=3 {
            let answer = line.ask(&asked(), Break::Nothing).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.value, Value::from_json(b"{\"good\":[]}").ok());
            assert_eq!(answer.passed.1, ANSWER.len() as u64);
            assert!(answer.passed.0 > asked().bytes_at_least());
            assert_eq!(whole.load(Ordering::SeqCst), n);
        }
    }

    #[tokio::test]
    async fn a_request_that_is_cut_never_arrives_whole() {
        let (address, whole) = cloud().await;
        let mut line = Line::new(Arc::from([address]), 0);
        for bytes in 0..asked().bytes_at_least() {
            let cut = line.ask(&asked(), Break::Request(bytes)).await;
            assert!(cut.is_err(), "{bytes}");
        }
        line.ask(&asked(), Break::Nothing).await.unwrap();
        assert_eq!(whole.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_request_whose_answer_is_lost_arrives_whole() {
        let (address, whole) = cloud().await;
        let mut line = Line::new(Arc::from([address]), 0);
        for n in 1..=5 {
            assert!(line.ask(&asked(), Break::Answer).await.is_err());
            assert_eq!(whole.load(Ordering::SeqCst), n);
        }
    }

    #[tokio::test]
    async fn when_one_cloud_is_away_the_other_is_asked() {
        let (address, whole) = cloud().await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = closed.local_addr().unwrap();
        drop(closed);
        let mut line = Line::new(Arc::from([gone, address]), 0);
        assert!(line.ask(&asked(), Break::Nothing).await.is_err());
        line.ask(&asked(), Break::Nothing).await.unwrap();
        assert_eq!(whole.load(Ordering::SeqCst), 1);
    }
}
