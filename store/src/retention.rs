//! How long readings are kept, and how they are removed: whole partitions or chunks on PostgreSQL, bounded slices on SQLite.
//!
//! What an open ticket rests on stays until the ticket is closed: the readings of its device around its alerts (on
//! PostgreSQL every partition that holds some of them). Nothing reads readings by a cursor: what follows the journal reads
//! the journal, which is trimmed behind its cursors only.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use model::{Alert, ProfileId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sqlx::{PgPool, SqlitePool};

use crate::{
    Result, Store, StoreError,
    db::{DbTime, Engine, at, execute, fetch_all, from_document, statements},
    partitions::Layout,
    shrink,
    wide::{DROP_CHUNKS, WideTable, safe},
};

statements! {
    EVIDENCE = both("
        SELECT a.body FROM alerts a JOIN tickets t ON t.id = a.ticket WHERE t.status <> 'closed'");
    OLD_EVENTS = both("SELECT DISTINCT device FROM device_events WHERE time < $1 ORDER BY device");
    EVENTS = both("DELETE FROM device_events WHERE device = $1 AND time >= $2 AND time < $3");
}

/// How long something is kept: a duration of at least an hour, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// It is never removed.
    #[default]
    Forever,
    /// It is removed when it is older.
    For(Duration),
}

/// The shortest time that readings may be kept by configuration: a slip of the pen must not empty a table at once.
const SHORTEST: Duration = Duration::from_secs(3600);
/// The word for [`Keep::Forever`].
const FOREVER: &str = "forever";

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Forever => serializer.serialize_str(FOREVER),
            Self::For(age) => serializer.serialize_str(&model::duration::format(*age)),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim() == FOREVER {
            return Ok(Self::Forever);
        }
        let age =
            model::duration::parse(&text).map_err(|error| de::Error::custom(format!("{error}, or \"{FOREVER}\"")))?;
        if age < SHORTEST {
            return Err(de::Error::custom(format!("\"{text}\" is too short: keep readings for at least \"1h\"")));
        }
        Ok(Self::For(age))
    }
}

/// How long things are kept. Tickets, their timelines, messages and the audit log are records: they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Readings and events.
    pub readings: Keep,
    /// Readings of single profiles instead.
    pub profiles: BTreeMap<ProfileId, Keep>,
    /// Samples of rejects; how many there were stays.
    pub rejects: Duration,
    /// The most samples kept of each reason, however young.
    pub max_rejects: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            readings: Keep::Forever,
            profiles: BTreeMap::new(),
            rejects: Duration::from_secs(30 * 86_400),
            max_rejects: 10_000,
        }
    }
}

impl Retention {
    fn of(&self, profile: &ProfileId) -> Keep {
        self.profiles.get(profile).copied().unwrap_or(self.readings)
    }
}

/// How much before and after what an alert names its readings are kept with an open ticket.
const AROUND_EVIDENCE: Duration = Duration::from_secs(86_400);
/// Rows removed in one transaction on SQLite: a few milliseconds, for which the recorder waits.
const SLICE_ROWS: u64 = 2_000;
/// Statements in one such transaction.
const SLICE_STATEMENTS: u32 = 100;

/// A device's stretch of time, in microseconds, that must stay.
struct Needed {
    device: String,
    from: i64,
    to: i64,
}

impl Needed {
    fn of(alert: &Alert) -> Self {
        let Alert { evidence, raised_at, .. } = alert;
        let from = evidence.from.map_or(*raised_at, |from| from.min(*raised_at)) - AROUND_EVIDENCE;
        let to = evidence.to.map_or(*raised_at, |to| to.max(*raised_at)) + AROUND_EVIDENCE;
        Self { device: alert.device.to_string(), from: from.as_micros(), to: to.as_micros() }
    }
}

/// Before when things of that age go, in microseconds: on a grid, so that little is done often.
fn cutoff(age: Duration, now: Timestamp) -> i64 {
    let step = i64::try_from((age / 24).min(Duration::from_secs(3600)).as_micros()).unwrap_or(1).max(1);
    at(now - age).micros().div_euclid(step) * step
}

