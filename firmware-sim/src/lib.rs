//! firmware-sim.
