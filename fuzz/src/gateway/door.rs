//! The first packet of a client of the embedded broker.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use linli::links::embedded::first_packet::{Connect, Version, parse, read_packet};
use tokio::io::{AsyncRead, ReadBuf};

/// The longest CONNECT that is taken, in bytes after its fixed header.
const LONGEST: usize = 2048;

/// Bytes in chunks of any size give the same packet as all at once, and nothing after it is taken.
/// The first byte says how they are cut.
pub fn mqtt_door(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    let (packet, taken) = read(stream, stream.len().max(1));
    assert_eq!(read(stream, 1 + usize::from(*cut)), (packet.clone(), taken));
    let Some(packet) = packet else {
        return;
    };
    assert!(packet.len() <= LONGEST);
    assert_eq!(
        stream.get(taken - packet.len()..taken),
        Some(packet.as_slice())
    );
    assert!((2..=5).contains(&(taken - packet.len())));
    if let Ok(connect) = parse(&packet) {
        strict(&connect, &packet, usize::from(*cut));
    }
}

fn strict(connect: &Connect, packet: &[u8], cut: usize) {
    let will = connect.will.as_ref();
    let texts = [
        Some(&connect.client_id),
        connect.username.as_ref(),
        will.map(|w| &w.topic),
    ];
    assert!(texts.into_iter().flatten().all(|text| !text.contains('\0')));
    assert!(will.is_none_or(|will| will.qos <= 2));
    assert!(parse(&packet[..packet.len() - 1]).is_err(), "cut and taken");
    assert!(
        parse(&packet[..cut.min(packet.len() - 1)]).is_err(),
        "cut and taken"
    );
    assert!(
        parse(&[packet, b"\0"].concat()).is_err(),
        "longer and taken"
    );
    let other = Connect {
        password: connect.password.as_ref().map(|_| b"other".to_vec()),
        ..connect.clone()
    };
    assert_eq!(
        format!("{connect:?}"),
        format!("{other:?}"),
        "a password is printed"
    );
    if connect.version == Version::V3 {
        assert!(connect.password.is_none() || connect.username.is_some());
        let written = [false, true].map(|clean| three(connect, clean));
        assert!(
            written.iter().any(|written| written == packet),
            "read otherwise than sent"
        );
    }
}

/// A CONNECT of MQTT 3.1.1, written from the standard: there is one way to say each.
fn three(connect: &Connect, clean: bool) -> Vec<u8> {
    let mut flags = u8::from(clean) << 1;
    let mut rest = counted(connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
        rest.extend([counted(will.topic.as_bytes()), counted(&will.payload)].concat());
    }
    if let Some(username) = &connect.username {
        flags |= 0x80;
        rest.extend(counted(username.as_bytes()));
    }
    if let Some(password) = &connect.password {
        flags |= 0x40;
        rest.extend(counted(password));
    }
    let head = [
        &b"\0\x04MQTT\x04"[..],
        &[flags],
        &connect.keep_alive_s.to_be_bytes(),
    ];
    [head.concat(), rest].concat()
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("it was counted in 16 bits");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The packet, and how many bytes were taken from the stream.
fn read(stream: &[u8], chunk: usize) -> (Option<Vec<u8>>, usize) {
    let mut stream = Chunks {
        left: stream,
        chunk,
    };
    let before = stream.left.len();
    let packet = {
        let reading = pin!(read_packet(&mut stream));
        // Every byte is there, so it never has to wait.
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(packet) => packet,
            Poll::Pending => panic!("waits although nothing more will come"),
        }
    };
    (packet, before - stream.left.len())
}

/// Bytes that come a few at a time, then the end.
struct Chunks<'a> {
    left: &'a [u8],
    chunk: usize,
}

impl AsyncRead for Chunks<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self.chunk.min(self.left.len()).min(buffer.remaining());
        let (now, later) = self.left.split_at(most);
        buffer.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}
