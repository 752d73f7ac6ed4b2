//! Finds on devices what no fixed limit shows: a level that left its own baseline ([`Predictor`]'s detectors) and a
//! trend that will reach a limit (its forecasts); and scores both on recorded failures ([`backtest`]).
//!
//! This crate is pure: it reads no clock, opens nothing and draws no random number. Time is event time, the time that
//! came with each value. The same entries of a device in the same order give the same alerts with the same ids,
//! however they were cut into batches and whether or not the state was saved and restored in between.
//!
//! # Memory
//! Bounded per device whatever it sends: a detector keeps at most 256 numbers while it learns and a handful after
//! that (about 2.2 KiB), one that looks for novelty about 2.2 KiB for good, a forecast at most 129 points of 24 bytes
//! (about 3.2 KiB), and each the alert that stands.

pub mod backtest;
pub mod baseline;
mod beside;
mod bucket;
mod detector;
mod finding;
mod forecast;
pub mod history;
pub mod judge;
pub mod learn;
mod learner;
mod newcomer;
pub mod novelty;
mod predictor;
pub mod risk;
pub mod rul;
mod snapshot;
mod stats;
mod trend;
mod words;

pub use bucket::BUCKET;
pub use detector::{ACCEPT_WINDOW, BASELINE_SPAN, SUSTAINED};
pub use predictor::{Counts, Predictor};
pub use snapshot::RestoreError;
pub use trend::COVERAGE;
