//! Frames of locker boards in a stream of bytes.

use firmware_protocols::boards::{BoardFrame, BoardLine, Direction, Model, Request};
use firmware_protocols::frame::{Found, Framing};

/// The first byte says which boards and which way; the others are what is on the line. Found is the
/// same in whatever pieces the bytes come; a request that is read is written alike; and of two good
/// replies behind it all, the second is found.
pub fn board_frame(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else {
        return;
    };
    let model = Model::ALL[usize::from(first & 3)];
    let direction = match first & 4 {
        0 => Direction::ToBoards,
        _ => Direction::FromBoards,
    };
    let line = BoardLine { model, direction };
    let frames = all_at_once(line, stream);
    for frame in &frames {
        sound(model, frame);
    }
    assert_eq!(byte_by_byte(line, stream), frames);
    let line = BoardLine {
        model,
        direction: Direction::FromBoards,
    };
    let mut stream = stream.to_vec();
    stream.extend(good_reply(model, 3));
    stream.extend(good_reply(model, 5));
    let last = all_at_once(line, &stream).last().map(BoardFrame::address);
    assert_eq!(last, Some(5));
}

fn all_at_once(line: BoardLine, mut stream: &[u8]) -> Vec<BoardFrame> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let used = match line.find(stream) {
            Found::Frame { frame, used } => {
                frames.push(frame);
                used
            }
            Found::Noise(noise) => noise,
            Found::More => {
                assert!(stream.len() < BoardLine::MAX_BYTES);
                break;
            }
        };
        assert!((1..=stream.len()).contains(&used) && used <= BoardLine::MAX_BYTES);
        stream = &stream[used..];
    }
    frames
}

fn byte_by_byte(line: BoardLine, stream: &[u8]) -> Vec<BoardFrame> {
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for byte in stream {
        buffer.push(*byte);
        loop {
            match line.find(&buffer) {
                Found::Frame { frame, used } => {
                    frames.push(frame);
                    buffer.drain(..used);
                }
                Found::Noise(noise) => {
                    buffer.drain(..noise);
                }
                Found::More => break,
            }
            if buffer.is_empty() {
                break;
            }
        }
    }
    frames
}

/// Addresses and channels are such as there are; a request is read again as it is written.
fn sound(model: Model, frame: &BoardFrame) {
    assert!(frame.address() <= model.address_max());
    if let Some(channel) = frame.channel() {
        assert!((1..=model.channel_max()).contains(&channel));
    }
    let BoardFrame::Request(request) = *frame else {
        return;
    };
    let written = request.encode(model).unwrap();
    let line = BoardLine {
        model,
        direction: Direction::ToBoards,
    };
    let used = written.len();
    let frame = BoardFrame::Request(request);
    assert_eq!(line.find(&written), Found::Frame { frame, used });
    let unlocks = matches!(request, Request::Unlock { .. });
    assert_eq!(unlocks, is_unlock(model, &written));
}

fn is_unlock(model: Model, frame: &[u8]) -> bool {
    match model {
        Model::KerongCu16 => frame[2] == 0x31,
        Model::KerongCu48 => frame[3] == 0x61,
        Model::EightA => frame[0] == 0x8a,
        Model::Wkly => frame[6] == 0x82,
    }
}

/// A status of a board, by the document.
fn good_reply(model: Model, address: u8) -> Vec<u8> {
    match model {
        Model::KerongCu16 => summed(&[2, address << 4, 0x35, 0xff, 0xff, 0, 0, 3]),
        Model::KerongCu48 => summed(&[2, address, 0, 0x75, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        Model::EightA => xored(&[0x80, address, 0xff, 0xff, 0xff, 0x33]),
        Model::Wkly => {
            let head = b"WKLY\x0b";
            xored(&[head.as_slice(), &[address, 0x83, 0, 1, 0xff]].concat())
        }
    }
}

fn summed(bytes: &[u8]) -> Vec<u8> {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [bytes, &[sum]].concat()
}

fn xored(bytes: &[u8]) -> Vec<u8> {
    let xor = bytes.iter().fold(0, |all, byte| all ^ byte);
    [bytes, &[xor]].concat()
}
