//! The two engines behind one set of functions: pools, transactions, statements and the hand-written codecs.
//!
//! A function of the store is written once. [`fetch_all!`], [`fetch_optional!`], [`fetch_one!`] and [`execute!`]
//! run a [`Sql`] on a [`Pool`] or inside a [`Tx`], whichever engine that is.

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Mutex, time::Duration};

use chrono::{DateTime, Utc};
use model::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Decode, Encode, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef},
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
};
use uuid::{ContextV7, Uuid};

use crate::StoreError;

/// The result of a function of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// One thing of either engine.
#[derive(Debug, Clone)]
pub(crate) enum Engine<P, S> {
    Postgres(P),
    Sqlite(S),
}

/// Connections.
pub(crate) type Pool = Engine<PgPool, SqlitePool>;
/// A transaction. Dropped without [`commit`](Tx::commit), it is rolled back.
pub(crate) type Tx = Engine<Transaction<'static, Postgres>, Transaction<'static, Sqlite>>;

impl Pool {
    /// What statements run on.
    pub(crate) fn on(&self) -> Engine<&PgPool, &SqlitePool> {
        match self {
            Self::Postgres(pool) => Engine::Postgres(pool),
            Self::Sqlite(pool) => Engine::Sqlite(pool),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres(pool) => {
                let closing = async {
                    pool.close().await;
                    Ok::<(), sqlx::Error>(())
                };
                if let Err(error) = answered(closing).await {
                    tracing::warn!(%error, "connections are left to end by themselves");
                }
            }
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// What statements run on.
    pub(crate) fn on(&mut self) -> Engine<&mut PgConnection, &mut SqliteConnection> {
        match self {
            Self::Postgres(tx) => Engine::Postgres(tx),
            Self::Sqlite(tx) => Engine::Sqlite(tx),
        }
    }

    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Postgres(tx) => answered(tx.commit()).await,
            Self::Sqlite(tx) => tx.commit().await,
        }
        .map_err(|source| StoreError::Query { what: "committing", source })
    }
}

/// How many transactions of readings are worth writing side by side on PostgreSQL.
pub(crate) const WRITERS: usize = 2;

/// The database: where to read and where to write. On PostgreSQL the two are one pool; SQLite has several readers and
/// one writer, so that writers queue here instead of failing with "database is locked".
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pub(crate) read: Pool,
    pub(crate) write: Pool,
    /// For readings. On PostgreSQL they have connections of their own: a flood of them keeps no ticket waiting for one, and
    /// few that are always busy cost the server less than many in turn.
    pub(crate) bulk: Pool,
}

impl Db {
    /// Starts a transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        Self::begin_on(&self.write).await
    }

    /// Starts a transaction that writes readings.
    pub(crate) async fn begin_bulk(&self) -> Result<Tx> {
        Self::begin_on(&self.bulk).await
    }

    async fn begin_on(pool: &Pool) -> Result<Tx> {
        match pool {
            Engine::Postgres(pool) => answered(pool.begin()).await.map(Engine::Postgres),
            // A deferred transaction that turns into a writer half-way can fail; this one waits at its start.
            Engine::Sqlite(pool) => pool.begin_with("BEGIN IMMEDIATE").await.map(Engine::Sqlite),
        }
        .map_err(|source| StoreError::Query { what: "starting a transaction", source })
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
        self.bulk.close().await;
    }
}

/// A statement, one text for each engine.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    /// The text for PostgreSQL.
    pub postgres: &'static str,
    /// The text for SQLite.
    pub sqlite: &'static str,
}

/// Declares the statements of a module, and the list of them that a test prepares on both engines.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $kind:ident($($text:expr),+);)+) => {
        $($(#[$doc])* const $name: $crate::db::Sql = $crate::db::statements!(@ $kind $($text),+);)+
        pub(crate) const STATEMENTS: &[(&str, $crate::db::Sql)] = &[$((stringify!($name), $name)),+];
    };
    (@ both $text:expr) => { $crate::db::Sql { postgres: $text, sqlite: $text } };
    (@ each $postgres:expr, $sqlite:expr) => { $crate::db::Sql { postgres: $postgres, sqlite: $sqlite } };
}

