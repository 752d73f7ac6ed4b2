//! One segment: an SQLite file with a table for each lane, and all the journal's SQL.
//!
//! Why SQLite, and why with a rollback journal: docs/adr/0002-journal-store.md.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::Lane;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::codec::{self, Fault, Group};

/// Marks the file as a Liftline journal ("LLJ1").
const APPLICATION_ID: i32 = 0x4c4c_4a31;
/// The most bytes of bodies that one read loads.
const READ_BYTES: usize = 4 << 20;
/// The most that may be missing at the end of a file for [`Segment::mend_length`] to fill it up.
const MEND_BYTES: u64 = 64 << 20;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (first INTEGER PRIMARY KEY, last INTEGER NOT NULL,
        oldest INTEGER NOT NULL, newest INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS telemetry (first INTEGER PRIMARY KEY, last INTEGER NOT NULL,
        oldest INTEGER NOT NULL, newest INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS sealed (lane TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL,
        bytes INTEGER NOT NULL, oldest INTEGER NOT NULL, newest INTEGER NOT NULL) STRICT;";

/// The statements of one lane.
struct LaneSql {
    insert: &'static str,
    read: &'static str,
    next: &'static str,
    summary: &'static str,
}

macro_rules! lane_sql {
    ($table:literal) => {
        LaneSql {
            insert: concat!("INSERT INTO ", $table, " (first, last, oldest, newest, body) VALUES ($1, $2, $3, $4, $5)"),
            read: concat!(
                "SELECT first, last, oldest, newest, body FROM ",
                $table,
                " WHERE first >= coalesce((SELECT max(first) FROM ",
                $table,
                " WHERE first <= $1), $1) ORDER BY first"
            ),
            next: concat!("SELECT min(first) FROM ", $table, " WHERE first > $1"),
            summary: concat!("SELECT min(first), max(last), sum(length(body)), min(oldest), max(newest) FROM ", $table),
        }
    };
}

const EVENTS: LaneSql = lane_sql!("events");
const TELEMETRY: LaneSql = lane_sql!("telemetry");

const SEALED_READ: &str = "SELECT first, last, bytes, oldest, newest FROM sealed WHERE lane = $1";
const SEALED_WRITE: &str = "
    INSERT INTO sealed (lane, first, last, bytes, oldest, newest) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (lane) DO NOTHING";

fn sql(lane: Lane) -> &'static LaneSql {
    match lane {
        Lane::Events => &EVENTS,
        Lane::Telemetry => &TELEMETRY,
    }
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Events => "events",
        Lane::Telemetry => "telemetry",
    }
}

/// Offsets are far below 2^63.
fn to_sql(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// True if the error says that the file is damaged, rather than that the disk is full or away.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        )
}

/// True if the disk (or the quota) is full: the transaction was undone and nothing else is wrong.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// What a segment holds of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// First offset.
    pub(crate) first: u64,
    /// Last offset.
    pub(crate) last: u64,
    /// Bytes of the bodies.
    pub(crate) bytes: u64,
    /// Receive time of the oldest entry, in microseconds.
    pub(crate) oldest: i64,
    /// Receive time of the newest entry, in microseconds.
    pub(crate) newest: i64,
}

impl Span {
    /// How many entries.
    pub(crate) fn len(&self) -> u64 {
        self.last + 1 - self.first
    }

    /// The span with one more group behind it.
    pub(crate) fn with(span: Option<Self>, group: &Group) -> Self {
        let (oldest, newest) = group.received;
        let bytes = group.body.len() as u64;
        match span {
            None => Self { first: group.first, last: group.last, bytes, oldest, newest },
            Some(span) => Self {
                first: span.first,
                last: group.last,
                bytes: span.bytes + bytes,
                oldest: span.oldest.min(oldest),
                newest: span.newest.max(newest),
            },
        }
    }
}

/// Groups to be written in one transaction.
pub(crate) struct Write<'a> {
    /// Their lane.
    pub(crate) lane: Lane,
    /// The groups.
    pub(crate) groups: &'a [Group],
}

/// What a read brought.
pub(crate) struct Found {
    /// Groups in order.
    pub(crate) groups: Vec<Group>,
    /// The offset before which the store lost everything that is not in `groups`; reading goes on there.
    pub(crate) lost_before: Option<u64>,
}

/// One file. Its connection is opened when it is needed and shared by the writer and the readers.
pub(crate) struct Segment {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Segment {
    /// A handle; the file need not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, connection: Mutex::new(None) }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A panic while the lock was held leaves a connection whose transaction is undone when it is dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the connection. The next use opens the file anew, which undoes a half-written transaction.
    pub(crate) fn release(&self) {
        *self.lock() = None;
    }

