//! `liftline backtest --protocol quiet`: healthy lifts in their daily traffic through the shipped rules. Every alert is a
//! false one.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::anyhow;
use clap::Args;
use firmware_sim::{Scenario, lift::Output};
use model::{AlertChange, Device, Directory, Timestamp};
use rules::{Engine, Ruleset};

use crate::{config::LoadedProfile, tools::lab};

/// A Monday.
const START: &str = "2025-03-03T00:00:00Z";
/// Days of a month, for rates.
const MONTH: f64 = 30.0;

/// Options of the protocol `quiet`.
#[derive(Debug, Clone, Copy, Args)]
pub struct QuietOptions {
    /// How many healthy lifts.
    #[arg(long, default_value_t = 200)]
    pub quiet_lifts: u32,
    /// For how many days.
    #[arg(long, default_value_t = 30)]
    pub quiet_days: u32,
    /// Seed of their traffic.
    #[arg(long, default_value_t = 5001)]
    pub quiet_seed: u64,
}

/// What was raised.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Raised {
    /// How many reports the lifts sent.
    pub reports: u64,
    /// Alerts by rule, and whether the rule is one for life safety.
    pub alerts: BTreeMap<(bool, String), u64>,
}

/// Runs the lifts and prints what was raised.
///
/// # Errors
/// If the lift profile is not among `profiles`.
pub fn run(profiles: &[LoadedProfile], options: &QuietOptions) -> anyhow::Result<()> {
    let raised = judge(profiles, options)?;
    let months = f64::from(options.quiet_lifts) * f64::from(options.quiet_days) / MONTH;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let rate = |count: u64| count as f64 / months;
    println!(
        "{} healthy lifts for {} days, seed {}: {} reports",
        options.quiet_lifts, options.quiet_days, options.quiet_seed, raised.reports
    );
    let (mut all, mut life_safety) = (0, 0);
    for ((dangerous, rule), count) in &raised.alerts {
        println!(
            "  {rule:<28} {count:>6}   {:.4} a lift-month{}",
            rate(*count),
            if *dangerous { ", life safety" } else { "" }
        );
        all += count;
        life_safety += if *dangerous { *count } else { 0 };
    }
    println!("false_alarms: {all}");
    println!("false_alarms_per_lift_month: {:.4}", rate(all));
    println!("life_safety_false_alarms: {life_safety}");
    println!("life_safety_false_alarms_per_lift_month: {:.4}", rate(life_safety));
    Ok(())
}

/// Runs the lifts on every processor.
///
/// # Errors
/// As [`run`].
pub fn judge(profiles: &[LoadedProfile], options: &QuietOptions) -> anyhow::Result<Raised> {
    let loaded = lab::lift(profiles)?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let all = Mutex::new(Raised::default());
    let start: Timestamp = START.parse()?;
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                let all = &all;
                scope.spawn(move || {
                    // A building at a time: a worker holds no more lifts than that.
                    for building in (0..options.quiet_lifts.div_ceil(LIFTS_A_BUILDING)).skip(worker).step_by(workers) {
                        let found = live(&loaded.rules, &scenario(options, building)?, start, options.quiet_days)?;
                        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                        all.reports += found.reports;
                        for (rule, count) in found.alerts {
                            *all.alerts.entry(rule).or_default() += count;
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        running.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

const LIFTS_A_BUILDING: u32 = 5;

/// A building of five lifts: offices and homes of three heights, by turns.
fn scenario(options: &QuietOptions, building: u32) -> anyhow::Result<Scenario> {
    let lifts = LIFTS_A_BUILDING.min(options.quiet_lifts - building * LIFTS_A_BUILDING);
    let (kind, calls) = if building.is_multiple_of(2) { ("office", 700) } else { ("residential", 220) };
    let floors = [6, 14, 28][building as usize % 3];
    let text = format!(
        "[scenario]\nname = \"quiet\"\nabout = \"Healthy lifts.\"\nseed = {}\n\n[[sites]]\nname = \"Building {building}\"\n\
         ids = \"b{building}\"\nlifts = {lifts}\nplates_from = 100001\nfloors = {floors}\nbuilding = \"{kind}\"\ncalls_per_day = {calls}\n",
        options.quiet_seed + u64::from(building)
    );
    Ok(Scenario::parse(Path::new("quiet.toml"), &text)?)
}

fn live(rules: &Arc<Ruleset>, scenario: &Scenario, start: Timestamp, days: u32) -> anyhow::Result<Raised> {
    let mut raised = Raised::default();
    let mut changes = Vec::new();
    let mut under_watch: Option<(Device, Directory, Engine)> = None;
    let mut failure = None;
    let mut names = BTreeMap::new();
    scenario.rehearse(start, Duration::from_hours(24) * days, |id, output| {
        let Output::Report(report) = output else { return };
        if under_watch.as_ref().is_none_or(|(device, ..)| device.id != *id) {
            let device = lab::device(id.clone(), rules.profile());
            let mut directory = Directory::default();
            directory.devices.insert(id.clone(), Arc::new(device.clone()));
            let mut engine = Engine::new();
            engine.load(Arc::clone(rules));
            under_watch = Some((device, directory, engine));
        }
        let Some((device, directory, engine)) = &mut under_watch else { return };
        match lab::entry(device, report, &mut names) {
            Ok(Some(entry)) => {
                engine.advance(entry.received_at - Duration::from_micros(1), directory, &mut changes);
                engine.apply(device, &entry, &mut changes);
                raised.reports += 1;
            }
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
        for change in changes.drain(..) {
            if let AlertChange::Raised(alert) = change {
                *raised.alerts.entry((alert.life_safety, alert.rule.to_string())).or_default() += 1;
            }
        }
    });
    failure.map_or(Ok(raised), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The whole figure is in docs/noise.md; this is a part of it, for every change.
    #[test]
    fn healthy_lifts_trap_nobody() {
        let options = QuietOptions { quiet_lifts: 10, quiet_days: 1, quiet_seed: 1 };
        let raised = judge(&Config::profiles(&[]).unwrap(), &options).unwrap();
        assert!(raised.reports > 100_000, "{raised:?}");
        assert!(raised.alerts.keys().all(|(life_safety, _)| !life_safety), "{raised:?}");
    }
}
