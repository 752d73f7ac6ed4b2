//! What is remembered of one unit.

use std::collections::VecDeque;

use super::{DAY, channel::Level, days, decay::Fading};

/// Half-lives of the failure counts, days.
pub(super) const FAILURE_HALF_LIVES: [f64; 8] = [0.25, 1.0, 3.0, 7.0, 14.0, 30.0, 90.0, 365.0];
/// Half-lives of the counts by kind, days.
pub(super) const KIND_HALF_LIVES: [f64; 3] = [7.0, 30.0, 180.0];
/// Half-lives of the hours out of service, days.
pub(super) const DOWN_HALF_LIVES: [f64; 3] = [7.0, 30.0, 180.0];
/// Windows in which failures are counted, days.
pub(super) const WINDOWS: [i64; 9] = [1, 3, 7, 14, 30, 60, 90, 180, 365];
/// The half-life of failures by time of day and at weekends, days.
pub(super) const BAND_HALF_LIFE: f64 = 90.0;
/// The half-life of repairs by length, days.
pub(super) const LENGTH_HALF_LIFES: [f64; 2] = [30.0, 180.0];
/// A repair up to this long is short, hours.
const SHORT_HOURS: f64 = 1.0;
/// A repair from this long on is long, hours.
const LONG_HOURS: f64 = 8.0;
/// How many failures are remembered one by one.
pub const RECENT: usize = 1024;
/// A unit is scored once it has been under watch for so many days.
pub const SEEN_DAYS: f64 = 30.0;
/// Gaps between failures shorter than this count as this, days.
const LEAST_GAP_DAYS: f64 = 600.0 / 86_400.0;
/// Added to every repair before its logarithm is taken, hours.
const LEAST_REPAIR_HOURS: f64 = 0.1;
/// Over how many repairs the usual length is taken.
const REPAIRS: usize = 5;
/// The half-life of failures by weekday, days.
const WEEKDAY_HALF_LIFE: f64 = 120.0;
/// Over how many gaps the usual gap is taken.
pub(super) const GAPS: usize = 10;

/// The state a unit entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In service.
    Up,
    /// Out of service.
    Down {
        /// Whether it failed, or was taken out on purpose.
        broken: bool,
        /// Whether this is a new failure; what is learnt to foresee.
        failure: bool,
        /// The kinds of it: bit `n` for the schema's kind `n`.
        kinds: u32,
    },
    /// The last state ended and nothing was heard since.
    Unknown,
}

impl State {
    /// Whether a new failure begins.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Down { failure: true, .. })
    }
}

/// Fading counts of one kind, and when it was last.
#[derive(Debug, Clone, Default)]
pub(super) struct Kind {
    pub(super) counts: [Fading; 3],
    pub(super) last: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) first: Option<i64>,
    pub(super) state: State,
    pub(super) since: i64,
    pub(super) failures: [Fading; 8],
    /// Times of the last failures, oldest first.
    pub(super) recent: VecDeque<i64>,
    pub(super) total: u64,
    pub(super) kinds: Vec<Kind>,
    pub(super) down_hours: [Fading; 3],
    pub(super) broken_hours: Fading,
    pub(super) short: Fading,
    pub(super) long: [Fading; 2],
    pub(super) last_hours: Option<f64>,
    /// Logarithms of the hours of the last repairs, oldest first.
    pub(super) repairs: VecDeque<f64>,
    /// The kinds of the last failure.
    pub(super) last_kinds: u32,
    pub(super) last_fix: Option<i64>,
    pub(super) last_off: Option<i64>,
    /// Failures from 0, 8 and 16 o'clock UTC on.
    pub(super) bands: [Fading; 3],
    pub(super) weekend: Fading,
    pub(super) failure_days: Fading,
    /// Of the schema's channels.
    pub(super) levels: Vec<Level>,
}

impl Unit {
    pub(super) fn new(kinds: usize, channels: usize) -> Self {
        Self {
            first: None,
            state: State::Unknown,
            since: 0,
            failures: Default::default(),
            recent: VecDeque::new(),
            total: 0,
            kinds: vec![Kind::default(); kinds],
            down_hours: Default::default(),
            broken_hours: Fading::default(),
            short: Fading::default(),
            long: Default::default(),
            last_hours: None,
            repairs: VecDeque::with_capacity(REPAIRS),
            last_kinds: 0,
            last_fix: None,
            last_off: None,
            bands: Default::default(),
            weekend: Fading::default(),
            failure_days: Fading::default(),
            levels: vec![Level::default(); channels],
        }
    }