    /// If the file is shorter than its header says (its tail was torn off), fills it up with empty pages: SQLite
    /// refuses a short file as a whole, but serves every page of a long enough one that is still there.
    pub(crate) fn mend_length(&self) -> std::io::Result<()> {
        self.release();
        let mut file = std::fs::File::options().read(true).write(true).open(&self.path)?;
        // Page size and page count: bytes 16 and 28 of the database header (SQLite file format, section 1.3).
        let mut header = [0; 32];
        if file.read_exact(&mut header).is_err() {
            return Ok(());
        }
        let page = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
            1 => 65_536,
            bytes => bytes,
        };
        let expected = page * u64::from(u32::from_be_bytes([header[28], header[29], header[30], header[31]]));
        let actual = file.metadata()?.len();
        // A damaged header must not make a giant of the file.
        if actual < expected && expected - actual <= MEND_BYTES { file.set_len(expected) } else { Ok(()) }
    }

    /// Removes the file and what SQLite keeps beside it.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        self.release();
        std::fs::remove_file(&self.path)?;
        let mut rollback = self.path.as_os_str().to_owned();
        rollback.push("-journal");
        match std::fs::remove_file(rollback) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The size of the file in bytes.
    pub(crate) fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let mut slot = self.lock();
        let connection = match slot.take() {
            Some(connection) => connection,
            None => open(&self.path)?,
        };
        work(slot.insert(connection))
    }

    /// Makes groups durable: all of them or, on an error, none.
    pub(crate) fn write(&self, writes: &[Write<'_>]) -> rusqlite::Result<()> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            for write in writes {
                let mut insert = transaction.prepare_cached(sql(write.lane).insert)?;
                for group in write.groups {
                    let (oldest, newest) = group.received;
                    insert.execute(params![
                        to_sql(group.first),
                        to_sql(group.last),
                        oldest,
                        newest,
                        &group.body[..]
                    ])?;
                }
            }
            transaction.commit()
        })
    }

    /// What the file holds of each lane, in the order of [`Lane::ALL`].
    pub(crate) fn spans(&self) -> rusqlite::Result<[Option<Span>; 2]> {
        let [events, telemetry] = Lane::ALL;
        Ok([self.span(events)?, self.span(telemetry)?])
    }

    fn span(&self, lane: Lane) -> rusqlite::Result<Option<Span>> {
        self.with(|connection| {
            let read = |row: &rusqlite::Row<'_>| {
                let first: Option<i64> = row.get(0)?;
                Ok(match first {
                    None => None,
                    Some(first) => Some(Span {
                        first: from_sql(first),
                        last: from_sql(row.get(1)?),
                        bytes: from_sql(row.get(2)?),
                        oldest: row.get(3)?,
                        newest: row.get(4)?,
                    }),
                })
            };
            let sealed =
                connection.prepare_cached(SEALED_READ)?.query_row([lane_name(lane)], read).optional()?.flatten();
            match sealed {
                Some(span) => Ok(Some(span)),
                None => connection.prepare_cached(sql(lane).summary)?.query_row([], read),
            }
        })
    }

    /// Writes down what the file holds, so that opening it later needs no scan.
    pub(crate) fn seal(&self, spans: [Option<Span>; 2]) -> rusqlite::Result<()> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            for (lane, span) in Lane::ALL.into_iter().zip(spans) {
                if let Some(span) = span {
                    transaction.execute(
                        SEALED_WRITE,
                        params![
                            lane_name(lane),
                            to_sql(span.first),
                            to_sql(span.last),
                            to_sql(span.bytes),
                            span.oldest,
                            span.newest
                        ],
                    )?;
                }
            }
            transaction.commit()
        })
    }

    /// Groups of a lane from the one that holds `from` on, until they hold `wanted` entries or 4 MiB. Where the file
    /// is damaged it finds the next group that can be read, up to offset `until`.
    pub(crate) fn read(&self, lane: Lane, from: u64, wanted: usize, until: u64) -> rusqlite::Result<Found> {
        self.with(|connection| {
            let mut groups = Vec::new();
            match collect(connection, lane, from, wanted, &mut groups) {
                Ok(()) => Ok(Found { groups, lost_before: None }),
                Err(error) if !is_damage(&error) => Err(error),
                Err(_) if !groups.is_empty() => Ok(Found { groups, lost_before: None }),
                Err(_) => Ok(Found { groups, lost_before: Some(next_readable(connection, lane, from, until)?) }),
            }
        })
    }

    /// Lets the file grow no further than `pages`; tests use it as a full disk.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) {
        self.with(|connection| connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))).unwrap();
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // One process owns the folder (see the lock file), so SQLite need not lock and re-check for every transaction.
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_mode", "PERSIST", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A damaged cell must not be trusted to lie where it says.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "cache_size", -8000)?;
    match connection.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0))? {
        APPLICATION_ID => Ok(connection),
        0 => {
            connection.execute_batch(SCHEMA)?;
            // Last: a file that has it has its tables too.
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            Ok(connection)
        }
        _ => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error { code: ErrorCode::NotADatabase, extended_code: 26 },
            Some("the file is an SQLite database, but not a segment of a journal".to_owned()),
        )),
    }
}

