//! A hub's own history: what its store tells of units, and the samples that failure models learn and forecast from.

use model::Timestamp;

use super::{Fleet, Happening, HistoryError, Means, State, columns::Feature};
use crate::risk::Samples;

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
}

/// What a hub knows of the units of one profile. Training and forecasting both read it through [`History::samples`].
#[derive(Debug, Clone)]
pub struct History {
    /// The units, without history yet.
    pub fleet: Fleet,
    /// Their changes of state, in order of time.
    pub happenings: Vec<Happening>,
    /// Daily means of their channels.
    pub means: Means,
    /// When nobody was watching, in order of time: what came of units then teaches nothing and is not scored.
    pub blind: Vec<(Timestamp, Timestamp)>,
}

impl History {
    /// From what a store tells. `begun` says for each unit when it was registered. What comes twice counts once.
    #[must_use]
    pub fn of(fleet: Fleet, begun: &[Timestamp], incidents: Vec<Incident>, means: Means) -> Self {
        Self { fleet, happenings: happenings(begun, incidents), means, blind: Vec::new() }
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
        let fleet = self.fleet.clone();
        let mut samples = Samples::walk_with(fleet, &self.happenings, self.means.iter(), moments, takes)?;
        samples.set_blind(&self.blind);
        Ok(samples)
    }

    /// The names of the features that samples have, and those of the groups: what a model must have been trained on.
    #[must_use]
    pub fn features(&self) -> (Vec<Feature>, Vec<String>) {
        (Fleet::describe(self.fleet.schema()), self.fleet.schema().groups.clone())
    }
}

/// Turns incidents into changes of state. Failures that overlap are one, however many tell of it: the first one counts,
/// the unit is in service again when the last of them is over.
fn happenings(begun: &[Timestamp], mut incidents: Vec<Incident>) -> Vec<Happening> {
    incidents.sort_unstable();
    incidents.dedup();
    let mut all = Vec::with_capacity(begun.len() + incidents.len() * 2);
    let mut rest = incidents.as_slice();
    for (unit, begun) in begun.iter().enumerate() {
        let own = rest.split_at(rest.partition_point(|incident| incident.unit <= unit));
        rest = own.1;
        let first = own.0.first().map_or(*begun, |incident| incident.from.min(*begun));
        all.push(Happening { unit, at: first, state: State::Up });
        unit_happenings(unit, own.0, &mut all);
    }
    all.sort_by_key(|happening| happening.at);
    all
}

/// The ends that lie before a moment come before its beginnings, those of what begins then after them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    EndOfEarlier,
    Begin,
    EndAtOnce,
}

fn unit_happenings(unit: usize, own: &[Incident], all: &mut Vec<Happening>) {
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
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Schema, UnitInfo},
        *,
    };

    fn t(hour: i64) -> Timestamp {
        Timestamp::from_secs(hour * 3600)
    }

    fn incident(unit: usize, from: i64, to: Option<i64>, failure: bool, kind: u32) -> Incident {
        Incident { unit, from: t(from), to: to.map(t), failure, kind }
    }

    fn told(begun: &[i64], incidents: Vec<Incident>) -> Vec<String> {
        let begun: Vec<Timestamp> = begun.iter().map(|hour| t(*hour)).collect();
        happenings(&begun, incidents)
            .iter()
            .map(|h| {
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
            })
            .collect()
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

    /// Units that nothing ever happens to.
    fn quiet(units: usize) -> History {
        let kinds = vec!["trip".to_owned()];
        let groups = vec!["fan".to_owned()];
        let mut fleet = Fleet::new(Schema { groups, kinds, tags: Vec::new(), channels: Vec::new() }).unwrap();
        for n in 0..units {
            let (name, site) = (format!("fan-{n}"), "north".to_owned());
            fleet.add(UnitInfo { name, group: 0, site, area: String::new(), tags: Vec::new() }).unwrap();
        }
        History::of(fleet, &vec![t(0); units], Vec::new(), Means::default())
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
}
