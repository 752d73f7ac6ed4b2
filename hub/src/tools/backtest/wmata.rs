//! `liftline backtest --protocol wmata` and `azure-pdm`: forecasts of failures from a log of failures, moment by moment,
//! beside the naive rule.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use model::Timestamp;
use predict::{
    history::UnitInfo,
    risk::{
        Chosen, Forecast, RiskModel, RiskScorecard, Samples, Split, TrainOptions, alert_top_share, level,
        longest_silence,
    },
};

use crate::tools::{
    machines,
    outages::{self, OutageLog},
};

/// A day counts only if the log is never silent for longer than this in the days that follow.
const SILENCE: Duration = Duration::from_hours(12);
/// Those days.
const LOOKED_AT: Duration = Duration::from_hours(7 * 24);
/// The share of units alerted each day.
pub(super) const TOP_SHARE: f64 = 0.05;
const DAY: i64 = 86_400;

/// When forecasts are made.
#[derive(Debug, Clone, Copy)]
struct Cadence {
    /// The time between two, seconds.
    every_s: i64,
    /// The first of a day, seconds after midnight UTC.
    offset_s: i64,
    /// Whether moments before a silence of the whole log are left out.
    silences: bool,
}

/// Each day at 09:00 UTC, before the day's service begins.
const DAILY: Cadence = Cadence { every_s: DAY, offset_s: 9 * 3_600, silences: true };
/// Each three hours.
const THREE_HOURLY: Cadence = Cadence { every_s: 3 * 3_600, offset_s: 0, silences: false };

/// Which units are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Units {
    /// Elevators only; escalators still teach.
    Elevators,
    /// All units.
    All,
}

/// Options of the protocol.
#[derive(Debug, Args)]
pub struct OutageOptions {
    /// With --protocol wmata or azure-pdm: nothing later is trained on.
    #[arg(long, value_parser = moment)]
    pub train_until: Option<Timestamp>,
    /// With --protocol wmata or azure-pdm: nothing later is calibrated on or used to choose between model and naive rule.
    #[arg(long, value_parser = moment)]
    pub threshold_until: Option<Timestamp>,
    /// With --protocol wmata or azure-pdm, or --profile: the first moment that is scored.
    #[arg(long, value_parser = moment)]
    pub test_from: Option<Timestamp>,
    /// With --protocol wmata or azure-pdm, or --profile: the last moment that is scored.
    #[arg(long, value_parser = moment)]
    pub test_to: Option<Timestamp>,
    /// With --protocol wmata or azure-pdm: which units are scored.
    #[arg(long, default_value = "all")]
    pub units: Units,
    /// With --protocol wmata or azure-pdm, or --profile: the seed of every draw.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// With --protocol wmata or azure-pdm, or --profile: put before the name of every figure at the end.
    #[arg(long, default_value = "")]
    pub prefix: String,
    /// With --protocol wmata or azure-pdm: train anew this often within the test, each time with all spans moved on by as much, as a
    /// hub would. Without it, nothing after --train-until is trained on.
    #[arg(long, value_parser = model::duration::parse)]
    pub retrain: Option<Duration>,
    /// With --protocol wmata or azure-pdm, or --profile: write unit, time, probability, alerted and outcome of every forecast, as CSV.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A moment as RFC 3339, or a date for its first moment in UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse::<Timestamp>()
        .or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>())
        .map_err(|error| format!("write a date such as 2014-03-01 or 2014-03-01T00:00:00Z ({error})"))
}

/// Where the spans end and begin.
#[derive(Debug, Clone, Copy)]
struct Spans {
    split: Split,
    from: Timestamp,
    to: Timestamp,
}

impl OutageOptions {
    /// Scores an outage log of the WMATA shape, each day.
    ///
    /// # Errors
    /// If the folder cannot be read, an option is missing, the spans overlap, or there is too little to learn from.
    pub fn wmata(&self, folder: &std::path::Path, horizon: Duration) -> anyhow::Result<()> {
        self.score(&outages::load(folder)?, DAILY, horizon)
    }

    /// Scores the failures, errors and replacements of machines, each three hours.
    ///
    /// # Errors
    /// If the folder cannot be read, an option is missing, the spans overlap, or there is too little to learn from.
    pub fn azure_pdm(&self, folder: &std::path::Path, horizon: Duration) -> anyhow::Result<()> {
        self.score(&machines::load(folder)?, THREE_HOURLY, horizon)
    }