fn collect(
    connection: &Connection,
    lane: Lane,
    from: u64,
    wanted: usize,
    groups: &mut Vec<Group>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql(lane).read)?;
    let mut rows = statement.query([to_sql(from)])?;
    let (mut entries, mut bytes) = (0_u64, 0);
    while let Some(row) = rows.next()? {
        let (first, last) = (from_sql(row.get(0)?), from_sql(row.get(1)?));
        let body = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
        let last = codec::last_of(first, last, body);
        let group = Group { first, last, received: (row.get(2)?, row.get(3)?), body: body.into(), entries: None };
        if group.last < from {
            continue;
        }
        entries += group.last + 1 - group.first.max(from);
        bytes += group.body.len();
        groups.push(group);
        if entries >= wanted as u64 || bytes >= READ_BYTES {
            break;
        }
    }
    Ok(())
}

/// The first offset above `from` at which a group starts that can be reached: doubling steps over the damage, then
/// halving back to its edge. `until + 1` if there is none.
fn next_readable(connection: &Connection, lane: Lane, from: u64, until: u64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(sql(lane).next)?;
    let mut probe = |after: u64| -> rusqlite::Result<Option<u64>> {
        match statement.query_row([to_sql(after)], |row| row.get::<_, Option<i64>>(0)) {
            Ok(first) => Ok(Some(first.map_or(until + 1, from_sql))),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let mut step = 0_u64;
    let (mut bad, mut found) = loop {
        let after = from.saturating_add(step);
        if let Some(found) = probe(after)? {
            if step == 0 {
                return Ok(found.max(from + 1));
            }
            break (from + step / 2, (after, found));
        }
        if after > until {
            return Ok(until + 1);
        }
        step = (step * 2).max(1);
    };
    while found.0 - bad > 1 {
        let middle = bad + (found.0 - bad) / 2;
        match probe(middle)? {
            Some(first) => found = (middle, first),
            None => bad = middle,
        }
    }
    Ok(found.1.max(from + 1))
}

/// What a walk over every group of a lane found.
#[derive(Default)]
pub(crate) struct Scan {
    /// What can be read.
    pub(crate) span: Option<Span>,
    /// Damaged ranges: first offset, last offset, what is wrong.
    pub(crate) damage: Vec<(u64, u64, Fault)>,
    /// True if the store itself is damaged: such a file is never written to again.
    pub(crate) broken: bool,
}

/// Reads all of a lane and checks every checksum, without decoding.
pub(crate) fn scan(segment: &Segment, lane: Lane) -> rusqlite::Result<Scan> {
    /// Beyond every offset that will ever be given out.
    const END: u64 = 1 << 62;
    let mut scan = Scan::default();
    let mut next = 0;
    loop {
        let found = segment.read(lane, next, codec::MAX_GROUP, END)?;
        scan.broken |= found.lost_before.is_some();
        if found.groups.is_empty() {
            match found.lost_before {
                Some(offset) if offset < END => next = offset,
                Some(_) | None => return Ok(scan),
            }
        }
        for group in &found.groups {
            if let Some(span) = scan.span.filter(|span| group.first > span.last + 1) {
                scan.damage.push((span.last + 1, group.first - 1, Fault::Lost));
            }
            match codec::records(lane, group) {
                Err(fault) => scan.damage.push((group.first, group.last, fault)),
                Ok(records) => scan.damage.extend(
                    (group.first..)
                        .zip(records)
                        .filter_map(|(offset, record)| Some((offset, offset, codec::check(record).err()?))),
                ),
            }
            scan.span = Some(Span::with(scan.span, group));
            next = group.last + 1;
        }
    }
}
