//! Trims the journal and removes what is past its retention.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use journal::Journal;
use model::Clock;
use store::{Change, Retention, Store};
use tracing::debug;

use crate::passes::Reconciler;

/// Trims the journal behind every cursor and removes what is past its retention.
pub struct Prune {
    /// The journal.
    pub journal: Journal,
    /// The store.
    pub store: Store,
    /// How long what is kept.
    pub retention: Retention,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Reconciler for Prune {
    const NAME: &'static str = "prune";
    const INTERVAL: Duration = Duration::from_secs(60);

    fn wakes(_: &Change) -> bool {
        false
    }

    /// Trims and removes.
    async fn pass(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let report = self.journal.trim(now).context("trimming the journal")?;
        debug!(?report, "trimmed the journal");
        self.store.expire_outbox(now).await.context("giving up expired messages")?;
        self.store.prune(&self.retention, now).await.context("removing what is older than its retention")?;
        Ok(())
    }
}
