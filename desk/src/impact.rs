//! Whom a device that is out, or will be, affects: how many people an hour, what else takes them, for how long, and when a
//! visit disturbs the fewest.

use std::time::Duration;

use jiff::{civil::Weekday, tz::TimeZone};
use model::{SiteUse, Timestamp, Traffic};

/// Share of a site's population, in per cent, that takes one of its devices in an hour of a day: working days, then days
/// off. The curves are our choice: the shapes that guides to lift traffic teach (an office fills in the morning, goes to
/// lunch, empties in the evening; homes the other way round; a hospital never rests), not measured anywhere. A site's own
/// counts would be better.
const OFFICE: [[u8; 24]; 2] = [
    [0, 0, 0, 0, 0, 1, 5, 20, 45, 30, 20, 25, 45, 40, 20, 20, 25, 40, 35, 15, 8, 4, 2, 1],
    [0, 0, 0, 0, 0, 0, 1, 2, 4, 4, 3, 3, 4, 4, 3, 3, 3, 4, 3, 1, 1, 0, 0, 0],
];
const RESIDENTIAL: [[u8; 24]; 2] = [
    [2, 1, 1, 1, 2, 6, 15, 28, 25, 15, 12, 14, 16, 14, 13, 15, 20, 28, 30, 25, 18, 13, 8, 4],
    [3, 2, 1, 1, 1, 2, 5, 9, 14, 19, 22, 22, 20, 18, 18, 19, 20, 21, 21, 18, 15, 12, 9, 5],
];
const HOSPITAL: [[u8; 24]; 2] = [
    [6, 5, 5, 5, 6, 10, 20, 30, 35, 40, 40, 38, 35, 36, 40, 40, 35, 30, 28, 25, 18, 14, 10, 7],
    [4, 4, 4, 4, 4, 7, 14, 21, 25, 28, 28, 27, 25, 25, 28, 28, 25, 21, 20, 18, 13, 10, 7, 5],
];

/// Visits that can wait are made in these hours of the day, local time, if there is one of them before the deadline.
const VISITING_HOURS: std::ops::Range<i8> = 7..21;
/// The farthest ahead that a visit is planned.
const MAX_AHEAD: Duration = Duration::from_hours(24 * 14);
/// From how many closed tickets on their times out are believed.
const MIN_CASES: usize = 5;
/// Without those: what passes besides the repair, until somebody is there and the right part is. Our choice.
pub const USUAL_WAIT: Duration = Duration::from_hours(4);
const HOUR: Duration = Duration::from_hours(1);

/// How long a device is expected to be out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOut {
    /// How long.
    pub expected: Duration,
    /// The number of closed tickets whose median it is; `None`: it is the time of the repair and [`USUAL_WAIT`].
    pub cases: Option<usize>,
}

/// When a visit disturbs the fewest people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Its beginning, a full hour.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// How many people would take the device in it.
    pub people: f64,
}

/// A site's people, and what else takes them.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// Who uses the site's devices.
    pub used: SiteUse,
    /// The site's time zone.
    pub zone: TimeZone,
    /// Other devices of the same profile at the site that are in service.
    pub alternatives: u32,
}

impl Crowd {
    /// How many people would take the device in the hour that this time lies in: all who move at the site, spread evenly
    /// over the devices that run.
    #[must_use]
    pub fn people_per_hour(&self, at: Timestamp) -> f64 {
        let local = self.zone.to_datetime(at.to_jiff());
        let day_off = matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday);
        let curve = match self.used.traffic {
            Traffic::Office => &OFFICE,
            Traffic::Residential => &RESIDENTIAL,
            Traffic::Hospital => &HOSPITAL,
        };
        let share = curve[usize::from(day_off)].get(usize::try_from(local.hour()).unwrap_or(0)).copied().unwrap_or(0);
        f64::from(self.used.population) * f64::from(share) / 100.0 / f64::from(self.alternatives + 1)
    }

    /// How many would take it from one time to another, somebody who comes twice counted twice.
    #[must_use]
    pub fn people_between(&self, from: Timestamp, to: Timestamp) -> f64 {
        let mut at = from;
        let mut people = 0.0;
        while at < to {
            // Half-hour zones have their hours elsewhere; the error is half an hour at most.
            let end = (full_hour(at) + HOUR).min(to);
            people += self.people_per_hour(at) * end.since(at).as_secs_f64() / HOUR.as_secs_f64();
            at = end;
        }
        people
    }

    /// The hours with the fewest people for a visit of this length that is over by the deadline; by day if that can be, the
    /// earliest if several are equal. `None` if there is no time for it.
    #[must_use]
    pub fn best_visit(&self, takes: Duration, now: Timestamp, deadline: Timestamp) -> Option<Window> {
        let takes = HOUR * u32::try_from(takes.as_secs().div_ceil(3600).max(1)).ok()?;
        let end = deadline.min(now + MAX_AHEAD);
        let mut best: Option<(bool, Window)> = None;
        let mut from = full_hour(now) + HOUR;
        while from + takes <= end {
            let to = from + takes;
            let window = Window { from, to, people: self.people_between(from, to) };
            let by_day = self.is_by_day(from) && self.is_by_day(to - Duration::from_secs(1));
            let better = |(was_by_day, was): &(bool, Window)| {
                (by_day && !was_by_day) || (by_day == *was_by_day && window.people < was.people - 1e-9)
            };
            if best.as_ref().is_none_or(better) {
                best = Some((by_day, window));
            }
            from = from + HOUR;
        }
        best.map(|(_, window)| window)
    }

    fn is_by_day(&self, at: Timestamp) -> bool {
        VISITING_HOURS.contains(&self.zone.to_datetime(at.to_jiff()).hour())
    }
}

