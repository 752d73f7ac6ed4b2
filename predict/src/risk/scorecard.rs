//! How good forecasts of failure were, beside the naive rule.

use std::{collections::BTreeMap, fmt, time::Duration};

use model::Timestamp;

use crate::{
    learn::{
        Random,
        metrics::{self, Ranking},
    },
    stats,
};

/// A month of the figure "per unit-month": a twelfth of a Gregorian year.
const MONTH_DAYS: f64 = 30.436_875;
/// How often units are drawn anew for the intervals.
const DRAWS: usize = 200;
/// The share of the draws an interval spans.
const COVERAGE: f64 = 0.9;

/// One forecast and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// The unit.
    pub unit: usize,
    /// When it was made.
    pub at: Timestamp,
    /// The probability of a failure within the horizon.
    pub probability: f64,
    /// Whether an alert was raised on it.
    pub alerted: bool,
    /// Whether a failure followed within the horizon.
    pub outcome: bool,
    /// Hours from the forecast to that failure.
    pub lead_hours: Option<f64>,
}

/// Marks the top share of each moment's forecasts as alerted, at least one; equal probabilities in order of unit.
pub fn alert_top_share(forecasts: &mut [Forecast], share: f64) {
    let mut moments: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (n, forecast) in forecasts.iter_mut().enumerate() {
        forecast.alerted = false;
        moments.entry(forecast.at.as_micros()).or_default().push(n);
    }
    for mut rows in moments.into_values() {
        let take = ((rows.len() as f64 * share).round() as usize).max(1);
        rows.sort_by(|a, b| {
            let (a, b) = (&forecasts[*a], &forecasts[*b]);
            b.probability.total_cmp(&a.probability).then(a.unit.cmp(&b.unit))
        });
        for n in rows.into_iter().take(take) {
            forecasts[n].alerted = true;
        }
    }
}

/// The middle nine tenths of a figure when units are drawn anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A tenth of the forecasts, from the least to the most probable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationRow {
    /// Forecasts.
    pub forecasts: usize,
    /// Failures that followed.
    pub failures: usize,
    /// The mean probability stated.
    pub stated: f64,
    /// The share that failed.
    pub observed: f64,
}

/// One method's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Area under the receiver operating characteristic; `None` if only one outcome was seen.
    pub roc_auc: Option<f64>,
    /// Average precision.
    pub pr_auc: Option<f64>,
    /// Mean squared error of the probabilities.
    pub brier: f64,
    /// Alerts raised.
    pub alerts: usize,
    /// Of these: followed by a failure within the horizon.
    pub right: usize,
    /// Right alerts per alert.
    pub precision: Option<f64>,
    /// The share of failure outcomes that were alerted.
    pub recall: Option<f64>,
    /// Precision over the base rate.
    pub lift: Option<f64>,
    /// Median hours from a right alert to the failure.
    pub lead_median_hours: Option<f64>,
    /// What nine of ten right alerts exceed, hours.
    pub lead_p10_hours: Option<f64>,
    /// Alerts that no failure followed, per unit and month.
    pub false_alarms_per_unit_month: Option<f64>,
    /// Stated against observed, in tenths.
    pub calibration: Vec<CalibrationRow>,
}

/// Figures and their intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// The figures.
    pub figures: Figures,
    /// Intervals by figure: `roc_auc`, `pr_auc`, `brier`, `precision`.
    pub intervals: Vec<(&'static str, Interval)>,
}

/// A scorecard.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskScorecard {
    /// What was scored, in a line or two: the data, the span, the seed.
    pub title: String,
    /// Put before the name of every figure in the list at the end.
    pub prefix: String,
    /// The horizon.
    pub horizon: Duration,
    /// Units scored.
    pub units: usize,
    /// Forecasts scored: units times moments.
    pub forecasts: usize,
    /// Moments.
    pub moments: usize,
    /// Forecasts that a failure followed within the horizon.
    pub failures: usize,
    /// Their share: what any method beats or not.
    pub base_rate: f64,
    /// The Brier score of always stating the base rate.
    pub base_brier: f64,
    /// What the product forecasts with.
    pub liftline: Card,
    /// The naive rule.
    pub naive: Card,
}

