//! Timed scripts against one ticket, and properties that hold for every script.

mod alerts;
mod answers;
mod escalation;
mod life_safety;
mod messages;
mod noise;
mod properties;
mod script;