/// What lies before `cutoff` and in none of the spans.
fn gaps(mut spans: Vec<(i64, i64)>, cutoff: i64) -> Vec<(i64, i64)> {
    spans.sort_unstable();
    let (mut gaps, mut free) = (Vec::new(), i64::MIN);
    for (from, to) in spans {
        if free < from.min(cutoff) {
            gaps.push((free, from.min(cutoff)));
        }
        free = free.max(to);
    }
    if free < cutoff {
        gaps.push((free, cutoff));
    }
    gaps
}

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::Query { what: "removing old readings", source }
}

impl Store {
    /// Removes readings and events that are past their retention. It moves on in steps of an hour (or a 24th of a shorter
    /// retention) and costs nothing in between.
    pub(crate) async fn prune_readings(&self, retention: &Retention, now: Timestamp) -> Result<u64> {
        let mut removed = 0;
        let mut needed: Option<Vec<Needed>> = None;
        if let Keep::For(age) = retention.readings
            && self.inner.events_pruned_to.load(Ordering::Relaxed) != cutoff(age, now)
        {
            let needed = needed.insert(self.evidence().await?);
            removed += self.prune_events(needed, cutoff(age, now)).await?;
            self.inner.events_pruned_to.store(cutoff(age, now), Ordering::Relaxed);
        }
        for (profile, table) in self.wide_tables() {
            let Keep::For(age) = retention.of(&profile) else { continue };
            let cutoff = cutoff(age, now);
            if table.pruned_to.load(Ordering::Relaxed) == cutoff {
                continue;
            }
            let needed = match &mut needed {
                Some(needed) => needed,
                none => none.insert(self.evidence().await?),
            };
            let (count, complete) = match (&self.db().write, &table.layout) {
                (Engine::Postgres(pool), Layout::Hypertable) => {
                    (drop_chunks(pool, &table, needed, cutoff).await?, true)
                }
                (Engine::Postgres(pool), Layout::Partitions(_) | Layout::Whole) => {
                    drop_partitions(pool, &table, needed, cutoff).await?
                }
                (Engine::Sqlite(write), _) => (self.delete_slices(write, &table, needed, cutoff).await?, true),
            };
            removed += count;
            if complete {
                table.pruned_to.store(cutoff, Ordering::Relaxed);
            }
        }
        if let (true, Engine::Sqlite(write)) = (removed > 0, &self.db().write) {
            shrink::give_back(write).await?;
        }
        Ok(removed)
    }

    /// Device by device: each statement is short, follows the key, and lets other writers in between.
    async fn prune_events(&self, needed: &[Needed], cutoff: i64) -> Result<u64> {
        let time = |micros: i64| at(Timestamp::from_micros(micros));
        let what = "removing old events";
        let devices: Vec<(String,)> = fetch_all!(self.db().read, what, OLD_EVENTS, time(cutoff))?;
        let mut removed = 0;
        for (device,) in &devices {
            let spans = needed.iter().filter(|n| n.device == *device).map(|n| (n.from, n.to)).collect();
            for (from, to) in gaps(spans, cutoff) {
                removed += execute!(self.db().write, what, EVENTS, device.as_str(), time(from), time(to))?;
            }
        }
        Ok(removed)
    }

    /// What open tickets rest on.
    async fn evidence(&self) -> Result<Vec<Needed>> {
        let rows: Vec<(String,)> = fetch_all!(self.db().read, "looking for what open tickets rest on", EVIDENCE)?;
        rows.iter().map(|(body,)| Ok(Needed::of(&from_document("alert", body)?))).collect()
    }

