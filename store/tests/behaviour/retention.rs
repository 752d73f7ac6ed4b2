//! Retention, and tables of readings made by earlier versions.

use std::time::Duration;

use model::{ProfileId, TicketKind, Timestamp, Value};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use store::{Keep, RecordedEvent, RecorderBatch, Retention, Row, Store};

use crate::{
    harness::{TestDb, World, cleared, desk_settings, device_id, lift, profile, raised, row, secs, start},
    on_both_engines,
};

on_both_engines!(
    readings_go_when_they_are_too_old_and_not_before,
    each_profile_has_its_own_retention,
    nothing_is_removed_unless_asked_for,
    what_an_open_ticket_rests_on_stays,
    times_of_any_clock_are_kept_and_pruned,
    a_table_of_an_earlier_version_is_taken_over,
    writing_goes_on_while_old_readings_are_removed,
    the_width_of_partitions_can_be_changed,
);

const DAY: u64 = 86_400;

fn keep(days: u64) -> Retention {
    Retention { readings: Keep::For(secs(days * DAY)), ..Retention::default() }
}

/// One row a day of a device.
fn daily(device: &str, days: std::ops::Range<u64>) -> Vec<Row> {
    days.map(|day| row(device, start() + secs(day * DAY), Some(day), &[("speed", Value::Number(day as f64))])).collect()
}

async fn world(db: &TestDb) -> World {
    let world = World::new(db).await;
    db.store.ensure_profile(&profile(&[])).await.unwrap();
    world
}

/// The days after the start that a device has readings of.
async fn days(store: &Store, world: &World, device: &str) -> Vec<u64> {
    let ever = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
    let rows = store.readings(world.org, &device_id(device), ever.0, ever.1, 10_000).await.unwrap();
    rows.into_iter().filter_map(|row| row.seq).collect()
}

async fn readings_go_when_they_are_too_old_and_not_before(db: TestDb) {
    let world = world(&db).await;
    db.store.store_readings(&daily("lift-1", 0..60)).await.unwrap();
    db.store.store_readings(&daily("lift-2", 40..60)).await.unwrap();
    record_event(&db.store, start()).await;
    record_event(&db.store, start() + secs(45 * DAY)).await;
    let now = start() + secs(60 * DAY);
    assert!(db.store.prune(&keep(30), now).await.unwrap() > 0);
    let left = days(&db.store, &world, "lift-1").await;
    assert!((30..60).all(|day| left.contains(&day)), "what is young enough stays: {left:?}");
    // Partitions go as a whole when their last moment is too old: a week later at the most.
    let longest = if db.store.engine() == "sqlite" { 30 } else { 23 };
    assert!(left.iter().all(|day| *day >= longest), "{left:?}");
    assert_eq!(days(&db.store, &world, "lift-2").await, (40..60).collect::<Vec<_>>());
    assert_eq!(event_days(&db.store, &world).await, [45]);
    assert_eq!(db.store.prune(&keep(30), now + secs(5)).await.unwrap(), 0, "done for this hour");
    // Late readings of a day that was removed come back, and go again.
    db.store.store_readings(&daily("lift-1", 3..5)).await.unwrap();
    assert!(days(&db.store, &world, "lift-1").await.starts_with(&[3, 4]));
    db.store.prune(&keep(30), now + secs(DAY)).await.unwrap();
    assert!(days(&db.store, &world, "lift-1").await.iter().all(|day| *day >= longest));
}

async fn record_event(store: &Store, time: Timestamp) {
    let event = model::Event { time, code: "door_open".into(), seq: None, values: vec![] };
    let event = RecordedEvent { device: device_id("lift-1"), event, received_at: time };
    store.record(&RecorderBatch { events: vec![event], ..RecorderBatch::default() }, time).await.unwrap();
}

async fn event_days(store: &Store, world: &World) -> Vec<u64> {
    let events = store.device_events(world.org, &device_id("lift-1"), 100).await.unwrap();
    let mut days: Vec<u64> = events.iter().map(|event| event.time.since(start()).as_secs() / DAY).collect();
    days.sort_unstable();
    days
}

async fn each_profile_has_its_own_retention(db: TestDb) {
    let world = world(&db).await;
    let pump = ProfileId::new("pump").unwrap();
    db.store.ensure_profile(&model::Profile { id: pump.clone(), ..profile(&[]) }).await.unwrap();
    let lifts = daily("lift-1", 0..60);
    let pumps: Vec<Row> = lifts.iter().map(|row| Row { profile: pump.clone(), ..row.clone() }).collect();
    db.store.store_readings(&lifts).await.unwrap();
    db.store.store_readings(&pumps).await.unwrap();
    let mut retention = keep(30);
    retention.profiles.insert(lift(), Keep::Forever);
    db.store.prune(&retention, start() + secs(60 * DAY)).await.unwrap();
    assert_eq!(days(&db.store, &world, "lift-1").await.len(), 60);
    assert!((30..=37).contains(&db.store.count_readings(&pump).await.unwrap()));
}

