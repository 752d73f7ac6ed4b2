//! The store: readings recorded, and tickets opened and ended with their alerts, pages and timelines. On SQLite, and on
//! PostgreSQL if `LIFTLINE_TEST_POSTGRES` names a server.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use model::{
    Alert, AlertChange, AlertId, AlertSource, Device, Evidence, Lane, Language, Localised, MessageChannel, PersonRole,
    Receiver, RescueLevel, Scope, Severity, TicketKind, Timestamp,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use store::{AuditActor, DeskSettings, NewPerson, NewRota, NewSite, RecorderBatch, Store, StoreConfig, WatchCursors};

use crate::{
    lifts::{self, Lifts},
    report::{Durations, line, rate},
};

/// How many entries are recorded unless told otherwise.
pub const ENTRIES: u64 = 100_000;
/// Entries in one transaction, as the recorder writes them.
const BATCH: usize = 1000;
/// Devices; each gets one ticket.
const DEVICES: usize = 1000;
/// Alerts in one transaction.
const ALERTS: usize = 50;

/// Measures every engine there is.
pub fn run(dir: &Path, entries: u64) -> anyhow::Result<()> {
    ensure!(entries >= DEVICES as u64, "--entries must be at least {DEVICES}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("store: {entries} entries of lifts recorded {BATCH} at a time, {DEVICES} tickets {ALERTS} at a time");
    runtime.block_on(async {
        let folder = tempfile::Builder::new().prefix("liftline-bench-").tempdir_in(dir)?;
        let sqlite =
            measure("sqlite", &format!("sqlite:{}", folder.path().join("store.db").display()), entries).await?;
        let Ok(server) = std::env::var("LIFTLINE_TEST_POSTGRES") else {
            line("postgres", "-", "LIFTLINE_TEST_POSTGRES names no server");
            return Ok(());
        };
        let name = format!("liftline_bench_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.context("connecting to LIFTLINE_TEST_POSTGRES")?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
        let (base, _) = server.rsplit_once('/').context("LIFTLINE_TEST_POSTGRES names no database")?;
        let measured = measure("postgres", &format!("{base}/{name}"), entries).await;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await?;
        let postgres = measured?;
        line("sqlite to postgres: rows", &format!("{:.2}", sqlite.0 / postgres.0), "");
        line("sqlite to postgres: tickets", &format!("{:.2}", sqlite.1 / postgres.1), "");
        Ok(())
    })
}

/// Rows and tickets a second.
async fn measure(engine: &str, url: &str, entries: u64) -> anyhow::Result<(f64, f64)> {
    let config = StoreConfig { url: url.to_owned(), max_connections: 4, ..StoreConfig::default() };
    let desk = DeskSettings { policies: desk::Policies::default(), public_url: "https://bench.example.org".to_owned() };
    let store = Store::open(&config, desk).await?;
    let (lifts, devices) = prepare(&store, entries).await?;
    let now = Timestamp::from_secs(1_772_500_000);

    let (mut commits, mut rows, start) = (Durations::default(), 0, Instant::now());
    for chunk in lifts.entries.chunks(BATCH) {
        let mut batch = RecorderBatch::default();
        chunk.iter().for_each(|entry| batch.push(0, &Arc::new(entry.clone()), &lifts.directory));
        let called = Instant::now();
        let report = store.record(&batch, now).await?;
        commits.push(called.elapsed());
        rows += report.rows + report.events;
    }
    let span = start.elapsed();
    let speed = rate(rows, span);
    let remark =
        format!("{:.0} readings/s, median commit {:.1} ms", rate(lifts.readings, span), commits.quantile_ms(0.5));
    line(&format!("{engine}: rows recorded"), &format!("{speed:.0}/s"), &remark);
    let start = Instant::now();
    for chunk in lifts.entries.chunks(BATCH) {
        let mut batch = RecorderBatch::default();
        chunk.iter().for_each(|entry| batch.push(0, &Arc::new(entry.clone()), &lifts.directory));
        store.record(&batch, now).await?;
    }
    line(
        &format!("{engine}: the same again"),
        &format!("{:.0}/s", rate(rows, start.elapsed())),
        "a replay after a crash",
    );

    let raised: Vec<Alert> = devices.iter().map(|device| alert(device, now)).collect::<anyhow::Result<_>>()?;
    let start = Instant::now();
    for (n, chunk) in raised.chunks(ALERTS).enumerate() {
        let changes: Vec<_> = chunk.iter().map(|alert| AlertChange::Raised(Box::new(alert.clone()))).collect();
        let report = store.commit_watch(&changes, &cursors(n), &[], now).await?;
        ensure!(report.opened as usize == chunk.len(), "{} tickets opened of {}", report.opened, chunk.len());
    }
    let tickets = rate(raised.len() as u64, start.elapsed());
    line(&format!("{engine}: tickets opened"), &format!("{tickets:.0}/s"), "each with its alert, pages and timeline");
    let start = Instant::now();
    for (n, chunk) in raised.chunks(ALERTS).enumerate() {
        let ended = |alert: &Alert| Alert { cleared_at: Some(now), ..alert.clone() };
        let changes: Vec<_> = chunk.iter().map(|alert| AlertChange::Cleared(Box::new(ended(alert)))).collect();
        store.commit_watch(&changes, &cursors(DEVICES + n), &[], now).await?;
    }
    line(&format!("{engine}: tickets ended"), &format!("{:.0}/s", rate(raised.len() as u64, start.elapsed())), "");
    store.close().await;
    Ok((speed, tickets))
}

/// Registers an organisation, its fleet, and somebody to call.
async fn prepare(store: &Store, entries: u64) -> anyhow::Result<(Lifts, Vec<Device>)> {
    let (now, cli) = (Timestamp::from_secs(1_772_000_000), AuditActor::CommandLine);
    store.ensure_profile(&lifts::profile()?.profile).await?;
    let org = store.create_org("Bench", now).await?.id;
    let (name, address, time_zone) = ("Bench".to_owned(), "1 Bench Road".to_owned(), "UTC".to_owned());
    let site = store.create_site(&NewSite { org, name, address, time_zone }, now).await?.id;
    let lifts = Lifts::new(DEVICES, usize::try_from(entries)?, org, site)?;
    let mut devices: Vec<Device> = lifts.directory.devices.values().map(|device| Device::clone(device)).collect();
    devices.sort_by(|a, b| a.id.cmp(&b.id));
    for device in &devices {
        store.upsert_device(device, None, &cli, now).await?;
    }
    let receivers = vec![Receiver { channel: MessageChannel::Sms, address: "+861380001".to_owned() }];
    let (name, role, language) = ("Ann".to_owned(), PersonRole::Technician, Language::En);
    let ann = store.create_person(&NewPerson { org, name, role, language, receivers }, &cli, now).await?;
    let rota = NewRota {
        org,
        site: None,
        level: RescueLevel::Maintainer,
        time_zone: "UTC".to_owned(),
        first_handover: "2026-01-05T08:00".to_owned(),
        shift_days: 7,
        members: vec![ann.id],
        together: 1,
    };
    store.create_rota(&rota, &cli, now).await?;
    Ok((lifts, devices))
}

fn cursors(n: usize) -> WatchCursors {
    let at = |lane: Lane| n as u64 * 2 + lane as u64;
    WatchCursors { partition: 0, events: at(Lane::Events), telemetry: at(Lane::Telemetry) }
}

fn alert(device: &Device, raised_at: Timestamp) -> anyhow::Result<Alert> {
    let rule = "door_fault".parse()?;
    Ok(Alert {
        id: AlertId::derive(&device.id, &rule, raised_at),
        org: device.org,
        device: device.id.clone(),
        site: device.site,
        profile: device.profile.clone(),
        rule,
        rule_version: 1,
        source: AlertSource::Rule,
        kind: TicketKind::Breakdown,
        scope: Scope::Device,
        severity: Severity::Major,
        life_safety: false,
        title: Localised::new("Door fault", "门系统故障"),
        raised_at,
        cleared_at: None,
        evidence: Evidence {
            summary: Localised::new("The doors do not close.", "门无法关闭。"),
            ..Evidence::default()
        },
        runbook: None,
    })
}
