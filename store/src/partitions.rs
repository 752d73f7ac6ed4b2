//! How a table of readings is cut by time on PostgreSQL: into partitions that are made when the first row for them comes
//! and dropped whole when they are past their retention. With TimescaleDB the extension cuts it into chunks itself.
//!
//! There is no default partition: with one, every new partition would have to lock and search it. Instead two partitions
//! take what no sane clock says, before [`EPOCH_MICROS`] and from [`END_MICROS`] on; what lies between is cut into spans of
//! [`crate::StoreConfig::partition`]. See docs/adr/0016-readings-by-time.md.

use std::{sync::RwLock, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::{
    Result, StoreError,
    db::{DbTime, answered},
    wide::quote_partition,
};

/// Monday, 30 December 2019, 00:00 UTC: partitions are counted from here.
const EPOCH_MICROS: i64 = 1_577_664_000_000_000;
/// Monday, 28 December 2099, 00:00 UTC: later times share one partition.
const END_MICROS: i64 = 4_102_099_200_000_000;
/// A day in microseconds: the least that a partition spans.
const DAY_MICROS: i64 = 86_400_000_000;
/// How long dropping a partition may wait for its turn, and others behind it, before it is put off.
const DROP_PATIENCE: &str = "SET LOCAL lock_timeout = '500ms'";
/// Nobody else makes partitions meanwhile. The number is "part" in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1885434484)";
/// The partitions of a table with their bounds; no bound is the end of time. The session's time zone is UTC.
const BOUNDS: &str = "
    SELECT name, substring(bound FROM $$FROM \\('([^']+)'\\)$$)::timestamptz, substring(bound FROM $$TO \\('([^']+)'\\)$$)::timestamptz
    FROM (SELECT c.relname::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass) AS parts ORDER BY 2 NULLS FIRST";
/// `r`: a table that is whole (or a hypertable); `p`: one cut into partitions.
const KIND: &str = "SELECT c.relkind::text FROM pg_class c WHERE c.oid = to_regclass($1)";
/// Turns a table into a hypertable, also one with rows in it; does nothing the second time (TimescaleDB only).
const HYPERTABLE: &str = "
    SELECT 1 FROM create_hypertable($1::regclass, 'time', chunk_time_interval => $2, if_not_exists => TRUE, migrate_data => TRUE)";

/// Whether a hypertable is compressed already, and whether this build of the extension can (TimescaleDB only).
const COMPRESSED: &str = "
    SELECT h.compression_enabled, coalesce(current_setting('timescaledb.license', true), '') = 'timescale'
    FROM timescaledb_information.hypertables h WHERE format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass = $1::regclass";
/// Chunks are compressed when they are this old: late readings of offline devices mostly find them uncompressed.
const COMPRESS_AFTER: &str = "7 days";

/// How a table of readings is laid out.
#[derive(Debug)]
pub(crate) enum Layout {
    /// One B-tree by device and time (SQLite).
    Whole,
    /// Partitions by time (PostgreSQL).
    Partitions(Partitions),
    /// A hypertable (TimescaleDB).
    Hypertable,
}

/// The partitions of a table, as this process knows them.
#[derive(Debug)]
pub(crate) struct Partitions {
    width_micros: i64,
    known: RwLock<Vec<Partition>>,
}

/// A stretch of time with a table of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its table in the schema `readings`.
    pub(crate) name: String,
    /// From when, in microseconds; `i64::MIN` without a bound.
    pub(crate) from: i64,
    /// Until before when, in microseconds; `i64::MAX` without a bound.
    pub(crate) to: i64,
}

impl Partition {
    fn has(&self, time: i64) -> bool {
        self.from <= time && (time < self.to || self.to == i64::MAX)
    }
}

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::Query { what: "making a partition of readings", source }
}

async fn run(on: &mut PgConnection, text: String) -> Result<()> {
    sqlx::query(AssertSqlSafe(text)).execute(on).await.map(drop).map_err(failed)
}

