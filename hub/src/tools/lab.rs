//! `liftline backtest --protocol sim`: the shipped lift profile on simulated failures, mode by mode. Rules that watch a
//! limit are judged beside detectors and forecasts, on the same data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use firmware_sim::{
    lab::{EVERY, Lab, Mode, Ranges, Unit},
    wire::Report,
};
use model::{
    AlertChange, AlertSource, Body, ChannelId, Device, DeviceId, Entry, Event, OrgId, Profile, ProfileId, Sample,
    SiteId, Timestamp, profile::DetectorMethod,
};
use predict::{
    Predictor,
    judge::modes::{Life, ModesScore},
};
use rules::Engine;

use crate::config::LoadedProfile;

/// The profile that is judged.
const PROFILE: &str = "lift";
/// When every life begins.
const START: &str = "2025-03-03T00:00:00Z";

/// Options of the protocol `sim`.
#[derive(Debug, Clone, Args)]
pub struct LabOptions {
    /// Seed of the simulated lives. Seeds 1, 1001, 2001 and 3001 were looked at while the profile was tuned.
    #[arg(long, default_value_t = 4001)]
    pub lab_seed: u64,
    /// From which ranges onsets, speeds, noise, seasons and traffic are drawn.
    #[arg(long, value_enum, default_value_t = LabRanges::HeldOut)]
    pub lab_ranges: LabRanges,
    /// Lifts that fail, for each mode.
    #[arg(long, default_value_t = 30)]
    pub lab_failing: u32,
    /// Lifts that stay healthy.
    #[arg(long, default_value_t = 60)]
    pub lab_healthy: u32,
}

/// Named ranges of the laboratory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabRanges {
    /// What detectors may be tuned on.
    Development,
    /// What they are judged on.
    HeldOut,
}

/// Runs the laboratory and prints the scores.
///
/// # Errors
/// If the lift profile is not among `profiles`.
pub fn run(profiles: &[LoadedProfile], options: &LabOptions) -> anyhow::Result<()> {
    let loaded = lift(profiles)?;
    let ranges = match options.lab_ranges {
        LabRanges::Development => Ranges::DEVELOPMENT,
        LabRanges::HeldOut => Ranges::HELD_OUT,
    };
    let lab = Lab {
        seed: options.lab_seed,
        ranges,
        failing: options.lab_failing,
        healthy: options.lab_healthy,
        start: START.parse()?,
    };
    let (mut warnings, mut limits) = (ModesScore::default(), ModesScore::default());
    for unit in lab.units() {
        let mode = unit.fate.course.as_ref().map(|course| course.mode);
        let (life, alerts) = live(loaded, unit)?;
        let of = |keep: &dyn Fn(AlertSource) -> bool| {
            let kept = alerts.iter().filter(|found| keep(found.source));
            kept.map(|found| {
                (found.at, found.rule.as_str(), mode.is_some_and(|mode| found.fits(mode, &loaded.profile)))
            })
            .collect::<Vec<_>>()
        };
        let found = |source| matches!(source, AlertSource::Detector | AlertSource::Forecast);
        warnings.add(&life, of(&found));
        limits.add(&life, of(&|source| !found(source)));
    }
    println!(
        "Simulated lifts, seed {}, {:?} ranges; {} failing a mode, {} healthy, {:.0} healthy days",
        lab.seed, options.lab_ranges, lab.failing, lab.healthy, warnings.healthy_days
    );
    println!("detectors and forecasts\n{warnings}\nrules on the same data\n{limits}");
    for (mode, score) in &warnings.modes {
        let rules = limits.modes.get(mode).cloned().unwrap_or_default();
        println!("recall_{mode}: {:.3}", score.recall());
        println!("median_lead_days_{mode}: {}", days(score.median_lead_h()));
        println!("rules_recall_{mode}: {:.3}", rules.recall());
        println!("rules_median_lead_days_{mode}: {}", days(rules.median_lead_h()));
    }
    println!("recall: {:.3}", warnings.recall());
    println!("rules_recall: {:.3}", limits.recall());
    println!("false_alarms_per_lift_month: {:.4}", warnings.false_alarms_per_month());
    println!("rules_false_alarms_per_lift_month: {:.4}", limits.false_alarms_per_month());
    Ok(())
}

/// Hours as days; `-` where nothing was found.
fn days(hours: Option<f64>) -> String {
    hours.map_or_else(|| "-".to_owned(), |hours| format!("{:.2}", hours / 24.0))
}

/// An alert that was raised.
struct Found {
    at: Timestamp,
    rule: String,
    source: AlertSource,
}

