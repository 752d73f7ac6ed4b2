//! `liftline detect`: an anomaly score beside every row of a time-stamped table.

use std::{fs::File, io::BufWriter, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use csv::StringRecord;
use predict::{
    baseline::{Baseline, LEAST_ROWS},
    novelty::{ANOMALY, Scorer, WARM_UP},
};

use super::series::Series;

/// The column that is added.
const SCORE: &str = "anomaly_score";
/// The columns that `--explain` adds.
const REASONS: [&str; 4] = ["anomaly_column", "anomaly_view", "anomaly_seen", "anomaly_bound"];

/// Options of `liftline detect`.
#[derive(Debug, Args)]
pub struct Detect {
    /// The table: comma, semicolon or tab separated, a first line of names, a column named timestamp (or time,
    /// datetime, date, ts), any number of columns of values.
    #[arg(long)]
    pub data: PathBuf,
    /// Where to write the same table with the column anomaly_score.
    #[arg(long)]
    pub out: PathBuf,
    /// Columns that are not values, such as labels; separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Learn the normal state from this many first rows, and score how far each later row is from it: the score stays
    /// up for as long as the departure lasts. Without it, the onset of anything new is scored.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(LEAST_ROWS..))]
    pub fit_rows: Option<u64>,
    /// Also write which column spoke, in which view, what was seen there and the bound of everything seen before.
    #[arg(long)]
    pub explain: bool,
}

/// How rows are scored.
enum Method {
    /// Something new begins.
    Onset(Scorer),
    /// Something is not as it was at first.
    Fitted(Baseline),
}

/// The score of a row and the reason for it.
struct Found {
    score: f64,
    /// The position of the column among those of values.
    value: usize,
    view: &'static str,
    seen: f64,
    bound: f64,
}

impl Method {
    fn take(&mut self, time: i64, values: impl Iterator<Item = Option<f64>>) -> Option<Found> {
        match self {
            Self::Onset(scorer) => scorer.take(time, values).map(|found| Found {
                score: found.score,
                value: found.channel,
                view: found.view.name(),
                seen: found.seen,
                bound: found.bound,
            }),
            Self::Fitted(baseline) => baseline.take(values).map(|found| Found {
                score: found.score,
                value: found.channel,
                view: "average",
                seen: found.average,
                bound: found.level,
            }),
        }
    }
}

/// What was met on the way.
#[derive(Debug, Default)]
struct Account {
    rows: u64,
    scored: u64,
    anomalies: u64,
    /// Rows whose time cannot be read, and the line of the first.
    timeless: u64,
    first_timeless: Option<u64>,
    /// Rows that are not later than the one before.
    not_later: u64,
    /// Values that are missing or not finite numbers, by column.
    missing: Vec<u64>,
}

impl Detect {
    /// Scores the table, one row at a time, in order.
    ///
    /// # Errors
    /// If the table cannot be read or has no usable shape, or the result cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        let mut series = Series::open(&self.data, &self.ignore)?;
        if let Some(taken) = series.header.iter().find(|name| *name == SCORE || REASONS.contains(name)) {
            bail!("{} has a column \"{taken}\" already; rename it", self.data.display());
        }
        let same = self.out.canonicalize().is_ok_and(|out| self.data.canonicalize().is_ok_and(|data| data == out));
        ensure!(!same, "--out is the same file as --data; name another");
        let output = File::create(&self.out).with_context(|| format!("{} cannot be written", self.out.display()))?;
        let mut writer = csv::WriterBuilder::new()
            .delimiter(series.delimiter)
            .flexible(true)
            .from_writer(BufWriter::with_capacity(1 << 16, output));
        let mut header = series.header.clone();
        header.push_field(SCORE);
        if self.explain {
            REASONS.iter().for_each(|name| header.push_field(name));
        }
        writer.write_record(&header)?;
        let mut account = Account { missing: vec![0; series.values.len()], ..Account::default() };
        let columns = series.values.len();
        let mut method = match self.fit_rows {
            Some(rows) => Method::Fitted(Baseline::new(columns, rows)),
            None => Method::Onset(Scorer::new(columns)),
        };
        let (mut row, mut before) = (StringRecord::new(), i64::MIN);
        while series.next(&mut row).with_context(|| format!("reading {}", self.data.display()))? {
            let found = account.take(&series, &row, &mut method, &mut before);
            // A short row is filled up, so that the score stands in its column.
            for _ in row.len()..series.header.len() {
                row.push_field("");
            }
            row.truncate(series.header.len());
            row.push_field(&format!("{:.6}", found.as_ref().map_or(0.0, |found| found.score)));
            if self.explain {
                explain(&series, found.as_ref(), &mut row);
            }
            writer.write_record(&row).with_context(|| format!("writing {}", self.out.display()))?;
        }
        writer.flush().with_context(|| format!("writing {}", self.out.display()))?;
        ensure!(account.rows > 0, "{} has no rows", self.data.display());
        ensure!(
            account.timeless < account.rows,
            "no time of the column \"{}\" can be read; write it as 2014-04-01 00:05:00, RFC 3339 or seconds since 1970",
            &series.header[series.time]
        );
        account.tell(&series);
        Ok(())
    }
}

impl Account {
    fn take(&mut self, series: &Series, row: &StringRecord, method: &mut Method, before: &mut i64) -> Option<Found> {
        self.rows += 1;
        let Some(time) = series.time_of(row) else {
            self.timeless += 1;
            self.first_timeless = self.first_timeless.or_else(|| row.position().map(csv::Position::line));
            return None;
        };
        self.not_later += u64::from(time <= *before);
        *before = time;
        for (missing, value) in self.missing.iter_mut().zip(series.values_of(row)) {
            *missing += u64::from(value.is_none());
        }
        let found = method.take(time, series.values_of(row))?;
        self.scored += 1;
        self.anomalies += u64::from(found.score >= ANOMALY);
        Some(found)
    }

