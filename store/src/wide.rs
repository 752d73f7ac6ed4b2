//! Tables of readings: one wide table per profile, one typed column per channel, key (device, time).
//!
//! This is the only place where text becomes SQL. Every name in it is the id of a profile or a channel, which by
//! construction holds only lower-case letters, digits and `_` ([`model::id`]), and is quoted all the same.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use model::{ChannelId, Profile, ProfileId, profile::ChannelKind};
use sqlx::AssertSqlSafe;

use crate::{
    Result, Store, StoreError,
    copy::Pause,
    db::{Db, Engine, Tx, execute, fetch_all, int, statements},
    partitions::{self, Layout},
};

statements! {
    CHANNELS = both("SELECT channel, kind FROM reading_channels WHERE profile = $1");
    INSERT_CHANNEL = both("INSERT INTO reading_channels (profile, channel, kind, position) VALUES ($1, $2, $3, $4)");
}

/// A sign of life.
pub(crate) const PING: crate::db::Sql =
    crate::db::Sql { postgres: "SELECT 1::bigint", sqlite: "SELECT CAST(1 AS INTEGER)" };
/// Takes the hub's lock for the session, if it is free (PostgreSQL only).
pub(crate) const LOCK_HUB: &str = "SELECT pg_try_advisory_lock($1)";
/// Present, not merely available: creating an extension that is not preloaded kills the connection (PostgreSQL only).
const HAS_TIMESCALE: &str = "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'";
/// Drops whole chunks between two times (TimescaleDB only).
pub(crate) const DROP_CHUNKS: &str =
    "SELECT count(*) FROM drop_chunks($1::regclass, newer_than => $2, older_than => $3)";

/// How many rows back the latest value of a channel is looked for.
const LATEST_WITHIN_ROWS: u32 = 100_000;
/// How far back from a device's last row that is, at the most.
pub(crate) const LATEST_WITHIN: Duration = Duration::from_secs(31 * 86_400);
/// Rows per statement on SQLite, the most first; a batch is cut into these. The largest also obeys the limit on bound
/// values in one statement.
const SQLITE_ROWS: [usize; 3] = [64, 8, 1];
/// SQLite's limit on bound values in one statement.
const SQLITE_BINDS: usize = 32_766;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Number,
    Bool,
    Text,
}

impl ColumnKind {
    fn of(kind: &ChannelKind) -> Self {
        match kind {
            ChannelKind::Number { .. } => Self::Number,
            ChannelKind::Bool => Self::Bool,
            ChannelKind::Text { .. } | ChannelKind::State { .. } => Self::Text,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Text => "text",
        }
    }

    fn postgres(self) -> &'static str {
        match self {
            Self::Number => "double precision",
            Self::Bool => "boolean",
            Self::Text => "text",
        }
    }

    fn sqlite(self) -> &'static str {
        match self {
            Self::Number => "REAL",
            Self::Bool => "INTEGER",
            Self::Text => "TEXT",
        }
    }
}

/// A statement made here.
pub(crate) type Text = Arc<str>;

/// Marks a statement made here as safe to run.
pub(crate) fn safe(text: &Text) -> AssertSqlSafe<Text> {
    AssertSqlSafe(text.clone())
}

/// A channel's column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) channel: ChannelId,
    pub(crate) kind: ColumnKind,
    /// Numbers per bucket: device, from, to, width in microseconds.
    pub(crate) buckets: Text,
    /// Changes: device, from, to, limit.
    pub(crate) steps: Text,
    /// The last value before a time: device, time before which, time not before which.
    pub(crate) before: Text,
    /// The last values of many devices: devices, time not before which.
    pub(crate) latest: Text,
}

/// A profile's table and the statements on it, for the engine in use.
#[derive(Debug)]
pub(crate) struct WideTable {
    pub(crate) columns: Vec<Column>,
    /// Where each channel's column is.
    pub(crate) index: HashMap<ChannelId, usize>,
    /// With how many rows at once (0: as arrays), the most first.
    pub(crate) inserts: Vec<(usize, Text)>,
    /// COPY into it (PostgreSQL only).
    pub(crate) copy: Option<Text>,
    /// Whether that is tried.
    pub(crate) pause: Pause,
    /// Every column of a device in a span: device, from, to, limit.
    pub(crate) select: Text,
    /// The time of the device's last row before a time: device, time.
    pub(crate) newest: Text,
    /// The time of the row so many rows back: device, time not before which, how many.
    pub(crate) rows_back: Text,
    pub(crate) count: Text,
    /// The next device that has rows, and its oldest time: device before it (SQLite only).
    pub(crate) next_device: Text,
    /// Removes a device's oldest rows: device, from, to, how many at most (SQLite only).
    pub(crate) delete: Text,
    /// The table's name.
    pub(crate) name: Text,
    /// How it is cut by time.
    pub(crate) layout: Layout,
    /// Until when it was pruned last, in microseconds.
    pub(crate) pruned_to: AtomicI64,
}