impl RiskScorecard {
    /// Scores two lists of forecasts of the same units and moments. `days_each` is how long a forecast stands for, in
    /// days: the distance between moments. Intervals come from drawing units anew with `seed`.
    #[must_use]
    pub fn of(
        title: String,
        horizon: Duration,
        liftline: &[Forecast],
        naive: &[Forecast],
        days_each: f64,
        seed: u64,
    ) -> Self {
        let units = distinct(liftline.iter().map(|forecast| forecast.unit as i64));
        let failures = liftline.iter().filter(|forecast| forecast.outcome).count();
        let base_rate = failures as f64 / liftline.len().max(1) as f64;
        Self {
            title,
            prefix: String::new(),
            horizon,
            units,
            forecasts: liftline.len(),
            moments: distinct(liftline.iter().map(|forecast| forecast.at.as_micros())),
            failures,
            base_rate,
            base_brier: base_rate * (1.0 - base_rate),
            liftline: Card::of(liftline, days_each, seed),
            naive: Card::of(naive, days_each, seed),
        }
    }
}

fn distinct(values: impl Iterator<Item = i64>) -> usize {
    values.collect::<std::collections::BTreeSet<_>>().len()
}

impl Card {
    fn of(forecasts: &[Forecast], days_each: f64, seed: u64) -> Self {
        let probabilities: Vec<f64> = forecasts.iter().map(|forecast| forecast.probability).collect();
        let outcomes: Vec<bool> = forecasts.iter().map(|forecast| forecast.outcome).collect();
        let ranking = Ranking::of(&probabilities);
        let ranked = ranking.judge(&outcomes, |_| 1.0);
        let right = |forecast: &&Forecast| forecast.alerted && forecast.outcome;
        let mut leads: Vec<f64> = forecasts.iter().filter(right).filter_map(|forecast| forecast.lead_hours).collect();
        let (alerts, rights) =
            (forecasts.iter().filter(|forecast| forecast.alerted).count(), forecasts.iter().filter(right).count());
        let failures = outcomes.iter().filter(|outcome| **outcome).count();
        let ratio = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        let precision = ratio(rights, alerts);
        let months = forecasts.len() as f64 * days_each / MONTH_DAYS;
        let figures = Figures {
            roc_auc: ranked.map(|ranked| ranked.roc_auc),
            pr_auc: ranked.map(|ranked| ranked.pr_auc),
            brier: metrics::brier(&probabilities, &outcomes, |_| 1.0),
            alerts,
            right: rights,
            precision,
            recall: ratio(rights, failures),
            lift: precision.zip(ratio(failures, forecasts.len())).map(|(precision, base)| precision / base.max(1e-12)),
            lead_median_hours: stats::median(&mut leads),
            lead_p10_hours: stats::quantile(&mut leads, 0.1),
            false_alarms_per_unit_month: (months > 0.0).then(|| (alerts - rights) as f64 / months),
            calibration: calibration(forecasts),
        };
        Self { figures, intervals: intervals(forecasts, &ranking, seed) }
    }
}

/// Tenths of the forecasts in order of the probability stated.
#[must_use]
pub fn calibration(forecasts: &[Forecast]) -> Vec<CalibrationRow> {
    let mut sorted: Vec<&Forecast> = forecasts.iter().collect();
    sorted.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let tenth = |n: usize| n * sorted.len() / 10;
    (0..10)
        .filter_map(|n| {
            let part = &sorted[tenth(n)..tenth(n + 1)];
            let count = part.len();
            let failures = part.iter().filter(|forecast| forecast.outcome).count();
            let stated: f64 = part.iter().map(|forecast| forecast.probability).sum();
            (count > 0).then(|| CalibrationRow {
                forecasts: count,
                failures,
                stated: stated / count as f64,
                observed: failures as f64 / count as f64,
            })
        })
        .collect()
}

