//! Flapping: a condition that comes and goes. It is paged for once and then held open until it keeps quiet.

use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// When a condition counts as flapping.
///
/// The defaults are our choice: with a half-life of ten minutes, three raises within five minutes reach 2.5, and one
/// raise a quarter of an hour never does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlapSettings {
    /// The score at which it begins; every raise adds one.
    pub start: f64,
    /// The score below which it has ended.
    pub end: f64,
    /// The score halves in this time.
    #[serde(with = "model::duration")]
    pub half_life: Duration,
    /// After the last end of a flapping condition its ticket is held open for this long.
    #[serde(with = "model::duration")]
    pub hold_open: Duration,
}

impl Default for FlapSettings {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self { start: 2.5, end: 1.0, half_life: minutes(10), hold_open: minutes(15) }
    }
}

/// How often one condition on one device came lately.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Flap {
    /// The score at `at`.
    pub score: f64,
    /// The event time of the last raise; `None`: never raised.
    pub at: Option<Timestamp>,
    /// True while it is flapping.
    pub flapping: bool,
}

impl Flap {
    /// The score at a time: it halves every half-life. A time before the last raise counts as that raise's.
    #[must_use]
    pub fn score_at(&self, settings: &FlapSettings, time: Timestamp) -> f64 {
        let Some(at) = self.at else { return 0.0 };
        let half_life = settings.half_life.as_secs_f64().max(1.0);
        self.score * (-time.since(at).as_secs_f64() / half_life).exp2()
    }

    /// After another raise, at this event time.
    #[must_use]
    pub fn raised(&self, settings: &FlapSettings, time: Timestamp) -> Self {
        let before = self.score_at(settings, time);
        let score = before + 1.0;
        let flapping = if self.flapping { before >= settings.end } else { score >= settings.start };
        Self { score, at: Some(self.at.map_or(time, |at| at.max(time))), flapping }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(minutes: &[u64]) -> Flap {
        let start = Timestamp::from_secs(1_767_225_600);
        minutes.iter().fold(Flap::default(), |flap, minute| {
            flap.raised(&FlapSettings::default(), start + Duration::from_secs(60 * minute))
        })
    }

    #[test]
    fn three_times_in_five_minutes_is_flapping_and_four_times_an_hour_is_not() {
        assert!(!after(&[0, 5]).flapping);
        assert!(after(&[0, 2, 5]).flapping);
        assert!(!after(&[0, 15, 30, 45, 60, 75, 90]).flapping);
    }

    #[test]
    fn it_ends_by_itself_when_the_score_has_fallen() {
        assert!(after(&[0, 1, 2, 3, 15]).flapping, "3.7 has halved once");
        assert!(!after(&[0, 1, 2, 3, 60]).flapping, "an hour of quiet");
    }

    #[test]
    fn a_raise_that_comes_out_of_order_counts_at_the_last_one() {
        let late = after(&[10, 11, 2]);
        assert!(late.flapping && late.score > 2.9 && late.score < 3.0, "{late:?}");
    }
}
