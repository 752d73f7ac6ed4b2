//! Champion against challenger on days that neither has seen, and how a champion does later than it did then.

use std::{fmt, time::Duration};

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    level,
    model::{LEAST_OUTCOMES, RiskModel},
    samples::{Sample, Samples},
};
use crate::{
    detector::micros,
    learn::metrics::{self, Ranking},
};

/// Over how many days a champion's forecasts are watched.
pub const DRIFT_DAYS: u32 = 28;
/// By how much the log loss may exceed that of the contest before it is a drift.
const DRIFT_FACTOR: f64 = 1.25;

/// How probabilities fared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Forecasts.
    pub forecasts: usize,
    /// Of these: followed by a failure.
    pub failures: usize,
    /// Mean log loss: less is better.
    pub log_loss: f64,
    /// Mean squared error: less is better.
    pub brier: f64,
    /// Area under the receiver operating characteristic; `None` with one outcome only.
    pub roc_auc: Option<f64>,
    /// Average precision; `None` with one outcome only.
    pub pr_auc: Option<f64>,
    /// The mean probability.
    pub stated: f64,
}

impl Score {
    /// Scores probabilities by what happened.
    #[must_use]
    pub fn of(probabilities: &[f64], outcomes: &[bool]) -> Self {
        let count = probabilities.len().max(1) as f64;
        let losses = probabilities
            .iter()
            .zip(outcomes)
            .map(|(p, outcome)| -(if *outcome { *p } else { 1.0 - p }).max(1e-12).ln());
        let failures = outcomes.iter().filter(|outcome| **outcome).count();
        let one_only = failures == 0 || failures == outcomes.len();
        let ranked = if one_only { None } else { Ranking::of(probabilities).judge(outcomes, |_| 1.0) };
        Self {
            forecasts: probabilities.len(),
            failures,
            log_loss: losses.sum::<f64>() / count,
            brier: if probabilities.is_empty() { 0.0 } else { metrics::brier(probabilities, outcomes, |_| 1.0) },
            roc_auc: ranked.map(|ranked| ranked.roc_auc),
            pr_auc: ranked.map(|ranked| ranked.pr_auc),
            stated: probabilities.iter().sum::<f64>() / count,
        }
    }

    /// The share that was followed by a failure.
    #[must_use]
    pub fn base_rate(&self) -> f64 {
        self.failures as f64 / self.forecasts.max(1) as f64
    }

    /// Whether outcomes of both kinds were seen often enough to judge by.
    fn tells(&self) -> bool {
        self.failures >= LEAST_OUTCOMES && self.forecasts - self.failures >= LEAST_OUTCOMES
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log loss {:.5}, Brier {:.5}", self.log_loss, self.brier)?;
        if let (Some(roc), Some(pr)) = (self.roc_auc, self.pr_auc) {
            write!(f, ", ROC-AUC {roc:.4}, PR-AUC {pr:.4}")?;
        }
        write!(f, ", stated {:.2} %, happened {:.2} %", self.stated * 100.0, self.base_rate() * 100.0)
    }
}

/// What a model states at every moment it has not seen, put right by outcomes as a running hub would. Moments whose
/// outcome is not known yet are stated, too, and teach nothing. Positions are those of the samples.
///
/// Each moment is put right by outcomes as they were known then: whenever false alarms were found, the past is walked
/// through once more.
#[must_use]
pub fn corrected(samples: &Samples, model: &RiskModel) -> Vec<(usize, f64)> {
    let (horizon, groups) = (model.options.horizon, samples.groups.len());
    let unseen = samples.positions(|sample| sample.at >= model.split.train_until);
    let mut stated: Vec<level::Stated> = unseen
        .iter()
        .map(|n| {
            let sample = &samples.rows[*n];
            let probability = model.probability(samples.table.row(*n), sample.group);
            level::Stated { at: sample.at, group: sample.group, probability, outcome: None }
        })
        .collect();
    let mut found: Vec<Timestamp> = samples.false_alarms.iter().flatten().map(|alarm| alarm.found).collect();
    found.sort_unstable();
    let mut right: Vec<f64> = Vec::with_capacity(stated.len());
    while let Some(now) = stated.get(right.len()).map(|first| first.at) {
        let next = found.get(found.partition_point(|found| *found <= now));
        let until = next.map_or(stated.len(), |next| stated.partition_point(|forecast| forecast.at < *next));
        for (forecast, n) in stated[..until].iter_mut().zip(&unseen) {
            let sample = &samples.rows[*n];
            let known = sample.is_watched_for(horizon);
            forecast.outcome = known.then(|| samples.failed_as_known(sample, horizon, now));
        }
        let walked = level::walk(&stated[..until], groups, horizon);
        right.extend_from_slice(&walked[right.len()..]);
    }
    unseen.into_iter().zip(right).collect()
}

/// Models side by side on the same unseen days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// The first unseen day.
    pub from: Timestamp,
    /// Outcomes were known up to here.
    pub until: Timestamp,
    /// The new model.
    pub challenger: Score,
    /// The naive rule.
    pub naive: Score,
    /// The model in use, if there is one.
    pub champion: Option<Score>,
}

/// What follows from a contest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The challenger was better than the naive rule and than the champion.
    Promote,
    /// Too few outcomes of either kind to tell.
    TooFew,
    /// The naive rule was as good.
    RuleAsGood,
    /// The champion was as good.
    ChampionAsGood,
}

