//! Keeps forecasts at the level of what happens: outcomes that are known by now put right the level, the spread and the
//! bend of what is stated next, group by group. The order of units within a group is left as it is.
//!
//! A parabola in log-odds, learnt one moment after the other by the recursive form of Newton's method for logistic regression
//! (Spiegelhalter and Lauritzen 1990), with evidence that fades.

use std::time::Duration;

use model::Timestamp;

use crate::{
    history::days,
    learn::{
        logistic::solve,
        metrics::{logit, sigmoid},
    },
};

/// The half-life of evidence, days.
const HALF_LIFE_DAYS: f64 = 45.0;
/// How much evidence the calibrated level has from the start, in failures.
const PRIOR_LEVEL: f64 = 25.0;
/// How much evidence the calibrated spread has from the start: failures times the variance of their log-odds.
const PRIOR_SPREAD: f64 = 40.0;
/// How much evidence the bend, 0 at first, has from the start.
const PRIOR_BEND: f64 = 8.0;
/// Log-odds around which the curve turns, so that level and spread say little about each other: about 1 in 20.
const CENTRE: f64 = -3.0;
/// The most that a level is moved, in log-odds.
const REACH: f64 = 1.0;
/// How far the spread may shrink or grow.
const SPREAD: (f64, f64) = (0.5, 1.6);
/// How far it may be bent, per square of log-odds.
const BEND: f64 = 0.15;
/// The square of the log-odds' usual distance from the centre.
const USUAL_SQUARE: f64 = 0.5;
/// How the curve rises where it would turn down.
const LEAST_SLOPE: f64 = 0.05;

/// A group's curve and how sure of it we are (the precision matrix, its upper triangle row after row).
#[derive(Debug, Clone, Copy)]
struct Curve {
    level: f64,
    spread: f64,
    bend: f64,
    sure: [f64; 9],
    /// Gradient and curvature of outcomes taken since the curve last moved.
    gradient: [f64; 3],
    curvature: [f64; 9],
}

impl Curve {
    const PRIOR: [f64; 9] = [PRIOR_LEVEL, 0.0, 0.0, 0.0, PRIOR_SPREAD, 0.0, 0.0, 0.0, PRIOR_BEND];

    fn new() -> Self {
        let sure = Self::PRIOR;
        Self { level: 0.0, spread: 1.0, bend: 0.0, sure, gradient: [0.0; 3], curvature: [0.0; 9] }
    }

    /// How the bend shapes log-odds: nothing one unit's usual distance from the centre, so that bend and level differ.
    fn bent(x: f64) -> f64 {
        x * x - USUAL_SQUARE
    }

    fn at(&self, probability: f64) -> f64 {
        let x = logit(probability) - CENTRE;
        // Beyond the point where the curve would turn, it goes on rising gently: the order of units stays as it is.
        let turn = if self.bend == 0.0 { f64::INFINITY } else { -self.spread / (2.0 * self.bend) };
        let within = if self.bend > 0.0 { x.max(turn) } else { x.min(turn) };
        let curve = self.spread * within + self.bend * Self::bent(within) + LEAST_SLOPE * (x - within);
        sigmoid(CENTRE + self.level + curve)
    }

    fn take(&mut self, stated: f64, happened: bool) {
        let x = logit(stated) - CENTRE;
        let p = self.at(stated);
        let (off, weight) = (p - f64::from(u8::from(happened)), p * (1.0 - p));
        let parts = [1.0, x, Self::bent(x)];
        for (n, part) in parts.into_iter().enumerate() {
            self.gradient[n] += off * part;
            for (m, other) in parts.into_iter().enumerate().skip(n) {
                self.curvature[n * 3 + m] += weight * part * other;
            }
        }
    }

    /// Moves the curve by what was taken since the last move.
    fn settle(&mut self) {
        for (sure, part) in self.sure.iter_mut().zip(self.curvature) {
            *sure += part;
        }
        if let Some(step) = solve(&mut self.sure.clone(), self.gradient.to_vec(), 3) {
            self.level = (self.level - step[0]).clamp(-REACH, REACH);
            self.spread = (self.spread - step[1]).clamp(SPREAD.0, SPREAD.1);
            self.bend = (self.bend - step[2]).clamp(-BEND, BEND);
        }
        self.gradient = [0.0; 3];
        self.curvature = [0.0; 9];
    }

    /// Lets evidence beyond that of the start fade.
    fn fade(&mut self, left: f64) {
        for (sure, prior) in self.sure.iter_mut().zip(Self::PRIOR) {
            *sure = prior + (*sure - prior) * left;
        }
    }
}

/// The curves of all groups.
#[derive(Debug, Clone)]
pub struct Level {
    curves: Vec<Curve>,
    at: Option<Timestamp>,
}

impl Level {
    /// Nothing is known of so many groups yet.
    #[must_use]
    pub fn new(groups: usize) -> Self {
        Self { curves: vec![Curve::new(); groups], at: None }
    }

    /// Goes on to `now`: what was learnt since the last moment moves the curves, and older evidence fades. Times before
    /// the last one fade nothing.
    pub fn go_on(&mut self, now: Timestamp) {
        let passed = self.at.map_or(0, |last| (now.as_micros() - last.as_micros()).max(0));
        let left = (-days(passed) / HALF_LIFE_DAYS).exp2();
        for curve in &mut self.curves {
            curve.fade(left);
            curve.settle();
        }
        self.at = Some(self.at.map_or(now, |last| last.max(now)));
    }

    /// Takes a forecast whose horizon has passed: what the model stated, before this correction, and what happened.
    pub fn learn(&mut self, group: usize, stated: f64, happened: bool) {
        if let Some(curve) = self.curves.get_mut(group) {
            curve.take(stated, happened);
        }
    }

    /// A probability at the level of late; unchanged for a group that is not known.
    #[must_use]
    pub fn correct(&self, group: usize, probability: f64) -> f64 {
        self.curves.get(group).map_or(probability, |curve| curve.at(probability))
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
    /// Whether a failure followed within the horizon; `None` if nobody was watching: then it teaches nothing.
    pub outcome: Option<bool>,
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
                    if let Some(outcome) = past.outcome {
                        level.learn(past.group, past.probability, outcome);
                    }
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
                Stated { at, group: 0, probability: 0.1, outcome: Some(outcome(day, unit)) }
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
    fn a_bend_is_put_right_and_turns_no_order_round() {
        // Stated from 1 to 50 %; what is stated low happens half as often as that, what is stated high as stated.
        let stated: Vec<Stated> = (0..200)
            .flat_map(|day| (0..100i64).map(move |unit| (day, unit)))
            .map(|(day, unit)| {
                let probability = if unit < 50 { 0.02 } else { 0.3 };
                let share = if unit < 50 { 1 } else { 30 };
                let at = Timestamp::from_secs(day * 86_400);
                Stated { at, group: 0, probability, outcome: Some((unit * 37 + day * 61) % 100 < share) }
            })
            .collect();
        let mut level = Level::new(1);
        for forecast in &stated {
            level.go_on(forecast.at);
            level.learn(0, forecast.probability, forecast.outcome.unwrap());
        }
        level.go_on(Timestamp::from_secs(200 * 86_400));
        let (low, high) = (level.correct(0, 0.02), level.correct(0, 0.3));
        assert!((low - 0.01).abs() < 0.004 && (high - 0.3).abs() < 0.03, "{low} {high}");
        let all: Vec<f64> = (1..1000).map(|n| level.correct(0, f64::from(n) / 1000.0)).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
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
