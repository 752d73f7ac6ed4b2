//! The remaining-life model: boosted trees on a unit's track, averaged over seeds, with an interval from runs that a
//! model had not seen.

use serde::{Deserialize, Serialize};

use super::track::{LEAST_STEPS, Track};
use crate::{
    learn::{BoostOptions, Boosted, LearnError, Loss, Random, Table},
    stats,
};

/// The fewest runs to learn from.
const LEAST_RUNS: usize = 10;
/// Parts of the runs, each predicted by a model of the others, that the interval is taken from.
const PARTS: usize = 4;
/// Levels of the estimate that have an interval of their own.
const LEVELS: usize = 8;
/// Standard deviations beyond which a channel cannot be what was trained on: a changed unit or a dead sensor.
const STRANGE: f64 = 30.0;
/// The format's version.
const FORMAT: u16 = 1;
const MAGIC: &[u8; 8] = b"LLRUL\0\0\0";

/// A unit's steps, oldest first, each with one value a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The unit.
    pub unit: String,
    /// Its steps.
    pub steps: Vec<Vec<f64>>,
}

/// How a model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RulOptions {
    /// Remaining lives above this count as this: before wear shows, channels say nothing of what is left (Heimes 2008
    /// for the turbofan data; 125 steps there).
    pub cap: f64,
    /// Models averaged.
    pub members: usize,
    /// Trees of each.
    pub trees: usize,
    /// The share of runs the interval covers.
    pub coverage: f64,
    /// The seed of every draw.
    pub seed: u64,
}

impl RulOptions {
    /// The settings for turbofan-like runs, chosen by leaving out training runs.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { cap: 125.0, members: 5, trees: 400, coverage: 0.8, seed }
    }
}

/// Why there is no model or no estimate.
#[derive(Debug, thiserror::Error)]
pub enum RulError {
    /// Too few runs.
    #[error("there are {runs} runs to failure of {LEAST_STEPS} steps or more; at least {LEAST_RUNS} are needed")]
    FewRuns {
        /// How many there are.
        runs: usize,
    },
    /// The data teach nothing.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// A run has another number of channels.
    #[error("unit {unit} has {found} channels where the model has {model}")]
    Channels {
        /// The unit.
        unit: String,
        /// Its channels.
        found: usize,
        /// The model's.
        model: usize,
    },
    /// A unit is too young.
    #[error("unit {unit} has {steps} steps; an estimate takes at least {LEAST_STEPS}")]
    Young {
        /// The unit.
        unit: String,
        /// Its steps.
        steps: usize,
    },
    /// A channel is far outside everything that was trained on.
    #[error("unit {unit}: {channel} lies far outside what the model was trained on; was its unit changed?")]
    Strange {
        /// The unit.
        unit: String,
        /// The channel.
        channel: String,
    },
    /// Not a sound model of this version.
    #[error("these bytes are no remaining-life model of this version: train it again")]
    Damaged,
}

/// How long a unit has left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Steps left.
    pub steps: f64,
    /// With the stated coverage, not fewer than this.
    pub low: f64,
    /// With the stated coverage, not more than this.
    pub high: f64,
    /// What the naive rule says: the mean life less the steps taken, between 0 and the cap.
    pub naive: f64,
}

/// How far truth lay from an estimate of at least `from`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Spread {
    from: f64,
    low: f64,
    high: f64,
}

/// A trained remaining-life model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulModel {
    channels: Vec<String>,
    mean: Vec<f64>,
    /// One over the standard deviation; 0 for a channel that does not vary.
    scale: Vec<f64>,
    /// How it was trained.
    pub options: RulOptions,
    /// Runs trained on.
    pub runs: usize,
    mean_life: f64,
    members: Vec<Boosted>,
    spreads: Vec<Spread>,
    /// Root mean squared error on training runs that were left out, of lives up to the cap.
    pub left_out_rmse: f64,
    /// The naive rule's, on the same steps.
    pub left_out_naive_rmse: f64,
}

