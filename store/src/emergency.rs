//! What the hub did for people while the database was away. When it is back, it is told here, and the tickets become
//! what they would have been: at the times at which it happened, by the one path that every ticket takes.

use std::collections::HashMap;

use desk::{Action, Actor, Event};
use model::{Alert, AlertChange, AlertId, MessageChannel, OutboxId, Outcome, PersonId, Purpose, TicketId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Result, Store,
    db::{at, document, execute, fetch_optional, statements, text},
    desk_work::{ATTEMPTS, Work, WorkError, worth_repeating},
    outbox::purpose_code,
    watch::{CommitReport, Known, clear, known_alerts, load_ahead, raise},
};

statements! {
    // The message that the desk owes for what was sent already, and that nobody has sent since.
    WAS_SENT = both("
        UPDATE outbox SET state = 'sent', provider_id = $6, claims = claims + 1, settled = claims + 1,
            attempts = attempts + 1, last_error = NULL, updated_at = $5
        WHERE state = 'pending' AND id IN (
            SELECT id FROM outbox WHERE ticket = $1 AND person = $2 AND channel = $3 AND purpose = $4 AND state = 'pending'
            ORDER BY id LIMIT 1)
        RETURNING id, claims");
    ATTEMPT = both("
        INSERT INTO attempts (message, number, at, provider_id, outcome) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (message, number) DO NOTHING");
}

/// Something that the hub did while the database was away. The journal keeps it as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmergencyNote {
    /// The alert it was done for.
    pub alert: AlertId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: EmergencyStep,
}

/// What an [`EmergencyNote`] tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum EmergencyStep {
    /// People were called for a new alert.
    Raised {
        /// The alert.
        body: Box<Alert>,
    },
    /// The alert ended.
    Cleared {
        /// The alert.
        body: Box<Alert>,
    },
    /// A timer was due.
    Ticked,
    /// A responder answered.
    Acted {
        /// Who.
        actor: Actor,
        /// What they answered.
        action: Action,
    },
    /// A provider took a message.
    Sent {
        /// To whom.
        person: PersonId,
        /// By which way.
        channel: MessageChannel,
        /// What for.
        purpose: Purpose,
        /// The provider's id.
        provider_id: String,
    },
}

impl EmergencyNote {
    fn change(&self) -> Option<AlertChange> {
        match &self.what {
            EmergencyStep::Raised { body } => Some(AlertChange::Raised(body.clone())),
            EmergencyStep::Cleared { body } => Some(AlertChange::Cleared(body.clone())),
            EmergencyStep::Ticked | EmergencyStep::Acted { .. } | EmergencyStep::Sent { .. } => None,
        }
    }
}

impl Store {
    /// Completes tickets by what was done while the database was away, each step at the time it was taken; messages
    /// that were sent are not owed again. Notes that were told before change nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails: nothing was committed, tell it the same again.
    pub async fn complete_emergency(&self, notes: &[EmergencyNote], now: Timestamp) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.try_complete(notes, now).await {
                Err(error) if worth_repeating(&error) => {}
                done => return done,
            }
        }
        self.try_complete(notes, now).await
    }

    async fn try_complete(&self, notes: &[EmergencyNote], now: Timestamp) -> Result<()> {
        let changes: Vec<AlertChange> = notes.iter().filter_map(EmergencyNote::change).collect();
        let mut work = Work::begin(self, now).await?;
        let mut known = known_alerts(&mut work, notes.iter().map(|note| note.alert)).await?;
        load_ahead(&mut work, &changes, &known).await?;
        let mut report = CommitReport::default();
        for note in notes {
            work.set_now(note.at);
            match &note.what {
                EmergencyStep::Raised { body } => raise(&mut work, &mut known, &mut report, body).await?,
                EmergencyStep::Cleared { body } => clear(&mut work, &mut known, &mut report, body).await?,
                EmergencyStep::Ticked => advance(&mut work, &known, note.alert, &Event::Tick).await?,
                EmergencyStep::Acted { actor, action } => {
                    let event = Event::Act { actor: actor.clone(), action: action.clone(), as_of: Some(note.at) };
                    advance(&mut work, &known, note.alert, &event).await?;
                }
                EmergencyStep::Sent { person, channel, purpose, provider_id } => {
                    let Some(ticket) = known.get(&note.alert).map(|known| known.ticket) else { continue };
                    work.write().await?;
                    let sent = Sent { ticket, to: (*person, *channel, *purpose), provider_id, at: note.at };
                    was_sent(&mut work, &sent).await?;
                }
            }
        }
        work.set_now(now);
        work.commit(self).await?;
        report.count();
        Ok(())
    }
}

/// Lets an event happen to the ticket of an alert; what the ticket refuses now changes nothing.
async fn advance(work: &mut Work<'_>, known: &HashMap<AlertId, Known>, alert: AlertId, event: &Event) -> Result<()> {
    let Some(ticket) = known.get(&alert).map(|known| known.ticket) else { return Ok(()) };
    let Some(ticket) = work.load(ticket).await? else { return Ok(()) };
    match work.advance(&ticket, event).await {
        Ok(_) => Ok(()),
        Err(WorkError::Refused(refused)) => {
            tracing::warn!(ticket.id = %ticket.id, %refused, "a step taken while the database was away does not apply any more");
            Ok(())
        }
        Err(WorkError::Store(error)) => Err(error),
    }
}

/// A message that a provider took.
struct Sent<'a> {
    ticket: TicketId,
    to: (PersonId, MessageChannel, Purpose),
    provider_id: &'a str,
    at: Timestamp,
}

/// Marks the message that the desk owes for it as sent.
async fn was_sent(work: &mut Work<'_>, sent: &Sent<'_>) -> Result<()> {
    let (what, id) = ("noting a message sent while the database was away", text(sent.provider_id));
    let (person, channel, purpose) = (sent.to.0.0, sent.to.1.code(), purpose_code(sent.to.2));
    let (ticket, time) = (sent.ticket.0, at(sent.at));
    let row: Option<(Uuid, i64)> =
        fetch_optional!(&mut work.tx, what, WAS_SENT, ticket, person, channel, purpose, time, id.clone())?;
    let Some((message, number)) = row else { return Ok(()) };
    let outcome = document("outcome of an attempt", &Outcome::Sent { provider_id: sent.provider_id.to_owned() })?;
    execute!(&mut work.tx, what, ATTEMPT, message, number, time, id, outcome)?;
    tracing::info!(message.id = %OutboxId(message), ticket.id = %sent.ticket, "this message had been sent while the database was away");
    Ok(())
}