async fn nothing_is_removed_unless_asked_for(db: TestDb) {
    let world = world(&db).await;
    db.store.store_readings(&daily("lift-1", 0..10)).await.unwrap();
    db.store.prune(&Retention::default(), start() + secs(4000 * DAY)).await.unwrap();
    assert_eq!(days(&db.store, &world, "lift-1").await.len(), 10);
}

async fn what_an_open_ticket_rests_on_stays(db: TestDb) {
    let world = world(&db).await;
    db.store.store_readings(&daily("lift-1", 0..60)).await.unwrap();
    let mut alert = world.alert("lift-1", "door_fault", TicketKind::Breakdown, start() + secs(20 * DAY));
    alert.evidence.from = Some(start() + secs(18 * DAY));
    world.commit(&[raised(&alert)], alert.raised_at).await;
    for day in [5, 18] {
        record_event(&db.store, start() + secs(day * DAY)).await;
    }
    let now = start() + secs(60 * DAY);
    db.store.prune(&keep(30), now).await.unwrap();
    assert_eq!(event_days(&db.store, &world).await, [18]);
    let left = days(&db.store, &world, "lift-1").await;
    assert!((17..=20).all(|day| left.contains(&day)), "with a day around it: {left:?}");
    assert!(!left.contains(&1), "{left:?}");
    // Closed, the next pass takes them.
    world.commit(&[cleared(&alert, now)], now).await;
    for ticket in world.open_tickets().await {
        let actor = desk::Actor::User { user: model::UserId(uuid::Uuid::nil()), name: "Dora".to_owned() };
        let close = desk::Event::Act {
            actor,
            action: desk::Action::Close { note: None, cause: None, parts: None },
            as_of: None,
        };
        db.store.apply(world.org, ticket.id, close, now).await.unwrap();
    }
    assert!(world.open_tickets().await.is_empty());
    db.store.prune(&keep(30), now + secs(DAY)).await.unwrap();
    assert!(!days(&db.store, &world, "lift-1").await.contains(&20));
}

async fn times_of_any_clock_are_kept_and_pruned(db: TestDb) {
    let world = world(&db).await;
    let odd = [i64::MIN, 0, 951_782_400_000_000, 4_200_000_000_000_000, i64::MAX];
    let rows: Vec<Row> = (0..)
        .zip(odd)
        .map(|(n, micros)| row("lift-1", Timestamp::from_micros(micros), Some(n), &[("speed", Value::Number(1.0))]))
        .collect();
    db.store.store_readings(&rows).await.unwrap();
    assert_eq!(db.store.count_readings(&lift()).await.unwrap(), 5);
    let now = start();
    db.store.prune(&keep(30), now).await.unwrap();
    let left = db.store.count_readings(&lift()).await.unwrap();
    assert_eq!(left, 2, "those of the future stay");
    // Nothing to remove any more, and old ones may come again.
    assert_eq!(db.store.prune(&keep(30), now + secs(DAY)).await.unwrap(), 0);
    db.store.store_readings(&rows).await.unwrap();
    assert_eq!(days(&db.store, &world, "lift-1").await[0], 0);
}

async fn a_table_of_an_earlier_version_is_taken_over(db: TestDb) {
    let world = World::new(&db).await;
    let rows: Vec<Row> = daily("lift-1", 0..30);
    db.store.ensure_profile(&profile(&[])).await.unwrap();
    if db.store.engine() == "postgres" {
        // As it was made before there were partitions: one whole table.
        let mut admin = PgConnection::connect(&db.config.url).await.unwrap();
        let before = "CREATE TABLE readings.old (LIKE readings.lift, PRIMARY KEY (device, time)); \
            DROP TABLE readings.lift; ALTER TABLE readings.old RENAME TO lift; \
            INSERT INTO readings.lift (device, time, seq, speed) \
                SELECT 'lift-1', '2026-03-02T08:00:00Z'::timestamptz + n * interval '1 day', n, n FROM generate_series(0, 29) n; \
            INSERT INTO readings.lift (device, time, seq) VALUES ('lift-2', '2200-01-01T00:00:00Z', 7)";
        admin.execute(before).await.unwrap();
    } else {
        let mut admin = SqliteConnection::connect(&db.config.url).await.unwrap();
        let before = "INSERT INTO readings_lift (device, time, seq, speed) \
                WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 29) \
                SELECT 'lift-1', 1772438400000000 + n * 86400000000, n, n FROM n; \
            INSERT INTO readings_lift (device, time, seq) VALUES ('lift-2', 7258118400000000, 7)";
        admin.execute(before).await.unwrap();
    }
    let newer = Store::attach(&db.config, desk_settings()).await.unwrap();
    newer.ensure_profile(&profile(&[("select", model::profile::ChannelKind::Bool)])).await.unwrap();
    assert_eq!(days(&newer, &world, "lift-1").await, (0..30).collect::<Vec<_>>());
    assert_eq!(days(&newer, &world, "lift-2").await, [7]);
    assert_eq!(newer.store_readings(&rows).await.unwrap(), 0, "every row is known again");
    assert_eq!(newer.store_readings(&daily("lift-1", 30..90)).await.unwrap(), 60);
    // It is taken over once.
    newer.ensure_profile(&profile(&[("select", model::profile::ChannelKind::Bool)])).await.unwrap();
    newer.prune(&keep(50), start() + secs(90 * DAY)).await.unwrap();
    let left = days(&newer, &world, "lift-1").await;
    assert!(!left.contains(&20) && (40..90).all(|day| left.contains(&day)), "{left:?}");
    newer.close().await;
}

