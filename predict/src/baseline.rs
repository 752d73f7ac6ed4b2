//! A lasting departure from a normal state that was learnt from the first rows.
//!
//! Where [`crate::novelty`] reports the onset of something new and then gets used to it, this score stays up for as long as
//! the machine is not as it was while it was learnt: for test rigs and machines that are known to be sound at first.
//!
//! Each channel is followed by an exponentially weighted moving average (S. W. Roberts 1959, weight [`LAMBDA`]). While
//! learning, its level, its variance, and how fast it wanders are taken: the mean square difference of block means over
//! growing distances, D(l) = 2 s + q l, is that of a level with noise s that walks at random by q a block. A channel
//! that wandered while all was well (a temperature still rising) may go on doing so, and its limit widens with time; a
//! channel that stood still is held to it. The score is z / (z + [`LIMIT`]) of the channel with the largest z.
//!
//! Memory is constant: about 600 bytes a channel.

use serde::{Deserialize, Serialize};

use crate::stats;

/// The fewest rows that may be learnt from.
pub const LEAST_ROWS: u64 = 64;
/// The number of standard deviations of the average at which the score is one half.
pub const LIMIT: f64 = 5.0;
/// Weight of the newest value in the moving average.
pub const LAMBDA: f64 = 0.1;
/// The most block means kept while learning.
const MAX_BLOCKS: usize = 64;
/// Rows after which the average has forgotten its beginning.
const SETTLED: u64 = 20;
/// Deviations below this share of the level are taken for rounding.
const ROUNDING: f64 = 1e-6;
const ABSURD: f64 = 1e100;

/// What was found in one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Departure {
    /// 0 to 1; one half at [`LIMIT`].
    pub score: f64,
    /// The channel that departs most, by its position in the row.
    pub channel: usize,
    /// Its average now.
    pub average: f64,
    /// Its level while it was learnt.
    pub level: f64,
}

/// Follows many channels against what was normal at first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    fit_rows: u64,
    rows: u64,
    channels: Vec<Channel>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Channel {
    seen: u64,
    average: f64,
    level: f64,
    /// Of the average while learning: count, mean, sum of squares about it.
    settled: (f64, f64, f64),
    blocks: Vec<f64>,
    block_rows: u64,
    open: (f64, u64),
    /// Variance of the average, and what it grows by with every row.
    variance: f64,
    wander: f64,
}

impl Baseline {
    /// Learns from the first `fit_rows` rows, at least [`LEAST_ROWS`].
    #[must_use]
    pub fn new(channels: usize, fit_rows: u64) -> Self {
        Self { fit_rows: fit_rows.max(LEAST_ROWS), rows: 0, channels: vec![Channel::new(); channels] }
    }

    /// Takes one row; `None` values are missing. Returns `None` while learning and for rows without values.
    pub fn take(&mut self, values: impl IntoIterator<Item = Option<f64>>) -> Option<Departure> {
        self.rows += 1;
        let learning = self.rows <= self.fit_rows;
        let past = self.rows.saturating_sub(self.fit_rows) as f64;
        let mut most: Option<(f64, Departure)> = None;
        for (n, (channel, value)) in self.channels.iter_mut().zip(values).enumerate() {
            let Some(value) = value.filter(|value| value.is_finite() && value.abs() <= ABSURD) else { continue };
            channel.follow(value);
            if learning {
                channel.learn(value);
                continue;
            }
            let Some(z) = channel.departure(past) else { continue };
            if most.as_ref().is_none_or(|(before, _)| z > *before) {
                let score = z / (z + LIMIT);
                let found = Departure { score, channel: n, average: channel.average, level: channel.level };
                most = Some((z, found));
            }
        }
        if self.rows == self.fit_rows {
            self.channels.iter_mut().for_each(Channel::settle);
        }
        most.map(|(_, found)| found)
    }
}

impl Channel {
    fn new() -> Self {
        Self {
            seen: 0,
            average: 0.0,
            level: 0.0,
            settled: (0.0, 0.0, 0.0),
            blocks: Vec::new(),
            block_rows: 1,
            open: (0.0, 0),
            variance: 0.0,
            wander: 0.0,
        }
    }