impl RulModel {
    /// Trains on runs that each ended in a failure at their last step.
    ///
    /// # Errors
    /// [`RulError`] if there are too few runs, they differ in channels, or nothing varies.
    pub fn train(channels: &[String], runs: &[Run], options: &RulOptions) -> Result<Self, RulError> {
        let usable: Vec<&Run> = runs.iter().filter(|run| run.steps.len() as u64 >= LEAST_STEPS).collect();
        if usable.len() < LEAST_RUNS {
            return Err(RulError::FewRuns { runs: usable.len() });
        }
        for run in &usable {
            check_channels(run, channels.len())?;
        }
        let (mean, scale) = standardising(&usable, channels.len());
        let lives: f64 = usable.iter().map(|run| run.steps.len() as f64).sum();
        let mut model = Self {
            channels: channels.to_vec(),
            mean,
            scale,
            options: *options,
            runs: usable.len(),
            mean_life: lives / usable.len() as f64,
            members: Vec::new(),
            spreads: Vec::new(),
            left_out_rmse: 0.0,
            left_out_naive_rmse: 0.0,
        };
        let tables: Vec<(Table, Vec<f32>)> =
            usable.iter().map(|run| model.rows(run)).collect::<Result<_, LearnError>>()?;
        model.leave_out(&tables)?;
        let all: Vec<usize> = (0..tables.len()).collect();
        let (table, labels) = gather(&tables, &all, options.cap)?;
        for n in 0..options.members.max(1) {
            model.members.push(Boosted::fit(&table, &labels, &boosting(options, n as u64))?);
        }
        Ok(model)
    }

    /// How long a unit has left after its last step.
    ///
    /// # Errors
    /// [`RulError`] if it is too young, has other channels, or reports what the model has never seen the like of.
    pub fn estimate(&self, run: &Run) -> Result<Estimate, RulError> {
        check_channels(run, self.channels.len())?;
        if (run.steps.len() as u64) < LEAST_STEPS {
            return Err(RulError::Young { unit: run.unit.clone(), steps: run.steps.len() });
        }
        let mut track = Track::new(self.channels.len());
        let mut last = Vec::new();
        for step in &run.steps {
            last = self.standard(step);
            track.push(&last);
        }
        if let Some(n) = last.iter().position(|value| value.is_finite() && value.abs() > STRANGE) {
            return Err(RulError::Strange { unit: run.unit.clone(), channel: self.channels[n].clone() });
        }
        let features = track.features();
        let sum: f64 = self.members.iter().map(|member| member.predict(&features)).sum();
        let steps = (sum / self.members.len().max(1) as f64).max(0.0);
        let spread = self.spreads.iter().rev().find(|spread| steps >= spread.from).or(self.spreads.first());
        let (low, high) = spread.map_or((0.0, 0.0), |spread| (spread.low, spread.high));
        let low = (steps + low).clamp(0.0, steps);
        Ok(Estimate { steps, low, high: (steps + high).max(steps), naive: self.naive(run.steps.len()) })
    }

    fn naive(&self, steps: usize) -> f64 {
        (self.mean_life - steps as f64).clamp(0.0, self.options.cap)
    }

    fn standard(&self, step: &[f64]) -> Vec<f64> {
        step.iter()
            .zip(self.mean.iter().zip(&self.scale))
            .map(|(value, (mean, scale))| (value - mean) * scale)
            .collect()
    }

    /// The features after each step of a run, and the steps left.
    fn rows(&self, run: &Run) -> Result<(Table, Vec<f32>), LearnError> {
        let mut table = Table::new(Track::columns(self.channels.len()));
        let mut left = Vec::with_capacity(run.steps.len());
        let mut track = Track::new(self.channels.len());
        for (n, step) in run.steps.iter().enumerate() {
            track.push(&self.standard(step));
            table.push(&track.features())?;
            left.push((run.steps.len() - 1 - n) as f32);
        }
        Ok((table, left))
    }

