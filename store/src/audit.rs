//! The audit log: who changed what, written in the same transaction as the change.

use model::{OrgId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{
    Result, Store,
    db::{DbTime, Tx, at, document, execute, fetch_all, from_document, statements, text},
};

statements! {
    INSERT = both("INSERT INTO audit (at, org, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)");
    LIST = both("
        SELECT id, at, actor, action, subject, detail FROM audit
        WHERE org = $1 AND (id < $2 OR $2 IS NULL) ORDER BY id DESC LIMIT $3");
}

/// Who made an administrative change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditActor {
    /// The hub itself, as with automatic enrolment.
    Hub,
    /// Somebody at the hub's command line.
    CommandLine,
    /// A user of the board.
    User {
        /// Who.
        id: UserId,
        /// Their name at the time.
        name: String,
    },
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its number; they increase.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub actor: AuditActor,
    /// What, such as `user.create`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Particulars; never a secret.
    pub detail: Json,
}

/// What is written down: `org` is `None` for what concerns the whole hub.
pub(crate) struct Line<'a> {
    pub(crate) org: Option<OrgId>,
    pub(crate) by: &'a AuditActor,
    pub(crate) action: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) detail: &'a Json,
}

pub(crate) async fn write(tx: &mut Tx, line: Line<'_>, now: Timestamp) -> Result<()> {
    let (actor, detail) = (document("audit actor", line.by)?, document("audit detail", line.detail)?);
    let org = line.org.map(|org| org.0);
    execute!(tx, "writing the audit log", INSERT, at(now), org, actor, line.action, text(line.subject), detail)?;
    Ok(())
}

impl Store {
    /// Writes one line of its own, for an action that changes nothing in the store. Changes made through the store
    /// write theirs themselves.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn audit(
        &self,
        org: Option<OrgId>,
        by: &AuditActor,
        action: &str,
        subject: &str,
        detail: &Json,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.db().begin().await?;
        write(&mut tx, Line { org, by, action, subject, detail }, now).await?;
        tx.commit().await
    }

    /// An organisation's audit log, newest first, from below the number `before`.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn audit_log(&self, org: OrgId, limit: u32, before: Option<i64>) -> Result<Vec<AuditEntry>> {
        let rows: Vec<(i64, DbTime, String, String, String, String)> =
            fetch_all!(self.db().read, "reading the audit log", LIST, org.0, before, i64::from(limit))?;
        rows.into_iter()
            .map(|(id, at, actor, action, subject, detail)| {
                let (actor, detail) = (from_document("audit actor", &actor)?, from_document("audit detail", &detail)?);
                Ok(AuditEntry { id, at: at.into(), actor, action, subject, detail })
            })
            .collect()
    }
}
