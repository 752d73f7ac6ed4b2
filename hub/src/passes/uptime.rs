//! Notes that the hub is up: what it did not hear of while it was down must not pass for quiet days.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use model::Clock;
use store::{Change, Store};

use crate::passes::Reconciler;

/// Notes that the hub is up.
pub struct NoteUptime {
    /// The store.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Reconciler for NoteUptime {
    const NAME: &'static str = "uptime";
    const INTERVAL: Duration = Duration::from_secs(60);

    fn wakes(_: &Change) -> bool {
        false
    }

    /// Notes it.
    async fn pass(&self) -> anyhow::Result<()> {
        self.store.note_up(self.clock.now()).await.context("noting that the hub is up")
    }
}
