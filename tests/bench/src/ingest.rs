//! The whole way of a message: from the device's connection until it is stored and the rules have seen it, beside the
//! broker alone, the database alone, and the least program that brings one into the other. Every path gets the same
//! messages from the same load generator, one path after the other, all in one run.

mod alone;
pub mod connections;
pub mod flush;
mod load;
pub mod node_red;
mod probes;
pub mod reference;
pub mod servers;
pub mod steady;
mod table;
pub mod usage;
mod watched;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use load::{Load, Pace, Target};
use node_red::Insert;
use probes::{ALARM_EVERY, Latencies, Probes};
use servers::{Announced, Extra, Hub, Mosquitto, Postgres, SECRET, Way};
use table::Measured;
use watched::{Place, Watched};

/// What is measured.
#[derive(Args, Clone)]
pub struct Options {
    /// How many messages each path gets as fast as it takes them.
    #[arg(long, default_value_t = Options::default().messages)]
    messages: u64,
    /// How long each path then runs at half of its speed, in seconds; 0 leaves that out.
    #[arg(long, default_value_t = Options::default().duration)]
    duration: u64,
    /// How many devices publish, each over a connection of its own.
    #[arg(long, default_value_t = Options::default().devices)]
    devices: usize,
    /// How many messages of a device may be unacknowledged.
    #[arg(long, default_value_t = Options::default().window)]
    window: usize,
    /// How often each path is measured; the median counts.
    #[arg(long, default_value_t = Options::default().rounds)]
    rounds: usize,
    /// Only these paths.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Route>,
    /// Measures another program beside them.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// A file with more settings for the hub.
    #[arg(long)]
    settings: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            messages: 200_000,
            duration: 15,
            devices: 200,
            window: 50,
            rounds: 3,
            only: Vec::new(),
            peer: None,
            settings: None,
        }
    }
}

/// A program that others use.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// Node-RED from npm, with a flow that writes batches.
    NodeRed,
}

/// One way of a message.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Route {
    /// Mosquitto and a subscriber that only counts.
    Broker,
    /// PostgreSQL and COPY.
    Bulk,
    /// Mosquitto, a minimal subscriber, PostgreSQL.
    Reference,
    /// Mosquitto, the hub with journal and rules, PostgreSQL.
    HubPostgres,
    /// Mosquitto, the hub with journal and rules, SQLite.
    HubSqlite,
    /// The hub's front door, journal and rules, PostgreSQL.
    DoorPostgres,
    /// The hub's front door, journal and rules, SQLite.
    DoorSqlite,
    /// Mosquitto, Node-RED with batches, PostgreSQL.
    #[value(skip)]
    NodeRed(Insert),
}

impl Route {
    fn name(self) -> &'static str {
        match self {
            Self::Broker => "Mosquitto alone",
            Self::Bulk => "PostgreSQL alone (COPY)",
            Self::Reference => "reference: Mosquitto, COPY",
            Self::HubPostgres => "hub: Mosquitto, PostgreSQL",
            Self::HubSqlite => "hub: Mosquitto, SQLite",
            Self::DoorPostgres => "hub: front door, PostgreSQL",
            Self::DoorSqlite => "hub: front door, SQLite",
            Self::NodeRed(Insert::Values) => "Node-RED: a row a value",
            Self::NodeRed(Insert::Rows) => "Node-RED: a row a message",
            Self::NodeRed(Insert::Arrays) => "Node-RED: an array a column",
        }
    }
}

/// How often the reference may be tried in a round. Mosquitto, once it is behind, has more messages under way than the
/// reference's client library can count, which ends it; the hub's own link goes on.
const REFERENCE_TRIES: u32 = 3;