    fn follow(&mut self, value: f64) {
        self.seen = self.seen.saturating_add(1);
        self.average += LAMBDA.max(1.0 / self.seen as f64) * (value - self.average);
    }

    fn learn(&mut self, value: f64) {
        self.level += (value - self.level) / self.seen as f64;
        if self.seen > SETTLED {
            let (count, mean, squares) = &mut self.settled;
            *count += 1.0;
            let off = self.average - *mean;
            *mean += off / *count;
            *squares += off * (self.average - *mean);
        }
        self.open.0 += value;
        self.open.1 += 1;
        if self.open.1 < self.block_rows {
            return;
        }
        self.blocks.push(self.open.0 / self.open.1 as f64);
        self.open = (0.0, 0);
        if self.blocks.len() == MAX_BLOCKS {
            self.blocks = self.blocks.chunks(2).map(|pair| pair.iter().sum::<f64>() / pair.len() as f64).collect();
            self.block_rows *= 2;
        }
    }

    /// Ends learning.
    fn settle(&mut self) {
        let (count, _, squares) = self.settled;
        self.variance = if count > 0.0 { squares / count } else { 0.0 };
        self.wander = wander(&self.blocks) / self.block_rows as f64;
        self.blocks = Vec::new();
    }

    /// How far the average is from the learnt level, in standard deviations; `None` if the channel was hardly seen
    /// while learning.
    fn departure(&self, past: f64) -> Option<f64> {
        if self.settled.0 < LEAST_ROWS as f64 / 2.0 {
            return None;
        }
        let rounding = ROUNDING * self.level.abs() + f64::MIN_POSITIVE;
        let deviation = (self.variance + self.wander * past).sqrt().max(rounding);
        Some(((self.average - self.level) / deviation).abs())
    }
}

/// The variance by which block means walk from one to the next: the slope of D(l), by least squares weighted with the
/// number of pairs; not negative.
fn wander(blocks: &[f64]) -> f64 {
    let most = blocks.len() / 2;
    let points: Vec<(f64, f64, f64)> = (1..=most)
        .map(|distance| {
            let squares = blocks.iter().zip(&blocks[distance..]).map(|(a, b)| (b - a) * (b - a));
            let pairs = (blocks.len() - distance) as f64;
            (distance as f64, squares.sum::<f64>() / pairs, pairs)
        })
        .collect();
    stats::weighted_slope(&points).unwrap_or(0.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: u64) -> f64 {
        ((n * 7919) % 1009) as f64 / 1009.0 - 0.5
    }

    /// Shares of rows from `from` on whose score is at least a half.
    fn share(values: impl Fn(u64) -> f64, from: u64, to: u64) -> f64 {
        let mut baseline = Baseline::new(1, 400);
        let found: Vec<bool> =
            (0..to).map(|n| baseline.take([Some(values(n))]).is_some_and(|found| found.score >= 0.5)).collect();
        found[from as usize..].iter().filter(|found| **found).count() as f64 / (to - from) as f64
    }

    #[test]
    fn a_departure_lasts_and_ends() {
        let level = |n: u64| noise(n) + if (600..900).contains(&n) { 2.0 } else { 0.0 };
        assert_eq!(share(level, 400, 600), 0.0);
        assert!(share(level, 610, 900) > 0.99);
        assert!(share(level, 600, 1200) < 0.6);
    }

    #[test]
    fn what_wandered_while_all_was_well_may_wander_on() {
        assert!(share(|n| 0.01 * n as f64 + 0.2 * noise(n), 400, 800) < 0.05);
        assert!(share(|n| if n < 400 { noise(n) } else { 0.01 * (n - 400) as f64 }, 700, 1000) > 0.9);
    }

    #[test]
    fn rubbish_and_constants_are_quiet() {
        assert_eq!(share(|_| 7.0, 400, 900), 0.0);
        assert_eq!(share(|n| if n % 2 == 0 { f64::NAN } else { noise(n) }, 400, 900), 0.0);
        let mut silent = Baseline::new(2, 100);
        for n in 0..500 {
            assert_eq!(silent.take([None, Some(f64::INFINITY)]), None, "{n}");
        }
    }
}
