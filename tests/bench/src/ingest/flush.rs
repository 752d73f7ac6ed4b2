//! A whole fleet that was cut off tells what it has buffered, all at once, while people press alarm buttons elsewhere.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{
    Bench, Route, all_stored, checked,
    load::{self, Load, Pace},
    now_ms,
    probes::{ALARM_EVERY, Probes},
    usage,
    watched::Watched,
};
use crate::report::{line, rate};

/// How many alarms there may be.
const ALARMS: usize = 20_000;
/// How many messages of a lift are on their way at once.
const WINDOW: usize = 20;

/// What is measured.
#[derive(Args, Clone)]
pub struct Options {
    /// How many lifts were cut off.
    #[arg(long, default_value_t = 10_000)]
    lifts: usize,
    /// For how many hours; each lift has a message for every ten seconds of it.
    #[arg(long, default_value_t = 8.0)]
    hours: f64,
    /// The path; through the front door every lift has a connection of its own.
    #[arg(long, value_enum, default_value_t = Route::DoorSqlite)]
    path: Route,
}

/// Lets them tell everything at once and times alarms of other lifts.
pub fn run(dir: &std::path::Path, options: &Options) -> anyhow::Result<()> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages")]
    let each = (options.hours * 360.0).max(1.0) as u64;
    let settings = super::Options { devices: options.lifts, ..super::Options::default() };
    let mut bench = Bench::new(dir, &settings)?;
    bench.settings = format!("max_connections = {}\n", options.lifts + 1000);
    let up = bench.start(options.path, ALARMS)?;
    let hub = up.hub.as_ref().context("flush measures a path with the hub")?;
    let mut database = bench.runtime.block_on(Watched::connect(&up.place))?;
    let base_ms = now_ms();
    let buffered = Load {
        devices: options.lifts,
        each,
        first: 0,
        // The last of it lies before the time of the probes.
        base_ms: base_ms - i64::try_from(each)? * 10_000,
        step_ms: 10_000,
        pace: Pace::FlatOut { window: WINDOW },
    };
    println!(
        "flush: {} lifts tell what they buffered in {} h, {} messages, {}",
        options.lifts,
        options.hours,
        buffered.messages(),
        options.path.name()
    );
    let before = bench.runtime.block_on(database.rows())?;
    let sending = load::start(up.target.clone(), buffered, Arc::new(AtomicU64::new(0)));
    let probes = Probes {
        target: up.target.clone(),
        place: up.place.clone(),
        alarms: 0..ALARMS,
        alarm_every: ALARM_EVERY * 5,
        first: 1000,
        base_ms,
    }
    .start();
    let (mut memory, mut behind, mut to_rules) = (0, 0.0_f64, 0.0_f64);
    while !sending.is_finished() {
        std::thread::sleep(Duration::from_secs(1));
        memory = memory.max(usage::memory_bytes(hub.process.id())?);
        behind = behind.max(hub.metric("liftline_recorder_lag_entries")?);
        // Of the last minutes, as the hub tells it.
        to_rules = to_rules.max(hub.series("liftline_watch_delay_seconds", "quantile=\"0.99\"")?);
    }
    let sent = sending.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))??;
    let took = sent.ended - sent.started;
    line(
        "acknowledged",
        &format!("{:.0}/s", rate(buffered.messages(), took)),
        &format!("in {:.0} s", took.as_secs_f64()),
    );
    let since = Instant::now();
    probes.publish_no_more();
    let stored = all_stored(&bench.runtime, hub, &mut database, before)?;
    let wanted = i64::try_from(buffered.messages())?;
    ensure!(stored >= wanted, "only {stored} of {wanted} messages were stored");
    let remark = format!("{:.0} s after the last acknowledgement", since.elapsed().as_secs_f64());
    line("stored", &format!("{stored}"), &remark);
    let mut latencies = checked(probes.finish()?)?;
    let ms = |q: f64, d: &mut crate::report::Durations| format!("{:.0} ms", d.quantile_ms(q));
    let remark = format!("median {}", ms(0.5, &mut latencies.acknowledged));
    line("live alarm to its acknowledgement, 99th percentile", &ms(0.99, &mut latencies.acknowledged), &remark);
    let remark = "from its receipt, by the hub's own clock; the highest value that it told";
    line("live alarm to the rules, 99th percentile", &format!("{:.0} ms", to_rules * 1000.0), remark);
    let remark = format!("median {}", ms(0.5, &mut latencies.alerted));
    line("live alarm to alert and ticket, 99th percentile", &ms(0.99, &mut latencies.alerted), &remark);
    let remark = format!("median {}, behind the flush by its nature", ms(0.5, &mut latencies.stored));
    line("live telemetry to stored, 99th percentile", &ms(0.99, &mut latencies.stored), &remark);
    line("recorder behind, at most", &format!("{behind:.0}"), "entries of the journal");
    line("memory of the hub, at most", &usage::mib(memory), "");
    hub.tell_warnings();
    Ok(())
}
