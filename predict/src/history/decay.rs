//! Sums that fade.

use super::days;

/// A sum of weights, each halved for every half-life that has passed since.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Fading {
    sum: f64,
    at: i64,
}

impl Fading {
    /// Adds a weight at a time not before the last one.
    pub(super) fn add(&mut self, at: i64, weight: f64, half_life_days: f64) {
        self.sum = self.now(at, half_life_days) + weight;
        self.at = at;
    }

    /// The sum at a time not before the last addition.
    pub(super) fn now(&self, at: i64, half_life_days: f64) -> f64 {
        if self.sum == 0.0 { 0.0 } else { self.sum * (-days(at - self.at) / half_life_days).exp2() }
    }
}

/// The days under watch, fading the same way: what a steady rate of one a day would have summed up to.
pub(super) fn exposure(seen_days: f64, half_life_days: f64) -> f64 {
    let rate = std::f64::consts::LN_2 / half_life_days;
    (1.0 - (-rate * seen_days.max(0.0)).exp()) / rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::DAY;

    #[test]
    fn halves_with_every_half_life() {
        let mut fading = Fading::default();
        fading.add(0, 1.0, 2.0);
        fading.add(2 * DAY, 1.0, 2.0);
        assert!((fading.now(2 * DAY, 2.0) - 1.5).abs() < 1e-12);
        assert!((fading.now(6 * DAY, 2.0) - 0.375).abs() < 1e-12);
        assert!((exposure(1e6, 30.0) - 30.0 / std::f64::consts::LN_2).abs() < 1e-9);
    }
}
