//! A subscriber that costs next to nothing: takes every event at QoS 1, acknowledges and counts.
//!
//! MQTT 3.1.1 (OASIS), and only the packets that a broker sends to a subscriber. A client library
//! would take as much of the machine as the broker that is measured.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// CONNECT: MQTT, level 4, clean session, no keep-alive, client id `counter`.
const CONNECT: &[u8] = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x00\x00\x07counter";
/// SUBSCRIBE 1 to every device's events at QoS 1.
const SUBSCRIBE: &[u8] = b"\x82\x15\x00\x01\x00\x10linli/v1/+/event\x01";
const CONNACK_BYTES: usize = 4;
const SUBACK_BYTES: usize = 5;

/// A subscriber on a thread of its own.
pub struct Counter {
    taken: Arc<AtomicU64>,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Counter {
    /// Subscribes to the events of all devices; returns when the broker has confirmed it.
    pub fn subscribe(broker: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(broker).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(CONNECT).unwrap();
        stream.write_all(SUBSCRIBE).unwrap();
        let mut answers = [0; CONNACK_BYTES + SUBACK_BYTES];
        stream.read_exact(&mut answers).unwrap();
        assert_eq!(answers, *b"\x20\x02\x00\x00\x90\x03\x00\x01\x01");
        let taken = Arc::new(AtomicU64::new(0));
        let (counted, reading) = (Arc::clone(&taken), stream.try_clone().unwrap());
        Self {
            taken,
            stream,
            thread: Some(std::thread::spawn(move || count(reading, &counted))),
        }
    }

    /// Events taken so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn count(mut stream: TcpStream, taken: &AtomicU64) {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut answers = Vec::new();
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        buffer.extend_from_slice(&chunk[..read]);
        let mut at = 0;
        while let Some((first, body, end)) = packet(&buffer, at) {
            if first & 0xF6 == 0x32 {
                let topic = usize::from(u16::from_be_bytes([buffer[body], buffer[body + 1]]));
                let id = body + 2 + topic;
                answers.extend_from_slice(&[0x40, 2, buffer[id], buffer[id + 1]]);
                taken.fetch_add(1, Ordering::Relaxed);
            }
            at = end;
        }
        buffer.drain(..at);
        if stream.write_all(&answers).is_err() {
            return;
        }
        answers.clear();
    }
}

/// The whole packet at `at`: its first byte, where its body begins, where it ends.
fn packet(buffer: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let first = *buffer.get(at)?;
    let mut length = 0;
    for (index, shift) in [0, 7, 14, 21].into_iter().enumerate() {
        let byte = *buffer.get(at + 1 + index)?;
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let body = at + 2 + index;
            return (buffer.len() >= body + length).then_some((first, body, body + length));
        }
    }
    panic!("the broker sent something that isn't MQTT");
}
