//! What the recorder writes: readings, events, statuses, command results and rejects, in one transaction and as often
//! as it likes. Everything here has its key in the message itself, so that a replay of the journal changes nothing.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::{Arc, atomic::Ordering},
};

use model::{
    Body, ChannelId, CommandResult, DeviceId, Directory, Entry, Event, OrgId, ProfileId, Status, Timestamp, Value,
};
use uuid::Uuid;

use crate::{
    Change, NewReject, Result, Store, StoreError, commands,
    copy::try_copy,
    db::{DbText, DbTime, Engine, Tx, WRITERS, answered, at, document, execute, fetch_optional, int, statements, text},
    partitions::Layout,
    rejects,
    wide::{Column, ColumnKind, WideTable, safe},
};

statements! {
    SEEN = each("
        INSERT INTO device_state AS s (device, last_seen) SELECT * FROM unnest($1::text[], $2::timestamptz[])
        ON CONFLICT (device) DO UPDATE SET last_seen = excluded.last_seen
        WHERE s.last_seen IS NULL OR s.last_seen < excluded.last_seen",
        "
        INSERT INTO device_state AS s (device, last_seen) SELECT key, value FROM json_each($1) WHERE TRUE
        ON CONFLICT (device) DO UPDATE SET last_seen = excluded.last_seen
        WHERE s.last_seen IS NULL OR s.last_seen < excluded.last_seen");
    // Only a later word changes it; the same word again is no change.
    STATUS = both("
        INSERT INTO device_state AS s (device, online, online_at) VALUES ($1, $2, $3)
        ON CONFLICT (device) DO UPDATE SET online = excluded.online, online_at = excluded.online_at
        WHERE s.online IS NULL OR (s.online <> excluded.online AND s.online_at <= excluded.online_at)");
    ORG_OF = both("SELECT org FROM devices WHERE id = $1");
    EVENT = both("
        INSERT INTO device_events (device, time, code, seq, body, received_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (device, time, code) DO NOTHING");
}

/// The values of some channels of one device at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The device.
    pub device: DeviceId,
    /// Its profile: which table the row goes to.
    pub profile: ProfileId,
    /// When the values held.
    pub time: Timestamp,
    /// The device's own count of messages.
    pub seq: Option<u64>,
    /// The values.
    pub values: Values,
}

/// The values of a row: its own, or those of an entry of the journal, which are not copied.
#[derive(Debug, Clone)]
pub enum Values {
    /// Its own.
    Own(Vec<(ChannelId, Value)>),
    /// Those of a sample or an event.
    Of(Arc<Entry>),
}

impl Deref for Values {
    type Target = [(ChannelId, Value)];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Own(values) => values,
            Self::Of(entry) => match &entry.body {
                Body::Sample(sample) => &sample.values,
                Body::Event(event) => &event.values,
                Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => &[],
            },
        }
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<Vec<(ChannelId, Value)>> for Values {
    fn from(values: Vec<(ChannelId, Value)>) -> Self {
        Self::Own(values)
    }
}

/// An event as the journal brought it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// The device.
    pub device: DeviceId,
    /// What it sent.
    pub event: Event,
    /// When the hub received it.
    pub received_at: Timestamp,
}

/// A stretch of the journal, sorted by where it goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecorderBatch {
    /// Readings.
    pub rows: Vec<Row>,
    /// Events.
    pub events: Vec<RecordedEvent>,
    /// Changes of connection, in the order they came.
    pub statuses: Vec<(DeviceId, Status)>,
    /// Answers to commands.
    pub results: Vec<(DeviceId, CommandResult)>,
    /// What could not be used.
    pub rejects: Vec<NewReject>,
    /// When each device was last heard.
    pub seen: HashMap<DeviceId, Timestamp>,
}

impl RecorderBatch {
    /// Adds the entry of the journal at `offset` of its lane. Values that came with an event are readings, too. Readings
    /// of a device that is not in the directory any more, or of a profile that is not loaded, have no table to go to: they are
    /// counted and left out.
    pub fn push(&mut self, offset: u64, entry: &Arc<Entry>, directory: &Directory) {
        let Entry { device, received_at, body } = &**entry;
        let received_at = *received_at;
        if let Body::Reject(_) = body {
            return self.rejects.push(NewReject { offset, sample: true, entry: entry.clone() });
        }
        let Some(device) = device else { return };
        match self.seen.get_mut(device) {
            Some(seen) => *seen = (*seen).max(received_at),
            None => drop(self.seen.insert(device.clone(), received_at)),
        }
        match body {
            Body::Sample(sample) => self.push_row(directory, device, sample.time, sample.seq, entry),
            Body::Event(event) => {
                if !event.values.is_empty() {
                    self.push_row(directory, device, event.time, event.seq, entry);
                }
                self.events.push(RecordedEvent { device: device.clone(), event: event.clone(), received_at });
            }
            Body::Status(status) => self.statuses.push((device.clone(), *status)),
            Body::CommandResult(result) => self.results.push((device.clone(), result.clone())),
            Body::Reject(_) | Body::Emergency(_) => {}
        }
    }

    fn push_row(
        &mut self,
        directory: &Directory,
        device: &DeviceId,
        time: Timestamp,
        seq: Option<u64>,
        entry: &Arc<Entry>,
    ) {
        match directory.find(device) {
            Some((known, _)) => {
                let (device, profile, values) = (device.clone(), known.profile.clone(), Values::Of(entry.clone()));
                self.rows.push(Row { device, profile, time, seq, values });
            }
            None => metrics::counter!("liftline_readings_unplaced_total").increment(1),
        }
    }

    /// How many things it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.events.len() + self.statuses.len() + self.results.len() + self.rejects.len()
    }

    /// True if it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.seen.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.events.clear();
        self.statuses.clear();
        self.results.clear();
        self.rejects.clear();
        self.seen.clear();
    }
}

