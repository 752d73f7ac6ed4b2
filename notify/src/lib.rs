//! Message channels: SMS and voice through a Twilio-shaped HTTP API, e-mail over SMTP, signed webhooks.
//!
//! [`Notifier::send`] makes one attempt to deliver one outbox message and says what came of it; the caller records
//! that and decides with [`retry`] and [`throttle`] when the next attempt is due. [`twilio::callback`] reads what the
//! provider reports, [`reply`] what people answer. This crate knows no database and no ticket.

pub mod config;
pub mod email;
mod http;
pub mod reply;
pub mod retry;
pub mod send;
pub mod sms;
pub mod templates;
pub mod throttle;
pub mod twilio;
pub mod webhook;

pub use config::{NotifyConfig, NotifyError, Secret, SmtpConfig, SmtpSecurity, TwilioConfig, WebhookConfig};
pub use reply::{Reply, Verb};
pub use retry::retry_at;
pub use send::Notifier;
pub use templates::{Rendered, render};

#[cfg(test)]
mod fixture;
