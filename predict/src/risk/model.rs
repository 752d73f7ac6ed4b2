//! The failure model: regressions and boosted trees that each say how likely a failure is, averaged and calibrated.
//!
//! Learnt in three spans that follow each other: training, calibration (where probabilities, the alert threshold and
//! the choice between model and naive rule are settled), and whatever is scored after that.

use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{naive::NaiveColumns, reading::Reading, samples::Samples};
use crate::{
    history::Feature,
    learn::{
        BoostOptions, Boosted, LearnError, Logistic, Loss, Platt,
        metrics::{self, Ranking},
    },
};

/// The fewest failures, and the fewest quiet samples, to learn from.
pub(super) const LEAST_OUTCOMES: usize = 30;
/// The fewest units: with fewer, nothing is learnt that holds for another unit.
const LEAST_UNITS: usize = 5;
/// A group gets trees of its own from so many failures on.
const OWN_FAILURES: usize = 200;
/// A group gets a calibration of its own from so many failures on.
const OWN_CALIBRATION: usize = 100;
/// Boosted members over all units, each with draws of its own; together they count as one.
const FORESTS: u64 = 3;

/// How a model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// Failures within this time after a moment are to be foreseen.
    pub horizon: Duration,
    /// The seed of every draw.
    pub seed: u64,
    /// Trees of each boosted member.
    pub trees: usize,
    /// L2 penalty of the regression, as a share of the rows.
    pub penalty: f64,
}

impl TrainOptions {
    /// The settings that were chosen on days before every test span; see docs/forecasts.md.
    #[must_use]
    pub fn new(horizon: Duration, seed: u64) -> Self {
        Self { horizon, seed, trees: 250, penalty: 0.016 }
    }
}

/// Where training and calibration end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Nothing later is trained on, outcomes included.
    pub train_until: Timestamp,
    /// Nothing later is calibrated on, outcomes included.
    pub calibrate_until: Timestamp,
}

/// Why no model was trained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The data teach nothing.
    #[error("no model: {0}")]
    Learn(#[from] LearnError),
    /// Too few units.
    #[error("no model: {units} units were under watch long enough; at least {LEAST_UNITS} are needed")]
    FewUnits {
        /// How many there are.
        units: usize,
    },
    /// The features are not those of a failure history.
    #[error("no model: the features lack the counts that the naive rule reads")]
    NoRule,
    /// The spans are the wrong way round.
    #[error("no model: calibration must end after training does ({train_until} to {calibrate_until})")]
    Spans {
        /// End of training.
        train_until: Timestamp,
        /// End of calibration.
        calibrate_until: Timestamp,
    },
}

/// What forecasts are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chosen {
    /// The model: it beat the rule on days it had not seen.
    Model,
    /// The naive rule: the model did not beat it.
    NaiveRule,
}

/// How model and rule did on the calibration span, which the members have not seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Samples.
    pub samples: usize,
    /// Of these: followed by a failure.
    pub failures: usize,
    /// Mean log loss of the model.
    pub model_log_loss: f64,
    /// Mean log loss of the rule.
    pub naive_log_loss: f64,
    /// PR-AUC of the model; 0 where only one outcome was seen.
    pub model_pr_auc: f64,
    /// PR-AUC of the rule.
    pub naive_pr_auc: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Learner {
    /// On all units, with group-wise weights.
    Regression(Logistic),
    Trees(Vec<Boosted>),
    /// Trees on each group by itself; `None` where the group has too few failures.
    TreesByGroup(Vec<Option<Boosted>>),
}

impl Learner {
    /// What it counts in the average; chosen on days before every test span.
    fn weight(&self) -> f64 {
        match self {
            Self::Regression(_) => 5.0,
            Self::Trees(_) | Self::TreesByGroup(_) => 1.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Member {
    learner: Learner,
    /// Its mean log-odds over the training span.
    mean: f64,
}

/// A trained failure model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskModel {
    pub(super) features: Vec<Feature>,
    pub(super) groups: Vec<String>,
    /// How it was trained.
    pub options: TrainOptions,
    /// The moments of its first training sample and the ends of its spans.
    pub trained_from: Timestamp,
    /// The spans.
    pub split: Split,
    /// Samples and failures trained on.
    pub trained_on: (usize, usize),
    members: Vec<Member>,
    calibration: Calibration,
    naive_calibration: Calibration,
    /// How it did on unseen days.
    pub judgement: Judgement,
    /// What it forecasts with.
    pub chosen: Chosen,
}

/// A calibration for all units, and others for groups with failures enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Calibration {
    all: Platt,
    groups: Vec<Option<Platt>>,
}

impl RiskModel {
    /// Trains on samples up to `split.train_until` and calibrates on those that follow.
    ///
    /// # Errors
    /// [`TrainError`] if there is too little to learn from; never a model that guesses.
    pub fn train(samples: &Samples, split: Split, options: &TrainOptions) -> Result<Self, TrainError> {
        Self::train_watched(samples, split, options, &mut |_| true)
    }

