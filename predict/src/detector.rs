//! A level that has left its own baseline.
//!
//! Values are averaged over [`crate::BUCKET`]s of event time, so that one journey or one burst of messages is one
//! observation. From the buckets the detector learns a baseline (median and robust standard deviation), and then runs
//! an exponentially weighted moving average (EWMA: S. W. Roberts, "Control Chart Tests Based on Geometric Moving
//! Averages", Technometrics 1, 1959) against it. The limit is `sigmas` standard deviations *of a single bucket*, and
//! at least `min_change` of the level. Roberts' limits are narrower, by sqrt(λ / (2 - λ)), but hold for independent
//! values; those of machines are not, and a false alarm costs a visit.
//!
//! The average must stay beyond the limit for [`SUSTAINED`] buckets in a row. A cumulative sum (E. S. Page, "Continuous
//! Inspection Schemes", Biometrika 41, 1954) would find a small lasting shift sooner; here `min_change` says that small
//! shifts do not matter, and a run is what a dispatcher can check on the chart. Before averaging, a bucket is clipped
//! at twice the limit: one wild bucket moves the average by at most 0.6 of the limit, and two in a row pass it for one
//! bucket only, so it takes a lasting change to raise an alert.
//!
//! The baseline adapts slowly (an average over everything seen, at most the last 4320 buckets or 30 days of steady
//! reporting, deviations clipped at the limit). It stands still while the average is beyond the limit and while an
//! alert stands, so that a fault does not become normal. A new level after a repair or a rebuild is accepted when two
//! [`ACCEPT_WINDOW`]s in a row agree on it; the alert is cleared then and says so.
//!
//! An alert is also cleared when the average is back within half the limit for [`SUSTAINED`] buckets.

use std::time::Duration;

use model::{Alert, AlertChange, AlertSource, Evidence, Observation, Timestamp, Value, profile::Detector};
use serde::{Deserialize, Serialize};

use crate::{
    bucket::Bucket,
    finding::{self, Context, Kind},
    learner::Learner,
    stats, words,
};

/// How many buckets in a row must speak for or against an alert.
pub const SUSTAINED: u32 = 5;
/// The least event time a baseline rests on, besides the profile's `warm_up`: most channels follow the day, and half a
/// day would make the other half an alarm.
pub const BASELINE_SPAN: Duration = Duration::from_hours(24);
/// How long a new level must last before it is compared with the next such span, and accepted if they agree.
pub const ACCEPT_WINDOW: Duration = Duration::from_hours(7 * 24);

/// Weight of the newest bucket in the moving average.
const LAMBDA: f64 = 0.3;
/// Where a bucket is clipped, in limits.
const CLIP: f64 = 2.0;
/// How many buckets the baseline remembers.
const MEMORY: u32 = 4320;
/// The limit of a channel that rests at exactly zero, as a share of its physical range.
const ZERO_LIMIT: f64 = 1e-6;

pub(crate) const fn micros(span: Duration) -> i64 {
    let us = span.as_micros();
    // Ten years and more are cut: no window in this crate is as long.
    if us > 315_360_000_000_000 { 315_360_000_000_000 } else { us as i64 }
}

/// A detector of [`model::profile::DetectorMethod::Shift`].
pub(crate) struct Shift<'a> {
    pub(crate) detector: &'a Detector,
    pub(crate) sigmas: f64,
    pub(crate) min_change: f64,
}

