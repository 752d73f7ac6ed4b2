//! Removing what is old.

use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Store, StoreError,
    db::{DbTime, Engine, at, execute, fetch_all, int, statements},
    wide::{DROP_CHUNKS, safe},
};

statements! {
    HEARD = both("SELECT device FROM device_state ORDER BY device");
    EVENTS = both("DELETE FROM device_events WHERE device = $1 AND time < $2");
    REJECTS = both("DELETE FROM rejects WHERE received_at < $1");
    REJECTS_BEYOND = both("
        DELETE FROM rejects WHERE received_at <= (SELECT received_at FROM rejects ORDER BY received_at DESC LIMIT 1 OFFSET $1)");
    SESSIONS = both("DELETE FROM sessions WHERE expires_at < $1");
    LOGIN_LINKS = both("DELETE FROM login_links WHERE expires_at < $1");
    FLAPS = both("DELETE FROM flaps WHERE at < $1");
    // Reports that no attempt ever claimed; claimed ones stay as proof.
    REPORTS = both("
        DELETE FROM delivery_reports WHERE at < $1
            AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.provider_id = delivery_reports.provider_id)");
}

/// How long things are kept. Tickets, their timelines, messages and the audit log are records: they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Readings; unset: for ever.
    #[serde(with = "model::duration::option", skip_serializing_if = "Option::is_none")]
    pub readings: Option<Duration>,
    /// Device events; unset: for ever.
    #[serde(with = "model::duration::option", skip_serializing_if = "Option::is_none")]
    pub events: Option<Duration>,
    /// Rejects.
    #[serde(with = "model::duration")]
    pub rejects: Duration,
    /// The most rejects kept, however young.
    pub max_rejects: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self { readings: None, events: None, rejects: days(30), max_rejects: 100_000 }
    }
}

/// After so long without a raise nothing is left of a flapping condition's score.
const QUIET_FLAPS: Duration = Duration::from_secs(7 * 86_400);
/// How long a delivery report waits for its attempt to be recorded.
const UNCLAIMED_REPORTS: Duration = Duration::from_secs(7 * 86_400);

impl Store {
    /// Removes what is older than it may be. Returns how many rows went (chunks of TimescaleDB count as one).
    ///
    /// # Errors
    /// [`StoreError`] if the database fails; what was removed until then stays removed.
    pub async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<u64> {
        let write = &self.db().write;
        let what = "removing what is old";
        let mut removed = execute!(write, what, REJECTS, at(now - retention.rejects))?;
        removed += execute!(write, what, REJECTS_BEYOND, int(retention.max_rejects))?;
        removed += execute!(write, what, SESSIONS, at(now))?;
        removed += execute!(write, what, LOGIN_LINKS, at(now))?;
        removed += execute!(write, what, FLAPS, at(now - QUIET_FLAPS))?;
        removed += execute!(write, what, REPORTS, at(now - UNCLAIMED_REPORTS))?;
        if retention.readings.is_none() && retention.events.is_none() {
            return Ok(removed);
        }
        // Device by device: each statement is short, follows the key, and lets other writers in between.
        let devices: Vec<(String,)> = fetch_all!(self.db().read, what, HEARD)?;
        for (device,) in &devices {
            if let Some(age) = retention.events {
                removed += execute!(write, what, EVENTS, device.as_str(), at(now - age))?;
            }
        }
        if let Some(age) = retention.readings {
            removed += self.prune_readings(&devices, at(now - age)).await?;
        }
        Ok(removed)
    }

    async fn prune_readings(&self, devices: &[(String,)], before: DbTime) -> Result<u64> {
        let failed = |source| StoreError::Query { what: "removing old readings", source };
        let mut removed = 0;
        for table in self.wide_tables() {
            if let (true, Engine::Postgres(pool)) = (self.timescale(), &self.db().write) {
                let query = sqlx::query_as(DROP_CHUNKS).bind(&*table.regclass).bind(before);
                let (chunks,): (i64,) = query.fetch_one(pool).await.map_err(failed)?;
                removed += crate::db::uint(chunks);
                continue;
            }
            for (device,) in devices {
                removed += match self.db().write.on() {
                    Engine::Postgres(on) => {
                        let query = sqlx::query(safe(&table.delete)).bind(device).bind(before);
                        query.execute(on).await.map_err(failed)?.rows_affected()
                    }
                    Engine::Sqlite(on) => {
                        let query = sqlx::query(safe(&table.delete)).bind(device).bind(before);
                        query.execute(on).await.map_err(failed)?.rows_affected()
                    }
                };
            }
        }
        Ok(removed)
    }
}
