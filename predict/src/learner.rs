//! Learns a level and its spread from a bounded number of values.

use serde::{Deserialize, Serialize};

use crate::stats;

/// How many values are kept.
const MAX_KEPT: usize = 256;

/// Keeps an even selection of what it is shown: when full, it drops every second value and takes only every second
/// one from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learner {
    kept: Vec<f64>,
    stride: u64,
    shown: u64,
    /// Event time of the first value, microseconds.
    pub(crate) since: i64,
}

impl Learner {
    pub(crate) fn new(since: i64) -> Self {
        Self { kept: Vec::new(), stride: 1, shown: 0, since }
    }

    pub(crate) fn show(&mut self, value: f64) {
        if self.shown.is_multiple_of(self.stride) {
            if self.kept.len() == MAX_KEPT {
                let mut keep = false;
                self.kept.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.stride = self.stride.saturating_mul(2);
            }
            if self.shown.is_multiple_of(self.stride) {
                self.kept.push(value);
            }
        }
        self.shown = self.shown.saturating_add(1);
    }

    /// How many values it was shown.
    pub(crate) fn shown(&self) -> u64 {
        self.shown
    }

    /// Level and robust standard deviation; `None` if it was shown nothing.
    pub(crate) fn learnt(&self) -> Option<(f64, f64)> {
        stats::robust(&self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_an_even_selection_in_bounded_memory() {
        let mut learner = Learner::new(0);
        for n in 0..100_000 {
            learner.show(f64::from(n));
        }
        assert!(learner.kept.len() <= MAX_KEPT);
        let (level, _) = learner.learnt().unwrap();
        assert!((level / 50_000.0 - 1.0).abs() < 0.01, "{level}");
    }
}