/// Quotes the name of a partition: a profile's id, a colon and a word or digits.
pub(crate) fn quote_partition(name: &str) -> String {
    quote(name)
}

/// Quotes a name. The ids it is given hold nothing that could end the quotes.
fn quote(name: &str) -> String {
    debug_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b':')));
    format!("\"{name}\"")
}

/// A channel's column name: its id, unless the table has a column of that name for itself (PostgreSQL's system columns
/// included). The colon is allowed in no id, so that the result cannot meet another channel.
fn column_name(channel: &ChannelId) -> String {
    match channel.as_str() {
        own @ ("device" | "time" | "seq" | "tableoid" | "xmin" | "cmin" | "xmax" | "cmax" | "ctid") => {
            quote(&format!("{own}:channel"))
        }
        free => quote(free),
    }
}

/// `"a", "b"`, each as `each` writes it.
fn list(names: &[String], each: impl Fn(&str) -> String) -> String {
    names.iter().map(|name| each(name)).collect::<Vec<_>>().join(", ")
}

impl WideTable {
    fn new(profile: &Profile, postgres: bool, layout: Layout) -> Self {
        let table = table_name(&profile.id, postgres);
        let columns = profile.channels.iter().map(|channel| {
            let name = column_name(&channel.id);
            // PostgreSQL tells when the bucket begins, SQLite which it is: each what it computes without detours.
            let bucket = if postgres {
                "date_bin($4::bigint * interval '1 microsecond', time, $2)"
            } else {
                "(time - $2) / $4"
            };
            Column {
                channel: channel.id.clone(),
                kind: ColumnKind::of(&channel.kind),
                buckets: format!(
                    "SELECT {bucket}, min({name}), avg({name}), max({name}), count({name}) FROM {table}
                     WHERE device = $1 AND time >= $2 AND time < $3 AND {name} IS NOT NULL GROUP BY 1 ORDER BY 1"
                )
                .into(),
                steps: format!(
                    "SELECT time, value FROM (
                        SELECT time, {name} AS value, lag({name}) OVER (ORDER BY time) AS previous FROM {table}
                        WHERE device = $1 AND time >= $2 AND time < $3 AND {name} IS NOT NULL) AS changes
                     WHERE previous IS NULL OR value <> previous ORDER BY time LIMIT $4"
                )
                .into(),
                before: format!(
                    "SELECT time, {name} FROM {table} WHERE device = $1 AND time < $2 AND time >= $3 AND {name} IS NOT NULL
                     ORDER BY time DESC LIMIT 1"
                )
                .into(),
                latest: latest(&table, &name, postgres).into(),
            }
        });
        let columns: Vec<Column> = columns.collect();
        let index = columns.iter().enumerate().map(|(index, column)| (column.channel.clone(), index)).collect();
        let names: Vec<String> = columns.iter().map(|column| column_name(&column.channel)).collect();
        let inserts = if postgres { vec![(0, insert_arrays(&table, &columns))] } else { insert_rows(&table, &names) };
        let all: String = names.iter().map(|name| format!(", {name}")).collect();
        Self {
            index,
            inserts,
            copy: postgres
                .then(|| format!("COPY {table} (device, time, seq{all}) FROM STDIN (FORMAT binary)").into()),
            pause: Pause::default(),
            select: format!(
                "SELECT time, seq{all} FROM {table} WHERE device = $1 AND time >= $2 AND time < $3 ORDER BY time LIMIT $4"
            )
            .into(),
            newest: format!("SELECT time FROM {table} WHERE device = $1 AND time < $2 ORDER BY time DESC LIMIT 1").into(),
            rows_back: format!(
                "SELECT time FROM {table} WHERE device = $1 AND time >= $2 ORDER BY time DESC LIMIT 1 OFFSET $3"
            )
            .into(),
            count: format!("SELECT count(*) FROM {table}").into(),
            next_device: format!("SELECT device, time FROM {table} WHERE device > $1 ORDER BY device, time LIMIT 1").into(),
            delete: format!(
                "DELETE FROM {table} WHERE device = $1 AND time >= $2 AND time < coalesce(min($3,
                    (SELECT time FROM {table} WHERE device = $1 AND time >= $2 ORDER BY time LIMIT 1 OFFSET $4)), $3)"
            )
            .into(),
            name: table.into(),
            layout,
            pruned_to: AtomicI64::new(i64::MIN),
            columns,
        }
    }

    /// Where a channel's column is. Messages name channels in the order of the profile as a rule: `guess` is looked at
    /// first.
    pub(crate) fn position(&self, channel: &ChannelId, guess: usize) -> Option<usize> {
        match self.columns.get(guess) {
            Some(column) if column.channel == *channel => Some(guess),
            Some(_) | None => self.index.get(channel).copied(),
        }
    }

    /// How far back [`Column::before`] looks, as a number of rows.
    pub(crate) fn look_back() -> i64 {
        i64::from(LATEST_WITHIN_ROWS)
    }
}

