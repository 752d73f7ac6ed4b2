//! Reading readings: charts, latest values, exports.

use std::time::Duration;

use model::{ChannelId, DeviceId, OrgId, ProfileId, Timestamp, Value};
use sqlx::Row as _;

use crate::{
    Result, Row, Store, StoreError,
    db::{DbTime, Engine, TextList, at, name, uint},
    wide::{Column, ColumnKind, LATEST_WITHIN, Text, WideTable, safe},
};

/// The most points that a chart gets.
const MAX_POINTS: u32 = 5000;

/// Numbers of one stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// When it begins.
    pub time: Timestamp,
    /// The least.
    pub min: f64,
    /// The mean of the readings (not weighted by time).
    pub avg: f64,
    /// The greatest.
    pub max: f64,
    /// How many readings there were.
    pub count: u64,
}

/// A change of a value that is not a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// From when it holds.
    pub time: Timestamp,
    /// The value.
    pub value: Value,
}

/// A channel over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Series {
    /// Of a numeric channel. Buckets without readings are left out.
    Buckets {
        /// How long a bucket is.
        width: Duration,
        /// The buckets, in order.
        points: Vec<Bucket>,
    },
    /// Of any other channel.
    Steps {
        /// The changes, in order; the first, at the beginning of the span, is the value in force then, if one is known.
        points: Vec<Step>,
        /// True if there were more changes than are shown: the later ones are missing.
        truncated: bool,
    },
}

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::Query { what: "reading readings", source }
}

/// The width that cuts a span into at most so many buckets: whole seconds if it is longer than one.
fn width_micros(span: Duration, buckets: u32) -> i64 {
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let width = (span / i64::from(buckets)).max(1);
    let width = if width * i64::from(buckets) < span { width + 1 } else { width };
    if width > 1_000_000 {
        width.div_euclid(1_000_000) * 1_000_000 + if width % 1_000_000 > 0 { 1_000_000 } else { 0 }
    } else {
        width
    }
}

/// Rows of a time and a value of a column's type.
async fn timed_values(
    store: &Store,
    column: &Column,
    statement: &Text,
    device: &DeviceId,
    times: [Timestamp; 2],
    limit: Option<i64>,
) -> Result<Vec<(Timestamp, Value)>> {
    macro_rules! rows {
        ($on:expr, $type:ty, $value:expr) => {{
            let mut query = sqlx::query_as(safe(statement)).bind(device.as_str()).bind(at(times[0])).bind(at(times[1]));
            if let Some(limit) = limit {
                query = query.bind(limit);
            }
            let rows: Vec<(DbTime, $type)> = query.fetch_all($on).await.map_err(failed)?;
            let value: fn($type) -> Value = $value;
            rows.into_iter().map(|(time, found)| (time.into(), value(found))).collect()
        }};
    }
    let text: fn(String) -> Value = |words| Value::Text(words.into());
    Ok(match (store.db().read.on(), column.kind) {
        (Engine::Postgres(on), ColumnKind::Number) => rows!(on, f64, Value::Number),
        (Engine::Postgres(on), ColumnKind::Bool) => rows!(on, bool, Value::Bool),
        (Engine::Postgres(on), ColumnKind::Text) => rows!(on, String, text),
        (Engine::Sqlite(on), ColumnKind::Number) => rows!(on, f64, Value::Number),
        (Engine::Sqlite(on), ColumnKind::Bool) => rows!(on, bool, Value::Bool),
        (Engine::Sqlite(on), ColumnKind::Text) => rows!(on, String, text),
    })
}

impl Store {
    async fn table_of(&self, org: OrgId, device: &DeviceId) -> Result<Option<std::sync::Arc<WideTable>>> {
        let Some(found) = self.device(org, device).await? else { return Ok(None) };
        Ok(self.wide_table(&found.device.profile))
    }

