//! The rule engine: what the rules of a profile find on devices, in event time.
//!
//! [`Ruleset::compile`] turns a profile's expressions into small typed programs, once. [`Engine::apply`] takes what
//! devices said, in the order the journal holds it; [`Engine::advance`] lets time pass when nothing is said. Both
//! report what was raised and cleared.
//!
//! This crate is pure: it reads no clock, opens nothing and draws no random number. Applying the same entries again
//! yields the same alerts with the same ids.
//!
//! Missing values are unknown, not zero: a rule is raised only when its condition is known to hold and cleared only
//! when it is known not to hold, so a gap in the data never raises or clears anything.

mod compile;
mod device;
mod engine;
mod evidence;
mod facts;
mod peers;
mod phrases;
mod program;
mod progress;
mod reported;
mod ruleset;
mod snapshot;
pub mod trial;
mod watch;
mod windows;
mod words;

#[cfg(test)]
mod tests;

pub use engine::{Counts, Engine, Late};
pub use ruleset::Ruleset;
pub use snapshot::{RestoreError, RestoreReport};
