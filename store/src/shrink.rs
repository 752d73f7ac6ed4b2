//! Space that removed readings leave in an SQLite file is given back to the disk, a little at a time.

use sqlx::SqlitePool;

use crate::{Result, StoreError};

/// An older file up to this size, in pages of 4 KiB (256 MiB), is rebuilt at the hub's start so that it can shrink: some
/// seconds. A larger one would keep the hub away for minutes: the operator decides when.
const MAX_PAGES_AT_START: i64 = 65_536;
/// A file of this size holds nothing but empty tables.
const EMPTY_PAGES: i64 = 256;
/// Free pages given back in one transaction (4 MiB).
const SLICE_PAGES: i64 = 1_000;
/// Slices in one go.
const MAX_SLICES: usize = 256;
/// This share of the file may stay free for what comes next.
const SPARE_SHARE: i64 = 10;

const MODE: &str = "PRAGMA auto_vacuum";
const PAGES: &str = "PRAGMA page_count";
const FREE: &str = "PRAGMA freelist_count";
const INCREMENTAL: &str = "PRAGMA auto_vacuum = 2";
const REBUILD: &str = "VACUUM";
const SHRINK: &str = "PRAGMA incremental_vacuum(1000)";

/// Incremental, in SQLite's numbers.
const IS_INCREMENTAL: i64 = 2;

async fn ask(pool: &SqlitePool, pragma: &'static str) -> Result<i64, sqlx::Error> {
    let (value,): (i64,) = sqlx::query_as(pragma).fetch_one(pool).await?;
    Ok(value)
}

/// Makes sure that a file can give space back. Must run on the only connection.
pub(crate) async fn prepare(pool: &SqlitePool, hub: bool) -> Result<(), sqlx::Error> {
    if ask(pool, MODE).await? == IS_INCREMENTAL {
        return Ok(());
    }
    let pages = ask(pool, PAGES).await?;
    if pages > if hub { MAX_PAGES_AT_START } else { EMPTY_PAGES } {
        if hub {
            tracing::info!(
                "the SQLite file was made by an earlier version: it reuses free space but does not shrink; to change that \
                 stop the hub and run: sqlite3 FILE 'PRAGMA auto_vacuum = 2; VACUUM'"
            );
        }
        return Ok(());
    }
    sqlx::query(INCREMENTAL).execute(pool).await?;
    sqlx::query(REBUILD).execute(pool).await.map(drop)
}

/// Gives free pages back but for a tenth of the file, in slices between which others write.
pub(crate) async fn give_back(pool: &SqlitePool) -> Result<()> {
    let failed = |source| StoreError::Query { what: "giving free space back to the disk", source };
    if ask(pool, MODE).await.map_err(failed)? != IS_INCREMENTAL {
        return Ok(());
    }
    for _ in 0..MAX_SLICES {
        let (pages, free) = (ask(pool, PAGES).await.map_err(failed)?, ask(pool, FREE).await.map_err(failed)?);
        if free < SLICE_PAGES.max(pages / SPARE_SHARE) {
            break;
        }
        // Every page given back is a row of the answer.
        sqlx::query(SHRINK).fetch_all(pool).await.map_err(failed)?;
    }
    Ok(())
}
