//! A trend that will reach a limit.
//!
//! The line of [`crate::trend`] is drawn anew whenever a point of history closes. A forecast is raised when
//! - the history spans at least the profile's `min_span`,
//! - the slope leads to the limit and chance would hardly give it,
//! - the newer half of the history goes on at no less than half that slope (a single step is not a trend),
//! - the limit is expected within the profile's `horizon`,
//!
//! and all this held for an eighth of `min_span` and three points. It is cleared when the slope could be chance, or the
//! limit moved out to one and a half horizons, for as long; or at once when values step back from the line, as they do
//! after a repair: then the history begins anew.
//!
//! The history reaches back over the longer of `horizon` and twice `min_span`: who looks a week ahead looks a week back.
//!
//! A channel whose level is beyond its limit is not a forecast: none is raised, the profile's rule on the limit speaks.
//! A forecast that already stands when the limit is passed came true: it stands until the values come back.

use model::{
    Alert, AlertChange, AlertSource, Evidence, ForecastEvidence, Observation, TicketKind, Timestamp, Value,
    profile::{Direction, Forecast},
};
use serde::{Deserialize, Serialize};

use crate::{
    detector::micros,
    finding::{self, Context, Kind},
    trend::{COVERAGE, Crossing, History, Line, MIN_POINTS, Point},
    words,
};

/// How many points in a row must agree.
const AGREEING: u32 = 3;
/// How many points off the line are a step.
const STEP_POINTS: usize = 3;
/// How far off the line a step is, in standard deviations of the residuals.
const STEP_SIGMAS: f64 = 6.0;
/// ... and at least as a share of what is left to the limit.
const STEP_SHARE: f64 = 0.1;

/// Where one forecast stands on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ForecastState {
    last: i64,
    history: History,
    /// Points in a row that speak against the present state, and when the first of them closed.
    run: u32,
    run_from: i64,
    standing: Option<Box<Alert>>,
}

/// The window that the history covers, microseconds.
fn window(forecast: &Forecast) -> i64 {
    micros(forecast.horizon).max(micros(forecast.min_span).saturating_mul(2)).max(1_000_000)
}

fn towards(forecast: &Forecast) -> f64 {
    match forecast.direction {
        Direction::Above => 1.0,
        Direction::Below => -1.0,
    }
}

impl ForecastState {
    pub(crate) fn new(forecast: &Forecast) -> Self {
        Self { last: i64::MIN, history: History::new(window(forecast)), run: 0, run_from: 0, standing: None }
    }

    /// The alert that stands.
    pub(crate) fn standing(&self) -> Option<&Alert> {
        self.standing.as_deref()
    }

    /// The alert that stands, taken out.
    pub(crate) fn into_alert(self) -> Option<Box<Alert>> {
        self.standing
    }

    /// Takes one finite value. Returns false if it is not newer than the last one: then it only counts.
    pub(crate) fn take(
        &mut self,
        forecast: &Forecast,
        context: &Context<'_>,
        time: i64,
        value: f64,
        out: &mut Vec<AlertChange>,
    ) -> bool {
        if time <= self.last {
            return false;
        }
        self.last = time;
        if self.history.take(window(forecast), time, value) {
            self.evaluate(forecast, context, time, out);
        }
        true
    }

    fn evaluate(&mut self, forecast: &Forecast, context: &Context<'_>, now: i64, out: &mut Vec<AlertChange>) {
        let towards = towards(forecast);
        let line = Line::fit(self.history.points());
        let step = line.and_then(|line| stepped_back(self.history.points(), &line, forecast.threshold, towards));
        if let Some((before, after)) = step {
            self.history.keep_last(STEP_POINTS);
            self.run = 0;
            if let Some(alert) = self.standing.take() {
                out.push(finding::clear(alert, now, words::stepped_back(context, before, after)));
            }
            return;
        }
        let due = line.and_then(|line| line.crossing(forecast.threshold, towards).map(|crossing| (line, crossing)));
        let changing = match (&self.standing, line) {
            (_, None) => false,
            (None, Some(_)) => due.is_some_and(|(line, crossing)| self.holds(forecast, &line, crossing, now)),
            (Some(_), Some(line)) => {
                let reached = (line.level - forecast.threshold) * towards >= 0.0;
                let far = now.saturating_add(micros(forecast.horizon) / 2 * 3);
                !reached && due.is_none_or(|(line, crossing)| line.is_gone(towards) || crossing.expected > far)
            }
        };
        if !changing {
            self.run = 0;
            return;
        }
        if self.run == 0 {
            self.run_from = now;
        }
        self.run += 1;
        if self.run < AGREEING || now - self.run_from < micros(forecast.min_span) / 8 {
            return;
        }
        self.run = 0;
        match (self.standing.take(), due) {
            (Some(alert), _) => out.push(finding::clear(alert, now, words::no_longer(context, forecast.threshold))),
            (None, Some((line, crossing))) => {
                let alert = self.alert(forecast, context, &line, crossing, now);
                out.push(AlertChange::Raised(alert.clone()));
                self.standing = Some(alert);
            }
            (None, None) => {}
        }
    }

