//! A streaming anomaly score for any time-stamped series, of one channel or of many.
//!
//! Each value is looked at in several ways ([`View`]): the value itself, its step from the one before, its departure
//! from what the time of day (or of the week) lets expect, averaged over three spans, and how restless the channel is.
//! For each view the scorer keeps the *envelope* of everything seen so far, which contracts very slowly. A value is
//! surprising by how far it lies outside the envelope, in widths of the envelope. For exchangeable values the n-th is
//! a record with probability 1/n whatever their distribution (A. Rényi, 1962): an envelope assumes nothing about the
//! shape of the noise and is by itself the less easily surprised the more it has seen. The widest surprise of all
//! views and channels is the row's.
//!
//! An anomaly is reported at its onset: for [`REST`] rows after a surprise only what exceeds it counts, by the excess.
//! The values of the anomaly widen the envelope, so what comes back again and again becomes normal.
//!
//! # The score
//! From 0 to 1. Below 0.1 the row lies within everything seen before; [`ANOMALY`] (0.5) is the line above which a row is
//! an anomaly: a departure beyond the envelope by about a twentieth of its width, weighted by the view. The line and the weights
//! were fixed once on the developer files of the Numenta Anomaly Benchmark (docs/detectors.md gives the scores, the
//! share of ordinary rows above each score, and the check by leaving half of the files out); nothing is tuned per series.
//!
//! # Limits
//! - The first [`WARM_UP`] rows of a channel have no score.
//! - Constant memory: about 2 KiB a channel.
//! - A value that is not finite, or absurdly large, is no value: the channel is left out of that row.
//! - After a gap of more than eight usual intervals the step view waits for the next value.
//! - One outlier widens an envelope at most by [`Envelope`]'s growth limit, so a glitch does not blind the channel.
//!
//! The same rows give the same scores; a row's score depends on it and on earlier rows alone.

mod channel;
mod envelope;
mod season;

use serde::{Deserialize, Serialize};

pub use channel::View;
use channel::Watch;

/// Rows of a channel before it has a score.
pub const WARM_UP: u32 = 64;
/// The score from which on a row is an anomaly.
pub const ANOMALY: f64 = 0.5;
/// For how many rows after a surprise only what exceeds it counts.
pub const REST: u32 = 15;

/// The surprise, in weighted widths of an envelope, at which the score is [`ANOMALY`].
const LINE: f64 = 0.048;
/// The score of a row on the edge of everything seen.
const EDGE: f64 = 0.1;
/// Values beyond this are taken for rubbish, so that no square of one overflows.
const ABSURD: f64 = 1e100;

/// What was found in one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// The anomaly score, 0 to 1.
    pub score: f64,
    /// The channel that speaks loudest, by its position in the row.
    pub channel: usize,
    /// In which view.
    pub view: View,
    /// What was seen there, in the view's own measure.
    pub seen: f64,
    /// The end of the envelope that it lies beyond, or is nearest to.
    pub bound: f64,
}

/// Scores rows of one or many channels, one at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scorer {
    channels: Vec<Watch>,
    /// The surprise that is being rested from, and for how many rows yet.
    held: f64,
    rest: u32,
}

impl Scorer {
    /// A scorer that has seen nothing.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self { channels: vec![Watch::new(); channels], held: 0.0, rest: 0 }
    }

    /// Takes the row at `time` (microseconds since 1970; rows should be in order of time). `None` stands for a value that is
    /// missing; so does one that is not finite. Values beyond the number of channels are ignored.
    ///
    /// Returns `None` while no channel of the row has seen enough.
    pub fn take(&mut self, time: i64, values: impl IntoIterator<Item = Option<f64>>) -> Option<Finding> {
        let mut widest: Option<(f64, Finding)> = None;
        for (channel, (watch, value)) in self.channels.iter_mut().zip(values).enumerate() {
            let Some(value) = value.filter(|value| value.is_finite() && value.abs() <= ABSURD) else { continue };
            let Some(surprise) = watch.take(time, value) else { continue };
            if widest.as_ref().is_none_or(|(most, _)| surprise.width > *most) {
                let finding =
                    Finding { score: 0.0, channel, view: surprise.view, seen: surprise.seen, bound: surprise.bound };
                widest = Some((surprise.width, finding));
            }
        }
        let (width, finding) = widest?;
        Some(Finding { score: score(self.onset(width)), ..finding })
    }

    /// Leaves of a surprise what is new in it.
    fn onset(&mut self, width: f64) -> f64 {
        if width <= 0.0 {
            self.rest = self.rest.saturating_sub(1);
            return width;
        }
        let new = if self.rest > 0 { (width - self.held).max(0.0) } else { width };
        if self.rest <= 1 || width > self.held {
            self.held = width;
            self.rest = REST;
        } else {
            self.rest -= 1;
        }
        new
    }
}

/// The score of a surprise: up to [`EDGE`] within the envelope, [`ANOMALY`] at [`LINE`], towards 1 beyond.
fn score(width: f64) -> f64 {
    if width <= 0.0 {
        EDGE * (1.0 + width.max(-1.0))
    } else {
        let half = LINE * (1.0 - ANOMALY) / (ANOMALY - EDGE);
        EDGE + (1.0 - EDGE) * width / (width + half)
    }
}
