//! A laboratory: the lives of many lifts over months, half an hour a report, with failures whose beginning, speed and end
//! are known, and with the healthy changes that look like them.
//!
//! The physics of [`crate::lift`] is too fine for months of hundreds of lifts; here the same wear formulas are evaluated
//! once a report. What the two share is used from there. Everything else is in [`unit`]: where each precursor comes
//! from is said beside its formula. The same seed and [`Ranges`] give the same lives, whatever else is asked for.
//!
//! Detectors are tuned on [`Ranges::DEVELOPMENT`] only; [`Ranges::HELD_OUT`] reaches beyond it on every axis.

mod fate;
mod mode;
mod unit;

pub use fate::{Course, Fate, Ranges};
pub use mode::Mode;
pub use unit::Unit;

use std::time::Duration;

use model::Timestamp;

/// The time between two reports.
pub const EVERY: Duration = Duration::from_mins(30);

/// A fleet to be lived through.
#[derive(Debug, Clone, PartialEq)]
pub struct Lab {
    /// Decides everything random.
    pub seed: u64,
    /// From which fates are drawn.
    pub ranges: Ranges,
    /// Lifts that fail, for each mode.
    pub failing: u32,
    /// Lifts that stay healthy.
    pub healthy: u32,
    /// When every life begins.
    pub start: Timestamp,
}

impl Lab {
    /// All lifts, those that fail first, mode by mode.
    pub fn units(&self) -> impl Iterator<Item = Unit> + '_ {
        let failing = Mode::ALL.into_iter().flat_map(move |mode| (0..self.failing).map(move |n| (Some(mode), n)));
        let healthy = (0..self.healthy).map(|n| (None, n));
        failing.chain(healthy).map(move |(mode, n)| {
            let name = format!("{}-{n}", mode.map_or("healthy", Mode::name));
            Unit::new(name, Fate::draw(self.seed, n, mode, &self.ranges), self.seed, self.start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Report;

    fn lab(seed: u64) -> Lab {
        let start = "2025-03-01T00:00:00Z".parse().unwrap();
        Lab { seed, ranges: Ranges::DEVELOPMENT, failing: 2, healthy: 2, start }
    }

    #[test]
    fn the_same_seed_gives_the_same_lives_and_another_does_not() {
        let lives = |seed| lab(seed).units().map(|unit| unit.take(300).collect::<Vec<_>>()).collect::<Vec<_>>();
        assert_eq!(lives(1), lives(1));
        assert_ne!(lives(1), lives(2));
        assert_eq!(lives(1).len(), Mode::ALL.len() * 2 + 2);
    }

    /// The mean of a channel over the reports of a share of a life.
    fn mean(reports: &[Report], channel: &str, from: f64, to: f64) -> f64 {
        let count = reports.len() as f64;
        let values: Vec<f64> = reports[(from * count) as usize..(to * count) as usize]
            .iter()
            .filter_map(|report| match report {
                Report::Telemetry { values, .. } => values.iter().find(|(name, _)| name == channel),
                Report::Event { .. } | Report::CommandResult { .. } => None,
            })
            .filter_map(|(_, value)| match value {
                model::Value::Number(value) => Some(value.abs()),
                model::Value::Bool(_) | model::Value::Text(_) => None,
            })
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn every_mode_shows_in_its_channels_before_it_fails_and_ends_the_life() {
        for unit in lab(5).units() {
            let (name, fate) = (unit.name.clone(), unit.fate.clone());
            let reports: Vec<Report> = unit.collect();
            let Some(course) = fate.course else { continue };
            let days = reports.iter().filter(|report| matches!(report, Report::Telemetry { .. })).count() as f64 / 48.0;
            assert!((days - course.fails_day()).abs() < 1.0, "{name}: {days}");
            let shown = course.mode.channels().iter().any(|channel| {
                let (before, after) = (mean(&reports, channel, 0.0, 0.25), mean(&reports, channel, 0.97, 1.0));
                (after - before).abs() > 0.1 * before.max(0.05)
            });
            assert!(shown, "{name}");
        }
    }
}
