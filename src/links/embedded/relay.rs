//! Carries bytes between a client and the broker behind, once the client is in. How fast they may
//! come from the client is a matter of [`reins`](super::reins).
//!
//! An idle link holds no buffer: bytes pass through the stack, and only what a slow reader doesn't
//! take at once is kept, at most [`STEP_BYTES`] each way, while nothing more is read from the other
//! side.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::reins::Reins;

pub(super) const STEP_BYTES: usize = 8 * 1024;

/// How long a client may leave what it is sent unread.
pub(super) const STALL_MAX: Duration = Duration::from_secs(10);

/// How long the broker may take to finish what the client sent before it closed.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// Relays until one side ends or `stop` resolves, then closes both. What the client sent before it
/// ended, or before the stop, is still answered if it can be within [`LINGER`].
pub(super) async fn relay(
    mut client: TcpStream,
    mut broker: TcpStream,
    reins: &Reins<'_>,
    stop: impl Future<Output = ()>,
) {
    let broker_is_there = {
        let inward = reins.drive(&client, &broker);
        let outward = pump(&broker, &client);
        tokio::select! {
            ended = inward => ended.is_ok(),
            _ = outward => false,
            () = stop => true,
        }
    };
    if broker_is_there {
        let _ = broker.shutdown().await;
        let _ = timeout(LINGER, pump(&broker, &client)).await;
    }
    let _ = client.shutdown().await;
}

/// Copies until `from` ends (`Ok`) or something fails.
async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        from.readable().await?;
        match step(from, to)? {
            Step::Passed => {}
            Step::Ended => return Ok(()),
            Step::Stuck(rest) => timeout(STALL_MAX, write_all(to, &rest)).await??,
        }
    }
}

enum Step {
    Passed,
    Ended,
    Stuck(Vec<u8>),
}

fn step(from: &TcpStream, to: &TcpStream) -> io::Result<Step> {
    let mut buffer = [0_u8; STEP_BYTES];
    let length = match from.try_read(&mut buffer) {
        Ok(0) => return Ok(Step::Ended),
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Passed),
        Err(error) => return Err(error),
    };
    let bytes = &buffer[..length];
    let written = match to.try_write(bytes) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    let rest = &bytes[written..];
    if rest.is_empty() {
        Ok(Step::Passed)
    } else {
        Ok(Step::Stuck(rest.to_vec()))
    }
}

pub(super) async fn write_all(to: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::pace::{Limits, Pace};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn every_byte_arrives_even_when_the_reader_is_slow() {
        let (mut device, front) = pair().await;
        let (behind, mut broker) = pair().await;
        let task = tokio::spawn(async move {
            let pace = Pace::new(Limits::NONE, []);
            let reins = Reins {
                gauge: pace.strangers(),
                five: true,
                silence_max: Duration::from_secs(60),
            };
            relay(front, behind, &reins, std::future::pending()).await;
        });
        let sent: Vec<u8> = (0..8_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            device.write_all(&sent).await.unwrap();
            device.shutdown().await.unwrap();
            device
        });
        let mut got = Vec::new();
        broker.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, expected);
        let mut device = writer.await.unwrap();
        broker.write_all(b"a last word").await.unwrap();
        drop(broker);
        let mut word = Vec::new();
        device.read_to_end(&mut word).await.unwrap();
        assert_eq!(word, b"a last word");
        task.await.unwrap();
    }
}