    /// Removes rows device by device, a bounded number in each transaction: other writers wait for one slice at the most.
    async fn delete_slices(
        &self,
        write: &SqlitePool,
        table: &WideTable,
        needed: &[Needed],
        cutoff: i64,
    ) -> Result<u64> {
        let Engine::Sqlite(read) = &self.db().read else { return Ok(0) };
        let (mut removed, mut device) = (0, String::new());
        // One transaction carries on over devices until its slice is full.
        let (mut tx, mut room, mut statements) = (None, SLICE_ROWS, 0);
        loop {
            let next: Option<(String, DbTime)> =
                sqlx::query_as(safe(&table.next_device)).bind(&device).fetch_optional(read).await.map_err(failed)?;
            let Some((found, oldest)) = next else { break };
            device = found;
            let spans = needed.iter().filter(|n| n.device == device).map(|n| (n.from, n.to)).collect();
            let mut left = gaps(spans, cutoff);
            left.retain(|(_, to)| oldest.micros() < *to);
            left.reverse();
            while let Some((from, to)) = left.pop() {
                let mut open = match tx.take() {
                    Some(open) => open,
                    None => write.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?,
                };
                let query = sqlx::query(safe(&table.delete)).bind(&device).bind(from).bind(to);
                let query = query.bind(i64::try_from(room).unwrap_or(i64::MAX));
                let gone = query.execute(&mut *open).await.map_err(failed)?.rows_affected();
                removed += gone;
                statements += 1;
                if gone == room {
                    left.push((from, to));
                }
                room -= gone.min(room);
                if room > 0 && statements < SLICE_STATEMENTS {
                    tx = Some(open);
                } else {
                    open.commit().await.map_err(failed)?;
                    (room, statements) = (SLICE_ROWS, 0);
                }
            }
        }
        if let Some(open) = tx {
            open.commit().await.map_err(failed)?;
        }
        Ok(removed)
    }
}

/// Drops the partitions that are past their retention and hold nothing that is needed. Returns how many went, and whether
/// that is all: false if some were in use.
async fn drop_partitions(pool: &PgPool, table: &WideTable, needed: &[Needed], cutoff: i64) -> Result<(u64, bool)> {
    let Layout::Partitions(partitions) = &table.layout else { return Ok((0, true)) };
    let (mut dropped, mut complete) = (0, true);
    for part in partitions.known() {
        let over = part.to <= cutoff && !needed.iter().any(|n| n.from < part.to && part.from < n.to);
        if !over || (part.from == i64::MIN && partitions.is_empty(pool, &part).await?) {
            continue;
        }
        if partitions.drop_one(pool, &table.name, &part).await? {
            dropped += 1;
            tracing::info!(partition = part.name, "removed readings past their retention");
        } else {
            complete = false;
        }
    }
    Ok((dropped, complete))
}

/// Drops TimescaleDB's chunks between what is needed.
async fn drop_chunks(pool: &PgPool, table: &WideTable, needed: &[Needed], cutoff: i64) -> Result<u64> {
    let mut dropped = 0;
    for (from, to) in gaps(needed.iter().map(|n| (n.from, n.to)).collect(), cutoff) {
        let [from, to] = [from, to].map(|micros| DbTime::from(Timestamp::from_micros(micros)));
        let query = sqlx::query_as(DROP_CHUNKS).bind(&*table.name).bind(from).bind(to);
        let (chunks,): (i64,) = query.fetch_one(pool).await.map_err(failed)?;
        dropped += crate::db::uint(chunks);
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_left_out() {
        assert_eq!(gaps(vec![], 10), [(i64::MIN, 10)]);
        assert_eq!(gaps(vec![(20, 30)], 10), [(i64::MIN, 10)]);
        assert_eq!(gaps(vec![(5, 20)], 10), [(i64::MIN, 5)]);
        assert_eq!(gaps(vec![(6, 7), (2, 4), (3, 5)], 10), [(i64::MIN, 2), (5, 6), (7, 10)]);
        assert_eq!(gaps(vec![(i64::MIN, 30)], 10), []);
    }

    #[test]
    fn a_retention_is_a_duration_or_forever() {
        let read = |text: &str| serde_json::from_value::<Keep>(text.into()).map_err(|error| error.to_string());
        assert_eq!(read("forever"), Ok(Keep::Forever));
        assert_eq!(read("400d"), Ok(Keep::For(Duration::from_secs(400 * 86_400))));
        assert!(read("0s").unwrap_err().contains("at least \"1h\""));
        assert!(read("for ever").unwrap_err().contains("or \"forever\""));
        let back = serde_json::to_value(Keep::For(Duration::from_secs(7200)));
        assert_eq!(back.ok(), Some("2h".into()));
    }
}
