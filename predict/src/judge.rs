//! Public benchmarks' own rules of scoring.

pub mod nab;
pub mod skab;
