//! One request at a time, and what comes of it.
//!
//! Each request has a codec of its own over the [`Sieve`], so that nothing of one that was broken off
//! can be taken for an answer to the next.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_modbus::client::{Client as _, rtu};
use tokio_modbus::{ExceptionCode, Request, Response, Slave};

use super::super::line::{Line, LineError};
use super::super::status::PortStatus;
use super::blocks::{Block, Contents};
use super::sieve::{Expected, Sieve};
use crate::config::serial::{PortSection, RegisterFunction};

/// The silence before a request on fast lines (Modbus over serial line v1.02, § 2.5.1.1).
const SILENCE_LEAST: Duration = Duration::from_micros(1_750);
/// How long silence is waited for on a line that babbles.
const BABBLE_MOST: Duration = Duration::from_millis(100);
/// A request to read, or to write one coil: address, function, two words, checksum.
const REQUEST_BYTES: usize = 8;
/// An answer to a request to read, beside the data: address, function, length, checksum.
const ANSWER_BYTES: usize = 5;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing came within the time.
    #[error("no answer in time")]
    Silence,
    /// Bytes came, but no answer.
    #[error("an answer that can't be read")]
    Unreadable,
    /// The line never fell silent, so nothing was sent.
    #[error(
        "the line never falls silent, so nothing was sent: look for what else talks on it, and that A and B aren't swapped"
    )]
    Busy,
    /// The slave refused, after so long.
    #[error("refused: {}", words(*.0))]
    Refused(ExceptionCode, Duration),
    /// The line failed.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// The asking side of a line.
pub struct Master {
    sieve: Sieve,
    port: PortSection,
    silence: Duration,
}

impl Master {
    /// Over this line.
    pub fn new(line: Line, port: PortSection, status: Arc<PortStatus>) -> Self {
        Self {
            sieve: Sieve::new(line, status),
            silence: (port.time_of(7) / 2).max(SILENCE_LEAST),
            port,
        }
    }

