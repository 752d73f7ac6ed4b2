//! Remaining useful life of units that run to failure, from the channels they report step by step.

mod model;
mod track;

pub use model::{Estimate, RulError, RulModel, RulOptions, Run, phm08_score};
pub use track::{LEAST_STEPS, Track};