/// Draws units with replacement; what a unit's forecasts have in common stays together.
fn intervals(forecasts: &[Forecast], ranking: &Ranking, seed: u64) -> Vec<(&'static str, Interval)> {
    let mut units: Vec<usize> = forecasts.iter().map(|forecast| forecast.unit).collect();
    units.sort_unstable();
    units.dedup();
    let places: Vec<usize> =
        forecasts.iter().map(|forecast| units.binary_search(&forecast.unit).unwrap_or_default()).collect();
    let probabilities: Vec<f64> = forecasts.iter().map(|forecast| forecast.probability).collect();
    let outcomes: Vec<bool> = forecasts.iter().map(|forecast| forecast.outcome).collect();
    let mut random = Random::new(seed);
    let names = ["roc_auc", "pr_auc", "brier", "precision"];
    let mut drawn: [Vec<f64>; 4] = Default::default();
    for _ in 0..DRAWS {
        let mut copies = vec![0.0; units.len()];
        for _ in 0..units.len() {
            copies[random.below(units.len())] += 1.0;
        }
        let weight = |row: usize| copies[places[row]];
        let Some(ranked) = ranking.judge(&outcomes, weight) else { continue };
        let (mut alerts, mut rights) = (0.0, 0.0);
        for (n, forecast) in forecasts.iter().enumerate().filter(|(_, forecast)| forecast.alerted) {
            alerts += weight(n);
            rights += if forecast.outcome { weight(n) } else { 0.0 };
        }
        drawn[0].push(ranked.roc_auc);
        drawn[1].push(ranked.pr_auc);
        drawn[2].push(metrics::brier(&probabilities, &outcomes, weight));
        if alerts > 0.0 {
            drawn[3].push(rights / alerts);
        }
    }
    names
        .into_iter()
        .zip(&mut drawn)
        .filter_map(|(name, values)| {
            let low = stats::quantile(values, (1.0 - COVERAGE) / 2.0)?;
            let high = stats::quantile(values, (1.0 + COVERAGE) / 2.0)?;
            Some((name, Interval { low, high }))
        })
        .collect()
}

/// A figure, or `-` where there is none.
fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