/// Measures what the options name and prints one table.
pub fn run(dir: &Path, options: &Options) -> anyhow::Result<()> {
    let bench = Bench::new(dir, options)?;
    let mut routes: Vec<Route> = Route::value_variants().to_vec();
    if !options.only.is_empty() {
        routes.retain(|route| options.only.contains(route));
    }
    if options.peer.is_some() {
        routes.extend([Insert::Values, Insert::Rows, Insert::Arrays].map(Route::NodeRed));
    }
    println!(
        "ingest: {} messages of 180 bytes and 8 channels at QoS 1 from {} devices, flat out, {} rounds; then {} s at half of that",
        options.messages, options.devices, options.rounds, options.duration
    );
    let mut all: Vec<Vec<Measured>> = routes.iter().map(|_| Vec::new()).collect();
    // Round by round, so that what else the machine does meets every path alike.
    for round in 0..options.rounds.max(1) {
        for (route, measured) in routes.iter().zip(&mut all) {
            let last = round + 1 == options.rounds.max(1);
            let before: Vec<f64> = measured.iter().map(|m: &Measured| m.rate).collect();
            let mut tries = if *route == Route::Reference { REFERENCE_TRIES } else { 1 };
            let found = loop {
                tries -= 1;
                match bench.measure(*route, last.then(|| before.clone())) {
                    Err(failure) if tries > 0 => {
                        eprintln!("  round {}: {} is tried again: {failure:#}", round + 1, route.name());
                    }
                    found => break found.with_context(|| route.name())?,
                }
            };
            eprintln!("  round {}: {}: {:.0} messages/s", round + 1, route.name(), found.rate);
            measured.push(found);
        }
    }
    table::print(&routes, all);
    Ok(())
}

struct Bench<'a> {
    dir: &'a Path,
    options: &'a Options,
    postgres: Postgres,
    settings: String,
    node_red: Option<node_red::Installed>,
    runtime: tokio::runtime::Runtime,
}

/// A path that is up.
struct Up {
    target: Target,
    place: Place,
    /// Who takes processor time: name and process.
    processes: Vec<(&'static str, u32)>,
    _mosquitto: Option<Mosquitto>,
    hub: Option<Hub>,
    /// The program in the middle, if it is not the hub.
    _program: Option<Announced>,
}

impl<'a> Bench<'a> {
    fn new(dir: &'a Path, options: &'a Options) -> anyhow::Result<Self> {
        let settings = match &options.settings {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?,
            None => String::new(),
        };
        let node_red = match options.peer {
            Some(Peer::NodeRed) => Some(node_red::install(dir)?),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { dir, options, postgres: Postgres::start(dir)?, settings, node_red, runtime })
    }

    fn load(&self, first: u64, each: u64, base_ms: i64, pace: Pace) -> Load {
        Load { devices: self.options.devices, each, first, base_ms, step_ms: load::STEP_MS, pace }
    }

    /// Measures a path flat out and, if `before` (its earlier speeds) is given, at half of its median speed.
    fn measure(&self, route: Route, before: Option<Vec<f64>>) -> anyhow::Result<Measured> {
        let each = (self.options.messages / self.options.devices as u64).max(1);
        let flat_out = Pace::FlatOut { window: self.options.window };
        let base_ms = now_ms();
        let load = self.load(0, each, base_ms, flat_out);
        match route {
            Route::Broker => return self.broker_alone(load),
            Route::Bulk => {
                let url = self.database()?;
                let took = self.runtime.block_on(alone::bulk_load(&url, &load))?;
                return Ok(Measured::rate_only(load.messages(), took));
            }
            Route::Reference
            | Route::HubPostgres
            | Route::HubSqlite
            | Route::DoorPostgres
            | Route::DoorSqlite
            | Route::NodeRed(_) => {}
        }
        let alarms = usize::try_from(self.options.duration + 60)? * 10;
        let up = self.start(route, alarms)?;
        let mut database = self.runtime.block_on(Watched::connect(&up.place))?;
        // The first messages find cold caches and unprepared statements; they are not measured.
        let warm_up = self.load(0, 20, base_ms, flat_out);
        self.publish(&up, &mut database, warm_up, 0)?;
        let stored_before = self.runtime.block_on(database.rows())?;

        let with_alarms = if up.hub.is_some() { alarms } else { 0 };
        let load = Load { first: 20, ..load };
        let probes = Probes {
            target: up.target.clone(),
            place: up.place.clone(),
            alarms: 0..with_alarms / 4,
            alarm_every: ALARM_EVERY,
            first: 1000,
            base_ms,
        }
        .start();
        let cpu_before = cpu(&up)?;
        let took = self.publish(&up, &mut database, load, stored_before)?;
        let cpu = cpu(&up)?.into_iter().zip(cpu_before).map(|((name, after), (_, before))| (name, after - before));
        let cpu: Vec<_> = cpu.map(|(name, seconds)| (name, seconds * 1e6 / count(load.messages()))).collect();
        let mut measured = Measured::rate_only(load.messages(), took);
        measured.cpu_us = cpu;
        measured.flat_out = checked(probes.finish()?)?;
        let bytes = self.runtime.block_on(database.bytes())?;
        let rows = self.runtime.block_on(database.rows())?;
        if bytes > 0 {
            measured.bytes_per_reading = Some(count(bytes.unsigned_abs()) / count(rows.unsigned_abs()) / 8.0);
        }

        if let Some(mut rates) = before.filter(|_| self.options.duration > 0) {
            rates.push(measured.rate);
            let pace = table::median(&mut rates) / 2.0;
            let first = load.first + load.each;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages")]
            let each = (pace * count(self.options.duration) / count(load.devices as u64)) as u64;
            let half = self.load(first, each.max(1), base_ms, Pace::PerSecond(pace));
            let probes = Probes {
                target: up.target.clone(),
                place: up.place.clone(),
                alarms: with_alarms / 4..with_alarms,
                alarm_every: ALARM_EVERY,
                first: 100_000,
                base_ms,
            }
            .start();
            let stored = self.runtime.block_on(database.rows())?;
            self.publish(&up, &mut database, half, stored)?;
            measured.half_load = Some((pace, checked(probes.finish()?)?));
        }
        if let Some(hub) = &up.hub {
            measured.memory = Some(usage::memory_bytes(hub.process.id())?);
            measured.journal_bytes = Some(usage::folder_bytes(&hub.data().join("journal"))?);
            hub.tell_warnings();
        }
        Ok(measured)
    }