/// What a call to [`Store::record`] wrote; what was there already is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordReport {
    /// Rows of readings added or completed.
    pub rows: u64,
    /// Events added.
    pub events: u64,
    /// Rejects counted.
    pub rejects: u64,
    /// Rejects kept as samples.
    pub samples: u64,
}

impl Store {
    /// Writes a batch in one transaction. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::UnknownProfile`] if [`Store::ensure_profile`] has not run for a profile; otherwise that the
    /// database fails: then nothing of the batch is written.
    pub async fn record(&self, batch: &RecorderBatch, now: Timestamp) -> Result<RecordReport> {
        let recorded = self.record_all(batch, now).await;
        self.inner.failing.store(recorded.is_err(), Ordering::Relaxed);
        recorded
    }

    /// How many calls to [`Store::record`] are worth making side by side. SQLite has one writer.
    #[must_use]
    pub fn writers(&self) -> usize {
        match &self.db().write {
            Engine::Postgres(_) => WRITERS,
            Engine::Sqlite(_) => 1,
        }
    }

    /// True if the last call to [`Store::record`] failed: readings wait in the journal.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.inner.failing.load(Ordering::Relaxed)
    }

    async fn record_all(&self, batch: &RecorderBatch, now: Timestamp) -> Result<RecordReport> {
        let mut changes = Vec::new();
        self.make_room(&batch.rows).await?;
        let mut tx = self.db().begin_bulk().await?;
        let mut report = RecordReport { rows: self.write_rows(&mut tx, &batch.rows).await?, ..RecordReport::default() };
        for RecordedEvent { device, event, received_at } in &batch.events {
            let body = document("event", &event.values)?;
            let (device, time, seq) = (device.as_str(), at(event.time), event.seq.map(int));
            let code = text(&event.code);
            report.events +=
                execute!(&mut tx, "recording an event", EVENT, device, time, code, seq, body, at(*received_at))?;
        }
        let rejected = rejects::record(&mut tx, &batch.rejects).await?;
        (report.rejects, report.samples) = (rejected.counted(), rejected.kept());
        if !batch.seen.is_empty() {
            write_seen(&mut tx, &batch.seen).await?;
        }
        // In the order of devices, so that two writers cannot wait for each other; within a device as they came.
        let mut statuses: Vec<_> = batch.statuses.iter().collect();
        statuses.sort_by(|a, b| a.0.cmp(&b.0));
        for (device, status) in statuses {
            if execute!(&mut tx, "recording a status", STATUS, device.as_str(), status.online, at(status.time))? > 0 {
                let org: Option<(Uuid,)> = fetch_optional!(&mut tx, "recording a status", ORG_OF, device.as_str())?;
                changes.extend(org.map(|(org,)| Change::Device { org: OrgId(org), device: device.clone() }));
            }
        }
        for (device, result) in &batch.results {
            changes.extend(commands::apply_result(&mut tx, device, result, now).await?);
        }
        tx.commit().await?;
        if report.rejects > 0 {
            rejected.publish();
            changes.push(Change::Rejects);
        }
        for change in changes {
            self.announce(change);
        }
        metrics::counter!("liftline_readings_stored_total").increment(report.rows);
        Ok(report)
    }

    /// Writes readings alone; for imports.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub async fn store_readings(&self, rows: &[Row]) -> Result<u64> {
        self.make_room(rows).await?;
        let mut tx = self.db().begin_bulk().await?;
        let written = self.write_rows(&mut tx, rows).await?;
        tx.commit().await?;
        Ok(written)
    }

    /// Makes the partitions that rows go to. Outside of the transaction that writes them, so that nobody waits for it.
    async fn make_room(&self, rows: &[Row]) -> Result<()> {
        let Engine::Postgres(pool) = &self.db().write else { return Ok(()) };
        for (profile, table) in self.wide_tables() {
            if let Layout::Partitions(partitions) = &table.layout {
                let times = rows.iter().filter(|row| row.profile == profile).map(|row| at(row.time));
                partitions.make_room(pool, &table.name, times).await?;
            }
        }
        Ok(())
    }

    async fn write_rows(&self, tx: &mut Tx, rows: &[Row]) -> Result<u64> {
        let mut by_profile: BTreeMap<&ProfileId, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            by_profile.entry(&row.profile).or_default().push(row);
        }
        let mut written = 0;
        for (profile, rows) in by_profile {
            let table =
                self.wide_table(profile).ok_or_else(|| StoreError::UnknownProfile { profile: profile.clone() })?;
            written += write_table(tx, &table, &merge(&table, &rows)).await?;
        }
        Ok(written)
    }
}

