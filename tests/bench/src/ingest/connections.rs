//! A whole fleet connected to the front door at once, each device sending a message now and then.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    count,
    load::{Target, connect, device, payload, publish},
    now_ms, place,
    servers::{Extra, Hub, SECRET, Way},
    usage,
    watched::Watched,
};
use crate::report::{Durations, line, rate};

/// How many logins are under way at once.
const AT_ONCE: usize = 64;

/// What is measured.
#[derive(Args, Clone)]
pub struct Options {
    /// How many devices are connected.
    #[arg(long, default_value_t = Options::default().connections)]
    connections: usize,
    /// How often each sends a message, in seconds.
    #[arg(long, default_value_t = Options::default().every)]
    every: u64,
    /// How long they do so, in seconds.
    #[arg(long, default_value_t = Options::default().duration)]
    duration: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 10_000, every: 10, duration: 60 }
    }
}

/// Connects a fleet and lets it speak, on the embedded default database.
pub fn run(dir: &Path, options: &Options) -> anyhow::Result<()> {
    let Options { connections, every, duration } = *options;
    println!(
        "connections: {connections} devices at the front door, each with one message every {every} s, for {duration} s"
    );
    let settings = format!("max_connections = {}\n", connections + 100);
    let extra = Extra { devices: connections, alarms: 0 };
    let hub = Hub::start(dir, Way::FrontDoor, None, &extra, &settings)?;
    let target = Target { port: hub.front_door.context("the hub has no front door")?, secret: Some(SECRET.to_owned()) };
    let pid = hub.process.id();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let idle = usage::memory_bytes(pid)?;
        let started = Instant::now();
        let streams = connect_all(&target, connections).await?;
        let took = started.elapsed();
        line(
            "devices connected",
            &format!("{:.0}/s", rate(connections as u64, took)),
            "each checked against its secret",
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        let connected = usage::memory_bytes(pid)?;
        line("memory without connections", &usage::mib(idle), "with every device registered");
        line(
            "memory per connection",
            &each(connected, idle, connections),
            "connected and silent, without the system's socket",
        );

        let cpu = usage::cpu_seconds(pid)?;
        let base_ms = now_ms();
        let period = Duration::from_secs(every);
        let began = Instant::now() + Duration::from_secs(1);
        let mut speaking = JoinSet::new();
        for (n, stream) in streams.into_iter().enumerate() {
            let first = began + period.mul_f64(count(n as u64) / count(connections as u64));
            speaking.spawn(speak(stream, n, first, period, duration / every, base_ms));
        }
        let mut latencies = Durations::default();
        let mut sent = 0;
        while let Some(ended) = speaking.join_next().await {
            let of_one = ended.context("a device panicked")??;
            sent += of_one.len() as u64;
            of_one.into_iter().for_each(|latency| latencies.push(latency));
        }
        let span = began.elapsed();
        let used = usage::cpu_seconds(pid)? - cpu;
        line(
            "messages acknowledged",
            &format!("{:.0}/s", rate(sent, span)),
            &format!("{sent} in {:.0} s", span.as_secs_f64()),
        );
        let remark = format!("99th percentile {:.1} ms", latencies.quantile_ms(0.99));
        line("publish to acknowledgement, median", &format!("{:.1} ms", latencies.quantile_ms(0.5)), &remark);
        line("processor of the hub", &format!("{:.1} %", 100.0 * used / span.as_secs_f64()), "of one core");
        let after = usage::memory_bytes(pid)?;
        line("memory afterwards", &usage::mib(after), "");
        line(
            "memory per device that spoke",
            &each(after, connected, connections),
            "rules, detectors, latest values, caches",
        );
        let mut database = Watched::connect(&place(&hub, None)).await?;
        let wanted = i64::try_from(sent)?;
        let asked = Instant::now();
        while database.rows().await? < wanted {
            ensure!(
                asked.elapsed() < Duration::from_secs(30),
                "only {} of {sent} messages are stored",
                database.rows().await?
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        line("messages stored", &format!("{}", database.rows().await?), "");
        anyhow::Ok(())
    })?;
    hub.tell_warnings();
    Ok(())
}

async fn connect_all(target: &Target, connections: usize) -> anyhow::Result<Vec<TcpStream>> {
    let (mut joining, mut streams, mut next) = (JoinSet::new(), Vec::with_capacity(connections), 0);
    while streams.len() < connections {
        while joining.len() < AT_ONCE && next < connections {
            let (target, name) = (target.clone(), device(next));
            joining.spawn(async move { connect(&target, &name).await.map(|stream| (next, stream)) });
            next += 1;
        }
        let joined = joining.join_next().await.context("no login is under way")?;
        streams.push(joined.context("a login panicked")?.context("raise the limit on open files (ulimit -n)")?);
    }
    streams.sort_by_key(|(n, _)| *n);
    Ok(streams.into_iter().map(|(_, stream)| stream).collect())
}

/// One device; how long each acknowledgement took.
async fn speak(
    mut stream: TcpStream,
    number: usize,
    first: Instant,
    period: Duration,
    messages: u64,
    base_ms: i64,
) -> anyhow::Result<Vec<Duration>> {
    let topic = format!("liftline/{}/telemetry", device(number));
    let mut latencies = Vec::new();
    let mut due = first;
    for message in 0..messages.max(1) {
        tokio::time::sleep_until(due.into()).await;
        let time_ms = base_ms + i64::try_from(message).unwrap_or(0) * 1000;
        let sent = Instant::now();
        stream.write_all(&publish(&topic, payload(time_ms, message).as_bytes())).await?;
        let mut ack = [0; 4];
        stream.read_exact(&mut ack).await.context("waiting for an acknowledgement")?;
        latencies.push(sent.elapsed());
        due += period;
    }
    Ok(latencies)
}

fn each(after: u64, before: u64, connections: usize) -> String {
    format!("{:.1} KiB", count(after.saturating_sub(before)) / count(connections as u64) / 1024.0)
}
