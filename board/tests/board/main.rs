//! The board as a client sees it: real requests through the whole router, on a real SQLite store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod care;
mod devices;
mod fixture;
mod forecasts;
mod login;
mod shape;
mod silences;
mod stream;
mod tickets;
