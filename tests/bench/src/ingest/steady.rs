//! Half an hour at seven tenths of full speed: memory stays as it is, and nothing lags further and further behind, not in the
//! broker either.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{
    Bench, Route, Up, count, load,
    load::{Load, Pace},
    now_ms,
    probes::Probes,
    usage,
    watched::Watched,
};
use crate::report::line;

/// How often memory and lags are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How often an alarm is raised meanwhile.
const ALARM_EVERY: Duration = Duration::from_secs(1);
/// For how long it gets more than it can take, to learn how much that is.
const OVERLOAD: Duration = Duration::from_secs(30);
/// How long everything may take then.
const PATIENCE: Duration = Duration::from_secs(300);
/// In how many parts the time is told.
const PARTS: usize = 6;

/// What is measured.
#[derive(Args, Clone)]
pub struct Options {
    /// For how many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// The share of its full speed that the path gets.
    #[arg(long, default_value_t = 0.7)]
    share: f64,
    /// The path.
    #[arg(long, value_enum, default_value_t = Route::HubPostgres)]
    path: Route,
}

/// What was seen at one moment.
struct Seen {
    memory: u64,
    recorder: f64,
    rules: f64,
    /// Bytes that the broker, or the front door, has not read of any one client: acknowledgements, if there is a broker.
    unread: u64,
}

/// Finds the full speed of a path, and keeps it at a share of that.
pub fn run(dir: &std::path::Path, options: &Options) -> anyhow::Result<()> {
    let settings = super::Options { rounds: 1, duration: 0, ..super::Options::default() };
    let bench = Bench::new(dir, &settings)?;
    let seconds = options.minutes * 60;
    let up = bench.start(options.path, usize::try_from(seconds + 120)?)?;
    let hub = up.hub.as_ref().context("steady measures a path with the hub")?;
    let mut database = bench.runtime.block_on(Watched::connect(&up.place))?;
    let base_ms = now_ms();
    let (rate, mut sent) = full_speed(&bench, &up, &mut database, base_ms)?;
    let pace = rate * options.share;
    println!(
        "steady: {} at {pace:.0} messages/s, {:.2} of {rate:.0}, for {} min",
        options.path.name(),
        options.share,
        options.minutes
    );

    let load = sent.more(&bench, pace, Duration::from_secs(seconds))?;
    let before = bench.runtime.block_on(database.rows())?;
    let probes = Probes {
        target: up.target.clone(),
        place: up.place.clone(),
        alarms: 0..usize::try_from(seconds + 60)?,
        alarm_every: ALARM_EVERY,
        first: 100_000,
        base_ms,
    }
    .start();
    let sending = load::start(up.target.clone(), load, Arc::new(AtomicU64::new(0)));
    let (started, mut seen) = (Instant::now(), Vec::new());
    while !sending.is_finished() {
        std::thread::sleep(LOOK);
        seen.push(Seen {
            memory: usage::memory_bytes(hub.process.id())?,
            recorder: hub.metric("liftline_recorder_lag_entries")?,
            rules: hub.metric("liftline_watch_lag_entries")?,
            unread: usage::unread_bytes(up.target.port)?,
        });
    }
    sending.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))??;
    let span = started.elapsed();
    let mut latencies = super::checked(probes.finish()?)?;
    let stored = super::all_stored(&bench.runtime, hub, &mut database, before)?;
    ensure!(stored >= i64::try_from(load.messages())?, "only {stored} of {} messages were stored", load.messages());
    tell(&seen, span);
    line(
        "messages stored",
        &format!("{stored}"),
        &format!("{:.0}/s", count(stored.unsigned_abs()) / span.as_secs_f64()),
    );
    let p99 = |d: &mut crate::report::Durations| format!("{:.0} ms", d.quantile_ms(0.99));
    line("publish to stored, 99th percentile", &p99(&mut latencies.stored), "");
    line("publish to alert committed, 99th percentile", &p99(&mut latencies.alerted), "");
    hub.tell_warnings();
    Ok(())
}

