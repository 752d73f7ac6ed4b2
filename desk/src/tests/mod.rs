//! Timed scripts against one ticket, and properties that hold for every script.

mod alerts;
mod answers;
mod escalation;
mod messages;
mod properties;
mod script;