    /// Reads a block. Returns the contents, exactly as many as were asked for, and the round trip.
    ///
    /// # Errors
    /// Why it came to nothing.
    pub async fn read(&self, slave: u8, block: &Block) -> Result<(Contents, Duration), Trouble> {
        let (start, count) = (block.start, block.count);
        let words = usize::from(count) * 2;
        let bits = usize::from(count).div_ceil(8);
        let (function, request, data) = match block.function {
            RegisterFunction::Coil => (1, Request::ReadCoils(start, count), bits),
            RegisterFunction::Discrete => (2, Request::ReadDiscreteInputs(start, count), bits),
            RegisterFunction::Holding => (3, Request::ReadHoldingRegisters(start, count), words),
            RegisterFunction::Input => (4, Request::ReadInputRegisters(start, count), words),
        };
        let expected = Expected {
            address: slave,
            function,
            bytes: ANSWER_BYTES + data,
        };
        let (response, round_trip) = self.call(expected, request).await?;
        let contents = match response {
            Some(Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits)) => {
                bits.truncate(count.into());
                Contents::Bits(bits)
            }
            Some(Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words)) => {
                Contents::Words(words)
            }
            _ => return Err(Trouble::Unreadable),
        };
        let came = match &contents {
            Contents::Bits(bits) => bits.len(),
            Contents::Words(words) => words.len(),
        };
        match came == usize::from(count) {
            true => Ok((contents, round_trip)),
            false => Err(Trouble::Unreadable),
        }
    }

    /// Starts a flash that the board times: function 5, with the time where an 'on' or 'off' would
    /// be. Sent once. Returns the round trip.
    ///
    /// # Errors
    /// Why it came to nothing; the board may have done it all the same, unless it refused.
    pub async fn flash(&self, slave: u8, coil: u16, time: u16) -> Result<Duration, Trouble> {
        let [a, b] = coil.to_be_bytes();
        let [c, d] = time.to_be_bytes();
        let data = [a, b, c, d];
        let request = Request::Custom(5, Cow::Borrowed(&data));
        let expected = Expected {
            address: slave,
            function: 5,
            bytes: REQUEST_BYTES,
        };
        // The answer is the request again, which the codec won't read: it knows on and off only.
        let (_, round_trip) = self.call(expected, request).await?;
        match self.sieve.answer().get(2..6) == Some(&data) {
            true => Ok(round_trip),
            false => Err(Trouble::Unreadable),
        }
    }

    /// Listens as long as nothing is to be asked: whatever comes is noise. Ends when the line fails.
    /// May be dropped at any await.
    pub async fn listen(&self) -> LineError {
        self.sieve.expect_none();
        loop {
            if let Err(e) = self.hear().await {
                return e;
            }
        }
    }

    /// Sends a request whose answer is `expected`. The response is `None` if the codec can't read
    /// the answer.
    async fn call(
        &self,
        expected: Expected,
        request: Request<'_>,
    ) -> Result<(Option<Response>, Duration), Trouble> {
        if !self.quiet().await? {
            return Err(Trouble::Busy);
        }
        self.sieve.expect(expected);
        let mut codec = rtu::attach_slave(self.sieve.clone(), Slave(expected.address));
        let began = Instant::now();
        let frames = self.port.time_of(REQUEST_BYTES + expected.bytes);
        let deadline = began + frames + self.port.timeout();
        let called = timeout_at(deadline, codec.call(request)).await;
        let round_trip = began.elapsed();
        if let Some(failed) = self.sieve.failed() {
            return Err(LineError::from(failed).into());
        }
        let answer = self.sieve.answer();
        if let [_, function, code, ..] = answer.as_slice()
            && function & 0x80 != 0
        {
            return Err(Trouble::Refused(ExceptionCode::new(*code), round_trip));
        }
        match called {
            _ if answer.is_empty() && self.sieve.heard_any() => Err(Trouble::Unreadable),
            _ if answer.is_empty() => Err(Trouble::Silence),
            Ok(Ok(Ok(response))) => Ok((Some(response), round_trip)),
            _ => Ok((None, round_trip)),
        }
    }

    /// Waits until the line has been silent for three and a half characters. `false` if it babbles.
    async fn quiet(&self) -> Result<bool, LineError> {
        self.sieve.expect_none();
        let give_up = Instant::now() + BABBLE_MOST;
        while Instant::now() < give_up {
            let silent = self.sieve.last() + self.silence;
            match timeout_at(silent, self.hear()).await {
                Ok(heard) => heard?,
                Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    async fn hear(&self) -> Result<(), LineError> {
        // Nothing is expected, so nothing is read: it returns as soon as there was noise.
        match self.sieve.clone().read(&mut [0]).await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.sieve.failed().unwrap_or(e).into()),
        }
    }
}

/// An exception in words, with what to do.
pub fn words(code: ExceptionCode) -> String {
    let words = match code {
        ExceptionCode::IllegalFunction => {
            "the device doesn't know this function: correct 'function' by its manual"
        }
        ExceptionCode::IllegalDataAddress => {
            "the device has no such address: correct 'address' by its manual (it counts from 0; manuals often from 1, 30001 or 40001)"
        }
        ExceptionCode::IllegalDataValue => {
            "the device refuses the value or the length: correct 'type' by its manual, or 'flash_time' of a relay"
        }
        ExceptionCode::ServerDeviceFailure => "the device has failed: see to it",
        ExceptionCode::Acknowledge | ExceptionCode::ServerDeviceBusy => {
            "the device is busy: it is asked again; if that stays so, raise 'poll_ms'"
        }
        ExceptionCode::MemoryParityError => "the device's memory is faulty: replace it",
        ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice => {
            "a Modbus gateway on the way doesn't reach the device: check the gateway and what is behind it"
        }
        ExceptionCode::Custom(code) => {
            return format!("the device refuses with its own code {code}: see its manual");
        }
    };
    words.to_owned()
}
