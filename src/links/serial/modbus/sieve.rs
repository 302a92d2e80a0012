//! What stands between the line and the Modbus codec: it lets only the answer to the request through.
//!
//! The codec of `tokio-modbus` takes any frame for the answer, and gives up for good on bytes that are
//! none. On a real bus there are both: a glitch when a driver is switched, a slave's answer that comes
//! after its time, another's. Here the answer is known by its address, its function, its length, which
//! follows from the request, and its checksum; whatever else comes is noise, and is counted.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::check::MODBUS;
use super::super::line::Line;
use super::super::status::PortStatus;

/// How many bytes that may become an answer are kept: two of the longest frames.
const HEARD_MAX_BYTES: usize = 512;
/// An exception: address, function, code, checksum.
const EXCEPTION_BYTES: usize = 5;

/// The answer that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The slave's address.
    pub address: u8,
    /// The function.
    pub function: u8,
    /// How long the whole frame is, if it isn't an exception.
    pub bytes: usize,
}

/// A line that gives only answers. Clones are the same line.
#[derive(Clone)]
pub struct Sieve(Arc<Mutex<Mesh>>);

struct Mesh {
    line: Line,
    status: Arc<PortStatus>,
    expected: Option<Expected>,
    /// What came in and isn't an answer yet.
    heard: Vec<u8>,
    /// Whether anything came since the request.
    any: bool,
    /// The answer that was found, and how much of it was read.
    answer: Vec<u8>,
    read: usize,
    /// The last byte in or out.
    last: Instant,
    failed: Option<io::Error>,
}

impl Sieve {
    /// Over this line.
    pub fn new(line: Line, status: Arc<PortStatus>) -> Self {
        Self(Arc::new(Mutex::new(Mesh {
            line,
            status,
            expected: None,
            heard: Vec::new(),
            any: false,
            answer: Vec::new(),
            read: 0,
            last: Instant::now(),
            failed: None,
        })))
    }

    /// From now on this answer is waited for; what came before is noise.
    pub fn expect(&self, expected: Expected) {
        let mut mesh = self.lock();
        mesh.forget();
        mesh.expected = Some(expected);
        mesh.any = false;
        mesh.answer.clear();
        mesh.read = 0;
    }

    /// No answer is waited for any more.
    pub fn expect_none(&self) {
        let mut mesh = self.lock();
        mesh.expected = None;
        mesh.forget();
    }

    /// The answer that was found.
    pub fn answer(&self) -> Vec<u8> {
        self.lock().answer.clone()
    }

    /// Whether anything came since the request.
    pub fn heard_any(&self) -> bool {
        self.lock().any
    }

    /// When the last byte went or came.
    pub fn last(&self) -> Instant {
        self.lock().last
    }

    /// Why the line failed, if it did.
    pub fn failed(&self) -> Option<io::Error> {
        self.lock().failed.take()
    }

    fn lock(&self) -> MutexGuard<'_, Mesh> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mesh {
    /// Reads what there is.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 256];
        let mut chunk = ReadBuf::new(&mut chunk);
        let came = match ready!(Pin::new(&mut self.line).poll_read(cx, &mut chunk)) {
            Ok(()) if chunk.filled().is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        if let Err(e) = came {
            let kind = e.kind();
            self.failed = Some(e);
            return Poll::Ready(Err(kind.into()));
        }
        self.last = Instant::now();
        self.any = true;
        self.heard.extend_from_slice(chunk.filled());
        self.sift();
        Poll::Ready(Ok(()))
    }

    fn sift(&mut self) {
        let Some(expected) = self.expected else {
            return self.forget();
        };
        if !self.answer.is_empty() {
            return self.forget();
        }
        if let Some((from, to)) = find(&self.heard, expected) {
            self.answer = self.heard.get(from..to).unwrap_or(&[]).to_vec();
            self.heard.drain(..to);
            self.noise(from);
        }
        let over = self.heard.len().saturating_sub(HEARD_MAX_BYTES);
        self.heard.drain(..over);
        self.noise(over);
    }

    fn forget(&mut self) {
        let bytes = self.heard.len();
        self.heard.clear();
        self.noise(bytes);
    }

    fn noise(&self, bytes: usize) {
        if bytes > 0 {
            self.status.noise(bytes);
        }
    }
}

