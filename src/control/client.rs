//! The client's end of the control socket. It blocks: a command line has nothing else to do.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::wire::{Failure, Reply, Request};

/// The longest line of a reply that is read, bytes.
const REPLY_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How long the daemon may take for a line of its answer.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no answer at {0}")]
    NotRunning(PathBuf),
    /// It can't be reached.
    #[error("{path} can't be used")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The daemon went away, or fell silent, in the middle.
    #[error("the daemon broke off")]
    BrokenOff(#[source] io::Error),
    /// The daemon said something that isn't a reply.
    #[error("the daemon's answer can't be read")]
    Unreadable(#[source] serde_json::Error),
    /// The daemon said no.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(path.to_path_buf())
            }
            _ => ClientError::Unreachable {
                path: path.to_path_buf(),
                source,
            },
        })?;
        stream
            .set_read_timeout(Some(ANSWER_TIME))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIME)))
            .map_err(ClientError::BrokenOff)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Asks, and gives the items to `take` as they come until it returns false. Returns whether the
    /// answer was cut at its limit.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        mut take: impl FnMut(T) -> bool,
    ) -> Result<bool, ClientError> {
        self.send(request)?;
        loop {
            match self.reply()? {
                Reply::Item(item) => {
                    if !take(item) {
                        return Ok(false);
                    }
                }
                Reply::End(end) => return Ok(end.cut),
                Reply::Error(failure) => return Err(failure.into()),
            }
        }
    }

    /// Asks, and returns all items, and whether the answer was cut at its limit.
    pub fn all<T: DeserializeOwned>(
        &mut self,
        request: &Request,
    ) -> Result<(Vec<T>, bool), ClientError> {
        let mut items = Vec::new();
        let cut = self.ask(request, |item| {
            items.push(item);
            true
        })?;
        Ok((items, cut))
    }

    /// Asks for something that is one item.
    pub fn one<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let (mut items, _) = self.all(request)?;
        items
            .pop()
            .ok_or_else(|| ClientError::BrokenOff(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Waits for lines as long as it takes.
    pub fn patient(&mut self) -> Result<(), ClientError> {
        let unlimited = self.stream.get_ref().set_read_timeout(None);
        unlimited.map_err(ClientError::BrokenOff)
    }

    /// The connection, for somebody else to close it.
    pub fn line(&self) -> io::Result<UnixStream> {
        self.stream.get_ref().try_clone()
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(ClientError::Unreadable)?;
        line.push(b'\n');
        match self.stream.get_mut().write_all(&line) {
            // Turned away: the reason may be waiting to be read.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent.map_err(ClientError::BrokenOff),
        }
    }

    fn reply<T: DeserializeOwned>(&mut self) -> Result<Reply<T>, ClientError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(REPLY_MAX_BYTES);
        bounded
            .read_until(b'\n', &mut line)
            .map_err(ClientError::BrokenOff)?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::BrokenOff(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(ClientError::Unreadable)
    }
}