/// The last value of a column for each of many devices.
fn latest(table: &str, name: &str, postgres: bool) -> String {
    if postgres {
        format!(
            "SELECT d.id, x.time, x.value FROM unnest($1) AS d (id) CROSS JOIN LATERAL (
                SELECT time, {name} AS value FROM {table} WHERE device = d.id AND time >= $2 AND {name} IS NOT NULL
                ORDER BY time DESC LIMIT 1) AS x"
        )
    } else {
        format!(
            "SELECT d.value, t.time, t.{name} FROM json_each($1) AS d JOIN {table} AS t ON t.device = d.value
                AND t.time = (SELECT max(time) FROM {table} WHERE device = d.value AND time >= $2 AND {name} IS NOT NULL)"
        )
    }
}

fn table_name(profile: &ProfileId, postgres: bool) -> String {
    if postgres { format!("readings.{}", quote(profile.as_str())) } else { quote(&format!("readings_{profile}")) }
}

/// What happens to a row that is there already: each column that the message brings is set, the others stay, and if
/// that changes nothing, nothing is written.
fn on_conflict(names: &[String], differs: &str) -> String {
    let all: Vec<String> = std::iter::once("seq".to_owned()).chain(names.iter().cloned()).collect();
    let set = list(&all, |name| format!("{name} = coalesce(excluded.{name}, t.{name})"));
    let old = list(&all, |name| format!("t.{name}"));
    let new = list(&all, |name| format!("coalesce(excluded.{name}, t.{name})"));
    format!("ON CONFLICT (device, time) DO UPDATE SET {set} WHERE ({old}) {differs} ({new})")
}

fn insert_arrays(table: &str, columns: &[Column]) -> Text {
    let names: Vec<String> = columns.iter().map(|column| column_name(&column.channel)).collect();
    let mut arrays = String::from("$1::text[], $2::timestamptz[], $3::bigint[]");
    for (number, column) in (4..).zip(columns) {
        write!(arrays, ", ${number}::{}[]", column.kind.postgres()).expect("writing to a String cannot fail");
    }
    let targets: String = names.iter().map(|name| format!(", {name}")).collect();
    let conflict = on_conflict(&names, "IS DISTINCT FROM");
    format!("INSERT INTO {table} AS t (device, time, seq{targets}) SELECT * FROM unnest({arrays}) {conflict}").into()
}

fn insert_rows(table: &str, names: &[String]) -> Vec<(usize, Text)> {
    let width = names.len() + 3;
    let targets: String = names.iter().map(|name| format!(", {name}")).collect();
    let conflict = on_conflict(names, "IS NOT");
    let row = format!("({})", vec!["?"; width].join(", "));
    let statement = |rows: usize| -> Text {
        let values = vec![row.as_str(); rows].join(", ");
        format!("INSERT INTO {table} AS t (device, time, seq{targets}) VALUES {values} {conflict}").into()
    };
    SQLITE_ROWS.into_iter().filter(|rows| rows * width <= SQLITE_BINDS).map(|rows| (rows, statement(rows))).collect()
}

