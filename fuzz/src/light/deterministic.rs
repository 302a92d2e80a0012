//! A second opinion on RFC 8949 § 4.2.1, written from the standard alone: whether bytes are one data
//! item in the core deterministic encoding. It shares no code with the writer that it judges.

/// Whether `bytes` are exactly one item in the core deterministic encoding.
pub fn is_deterministic(bytes: &[u8]) -> bool {
    item(bytes).is_some_and(<[u8]>::is_empty)
}

/// What follows the first item, or `None` if that isn't encoded as it must be.
fn item(bytes: &[u8]) -> Option<&[u8]> {
    let (major, info, argument, rest) = head(bytes)?;
    match major {
        0 | 1 => Some(rest),
        2 | 3 => rest.get(usize::try_from(argument).ok()?..),
        4 => (0..argument).try_fold(rest, |rest, _| item(rest)),
        5 => map(argument, rest),
        7 => match info {
            20..=22 => Some(rest),
            25..=27 => shortest_float(info, argument).then_some(rest),
            _ => None,
        },
        _ => None,
    }
}

fn map(pairs: u64, mut rest: &[u8]) -> Option<&[u8]> {
    let mut before: &[u8] = &[];
    for _ in 0..pairs {
        let after = item(rest)?;
        let key = &rest[..rest.len() - after.len()];
        if key <= before {
            return None;
        }
        before = key;
        rest = item(after)?;
    }
    Some(rest)
}

/// Major type, additional information, argument, what follows. Refuses longer heads than needed.
fn head(bytes: &[u8]) -> Option<(u8, u8, u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (major, info) = (first >> 5, first & 0x1f);
    let width = match info {
        0..=23 => return Some((major, info, u64::from(info), rest)),
        24..=27 => 1_usize << (info - 24),
        _ => return None,
    };
    let (argument, rest) = rest.split_at_checked(width)?;
    let argument = argument
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let least = match info {
        24 => 24,
        25 => 1 << 8,
        26 => 1 << 16,
        _ => 1 << 32,
    };
    (major == 7 || argument >= least).then_some((major, info, argument, rest))
}

/// Whether no shorter float has this value. All NaN are one.
fn shortest_float(info: u8, bits: u64) -> bool {
    let value = match info {
        25 => return bits & 0x7c00 != 0x7c00 || bits & 0x3ff == 0 || bits == 0x7e00,
        26 => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from_bits(bits),
    };
    if value.is_nan() {
        return false;
    }
    let fits_single = f64::from(value as f32).to_bits() == value.to_bits();
    match info {
        26 => !fits_half(value),
        _ => !fits_single,
    }
}

/// By trying every half there is of that size: slow would be 65,536, so by scaling instead. A half
/// is a multiple of 2^-24 below 2^16 with at most 11 significant bits.
fn fits_half(value: f64) -> bool {
    if value == 0.0 || value.is_infinite() {
        return true;
    }
    let scaled = value.abs() * 16_777_216.0;
    if scaled.fract() != 0.0 || value.abs() > 65_504.0 {
        return false;
    }
    let whole = scaled as u64;
    64 - whole.leading_zeros() - whole.trailing_zeros() <= 11
}