    fn tell(&self, series: &Series) {
        eprintln!("{} rows, {} scored, {} at {ANOMALY} or above", self.rows, self.scored, self.anomalies);
        if self.scored == 0 {
            eprintln!("no row follows enough others ({WARM_UP}, or --fit-rows) to have a score: all are 0");
        }
        if let Some(line) = self.first_timeless {
            eprintln!("{} rows have no readable time and score 0; the first is line {line}", self.timeless);
        }
        if self.not_later > 0 {
            eprintln!(
                "{} rows are not later than the one before; they were taken in the order of the file",
                self.not_later
            );
        }
        for (missing, column) in self.missing.iter().zip(&series.values).filter(|(missing, _)| **missing > 0) {
            let name = &series.header[*column];
            if *missing == self.rows {
                eprintln!("column \"{name}\" holds no number and was left out");
            } else {
                eprintln!("column \"{name}\": {missing} values are missing or not finite and were left out");
            }
        }
    }
}

fn explain(series: &Series, found: Option<&Found>, row: &mut StringRecord) {
    match found {
        Some(found) => {
            row.push_field(series.values.get(found.value).map_or("", |column| &series.header[*column]));
            row.push_field(found.view);
            row.push_field(&format!("{}", found.seen));
            row.push_field(&format!("{}", found.bound));
        }
        None => REASONS.iter().for_each(|_| row.push_field("")),
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, path::Path};

    use super::*;

    fn options(data: &Path, out: &Path) -> Detect {
        Detect { data: data.to_owned(), out: out.to_owned(), ignore: Vec::new(), fit_rows: None, explain: false }
    }

    /// Writes the text, scores it, and returns what came out.
    fn scored(text: &str, change: impl Fn(&mut Detect)) -> anyhow::Result<String> {
        let folder = tempfile::tempdir()?;
        let (data, out) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
        std::fs::write(&data, text)?;
        let mut detect = options(&data, &out);
        change(&mut detect);
        detect.run()?;
        Ok(std::fs::read_to_string(out)?)
    }

    /// Rows of two columns each five minutes; the second jumps for a while.
    fn table(rows: usize) -> String {
        let mut text = "timestamp;temperature;pressure;label\n".to_owned();
        for n in 0..rows {
            let wobble = ((n * 7919) % 1009) as f64 / 1009.0;
            let (hour, pressure) = (n as f64 * 300.0, wobble + if (700..720).contains(&n) { 9.0 } else { 0.0 });
            writeln!(text, "{};{};{pressure};{}", 1_700_000_000.0 + hour, 20.0 + wobble, u8::from(n % 9 == 0)).unwrap();
        }
        text
    }

    #[test]
    fn every_row_gets_a_score_and_none_sees_the_future() {
        let ignore = |detect: &mut Detect| detect.ignore = vec!["label".to_owned()];
        for fit_rows in [None, Some(400)] {
            let change = |detect: &mut Detect| {
                ignore(detect);
                detect.fit_rows = fit_rows;
            };
            let whole = scored(&table(1000), change).unwrap();
            assert_eq!(whole.lines().count(), 1001);
            assert!(whole.starts_with("timestamp;temperature;pressure;label;anomaly_score\n"), "{whole}");
            for cut in [1, 64, 500, 705] {
                let part = scored(&table(cut), change).unwrap();
                assert!(whole.starts_with(&part), "cut at {cut}");
            }
            let score =
                |line: usize| whole.lines().nth(line + 1).unwrap().rsplit(';').next().unwrap().parse::<f64>().unwrap();
            assert!((0..1000).all(|n| (0.0..=1.0).contains(&score(n))));
            let jump = (700..720).map(score).fold(0.0, f64::max);
            assert!(jump > 0.8 && score(10) == 0.0 && score(690) < 0.5, "{jump}");
        }
    }

    #[test]
    fn the_reason_names_the_column() {
        let text = scored(&table(1000), |detect| {
            detect.ignore = vec!["label".to_owned()];
            detect.explain = true;
        })
        .unwrap();
        assert!(text.lines().nth(701).unwrap().contains(";pressure;"), "{:?}", text.lines().nth(701));
    }

    #[test]
    fn rubbish_is_survived_and_bad_tables_are_refused_with_the_reason() {
        let wild = "time,a,b\n2020-01-01,NaN,inf\nsoon,3\n2020-01-03,4,x,y\n,,\n2020-01-02,1e300,true\n";
        assert_eq!(scored(wild, |_| {}).unwrap().lines().count(), 6);
        for (text, why) in [
            ("", "is empty"),
            ("a,b\n1,2\n", "no time column"),
            ("2020-01-01,2\n2020-01-02,3\n", "holds values"),
            ("time\n2020-01-01\n", "no column of values"),
            ("time,a\n", "has no rows"),
            ("time,a\nsoon,1\n", "no time of the column"),
            ("time,anomaly_score\n2020-01-01,1\n", "already"),
        ] {
            let error = format!("{:#}", scored(text, |_| {}).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
        let error = scored(&table(10), |detect| detect.ignore = vec!["labels".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("not a column"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("same.csv");
        std::fs::write(&file, table(10)).unwrap();
        assert!(options(&file, &file).run().unwrap_err().to_string().contains("same file"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), table(10));
    }
}
