//! A plan: the table read through its mapping, row by row, into devices and what each of them said.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use model::{DeviceId, ProfileId, Timestamp, Value};

use super::{
    ReplayError,
    mapping::{CellKind, ChannelRule, DeviceRule, Mapping, TimeRule, matches},
};
use crate::{
    scenario::SimDevice,
    wire::{Report, Values},
};

/// The most rows a table may have.
const MAX_ROWS: usize = 20_000_000;

/// A table with its mapping, read and checked.
#[derive(Debug, Clone)]
pub struct ReplayPlan {
    devices: Vec<SimDevice>,
    /// Device and report, in the order of the table.
    rows: Vec<(usize, Report)>,
}

/// A table being read.
struct Table {
    path: PathBuf,
    columns: HashMap<String, usize>,
    reader: csv::Reader<Box<dyn Read>>,
}

impl Table {
    fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(|source| ReplayError::Read { path: path.to_owned(), source })?;
        let input: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(flate2::read::GzDecoder::new(file))
        } else {
            Box::new(file)
        };
        Self::new(path, input)
    }

    fn new(path: &Path, input: Box<dyn Read>) -> Result<Self, ReplayError> {
        let mut reader = csv::Reader::from_reader(input);
        let headers = reader.headers().map_err(|source| ReplayError::Csv { path: path.to_owned(), source })?;
        // Files made by spreadsheets may start with a byte-order mark.
        let columns = headers.iter().enumerate().map(|(n, name)| (name.trim_start_matches('\u{feff}').to_owned(), n));
        Ok(Self { path: path.to_owned(), columns: columns.collect(), reader })
    }

    fn column(&self, name: &str) -> Result<usize, ReplayError> {
        self.columns.get(name).copied().ok_or_else(|| {
            let mut known: Vec<_> = self.columns.iter().collect();
            known.sort_by_key(|(_, n)| **n);
            let known = known.into_iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            ReplayError::NoColumn { path: self.path.clone(), column: name.to_owned(), known }
        })
    }

    fn next(&mut self, record: &mut csv::StringRecord) -> Result<bool, ReplayError> {
        self.reader.read_record(record).map_err(|source| ReplayError::Csv { path: self.path.clone(), source })
    }

    fn bad(&self, record: &csv::StringRecord, message: impl Into<String>) -> ReplayError {
        let line = record.position().map_or(0, csv::Position::line);
        ReplayError::Row { path: self.path.clone(), line, message: message.into() }
    }

    /// A template such as `{unit_id} at {station}`, prepared for this table.
    fn template(&self, text: &str) -> Result<Vec<Piece>, ReplayError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            pieces.push(Piece::Text(rest[..open].to_owned()));
            let tail = &rest[open + 1..];
            let close = tail.find('}').unwrap_or(tail.len());
            pieces.push(Piece::Column(self.column(&tail[..close])?));
            rest = tail.get(close + 1..).unwrap_or_default();
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(pieces)
    }
}

enum Piece {
    Text(String),
    Column(usize),
}

fn fill(pieces: &[Piece], record: &csv::StringRecord) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Column(n) => record.get(*n).unwrap_or_default(),
        })
        .collect()
}

/// A device id made of any text: characters that are not allowed become `-`.
fn device_id(text: &str) -> Option<DeviceId> {
    let clean: String = text
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-') { c } else { '-' })
        .take(64)
        .collect();
    DeviceId::new(&clean).ok()
}

/// The devices met so far.
#[derive(Default)]
struct Devices {
    list: Vec<SimDevice>,
    /// By the raw text that names them.
    known: HashMap<String, usize>,
    taken: HashMap<DeviceId, String>,
}

impl Devices {
    fn get(&mut self, raw: &str, site: &str, profile: impl FnOnce() -> Option<ProfileId>) -> Result<usize, String> {
        if let Some(known) = self.known.get(raw) {
            return Ok(*known);
        }
        let id = device_id(raw).ok_or_else(|| "the row names no device".to_owned())?;
        if let Some(other) = self.taken.insert(id.clone(), raw.to_owned()) {
            return Err(format!("\"{raw}\" and \"{other}\" would both become the device \"{id}\""));
        }
        let profile = profile().ok_or_else(|| format!("no [[device.profiles]] pattern fits the device \"{raw}\""))?;
        let n = self.list.len();
        self.known.insert(raw.to_owned(), n);
        self.list.push(SimDevice { name: id.to_string(), id, site: site.to_owned(), profile, plate: None });
        Ok(n)
    }
}