    /// Trains, scores and prints.
    fn score(&self, log: &OutageLog, cadence: Cadence, horizon: Duration) -> anyhow::Result<()> {
        let spans = self.spans()?;
        if log.strangers > 0 {
            eprintln!("{} rows of units that the list of units does not name were left out.", log.strangers);
        }
        let first = self.block(log, cadence, &spans, horizon, None)?;
        let (mut liftline, mut naive) = (first.liftline, first.naive);
        for moved in self.moved(&spans) {
            let next = self.block(log, cadence, &moved, horizon, Some(&first.model))?;
            liftline.extend(next.liftline);
            naive.extend(next.naive);
        }
        ensure!(
            !liftline.is_empty(),
            "no unit could be scored between {} and {}: units need 30 days of history{}",
            spans.from,
            spans.to,
            if cadence.silences { ", and days a week of following log without 12 h of silence" } else { "" }
        );
        alert_top_share(&mut liftline, TOP_SHARE);
        alert_top_share(&mut naive, TOP_SHARE);
        let title = self.title(&spans, cadence, &first.model)?;
        let each = cadence.every_s as f64 / DAY as f64;
        let card = RiskScorecard::of(title, horizon, &liftline, &naive, each, self.seed);
        println!("{}", RiskScorecard { prefix: self.prefix.clone(), ..card });
        if let Some(out) = &self.out {
            write(out, log.fleet.units(), &liftline)?;
        }
        Ok(())
    }

    /// How often the model is trained anew, if it is.
    fn step(&self) -> Option<Duration> {
        self.retrain.filter(|step| !step.is_zero())
    }

    /// The spans of every training after the first.
    fn moved(&self, spans: &Spans) -> Vec<Spans> {
        let Some(step) = self.step() else { return Vec::new() };
        let mut moved = Vec::new();
        let mut by = step;
        while spans.from + by <= spans.to {
            let Split { train_until, calibrate_until } = spans.split;
            let split = Split { train_until: train_until + by, calibrate_until: calibrate_until + by };
            moved.push(Spans { split, from: spans.from + by, to: spans.to });
            by += step;
        }
        moved
    }

    /// One training and what it forecasts until the next one. The naive rule is that of `rule`, if given.
    fn block(
        &self,
        log: &OutageLog,
        cadence: Cadence,
        spans: &Spans,
        horizon: Duration,
        rule: Option<&RiskModel>,
    ) -> anyhow::Result<Block> {
        let samples = samples(log, cadence, spans, horizon)?;
        let model = RiskModel::train(&samples, spans.split, &TrainOptions::new(horizon, self.seed))?;
        let end = self.step().map(|step| spans.from + step);
        let scored = self.scored(log, &samples, spans, end);
        // Walked from the first unseen moment on, so that the level of late is known when the test begins.
        let unseen = samples.positions(|sample| sample.at >= spans.split.train_until);
        let stated: Vec<level::Stated> = unseen
            .iter()
            .map(|n| {
                let sample = &samples.rows[*n];
                let probability = model.probability(samples.table.row(*n), sample.group);
                let outcome = Some(sample.failed_within(horizon));
                level::Stated { at: sample.at, group: sample.group, probability, outcome }
            })
            .collect();
        let corrected = level::walk(&stated, samples.groups.len(), horizon);
        let stated = unseen.iter().copied().zip(corrected).filter(|(n, _)| scored.binary_search(n).is_ok());
        let liftline = forecasts(&samples, stated, horizon);
        // The rule as it stands on paper: not corrected by outcomes, nor by group.
        let rule = rule.unwrap_or(&model);
        let by_rule = scored.iter().map(|n| (*n, rule.rule_probability(samples.table.row(*n))));
        let naive = forecasts(&samples, by_rule, horizon);
        Ok(Block { model, liftline, naive })
    }

    fn spans(&self) -> anyhow::Result<Spans> {
        let need = |given: Option<Timestamp>, name: &str| {
            given.with_context(|| format!("--protocol wmata needs --{name}, such as --{name} 2014-03-01"))
        };
        let train_until = need(self.train_until, "train-until")?;
        let calibrate_until = need(self.threshold_until, "threshold-until")?;
        let (from, to) = (need(self.test_from, "test-from")?, need(self.test_to, "test-to")?);
        ensure!(train_until < calibrate_until, "--threshold-until must be later than --train-until");
        ensure!(
            calibrate_until <= from,
            "--test-from must not be earlier than --threshold-until: thresholds are fixed before the test"
        );
        ensure!(from < to, "--test-to must be later than --test-from");
        Ok(Spans { split: Split { train_until, calibrate_until }, from, to })
    }

    /// The samples that are scored, up to the end of the test and before `end`.
    fn scored(&self, log: &OutageLog, samples: &Samples, spans: &Spans, end: Option<Timestamp>) -> Vec<usize> {
        let elevators = log.fleet.schema().groups.iter().position(|group| group == "elevator");
        samples.positions(|sample| {
            let wanted = match self.units {
                Units::Elevators => Some(sample.group) == elevators,
                Units::All => true,
            };
            wanted && sample.at >= spans.from && sample.at <= spans.to && end.is_none_or(|end| sample.at < end)
        })
    }

