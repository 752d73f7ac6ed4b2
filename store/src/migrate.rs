//! The schema: numbered migrations, the same numbers on both engines, append-only.

use sqlx::{
    PgPool, SqlSafeStr, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

/// Number, name, text for PostgreSQL, text for SQLite. Add at the end; never change what is released.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "base",
        include_str!("../migrations/postgres/0001_base.sql"),
        include_str!("../migrations/sqlite/0001_base.sql"),
    ),
    (
        2,
        "noise",
        include_str!("../migrations/postgres/0002_noise.sql"),
        include_str!("../migrations/sqlite/0002_noise.sql"),
    ),
    (
        3,
        "reject_counts",
        include_str!("../migrations/postgres/0003_reject_counts.sql"),
        include_str!("../migrations/sqlite/0003_reject_counts.sql"),
    ),
    (
        4,
        "forecasts",
        include_str!("../migrations/postgres/0004_forecasts.sql"),
        include_str!("../migrations/sqlite/0004_forecasts.sql"),
    ),
    (
        5,
        "repairs",
        include_str!("../migrations/postgres/0005_repairs.sql"),
        include_str!("../migrations/sqlite/0005_repairs.sql"),
    ),
    (
        6,
        "parts",
        include_str!("../migrations/postgres/0006_parts.sql"),
        include_str!("../migrations/sqlite/0006_parts.sql"),
    ),
    (
        7,
        "uptime",
        include_str!("../migrations/postgres/0007_uptime.sql"),
        include_str!("../migrations/sqlite/0007_uptime.sql"),
    ),
    (
        8,
        "site_tickets",
        include_str!("../migrations/postgres/0008_site_tickets.sql"),
        include_str!("../migrations/sqlite/0008_site_tickets.sql"),
    ),
    (
        9,
        "false_alarms",
        include_str!("../migrations/postgres/0009_false_alarms.sql"),
        include_str!("../migrations/sqlite/0009_false_alarms.sql"),
    ),
    (
        10,
        "directory_version",
        include_str!("../migrations/postgres/0010_directory_version.sql"),
        include_str!("../migrations/sqlite/0010_directory_version.sql"),
    ),
];

fn migrator(text: fn(&'static (i64, &'static str, &'static str, &'static str)) -> &'static str) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|migration| {
        let (number, name, ..) = *migration;
        Migration::new(number, name.into(), MigrationType::Simple, text(migration).into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

pub(crate) async fn postgres(pool: &PgPool) -> Result<(), MigrateError> {
    migrator(|(_, _, text, _)| text).run(pool).await
}

pub(crate) async fn sqlite(pool: &SqlitePool) -> Result<(), MigrateError> {
    migrator(|(_, _, _, text)| text).run(pool).await
}
