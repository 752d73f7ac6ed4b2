//! What is kept of the last minutes, hours or days of a device: windows over values and conditions, and sequences.
//!
//! A window is kept in sixteenths of its length, counted from the epoch, so that its memory is bounded and its answer
//! depends on event time alone. It spans the running sixteenth and the fifteen before it: never more than its length,
//! and at most a sixteenth less.

use serde::{Deserialize, Serialize};

use crate::program::{Moment, Number};

/// How many parts a window is kept in.
pub(crate) const PARTS: i64 = 16;
/// Of each sixteenth of a percentile's window this many values count, the first ones.
const SAMPLES: usize = 8;
/// How many sixteenths a baseline needs before it is one.
const BASELINE_PARTS: usize = 8;
const NEVER: i64 = i64::MIN;

/// What a window tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The mean of the values that came.
    Average,
    /// The least of them.
    Least,
    /// The greatest of them.
    Greatest,
    /// From the first of them to the last, per second.
    Rate,
    /// By how much a counter rose; a value below the last one is a counter that began again at zero.
    Increase,
    /// The value that so many per cent do not exceed.
    Percentile(f64),
    /// The mean without the running sixteenth, once half of the window has values: the device's own normal.
    Baseline,
    /// The median of the other devices' means: see [`crate::peers`].
    Peers,
    /// How often something happened or became true.
    Count,
    /// For how many seconds a condition was known to hold.
    TimeIn,
}

impl Kind {
    /// The function's name in expressions.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Average => "avg",
            Self::Least => "min",
            Self::Greatest => "max",
            Self::Rate => "rate",
            Self::Increase => "increase",
            Self::Percentile(_) => "percentile",
            Self::Baseline => "baseline",
            Self::Peers => "peers",
            Self::Count => "count",
            Self::TimeIn => "time_in",
        }
    }
}

/// What a window is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// A number, looked at whenever one of its channels gets a value.
    Number(Number),
    /// An event, or a condition that is followed.
    Moment(Moment),
}

/// A window as a rule asks for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowSpec {
    pub(crate) kind: Kind,
    pub(crate) of: Source,
    pub(crate) span_us: i64,
}

impl WindowSpec {
    fn width(&self) -> i64 {
        (self.span_us / PARTS).max(1)
    }

    fn part(&self, at: i64) -> i64 {
        at.div_euclid(self.width())
    }
}

/// A sixteenth of a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Part {
    index: i64,
    count: u32,
    /// By kind: the sum, the least, the greatest, the first value, the rise, or microseconds.
    value: f64,
    /// When the first value came.
    first: i64,
}

/// What is kept of a window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Window {
    parts: Vec<Part>,
    /// The last value and when it came.
    last: Option<(f64, i64)>,
    /// Since when the condition holds.
    since: Option<i64>,
    /// The values of a percentile, with the sixteenth they came in.
    samples: Vec<(i64, f64)>,
    /// What the peers told, by the running sixteenth.
    peers: Option<f64>,
}

impl Window {
    /// The running sixteenth if nothing came in it yet, and the mean of those before it if there is one.
    pub(crate) fn begins(&self, spec: &WindowSpec, now: i64) -> Option<(i64, Option<f64>)> {
        let index = spec.part(now);
        if self.parts.iter().any(|part| part.index >= index) {
            return None;
        }
        Some((index, mean(self.parts.iter().filter(|part| part.index > index - PARTS))))
    }

    /// Takes what the peers told.
    pub(crate) fn set_peers(&mut self, median: Option<f64>) {
        self.peers = median;
    }

    /// Takes a value.
    pub(crate) fn feed(&mut self, spec: &WindowSpec, value: f64, now: i64) {
        let index = spec.part(now);
        self.forget(index);
        if let Kind::Percentile(_) = spec.kind {
            if self.samples.iter().filter(|(part, _)| *part == index).count() < SAMPLES {
                self.samples.push((index, value));
            }
            return;
        }
        let rise = match self.last.replace((value, now)) {
            Some((last, _)) if value >= last => Some(value - last),
            Some(_) => Some(value),
            None => None,
        };
        match spec.kind {
            Kind::Average | Kind::Baseline | Kind::Peers => self.add(index, value, now, |sum, value| sum + value),
            Kind::Least => self.add(index, value, now, f64::min),
            Kind::Greatest => self.add(index, value, now, f64::max),
            Kind::Rate => self.add(index, value, now, |first, _| first),
            Kind::Increase => {
                if let Some(rise) = rise {
                    self.add(index, rise, now, |sum, rise| sum + rise);
                }
            }
            Kind::Count | Kind::TimeIn | Kind::Percentile(_) => {}
        }
    }

    /// It happened, or became true.
    pub(crate) fn happened(&mut self, spec: &WindowSpec, now: i64) {
        let index = spec.part(now);
        self.forget(index);
        self.add(index, 1.0, now, |sum, one| sum + one);
    }

