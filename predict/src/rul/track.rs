//! What is known of a unit after each of its steps (a cycle, a day): one code path for training and for live use, in
//! memory that does not grow with the unit's age.

use std::collections::VecDeque;

/// Windows of the means, steps.
const WINDOWS: [usize; 4] = [5, 10, 20, 30];
/// Mean windows and how many steps earlier the mean is taken from which it is compared.
const CHANGES: [(usize, usize); 3] = [(10, 15), (20, 20), (20, 45)];
/// Steps that make up a unit's own baseline.
const BASELINE: u64 = 20;
/// The window compared with the baseline, steps.
const AGAINST_BASELINE: usize = 10;
/// Shares of the exponential means.
const SHARES: [f64; 2] = [0.1, 0.03];
/// The most steps looked back.
const REACH: usize = 66;
/// Fewer steps than this give no estimate.
pub const LEAST_STEPS: u64 = 5;
/// Features a channel.
const PER_CHANNEL: usize = WINDOWS.len() + CHANGES.len() + SHARES.len() + 2;

/// A unit's channels over its last steps.
#[derive(Debug, Clone)]
pub struct Track {
    channels: usize,
    steps: u64,
    last: Vec<f64>,
    /// Running sums after each of the last steps, and one from before them.
    sums: VecDeque<Vec<f64>>,
    baseline: Vec<f64>,
    /// Exponential means, not yet divided by their weights.
    fading: [Vec<f64>; 2],
    weights: [f64; 2],
}

impl Track {
    /// A unit that has not been seen yet.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        let zeros = vec![0.0; channels];
        Self {
            channels,
            steps: 0,
            last: zeros.clone(),
            sums: VecDeque::from([zeros.clone()]),
            baseline: zeros.clone(),
            fading: [zeros.clone(), zeros],
            weights: [0.0; 2],
        }
    }

    /// Takes a step. A value that is missing or not finite counts as the one before it.
    pub fn push(&mut self, values: &[f64]) {
        for (last, value) in self.last.iter_mut().zip(values) {
            if value.is_finite() {
                *last = *value;
            }
        }
        self.steps += 1;
        let mut sum = self.sums.back().cloned().unwrap_or_default();
        for (sum, last) in sum.iter_mut().zip(&self.last) {
            *sum += last;
        }
        self.sums.push_back(sum);
        if self.sums.len() > REACH + 1 {
            self.sums.pop_front();
        }
        if self.steps <= BASELINE {
            for (mean, last) in self.baseline.iter_mut().zip(&self.last) {
                *mean += (last - *mean) / self.steps as f64;
            }
        }
        for ((fading, weight), share) in self.fading.iter_mut().zip(&mut self.weights).zip(SHARES) {
            *weight = *weight * (1.0 - share) + share;
            for (fading, last) in fading.iter_mut().zip(&self.last) {
                *fading = *fading * (1.0 - share) + share * last;
            }
        }
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many features a unit of so many channels has.
    #[must_use]
    pub fn columns(channels: usize) -> usize {
        1 + channels * PER_CHANNEL
    }

    /// The mean of a channel over the last `window` steps as it stood `back` steps ago; never reaches before the
    /// first step.
    fn mean(&self, channel: usize, window: usize, back: usize) -> f64 {
        let newest = self.sums.len() - 1;
        let end = newest.saturating_sub(back).max(1.min(newest));
        let start = end.saturating_sub(window);
        if end == start {
            return 0.0;
        }
        (self.sums[end][channel] - self.sums[start][channel]) / (end - start) as f64
    }

    /// The features, in the order of [`Track::names`].
    #[must_use]
    pub fn features(&self) -> Vec<f32> {
        let mut features = Vec::with_capacity(Self::columns(self.channels));
        features.push(self.steps as f32);
        let total = self.sums.back();
        for channel in 0..self.channels {
            let mean = |window: usize, back: usize| self.mean(channel, window, back);
            features.extend(WINDOWS.map(|window| mean(window, 0) as f32));
            features.extend(CHANGES.map(|(window, back)| (mean(window, 0) - mean(window, back)) as f32));
            features.push((mean(AGAINST_BASELINE, 0) - self.baseline[channel]) as f32);
            for (fading, weight) in self.fading.iter().zip(self.weights) {
                features.push((fading[channel] / weight.max(1e-12)) as f32);
            }
            let all = total.map_or(0.0, |total| total[channel]) / self.steps.max(1) as f64;
            features.push(all as f32);
        }
        features
    }

    /// The features' names.
    #[must_use]
    pub fn names(channels: &[String]) -> Vec<String> {
        let mut names = vec!["steps".to_owned()];
        for channel in channels {
            names.extend(WINDOWS.map(|window| format!("{channel}.mean_{window}")));
            names.extend(CHANGES.map(|(window, back)| format!("{channel}.mean_{window}_change_{back}")));
            names.push(format!("{channel}.off_baseline"));
            names.extend(SHARES.map(|share| format!("{channel}.fading_{share}")));
            names.push(format!("{channel}.mean"));
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_changes_and_baseline_are_as_worked_by_hand() {
        let names = Track::names(&["x".to_owned()]);
        let mut track = Track::new(1);
        for step in 1..=100 {
            track.push(&[f64::from(step)]);
        }
        let features = track.features();
        assert_eq!(features.len(), names.len());
        let value = |name: &str| features[names.iter().position(|known| known == name).unwrap()];
        assert_eq!(value("steps"), 100.0);
        assert_eq!(value("x.mean_5"), 98.0);
        assert_eq!(value("x.mean_20_change_45"), 45.0);
        assert_eq!(value("x.off_baseline"), 95.5 - 10.5);
        assert_eq!(value("x.mean"), 50.5);
    }

    #[test]
    fn missing_values_hold_the_last_and_memory_is_bounded() {
        let mut track = Track::new(1);
        for step in 0..10_000 {
            track.push(&[if step % 3 == 0 { 7.0 } else { f64::NAN }]);
        }
        assert!(track.sums.len() <= REACH + 1);
        assert!((track.features()[1] - 7.0).abs() < 1e-6);
        assert!(Track::new(2).features().iter().all(|value| value.is_finite()));
    }

    #[test]
    fn features_at_a_step_do_not_know_later_steps() {
        let story = |tail: f64| (0..60).map(move |n| if n < 40 { f64::from(n).sin() } else { tail });
        let at_40 = |tail: f64| {
            let mut track = Track::new(1);
            let mut seen = Vec::new();
            for (n, value) in story(tail).enumerate() {
                track.push(&[value]);
                if n == 39 {
                    seen = track.features();
                }
            }
            seen
        };
        assert_eq!(at_40(1.0), at_40(-900.0));
    }
}
