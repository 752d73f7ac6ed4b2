//! Affected people and the links to their care pages.

use std::{collections::HashMap, time::Duration};

use desk::{Actor, Affected, Event, Ticket, TimelineEntry};
use model::{AffectedId, Device, Language, OrgId, Receiver, Site, TicketId, Timestamp};
use uuid::Uuid;

use crate::{
    ApplyError, Result, Store, StoreError,
    db::{at, execute, fetch_all, fetch_optional, new_id, statements},
    desk_work::{ATTEMPTS, Work, worth_repeating},
    secret,
};

statements! {
    INSERT = both("
        INSERT INTO care_links (affected, ticket, token, token_sha256, created_at) VALUES ($1, $2, $3, $4, $5)");
    OF_TICKET = both("
        SELECT l.affected, l.token FROM care_links l JOIN tickets t ON t.id = l.ticket WHERE t.org = $1 AND t.id = $2");
    TOKEN_OF = both("SELECT token FROM care_links WHERE affected = $1");
    BY_TOKEN = both("
        SELECT l.affected, t.org, t.id FROM care_links l JOIN tickets t ON t.id = l.ticket
        WHERE l.token_sha256 = $1 AND (t.closed_at IS NULL OR t.closed_at > $2)");
}

/// How long a care page can be read after its ticket was closed.
pub(crate) const LINK_LIFETIME: Duration = Duration::from_secs(72 * 3600);

/// An affected person to be added to a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAffected {
    /// Their name, if they gave one.
    pub name: Option<String>,
    /// How to reach them.
    pub receiver: Receiver,
    /// Their language.
    pub language: Language,
    /// True if they are inside the car.
    pub inside: bool,
}

/// What a care page is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct CarePage {
    /// The organisation.
    pub org: OrgId,
    /// The ticket.
    pub ticket: Ticket,
    /// The person whose page it is.
    pub affected: Affected,
    /// The ticket's timeline.
    pub timeline: Vec<(u64, TimelineEntry)>,
    /// The device.
    pub device: Option<Device>,
    /// The site.
    pub site: Option<Site>,
}

impl Store {
    /// Adds an affected person and owes them the link to their care page. Returns the ticket, the person, and the
    /// link's token. Somebody with the same contact method is not added again: the person and link known are returned.
    ///
    /// # Errors
    /// [`ApplyError`] if the ticket is not the organisation's, the desk refuses, or the database fails.
    pub async fn add_affected(
        &self,
        org: OrgId,
        ticket: TicketId,
        new: &NewAffected,
        by: Actor,
        now: Timestamp,
    ) -> Result<(Ticket, Affected, String), ApplyError> {
        let affected = Affected {
            id: AffectedId(new_id(now)),
            name: new.name.clone(),
            receiver: new.receiver.clone(),
            language: new.language,
            inside: new.inside,
            added_at: now,
        };
        let event = Event::AffectedAdded { actor: by, affected: affected.clone() };
        let mut tries = 1;
        loop {
            match self.try_add(org, ticket, &affected, &event, now).await {
                Err(ApplyError::Store(error)) if tries < ATTEMPTS && worth_repeating(&error) => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_add(
        &self,
        org: OrgId,
        id: TicketId,
        affected: &Affected,
        event: &Event,
        now: Timestamp,
    ) -> Result<(Ticket, Affected, String), ApplyError> {
        let token = secret::token()?;
        let mut work = Work::begin(self, now).await?;
        let ticket = work.load(id).await?.filter(|ticket| ticket.org == org).ok_or(ApplyError::NotFound(id))?;
        // Added twice, as with a double click: theirs is the link that they have.
        if let Some(known) = ticket.affected.iter().find(|known| known.receiver == affected.receiver).cloned() {
            let row: Option<(String,)> = fetch_optional!(&mut work.tx, "reading a care link", TOKEN_OF, known.id.0)?;
            let (token,) = row.ok_or_else(|| StoreError::corrupt("care link", "it is missing"))?;
            return Ok((ticket, known, token));
        }
        // Before the event: the message that it owes carries the link.
        let (hash, what) = (secret::hash(&token), "making a care link");
        execute!(&mut work.tx, what, INSERT, affected.id.0, id.0, token.as_str(), hash, at(now))?;
        let after = work.advance(&ticket, event).await?;
        work.commit(self).await?;
        Ok((after, affected.clone(), token))
    }

    async fn care_tokens(&self, org: OrgId, ticket: TicketId) -> Result<HashMap<AffectedId, String>> {
        let rows: Vec<(Uuid, String)> = fetch_all!(self.db().read, "listing care links", OF_TICKET, org.0, ticket.0)?;
        Ok(rows.into_iter().map(|(affected, token)| (AffectedId(affected), token)).collect())
    }

    /// The addresses of the care pages of a ticket's affected people.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn care_links(&self, org: OrgId, ticket: TicketId) -> Result<HashMap<AffectedId, String>> {
        let tokens = self.care_tokens(org, ticket).await?;
        Ok(tokens.into_iter().map(|(affected, token)| (affected, self.inner.desk.care_url(&token))).collect())
    }

    /// What the care page of this token shows. `None` if there is no such link, or 72 hours after the ticket was closed.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn ticket_by_care_token(&self, token: &str, now: Timestamp) -> Result<Option<CarePage>> {
        let closed_after = at(now - LINK_LIFETIME);
        let row: Option<(Uuid, Uuid, Uuid)> =
            fetch_optional!(self.db().read, "looking up a care link", BY_TOKEN, secret::hash(token), closed_after)?;
        let Some((affected, org, ticket)) = row else { return Ok(None) };
        let (org, ticket) = (OrgId(org), TicketId(ticket));
        let Some(view) = self.ticket(org, ticket).await? else { return Ok(None) };
        let Some(affected) = view.ticket.affected.iter().find(|known| known.id.0 == affected).cloned() else {
            return Ok(None);
        };
        let timeline = self.timeline(org, ticket).await?;
        Ok(Some(CarePage { org, ticket: view.ticket, affected, timeline, device: view.device, site: view.site }))
    }
}
