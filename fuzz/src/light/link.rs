//! Frames of the Linli link, out of any stream of bytes.

use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::cobs;
use firmware_protocols::link::wire::{CRC_BYTES, HEADER_BYTES, Part, frame_bytes};
use firmware_protocols::link::{Frame, Hello, Kind, Link, Welcome};

use super::sound_reason;

/// The same frames come out however the stream is cut; after any bytes the next whole frame is found;
/// what is read is written again in the one way there is.
pub fn link_frame(bytes: &[u8]) {
    stuffing(bytes);
    let (frames, noise) = frames(bytes, bytes.len().max(1));
    // Byte by byte costs the square of the length.
    let least = if bytes.len() > 300 { 7 } else { 1 };
    for size in [least, 256] {
        assert_eq!(self::frames(bytes, size).0, frames, "in pieces of {size}");
    }
    for frame in &frames {
        let again = frame.encode();
        assert!(again.len() <= Link::MAX_BYTES);
        assert!(!again[1..again.len() - 1].contains(&0));
        assert_eq!(self::frames(&again, again.len()), (vec![frame.clone()], 0));
        payload(&frame.payload);
    }
    payload(bytes);

    let mut good = Frame::new(true, 9, Kind::Command);
    good.payload = vec![0; frames.len() % 300];
    let mut stream = bytes.to_vec();
    stream.extend(good.encode());
    let (then, more_noise) = self::frames(&stream, stream.len());
    assert_eq!(then.last(), Some(&good), "found after any bytes");
    assert!(more_noise >= noise, "noise stays noise");
}

/// The frames of a stream that comes in pieces, and how many bytes belonged to none.
fn frames(stream: &[u8], piece: usize) -> (Vec<Frame>, usize) {
    let (mut found, mut noise, mut buffer) = (Vec::new(), 0, Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let used = match Link.find(&buffer) {
                Found::Frame { frame, used } => {
                    assert!(used <= Link::MAX_BYTES);
                    found.push(frame);
                    used
                }
                Found::Noise(bytes) => {
                    noise += bytes;
                    bytes
                }
                Found::More => {
                    assert!(buffer.len() < Link::MAX_BYTES, "waits for ever");
                    break;
                }
            };
            assert!((1..=buffer.len()).contains(&used));
            buffer.drain(..used);
        }
    }
    (found, noise)
}

fn stuffing(bytes: &[u8]) {
    let mut coded = Vec::new();
    cobs::encode(bytes, &mut coded);
    assert!(!coded.contains(&0));
    assert!(coded.len() <= cobs::coded_bytes(bytes.len()));
    let mut plain = Vec::new();
    cobs::decode(&coded, &mut plain).unwrap();
    assert_eq!(plain, bytes);
    plain.clear();
    if cobs::decode(bytes, &mut plain).is_some() {
        assert!(!bytes.contains(&0) && plain.len() <= bytes.len());
    }
}

/// What the payloads of the link itself say.
fn payload(bytes: &[u8]) {
    match Hello::decode(bytes) {
        Ok(hello) => assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(&hello)),
        Err(why) => sound_reason(&why.0),
    }
    match Welcome::decode(bytes) {
        Ok(welcome) => assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome)),
        Err(why) => sound_reason(&why.0),
    }
    if let Some(part) = Part::decode(bytes) {
        assert_eq!(part.encode(), bytes);
        assert!(!part.bytes.is_empty());
    }
    assert!(frame_bytes(bytes.len()) > bytes.len() + HEADER_BYTES + CRC_BYTES);
}
