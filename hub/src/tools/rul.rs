//! `liftline rul`: remaining life from run-to-failure tables of the C-MAPSS shape: rows of numbers without a header,
//! split by blanks; a unit, its cycle, then one column a channel. Also gzipped.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use predict::rul::{Estimate, RulError, RulModel, RulOptions, Run, phm08_score};

use crate::tools::outages::open;

/// Options of `liftline rul`.
#[derive(Debug, Args)]
pub struct Rul {
    /// Runs that each ended in a failure.
    #[arg(long)]
    pub train: PathBuf,
    /// Runs that were cut off.
    #[arg(long)]
    pub test: PathBuf,
    /// Where the estimates go: unit, cycle, rul, low, high, naive, as CSV.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// What was left of each test unit, one number a line, in order of unit: prints the scores.
    #[arg(long)]
    pub truth: Option<PathBuf>,
    /// Put before the name of every figure.
    #[arg(long, default_value = "")]
    pub prefix: String,
    /// The seed of every draw.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Rul {
    /// Trains on one table, estimates every unit of the other after its last cycle, and writes or scores them.
    ///
    /// # Errors
    /// If a table cannot be read or there is too little to learn from.
    pub fn run(&self) -> anyhow::Result<()> {
        ensure!(self.out.is_some() || self.truth.is_some(), "name a file with --out, or the truth with --truth");
        let (train, test) = (read(&self.train)?, read(&self.test)?);
        let channels: Vec<String> = (1..=channels(&train)).map(|n| format!("channel_{n}")).collect();
        let options = RulOptions::new(self.seed);
        let model = RulModel::train(&channels, &train, &options)?;
        let mut estimates = Vec::with_capacity(test.len());
        for run in &test {
            estimates.push(match model.estimate(run) {
                Ok(estimate) => Some(estimate),
                Err(error @ (RulError::Young { .. } | RulError::Strange { .. })) => {
                    eprintln!("No estimate: {error}.");
                    None
                }
                Err(error) => return Err(error.into()),
            });
        }
        if let Some(out) = &self.out {
            write(out, &test, &estimates)?;
        }
        if let Some(truth) = &self.truth {
            self.score(&model, &estimates, &read_truth(truth)?)?;
        }
        Ok(())
    }

    fn score(&self, model: &RulModel, estimates: &[Option<Estimate>], truth: &[f64]) -> anyhow::Result<()> {
        ensure!(truth.len() == estimates.len(), "--truth has {} lines for {} test units", truth.len(), estimates.len());
        let scored: Vec<(Estimate, f64)> =
            estimates.iter().zip(truth).filter_map(|(estimate, truth)| Some(((*estimate)?, *truth))).collect();
        let count = scored.len().max(1) as f64;
        let pairs = |of: &dyn Fn(&Estimate) -> f64| -> Vec<(f64, f64)> {
            scored.iter().map(|(estimate, truth)| (of(estimate), *truth)).collect()
        };
        let rmse = |pairs: &[(f64, f64)]| {
            (pairs.iter().map(|(estimate, truth)| (estimate - truth).powi(2)).sum::<f64>() / count).sqrt()
        };
        let (ours, naive) = (pairs(&|estimate| estimate.steps), pairs(&|estimate| estimate.naive));
        let covered = scored.iter().filter(|(estimate, truth)| (estimate.low..=estimate.high).contains(truth)).count();
        let RulOptions { cap, members, trees, coverage, seed } = model.options;
        println!("Remaining life, {} training runs, {} test units, seed {seed}", model.runs, scored.len());
        println!("Labels capped at {cap} cycles; {members} times {trees} trees; truth is not capped.");
        println!("Interval: {:.0} % by training runs that were left out.", coverage * 100.0);
        println!("Naive rule: the mean life less the cycles run, between 0 and the cap.");
        println!();
        let figures = [
            ("units", format!("{}", scored.len())),
            ("rmse", format!("{:.3}", rmse(&ours))),
            ("phm08_score", format!("{:.1}", phm08_score(&ours))),
            (
                "mean_error",
                format!("{:.2}", ours.iter().map(|(estimate, truth)| estimate - truth).sum::<f64>() / count),
            ),
            ("interval_coverage", format!("{:.3}", covered as f64 / count)),
            ("naive_rmse", format!("{:.3}", rmse(&naive))),
            ("naive_phm08_score", format!("{:.1}", phm08_score(&naive))),
            ("left_out_rmse", format!("{:.3}", model.left_out_rmse)),
            ("left_out_naive_rmse", format!("{:.3}", model.left_out_naive_rmse)),
        ];
        for (name, value) in figures {
            println!("{}{name}: {value}", self.prefix);
        }
        Ok(())
    }
}