/// A row of the table: one cell per column.
pub(crate) struct Cells<'a> {
    pub(crate) device: &'a str,
    pub(crate) time: DbTime,
    pub(crate) seq: Option<i64>,
    pub(crate) values: Vec<Option<&'a Value>>,
}

/// Makes one row of all messages of the same device and time, the later value of a channel winning, sorted by key: one
/// statement may touch a row only once, and two writers that lock rows in the same order cannot deadlock.
fn merge<'a>(table: &WideTable, rows: &[&'a Row]) -> Vec<Cells<'a>> {
    let mut sorted = rows.to_vec();
    // Stable: messages of the same key stay in the order in which they came.
    sorted.sort_by(|a, b| a.device.as_str().cmp(b.device.as_str()).then(at(a.time).cmp(&at(b.time))));
    let mut merged: Vec<Cells<'a>> = Vec::with_capacity(sorted.len());
    for row in sorted {
        let (device, time) = (row.device.as_str(), at(row.time));
        if merged.last().is_none_or(|last| last.device != device || last.time != time) {
            merged.push(Cells { device, time, seq: None, values: vec![None; table.columns.len()] });
        }
        let Some(cells) = merged.last_mut() else { continue };
        cells.seq = row.seq.map(int).or(cells.seq);
        let mut guess = 0;
        for (channel, value) in row.values.iter() {
            match table.position(channel, guess) {
                Some(index) => {
                    cells.values[index] = Some(value);
                    guess = index + 1;
                }
                // The profile lost the channel after the message was decoded: there is no column for it.
                None => metrics::counter!("liftline_readings_unplaced_total").increment(1),
            }
        }
    }
    merged
}