    /// The same; `watch` is told after every tree what share of the work is done, and may take its time: that is how a
    /// running hub keeps the training to its share of the processor. The training ends when it says false.
    ///
    /// # Errors
    /// As [`RiskModel::train`], and [`LearnError::Stopped`].
    pub fn train_watched(
        samples: &Samples,
        split: Split,
        options: &TrainOptions,
        watch: &mut dyn FnMut(f64) -> bool,
    ) -> Result<Self, TrainError> {
        let columns = NaiveColumns::find(&samples.features).ok_or(TrainError::NoRule)?;
        if split.calibrate_until <= split.train_until {
            let Split { train_until, calibrate_until } = split;
            return Err(TrainError::Spans { train_until, calibrate_until });
        }
        let horizon = options.horizon;
        let train = samples.positions(|sample| {
            ends(sample.at, horizon) <= split.train_until.as_micros() && sample.is_watched_for(horizon)
        });
        check(samples, &train, horizon)?;
        let forests = FORESTS as usize + samples.groups.len();
        let (mut grown, all) = (0usize, (forests * options.trees).max(1));
        let mut watch = || {
            grown += 1;
            watch((grown as f64 / all as f64).min(1.0))
        };
        let seeded = TrainOptions { seed: options.seed.wrapping_mul(100), ..*options };
        let members = Member::fit_all(samples, &train, &seeded, &mut watch)?;
        let calibrate = samples.positions(|sample| {
            sample.at >= split.train_until
                && ends(sample.at, horizon) <= split.calibrate_until.as_micros()
                && sample.is_watched_for(horizon)
        });
        let failures = |rows: &[usize]| rows.iter().filter(|n| samples.rows[**n].failed_within(horizon)).count();
        let mut model = Self {
            features: samples.features.clone(),
            groups: samples.groups.clone(),
            options: *options,
            trained_from: train.first().map_or(split.train_until, |n| samples.rows[*n].at),
            split,
            trained_on: (train.len(), failures(&train)),
            members,
            calibration: Calibration { all: Platt::IDENTITY, groups: Vec::new() },
            naive_calibration: Calibration { all: Platt::IDENTITY, groups: Vec::new() },
            judgement: Judgement {
                samples: 0,
                failures: 0,
                model_log_loss: 0.0,
                naive_log_loss: 0.0,
                model_pr_auc: 0.0,
                naive_pr_auc: 0.0,
            },
            chosen: Chosen::NaiveRule,
        };
        model.settle(samples, &calibrate, columns);
        Ok(model)
    }

    /// Calibrates model and rule on unseen days, compares them and chooses.
    fn settle(&mut self, samples: &Samples, rows: &[usize], columns: NaiveColumns) {
        let scores: Vec<f64> = rows.iter().map(|n| self.score(samples.table.row(*n), samples.rows[*n].group)).collect();
        let naive: Vec<f64> = rows.iter().map(|n| metrics::logit(columns.share(samples.table.row(*n)))).collect();
        let outcomes: Vec<bool> = rows.iter().map(|n| samples.rows[*n].failed_within(self.options.horizon)).collect();
        let groups: Vec<usize> = rows.iter().map(|n| samples.rows[*n].group).collect();
        self.calibration = Calibration::fit(&scores, &outcomes, &groups, self.groups.len());
        self.naive_calibration = Calibration::fit(&naive, &outcomes, &groups, self.groups.len());
        let calibrated = |calibration: &Calibration, scores: &[f64]| -> Vec<f64> {
            scores.iter().zip(&groups).map(|(score, group)| calibration.probability(*score, *group)).collect()
        };
        let (ours, rule) = (calibrated(&self.calibration, &scores), calibrated(&self.naive_calibration, &naive));
        let failures = outcomes.iter().filter(|outcome| **outcome).count();
        let pr_auc = |p: &[f64]| Ranking::of(p).judge(&outcomes, |_| 1.0).map_or(0.0, |ranked| ranked.pr_auc);
        self.judgement = Judgement {
            samples: rows.len(),
            failures,
            model_log_loss: log_loss(&ours, &outcomes),
            naive_log_loss: log_loss(&rule, &outcomes),
            model_pr_auc: pr_auc(&ours),
            naive_pr_auc: pr_auc(&rule),
        };
        let enough = failures >= LEAST_OUTCOMES && rows.len() - failures >= LEAST_OUTCOMES;
        let better = self.judgement.model_log_loss < self.judgement.naive_log_loss;
        self.chosen = if enough && better { Chosen::Model } else { Chosen::NaiveRule };
    }

