//! Rules and forecasts on one core, beside the least that anything could do with the same bytes: decode an entry, find
//! its device and keep the latest value of each channel.

use std::{
    collections::{BTreeSet, HashMap},
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use model::{Body, ChannelId, Device, DeviceId, Entry, OrgId, Sample, SiteId, Timestamp, Value};
use predict::{Predictor, novelty::Scorer};
use rules::{Engine, Ruleset};

use crate::{
    lifts::{self, Lifts, Loaded},
    report::{line, rate},
};

/// How many entries a measurement takes unless told otherwise.
pub const ENTRIES: u64 = 200_000;

/// How often each is measured; the best counts, as others use the machine, too.
const ROUNDS: u32 = 3;

struct Fed {
    lifts: Lifts,
    /// The entries as the journal holds them.
    encoded: Vec<Vec<u8>>,
}

impl Fed {
    fn new(devices: usize, entries: u64) -> anyhow::Result<Self> {
        let nobody = uuid::Uuid::nil();
        let lifts = Lifts::new(devices, usize::try_from(entries)?, OrgId(nobody), SiteId(nobody))?;
        let encoded = lifts.entries.iter().map(postcard::to_stdvec).collect::<Result<_, _>>()?;
        Ok(Self { lifts, encoded })
    }

    /// Hands on every entry that is decoded already.
    fn each_decoded(&self, mut take: impl FnMut(&Device, &Entry)) -> Duration {
        let start = Instant::now();
        for entry in &self.lifts.entries {
            if let Some((device, _)) = entry.device.as_ref().and_then(|device| self.lifts.directory.find(device)) {
                take(device, entry);
            }
        }
        start.elapsed()
    }

    /// Decodes every entry and hands it on.
    fn each(&self, mut take: impl FnMut(&Device, &Entry)) -> anyhow::Result<Duration> {
        let start = Instant::now();
        for bytes in &self.encoded {
            let entry: Entry = postcard::from_bytes(bytes)?;
            if let Some((device, _)) = entry.device.as_ref().and_then(|device| self.lifts.directory.find(device)) {
                take(device, &entry);
            }
        }
        Ok(start.elapsed())
    }

    /// The reference: decode, look the device up, keep the latest values.
    fn reference(&self) -> anyhow::Result<Duration> {
        let mut latest: HashMap<DeviceId, HashMap<ChannelId, Value>> = HashMap::new();
        let span = self.each(|device, entry| {
            let values = match &entry.body {
                Body::Sample(sample) => &sample.values,
                Body::Event(event) => &event.values,
                Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => return,
            };
            let known = latest.entry(device.id.clone()).or_default();
            for (channel, value) in values {
                known.insert(channel.clone(), value.clone());
            }
        })?;
        black_box(latest);
        Ok(span)
    }

    fn speed(&self, what: &str, span: Duration) -> f64 {
        let (entries, readings) = (self.encoded.len() as u64, self.lifts.readings);
        let speed = rate(readings, span);
        line(what, &format!("{speed:.0}/s"), &format!("readings; {:.0} entries/s", rate(entries, span)));
        speed
    }
}

/// A new engine that takes entries.
fn fresh(rules: &Arc<Ruleset>) -> impl FnMut(&Device, &Entry) {
    let (mut engine, mut changes) = (Engine::new(), Vec::new());
    engine.load(rules.clone());
    move |device, entry| engine.apply(device, entry, &mut changes)
}

/// Runs the rules of the lift profile on fleets of two sizes.
pub fn rules(entries: u64) -> anyhow::Result<()> {
    ensure!(entries >= 20_000, "--entries must be at least 20000");
    let loaded = lifts::profile()?;
    println!("rules: {entries} entries of lifts, {} rules, one core", loaded.profile.rules.len());
    for devices in [1_000, 10_000] {
        let fed = Fed::new(devices, entries)?;
        let before = resident();
        let (mut engine, mut changes) = (Engine::new(), Vec::new());
        engine.load(loaded.rules.clone());
        let mut with_rules = fed.each(|device, entry| engine.apply(device, entry, &mut changes))?;
        let memory = resident().saturating_sub(before) / devices as u64;
        let mut reference = fed.reference()?;
        let mut alone = Duration::MAX;
        for _ in 1..ROUNDS {
            with_rules = with_rules.min(fed.each(fresh(&loaded.rules))?);
            reference = reference.min(fed.reference()?);
            alone = alone.min(fed.each_decoded(fresh(&loaded.rules)));
        }
        let reference = fed.speed(&format!("{devices} devices: reference"), reference);
        let speed = fed.speed(&format!("{devices} devices: rules"), with_rules);
        line(
            "  ratio to the reference",
            &format!("{:.2}", speed / reference),
            &format!("{} alert changes", changes.len()),
        );
        fed.speed("  rules alone, entries decoded before", alone);
        let start = Instant::now();
        let snapshot = engine.snapshot();
        let took = start.elapsed();
        line(
            "  state per device",
            &format!("{} B", snapshot.len() / devices),
            &format!("saved; about {memory} B in memory"),
        );
        line(
            "  saving the state",
            &format!("{:.1} ms", took.as_secs_f64() * 1e3),
            &format!("{} kB", snapshot.len() >> 10),
        );
        let mut again = Engine::new();
        again.load(loaded.rules.clone());
        let start = Instant::now();
        again.restore(&snapshot)?;
        line("  loading the state", &format!("{:.1} ms", start.elapsed().as_secs_f64() * 1e3), "");
        ensure!(again.devices() == engine.devices(), "the state came back with other devices");
    }
    Ok(())
}

/// Runs the detectors and forecasts of the lift profile.
pub fn predict(entries: u64) -> anyhow::Result<()> {
    ensure!(entries >= 20_000, "--entries must be at least 20000");
    let loaded = lifts::profile()?;
    let finders = loaded.profile.detectors.len() + loaded.profile.forecasts.len();
    println!("predict: {entries} entries of lifts, {finders} detectors and forecasts, one core");
    let fed = Fed::new(1_000, entries)?;
    let (mut reference, mut span) = (Duration::MAX, Duration::MAX);
    let (mut predictor, mut changes) = (Predictor::new(), Vec::new());
    for _ in 0..ROUNDS {
        (predictor, changes) = (Predictor::new(), Vec::new());
        predictor.load(loaded.profile.clone());
        reference = reference.min(fed.reference()?);
        span = span.min(fed.each(|device, entry| predictor.apply(device, entry, &mut changes))?);
    }
    let reference = fed.speed("1000 devices: reference", reference);
    let speed = fed.speed("1000 devices: predict", span);
    let seen = predictor.counts().seen;
    let remark = format!("{:.0} watched values/s, {} alert changes", rate(seen, span), changes.len());
    line("  ratio to the reference", &format!("{:.2}", speed / reference), &remark);
    let start = Instant::now();
    let snapshot = predictor.snapshot();
    let took = start.elapsed();
    line("  state per device", &format!("{} B", snapshot.len() / 1_000), "saved");
    line("  saving the state", &format!("{:.1} ms", took.as_secs_f64() * 1e3), &format!("{} kB", snapshot.len() >> 10));
    detectors(&loaded, usize::try_from(entries)?);
    Ok(())
}

/// Runs the detectors alone, on values that are decoded already: the shipped detectors of the live path, and the score
/// of `liftline detect` on rows of several channels.
fn detectors(loaded: &Loaded, entries: usize) {
    let mut profile = (*loaded.profile).clone();
    profile.forecasts.clear();
    let profile = Arc::new(profile);
    let watched: BTreeSet<ChannelId> = profile.detectors.iter().map(|detector| detector.channel.clone()).collect();
    let device = Device {
        id: DeviceId::new("bench-1").expect("a valid name"),
        org: OrgId(uuid::Uuid::nil()),
        site: SiteId(uuid::Uuid::nil()),
        profile: profile.id.clone(),
        name: "bench".to_owned(),
        plate: None,
    };
    let value = |n: usize, channel: usize| 20.0 + ((n * 7919 + channel * 131) % 1009) as f64 / 500.0;
    let fed: Vec<Entry> = (0..entries)
        .map(|n| {
            let time = Timestamp::from_secs(1_767_225_600 + 60 * n as i64);
            let values = watched.iter().enumerate().map(|(c, id)| (id.clone(), Value::Number(value(n, c)))).collect();
            Entry { device: None, received_at: time, body: Body::Sample(Sample { time, seq: None, values }) }
        })
        .collect();
    let (mut live, mut score) = (Duration::MAX, Duration::MAX);
    let channels = 8;
    for _ in 0..ROUNDS {
        let (mut predictor, mut changes) = (Predictor::new(), Vec::new());
        predictor.load(Arc::clone(&profile));
        let start = Instant::now();
        fed.iter().for_each(|entry| predictor.apply(&device, entry, &mut changes));
        live = live.min(start.elapsed());
        let mut scorer = Scorer::new(channels);
        let start = Instant::now();
        for n in 0..entries {
            black_box(scorer.take(n as i64 * 60_000_000, (0..channels).map(|channel| Some(value(n, channel)))));
        }
        score = score.min(start.elapsed());
    }
    let speed = rate((entries * watched.len()) as u64, live);
    line("detectors of the lift profile alone", &format!("{speed:.0}/s"), "readings, decoded before");
    let speed = rate((entries * channels) as u64, score);
    line("anomaly score of every row alone", &format!("{speed:.0}/s"), "readings, rows of 8 channels");
}

/// The process's memory in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