fn channels(runs: &[Run]) -> usize {
    runs.iter().flat_map(|run| &run.steps).map(Vec::len).next().unwrap_or(0)
}

/// Reads a table. Cycles of a unit must rise; a cycle that stands twice counts once.
fn read(file: &Path) -> anyhow::Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut last_cycle, mut width) = (f64::MIN, None);
    for (n, line) in BufReader::new(open(file)?).lines().enumerate() {
        let place = || format!("{}, line {}", file.display(), n + 1);
        let line = line.with_context(place)?;
        let mut words = line.split_whitespace();
        let Some(unit) = words.next() else { continue };
        let numbers = words.map(str::parse::<f64>).collect::<Result<Vec<f64>, _>>().with_context(place)?;
        let Some((cycle, values)) = numbers.split_first() else {
            bail!("{}: a row is a unit, a cycle and its channels", place());
        };
        ensure!(!values.is_empty(), "{}: a row is a unit, a cycle and its channels", place());
        let width = *width.get_or_insert(values.len());
        ensure!(values.len() == width, "{}: {} channels where {width} stand above", place(), values.len());
        if runs.last().is_none_or(|run| run.unit != unit) {
            ensure!(
                runs.iter().all(|run| run.unit != unit),
                "{}: the rows of unit {unit} do not stand together; sort the table by unit and cycle",
                place()
            );
            runs.push(Run { unit: unit.to_owned(), steps: Vec::new() });
            last_cycle = f64::MIN;
        }
        if *cycle == last_cycle {
            continue;
        }
        ensure!(*cycle > last_cycle, "{}: cycle {cycle} of unit {unit} comes after {last_cycle}", place());
        last_cycle = *cycle;
        if let Some(run) = runs.last_mut() {
            run.steps.push(values.to_vec());
        }
    }
    ensure!(!runs.is_empty(), "{} holds no rows", file.display());
    Ok(runs)
}

fn read_truth(file: &Path) -> anyhow::Result<Vec<f64>> {
    let mut truth = Vec::new();
    for (n, line) in BufReader::new(open(file)?).lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            truth.push(line.trim().parse().with_context(|| format!("{}, line {}", file.display(), n + 1))?);
        }
    }
    Ok(truth)
}

fn write(out: &Path, runs: &[Run], estimates: &[Option<Estimate>]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_path(out).with_context(|| format!("writing {}", out.display()))?;
    writer.write_record(["unit", "cycle", "rul", "low", "high", "naive"])?;
    for (run, estimate) in runs.iter().zip(estimates) {
        let shown =
            |of: fn(&Estimate) -> f64| estimate.as_ref().map_or(String::new(), |known| format!("{:.2}", of(known)));
        writer.write_record([
            run.unit.clone(),
            run.steps.len().to_string(),
            shown(|estimate| estimate.steps),
            shown(|estimate| estimate.low),
            shown(|estimate| estimate.high),
            shown(|estimate| estimate.naive),
        ])?;
    }
    writer.flush().with_context(|| format!("writing {}", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> anyhow::Result<Vec<Run>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn reads_runs_and_counts_a_repeated_cycle_once() {
        let runs = table("1 1 0.5 nan\n1 2 0.6 7\n1 2 0.6 7\n\n2 1 0.1 3 \n").unwrap();
        assert_eq!(runs.iter().map(|run| run.steps.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(runs[0].steps[0][1].is_nan());
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, words) in [
            ("", "holds no rows"),
            ("1 1\n", "line 1: a row is"),
            ("1 1 2\n1 2 3 4\n", "line 2: 2 channels where 1"),
            ("1 2 0\n1 1 0\n", "cycle 1 of unit 1 comes after 2"),
            ("1 1 0\n2 1 0\n1 2 0\n", "do not stand together"),
        ] {
            let error = format!("{:#}", table(text).unwrap_err());
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
