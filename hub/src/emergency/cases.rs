//! The life-safety tickets that are open: kept in memory for when the database goes away before anybody has answered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use desk::Ticket;
use metrics::gauge;
use model::{Alert, OutboxMessage, Purpose, TicketId};
use store::{Change, Store};
use tokio::sync::watch;

use crate::passes::Reconciler;

/// How many are kept, the newest ones.
const MAX_CASES: u32 = 500;

/// A ticket with its alerts and pages, each in the order they came.
#[derive(Debug)]
pub struct KnownCase {
    /// The ticket.
    pub ticket: Ticket,
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// Who was paged for it: they may answer while the database is away.
    pub pages: Vec<OutboxMessage>,
}

/// Those that are open.
pub type CaseBook = HashMap<TicketId, Arc<KnownCase>>;

/// Keeps the book up to date while all is well.
pub struct RefreshCases {
    /// Where the tickets are.
    pub store: Store,
    /// Who needs the book.
    pub book: watch::Sender<Arc<CaseBook>>,
}

impl Reconciler for RefreshCases {
    const NAME: &'static str = "cases";
    const INTERVAL: Duration = Duration::from_secs(5);

    fn wakes(change: &Change) -> bool {
        matches!(change, Change::Ticket { .. })
    }

    /// Reads what has changed; if the store fails the old book stays.
    async fn pass(&self) -> anyhow::Result<()> {
        let known = self.book.borrow().clone();
        let open = self.store.life_safety_tickets(MAX_CASES).await.context("listing who may be in danger")?;
        let mut cases = CaseBook::new();
        for (org, id, version) in open {
            let case = match known.get(&id).filter(|case| case.ticket.version == version) {
                Some(case) => case.clone(),
                None => {
                    let alerts = self.store.ticket_alerts(org, id).await.context("reading a ticket's alerts")?;
                    let Some(view) = self.store.ticket(org, id).await.context("reading a ticket")? else { continue };
                    let owed = self.store.outbox_for_ticket(org, id).await.context("reading a ticket's messages")?;
                    let pages = owed.into_iter().map(|stored| stored.message);
                    let pages = pages.filter(|message| message.content.purpose == Purpose::Page).collect();
                    Arc::new(KnownCase { ticket: view.ticket, alerts, pages })
                }
            };
            cases.insert(id, case);
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of tickets")]
        gauge!("liftline_emergency_known_tickets").set(cases.len() as f64);
        self.book.send_replace(Arc::new(cases));
        Ok(())
    }
}
