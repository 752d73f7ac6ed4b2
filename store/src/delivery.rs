//! What became of messages: attempts, delivery reports, answers.

use model::{
    DeliveryState, MessageChannel, OrgId, OutboxId, OutboxMessage, Outcome, PersonId, Receiver, TicketId, Timestamp,
};
use uuid::Uuid;

use crate::{
    Change, Claim, Result, Store,
    db::{
        DbTime, Tx, at, document, execute, fetch_all, fetch_optional, from_code, from_document, int, statements, text,
        uint, uint32,
    },
    desk_work::{ATTEMPTS, Work, worth_repeating},
};

macro_rules! columns {
    () => {
        "o.id, o.org, o.ticket, o.person, o.affected, o.channel, o.address, o.language, o.content, o.life_safety,
            o.created_at, o.expires_at, o.attempts, o.state, o.provider_id, o.last_error"
    };
}

macro_rules! reply_to {
    () => {
        "
        SELECT t.org, t.id, t.number,
            (SELECT o.person FROM outbox o WHERE o.ticket = t.id AND o.address = $1 AND o.person IS NOT NULL
                ORDER BY o.created_at DESC, o.id DESC LIMIT 1)
        FROM reply_codes c JOIN tickets t ON t.id = c.ticket WHERE c.address = $1"
    };
}

