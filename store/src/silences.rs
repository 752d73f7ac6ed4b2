//! Silences: what somebody decided not to be paged for, for a time. Made and ended under their name, on the audit log.

use desk::{NoiseError, Silence, noise::Matchers};
use model::{Alert, OrgId, SilenceId, TicketId, Timestamp, UserId};
use serde_json::json;
use uuid::Uuid;

use crate::{
    AuditActor, Result, Store, StoreError, audit,
    db::{DbTime, Tx, at, document, execute, fetch_all, fetch_optional, from_document, new_id, statements, text},
    desk_work::{ATTEMPTS, Work, worth_repeating},
};

macro_rules! columns {
    () => {
        "id, org, author, author_name, reason, matchers, starts_at, ends_at, created_at, ended_by"
    };
}

statements! {
    INSERT = both(concat!("INSERT INTO silences (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL)"));
    STANDING = both(concat!("SELECT ", columns!(), " FROM silences WHERE org = $1 AND ends_at > $2 ORDER BY id"));
    LIST = both(concat!("SELECT ", columns!(), " FROM silences WHERE org = $1 ORDER BY ends_at DESC, id LIMIT $2"));
    BY_ID = both(concat!("SELECT ", columns!(), " FROM silences WHERE org = $1 AND id = $2"));
    // One that has not begun ends before it does anything.
    END = both("
        UPDATE silences SET ends_at = $3, ended_by = $4,
            starts_at = CASE WHEN starts_at > $3 THEN $3 ELSE starts_at END
        WHERE org = $1 AND id = $2 AND ends_at > $3");
    OPEN = both("SELECT body, ticket FROM alerts WHERE org = $1 AND cleared_at IS NULL ORDER BY raised_at DESC, id LIMIT $2");
}

/// A silence and how it came and went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSilence {
    /// The silence.
    pub silence: Silence,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who ended it before its time, if somebody did.
    pub ended_by: Option<String>,
}

/// A silence to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSilence {
    /// The organisation whose alerts it concerns.
    pub org: OrgId,
    /// Who makes it.
    pub author: UserId,
    /// Their name.
    pub author_name: String,
    /// Why.
    pub reason: String,
    /// Which alerts.
    pub matchers: Matchers,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
}

/// Why a silence was not made.
#[derive(Debug, thiserror::Error)]
pub enum SilenceError {
    /// It cannot be meant.
    #[error(transparent)]
    Refused(#[from] NoiseError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Row = (Uuid, Uuid, Uuid, String, String, String, DbTime, DbTime, DbTime, Option<String>);

fn stored(row: Row) -> Result<StoredSilence> {
    let (id, org, author, author_name, reason, matchers, starts_at, ends_at, created_at, ended_by) = row;
    let silence = Silence {
        id: SilenceId(id),
        org: OrgId(org),
        author: UserId(author),
        author_name,
        reason,
        matchers: from_document("silence's matchers", &matchers)?,
        starts_at: starts_at.into(),
        ends_at: ends_at.into(),
    };
    Ok(StoredSilence { silence, created_at: created_at.into(), ended_by })
}

/// The silences of an organisation that have not ended.
pub(crate) async fn standing(tx: &mut Tx, org: OrgId, now: Timestamp) -> Result<Vec<Silence>> {
    let rows: Vec<Row> = fetch_all!(tx, "reading silences", STANDING, org.0, at(now))?;
    rows.into_iter().map(|row| stored(row).map(|stored| stored.silence)).collect()
}

impl Store {
    /// Makes a silence and puts it on the audit log.
    ///
    /// # Errors
    /// [`SilenceError`] if it does not say why, what and until when, or the database fails.
    pub async fn create_silence(
        &self,
        new: &NewSilence,
        by: &AuditActor,
        now: Timestamp,
    ) -> Result<StoredSilence, SilenceError> {
        let NewSilence { org, author, author_name, reason, matchers, starts_at, ends_at } = new.clone();
        let id = SilenceId(new_id(now));
        let silence = Silence { id, org, author, author_name, reason, matchers, starts_at, ends_at };
        silence.validate()?;
        let matchers = document("silence's matchers", &silence.matchers)?;
        let mut tx = self.db().begin().await?;
        let (name, reason) = (text(&silence.author_name), text(&silence.reason));
        let (starts, ends) = (at(starts_at), at(ends_at));
        execute!(
            &mut tx,
            "making a silence",
            INSERT,
            id.0,
            org.0,
            author.0,
            name,
            reason,
            text(&matchers),
            starts,
            ends,
            at(now)
        )?;
        let detail = json!({
            "matchers": silence.matchers, "reason": silence.reason, "starts_at": starts_at, "ends_at": ends_at,
        });
        let subject = id.to_string();
        let line = audit::Line { org: Some(org), by, action: "silence.create", subject: &subject, detail: &detail };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        Ok(StoredSilence { silence, created_at: now, ended_by: None })
    }

    /// Ends a silence now, puts that on the audit log, and lets the pages go that it held back. Returns it as it stands
    /// then; `None` if the organisation has none with this id. One that has ended stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn end_silence(
        &self,
        org: OrgId,
        id: SilenceId,
        by: &AuditActor,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<StoredSilence>> {
        let mut tries = 1;
        loop {
            match self.try_end(org, id, by, name, now).await {
                Err(error) if tries < ATTEMPTS && worth_repeating(&error) => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_end(
        &self,
        org: OrgId,
        id: SilenceId,
        by: &AuditActor,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<StoredSilence>> {
        let mut work = Work::begin(self, now).await?;
        let ended = execute!(&mut work.tx, "ending a silence", END, org.0, id.0, at(now), text(name))?;
        if ended > 0 {
            let (subject, detail) = (id.to_string(), json!({}));
            let line = audit::Line { org: Some(org), by, action: "silence.end", subject: &subject, detail: &detail };
            audit::write(&mut work.tx, line, now).await?;
            work.look_again(vec![id.0]).await?;
        }
        let row: Option<Row> = fetch_optional!(&mut work.tx, "reading a silence", BY_ID, org.0, id.0)?;
        work.commit(self).await?;
        row.map(stored).transpose()
    }

    /// An organisation's silences, those that end last first; they are records and are kept.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn silences(&self, org: OrgId, limit: u32) -> Result<Vec<StoredSilence>> {
        let rows: Vec<Row> = fetch_all!(self.db().read, "listing silences", LIST, org.0, i64::from(limit))?;
        rows.into_iter().map(stored).collect()
    }

    /// One of an organisation's silences.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn silence(&self, org: OrgId, id: SilenceId) -> Result<Option<StoredSilence>> {
        let row: Option<Row> = fetch_optional!(self.db().read, "reading a silence", BY_ID, org.0, id.0)?;
        row.map(stored).transpose()
    }

    /// An organisation's open alerts, the latest first, each with its ticket: what a silence would cover now.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn open_alerts_of(&self, org: OrgId, limit: u32) -> Result<Vec<(Alert, TicketId)>> {
        let rows: Vec<(String, Uuid)> =
            fetch_all!(self.db().read, "listing open alerts", OPEN, org.0, i64::from(limit))?;
        rows.into_iter().map(|(body, ticket)| Ok((from_document("alert", &body)?, TicketId(ticket)))).collect()
    }
}
