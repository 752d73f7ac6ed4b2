//! Failure histories of a fleet, and the features a failure model reads from them.
//!
//! There is one code path: [`Fleet::observe`] takes what happened, in order of time, and [`Fleet::features`] says what
//! is known at a moment. Training walks through the past this way, and a running hub does the same with what arrives,
//! so the two cannot differ; and a feature cannot know the future, as it has not been observed yet.
//!
//! # Memory
//! Bounded a unit: sums that fade, and the times of at most [`unit::RECENT`] failures. A [`History`] holds eight bytes a daily
//! mean.

mod calendar;
mod channel;
mod columns;
mod decay;
mod fleet;
mod incidents;
mod means;
mod unit;

pub use calendar::Calendar;
pub use columns::{Feature, Shape};
pub use fleet::{Course, Fleet, Happening, HistoryError, Known, Measurement, Revision, Schema, UnitInfo};
pub use incidents::{History, Incident};
pub use means::Means;
pub use unit::{RECENT, SEEN_DAYS, State};

/// Microseconds a day.
pub(crate) const DAY: i64 = 86_400_000_000;

/// Microseconds as days.
pub(crate) fn days(us: i64) -> f64 {
    us as f64 / DAY as f64
}
