//! Damages inputs in random ways, the same at every run of the same seed.

/// Input `n` of a seed: one of the files with some changes, at times with a piece of another.
pub fn damaged(files: &[Vec<u8>], seed: u64, n: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n.wrapping_add(1) << 20);
    let mut bytes = files[random.below(files.len())].clone();
    for _ in 0..=random.below(4) {
        change(&mut bytes, files, &mut random);
    }
    bytes
}

/// Bytes that mean something to one of the formats.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\x9f",
    b"\xbf",
    b"\x5f",
    b"\xf6",
    b"\xf9\x7e\x00",
    b"\xc1",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"-1",
    b"1e400",
    b"0.1",
    b"-0.0",
    b"\\u0000",
    b"18446744073709551616",
    b"9223372036854775807",
    b"65536",
    b"482915.0",
    b"\n",
    b"#",
    b"$",
    b"=",
    b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9b\x00\xff\xff\xff\xff\xff\xff\xff",
];

fn change(bytes: &mut Vec<u8>, files: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let length = random.below(16).min(bytes.len() - at);
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(at..at + length)),
        3 => {
            let token = TOKENS[random.below(TOKENS.len())];
            bytes.splice(at..at, token.iter().copied());
        }
        4 => {
            let token = TOKENS[random.below(TOKENS.len())];
            bytes.splice(at..at + length, token.iter().copied());
        }
        5 => {
            let piece = bytes[at..at + length].to_vec();
            let times = 1 + random.below(40);
            bytes.splice(at..at, piece.repeat(times));
        }
        6 => {
            let other = &files[random.below(files.len())];
            let from = random.below(other.len() + 1);
            let to = from + random.below(64).min(other.len() - from);
            bytes.splice(at..at + length, other[from..to].iter().copied());
        }
        _ => bytes.truncate(at),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}
