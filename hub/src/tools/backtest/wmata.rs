//! `liftline backtest --protocol wmata`: forecasts of failures from an outage log, day by day, beside the naive rule.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use model::Timestamp;
use predict::risk::{
    Chosen, Forecast, RiskModel, RiskScorecard, Samples, Split, TrainOptions, alert_top_share, level, longest_silence,
};

use crate::tools::outages::{self, OutageLog};

/// Each day's forecast is made at this time, UTC: before the day's service begins.
const HOUR: i64 = 9;
/// A day counts only if the log is never silent for longer than this in the days that follow.
const SILENCE: Duration = Duration::from_hours(12);
/// Those days.
const LOOKED_AT: Duration = Duration::from_hours(7 * 24);
/// The share of units alerted each day.
const TOP_SHARE: f64 = 0.05;
const DAY: i64 = 86_400;

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
    /// With --protocol wmata: nothing later is trained on.
    #[arg(long, value_parser = moment)]
    pub train_until: Option<Timestamp>,
    /// With --protocol wmata: nothing later is calibrated on or used to choose between model and naive rule.
    #[arg(long, value_parser = moment)]
    pub threshold_until: Option<Timestamp>,
    /// With --protocol wmata: the first moment that is scored.
    #[arg(long, value_parser = moment)]
    pub test_from: Option<Timestamp>,
    /// With --protocol wmata: the last moment that is scored.
    #[arg(long, value_parser = moment)]
    pub test_to: Option<Timestamp>,
    /// With --protocol wmata: which units are scored.
    #[arg(long, default_value = "all")]
    pub units: Units,
    /// With --protocol wmata: the seed of every draw.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// With --protocol wmata: put before the name of every figure at the end.
    #[arg(long, default_value = "")]
    pub prefix: String,
    /// With --protocol wmata: write unit, time, probability, alerted and outcome of every forecast, as CSV.
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
struct Spans {
    split: Split,
    from: Timestamp,
    to: Timestamp,
}

