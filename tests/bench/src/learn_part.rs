//! Failure models: training and scoring on one core, beside scikit-learn's random forest on the same data in the same
//! run. scikit-learn is installed into a folder of its own for the bench alone; nothing of Liftline needs it.

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use model::Timestamp;
use predict::{
    history::{Feature, Shape},
    learn::{
        BoostOptions, Boosted, Loss, Random, Table,
        metrics::{Ranking, sigmoid},
    },
    risk::{RiskModel, Sample, Samples, Split, TrainOptions},
};

use crate::report::{line, rate};

/// Rows trained on.
const ROWS: usize = 150_000;
/// Rows calibrated on.
const CALIBRATION_ROWS: usize = 15_000;
/// Devices scored, each once; none was trained on.
const DEVICES: usize = 10_000;
/// Features of a device.
const FEATURES: usize = 100;
/// Rows a day.
const FLEET: usize = 1_000;
const DAY: i64 = 86_400;
/// What is installed; a version that is known to work.
const SCIKIT_LEARN: &str = "scikit-learn==1.5.2";
/// Fits a forest of 100 trees on one core and ranks the devices with it. Arguments: folder, rows, devices, features.
const FOREST: &str = r#"
import sys, time
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
folder, rows, devices, features = sys.argv[1], *map(int, sys.argv[2:5])
x = np.fromfile(folder + "/features.f32", dtype="<f4").reshape(-1, features)
y = np.fromfile(folder + "/failed.u8", dtype="u1")
forest = RandomForestClassifier(n_estimators=100, min_samples_leaf=20, random_state=1, n_jobs=1)
start = time.perf_counter()
forest.fit(x[:rows], y[:rows])
fitted = time.perf_counter() - start
start = time.perf_counter()
p = forest.predict_proba(x[-devices:])[:, 1]
scored = time.perf_counter() - start
print(fitted, scored, roc_auc_score(y[-devices:], p))
"#;

/// Trains on 150,000 rows of 100 features and scores 10,000 devices.
///
/// # Errors
/// If the model refuses the data or the folder cannot be written. A missing scikit-learn is said, and is no error.
pub fn run(dir: &Path) -> anyhow::Result<()> {
    println!("failure models: {ROWS} rows of {FEATURES} features to train on, {DEVICES} devices to score, one core");
    let samples = samples()?;
    let first = samples.rows.len() - DEVICES;
    let outcomes: Vec<bool> = samples.rows[first..].iter().map(|row| row.failed_within(horizon())).collect();
    let day = |row: usize| Timestamp::from_secs((row / FLEET) as i64 * DAY);
    let split = Split { train_until: day(ROWS), calibrate_until: day(ROWS + CALIBRATION_ROWS) };

    let start = Instant::now();
    let model = RiskModel::train(&samples, split, &TrainOptions::new(horizon(), 1))?;
    let trained = start.elapsed();
    let (score, auc) = scored(&outcomes, |n| model.probability(samples.table.row(first + n), samples.rows[n].group));
    ours("whole model", trained, score, auc);

    let train: Vec<usize> = (0..ROWS).collect();
    let table = samples.table.select(&train);
    let labels: Vec<f32> =
        samples.rows[..ROWS].iter().map(|row| f32::from(u8::from(row.failed_within(horizon())))).collect();
    let start = Instant::now();
    let trees = Boosted::fit(&table, &labels, &boosting())?;
    let trees_trained = start.elapsed();
    let (trees_score, auc) = scored(&outcomes, |n| trees.predict(samples.table.row(first + n)));
    ours("its boosted trees alone", trees_trained, trees_score, auc);

    match forest(dir, &samples) {
        Ok((fitted, scoring, auc)) => {
            ours("scikit-learn, random forest of 100 trees", fitted, scoring, auc);
            for (name, training, score) in
                [("whole model", trained, score), ("boosted trees", trees_trained, trees_score)]
            {
                let ratio = |theirs: Duration, mine: Duration| theirs.as_secs_f64() / mine.as_secs_f64().max(1e-9);
                line(
                    &format!("  forest's time over the {name}'s"),
                    &format!("{:.2}", ratio(fitted, training)),
                    &format!("training; scoring {:.2}", ratio(scoring, score)),
                );
            }
        }
        Err(error) => println!("scikit-learn was left out: {error:#}"),
    }
    Ok(())
}

fn horizon() -> Duration {
    Duration::from_hours(24)
}

/// The settings of the shipped model's trees.
fn boosting() -> BoostOptions {
    BoostOptions {
        loss: Loss::Logistic,
        trees: 250,
        rate: 0.03,
        leaves: 7,
        leaf_rows: 300,
        penalty: 50.0,
        row_share: 0.7,
        column_share: 0.2,
        seed: 1,
    }
}

