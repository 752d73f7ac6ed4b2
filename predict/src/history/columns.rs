//! The features of a unit at a moment, with their names and units.

use serde::{Deserialize, Serialize};

use super::{
    decay::exposure,
    fleet::{Peers, Schema, UnitInfo},
    unit::{BAND_HALF_LIFE, DOWN_HALF_LIVES, FAILURE_HALF_LIVES, KIND_HALF_LIVES, LENGTH_HALF_LIFES, Unit, WINDOWS},
};

/// How a feature is spread, which decides how a regression reads it; trees read all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Days since something; missing if it never was.
    Since,
    /// A count, sum or rate from 0 up.
    Amount,
    /// A number that may lie below 0.
    Level,
    /// 0 or 1.
    Flag,
    /// Monday 0 to Sunday 6, which days off count as.
    Weekday,
}

/// A feature's name, unit and shape. A model refuses features that are not the ones it was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Such as `failures.fading_30d`.
    pub name: String,
    /// Such as `d`, `h`, or `1` for a count.
    pub unit: String,
    /// How it is spread.
    pub shape: Shape,
    /// Whether a regression may weigh it differently for each group of units.
    pub by_group: bool,
}

/// How many days of the fleet's rate a unit's own rate is held to.
const PRIOR_DAYS: f64 = 20.0;
/// The position of 90 days in [`FAILURE_HALF_LIVES`], which is the half-life of failures at weekends, too.
const QUARTER: usize = 6;
/// The position of 7 days there.
const WEEK: usize = 3;
/// A repair counts as at most this long for what follows it, hours.
const LONGEST_REPAIR_HOURS: f64 = 48.0;
/// The half-lives over which peers are compared, by position in [`FAILURE_HALF_LIVES`].
pub(super) const PEER_HALF_LIVES: [usize; 5] = [0, 1, 3, 5, 6];

/// Takes features one after the other: their values, and their descriptions when those are asked for.
pub(super) struct Sink {
    pub(super) features: Option<Vec<Feature>>,
    pub(super) values: Vec<f32>,
}

impl Sink {
    fn put(&mut self, name: impl FnOnce() -> String, unit: &str, shape: Shape, value: f64) {
        if let Some(features) = &mut self.features {
            features.push(Feature { name: name(), unit: unit.to_owned(), shape, by_group: false });
        }
        let value = value as f32;
        self.values.push(if value.is_finite() { value } else { f32::NAN });
    }

    /// The same, for what groups may differ in.
    fn core(&mut self, name: impl FnOnce() -> String, unit: &str, shape: Shape, value: f64) {
        self.put(name, unit, shape, value);
        if let Some(feature) = self.features.as_mut().and_then(|features| features.last_mut()) {
            feature.by_group = true;
        }
    }
}

