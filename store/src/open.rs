//! Opening a store: connections, the lock against a second hub, the schema.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, broadcast};

use crate::{
    Inner, Result, Store, StoreError, changes,
    db::{ACQUIRE_TIMEOUT, Db, Engine, LOCK_TIMEOUT, STATEMENT_TIMEOUT, WRITERS, answered},
    migrate,
};

/// The `[store]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `sqlite:PATH`, or `postgres://USER@HOST:PORT/DATABASE`. The password may come from `PGPASSWORD` or from the file
    /// named by `PGPASSFILE` instead of the URL.
    pub url: String,
    /// The most connections used at once; on PostgreSQL beside three for readings.
    pub max_connections: u32,
    /// PostgreSQL: how much time one partition of readings (or chunk, with TimescaleDB) spans, in whole days.
    #[serde(with = "model::duration")]
    pub partition: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "sqlite:liftline.db".to_owned(), max_connections: 10, partition: Duration::from_secs(7 * 86_400) }
    }
}

impl StoreConfig {
    /// Checks what no database is needed for.
    ///
    /// # Errors
    /// What to write instead.
    pub fn check(&self) -> Result<(), &'static str> {
        let day = 86_400;
        let whole = self.partition.as_secs().is_multiple_of(day) && self.partition.subsec_nanos() == 0;
        if whole && (day..=366 * day).contains(&self.partition.as_secs()) {
            Ok(())
        } else {
            Err("write whole days, from \"1d\" to \"366d\"")
        }
    }
}

/// What the store needs to open tickets and write messages.
#[derive(Debug, Clone, PartialEq)]
pub struct DeskSettings {
    /// The policies for new tickets.
    pub policies: desk::Policies,
    /// Where people reach the hub, such as `https://lifts.example.org`: the start of every link.
    pub public_url: String,
}

/// "liftline" in ASCII: the number of the advisory lock that the hub of a PostgreSQL database holds.
const HUB_LOCK: i64 = 0x6c69_6674_6c69_6e65;
/// PostgreSQL connections for readings: those that share a backlog, and one for events beside it.
const BULK_CONNECTIONS: u32 = WRITERS as u32 + 1;
/// How often the hub's lock is looked at.
const LOCK_CHECK: Duration = Duration::from_secs(2);
/// How long that look may take before the lock counts as lost.
const LOCK_CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What keeps a second hub away.
#[derive(Debug)]
pub(crate) enum HubLock {
    /// A connection of its own whose session holds the advisory lock; `None` while it is lost.
    Postgres { options: Box<PgConnectOptions>, session: Mutex<Option<PgConnection>> },
    /// A locked file beside the database; the system drops the lock when the process ends, however it ends.
    Sqlite { _file: File },
    /// Opened by [`Store::attach`].
    None,
}

enum Target {
    Postgres(Box<PgConnectOptions>),
    Sqlite(PathBuf),
}

impl Target {
    fn parse(url: &str) -> Result<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options =
                PgConnectOptions::from_str(url).map_err(|source| StoreError::Url { source: Some(Box::new(source)) })?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
            Some(path) if !path.is_empty() && path != ":memory:" => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(StoreError::Url { source: None }),
        }
    }

    /// The database in words, without secrets.
    fn name(&self) -> String {
        match self {
            Self::Postgres(options) => format!(
                "the PostgreSQL database \"{}\" on {}:{}",
                options.get_database().unwrap_or_else(|| options.get_username()),
                options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string()),
                options.get_port()
            ),
            Self::Sqlite(path) => format!("the SQLite database {}", path.display()),
        }
    }
}

impl Store {
    /// Opens the store for the hub: connects, keeps a second hub away, and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another hub has it; otherwise that it cannot be reached or migrated.
    pub async fn open(config: &StoreConfig, desk: DeskSettings) -> Result<Self> {
        Self::start(config, desk, true).await
    }

    /// Opens the store beside a running hub, for the command line. Takes no lock.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be reached or migrated.
    pub async fn attach(config: &StoreConfig, desk: DeskSettings) -> Result<Self> {
        Self::start(config, desk, false).await
    }

    async fn start(config: &StoreConfig, desk: DeskSettings, hub: bool) -> Result<Self> {
        let parsed = Target::parse(&config.url)?;
        let target = parsed.name();
        let (db, lock) = match parsed {
            Target::Postgres(options) => open_postgres(*options, config.max_connections, hub, &target).await?,
            Target::Sqlite(path) => open_sqlite(&path, config.max_connections, hub, &target).await?,
        };
        let migrated = match &db.write {
            Engine::Postgres(pool) => migrate::postgres(pool).await,
            Engine::Sqlite(pool) => migrate::sqlite(pool).await,
        };
        migrated.map_err(|source| StoreError::Migrate { target: target.clone(), source })?;
        let timescale = crate::wide::has_timescale(&db).await?;
        let (changes, _) = broadcast::channel(changes::BACKLOG);
        let wide = RwLock::new(HashMap::new());
        let around = crate::surroundings::Settings::of(&desk.policies);
        let store = Self {
            inner: Arc::new(Inner {
                db,
                desk,
                around,
                changes,
                wide,
                lock,
                target,
                timescale,
                failing: false.into(),
                events_pruned_to: i64::MIN.into(),
                partition: config.partition,
            }),
        };
        if hub {
            store.release_leases().await?;
        }
        Ok(store)
    }