    /// Predicts each part of the runs by a model of the others: what the interval and the score come from.
    fn leave_out(&mut self, tables: &[(Table, Vec<f32>)]) -> Result<(), RulError> {
        let cap = self.options.cap;
        let mut random = Random::new(self.options.seed);
        let parts: Vec<usize> = tables.iter().map(|_| random.below(PARTS)).collect();
        let mut seen: Vec<(f64, f64)> = Vec::new();
        let (mut squares, mut naive_squares, mut count) = (0.0, 0.0, 0.0f64);
        for part in 0..PARTS {
            let others: Vec<usize> = (0..tables.len()).filter(|n| parts[*n] != part).collect();
            let (table, labels) = gather(tables, &others, cap)?;
            let model = Boosted::fit(&table, &labels, &boosting(&self.options, part as u64))?;
            for (table, left) in tables.iter().zip(&parts).filter(|(_, own)| **own == part).map(|(table, _)| table) {
                for (n, truth) in left.iter().enumerate().skip(LEAST_STEPS as usize) {
                    let (estimate, truth) = (model.predict(table.row(n)).max(0.0), f64::from(*truth));
                    seen.push((estimate, truth - estimate));
                    if truth <= cap {
                        squares += (estimate - truth).powi(2);
                        naive_squares += (self.naive(n + 1) - truth).powi(2);
                        count += 1.0;
                    }
                }
            }
        }
        self.left_out_rmse = (squares / count.max(1.0)).sqrt();
        self.left_out_naive_rmse = (naive_squares / count.max(1.0)).sqrt();
        seen.sort_by(|a, b| a.0.total_cmp(&b.0));
        let tail = (1.0 - self.options.coverage) / 2.0;
        for level in 0..LEVELS {
            let rows = &seen[level * seen.len() / LEVELS..(level + 1) * seen.len() / LEVELS];
            let mut off: Vec<f64> = rows.iter().map(|(_, off)| *off).collect();
            let (low, high) = (stats::quantile(&mut off, tail), stats::quantile(&mut off, 1.0 - tail));
            if let (Some(first), Some(low), Some(high)) = (rows.first(), low, high) {
                self.spreads.push(Spread { from: first.0, low, high });
            }
        }
        Ok(())
    }

    /// The model as bytes: the same model gives the same bytes.
    ///
    /// # Errors
    /// [`RulError::Damaged`] if the encoder refuses, which it does for no model that was trained.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RulError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        postcard::to_extend(self, bytes).map_err(|_| RulError::Damaged)
    }

    /// Reads a model that is to be used on `channels`.
    ///
    /// # Errors
    /// [`RulError::Damaged`] if the bytes are no sound model of this version; [`RulError::Channels`] or
    /// [`RulError::Strange`] if it reads others.
    pub fn from_bytes(bytes: &[u8], channels: &[String]) -> Result<Self, RulError> {
        let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(RulError::Damaged)?;
        let body = rest.strip_prefix(FORMAT.to_le_bytes().as_slice()).ok_or(RulError::Damaged)?;
        let model: Self = postcard::from_bytes(body).map_err(|_| RulError::Damaged)?;
        if model.channels.len() != channels.len() {
            let (found, known) = (channels.len(), model.channels.len());
            return Err(RulError::Channels { unit: "given".to_owned(), found, model: known });
        }
        if let Some((ours, _)) = channels.iter().zip(&model.channels).find(|(ours, theirs)| ours != theirs) {
            return Err(RulError::Strange { unit: "given".to_owned(), channel: ours.clone() });
        }
        let columns = Track::columns(channels.len());
        let sound = model.mean.len() == channels.len()
            && model.scale.len() == channels.len()
            && !model.members.is_empty()
            && model.members.iter().all(|member| member.sound(columns));
        if sound { Ok(model) } else { Err(RulError::Damaged) }
    }
}

fn check_channels(run: &Run, model: usize) -> Result<(), RulError> {
    match run.steps.iter().map(Vec::len).find(|found| *found != model) {
        Some(found) => Err(RulError::Channels { unit: run.unit.clone(), found, model }),
        None => Ok(()),
    }
}

fn standardising(runs: &[&Run], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let moments = |channel: usize| {
        let values =
            || runs.iter().flat_map(|run| &run.steps).map(move |step| step[channel]).filter(|value| value.is_finite());
        let count = values().count().max(1) as f64;
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean, if variance > 1e-12 * (1.0 + mean * mean) { 1.0 / variance.sqrt() } else { 0.0 })
    };
    (0..channels).map(moments).unzip()
}

fn gather(tables: &[(Table, Vec<f32>)], runs: &[usize], cap: f64) -> Result<(Table, Vec<f32>), LearnError> {
    let columns = tables.first().map_or(0, |(table, _)| table.columns());
    let mut all = Table::new(columns);
    let mut labels = Vec::new();
    for run in runs {
        let (table, left) = &tables[*run];
        for (row, left) in table.iter().zip(left) {
            all.push(row)?;
            labels.push(left.min(cap as f32));
        }
    }
    Ok((all, labels))
}

fn boosting(options: &RulOptions, member: u64) -> BoostOptions {
    BoostOptions {
        loss: Loss::Squared,
        trees: options.trees,
        rate: 0.03,
        leaves: 12,
        leaf_rows: 60,
        penalty: 10.0,
        row_share: 0.5,
        column_share: 0.25,
        seed: options.seed.wrapping_mul(1_000).wrapping_add(member),
    }
}