pub(crate) fn number(value: Option<&Value>) -> Option<f64> {
    value.and_then(|value| match value {
        Value::Number(number) => Some(*number),
        Value::Bool(_) | Value::Text(_) => None,
    })
}

pub(crate) fn truth(value: Option<&Value>) -> Option<bool> {
    value.and_then(|value| match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(_) | Value::Text(_) => None,
    })
}

pub(crate) fn words(value: Option<&Value>) -> Option<DbText<'_>> {
    value.and_then(|value| match value {
        Value::Text(words) => Some(text(words)),
        Value::Number(_) | Value::Bool(_) => None,
    })
}

async fn write_table(tx: &mut Tx, table: &WideTable, rows: &[Cells<'_>]) -> Result<u64> {
    let failed = |source| StoreError::Query { what: "writing readings", source };
    match tx.on() {
        Engine::Postgres(on) => {
            if let Some(written) = answered(try_copy(&mut *on, table, rows)).await.map_err(failed)? {
                return Ok(written);
            }
            let Some((_, statement)) = table.inserts.first() else { return Ok(0) };
            let column = |index: usize| rows.iter().map(move |row| row.values[index]);
            let mut query = sqlx::query(safe(statement))
                .bind(rows.iter().map(|row| row.device).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.time).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.seq).collect::<Vec<_>>());
            for (index, Column { kind, .. }) in table.columns.iter().enumerate() {
                query = match kind {
                    ColumnKind::Number => query.bind(column(index).map(number).collect::<Vec<_>>()),
                    ColumnKind::Bool => query.bind(column(index).map(truth).collect::<Vec<_>>()),
                    ColumnKind::Text => query.bind(column(index).map(words).collect::<Vec<_>>()),
                };
            }
            answered(query.execute(on)).await.map(|done| done.rows_affected()).map_err(failed)
        }
        Engine::Sqlite(on) => {
            let mut written = 0;
            let mut rest = rows;
            for (at_once, statement) in &table.inserts {
                while rest.len() >= *at_once {
                    let (now, later) = rest.split_at(*at_once);
                    let mut query = sqlx::query(safe(statement));
                    for row in now {
                        query = query.bind(row.device).bind(row.time).bind(row.seq);
                        for (Column { kind, .. }, value) in table.columns.iter().zip(&row.values) {
                            query = match kind {
                                ColumnKind::Number => query.bind(number(*value)),
                                ColumnKind::Bool => query.bind(truth(*value)),
                                ColumnKind::Text => query.bind(words(*value)),
                            };
                        }
                    }
                    written += query.execute(&mut *on).await.map_err(failed)?.rows_affected();
                    rest = later;
                }
            }
            Ok(written)
        }
    }
}

async fn write_seen(tx: &mut Tx, seen: &HashMap<DeviceId, Timestamp>) -> Result<()> {
    let sorted: BTreeMap<&str, DbTime> = seen.iter().map(|(device, time)| (device.as_str(), at(*time))).collect();
    let failed = |source| StoreError::Query { what: "recording which devices were heard", source };
    match tx.on() {
        Engine::Postgres(on) => {
            let (devices, times): (Vec<&str>, Vec<DbTime>) = sorted.into_iter().unzip();
            let query = sqlx::query(SEEN.postgres).bind(devices).bind(times);
            answered(query.execute(on)).await.map(drop).map_err(failed)
        }
        Engine::Sqlite(on) => {
            let micros: BTreeMap<&str, i64> =
                sorted.into_iter().map(|(device, time)| (device, Timestamp::from(time).as_micros())).collect();
            let object = document("list of devices", &micros)?;
            sqlx::query(SEEN.sqlite).bind(object).execute(on).await.map(drop).map_err(failed)
        }
    }
}