/// What was sent: the number of a device's next message, and its time in milliseconds.
#[derive(Clone, Copy)]
struct Sent {
    number: u64,
    time_ms: i64,
}

impl Sent {
    /// More messages, each sent by itself, in the time of the clock: a device that ran ahead of it would be told so.
    fn more(&mut self, bench: &Bench<'_>, pace: f64, time: Duration) -> anyhow::Result<Load> {
        let devices = count(bench.options.devices as u64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages")]
        let each = (pace * time.as_secs_f64() / devices) as u64;
        #[expect(clippy::cast_possible_truncation, reason = "some milliseconds")]
        let step_ms = ((1000.0 * devices / pace) as i64).max(1);
        let base_ms = self.time_ms - i64::try_from(self.number)? * step_ms;
        let load = Load { step_ms, ..bench.load(self.number, each, base_ms, Pace::PerSecond(pace)) };
        *self = Self { number: self.number + each, time_ms: self.time_ms + i64::try_from(each)? * step_ms };
        Ok(load)
    }
}

/// How many messages a second a path takes where each is sent by itself. Sent flat out they come many in a packet, which
/// costs devices, broker and hub far less: at that rate it is overloaded here, and what it makes of that is its speed. It is through
/// once the broker has read the acknowledgements too: Mosquitto reads one for a message of every device while it has more to do
/// than it can, and what it puts off is not done.
fn full_speed(bench: &Bench<'_>, up: &Up, database: &mut Watched, base_ms: i64) -> anyhow::Result<(f64, Sent)> {
    let (mut number, mut rate) = (0, 0.0);
    let flat_out = Pace::FlatOut { window: bench.options.window };
    // The first few only warm it up.
    for messages in [20, bench.options.messages / bench.options.devices as u64] {
        rate = publish(bench, up, database, bench.load(number, messages, base_ms, flat_out))?;
        number += messages;
    }
    let mut sent = Sent { number, time_ms: base_ms + i64::try_from(number)? * load::STEP_MS };
    let alone = publish(bench, up, database, sent.more(bench, rate, OVERLOAD)?)?;
    println!("flat out {rate:.0} messages/s; each sent by itself {alone:.0}");
    Ok((alone, sent))
}

/// Sends a load and waits until it is stored and nothing is left to read. Returns how many messages a second that was.
fn publish(bench: &Bench<'_>, up: &Up, database: &mut Watched, load: Load) -> anyhow::Result<f64> {
    let before = bench.runtime.block_on(database.rows())?;
    let (started, took) = (Instant::now(), bench.publish(up, database, load, before)?);
    let rest = Instant::now();
    while usage::unread_bytes(up.target.port)? > 0 {
        ensure!(started.elapsed() < PATIENCE, "the broker does not read what it is told");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(crate::report::rate(load.messages(), took + rest.elapsed()))
}

fn tell(seen: &[Seen], span: Duration) {
    println!(
        "{:<44} {:>12} {:>16} {:>16} {:>16}",
        "minutes", "memory", "recorder behind", "rules behind", "unread by broker"
    );
    let each = seen.len().div_ceil(PARTS).max(1);
    for (n, part) in seen.chunks(each).enumerate() {
        let minute = |part: usize| span.as_secs_f64() / 60.0 * count(part as u64) / count(PARTS as u64);
        let most = |of: fn(&Seen) -> f64| part.iter().map(of).fold(0.0, f64::max);
        let memory = part.iter().map(|seen| seen.memory).max().unwrap_or(0);
        println!(
            "{:<44} {:>12} {:>16} {:>16} {:>16}",
            format!("{:.0} to {:.0}, at most", minute(n), minute(n + 1)),
            usage::mib(memory),
            format!("{:.0}", most(|seen| seen.recorder)),
            format!("{:.0}", most(|seen| seen.rules)),
            usage::mib(part.iter().map(|seen| seen.unread).max().unwrap_or(0)),
        );
    }
}
