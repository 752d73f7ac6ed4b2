//! Seeded randomness: the same seed and name always give the same life.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers that belongs to one thing.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of the thing called `name` under `seed`.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a, so that the stream depends on nothing but seed and name (not on the standard library's hasher).
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self(ChaCha8Rng::seed_from_u64(seed ^ hash))
    }

    /// A number from 0 (included) to 1 (excluded).
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A number between two bounds.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number from 0 to `n` (excluded); 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// A normally distributed number (Box and Muller's transform).
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        mean + deviation * radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// How many Poisson arrivals fall in a step in which `mean` are expected.
    pub fn poisson(&mut self, mean: f64) -> u32 {
        // Knuth's product method; the means here are far below 1, and 1000 bounds a mistaken large one.
        let limit = (-mean.max(0.0)).exp();
        let mut product = self.unit();
        let mut count = 0;
        while product > limit && count < 1000 {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_name_alone() {
        let draw = |seed, name| {
            let mut dice = Dice::new(seed, name);
            [dice.unit(), dice.unit(), dice.unit()]
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn distributions_have_the_means_they_claim() {
        let mut dice = Dice::new(3, "means");
        let n = 20_000;
        let normal: f64 = (0..n).map(|_| dice.normal(5.0, 2.0)).sum::<f64>() / f64::from(n);
        assert!((normal - 5.0).abs() < 0.1, "{normal}");
        let poisson = f64::from((0..n).map(|_| dice.poisson(0.7)).sum::<u32>()) / f64::from(n);
        assert!((poisson - 0.7).abs() < 0.05, "{poisson}");
    }
}
