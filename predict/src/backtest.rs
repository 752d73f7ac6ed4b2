//! Scores detectors and forecasts on recorded failures, beside a naive rule.
//!
//! The split is in time, for each device: its first `warm_up` observations of a channel (the profile's, or 100 where
//! only forecasts watch it) are for learning, and nothing is tuned on the rest. Alerts and failures count from the end
//! of that warm-up on, for the profile and for the naive rule alike.
//!
//! An alert is right if a failure of its device follows within [`Options::horizon`], but not sooner than
//! [`Options::notice`], the least warning that is of use. Everything else is a false alarm, also an alert between two
//! failures that belongs to neither.
//!
//! The naive rule raises an alert when a single value lies beyond `naive_factor` times the mean of the warm-up (on
//! channels watched downwards: below that mean divided by the factor), and ends it when a value lies within.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use model::{AlertChange, Body, ChannelId, Device, DeviceId, Entry, Profile, Timestamp, Value, profile::Direction};

use crate::{Predictor, detector::micros, stats};

/// A month of the figure "per unit-month": a twelfth of a Gregorian year.
const MONTH_DAYS: f64 = 30.436_875;
/// The warm-up of a channel that only forecasts watch.
const DEFAULT_WARM_UP: u32 = 100;

/// A failure that is known to have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub device: DeviceId,
    /// When.
    pub at: Timestamp,
}

/// How alerts are judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// An alert is right if a failure follows within this time.
    pub horizon: Duration,
    /// The least warning that is of use.
    pub notice: Duration,
    /// The naive rule's threshold, as a multiple of the mean over the warm-up; above 1.
    pub naive_factor: f64,
}

impl Default for Options {
    /// Two weeks, one hour, one and a half times the mean.
    fn default() -> Self {
        Self { horizon: Duration::from_hours(14 * 24), notice: Duration::from_hours(1), naive_factor: 1.5 }
    }
}

/// How well failures were foreseen.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorecard {
    /// The profile's name.
    pub profile: String,
    /// How alerts were judged.
    pub options: Options,
    /// Devices with at least one evaluated value.
    pub units: usize,
    /// Evaluated time over all units, in days.
    pub unit_days: f64,
    /// Failures in the evaluated time.
    pub failures: usize,
    /// The share of evaluated unit-time in which an alert would be right: the precision of alerts thrown at random.
    pub base_rate: f64,
    /// The profile's detectors and forecasts.
    pub liftline: Score,
    /// The naive rule.
    pub naive: Score,
}

/// One method's figures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Score {
    /// Alerts raised.
    pub alerts: usize,
    /// Of these: right.
    pub right: usize,
    /// Failures that at least one right alert foresaw.
    pub detected: usize,
    /// Right alerts per alert; `None` without alerts.
    pub precision: Option<f64>,
    /// Detected failures per failure; `None` without failures.
    pub recall: Option<f64>,
    /// Median warning before the detected failures, hours, from the first right alert of each.
    pub lead_median_hours: Option<f64>,
    /// The warning that nine of ten detected failures exceed, hours.
    pub lead_p10_hours: Option<f64>,
    /// False alarms per unit and month.
    pub false_alarms_per_unit_month: Option<f64>,
}

/// What is known of one device while entries pass.
#[derive(Default)]
struct Unit {
    naive: HashMap<ChannelId, Naive>,
    /// End of warm-up and last evaluated time, microseconds.
    evaluated: Option<(i64, i64)>,
    alerts: Vec<i64>,
    naive_alerts: Vec<i64>,
}

#[derive(Default)]
struct Naive {
    seen: u32,
    mean: f64,
    raised: bool,
}

/// What the naive rule watches a channel for.
#[derive(Clone, Copy)]
struct Watched {
    warm_up: u32,
    above: bool,
    below: bool,
}