impl Found {
    /// True if it speaks of something in which the mode shows.
    fn fits(&self, mode: Mode, profile: &Profile) -> bool {
        let shows = |channel: &ChannelId| mode.channels().contains(&channel.as_str());
        if let Some(detector) = profile.detectors.iter().find(|detector| detector.id.as_str() == self.rule) {
            let beside = match &detector.method {
                DetectorMethod::Shift { .. } => None,
                DetectorMethod::Novelty { beside, .. } => beside.as_ref(),
            };
            return shows(&detector.channel) || beside.is_some_and(shows);
        }
        match profile.forecasts.iter().find(|forecast| forecast.id.as_str() == self.rule) {
            Some(forecast) => shows(&forecast.channel),
            None => mode.rules().contains(&self.rule.as_str()),
        }
    }
}

/// The profile whose rules are judged.
///
/// # Errors
/// If it is not among `profiles`.
pub(super) fn lift(profiles: &[LoadedProfile]) -> anyhow::Result<&LoadedProfile> {
    profiles
        .iter()
        .find(|loaded| loaded.profile.id.as_str() == PROFILE)
        .with_context(|| format!("there is no profile \"{PROFILE}\""))
}

/// A device of nobody's, as far as engines ask.
pub(super) fn device(id: DeviceId, profile: &ProfileId) -> Device {
    Device {
        name: id.to_string(),
        id,
        org: OrgId(uuid::Uuid::nil()),
        site: SiteId(uuid::Uuid::nil()),
        profile: profile.clone(),
        plate: None,
    }
}

/// One life through fresh engines: what happened, and every alert that was raised.
fn live(loaded: &LoadedProfile, unit: Unit) -> anyhow::Result<(Life, Vec<Found>)> {
    let device = device(DeviceId::new(&unit.name)?, &loaded.profile.id);
    let failure = unit.failure();
    let mode = unit.fate.course.as_ref().map(|course| course.mode.name().to_owned());
    let (mut engine, mut predictor, mut changes) = (Engine::new(), Predictor::new(), Vec::new());
    engine.load(Arc::clone(&loaded.rules));
    predictor.load(Arc::clone(&loaded.profile));
    let (mut from, mut to) = (None, START.parse::<Timestamp>()?);
    let mut found = Vec::new();
    let mut names = BTreeMap::new();
    // Rules that no mode speaks to are not judged: half an hour between reports is silence to the one on silence.
    let judged: BTreeSet<&str> = Mode::ALL.into_iter().flat_map(Mode::rules).copied().collect();
    for report in unit {
        let entry = entry(&device, report, &mut names)?;
        let Some(entry) = entry else { continue };
        to = entry.received_at;
        from.get_or_insert(to);
        engine.apply(&device, &entry, &mut changes);
        predictor.apply(&device, &entry, &mut changes);
        found.extend(changes.drain(..).filter_map(|change| match change {
            AlertChange::Raised(alert)
                if alert.source == AlertSource::Rule && !judged.contains(alert.rule.as_str()) =>
            {
                None
            }
            AlertChange::Raised(alert) => {
                Some(Found { at: alert.raised_at, rule: alert.rule.to_string(), source: alert.source })
            }
            AlertChange::Changed(_) | AlertChange::Cleared(_) => None,
        }));
    }
    let life = Life {
        from: from.unwrap_or(to),
        to: failure.map_or(to + EVERY, |(_, fails)| fails),
        failure: failure.and_then(|(began, _)| mode.map(|mode| (mode, began))),
    };
    Ok((life, found))
}

/// A report as the journal would bring it; `None` for what no rule looks at. `names` keeps channel ids.
///
/// # Errors
/// If the report names something that cannot be a channel.
pub(super) fn entry(
    device: &Device,
    report: Report,
    names: &mut BTreeMap<String, ChannelId>,
) -> anyhow::Result<Option<Entry>> {
    let (time, body) = match report {
        Report::Telemetry { time, values } => {
            let mut named = Vec::with_capacity(values.len());
            for (name, value) in values {
                let id = match names.get(name.as_ref()) {
                    Some(id) => id.clone(),
                    None => names.entry(name.to_string()).or_insert(ChannelId::new(name.as_ref())?).clone(),
                };
                named.push((id, value));
            }
            (time, Body::Sample(Sample { time, seq: None, values: named }))
        }
        Report::Event { time, code, .. } => {
            (time, Body::Event(Event { time, code: code.to_string(), seq: None, values: Vec::new() }))
        }
        Report::CommandResult { .. } => return Ok(None),
    };
    Ok(Some(Entry { device: Some(device.id.clone()), received_at: time, body }))
}
