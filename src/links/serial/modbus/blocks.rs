//! What is asked of a Modbus device, in as few requests as sensible, and what the answers mean.

use firmware_protocols::Value;

use crate::config::serial::{RegisterFunction, RegisterKind, RegisterSection, WordOrder};

/// The most registers of one request (Modbus application protocol 1.1b3, § 6.3).
const WORDS_MAX: u32 = 125;
/// The most bits of one request (§ 6.1).
const BITS_MAX: u32 = 2_000;
/// So many registers that nobody wants are read along rather than asking twice: a request and its
/// answer cost some 20 bytes' time.
const WORDS_GAP: u32 = 8;
/// As many bits.
const BITS_GAP: u32 = 64;

/// Neighbours that are read by one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The table.
    pub function: RegisterFunction,
    /// The first address.
    pub start: u16,
    /// How many: 1 to 125 registers, or 1 to 2,000 bits.
    pub count: u16,
    /// Which of the device's registers it holds, by their index.
    pub registers: Vec<usize>,
}

/// What a slave answers to a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Coils or discrete inputs.
    Bits(Vec<bool>),
    /// Registers.
    Words(Vec<u16>),
}

/// Groups those of the registers that are `wanted`.
pub fn group(
    registers: &[RegisterSection],
    wanted: impl Fn(&RegisterSection) -> bool,
) -> Vec<Block> {
    let all = registers.iter().enumerate();
    let mut sorted: Vec<(usize, &RegisterSection)> = all.filter(|(_, it)| wanted(it)).collect();
    sorted.sort_by_key(|(_, register)| (register.function, register.address));
    let mut blocks: Vec<Block> = Vec::new();
    for (index, register) in sorted {
        match blocks.last_mut() {
            Some(block) if block.takes(register) => block.add(index, register),
            _ => blocks.push(Block::of(index, register)),
        }
    }
    blocks
}

impl Block {
    /// One register on its own.
    fn of(index: usize, register: &RegisterSection) -> Self {
        Self {
            function: register.function,
            start: register.address,
            count: register.kind().words(),
            registers: vec![index],
        }
    }

    /// Each of its registers on its own: some devices refuse a request that touches an address
    /// between them. Empty if there is but one.
    pub fn split(&self, registers: &[RegisterSection]) -> Vec<Self> {
        if self.registers.len() < 2 {
            return Vec::new();
        }
        let each = self.registers.iter();
        each.filter_map(|index| Some(Self::of(*index, registers.get(*index)?)))
            .collect()
    }

    /// The value of a register in the block's contents. `None` if it is none: not a number, or not
    /// in there.
    pub fn value(&self, register: &RegisterSection, contents: &Contents) -> Option<Value> {
        let at = usize::from(register.address.checked_sub(self.start)?);
        match contents {
            Contents::Bits(bits) => bits.get(at).map(|bit| Value::Bool(*bit)),
            Contents::Words(words) => {
                let first = *words.get(at)?;
                let second = || words.get(at + 1).copied();
                number(register, first, second)
            }
        }
    }

    fn takes(&self, register: &RegisterSection) -> bool {
        let (gap, most) = match self.function.is_bit() {
            true => (BITS_GAP, BITS_MAX),
            false => (WORDS_GAP, WORDS_MAX),
        };
        let start = u32::from(self.start);
        let next = u32::from(register.address);
        self.function == register.function
            && next <= start + u32::from(self.count) + gap
            && next + u32::from(register.kind().words()) - start <= most
    }

    fn add(&mut self, index: usize, register: &RegisterSection) {
        let reaches = register.address - self.start + register.kind().words();
        self.count = self.count.max(reaches);
        self.registers.push(index);
    }
}

fn number(
    register: &RegisterSection,
    first: u16,
    second: impl Fn() -> Option<u16>,
) -> Option<Value> {
    let both = || {
        let (high, low) = match register.words {
            WordOrder::Big => (first, second()?),
            WordOrder::Little => (second()?, first),
        };
        Some(u32::from(high) << 16 | u32::from(low))
    };
    let whole = match register.kind() {
        RegisterKind::Bool => return None,
        RegisterKind::U16 => i64::from(first),
        RegisterKind::I16 => i64::from(first.cast_signed()),
        RegisterKind::U32 => i64::from(both()?),
        RegisterKind::I32 => i64::from(both()?.cast_signed()),
        RegisterKind::F32 => return scaled(shortest(f32::from_bits(both()?)), register.scale),
    };
    if register.scale == 1.0 {
        return Some(whole.into());
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 32 bits")]
    scaled(whole as f64, register.scale)
}

/// The number, multiplied; where the scale is one over a whole number, divided by that, which makes
/// 3 × 0.1 what people write: 0.3.
fn scaled(raw: f64, scale: f64) -> Option<Value> {
    let inverse = (1.0 / scale).round();
    let value = match (inverse * scale - 1.0).abs() < 1e-9 {
        true => raw / inverse,
        false => raw * scale,
    };
    value.is_finite().then_some(Value::Float(value))
}

/// The shortest decimal that means this number in single precision: 21.3 rather than
/// 21.299999237060547.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
