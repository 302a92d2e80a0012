//! A small seeded source of numbers, so that an evening can be played again from its seed.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): good enough for chance in a play, never for a secret.

/// A seeded source of numbers. The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A source from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A source of its own for `name`, so that one more number drawn here changes nothing there.
    pub fn fork(&self, name: &str) -> Self {
        let mut mixed = self.0 ^ 0xcbf2_9ce4_8422_2325;
        for byte in name.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(Self(mixed).number())
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, `below`; 0 if `below` is 0.
    pub fn below(&mut self, below: u64) -> u64 {
        let wide = u128::from(self.number()) * u128::from(below);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`; `None` if there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let index = self.below(choices.len() as u64);
        choices.get(usize::try_from(index).ok()?)
    }

    /// Digits, as a person would type them who doesn't know the code.
    pub fn digits(&mut self, count: usize) -> String {
        (0..count)
            .filter_map(|_| char::from_digit(u32::try_from(self.below(10)).ok()?, 10))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_forks_are_apart() {
        let mut a = Random::new(7);
        let mut b = Random::new(7);
        assert_eq!(a.number(), b.number());
        assert_eq!(a.fork("courier").number(), b.fork("courier").number());
        assert_ne!(a.fork("courier").number(), b.fork("resident").number());
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        let mut random = Random::new(1);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        let drawn: Vec<u64> = (0..1_000).map(|_| random.between(3, 5)).collect();
        assert!(drawn.iter().all(|n| (3..=5).contains(n)));
        assert!((3..=5).all(|n| drawn.contains(&n)));
        assert_eq!(random.pick::<u8>(&[]), None);
        assert_eq!(random.digits(6).len(), 6);
    }
}
