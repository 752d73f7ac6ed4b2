//! Sends what the outbox owes.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use model::{Clock, OutboxMessage, Outcome, Timestamp};
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
        let (outcome, retry_at) = attempt(&self.notifier, &claim.message, claim.look_up, self.clock.as_ref()).await;
        self.store
            .record_attempt(&claim, &outcome, retry_at, self.clock.now())
            .await
            .with_context(|| format!("recording what came of message {}", claim.message.id))
    }
}

/// Makes one attempt, or with `look_up` finds out first what became of the last one. Returns what came of it and when
/// to try again, if that makes sense.
pub async fn attempt(
    notifier: &Notifier,
    message: &OutboxMessage,
    look_up: bool,
    clock: &dyn Clock,
) -> (Outcome, Option<Timestamp>) {
    // The attempt that is looked up began after the message was owed: a wide window finds it all the same.
    let found = match look_up {
        true => notifier.look_up(message, message.created_at, clock.now()).await,
        false => None,
    };
    let outcome = match found {
        Some(outcome) => outcome,
        None => notifier.send(message, clock.now()).await,
    };
    let now = clock.now();
    let retry_at = match &outcome {
        Outcome::Sent { .. } | Outcome::Dead { .. } => None,
        Outcome::Retry { after, .. } => notify::retry_at(message, *after, now),
        Outcome::Unknown { .. } => notify::retry_at(message, Some(notify::retry::LOOK_UP_AFTER), now),
    };
    (outcome, retry_at)
}
