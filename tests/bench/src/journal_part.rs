//! The journal: group commit, the latency of a lone message and of an event in a flood, reading, trimming, reopening.
//!
//! The reference is a plain file that gets the same number of bytes in commits of the same size, each with one fsync:
//! the most that any durable log on this disk could do with one caller.

use std::{fs::File, io::Write, path::Path, time::Instant};

use anyhow::{Context, ensure};
use journal::{Journal, JournalConfig, Offset};
use model::{Body, ChannelId, DeviceId, Entry, Event, Lane, Sample, Timestamp, Value};
use tokio::task::JoinSet;

use crate::report::{Durations, line, rate};

/// Entries a measurement appends unless told otherwise.
pub const ENTRIES: u64 = 200_000;
/// Entries in one append.
const BATCH: u64 = 500;
/// Callers that append at the same time, as front-door connections do.
const CALLERS: u64 = 64;
/// Lone messages and events that are timed.
const PROBES: u64 = 200;
/// Entries in one read.
const READ: usize = 500;

/// What a lift reports: eight channels, about 180 bytes as JSON.
fn sample(names: &[ChannelId], device: &DeviceId, n: u64) -> Entry {
    let time = Timestamp::from_millis(i64::try_from(n).unwrap_or(i64::MAX));
    let value = |i: usize| {
        #[expect(clippy::cast_precision_loss, reason = "made-up values")]
        let value = (n % 1000) as f64 / 10.0 + i as f64;
        Value::Number(value)
    };
    let values = names.iter().enumerate().map(|(i, name)| (name.clone(), value(i))).collect();
    Entry { device: Some(device.clone()), received_at: time, body: Body::Sample(Sample { time, seq: Some(n), values }) }
}

fn alarm(device: &DeviceId, n: u64) -> Entry {
    let time = Timestamp::from_millis(i64::try_from(n).unwrap_or(i64::MAX));
    let event = Event { time, code: "alarm_button".to_owned(), seq: Some(n), values: Vec::new() };
    Entry { device: Some(device.clone()), received_at: time, body: Body::Event(event) }
}

/// What all measurements share.
struct Source {
    names: Vec<ChannelId>,
    device: DeviceId,
}

impl Source {
    fn new() -> anyhow::Result<Self> {
        let names = (1..=8).map(|n| format!("channel_{n}").parse()).collect::<Result<_, _>>()?;
        Ok(Self { names, device: "bench-1".parse()? })
    }

    fn batch(&self, from: u64, count: u64) -> Vec<Entry> {
        (from..from + count).map(|n| sample(&self.names, &self.device, n)).collect()
    }
}

/// Runs all measurements on the disk of `dir`.
pub fn run(dir: &Path, entries: u64) -> anyhow::Result<()> {
    ensure!(entries >= BATCH, "--entries must be at least {BATCH}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder =
        tempfile::Builder::new().prefix("liftline-bench-").tempdir_in(dir).context("making a folder to measure in")?;
    println!("journal: {entries} entries of eight numbers, appended {BATCH} at a time, on {}", dir.display());
    runtime.block_on(measure(folder.path(), entries))
}

async fn measure(folder: &Path, entries: u64) -> anyhow::Result<()> {
    let source = Source::new()?;
    let config = JournalConfig::default();
    let path = folder.join("journal");
    let journal = Journal::open(&path, &config)?;

    let (mut commits, start) = (Durations::default(), Instant::now());
    for from in (0..entries).step_by(usize::try_from(BATCH)?) {
        let batch = source.batch(from, BATCH.min(entries - from));
        let called = Instant::now();
        journal.append(batch).await?;
        commits.push(called.elapsed());
    }
    let one_caller = rate(entries, start.elapsed());
    let bytes = journal.stats().lanes.iter().map(|lane| lane.bytes).sum::<u64>() / entries;
    line("append, one caller", &format!("{one_caller:.0}/s"), &waits(&mut commits));

    let reference = reference(&folder.join("reference"), entries, usize::try_from(bytes * BATCH)?)?;
    line(
        "reference: plain file, same bytes and fsyncs",
        &format!("{reference:.0}/s"),
        &format!("{bytes} bytes an entry"),
    );
    line("ratio to the reference", &format!("{:.2}", one_caller / reference), "");

    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (journal, source) = (journal.clone(), Source::new()?);
        callers.spawn(async move {
            let share = entries / CALLERS;
            for from in (0..share).step_by(10) {
                journal.append(source.batch(caller * share + from, 10.min(share - from))).await?;
            }
            anyhow::Ok(share)
        });
    }
    let mut shared = 0;
    while let Some(done) = callers.join_next().await {
        shared += done??;
    }
    line("append, 64 callers, 10 entries each", &format!("{:.0}/s", rate(shared, start.elapsed())), "group commit");

    let mut alone = Durations::default();
    for n in 0..PROBES {
        let called = Instant::now();
        journal.append(source.batch(n, 1)).await?;
        alone.push(called.elapsed());
    }
    line("a lone message, idle journal", &format!("{:.2} ms", alone.quantile_ms(0.5)), &waits(&mut alone));
    events_in_a_flood(&journal, &source).await?;
    read_trim_reopen(journal, &path, &config).await
}

