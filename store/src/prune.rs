//! Removing what is old.

use std::time::Duration;

use model::Timestamp;

use crate::{
    Result, Retention, Store,
    db::{at, execute, int, statements},
};

statements! {
    REJECTS = both("DELETE FROM rejects WHERE received_at < $1");
    // For each reason, so that a flood of one does not drive out the few of another.
    REJECTS_BEYOND = both("
        DELETE FROM rejects WHERE id IN (
            SELECT id FROM (
                SELECT id, row_number() OVER (PARTITION BY reason ORDER BY received_at DESC, id) AS place FROM rejects) r
            WHERE place > $1)");
    SESSIONS = both("DELETE FROM sessions WHERE expires_at < $1");
    LOGIN_LINKS = both("DELETE FROM login_links WHERE expires_at < $1");
    CHANNEL_DAYS = both("DELETE FROM channel_days WHERE ended_at < $1");
    FLAPS = both("DELETE FROM flaps WHERE at < $1");
    // Reports that no attempt ever claimed; claimed ones stay as proof.
    REPORTS = both("
        DELETE FROM delivery_reports WHERE at < $1
            AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.provider_id = delivery_reports.provider_id)");
}

/// After so long without a raise nothing is left of a flapping condition's score.
const QUIET_FLAPS: Duration = Duration::from_secs(7 * 86_400);
/// Failure models learn from two years at the most.
const OLD_CHANNEL_DAYS: Duration = Duration::from_secs(800 * 86_400);
/// How long a delivery report waits for its attempt to be recorded.
const UNCLAIMED_REPORTS: Duration = Duration::from_secs(7 * 86_400);

impl Store {
    /// Removes what is older than it may be. Returns how many rows went (partitions and
    /// chunks, which are dropped whole, count as one).
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
        removed += execute!(write, what, CHANNEL_DAYS, at(now - OLD_CHANNEL_DAYS))?;
        removed += execute!(write, what, REPORTS, at(now - UNCLAIMED_REPORTS))?;
        removed += self.prune_readings(retention, now).await?;
        Ok(removed)
    }
}
