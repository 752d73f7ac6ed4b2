//! What one channel lets expect of another: a straight line between their bucket means, fitted as they come.
//!
//! Causes that move both (the season, the weather, traffic) are taken off with it; what is left is the channel's own.

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

/// The least weight of a new pair of means: about a week of ten-minute buckets.
const GAIN: f64 = 0.001;
/// Pairs before the line is used.
const LEAST_PAIRS: u32 = 64;

/// The line, and the companion's newest buckets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Beside {
    open: Option<Bucket>,
    closed: Option<Bucket>,
    last: Option<i64>,
    pairs: u32,
    mean_x: f64,
    mean_y: f64,
    spread_x: f64,
    along: f64,
}

impl Beside {
    /// Takes a value of the companion. Returns false if it is not newer than the last one.
    pub(crate) fn companion(&mut self, time: i64, value: f64) -> bool {
        if self.last.is_some_and(|last| time <= last) {
            return false;
        }
        self.last = Some(time);
        if let Some(closed) = Bucket::add(&mut self.open, time, value) {
            self.closed = Some(closed);
        }
        true
    }

    /// What is left of a bucket of the watched channel; `None` if the companion said nothing in its span, or too little
    /// is known of the two.
    pub(crate) fn rest(&mut self, bucket: &Bucket) -> Option<f64> {
        let both = [&self.open, &self.closed];
        let x = both.into_iter().flatten().find(|other| other.index == bucket.index)?.mean;
        let y = bucket.mean;
        let slope = if self.spread_x > 0.0 { self.along / self.spread_x } else { 0.0 };
        let rest = y - self.mean_y - slope * (x - self.mean_x);
        self.pairs = self.pairs.saturating_add(1);
        let gain = GAIN.max(1.0 / f64::from(self.pairs));
        let (off_x, off_y) = (x - self.mean_x, y - self.mean_y);
        self.mean_x += gain * off_x;
        self.mean_y += gain * off_y;
        self.spread_x = (1.0 - gain) * (self.spread_x + gain * off_x * off_x);
        self.along = (1.0 - gain) * (self.along + gain * off_x * off_y);
        (self.pairs > LEAST_PAIRS && rest.is_finite()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_cause_is_taken_off_and_an_own_change_is_left() {
        let mut beside = Beside::default();
        let mut open = None;
        let mut rests = Vec::new();
        for n in 0..1000i64 {
            let time = n * 600_000_000;
            let cause = 10.0 * (n as f64 / 20.0).sin();
            assert!(beside.companion(time, 30.0 + cause));
            assert!(!beside.companion(time, 0.0), "late");
            let own = if n >= 900 { 5.0 } else { 0.0 };
            if let Some(closed) = Bucket::add(&mut open, time, 20.0 + 2.0 * cause + own) {
                rests.extend(beside.rest(&closed));
            }
        }
        assert!(rests[200..800].iter().all(|rest| rest.abs() < 0.5), "{:?}", &rests[200..210]);
        assert!(rests[840..860].iter().all(|rest| *rest > 3.0), "{:?}", &rests[840..860]);
    }

    #[test]
    fn without_the_companion_nothing_is_said() {
        let (mut beside, mut open) = (Beside::default(), None);
        for n in 0..500i64 {
            if let Some(closed) = Bucket::add(&mut open, n * 600_000_000, 1.0) {
                assert_eq!(beside.rest(&closed), None);
            }
        }
    }
}