    /// One channel of a device from `from` until before `to`, condensed for a chart of at most `buckets` points.
    /// `None` if the organisation has no such device or the device no such channel.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn series(
        &self,
        org: OrgId,
        device: &DeviceId,
        channel: &ChannelId,
        from: Timestamp,
        to: Timestamp,
        buckets: u32,
    ) -> Result<Option<Series>> {
        let Some(table) = self.table_of(org, device).await? else { return Ok(None) };
        let Some(column) = table.index.get(channel).map(|index| &table.columns[*index]) else { return Ok(None) };
        match column.kind {
            ColumnKind::Number => self.buckets(column, device, from, to, buckets.clamp(1, MAX_POINTS)).await.map(Some),
            ColumnKind::Bool | ColumnKind::Text => self.steps(&table, column, device, from, to).await.map(Some),
        }
    }

    async fn buckets(
        &self,
        column: &Column,
        device: &DeviceId,
        from: Timestamp,
        to: Timestamp,
        buckets: u32,
    ) -> Result<Series> {
        let width = width_micros(to.since(from), buckets);
        let (id, start, end) = (device.as_str(), at(from), at(to));
        let first = Timestamp::from(start).as_micros();
        let points: Vec<(i64, f64, f64, f64, i64)> = match self.db().read.on() {
            Engine::Postgres(on) => {
                let query = sqlx::query_as(safe(&column.buckets)).bind(id).bind(start).bind(end).bind(width);
                let rows: Vec<(DbTime, f64, f64, f64, i64)> = query.fetch_all(on).await.map_err(failed)?;
                rows.into_iter().map(|(time, min, avg, max, count)| (time.micros(), min, avg, max, count)).collect()
            }
            Engine::Sqlite(on) => {
                let query = sqlx::query_as(safe(&column.buckets)).bind(id).bind(start).bind(end).bind(width);
                let rows: Vec<(i64, f64, f64, f64, i64)> = query.fetch_all(on).await.map_err(failed)?;
                rows.into_iter().map(|(n, min, avg, max, count)| (first + n * width, min, avg, max, count)).collect()
            }
        };
        let points = points.into_iter().map(|(time, min, avg, max, count)| Bucket {
            time: Timestamp::from_micros(time),
            min,
            avg,
            max,
            count: uint(count),
        });
        Ok(Series::Buckets { width: Duration::from_micros(uint(width)), points: points.collect() })
    }

    async fn steps(
        &self,
        table: &WideTable,
        column: &Column,
        device: &DeviceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series> {
        let limit = i64::from(MAX_POINTS);
        let before = self.value_before(table, column, device, from).await?;
        let mut points: Vec<Step> = before.map(|(_, value)| Step { time: from, value }).into_iter().collect();
        let mut changes = timed_values(self, column, &column.steps, device, [from, to], Some(limit + 1)).await?;
        let truncated = changes.len() > MAX_POINTS as usize;
        changes.truncate(MAX_POINTS as usize);
        for (time, value) in changes {
            match points.last() {
                Some(last) if last.value == value => {}
                Some(_) | None => points.push(Step { time, value }),
            }
        }
        Ok(Series::Steps { points, truncated })
    }

    /// The last value of a channel before a time, not looked for farther back than so many rows and days.
    async fn value_before(
        &self,
        table: &WideTable,
        column: &Column,
        device: &DeviceId,
        before: Timestamp,
    ) -> Result<Option<(Timestamp, Value)>> {
        let earliest = self.look_back(table, device, before).await?;
        Ok(timed_values(self, column, &column.before, device, [before, earliest], None).await?.pop())
    }

    /// The time of the oldest row that a search for a value before a time may reach.
    async fn look_back(&self, table: &WideTable, device: &DeviceId, before: Timestamp) -> Result<Timestamp> {
        let (id, before, rows) = (device.as_str(), at(before), WideTable::look_back());
        let newest: Option<(DbTime,)> = match self.db().read.on() {
            Engine::Postgres(on) => sqlx::query_as(safe(&table.newest)).bind(id).bind(before).fetch_optional(on).await,
            Engine::Sqlite(on) => sqlx::query_as(safe(&table.newest)).bind(id).bind(before).fetch_optional(on).await,
        }
        .map_err(failed)?;
        let Some((newest,)) = newest else { return Ok(Timestamp::from_micros(i64::MAX)) };
        let earliest = Timestamp::from(newest) - LATEST_WITHIN;
        let found = match self.db().read.on() {
            Engine::Postgres(on) => {
                sqlx::query_as(safe(&table.rows_back)).bind(id).bind(at(earliest)).bind(rows).fetch_optional(on).await
            }
            Engine::Sqlite(on) => {
                sqlx::query_as(safe(&table.rows_back)).bind(id).bind(at(earliest)).bind(rows).fetch_optional(on).await
            }
        };
        let found: Option<(DbTime,)> = found.map_err(failed)?;
        Ok(found.map_or(earliest, |(time,)| time.into()))
    }

    /// The latest value of each channel of a device, as far as it has one.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn latest(&self, org: OrgId, device: &DeviceId) -> Result<Vec<(ChannelId, Timestamp, Value)>> {
        let Some(table) = self.table_of(org, device).await? else { return Ok(Vec::new()) };
        let ever = Timestamp::from_micros(i64::MAX);
        let earliest = self.look_back(&table, device, ever).await?;
        let mut latest = Vec::new();
        for column in &table.columns {
            let mut found = timed_values(self, column, &column.before, device, [ever, earliest], None).await?;
            latest.extend(found.pop().map(|(time, value)| (column.channel.clone(), time, value)));
        }
        Ok(latest)
    }

    /// The latest value of one channel on each of many devices of a profile, as far as it has one since then. The caller
    /// makes sure that the devices are the reader's own.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn latest_of(
        &self,
        profile: &ProfileId,
        channel: &str,
        devices: &[DeviceId],
        since: Timestamp,
    ) -> Result<Vec<(DeviceId, Timestamp, Value)>> {
        let Some(table) = self.wide_table(profile) else { return Ok(Vec::new()) };
        let Some(column) = table.columns.iter().find(|column| column.channel.as_str() == channel) else {
            return Ok(Vec::new());
        };
        let ids = || TextList(devices.iter().map(ToString::to_string).collect());
        macro_rules! rows {
            ($on:expr, $type:ty, $value:expr) => {{
                let query = sqlx::query_as(safe(&column.latest)).bind(ids()).bind(at(since));
                let rows: Vec<(String, DbTime, $type)> = query.fetch_all($on).await.map_err(failed)?;
                rows.into_iter()
                    .map(|(device, time, value)| Ok((name("device id", &device)?, time.into(), $value(value))))
                    .collect()
            }};
        }
        let text = |text: String| Value::Text(text.into());
        match (self.db().read.on(), column.kind) {
            (Engine::Postgres(on), ColumnKind::Number) => rows!(on, f64, Value::Number),
            (Engine::Postgres(on), ColumnKind::Bool) => rows!(on, bool, Value::Bool),
            (Engine::Postgres(on), ColumnKind::Text) => rows!(on, String, text),
            (Engine::Sqlite(on), ColumnKind::Number) => rows!(on, f64, Value::Number),
            (Engine::Sqlite(on), ColumnKind::Bool) => rows!(on, bool, Value::Bool),
            (Engine::Sqlite(on), ColumnKind::Text) => rows!(on, String, text),
        }
    }

    /// A device's rows from `from` until before `to`, in order, at most `limit` of them; for exports.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn readings(
        &self,
        org: OrgId,
        device: &DeviceId,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Row>> {
        let Some(found) = self.device(org, device).await? else { return Ok(Vec::new()) };
        let profile = found.device.profile;
        let Some(table) = self.wide_table(&profile) else { return Ok(Vec::new()) };
        macro_rules! rows {
            ($on:expr) => {{
                let query = sqlx::query(safe(&table.select)).bind(device.as_str()).bind(at(from)).bind(at(to));
                let rows = query.bind(i64::from(limit)).fetch_all($on).await.map_err(failed)?;
                rows.iter()
                    .map(|row| {
                        let mut values = Vec::new();
                        for (index, column) in (2..).zip(&table.columns) {
                            let value = match column.kind {
                                ColumnKind::Number => row.try_get::<Option<f64>, _>(index)?.map(Value::Number),
                                ColumnKind::Bool => row.try_get::<Option<bool>, _>(index)?.map(Value::Bool),
                                ColumnKind::Text => {
                                    row.try_get::<Option<String>, _>(index)?.map(|t| Value::Text(t.into()))
                                }
                            };
                            values.extend(value.map(|value| (column.channel.clone(), value)));
                        }
                        let (time, seq): (DbTime, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
                        let (device, profile) = (device.clone(), profile.clone());
                        Ok(Row { device, profile, time: time.into(), seq: seq.map(uint), values: values.into() })
                    })
                    .collect::<Result<Vec<Row>, sqlx::Error>>()
            }};
        }
        match self.db().read.on() {
            Engine::Postgres(on) => rows!(on),
            Engine::Sqlite(on) => rows!(on),
        }
        .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_cut_into_no_more_buckets_than_asked_for() {
        for (span, buckets) in [(10_000_000, 10), (10_000_001, 10), (3_600_000_000, 7), (999, 1000), (1, 1), (0, 5)] {
            let width = width_micros(Duration::from_micros(span), buckets);
            assert!(width > 0);
            assert!(span.div_ceil(uint(width)) <= u64::from(buckets), "{span} {buckets} {width}");
        }
    }
}