impl AsyncRead for Sieve {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut mesh = self.lock();
        loop {
            let rest = mesh.answer.get(mesh.read..).unwrap_or(&[]);
            if !rest.is_empty() {
                let n = rest.len().min(buf.remaining());
                buf.put_slice(rest.get(..n).unwrap_or(&[]));
                mesh.read += n;
                return Poll::Ready(Ok(()));
            }
            ready!(mesh.poll_hear(cx))?;
            if mesh.expected.is_none() {
                // Somebody only listens: what came is noise, and the line works.
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Sieve {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut mesh = self.lock();
        let written = ready!(Pin::new(&mut mesh.line).poll_write(cx, bytes));
        mesh.last = Instant::now();
        Poll::Ready(mesh.check(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut mesh = self.lock();
        let flushed = ready!(Pin::new(&mut mesh.line).poll_flush(cx));
        Poll::Ready(mesh.check(flushed))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The line outlives every request.
        Poll::Ready(Ok(()))
    }
}

impl Mesh {
    fn check<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|e| {
            let kind = e.kind();
            self.failed = Some(e);
            kind.into()
        })
    }
}

/// Where the first whole answer stands, from and to.
fn find(heard: &[u8], expected: Expected) -> Option<(usize, usize)> {
    (0..heard.len()).find_map(|from| {
        let front = heard.get(from..)?;
        let [address, function, ..] = front else {
            return None;
        };
        let bytes = match function {
            _ if *address != expected.address => return None,
            function if *function == expected.function => expected.bytes,
            function if *function == expected.function | 0x80 => EXCEPTION_BYTES,
            _ => return None,
        };
        let (frame, sum) = front
            .get(..bytes)?
            .split_at_checked(bytes.checked_sub(2)?)?;
        (sum == MODBUS.checksum(frame).to_le_bytes()).then_some((from, from + bytes))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_sum(frame: &[u8]) -> Vec<u8> {
        [frame, &MODBUS.checksum(frame).to_le_bytes()].concat()
    }

    const FOUR_BYTES: Expected = Expected {
        address: 1,
        function: 4,
        bytes: 9,
    };

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // A request that is found in many manuals: read two registers from 0 of slave 1.
        assert_eq!(
            with_sum(&[1, 3, 0, 0, 0, 2]),
            [1, 3, 0, 0, 0, 2, 0xc4, 0x0b]
        );
    }

    #[test]
    fn an_answer_is_known_by_address_function_length_and_sum() {
        let answer = with_sum(&[1, 4, 4, 0, 1, 0, 2]);
        assert_eq!(find(&answer, FOUR_BYTES), Some((0, 9)));
        let refused = with_sum(&[1, 0x84, 2]);
        assert_eq!(find(&refused, FOUR_BYTES), Some((0, 5)));
        for other in [
            with_sum(&[2, 4, 4, 0, 1, 0, 2]),
            with_sum(&[1, 3, 4, 0, 1, 0, 2]),
            with_sum(&[1, 4, 2, 0, 1]),
            with_sum(&[1, 0x83, 2]),
            answer[..8].to_vec(),
        ] {
            assert_eq!(find(&other, FOUR_BYTES), None, "{other:x?}");
        }
    }

    proptest! {
        /// Whatever comes before it, the answer is found as soon as it is whole.
        #[test]
        fn the_answer_is_found_behind_noise(
            noise in prop::collection::vec(any::<u8>(), 0..300),
            data in any::<[u8; 4]>(),
        ) {
            let answer = with_sum(&[&[1, 4, 4][..], &data].concat());
            let heard = [noise.clone(), answer.clone()].concat();
            let (from, to) = find(&heard, FOUR_BYTES).unwrap();
            // Noise may hold an answer of its own, by a chance of one in 65,536.
            prop_assume!(find(&noise, FOUR_BYTES).is_none());
            prop_assert!(from <= noise.len() && to <= heard.len());
            prop_assert!(from == noise.len() || to > noise.len());
        }

        #[test]
        fn any_bytes_are_looked_at_without_harm(
            heard in prop::collection::vec(any::<u8>(), 0..600),
            address in any::<u8>(),
            function in any::<u8>(),
            bytes in 0..300_usize,
        ) {
            let found = find(&heard, Expected { address, function, bytes });
            prop_assert!(found.is_none_or(|(from, to)| from < to && to <= heard.len()));
        }
    }
}
