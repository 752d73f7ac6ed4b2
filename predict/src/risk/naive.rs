//! The rule that a model must beat.

use crate::history::Feature;

/// Failures assumed beside those counted.
const PRIOR_FAILURES: f64 = 2.0;
/// Days assumed beside the window.
const PRIOR_DAYS: f64 = 2.0;
/// The window in which failures are counted, days.
const WINDOW_DAYS: f64 = 90.0;
/// A failure this recent raises the rate, days.
const RECENT_DAYS: f64 = 3.0;
/// By so much.
const RECENT_FACTOR: f64 = 2.5;

/// Where the rule finds what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NaiveColumns {
    count: usize,
    since: usize,
}

impl NaiveColumns {
    pub(super) fn find(features: &[Feature]) -> Option<Self> {
        let position = |name: &str| features.iter().position(|feature| feature.name == name);
        Some(Self { count: position("failures.last_90d")?, since: position("failure_1.since")? })
    }

    pub(super) fn share(self, row: &[f32]) -> f64 {
        let value = |n: usize| row.get(n).copied().unwrap_or(f32::NAN);
        naive_share(f64::from(value(self.count)), f64::from(value(self.since)))
    }
}

/// Failures a day by the naive rule: `(failures in 90 d + 2) / 92`, times 2.5 if the last one was within 72 h. A rule
/// that a maintenance manager could work out on paper; ours to beat, not a literature value.
#[must_use]
pub fn naive_share(failures_90d: f64, days_since_failure: f64) -> f64 {
    let rate = (failures_90d.max(0.0) + PRIOR_FAILURES) / (WINDOW_DAYS + PRIOR_DAYS);
    if days_since_failure <= RECENT_DAYS { rate * RECENT_FACTOR } else { rate }
}
