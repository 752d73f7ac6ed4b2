//! Seeded random numbers.

/// The SplitMix64 generator (Steele, Lea and Flood 2014): small, seeded, the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator; the same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An index below `count`; 0 if `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// `take` different indices below `count`, in ascending order.
    pub fn choose(&mut self, count: usize, take: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..count).collect();
        let take = take.min(count);
        for n in 0..take {
            let other = n + self.below(count - n);
            all.swap(n, other);
        }
        all.truncate(take);
        all.sort_unstable();
        all
    }
}