    /// The probability that a unit of a group fails within the horizon, by what was chosen.
    #[must_use]
    pub fn probability(&self, row: &[f32], group: usize) -> f64 {
        match self.chosen {
            Chosen::Model => self.model_probability(row, group),
            Chosen::NaiveRule => self.naive_probability(row, group),
        }
    }

    /// The model's own probability, whatever was chosen.
    #[must_use]
    pub fn model_probability(&self, row: &[f32], group: usize) -> f64 {
        self.calibration.probability(self.score(row, group), group)
    }

    /// The naive rule's probability, calibrated on the same days.
    #[must_use]
    pub fn naive_probability(&self, row: &[f32], group: usize) -> f64 {
        let share = NaiveColumns::find(&self.features).map_or(0.0, |columns| columns.share(row));
        self.naive_calibration.probability(metrics::logit(share), group)
    }

    /// What the naive rule says by itself: calibrated once for all units, so that it ranks them as on paper.
    #[must_use]
    pub fn rule_probability(&self, row: &[f32]) -> f64 {
        let share = NaiveColumns::find(&self.features).map_or(0.0, |columns| columns.share(row));
        self.naive_calibration.all.probability(metrics::logit(share))
    }

    /// The features it reads.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The groups it knows.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    fn score(&self, row: &[f32], group: usize) -> f64 {
        let read = Reading::of(&self.features).read(row);
        let (mut sum, mut weights) = (0.0, 0.0);
        for member in &self.members {
            let weight = member.learner.weight();
            sum += weight * (member.score(row, &read, group) - member.mean);
            weights += weight;
        }
        sum / f64::max(weights, 1.0)
    }

    /// Whether its parts fit each other.
    pub(super) fn sound(&self) -> bool {
        let (columns, read) = (self.features.len(), Reading::of(&self.features).columns());
        NaiveColumns::find(&self.features).is_some()
            && !self.members.is_empty()
            && self.members.iter().all(|member| {
                member.mean.is_finite()
                    && match &member.learner {
                        Learner::Regression(own) => own.sound(read),
                        Learner::TreesByGroup(own) => {
                            own.len() == self.groups.len() && own.iter().flatten().all(|own| own.sound(columns))
                        }
                        Learner::Trees(own) => !own.is_empty() && own.iter().all(|own| own.sound(columns)),
                    }
            })
    }
}

