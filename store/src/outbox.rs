//! The outbox: messages owed to people, and who is sending them.

use std::time::Duration;

use desk::{Notification, Ticket};
use model::{
    AffectedId, Alert, Device, Language, Localised, MessageContent, OrgId, OutboxId, OutboxMessage, PersonId, Purpose,
    Receiver, Severity, Site, TicketId, TicketKind, Timestamp,
};
use uuid::Uuid;

use crate::{
    Change, Result, Store, StoreError,
    db::{
        DbTime, Tx, at, document, execute, fetch_all, fetch_one, fetch_optional, from_code, from_document, new_id,
        statements, text, uint32,
    },
};

statements! {
    INSERT = both("
        INSERT INTO outbox (id, org, ticket, dedup_key, person, affected, channel, address, language, purpose, priority,
            life_safety, content, state, created_at, expires_at, due_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'pending', $14, $15, $14, $14)
        ON CONFLICT DO NOTHING");
    BY_KEY = both("SELECT id FROM outbox WHERE org = $1 AND (ticket = $2 OR ($2 IS NULL AND ticket IS NULL)) AND dedup_key = $3");
    // The predicate stands twice: the second claimer, who waited for the first one's rows, sees that they are taken.
    CLAIM = both("
        UPDATE outbox SET due_at = $2, claims = claims + 1
        WHERE state = 'pending' AND due_at <= $1 AND expires_at > $1 AND id IN (
            SELECT id FROM outbox WHERE state = 'pending' AND due_at <= $1 AND expires_at > $1
                AND coalesce($4, channel IN ('sms', 'voice')) = (channel IN ('sms', 'voice'))
            ORDER BY priority, id LIMIT $3)
        RETURNING priority, id, org, ticket, person, affected, channel, address, language, content, life_safety,
            created_at, expires_at, attempts, claims, settled");
    RELEASE = both("UPDATE outbox SET due_at = created_at WHERE state = 'pending' AND claims > settled");
    NEXT_DUE = both("SELECT due_at FROM outbox WHERE state = 'pending' ORDER BY due_at LIMIT 1");
    // One that somebody is just sending is left until its lease ends.
    EXPIRE = both("
        UPDATE outbox SET state = 'dead', last_error = 'it expired before it could be sent', updated_at = $1
        WHERE state = 'pending' AND expires_at <= $1 AND (claims = settled OR due_at <= $1) RETURNING org, ticket");
    // The ticket's own, or the lowest that no open ticket has, or the next one. Takes none if another transaction was
    // quicker with this number.
    TAKE_CODE = both("
        INSERT INTO reply_codes AS c (address, code, ticket, taken, used_at)
        SELECT $1, coalesce(
                (SELECT code FROM reply_codes WHERE ticket = $2 AND address = $1),
                (SELECT min(code) FROM reply_codes WHERE address = $1 AND NOT taken),
                (SELECT max(code) + 1 FROM reply_codes WHERE address = $1),
                1), $2, TRUE, $3 WHERE TRUE
        ON CONFLICT (address, code) DO UPDATE SET ticket = excluded.ticket, taken = TRUE, used_at = excluded.used_at
        WHERE c.ticket = excluded.ticket OR NOT c.taken
        RETURNING code");
}

/// Which messages to claim: a mail server that does not answer must not hold up a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Text messages and calls.
    Phone,
    /// All others.
    Network,
    /// All.
    Any,
}

/// A message to be sent now, by the one who claimed it, until the lease ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The message.
    pub message: OutboxMessage,
    /// Which claim on this message it is, from 1.
    pub number: u32,
    /// True if an earlier claim ended without a known outcome: ask the provider whether it took the message before
    /// sending it again.
    pub look_up: bool,
}

/// An answer to something that a person wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAnswer {
    /// The organisation that answers.
    pub org: OrgId,
    /// The ticket it is about.
    pub ticket: Option<TicketId>,
    /// The person, if registered.
    pub person: Option<PersonId>,
    /// How to reach them.
    pub receiver: Receiver,
    /// Their language.
    pub language: Language,
    /// The answer.
    pub text: Localised,
    /// The same key owes one answer, such as the provider's id of the message that is answered.
    pub dedup_key: String,
}

/// What a message is about.
pub struct About<'a> {
    /// The ticket.
    pub ticket: &'a Ticket,
    /// The alert that it is sent for, if it is sent for one.
    pub alert: Option<&'a Alert>,
    /// The ticket's site.
    pub site: Option<&'a Site>,
    /// The ticket's device, unless it is about a whole site.
    pub device: Option<&'a Device>,
    /// Where to read more.
    pub link: Option<String>,
    /// The number by which a reply names the ticket.
    pub reply_code: Option<u32>,
}