    /// The condition holds from now on, or no longer.
    pub(crate) fn holds(&mut self, spec: &WindowSpec, holds: bool, now: i64) {
        match (self.since, holds) {
            (None, true) => self.since = Some(now),
            (Some(since), false) => {
                self.since = None;
                let (last, width) = (spec.part(now), spec.width());
                self.forget(last);
                for index in spec.part(since).max(last - PARTS + 1)..=last {
                    let (from, to) = (since.max(index * width), now.min((index + 1) * width));
                    #[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 microseconds")]
                    self.add(index, (to - from) as f64, from, |sum, us| sum + us);
                }
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    fn forget(&mut self, index: i64) {
        self.parts.retain(|part| part.index > index - PARTS);
        self.samples.retain(|(part, _)| *part > index - PARTS);
    }

    fn add(&mut self, index: i64, value: f64, now: i64, merge: impl Fn(f64, f64) -> f64) {
        match self.parts.iter_mut().rev().find(|part| part.index == index) {
            Some(part) => {
                part.value = merge(part.value, value);
                part.count += 1;
            }
            None => self.parts.push(Part { index, count: 1, value, first: now }),
        }
    }

    /// What the window tells at `now`.
    #[expect(clippy::cast_precision_loss, reason = "times and counts of one window are far below 2^52")]
    pub(crate) fn value(&self, spec: &WindowSpec, now: i64) -> Option<f64> {
        let index = spec.part(now);
        let parts = self.parts.iter().filter(|part| part.index > index - PARTS);
        match spec.kind {
            Kind::Average => mean(parts),
            Kind::Baseline => {
                let known: Vec<_> = parts.filter(|part| part.index < index).collect();
                (known.len() >= BASELINE_PARTS).then(|| mean(known.into_iter())).flatten()
            }
            Kind::Peers => self.peers,
            Kind::Least => parts.map(|part| part.value).reduce(f64::min),
            Kind::Greatest => parts.map(|part| part.value).reduce(f64::max),
            Kind::Increase => parts.map(|part| part.value).reduce(|a, b| a + b),
            Kind::Count => Some(parts.map(|part| part.value).sum()),
            Kind::Rate => {
                let first = parts.min_by_key(|part| part.first)?;
                let (last, at) = self.last?;
                let seconds = at.saturating_sub(first.first) as f64 / 1e6;
                (seconds > 0.0).then(|| (last - first.value) / seconds)
            }
            Kind::TimeIn => {
                let start = (index - PARTS + 1) * spec.width();
                let running = self.since.map_or(0, |since| now - since.max(start)).max(0);
                Some((parts.map(|part| part.value).sum::<f64>() + running as f64) / 1e6)
            }
            Kind::Percentile(percent) => {
                let mut values: Vec<f64> =
                    self.samples.iter().filter(|(part, _)| *part > index - PARTS).map(|(_, value)| *value).collect();
                values.sort_unstable_by(f64::total_cmp);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank of at most 128")]
                let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
                values.get(rank.max(1) - 1).copied()
            }
        }
    }

    /// When the answer may change though nothing comes.
    pub(crate) fn due(&self, spec: &WindowSpec, now: i64) -> Option<i64> {
        let index = spec.part(now);
        let lives = self.since.is_some()
            || self.parts.iter().any(|part| part.index > index - PARTS)
            || self.samples.iter().any(|(part, _)| *part > index - PARTS);
        lives.then(|| (index + 1) * spec.width())
    }

    /// Its memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.capacity() * size_of::<Part>() + self.samples.capacity() * size_of::<(i64, f64)>()
    }
}

/// The mean of everything that came in these parts.
#[expect(clippy::cast_precision_loss, reason = "counts of one window are far below 2^52")]
fn mean<'a>(parts: impl Iterator<Item = &'a Part>) -> Option<f64> {
    let (sum, count) = parts.fold((0.0, 0_u64), |(s, n), part| (s + part.value, n + u64::from(part.count)));
    (count > 0).then(|| sum / count as f64)
}

/// Steps that must happen one after the other, all within a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SequenceSpec {
    pub(crate) steps: Vec<Moment>,
    pub(crate) span_us: i64,
}

/// How far a sequence has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sequence {
    /// For each number of steps taken: when the latest attempt that has come so far began.
    begun: Vec<i64>,
    /// When it was last complete.
    pub(crate) done: i64,
}

impl Sequence {
    pub(crate) fn new(spec: &SequenceSpec) -> Self {
        Self { begun: vec![NEVER; spec.steps.len() - 1], done: NEVER }
    }

    /// Something happened that may be one of its steps.
    pub(crate) fn happened(&mut self, spec: &SequenceSpec, what: Moment, now: i64) {
        // From the last step to the first: one happening is one step.
        for (step, _) in spec.steps.iter().enumerate().rev().filter(|(_, moment)| **moment == what) {
            let began = match step.checked_sub(1) {
                None => now,
                Some(before) => self.begun[before],
            };
            if began == NEVER || now.saturating_sub(began) > spec.span_us {
                continue;
            }
            match self.begun.get_mut(step) {
                Some(begun) => *begun = began,
                None => {
                    self.done = now;
                    self.begun.fill(NEVER);
                }
            }
        }
    }
}
