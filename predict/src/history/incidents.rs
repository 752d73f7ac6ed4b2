//! A hub's own history: what its store tells of units, and the samples that failure models learn and forecast from.

use std::collections::HashMap;

use model::Timestamp;

use super::{Course, Fleet, Happening, HistoryError, Means, Revision, State, columns::Feature};
use crate::risk::{FalseAlarm, Samples};

/// A stretch of time in which something was the matter with a unit, or a moment at which somebody saw to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incident {
    /// The unit, as [`Fleet::add`] numbered it.
    pub unit: usize,
    /// From when; the moment at which the hub learnt of it.
    pub from: Timestamp,
    /// Until when; `None` while it goes on. Not later than `from`: it was over at once.
    pub to: Option<Timestamp>,
    /// Whether the unit has failed, or was only seen to.
    pub failure: bool,
    /// Its kind, by position in the schema.
    pub kind: u32,
    /// When the hub learnt that nothing had been wrong: a failure until then, and from then on none that ever was.
    pub false_alarm: Option<Timestamp>,
}

/// What a hub knows of the units of one profile. Training and forecasting both read it through [`History::samples`].
#[derive(Debug, Clone)]
pub struct History {
    /// The units, without history yet.
    pub fleet: Fleet,
    /// Their changes of state, in order of time.
    pub happenings: Vec<Happening>,
    /// When each unit failed, in order of time; false alarms are left out.
    pub failures: Vec<Vec<Timestamp>>,
    /// The false alarms of each unit.
    pub false_alarms: Vec<Vec<FalseAlarm>>,
    /// Daily means of their channels.
    pub means: Means,
    /// When nobody was watching, in order of time: what came of units then teaches nothing and is not scored.
    pub blind: Vec<(Timestamp, Timestamp)>,
    /// When false alarms were found, in order of time, and on which unit.
    found: Vec<(Timestamp, usize)>,
    /// What is told of the units that had some.
    told: HashMap<usize, Told>,
}

/// What is told of a unit, true or not.
#[derive(Debug, Clone)]
struct Told {
    begun: Timestamp,
    incidents: Vec<Incident>,
}

impl History {
    /// From what a store tells. `begun` says for each unit when it was registered. What comes twice counts once.
    #[must_use]
    pub fn of(fleet: Fleet, begun: &[Timestamp], mut incidents: Vec<Incident>, means: Means) -> Self {
        incidents.sort_unstable();
        incidents.dedup();
        let mut happenings = Vec::with_capacity(begun.len() + incidents.len() * 2);
        let (mut failures, mut false_alarms) = (Vec::new(), Vec::new());
        let (mut found, mut told) = (Vec::new(), HashMap::new());
        let mut rest = incidents.as_slice();
        for (unit, begun) in begun.iter().enumerate() {
            let own;
            (own, rest) = rest.split_at(rest.partition_point(|incident| incident.unit <= unit));
            let mut own_found: Vec<Timestamp> = own.iter().filter_map(|incident| incident.false_alarm).collect();
            own_found.sort_unstable();
            own_found.dedup();
            failures.push(failed(&unit_course(unit, *begun, own, &own_found, &mut happenings)));
            if !own_found.is_empty() {
                told.insert(unit, Told { begun: *begun, incidents: own.to_vec() });
                found.extend(own_found.into_iter().map(|at| (at, unit)));
            }
            let alarm = |incident: &Incident| {
                Some(FalseAlarm { from: incident.from, found: incident.false_alarm.filter(|_| incident.failure)? })
            };
            false_alarms.push(own.iter().filter_map(alarm).collect());
        }
        happenings.sort_by_key(|happening| happening.at);
        found.sort_unstable();
        Self { fleet, happenings, failures, false_alarms, means, blind: Vec::new(), found, told }
    }

