//! How far a channel's daily means have departed from the unit's own usual level.
//!
//! Only the departure, in the unit's own spreads, becomes a feature: it has no physical unit, so that a sensor that sends
//! millimetres instead of metres cannot pass for a worn part. A mean that lies [`OTHER`] spreads away is taken for such a
//! change (another unit, another sensor, a counter that began again): the level is learnt anew, and nothing is said
//! meanwhile.

use super::days;

/// Means it takes before a departure is told.
const SETTLED: u32 = 14;
/// The half-life of the usual level, in means.
const USUAL: f64 = 30.0;
/// The half-life of the level of late, in means.
const RECENT: f64 = 3.0;
/// The spread is at least this share of the level: a channel that hardly varies must not turn rounding into a departure.
const LEAST_SPREAD: f64 = 0.02;
/// From so many spreads on it is another quantity.
const OTHER: f64 = 30.0;
/// How far a mean counts for the usual level, in spreads.
const CLIP: f64 = 3.0;
/// The most a departure counts.
const REACH: f64 = 8.0;
/// A departure is told for so many days after the last mean.
const FRESH_DAYS: f64 = 3.0;

/// What is remembered of one channel of one unit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    means: u32,
    last: i64,
    usual: f64,
    variance: f64,
    recent: f64,
}

impl Level {
    /// Takes the mean of a day that ended at `at`. What is no number says nothing.
    pub(super) fn take(&mut self, at: i64, mean: f64) {
        if !mean.is_finite() || (self.means > 0 && at <= self.last) {
            return;
        }
        if self.means >= SETTLED && ((mean - self.usual) / self.spread()).abs() > OTHER {
            *self = Self::default();
        }
        self.last = at;
        self.means = self.means.saturating_add(1);
        let count = f64::from(self.means);
        let share = |half_life: f64| f64::max(1.0 / count, 1.0 - (-1.0 / half_life).exp2());
        let off = mean - self.usual;
        // What stands out moves the usual level by a little at a time, so that it is told before it is usual.
        let most = if self.means > SETTLED { CLIP * self.spread() } else { f64::INFINITY };
        let off = off.clamp(-most, most);
        self.usual += share(USUAL) * off;
        self.variance += share(USUAL) * ((1.0 - share(USUAL)) * off * off - self.variance);
        self.recent += share(RECENT) * (mean - self.recent);
    }

    fn spread(&self) -> f64 {
        self.variance.max(0.0).sqrt().max(LEAST_SPREAD * self.usual.abs()).max(f64::MIN_POSITIVE)
    }

    /// The level of late against the usual one, in spreads; `None` while that is not known.
    pub(super) fn departure(&self, now: i64) -> Option<f64> {
        let told = self.means >= SETTLED && days(now - self.last) <= FRESH_DAYS;
        told.then(|| ((self.recent - self.usual) / self.spread()).clamp(-REACH, REACH))
    }

    /// Days since the last mean.
    pub(super) fn silent(&self, now: i64) -> Option<f64> {
        (self.means > 0).then(|| days(now - self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::DAY;

    fn after(means: impl IntoIterator<Item = f64>) -> (Level, i64) {
        let (mut level, mut now) = (Level::default(), 0);
        for mean in means {
            now += DAY;
            level.take(now, mean);
        }
        (level, now)
    }

    fn usual(n: u32) -> f64 {
        5.0 + f64::from(n % 5) / 10.0
    }

    #[test]
    fn a_drift_is_told_and_the_usual_is_not() {
        let (level, now) = after((0..60).map(usual));
        assert!(level.departure(now).unwrap().abs() < 1.5);
        let (level, now) = after((0..60).map(usual).chain((0..5).map(|n| 6.5 + f64::from(n) / 10.0)));
        assert!(level.departure(now).unwrap() > 2.0);
        assert_eq!(level.departure(now + 4 * DAY), None, "too old");
        assert_eq!(level.silent(now + 4 * DAY), Some(4.0));
    }

    #[test]
    fn another_unit_is_learnt_anew_and_says_nothing_meanwhile() {
        let (level, now) = after((0..60).map(usual).chain((0..10).map(|n| 1000.0 * usual(n))));
        assert_eq!(level.departure(now), None);
        let (level, now) = after((0..60).map(usual).chain((0..40).map(|n| 1000.0 * usual(n))));
        assert!(level.departure(now).unwrap().abs() < 1.5);
    }

    #[test]
    fn constants_holes_and_days_that_come_twice_are_no_departure() {
        let (level, now) = after([7.0; 40]);
        assert_eq!(level.departure(now), Some(0.0));
        let (level, now) = after([0.0; 40]);
        assert_eq!(level.departure(now), Some(0.0));
        let (mut level, now) = after((0..40).map(usual));
        let before = level.departure(now);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            level.take(now + DAY, bad);
        }
        level.take(now, 900.0);
        assert_eq!(level.departure(now), before);
        assert_eq!(Level::default().departure(now), None);
    }
}
