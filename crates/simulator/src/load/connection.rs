//! One connection of a load: fills its window, reads the answers, and starts over when it is lost.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use firmware_protocols::topic::Channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::window::Window;
use super::wire::{self, Incoming};
use super::{Figures, Shared};
use crate::Promise;

/// How often a lost connection is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a broker may take for a login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_S: u16 = 60;

/// Runs the connection of login number `index` to the end of the load.
pub(super) async fn run(
    shared: Arc<Shared>,
    index: usize,
    stopped: watch::Receiver<bool>,
) -> io::Result<Figures> {
    let Some(login) = shared.spec.logins.get(index).cloned() else {
        return Ok(Figures::default());
    };
    let mut connection = Connection {
        window: Window::new(shared, login, stopped),
        out: BytesMut::new(),
    };
    while !connection.window.ended() {
        match connection.connected().await {
            Ok(()) => break,
            Err(Lost::Record(error)) => return Err(error),
            Err(Lost::Connection) => {
                connection.window.figures.lost += 1;
                if !connection.window.shared.spec.reconnect {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(connection.window.close())
}

/// Why a connection ended before its work was done.
enum Lost {
    Connection,
    Record(io::Error),
}

impl From<wire::NotMqtt> for Lost {
    fn from(_: wire::NotMqtt) -> Self {
        Self::Connection
    }
}

struct Connection {
    window: Window,
    out: BytesMut,
}

impl Connection {
    /// From login to the end of the load, or to the loss of the connection.
    async fn connected(&mut self) -> Result<(), Lost> {
        let lost = |_| Lost::Connection;
        let mut stream = TcpStream::connect(self.window.shared.spec.broker)
            .await
            .map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut input = BytesMut::with_capacity(4_096);
        let login = timeout(LOGIN_TIMEOUT, self.log_in(&mut stream, &mut input)).await;
        let receive_maximum = login.map_err(|_| Lost::Connection)??;
        self.window.start_over(receive_maximum);
        let mut pinged = Instant::now();
        let mut stopped = self.window.stopped.clone();
        while !self.window.ended() {
            let due = self.window.fill(&mut self.out);
            if pinged.elapsed().as_secs() > u64::from(KEEP_ALIVE_S) / 2 {
                wire::ping(&mut self.out);
                pinged = Instant::now();
            }
            if !self.out.is_empty() {
                stream.write_all(&self.out).await.map_err(lost)?;
                self.out.clear();
            }
            tokio::select! {
                read = stream.read_buf(&mut input) => {
                    if read.map_err(lost)? == 0 {
                        return Err(Lost::Connection);
                    }
                    self.take_in(&mut input)?;
                }
                () = tokio::time::sleep(due) => {}
                _ = stopped.changed(), if self.window.stopping.is_none() => {}
            }
        }
        wire::disconnect(&mut self.out);
        let _ = stream.write_all(&self.out).await;
        Ok(())
    }

    /// Logs in, and subscribes where receipts count. Returns the broker's receive maximum.
    async fn log_in(
        &mut self,
        stream: &mut TcpStream,
        input: &mut BytesMut,
    ) -> Result<Option<u16>, Lost> {
        let spec = &self.window.shared.spec;
        let (version, login) = (spec.version, &self.window.login);
        self.out.clear();
        wire::connect(&mut self.out, version, login, KEEP_ALIVE_S);
        let receipts = spec.promise == Promise::Receipt;
        if receipts {
            let topic = Channel::Receipt.topic(&login.device);
            wire::subscribe(&mut self.out, version, u16::MAX, &topic);
        }
        let written = stream.write_all(&self.out).await;
        written.map_err(|_| Lost::Connection)?;
        self.out.clear();
        let mut most = None;
        loop {
            while let Some(incoming) = wire::next(input, version)? {
                match incoming {
                    Incoming::ConnAck {
                        code: 0,
                        receive_maximum,
                    } => {
                        most = receive_maximum;
                        if !receipts {
                            return Ok(most);
                        }
                    }
                    Incoming::SubAck { code } if code < 0x80 && receipts => return Ok(most),
                    _ => return Err(Lost::Connection),
                }
            }
            let read = stream.read_buf(input).await;
            if read.map_err(|_| Lost::Connection)? == 0 {
                return Err(Lost::Connection);
            }
        }
    }

    fn take_in(&mut self, input: &mut BytesMut) -> Result<(), Lost> {
        let mut lines = String::new();
        let mut broken = None;
        loop {
            match wire::next(input, self.window.shared.spec.version) {
                Ok(None) => break,
                Ok(Some(Incoming::PubAck { pkid, reason })) => {
                    self.window.acknowledge(pkid, reason, &mut lines);
                }
                Ok(Some(Incoming::Publish { pkid, payload })) => {
                    self.window.receipt(&payload, &mut lines);
                    if let Some(pkid) = pkid {
                        wire::puback(&mut self.out, pkid);
                    }
                }
                Ok(Some(Incoming::Disconnect)) => {
                    broken = Some(Lost::Connection);
                    break;
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    broken = Some(error.into());
                    break;
                }
            }
        }
        // What was acknowledged before a connection broke was acknowledged.
        if !lines.is_empty() {
            self.window.shared.write(&lines).map_err(Lost::Record)?;
        }
        broken.map_or(Ok(()), Err)
    }
}
