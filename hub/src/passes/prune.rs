//! Trims the journal and removes what is past its retention.

use std::sync::Arc;

use anyhow::Context as _;
use journal::Journal;
use model::Clock;
use store::{Retention, Store};
use tracing::debug;

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

impl Prune {
    /// Trims and forgets.
    ///
    /// # Errors
    /// If the journal or the store fails.
    pub async fn pass(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let report = self.journal.trim(now).context("trimming the journal")?;
        debug!(?report, "trimmed the journal");
        self.store.expire_outbox(now).await.context("giving up expired messages")?;
        self.store.prune(&self.retention, now).await.context("removing what is older than its retention")?;
        Ok(())
    }
}
