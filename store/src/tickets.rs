//! Tickets: lists, details, timers, and everything that people do to them.

use desk::{Event, Ticket, TimelineEntry, TransitionError};
use model::{Alert, Device, DeviceId, OrgId, Site, SiteId, TicketId, TicketKind, Timestamp};
use uuid::Uuid;

use crate::{
    Result, Store, StoreError,
    db::{DbTime, at, fetch_all, from_document, int, name, statements, text, uint},
    desk_work::{ATTEMPTS, Work, WorkError, worth_repeating},
    devices::{DeviceRow, device, like},
    orgs::{SiteRow, site},
};

macro_rules! columns {
    () => {
        "t.state, s.id, s.org, s.name, s.address, s.time_zone, d.id, d.org, d.site, d.profile, d.name, d.plate"
    };
}

macro_rules! tables {
    () => {
        " FROM tickets t LEFT JOIN sites s ON s.id = t.site LEFT JOIN devices d ON d.id = t.device "
    };
}

statements! {
    DUE = both("
        SELECT org, id FROM tickets WHERE next_due_at IS NOT NULL AND next_due_at <= $1 ORDER BY next_due_at, id LIMIT $2");
    NEXT_DUE = both("SELECT next_due_at FROM tickets WHERE next_due_at IS NOT NULL ORDER BY next_due_at LIMIT 1");
    LIST = both(concat!("
        SELECT ", columns!(), tables!(), "
        WHERE t.org = $1 AND ($2 = 'all' OR ($2 = 'closed') = (t.status = 'closed')) AND (t.kind = $3 OR $3 IS NULL)
            AND (t.device = $4 OR $4 IS NULL) AND (t.site = $5 OR $5 IS NULL)
            AND (t.search LIKE $6 ESCAPE '\\' OR $6 IS NULL) AND (t.number < $7 OR $7 IS NULL)
        ORDER BY t.number DESC LIMIT $8"));
    // The same for the list that is always on the screens, in a form that its index serves.
    LIST_LIVE = both(concat!("
        SELECT ", columns!(), tables!(), "
        WHERE t.org = $1 AND t.status <> 'closed' AND (t.kind = $2 OR $2 IS NULL)
            AND (t.device = $3 OR $3 IS NULL) AND (t.site = $4 OR $4 IS NULL)
            AND (t.search LIKE $5 ESCAPE '\\' OR $5 IS NULL) AND (t.number < $6 OR $6 IS NULL)
        ORDER BY t.number DESC LIMIT $7"));
    // No document is read: a site in trouble has many tickets, and the page of each asks again every few seconds.
    STANDING = both("
        SELECT DISTINCT a.device FROM tickets t JOIN alerts a ON a.ticket = t.id AND a.cleared_at IS NULL
        WHERE t.org = $1 AND t.status <> 'closed' AND t.site = $2 AND t.kind IN ('entrapment', 'breakdown', 'outage')
            AND t.severity IN ('major', 'critical') ORDER BY a.device LIMIT $3");
    LIFE_SAFETY = both("
        SELECT org, id, version FROM tickets WHERE status <> 'closed' AND life_safety ORDER BY opened_at DESC LIMIT $1");
    BY_ID = both(concat!("SELECT ", columns!(), tables!(), "WHERE t.org = $1 AND t.id = $2"));
    BY_NUMBER = both(concat!("SELECT ", columns!(), tables!(), "WHERE t.org = $1 AND t.number = $2"));
    EXPLAINED = both(concat!("
        SELECT ", columns!(), tables!(), "WHERE t.org = $1 AND t.parent = $2 AND t.status <> 'closed' ORDER BY t.number LIMIT $3"));
    TIMELINE = both("
        SELECT l.seq, l.at, l.actor, l.what FROM ticket_timeline l JOIN tickets t ON t.id = l.ticket
        WHERE t.org = $1 AND l.ticket = $2 ORDER BY l.seq");
    ALERTS_OF = both("SELECT body FROM alerts WHERE org = $1 AND ticket = $2 ORDER BY raised_at, id");
    ALERTS = both("SELECT body, ticket FROM alerts WHERE org = $1 AND device = $2 ORDER BY raised_at DESC, id LIMIT $3");
}

/// Why an event did not happen to a ticket.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The organisation has no such ticket.
    #[error("there is no ticket {0} in this organisation; check the link, or look it up in the list")]
    NotFound(TicketId),
    /// The desk refused it.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<WorkError> for ApplyError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Refused(refused) => Self::Transition(refused),
            WorkError::Store(error) => Self::Store(error),
        }
    }
}

/// Tickets in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TicketState {
    /// Not closed.
    #[default]
    Open,
    /// Closed.
    Closed,
    /// Any.
    All,
}

/// Which of an organisation's tickets to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketFilter {
    /// In this state.
    pub state: TicketState,
    /// Of this kind.
    pub kind: Option<TicketKind>,
    /// About this device.
    pub device: Option<DeviceId>,
    /// At this site.
    pub site: Option<SiteId>,
    /// With this text in their number, title, device's or site's names or address.
    pub text: Option<String>,
    /// At most this many.
    pub limit: u32,
    /// With a lower number than this.
    pub before: Option<u64>,
}

/// A ticket with the names of its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketView {
    /// The ticket.
    pub ticket: Ticket,
    /// Its site.
    pub site: Option<Site>,
    /// Its device; `None` also if it is about a whole site.
    pub device: Option<Device>,
}

/// Some tickets, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TicketPage {
    /// The tickets.
    pub tickets: Vec<TicketView>,
    /// Where the next page begins: pass it as [`TicketFilter::before`]. `None`: there are no more.
    pub next: Option<u64>,
}

pub(crate) type OptionalSite = (Option<Uuid>, Option<Uuid>, Option<String>, Option<String>, Option<String>);
pub(crate) type OptionalDevice =
    (Option<String>, Option<Uuid>, Option<Uuid>, Option<String>, Option<String>, Option<String>);

type ViewRow = (
    String,
    Option<Uuid>,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Uuid>,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<String>,
);

pub(crate) fn optional_site(row: OptionalSite) -> Option<Site> {
    let (Some(id), Some(org), Some(name), Some(address), Some(zone)) = row else { return None };
    let row: SiteRow = (id, org, name, address, zone);
    Some(site(row))
}

pub(crate) fn optional_device(row: OptionalDevice) -> Result<Option<Device>> {
    let (Some(id), Some(org), Some(site), Some(profile), Some(name), plate) = row else { return Ok(None) };
    let row: DeviceRow = (id, org, site, profile, name, plate);
    device(row).map(Some)
}

fn view(row: ViewRow) -> Result<TicketView> {
    let (state, site, site_org, site_name, address, zone, id, org, at_site, profile, name, plate) = row;
    Ok(TicketView {
        ticket: from_document("ticket", &state)?,
        site: optional_site((site, site_org, site_name, address, zone)),
        device: optional_device((id, org, at_site, profile, name, plate))?,
    })
}

pub(crate) type TimelineRow = (i64, DbTime, String, String);

pub(crate) fn timeline_entry((seq, at, actor, what): TimelineRow) -> Result<(u64, TimelineEntry)> {
    let (actor, what) = (from_document("actor", &actor)?, from_document("timeline entry", &what)?);
    Ok((uint(seq), TimelineEntry { at: at.into(), actor, what }))
}

impl Store {
    /// Tickets whose timer is due, the longest due first. Apply [`Event::Tick`] to each.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn due_tickets(&self, now: Timestamp, limit: u32) -> Result<Vec<(OrgId, TicketId)>> {
        let rows: Vec<(Uuid, Uuid)> =
            fetch_all!(self.db().read, "listing due tickets", DUE, at(now), i64::from(limit))?;
        Ok(rows.into_iter().map(|(org, ticket)| (OrgId(org), TicketId(ticket))).collect())
    }

    /// When the next timer of any ticket is due.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn next_ticket_due(&self) -> Result<Option<Timestamp>> {
        let row: Option<(DbTime,)> =
            crate::db::fetch_optional!(self.db().read, "looking for the next timer", NEXT_DUE)?;
        Ok(row.map(|(due,)| due.into()))
    }

    /// Lets an event happen to a ticket: loads it, asks the desk, and commits the ticket, its timeline and the messages
    /// it owes in one transaction. An event that changes nothing returns the ticket as it is.
    ///
    /// # Errors
    /// [`ApplyError`] if the ticket is not the organisation's, the desk refuses, or the database fails.
    pub async fn apply(
        &self,
        org: OrgId,
        ticket: TicketId,
        event: Event,
        now: Timestamp,
    ) -> Result<Ticket, ApplyError> {
        let mut tries = 1;
        loop {
            match self.try_apply(org, ticket, &event, now).await {
                Err(ApplyError::Store(error)) if tries < ATTEMPTS && worth_repeating(&error) => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_apply(&self, org: OrgId, id: TicketId, event: &Event, now: Timestamp) -> Result<Ticket, ApplyError> {
        let mut work = Work::begin(self, now).await?;
        let ticket = work.load(id).await?.filter(|ticket| ticket.org == org).ok_or(ApplyError::NotFound(id))?;
        let after = work.advance(&ticket, event).await?;
        work.commit(self).await?;
        Ok(after)
    }

    /// The organisation's tickets that match, newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn tickets(&self, org: OrgId, filter: &TicketFilter) -> Result<TicketPage> {
        let kind = filter.kind.map(TicketKind::code);
        let (device, site) = (filter.device.as_ref().map(DeviceId::as_str), filter.site.map(|site| site.0));
        let pattern = filter.text.as_deref().map(like);
        let before = filter.before.map(int);
        // One more than asked for says whether there are more.
        let limit = i64::from(filter.limit) + 1;
        let (read, what) = (&self.db().read, "listing tickets");
        let state = match filter.state {
            TicketState::Open => None,
            TicketState::Closed => Some("closed"),
            TicketState::All => Some("all"),
        };
        let rows: Vec<ViewRow> = match state {
            None => fetch_all!(read, what, LIST_LIVE, org.0, kind, device, site, pattern, before, limit)?,
            Some(state) => fetch_all!(read, what, LIST, org.0, state, kind, device, site, pattern, before, limit)?,
        };
        let more = rows.len() > filter.limit as usize;
        let mut tickets = rows.into_iter().map(view).collect::<Result<Vec<_>>>()?;
        tickets.truncate(filter.limit as usize);
        let next = if more { tickets.last().map(|view| view.ticket.number) } else { None };
        Ok(TicketPage { tickets, next })
    }

    /// Open tickets of every organisation that concern life safety, the newest first, each with its version.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn life_safety_tickets(&self, limit: u32) -> Result<Vec<(OrgId, TicketId, i64)>> {
        let what = "listing tickets that concern life safety";
        let rows: Vec<(Uuid, Uuid, i64)> = fetch_all!(self.db().read, what, LIFE_SAFETY, i64::from(limit))?;
        Ok(rows.into_iter().map(|(org, id, version)| (OrgId(org), TicketId(id), version)).collect())
    }

    /// One of the organisation's tickets.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn ticket(&self, org: OrgId, id: TicketId) -> Result<Option<TicketView>> {
        let row: Option<ViewRow> = crate::db::fetch_optional!(self.db().read, "reading a ticket", BY_ID, org.0, id.0)?;
        row.map(view).transpose()
    }

    /// The organisation's ticket with this number.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn ticket_by_number(&self, org: OrgId, number: u64) -> Result<Option<TicketView>> {
        let row: Option<ViewRow> =
            crate::db::fetch_optional!(self.db().read, "reading a ticket", BY_NUMBER, org.0, int(number))?;
        row.map(view).transpose()
    }

    /// Devices of a site that stand still: with an alert that stands on an entrapment, breakdown or outage of major severity or
    /// worse; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn devices_standing(&self, org: OrgId, site: SiteId, limit: u32) -> Result<Vec<DeviceId>> {
        let what = "listing devices that stand still";
        let rows: Vec<(String,)> = fetch_all!(self.db().read, what, STANDING, org.0, site.0, i64::from(limit))?;
        rows.into_iter().map(|(device,)| name("device id", &device)).collect()
    }

    /// Open tickets whose pages are held back because an alert of this ticket explains them.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn explained_by(&self, org: OrgId, ticket: TicketId, limit: u32) -> Result<Vec<TicketView>> {
        let limit = i64::from(limit);
        let rows: Vec<ViewRow> =
            fetch_all!(self.db().read, "listing what a ticket explains", EXPLAINED, org.0, ticket.0, limit)?;
        rows.into_iter().map(view).collect()
    }

    /// A ticket's timeline, in order, each entry with its number.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn timeline(&self, org: OrgId, id: TicketId) -> Result<Vec<(u64, TimelineEntry)>> {
        let rows: Vec<TimelineRow> = fetch_all!(self.db().read, "reading a timeline", TIMELINE, org.0, id.0)?;
        rows.into_iter().map(timeline_entry).collect()
    }

    /// A ticket's alerts with their evidence, in the order they were raised.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn ticket_alerts(&self, org: OrgId, ticket: TicketId) -> Result<Vec<Alert>> {
        let rows: Vec<(String,)> = fetch_all!(self.db().read, "listing a ticket's alerts", ALERTS_OF, org.0, ticket.0)?;
        rows.into_iter().map(|(body,)| from_document("alert", &body)).collect()
    }

    /// A device's alerts, newest first, each with its ticket.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn alerts(&self, org: OrgId, device: &DeviceId, limit: u32) -> Result<Vec<(Alert, TicketId)>> {
        let rows: Vec<(String, Uuid)> =
            fetch_all!(self.db().read, "listing alerts", ALERTS, org.0, text(device.as_str()), i64::from(limit))?;
        rows.into_iter().map(|(body, ticket)| Ok((from_document("alert", &body)?, TicketId(ticket)))).collect()
    }
}