    /// Closes every connection, after what is running on them.
    pub async fn close(&self) {
        self.db().close().await;
        if let HubLock::Postgres { session, .. } = &self.inner.lock
            && let Some(connection) = session.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the connection that held the hub lock was already gone");
        }
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError`] if it gives none.
    pub async fn ping(&self) -> Result<()> {
        let _: (i64,) = crate::db::fetch_one!(self.db().read, "asking for a sign of life", crate::wide::PING)?;
        Ok(())
    }

    /// True if the database gives a sign of life within this time.
    pub async fn answers_within(&self, patience: Duration) -> bool {
        matches!(tokio::time::timeout(patience, self.ping()).await, Ok(Ok(())))
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        match self.db().write {
            Engine::Postgres(_) => "postgres",
            Engine::Sqlite(_) => "sqlite",
        }
    }

    /// True if the database has TimescaleDB.
    #[must_use]
    pub fn timescale(&self) -> bool {
        self.inner.timescale
    }

    /// Returns when the lock against a second hub is lost: the database restarted or the connection broke. Another
    /// hub may have taken over since: stop deciding things until [`Store::retake_lock`] succeeds.
    ///
    /// An SQLite database's lock cannot be lost, and [`Store::attach`] takes none: then this never returns.
    pub async fn lock_lost(&self) {
        let HubLock::Postgres { session, .. } = &self.inner.lock else {
            return std::future::pending().await;
        };
        loop {
            {
                let mut held = session.lock().await;
                let Some(connection) = held.as_mut() else { return };
                let alive = tokio::time::timeout(LOCK_CHECK_TIMEOUT, connection.ping()).await;
                if !matches!(alive, Ok(Ok(()))) {
                    // Dropped, not closed: the session must end so that its lock ends with it.
                    *held = None;
                    return;
                }
            }
            tokio::time::sleep(LOCK_CHECK).await;
        }
    }

    /// Takes the lost lock again; does nothing while it is held.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another hub took over: this one must stop. [`StoreError::is_unavailable`]: try again.
    pub async fn retake_lock(&self) -> Result<()> {
        let HubLock::Postgres { options, session } = &self.inner.lock else { return Ok(()) };
        let mut held = session.lock().await;
        if held.is_none() {
            *held = Some(lock_postgres(options, &self.inner.target).await?);
        }
        Ok(())
    }
}

async fn lock_postgres(options: &PgConnectOptions, target: &str) -> Result<PgConnection> {
    let connect = |source| StoreError::Connect { target: target.to_owned(), source };
    let mut connection = tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect())
        .await
        .map_err(|_| connect(sqlx::Error::PoolTimedOut))?
        .map_err(connect)?;
    let taking = sqlx::query_as(crate::wide::LOCK_HUB).bind(HUB_LOCK);
    let (taken,): (bool,) = answered(taking.fetch_one(&mut connection)).await.map_err(connect)?;
    if taken { Ok(connection) } else { Err(StoreError::InUse { target: target.to_owned() }) }
}

async fn open_postgres(options: PgConnectOptions, connections: u32, hub: bool, target: &str) -> Result<(Db, HubLock)> {
    let options = options.application_name("liftline").options([
        ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string()),
        ("lock_timeout", LOCK_TIMEOUT.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT.as_millis().to_string()),
        // A session whose hub has lost its power or network ends within half a minute, and with it its lock against a second hub.
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "30000".to_owned()),
        // Times travel in binary, but what people read in psql should not depend on the server.
        ("timezone", "UTC".to_owned()),
    ]);
    let lock = if hub {
        let session = Mutex::new(Some(lock_postgres(&options, target).await?));
        HubLock::Postgres { options: Box::new(options.clone()), session }
    } else {
        HubLock::None
    };
    let pool = |connections| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // sqlx asks a connection for a sign of life when it comes back, and waits without end: one that was given up would
            // keep its place for as long as TCP believes in it. An error here closes it at once.
            .after_release(|connection, _| Box::pin(async move { answered(connection.ping()).await.map(|()| true) }))
    };
    let bulk = Engine::Postgres(pool(BULK_CONNECTIONS).connect_lazy_with(options.clone()));
    let common = pool(connections.max(2)).connect_with(options).await;
    let common = Engine::Postgres(common.map_err(|source| StoreError::Connect { target: target.to_owned(), source })?);
    Ok((Db { read: common.clone(), write: common, bulk }, lock))
}

async fn open_sqlite(path: &Path, connections: u32, hub: bool, target: &str) -> Result<(Db, HubLock)> {
    let lock = if hub { HubLock::Sqlite { _file: lock_file(path, target)? } } else { HubLock::None };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL would lose the last transactions in a power cut. Those of the recorder and the watch would come back
        // from the journal, but a technician's "I have it" by SMS is nowhere else. FULL costs one fsync per commit.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(LOCK_TIMEOUT)
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory")
        .pragma("journal_size_limit", "67108864");
    let connect = |source| StoreError::Connect { target: target.to_owned(), source };
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        // A full disk makes SQLite end the transaction by itself; sqlx does not learn of it, and would refuse every later
        // one on this connection.
        .before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        })
        // Writers queue for the one connection, also behind a large batch of readings.
        .acquire_timeout(STATEMENT_TIMEOUT)
        .connect_with(options.clone().optimize_on_close(true, None))
        .await
        .map_err(connect)?;
    crate::shrink::prepare(&write, hub).await.map_err(connect)?;
    let read = SqlitePoolOptions::new()
        .max_connections(connections.clamp(1, 16))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.read_only(true).create_if_missing(false))
        .await
        .map_err(connect)?;
    let write = Engine::Sqlite(write);
    Ok((Db { read: Engine::Sqlite(read), bulk: write.clone(), write }, lock))
}

fn lock_file(database: &Path, target: &str) -> Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| StoreError::LockFile { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { target: target.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StoreError::LockFile { path, source }),
    }
}
