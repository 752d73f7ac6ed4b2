//! A seeded simulation of the whole core without a network and without a wall clock: simulated lifts talk for hours of
//! virtual time through an unreliable network to the hub's own intake, journal, watch, recorder and store; timers fire,
//! messages go to an unreliable provider, people answer or do not, and the hub is killed again and again.
//!
//! [`run::run`] runs one seed and returns everything that was wrong; [`check`] says what must hold.

pub mod check;
pub mod core;
pub mod fleet;
pub mod network;
pub mod phones;
pub mod run;
pub mod world;