impl ReplayPlan {
    /// Reads a table (`.csv` or `.csv.gz`) through a mapping (a built-in name or a file), and the table that describes
    /// its devices, if there is one.
    ///
    /// # Errors
    /// [`ReplayError`] names the file, the line and what to do.
    pub fn load(mapping: &str, table: &Path, inventory: Option<&Path>) -> Result<Self, ReplayError> {
        let mapping = Mapping::load(mapping)?;
        let inventory = inventory.map(Table::open).transpose()?;
        Self::read(&mapping, Table::open(table)?, inventory)
    }

    /// The same from texts; for tests and small tables.
    ///
    /// # Errors
    /// Those of [`ReplayPlan::load`].
    pub fn from_text(mapping: &Mapping, table: &str, inventory: Option<&str>) -> Result<Self, ReplayError> {
        let open = |name: &str, text: &str| {
            Table::new(Path::new(name), Box::new(std::io::Cursor::new(text.as_bytes().to_vec())))
        };
        let inventory = inventory.map(|text| open("inventory.csv", text)).transpose()?;
        Self::read(mapping, open("table.csv", table)?, inventory)
    }

    fn read(mapping: &Mapping, table: Table, inventory: Option<Table>) -> Result<Self, ReplayError> {
        let mut devices = Devices::default();
        let rows = read_rows(mapping, table, &mut devices)?;
        let mut list = devices.list;
        if let Some(inventory) = inventory {
            describe(mapping, inventory, &mut list)?;
        }
        Ok(Self { devices: list, rows })
    }

    /// Every device of the table, in the order of its first row, for registration.
    #[must_use]
    pub fn devices(&self) -> &[SimDevice] {
        &self.devices
    }

    /// Device (by its place in [`ReplayPlan::devices`]) and report, in the order of the table.
    #[must_use]
    pub fn rows(&self) -> &[(usize, Report)] {
        &self.rows
    }

    /// The earliest and the latest time.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = self.rows.iter().map(|(_, report)| report.time());
        Some((times.clone().min()?, times.max()?))
    }

    /// How often each device entered a state: the number of its longest runs of rows in which `channel` is `value`,
    /// in the order of time. Devices that never did are listed with 0.
    #[must_use]
    pub fn episodes_by_device(&self, channel: &str, value: &Value) -> BTreeMap<DeviceId, u64> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|n| (self.rows[*n].0, self.rows[*n].1.time()));
        let mut counts: BTreeMap<DeviceId, u64> = self.devices.iter().map(|device| (device.id.clone(), 0)).collect();
        let mut last: Option<(usize, bool)> = None;
        for n in order {
            let (device, report) = &self.rows[n];
            let Report::Telemetry { values, .. } = report else { continue };
            let Some((_, found)) = values.iter().find(|(name, _)| name == channel) else { continue };
            let inside = found == value;
            let before = matches!(last, Some((d, true)) if d == *device);
            if inside && !before {
                *counts.entry(self.devices[*device].id.clone()).or_default() += 1;
            }
            last = Some((*device, inside));
        }
        counts
    }

    /// The sum of [`ReplayPlan::episodes_by_device`].
    #[must_use]
    pub fn episodes(&self, channel: &str, value: &Value) -> u64 {
        self.episodes_by_device(channel, value).values().sum()
    }
}

fn read_rows(mapping: &Mapping, mut table: Table, devices: &mut Devices) -> Result<Vec<(usize, Report)>, ReplayError> {
    let time_column = table.column(&mapping.time.column)?;
    let filter = match &mapping.filter {
        Some(filter) => Some((table.column(&filter.column)?, filter)),
        None => None,
    };
    let event = match &mapping.event {
        Some(event) => Some((table.column(&event.column)?, event)),
        None => None,
    };
    let mut channels = Vec::new();
    for rule in &mapping.channels {
        channels.push((table.column(&rule.column)?, rule));
    }
    let mut by_column = None;
    let mut wide = Vec::new();
    match &mapping.device {
        DeviceRule::Column { id, profile, profiles } => {
            let mut patterns = Vec::new();
            for rule in profiles {
                patterns.push((table.column(&rule.column)?, rule));
            }
            by_column = Some((table.template(id)?, profile, patterns));
        }
        DeviceRule::Wide(rules) => {
            for rule in rules {
                let profile = rule.profile.clone();
                let device = devices.get(&rule.id, &mapping.head.site, || Some(profile));
                let device =
                    device.map_err(|message| ReplayError::Row { path: table.path.clone(), line: 1, message })?;
                wide.push((table.column(&rule.channel.column)?, device, &rule.channel));
            }
        }
    }

    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    while table.next(&mut record)? {
        let cell = |n: usize| record.get(n).unwrap_or_default();
        if let Some((column, filter)) = filter {
            let text = cell(column);
            let wanted = filter.one_of.is_empty() || filter.one_of.iter().any(|one| one == text);
            if !wanted || filter.none_of.iter().any(|one| one == text) {
                continue;
            }
        }
        if rows.len() >= MAX_ROWS {
            return Err(table.bad(&record, format!("the table has more than {MAX_ROWS} rows: split it")));
        }
        let time = read_time(&mapping.time, cell(time_column)).map_err(|message| table.bad(&record, message))?;
        for (column, device, rule) in &wide {
            let value = read_cell(rule, cell(*column)).map_err(|message| table.bad(&record, message))?;
            if let Some(value) = value {
                let values = vec![(rule.channel.to_string().into(), value)];
                rows.push((*device, Report::Telemetry { time, values }));
            }
        }
        let Some((id, profile, patterns)) = &by_column else { continue };
        let device = devices.get(&fill(id, &record), &mapping.head.site, || {
            let fits = patterns.iter().find(|(column, rule)| matches(&rule.matches, cell(*column)));
            fits.map(|(_, rule)| rule.profile.clone()).or_else(|| (*profile).clone())
        });
        let device = device.map_err(|message| table.bad(&record, message))?;
        let mut values: Values = Vec::new();
        for (column, rule) in &channels {
            let value = read_cell(rule, cell(*column)).map_err(|message| table.bad(&record, message))?;
            values.extend(value.map(|value| (rule.channel.to_string().into(), value)));
        }
        if !values.is_empty() {
            rows.push((device, Report::Telemetry { time, values }));
        }
        if let Some((column, event)) = event
            && let Some(code) = event.map.get(cell(column))
        {
            rows.push((device, Report::Event { time, code: code.clone().into(), values: Vec::new() }));
        }
    }
    Ok(rows)
}