/// How long an answer is worth sending.
const ANSWER_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Everything that the message's template needs, as it is known now.
#[must_use]
pub fn content(about: &About<'_>, notification: &Notification, now: Timestamp) -> MessageContent {
    let ticket = about.ticket;
    // The reason that still holds; when none does, the alert that just ended, or the first one.
    let reason = ticket
        .open_alerts()
        .map(|alert| &alert.reason)
        .next()
        .or(about.alert.map(|alert| &alert.evidence.summary))
        .or(ticket.alerts.first().map(|alert| &alert.reason))
        .cloned()
        .unwrap_or_default();
    let milestone = notification.milestone.and_then(|kind| ticket.milestone(kind));
    MessageContent {
        purpose: notification.purpose,
        ticket_number: ticket.number,
        kind: ticket.kind,
        severity: ticket.severity,
        title: ticket.title.clone(),
        reason,
        device_name: match (about.device, &ticket.device) {
            (Some(device), _) => device.name.clone(),
            (None, Some(id)) => id.to_string(),
            (None, None) => String::new(),
        },
        plate: about.device.and_then(|device| device.plate.clone()),
        site_name: about.site.map(|site| site.name.clone()).unwrap_or_default(),
        site_address: about.site.map(|site| site.address.clone()).unwrap_or_default(),
        level: notification.level,
        milestone: notification.milestone,
        at: milestone.map_or(now, |milestone| milestone.at),
        reply_code: about.reply_code,
        link: about.link.clone(),
        text: notification.text.clone(),
    }
}

pub(crate) fn purpose_code(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Page => "page",
        Purpose::StandDown => "stand_down",
        Purpose::CareLink => "care_link",
        Purpose::Progress => "progress",
        Purpose::Notice => "notice",
        Purpose::Update => "update",
        Purpose::Answer => "answer",
    }
}

/// What is sent first: what saves lives, then what calls people, then what answers them, then news.
fn priority(purpose: Purpose, life_safety: bool) -> i64 {
    match (purpose, life_safety) {
        (Purpose::Page, true) => 0,
        (Purpose::CareLink, true) => 1,
        (Purpose::Page, false) => 2,
        (Purpose::Answer | Purpose::Update, true | false) => 3,
        (Purpose::StandDown | Purpose::Progress | Purpose::Notice, true) => 4,
        (Purpose::CareLink, false) => 5,
        (Purpose::StandDown | Purpose::Progress | Purpose::Notice, false) => 6,
    }
}

/// A message to be owed.
pub(crate) struct NewMessage {
    pub(crate) id: Uuid,
    pub(crate) org: OrgId,
    pub(crate) ticket: TicketId,
    pub(crate) dedup_key: String,
    pub(crate) person: Option<PersonId>,
    pub(crate) affected: Option<AffectedId>,
    pub(crate) receiver: Receiver,
    pub(crate) language: Language,
    pub(crate) purpose: Purpose,
    pub(crate) priority: i64,
    pub(crate) life_safety: bool,
    pub(crate) content: String,
    /// True if it was cancelled before it was written.
    pub(crate) cancelled: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl NewMessage {
    pub(crate) fn new(
        ticket: &Ticket,
        notification: Notification,
        content: &MessageContent,
        now: Timestamp,
    ) -> Result<Self> {
        let Notification { person, affected, receiver, language, purpose, dedup_key, expires_at, .. } = notification;
        Ok(Self {
            id: new_id(now),
            org: ticket.org,
            ticket: ticket.id,
            dedup_key,
            person,
            affected,
            receiver,
            language,
            purpose,
            priority: priority(purpose, ticket.life_safety),
            life_safety: ticket.life_safety,
            content: document("message", content)?,
            cancelled: false,
            created_at: now,
            expires_at,
        })
    }
}

/// The number by which the holder of an address names a ticket: the one it has, or else the lowest that none of the
/// address's open tickets has. It stays the ticket's after it is closed, until another ticket needs it, so that a late
/// reply is told that the ticket is closed instead of meaning another one.
pub(crate) async fn reply_code(tx: &mut Tx, address: &str, ticket: TicketId, now: Timestamp) -> Result<u32> {
    let what = "taking a reply code";
    let row: Option<(i64,)> = fetch_optional!(tx, what, TAKE_CODE, text(address), ticket.0, at(now))?;
    row.map(|(code,)| uint32(code)).ok_or(StoreError::Contended { what })
}

type ClaimRow = (
    i64,
    Uuid,
    Uuid,
    Option<Uuid>,
    Option<Uuid>,
    Option<Uuid>,
    String,
    String,
    String,
    String,
    bool,
    DbTime,
    DbTime,
    i64,
    i64,
    i64,
);

fn claim(row: ClaimRow) -> Result<((i64, Uuid), Claim)> {
    let (
        rank,
        id,
        org,
        ticket,
        person,
        affected,
        channel,
        address,
        language,
        content,
        life_safety,
        created,
        expires,
        attempts,
        claims,
        settled,
    ) = row;
    let message = OutboxMessage {
        id: OutboxId(id),
        org: OrgId(org),
        ticket: ticket.map(TicketId),
        person: person.map(PersonId),
        affected: affected.map(AffectedId),
        receiver: Receiver { channel: from_code("message channel", &channel)?, address },
        language: from_code("language", &language)?,
        content: from_document("message", &content)?,
        life_safety,
        created_at: created.into(),
        expires_at: expires.into(),
        attempts: uint32(attempts),
    };
    Ok(((rank, id), Claim { message, number: uint32(claims), look_up: claims - 1 > settled }))
}

impl Store {
    /// Ends the leases that a hub left behind when it died. Only for the holder of the hub lock: nobody else sends.
    pub(crate) async fn release_leases(&self) -> Result<()> {
        execute!(self.db().write, "releasing messages of a hub that died", RELEASE)?;
        Ok(())
    }