impl Contest {
    /// Lets models forecast the days that all of them have not seen and whose outcomes are known at `now`.
    #[must_use]
    pub fn hold(samples: &Samples, challenger: &RiskModel, champion: Option<&RiskModel>, now: Timestamp) -> Self {
        let horizon = challenger.options.horizon;
        let from = champion.map_or(challenger.split.calibrate_until, |champion| {
            champion.split.calibrate_until.max(challenger.split.calibrate_until)
        });
        let known = |n: usize| {
            let Sample { at, .. } = samples.rows[n];
            let passed = at.as_micros().saturating_add(micros(horizon)) <= now.as_micros();
            at >= from && passed && samples.rows[n].is_watched_for(horizon)
        };
        let outcomes =
            |rows: &[usize]| -> Vec<bool> { rows.iter().map(|n| samples.rows[*n].failed_within(horizon)).collect() };
        let score = |model: &RiskModel| {
            let (rows, stated): (Vec<usize>, Vec<f64>) =
                corrected(samples, model).into_iter().filter(|(n, _)| known(*n)).unzip();
            Score::of(&stated, &outcomes(&rows))
        };
        let rows: Vec<usize> = (0..samples.rows.len()).filter(|n| known(*n)).collect();
        let by_rule: Vec<f64> = rows.iter().map(|n| challenger.rule_probability(samples.table.row(*n))).collect();
        Self {
            from,
            until: now,
            challenger: score(challenger),
            naive: Score::of(&by_rule, &outcomes(&rows)),
            champion: champion.map(score),
        }
    }

    /// A challenger is promoted only if it was better on those days than the naive rule and than the champion.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let better = |other: &Score| self.challenger.log_loss < other.log_loss;
        if !self.challenger.tells() {
            Verdict::TooFew
        } else if !better(&self.naive) {
            Verdict::RuleAsGood
        } else if !self.champion.as_ref().is_none_or(better) {
            Verdict::ChampionAsGood
        } else {
            Verdict::Promote
        }
    }
}

/// How a champion's forecasts fared of late, beside how it fared when it was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Of late.
    pub live: Score,
    /// The naive rule of late.
    pub naive: Score,
    /// When it was chosen.
    pub chosen: Score,
}

impl Drift {
    /// Whether the champion does not do what it was chosen for any more: its log loss is a quarter above that of its
    /// contest, or the naive rule does better. `None`: too few outcomes to tell.
    #[must_use]
    pub fn drifts(&self) -> Option<bool> {
        let worse = self.live.log_loss > DRIFT_FACTOR * self.chosen.log_loss;
        self.live.tells().then_some(worse || self.live.log_loss > self.naive.log_loss)
    }
}

/// Where the spans of a training end, by how much history there is at `now`: the last fifth of it, at most four weeks,
/// is for the contest; the quarter before it, at most 45 days, for calibration.
#[must_use]
pub fn spans(first: Timestamp, now: Timestamp, horizon: Duration) -> super::Split {
    let day = Duration::from_hours(24);
    let history = now.since(first);
    let contest = (history / 5).min(day * 28) + horizon;
    let calibration = (history / 4).min(day * 45) + horizon;
    let calibrate_until = now - contest;
    super::Split { train_until: calibrate_until - calibration, calibrate_until }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(log_loss: f64, failures: usize) -> Score {
        Score { forecasts: 1000, failures, log_loss, brier: 0.1, roc_auc: None, pr_auc: None, stated: 0.1 }
    }

    fn verdict(challenger: Score, naive: f64, champion: Option<f64>) -> Verdict {
        let at = Timestamp::default();
        let champion = champion.map(|loss| score(loss, 50));
        Contest { from: at, until: at, challenger, naive: score(naive, 50), champion }.verdict()
    }

    #[test]
    fn only_a_better_score_than_both_promotes() {
        assert_eq!(verdict(score(0.30, 50), 0.31, None), Verdict::Promote);
        assert_eq!(verdict(score(0.30, 50), 0.31, Some(0.305)), Verdict::Promote);
        assert_eq!(verdict(score(0.30, 50), 0.31, Some(0.30)), Verdict::ChampionAsGood);
        assert_eq!(verdict(score(0.30, 50), 0.30, Some(0.4)), Verdict::RuleAsGood);
        assert_eq!(verdict(score(0.10, 29), 0.3, None), Verdict::TooFew);
        assert_eq!(verdict(score(0.10, 990), 0.3, None), Verdict::TooFew);
        assert_eq!(verdict(score(f64::NAN, 50), 0.3, None), Verdict::RuleAsGood);
    }

    #[test]
    fn a_drift_is_a_score_that_fell_behind_its_own_or_behind_the_rule() {
        let drifts = |live: Score, naive| Drift { live, naive: score(naive, 50), chosen: score(0.30, 50) }.drifts();
        assert_eq!(drifts(score(0.31, 50), 0.33), Some(false));
        assert_eq!(drifts(score(0.38, 50), 0.45), Some(true));
        assert_eq!(drifts(score(0.31, 50), 0.30), Some(true));
        assert_eq!(drifts(score(0.90, 10), 0.30), None);
    }

    #[test]
    fn a_score_is_what_can_be_worked_out_by_hand() {
        let found = Score::of(&[0.5, 0.25, 0.5, 0.25], &[true, false, true, false]);
        assert_eq!((found.forecasts, found.failures, found.roc_auc), (4, 2, Some(1.0)));
        assert!((found.log_loss - (2.0 * 0.5f64.ln() + 2.0 * 0.75f64.ln()) / -4.0).abs() < 1e-12);
        assert!((found.brier - 0.15625).abs() < 1e-12);
        assert_eq!(Score::of(&[], &[]).base_rate(), 0.0);
        assert_eq!(Score::of(&[0.2], &[false]).roc_auc, None);
    }
}
