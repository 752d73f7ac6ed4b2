//! Time-stamped tables: delimited text with a header, a time column and any number of columns of values.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use csv::StringRecord;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// Names that a time column goes by, in lower case.
const TIME_NAMES: [&str; 6] = ["timestamp", "time", "datetime", "date", "ts", "date_time"];
/// The longest header that is read.
const MAX_HEADER: u64 = 1 << 20;
/// Numbers up to this are seconds since 1970, larger ones milliseconds; beyond the second, microseconds.
const MOST_SECONDS: f64 = 1e11;
const MOST_MILLIS: f64 = 1e14;

/// An open table, read one row at a time.
pub struct Series {
    reader: csv::Reader<BufReader<File>>,
    /// Its delimiter.
    pub delimiter: u8,
    /// All columns, in order.
    pub header: StringRecord,
    /// The time column.
    pub time: usize,
    /// The columns of values.
    pub values: Vec<usize>,
}

impl Series {
    /// Opens a table. Columns named in `ignored` (labels, say) are not values.
    ///
    /// # Errors
    /// If the file cannot be read, has no header or no time column, or `ignored` names none of its columns.
    pub fn open(file: &Path, ignored: &[String]) -> anyhow::Result<Self> {
        let mut input = BufReader::new(File::open(file).with_context(|| format!("{} cannot be read", file.display()))?);
        let mut first = Vec::new();
        input.by_ref().take(MAX_HEADER).read_until(b'\n', &mut first)?;
        let first = String::from_utf8_lossy(&first);
        ensure!(
            !first.trim().is_empty(),
            "{} is empty; it needs a first line of column names and then rows",
            file.display()
        );
        let count = |delimiter: u8| first.bytes().filter(|byte| *byte == delimiter).count();
        let delimiter = [b',', b';', b'\t'].into_iter().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',');
        input.seek(SeekFrom::Start(0))?;
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(input);
        let mut header = reader.headers().with_context(|| format!("the first line of {}", file.display()))?.clone();
        if let Some(name) = header.get(0).and_then(|name| name.strip_prefix('\u{feff}')) {
            let names: Vec<&str> = std::iter::once(name).chain(header.iter().skip(1)).collect();
            header = StringRecord::from(names);
        }
        if header.iter().all(|name| name.parse::<f64>().is_ok() || time_us(name).is_some()) {
            bail!("the first line of {} holds values; put the names of the columns there", file.display());
        }
        let named = |name: &str| TIME_NAMES.contains(&name.to_ascii_lowercase().as_str());
        let Some(time) = header.iter().position(named) else {
            bail!(
                "{} has no time column; name it \"timestamp\" (columns: {})",
                file.display(),
                header.iter().collect::<Vec<_>>().join(", ")
            );
        };
        if let Some(stranger) = ignored.iter().find(|name| !header.iter().any(|column| column == name.as_str())) {
            bail!("--ignore names \"{stranger}\", which is not a column of {}", file.display());
        }
        let values = (0..header.len())
            .filter(|column| *column != time && !ignored.iter().any(|name| name == &header[*column]))
            .collect::<Vec<_>>();
        ensure!(!values.is_empty(), "{} has no column of values beside the time", file.display());
        Ok(Self { reader, delimiter, header, time, values })
    }

    /// Reads the next row; false at the end.
    ///
    /// # Errors
    /// If the file cannot be read on, or is not UTF-8; the line is named.
    pub fn next(&mut self, row: &mut StringRecord) -> anyhow::Result<bool> {
        self.reader.read_record(row).context("a row cannot be read")
    }

    /// The time of a row, microseconds since 1970; `None` if it is none.
    #[must_use]
    pub fn time_of(&self, row: &StringRecord) -> Option<i64> {
        row.get(self.time).and_then(time_us)
    }

    /// The values of a row; `None` for what is missing or not a finite number. `true` and `false` are 1 and 0.
    pub fn values_of<'a>(&'a self, row: &'a StringRecord) -> impl Iterator<Item = Option<f64>> + 'a {
        self.values.iter().map(|column| row.get(*column).and_then(number))
    }
}

fn number(cell: &str) -> Option<f64> {
    match cell {
        "true" | "True" => Some(1.0),
        "false" | "False" => Some(0.0),
        other => other.parse::<f64>().ok().filter(|value| value.is_finite()),
    }
}

/// A time as microseconds since 1970: RFC 3339, `2014-04-01 00:05:00` (taken for UTC), a date, or a number of seconds,
/// milliseconds or microseconds.
#[must_use]
pub fn time_us(cell: &str) -> Option<i64> {
    if let Ok(number) = cell.parse::<f64>() {
        let scale = match number.abs() {
            size if !size.is_finite() => return None,
            size if size < MOST_SECONDS => 1e6,
            size if size < MOST_MILLIS => 1e3,
            _ => 1.0,
        };
        return Some((number * scale) as i64);
    }
    if let Ok(time) = cell.parse::<Timestamp>() {
        return Some(time.as_microsecond());
    }
    let civil = cell.parse::<DateTime>().or_else(|_| cell.replace('/', "-").parse::<DateTime>()).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_usual_forms() {
        let five_past = 1_396_310_700_000_000;
        for text in [
            "2014-04-01T00:05:00Z",
            "2014-04-01 00:05:00",
            "2014-04-01T00:05:00.000",
            "2014/04/01 00:05:00",
            "2014-04-01T02:05:00+02:00",
            "1396310700",
            "1396310700000",
            "1396310700000000",
        ] {
            assert_eq!(time_us(text), Some(five_past), "{text}");
        }
        assert_eq!(time_us("2014-04-01"), Some(1_396_310_400_000_000));
        for text in ["", "soon", "nan", "2014-13-01 00:00:00"] {
            assert_eq!(time_us(text), None, "{text}");
        }
    }
}
