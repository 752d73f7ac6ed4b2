//! Failure models in a running hub: what they learn from, how they are trained and compared, and what is made of their
//! forecasts. The command line (`liftline train`, `liftline models`) and the nightly pass use the same functions.

pub mod alerts;
pub mod history;
pub mod nightly;
pub mod train;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use model::{ProfileId, Timestamp, profile::Failures};
use serde::Deserialize;

/// The `[forecasts]` section: failure models of profiles that name their failures.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForecastConfig {
    /// Whether the hub trains and forecasts at night.
    pub enabled: bool,
    /// When it does, UTC.
    pub at: String,
    /// The share of one processor core that training may take, above 0 to 1.
    pub cpu_share: f64,
    /// Whether a challenger that was better becomes champion by itself.
    pub promote: bool,
    /// The seed of every draw.
    pub seed: u64,
    /// What failures and visits cost here, by profile, instead of what the profile says.
    pub costs: BTreeMap<ProfileId, Costs>,
}

/// What it costs to be wrong, in any one unit.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// A failure that nobody was sent for.
    pub miss_cost: f64,
    /// A visit that no failure would have followed.
    pub visit_cost: f64,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self { enabled: true, at: "02:00".to_owned(), cpu_share: 0.5, promote: true, seed: 1, costs: BTreeMap::new() }
    }
}

/// Microseconds a day.
const DAY_US: i64 = 86_400_000_000;

impl ForecastConfig {
    /// Checks what can be checked without the profiles: the key that is wrong, and what to write instead.
    ///
    /// # Errors
    /// The key and the remedy.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.offset().is_none() {
            return Err(("at", "write a time of day, UTC, such as \"02:00\""));
        }
        if !(self.cpu_share > 0.0 && self.cpu_share <= 1.0) {
            return Err(("cpu_share", "write a share above 0 and up to 1, such as 0.5"));
        }
        let positive = |cost: f64| cost.is_finite() && cost > 0.0;
        if self.costs.values().any(|costs| !positive(costs.miss_cost) || !positive(costs.visit_cost)) {
            return Err(("costs", "write costs above 0"));
        }
        Ok(())
    }

    /// The time of day of forecasts, since midnight UTC.
    fn offset(&self) -> Option<Duration> {
        let (hours, minutes) = self.at.split_once(':')?;
        let two = |text: &str| if text.len() == 2 { text.parse::<u64>().ok() } else { None };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        (hours < 24 && minutes < 60).then(|| Duration::from_secs(hours * 3600 + minutes * 60))
    }

    /// The last moment at which forecasts were due.
    #[must_use]
    pub fn last_due(&self, now: Timestamp) -> Timestamp {
        let offset = i64::try_from(self.offset().unwrap_or_default().as_micros()).unwrap_or(0);
        Timestamp::from_micros((now.as_micros() - offset).div_euclid(DAY_US) * DAY_US + offset)
    }

    /// From which probability on a visit costs less than waiting.
    #[must_use]
    pub fn threshold(&self, profile: &ProfileId, failures: &Failures) -> f64 {
        self.costs
            .get(profile)
            .map_or_else(|| failures.threshold(), |costs| model::profile::threshold(costs.miss_cost, costs.visit_cost))
    }
}

#[cfg(test)]
mod settings {
    use super::*;

    #[test]
    fn forecasts_are_due_once_a_day() {
        let config = ForecastConfig { at: "02:30".to_owned(), ..ForecastConfig::default() };
        let due = |text: &str| config.last_due(text.parse().unwrap()).to_string();
        assert_eq!(due("2026-03-02T02:29:59Z"), "2026-03-01T02:30:00Z");
        assert_eq!(due("2026-03-02T02:30:00Z"), "2026-03-02T02:30:00Z");
        assert_eq!(due("2026-03-02T23:00:00Z"), "2026-03-02T02:30:00Z");
    }

    #[test]
    fn mistakes_name_the_key() {
        let wrong = |config: ForecastConfig| config.check().unwrap_err().0;
        let base = ForecastConfig::default();
        assert_eq!(base.check(), Ok(()));
        for at in ["2:00", "24:00", "02:60", "night", "02:00:00"] {
            assert_eq!(wrong(ForecastConfig { at: at.to_owned(), ..base.clone() }), "at", "{at}");
        }
        assert_eq!(wrong(ForecastConfig { cpu_share: 0.0, ..base.clone() }), "cpu_share");
        let costs = [(ProfileId::new("lift").unwrap(), Costs { miss_cost: 1.0, visit_cost: f64::NAN })].into();
        assert_eq!(wrong(ForecastConfig { costs, ..base }), "costs");
    }
}
