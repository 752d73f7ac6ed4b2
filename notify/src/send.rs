//! Sending: one message, one attempt, one outcome.

use model::{MessageChannel, OutboxMessage, Outcome, Timestamp};

use crate::{
    config::{NotifyConfig, NotifyError},
    email::Mailer,
    templates::{self, Rendered},
    twilio::{Key, Twilio, client::send_again},
    webhook::Webhooks,
};

/// Sends messages on every configured channel.
#[derive(Clone)]
pub struct Notifier {
    twilio: Option<Twilio>,
    mailer: Option<Mailer>,
    webhooks: Option<Webhooks>,
    /// What every way allows while no provider says otherwise; for rendering alone.
    public_base: String,
}

impl Notifier {
    /// Prepares the channels; opens no connection yet.
    ///
    /// # Errors
    /// [`NotifyError`] if the configuration cannot be used.
    pub fn new(config: &NotifyConfig) -> Result<Self, NotifyError> {
        config.validate()?;
        Ok(Self {
            twilio: config.twilio.as_ref().map(|twilio| Twilio::new(config, twilio)).transpose()?,
            mailer: config.smtp.as_ref().map(Mailer::new).transpose()?,
            webhooks: config.webhook.as_ref().map(Webhooks::new).transpose()?,
            public_base: config.public_base().to_owned(),
        })
    }

    /// The SMS and voice provider, if there is one: for verifying its callbacks.
    #[must_use]
    pub fn twilio(&self) -> Option<&Twilio> {
        self.twilio.as_ref()
    }

    /// The message as it will be sent.
    #[must_use]
    pub fn render(&self, message: &OutboxMessage) -> Rendered {
        templates::render(message, &self.options(message))
    }

    /// The document that a call goes on with after a key; `done` tells whether the ticket took what the key asked.
    #[must_use]
    pub fn after_key(&self, message: &OutboxMessage, key: Key, done: bool) -> String {
        templates::after_key(message, key, done, &self.options(message))
    }

    fn options(&self, message: &OutboxMessage) -> templates::Options {
        self.twilio.as_ref().map_or_else(
            || templates::Options {
                replies: true,
                links: true,
                keypad_url: format!("{}/callbacks/twilio/voice?m={}", self.public_base, message.id),
            },
            |twilio| twilio.options(message),
        )
    }

    /// Makes one attempt. Never panics and never waits longer than the channel's time-outs.
    pub async fn send(&self, message: &OutboxMessage, now: Timestamp) -> Outcome {
        let outcome = self.attempt(message, now).await;
        emit(message, &outcome);
        outcome
    }

    async fn attempt(&self, message: &OutboxMessage, now: Timestamp) -> Outcome {
        if now >= message.expires_at {
            return Outcome::Dead { reason: "it expired before it could be sent".to_owned() };
        }
        let missing = |section: &str| Outcome::Dead {
            reason: format!("this hub cannot send it: add [notify.{section}] to its configuration"),
        };
        match (self.render(message), &self.twilio, &self.mailer, &self.webhooks) {
            (Rendered::Sms { body }, Some(twilio), _, _) => twilio.send_sms(message, &body, now).await,
            (Rendered::Voice { twiml }, Some(twilio), _, _) => twilio.call(message, &twiml).await,
            (Rendered::Sms { .. } | Rendered::Voice { .. }, None, _, _) => missing("twilio"),
            (Rendered::Email { subject, text, html }, _, Some(mailer), _) => {
                mailer.send(message, &subject, &text, &html).await
            }
            (Rendered::Email { .. }, _, None, _) => missing("smtp"),
            (Rendered::Webhook { json }, _, _, Some(webhooks)) => webhooks.send(message, &json, now).await,
            (Rendered::Webhook { .. }, _, _, None) => missing("webhook"),
        }
    }

    /// Finds out what became of an attempt whose outcome is [`Outcome::Unknown`], or that a crash cut short.
    /// Call it [`crate::retry::LOOK_UP_AFTER`] after `attempted_at`, when the attempt began.
    ///
    /// `None`: send it again now. `Sent`: it went, do not send it again. `Unknown`: look it up again later. `Dead`:
    /// leave it. [`Twilio::look_up`] says how SMS and calls are found. E-mail cannot be looked up; it is sent again
    /// under the same rule, with the same Message-ID. Webhooks are always sent again, with the same id.
    pub async fn look_up(&self, message: &OutboxMessage, attempted_at: Timestamp, now: Timestamp) -> Option<Outcome> {
        let outcome = match (message.receiver.channel, &self.twilio) {
            (MessageChannel::Sms | MessageChannel::Voice, Some(twilio)) => {
                twilio.look_up(message, attempted_at, now).await
            }
            (MessageChannel::Sms | MessageChannel::Voice, None) => send_again(message, "no provider is configured now"),
            (MessageChannel::Email, _) => send_again(message, "mail servers cannot be asked"),
            // Receivers know repetitions by their id.
            (MessageChannel::Webhook, _) => None,
        };
        let result = match &outcome {
            None | Some(Outcome::Retry { .. }) => "resend",
            Some(Outcome::Sent { .. }) => "found",
            Some(Outcome::Unknown { .. }) => "unknown",
            Some(Outcome::Dead { .. }) => "given_up",
        };
        let channel = message.receiver.channel.code();
        metrics::counter!("liftline_notify_look_ups_total", "channel" => channel, "result" => result).increment(1);
        outcome
    }
}

/// Logs and counts an attempt.
fn emit(message: &OutboxMessage, outcome: &Outcome) {
    let channel = message.receiver.channel.code();
    let purpose = templates::purpose(message.content.purpose);
    let attempt = message.attempts + 1;
    let name = match outcome {
        Outcome::Sent { provider_id } => {
            tracing::info!(message.id = %message.id, channel, purpose, attempt, provider_id, "message taken by the provider");
            "sent"
        }
        Outcome::Retry { reason, .. } => {
            tracing::warn!(message.id = %message.id, channel, purpose, attempt, reason, "message not taken; it will be tried again");
            "retry"
        }
        Outcome::Unknown { reason } => {
            tracing::warn!(message.id = %message.id, channel, purpose, attempt, reason, "no answer; it will be looked up");
            "unknown"
        }
        Outcome::Dead { reason } => {
            tracing::error!(message.id = %message.id, channel, purpose, attempt, reason, "message can never be sent");
            "dead"
        }
    };
    metrics::counter!(
        "liftline_notify_attempts_total",
        "channel" => channel, "purpose" => purpose, "outcome" => name
    )
    .increment(1);
}
