//! Warnings judged failure mode by failure mode, where the beginning and the end of every failure are known.
//!
//! A warning has found a failure if it came between the failure's beginning and its end *and* speaks of something in
//! which that mode shows. Every other warning is a false alarm: on healthy units, before a failure began, and on
//! something else while a failure was under way. Time in good health is the exposure that false alarms are counted over.

use std::{collections::BTreeMap, fmt};

use model::Timestamp;

/// A month: a twelfth of a Gregorian year.
const MONTH_DAYS: f64 = 30.436_875;

/// What happened to a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    /// When it was first seen.
    pub from: Timestamp,
    /// When it was last seen, or failed.
    pub to: Timestamp,
    /// Its failure: the mode's name and when the damage began.
    pub failure: Option<(String, Timestamp)>,
}

/// How one method did on one mode.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModeScore {
    /// Units that failed this way.
    pub failures: usize,
    /// Hours from the first right warning to the failure, one for each failure that was found.
    pub leads_h: Vec<f64>,
}

impl ModeScore {
    /// Failures found, per failure; 0 without failures.
    #[must_use]
    pub fn recall(&self) -> f64 {
        if self.failures == 0 { 0.0 } else { self.leads_h.len() as f64 / self.failures as f64 }
    }

    /// The median lead time of the failures found, hours.
    #[must_use]
    pub fn median_lead_h(&self) -> Option<f64> {
        crate::stats::median(&mut self.leads_h.clone())
    }
}

/// How one method did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModesScore {
    /// By mode.
    pub modes: BTreeMap<String, ModeScore>,
    /// False alarms by what raised them.
    pub false_alarms: BTreeMap<String, usize>,
    /// Days of units in good health.
    pub healthy_days: f64,
}

impl ModesScore {
    /// Adds a unit and its warnings: when, what raised it, and whether it speaks of what the unit's mode shows in.
    pub fn add<'a>(&mut self, life: &Life, warnings: impl IntoIterator<Item = (Timestamp, &'a str, bool)>) {
        let began = life.failure.as_ref().map_or(life.to, |(_, began)| *began);
        self.healthy_days += began.seconds_after(life.from) / 86_400.0;
        let mut first: Option<Timestamp> = None;
        for (at, what, fits) in warnings {
            if life.failure.is_some() && at >= began && fits {
                first = Some(first.map_or(at, |first| first.min(at)));
            } else {
                *self.false_alarms.entry(what.to_owned()).or_default() += 1;
            }
        }
        if let Some((mode, _)) = &life.failure {
            let score = self.modes.entry(mode.clone()).or_default();
            score.failures += 1;
            score.leads_h.extend(first.map(|first| life.to.seconds_after(first) / 3600.0));
        }
    }

    /// False alarms per unit and month in good health.
    #[must_use]
    pub fn false_alarms_per_month(&self) -> f64 {
        if self.healthy_days <= 0.0 {
            return 0.0;
        }
        self.false_alarms.values().sum::<usize>() as f64 * MONTH_DAYS / self.healthy_days
    }

    /// Failures found, per failure, over all modes.
    #[must_use]
    pub fn recall(&self) -> f64 {
        let failures: usize = self.modes.values().map(|mode| mode.failures).sum();
        let found: usize = self.modes.values().map(|mode| mode.leads_h.len()).sum();
        if failures == 0 { 0.0 } else { found as f64 / failures as f64 }
    }
}

impl fmt::Display for ModesScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mode, score) in &self.modes {
            let lead = score.median_lead_h().map_or("-".to_owned(), |hours| format!("{:.1} d", hours / 24.0));
            writeln!(
                f,
                "  {mode:16} {:3} of {:3} found, recall {:.2}, median lead {lead}",
                score.leads_h.len(),
                score.failures,
                score.recall()
            )?;
        }
        write!(f, "  false alarms {:.3} per unit-month", self.false_alarms_per_month())?;
        let worst: Vec<String> = self.false_alarms.iter().map(|(what, count)| format!("{what} {count}")).collect();
        if worst.is_empty() { Ok(()) } else { write!(f, " ({})", worst.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_fits_and_comes_in_time_has_found_a_failure() {
        let start: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        let day = |n: u32| start + Duration::from_hours(24) * n;
        let failing =
            |began: u32, to: u32| Life { from: start, to: day(to), failure: Some(("brake".to_owned(), day(began))) };
        let mut score = ModesScore::default();
        // One too early, one of another kind, two right.
        score.add(
            &failing(30, 40),
            [(day(10), "a", true), (day(31), "b", false), (day(36), "c", true), (day(34), "c", true)],
        );
        score.add(&failing(30, 40), []);
        score.add(&Life { from: start, to: day(60), failure: None }, [(day(5), "a", true)]);
        let brake = &score.modes["brake"];
        assert_eq!((brake.failures, brake.recall(), brake.median_lead_h()), (2, 0.5, Some(144.0)));
        assert_eq!(score.false_alarms, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
        assert!((score.false_alarms_per_month() - 3.0 * MONTH_DAYS / 120.0).abs() < 1e-9);
        assert_eq!(ModesScore::default().false_alarms_per_month(), 0.0);
    }
}