async fn writing_goes_on_while_old_readings_are_removed(db: TestDb) {
    let world = world(&db).await;
    let old: Vec<Row> = (0..30_000u64)
        .map(|n| row("lift-1", start() + secs(n * 60), Some(n), &[("speed", Value::Number(n as f64))]))
        .collect();
    db.store.store_readings(&old).await.unwrap();
    let now = start() + secs(60 * DAY);
    let retention = keep(7);
    let prune = db.store.prune(&retention, now);
    let write = async {
        let mut slowest = Duration::ZERO;
        for n in 0..50u64 {
            let called = std::time::Instant::now();
            let fresh = row("lift-2", now + secs(n), Some(n), &[("speed", Value::Number(1.0))]);
            db.store.store_readings(&[fresh]).await.unwrap();
            slowest = slowest.max(called.elapsed());
        }
        slowest
    };
    let (removed, slowest) = tokio::join!(prune, write);
    assert!(removed.unwrap() > 0);
    assert!(slowest < secs(5), "a write waited {slowest:?}");
    assert!(days(&db.store, &world, "lift-1").await.is_empty());
    assert_eq!(days(&db.store, &world, "lift-2").await.len(), 50);
}

async fn the_width_of_partitions_can_be_changed(db: TestDb) {
    let world = world(&db).await;
    db.store.store_readings(&daily("lift-1", 0..20)).await.unwrap();
    for days_wide in [1, 30] {
        let config = store::StoreConfig { partition: secs(days_wide * DAY), ..db.config.clone() };
        let other = Store::attach(&config, desk_settings()).await.unwrap();
        other.ensure_profile(&profile(&[])).await.unwrap();
        other.store_readings(&daily("lift-1", 10..40)).await.unwrap();
        other.store_readings(&daily("lift-2", 5..90)).await.unwrap();
        other.close().await;
    }
    assert_eq!(days(&db.store, &world, "lift-1").await, (0..40).collect::<Vec<_>>());
    assert_eq!(days(&db.store, &world, "lift-2").await, (5..90).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_sqlite_file_shrinks_when_old_readings_go_also_one_of_an_earlier_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let url = format!("sqlite:{}", path.display());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut earlier = sqlx::ConnectOptions::connect(&options).await.unwrap();
    earlier
        .execute("PRAGMA journal_mode = wal; CREATE TABLE mark (n INTEGER); INSERT INTO mark VALUES (1)")
        .await
        .unwrap();
    earlier.close().await.unwrap();
    let config = store::StoreConfig { url, ..store::StoreConfig::default() };
    let store = Store::open(&config, desk_settings()).await.unwrap();
    store.ensure_profile(&profile(&[])).await.unwrap();
    let rows: Vec<Row> = (0..200_000u64)
        .map(|n| row(&format!("lift-{}", n % 5), start() + secs(n * 10), Some(n), &[("speed", Value::Number(0.1))]))
        .collect();
    store.store_readings(&rows).await.unwrap();
    store.prune(&keep(1), start() + secs(400 * DAY)).await.unwrap();
    assert_eq!(store.count_readings(&lift()).await.unwrap(), 0);
    store.close().await;
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 6 << 20, "{size} bytes for nothing");
    let mut check = SqliteConnection::connect(&config.url).await.unwrap();
    let (mark,): (i64,) = sqlx::query_as("SELECT n FROM mark").fetch_one(&mut check).await.unwrap();
    assert_eq!(mark, 1);
}