    /// Sends a load and waits until all of it is stored and, with a hub, the rules have seen it.
    fn publish(&self, up: &Up, database: &mut Watched, load: Load, stored_before: i64) -> anyhow::Result<Duration> {
        let sending = load::start(up.target.clone(), load, Arc::new(AtomicU64::new(0)));
        let sent = sending.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))??;
        let rows = stored_before + i64::try_from(load.messages())?;
        self.runtime.block_on(database.stored(&load, rows))?;
        if let Some(hub) = &up.hub {
            hub.caught_up("liftline_watch_lag_entries", Duration::from_secs(120))?;
        }
        Ok(sent.started.elapsed().max(sent.ended - sent.started))
    }

    fn broker_alone(&self, load: Load) -> anyhow::Result<Measured> {
        let mosquitto = Mosquitto::start()?;
        let subscriber = alone::subscribe(mosquitto.port, load.messages())?;
        let target = Target { port: mosquitto.port, secret: None };
        let before = usage::cpu_seconds(mosquitto.process.id())?;
        let sending = load::start(target, load, Arc::new(AtomicU64::new(0)));
        let sent = sending.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))??;
        let last = subscriber.join().map_err(|_| anyhow::anyhow!("the subscriber panicked"))??;
        let used = usage::cpu_seconds(mosquitto.process.id())? - before;
        let mut measured = Measured::rate_only(load.messages(), last.max(sent.ended) - sent.started);
        measured.cpu_us = vec![("broker", used * 1e6 / count(load.messages()))];
        Ok(measured)
    }

    /// A fresh database; its URL.
    fn database(&self) -> anyhow::Result<String> {
        let name = format!("bench_{}", uuid::Uuid::new_v4().simple());
        let url = self.postgres.url("postgres");
        self.runtime.block_on(async {
            let mut admin = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
            sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
            sqlx::query("CHECKPOINT").execute(&mut admin).await?;
            anyhow::Ok(())
        })?;
        Ok(self.postgres.url(&name))
    }

    /// Starts what a path needs.
    fn start(&self, route: Route, alarms: usize) -> anyhow::Result<Up> {
        let extra = Extra { devices: self.options.devices, alarms };
        let broker = |mosquitto: &Mosquitto| Target { port: mosquitto.port, secret: None };
        match route {
            Route::Broker | Route::Bulk => anyhow::bail!("it has no path to start"),
            Route::Reference | Route::NodeRed(_) => {
                let insert = if let Route::NodeRed(insert) = route { Some(insert) } else { None };
                let (mosquitto, url) = (Mosquitto::start()?, self.database()?);
                self.runtime.block_on(async {
                    let mut connection = PgConnection::connect(&url).await?;
                    let create = insert.map_or(reference::CREATE, Insert::create);
                    sqlx::raw_sql(create).execute(&mut connection).await?;
                    anyhow::Ok(())
                })?;
                let (name, program) = match self.node_red.as_ref().zip(insert) {
                    Some((installed, insert)) => ("Node-RED", installed.start(mosquitto.port, &url, insert)?),
                    None => ("reference", start_reference(self.dir, mosquitto.port, &url)?),
                };
                let processes = vec![
                    ("broker", mosquitto.process.id()),
                    (name, program.process.id()),
                    ("database", self.postgres.postmaster),
                ];
                let place = Place { database: url, table: reference::TABLE };
                Ok(Up {
                    target: broker(&mosquitto),
                    place,
                    processes,
                    _mosquitto: Some(mosquitto),
                    hub: None,
                    _program: Some(program),
                })
            }
            Route::HubPostgres | Route::HubSqlite => {
                let mosquitto = Mosquitto::start()?;
                let url = if route == Route::HubPostgres { Some(self.database()?) } else { None };
                let hub = Hub::start(self.dir, Way::Broker(mosquitto.port), url.as_deref(), &extra, &self.settings)?;
                let mut processes = vec![("broker", mosquitto.process.id()), ("hub", hub.process.id())];
                processes.extend(url.is_some().then_some(("database", self.postgres.postmaster)));
                let place = place(&hub, url);
                Ok(Up {
                    target: broker(&mosquitto),
                    place,
                    processes,
                    _mosquitto: Some(mosquitto),
                    hub: Some(hub),
                    _program: None,
                })
            }
            Route::DoorPostgres | Route::DoorSqlite => {
                let url = if route == Route::DoorPostgres { Some(self.database()?) } else { None };
                let hub = Hub::start(self.dir, Way::FrontDoor, url.as_deref(), &extra, &self.settings)?;
                let port = hub.front_door.context("the hub did not say where its front door is")?;
                let target = Target { port, secret: Some(SECRET.to_owned()) };
                let mut processes = vec![("hub", hub.process.id())];
                processes.extend(url.is_some().then_some(("database", self.postgres.postmaster)));
                let place = place(&hub, url);
                Ok(Up { target, place, processes, _mosquitto: None, hub: Some(hub), _program: None })
            }
        }
    }
}

