//! The HTTP API, one file per noun.

pub mod codes;
pub(crate) mod commands;
pub(crate) mod devices;
pub mod dto;
pub(crate) mod error;
pub(crate) mod extract;
pub(crate) mod forecasts;
pub(crate) mod impact;
pub(crate) mod lifts;
pub(crate) mod openapi;
pub(crate) mod people;
pub(crate) mod preparation;
pub(crate) mod readings;
pub(crate) mod rejects;
pub(crate) mod silences;
pub(crate) mod sites;
pub(crate) mod stream;
pub(crate) mod system;
pub(crate) mod tickets;
pub(crate) mod view;