impl OutageOptions {
    /// Trains, scores and prints.
    ///
    /// # Errors
    /// If an option is missing, the spans overlap, the folder cannot be read or holds too little to learn from.
    pub fn run(&self, data: &std::path::Path, horizon: Duration) -> anyhow::Result<()> {
        let spans = self.spans()?;
        let log = outages::load(data)?;
        if log.strangers > 0 {
            eprintln!("{} status rows of units that units.csv does not name were left out.", log.strangers);
        }
        let samples = samples(&log, &spans)?;
        let model = RiskModel::train(&samples, spans.split, &TrainOptions::new(horizon, self.seed))?;
        let scored = self.scored(&log, &samples, &spans);
        ensure!(
            !scored.is_empty(),
            "no unit could be scored between {} and {}: units need 30 days of history, and days {} of following log \
             without 12 h of silence",
            spans.from,
            spans.to,
            model::duration::format(LOOKED_AT)
        );
        // Walked from the first unseen day on, so that the level of late is known when the test begins.
        let unseen = samples.positions(|sample| sample.at >= spans.split.train_until);
        let says = |n: &usize| model.probability(samples.table.row(*n), samples.rows[*n].group);
        let stated: Vec<level::Stated> = unseen
            .iter()
            .map(|n| {
                let sample = &samples.rows[*n];
                let outcome = sample.failed_within(horizon);
                level::Stated { at: sample.at, group: sample.group, probability: says(n), outcome }
            })
            .collect();
        let corrected = level::walk(&stated, samples.groups.len(), horizon);
        let stated = unseen.iter().copied().zip(corrected).filter(|(n, _)| scored.binary_search(n).is_ok());
        let liftline = forecasts(&samples, stated, horizon);
        // The rule as it stands on paper: not corrected by outcomes, nor by group.
        let rule = scored.iter().map(|n| (*n, model.rule_probability(samples.table.row(*n))));
        let naive = forecasts(&samples, rule, horizon);
        let title = self.title(&spans, &model)?;
        let card = RiskScorecard::of(title, horizon, &liftline, &naive, 1.0, self.seed);
        println!("{}", RiskScorecard { prefix: self.prefix.clone(), ..card });
        if let Some(out) = &self.out {
            write(out, &log, &liftline)?;
        }
        Ok(())
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

    /// The samples that are scored.
    fn scored(&self, log: &OutageLog, samples: &Samples, spans: &Spans) -> Vec<usize> {
        let elevators = log.fleet.schema().groups.iter().position(|group| group == "elevator");
        samples.positions(|sample| {
            let wanted = match self.units {
                Units::Elevators => Some(sample.group) == elevators,
                Units::All => true,
            };
            wanted && sample.at >= spans.from && sample.at <= spans.to
        })
    }

    fn title(&self, spans: &Spans, model: &RiskModel) -> anyhow::Result<String> {
        let units = match self.units {
            Units::Elevators => "elevators",
            Units::All => "all units",
        };
        let (rows, failures) = model.trained_on;
        let judged = model.judgement;
        let mut title = String::new();
        writeln!(title, "Forecasts of failures, {units}, each day at {HOUR:02}:00 UTC; seed {}", self.seed)?;
        writeln!(
            title,
            "Split: trained on {} to {} ({rows} unit-days, {failures} failed), calibrated until {}, scored {} to {}.",
            model.trained_from, spans.split.train_until, spans.split.calibrate_until, spans.from, spans.to
        )?;
        writeln!(
            title,
            "On the {} unit-days of the calibration span: log loss {:.5} (naive {:.5}), PR-AUC {:.4} (naive {:.4}).",
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

/// Forecasts from the probabilities of samples, in order of time.
fn forecasts(samples: &Samples, stated: impl Iterator<Item = (usize, f64)>, horizon: Duration) -> Vec<Forecast> {
    let mut forecasts: Vec<Forecast> = stated
        .map(|(n, probability)| {
            let sample = &samples.rows[n];
            let outcome = sample.failed_within(horizon);
            let lead = sample.next_failure.map(|at| at.seconds_after(sample.at) / 3600.0);
            let lead_hours = lead.filter(|_| outcome);
            Forecast { unit: sample.unit, at: sample.at, probability, alerted: false, outcome, lead_hours }
        })
        .collect();
    alert_top_share(&mut forecasts, TOP_SHARE);
    forecasts
}

/// Every unit and day of all spans. Whether a day counts is judged by the log of its own span only, so that training
/// knows nothing of what came later.
fn samples(log: &OutageLog, spans: &Spans) -> anyhow::Result<Samples> {
    let times: Vec<Timestamp> = log.happenings.iter().map(|happening| happening.at).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else { bail!("the log is empty") };
    let mut moments = Vec::new();
    let mut day = first.as_micros().div_euclid(DAY * 1_000_000);
    loop {
        let at = Timestamp::from_secs(day * DAY + HOUR * 3600);
        day += 1;
        if at > spans.to || at > *last {
            break;
        }
        let ends = [spans.split.train_until, spans.split.calibrate_until];
        let known = ends.into_iter().find(|end| at < *end);
        let look = Timestamp::from_micros(at.as_micros() + LOOKED_AT.as_micros() as i64);
        let look = known.map_or(look, |end| look.min(end));
        if longest_silence(&times, at, look) <= SILENCE {
            moments.push(at);
        }
    }
    Ok(Samples::walk(log.fleet.clone(), &log.happenings, &moments)?)
}

fn write(out: &std::path::Path, log: &OutageLog, forecasts: &[Forecast]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_path(out).with_context(|| format!("writing {}", out.display()))?;
    writer.write_record(["unit", "time", "probability", "alerted", "outcome"])?;
    for forecast in forecasts {
        let unit = log.fleet.units().get(forecast.unit).map_or("", |unit| unit.name.as_str());
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