    pub(super) fn enter(&mut self, at: i64, state: State) {
        // The same row twice, as in a day that was delivered twice, is one change of state.
        if self.first.is_some() && (self.since, self.state) == (at, state) {
            return;
        }
        self.first.get_or_insert(at);
        self.leave(at);
        match state {
            State::Up => {
                if matches!(self.state, State::Down { broken: true, .. }) {
                    self.last_fix = Some(at);
                }
            }
            State::Down { broken, failure, kinds } => {
                if failure && (self.recent.back() != Some(&at) || self.last_kinds != kinds) {
                    self.last_kinds = kinds;
                    self.fail(at);
                }
                if !broken && self.state == State::Up {
                    self.last_off = Some(at);
                }
                let named = |n: &usize| kinds >> n & 1 == 1;
                for (n, kind) in self.kinds.iter_mut().enumerate().filter(|(n, kind)| named(n) && kind.last != Some(at))
                {
                    debug_assert!(n < 32);
                    kind.last = Some(at);
                    for (count, half_life) in kind.counts.iter_mut().zip(KIND_HALF_LIVES) {
                        count.add(at, 1.0, half_life);
                    }
                }
            }
            State::Unknown => {}
        }
        (self.state, self.since) = (state, at);
    }

    /// Books the hours of the state that ends.
    fn leave(&mut self, at: i64) {
        let State::Down { broken, .. } = self.state else { return };
        let hours = days(at - self.since) * 24.0;
        for (sum, half_life) in self.down_hours.iter_mut().zip(DOWN_HALF_LIVES) {
            sum.add(at, hours, half_life);
        }
        if broken {
            self.last_hours = Some(hours);
            if self.repairs.len() == REPAIRS {
                self.repairs.pop_front();
            }
            self.repairs.push_back((hours + LEAST_REPAIR_HOURS).ln());
            self.broken_hours.add(at, hours, DOWN_HALF_LIVES[1]);
            if hours < SHORT_HOURS {
                self.short.add(at, 1.0, LENGTH_HALF_LIFES[0]);
            }
            if hours > LONG_HOURS {
                for (count, half_life) in self.long.iter_mut().zip(LENGTH_HALF_LIFES) {
                    count.add(at, 1.0, half_life);
                }
            }
        }
    }

    fn fail(&mut self, at: i64) {
        for (count, half_life) in self.failures.iter_mut().zip(FAILURE_HALF_LIVES) {
            count.add(at, 1.0, half_life);
        }
        let (day, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
        if self.recent.back().is_none_or(|last| last.div_euclid(DAY) != day) {
            self.failure_days.add(at, 1.0, BAND_HALF_LIFE);
        }
        let band = (time * 3 / DAY) as usize;
        self.bands[band.min(2)].add(at, 1.0, BAND_HALF_LIFE);
        // Day 0 was a Thursday.
        if matches!((day + 3).rem_euclid(7), 5 | 6) {
            self.weekend.add(at, 1.0, BAND_HALF_LIFE);
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        self.total += 1;
    }

    pub(super) fn seen_days(&self, now: i64) -> f64 {
        self.first.map_or(-1.0, |first| days(now - first))
    }

    /// Whether it is in service and known for long enough to be scored.
    pub(super) fn ready(&self, now: i64) -> bool {
        self.state == State::Up && self.seen_days(now) >= SEEN_DAYS
    }

    /// Failures in the last days.
    pub(super) fn count(&self, now: i64, window_days: i64) -> usize {
        let from = now - window_days * DAY;
        self.recent.len() - self.recent.partition_point(|at| *at <= from)
    }

    /// Days since the `n`-th last failure, from 1 on.
    pub(super) fn since_failure(&self, now: i64, n: usize) -> Option<f64> {
        let at = self.recent.get(self.recent.len().checked_sub(n)?)?;
        Some(days(now - at))
    }

    /// The mean logarithm of the hours of the last repairs; `None` before the first.
    pub(super) fn usual_repair(&self) -> Option<f64> {
        (!self.repairs.is_empty()).then(|| self.repairs.iter().sum::<f64>() / self.repairs.len() as f64)
    }

    /// Failures that fade: those in the 24 h that lie whole weeks before the 24 h to come, and all.
    pub(super) fn same_weekday(&self, now: i64) -> (f64, f64) {
        let (mut same, mut all) = (0.0, 0.0);
        for at in &self.recent {
            let weight = (-days(now - at) / WEEKDAY_HALF_LIFE).exp2();
            all += weight;
            if (at - now).div_euclid(DAY).rem_euclid(7) == 0 {
                same += weight;
            }
        }
        (same, all)
    }

    /// The mean logarithm of the last gaps between failures, days; `None` with fewer than three failures.
    pub(super) fn usual_gap(&self) -> Option<f64> {
        let first = self.recent.len().saturating_sub(GAPS + 1);
        let times: Vec<i64> = self.recent.iter().skip(first).copied().collect();
        if times.len() < 3 {
            return None;
        }
        let logs = times.windows(2).map(|pair| days(pair[1] - pair[0]).max(LEAST_GAP_DAYS).ln());
        Some(logs.sum::<f64>() / (times.len() - 1) as f64)
    }
}
