//! Reads outage logs of the WMATA shape: a folder with `units.csv` and one or more `unit_statuses*.csv` (or `.csv.gz`).
//!
//! `units.csv` has the columns unit_id, unit_type, station_code and unit_desc; a status file unit_id, time, end_time,
//! update_type, symptom_category and symptom_description. Other columns are ignored.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use flate2::read::GzDecoder;
use model::Timestamp;
use predict::history::{Calendar, Fleet, Happening, Schema, State, UnitInfo};
use serde::Deserialize;

/// The kinds of outage that are told apart, in the order of their bits.
const KINDS: [&str; 10] = [
    "inspection",
    "repair",
    "power",
    "incident",
    "callback",
    "off",
    "minor_repair",
    "major_repair",
    "safety_work",
    "maintenance_repair",
];
/// Words in a unit's description that become tags.
const TAGS: [&str; 7] = ["street", "platform", "mezzanine", "garage", "parking", "middle", "bus"];

/// What a folder holds.
pub struct OutageLog {
    /// The units, without history yet.
    pub fleet: Fleet,
    /// Their changes of state, in order of time.
    pub happenings: Vec<Happening>,
    /// Status rows of units that `units.csv` does not name, left out.
    pub strangers: usize,
    /// Rows that stand in the files twice, left out.
    pub duplicates: usize,
}

#[derive(Deserialize)]
struct UnitRow {
    unit_id: String,
    unit_type: String,
    station_code: String,
    #[serde(default)]
    unit_desc: String,
}

#[derive(Deserialize)]
struct StatusRow {
    unit_id: String,
    time: String,
    end_time: String,
    update_type: String,
    symptom_category: String,
    symptom_description: String,
}

/// Reads a folder.
///
/// # Errors
/// If a file is missing or a row cannot be read; says which.
pub fn load(dir: &Path) -> anyhow::Result<OutageLog> {
    let units = read_units(&dir.join("units.csv"))?;
    let mut groups: Vec<String> = units.iter().map(|unit| unit.unit_type.to_lowercase()).collect();
    groups.sort();
    groups.dedup();
    // The most common group first: the others are told apart from it.
    groups.sort_by_key(|group| {
        std::cmp::Reverse(units.iter().filter(|unit| unit.unit_type.to_lowercase() == *group).count())
    });
    let schema = Schema {
        groups,
        kinds: KINDS.map(str::to_owned).into(),
        tags: TAGS.map(str::to_owned).into(),
        // The one operator that publishes such a log is that of Washington, D.C.
        calendar: Calendar::UnitedStates,
        ..Schema::default()
    };
    let mut fleet = Fleet::new(schema.clone())?;
    let mut numbers = HashMap::new();
    for unit in units {
        let group = schema.groups.iter().position(|group| *group == unit.unit_type.to_lowercase()).unwrap_or_default();
        let description = unit.unit_desc.to_lowercase();
        let info = UnitInfo {
            name: unit.unit_id.clone(),
            group,
            site: unit.station_code.clone(),
            // The letter after the station code names the entrance.
            area: unit.unit_id.chars().nth(unit.station_code.chars().count()).map(String::from).unwrap_or_default(),
            tags: TAGS.iter().map(|tag| description.contains(tag)).collect(),
        };
        numbers.insert(unit.unit_id, fleet.add(info)?);
    }
    let mut log = OutageLog { fleet, happenings: Vec::new(), strangers: 0, duplicates: 0 };
    let mut changes = Vec::new();
    for file in status_files(dir)? {
        read_statuses(&file, &numbers, &mut changes, &mut log.strangers)?;
    }
    log.happenings = in_order(changes, &mut log.duplicates);
    Ok(log)
}

fn read_units(file: &Path) -> anyhow::Result<Vec<UnitRow>> {
    let mut reader = csv::Reader::from_reader(open(file)?);
    let rows = reader.deserialize().collect::<Result<Vec<UnitRow>, _>>();
    let rows = rows.with_context(|| format!("reading {}", file.display()))?;
    ensure!(!rows.is_empty(), "{} names no unit", file.display());
    Ok(rows)
}

fn status_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading the folder {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("unit_statuses") && (name.ends_with(".csv") || name.ends_with(".csv.gz")) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("{} holds no unit_statuses*.csv or unit_statuses*.csv.gz", dir.display());
    }
    Ok(files)
}

/// Opens a file, unpacking it if its name ends in `.gz`.
///
/// # Errors
/// If it cannot be opened; says which.
pub fn open(file: &Path) -> anyhow::Result<Box<dyn Read>> {
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    Ok(if file.extension().is_some_and(|ending| ending == "gz") {
        Box::new(GzDecoder::new(opened))
    } else {
        Box::new(opened)
    })
}

/// A state and, where it is told, its end.
struct Change {
    happening: Happening,
    end: Option<Timestamp>,
}

fn read_statuses(
    file: &Path,
    numbers: &HashMap<String, usize>,
    changes: &mut Vec<Change>,
    strangers: &mut usize,
) -> anyhow::Result<()> {
    let mut reader = csv::Reader::from_reader(open(file)?);
    for (n, row) in reader.deserialize().enumerate() {
        let place = || format!("{}, line {}", file.display(), n + 2);
        let row: StatusRow = row.with_context(place)?;
        let Some(unit) = numbers.get(&row.unit_id) else {
            *strangers += 1;
            continue;
        };
        let time = |text: &str| text.parse::<Timestamp>().map_err(|error| anyhow!("{error}")).with_context(place);
        let at = time(&row.time)?;
        let end = match row.end_time.as_str() {
            "" | "NA" => None,
            text => Some(time(text)?),
        };
        changes.push(Change { happening: Happening { unit: *unit, at, state: state(&row) }, end });
    }
    Ok(())
}