/// The score of the 2008 prognostics challenge (Saxena et al. 2008) over pairs of estimate and truth: late estimates
/// cost more than early ones. Lower is better.
#[must_use]
pub fn phm08_score(pairs: &[(f64, f64)]) -> f64 {
    pairs
        .iter()
        .map(|(estimate, truth)| {
            let late = estimate - truth;
            if late < 0.0 { (-late / 13.0).exp_m1() } else { (late / 10.0).exp_m1() }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units that wear at their own pace; the second channel is noise, the third constant.
    fn runs(count: usize, seed: u64) -> Vec<Run> {
        let mut random = Random::new(seed);
        (0..count)
            .map(|n| {
                let life = 80 + random.below(80);
                let steps = (0..life)
                    .map(|step| {
                        let wear = (f64::from(step as u32) / life as f64).powi(3);
                        vec![wear * 10.0 + random.unit(), random.unit(), 5.0]
                    })
                    .collect();
                Run { unit: n.to_string(), steps }
            })
            .collect()
    }

    fn names() -> Vec<String> {
        ["heat", "noise", "still"].map(str::to_owned).into()
    }

    const QUICK: RulOptions = RulOptions { cap: 60.0, members: 1, trees: 120, coverage: 0.8, seed: 3 };

    #[test]
    fn beats_the_mean_life_and_its_interval_covers_as_often_as_it_says() {
        let model = RulModel::train(&names(), &runs(60, 1), &QUICK).unwrap();
        assert!(model.left_out_rmse < 0.7 * model.left_out_naive_rmse, "{model:?}");
        let (mut covered, mut total) = (0, 0);
        for run in runs(60, 2) {
            let life = run.steps.len();
            for left in [10, 25, 40] {
                let cut = Run { unit: run.unit.clone(), steps: run.steps[..life - left].to_vec() };
                let estimate = model.estimate(&cut).unwrap();
                total += 1;
                covered += usize::from((estimate.low..=estimate.high).contains(&((left - 1) as f64)));
            }
        }
        let share = f64::from(covered as u32) / f64::from(total as u32);
        assert!((0.65..=0.95).contains(&share), "{share}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_they_come_back() {
        let fleet = runs(12, 4);
        let model = RulModel::train(&names(), &fleet, &QUICK).unwrap();
        let bytes = model.to_bytes().unwrap();
        assert_eq!(bytes, RulModel::train(&names(), &fleet, &QUICK).unwrap().to_bytes().unwrap());
        assert_eq!(RulModel::from_bytes(&bytes, &names()).unwrap(), model);
        assert!(matches!(RulModel::from_bytes(&bytes, &names()[..2]), Err(RulError::Channels { .. })));
        assert!(matches!(RulModel::from_bytes(b"other", &names()), Err(RulError::Damaged)));
        for cut in 0..bytes.len().min(200) {
            assert!(RulModel::from_bytes(&bytes[..cut], &names()).is_err());
        }
    }

    #[test]
    fn what_cannot_be_estimated_gets_no_estimate() {
        let fleet = runs(12, 4);
        assert!(matches!(RulModel::train(&names(), &fleet[..3], &QUICK), Err(RulError::FewRuns { runs: 3 })));
        let model = RulModel::train(&names(), &fleet, &QUICK).unwrap();
        let with = |steps: Vec<Vec<f64>>| Run { unit: "u".to_owned(), steps };
        assert!(matches!(model.estimate(&with(vec![vec![0.0; 3]; 2])), Err(RulError::Young { steps: 2, .. })));
        assert!(matches!(model.estimate(&with(vec![vec![0.0; 2]; 9])), Err(RulError::Channels { found: 2, .. })));
        let strange = model.estimate(&with(vec![vec![9e5, 0.5, 5.0]; 30]));
        assert!(matches!(strange, Err(RulError::Strange { channel, .. }) if channel == "heat"));
        let holes = model.estimate(&with(vec![vec![f64::NAN, f64::INFINITY, 5.0]; 30])).unwrap();
        assert!(holes.steps.is_finite());
        let still = vec![Run { unit: "s".to_owned(), steps: vec![vec![1.0, 1.0, 1.0]; 3] }; 12];
        assert!(RulModel::train(&names(), &still, &QUICK).is_err());
    }

    #[test]
    fn late_estimates_cost_more() {
        assert!(phm08_score(&[(20.0, 10.0)]) > phm08_score(&[(0.0, 10.0)]));
        assert_eq!(phm08_score(&[(5.0, 5.0)]), 0.0);
    }
}