/// Times an alarm button while telemetry keeps the writer busy.
async fn events_in_a_flood(journal: &Journal, source: &Source) -> anyhow::Result<()> {
    let mut flood = JoinSet::new();
    for _ in 0..8 {
        let (journal, source) = (journal.clone(), Source::new()?);
        flood.spawn(async move {
            loop {
                journal.append(source.batch(0, BATCH)).await?;
                // Lets itself be stopped even if every append were ready at once.
                tokio::task::yield_now().await;
            }
            #[expect(unreachable_code, reason = "gives the task its type")]
            anyhow::Ok(())
        });
    }
    let mut events = Durations::default();
    for n in 0..PROBES {
        let called = Instant::now();
        journal.append(vec![alarm(&source.device, n)]).await?;
        events.push(called.elapsed());
    }
    flood.abort_all();
    while let Some(ended) = flood.join_next().await {
        match ended {
            Ok(stopped_early) => stopped_early.context("the flood ended by itself")?,
            Err(error) => ensure!(error.is_cancelled(), "the flood panicked"),
        }
    }
    line("an event in a flood of telemetry", &format!("{:.2} ms", events.quantile_ms(0.5)), &waits(&mut events));
    Ok(())
}

async fn read_trim_reopen(journal: Journal, path: &Path, config: &JournalConfig) -> anyhow::Result<()> {
    let (mut at, mut read, start) = (Offset::START, 0, Instant::now());
    loop {
        let entries = journal.read(Lane::Telemetry, at, READ)?;
        let Some((last, _)) = entries.last() else { break };
        (at, read) = (*last, read + entries.len() as u64);
    }
    let head = journal.head(Lane::Telemetry);
    ensure!(read == head.0, "{read} entries were read, {head} were written");
    line("read and decode from the start", &format!("{:.0}/s", rate(read, start.elapsed())), "500 at a time");

    for lane in Lane::ALL {
        journal.set_cursor("bench", lane, journal.head(lane))?;
    }
    let before = journal.stats();
    let start = Instant::now();
    // A day far beyond the age limit: everything that has been read and sealed goes.
    let report = journal.trim(Timestamp::from_secs(4_000_000_000))?;
    let remark = format!("{} of {} files, {} MB", report.segments, before.segments, report.bytes >> 20);
    line("trim", &format!("{:.1} ms", start.elapsed().as_secs_f64() * 1e3), &remark);

    journal.close().await?;
    let start = Instant::now();
    let journal = Journal::open(path, config)?;
    let stats = journal.stats();
    ensure!(stats.damaged_entries == 0, "{} entries are damaged", stats.damaged_entries);
    let remark = format!("{} MB verified", stats.bytes >> 20);
    line("reopen", &format!("{:.1} ms", start.elapsed().as_secs_f64() * 1e3), &remark);
    journal.close().await?;
    Ok(())
}

fn waits(sample: &mut Durations) -> String {
    let (median, p99, most) = (sample.quantile_ms(0.5), sample.quantile_ms(0.99), sample.quantile_ms(1.0));
    format!("waits: median {median:.2}, p99 {p99:.2}, longest {most:.1} ms")
}

/// Entries a second into a plain file, one fsync after each batch.
fn reference(path: &Path, entries: u64, batch_bytes: usize) -> anyhow::Result<f64> {
    let mut file = File::create(path)?;
    let block = vec![0x5a; batch_bytes];
    let start = Instant::now();
    for _ in 0..entries.div_ceil(BATCH) {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    Ok(rate(entries, start.elapsed()))
}