    fn title(&self, spans: &Spans, cadence: Cadence, model: &RiskModel) -> anyhow::Result<String> {
        let units = match self.units {
            Units::Elevators => "elevators",
            Units::All => "all units",
        };
        let (rows, failures) = model.trained_on;
        let judged = model.judgement;
        let mut title = String::new();
        let (hours, from) = (cadence.every_s / 3_600, cadence.offset_s / 3_600);
        writeln!(
            title,
            "Forecasts of failures, {units}, every {hours} h from {from:02}:00 UTC on; seed {}",
            self.seed
        )?;
        writeln!(
            title,
            "Split: trained on {} to {} ({rows} forecasts, {failures} failures), calibrated until {}, scored {} to {}.",
            model.trained_from, spans.split.train_until, spans.split.calibrate_until, spans.from, spans.to
        )?;
        if let Some(step) = self.step() {
            let step = model::duration::format(step);
            writeln!(
                title,
                "Trained anew every {step} within the test, all spans moved on by as much; first training:"
            )?;
        }
        writeln!(
            title,
            "On the {} forecasts of the calibration span: log loss {:.5} (naive {:.5}), PR-AUC {:.4} (naive {:.4}).",
            judged.samples, judged.model_log_loss, judged.naive_log_loss, judged.model_pr_auc, judged.naive_pr_auc
        )?;
        write!(
            title,
            "{}",
            match model.chosen {
                Chosen::Model => "The model beat the naive rule there and makes the forecasts.",
                Chosen::NaiveRule => "The model did not beat the naive rule there: the rule makes the forecasts.",
            }
        )?;
        Ok(title)
    }
}

/// One training and what came of it.
struct Block {
    model: RiskModel,
    liftline: Vec<Forecast>,
    naive: Vec<Forecast>,
}

/// Forecasts from the probabilities of samples, in order of time.
pub(super) fn forecasts(
    samples: &Samples,
    stated: impl Iterator<Item = (usize, f64)>,
    horizon: Duration,
) -> Vec<Forecast> {
    stated
        .map(|(n, probability)| {
            let sample = &samples.rows[n];
            let outcome = sample.failed_within(horizon);
            let lead = sample.next_failure.map(|at| at.seconds_after(sample.at) / 3600.0);
            let lead_hours = lead.filter(|_| outcome);
            Forecast { unit: sample.unit, at: sample.at, probability, alerted: false, outcome, lead_hours }
        })
        .collect()
}

/// Every unit and day of all spans. Whether a day counts is judged by the log of its own span only, so that training
/// knows nothing of what came later. A day teaches if the log is not silent within its own horizon.
fn samples(log: &OutageLog, cadence: Cadence, spans: &Spans, horizon: Duration) -> anyhow::Result<Samples> {
    let times: Vec<Timestamp> = log.happenings.iter().map(|happening| happening.at).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else { bail!("the log is empty") };
    let mut moments = Vec::new();
    let mut next = first.as_micros().div_euclid(DAY * 1_000_000) * DAY + cadence.offset_s;
    loop {
        let at = Timestamp::from_secs(next);
        next += cadence.every_s;
        if at > spans.to || at > *last {
            break;
        }
        let ends = [spans.split.train_until, spans.split.calibrate_until];
        let known = ends.into_iter().find(|end| at < *end);
        let looked_at = if at < spans.split.train_until { horizon } else { LOOKED_AT };
        let look = Timestamp::from_micros(at.as_micros() + looked_at.as_micros() as i64);
        let look = known.map_or(look, |end| look.min(end));
        if !cadence.silences || longest_silence(&times, at, look) <= SILENCE {
            moments.push(at);
        }
    }
    Ok(Samples::walk(log.fleet.clone(), &log.happenings, &moments)?)
}

pub(super) fn write(out: &std::path::Path, units: &[UnitInfo], forecasts: &[Forecast]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_path(out).with_context(|| format!("writing {}", out.display()))?;
    writer.write_record(["unit", "time", "probability", "alerted", "outcome"])?;
    for forecast in forecasts {
        let unit = units.get(forecast.unit).map_or("", |unit| unit.name.as_str());
        let flag = |set: bool| if set { "1" } else { "0" };
        writer.write_record([
            unit,
            &forecast.at.to_string(),
            &format!("{:.6}", forecast.probability),
            flag(forecast.alerted),
            flag(forecast.outcome),
        ])?;
    }
    writer.flush().with_context(|| format!("writing {}", out.display()))
}
