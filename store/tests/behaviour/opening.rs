//! Opening, locking, and the statements themselves.

use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use store::{Store, StoreConfig, StoreError};

use crate::{
    harness::{TestDb, desk_settings, start},
    on_both_engines,
};

on_both_engines!(
    every_statement_is_understood,
    a_second_hub_is_kept_away,
    what_was_written_is_there_after_reopening,
    a_lost_lock_is_noticed_only_when_it_is_lost,
);

async fn every_statement_is_understood(db: TestDb) {
    let statements = store::statements();
    assert!(statements.len() > 100, "{}", statements.len());
    let mut refused = Vec::new();
    for (module, name, sql) in statements {
        let prepared = if db.store.engine() == "postgres" {
            let mut connection = PgConnection::connect(&db.config.url).await.unwrap();
            connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql.postgres)).await.map(drop)
        } else {
            let mut connection = SqliteConnection::connect(&db.config.url).await.unwrap();
            connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql.sqlite)).await.map(drop)
        };
        if let Err(error) = prepared {
            refused.push(format!("{module}::{name}: {error}"));
        }
    }
    assert!(refused.is_empty(), "{} refuses {refused:#?}", db.store.engine());
}

async fn a_second_hub_is_kept_away(db: TestDb) {
    let error = Store::open(&db.config, desk_settings()).await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(!error.is_unavailable());
    assert!(error.to_string().contains("another hub"), "{error}");
    // The command line works beside the hub.
    let tool = Store::attach(&db.config, desk_settings()).await.unwrap();
    tool.create_org("Metro", start()).await.unwrap();
    assert_eq!(db.store.list_orgs().await.unwrap().len(), 1);
    tool.close().await;
}

async fn what_was_written_is_there_after_reopening(db: TestDb) {
    db.store.create_org("Metro", start()).await.unwrap();
    db.store.ping().await.unwrap();
    db.store.close().await;
    assert!(db.store.ping().await.unwrap_err().is_unavailable());
    let TestDb { config, store } = db;
    drop(store);
    // The harness holds a handle, and with it SQLite's lock file: tools may look in all the same.
    let again = Store::attach(&config, desk_settings()).await.unwrap();
    assert_eq!(again.org_by_name("Metro").await.unwrap().unwrap().name, "Metro");
    again.close().await;
}

async fn a_lost_lock_is_noticed_only_when_it_is_lost(db: TestDb) {
    use futures::FutureExt;
    assert!(db.store.lock_lost().now_or_never().is_none());
    db.store.retake_lock().await.unwrap();
    if db.store.engine() == "sqlite" {
        return;
    }
    // The server ends every other session of this database, as at its restart.
    let mut admin = PgConnection::connect(&db.config.url).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.execute(kill).await.unwrap();
    db.store.lock_lost().await;
    let other = Store::open(&db.config, desk_settings()).await.unwrap();
    let error = db.store.retake_lock().await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    other.close().await;
    db.store.retake_lock().await.unwrap();
}

#[tokio::test]
async fn a_url_that_cannot_be_used_says_what_to_write() {
    for url in ["", "mysql://x", "sqlite:", "sqlite::memory:", "liftline.db"] {
        let config = StoreConfig { url: url.to_owned(), max_connections: 1, ..StoreConfig::default() };
        let error = Store::open(&config, desk_settings()).await.unwrap_err();
        assert!(error.to_string().contains("sqlite:PATH"), "{url}: {error}");
    }
    let config = StoreConfig {
        url: "postgres://me:secret@127.0.0.1:1/x".to_owned(),
        max_connections: 1,
        ..StoreConfig::default()
    };
    let error = Store::open(&config, desk_settings()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}