/// Sorts, drops rows that stand twice, and adds the ends that no following row tells: nobody knows a unit's state
/// between the end of one and the start of the next.
fn in_order(mut changes: Vec<Change>, duplicates: &mut usize) -> Vec<Happening> {
    changes.sort_by_key(|change| (change.happening.unit, change.happening.at));
    let before = changes.len();
    changes.dedup_by(|b, a| a.happening == b.happening);
    *duplicates = before - changes.len();
    let mut happenings = Vec::with_capacity(changes.len());
    for (n, change) in changes.iter().enumerate() {
        happenings.push(change.happening);
        let unit = change.happening.unit;
        let next = changes.get(n + 1).filter(|next| next.happening.unit == unit).map(|next| next.happening.at);
        if let Some(end) = change.end.filter(|end| next.is_none_or(|next| *end < next) && *end >= change.happening.at) {
            happenings.push(Happening { unit, at: end, state: State::Unknown });
        }
    }
    happenings.sort_by_key(|happening| happening.at);
    happenings
}

fn state(row: &StatusRow) -> State {
    let broken = row.symptom_category.eq_ignore_ascii_case("broken");
    if row.symptom_category.eq_ignore_ascii_case("on") {
        return State::Up;
    }
    State::Down { broken, failure: row.update_type.eq_ignore_ascii_case("break"), kinds: kinds(row) }
}

/// The kinds an outage belongs to, by the words of its description. The operator renamed them in July 2014; the words
/// looked for stand in the old and the new names.
fn kinds(row: &StatusRow) -> u32 {
    let text = row.symptom_description.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let mut named: Vec<&str> = Vec::new();
    let inspection = has(&["inspection", "compliance"]);
    if inspection {
        named.push("inspection");
    }
    if has(&["callback", "service call"]) {
        named.push("callback");
    }
    if has(&["power", "fire", "deluge", "weather", "water"]) {
        named.push("power");
    }
    if has(&["incident", "accident"]) {
        named.push("incident");
    }
    if has(&["turned off", "walker", "scheduled", "rehab", "modernization"]) {
        named.push("off");
    }
    for (kind, words) in [
        ("minor_repair", ["minor repair"].as_slice()),
        ("major_repair", &["major repair"]),
        ("safety_work", &["work order"]),
        ("maintenance_repair", &["maint. repairs", "maintenance repairs", "handrail"]),
    ] {
        if has(words) {
            named.extend([kind, "repair"]);
        }
    }
    named.iter().filter_map(|name| KINDS.iter().position(|kind| kind == name)).fold(0, |bits, n| bits | 1 << n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, statuses: &str) {
        std::fs::write(
            dir.join("units.csv"),
            "unit_id,unit_type,station_code,station_name,station_desc,unit_desc\n\
             A01N01ELEVATOR,ELEVATOR,A01,X,,Elevator between street and mezzanine\n\
             A01N02ESCALATOR,ESCALATOR,A01,X,,Escalator\nA01N03ESCALATOR,ESCALATOR,A01,X,,Escalator\n",
        )
        .unwrap();
        let head = "unit_id,time,end_time,update_type,symptom_category,symptom_description,metro_open_seconds\n";
        std::fs::write(dir.join("unit_statuses_a.csv"), format!("{head}{statuses}")).unwrap();
    }

    #[test]
    fn reads_states_kinds_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            "A01N01ELEVATOR,2014-01-01T00:00:00+00:00,2014-01-02T00:00:00+00:00,Fix,ON,OPERATIONAL,1\n\
             A01N01ELEVATOR,2014-01-02T00:00:00+00:00,2014-01-02T01:00:00+00:00,Break,BROKEN,Service Call,1\n\
             A01N01ELEVATOR,2014-01-02T00:00:00+00:00,2014-01-02T01:00:00+00:00,Break,BROKEN,Service Call,1\n\
             A01N02ESCALATOR,2014-01-01T12:00:00+00:00,NA,Off,INSPECTION,PREV. MAINT. INSPECTION,1\n\
             Z99,2014-01-01T12:00:00+00:00,NA,Off,INSPECTION,PREV. MAINT. INSPECTION,1\n",
        );
        let log = load(dir.path()).unwrap();
        assert_eq!((log.strangers, log.duplicates), (1, 1));
        assert_eq!(log.fleet.schema().groups, ["escalator", "elevator"]);
        let states: Vec<(usize, State)> = log.happenings.iter().map(|h| (h.unit, h.state)).collect();
        assert_eq!(
            states,
            [
                (0, State::Up),
                (1, State::Down { broken: false, failure: false, kinds: 1 }),
                (0, State::Down { broken: true, failure: true, kinds: 1 << 4 }),
                (0, State::Unknown),
            ]
        );
        assert_eq!(log.fleet.units()[0].area, "N");
        assert!(log.fleet.units()[0].tags[0] && !log.fleet.units()[0].tags[1]);
    }

    #[test]
    fn says_which_line_is_bad_and_which_file_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).err().unwrap().to_string().contains("units.csv"));
        write(dir.path(), "A01N01ELEVATOR,yesterday,NA,Fix,ON,OPERATIONAL,1\n");
        assert!(load(dir.path()).err().unwrap().to_string().contains("line 2"));
    }
}