fn full_hour(at: Timestamp) -> Timestamp {
    let hour = i64::try_from(HOUR.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.as_micros() - at.as_micros().rem_euclid(hour))
}

/// How long a device is expected to be out: the median of earlier cases if there are enough, otherwise the time of the
/// repair and [`USUAL_WAIT`].
#[must_use]
pub fn time_out(mut earlier: Vec<Duration>, repair: Duration) -> TimeOut {
    if earlier.len() < MIN_CASES {
        return TimeOut { expected: repair + USUAL_WAIT, cases: None };
    }
    earlier.sort_unstable();
    let middle = earlier.len() / 2;
    let median = match (earlier.len().is_multiple_of(2), earlier.get(middle.saturating_sub(1)), earlier.get(middle)) {
        (true, Some(below), Some(above)) => (*below + *above) / 2,
        (_, _, Some(middle)) => *middle,
        (_, _, None) => repair + USUAL_WAIT,
    };
    TimeOut { expected: median, cases: Some(earlier.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(traffic: Traffic, alternatives: u32) -> Crowd {
        let used = SiteUse { population: 1000, traffic, vulnerable: 10 };
        Crowd { used, zone: TimeZone::get("Asia/Shanghai").unwrap(), alternatives }
    }

    /// 2026-03-02 is a Monday; Shanghai is 8 hours ahead.
    fn local(day: u32, hour: u32) -> Timestamp {
        let midnight: Timestamp = "2026-03-01T16:00:00Z".parse().unwrap();
        midnight + HOUR * (day * 24 + hour)
    }

    #[test]
    fn people_follow_the_site_s_own_clock_and_share_what_runs() {
        let office = crowd(Traffic::Office, 0);
        assert!((office.people_per_hour(local(0, 8)) - 450.0).abs() < 1e-9, "Monday at eight");
        assert!((office.people_per_hour(local(5, 8)) - 40.0).abs() < 1e-9, "Saturday");
        assert!((crowd(Traffic::Office, 2).people_per_hour(local(0, 8)) - 150.0).abs() < 1e-9, "two others run");
        assert!((crowd(Traffic::Residential, 0).people_per_hour(local(0, 18)) - 300.0).abs() < 1e-9);
        assert!(crowd(Traffic::Hospital, 0).people_per_hour(local(6, 3)) > 0.0, "a hospital never rests");
        // Half of eight o'clock, nine o'clock, a quarter of ten o'clock.
        let from = local(0, 8) + Duration::from_secs(1800);
        let people = office.people_between(from, local(0, 10) + Duration::from_secs(900));
        assert!((people - (225.0 + 300.0 + 50.0)).abs() < 1e-6, "{people}");
    }

    #[test]
    fn a_visit_comes_when_it_disturbs_the_fewest_and_in_time() {
        let office = crowd(Traffic::Office, 0);
        let at = |now, deadline| office.best_visit(Duration::from_secs(5000), now, deadline).map(|w| w.from);
        // Monday evening is the quietest time by day before Tuesday noon.
        assert_eq!(at(local(0, 9), local(1, 12)), Some(local(0, 19)));
        // The weekend comes first: all of it is quiet, its last hours are the quietest.
        assert_eq!(at(local(4, 12), local(7, 12)), Some(local(5, 19)));
        // Only the night is left.
        assert_eq!(at(local(0, 22), local(1, 4)), Some(local(1, 0)));
        assert_eq!(at(local(0, 9), local(0, 11)), None, "two full hours do not fit");
        assert_eq!(at(local(0, 9), local(0, 8)), None, "too late");
    }

    #[test]
    fn times_out_are_medians_once_there_are_enough() {
        let hours = |hours: &[u64]| hours.iter().map(|hours| Duration::from_hours(*hours)).collect::<Vec<_>>();
        let by_repair = TimeOut { expected: Duration::from_hours(6), cases: None };
        assert_eq!(time_out(hours(&[1, 1, 1, 1]), Duration::from_hours(2)), by_repair);
        let odd = TimeOut { expected: Duration::from_hours(3), cases: Some(5) };
        assert_eq!(time_out(hours(&[90, 1, 3, 2, 8]), Duration::from_hours(2)), odd);
        let even = TimeOut { expected: Duration::from_hours(4), cases: Some(6) };
        assert_eq!(time_out(hours(&[90, 1, 3, 2, 8, 5]), Duration::from_hours(2)), even);
    }
}
