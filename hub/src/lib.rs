//! The hub: configuration, wiring, supervision and the command line. [`pipeline`] shows the whole flow.

pub mod callbacks;
pub mod cli;
pub mod clock;
pub mod codes;
pub mod config;
pub mod demo;
pub mod emergency;
pub mod enrolment;
pub mod forecasts;
pub mod formats;
pub mod health;
pub mod intake;
pub mod limits;
pub mod passes;
pub mod pipeline;
pub mod recorder;
pub mod server;
pub mod supervisor;
pub mod tools;
pub mod watch;
