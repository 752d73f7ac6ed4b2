//! Rows that a transaction on tickets will write before it commits, gathered to be written together.

use std::collections::BTreeMap;

use desk::TimelineEntry;
use model::{Alert, AlertId, Purpose, TicketId, Timestamp};
use uuid::Uuid;

use crate::{
    Result,
    bulk::{self, Column},
    db::{DbTime, Tx, at, document, int, statements},
    outbox::NewMessage,
};

statements! {
    LOG = each("
        INSERT INTO ticket_timeline (ticket, seq, at, actor, what)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[])",
        "
        INSERT INTO ticket_timeline (ticket, seq, at, actor, what)
        SELECT unhex(value->>0), value->>1, value->>2, value->>3, value->>4 FROM json_each($1)");
    ALERTS = each("
        INSERT INTO alerts (id, ticket, org, device, rule, raised_at, cleared_at, body, raised_known_at, cleared_known_at,
            withdrawn)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[],
            $7::timestamptz[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::boolean[])",
        "
        INSERT INTO alerts (id, ticket, org, device, rule, raised_at, cleared_at, body, raised_known_at, cleared_known_at,
            withdrawn)
        SELECT unhex(value->>0), unhex(value->>1), unhex(value->>2), value->>3, value->>4, value->>5, value->>6, value->>7,
            value->>8, value->>9, value->>10
        FROM json_each($1)");
    CHANGE = each("
        UPDATE alerts AS a SET body = u.body
        FROM unnest($1::uuid[], $2::text[]) AS u (id, body) WHERE a.id = u.id AND a.cleared_at IS NULL",
        "
        UPDATE alerts AS a SET body = u.value->>1
        FROM json_each($1) AS u WHERE a.id = unhex(u.value->>0) AND a.cleared_at IS NULL");
    CLEAR = each("
        UPDATE alerts AS a
        SET cleared_at = u.cleared_at, body = u.body, cleared_known_at = u.known_at, withdrawn = u.withdrawn
        FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::timestamptz[], $5::boolean[])
            AS u (id, cleared_at, body, known_at, withdrawn)
        WHERE a.id = u.id",
        "
        UPDATE alerts AS a SET cleared_at = u.value->>1, body = u.value->>2, cleared_known_at = u.value->>3,
            withdrawn = u.value->>4
        FROM json_each($1) AS u WHERE a.id = unhex(u.value->>0)");
    OWE = each("
        INSERT INTO outbox (id, org, ticket, dedup_key, person, affected, channel, address, language, purpose, priority,
            life_safety, content, state, created_at, expires_at, due_at, updated_at)
        SELECT id, org, ticket, key, person, affected, channel, address, language, purpose, priority, life_safety, content,
            state, created_at, expires_at, created_at, created_at
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::bigint[], $12::boolean[], $13::text[], $14::text[], $15::timestamptz[],
            $16::timestamptz[])
            AS u (id, org, ticket, key, person, affected, channel, address, language, purpose, priority, life_safety,
                content, state, created_at, expires_at)
        ON CONFLICT DO NOTHING",
        "
        INSERT INTO outbox (id, org, ticket, dedup_key, person, affected, channel, address, language, purpose, priority,
            life_safety, content, state, created_at, expires_at, due_at, updated_at)
        SELECT unhex(value->>0), unhex(value->>1), unhex(value->>2), value->>3, unhex(value->>4), unhex(value->>5),
            value->>6, value->>7, value->>8, value->>9, value->>10, value->>11, value->>12, value->>13, value->>14,
            value->>15, value->>14, value->>14
        FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING");
}

/// A line of a timeline with its number.
struct Line {
    ticket: TicketId,
    seq: u64,
    at: Timestamp,
    actor: String,
    what: String,
}

/// An alert that was raised, perhaps cleared in the same transaction.
struct Raised {
    id: AlertId,
    ticket: TicketId,
    org: Uuid,
    device: String,
    rule: String,
    raised_at: Timestamp,
    cleared_at: Option<Timestamp>,
    body: String,
    /// When the hub learnt of it, and of its end.
    raised_known_at: Timestamp,
    cleared_known_at: Option<Timestamp>,
    withdrawn: bool,
}

/// An alert that ended, and when the hub learnt of that.
struct Cleared {
    id: AlertId,
    at: Timestamp,
    body: String,
    known_at: Timestamp,
    withdrawn: bool,
}

/// The rows gathered so far.
#[derive(Default)]
pub(crate) struct Pending {
    lines: Vec<Line>,
    raised: Vec<Raised>,
    changed: BTreeMap<AlertId, String>,
    cleared: Vec<Cleared>,
    messages: Vec<NewMessage>,
}

impl Pending {
    pub(crate) fn log(&mut self, ticket: TicketId, seq: u64, entry: &TimelineEntry) -> Result<()> {
        let (actor, what) = (document("actor", &entry.actor)?, document("timeline entry", &entry.what)?);
        self.lines.push(Line { ticket, seq, at: entry.at, actor, what });
        Ok(())
    }

    pub(crate) fn raise(&mut self, alert: &Alert, ticket: TicketId, now: Timestamp) -> Result<()> {
        self.raised.push(Raised {
            id: alert.id,
            ticket,
            org: alert.org.0,
            device: alert.device.to_string(),
            rule: alert.rule.to_string(),
            raised_at: alert.raised_at,
            cleared_at: None,
            body: document("alert", alert)?,
            raised_known_at: now,
            cleared_known_at: None,
            withdrawn: false,
        });
        Ok(())
    }

    pub(crate) fn clear(&mut self, alert: &Alert, at: Timestamp, now: Timestamp) -> Result<()> {
        let (body, withdrawn) = (document("alert", alert)?, alert.evidence.withdrawn);
        match self.raised.iter_mut().rev().find(|raised| raised.id == alert.id) {
            Some(raised) => {
                (raised.cleared_at, raised.body, raised.cleared_known_at) = (Some(at), body, Some(now));
                raised.withdrawn = withdrawn;
            }
            None => self.cleared.push(Cleared { id: alert.id, at, body, known_at: now, withdrawn }),
        }
        Ok(())
    }

    /// Another body for an alert that stands.
    pub(crate) fn change(&mut self, alert: &Alert) -> Result<()> {
        let body = document("alert", alert)?;
        match self.raised.iter_mut().rev().find(|raised| raised.id == alert.id) {
            Some(raised) => raised.body = body,
            // The last word counts.
            None => {
                self.changed.insert(alert.id, body);
            }
        }
        Ok(())
    }

    pub(crate) fn owe(&mut self, message: NewMessage) {
        self.messages.push(message);
    }

    /// Cancels what is not written yet.
    pub(crate) fn cancel_pages(&mut self, ticket: TicketId) {
        for message in &mut self.messages {
            if message.ticket == ticket && message.purpose == Purpose::Page {
                message.cancelled = true;
            }
        }
    }

    /// Writes everything. Returns how many messages are owed that were not owed before.
    pub(crate) async fn write(&mut self, tx: &mut Tx) -> Result<u64> {
        self.write_lines(tx).await?;
        self.write_alerts(tx).await?;
        self.write_messages(tx).await
    }

    async fn write_lines(&mut self, tx: &mut Tx) -> Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let columns = [
            Column::Ids(lines.iter().map(|line| Some(line.ticket.0)).collect()),
            Column::Ints(lines.iter().map(|line| int(line.seq)).collect()),
            Column::Times(lines.iter().map(|line| Some(at(line.at))).collect()),
            Column::Texts(lines.iter().map(|line| Some(line.actor.clone())).collect()),
            Column::Texts(lines.iter().map(|line| Some(line.what.clone())).collect()),
        ];
        bulk::write(tx, "writing timelines", LOG, lines.len(), &columns).await.map(drop)
    }

    async fn write_alerts(&mut self, tx: &mut Tx) -> Result<()> {
        let raised = std::mem::take(&mut self.raised);
        let columns = [
            Column::Ids(raised.iter().map(|alert| Some(alert.id.0)).collect()),
            Column::Ids(raised.iter().map(|alert| Some(alert.ticket.0)).collect()),
            Column::Ids(raised.iter().map(|alert| Some(alert.org)).collect()),
            Column::Texts(raised.iter().map(|alert| Some(alert.device.clone())).collect()),
            Column::Texts(raised.iter().map(|alert| Some(alert.rule.clone())).collect()),
            Column::Times(raised.iter().map(|alert| Some(at(alert.raised_at))).collect()),
            Column::Times(raised.iter().map(|alert| alert.cleared_at.map(at)).collect()),
            Column::Texts(raised.iter().map(|alert| Some(alert.body.clone())).collect()),
            Column::Times(raised.iter().map(|alert| Some(at(alert.raised_known_at))).collect()),
            Column::Times(raised.iter().map(|alert| alert.cleared_known_at.map(at)).collect()),
            Column::Bools(raised.iter().map(|alert| alert.withdrawn).collect()),
        ];
        bulk::write(tx, "raising alerts", ALERTS, raised.len(), &columns).await?;
        let changed = std::mem::take(&mut self.changed);
        let rows = changed.len();
        let columns = [
            Column::Ids(changed.keys().map(|id| Some(id.0)).collect()),
            Column::Texts(changed.into_values().map(Some).collect()),
        ];
        bulk::write(tx, "changing alerts", CHANGE, rows, &columns).await?;
        let cleared = std::mem::take(&mut self.cleared);
        let columns = [
            Column::Ids(cleared.iter().map(|alert| Some(alert.id.0)).collect()),
            Column::Times(cleared.iter().map(|alert| Some(DbTime::from(alert.at))).collect()),
            Column::Texts(cleared.iter().map(|alert| Some(alert.body.clone())).collect()),
            Column::Times(cleared.iter().map(|alert| Some(at(alert.known_at))).collect()),
            Column::Bools(cleared.iter().map(|alert| alert.withdrawn).collect()),
        ];
        let rows = cleared.len();
        bulk::write(tx, "clearing alerts", CLEAR, rows, &columns).await.map(drop)
    }

    async fn write_messages(&mut self, tx: &mut Tx) -> Result<u64> {
        let messages = std::mem::take(&mut self.messages);
        let ids = |of: fn(&NewMessage) -> Option<Uuid>| Column::Ids(messages.iter().map(of).collect());
        let texts = |of: fn(&NewMessage) -> &str| {
            Column::Texts(messages.iter().map(|message| Some(of(message).to_owned())).collect())
        };
        let times = |of: fn(&NewMessage) -> Timestamp| {
            Column::Times(messages.iter().map(|message| Some(at(of(message)))).collect())
        };
        let columns = [
            ids(|message| Some(message.id)),
            ids(|message| Some(message.org.0)),
            ids(|message| Some(message.ticket.0)),
            texts(|message| &message.dedup_key),
            ids(|message| message.person.map(|person| person.0)),
            ids(|message| message.affected.map(|affected| affected.0)),
            texts(|message| message.receiver.channel.code()),
            texts(|message| &message.receiver.address),
            Column::Texts(messages.iter().map(|message| Some(message.language.to_string())).collect()),
            texts(|message| crate::outbox::purpose_code(message.purpose)),
            Column::Ints(messages.iter().map(|message| message.priority).collect()),
            Column::Bools(messages.iter().map(|message| message.life_safety).collect()),
            texts(|message| &message.content),
            texts(|message| if message.cancelled { "cancelled" } else { "pending" }),
            times(|message| message.created_at),
            times(|message| message.expires_at),
        ];
        bulk::write(tx, "owing messages", OWE, messages.len(), &columns).await
    }
}
