//! What a path has stored, seen from outside through a connection of the bench's own.

use std::{collections::HashSet, path::Path, time::Duration};

use anyhow::Context as _;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::time::{Instant, sleep};

use super::{
    load::{Load, device},
    servers::PROBE,
};

/// How often the database is asked while something is awaited: often enough for the percentiles, and still cheap.
pub const LOOK: Duration = Duration::from_millis(8);
/// How long nothing more may come while something is still to be stored.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a path stores.
#[derive(Clone)]
pub struct Place {
    /// A PostgreSQL URL or the path of an SQLite file.
    pub database: String,
    /// The table of readings.
    pub table: &'static str,
}

/// A connection to it.
pub enum Watched {
    /// PostgreSQL.
    Postgres(PgConnection, &'static str),
    /// SQLite.
    Sqlite(SqliteConnection, &'static str),
}

impl Watched {
    /// Connects.
    pub async fn connect(place: &Place) -> anyhow::Result<Self> {
        if place.database.starts_with("postgres:") {
            let connection = PgConnection::connect(&place.database).await.context("connecting to PostgreSQL")?;
            return Ok(Self::Postgres(connection, place.table));
        }
        let options = SqliteConnectOptions::new()
            .filename(Path::new(&place.database))
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(10));
        let connection = SqliteConnection::connect_with(&options).await.context("opening SQLite")?;
        Ok(Self::Sqlite(connection, place.table))
    }

    async fn number(&mut self, postgres: String, sqlite: String) -> anyhow::Result<i64> {
        let (number,): (i64,) = match self {
            Self::Postgres(on, _) => sqlx::query_as(AssertSqlSafe(postgres)).fetch_one(on).await?,
            Self::Sqlite(on, _) => sqlx::query_as(AssertSqlSafe(sqlite)).fetch_one(on).await?,
        };
        Ok(number)
    }

    fn table(&self) -> &'static str {
        match self {
            Self::Postgres(_, table) | Self::Sqlite(_, table) => table,
        }
    }

    /// How many rows there are.
    pub async fn rows(&mut self) -> anyhow::Result<i64> {
        let count = format!("SELECT count(*) FROM {}", self.table());
        self.number(count.clone(), count).await
    }

    /// Waits until the last message of every device of a load is stored, and then until `rows` are there.
    pub async fn stored(&mut self, load: &Load, rows: i64) -> anyhow::Result<()> {
        let table = self.table();
        let devices: Vec<String> = (0..load.devices).map(|n| format!("'{}'", device(n))).collect();
        let devices = devices.join(", ");
        let last = load.last_ms();
        let postgres = format!(
            "SELECT count(*) FROM {table} WHERE device IN ({devices}) AND time = to_timestamp({}) ",
            seconds(last)
        );
        let sqlite = format!("SELECT count(*) FROM {table} WHERE device IN ({devices}) AND time = {last}000");
        let (devices, mut seen, mut looked) = (i64::try_from(load.devices)?, 0, Instant::now());
        // All rows are counted only once the last of every device is there.
        while self.number(postgres.clone(), sqlite.clone()).await? < devices || self.rows().await? < rows {
            if looked.elapsed() >= PATIENCE {
                let now = self.rows().await?;
                anyhow::ensure!(now > seen, "only {now} of {rows} rows were stored, and no more come");
                (seen, looked) = (now, Instant::now());
            }
            sleep(LOOK * 2).await;
        }
        Ok(())
    }

    /// The number of the newest stored message of the probe; 0 if there is none.
    pub async fn newest_probe(&mut self) -> anyhow::Result<i64> {
        let table = self.table();
        let newest = format!(
            "SELECT coalesce((SELECT seq FROM {table} WHERE device = '{PROBE}' ORDER BY time DESC LIMIT 1), 0)"
        );
        self.number(newest.clone(), newest).await
    }

    /// The devices that have an alert, each told once.
    pub async fn alerts(&mut self, known: &mut HashSet<String>) -> anyhow::Result<Vec<String>> {
        const ALERTS: &str = "SELECT device FROM alerts ORDER BY device DESC LIMIT 20";
        let rows: Vec<(String,)> = match self {
            Self::Postgres(on, _) => sqlx::query_as(ALERTS).fetch_all(on).await?,
            Self::Sqlite(on, _) => sqlx::query_as(ALERTS).fetch_all(on).await?,
        };
        Ok(rows.into_iter().map(|(device,)| device).filter(|device| known.insert(device.clone())).collect())
    }

    /// Bytes on disk of the table and its indexes; none if it is a view.
    pub async fn bytes(&mut self) -> anyhow::Result<i64> {
        let table = self.table();
        let sqlite = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()".to_owned();
        let parts = format!("SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('{table}')");
        let whole = format!("SELECT coalesce(({parts}), pg_total_relation_size('{table}'))");
        self.number(whole, sqlite).await
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
