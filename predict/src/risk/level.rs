//! Keeps forecasts at the level of what happens: outcomes that are known by now put right the level and the spread of
//! what is stated next, group by group. The order of units within a group is left as it is.
//!
//! A line in log-odds, learnt one moment after the other by the recursive form of Newton's method for logistic regression
//! (Spiegelhalter and Lauritzen 1990), with evidence that fades.

use std::time::Duration;

use model::Timestamp;

use crate::{
    history::days,
    learn::metrics::{logit, sigmoid},
};

/// The half-life of evidence, days.
const HALF_LIFE_DAYS: f64 = 45.0;
/// How much evidence the calibrated level has from the start, in failures.
const PRIOR_LEVEL: f64 = 25.0;
/// How much evidence the calibrated spread has from the start: failures times the variance of their log-odds.
const PRIOR_SPREAD: f64 = 40.0;
/// Log-odds around which the line turns, so that level and spread say little about each other: about 1 in 20.
const CENTRE: f64 = -3.0;
/// The most that a level is moved, in log-odds.
const REACH: f64 = 1.0;
/// How far the spread may shrink or grow.
const SPREAD: (f64, f64) = (0.5, 1.6);

/// A group's line and how sure of it we are (the precision matrix, its upper triangle).
#[derive(Debug, Clone, Copy)]
struct Line {
    level: f64,
    spread: f64,
    sure: [f64; 3],
    /// Gradient and curvature of outcomes taken since the line last moved.
    gradient: [f64; 2],
    curvature: [f64; 3],
}

impl Line {
    const PRIOR: [f64; 3] = [PRIOR_LEVEL, 0.0, PRIOR_SPREAD];

    fn new() -> Self {
        Self { level: 0.0, spread: 1.0, sure: Self::PRIOR, gradient: [0.0; 2], curvature: [0.0; 3] }
    }

    fn at(&self, probability: f64) -> f64 {
        sigmoid(CENTRE + self.level + self.spread * (logit(probability) - CENTRE))
    }

    fn take(&mut self, stated: f64, happened: bool) {
        let x = logit(stated) - CENTRE;
        let p = self.at(stated);
        let (off, weight) = (p - f64::from(u8::from(happened)), p * (1.0 - p));
        self.gradient[0] += off;
        self.gradient[1] += off * x;
        self.curvature[0] += weight;
        self.curvature[1] += weight * x;
        self.curvature[2] += weight * x * x;
    }

    /// Moves the line by what was taken since the last move.
    fn settle(&mut self) {
        for (sure, part) in self.sure.iter_mut().zip(self.curvature) {
            *sure += part;
        }
        let [a, b, c] = self.sure;
        let det = a * c - b * b;
        if det > 1e-9 {
            let [g0, g1] = self.gradient;
            self.level = (self.level - (c * g0 - b * g1) / det).clamp(-REACH, REACH);
            self.spread = (self.spread - (a * g1 - b * g0) / det).clamp(SPREAD.0, SPREAD.1);
        }
        self.gradient = [0.0; 2];
        self.curvature = [0.0; 3];
    }

    /// Lets evidence beyond that of the start fade.
    fn fade(&mut self, left: f64) {
        for (sure, prior) in self.sure.iter_mut().zip(Self::PRIOR) {
            *sure = prior + (*sure - prior) * left;
        }
    }
}

/// The lines of all groups.
#[derive(Debug, Clone)]
pub struct Level {
    lines: Vec<Line>,
    at: Option<Timestamp>,
}

impl Level {
    /// Nothing is known of so many groups yet.
    #[must_use]
    pub fn new(groups: usize) -> Self {
        Self { lines: vec![Line::new(); groups], at: None }
    }

    /// Goes on to `now`: what was learnt since the last moment moves the lines, and older evidence fades. Times before
    /// the last one fade nothing.
    pub fn go_on(&mut self, now: Timestamp) {
        let passed = self.at.map_or(0, |last| (now.as_micros() - last.as_micros()).max(0));
        let left = (-days(passed) / HALF_LIFE_DAYS).exp2();
        for line in &mut self.lines {
            line.fade(left);
            line.settle();
        }
        self.at = Some(self.at.map_or(now, |last| last.max(now)));
    }

    /// Takes a forecast whose horizon has passed: what the model stated, before this correction, and what happened.
    pub fn learn(&mut self, group: usize, stated: f64, happened: bool) {
        if let Some(line) = self.lines.get_mut(group) {
            line.take(stated, happened);
        }
    }

    /// A probability at the level of late; unchanged for a group that is not known.
    #[must_use]
    pub fn correct(&self, group: usize, probability: f64) -> f64 {
        self.lines.get(group).map_or(probability, |line| line.at(probability))
    }
}

/// One forecast of a list that [`walk`] puts right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stated {
    /// When it was made.
    pub at: Timestamp,
    /// The unit's group.
    pub group: usize,
    /// What the model states.
    pub probability: f64,
    /// Whether a failure followed within the horizon.
    pub outcome: bool,
}

/// Corrects forecasts in order of time as a running hub would: each by the outcomes of those whose horizon had passed
/// when it was made, and by nothing else.
#[must_use]
pub fn walk(stated: &[Stated], groups: usize, horizon: Duration) -> Vec<f64> {
    let mut level = Level::new(groups);
    let (mut known, mut now) = (0, None);
    stated
        .iter()
        .map(|forecast| {
            if now != Some(forecast.at) {
                now = Some(forecast.at);
                while let Some(past) = stated.get(known).filter(|past| {
                    past.at.as_micros().saturating_add(crate::detector::micros(horizon)) <= forecast.at.as_micros()
                }) {
                    level.learn(past.group, past.probability, past.outcome);
                    known += 1;
                }
                level.go_on(forecast.at);
            }
            level.correct(forecast.group, forecast.probability)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(outcome: impl Fn(i64, i64) -> bool) -> Vec<Stated> {
        (0..120)
            .flat_map(|day| (0..50).map(move |unit| (day, unit)))
            .map(|(day, unit)| {
                let at = Timestamp::from_secs(day * 86_400);
                Stated { at, group: 0, probability: 0.1, outcome: outcome(day, unit) }
            })
            .collect()
    }

    #[test]
    fn a_level_that_is_twice_too_high_is_put_right() {
        let corrected = walk(&series(|day, unit| (unit + day) % 20 == 0), 1, Duration::from_hours(24));
        assert!((corrected[0] - 0.1).abs() < 1e-9, "nothing is known on the first day");
        let last = corrected.last().copied().unwrap();
        assert!((last - 0.05).abs() < 0.012, "{last}");
    }

    #[test]
    fn outcomes_that_are_not_known_yet_change_nothing() {
        let horizon = Duration::from_hours(7 * 24);
        let one = walk(&series(|_, unit| unit == 0), 1, horizon);
        let other = walk(&series(|day, unit| if day < 60 { unit == 0 } else { unit < 40 }), 1, horizon);
        // Day 60's outcomes are known from day 67 on.
        assert_eq!(one[..67 * 50], other[..67 * 50]);
        assert_ne!(one[68 * 50], other[68 * 50]);
    }
}
