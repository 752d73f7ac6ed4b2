//! Readings on a real TimescaleDB: `tests/timescale/server.mjs`, which `npm ci` in that folder prepares. It runs no
//! background jobs, so the test runs them; concurrency is tested on plain PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use desk::Policies;
use model::{
    Device, DeviceId, Localised, OrgId, Profile, ProfileId, SiteId, Timestamp, Unit, Value,
    profile::{Channel, ChannelKind},
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use store::{AuditActor, DeskSettings, Keep, NewSite, Retention, Row, Series, Store, StoreConfig};

const DAY: u64 = 86_400;

struct Server(Child, String);

impl Server {
    fn start() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/timescale");
        if !folder.join("node_modules").is_dir() {
            println!("skipped: run npm ci in tests/timescale, as ./dev test does");
            return None;
        }
        let mut node = Command::new("node");
        node.arg("server.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = node.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("port ").unwrap();
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
        Some(Self(child, url))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start() -> Timestamp {
    "2026-03-02T00:00:00Z".parse().unwrap()
}

fn day(n: u64) -> Timestamp {
    start() + Duration::from_secs(n * DAY)
}

fn profile(id: &str, channels: &[&str]) -> Profile {
    let channels = channels.iter().map(|channel| Channel {
        id: channel.parse().unwrap(),
        name: Localised::default(),
        kind: ChannelKind::Number { unit: Unit::MetrePerSecond, min: -1e9, max: 1e9 },
        state_names: Vec::new(),
        safety_chain: false,
    });
    Profile {
        derived: Vec::new(),
        overrides: Vec::new(),
        lateness: Duration::ZERO,
        gap: None,
        id: id.parse().unwrap(),
        name: Localised::default(),
        version: 1,
        file: std::path::PathBuf::new(),
        channels: channels.collect(),
        events: Vec::new(),
        rules: Vec::new(),
        detectors: Vec::new(),
        forecasts: Vec::new(),
        failures: None,
        causes: Vec::new(),
        runbooks: Vec::new(),
        commands: Vec::new(),
    }
}

fn row(channel: &str, time: Timestamp, seq: u64, value: f64) -> Row {
    let (device, profile) = ("lift-1".parse().unwrap(), "lift".parse().unwrap());
    Row { device, profile, time, seq: Some(seq), values: vec![(channel.parse().unwrap(), Value::Number(value))].into() }
}

async fn register(store: &Store) -> OrgId {
    let org = store.create_org("Metro", start()).await.unwrap().id;
    let (name, address, time_zone) = ("North".to_owned(), "1 Road".to_owned(), "UTC".to_owned());
    let site: SiteId = store.create_site(&NewSite { org, name, address, time_zone }, start()).await.unwrap().id;
    let id: DeviceId = "lift-1".parse().unwrap();
    let device = Device { id, org, site, profile: "lift".parse().unwrap(), name: "Lift".to_owned(), plate: None };
    store.upsert_device(&device, None, &AuditActor::CommandLine, start()).await.unwrap();
    org
}

async fn number(on: &mut PgConnection, query: &'static str) -> i64 {
    let (number,): (i64,) = sqlx::query_as(query).fetch_one(on).await.unwrap();
    number
}

const CHUNKS: &str = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'lift'";
const COMPRESSED: &str =
    "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'lift' AND is_compressed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_live_in_a_compressed_hypertable() {
    let Some(server) = Server::start() else { return };
    let mut admin = PgConnection::connect(&server.1).await.unwrap();
    let config = StoreConfig { url: server.1.clone(), max_connections: 3, ..StoreConfig::default() };
    let desk = DeskSettings { policies: Policies::default(), public_url: "https://lifts.example.org/".to_owned() };
    let store = Store::open(&config, desk).await.unwrap();
    assert!(store.timescale());
    let org = register(&store).await;
    let (lift, device): (ProfileId, DeviceId) = ("lift".parse().unwrap(), "lift-1".parse().unwrap());
    // A whole table of an earlier version, with rows in it.
    admin
        .execute(
            "CREATE TABLE readings.lift (device text COLLATE \"C\" NOT NULL, time timestamptz NOT NULL, seq bigint, \
             PRIMARY KEY (device, time)); INSERT INTO readings.lift VALUES ('lift-1', '2026-03-02', 0)",
        )
        .await
        .unwrap();
    store.ensure_profile(&profile("lift", &["speed"])).await.unwrap();
    store.ensure_profile(&profile("lift", &["speed"])).await.unwrap();
    assert_eq!(store.count_readings(&lift).await.unwrap(), 1);

    // COPY, the same again, and a merge with what is there.
    let rows: Vec<Row> =
        (1..60 * 24).map(|hour| row("speed", day(0) + Duration::from_secs(hour * 3600), hour, 1.0)).collect();
    assert_eq!(store.store_readings(&rows).await.unwrap(), rows.len() as u64);
    assert_eq!(store.store_readings(&rows).await.unwrap(), 0);
    assert!(number(&mut admin, CHUNKS).await >= 8, "a chunk a week");

    // The policy that the store made compresses what is old.
    let policy = "SELECT job_id::bigint FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy_%compression%' OR proc_name LIKE '%columnstore%'";
    let job = number(&mut admin, policy).await;
    admin.execute(sqlx::AssertSqlSafe(format!("CALL run_job({job})"))).await.unwrap();
    let compressed = number(&mut admin, COMPRESSED).await;
    assert!(compressed > 0, "nothing was compressed");

    // A compressed chunk takes new columns, late readings, and corrections.
    let wider = profile("lift", &["speed", "load"]);
    store.ensure_profile(&wider).await.unwrap();
    let late = [row("load", day(3), 72, 9.0), row("speed", day(3) + Duration::from_secs(60), 5, 2.0)];
    assert_eq!(store.store_readings(&late).await.unwrap(), 2);
    assert_eq!(store.store_readings(&late).await.unwrap(), 0);
    let found = store.readings(org, &device, day(3), day(3) + Duration::from_secs(61), 9).await.unwrap();
    assert_eq!((found.len(), found[0].values.len()), (2, 2), "{found:?}");
    let speed = "speed".parse().unwrap();
    let series = store.series(org, &device, &speed, day(0), day(30), 30).await.unwrap().unwrap();
    let Series::Buckets { points, .. } = series else { panic!("{series:?}") };
    assert_eq!((points.len(), points[3].count, points[3].max), (30, 25, 2.0));
    let latest = store.latest(org, &device).await.unwrap();
    assert_eq!(latest.iter().find(|(channel, ..)| *channel == speed).unwrap().1, rows.last().unwrap().time);
    let of = store.latest_of(&lift, "load", std::slice::from_ref(&device), day(0)).await.unwrap();
    assert_eq!(of[0].1, day(3));

    // Retention drops whole chunks, and only those.
    let before = number(&mut admin, CHUNKS).await;
    let keep = Retention { readings: Keep::For(Duration::from_secs(30 * DAY)), ..Retention::default() };
    assert!(store.prune(&keep, day(60)).await.unwrap() > 0);
    assert!(number(&mut admin, CHUNKS).await < before);
    let left = store.readings(org, &device, day(0), day(60), 10_000).await.unwrap();
    assert!(left[0].time <= day(30) && left[0].time >= day(23), "{}", left[0].time);
    assert_eq!(left.iter().filter(|row| row.time >= day(30)).count(), 30 * 24);
    store.close().await;
}
