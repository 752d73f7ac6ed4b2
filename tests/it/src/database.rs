//! The two databases.

use sqlx::{Connection as _, Executor as _, PgConnection};

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded default.
    Sqlite,
    /// The server that `./dev test` starts.
    Postgres,
}

/// A fresh PostgreSQL database; returns its URL.
///
/// # Panics
/// If `./dev test` did not start the server.
pub async fn fresh_postgres() -> String {
    let server = std::env::var("LIFTLINE_TEST_POSTGRES").expect("no PostgreSQL: run ./dev test, which starts one");
    let name = format!("it_{}_{}", std::process::id(), NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server).await.expect("the test PostgreSQL answers");
    let create = format!("CREATE DATABASE {name}");
    connection.execute(sqlx::AssertSqlSafe(create)).await.expect("a database can be made");
    let (base, _) = server.rsplit_once('/').expect("the URL ends with a database name");
    format!("{base}/{name}")
}

static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