    /// Where it turned out that a unit's past had been otherwise, in order of time. Each past is worked out when it is asked
    /// for: all of them at once would take much memory.
    fn revisions(&self) -> impl Iterator<Item = Revision> {
        self.found.iter().filter_map(|(at, unit)| {
            let Told { begun, incidents } = self.told.get(unit)?;
            let mut past = unit_happenings(*unit, *begun, &known(incidents, *at));
            past.truncate(past.partition_point(|happening| happening.at <= *at));
            Some(Revision { unit: *unit, at: *at, past })
        })
    }

    /// Every unit that can be scored at each of the moments, with its features as they were known then.
    ///
    /// # Errors
    /// [`HistoryError`] if the moments are not in order of time, or a unit or channel is unknown.
    pub fn samples(&self, moments: &[Timestamp]) -> Result<Samples, HistoryError> {
        self.samples_of(moments, 1)
    }

    /// The same, but for large fleets: of every moment but the last only each `one_in`-th unit, in turn, so that a smaller table
    /// tells of all units and days alike.
    ///
    /// # Errors
    /// As [`History::samples`].
    pub fn samples_of(&self, moments: &[Timestamp], one_in: usize) -> Result<Samples, HistoryError> {
        let one_in = one_in.max(1);
        let takes = |moment: usize, unit: usize| moment + 1 == moments.len() || (unit + moment).is_multiple_of(one_in);
        let course = Course { happenings: &self.happenings, failures: &self.failures };
        let (fleet, means) = (self.fleet.clone(), self.means.iter());
        let mut samples = Samples::walk_with(fleet, course, self.revisions(), means, moments, takes)?;
        samples.set_blind(&self.blind);
        samples.false_alarms.clone_from(&self.false_alarms);
        Ok(samples)
    }

    /// The names of the features that samples have, and those of the groups: what a model must have been trained on.
    #[must_use]
    pub fn features(&self) -> (Vec<Feature>, Vec<String>) {
        (Fleet::describe(self.fleet.schema()), self.fleet.schema().groups.clone())
    }
}

/// When a unit failed, by its changes of state.
fn failed(happenings: &[Happening]) -> Vec<Timestamp> {
    happenings.iter().filter(|happening| happening.state.is_failure()).map(|happening| happening.at).collect()
}

/// The incidents that count at a time: those of which it was not found by then that they were none.
fn known(incidents: &[Incident], at: Timestamp) -> Vec<Incident> {
    incidents.iter().filter(|incident| incident.false_alarm.is_none_or(|found| found > at)).copied().collect()
}

/// Turns a unit's incidents into changes of state as they were known at each time: from when a false alarm was found, the
/// course goes on without it. Returns them as they are known in the end.
fn unit_course(
    unit: usize,
    begun: Timestamp,
    own: &[Incident],
    found: &[Timestamp],
    happenings: &mut Vec<Happening>,
) -> Vec<Happening> {
    let (mut course, mut told) = (unit_happenings(unit, begun, own), 0);
    for at in found {
        let before = course.partition_point(|happening| happening.at < *at);
        happenings.extend_from_slice(&course[told..before.max(told)]);
        course = unit_happenings(unit, begun, &known(own, *at));
        // What lies before is told by the revision.
        told = course.partition_point(|happening| happening.at <= *at);
    }
    happenings.extend_from_slice(&course[told..]);
    course
}

/// The ends that lie before a moment come before its beginnings, those of what begins then after them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    EndOfEarlier,
    Begin,
    EndAtOnce,
}