impl Figures {
    fn rows(&self) -> [(&'static str, String); 11] {
        [
            ("roc_auc", shown(self.roc_auc, 4)),
            ("pr_auc", shown(self.pr_auc, 4)),
            ("brier", format!("{:.5}", self.brier)),
            ("alerts", self.alerts.to_string()),
            ("right_alerts", self.right.to_string()),
            ("precision_top5", shown(self.precision, 4)),
            ("recall_top5", shown(self.recall, 4)),
            ("lift_top5", shown(self.lift, 2)),
            ("lead_median_h", shown(self.lead_median_hours, 1)),
            ("lead_p10_h", shown(self.lead_p10_hours, 1)),
            ("false_alarms_per_unit_month", shown(self.false_alarms_per_unit_month, 3)),
        ]
    }

    /// How far the stated probability is off, as a share of what was observed, in the worst tenth with at least
    /// `least` failures.
    #[must_use]
    pub fn worst_calibration(&self, least: usize) -> Option<f64> {
        self.calibration
            .iter()
            .filter(|row| row.failures >= least && row.observed > 0.0)
            .map(|row| (row.stated / row.observed - 1.0).abs())
            .max_by(f64::total_cmp)
    }
}

impl Card {
    fn interval(&self, name: &str) -> String {
        self.intervals
            .iter()
            .find(|(known, _)| *known == name || name.strip_suffix("_top5") == Some(known))
            .map_or_else(String::new, |(_, interval)| format!("{:.4} to {:.4}", interval.low, interval.high))
    }
}

impl fmt::Display for RiskScorecard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(f, "A forecast is right if a failure follows within {}.", model::duration::format(self.horizon))?;
        writeln!(f, "Naive rule: (failures in 90 d + 2) / 92, times 2.5 if the last was within 72 h.")?;
        writeln!(f, "Intervals: nine tenths of {DRAWS} draws of the units.")?;
        writeln!(f)?;
        writeln!(f, "{:<28} {:>10} {:>20} {:>10} {:>20}", "", "liftline", "", "naive", "")?;
        let (ours, naive) = (self.liftline.figures.rows(), self.naive.figures.rows());
        for ((name, ours), (_, rule)) in ours.iter().zip(&naive) {
            let (mine, theirs) = (self.liftline.interval(name), self.naive.interval(name));
            writeln!(f, "{name:<28} {ours:>10} {mine:>20} {rule:>10} {theirs:>20}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<8} {:>10} {:>10} {:>10} {:>10} {:>8}",
            "tenth", "forecasts", "failures", "stated", "observed", "off"
        )?;
        for (n, row) in self.liftline.figures.calibration.iter().enumerate() {
            let off = if row.observed > 0.0 {
                format!("{:+.0} %", (row.stated / row.observed - 1.0) * 100.0)
            } else {
                "-".to_owned()
            };
            writeln!(
                f,
                "{:<8} {:>10} {:>10} {:>10.4} {:>10.4} {off:>8}",
                n + 1,
                row.forecasts,
                row.failures,
                row.stated,
                row.observed
            )?;
        }
        writeln!(f)?;
        let prefix = &self.prefix;
        for (name, count) in [
            ("units", self.units),
            ("moments", self.moments),
            ("forecasts", self.forecasts),
            ("failures", self.failures),
        ] {
            writeln!(f, "{prefix}{name}: {count}")?;
        }
        writeln!(f, "{prefix}base_rate: {:.4}", self.base_rate)?;
        writeln!(f, "{prefix}base_brier: {:.5}", self.base_brier)?;
        for (name, value) in &ours {
            writeln!(f, "{prefix}{name}: {value}")?;
        }
        writeln!(f, "{prefix}calibration_worst_50: {}", shown(self.liftline.figures.worst_calibration(50), 3))?;
        for (name, value) in &naive {
            writeln!(f, "{prefix}naive_{name}: {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(unit: usize, day: i64, probability: f64, outcome: bool) -> Forecast {
        let at = Timestamp::from_secs(day * 86_400);
        Forecast { unit, at, probability, alerted: false, outcome, lead_hours: outcome.then_some(6.0) }
    }

    #[test]
    fn the_top_share_is_taken_each_day() {
        let mut forecasts: Vec<Forecast> =
            (0..40).map(|n| forecast(n % 20, (n / 20) as i64, (n % 20) as f64 / 20.0, n % 20 == 19)).collect();
        alert_top_share(&mut forecasts, 0.05);
        let alerted: Vec<usize> =
            forecasts.iter().filter(|forecast| forecast.alerted).map(|forecast| forecast.unit).collect();
        assert_eq!(alerted, [19, 19]);
        let card = RiskScorecard::of("t".to_owned(), Duration::from_hours(24), &forecasts, &forecasts, 1.0, 1);
        assert_eq!(card.liftline.figures.precision, Some(1.0));
        assert_eq!(card.liftline.figures.lift, Some(20.0));
        assert_eq!(card.liftline.figures.lead_median_hours, Some(6.0));
        assert_eq!((card.units, card.moments, card.failures), (20, 2, 2));
        assert!(card.to_string().contains("\nprecision_top5: 1.0000\n"), "{card}");
    }

    #[test]
    fn figures_that_do_not_exist_are_shown_as_such() {
        let forecasts: Vec<Forecast> = (0..5).map(|n| forecast(n, 0, 0.1, false)).collect();
        let card = RiskScorecard::of("t".to_owned(), Duration::from_hours(24), &forecasts, &forecasts, 1.0, 1);
        assert_eq!(card.liftline.figures.roc_auc, None);
        assert!(card.to_string().contains("\nroc_auc: -\n"), "{card}");
        let none = RiskScorecard::of("t".to_owned(), Duration::from_hours(24), &[], &[], 1.0, 1);
        assert_eq!(none.base_rate, 0.0);
    }
}
