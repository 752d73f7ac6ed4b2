//! Tickets inside a transaction: load, let the desk decide, write the ticket, its timeline and what it owes.

use std::collections::{HashMap, HashSet};

use desk::{Actor, Effect, Event, Status, Ticket, TransitionError};
use model::{AffectedId, Alert, DeliveryState, Device, OrgId, Site, TicketId, Timestamp};
use uuid::Uuid;

use crate::{
    Change, DeskSettings, Result, Store, StoreError,
    db::{
        TextList, Tx, UuidList, at, document, execute, fetch_all, fetch_optional, from_document, int, new_id,
        statements, text, uint,
    },
    outbox::{self, NewMessage},
    pending::Pending,
    repairs,
    roster::{LookUps, Place},
    surroundings::Around,
};

statements! {
    // NO KEY: rows that refer to a ticket can be written meanwhile.
    // The rows stay locked until the commit, so that two events on one ticket take turns; in one order, so that two
    // transactions do not wait for each other. SQLite has one writer.
    LOAD = each(
        "SELECT state, lines FROM tickets WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        "SELECT state, lines FROM tickets WHERE id IN (SELECT unhex(value) FROM json_each($1))");
    LOAD_GROUPS = each(
        "SELECT state, lines FROM tickets WHERE group_key = ANY($1) AND status <> 'closed' ORDER BY id FOR NO KEY UPDATE",
        "SELECT state, lines FROM tickets WHERE group_key IN (SELECT value FROM json_each($1)) AND status <> 'closed'");
    NEXT_NUMBER = each(
        "SELECT next_ticket FROM organisations WHERE id = $1 FOR NO KEY UPDATE",
        "SELECT next_ticket FROM organisations WHERE id = $1");
    KEEP_NUMBER = both("UPDATE organisations SET next_ticket = $2 WHERE id = $1");
    INSERT = both("
        INSERT INTO tickets (id, org, number, kind, status, severity, life_safety, site, device, group_key,
            opened_at, closed_at, next_due_at, version, lines, search, state, held_by, parent)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)");
    HELD = each(
        "SELECT id FROM tickets WHERE held_by = ANY($1) ORDER BY id",
        "SELECT id FROM tickets WHERE held_by IN (SELECT unhex(value) FROM json_each($1)) ORDER BY id");
    UPDATE = both("
        UPDATE tickets SET status = $3, severity = $4, life_safety = $5, closed_at = $6, next_due_at = $7, version = $8,
            lines = $9, state = $10, held_by = $11, parent = $12
        WHERE id = $1 AND version = $2");
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
    /// Tickets loaded so far, as they stand, and how many lines their timelines have.
    tickets: HashMap<TicketId, Ticket>,
    lines: HashMap<TicketId, u64>,
    /// Tickets that stand otherwise than in the database, with the version that they have there.
    unwritten: HashMap<TicketId, i64>,
    /// Tickets opened here: the database has none of their messages yet.
    opened: HashSet<TicketId>,
    /// The next number of each organisation that a ticket was opened in; `None` if it does not exist.
    numbers: HashMap<OrgId, Option<i64>>,
    pending: Pending,
    /// The ticket that takes alerts of a group; `None` if none does.
    groups: HashMap<String, Option<TicketId>>,
    /// What may hold pages back.
    around: Around,
    care_tokens: HashMap<AffectedId, Option<String>>,
    reply_codes: HashMap<(String, TicketId), u32>,
    /// Tickets to tell of after the commit, each once.
    changed: Vec<(OrgId, TicketId)>,
    told: HashSet<TicketId>,
    /// True if a message is owed or a message's state changed.
    outbox_changed: bool,
}

impl<'a> Work<'a> {
    pub(crate) async fn begin(store: &'a Store, now: Timestamp) -> Result<Self> {
        Ok(Self {
            tx: store.db().begin().await?,
            desk: &store.inner.desk,
            now,
            look_ups: LookUps::default(),
            tickets: HashMap::new(),
            lines: HashMap::new(),
            unwritten: HashMap::new(),
            opened: HashSet::new(),
            numbers: HashMap::new(),
            pending: Pending::default(),
            groups: HashMap::new(),
            around: Around::new(&store.inner.around),
            care_tokens: HashMap::new(),
            reply_codes: HashMap::new(),
            changed: Vec::new(),
            told: HashSet::new(),
            outbox_changed: false,
        })
    }

    /// What follows happened at another time than what came before.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Writes what was gathered. Returns how many messages are owed that were not owed before.
    pub(crate) async fn write(&mut self) -> Result<u64> {
        for (ticket, version) in std::mem::take(&mut self.unwritten) {
            if let Some(ticket) = self.tickets.get(&ticket).cloned() {
                self.update(version, &ticket).await?;
            }
        }
        for (org, next) in std::mem::take(&mut self.numbers) {
            if let Some(next) = next {
                execute!(&mut self.tx, "numbering tickets", KEEP_NUMBER, org.0, next)?;
            }
        }
        self.around.write(&mut self.tx).await?;
        let owed = self.pending.write(&mut self.tx).await?;
        self.opened.clear();
        self.outbox_changed |= owed > 0;
        Ok(owed)
    }

    /// Writes what was gathered, commits, and only then tells everybody what changed.
    pub(crate) async fn commit(mut self, store: &Store) -> Result<()> {
        self.write().await?;
        self.tx.commit().await?;
        if self.outbox_changed {
            store.announce(Change::Outbox);
        }
        for (org, ticket) in self.changed {
            store.announce(Change::Ticket { org, ticket });
        }
        Ok(())
    }

    /// The ticket, locked against others until the commit.
    pub(crate) async fn load(&mut self, id: TicketId) -> Result<Option<Ticket>> {
        if !self.tickets.contains_key(&id) {
            self.load_all(vec![id.0]).await?;
        }
        Ok(self.tickets.get(&id).cloned())
    }

    /// Loads these tickets at once, for [`Work::load`] to find.
    pub(crate) async fn load_all(&mut self, ids: Vec<Uuid>) -> Result<()> {
        let rows: Vec<(String, i64)> = fetch_all!(&mut self.tx, "reading tickets", LOAD, UuidList(ids))?;
        rows.into_iter().try_for_each(|row| self.remember(row).map(drop))
    }

    /// Loads the tickets that take alerts of these groups at once, for [`Work::load_group`] to find, and the devices.
    pub(crate) async fn load_groups(&mut self, alerts: &[&Alert]) -> Result<()> {
        let keys: HashSet<String> = alerts.iter().map(|alert| self.around.noise().route(alert).key).collect();
        let list = TextList(keys.iter().cloned().collect());
        let rows: Vec<(String, i64)> = fetch_all!(&mut self.tx, "looking up open tickets", LOAD_GROUPS, list)?;
        self.groups.extend(keys.into_iter().map(|key| (key, None)));
        for row in rows {
            let (id, key) = self.remember(row)?;
            self.groups.insert(key, Some(id));
        }
        self.look_ups.load_devices(&mut self.tx, alerts.iter().map(|alert| &alert.device).collect()).await
    }

    /// The ticket that takes this alert, which was named to [`Work::load_groups`] before.
    pub(crate) fn load_group(&self, alert: &Alert) -> Option<Ticket> {
        self.groups
            .get(&self.around.noise().route(alert).key)
            .copied()
            .flatten()
            .and_then(|id| self.tickets.get(&id))
            .cloned()
    }

    fn remember(&mut self, (state, lines): (String, i64)) -> Result<(TicketId, String)> {
        let ticket: Ticket = from_document("ticket", &state)?;
        let (id, key) = (ticket.id, ticket.group_key.clone());
        // What stands here already may be further than the database.
        self.tickets.entry(id).or_insert(ticket);
        self.lines.entry(id).or_insert(uint(lines));
        Ok((id, key))
    }

    async fn next_number(&mut self, org: OrgId) -> Result<Option<u64>> {
        if !self.numbers.contains_key(&org) {
            let row: Option<(i64,)> = fetch_optional!(&mut self.tx, "numbering a ticket", NEXT_NUMBER, org.0)?;
            self.numbers.insert(org, row.map(|(next,)| next));
        }
        let next = self.numbers.get_mut(&org).and_then(Option::as_mut);
        Ok(next.map(|next| {
            *next += 1;
            uint(*next - 1)
        }))
    }

    /// Opens a ticket for an alert. `None` if the alert's organisation does not exist.
    pub(crate) async fn open(&mut self, alert: &Alert) -> Result<Option<TicketId>> {
        let Some(number) = self.next_number(alert.org).await? else { return Ok(None) };
        let place = Place { org: alert.org, site: alert.site, device: Some(&alert.device) };
        let mut roster = self.look_ups.roster(&mut self.tx, &place, None, None, self.now).await?;
        roster.around = match alert.life_safety {
            true => self.around.settings(),
            false => self.around.of(&mut self.tx, alert.org, self.now).await?,
        };
        let id = TicketId(new_id(self.now));
        let policy = self.desk.policies.get(alert.kind);
        let (ticket, effects) = desk::open(policy, id, number, alert, &roster, self.now);
        self.insert(&ticket, &effects).await?;
        self.opened.insert(id);
        self.groups.insert(ticket.group_key.clone(), Some(id));
        self.settle(&ticket, effects, Some(alert)).await?;
        self.tickets.insert(id, ticket);
        Ok(Some(id))
    }

    /// Looks up how often the conditions of these alerts came lately.
    pub(crate) async fn load_flaps(&mut self, alerts: impl Iterator<Item = &Alert>) -> Result<()> {
        self.around.load_flaps(&mut self.tx, alerts).await
    }

    /// Counts an alert that is about to be raised.
    pub(crate) fn count(&mut self, alert: &Alert) {
        self.around.count(alert);
    }

    /// Notes that an alert was raised.
    pub(crate) async fn raise(&mut self, alert: &Alert, ticket: TicketId) -> Result<()> {
        self.around.raised(&mut self.tx, alert, ticket).await?;
        self.pending.raise(alert, ticket, self.now)
    }

    /// Looks again at the tickets that were held back by what has cleared here.
    pub(crate) async fn look_again_after_clears(&mut self) -> Result<()> {
        let ended = self.around.ended();
        if ended.is_empty() { Ok(()) } else { self.look_again(ended).await }
    }

    /// Looks again at the tickets that these alerts or silences hold back.
    pub(crate) async fn look_again(&mut self, ended: Vec<Uuid>) -> Result<()> {
        let rows: Vec<(Uuid,)> =
            fetch_all!(&mut self.tx, "looking for what is held back", HELD, UuidList(ended.clone()))?;
        let held_here = self.tickets.values().filter(|ticket| held_by(ticket).is_some_and(|id| ended.contains(&id)));
        let mut ids: Vec<Uuid> = rows.into_iter().map(|(id,)| id).chain(held_here.map(|ticket| ticket.id.0)).collect();
        ids.sort_unstable();
        ids.dedup();
        self.load_all(ids.iter().copied().filter(|id| !self.tickets.contains_key(&TicketId(*id))).collect()).await?;
        for id in ids {
            let Some(ticket) = self.load(TicketId(id)).await? else { continue };
            match self.advance(&ticket, &Event::LookAgain).await {
                Ok(_) => {}
                Err(WorkError::Refused(refused)) => {
                    tracing::debug!(ticket.id = %id, %refused, "a ticket that was held back is over");
                }
                Err(WorkError::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Notes that an alert ended.
    pub(crate) fn change(&mut self, alert: &Alert) -> Result<()> {
        self.pending.change(alert)
    }

    pub(crate) fn clear(&mut self, alert: &Alert) -> Result<()> {
        self.around.cleared(alert);
        self.pending.clear(alert, alert.cleared_at.unwrap_or(self.now), self.now)
    }

    /// Lets an event happen to a ticket, and writes what follows.
    pub(crate) async fn advance(&mut self, ticket: &Ticket, event: &Event) -> Result<Ticket, WorkError> {
        let alert = match event {
            Event::AlertRaised(alert) | Event::AlertChanged(alert) | Event::AlertCleared(alert) => Some(&**alert),
            Event::Tick
            | Event::LookAgain
            | Event::Act { .. }
            | Event::Delivered { .. }
            | Event::AffectedAdded { .. } => None,
        };
        let device = alert.map(|alert| &alert.device).or(ticket.device.as_ref());
        let place = Place { org: ticket.org, site: ticket.site, device };
        let mut roster = self.look_ups.roster(&mut self.tx, &place, Some(ticket), Some(event), self.now).await?;
        let may_be_held =
            matches!(event, Event::AlertRaised(_) | Event::AlertChanged(_) | Event::Tick | Event::LookAgain);
        roster.around = if may_be_held && !ticket.life_safety {
            self.around.of(&mut self.tx, ticket.org, self.now).await?
        } else {
            self.around.settings()
        };
        let (after, effects) = desk::transition(ticket, event, &roster, self.now).map_err(WorkError::Refused)?;
        if let Event::Act { actor: Actor::Person { person, channel, .. }, .. } = event {
            // They answered: whatever the provider says of the delivery, it reached them.
            let (ticket, person, channel) = (ticket.id.0, person.0, channel.code());
            execute!(&mut self.tx, "noting an answer", ANSWERED, ticket, person, channel, at(self.now))?;
        }
        if after == *ticket && effects.is_empty() {
            return Ok(after);
        }
        let stored_version = *self.unwritten.entry(after.id).or_insert(ticket.version);
        self.settle(&after, effects, alert).await?;
        if after.status == Status::Closed {
            // At once: the next ticket of the group can be opened only when this one is closed in the database.
            self.unwritten.remove(&after.id);
            self.update(stored_version, &after).await?;
            repairs::note(&mut self.tx, &after, self.now).await?;
            self.groups.insert(after.group_key.clone(), None);
            execute!(&mut self.tx, "freeing reply codes", FREE_CODES, after.id.0)?;
        }
        self.tickets.insert(after.id, after.clone());
        Ok(after)
    }

    async fn insert(&mut self, ticket: &Ticket, effects: &[Effect]) -> Result<()> {
        let lines = effects.iter().filter(|effect| matches!(effect, Effect::Log(_))).count();
        let lines = int(lines as u64);
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
            &mut self.tx,
            "opening a ticket",
            INSERT,
            id,
            org,
            number,
            kind,
            status,
            severity,
            ticket.life_safety,
            ticket.site.0,
            device,
            group,
            opened,
            closed,
            due,
            version,
            lines,
            text(&search),
            state,
            held_by(ticket),
            parent(ticket),
        )?;
        Ok(())
    }

    async fn update(&mut self, stored_version: i64, after: &Ticket) -> Result<()> {
        let (status, severity, closed) = (after.status.code(), after.severity.code(), after.closed_at.map(at));
        let due = if after.status == Status::Closed { None } else { after.next_due().map(at) };
        let lines = int(self.lines.get(&after.id).copied().unwrap_or(0));
        let state = document("ticket", after)?;
        let written = execute!(
            &mut self.tx,
            "advancing a ticket",
            UPDATE,
            after.id.0,
            stored_version,
            status,
            severity,
            after.life_safety,
            closed,
            due,
            after.version,
            lines,
            state,
            held_by(after),
            parent(after),
        )?;
        if written == 1 { Ok(()) } else { Err(StoreError::Contended { what: "advancing a ticket" }) }
    }

    async fn settle(&mut self, ticket: &Ticket, effects: Vec<Effect>, alert: Option<&Alert>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Log(entry) => {
                    let seq = self.lines.entry(ticket.id).or_insert(0);
                    *seq += 1;
                    self.pending.log(ticket.id, *seq, &entry)?;
                }
                Effect::CancelPages => {
                    self.pending.cancel_pages(ticket.id);
                    if !self.opened.contains(&ticket.id) {
                        execute!(&mut self.tx, "cancelling pages", CANCEL_PAGES, ticket.id.0, at(self.now))?;
                    }
                }
                Effect::Send(notification) => self.owe(ticket, notification, alert).await?,
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

    async fn owe(&mut self, ticket: &Ticket, notification: desk::Notification, alert: Option<&Alert>) -> Result<()> {
        let site = self.look_ups.site(&mut self.tx, ticket.site).await?;
        let device = match &ticket.device {
            Some(device) => self.look_ups.device(&mut self.tx, device).await?,
            None => None,
        };
        let link = match (notification.affected, notification.person, notification.purpose) {
            (Some(affected), ..) => self.care_link(affected).await?,
            (None, Some(_), model::Purpose::Page | model::Purpose::StandDown | model::Purpose::Update) => {
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
            | model::Purpose::Update
            | model::Purpose::Answer => None,
        };
        let about = outbox::About { ticket, alert, site: site.as_ref(), device: device.as_ref(), link, reply_code };
        let content = outbox::content(&about, &notification, self.now);
        self.pending.owe(NewMessage::new(ticket, notification, &content, self.now)?);
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
        self.outbox_changed = true;
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

/// The alert or silence that holds a ticket's pages back: when it ends, the ticket is looked at again.
fn held_by(ticket: &Ticket) -> Option<Uuid> {
    ticket.held.as_ref()?.reason.waits_for()
}

/// The ticket whose cause explains this one.
fn parent(ticket: &Ticket) -> Option<Uuid> {
    ticket.held.as_ref()?.reason.explained_by().map(|ticket| ticket.0)
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