impl Member {
    fn fit_all(
        samples: &Samples,
        rows: &[usize],
        options: &TrainOptions,
        watch: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Self>, TrainError> {
        let table = samples.table.select(rows);
        let labels: Vec<f32> =
            rows.iter().map(|n| f32::from(u8::from(samples.rows[*n].failed_within(options.horizon)))).collect();
        let groups: Vec<usize> = rows.iter().map(|n| samples.rows[*n].group).collect();
        let read = Reading::of(&samples.features).table(&table)?;
        let regression = Learner::Regression(Logistic::fit(&read, &labels, options.penalty * rows.len() as f64)?);
        let count = samples.groups.len();
        let own_trees = Learner::TreesByGroup(by_group(&labels, &groups, count, |rows, labels| {
            Boosted::fit_watched(&table.select(rows), labels, &boosting(options, rows.len()), watch)
        })?);
        let forests = (0..FORESTS).map(|n| {
            let seed = options.seed.wrapping_mul(FORESTS).wrapping_add(n);
            Boosted::fit_watched(&table, &labels, &BoostOptions { seed, ..boosting(options, table.rows()) }, watch)
        });
        let trees = Learner::Trees(forests.collect::<Result<_, _>>()?);
        Ok([regression, trees, own_trees]
            .into_iter()
            .map(|learner| {
                let mut member = Self { learner, mean: 0.0 };
                let sum: f64 = (0..table.rows()).map(|n| member.score(table.row(n), read.row(n), groups[n])).sum();
                member.mean = sum / table.rows().max(1) as f64;
                member
            })
            .collect())
    }

    fn score(&self, row: &[f32], read: &[f32], group: usize) -> f64 {
        match &self.learner {
            Learner::Regression(own) => own.predict(read),
            // A group without trees of its own is at its member's mean: they say nothing.
            Learner::TreesByGroup(own) => {
                own.get(group).and_then(Option::as_ref).map_or(self.mean, |own| own.predict(row))
            }
            Learner::Trees(own) => own.iter().map(|own| own.predict(row)).sum::<f64>() / own.len().max(1) as f64,
        }
    }
}

/// Fits something for each group that has failures enough.
fn by_group<T>(
    labels: &[f32],
    groups: &[usize],
    count: usize,
    mut fit: impl FnMut(&[usize], &[f32]) -> Result<T, LearnError>,
) -> Result<Vec<Option<T>>, LearnError> {
    let mut own = Vec::with_capacity(count);
    for group in 0..count {
        let rows: Vec<usize> = (0..labels.len()).filter(|n| groups[*n] == group).collect();
        let labels: Vec<f32> = rows.iter().map(|n| labels[*n]).collect();
        let failures = labels.iter().filter(|label| **label > 0.5).count();
        let enough = failures >= OWN_FAILURES && rows.len() - failures >= OWN_FAILURES;
        own.push(if enough { Some(fit(&rows, &labels)?) } else { None });
    }
    Ok(own)
}

fn boosting(options: &TrainOptions, rows: usize) -> BoostOptions {
    BoostOptions {
        loss: Loss::Logistic,
        trees: options.trees,
        rate: 0.03,
        leaves: 7,
        leaf_rows: (rows / 200).clamp(20, 300),
        penalty: 50.0,
        row_share: 0.7,
        column_share: 0.2,
        seed: options.seed,
    }
}

impl Calibration {
    fn fit(scores: &[f64], outcomes: &[bool], groups: &[usize], count: usize) -> Self {
        let all = Platt::fit(scores, outcomes);
        let own = |group: usize| {
            let rows: Vec<usize> = (0..groups.len()).filter(|n| groups[*n] == group).collect();
            let outcomes: Vec<bool> = rows.iter().map(|n| outcomes[*n]).collect();
            let failures = outcomes.iter().filter(|outcome| **outcome).count();
            let scores: Vec<f64> = rows.iter().map(|n| scores[*n]).collect();
            (failures >= OWN_CALIBRATION).then(|| Platt::fit(&scores, &outcomes))
        };
        Self { all, groups: (0..count).map(own).collect() }
    }

    fn probability(&self, score: f64, group: usize) -> f64 {
        self.groups.get(group).copied().flatten().unwrap_or(self.all).probability(score)
    }
}

fn check(samples: &Samples, rows: &[usize], horizon: Duration) -> Result<(), TrainError> {
    let mut units: Vec<usize> = rows.iter().map(|n| samples.rows[*n].unit).collect();
    units.sort_unstable();
    units.dedup();
    if units.len() < LEAST_UNITS {
        return Err(TrainError::FewUnits { units: units.len() });
    }
    let positive = rows.iter().filter(|n| samples.rows[**n].failed_within(horizon)).count();
    if positive.min(rows.len() - positive) < LEAST_OUTCOMES {
        return Err(LearnError::OneOutcome { rows: rows.len(), positive, least: LEAST_OUTCOMES }.into());
    }
    Ok(())
}

fn ends(at: Timestamp, horizon: Duration) -> i64 {
    at.as_micros().saturating_add(crate::detector::micros(horizon))
}

fn log_loss(probabilities: &[f64], outcomes: &[bool]) -> f64 {
    let sum: f64 = probabilities
        .iter()
        .zip(outcomes)
        .map(|(p, outcome)| -(if *outcome { *p } else { 1.0 - p }).max(1e-12).ln())
        .sum();
    sum / outcomes.len().max(1) as f64
}