    /// Claims messages that are due, the most urgent first. Until the lease ends nobody else gets them; a message that
    /// was claimed and not recorded comes back then, marked [`Claim::look_up`].
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn claim_outbox(&self, via: Via, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Claim>> {
        let phone = match via {
            Via::Phone => Some(true),
            Via::Network => Some(false),
            Via::Any => None,
        };
        let (until, limit, what) = (at(now + lease), i64::from(limit), "claiming messages");
        let rows: Vec<ClaimRow> = fetch_all!(self.db().write, what, CLAIM, at(now), until, limit, phone)?;
        let mut claims = rows.into_iter().map(claim).collect::<Result<Vec<_>>>()?;
        claims.sort_by_key(|(order, _)| *order);
        Ok(claims.into_iter().map(|(_, claim)| claim).collect())
    }

    /// When the next message is due: now or in the past if one is waiting.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn next_outbox_due(&self) -> Result<Option<Timestamp>> {
        let row: Option<(DbTime,)> = fetch_optional!(self.db().read, "looking for due messages", NEXT_DUE)?;
        Ok(row.map(|(due,)| due.into()))
    }

    /// Gives up messages that are pointless by now. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn expire_outbox(&self, now: Timestamp) -> Result<u64> {
        let rows: Vec<(Uuid, Option<Uuid>)> =
            fetch_all!(self.db().write, "giving up expired messages", EXPIRE, at(now))?;
        if !rows.is_empty() {
            self.announce(Change::Outbox);
        }
        for (org, ticket) in &rows {
            if let Some(ticket) = ticket {
                self.announce(Change::Ticket { org: OrgId(*org), ticket: TicketId(*ticket) });
            }
        }
        Ok(rows.len() as u64)
    }

    /// Owes an answer to somebody who wrote. The same key owes one answer.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn owe_answer(&self, new: &NewAnswer, now: Timestamp) -> Result<OutboxId> {
        let about = match new.ticket {
            Some(ticket) => self.ticket(new.org, ticket).await?,
            None => None,
        };
        let ticket = about.as_ref().map(|view| &view.ticket);
        let life_safety = ticket.is_some_and(|ticket| ticket.life_safety);
        let content = MessageContent {
            purpose: Purpose::Answer,
            ticket_number: ticket.map_or(0, |ticket| ticket.number),
            kind: ticket.map_or(TicketKind::Breakdown, |ticket| ticket.kind),
            severity: ticket.map_or(Severity::Info, |ticket| ticket.severity),
            title: ticket.map(|ticket| ticket.title.clone()).unwrap_or_default(),
            reason: Localised::default(),
            device_name: String::new(),
            plate: None,
            site_name: String::new(),
            site_address: String::new(),
            level: None,
            milestone: None,
            at: now,
            reply_code: None,
            link: None,
            text: Some(new.text.clone()),
        };
        let (org, ticket, person) = (new.org.0, ticket.map(|ticket| ticket.id.0), new.person.map(|id| id.0));
        let (key, none) = (text(&new.dedup_key), None::<Uuid>);
        let (channel, address) = (new.receiver.channel.code(), text(&new.receiver.address));
        let (language, body) = (new.language.to_string(), document("message", &content)?);
        let (purpose, rank) = (purpose_code(Purpose::Answer), priority(Purpose::Answer, life_safety));
        let mut tx = self.db().begin().await?;
        let what = "owing an answer";
        let written = execute!(
            &mut tx,
            what,
            INSERT,
            new_id(now),
            org,
            ticket,
            key.clone(),
            person,
            none,
            channel,
            address,
            language,
            purpose,
            rank,
            life_safety,
            body,
            at(now),
            at(now + ANSWER_LIFETIME),
        )?;
        let (id,): (Uuid,) = fetch_one!(&mut tx, what, BY_KEY, org, ticket, key)?;
        tx.commit().await?;
        if written > 0 {
            self.announce(Change::Outbox);
        }
        Ok(OutboxId(id))
    }
}