/// Made-up units: a score of ten features, two of them together, decides how likely a failure is; the rest is noise.
fn samples() -> anyhow::Result<Samples> {
    let features = (0..FEATURES)
        .map(|n| Feature {
            // The two that the naive rule reads go by their names.
            name: match n {
                0 => "failures.last_90d".to_owned(),
                1 => "failure_1.since".to_owned(),
                2 => "group.one".to_owned(),
                3 => "group.other".to_owned(),
                other => format!("feature_{other}"),
            },
            unit: "1".to_owned(),
            shape: if n == 1 { Shape::Since } else { Shape::Amount },
            by_group: (10..20).contains(&n),
        })
        .collect();
    let mut random = Random::new(1);
    let mut table = Table::new(FEATURES);
    let mut rows = Vec::new();
    let mut values = vec![0.0f32; FEATURES];
    for n in 0..ROWS + CALIBRATION_ROWS + DEVICES {
        let (unit, day) = (n % FLEET, (n / FLEET) as i64);
        let group = unit % 2;
        for value in &mut values {
            *value = (random.unit() * 10.0) as f32;
        }
        (values[2], values[3]) = if group == 0 { (1.0, 0.0) } else { (0.0, 1.0) };
        let linear: f32 = values[10..18].iter().map(|value| value - 5.0).sum();
        let together = if values[18] > 7.0 && values[19] > 6.0 { 1.5 } else { 0.0 };
        let chance = sigmoid(f64::from(linear) * 0.12 + together - 3.4);
        let at = Timestamp::from_secs(day * DAY);
        let next_failure = (random.unit() < chance).then(|| Timestamp::from_secs(day * DAY + 3_600));
        table.push(&values)?;
        rows.push(Sample { unit, group, at, next_failure, next_blind: None });
    }
    Ok(Samples { features, groups: vec!["one".to_owned(), "other".to_owned()], rows, table, false_alarms: Vec::new() })
}

/// Scores all devices three times: the best time, and the area under the curve.
fn scored(outcomes: &[bool], score: impl Fn(usize) -> f64) -> (Duration, f64) {
    let mut best = Duration::MAX;
    let mut scores = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        scores = (0..outcomes.len()).map(&score).collect();
        best = best.min(start.elapsed());
    }
    let ranked = Ranking::of(black_box(&scores)).judge(outcomes, |_| 1.0);
    (best, ranked.map_or(0.0, |ranked| ranked.roc_auc))
}

fn ours(what: &str, training: Duration, scoring: Duration, auc: f64) {
    line(what, &format!("{:.1} s", training.as_secs_f64()), &format!("training; ROC-AUC {auc:.4} on the devices"));
    line("  scoring all devices", &format!("{:.1} ms", scoring.as_secs_f64() * 1e3), &{
        format!("{:.0} devices/s", rate(DEVICES as u64, scoring))
    });
}

/// Time to fit, time to score and area under the curve of the random forest.
fn forest(dir: &Path, samples: &Samples) -> anyhow::Result<(Duration, Duration, f64)> {
    let python = installed()?;
    let folder = tempfile::tempdir_in(dir)?;
    let mut features = BufWriter::new(File::create(folder.path().join("features.f32"))?);
    for value in samples.table.iter().flatten() {
        features.write_all(&value.to_le_bytes())?;
    }
    features.flush()?;
    let failed: Vec<u8> = samples.rows.iter().map(|row| u8::from(row.failed_within(horizon()))).collect();
    std::fs::write(folder.path().join("failed.u8"), failed)?;
    let output = Command::new(&python)
        .args(["-c", FOREST])
        .arg(folder.path())
        .args([ROWS.to_string(), DEVICES.to_string(), FEATURES.to_string()])
        .env("OMP_NUM_THREADS", "1")
        .output()?;
    ensure!(output.status.success(), "{}", last_line(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [fitted, scored, auc] = numbers.try_into().ok().context("the forest's script answered something else")?;
    Ok((Duration::from_secs_f64(fitted), Duration::from_secs_f64(scored), auc))
}

/// A Python with scikit-learn, in the build folder.
fn installed() -> anyhow::Result<PathBuf> {
    let folder = PathBuf::from("target/bench-venv");
    let python = folder.join("bin/python");
    let run = |command: &mut Command| -> anyhow::Result<()> {
        let output = command.output().with_context(|| format!("{} cannot be run", command.get_program().display()))?;
        ensure!(output.status.success(), "{}", last_line(&output.stderr));
        Ok(())
    };
    if run(Command::new(&python).args(["-c", "import sklearn"])).is_err() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).context("no Python environment")?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", SCIKIT_LEARN]))
            .with_context(|| format!("{SCIKIT_LEARN} cannot be installed"))?;
    }
    Ok(python)
}

fn last_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().last().unwrap_or("it failed and said nothing").to_owned()
}