macro_rules! run {
    ($query:ident, $fetch:ident, $on:expr, $what:expr, $sql:expr $(, $bind:expr)*) => {
        match $on.on() {
            $crate::db::Engine::Postgres(on) => {
                $crate::db::answered(sqlx::$query($sql.postgres)$(.bind($bind))*.$fetch(on)).await
            }
            $crate::db::Engine::Sqlite(on) => sqlx::$query($sql.sqlite)$(.bind($bind))*.$fetch(on).await,
        }
        .map_err(|source| $crate::StoreError::Query { what: $what, source })
    };
}

/// Every row, as tuples.
macro_rules! fetch_all {
    ($on:expr, $what:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::db::run!(query_as, fetch_all, $on, $what, $sql $(, $bind)*)
    };
}

/// The row, if there is one.
macro_rules! fetch_optional {
    ($on:expr, $what:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::db::run!(query_as, fetch_optional, $on, $what, $sql $(, $bind)*)
    };
}

/// The row that must be there.
macro_rules! fetch_one {
    ($on:expr, $what:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::db::run!(query_as, fetch_one, $on, $what, $sql $(, $bind)*)
    };
}

/// Runs a statement and says how many rows it touched.
macro_rules! execute {
    ($on:expr, $what:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $on.on() {
            $crate::db::Engine::Postgres(on) => {
                let running = sqlx::query($sql.postgres)$(.bind($bind))*.execute(on);
                $crate::db::answered(running).await.map(|done| done.rows_affected())
            }
            $crate::db::Engine::Sqlite(on) => {
                sqlx::query($sql.sqlite)$(.bind($bind))*.execute(on).await.map(|done| done.rows_affected())
            }
        }
        .map_err(|source| $crate::StoreError::Query { what: $what, source })
    };
}

pub(crate) use {execute, fetch_all, fetch_one, fetch_optional, run, statements};

/// A point in time: `timestamptz`, or integer microseconds on SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DbTime(i64);

/// The start of the year -4000. PostgreSQL's calendar starts in -4713; a device whose clock says so is held to this.
const EARLIEST_MICROS: i64 = -188_395_027_200_000_000;

impl From<Timestamp> for DbTime {
    fn from(time: Timestamp) -> Self {
        Self(time.as_micros().max(EARLIEST_MICROS))
    }
}

impl DbTime {
    /// Microseconds since 1970, as SQLite stores them.
    pub(crate) fn micros(self) -> i64 {
        self.0
    }
}

impl From<DbTime> for Timestamp {
    fn from(time: DbTime) -> Self {
        Self::from_micros(time.0)
    }
}

/// A time as bound to a statement.
pub(crate) fn at(time: Timestamp) -> DbTime {
    DbTime::from(time)
}

impl Type<Postgres> for DbTime {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for DbTime {
    fn array_type_info() -> PgTypeInfo {
        <DateTime<Utc> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for DbTime {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        let time = DateTime::<Utc>::from_timestamp_micros(self.0).ok_or("a time outside the calendar")?;
        Encode::<Postgres>::encode(time, buf)
    }
}

impl Decode<'_, Postgres> for DbTime {
    fn decode(value: PgValueRef<'_>) -> std::result::Result<Self, BoxDynError> {
        <DateTime<Utc> as Decode<Postgres>>::decode(value).map(|time| Self(time.timestamp_micros()))
    }
}

impl Type<Sqlite> for DbTime {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}

impl Encode<'_, Sqlite> for DbTime {
    fn encode_by_ref(&self, args: &mut SqliteArgumentsBuffer) -> std::result::Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0, args)
    }
}

impl Decode<'_, Sqlite> for DbTime {
    fn decode(value: SqliteValueRef<'_>) -> std::result::Result<Self, BoxDynError> {
        <i64 as Decode<Sqlite>>::decode(value).map(Self)
    }
}

/// A text that PostgreSQL can hold: U+0000, which it cannot, becomes U+FFFD. One device with such a character in a
/// text must not stop the batch that it is in.
#[derive(Debug, Clone)]
pub(crate) struct DbText<'a>(Cow<'a, str>);

impl DbText<'_> {
    /// The text as it will be stored.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text as bound to a statement.
pub(crate) fn text(text: &str) -> DbText<'_> {
    DbText(if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) })
}

impl Type<Postgres> for DbText<'_> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for DbText<'_> {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for DbText<'_> {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        <&str as Encode<Postgres>>::encode(&*self.0, buf)
    }

    fn size_hint(&self) -> usize {
        self.0.len()
    }
}

