//! One channel, looked at in several ways.

use serde::{Deserialize, Serialize};

use super::{WARM_UP, envelope::Envelope, season::Season};

/// A way to look at a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// The value itself: never so high or low before.
    Value,
    /// Its step from the value before, per value.
    Step,
    /// Its departure from what its time of day lets expect, averaged over about two values, in mean deviations.
    Departure,
    /// The same averaged over about 32 values.
    Drift,
    /// The same averaged over about 192 values.
    Trend,
    /// The mean size of steps over about 32 values, beside the usual one, as a logarithm: much more, or less, than ever.
    Restlessness,
}

impl View {
    /// Its name in tables and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Step => "step",
            Self::Departure => "departure",
            Self::Drift => "drift",
            Self::Trend => "trend",
            Self::Restlessness => "restlessness",
        }
    }
}

/// Views, their weights, and the gain of the average behind each (0: none). Fixed once; see the module above.
const VIEWS: [(View, f64); 6] = [
    (View::Value, 0.6),
    (View::Step, 0.6),
    (View::Departure, 1.8),
    (View::Drift, 2.2),
    (View::Trend, 1.5),
    (View::Restlessness, 1.2),
];
const DEPARTURE_GAIN: f64 = 0.5;
const DRIFT_GAIN: f64 = 1.0 / 32.0;
const TREND_GAIN: f64 = 1.0 / 192.0;
/// Least weight of a new value in level and scales.
const GAIN: f64 = 0.005;
/// The scale of a departure at a quiet time of day is at least this share of the usual scale.
const LEAST_SHARE: f64 = 0.1;
/// Departures and steps count at most this many times the usual.
const CUT: f64 = 20.0;
/// Values before departures are cut: the first ones show the scale.
const UNCUT: u32 = 50;
/// Changes below this share of the level are taken for rounding.
const ROUNDING: f64 = 1e-6;
/// Added before the logarithm of restlessness.
const QUIET: f64 = 0.05;
/// A gap is this many usual intervals.
const GAP: f64 = 8.0;

/// What is known of one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    seen: u32,
    last: f64,
    last_time: i64,
    interval_s: f64,
    level: f64,
    departure_scale: f64,
    step_scale: f64,
    /// Averages of the departure, from fast to slow, and of the steps.
    departures: [f64; 3],
    steps: f64,
    season: Season,
    envelopes: [Envelope; 6],
}

/// The widest surprise of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Surprise {
    /// In weighted widths of the envelope; not positive: within.
    pub(super) width: f64,
    pub(super) view: View,
    pub(super) seen: f64,
    pub(super) bound: f64,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            seen: 0,
            last: 0.0,
            last_time: 0,
            interval_s: 0.0,
            level: 0.0,
            departure_scale: 0.0,
            step_scale: 0.0,
            departures: [0.0; 3],
            steps: 0.0,
            season: Season::new(),
            envelopes: [Envelope::new(); 6],
        }
    }

    /// Takes a finite value; `None` within the warm-up.
    pub(super) fn take(&mut self, time: i64, value: f64) -> Option<Surprise> {
        let rounding = ROUNDING * self.level.abs() + f64::MIN_POSITIVE;
        let expected = self.season.expected(time, self.level);
        if self.seen == 0 {
            (self.last, self.last_time, self.level, self.seen) = (value, time, value, 1);
            self.season.learn(time, value, &expected, 300.0, None);
            return None;
        }
        let gap = self.pass_time(time);
        let departure = value - expected.level;
        let scale =
            expected.spread.unwrap_or(self.departure_scale).max(LEAST_SHARE * self.departure_scale).max(rounding);
        let relative = (departure / scale).clamp(-CUT, CUT);
        let young = 1.0 / (f64::from(self.seen) + 1.0);
        for (mean, gain) in self.departures.iter_mut().zip([DEPARTURE_GAIN, DRIFT_GAIN, TREND_GAIN]) {
            *mean += gain.max(young) * (relative - *mean);
        }
        let step = value - self.last;
        if !gap {
            let relative = (step.abs() / self.step_scale.max(rounding)).min(CUT);
            self.steps += DRIFT_GAIN * (relative - self.steps);
        }
        let surprise = self.compare(value, if gap { None } else { Some(step) }, rounding);

        let cut = |off: f64, scale: f64| if self.seen > UNCUT { off.min(CUT * scale.max(rounding)) } else { off };
        let gain = GAIN.max(young);
        let lasting = (self.seen > UNCUT).then(|| self.departure_scale.max(rounding));
        self.departure_scale += gain * (cut(departure.abs(), self.departure_scale) - self.departure_scale);
        if !gap {
            self.step_scale += gain * (cut(step.abs(), self.step_scale) - self.step_scale);
        }
        self.level += gain * (value - self.level);
        self.season.learn(time, value, &expected, self.interval_s, lasting);
        self.last = value;
        self.seen = self.seen.saturating_add(1);
        (self.seen > WARM_UP).then_some(surprise)
    }

    /// Follows the usual interval; true after a gap.
    fn pass_time(&mut self, time: i64) -> bool {
        let passed_s = (time.saturating_sub(self.last_time) as f64 / 1e6).max(0.0);
        self.last_time = time;
        if self.interval_s == 0.0 {
            self.interval_s = passed_s;
            return false;
        }
        let gap = passed_s > GAP * self.interval_s;
        // In a logarithm, so that one long night does not count for a thousand intervals.
        if passed_s > 0.0 {
            self.interval_s *= (passed_s / self.interval_s).clamp(0.5, 2.0).powf(0.05);
        }
        gap
    }

    /// Holds every view against its envelope.
    fn compare(&mut self, value: f64, step: Option<f64>, rounding: f64) -> Surprise {
        let [fast, medium, slow] = self.departures;
        let restless = (self.steps + QUIET).ln();
        let seen = [Some(value), step, Some(fast), Some(medium), Some(slow), Some(restless)];
        let mut widest = Surprise { width: f64::NEG_INFINITY, view: View::Value, seen: value, bound: value };
        for (((view, weight), seen), envelope) in VIEWS.into_iter().zip(seen).zip(&mut self.envelopes) {
            let Some(seen) = seen else { continue };
            let floor = match view {
                View::Value | View::Step => rounding,
                View::Departure | View::Drift | View::Trend | View::Restlessness => 1e-9,
            };
            let margin = envelope.take(seen, floor);
            let width = if margin.width > 0.0 { margin.width * weight } else { margin.width };
            if width > widest.width {
                widest = Surprise { width, view, seen, bound: margin.bound };
            }
        }
        widest
    }
}
