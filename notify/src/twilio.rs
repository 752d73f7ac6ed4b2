//! SMS and voice through Twilio's HTTP API, or any provider that speaks it.

pub mod callback;
mod calls;
pub mod client;
pub mod code;
pub mod keypad;
pub mod signature;
pub mod twiml;

pub use callback::{CallbackError, Failure, InboundSms, KeyPress, Progress, StatusReport};
pub use client::Twilio;
pub use keypad::Key;
pub use signature::{signature, verify_signature};