/// Turns incidents into changes of state. Failures that overlap are one, however many tell of it: the first one counts,
/// the unit is in service again when the last of them is over.
fn unit_happenings(unit: usize, begun: Timestamp, own: &[Incident]) -> Vec<Happening> {
    let first = own.first().map_or(begun, |incident| incident.from.min(begun));
    let mut all = vec![Happening { unit, at: first, state: State::Up }];
    let mut steps: Vec<(Timestamp, Step, usize)> = Vec::with_capacity(own.len() * 2);
    for (n, incident) in own.iter().enumerate() {
        steps.push((incident.from, Step::Begin, n));
        // A visit is a moment: nobody knows how long it kept the unit.
        match incident.to.filter(|_| incident.failure) {
            Some(to) if to > incident.from => steps.push((to, Step::EndOfEarlier, n)),
            Some(_) => steps.push((incident.from, Step::EndAtOnce, n)),
            None => {}
        }
    }
    steps.sort_unstable();
    let mut open = 0usize;
    for group in steps.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (at, step, _) = group[0];
        let incidents = || group.iter().map(|(.., n)| &own[*n]);
        let failures = incidents().filter(|incident| incident.failure).count();
        let state = match step {
            Step::Begin => {
                let kinds =
                    incidents().fold(0u32, |bits, incident| bits | 1u32.checked_shl(incident.kind).unwrap_or(0));
                let (new, broken) = (open == 0 && failures > 0, open > 0 || failures > 0);
                open += failures;
                Some(State::Down { broken, failure: new, kinds })
            }
            Step::EndOfEarlier | Step::EndAtOnce => {
                open = open.saturating_sub(failures);
                (open == 0).then_some(State::Up)
            }
        };
        all.extend(state.map(|state| Happening { unit, at, state }));
        if step == Step::Begin && open == 0 {
            all.push(Happening { unit, at, state: State::Up });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Measurement, Schema, UnitInfo},
        *,
    };

    fn t(hour: i64) -> Timestamp {
        Timestamp::from_secs(hour * 3600)
    }

    fn incident(unit: usize, from: i64, to: Option<i64>, failure: bool, kind: u32) -> Incident {
        Incident { unit, from: t(from), to: to.map(t), failure, kind, false_alarm: None }
    }

    fn found(at: i64, incident: Incident) -> Incident {
        Incident { false_alarm: Some(t(at)), ..incident }
    }

    fn told(begun: &[i64], incidents: Vec<Incident>) -> Vec<String> {
        history(begun, incidents).happenings.iter().map(line).collect()
    }

    fn line(h: &Happening) -> String {
        let hour = h.at.as_millis() / 3_600_000;
        match h.state {
            State::Up => format!("{} {hour} up", h.unit),
            State::Down { broken, failure, kinds } => {
                let word = if failure {
                    "fails"
                } else if broken {
                    "down"
                } else {
                    "seen to"
                };
                format!("{} {hour} {word} {kinds:b}", h.unit)
            }
            State::Unknown => format!("{} {hour} unknown", h.unit),
        }
    }

    #[test]
    fn overlapping_failures_are_one_and_end_with_the_last() {
        let all = vec![
            incident(0, 10, Some(14), true, 0),
            incident(0, 12, Some(20), true, 1),
            incident(0, 20, Some(21), true, 0),
        ];
        let found = told(&[0], all);
        assert_eq!(found, ["0 0 up", "0 10 fails 1", "0 12 down 10", "0 20 up", "0 20 fails 1", "0 21 up"]);
    }

    #[test]
    fn alerts_of_one_moment_are_one_failure_of_both_kinds_and_twins_count_once() {
        let twin = incident(0, 5, Some(6), true, 2);
        assert_eq!(
            told(&[0], vec![twin, twin, incident(0, 5, Some(7), true, 0)]),
            ["0 0 up", "0 5 fails 101", "0 7 up"]
        );
    }

    fn history(begun: &[i64], incidents: Vec<Incident>) -> History {
        let kinds = ["trip", "jam", "visit"].map(ToOwned::to_owned).to_vec();
        let (groups, channels) = (vec!["fan".to_owned()], vec!["heat".to_owned()]);
        let mut fleet = Fleet::new(Schema { groups, kinds, channels, ..Schema::default() }).unwrap();
        let mut means = Means::default();
        for unit in 0..begun.len() {
            let (name, site) = (format!("fan-{unit}"), "north".to_owned());
            fleet.add(UnitInfo { name, group: 0, site, area: String::new(), tags: Vec::new() }).unwrap();
            for day in 0..100 {
                let mean = ((day * 7 + unit as i64) % 5) as f64;
                means.push(Measurement { unit, channel: 0, at: t(day * 24), mean });
            }
        }
        let begun: Vec<Timestamp> = begun.iter().map(|hour| t(*hour)).collect();
        History::of(fleet, &begun, incidents, means)
    }

    /// Units that nothing ever happens to.
    fn quiet(units: usize) -> History {
        history(&vec![0; units], Vec::new())
    }

    #[test]
    fn days_on_which_nobody_watched_are_told_by_horizon() {
        let blind = vec![(t(40 * 24 + 12), t(41 * 24 + 12)), (t(60 * 24), t(60 * 24 + 6))];
        let history = History { blind, ..quiet(1) };
        let moments: Vec<Timestamp> = (35..64).map(|day| t(day * 24)).collect();
        let samples = history.samples(&moments).unwrap();
        let left_out = |days: u64| -> Vec<i64> {
            let horizon = std::time::Duration::from_hours(24 * days);
            let rows = samples.rows.iter().filter(|sample| !sample.is_watched_for(horizon));
            rows.map(|sample| sample.at.as_millis() / 86_400_000).collect()
        };
        assert_eq!(left_out(1), [40, 41, 60]);
        assert_eq!(left_out(3), [38, 39, 40, 41, 58, 59, 60]);
    }

    #[test]
    fn of_many_units_each_has_its_turn_and_all_are_there_at_the_last_moment() {
        let history = quiet(7);
        let moments: Vec<Timestamp> = (35..64).map(|day| t(day * 24)).collect();
        let (all, taken) = (history.samples(&moments).unwrap(), history.samples_of(&moments, 3).unwrap());
        let days = |unit: usize| taken.rows.iter().filter(|row| row.unit == unit).count();
        assert!((0..7).all(|unit| (10..=11).contains(&days(unit))), "{:?}", (0..7).map(days).collect::<Vec<_>>());
        assert_eq!(taken.rows[taken.rows.len() - 7..], all.rows[all.rows.len() - 7..]);
        let bits = |samples: &Samples, n: usize| samples.table.row(n).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        for (n, row) in taken.rows.iter().enumerate() {
            let same = all.rows.iter().position(|other| other == row).unwrap();
            assert_eq!(bits(&taken, n), bits(&all, same));
        }
    }

    #[test]
    fn what_goes_on_keeps_the_unit_down_and_visits_are_moments() {
        let all = vec![
            incident(1, 3, Some(3), true, 1),
            incident(0, 5, None, false, 2),
            incident(0, 8, None, true, 0),
            incident(0, 9, Some(30), false, 2),
        ];
        let found = told(&[0, 4], all);
        assert_eq!(
            found,
            ["0 0 up", "1 3 up", "1 3 fails 10", "1 3 up", "0 5 seen to 100", "0 5 up", "0 8 fails 1", "0 9 down 100"]
        );
    }

    #[test]
    fn a_false_alarm_is_a_failure_until_it_is_found_and_then_none_that_ever_was() {
        let all = vec![
            found(30, incident(0, 10, None, true, 0)),
            incident(0, 20, Some(22), true, 1),
            incident(0, 40, Some(41), true, 0),
            found(50, incident(0, 41, Some(44), true, 1)),
        ];
        let history = history(&[0], all);
        let told: Vec<_> = history.happenings.iter().map(line).collect();
        // What began during the false alarm counts from its own beginning, once that is known.
        assert_eq!(
            told,
            ["0 0 up", "0 10 fails 1", "0 20 down 10", "0 40 fails 1", "0 41 up", "0 41 fails 10", "0 44 up"]
        );
        let revisions: Vec<Revision> = history.revisions().collect();
        let past = |n: usize| revisions[n].past.iter().map(line).collect::<Vec<_>>();
        assert_eq!(revisions.iter().map(|revision| revision.at).collect::<Vec<_>>(), [t(30), t(50)]);
        assert_eq!(past(0), ["0 0 up", "0 20 fails 10", "0 22 up"]);
        assert_eq!(past(1), ["0 0 up", "0 20 fails 10", "0 22 up", "0 40 fails 1", "0 41 up"]);
        assert_eq!(history.failures, [[t(20), t(40)]]);
        let alarms: Vec<_> = history.false_alarms[0].iter().map(|alarm| (alarm.from, alarm.found)).collect();
        assert_eq!(alarms, [(t(10), t(30)), (t(41), t(50))]);
    }

    fn bits(samples: &Samples, n: usize) -> Vec<u32> {
        samples.table.row(n).iter().map(|value| value.to_bits()).collect()
    }

    /// Features at each moment are those of a hub that had loaded its history then: found out later, nothing changes; found
    /// out before, it is as if nothing had been.
    #[test]
    fn features_know_of_a_false_alarm_from_when_it_was_found() {
        let day = |day: i64, hour: i64| day * 24 + hour;
        let true_ones = [
            incident(0, day(20, 3), Some(day(21, 0)), true, 0),
            incident(1, day(40, 3), Some(day(40, 9)), true, 1),
            incident(0, day(52, 3), Some(day(52, 7)), true, 0),
        ];
        let alarms = [
            (day(45, 12), incident(0, day(38, 1), Some(day(39, 0)), true, 1)),
            (day(48, 0), incident(1, day(47, 5), None, true, 0)),
            // Between two moments: nobody ever saw it.
            (day(50, 23), incident(0, day(50, 2), Some(day(50, 5)), true, 0)),
        ];
        let until = |last: i64| {
            let known = |incident: &Incident| incident.from <= t(last);
            let alarms = alarms.iter().map(|(at, alarm)| if *at <= last { found(*at, *alarm) } else { *alarm });
            history(&[0, 0, 0], true_ones.into_iter().chain(alarms).filter(known).collect())
        };
        let moments = |last: i64| (35..=last).map(|day| t(day * 24)).collect::<Vec<_>>();
        let whole = until(day(60, 0)).samples(&moments(60)).unwrap();
        let rows = |samples: &Samples, at: Timestamp| -> Vec<(usize, Vec<u32>)> {
            samples
                .positions(|row| row.at == at)
                .into_iter()
                .map(|n| (samples.rows[n].unit, bits(samples, n)))
                .collect()
        };
        for last in 35..=60 {
            let live = until(day(last, 0)).samples(&moments(last)).unwrap();
            let now = t(day(last, 0));
            assert!(rows(&live, now) == rows(&whole, now), "day {last}");
        }
        let never = history(&[0, 0, 0], true_ones.to_vec()).samples(&moments(60)).unwrap();
        let same = |last: i64| rows(&whole, t(day(last, 0))) == rows(&never, t(day(last, 0)));
        let differ: Vec<i64> = (35..=60).filter(|last| !same(*last)).collect();
        assert_eq!(differ, (39..=45).collect::<Vec<_>>(), "one was looked at on seven days, the others never");
        // Outcomes are those without them, whenever the moment was.
        let outcome = |samples: &Samples| samples.rows.iter().map(|row| row.next_failure).collect::<Vec<_>>();
        let all: Vec<_> = whole.rows.iter().map(|row| (row.unit, row.at)).collect();
        assert!(all.len() > 70);
        for (n, row) in never.rows.iter().enumerate() {
            if let Some(at) = all.iter().position(|known| *known == (row.unit, row.at)) {
                assert_eq!(outcome(&whole)[at], outcome(&never)[n]);
            }
        }
    }

    #[test]
    fn outcomes_are_told_as_they_were_known() {
        let alarm = found(50 * 24, incident(0, 40 * 24 + 5, Some(40 * 24 + 9), true, 0));
        let samples = history(&[0], vec![alarm]).samples(&[t(39 * 24), t(40 * 24), t(41 * 24)]).unwrap();
        let horizon = std::time::Duration::from_hours(24);
        let known_on = |day: i64| -> Vec<bool> {
            samples.rows.iter().map(|row| samples.failed_as_known(row, horizon, t(day * 24))).collect()
        };
        assert_eq!((known_on(49), known_on(50)), (vec![false, true, false], vec![false; 3]));
        assert!(samples.rows.iter().all(|row| !row.failed_within(horizon)));
    }
}