/// Runs the detectors and forecasts of a profile over recorded entries and scores them. Entries of each device must
/// come in the order in which they arrived; devices may be interleaved. Entries of other profiles are ignored.
pub fn run<D: Borrow<Device>>(
    profile: &Arc<Profile>,
    entries: impl IntoIterator<Item = (D, Entry)>,
    failures: &[Failure],
    options: &Options,
) -> Scorecard {
    let mut predictor = Predictor::new();
    predictor.load(Arc::clone(profile));
    let watched = watched(profile);
    let mut units: BTreeMap<DeviceId, Unit> = BTreeMap::new();
    let mut changes = Vec::new();
    for (device, entry) in entries {
        let device = device.borrow();
        if device.profile != profile.id {
            continue;
        }
        let unit = units.entry(device.id.clone()).or_default();
        unit.observe(&watched, &entry, options.naive_factor);
        predictor.apply(device, &entry, &mut changes);
        for change in changes.drain(..) {
            match change {
                AlertChange::Raised(alert) if unit.evaluated.is_some() => {
                    unit.alerts.push(alert.raised_at.as_micros());
                }
                AlertChange::Raised(_) | AlertChange::Changed(_) | AlertChange::Cleared(_) => {}
            }
        }
    }
    score(profile, &units, failures, options)
}

/// The numeric channels under watch. A detector looks both ways; a forecast one.
fn watched(profile: &Profile) -> HashMap<ChannelId, Watched> {
    let mut watched = HashMap::new();
    for detector in &profile.detectors {
        watched.insert(detector.channel.clone(), Watched { warm_up: detector.warm_up, above: true, below: true });
    }
    for forecast in &profile.forecasts {
        let none = Watched { warm_up: DEFAULT_WARM_UP, above: false, below: false };
        let channel = watched.entry(forecast.channel.clone()).or_insert(none);
        match forecast.direction {
            Direction::Above => channel.above = true,
            Direction::Below => channel.below = true,
        }
    }
    watched
}

impl Unit {
    fn observe(&mut self, watched: &HashMap<ChannelId, Watched>, entry: &Entry, factor: f64) {
        let (time, values) = match &entry.body {
            Body::Sample(sample) => (sample.time.as_micros(), &sample.values),
            Body::Event(event) => (event.time.as_micros(), &event.values),
            Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => return,
        };
        for (channel, value) in values {
            let (Some(watch), Value::Number(value)) = (watched.get(channel), value) else { continue };
            if !value.is_finite() {
                continue;
            }
            if !self.naive.contains_key(channel) {
                self.naive.insert(channel.clone(), Naive::default());
            }
            let Some(naive) = self.naive.get_mut(channel) else { continue };
            if naive.seen < watch.warm_up.max(1) {
                naive.seen += 1;
                naive.mean += (value - naive.mean) / f64::from(naive.seen);
                continue;
            }
            let (from, to) = self.evaluated.get_or_insert((time, time));
            *from = (*from).min(time);
            *to = (*to).max(time);
            let room = (factor - 1.0) * naive.mean.abs();
            let beyond =
                watch.above && *value > naive.mean + room || watch.below && *value < naive.mean - room / factor;
            if beyond && !naive.raised {
                self.naive_alerts.push(time);
            }
            naive.raised = beyond;
        }
    }
}

fn score(profile: &Profile, units: &BTreeMap<DeviceId, Unit>, failures: &[Failure], options: &Options) -> Scorecard {
    let (horizon, notice) = (micros(options.horizon), micros(options.notice));
    let mut card = Scorecard {
        profile: profile.id.to_string(),
        options: *options,
        units: 0,
        unit_days: 0.0,
        failures: 0,
        base_rate: 0.0,
        liftline: Score::default(),
        naive: Score::default(),
    };
    let mut good_days = 0.0;
    let mut leads = [Vec::new(), Vec::new()];
    for (id, unit) in units {
        let Some((from, to)) = unit.evaluated else { continue };
        card.units += 1;
        card.unit_days += days(to - from);
        let mut own: Vec<i64> =
            failures.iter().filter(|failure| failure.device == *id).map(|failure| failure.at.as_micros()).collect();
        // A failure is evaluated if an alert in the evaluated time could have foreseen it in time.
        own.retain(|at| at - notice > from && at - horizon <= to);
        own.sort_unstable();
        card.failures += own.len();
        good_days += covered(&own, from, to, horizon, notice);
        for (score, (alerts, leads)) in [&mut card.liftline, &mut card.naive]
            .into_iter()
            .zip([&unit.alerts, &unit.naive_alerts].into_iter().zip(&mut leads))
        {
            let foresees = |alert: i64, at: i64| (notice..=horizon).contains(&(at - alert));
            score.alerts += alerts.len();
            score.right += alerts.iter().filter(|alert| own.iter().any(|at| foresees(**alert, *at))).count();
            for at in &own {
                if let Some(first) = alerts.iter().filter(|alert| foresees(**alert, *at)).min() {
                    score.detected += 1;
                    leads.push(days(at - first) * 24.0);
                }
            }
        }
    }
    card.base_rate = if card.unit_days > 0.0 { good_days / card.unit_days } else { 0.0 };
    let [liftline, naive] = &mut leads;
    card.liftline.finish(card.failures, card.unit_days, liftline);
    card.naive.finish(card.failures, card.unit_days, naive);
    card
}

