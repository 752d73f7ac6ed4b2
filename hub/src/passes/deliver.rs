//! Sends what the outbox owes.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use model::{Clock, Outcome};
use notify::Notifier;
use store::{Change, Claim, Store};

use crate::passes::Reconciler;

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

impl Reconciler for Deliver {
    const NAME: &'static str = "deliver";
    const INTERVAL: Duration = Duration::from_secs(1);

    fn wakes(change: &Change) -> bool {
        matches!(change, Change::Outbox)
    }

    /// Sends everything that is owed now. What was sent and could not be recorded is looked up at the provider before it
    /// is sent again.
    async fn pass(&self) -> anyhow::Result<()> {
        loop {
            let claimed = self
                .store
                .claim_outbox(self.clock.now(), LEASE, MAX_BATCH)
                .await
                .context("claiming messages of the outbox")?;
            if claimed.is_empty() {
                return Ok(());
            }
            let mut sending =
                stream::iter(claimed.into_iter().map(|claim| self.deliver(claim))).buffer_unordered(PARALLEL);
            while let Some(recorded) = sending.next().await {
                recorded?;
            }
        }
    }
}

impl Deliver {
    async fn deliver(&self, claim: Claim) -> anyhow::Result<()> {
        let message = &claim.message;
        // The attempt that is looked up began after the message was owed: a wide window finds it all the same.
        let found = match claim.look_up {
            true => self.notifier.look_up(message, message.created_at, self.clock.now()).await,
            false => None,
        };
        let outcome = match found {
            Some(outcome) => outcome,
            None => self.notifier.send(message, self.clock.now()).await,
        };
        let now = self.clock.now();
        let retry_at = match &outcome {
            Outcome::Sent { .. } | Outcome::Dead { .. } => None,
            Outcome::Retry { after, .. } => notify::retry_at(message, *after, now),
            Outcome::Unknown { .. } => notify::retry_at(message, Some(notify::retry::LOOK_UP_AFTER), now),
        };
        self.store
            .record_attempt(&claim, &outcome, retry_at, now)
            .await
            .with_context(|| format!("recording what came of message {}", message.id))
    }
}
