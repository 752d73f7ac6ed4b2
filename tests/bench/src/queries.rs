//! Questions to a store full of readings: how long they take at the median and in the worst twentieth, what a reading
//! costs on disk, how fast the store was filled, and what removing one day of readings costs. SQLite and PostgreSQL get
//! the same readings through the product's own bulk path.

mod fill;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use store::{DeskSettings, Keep, Retention, Row, Store, StoreConfig};

use crate::{
    ingest::servers::Postgres,
    report::{Durations, line, rate},
};
use fill::Fleet;

/// What the chart on the board asks for.
const CHART_POINTS: u32 = 300;
/// How often each question is asked, of another device each time.
const ASKED: usize = 200;
/// How often a question about a whole fleet or site is asked.
const ASKED_WIDE: usize = 20;
const DAY: Duration = Duration::from_secs(86_400);

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// How many readings are stored; a reading is one value of one channel.
    #[arg(long, default_value_t = 100_000_000)]
    readings: u64,
    /// How many devices they are of.
    #[arg(long, default_value_t = 10_000)]
    devices: usize,
    /// Only this database: sqlite or postgres.
    #[arg(long)]
    only: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { readings: 100_000_000, devices: 10_000, only: None }
    }
}

/// Fills each database and asks.
pub fn run(dir: &Path, options: &Options) -> anyhow::Result<()> {
    ensure!(options.devices >= fill::SITE, "--devices must be at least {}", fill::SITE);
    let fleet = Fleet::new(options.devices, options.readings)?;
    println!(
        "queries: {} readings in {} rows of {} channels over {} days, {} devices, {} of them busy (a row each {} s)",
        fleet.readings(),
        fleet.rows(),
        fleet.channels(),
        fill::DAYS,
        options.devices,
        fleet.busy(),
        fleet.busy_every().as_secs(),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let wanted = |engine: &str| options.only.as_deref().is_none_or(|only| only == engine);
    if wanted("sqlite") {
        let folder = tempfile::Builder::new().prefix("liftline-bench-").tempdir_in(dir)?;
        let url = format!("sqlite:{}", folder.path().join("store.db").display());
        runtime.block_on(measure("sqlite", &url, &fleet))?;
    }
    if wanted("postgres") {
        let server = Postgres::start(dir)?;
        runtime.block_on(measure("postgres", &server.url("postgres"), &fleet))?;
    }
    Ok(())
}

async fn measure(engine: &str, url: &str, fleet: &Fleet) -> anyhow::Result<()> {
    // A partition a day, so that removing a day is removing one on both engines.
    let config = StoreConfig { url: url.to_owned(), max_connections: 4, partition: DAY };
    let desk = DeskSettings { policies: desk::Policies::default(), public_url: "https://bench.example.org".to_owned() };
    let store = Store::open(&config, desk).await?;
    let org = fleet.register(&store).await?;
    let tell = |what: &str, figure: &str, remark: &str| line(&format!("{engine}: {what}"), figure, remark);

    let start = Instant::now();
    let (mut readings, mut worst) = (0, Durations::default());
    for batch in fleet.batches() {
        let called = Instant::now();
        store.store_readings(&batch).await?;
        worst.push(called.elapsed());
        readings += fleet.readings_of(batch.len());
    }
    let span = start.elapsed();
    let remark = format!(
        "in {:.0} s, {} rows a transaction, median {:.0} ms, p95 {:.0} ms",
        span.as_secs_f64(),
        fill::BATCH,
        worst.quantile_ms(0.5),
        worst.quantile_ms(0.95)
    );
    tell("filled", &format!("{:.0} readings/s", rate(readings, span)), &remark);
    let bytes = size(engine, url).await?;
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let each = bytes as f64 / readings as f64;
    tell(
        "on disk",
        &format!("{each:.1} B/reading"),
        &format!("{} MB, key and free space in pages included", bytes >> 20),
    );

    ask(&tell, &store, org, fleet).await?;
    retention(&tell, &store, fleet).await?;
    store.close().await;
    Ok(())
}

/// Asks what the board asks.
async fn ask(tell: &impl Fn(&str, &str, &str), store: &Store, org: model::OrgId, fleet: &Fleet) -> anyhow::Result<()> {
    let figure =
        |sample: &mut Durations| format!("{:.1} / {:.1} ms", sample.quantile_ms(0.5), sample.quantile_ms(0.95));
    let (end, channel) = (fleet.end(), fleet.channel());
    let all: Vec<_> = fleet.all().collect();
    let mut sample = Durations::default();
    for _ in 0..ASKED_WIDE {
        let called = Instant::now();
        let found = store.latest_of(fleet.profile_id(), channel.as_str(), &all, end - DAY).await?;
        sample.push(called.elapsed());
        ensure!(found.len() == all.len(), "{} of {} devices have a latest value", found.len(), all.len());
    }
    let what = format!("latest of {} devices", all.len());
    tell(&what, &figure(&mut sample), "one channel of each");

    let mut sample = Durations::default();
    for n in 0..ASKED {
        let called = Instant::now();
        let found = store.latest(org, &fleet.some(n)).await?;
        sample.push(called.elapsed());
        ensure!(found.len() == fleet.channels(), "{} channels have a latest value", found.len());
    }
    tell("latest of one device", &figure(&mut sample), "every channel");

    for (what, span, busy) in [
        ("a day of a channel", DAY, false),
        ("a day of a channel, busy device", DAY, true),
        ("30-day chart", DAY * fill::DAYS, false),
        ("30-day chart, busy device", DAY * fill::DAYS, true),
    ] {
        let (mut sample, mut rows) = (Durations::default(), 0);
        for n in 0..ASKED {
            let device = if busy { fleet.some_busy(n) } else { fleet.some(n) };
            // Any day of the thirty, or all of them.
            let to = if span == DAY { end - DAY * u32::try_from(n).unwrap_or(0).rem_euclid(fill::DAYS) } else { end };
            let called = Instant::now();
            let series = store.series(org, &device, channel, to - span, to, CHART_POINTS).await?;
            sample.push(called.elapsed());
            let Some(store::Series::Buckets { points, .. }) = series else { anyhow::bail!("no chart of {device}") };
            rows += points.iter().map(|point| point.count).sum::<u64>();
        }
        tell(what, &figure(&mut sample), &format!("{} rows to at most {CHART_POINTS} points", rows / ASKED as u64));
    }

    let mut sample = Durations::default();
    for n in 0..ASKED_WIDE {
        let called = Instant::now();
        for device in fleet.site(n) {
            store.series(org, &device, channel, end - DAY, end, CHART_POINTS).await?;
        }
        sample.push(called.elapsed());
    }
    tell("a day of a channel, whole site", &figure(&mut sample), &format!("{} devices, one after another", fill::SITE));
    Ok(())
}

/// Removes the oldest day, while a writer goes on.
async fn retention(tell: &impl Fn(&str, &str, &str), store: &Store, fleet: &Fleet) -> anyhow::Result<()> {
    let retention = Retention { readings: Keep::For(DAY * (fill::DAYS - 1)), ..Retention::default() };
    let before = store.count_readings(fleet.profile_id()).await?;
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let write = async {
        let (mut waits, mut n) = (Durations::default(), 0);
        loop {
            let rows: Vec<Row> = fleet.fresh(n);
            let called = Instant::now();
            store.store_readings(&rows).await?;
            waits.push(called.elapsed());
            n += 1;
            if stopped.try_recv().is_ok() {
                return anyhow::Ok((waits, n));
            }
            tokio::task::yield_now().await;
        }
    };
    let prune = async {
        let called = Instant::now();
        let removed = store.prune(&retention, fleet.end()).await?;
        let span = called.elapsed();
        // The writer has ended already if it failed.
        let _ended = stop.send(());
        anyhow::Ok((removed, span))
    };
    let (removed, written) = tokio::join!(prune, write);
    let ((removed, span), (mut waits, written)) = (removed?, written?);
    let left = store.count_readings(fleet.profile_id()).await?;
    let gone = before + written * fleet.fresh(0).len() as u64 - left;
    ensure!(removed > 0 && gone > 0, "nothing was removed");
    let remark = format!(
        "{gone} rows; a writer waited {:.0} ms at the median, {:.0} ms at the worst",
        waits.quantile_ms(0.5),
        waits.quantile_ms(1.0)
    );
    tell("retention of one day", &format!("{:.1} s", span.as_secs_f64()), &remark);
    Ok(())
}

/// What the readings take on disk, in bytes. PostgreSQL is first put into the state in which its own upkeep leaves it.
async fn size(engine: &str, url: &str) -> anyhow::Result<u64> {
    let (bytes,): (i64,) = if engine == "postgres" {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query("VACUUM ANALYZE").execute(&mut connection).await?;
        sqlx::query("CHECKPOINT").execute(&mut connection).await?;
        sqlx::query_as("SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = 'readings.bench_lift'::regclass")
            .fetch_one(&mut connection)
            .await?
    } else {
        let mut connection = SqliteConnection::connect(url).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        sqlx::query_as("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            .fetch_one(&mut connection)
            .await?
    };
    u64::try_from(bytes).context("a size")
}
