//! The mapping file: how the columns of a table become devices, times, channels and events. Written in TOML.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use model::{ChannelId, ProfileId};
use serde::Deserialize;
use toml::Spanned;

use super::ReplayError;

/// The mappings that are part of the program: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("wmata", include_str!("../../mappings/wmata.toml")),
    ("ims_bearing", include_str!("../../mappings/ims_bearing.toml")),
];

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    mapping: Head,
    time: Spanned<RawTime>,
    device: Option<Spanned<RawDevice>>,
    #[serde(default)]
    wide: Vec<Spanned<RawWide>>,
    #[serde(default)]
    channels: Vec<Spanned<RawChannel>>,
    event: Option<RawEvent>,
    filter: Option<Filter>,
    inventory: Option<Inventory>,
}

/// What the mapping is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub name: String,
    /// The site of devices that the inventory does not name.
    pub site: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTime {
    column: String,
    format: Option<String>,
    zone: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    id: String,
    profile: Option<ProfileId>,
    #[serde(default)]
    profiles: Vec<ProfileRule>,
}

/// A profile for the rows whose column matches a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileRule {
    pub column: String,
    /// A text in which `*` stands for anything.
    pub matches: String,
    pub profile: ProfileId,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWide {
    column: String,
    id: String,
    profile: ProfileId,
    channel: ChannelId,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    offset: f64,
}

fn one() -> f64 {
    1.0
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CellKind {
    Number,
    Bool,
    Text,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChannel {
    column: String,
    channel: ChannelId,
    #[serde(rename = "type")]
    kind: Option<CellKind>,
    #[serde(default)]
    map: BTreeMap<String, String>,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    offset: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent {
    column: String,
    map: BTreeMap<String, String>,
}

/// Which rows are used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    pub column: String,
    #[serde(default)]
    pub one_of: Vec<String>,
    #[serde(default)]
    pub none_of: Vec<String>,
}

/// How a second table describes the devices.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inventory {
    /// The device id, as in `[device]`.
    pub id: String,
    pub site: String,
    pub name: String,
    /// The first six-digit plate, if plates are to be made up.
    pub plates_from: Option<u32>,
}

/// How a column becomes a channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChannelRule {
    pub column: String,
    pub channel: ChannelId,
    pub kind: CellKind,
    pub map: BTreeMap<String, String>,
    pub scale: f64,
    pub offset: f64,
}

/// How rows become devices.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DeviceRule {
    /// Each row belongs to the device that a template over its columns names.
    Column { id: String, profile: Option<ProfileId>, profiles: Vec<ProfileRule> },
    /// Each of some columns is a device of its own.
    Wide(Vec<WideRule>),
}

/// A column that is a device of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WideRule {
    pub id: String,
    pub profile: ProfileId,
    pub channel: ChannelRule,
}

/// How event codes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventRule {
    pub column: String,
    pub map: BTreeMap<String, String>,
}

/// How times are read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimeRule {
    pub column: String,
    /// A strptime format; `None`: RFC 3339.
    pub format: Option<String>,
    /// The zone of times that name none.
    pub zone: jiff::tz::TimeZone,
}

/// A checked mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    pub(super) head: Head,
    pub(super) time: TimeRule,
    pub(super) device: DeviceRule,
    pub(super) channels: Vec<ChannelRule>,
    pub(super) event: Option<EventRule>,
    pub(super) filter: Option<Filter>,
    pub(super) inventory: Option<Inventory>,
}

impl Mapping {
    /// Reads a built-in mapping by its name, or a file.
    ///
    /// # Errors
    /// [`ReplayError`] names the file, the line and the remedy.
    pub fn load(path_or_name: &str) -> Result<Self, ReplayError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == path_or_name) {
            return Self::parse(Path::new(&format!("{name}.toml")), text);
        }
        let path = PathBuf::from(path_or_name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(source) => Err(ReplayError::Read { path, source }),
        }
    }

    /// Reads a mapping from its text; `file` is named in errors.
    ///
    /// # Errors
    /// [`ReplayError::Mapping`] names the line and the remedy.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ReplayError> {
        let error = |offset: usize, message: String, remedy: &str| ReplayError::Mapping {
            file: file.to_owned(),
            line: text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1,
            message,
            remedy: remedy.to_owned(),
        };
        let raw: RawFile = toml::from_str(text).map_err(|problem| {
            let at = problem.span().map_or(0, |span| span.start);
            error(at, problem.message().to_owned(), "see firmware-sim/mappings for examples of every key")
        })?;
        let time_at = raw.time.span().start;
        let time = raw.time.into_inner();
        let zone = time.zone.as_deref().unwrap_or("UTC");
        let zone = jiff::tz::TimeZone::get(zone).map_err(|_| {
            error(
                time_at,
                format!("\"{zone}\" is not a time zone"),
                "use an IANA name such as \"UTC\" or \"America/New_York\"",
            )
        })?;
        let device = match (raw.device, raw.wide.is_empty()) {
            (Some(device), true) => {
                let at = device.span().start;
                let device = device.into_inner();
                if device.profile.is_none() && device.profiles.is_empty() {
                    let message = "[device] does not say what the devices are".to_owned();
                    return Err(error(
                        at,
                        message,
                        "add profile, or [[device.profiles]] with column, matches and profile",
                    ));
                }
                DeviceRule::Column { id: device.id, profile: device.profile, profiles: device.profiles }
            }
            (None, false) => DeviceRule::Wide(raw.wide.into_iter().map(|wide| wide_rule(wide.into_inner())).collect()),
            (Some(device), false) => {
                let message = "[device] and [[wide]] are both given".to_owned();
                return Err(error(
                    device.span().start,
                    message,
                    "use [device] for one row per device and time, [[wide]] for one column per device",
                ));
            }
            (None, true) => {
                return Err(error(0, "the mapping names no devices".to_owned(), "add [device] or [[wide]]"));
            }
        };
        if matches!(device, DeviceRule::Column { .. }) && raw.channels.is_empty() && raw.event.is_none() {
            return Err(error(0, "the mapping reads no values".to_owned(), "add [[channels]] or [event]"));
        }
        Ok(Self {
            head: raw.mapping,
            time: TimeRule { column: time.column, format: time.format, zone },
            device,
            channels: raw.channels.into_iter().map(|channel| channel_rule(channel.into_inner())).collect(),
            event: raw.event.map(|event| EventRule { column: event.column, map: event.map }),
            filter: raw.filter,
            inventory: raw.inventory,
        })
    }
}

fn wide_rule(raw: RawWide) -> WideRule {
    WideRule {
        id: raw.id,
        profile: raw.profile,
        channel: ChannelRule {
            column: raw.column,
            channel: raw.channel,
            kind: CellKind::Number,
            map: BTreeMap::new(),
            scale: raw.scale,
            offset: raw.offset,
        },
    }
}

fn channel_rule(raw: RawChannel) -> ChannelRule {
    let kind = raw.kind.unwrap_or(if raw.map.is_empty() { CellKind::Number } else { CellKind::Text });
    ChannelRule { column: raw.column, channel: raw.channel, kind, map: raw.map, scale: raw.scale, offset: raw.offset }
}

/// True if `text` matches a pattern in which `*` stands for anything.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
