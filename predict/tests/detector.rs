//! What raises, ends and does not disturb a detector, on a channel that reports every ten minutes.

mod support;

use model::{AlertChange, Entry, Timestamp};
use predict::Predictor;
use support::{device, profile, sample};

const CHANNEL: &str = "bearing_vibration_g";
const START: i64 = 1_767_225_600;

/// Runs values through the water pump's detector, one each ten minutes, and says what happened at which value.
fn check(values: impl IntoIterator<Item = f64>, expected: &[&str]) {
    check_at(values.into_iter().enumerate().map(|(n, value)| (600 * n as i64, value)), expected);
}

fn check_at(values: impl IntoIterator<Item = (i64, f64)>, expected: &[&str]) {
    let found: Vec<_> = run(values).iter().map(|(n, text)| format!("{n} {text}")).collect();
    assert_eq!(found, expected);
}

fn run(values: impl IntoIterator<Item = (i64, f64)>) -> Vec<(usize, String)> {
    let mut profile = (*profile("water_pump")).clone();
    profile.forecasts.clear();
    let profile = std::sync::Arc::new(profile);
    let pump = device("pump-1", &profile);
    let mut predictor = Predictor::new();
    predictor.load(profile);
    let mut found = Vec::new();
    for (n, (seconds, value)) in values.into_iter().enumerate() {
        let entry: Entry = sample(&pump, CHANNEL, Timestamp::from_secs(START + seconds), value);
        let mut out = Vec::new();
        predictor.apply(&pump, &entry, &mut out);
        for change in out {
            match change {
                AlertChange::Raised(alert) => {
                    assert!(!alert.evidence.summary.zh.is_empty());
                    found.push((n, "raised".to_owned()));
                }
                AlertChange::Changed(_) => {}
                AlertChange::Cleared(alert) => {
                    let summary = &alert.evidence.summary.en;
                    let why = if summary.contains("two weeks") { "accepted" } else { "cleared" };
                    found.push((n, why.to_owned()));
                }
            }
        }
    }
    found
}

/// A day's cycle with a little noise around `level`; the same every time.
fn healthy(n: usize, level: f64) -> f64 {
    let wobble = ((n * 7919) % 101) as f64 / 101.0 - 0.5;
    level * (1.0 + 0.01 * wobble + 0.01 * (n as f64 * std::f64::consts::TAU / 144.0).sin())
}

#[test]
fn a_lasting_shift_is_raised_and_its_return_cleared() {
    let level = |n: usize| if (500..700).contains(&n) { 3.0 } else { 2.0 };
    check((0..1000).map(|n| healthy(n, level(n))), &["506 raised", "708 cleared"]);
}

#[test]
fn single_outliers_and_rubbish_do_not_matter() {
    check((0..1000).map(|n| if n % 50 == 49 { 1e9 } else { healthy(n, 2.0) }), &[]);
    check((0..1000).map(|n| if n % 97 < 2 { 99.0 } else { healthy(n, 2.0) }), &[]);
    let rubbish = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
    check((0..1000).map(|n| if n % 3 == 0 { rubbish[n % 4] } else { healthy(n, 2.0) }), &[]);
}

#[test]
fn constant_channels_do_not_divide_by_zero() {
    check((0..1000).map(|_| 0.0), &[]);
    check((0..1000).map(|_| 45.0), &[]);
    check((0..1000).map(|n| if n == 600 { 46.0 } else { 45.0 }), &[]);
    check((0..700).map(|n| if n >= 600 { 60.0 } else { 45.0 }), &["606 raised"]);
}

#[test]
fn gaps_do_not_matter() {
    let month = 30 * 86_400;
    check_at((0..1000).map(|n| (600 * n as i64 + if n > 500 { month } else { 0 }, healthy(n, 2.0))), &[]);
}

#[test]
fn a_daily_cycle_is_learnt_before_anything_may_fire() {
    // Half of each day at three times the level: the first half day must not become the measure of the second.
    check((0..2000).map(|n| if n % 144 < 72 { 1.0 } else { 3.0 }), &[]);
}

#[test]
fn a_level_that_lasts_two_weeks_is_accepted() {
    // 14 days are 2016 values. After it, the new level is the measure: a return is a departure.
    let level = |n: usize| if (500..3000).contains(&n) { 3.0 } else { 2.0 };
    let found = run((0..3100).map(|n| (600 * n as i64, healthy(n, level(n)))));
    let what: Vec<_> = found.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(what, ["raised", "accepted", "raised"]);
    assert!((2500..2600).contains(&found[1].0), "{found:?}");
}

#[test]
fn a_fault_does_not_become_normal_while_it_grows() {
    // Grows by 0.5 % of the level an hour from value 1000 on and is found although the baseline adapts.
    let found = run((0..3000).map(|n| (600 * n as i64, healthy(n, 2.0 + (n.saturating_sub(1000)) as f64 / 600.0))));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!((1000..1400).contains(&found[0].0), "{found:?}");
}
