//! A detector of [`model::profile::DetectorMethod::Novelty`]: something never seen before on one channel.
//!
//! Values are averaged over [`crate::BUCKET`]s and scored by [`crate::novelty`]. A bucket whose score reaches the profile's
//! line raises an alert; it may fire when it has seen the profile's `warm_up` of values over [`LEARNING`]. The alert is
//! cleared when nothing new came for [`CALM`]: an anomaly is reported at its onset, and what lasts becomes usual.

use std::time::Duration;

use model::{Alert, AlertChange, AlertSource, Evidence, Localised, Observation, Timestamp, Value, profile::Detector};
use serde::{Deserialize, Serialize};

use crate::{
    beside::Beside,
    bucket::Bucket,
    detector::micros,
    finding::{self, Context, Kind},
    novelty::{Finding, Scorer, View},
    words,
};

/// The least event time that is learnt from: a working week and a weekend.
const LEARNING: Duration = Duration::from_hours(7 * 24);
/// How long nothing new may come before an alert is cleared.
const CALM: Duration = Duration::from_hours(24);

/// What the profile says of it.
#[derive(Clone, Copy)]
pub(crate) struct Novelty<'a> {
    /// The score from which on it fires.
    pub(crate) line: f64,
    /// What people call the channel that the watched one is looked at beside.
    pub(crate) beside: Option<&'a Localised>,
}

/// Where one such detector stands on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NewcomerState {
    seen: u64,
    last: i64,
    since: Option<i64>,
    bucket: Option<Bucket>,
    beside: Beside,
    scorer: Scorer,
    /// When the last novelty came, while an alert stands.
    newest: i64,
    standing: Option<Box<Alert>>,
}

impl NewcomerState {
    pub(crate) fn new() -> Self {
        Self {
            seen: 0,
            last: i64::MIN,
            since: None,
            bucket: None,
            beside: Beside::default(),
            scorer: Scorer::new(1),
            newest: i64::MIN,
            standing: None,
        }
    }

    /// The alert that stands.
    pub(crate) fn standing(&self) -> Option<&Alert> {
        self.standing.as_deref()
    }

    /// The alert that stands, taken out.
    pub(crate) fn into_alert(self) -> Option<Box<Alert>> {
        self.standing
    }

    /// Takes one finite value of the channel that the watched one is looked at beside. Returns false if it is late.
    pub(crate) fn take_beside(&mut self, time: i64, value: f64) -> bool {
        self.beside.companion(time, value)
    }

    /// Takes one finite value; fires at `line`. Returns false if it is not newer than the last one: then it only counts.
    pub(crate) fn take(
        &mut self,
        detector: &Detector,
        novelty: Novelty<'_>,
        context: &Context<'_>,
        (time, value): (i64, f64),
        out: &mut Vec<AlertChange>,
    ) -> bool {
        self.seen = self.seen.saturating_add(1);
        if time <= self.last {
            return false;
        }
        self.last = time;
        let since = *self.since.get_or_insert(time);
        let Some(closed) = Bucket::add(&mut self.bucket, time, value) else { return true };
        let scored = match novelty.beside {
            Some(_) => self.beside.rest(&closed),
            None => Some(closed.mean),
        };
        let found = self.scorer.take(closed.first, [scored]);
        let ready = self.seen > u64::from(detector.warm_up) && time.saturating_sub(since) >= micros(LEARNING);
        let new = found.filter(|found| ready && found.score >= novelty.line);
        match (new, &self.standing) {
            (Some(_), Some(_)) => self.newest = time,
            (Some(found), None) => {
                let alert = alert(detector, novelty, context, &closed, found, time);
                out.push(AlertChange::Raised(alert.clone()));
                self.newest = time;
                self.standing = Some(alert);
            }
            (None, Some(_)) if time.saturating_sub(self.newest) >= micros(CALM) => {
                if let Some(alert) = self.standing.take() {
                    out.push(finding::clear(alert, time, words::nothing_new(context)));
                }
            }
            (None, Some(_) | None) => {}
        }
        true
    }
}

fn alert(
    detector: &Detector,
    novelty: Novelty<'_>,
    context: &Context<'_>,
    bucket: &Bucket,
    found: Finding,
    now: i64,
) -> Box<Alert> {
    let at = Timestamp::from_micros(bucket.first);
    let observation = |name: &str, value: f64, unit, supports| Observation {
        name: name.to_owned(),
        value: Some(Value::Number(value)),
        unit,
        time: Some(at),
        supports,
    };
    let unit = match found.view {
        View::Value | View::Step => context.unit,
        View::Departure | View::Drift | View::Trend | View::Restlessness => None,
    };
    let evidence = Evidence {
        summary: match novelty.beside {
            Some(beside) => words::never_beside(context, beside, bucket.mean, found.seen > found.bound),
            None => words::never_seen(context, bucket.mean, &found),
        },
        condition: format!(
            "{} is as it never was before: anomaly score of at least {}",
            detector.channel,
            words::number(novelty.line)
        ),
        from: Some(at),
        to: Some(Timestamp::from_micros(now)),
        observations: vec![
            observation(detector.channel.as_str(), bucket.mean, context.unit, true),
            observation(found.view.name(), found.seen, unit, true),
            observation("bound so far", found.bound, unit, true),
            observation("anomaly_score", found.score, None, true),
        ],
        clears_when: words::clears_when_calm(context),
        forecast: None,
        withdrawn: false,
        dry_run: false,
        severity_since: None,
    };
    let kind = Kind {
        rule: &detector.id,
        source: AlertSource::Detector,
        ticket: detector.ticket,
        severity: detector.severity,
        title: &detector.title,
        runbook: detector.runbook.as_ref(),
    };
    finding::raise(context, &kind, now, evidence)
}
