//! The anomaly score on the developer files of the Numenta Anomaly Benchmark, beside a detector whose score is published.

mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use predict::{
    judge::nab::{Judge, Verdict},
    novelty::{self, Scorer},
};
use support::recorded;

struct Series {
    times: Vec<i64>,
    values: Vec<f64>,
    windows: Vec<(usize, usize)>,
}

fn folder() -> Option<PathBuf> {
    recorded("nab/combined_windows.json").and_then(|file| file.parent().map(PathBuf::from))
}

fn seconds(text: &str) -> i64 {
    let time: jiff::civil::DateTime = text.get(..19).expect("a time").parse().expect("a time");
    time.to_zoned(jiff::tz::TimeZone::UTC).expect("in range").timestamp().as_second()
}

fn load(folder: &Path) -> Vec<Series> {
    let windows: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(
        &std::fs::read_to_string(folder.join("combined_windows.json")).expect("the developer files are well formed"),
    )
    .expect("the developer files are well formed");
    windows
        .into_iter()
        .filter_map(|(name, windows)| {
            let mut reader = csv::Reader::from_path(folder.join("data").join(&name)).ok()?;
            let rows: Vec<(i64, f64)> = reader
                .records()
                .map(|row| {
                    let row = row.expect("the developer files are well formed");
                    (seconds(&row[0]), row[1].parse().expect("the developer files are well formed"))
                })
                .collect();
            let (times, values): (Vec<i64>, Vec<f64>) = rows.into_iter().unzip();
            let at = |text: &String| {
                let time = seconds(text);
                times.iter().position(|other| *other == time).expect("a row")
            };
            let windows = windows.iter().map(|[from, to]| (at(from), at(to))).collect();
            Some(Series { times, values, windows })
        })
        .collect()
}

fn scores(series: &Series) -> Vec<f64> {
    let mut scorer = Scorer::new(1);
    series
        .times
        .iter()
        .zip(&series.values)
        .map(|(time, value)| scorer.take(time * 1_000_000, [Some(*value)]).map_or(0.0, |finding| finding.score))
        .collect()
}

fn judge(all: &[Series], score: impl Fn(&Series) -> Vec<f64>, keep: impl Fn(usize) -> bool) -> Judge {
    let mut judge = Judge::default();
    for (n, series) in all.iter().enumerate() {
        if keep(n) {
            judge.add(&score(series), &series.windows);
        }
    }
    judge
}

fn told(what: &str, verdict: &Verdict) {
    println!(
        "{what}: score {:.2} at {:.4}, {} of {} windows, {} false positives of {} rows",
        verdict.score, verdict.threshold, verdict.detected, verdict.windows, verdict.false_positives, verdict.ordinary
    );
}

#[test]
fn the_frozen_configuration_reaches_seventy() {
    let Some(folder) = folder() else { return };
    let all = load(&folder);
    assert_eq!((all.len(), all.iter().map(|series| series.windows.len()).sum::<usize>()), (51, 97));
    let whole = judge(&all, scores, |_| true);
    told("frozen threshold", &whole.at(novelty::ANOMALY));
    told("best threshold", &whole.best());
    let halves = [judge(&all, scores, |n| n % 2 == 0), judge(&all, scores, |n| n % 2 == 1)];
    for (mine, other) in [(0, 1), (1, 0)] {
        let verdict = halves[mine].at(halves[other].best().threshold);
        told("half, threshold of the other", &verdict);
        assert!(verdict.score >= 65.0);
    }
    assert!(whole.at(novelty::ANOMALY).score >= 70.0);
}

/// The complementary error function, to 1.2e-7 of its value (W. H. Press and others, "Numerical Recipes", 6.2).
fn erfc(x: f64) -> f64 {
    const TERMS: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let sum = TERMS.iter().fold(0.0, |sum, term| sum * t + term);
    let tail = t * (-x * x + sum).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

/// The benchmark's "windowed Gaussian": how unlikely a value is under a normal distribution of the last 6400 to 6500.
fn windowed_gaussian(series: &Series) -> Vec<f64> {
    let (mut window, mut waiting): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let (mut mean, mut deviation) = (0.0, 1.0);
    let fit = |window: &[f64]| {
        let n = window.len() as f64;
        let mean = window.iter().sum::<f64>() / n;
        let deviation = (window.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
        (mean, if deviation == 0.0 { 1e-6 } else { deviation })
    };
    let score = |value: &f64| {
        let sigmas = ((value - mean) / deviation).abs();
        let score = if window.is_empty() { 0.0 } else { 1.0 - 0.5 * erfc(sigmas / std::f64::consts::SQRT_2) };
        if window.len() < 6400 {
            window.push(*value);
            (mean, deviation) = fit(&window);
        } else {
            waiting.push(*value);
            if waiting.len() == 100 {
                window.drain(..100);
                window.append(&mut waiting);
                (mean, deviation) = fit(&window);
            }
        }
        score
    };
    series.values.iter().map(score).collect()
}

#[test]
fn a_published_detector_gets_its_published_score() {
    let Some(folder) = folder() else { return };
    let verdict = judge(&load(&folder), windowed_gaussian, |_| true).best();
    told("windowed Gaussian", &verdict);
    // Published: 44.8, at the threshold that is best over these files and seven more.
    assert!((verdict.score - 44.8).abs() < 1.0, "{verdict:?}");
}
