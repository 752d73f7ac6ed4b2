//! Gives every ticket whose timer is due its tick.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use desk::Event;
use model::Clock;
use store::{Change, Store};

use crate::{emergency::Line, passes::Reconciler};

/// How many tickets are taken in one look.
const MAX_BATCH: u32 = 100;

/// Advances tickets whose timers are due.
pub struct Escalate {
    /// Where the tickets are.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who escalates while the database is away. What it did is told first, once the database is back.
    pub emergency: Option<Line>,
}

impl Reconciler for Escalate {
    const NAME: &'static str = "escalate";
    const INTERVAL: Duration = Duration::from_millis(500);

    fn wakes(_: &Change) -> bool {
        false
    }

    /// Ticks every due ticket, each once.
    async fn pass(&self) -> anyhow::Result<()> {
        if self.emergency.as_ref().is_some_and(Line::is_busy) {
            return Ok(());
        }
        let now = self.clock.now();
        for (org, ticket) in self.store.due_tickets(now, MAX_BATCH).await.context("looking for due timers")? {
            self.store
                .apply(org, ticket, Event::Tick, now)
                .await
                .with_context(|| format!("advancing ticket {ticket}"))?;
        }
        Ok(())
    }
}
