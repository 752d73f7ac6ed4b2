//! The learners that failure models are made of: gradient-boosted trees, logistic regression, calibration, and the
//! measures that judge them. Deterministic: the same data and the same seed give the same model, bit for bit.

pub mod boost;
pub mod calibrate;
mod grow;
pub mod logistic;
pub mod metrics;
pub mod random;
pub mod table;

pub use boost::{BoostOptions, Boosted, Loss};
pub use calibrate::Platt;
pub use logistic::Logistic;
pub use random::Random;
pub use table::{LearnError, Table};
