//! The range of everything seen so far.

use serde::{Deserialize, Serialize};

/// Seen so often, an envelope is trusted by half.
const HALF_TRUST: f64 = 72.0;
/// An envelope is at least this many mean deviations wide on either side.
const LEAST_SPREADS: f64 = 7.0;
/// How much of its width an envelope contracts with every value.
const CONTRACTION: f64 = 3e-5;
/// The least weight of a new value in centre and spread.
const GAIN: f64 = 1.0 / 300.0;
/// The most that one value may widen an envelope, in widths: a glitch must not blind it for good. A value further out
/// is believed when a second one comes as far.
const GROWTH: f64 = 3.0;
/// The most surprise there is, in widths.
const MOST: f64 = 5.0;

/// The range of a quantity, with its centre and mean deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Envelope {
    low: f64,
    high: f64,
    centre: f64,
    spread: f64,
    seen: f64,
    /// The furthest values not believed yet.
    lowest: f64,
    highest: f64,
}

/// How far a value lies outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Margin {
    /// In widths of the envelope, -1 (at the centre) to 5; positive outside.
    pub(super) width: f64,
    /// The nearer end of the envelope.
    pub(super) bound: f64,
}

impl Envelope {
    pub(super) const fn new() -> Self {
        Self { low: 0.0, high: 0.0, centre: 0.0, spread: 0.0, seen: 0.0, lowest: 0.0, highest: 0.0 }
    }

    /// Takes one value and says how it compares with those before. Widths below `floor` are taken for rounding.
    pub(super) fn take(&mut self, value: f64, floor: f64) -> Margin {
        if self.seen == 0.0 {
            *self =
                Self { low: value, high: value, centre: value, spread: 0.0, seen: 1.0, lowest: value, highest: value };
            return Margin { width: -1.0, bound: value };
        }
        let least = (LEAST_SPREADS * self.spread).max(floor);
        let (up, down) = ((self.high - self.centre).max(least), (self.centre - self.low).max(least));
        let (above, below) = ((value - self.high) / up, (self.low - value) / down);
        let (width, bound) = if above >= below { (above, self.high) } else { (below, self.low) };
        let trust = self.seen / (self.seen + HALF_TRUST);
        let width = width.clamp(-1.0, MOST) * if width > 0.0 { trust } else { 1.0 };

        self.seen += 1.0;
        let gain = GAIN.max(1.0 / self.seen);
        let off = (value - self.centre).clamp(-down, up);
        self.centre += gain * off;
        self.spread += gain * (off.abs() - self.spread);
        self.high -= CONTRACTION * (self.high - self.centre);
        self.low += CONTRACTION * (self.centre - self.low);
        let believed = (self.high + GROWTH * up).max(self.highest);
        self.high = self.high.max(value.min(believed));
        self.highest = self.highest.max(value);
        let believed = (self.low - GROWTH * down).min(self.lowest);
        self.low = self.low.min(value.max(believed));
        self.lowest = self.lowest.min(value);
        Margin { width, bound }
    }
}
