//! Rows to learn from and to judge by: a unit at a moment, and when it failed next.

use std::time::Duration;

use model::Timestamp;

use crate::{
    history::{Course, Feature, Fleet, Happening, HistoryError, Measurement, Revision},
    learn::Table,
};

/// A unit at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The unit.
    pub unit: usize,
    /// Its group.
    pub group: usize,
    /// The moment.
    pub at: Timestamp,
    /// When it failed next, if it did. Never a feature.
    pub next_failure: Option<Timestamp>,
    /// When nobody was watching next, at the moment or later, if that happened: from then on it is not known what came of
    /// the unit. Never a feature.
    pub next_blind: Option<Timestamp>,
}

impl Sample {
    /// Whether it failed within `horizon` after the moment.
    #[must_use]
    pub fn failed_within(&self, horizon: Duration) -> bool {
        self.next_failure.is_some_and(|at| at.since(self.at) <= horizon)
    }

    /// Whether somebody was watching all through `horizon` after the moment: only then is the outcome known.
    #[must_use]
    pub fn is_watched_for(&self, horizon: Duration) -> bool {
        self.next_blind.is_none_or(|at| at.since(self.at) >= horizon)
    }
}

/// Something that was taken for a failure until it was found that nothing had been wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FalseAlarm {
    /// When the unit failed, as it seemed.
    pub from: Timestamp,
    /// When it was found that it had not.
    pub found: Timestamp,
}

/// Samples and their features, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The features' names and units.
    pub features: Vec<Feature>,
    /// The groups' names.
    pub groups: Vec<String>,
    /// The samples.
    pub rows: Vec<Sample>,
    /// Their features, row for row.
    pub table: Table,
    /// The false alarms of each unit; units without any may be left out at the end. Never a feature.
    pub false_alarms: Vec<Vec<FalseAlarm>>,
}

impl Samples {
    /// Walks through a history and takes every unit that can be scored at each of the moments. `fleet` is fresh;
    /// happenings and moments are in order of time.
    ///
    /// # Errors
    /// [`HistoryError`] if they are not, a moment comes twice, or an unknown unit is named.
    pub fn walk(fleet: Fleet, happenings: &[Happening], moments: &[Timestamp]) -> Result<Self, HistoryError> {
        let mut failures: Vec<Vec<Timestamp>> = vec![Vec::new(); fleet.units().len()];
        for happening in happenings {
            if happening.state.is_failure()
                && let Some(own) = failures.get_mut(happening.unit)
            {
                own.push(happening.at);
            }
        }
        let course = Course { happenings, failures: &failures };
        Self::walk_with(fleet, course, std::iter::empty(), std::iter::empty(), moments, |_, _| true)
    }

    /// The same, with what turned out to be wrong and daily means of channels, in order of time as well; of each moment, by its
    /// position, only the units that are wanted.
    ///
    /// # Errors
    /// As [`Samples::walk`].
    pub fn walk_with(
        mut fleet: Fleet,
        course: Course<'_>,
        revisions: impl Iterator<Item = Revision>,
        measurements: impl Iterator<Item = Measurement>,
        moments: &[Timestamp],
        takes: impl Fn(usize, usize) -> bool,
    ) -> Result<Self, HistoryError> {
        let features = Fleet::describe(fleet.schema());
        let groups = fleet.schema().groups.clone();
        let mut table = Table::new(features.len());
        let mut rows = Vec::new();
        let mut coming = course.happenings.iter().peekable();
        let mut revised = revisions.peekable();
        let mut measured = measurements.peekable();
        for (n, now) in moments.iter().enumerate() {
            if let Some(latest) = n.checked_sub(1).map(|before| moments[before]).filter(|latest| latest >= now) {
                return Err(HistoryError::Moment { now: *now, latest });
            }
            loop {
                let happens = coming.peek().map(|happening| happening.at).filter(|at| at <= now);
                let revises = revised.peek().map(|revision| revision.at).filter(|at| at <= now);
                let next = happens.into_iter().chain(revises).min();
                let due = |measured: &Measurement| measured.at <= *now && next.is_none_or(|at| measured.at < at);
                if let Some(measured) = measured.next_if(due) {
                    fleet.measure(&measured)?;
                } else if let Some(revision) = revised.next_if(|revision| Some(revision.at) == next) {
                    fleet.revise(&revision)?;
                } else if let Some(happening) = coming.next_if(|happening| happening.at <= *now) {
                    fleet.observe(happening)?;
                } else {
                    break;
                }
            }
            for known in fleet.features(*now)?.into_iter().filter(|known| takes(n, known.unit)) {
                let own = course.failures.get(known.unit).map(Vec::as_slice).unwrap_or_default();
                let next_failure = own.get(own.partition_point(|at| at <= now)).copied();
                let group = fleet.units()[known.unit].group;
                rows.push(Sample { unit: known.unit, group, at: *now, next_failure, next_blind: None });
                // The row has as many values as there are features: both come from one place.
                if table.push(&known.values).is_err() {
                    rows.pop();
                }
            }
        }
        Ok(Self { features, groups, rows, table, false_alarms: Vec::new() })
    }

    /// Marks the samples after which nobody was watching for a while. Spans are in order of time and do not overlap.
    pub fn set_blind(&mut self, spans: &[(Timestamp, Timestamp)]) {
        for sample in &mut self.rows {
            let next = spans.get(spans.partition_point(|(_, to)| *to <= sample.at));
            sample.next_blind = next.map(|(from, _)| (*from).max(sample.at));
        }
    }

    /// Whether a sample's unit failed within `horizon`, as it was known at a later moment: what was found to be a false alarm
    /// after that still counted.
    #[must_use]
    pub fn failed_as_known(&self, sample: &Sample, horizon: Duration, known_at: Timestamp) -> bool {
        let alarms = self.false_alarms.get(sample.unit).map(Vec::as_slice).unwrap_or_default();
        let counted = |alarm: &FalseAlarm| {
            alarm.found > known_at && alarm.from > sample.at && alarm.from.since(sample.at) <= horizon
        };
        sample.failed_within(horizon) || alarms.iter().any(counted)
    }

    /// The positions of samples that a test picks.
    pub fn positions(&self, pick: impl Fn(&Sample) -> bool) -> Vec<usize> {
        (0..self.rows.len()).filter(|n| pick(&self.rows[*n])).collect()
    }
}

/// The longest time without any happening between two moments, both counted as happenings. Times are sorted.
#[must_use]
pub fn longest_silence(times: &[Timestamp], from: Timestamp, to: Timestamp) -> Duration {
    let inside = times.partition_point(|at| *at <= from)..times.partition_point(|at| *at <= to);
    let mut last = from;
    let mut longest = Duration::ZERO;
    for at in times.get(inside).unwrap_or_default().iter().chain([&to]) {
        longest = longest.max(at.since(last));
        last = *at;
    }
    longest
}