    fn holds(&self, forecast: &Forecast, line: &Line, crossing: Crossing, now: i64) -> bool {
        let towards = towards(forecast);
        let points = self.history.points();
        let Some(first) = points.first() else { return false };
        if line.origin - first.time < micros(forecast.min_span)
            || crossing.expected > now.saturating_add(micros(forecast.horizon))
            || !line.is_real(towards)
        {
            return false;
        }
        let half = first.time + (line.origin - first.time) / 2;
        let newer = &points[points.partition_point(|point| point.time < half)..];
        Line::fit(newer).is_some_and(|newer| newer.slope * towards >= line.slope * towards / 2.0)
    }

    fn alert(
        &self,
        forecast: &Forecast,
        context: &Context<'_>,
        line: &Line,
        crossing: Crossing,
        now: i64,
    ) -> Box<Alert> {
        let points = self.history.points();
        let count = points.iter().fold(0u32, |sum, point| sum.saturating_add(point.count));
        let from = points.first().map(|point| Timestamp::from_micros(point.time));
        let to = Timestamp::from_micros(line.origin);
        let observation = |name: &str, value, unit| Observation {
            name: name.to_owned(),
            value: Some(Value::Number(value)),
            unit,
            time: Some(to),
            supports: true,
        };
        let expected = ForecastEvidence {
            channel: forecast.channel.clone(),
            threshold: forecast.threshold,
            level: line.level,
            slope_per_day: line.slope,
            expected_at: Timestamp::from_micros(crossing.expected),
            earliest_at: Timestamp::from_micros(crossing.earliest),
            latest_at: crossing.latest.map(Timestamp::from_micros),
            coverage: COVERAGE,
            observations: count,
        };
        let evidence = Evidence {
            summary: words::expected(context, line, &expected, oldest(points), now),
            condition: format!(
                "the trend of {} reaches {} {} within {}",
                forecast.channel,
                words::number(forecast.threshold),
                context.unit.map_or("", |unit| unit.symbol()),
                model::duration::format(forecast.horizon),
            ),
            from,
            to: Some(to),
            observations: vec![
                observation(forecast.channel.as_str(), line.level, context.unit),
                observation("slope_per_day", line.slope, None),
            ],
            clears_when: words::clears_without_trend(context),
            forecast: Some(expected),
            withdrawn: false,
            dry_run: false,
            severity_since: None,
        };
        let kind = Kind {
            rule: &forecast.id,
            source: AlertSource::Forecast,
            ticket: TicketKind::Forecast,
            severity: forecast.severity,
            title: &forecast.title,
            runbook: forecast.runbook.as_ref(),
        };
        finding::raise(context, &kind, now, evidence)
    }
}

/// The mean of the oldest eighth of the points: where the drift began, as it was measured. (The line's own beginning
/// would lie beside the values when the wear set in later.)
fn oldest(points: &[Point]) -> f64 {
    let oldest = &points[..points.len().div_ceil(8)];
    oldest.iter().map(|point| point.value).sum::<f64>() / oldest.len().max(1) as f64
}

/// The line's value and the mean of the last points, if those lie off the line of the points before them, all on the
/// side away from the limit and all far.
fn stepped_back(points: &[Point], whole: &Line, limit: f64, towards: f64) -> Option<(f64, f64)> {
    let (before, after) = points.split_at_checked(points.len().checked_sub(STEP_POINTS)?)?;
    // Points far off the line of the others are also off the line of all, which is at hand.
    if before.len() < MIN_POINTS || after.iter().any(|point| (whole.at(point.time) - point.value) * towards <= 0.0) {
        return None;
    }
    let line = Line::fit(before)?;
    let least = (STEP_SIGMAS * line.noise).max(STEP_SHARE * (limit - line.level).abs());
    let stepped = after.iter().all(|point| (line.at(point.time) - point.value) * towards > least);
    let mean = after.iter().map(|point| point.value).sum::<f64>() / STEP_POINTS as f64;
    (stepped && least > 0.0).then_some((line.level, mean))
}
