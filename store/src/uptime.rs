//! When the hub was up: what it did not hear of while it was down must not pass for quiet.

use std::time::Duration;

use model::Timestamp;

use crate::{
    Result, Store,
    db::{DbTime, at, execute, fetch_all, statements},
};

/// A hub that is back within this time was not away: restarts and upgrades take less.
const JOINED: Duration = Duration::from_secs(15 * 60);
/// Longer ago than any model looks back.
const KEPT: Duration = Duration::from_hours(24 * 1_100);

statements! {
    GO_ON = both("
        UPDATE hub_up SET until_at = CASE WHEN until_at < $1 THEN $1 ELSE until_at END
        WHERE began_at = (SELECT max(began_at) FROM hub_up) AND until_at >= $2");
    BEGIN = both("INSERT INTO hub_up (began_at, until_at) VALUES ($1, $1) ON CONFLICT DO NOTHING");
    FORGET = both("DELETE FROM hub_up WHERE until_at < $1");
    SPANS = both("SELECT began_at, until_at FROM hub_up WHERE until_at >= $1 ORDER BY began_at");
}

impl Store {
    /// Notes that the hub is up. One row a stretch without a longer break.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn note_up(&self, now: Timestamp) -> Result<()> {
        let (mut tx, what) = (self.db().begin().await?, "noting that the hub is up");
        if execute!(&mut tx, what, GO_ON, at(now), at(now - JOINED))? == 0 {
            execute!(&mut tx, what, BEGIN, at(now))?;
            execute!(&mut tx, what, FORGET, at(now - KEPT))?;
        }
        tx.commit().await
    }

    /// When the hub was down for `least` or longer, in order of time, as far as that is known: what lies before it was first
    /// noted to be up is taken as up. It is taken as down from when it was noted last until `now`.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn times_down(
        &self,
        since: Timestamp,
        now: Timestamp,
        least: Duration,
    ) -> Result<Vec<(Timestamp, Timestamp)>> {
        let rows: Vec<(DbTime, DbTime)> = fetch_all!(self.db().read, "reading when the hub was up", SPANS, at(since))?;
        let ends = rows.iter().map(|(_, until)| Timestamp::from(*until));
        let begins = rows.iter().skip(1).map(|(began, _)| Timestamp::from(*began)).chain([now]);
        Ok(ends.zip(begins).filter(|(from, to)| to > from && to.since(*from) >= least).collect())
    }
}
