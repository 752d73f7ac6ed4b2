//! Failure models of a large fleet: a hub's store with so many units and days of history, made up, then `liftline train` on
//! it as the nightly pass trains, with its time and the most memory it took.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use model::{ChannelId, Device, DeviceId, Event, Profile, Timestamp};
use predict::learn::Random;
use store::{AuditActor, ChannelDay, DeskSettings, NewSite, RecordedEvent, RecorderBatch, Store, StoreConfig};

use crate::{
    ingest::{servers::binary, usage},
    report::line,
};

/// Events a transaction.
const BATCH: usize = 20_000;
/// Daily means a transaction.
const MEANS: usize = 40_000;
/// Units of a site.
const SITE: usize = 20;
/// How often a unit fails a day on average: about what the public log of lifts shows.
const FAILURES_A_DAY: f64 = 0.03;
const DAY: i64 = 86_400;

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// How many units.
    #[arg(long, default_value_t = 10_000)]
    units: usize,
    /// How many days of history.
    #[arg(long, default_value_t = 400)]
    days: i64,
    /// How many channels with daily means; the lift profile names seven.
    #[arg(long, default_value_t = 7)]
    channels: usize,
}

/// Fills a store, trains, and prints.
///
/// # Errors
/// If the store cannot be filled, or the training fails.
pub fn run(dir: &Path, options: &Options) -> anyhow::Result<()> {
    let Options { units, days, channels } = *options;
    println!("fleet: failure models of {units} units with {days} days of history and {channels} channels, one core");
    let folder = tempfile::Builder::new().prefix("liftline-bench-").tempdir_in(dir)?;
    let profile = profile(channels);
    std::fs::write(folder.path().join("fan.toml"), &profile)?;
    std::fs::write(
        folder.path().join("liftline.toml"),
        "[hub]\ndata_dir = \"data\"\nprofiles = [\"fan.toml\"]\n[store]\nurl = \"sqlite:store.db\"\n",
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let begun = Instant::now();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    let profile = Profile::parse(Path::new("fan.toml"), &profile)?;
    let failures = runtime.block_on(fill(&url, &profile, options))?;
    line("filled", &format!("{:.0} s", begun.elapsed().as_secs_f64()), &format!("{failures} failures"));

    let begun = Instant::now();
    let until = at(days, 2 * 3_600).to_string();
    let mut train = Command::new(binary()?);
    train.args(["train", "--profile", "fan", "--until", &until, "--no-promote"]).current_dir(folder.path());
    let mut child = train.stdout(Stdio::piped()).spawn().context("starting liftline train")?;
    let mut most = 0;
    let status = loop {
        // It may end while we look.
        most = most.max(usage::peak_memory_bytes(child.id()).unwrap_or(0));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    let took = begun.elapsed();
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut said)?;
    }
    ensure!(status.success(), "liftline train failed:\n{said}");
    line("trained both horizons", &format!("{:.0} s", took.as_secs_f64()), "loading and features included");
    line("most memory", &usage::mib(most), "resident");
    println!("{said}");
    Ok(())
}

fn at(day: i64, second: i64) -> Timestamp {
    Timestamp::from_secs(1_700_006_400 + day * DAY + second)
}

fn unit(n: usize) -> anyhow::Result<DeviceId> {
    Ok(DeviceId::new(&format!("fan-{n:05}"))?)
}

fn profile(channels: usize) -> String {
    let mut text = "[profile]\nid = \"fan\"\nname = { en = \"Fan\", zh = \"风机\" }\nversion = 1\n".to_owned();
    for n in 0..channels {
        writeln!(
            text,
            "[[channels]]\nid = \"c{n}\"\nname = {{ en = \"c{n}\", zh = \"c{n}\" }}\ntype = \"number\"\nunit = \"Cel\"\nrange = [0.0, 90.0]"
        )
        .unwrap_or_default();
    }
    for code in ["trip", "reset"] {
        writeln!(text, "[[events]]\ncode = \"{code}\"\nname = {{ en = \"{code}\", zh = \"{code}\" }}")
            .unwrap_or_default();
    }
    let names: Vec<String> = (0..channels).map(|n| format!("\"c{n}\"")).collect();
    writeln!(
        text,
        "[failures]\nevents = [\"trip\"]\nends = [\"reset\"]\nchannels = [{}]\nhorizons = [\"1d\", \"7d\"]\nmiss_cost = 3.0\nvisit_cost = 1.0",
        names.join(", ")
    )
    .unwrap_or_default();
    text
}

/// Units that fail at rates of their own, more often while their first channel has risen.
async fn fill(url: &str, profile: &Profile, options: &Options) -> anyhow::Result<usize> {
    let Options { units, days, channels } = *options;
    let config = StoreConfig { url: url.to_owned(), ..StoreConfig::default() };
    let desk = DeskSettings { policies: desk::Policies::default(), public_url: "https://bench.example.org".to_owned() };
    let store = Store::open(&config, desk).await?;
    store.ensure_profile(profile).await?;
    let org = store.create_org("Bench", at(-1, 0)).await?.id;
    let mut devices = Vec::with_capacity(units);
    let mut place = None;
    for n in 0..units {
        if n % SITE == 0 {
            let name = format!("Site {}", n / SITE);
            let new = NewSite { org, name, address: String::new(), time_zone: "UTC".to_owned() };
            place = Some(store.create_site(&new, at(-1, 0)).await?.id);
        }
        let site = place.context("a unit without a site")?;
        let name = format!("Fan {n}");
        devices.push((Device { id: unit(n)?, org, site, profile: profile.id.clone(), name, plate: None }, None));
    }
    store.upsert_devices(&devices, &AuditActor::CommandLine, at(-1, 0)).await?;
    let mut random = Random::new(1);
    let (mut failures, mut events) = (0, Vec::with_capacity(BATCH + 2));
    let mut means: Vec<Vec<ChannelDay>> = vec![Vec::with_capacity(MEANS + 1_000); channels];
    // Unit after unit, in the order of the table.
    for n in 0..units {
        let (device, rate, mut worn) = (unit(n)?, FAILURES_A_DAY * 4.0 * random.unit().powi(3), 0);
        for day in 0..days {
            worn = if random.unit() < 0.01 { 10 } else { (worn - 1).max(0) };
            for (channel, means) in means.iter_mut().enumerate() {
                let mean = 40.0 + random.unit() * 4.0 + if worn > 0 && channel == 0 { 12.0 } else { 0.0 };
                means.push(ChannelDay { device: device.clone(), ended_at: at(day, 2 * 3_600), mean });
            }
            if random.unit() < rate * if worn > 0 { 5.0 } else { 1.0 } {
                failures += 1;
                let second = 30_000 + random.below(40_000) as i64;
                for (code, second) in [("trip", second), ("reset", second + 5_000)] {
                    let time = at(day, second);
                    let event = Event { time, code: code.to_owned(), seq: None, values: Vec::new() };
                    events.push(RecordedEvent { device: device.clone(), event, received_at: time });
                }
            }
        }
        let last = n + 1 == units;
        if last || means.first().is_some_and(|means| means.len() >= MEANS) {
            for (channel, means) in means.iter_mut().enumerate() {
                store.keep_channel_days(&ChannelId::new(&format!("c{channel}"))?, means).await?;
                means.clear();
            }
        }
        if last || events.len() >= BATCH {
            let events = std::mem::take(&mut events);
            store.record(&RecorderBatch { events, ..RecorderBatch::default() }, at(days, 0)).await?;
        }
    }
    store.close().await;
    Ok(failures)
}