fn or_missing(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

/// Writes all features of a unit.
pub(super) fn write(sink: &mut Sink, schema: &Schema, info: &UnitInfo, unit: &Unit, peers: &Peers, now: i64) {
    let weekday = schema.calendar.weekday(now);
    own_failures(sink, unit, now);
    last_failure(sink, schema, unit);
    rates(sink, unit, peers, now);
    service(sink, unit, now);
    together(sink, unit, peers, weekday >= 5, now);
    for (kind, name) in unit.kinds.iter().zip(&schema.kinds) {
        let since = or_missing(kind.last.map(|last| super::days(now - last)));
        sink.core(|| format!("{name}.since"), "d", Shape::Since, since);
        for (count, half_life) in kind.counts.iter().zip(KIND_HALF_LIVES) {
            sink.put(|| format!("{name}.fading_{half_life}d"), "1", Shape::Amount, count.now(now, half_life));
        }
    }
    peers.write(sink);
    for (n, name) in schema.groups.iter().enumerate() {
        sink.put(|| format!("group.{name}"), "1", Shape::Flag, f64::from(u8::from(info.group == n)));
    }
    for (name, tag) in schema.tags.iter().zip(&info.tags) {
        sink.put(|| format!("tag.{name}"), "1", Shape::Flag, f64::from(u8::from(*tag)));
    }
    for (level, name) in unit.levels.iter().zip(&schema.channels) {
        let departure = or_missing(level.departure(now));
        sink.core(|| format!("channel.{name}.departure"), "1", Shape::Level, departure);
        sink.put(|| format!("channel.{name}.silent"), "d", Shape::Since, or_missing(level.silent(now)));
    }
    sink.core(|| "weekday".to_owned(), "1", Shape::Weekday, weekday as f64);
}

fn own_failures(sink: &mut Sink, unit: &Unit, now: i64) {
    for (count, half_life) in unit.failures.iter().zip(FAILURE_HALF_LIVES) {
        sink.core(|| format!("failures.fading_{half_life}d"), "1", Shape::Amount, count.now(now, half_life));
    }
    for window in WINDOWS {
        sink.put(|| format!("failures.last_{window}d"), "1", Shape::Amount, unit.count(now, window) as f64);
    }
    for n in [1, 2, 3, 5] {
        let since = or_missing(unit.since_failure(now, n));
        if n == 1 {
            sink.core(|| format!("failure_{n}.since"), "d", Shape::Since, since);
        } else {
            sink.put(|| format!("failure_{n}.since"), "d", Shape::Since, since);
        }
    }
    sink.put(|| "failures.usual_gap".to_owned(), "ln d", Shape::Level, or_missing(unit.usual_gap()));
    let days = unit.failure_days.now(now, BAND_HALF_LIFE);
    sink.put(|| "failures.days_fading".to_owned(), "1", Shape::Amount, days);
    for (band, name) in unit.bands.iter().zip(["00", "08", "16"]) {
        sink.put(|| format!("failures.from_{name}h"), "1", Shape::Amount, band.now(now, BAND_HALF_LIFE));
    }
    sink.put(|| "failures.weekend".to_owned(), "1", Shape::Amount, unit.weekend.now(now, BAND_HALF_LIFE));
    sink.core(|| "failures.weekend_share".to_owned(), "1", Shape::Level, weekend_share(unit, now));
    let (same, all) = unit.same_weekday(now);
    sink.core(|| "failures.same_weekday_share".to_owned(), "1", Shape::Level, (same + 1.0) / (all + 7.0));
}

/// The kinds of the last failure.
fn last_failure(sink: &mut Sink, schema: &Schema, unit: &Unit) {
    for (n, name) in schema.kinds.iter().enumerate() {
        let had = unit.last_kinds >> n & 1;
        sink.put(|| format!("failure_1.{name}"), "1", Shape::Flag, f64::from(had));
    }
}

/// The unit's own rates, held to the rate of its group while its own history is short.
fn rates(sink: &mut Sink, unit: &Unit, peers: &Peers, now: i64) {
    for n in [5, 6, 7] {
        let half_life = FAILURE_HALF_LIVES[n];
        sink.core(|| format!("failures.rate_{half_life}d"), "1/d", Shape::Amount, own_rate(unit, peers, n, now));
    }
    let overdue = or_missing(unit.since_failure(now, 1).map(|since| since * own_rate(unit, peers, QUARTER, now)));
    sink.put(|| "failures.overdue".to_owned(), "1", Shape::Amount, overdue);
}

/// The rate over one of [`FAILURE_HALF_LIVES`].
fn own_rate(unit: &Unit, peers: &Peers, n: usize, now: i64) -> f64 {
    let half_life = FAILURE_HALF_LIVES[n];
    let failures = unit.failures[n].now(now, half_life) + peers.fleet_rate * PRIOR_DAYS;
    failures / (exposure(unit.seen_days(now), half_life) + PRIOR_DAYS)
}

/// The share of its failures that fall on weekends, held to that of evenly spread ones.
fn weekend_share(unit: &Unit, now: i64) -> f64 {
    (unit.weekend.now(now, BAND_HALF_LIFE) + 2.0) / (unit.failures[QUARTER].now(now, BAND_HALF_LIFE) + 7.0)
}

/// What two things say together, which a regression cannot make of each by itself: what a day off changes, and a repair
/// just done.
fn together(sink: &mut Sink, unit: &Unit, peers: &Peers, off: bool, now: i64) {
    let weekend = weekend_share(unit, now);
    let of_such_days = if off { weekend * 7.0 / 2.0 } else { (1.0 - weekend) * 7.0 / 5.0 };
    sink.core(|| "coming_day.share".to_owned(), "ln 1", Shape::Level, of_such_days.ln());
    let rate = (own_rate(unit, peers, QUARTER, now) * 10.0).ln_1p();
    let lately = unit.failures[WEEK].now(now, FAILURE_HALF_LIVES[WEEK]).ln_1p();
    let fresh = unit.last_fix.map_or(0.0, |at| (-super::days(now - at)).exp());
    for (name, value) in [("rate", rate), ("lately", lately), ("fresh_fix", fresh)] {
        sink.core(|| format!("day_off.{name}"), "1", Shape::Level, if off { value } else { 0.0 });
    }
    sink.core(|| "fix.fresh".to_owned(), "1", Shape::Level, fresh);
    let hours = unit.last_hours.unwrap_or(0.0).clamp(0.0, LONGEST_REPAIR_HOURS);
    sink.core(|| "fix.fresh_hours".to_owned(), "h", Shape::Level, fresh * hours);
}

fn service(sink: &mut Sink, unit: &Unit, now: i64) {
    sink.put(|| "seen".to_owned(), "d", Shape::Since, unit.seen_days(now));
    sink.core(|| "state.since".to_owned(), "d", Shape::Since, super::days(now - unit.since));
    let since = |at: Option<i64>| or_missing(at.map(|at| super::days(now - at)));
    sink.core(|| "fix.since".to_owned(), "d", Shape::Since, since(unit.last_fix));
    sink.put(|| "taken_out.since".to_owned(), "d", Shape::Since, since(unit.last_off));
    for (sum, half_life) in unit.down_hours.iter().zip(DOWN_HALF_LIVES) {
        sink.core(|| format!("down.fading_{half_life}d"), "h", Shape::Amount, sum.now(now, half_life));
    }
    let broken = unit.broken_hours.now(now, DOWN_HALF_LIVES[1]);
    sink.put(|| "broken.fading_30d".to_owned(), "h", Shape::Amount, broken);
    sink.put(|| "repair.last".to_owned(), "h", Shape::Amount, or_missing(unit.last_hours));
    sink.core(|| "repair.usual".to_owned(), "ln h", Shape::Level, or_missing(unit.usual_repair()));
    let short = unit.short.now(now, LENGTH_HALF_LIFES[0]);
    sink.core(|| "repairs.short_fading_30d".to_owned(), "1", Shape::Amount, short);
    for (count, half_life) in unit.long.iter().zip(LENGTH_HALF_LIFES) {
        sink.put(|| format!("repairs.long_fading_{half_life}d"), "1", Shape::Amount, count.now(now, half_life));
    }
}

impl Peers {
    fn write(&self, sink: &mut Sink) {
        for (scope, means) in [
            ("site", &self.site),
            ("site_group", &self.site_group),
            ("area_group", &self.area_group),
            ("fleet_group", &self.fleet_group),
        ] {
            for (mean, n) in means.iter().zip(PEER_HALF_LIVES) {
                let half_life = FAILURE_HALF_LIVES[n];
                sink.put(|| format!("{scope}.failures_fading_{half_life}d"), "1", Shape::Amount, *mean);
            }
        }
        sink.put(|| "site_group.units".to_owned(), "1", Shape::Amount, self.site_group_units);
        sink.put(|| "site_group.broken".to_owned(), "1", Shape::Amount, self.site_group_broken);
        sink.put(|| "site.down_share".to_owned(), "1", Shape::Amount, self.site_down);
        sink.put(|| "fleet_group.down_share".to_owned(), "1", Shape::Amount, self.fleet_down);
    }
}