/// A bound as SQL.
fn bound(micros: i64) -> String {
    match micros {
        i64::MIN => "MINVALUE".to_owned(),
        i64::MAX => "MAXVALUE".to_owned(),
        // Whole seconds, since bounds lie on whole days.
        _ => format!("to_timestamp({})", micros.div_euclid(1_000_000)),
    }
}

/// The span of the grid around a time, not reaching into its neighbours. `None` if a partition has the time.
fn span_for(known: &[Partition], width_micros: i64, time: i64) -> Option<(i64, i64)> {
    let after = known.partition_point(|part| part.from <= time);
    let before = after.checked_sub(1).map(|index| &known[index]);
    if before.is_some_and(|part| part.has(time)) {
        return None;
    }
    let lowest = before.map_or(i64::MIN, |part| part.to);
    let highest = known.get(after).map_or(i64::MAX, |part| part.from);
    let from = EPOCH_MICROS + (time - EPOCH_MICROS).div_euclid(width_micros) * width_micros;
    Some((from.max(lowest), from.saturating_add(width_micros).min(highest)))
}

impl Partitions {
    fn new(width: Duration) -> Self {
        let days = i64::try_from(width.as_secs() / 86_400).unwrap_or(i64::MAX).clamp(1, 366);
        Self { width_micros: days * DAY_MICROS, known: RwLock::default() }
    }

