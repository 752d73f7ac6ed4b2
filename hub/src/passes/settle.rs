//! Asks the SMS and voice provider about messages that it took and never reported on: its callbacks may not reach this
//! hub, and a person who was not reached must be known as not reached.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use model::Clock;
use notify::Notifier;
use store::{Change, Store};
use tracing::{debug, warn};

use crate::passes::Reconciler;

/// How long the provider's own report is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a message is asked about: many carriers never confirm, and by then its ticket has gone on.
const GIVE_UP: Duration = Duration::from_secs(30 * 60);
/// How many messages are asked about in one pass.
const MAX_BATCH: u32 = 50;

/// Asks about messages without a report.
pub struct Settle {
    /// Where the outbox is.
    pub store: Store,
    /// Who knows the provider.
    pub notifier: Arc<Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Reconciler for Settle {
    const NAME: &'static str = "settle";
    const INTERVAL: Duration = PATIENCE;

    fn wakes(_: &Change) -> bool {
        false
    }

    /// Takes what the provider says as if it had reported it. What it does not say is asked again in the next pass.
    async fn pass(&self) -> anyhow::Result<()> {
        let Some(twilio) = self.notifier.twilio() else { return Ok(()) };
        let now = self.clock.now();
        let waiting = self
            .store
            .unsettled_messages(now - GIVE_UP, now - PATIENCE, MAX_BATCH)
            .await
            .context("listing messages without a report")?;
        for stored in waiting {
            let Some(provider_id) = stored.provider_id else { continue };
            let progress = match twilio.ask(stored.message.receiver.channel, &provider_id).await {
                Ok(progress) => progress,
                Err(reason) => {
                    warn!(message.id = %stored.message.id, reason, "the provider could not be asked about a message");
                    return Ok(()); // The others would fare no better now.
                }
            };
            debug!(message.id = %stored.message.id, ?progress, "asked the provider about a message");
            if let Some(state) = progress.state() {
                self.store
                    .delivery_report(&provider_id, state, progress.reason(), self.clock.now())
                    .await
                    .context("recording what the provider said of a message")?;
            }
        }
        Ok(())
    }
}
