//! Simulated doors: wear is foreseen days ahead, health is left alone.

mod support;

use model::{AlertChange, AlertSource, Timestamp};
use predict::Predictor;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use support::{device, profile, sample};

const CHANNEL: &str = "door_close_time_s";
const START: i64 = 1_767_225_600;

/// Normal noise, by twelve uniform numbers.
fn noise(dice: &mut ChaCha8Rng, sigma: f64) -> f64 {
    sigma * ((0..12).map(|_| dice.random::<f64>()).sum::<f64>() - 6.0)
}

/// Closing times every 15 min: 3.2 s, slower by up to 0.25 s in the colder half of the day, correlated noise.
fn series(seed: u64, days: i64, wear_s: impl Fn(f64) -> f64) -> impl Iterator<Item = (Timestamp, f64)> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut drift = 0.0;
    let phase: f64 = dice.random::<f64>() * 24.0;
    (0..days * 96).map(move |n| {
        let day = n as f64 / 96.0;
        let hour = (day * 24.0 + phase) % 24.0;
        let season =
            0.25 * (std::f64::consts::TAU * hour / 24.0).sin() + if (7.0..10.0).contains(&hour) { 0.1 } else { 0.0 };
        drift = 0.9 * drift + noise(&mut dice, 0.05);
        (Timestamp::from_secs(START + n * 900), 3.2 + season + drift + noise(&mut dice, 0.13) + wear_s(day))
    })
}

fn changes(seed: u64, days: i64, wear_s: impl Fn(f64) -> f64) -> Vec<AlertChange> {
    let profile = profile("lift");
    let lift = device("lift-1", &profile);
    let mut predictor = Predictor::new();
    predictor.load(profile);
    let mut out = Vec::new();
    for (at, value) in series(seed, days, wear_s) {
        predictor.apply(&lift, &sample(&lift, CHANNEL, at, value), &mut out);
    }
    out
}

fn day(at: Timestamp) -> f64 {
    at.seconds_after(Timestamp::from_secs(START)) / 86_400.0
}

fn forecasts(changes: Vec<AlertChange>) -> Vec<AlertChange> {
    changes.into_iter().filter(|change| change.alert().source == AlertSource::Forecast).collect()
}

#[test]
fn ninety_healthy_days_of_fifty_lifts_give_no_forecast_and_few_alerts() {
    let all: Vec<AlertChange> = (0..50).flat_map(|seed| changes(seed, 90, |_| 0.0)).collect();
    let raised = all.iter().filter(|change| matches!(change, AlertChange::Raised(_))).count();
    println!("50 lifts, 90 days each: {raised} alerts");
    assert!(forecasts(all).is_empty());
    // One in ten lift-months.
    assert!(raised <= 15, "{raised}");
}

#[test]
fn worn_doors_are_foreseen_days_ahead_and_a_repair_ends_it() {
    let mut leads = Vec::new();
    let (mut covered, mut off_by) = (0, Vec::new());
    for seed in 0..20 {
        // Worn from day 20 on: 0.2 s a day, so that the trend meets 8 s on day 44. Repaired on day 43.
        let wear = |day: f64| if day < 43.0 { 0.2 * (day - 20.0).max(0.0) } else { 0.0 };
        let out = forecasts(changes(seed, 60, wear));
        let [AlertChange::Raised(raised), AlertChange::Cleared(cleared)] = out.as_slice() else {
            panic!("seed {seed}: {out:#?}")
        };
        assert_eq!(raised.source, AlertSource::Forecast);
        let forecast = raised.evidence.forecast.as_ref().expect("a forecast");
        println!("seed {seed}: day {:.1}: {}", day(raised.raised_at), raised.evidence.summary.en);
        assert!((20.0..42.0).contains(&day(raised.raised_at)));
        assert!(forecast.earliest_at <= forecast.expected_at);
        assert!((43.0..45.0).contains(&day(cleared.cleared_at.expect("an end"))), "seed {seed}: {cleared:#?}");
        assert_eq!(cleared.id, raised.id);
        let latest = forecast.latest_at.map_or(f64::INFINITY, day);
        covered += usize::from(day(forecast.earliest_at) <= 44.0 && 44.0 <= latest);
        off_by.push(day(forecast.expected_at) - 44.0);
        leads.push(44.0 - day(raised.raised_at));
    }
    leads.sort_by(f64::total_cmp);
    println!("lead: least {:.1} d, median {:.1} d", leads[0], leads[10]);
    // At first the window still holds days without wear, so the line is too flat and the date late: the interval's
    // nominal coverage is for a steady drift (tested beside the fit), not for the moment of raising after a bend.
    let late = off_by.iter().sum::<f64>() / off_by.len() as f64;
    println!(
        "true date within the interval at the time of raising: {covered} of 20; expected date late by {late:.1} d in the mean"
    );
    assert!(off_by.iter().all(|days| days.abs() < 3.0), "{off_by:?}");
    assert!(leads[0] > 5.0);
}

#[test]
fn two_weeks_of_hourly_history_are_enough() {
    // What the simulated controllers of the demo keep in their buffer: wear from 0.1 to 0.8, one report an hour.
    let profile = profile("lift");
    let lift = device("lift-1", &profile);
    for seed in 0..20 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut predictor = Predictor::new();
        predictor.load(profile.clone());
        let mut out = Vec::new();
        for n in 0..336 {
            let wear = 0.1 + 0.7 * f64::from(n) / 336.0;
            let value = 3.2 * (1.0 + 1.6 * wear) + noise(&mut dice, 0.128);
            let at = Timestamp::from_secs(START + i64::from(n) * 3600);
            predictor.apply(&lift, &sample(&lift, CHANNEL, at, value), &mut out);
        }
        let out = forecasts(out);
        assert!(matches!(&out[..], [AlertChange::Raised(_)]), "seed {seed}: {out:#?}");
    }
}