impl Score {
    fn finish(&mut self, failures: usize, unit_days: f64, leads: &mut [f64]) {
        let ratio = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        self.precision = ratio(self.right, self.alerts);
        self.recall = ratio(self.detected, failures);
        self.lead_median_hours = stats::median(leads);
        self.lead_p10_hours = stats::quantile(leads, 0.1);
        let months = unit_days / MONTH_DAYS;
        self.false_alarms_per_unit_month = (months > 0.0).then(|| (self.alerts - self.right) as f64 / months);
    }
}

/// How many days of `from..to` lie in reach before a failure. The failures are sorted.
fn covered(failures: &[i64], from: i64, to: i64, horizon: i64, notice: i64) -> f64 {
    let mut sum = 0;
    let mut done = from;
    for at in failures {
        let (start, end) = ((at - horizon).max(done), (at - notice).min(to));
        if end > start {
            sum += end - start;
            done = end;
        }
    }
    days(sum)
}

fn days(us: i64) -> f64 {
    us as f64 / 86_400e6
}

/// A figure, or `-` where there is none.
fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

impl Score {
    fn rows(&self) -> [(&'static str, String); 8] {
        [
            ("alerts", self.alerts.to_string()),
            ("right_alerts", self.right.to_string()),
            ("detected", self.detected.to_string()),
            ("precision", shown(self.precision, 3)),
            ("recall", shown(self.recall, 3)),
            ("lead_median_h", shown(self.lead_median_hours, 1)),
            ("lead_p10_h", shown(self.lead_p10_hours, 1)),
            ("false_alarms_per_unit_month", shown(self.false_alarms_per_unit_month, 3)),
        ]
    }
}

impl fmt::Display for Scorecard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { horizon, notice, naive_factor } = self.options;
        writeln!(f, "Backtest of profile {}", self.profile)?;
        writeln!(
            f,
            "Split: each unit's warm-up is for learning, everything after it is scored; nothing is tuned on it."
        )?;
        writeln!(
            f,
            "An alert is right if a failure follows within {}, but not sooner than {}.",
            model::duration::format(horizon),
            model::duration::format(notice)
        )?;
        writeln!(
            f,
            "Naive rule: one value above {naive_factor} times the warm-up mean, or below the mean divided by {naive_factor}."
        )?;
        writeln!(f)?;
        writeln!(f, "{:<28} {:>10} {:>10}", "", "liftline", "naive")?;
        let (ours, naive) = (self.liftline.rows(), self.naive.rows());
        for ((name, ours), (_, naive)) in ours.iter().zip(&naive) {
            writeln!(f, "{name:<28} {ours:>10} {naive:>10}")?;
        }
        writeln!(f)?;
        writeln!(f, "units: {}", self.units)?;
        writeln!(f, "unit_days: {:.1}", self.unit_days)?;
        writeln!(f, "failures: {}", self.failures)?;
        writeln!(f, "base_rate: {:.3}", self.base_rate)?;
        for (name, value) in &ours {
            writeln!(f, "{name}: {value}")?;
        }
        for (name, value) in &naive {
            writeln!(f, "naive_{name}: {value}")?;
        }
        Ok(())
    }
}