fn read_time(rule: &TimeRule, text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let time = match &rule.format {
        None => text.parse::<jiff::Timestamp>().ok(),
        Some(format) => jiff::fmt::strtime::parse(format, text).ok().and_then(|broken| {
            broken.to_timestamp().ok().or_else(|| {
                let local = broken.to_datetime().ok()?;
                rule.zone.to_timestamp(local).ok()
            })
        }),
    };
    time.map(Timestamp::from).ok_or_else(|| {
        let format = rule.format.as_deref().unwrap_or("RFC 3339");
        format!("\"{text}\" is not a time of the format {format}: correct format in [time]")
    })
}

/// The value of a cell; `None` if it is empty.
fn read_cell(rule: &ChannelRule, text: &str) -> Result<Option<Value>, String> {
    let text = text.trim();
    if text.is_empty() || text == "NA" {
        return Ok(None);
    }
    let mapped = if rule.map.is_empty() {
        text
    } else {
        rule.map.get(text).ok_or_else(|| {
            format!("column \"{}\" holds \"{text}\", which its map does not name: add it", rule.column)
        })?
    };
    match rule.kind {
        CellKind::Text => Ok(Some(Value::Text(mapped.into()))),
        CellKind::Bool => match mapped {
            "true" | "1" => Ok(Some(Value::Bool(true))),
            "false" | "0" => Ok(Some(Value::Bool(false))),
            other => Err(format!("column \"{}\" holds \"{other}\", which is neither true nor false", rule.column)),
        },
        CellKind::Number => match mapped.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(Value::Number(number * rule.scale + rule.offset))),
            Ok(_) => Ok(None),
            Err(_) => Err(format!("column \"{}\" holds \"{mapped}\", which is not a number", rule.column)),
        },
    }
}

/// Gives the devices the sites, names and plates of the inventory.
fn describe(mapping: &Mapping, mut table: Table, devices: &mut [SimDevice]) -> Result<(), ReplayError> {
    let Some(rule) = &mapping.inventory else {
        return Err(ReplayError::NoInventory { mapping: mapping.head.name.clone() });
    };
    let (id, site, name) = (table.template(&rule.id)?, table.template(&rule.site)?, table.template(&rule.name)?);
    let places: HashMap<DeviceId, usize> =
        devices.iter().enumerate().map(|(n, device)| (device.id.clone(), n)).collect();
    let mut record = csv::StringRecord::new();
    let mut plate = rule.plates_from;
    while table.next(&mut record)? {
        let id = device_id(&fill(&id, &record)).ok_or_else(|| table.bad(&record, "the row names no device"))?;
        let Some(device) = places.get(&id).map(|n| &mut devices[*n]) else { continue };
        let place = fill(&site, &record);
        // A unit that the inventory lists without a place stays at the mapping's.
        if !place.trim().is_empty() {
            place.trim().clone_into(&mut device.site);
        }
        device.name = fill(&name, &record).trim().to_owned();
        device.plate = plate.map(|plate| format!("{plate:06}"));
        plate = plate.map(|plate| plate + 1);
    }
    Ok(())
}
