//! A seeded simulation of the whole core without a network and without a wall clock.
pub mod fleet;
