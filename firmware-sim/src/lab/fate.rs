//! What will happen to a lift.

use super::mode::Mode;
use crate::{dice::Dice, lift::traffic::Building};

/// From what fates are drawn; days unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranges {
    /// When a failure begins.
    pub onset: (f64, f64),
    /// From beginning to failure, drawn evenly in the logarithm.
    pub lasts: (f64, f64),
    /// The power with which damage grows: 1 steadily, more: late.
    pub power: (f64, f64),
    /// Scatter of all sensors, times the usual.
    pub noise: (f64, f64),
    /// Half the difference between summer and winter in the machine room, K.
    pub season_k: (f64, f64),
    /// Traffic of a busy time, times the usual.
    pub heavy: (f64, f64),
    /// Drift of a sensor over the life, times the usual.
    pub drift: (f64, f64),
    /// How long a healthy lift is watched.
    pub healthy_days: f64,
}

impl Ranges {
    /// What detectors may be tuned on.
    pub const DEVELOPMENT: Self = Self {
        onset: (35.0, 80.0),
        lasts: (8.0, 30.0),
        power: (1.0, 2.0),
        noise: (0.8, 1.2),
        season_k: (3.0, 7.0),
        heavy: (1.2, 1.6),
        drift: (0.5, 1.0),
        healthy_days: 150.0,
    };
    /// What they are judged on: slower and faster failures, noisier sensors, stronger seasons and traffic.
    pub const HELD_OUT: Self = Self {
        onset: (30.0, 100.0),
        lasts: (5.0, 45.0),
        power: (0.8, 3.0),
        noise: (0.7, 1.5),
        season_k: (2.0, 10.0),
        heavy: (1.1, 2.0),
        drift: (0.3, 1.5),
        healthy_days: 150.0,
    };
}

/// A failure on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Which.
    pub mode: Mode,
    /// Its first day.
    pub onset_day: f64,
    /// Days until it has failed.
    pub lasts_days: f64,
    /// The power with which damage grows.
    pub power: f64,
}

impl Course {
    /// The day of the failure.
    #[must_use]
    pub fn fails_day(&self) -> f64 {
        self.onset_day + self.lasts_days
    }

    /// Damage on a day, 0 to 1.
    pub(super) fn damage(&self, day: f64) -> f64 {
        ((day - self.onset_day) / self.lasts_days).clamp(0.0, 1.0).powf(self.power)
    }
}

/// Everything that is decided when a life begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Fate {
    /// How it fails; `None` if it stays healthy.
    pub course: Option<Course>,
    /// Days until the life ends: at the failure, or when the watch is over.
    pub days: f64,
    pub(super) building: Building,
    pub(super) noise: f64,
    pub(super) season_k: f64,
    /// Day of the year at the start.
    pub(super) season_day: f64,
    /// A busy time: first day, last day, times the usual traffic.
    pub(super) heavy: Option<(f64, f64, f64)>,
    /// Drift at the end of the life: vibration as a share, levelling in mm, temperatures in K.
    pub(super) drift: (f64, f64, f64),
    /// Days of maintenance visits.
    pub(super) visits: Vec<f64>,
}

impl Fate {
    pub(super) fn draw(seed: u64, n: u32, mode: Option<Mode>, ranges: &Ranges) -> Self {
        let mut dice = Dice::new(seed, &format!("fate {} {n}", mode.map_or("healthy", Mode::name)));
        let mut from = |(low, high): (f64, f64)| dice.between(low, high);
        let course = mode.map(|mode| Course {
            mode,
            onset_day: from(ranges.onset),
            lasts_days: from((ranges.lasts.0.ln(), ranges.lasts.1.ln())).exp(),
            power: from(ranges.power),
        });
        let days = course.as_ref().map_or(ranges.healthy_days, Course::fails_day);
        let (noise, season_k, season_day) = (from(ranges.noise), from(ranges.season_k), from((0.0, 365.0)));
        let heavy_from = from((10.0, 0.8 * ranges.healthy_days));
        let heavy = (heavy_from, heavy_from + from((7.0, 25.0)), from(ranges.heavy));
        let drift = (0.15 * from(ranges.drift), 4.0 * from(ranges.drift), 3.0 * from(ranges.drift));
        let mut visits = Vec::new();
        let mut day = from((10.0, 60.0));
        while day < days {
            visits.push(day);
            day += from((25.0, 75.0));
        }
        let side = if dice.chance(0.5) { 1.0 } else { -1.0 };
        Self {
            course,
            days,
            building: if dice.chance(0.5) { Building::Office } else { Building::Residential },
            noise,
            season_k,
            season_day,
            heavy: dice.chance(0.4).then_some(heavy),
            drift: if dice.chance(0.4) { (drift.0, side * drift.1, drift.2) } else { (0.0, 0.0, 0.0) },
            visits,
        }
    }
}
