//! What the time of day, or the hour of the week, lets expect.

use serde::{Deserialize, Serialize};

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;
const WEEK_S: i64 = 7 * DAY_S;
/// Slots of half an hour.
const DAY_SLOTS: usize = 48;
/// Slots of an hour.
const WEEK_SLOTS: usize = 168;
/// A slot remembers this many values at intervals of five minutes or more; at shorter ones, the same stretch of time.
const MEMORY: f32 = 17.0;
/// Values that fill a slot of the day; the weight of denser values is reduced to this rate.
const FULL_SLOT: f64 = 6.0;
/// Weeks before the hour of the week may be used.
const WEEKS: u8 = 3;
/// ... and its errors must be smaller than those of the time of day by this factor.
const BETTER: f64 = 0.9;
/// Weight of a new error.
const ERROR_GAIN: f64 = 0.005;
/// Departures are cut at this many mean deviations, so that an anomaly is not learnt as the habit of its hour.
const CUT: f64 = 20.0;

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Slot {
    level: f32,
    spread: f32,
    seen: f32,
}

/// Level and mean deviation by time of day, and level by hour of the week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    day: Vec<Slot>,
    week: Vec<f32>,
    /// Weeks in which each hour was seen, at most [`WEEKS`].
    weeks: Vec<u8>,
    hour: u16,
    /// Mean errors of both where both could be used.
    day_error: f64,
    week_error: f64,
}

/// What is expected of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) level: f64,
    /// Mean deviation at this time of day; `None` if little is known yet.
    pub(super) spread: Option<f64>,
    /// The level by time of day alone.
    by_day: f64,
    by_week: Option<f64>,
}

impl Season {
    pub(super) fn new() -> Self {
        Self {
            day: vec![Slot::default(); DAY_SLOTS],
            week: vec![0.0; WEEK_SLOTS],
            weeks: vec![0; WEEK_SLOTS],
            hour: u16::MAX,
            day_error: 0.0,
            week_error: 0.0,
        }
    }

    /// What to expect at a time (microseconds); `level` where nothing was seen at this time of day.
    pub(super) fn expected(&self, time: i64, level: f64) -> Expected {
        let slot = self.day[day_slot(time)];
        let by_day = if slot.seen > 0.0 { f64::from(slot.level) } else { level };
        let hour = week_slot(time);
        let by_week = (self.weeks[hour] >= WEEKS).then(|| f64::from(self.week[hour]));
        let level = by_week.filter(|_| self.week_error < BETTER * self.day_error).unwrap_or(by_day);
        Expected { level, spread: (slot.seen > 2.0).then(|| f64::from(slot.spread)), by_day, by_week }
    }

    /// Learns a value. `interval_s` is the usual time between values, `scale` their usual departure.
    pub(super) fn learn(&mut self, time: i64, value: f64, expected: &Expected, interval_s: f64, scale: Option<f64>) {
        if let Some(by_week) = expected.by_week {
            self.day_error += ERROR_GAIN * ((value - expected.by_day).abs() - self.day_error);
            self.week_error += ERROR_GAIN * ((value - by_week).abs() - self.week_error);
        }
        let slots_per_value = interval_s / (DAY_S as f64 / DAY_SLOTS as f64);
        let weight = (FULL_SLOT * slots_per_value).clamp(1e-4, 1.0) as f32;
        let slot = &mut self.day[day_slot(time)];
        if slot.seen == 0.0 {
            slot.level = value as f32;
        }
        slot.seen = (slot.seen + weight).min(MEMORY);
        let off = value - f64::from(slot.level);
        let off = scale.map_or(off, |scale| off.clamp(-CUT * scale, CUT * scale)) as f32;
        slot.level += weight / slot.seen * off;
        slot.spread += weight / slot.seen * (off.abs() - slot.spread);

        let hour = week_slot(time);
        if self.weeks[hour] == 0 {
            self.week[hour] = value as f32;
        }
        if usize::from(self.hour) != hour {
            self.hour = hour as u16;
            self.weeks[hour] = (self.weeks[hour] + 1).min(WEEKS);
        }
        let in_slot = (3600.0 / interval_s.max(1e-3)).max(1.0);
        let gain = (1.0 / (in_slot * f64::from(self.weeks[hour]))).max(1.0 / 3600.0);
        self.week[hour] += gain as f32 * (value as f32 - self.week[hour]);
    }
}

fn day_slot(time: i64) -> usize {
    let second = time.div_euclid(SECOND_US).rem_euclid(DAY_S);
    (second / (DAY_S / DAY_SLOTS as i64)) as usize
}

fn week_slot(time: i64) -> usize {
    (time.div_euclid(SECOND_US).rem_euclid(WEEK_S) / 3600) as usize
}
