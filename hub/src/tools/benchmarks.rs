//! `liftline backtest --protocol nab` and `skab`: public benchmarks of streaming detectors, on any folder of their shape.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use csv::StringRecord;
use predict::{
    baseline::Baseline,
    judge::{
        nab::{Judge, Verdict},
        skab::Account,
    },
    novelty::{ANOMALY, Scorer},
};

use super::series::{Series, time_us};

/// Rows that a baseline learns from in the protocol of SKAB.
const FIT_ROWS: usize = 400;
/// The columns of SKAB that are no measurements.
const ANOMALY_COLUMN: &str = "anomaly";
const CHANGE_COLUMN: &str = "changepoint";

/// One series of NAB with its anomaly scores.
struct Scored {
    scores: Vec<f64>,
    windows: Vec<(usize, usize)>,
}

/// Prints the scores over a folder with `combined_windows.json` and `data/`.
///
/// # Errors
/// If the folder does not have that shape or a file cannot be read.
pub fn nab(folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("combined_windows.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let windows: BTreeMap<String, Vec<[String; 2]>> =
        serde_json::from_str(&text).with_context(|| format!("{} is not as expected", file.display()))?;
    let mut groups: BTreeMap<&str, Vec<Scored>> = BTreeMap::new();
    for (name, windows) in &windows {
        let path = folder.join("data").join(name);
        let group = name.split('/').next().unwrap_or_default();
        groups.entry(group).or_default().push(scored(&path, windows)?);
    }
    let all: Vec<&Scored> = groups.values().flatten().collect();
    let judge = |keep: &dyn Fn(usize) -> bool| {
        let mut judge = Judge::default();
        all.iter().enumerate().filter(|(n, _)| keep(*n)).for_each(|(_, one)| judge.add(&one.scores, &one.windows));
        judge
    };
    println!("NAB, standard profile; one frozen configuration, threshold {ANOMALY} for all files");
    for (group, members) in &groups {
        let mut judge = Judge::default();
        members.iter().for_each(|one| judge.add(&one.scores, &one.windows));
        told(group, &judge.at(ANOMALY));
    }
    let whole = judge(&|_| true);
    let (frozen, best) = (whole.at(ANOMALY), whole.best());
    told("all", &frozen);
    told("all, best threshold", &best);
    for score in [0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] {
        let share = whole.at(score);
        println!(
            "  of ordinary rows {:.4} % score {score} or more",
            100.0 * share.false_positives as f64 / share.ordinary as f64
        );
    }
    let halves = [judge(&|n| n % 2 == 0), judge(&|n| n % 2 == 1)];
    let crossed = [halves[0].at(halves[1].best().threshold), halves[1].at(halves[0].best().threshold)];
    let weighted: f64 = crossed.iter().map(|half| half.score * half.windows as f64).sum();
    println!("files: {}", all.len());
    println!("windows: {}", frozen.windows);
    println!("nab_standard: {:.2}", frozen.score);
    println!("nab_standard_best_threshold: {:.2}", best.score);
    println!("nab_standard_threshold_from_other_half: {:.2}", weighted / frozen.windows.max(1) as f64);
    println!("detected_windows: {}", frozen.detected);
    println!("false_positives: {}", frozen.false_positives);
    println!("ordinary_rows: {}", frozen.ordinary);
    Ok(())
}

fn told(what: &str, verdict: &Verdict) {
    println!(
        "  {what:24} score {:6.2} at {:.3}: {} of {} windows, {} false positives in {} rows",
        verdict.score, verdict.threshold, verdict.detected, verdict.windows, verdict.false_positives, verdict.ordinary
    );
}

fn scored(path: &Path, windows: &[[String; 2]]) -> anyhow::Result<Scored> {
    let mut series = Series::open(path, &[])?;
    let mut scorer = Scorer::new(series.values.len());
    let (mut times, mut scores, mut row) = (Vec::new(), Vec::new(), StringRecord::new());
    while series.next(&mut row)? {
        let time = series
            .time_of(&row)
            .with_context(|| format!("{}: the time of row {} cannot be read", path.display(), times.len() + 1))?;
        scores.push(scorer.take(time, series.values_of(&row)).map_or(0.0, |found| found.score));
        times.push(time);
    }
    let at = |text: &String| {
        let time = time_us(text);
        times.iter().position(|row| Some(*row) == time).with_context(|| format!("{}: no row at {text}", path.display()))
    };
    let windows = windows.iter().map(|[from, to]| Ok((at(from)?, at(to)?))).collect::<anyhow::Result<_>>()?;
    Ok(Scored { scores, windows })
}

/// Prints the measures over a folder of tables with the columns `anomaly` and `changepoint`: learnt from the first 400
/// rows of each, judged on the rest.
///
/// # Errors
/// If the folder holds no such table or one cannot be read.
pub fn skab(folder: &Path) -> anyhow::Result<()> {
    let files = tables(folder)?;
    let (mut learnt, mut always) = (Account::default(), Account::default());
    println!("SKAB; learnt from the first {FIT_ROWS} rows of each file, judged on the rest");
    for file in &files {
        let rows = alarms(file)?;
        ensure!(rows.len() > FIT_ROWS, "{} has no more than {FIT_ROWS} rows: too few to learn from", file.display());
        let judged = &rows[FIT_ROWS..];
        let mut alone = Account::default();
        alone.add(judged.iter().copied());
        println!("  {}: {alone}", file.file_name().unwrap_or_default().display());
        learnt.add(judged.iter().copied());
        always.add(judged.iter().map(|(anomalous, _)| (*anomalous, true)));
    }
    println!("  all: {learnt}\n  always alarming: {always}");
    let rows = learnt.true_alarms + learnt.missed + learnt.false_alarms + learnt.quiet;
    println!("files: {}", files.len());
    println!("rows: {rows}");
    println!("anomalous_share: {:.4}", (learnt.true_alarms + learnt.missed) as f64 / rows.max(1) as f64);
    println!("f1: {:.4}", learnt.f1());
    println!("false_alarm_rate: {:.4}", learnt.false_alarm_rate());
    println!("missed_alarm_rate: {:.4}", learnt.missed_rate());
    println!("anomalies_found: {}", learnt.delays.iter().flatten().count());
    println!("anomalies: {}", learnt.delays.len());
    match learnt.mean_delay() {
        Some(rows) => println!("mean_delay_rows: {rows:.1}"),
        None => println!("mean_delay_rows: none"),
    }
    println!("f1_always_alarming: {:.4}", always.f1());
    Ok(())
}

fn tables(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?.into_iter().collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    ensure!(!files.is_empty(), "{} holds no .csv file", folder.display());
    Ok(files)
}

/// For every row: whether it is anomalous, and whether it raised an alarm.
fn alarms(file: &Path) -> anyhow::Result<Vec<(bool, bool)>> {
    let labels = [ANOMALY_COLUMN, CHANGE_COLUMN].map(str::to_owned);
    let mut series = Series::open(file, &labels)?;
    let Some(label) = series.header.iter().position(|name| name == ANOMALY_COLUMN) else {
        bail!("{} has no column \"{ANOMALY_COLUMN}\"", file.display());
    };
    let mut baseline = Baseline::new(series.values.len(), FIT_ROWS as u64);
    let (mut rows, mut row) = (Vec::new(), StringRecord::new());
    while series.next(&mut row)? {
        let found = baseline.take(series.values_of(&row));
        let anomalous = row.get(label).and_then(|cell| cell.parse::<f64>().ok()).is_some_and(|label| label > 0.5);
        rows.push((anomalous, found.is_some_and(|found| found.score >= ANOMALY)));
    }
    Ok(rows)
}