pub(crate) async fn has_timescale(db: &Db) -> Result<bool> {
    let Engine::Postgres(pool) = &db.read else { return Ok(false) };
    let (count,): (i64,) = sqlx::query_as(HAS_TIMESCALE)
        .fetch_one(pool)
        .await
        .map_err(|source| StoreError::Query { what: "looking for TimescaleDB", source })?;
    Ok(count > 0)
}

async fn ddl(tx: &mut Tx, text: String) -> Result<()> {
    match tx.on() {
        Engine::Postgres(on) => sqlx::query(AssertSqlSafe(text)).execute(on).await.map(drop),
        Engine::Sqlite(on) => sqlx::query(AssertSqlSafe(text)).execute(on).await.map(drop),
    }
    .map_err(|source| StoreError::Query { what: "making a table of readings", source })
}

impl Store {
    /// Makes or widens the table of a profile's readings. Run it for every profile before recording or reading.
    ///
    /// # Errors
    /// [`StoreError::ChannelChanged`] if a channel is stored with another type.
    pub async fn ensure_profile(&self, profile: &Profile) -> Result<()> {
        let postgres = matches!(self.db().write, Engine::Postgres(_));
        let table = table_name(&profile.id, postgres);
        let layout = match &self.db().write {
            Engine::Postgres(pool) => {
                partitions::prepare(pool, &table, self.inner.partition, self.inner.timescale).await?
            }
            Engine::Sqlite(_) => Layout::Whole,
        };
        let mut tx = self.db().begin().await?;
        if !postgres {
            let created = format!(
                "CREATE TABLE IF NOT EXISTS {table} (device TEXT NOT NULL, time INTEGER NOT NULL, seq INTEGER, \
                 PRIMARY KEY (device, time)) STRICT, WITHOUT ROWID"
            );
            ddl(&mut tx, created).await?;
        }
        let what = "reading the channels of a profile";
        let stored: Vec<(String, String)> = fetch_all!(&mut tx, what, CHANNELS, profile.id.as_str())?;
        let stored: HashMap<String, String> = stored.into_iter().collect();
        for (position, channel) in (0u64..).zip(&profile.channels) {
            let kind = ColumnKind::of(&channel.kind);
            match stored.get(channel.id.as_str()) {
                Some(was) if was == kind.code() => {}
                Some(was) => {
                    return Err(StoreError::ChannelChanged {
                        profile: profile.id.clone(),
                        channel: channel.id.clone(),
                        was: was.clone(),
                        is: kind.code(),
                    });
                }
                None => {
                    let sql_type = if postgres { kind.postgres() } else { kind.sqlite() };
                    ddl(&mut tx, format!("ALTER TABLE {table} ADD COLUMN {} {sql_type}", column_name(&channel.id)))
                        .await?;
                    let (profile, channel) = (profile.id.as_str(), channel.id.as_str());
                    execute!(&mut tx, what, INSERT_CHANNEL, profile, channel, kind.code(), int(position))?;
                }
            }
        }
        tx.commit().await?;
        let table = WideTable::new(profile, postgres, layout);
        let mut wide = self.inner.wide.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        wide.insert(profile.id.clone(), Arc::new(table));
        Ok(())
    }

    /// A profile's table, if [`Store::ensure_profile`] has run for it.
    pub(crate) fn wide_table(&self, profile: &ProfileId) -> Option<Arc<WideTable>> {
        let wide = self.inner.wide.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        wide.get(profile).cloned()
    }

    /// Every profile's table.
    pub(crate) fn wide_tables(&self) -> Vec<(ProfileId, Arc<WideTable>)> {
        let wide = self.inner.wide.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        wide.iter().map(|(profile, table)| (profile.clone(), table.clone())).collect()
    }

    /// How many rows of readings a profile has. Counts them all: for tests and tools.
    ///
    /// # Errors
    /// [`StoreError::UnknownProfile`] if the profile was never announced.
    pub async fn count_readings(&self, profile: &ProfileId) -> Result<u64> {
        let table = self.wide_table(profile).ok_or_else(|| StoreError::UnknownProfile { profile: profile.clone() })?;
        let (count,): (i64,) = match self.db().read.on() {
            Engine::Postgres(on) => sqlx::query_as(safe(&table.count)).fetch_one(on).await,
            Engine::Sqlite(on) => sqlx::query_as(safe(&table.count)).fetch_one(on).await,
        }
        .map_err(|source| StoreError::Query { what: "counting readings", source })?;
        Ok(crate::db::uint(count))
    }
}
