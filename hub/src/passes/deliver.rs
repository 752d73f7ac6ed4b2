//! Sends what the outbox owes.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use metrics::counter;
use model::{Clock, Outcome};
use notify::Notifier;
use store::{Claim, Store};
use tracing::{info, warn};

/// How long a claimed message is left to this hub before another pass may take it.
const LEASE: Duration = Duration::from_secs(60);
/// How many messages are claimed at once.
const MAX_BATCH: u32 = 32;
/// How many are under way at once.
const PARALLEL: usize = 8;

/// Sends claimed messages and records what came of it.
pub struct Deliver {
    /// Where the outbox is.
    pub store: Store,
    /// Who sends.
    pub notifier: Arc<Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Deliver {
    /// Sends everything that is owed now.
    ///
    /// # Errors
    /// If the store fails. What was sent and could not be recorded is looked up at the provider before it is resent.
    pub async fn pass(&self) -> anyhow::Result<()> {
        loop {
            let claimed = self
                .store
                .claim_outbox(self.clock.now(), LEASE, MAX_BATCH)
                .await
                .context("claiming messages of the outbox")?;
            if claimed.is_empty() {
                return Ok(());
            }
            let mut sending = stream::iter(claimed.iter().map(|claim| self.deliver(claim))).buffer_unordered(PARALLEL);
            while let Some(recorded) = sending.next().await {
                recorded?;
            }
        }
    }

    async fn deliver(&self, claim: &Claim) -> anyhow::Result<()> {
        let message = &claim.message;
        let mut outcome = if claim.look_up { self.notifier.look_up(message).await } else { None };
        if outcome.is_none() {
            outcome = Some(self.notifier.send(message, self.clock.now()).await);
        }
        let outcome = outcome.context("a message has an outcome")?;
        let now = self.clock.now();
        let channel = message.receiver.channel.code();
        let retry_at = match &outcome {
            Outcome::Sent { provider_id } => {
                counter!("liftline_messages_sent_total", "channel" => channel).increment(1);
                info!(message.id = %message.id, channel, provider_id, "sent");
                None
            }
            Outcome::Retry { after, reason } => {
                warn!(message.id = %message.id, channel, reason, "not sent yet");
                notify::retry_at(message, *after, now)
            }
            Outcome::Unknown { reason } => {
                warn!(message.id = %message.id, channel, reason, "it is not known whether it was sent");
                notify::retry_at(message, None, now)
            }
            Outcome::Dead { reason } => {
                counter!("liftline_messages_dead_total", "channel" => channel).increment(1);
                warn!(message.id = %message.id, channel, reason, "can never be sent");
                None
            }
        };
        self.store
            .record_attempt(claim, &outcome, retry_at, now)
            .await
            .with_context(|| format!("recording what came of message {}", message.id))
    }
}