statements! {
    // A report and the record of its attempt each look for the other. On PostgreSQL neither sees what the other has not
    // committed, so they go one after the other; SQLite has one writer anyway.
    ONE_AT_A_TIME = each("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "SELECT $1");
    ATTEMPT = both("
        INSERT INTO attempts (message, number, at, provider_id, outcome) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (message, number) DO NOTHING");
    // The provider took it, whoever claimed it since.
    SENT = both("
        UPDATE outbox SET state = CASE WHEN state = 'pending' THEN 'sent' ELSE state END, provider_id = $3,
            attempts = attempts + 1, settled = CASE WHEN settled < $2 THEN $2 ELSE settled END, last_error = NULL,
            updated_at = $4
        WHERE id = $1");
    RETRY = both("
        UPDATE outbox SET due_at = $3, attempts = attempts + 1, settled = $4, last_error = $5, updated_at = $6
        WHERE id = $1 AND claims = $2 AND state = 'pending'");
    DEAD = both("
        UPDATE outbox SET state = 'dead', attempts = attempts + 1, settled = $2, last_error = $3, updated_at = $4
        WHERE id = $1 AND claims = $2 AND state = 'pending'");
    SETTLED = both("SELECT settled FROM outbox WHERE id = $1");
    REPORT = both("
        INSERT INTO delivery_reports (provider_id, state, detail, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING");
    REPORTS = both("SELECT state, detail FROM delivery_reports WHERE provider_id = $1");
    OF_PROVIDER = both("SELECT message FROM attempts WHERE provider_id = $1");
    STANDS = each("
        SELECT org, ticket, person, channel, purpose, state FROM outbox WHERE id = $1 FOR NO KEY UPDATE",
        "
        SELECT org, ticket, person, channel, purpose, state FROM outbox WHERE id = $1");
    MOVE = both("UPDATE outbox SET state = $2, last_error = coalesce($3, last_error), updated_at = $4 WHERE id = $1");
    BY_PROVIDER = both(concat!("
        SELECT ", columns!(), ", o.updated_at FROM outbox o JOIN attempts a ON a.message = o.id WHERE a.provider_id = $1"));
    BY_ID = both(concat!("SELECT ", columns!(), ", o.updated_at FROM outbox o WHERE o.id = $1"));
    OF_TICKET = both(concat!("
        SELECT ", columns!(), ", o.updated_at FROM outbox o WHERE o.org = $1 AND o.ticket = $2 ORDER BY o.created_at, o.id"));
    DEAD_LETTERS = both(concat!("
        SELECT ", columns!(), ", o.updated_at FROM outbox o WHERE o.org = $1 AND o.state = 'dead' ORDER BY o.id DESC LIMIT $2"));
    UNSETTLED = both(concat!("
        SELECT ", columns!(), ", o.updated_at FROM outbox o
        WHERE o.state = 'sent' AND o.updated_at >= $1 AND o.updated_at < $2 AND o.channel IN ('sms', 'voice')
        ORDER BY o.updated_at LIMIT $3"));
    ATTEMPTS_OF = both("
        SELECT a.number, a.at, a.outcome FROM attempts a JOIN outbox o ON o.id = a.message
        WHERE o.org = $1 AND o.id = $2 ORDER BY a.number");
    BY_CODE = both(concat!(reply_to!(), " AND c.code = $2"));
    LATEST = both(concat!(reply_to!(), " AND c.taken ORDER BY c.used_at DESC, t.number DESC LIMIT 1"));
}

/// A message and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// The message.
    pub message: OutboxMessage,
    /// Where it stands.
    pub state: DeliveryState,
    /// The provider's id of the last attempt that it took.
    pub provider_id: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When its state changed last.
    pub updated_at: Timestamp,
}

/// One try to deliver a message. Never changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The claim it was made under.
    pub number: u32,
    /// When it was recorded.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// How a reply names its ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyCode {
    /// By its number at this address.
    Code(u32),
    /// Not at all: the open ticket that this address was last paged for.
    Latest,
}

/// What a reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The ticket's organisation.
    pub org: OrgId,
    /// The ticket.
    pub ticket: TicketId,
    /// Its number.
    pub number: u64,
    /// Who was last written to about it at this address. Several people may share one, also of several organisations.
    pub person: Option<PersonId>,
}

/// What a provider says of one message.
pub(crate) struct Report<'a> {
    pub(crate) message: OutboxId,
    pub(crate) state: DeliveryState,
    pub(crate) detail: Option<&'a str>,
}

/// A message whose state moved.
pub(crate) struct Moved {
    pub(crate) org: OrgId,
    pub(crate) ticket: Option<TicketId>,
    pub(crate) person: Option<PersonId>,
    pub(crate) channel: MessageChannel,
    pub(crate) is_page: bool,
}

/// Moves a message forward; `None` if it is as far already: reports come late, twice and in any order.
pub(crate) async fn move_forward(tx: &mut Tx, report: &Report<'_>, now: Timestamp) -> Result<Option<Moved>> {
    type Stands = (Uuid, Option<Uuid>, Option<Uuid>, String, String, String);
    let (what, id) = ("recording a delivery report", report.message.0);
    let row: Option<Stands> = fetch_optional!(tx, what, STANDS, id)?;
    let Some((org, ticket, person, channel, purpose, stands)) = row else { return Ok(None) };
    if report.state <= from_code::<DeliveryState>("message's state", &stands)? {
        return Ok(None);
    }
    execute!(tx, what, MOVE, id, report.state.code(), report.detail.map(text), at(now))?;
    Ok(Some(Moved {
        org: OrgId(org),
        ticket: ticket.map(TicketId),
        person: person.map(PersonId),
        channel: from_code("message channel", &channel)?,
        is_page: purpose == "page",
    }))
}

type MessageRow = (
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
    String,
    Option<String>,
    Option<String>,
);

/// Rows of the columns above, and the time of the last change: one more than a tuple can hold.
struct Wide(MessageRow, DbTime);

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for Wide
where
    MessageRow: sqlx::FromRow<'r, R>,
    usize: sqlx::ColumnIndex<R>,
    DbTime: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self(MessageRow::from_row(row)?, row.try_get(16)?))
    }
}

fn stored(Wide(row, updated_at): Wide) -> Result<StoredMessage> {
    let (
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
        state,
        provider_id,
        last_error,
    ) = row;
    Ok(StoredMessage {
        message: OutboxMessage {
            id: OutboxId(id),
            org: OrgId(org),
            ticket: ticket.map(TicketId),
            person: person.map(PersonId),
            affected: affected.map(model::AffectedId),
            receiver: Receiver { channel: from_code("message channel", &channel)?, address },
            language: from_code("language", &language)?,
            content: from_document("message", &content)?,
            life_safety,
            created_at: created.into(),
            expires_at: expires.into(),
            attempts: uint32(attempts),
        },
        state: from_code("message's state", &state)?,
        provider_id,
        last_error,
        updated_at: updated_at.into(),
    })
}

impl Store {
    /// Records what came of a claimed message. Recording the same claim again changes nothing. A retry or an unknown
    /// outcome without `retry_at`, or with one after the message's end, is its end: it becomes a dead letter.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn record_attempt(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        retry_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.try_record(claim, outcome, retry_at, now).await {
                Err(error) if worth_repeating(&error) => {}
                done => return done,
            }
        }
        self.try_record(claim, outcome, retry_at, now).await
    }

    async fn try_record(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        retry_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        let (what, message, number) = ("recording an attempt", claim.message.id, i64::from(claim.number));
        let provider_id = match outcome {
            Outcome::Sent { provider_id } => Some(provider_id.as_str()),
            Outcome::Retry { .. } | Outcome::Unknown { .. } | Outcome::Dead { .. } => None,
        };
        let retry_at = retry_at.filter(|time| *time < claim.message.expires_at);
        let mut work = Work::begin(self, now).await?;
        if let Some(provider_id) = provider_id {
            execute!(&mut work.tx, what, ONE_AT_A_TIME, text(provider_id))?;
        }
        let body = document("outcome of an attempt", outcome)?;
        let new = execute!(&mut work.tx, what, ATTEMPT, message.0, number, at(now), provider_id.map(text), body)?;
        if new == 0 {
            return Ok(());
        }
        let id = message.0;
        match (outcome, retry_at) {
            (Outcome::Sent { provider_id }, _) => {
                execute!(&mut work.tx, what, SENT, id, number, text(provider_id), at(now))?;
                let early: Vec<(String, Option<String>)> = fetch_all!(&mut work.tx, what, REPORTS, text(provider_id))?;
                for (state, detail) in early {
                    let state = from_code("message's state", &state)?;
                    work.report(&Report { message, state, detail: detail.as_deref() }).await?;
                }
            }
            (Outcome::Retry { reason, .. }, Some(due)) => {
                execute!(&mut work.tx, what, RETRY, id, number, at(due), number, text(reason), at(now))?;
            }
            // Not settled: whoever claims it next looks it up first.
            (Outcome::Unknown { reason }, Some(due)) => {
                let row: Option<(i64,)> = fetch_optional!(&mut work.tx, what, SETTLED, id)?;
                let settled = row.map_or(0, |(settled,)| settled);
                execute!(&mut work.tx, what, RETRY, id, number, at(due), settled, text(reason), at(now))?;
            }
            (Outcome::Retry { reason, .. } | Outcome::Unknown { reason }, None) | (Outcome::Dead { reason }, _) => {
                execute!(&mut work.tx, what, DEAD, id, number, text(reason), at(now))?;
            }
        }
        work.commit(self).await?;
        self.announce(Change::Outbox);
        if let Some(ticket) = claim.message.ticket {
            self.announce(Change::Ticket { org: claim.message.org, ticket });
        }
        Ok(())
    }

    /// Applies a provider's report. States only move forward; a page that reached a responder is told to the desk in
    /// the same transaction. False if no attempt has this id (yet): the report is kept, and applied when the attempt is
    /// recorded.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn delivery_report(
        &self,
        provider_id: &str,
        state: DeliveryState,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<bool> {
        for _ in 1..ATTEMPTS {
            match self.try_report(provider_id, state, detail, now).await {
                Err(error) if worth_repeating(&error) => {}
                done => return done,
            }
        }
        self.try_report(provider_id, state, detail, now).await
    }

    async fn try_report(
        &self,
        provider_id: &str,
        state: DeliveryState,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<bool> {
        let what = "recording a delivery report";
        let mut work = Work::begin(self, now).await?;
        execute!(&mut work.tx, what, ONE_AT_A_TIME, text(provider_id))?;
        execute!(&mut work.tx, what, REPORT, text(provider_id), state.code(), detail.map(text), at(now))?;
        let row: Option<(Uuid,)> = fetch_optional!(&mut work.tx, what, OF_PROVIDER, text(provider_id))?;
        if let Some((message,)) = row {
            work.report(&Report { message: OutboxId(message), state, detail }).await?;
        }
        work.commit(self).await?;
        Ok(row.is_some())
    }

    /// The message that a provider knows by this id.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn message_by_provider_id(&self, provider_id: &str) -> Result<Option<StoredMessage>> {
        let row: Option<Wide> = fetch_optional!(self.db().read, "reading a message", BY_PROVIDER, text(provider_id))?;
        row.map(stored).transpose()
    }

    /// The message with this id.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn message(&self, id: OutboxId) -> Result<Option<StoredMessage>> {
        let row: Option<Wide> = fetch_optional!(self.db().read, "reading a message", BY_ID, id.0)?;
        row.map(stored).transpose()
    }

    /// Every message owed for a ticket, in the order they were owed.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn outbox_for_ticket(&self, org: OrgId, ticket: TicketId) -> Result<Vec<StoredMessage>> {
        let rows: Vec<Wide> = fetch_all!(self.db().read, "listing a ticket's messages", OF_TICKET, org.0, ticket.0)?;
        rows.into_iter().map(stored).collect()
    }

    /// Messages that were given up, newest first.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn dead_letters(&self, org: OrgId, limit: u32) -> Result<Vec<StoredMessage>> {
        let rows: Vec<Wide> =
            fetch_all!(self.db().read, "listing dead letters", DEAD_LETTERS, org.0, i64::from(limit))?;
        rows.into_iter().map(stored).collect()
    }

    /// Text messages and calls that a provider took from `since` until before `until` and has not reported on: ask it.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn unsettled_messages(
        &self,
        since: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredMessage>> {
        let what = "listing unsettled messages";
        let rows: Vec<Wide> = fetch_all!(self.db().read, what, UNSETTLED, at(since), at(until), i64::from(limit))?;
        rows.into_iter().map(stored).collect()
    }

    /// Every attempt at a message, in order.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn attempts(&self, org: OrgId, message: OutboxId) -> Result<Vec<Attempt>> {
        let rows: Vec<(i64, DbTime, String)> =
            fetch_all!(self.db().read, "listing attempts", ATTEMPTS_OF, org.0, message.0)?;
        rows.into_iter()
            .map(|(number, at, outcome)| {
                let outcome = from_document("outcome of an attempt", &outcome)?;
                Ok(Attempt { number: uint32(number), at: at.into(), outcome })
            })
            .collect()
    }

    /// The ticket that a reply from this address means, and whose reply it is.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn ticket_by_reply_code(&self, address: &str, code: ReplyCode) -> Result<Option<ReplyTo>> {
        let (read, what) = (&self.db().read, "looking up a reply code");
        let row: Option<(Uuid, Uuid, i64, Option<Uuid>)> = match code {
            ReplyCode::Code(code) => fetch_optional!(read, what, BY_CODE, text(address), int(u64::from(code)))?,
            ReplyCode::Latest => fetch_optional!(read, what, LATEST, text(address))?,
        };
        Ok(row.map(|(org, ticket, number, person)| ReplyTo {
            org: OrgId(org),
            ticket: TicketId(ticket),
            number: uint(number),
            person: person.map(PersonId),
        }))
    }
}
