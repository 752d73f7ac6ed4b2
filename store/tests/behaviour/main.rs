//! One suite of behaviours, run on SQLite and on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod forecasts;
mod full_disk;
mod harness;

mod desk;
mod emergency;
mod false_alarms;
mod logins;
mod noise;
mod opening;
mod outbox;
mod readings;
mod registry;
mod reports;
mod retention;
mod watch;

/// Makes two tests of each behaviour, one per engine.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::harness::on_sqlite(super::$name).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::harness::on_postgres(super::$name).await;
            })+
        }
    };
}
pub(crate) use on_both_engines;