    pub(crate) fn known(&self) -> Vec<Partition> {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn learn(&self, on: &mut PgConnection, table: &str) -> Result<Vec<Partition>> {
        let rows: Vec<(String, Option<DbTime>, Option<DbTime>)> =
            answered(sqlx::query_as(BOUNDS).bind(table).fetch_all(on)).await.map_err(failed)?;
        let parts: Vec<Partition> = rows
            .into_iter()
            .map(|(name, from, to)| Partition {
                name,
                from: from.map_or(i64::MIN, DbTime::micros),
                to: to.map_or(i64::MAX, DbTime::micros),
            })
            .collect();
        parts.clone_into(&mut self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(parts)
    }

    /// Makes the partitions that rows of these times go to, as far as there are none. Cheap if there are.
    pub(crate) async fn make_room(
        &self,
        pool: &PgPool,
        table: &str,
        times: impl Iterator<Item = DbTime>,
    ) -> Result<()> {
        let mut missing: Vec<i64> = Vec::new();
        {
            let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut last: Option<(i64, i64)> = None;
            for time in times.map(DbTime::micros) {
                if last.is_some_and(|(from, to)| from <= time && time < to) {
                    continue;
                }
                last = match known.iter().rfind(|part| part.has(time)) {
                    Some(part) => Some((part.from, part.to)),
                    None => {
                        missing.push(time);
                        span_for(&known, self.width_micros, time)
                    }
                };
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let mut connection = answered(pool.acquire()).await.map_err(failed)?;
        let mut tx = answered(connection.begin()).await.map_err(failed)?;
        answered(sqlx::query(LOCK).execute(&mut *tx)).await.map_err(failed)?;
        for time in missing {
            // Another hub's tool, or a time before in this list, may have made it.
            let known = self.learn(&mut tx, table).await?;
            if let Some((from, to)) = span_for(&known, self.width_micros, time) {
                answered(async { Ok(make(&mut tx, table, from, to).await) }).await.map_err(failed)??;
            }
        }
        answered(tx.commit()).await.map_err(failed)?;
        self.learn(&mut connection, table).await.map(drop)
    }

    /// True if nothing is in a partition.
    pub(crate) async fn is_empty(&self, pool: &PgPool, part: &Partition) -> Result<bool> {
        let text = format!("SELECT NOT EXISTS (SELECT 1 FROM readings.{})", quote_partition(&part.name));
        let (empty,): (bool,) = answered(sqlx::query_as(AssertSqlSafe(text)).fetch_one(pool)).await.map_err(failed)?;
        Ok(empty)
    }

    /// Drops a partition with all that is in it; the one without a beginning is emptied. False if it was in use: try
    /// again later.
    pub(crate) async fn drop_one(&self, pool: &PgPool, table: &str, part: &Partition) -> Result<bool> {
        let mut connection = answered(pool.acquire()).await.map_err(failed)?;
        let mut tx = answered(connection.begin()).await.map_err(failed)?;
        answered(sqlx::query(DROP_PATIENCE).execute(&mut *tx)).await.map_err(failed)?;
        let verb = if part.from == i64::MIN { "TRUNCATE" } else { "DROP TABLE" };
        let text = format!("{verb} readings.{}", quote_partition(&part.name));
        if let Err(error) = answered(sqlx::query(AssertSqlSafe(text)).execute(&mut *tx)).await {
            // 55P03 is lock_not_available.
            let busy = error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("55P03"));
            return if busy { Ok(false) } else { Err(failed(error)) };
        }
        answered(tx.commit()).await.map_err(failed)?;
        self.learn(&mut connection, table).await?;
        Ok(true)
    }
}

/// Makes a table by itself and hangs it in: unlike `CREATE TABLE … PARTITION OF` that keeps no reader or writer waiting.
async fn make(on: &mut PgConnection, table: &str, from: i64, to: i64) -> Result<()> {
    let name = match from {
        i64::MIN => partition(table, "before"),
        END_MICROS.. => partition(table, "after"),
        _ => {
            let day = model::Timestamp::from_micros(from).to_string();
            partition(table, &day[..10].replace('-', ""))
        }
    };
    run(on, format!("CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS)")).await?;
    run(on, format!("ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({}) TO ({})", bound(from), bound(to)))
        .await
}

/// `readings."lift"` and `before` make `readings."lift:before"`.
fn partition(table: &str, what: &str) -> String {
    format!("{}:{what}\"", table.trim_end_matches('"'))
}

/// Makes the table of a profile, or brings it from an earlier layout into the present one. Columns are added afterwards.
pub(crate) async fn prepare(pool: &PgPool, table: &str, width: Duration, timescale: bool) -> Result<Layout> {
    let mut connection = pool.acquire().await.map_err(failed)?;
    let mut tx = connection.begin().await.map_err(failed)?;
    sqlx::query(LOCK).execute(&mut *tx).await.map_err(failed)?;
    let kind: Option<(String,)> = sqlx::query_as(KIND).bind(table).fetch_optional(&mut *tx).await.map_err(failed)?;
    let columns =
        "device text COLLATE \"C\" NOT NULL, time timestamptz NOT NULL, seq bigint, PRIMARY KEY (device, time)";
    let layout = match kind.as_ref().map(|(kind,)| kind.as_str()) {
        Some("p") => Layout::Partitions(Partitions::new(width)),
        found if timescale => {
            if found.is_none() {
                run(&mut tx, format!("CREATE TABLE {table} ({columns})")).await?;
            }
            sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *tx).await.map_err(failed)?;
            let interval = format!("{} days", Partitions::new(width).width_micros / DAY_MICROS);
            make_hypertable(&mut tx, table, &interval).await?;
            Layout::Hypertable
        }
        Some(_) => {
            cut_up(&mut tx, table, width).await?;
            Layout::Partitions(Partitions::new(width))
        }
        None => {
            run(&mut tx, format!("CREATE TABLE {table} ({columns}) PARTITION BY RANGE (time)")).await?;
            make(&mut tx, table, i64::MIN, EPOCH_MICROS).await?;
            make(&mut tx, table, END_MICROS, i64::MAX).await?;
            Layout::Partitions(Partitions::new(width))
        }
    };
    if let Layout::Partitions(partitions) = &layout {
        partitions.learn(&mut tx, table).await?;
    }
    tx.commit().await.map_err(failed)?;
    Ok(layout)
}

/// Makes a hypertable, whose chunks are compressed by device.
async fn make_hypertable(on: &mut PgConnection, table: &str, interval: &str) -> Result<()> {
    let failed = |source| StoreError::Query { what: "making a hypertable", source };
    let text = HYPERTABLE.replace("$2", &format!("INTERVAL '{interval}'"));
    sqlx::query(AssertSqlSafe(text)).bind(table).execute(&mut *on).await.map_err(failed)?;
    let (compressed, can): (bool, bool) =
        sqlx::query_as(COMPRESSED).bind(table).fetch_one(&mut *on).await.map_err(failed)?;
    if compressed || !can {
        return Ok(());
    }
    let options =
        "timescaledb.compress, timescaledb.compress_segmentby = 'device', timescaledb.compress_orderby = 'time'";
    run(on, format!("ALTER TABLE {table} SET ({options})")).await?;
    let policy = format!(
        "SELECT 1 FROM add_compression_policy('{table}'::regclass, compress_after => INTERVAL '{COMPRESS_AFTER}', if_not_exists => TRUE)"
    );
    run(on, policy).await
}

/// A whole table of an earlier version becomes the first partition of a new one: no row is copied, but those of impossible
/// times. It is read through to learn until when it reaches.
async fn cut_up(on: &mut PgConnection, table: &str, width: Duration) -> Result<()> {
    tracing::info!(table, "cutting a table of readings into partitions; this reads it through");
    run(on, "SET LOCAL statement_timeout = 0".to_owned()).await?;
    run(on, format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await?;
    let end = bound(END_MICROS);
    let (last,): (Option<DbTime>,) =
        sqlx::query_as(AssertSqlSafe(format!("SELECT max(time) FROM {table} WHERE time < {end}")))
            .fetch_one(&mut *on)
            .await
            .map_err(failed)?;
    let width = Partitions::new(width).width_micros;
    let last = last.map_or(EPOCH_MICROS - 1, |time| time.micros().max(EPOCH_MICROS - 1));
    let upper = (EPOCH_MICROS + ((last - EPOCH_MICROS).div_euclid(width) + 1) * width).min(END_MICROS);
    let (before, after) = (partition(table, "before"), partition(table, "after"));
    let bare = before.trim_start_matches("readings.").to_owned();
    run(on, format!("ALTER TABLE {table} RENAME TO {bare}")).await?;
    run(on, format!("CREATE TABLE {table} (LIKE {before} INCLUDING DEFAULTS, PRIMARY KEY (device, time)) PARTITION BY RANGE (time)")).await?;
    make(on, table, END_MICROS, i64::MAX).await?;
    let moved = format!(
        "WITH moved AS (DELETE FROM {before} WHERE time >= {end} RETURNING *) INSERT INTO {after} SELECT * FROM moved"
    );
    run(on, moved).await?;
    let bounds = format!("FOR VALUES FROM (MINVALUE) TO ({})", bound(upper));
    run(on, format!("ALTER TABLE {table} ATTACH PARTITION {before} {bounds}")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(from: i64, to: i64) -> Partition {
        Partition { name: String::new(), from, to }
    }

    #[test]
    fn the_grid_begins_on_mondays() {
        for (micros, day) in [(EPOCH_MICROS, "2019-12-30T00:00:00"), (END_MICROS, "2099-12-28T00:00:00")] {
            assert!(model::Timestamp::from_micros(micros).to_string().starts_with(day));
            assert_eq!((micros - EPOCH_MICROS) % (7 * DAY_MICROS), 0, "Monday as the epoch is");
        }
    }

    #[test]
    fn a_new_partition_fills_the_gap_and_no_more() {
        let week = 7 * DAY_MICROS;
        let day = |n: i64| EPOCH_MICROS + n * DAY_MICROS;
        let known = [part(i64::MIN, day(0)), part(day(8), day(9)), part(END_MICROS, i64::MAX)];
        assert_eq!(span_for(&known, week, i64::MIN), None);
        assert_eq!(span_for(&known, week, i64::MAX - 1), None);
        assert_eq!(span_for(&known, week, day(3) + 5), Some((day(0), day(7))));
        // After the width was changed: around the day that has its own partition already.
        assert_eq!(span_for(&known, week, day(8)), None);
        assert_eq!(span_for(&known, week, day(7) + 1), Some((day(7), day(8))));
        assert_eq!(span_for(&known, week, day(9)), Some((day(9), day(14))));
        assert_eq!(span_for(&known, DAY_MICROS, day(30)), Some((day(30), day(31))));
        assert_eq!(span_for(&known, week, END_MICROS - 1).map(|span| span.1), Some(END_MICROS));
    }
}