/// Where a hub stores readings.
fn place(hub: &Hub, url: Option<String>) -> Place {
    match url {
        Some(database) => Place { database, table: "readings.bench_lift" },
        None => {
            Place { database: hub.data().join("liftline.sqlite").display().to_string(), table: "readings_bench_lift" }
        }
    }
}

/// This program again, as the reference.
fn start_reference(dir: &Path, port: u16, url: &str) -> anyhow::Result<Announced> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["reference", &port.to_string(), url]);
    let log = tempfile::Builder::new().prefix("liftline-bench-reference-").tempfile_in(dir)?;
    let mut program = Announced::start(&mut command, log.path())?;
    let said = program.line().with_context(|| std::fs::read_to_string(log.path()).unwrap_or_default())?;
    ensure!(said == "ready", "the reference said \"{said}\"");
    Ok(program)
}

fn cpu(up: &Up) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let mut seconds = vec![("load", usage::own_cpu_seconds()?)];
    for (name, pid) in &up.processes {
        seconds.push((*name, usage::cpu_seconds(*pid)?));
    }
    Ok(seconds)
}

/// Waits until a hub has stored everything that it acknowledged; how many rows came since `before`.
fn all_stored(
    runtime: &tokio::runtime::Runtime,
    hub: &Hub,
    database: &mut Watched,
    before: i64,
) -> anyhow::Result<i64> {
    hub.caught_up("liftline_recorder_lag_entries", Duration::from_secs(1800))?;
    Ok(runtime.block_on(database.rows())? - before)
}

/// Latencies of which nothing is missing.
fn checked(latencies: Latencies) -> anyhow::Result<Latencies> {
    ensure!(latencies.missing == 0, "{} probes were never seen", latencies.missing);
    Ok(latencies)
}

fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    // Far enough back that no message lies in the future, however fast it is sent.
    i64::try_from(since.as_millis()).unwrap_or(0) - 3_600_000
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}
