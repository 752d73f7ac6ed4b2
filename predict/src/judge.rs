//! Public benchmarks' own rules of scoring.

pub mod modes;
pub mod nab;
pub mod skab;