/// Where one detector stands on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DetectorState {
    seen: u64,
    last: i64,
    bucket: Option<Bucket>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// No value yet.
    New,
    /// Learning the baseline.
    Learning(Learner),
    /// Comparing with it.
    Watching(Watch),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Watch {
    level: f64,
    sigma: f64,
    /// How many buckets the baseline rests on, at most [`MEMORY`].
    buckets: u32,
    /// The moving average.
    fast: f64,
    /// Buckets in a row that speak against the present state, and when the first of them began.
    run: u32,
    run_from: i64,
    /// The mean of those buckets, not clipped.
    run_mean: f64,
    standing: Option<Standing>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Standing {
    alert: Box<Alert>,
    learner: Learner,
    /// What the last full window learnt.
    previous: Option<f64>,
}

impl DetectorState {
    pub(crate) fn new() -> Self {
        Self { seen: 0, last: i64::MIN, bucket: None, phase: Phase::New }
    }

    /// Takes one finite value. Returns false if it is not newer than the last one: then it only counts.
    pub(crate) fn take(
        &mut self,
        shift: &Shift<'_>,
        context: &Context<'_>,
        time: i64,
        value: f64,
        out: &mut Vec<AlertChange>,
    ) -> bool {
        self.seen = self.seen.saturating_add(1);
        if time <= self.last {
            return false;
        }
        self.last = time;
        if let Some(closed) = Bucket::add(&mut self.bucket, time, value) {
            self.close(shift, context, &closed, time, out);
        }
        true
    }

    /// The alert that stands.
    pub(crate) fn standing(&self) -> Option<&Alert> {
        match &self.phase {
            Phase::New | Phase::Learning(_) => None,
            Phase::Watching(watch) => watch.standing.as_ref().map(|standing| &*standing.alert),
        }
    }

    /// The alert that stands, taken out.
    pub(crate) fn into_alert(self) -> Option<Box<Alert>> {
        match self.phase {
            Phase::New | Phase::Learning(_) => None,
            Phase::Watching(watch) => watch.standing.map(|standing| standing.alert),
        }
    }

    fn close(
        &mut self,
        shift: &Shift<'_>,
        context: &Context<'_>,
        bucket: &Bucket,
        now: i64,
        out: &mut Vec<AlertChange>,
    ) {
        match &mut self.phase {
            Phase::New => {
                let mut learner = Learner::new(bucket.first);
                learner.show(bucket.mean);
                self.phase = Phase::Learning(learner);
            }
            Phase::Learning(learner) => {
                learner.show(bucket.mean);
                let enough =
                    self.seen > u64::from(shift.detector.warm_up) && now - learner.since >= micros(BASELINE_SPAN);
                if let (true, Some((level, sigma))) = (enough, learner.learnt()) {
                    let buckets = u32::try_from(learner.shown()).unwrap_or(MEMORY).min(MEMORY);
                    self.phase = Phase::Watching(Watch {
                        level,
                        sigma,
                        buckets,
                        fast: level,
                        run: 0,
                        run_from: now,
                        run_mean: level,
                        standing: None,
                    });
                }
            }
            Phase::Watching(watch) => watch.compare(shift, context, bucket, now, out),
        }
    }
}

impl Watch {
    fn limit(&self, shift: &Shift<'_>, context: &Context<'_>) -> f64 {
        let least = (shift.min_change * self.level.abs()).max(ZERO_LIMIT * context.range).max(f64::MIN_POSITIVE);
        (shift.sigmas * self.sigma).max(least)
    }

    fn compare(
        &mut self,
        shift: &Shift<'_>,
        context: &Context<'_>,
        bucket: &Bucket,
        now: i64,
        out: &mut Vec<AlertChange>,
    ) {
        let limit = self.limit(shift, context);
        let departure = bucket.mean - self.level;
        self.fast += LAMBDA * (self.level + departure.clamp(-CLIP * limit, CLIP * limit) - self.fast);
        let away = (self.fast - self.level).abs();
        let changing = if self.standing.is_some() { away < limit / 2.0 } else { away > limit };
        if changing {
            if self.run == 0 {
                self.run_from = bucket.first;
                self.run_mean = 0.0;
            }
            self.run += 1;
            self.run_mean += (bucket.mean - self.run_mean) / f64::from(self.run);
        } else {
            self.run = 0;
        }
        let due = self.run >= SUSTAINED;
        if due {
            self.run = 0;
        }
        match self.standing.take() {
            None if due => {
                let alert = self.alert(shift, context, limit, now);
                out.push(AlertChange::Raised(alert.clone()));
                self.standing = Some(Standing { alert, learner: Learner::new(bucket.first), previous: None });
            }
            None if changing => {}
            None => self.adapt(departure.clamp(-limit, limit)),
            Some(standing) if due => {
                let why = words::back_to_usual(context, self.run_mean, self.level);
                out.push(finding::clear(standing.alert, now, why));
            }
            Some(standing) => self.consider(shift, context, standing, bucket, now, out),
        }
    }

    /// Moves the baseline a little, by a departure that was clipped.
    fn adapt(&mut self, departure: f64) {
        self.buckets = (self.buckets + 1).min(MEMORY);
        let gain = 1.0 / f64::from(self.buckets);
        self.level += gain * departure;
        self.sigma += gain * (stats::MEAN_AD_TO_SIGMA * departure.abs() - self.sigma);
    }

    /// Accepts the level at which the alert stands once two windows in a row agree on it.
    fn consider(
        &mut self,
        shift: &Shift<'_>,
        context: &Context<'_>,
        mut standing: Standing,
        bucket: &Bucket,
        now: i64,
        out: &mut Vec<AlertChange>,
    ) {
        standing.learner.show(bucket.mean);
        let full = now - standing.learner.since >= micros(ACCEPT_WINDOW);
        if let (true, Some((level, sigma))) = (full, standing.learner.learnt()) {
            let tolerance = (2.0 * sigma).min(self.limit(shift, context)).max(shift.min_change / 2.0 * level.abs());
            if standing.previous.is_some_and(|previous| (previous - level).abs() <= tolerance) {
                out.push(finding::clear(standing.alert, now, words::new_level(context, level, self.level)));
                let buckets = u32::try_from(standing.learner.shown()).unwrap_or(MEMORY).min(MEMORY);
                *self =
                    Self { level, sigma, buckets, fast: level, run: 0, run_from: now, run_mean: level, standing: None };
                return;
            }
            standing.previous = Some(level);
            standing.learner = Learner::new(now);
        }
        self.standing = Some(standing);
    }

    fn alert(&self, shift: &Shift<'_>, context: &Context<'_>, limit: f64, now: i64) -> Box<Alert> {
        let at = Some(Timestamp::from_micros(now));
        let observation = |name: &str, value: f64, time, supports| Observation {
            name: name.to_owned(),
            value: Some(Value::Number(value)),
            unit: context.unit,
            time,
            supports,
        };
        let evidence = Evidence {
            summary: words::departed(context, self.run_mean, self.level, self.run_from),
            condition: format!(
                "{} departs from its baseline by more than {} sigma and {} %, {SUSTAINED} times 10 min in a row",
                shift.detector.channel,
                words::number(shift.sigmas),
                words::number(shift.min_change * 100.0),
            ),
            from: Some(Timestamp::from_micros(self.run_from)),
            to: at,
            observations: vec![
                observation(shift.detector.channel.as_str(), self.run_mean, at, true),
                observation("baseline", self.level, None, true),
                observation("sigma", self.sigma, None, true),
            ],
            clears_when: words::clears_within(context, self.level - limit / 2.0, self.level + limit / 2.0),
            forecast: None,
            withdrawn: false,
            dry_run: false,
            severity_since: None,
        };
        let kind = Kind {
            rule: &shift.detector.id,
            source: AlertSource::Detector,
            ticket: shift.detector.ticket,
            severity: shift.detector.severity,
            title: &shift.detector.title,
            runbook: shift.detector.runbook.as_ref(),
        };
        finding::raise(context, &kind, now, evidence)
    }
}
