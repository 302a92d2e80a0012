//! Locker boards: every vector and every example of the document byte by byte, and what always holds
//! of the decoders: any bytes in any pieces, never more than one frame lost to noise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use firmware_protocols::boards::{
    BoardFrame, BoardLine, Channels, Direction, Model, Request, Unencodable,
};
use firmware_protocols::frame::{Found, Framing};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;

const DIRECTIONS: [Direction; 2] = [Direction::ToBoards, Direction::FromBoards];

#[test]
fn every_vector_says_what_it_is_said_to_say() {
    let vectors = vectors();
    let frames = vectors["frames"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for vector in frames {
        let name = format!("{}: {}", text(vector, "protocol"), text(vector, "name"));
        let bytes = unhex(text(vector, "hex"));
        let direction = match text(vector, "direction") {
            "to-boards" => Direction::ToBoards,
            _ => Direction::FromBoards,
        };
        let model = model(text(vector, "protocol"));
        let rest = usize::try_from(vector["rest"].as_u64().unwrap_or(0)).unwrap();
        let Found::Frame { frame, used } = BoardLine { model, direction }.find(&bytes) else {
            panic!("{name}: no frame");
        };
        assert_eq!(used, bytes.len() - rest, "{name}");
        check(&name, vector, frame);
        if let (BoardFrame::Request(request), Direction::ToBoards) = (frame, direction) {
            assert_eq!(request.encode(model).unwrap(), bytes, "{name}");
        }
        seen.insert((text(vector, "protocol"), text(vector, "says")));
    }
    for model in ["kerong-cu16", "kerong-cu48", "8a", "wkly"] {
        assert!(seen.contains(&(model, "unlock-request")), "{model}");
        assert!(seen.contains(&(model, "status-request")), "{model}");
    }
    assert_eq!(seen.len(), 21);
}

fn check(name: &str, vector: &Json, frame: BoardFrame) {
    assert_eq!(u64::from(frame.address()), vector["address"], "{name}");
    let channel = vector["channel"].as_u64();
    assert_eq!(frame.channel().map(u64::from), channel, "{name}");
    let (says, state) = match frame {
        BoardFrame::Request(Request::Status { .. }) => ("status-request", None),
        BoardFrame::Request(Request::ChannelStatus { .. }) => ("channel-request", None),
        BoardFrame::Request(Request::Unlock { .. }) => ("unlock-request", None),
        BoardFrame::Status {
            states, occupied, ..
        } => {
            assert_eq!(set(states), numbers(&vector["set"]), "{name}");
            let given = vector.get("occupied").map(numbers);
            assert_eq!(occupied.map(set), given, "{name}");
            ("status", None)
        }
        BoardFrame::Channel { state, .. } => ("channel", state),
        BoardFrame::Changed { state, .. } => ("changed", Some(state)),
        BoardFrame::Unlocked { accepted, .. } => {
            assert_eq!(accepted, vector["accepted"].as_bool(), "{name}");
            ("unlocked", None)
        }
        BoardFrame::Foreign { command, .. } => {
            assert_eq!(u64::from(command), vector["command"], "{name}");
            ("foreign", None)
        }
    };
    assert_eq!(says, text(vector, "says"), "{name}");
    assert_eq!(state, vector["state"].as_bool(), "{name}");
}

#[test]
fn what_isnt_a_frame_isnt_taken_for_one() {
    for vector in vectors()["no_frames"].as_array().unwrap() {
        let name = format!("{}: {}", text(vector, "protocol"), text(vector, "name"));
        let mut bytes = unhex(text(vector, "hex"));
        // Enough behind it that nothing is waited for, and nothing of it begins a frame.
        bytes.extend([0xee; BoardLine::MAX_BYTES]);
        for direction in DIRECTIONS {
            let model = model(text(vector, "protocol"));
            let frames = all(BoardLine { model, direction }, &bytes);
            assert_eq!(frames, [], "{name}");
        }
    }
}

#[test]
fn every_example_in_the_document_is_a_vector() {
    let document = include_str!("../BOARDS.md");
    let vectors = vectors();
    let known: BTreeSet<(&str, &str)> = vectors["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vector| (text(vector, "protocol"), text(vector, "hex")))
        .collect();
    let (mut protocol, mut count) = (None, 0);
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(fence) => protocol = fence.strip_prefix("hex "),
            None => {
                let Some(protocol) = protocol else { continue };
                let hex = line.split("  ").next().unwrap();
                assert!(known.contains(&(protocol, hex)), "{protocol}: {hex}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 22);
}

#[test]
fn a_board_or_channel_that_isnt_cant_be_asked() {
    let unlock = |address, channel| Request::Unlock { address, channel };
    let one = Request::ChannelStatus {
        address: 1,
        channel: 1,
    };
    let cu16 = Model::KerongCu16;
    assert_eq!(
        unlock(16, 1).encode(cu16),
        Err(Unencodable::Address(16, 15))
    );
    assert_eq!(
        unlock(1, 17).encode(cu16),
        Err(Unencodable::Channel(17, 16))
    );
    assert_eq!(one.encode(cu16), Err(Unencodable::NotByChannel));
    assert_eq!(
        one.encode(Model::KerongCu48),
        Err(Unencodable::NotByChannel)
    );
    for model in Model::ALL {
        let max = model.channel_max();
        for channel in [0, max + 1, u16::MAX] {
            let why = Err(Unencodable::Channel(channel, max));
            assert_eq!(unlock(1, channel).encode(model), why, "{model:?}");
        }
    }
}

#[test]
fn a_long_wkly_frame_around_good_ones_is_none() {
    let good = unhex("57 4B 4C 59 0B 00 82 00 01 00 81");
    let around = xored(&[b"WKLY\x13\x00\x90".as_slice(), &good].concat());
    assert_eq!(around.len(), 0x13);
    let line = BoardLine {
        model: Model::Wkly,
        direction: Direction::FromBoards,
    };
    assert_eq!(all(line, &[around, good].concat()).len(), 2);
}

/// The heart of the safety rules: among all frames that can be written there is none but a status
/// request or the unlock of one lock.
#[test]
fn nothing_can_be_written_that_opens_several_locks_or_holds_a_coil() {
    for model in Model::ALL {
        let mut commands = BTreeSet::new();
        for address in 0..=255 {
            for channel in 0..=256 {
                let requests = [
                    Request::Status { address },
                    Request::ChannelStatus { address, channel },
                    Request::Unlock { address, channel },
                ];
                for request in requests {
                    let Ok(frame) = request.encode(model) else {
                        continue;
                    };
                    commands.insert(match model {
                        Model::KerongCu16 => vec![frame[2]],
                        Model::KerongCu48 => vec![frame[3]],
                        Model::EightA => vec![frame[0], frame[3]],
                        Model::Wkly => vec![frame[6]],
                    });
                }
            }
        }
        let allowed: &[&[u8]] = match model {
            Model::KerongCu16 => &[&[0x30], &[0x31]],
            Model::KerongCu48 => &[&[0x60], &[0x61]],
            Model::EightA => &[&[0x80, 0x33], &[0x8a, 0x11]],
            Model::Wkly => &[&[0x82], &[0x83], &[0x84]],
        };
        let allowed = allowed.iter().map(|command| command.to_vec()).collect();
        assert_eq!(commands, allowed, "{model:?}");
    }
}

/// All 65,536 and 16,777,216 states are too many to try each; these are those that could be mistaken.
#[test]
fn no_state_of_an_8a_board_is_mistaken_for_something_else() {
    let line = BoardLine {
        model: Model::EightA,
        direction: Direction::FromBoards,
    };
    for address in [0, 1, 2, 0x33, 0x80, 0x8a, 0xff] {
        for (s1, s2) in (0..=255).flat_map(|s1| [0x00, 0x11, 0x33].map(|s2| (s1, s2))) {
            for s3 in 0..=255 {
                let frame = xored(&[0x80, address, s1, s2, s3, 0x33]);
                let found = line.find(&frame);
                let Found::Frame {
                    frame: BoardFrame::Status { states, .. },
                    used: 7,
                } = found
                else {
                    panic!("{frame:02x?}: {found:?}");
                };
                assert_eq!(bytes_of(states), [s3, s2, s1]);
            }
        }
    }
}

fn model_and_direction() -> impl Strategy<Value = BoardLine> {
    let models = select(Model::ALL.to_vec());
    let directions = select(DIRECTIONS.to_vec());
    (models, directions).prop_map(|(model, direction)| BoardLine { model, direction })
}

/// Bytes among which the beginnings of frames are frequent.
fn byte() -> impl Strategy<Value = u8> {
    let likely = b"WKLY\x02\x03\x30\x31\x35\x60\x61\x75\x80\x8a\x11\x33\x00\x06\xff\x09\x0b\x82";
    prop_oneof![any::<u8>(), select(likely.to_vec())]
}

/// A reply as a board of the model gives it, written by hand, and what it must be read as.
fn reply(model: Model) -> BoxedStrategy<(Vec<u8>, BoardFrame)> {
    let bytes = || any::<[u8; 6]>();
    match model {
        Model::KerongCu16 => (0..16_u8, 0..16_u8, bytes())
            .prop_map(|(address, low, [h1, h2, i1, i2, ..])| {
                let at = address << 4 | low;
                let frame = summed(&[2, at, 0x35, h1, h2, i1, i2, 3]);
                (frame, status(address, &[h1, h2], Some(&[i1, i2])))
            })
            .boxed(),
        Model::KerongCu48 => (any::<u8>(), bytes())
            .prop_map(|(address, d)| {
                let frame = summed(&[2, address, 0, 0x75, 6, d[0], d[1], d[2], d[3], d[4], d[5]]);
                (frame, status(address, &d, None))
            })
            .boxed(),
        Model::EightA => (any::<u8>(), bytes())
            .prop_map(|(address, [s1, s2, s3, ..])| {
                let frame = xored(&[0x80, address, s1, s2, s3, 0x33]);
                (frame, status(address, &[s3, s2, s1], None))
            })
            .boxed(),
        Model::Wkly => (any::<u8>(), 1..=255_u8, any::<bool>())
            .prop_map(|(address, channel, state)| {
                let byte = if state { 0xff } else { 0 };
                let frame = [b"WKLY".as_slice(), &[11, address, 0x83, 0, channel, byte]].concat();
                let says = BoardFrame::Channel {
                    address,
                    channel: u16::from(channel),
                    state: Some(state),
                };
                (xored(&frame), says)
            })
            .boxed(),
    }
}

/// A status, by reading a reply that is known to be right.
fn status(address: u8, bits: &[u8], inside: Option<&[u8]>) -> BoardFrame {
    BoardFrame::Status {
        address,
        states: Channels::of_bytes(bits),
        occupied: inside.map(Channels::of_bytes),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_within_bounds(
        line in model_and_direction(),
        bytes in vec(byte(), 0..400),
    ) {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match line.find(rest) {
                Found::Frame { used, .. } | Found::Noise(used) => {
                    prop_assert!((1..=rest.len()).contains(&used));
                    rest = &rest[used..];
                }
                Found::More => {
                    prop_assert!(rest.len() < BoardLine::MAX_BYTES);
                    break;
                }
            }
        }
    }

    /// What is found doesn't depend on the pieces in which the bytes come.
    #[test]
    fn frames_in_any_pieces_are_the_same_frames(
        (model, replies) in select(Model::ALL.to_vec())
            .prop_flat_map(|model| (Just(model), vec(reply(model), 1..6))),
        cuts in vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        let line = BoardLine { model, direction: Direction::FromBoards };
        let bytes: Vec<u8> = replies.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut buffer, mut found, mut from) = (Vec::new(), Vec::new(), 0);
        for cut in cuts {
            buffer.extend_from_slice(&bytes[from..cut]);
            from = cut;
            while let Found::Frame { frame, used } = line.find(&buffer) {
                found.push(frame);
                buffer.drain(..used);
            }
        }
        let said: Vec<BoardFrame> = replies.iter().map(|(_, frame)| *frame).collect();
        prop_assert_eq!(found, said);
        prop_assert!(buffer.is_empty());
    }

    /// Noise, then replies: the second one is found whatever came before, as soon as it is there.
    #[test]
    fn after_noise_at_most_one_frame_is_lost(
        (model, noise, replies) in select(Model::ALL.to_vec())
            .prop_flat_map(|model| (Just(model), vec(byte(), 0..40), vec(reply(model), 2))),
    ) {
        let line = BoardLine { model, direction: Direction::FromBoards };
        let mut bytes = noise;
        for (reply, _) in &replies {
            bytes.extend(reply);
        }
        let found = all(line, &bytes);
        prop_assert_eq!(found.last(), Some(&replies[1].1), "{:02x?}", bytes);
    }

    #[test]
    fn a_reply_with_one_bit_flipped_isnt_read_as_another(
        (model, (mut bytes, said)) in select(Model::ALL.to_vec())
            .prop_flat_map(|model| (Just(model), reply(model))),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let whole = bytes.len();
        if let Found::Frame { frame, used } =
            (BoardLine { model, direction: Direction::FromBoards }).find(&bytes)
        {
            prop_assert!(used < whole, "{:02x?}: {:?} for {:?}", bytes, frame, said);
        }
    }

    #[test]
    fn what_is_written_is_read(
        model in select(Model::ALL.to_vec()),
        direction in select(DIRECTIONS.to_vec()),
        address in any::<u8>(),
        channel in 0..300_u16,
        kind in 0..3,
    ) {
        let request = match kind {
            0 => Request::Status { address },
            1 => Request::ChannelStatus { address, channel },
            _ => Request::Unlock { address, channel },
        };
        let Ok(mut bytes) = request.encode(model) else {
            return Ok(());
        };
        let whole = bytes.len();
        // The first byte of what comes next: an 8A frame of five shows by it that it isn't of seven.
        bytes.push(0x80);
        let found = (BoardLine { model, direction }).find(&bytes);
        let as_reply = model == Model::EightA && direction == Direction::FromBoards && kind == 2;
        let frame = match as_reply {
            true => BoardFrame::Unlocked { address, channel, accepted: None },
            false => BoardFrame::Request(request),
        };
        prop_assert_eq!(found, Found::Frame { frame, used: whole });
    }
}

/// Every frame in the bytes, as a reader that waits finds them.
fn all(line: BoardLine, mut bytes: &[u8]) -> Vec<BoardFrame> {
    let mut frames = Vec::new();
    loop {
        match line.find(bytes) {
            Found::Frame { frame, used } => {
                frames.push(frame);
                bytes = &bytes[used..];
            }
            Found::Noise(noise) => bytes = &bytes[noise..],
            Found::More => return frames,
        }
    }
}

fn vectors() -> Json {
    serde_json::from_str(include_str!("../board-vectors.json")).unwrap()
}

fn text<'a>(vector: &'a Json, field: &str) -> &'a str {
    vector[field].as_str().unwrap()
}

fn model(protocol: &str) -> Model {
    match protocol {
        "kerong-cu16" => Model::KerongCu16,
        "kerong-cu48" => Model::KerongCu48,
        "8a" => Model::EightA,
        "wkly" => Model::Wkly,
        other => panic!("no protocol: {other}"),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let bytes = text.split(' ');
    bytes.map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
}

fn numbers(list: &Json) -> Vec<u64> {
    let list = list.as_array().unwrap();
    list.iter().map(|n| n.as_u64().unwrap()).collect()
}

fn set(channels: Channels) -> Vec<u64> {
    let set = (1..=channels.count()).filter(|channel| channels.get(*channel) == Some(true));
    set.map(u64::from).collect()
}

fn bytes_of(channels: Channels) -> Vec<u8> {
    let byte = |first: u16| {
        let bit = |n| u8::from(channels.get(first + n).unwrap()) << n;
        (0..8).map(bit).sum()
    };
    (1..=channels.count()).step_by(8).map(byte).collect()
}

fn summed(bytes: &[u8]) -> Vec<u8> {
    let sum = bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    [bytes, &[u8::try_from(sum % 256).unwrap()]].concat()
}

fn xored(bytes: &[u8]) -> Vec<u8> {
    let xor = bytes.iter().fold(0, |all, byte| all ^ byte);
    [bytes, &[xor]].concat()
}
