//! Sends what the outbox owes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use model::{Clock, OutboxId, OutboxMessage, Outcome, Timestamp};
use notify::Notifier;
use store::{Change, Claim, Store, Via};
use tokio::task::JoinSet;

use crate::passes::Reconciler;

/// How long a claimed message is left to this hub before another pass may take it.
const LEASE: Duration = Duration::from_secs(60);
/// How many are under way at once.
const PARALLEL: usize = 8;
/// How often to look for more while some are under way.
const LOOK: Duration = Duration::from_millis(200);

/// Sends claimed messages and records what came of it.
#[derive(Clone)]
pub struct Deliver {
    /// Where the outbox is.
    pub store: Store,
    /// Who sends.
    pub notifier: Arc<Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which messages.
    pub via: Via,
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
        // Tasks of their own: one that holds the database's only writer must go on while more is claimed.
        let (mut sending, mut done) = (JoinSet::new(), Ok(()));
        // An attempt may take longer than the lease: it is not made a second time meanwhile.
        let mut under_way = HashSet::new();
        loop {
            let free = PARALLEL.saturating_sub(sending.len());
            if free > 0 && done.is_ok() {
                let claimed = self.store.claim_outbox(self.via, self.clock.now(), LEASE, u32::try_from(free)?).await;
                match claimed.context("claiming messages of the outbox") {
                    Ok(mut claimed) => {
                        claimed.retain(|claim| under_way.insert(claim.message.id));
                        for claim in claimed {
                            sending.spawn(self.clone().deliver(claim));
                        }
                    }
                    Err(failure) => done = Err(failure),
                }
            }
            // What is under way is seen to its end, and what is owed meanwhile does not wait for a provider that is slow.
            tokio::select! {
                ended = sending.join_next() => match ended {
                    Some(Ok((message, recorded))) => {
                        under_way.remove(&message);
                        done = done.and(recorded);
                    }
                    Some(Err(failure)) => done = done.and(Err(failure.into())),
                    None => return done,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

impl Deliver {
    async fn deliver(self, claim: Claim) -> (OutboxId, anyhow::Result<()>) {
        let (outcome, retry_at) = attempt(&self.notifier, &claim.message, claim.look_up, self.clock.as_ref()).await;
        let id = claim.message.id;
        let recorded = self.store.record_attempt(&claim, &outcome, retry_at, self.clock.now()).await;
        (id, recorded.with_context(|| format!("recording what came of message {id}")))
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
