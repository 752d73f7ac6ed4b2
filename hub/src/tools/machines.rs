//! Reads failures of machines in the shape of the Azure predictive-maintenance example: a folder with
//! `PdM_machines*.csv` (machineID, model, age in years), `PdM_failures*.csv` (datetime, machineID, failure),
//! `PdM_errors*.csv` (datetime, machineID, errorID) and `PdM_maint*.csv` (datetime, machineID, comp).
//!
//! Hourly telemetry is not read: it covers a fifth of the machines and of the time, and a failure history has no
//! channels. Machines are never out of service here: a failed part is replaced in the same hour.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, ensure};
use model::Timestamp;
use predict::history::{Fleet, Happening, Schema, State, UnitInfo};

use crate::tools::{
    outages::{OutageLog, open},
    series::time_us,
};

/// Ages, in years, from which on a machine has a tag.
const AGES: [f64; 3] = [5.0, 10.0, 15.0];

/// Something that happened to a machine, as a row tells it.
struct Row {
    at: Timestamp,
    machine: String,
    what: String,
}

/// Reads a folder.
///
/// # Errors
/// If a file is missing or a row cannot be read; says which.
pub fn load(dir: &Path) -> anyhow::Result<OutageLog> {
    let machines = rows(&file(dir, "PdM_machines")?, ["machineID", "model", "age"])?;
    let mut groups: Vec<String> = machines.iter().map(|(_, [_, model, _])| model.clone()).collect();
    groups.sort();
    groups.dedup();
    let failures = happened(&file(dir, "PdM_failures")?, "failure")?;
    let errors = happened(&file(dir, "PdM_errors")?, "errorID")?;
    let replaced = happened(&file(dir, "PdM_maint")?, "comp")?;
    let mut kinds: Vec<String> =
        [&failures, &errors, &replaced].into_iter().flatten().map(|r| r.what.clone()).collect();
    kinds.sort();
    kinds.dedup();
    let tags = AGES.map(|age| format!("age_{age}")).into();
    let mut fleet = Fleet::new(Schema { groups: groups.clone(), kinds: kinds.clone(), tags, ..Schema::default() })?;
    let mut numbers = HashMap::new();
    for (place, [machine, model, age]) in machines {
        let age: f64 = age.parse().with_context(|| place.clone())?;
        let group = groups.iter().position(|group| *group == model).unwrap_or_default();
        let tags = AGES.iter().map(|least| age >= *least).collect();
        // Each stands by itself: nothing is known of sites.
        let info = UnitInfo { name: machine.clone(), group, site: machine.clone(), area: String::new(), tags };
        numbers.insert(machine, fleet.add(info)?);
    }
    let first = [&failures, &errors, &replaced].into_iter().flatten().map(|row| row.at).min();
    let first = first.with_context(|| format!("{} tells of nothing that happened", dir.display()))?;
    let mut happenings: Vec<Happening> =
        (0..fleet.units().len()).map(|unit| Happening { unit, at: first, state: State::Up }).collect();
    let mut strangers = 0;
    for (list, failure) in [(errors, false), (replaced, false), (failures, true)] {
        for row in list {
            let Some(unit) = numbers.get(&row.machine).copied() else {
                strangers += 1;
                continue;
            };
            let bits = kinds.iter().position(|kind| *kind == row.what).map_or(0, |n| 1 << n);
            happenings.push(Happening {
                unit,
                at: row.at,
                state: State::Down { broken: failure, failure, kinds: bits },
            });
            happenings.push(Happening { unit, at: row.at, state: State::Up });
        }
    }
    happenings.sort_by_key(|happening| happening.at);
    Ok(OutageLog { fleet, happenings, strangers, duplicates: 0 })
}

/// The file whose name begins so.
fn file(dir: &Path, begins: &str) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading the folder {}", dir.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)) {
            found.push(path);
        }
    }
    found.sort();
    found.into_iter().next().with_context(|| format!("{} holds no {begins}*.csv", dir.display()))
}

/// The named columns of every row, and where it stands.
fn rows<const N: usize>(file: &Path, names: [&str; N]) -> anyhow::Result<Vec<(String, [String; N])>> {
    let mut reader = csv::Reader::from_reader(open(file)?);
    let header = reader.headers().with_context(|| format!("reading {}", file.display()))?.clone();
    let mut columns = [0; N];
    for (column, name) in columns.iter_mut().zip(names) {
        *column = header
            .iter()
            .position(|known| known == name)
            .with_context(|| format!("{} has no column \"{name}\"", file.display()))?;
    }
    let mut rows = Vec::new();
    for (n, row) in reader.records().enumerate() {
        let place = format!("{}, line {}", file.display(), n + 2);
        let row = row.with_context(|| place.clone())?;
        rows.push((place, columns.map(|column| row.get(column).unwrap_or_default().to_owned())));
    }
    ensure!(!rows.is_empty(), "{} holds no rows", file.display());
    Ok(rows)
}

fn happened(file: &Path, what: &str) -> anyhow::Result<Vec<Row>> {
    let rows = rows(file, ["datetime", "machineID", what])?;
    rows.into_iter()
        .map(|(place, [time, machine, what])| {
            let at = time_us(&time).ok_or_else(|| anyhow!("{place}: \"{time}\" is no time"))?;
            Ok(Row { at: Timestamp::from_micros(at), machine, what })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(failures: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("PdM_machines.csv", "\"machineID\",\"model\",\"age\"\n1,\"model3\",18\n2,\"model4\",7\n"),
            ("PdM_errors_a.csv", "datetime,machineID,errorID\n2015-01-03 07:00:00,1,error1\n"),
            ("PdM_maint_a.csv", "datetime,machineID,comp\n2014-06-01 06:00:00,2,comp2\n2015-01-05 06:00:00,9,comp4\n"),
            ("PdM_failures_a.csv", failures),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn reads_failures_errors_and_replacements_in_order_of_time() {
        let log = load(folder("datetime,machineID,failure\n2015-01-05 06:00:00,1,comp4\n").path()).unwrap();
        assert_eq!(log.fleet.schema().groups, ["model3", "model4"]);
        assert_eq!(log.fleet.schema().kinds, ["comp2", "comp4", "error1"]);
        assert_eq!(log.fleet.units()[0].tags, [true, true, true]);
        assert_eq!(log.strangers, 1);
        let states: Vec<(usize, State)> = log.happenings.iter().map(|h| (h.unit, h.state)).collect();
        let down = |failure, kinds| State::Down { broken: failure, failure, kinds };
        assert_eq!(
            states,
            [
                (0, State::Up),
                (1, State::Up),
                (1, down(false, 1)),
                (1, State::Up),
                (0, down(false, 4)),
                (0, State::Up),
                (0, down(true, 2)),
                (0, State::Up),
            ]
        );
    }

    #[test]
    fn says_what_is_missing_and_which_line_is_bad() {
        let dir = folder("datetime,machineID,failure\nsoon,1,comp4\n");
        assert!(load(dir.path()).err().unwrap().to_string().contains("line 2: \"soon\" is no time"));
        std::fs::write(dir.path().join("PdM_failures_a.csv"), "datetime,failure\n2015-01-05,comp4\n").unwrap();
        assert!(load(dir.path()).err().unwrap().to_string().contains("no column \"machineID\""));
        std::fs::remove_file(dir.path().join("PdM_machines.csv")).unwrap();
        assert!(load(dir.path()).err().unwrap().to_string().contains("holds no PdM_machines*.csv"));
    }
}