impl Type<Sqlite> for DbText<'_> {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for DbText<'_> {
    fn encode_by_ref(&self, args: &mut SqliteArgumentsBuffer) -> std::result::Result<IsNull, BoxDynError> {
        <&str as Encode<Sqlite>>::encode(&*self.0, args)
    }
}

/// Ids bound as one value: an array, or a JSON list of hexadecimal texts for SQLite's `json_each`.
#[derive(Debug, Clone)]
pub(crate) struct UuidList(pub(crate) Vec<Uuid>);

impl Type<Postgres> for UuidList {
    fn type_info() -> PgTypeInfo {
        <Vec<Uuid> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for UuidList {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.0, buf)
    }
}

impl Type<Sqlite> for UuidList {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for UuidList {
    fn encode_by_ref(&self, args: &mut SqliteArgumentsBuffer) -> std::result::Result<IsNull, BoxDynError> {
        let list: Vec<String> = self.0.iter().map(|id| id.simple().to_string()).collect();
        Encode::<Sqlite>::encode(serde_json::to_string(&list)?, args)
    }
}

/// Names bound as one value, like [`UuidList`].
#[derive(Debug, Clone)]
pub(crate) struct TextList(pub(crate) Vec<String>);

impl Type<Postgres> for TextList {
    fn type_info() -> PgTypeInfo {
        <Vec<String> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for TextList {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.0, buf)
    }
}

impl Type<Sqlite> for TextList {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for TextList {
    fn encode_by_ref(&self, args: &mut SqliteArgumentsBuffer) -> std::result::Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(serde_json::to_string(&self.0)?, args)
    }
}

/// Writes a document.
pub(crate) fn document<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| StoreError::Document { what, source })
}

/// Reads a document.
pub(crate) fn from_document<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| StoreError::corrupt(what, source))
}

/// The value of one of the model's enumerations, from its code in a column.
pub(crate) fn from_code<T: DeserializeOwned>(what: &'static str, code: &str) -> Result<T> {
    let code = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(code);
    T::deserialize(code).map_err(|source| StoreError::corrupt(what, source))
}

/// A name from a column.
pub(crate) fn name<T: std::str::FromStr<Err = model::IdError>>(what: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|source| StoreError::corrupt(what, source))
}

/// A count or number for a column. Beyond 2^63 nothing here can count.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count or number from a column that never holds a negative one.
pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A small count or number from a column that never holds a negative one.
pub(crate) fn uint32(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// Counts the ids of one millisecond, so that they sort in the order they were made.
static IDS: Mutex<AssertUnwindSafe<ContextV7>> = Mutex::new(AssertUnwindSafe(ContextV7::new()));

/// A new id. Ids of one process sort in the order they were made, also if `now` stands still.
pub(crate) fn new_id(now: Timestamp) -> Uuid {
    let micros = uint(now.as_micros());
    let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1000;
    Uuid::new_v7(uuid::Timestamp::from_unix(&IDS, micros / 1_000_000, nanos))
}

/// How long a statement may run before PostgreSQL stops it.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a statement waits for a row that another transaction holds.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for a free connection.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long PostgreSQL has to answer: longer than a statement may wait and run there.
const ANSWER_TIMEOUT: Duration =
    STATEMENT_TIMEOUT.saturating_add(ACQUIRE_TIMEOUT).saturating_add(Duration::from_secs(5));

/// Gives up on a PostgreSQL that says nothing. A server that lost its power, or a network that swallows everything, ends no connection:
/// an answer on its way then would be waited for without end.
pub(crate) async fn answered<T, E: From<sqlx::Error>>(running: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    within(ANSWER_TIMEOUT, running).await
}

async fn within<T, E: From<sqlx::Error>>(limit: Duration, running: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(limit, running).await.unwrap_or_else(|_| Err(silent().into()))
}

/// What is wrong with a database that says nothing.
pub(crate) fn silent() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_database_is_given_up_and_tried_again() {
        let answer: Result<(), sqlx::Error> = within(Duration::from_millis(1), std::future::pending()).await;
        let failure = StoreError::Query { what: "asking", source: answer.unwrap_err() };
        assert!(failure.is_unavailable(), "{failure}");
    }
}
