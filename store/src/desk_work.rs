//! Tickets inside a transaction: load, let the desk decide, write the ticket, its timeline and what it owes.

use std::collections::{HashMap, HashSet};

use desk::{Actor, Effect, Event, Status, Ticket, TimelineEntry, TransitionError};
use model::{AffectedId, Alert, DeliveryState, Device, OrgId, Site, TicketId, Timestamp};

use crate::{
    Change, DeskSettings, Result, Store, StoreError, outbox,
    db::{Tx, at, document, execute, fetch_optional, from_document, int, new_id, statements, text, uint},
    roster::{LookUps, Place},
};

statements! {
    // The row stays locked until the commit, so that two events on one ticket take turns. SQLite has one writer.
    LOAD = each(
        "SELECT state FROM tickets WHERE id = $1 FOR UPDATE",
        "SELECT state FROM tickets WHERE id = $1");
    LOAD_GROUP = each(
        "SELECT state FROM tickets WHERE group_key = $1 AND status <> 'closed' FOR UPDATE",
        "SELECT state FROM tickets WHERE group_key = $1 AND status <> 'closed'");
    NEXT_NUMBER = both("UPDATE organisations SET next_ticket = next_ticket + 1 WHERE id = $1 RETURNING next_ticket - 1");
    INSERT = both("
        INSERT INTO tickets (id, org, number, kind, status, severity, life_safety, site, device, group_key,
            opened_at, closed_at, next_due_at, version, search, state)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)");
    UPDATE = both("
        UPDATE tickets SET status = $3, severity = $4, life_safety = $5, closed_at = $6, next_due_at = $7, version = $8,
            state = $9
        WHERE id = $1 AND version = $2");
    LOG = both("
        INSERT INTO ticket_timeline (ticket, seq, at, actor, what)
        SELECT $1, coalesce(max(seq), 0) + 1, $2, $3, $4 FROM ticket_timeline WHERE ticket = $1");
    CANCEL_PAGES = both("
        UPDATE outbox SET state = 'cancelled', updated_at = $2
        WHERE ticket = $1 AND state = 'pending' AND purpose = 'page'");
    ANSWERED = both("
        UPDATE outbox SET state = 'answered', updated_at = $4
        WHERE ticket = $1 AND person = $2 AND channel = $3 AND purpose = 'page' AND state IN ('sent', 'dead', 'delivered')");
    FREE_CODES = both("UPDATE reply_codes SET taken = FALSE WHERE ticket = $1");
    CARE_TOKEN = both("SELECT token FROM care_links WHERE affected = $1");
}

/// Why an event did nothing to a ticket, or could not.
#[derive(Debug)]
pub(crate) enum WorkError {
    Refused(TransitionError),
    Store(StoreError),
}

impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One transaction's work on tickets.
pub(crate) struct Work<'a> {
    pub(crate) tx: Tx,
    desk: &'a DeskSettings,
    now: Timestamp,
    look_ups: LookUps,
    /// Tickets loaded so far, as they stand.
    tickets: HashMap<TicketId, Ticket>,
    /// The ticket that takes alerts of a group; `None` if none does.
    groups: HashMap<String, Option<TicketId>>,
    care_tokens: HashMap<AffectedId, Option<String>>,
    reply_codes: HashMap<(String, TicketId), u32>,
    /// Tickets to tell of after the commit, each once.
    changed: Vec<(OrgId, TicketId)>,
    told: HashSet<TicketId>,
    /// Messages owed by this transaction.
    pub(crate) messages: u32,
}

impl<'a> Work<'a> {
    pub(crate) async fn begin(store: &'a Store, now: Timestamp) -> Result<Self> {
        Ok(Self {
            tx: store.db().begin().await?,
            desk: &store.inner.desk,
            now,
            look_ups: LookUps::default(),
            tickets: HashMap::new(),
            groups: HashMap::new(),
            care_tokens: HashMap::new(),
            reply_codes: HashMap::new(),
            changed: Vec::new(),
            told: HashSet::new(),
            messages: 0,
        })
    }

    /// Commits, and only then tells everybody what changed.
    pub(crate) async fn commit(self, store: &Store) -> Result<()> {
        self.tx.commit().await?;
        if self.messages > 0 {
            store.announce(Change::Outbox);
        }
        for (org, ticket) in self.changed {
            store.announce(Change::Ticket { org, ticket });
        }
        Ok(())
    }

    /// The ticket, locked against others until the commit.
    pub(crate) async fn load(&mut self, id: TicketId) -> Result<Option<Ticket>> {
        if let Some(ticket) = self.tickets.get(&id) {
            return Ok(Some(ticket.clone()));
        }
        let row: Option<(String,)> = fetch_optional!(&mut self.tx, "reading a ticket", LOAD, id.0)?;
        self.remember(row)
    }

    /// The ticket that takes alerts of this group.
    pub(crate) async fn load_group(&mut self, group_key: &str) -> Result<Option<Ticket>> {
        if let Some(known) = self.groups.get(group_key) {
            return Ok(known.and_then(|id| self.tickets.get(&id)).cloned());
        }
        let row: Option<(String,)> =
            fetch_optional!(&mut self.tx, "looking up an open ticket", LOAD_GROUP, text(group_key))?;
        let ticket = self.remember(row)?;
        self.groups.insert(group_key.to_owned(), ticket.as_ref().map(|ticket| ticket.id));
        Ok(ticket)
    }

    fn remember(&mut self, row: Option<(String,)>) -> Result<Option<Ticket>> {
        let Some((state,)) = row else { return Ok(None) };
        let ticket: Ticket = from_document("ticket", &state)?;
        self.tickets.insert(ticket.id, ticket.clone());
        Ok(Some(ticket))
    }

    /// Opens a ticket for an alert. `None` if the alert's organisation does not exist.
    pub(crate) async fn open(&mut self, alert: &Alert) -> Result<Option<TicketId>> {
        let row: Option<(i64,)> = fetch_optional!(&mut self.tx, "numbering a ticket", NEXT_NUMBER, alert.org.0)?;
        let Some((number,)) = row else { return Ok(None) };
        let place = Place { org: alert.org, site: alert.site, device: Some(&alert.device) };
        let roster = self.look_ups.roster(&mut self.tx, &place, None, None, self.now).await?;
        let id = TicketId(new_id(self.now));
        let policy = self.desk.policies.get(alert.kind);
        let (ticket, effects) = desk::open(policy, id, uint(number), alert, &roster, self.now);
        self.insert(&ticket).await?;
        self.groups.insert(ticket.group_key.clone(), Some(id));
        self.settle(&ticket, effects, Some(alert)).await?;
        self.tickets.insert(id, ticket);
        Ok(Some(id))
    }

    /// Lets an event happen to a ticket, and writes what follows.
    pub(crate) async fn advance(&mut self, ticket: &Ticket, event: &Event) -> Result<Ticket, WorkError> {
        let alert = match event {
            Event::AlertRaised(alert) | Event::AlertCleared(alert) => Some(&**alert),
            Event::Tick | Event::Act { .. } | Event::Delivered { .. } | Event::AffectedAdded { .. } => None,
        };
        let device = alert.map(|alert| &alert.device).or(ticket.device.as_ref());
        let place = Place { org: ticket.org, site: ticket.site, device };
        let roster = self.look_ups.roster(&mut self.tx, &place, Some(ticket), Some(event), self.now).await?;
        let (after, effects) = desk::transition(ticket, event, &roster, self.now).map_err(WorkError::Refused)?;
        if let Event::Act { actor: Actor::Person { person, channel, .. }, .. } = event {
            // They answered: whatever the provider says of the delivery, it reached them.
            let (ticket, person, channel) = (ticket.id.0, person.0, channel.code());
            execute!(&mut self.tx, "noting an answer", ANSWERED, ticket, person, channel, at(self.now))?;
        }
        if after == *ticket && effects.is_empty() {
            return Ok(after);
        }
        self.update(ticket, &after).await?;
        self.settle(&after, effects, alert).await?;
        if after.status == Status::Closed {
            self.groups.insert(after.group_key.clone(), None);
            execute!(&mut self.tx, "freeing reply codes", FREE_CODES, after.id.0)?;
        }
        self.tickets.insert(after.id, after.clone());
        Ok(after)
    }

    async fn insert(&mut self, ticket: &Ticket) -> Result<()> {
        let site = self.look_ups.site(&mut self.tx, ticket.site).await?;
        let device = match &ticket.device {
            Some(device) => self.look_ups.device(&mut self.tx, device).await?,
            None => None,
        };
        let search = search_text(ticket, site.as_ref(), device.as_ref());
        let (id, org, number) = (ticket.id.0, ticket.org.0, int(ticket.number));
        let (kind, status, severity) = (ticket.kind.code(), ticket.status.code(), ticket.severity.code());
        let device = ticket.device.as_ref().map(|device| device.as_str());
        let (group, opened, closed) = (text(&ticket.group_key), at(ticket.opened_at), ticket.closed_at.map(at));
        let (due, version, state) = (ticket.next_due().map(at), ticket.version, document("ticket", ticket)?);
        execute!(
            &mut self.tx, "opening a ticket", INSERT, id, org, number, kind, status, severity, ticket.life_safety,
            ticket.site.0, device, group, opened, closed, due, version, text(&search), state,
        )?;
        Ok(())
    }

    async fn update(&mut self, before: &Ticket, after: &Ticket) -> Result<()> {
        let (status, severity, closed) = (after.status.code(), after.severity.code(), after.closed_at.map(at));
        let due = if after.status == Status::Closed { None } else { after.next_due().map(at) };
        let state = document("ticket", after)?;
        let written = execute!(
            &mut self.tx, "advancing a ticket", UPDATE, after.id.0, before.version, status, severity, after.life_safety,
            closed, due, after.version, state,
        )?;
        if written == 1 { Ok(()) } else { Err(StoreError::Contended { what: "advancing a ticket" }) }
    }

    async fn settle(&mut self, ticket: &Ticket, effects: Vec<Effect>, alert: Option<&Alert>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Log(entry) => self.log(ticket.id, &entry).await?,
                Effect::CancelPages => {
                    execute!(&mut self.tx, "cancelling pages", CANCEL_PAGES, ticket.id.0, at(self.now))?;
                }
                Effect::Send(notification) => self.owe(ticket, &notification, alert).await?,
            }
        }
        self.tell(ticket.org, ticket.id);
        Ok(())
    }

    fn tell(&mut self, org: OrgId, ticket: TicketId) {
        if self.told.insert(ticket) {
            self.changed.push((org, ticket));
        }
    }

    async fn log(&mut self, ticket: TicketId, entry: &TimelineEntry) -> Result<()> {
        let (actor, what) = (document("actor", &entry.actor)?, document("timeline entry", &entry.what)?);
        execute!(&mut self.tx, "writing a timeline", LOG, ticket.0, at(entry.at), actor, what)?;
        Ok(())
    }

    async fn owe(&mut self, ticket: &Ticket, notification: &desk::Notification, alert: Option<&Alert>) -> Result<()> {
        let site = self.look_ups.site(&mut self.tx, ticket.site).await?;
        let device = match &ticket.device {
            Some(device) => self.look_ups.device(&mut self.tx, device).await?,
            None => None,
        };
        let link = match (notification.affected, notification.person, notification.purpose) {
            (Some(affected), ..) => self.care_link(affected).await?,
            (None, Some(_), model::Purpose::Page | model::Purpose::StandDown) => {
                Some(format!("{}/tickets/{}", self.desk.public_url.trim_end_matches('/'), ticket.id))
            }
            (None, ..) => None,
        };
        let reply_code = match notification.purpose {
            model::Purpose::Page => Some(self.reply_code(&notification.receiver.address, ticket.id).await?),
            model::Purpose::StandDown
            | model::Purpose::CareLink
            | model::Purpose::Progress
            | model::Purpose::Notice
            | model::Purpose::Answer => None,
        };
        let about = outbox::About { ticket, alert, site: site.as_ref(), device: device.as_ref(), link, reply_code };
        let content = outbox::content(&about, notification, self.now);
        if outbox::insert(&mut self.tx, ticket, notification, &content, self.now).await? {
            self.messages += 1;
        }
        Ok(())
    }

    async fn care_link(&mut self, affected: AffectedId) -> Result<Option<String>> {
        if !self.care_tokens.contains_key(&affected) {
            let row: Option<(String,)> = fetch_optional!(&mut self.tx, "reading a care link", CARE_TOKEN, affected.0)?;
            self.care_tokens.insert(affected, row.map(|(token,)| token));
        }
        let token = self.care_tokens.get(&affected).and_then(Option::as_deref);
        Ok(token.map(|token| self.desk.care_url(token)))
    }

    async fn reply_code(&mut self, address: &str, ticket: TicketId) -> Result<u32> {
        let key = (address.to_owned(), ticket);
        if let Some(code) = self.reply_codes.get(&key) {
            return Ok(*code);
        }
        let code = outbox::reply_code(&mut self.tx, address, ticket, self.now).await?;
        self.reply_codes.insert(key, code);
        Ok(code)
    }

    /// Moves a message's state forward, and tells the desk if a page was seen to reach somebody.
    pub(crate) async fn report(&mut self, report: &crate::delivery::Report<'_>) -> Result<()> {
        let Some(moved) = crate::delivery::move_forward(&mut self.tx, report, self.now).await? else { return Ok(()) };
        self.messages += 1;
        let Some(id) = moved.ticket else { return Ok(()) };
        self.tell(moved.org, id);
        let reached = matches!(report.state, DeliveryState::Delivered | DeliveryState::Answered);
        let (true, true, Some(person)) = (reached, moved.is_page, moved.person) else { return Ok(()) };
        let Some(ticket) = self.load(id).await? else { return Ok(()) };
        match self.advance(&ticket, &Event::Delivered { person, channel: moved.channel }).await {
            Ok(_) => Ok(()),
            Err(WorkError::Refused(refused)) => {
                tracing::debug!(ticket.id = %id, %refused, "a delivery receipt came too late to matter");
                Ok(())
            }
            Err(WorkError::Store(error)) => Err(error),
        }
    }
}

impl DeskSettings {
    /// The address of a care page.
    pub(crate) fn care_url(&self, token: &str) -> String {
        format!("{}/c/{token}", self.public_url.trim_end_matches('/'))
    }
}

/// What a search over tickets looks into.
fn search_text(ticket: &Ticket, site: Option<&Site>, device: Option<&Device>) -> String {
    let mut words = vec![format!("#{}", ticket.number), ticket.title.en.clone(), ticket.title.zh.clone()];
    words.extend(ticket.device.as_ref().map(ToString::to_string));
    if let Some(device) = device {
        words.push(device.name.clone());
        words.extend(device.plate.clone());
    }
    if let Some(site) = site {
        words.extend([site.name.clone(), site.address.clone()]);
    }
    words.join(" ").to_lowercase()
}

/// How often a transaction that lost a race is run again.
pub(crate) const ATTEMPTS: u32 = 5;

/// Whether it lost a race, so that the same transaction run again would probably win.
pub(crate) fn worth_repeating(error: &StoreError) -> bool {
    error.lost_race() || matches!(error, StoreError::Contended { .. })
}
