//! Devices, their readings and commands.

use model::{
    AlertSource, ChannelId, CommandId, CommandState, DeviceId, Localised, RuleId, Severity, TicketKind, Timestamp,
    Value,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AlertView, ProfileRef, SiteRef, Text, TicketSummary};
use crate::api::codes::{AlertSourceCode, CommandStateCode, KindCode, SeverityCode};

/// A device as a list shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeviceSummary {
    /// Its name in MQTT topics.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// What people call it.
    pub name: String,
    /// The number on the plate in the car.
    pub plate: Option<String>,
    /// What it publishes.
    pub profile: ProfileRef,
    /// Where it stands.
    pub site: SiteRef,
    /// Whether it is connected; null if it never said.
    pub online: Option<bool>,
    /// When it was last heard of.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub last_seen: Option<Timestamp>,
    /// Tickets on it that are not closed.
    pub open_tickets: u32,
}

/// A page of devices.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceList {
    /// The devices, by id.
    pub devices: Vec<DeviceSummary>,
    /// To be given as `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// The newest value of a channel.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LatestView {
    /// The value.
    #[schema(value_type = Object)]
    pub value: Value,
    /// Its time.
    #[schema(value_type = String, format = "date-time")]
    pub time: Timestamp,
}

/// Something a device measures.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChannelView {
    /// Its name.
    #[schema(value_type = String)]
    pub id: ChannelId,
    /// What people call it.
    #[schema(value_type = Text)]
    pub name: Localised,
    /// `number`, `bool`, `text` or `state`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The unit of a number, as people read it.
    pub unit: Option<&'static str>,
    /// The least value that is possible.
    pub min: Option<f64>,
    /// The greatest value that is possible.
    pub max: Option<f64>,
    /// The names of the states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<String>>,
    /// The newest value.
    pub latest: Option<LatestView>,
}

/// Something that is watched for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RuleView {
    /// Its name.
    #[schema(value_type = String)]
    pub id: RuleId,
    /// What kind of finder it is.
    #[schema(value_type = AlertSourceCode)]
    pub source: AlertSource,
    /// What is wrong when it fires.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// How bad.
    #[schema(value_type = SeverityCode)]
    pub severity: Severity,
    /// The kind of ticket it opens.
    #[schema(value_type = KindCode)]
    pub ticket: TicketKind,
    /// True if a person may be in danger.
    pub life_safety: bool,
    /// The condition as written in the profile, or the channel it follows.
    pub condition: String,
    /// Where the rule or its threshold comes from.
    pub origin: Option<String>,
}

/// A command that may be sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CommandKindView {
    /// Its name.
    pub name: String,
    /// What people call it.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// The arguments it takes.
    pub params: Vec<String>,
}

/// A code that a device sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventView {
    /// When, in event time.
    #[schema(value_type = String, format = "date-time")]
    pub time: Timestamp,
    /// The code.
    pub code: String,
    /// What people call it.
    #[schema(value_type = Text)]
    pub name: Localised,
}

/// A device with everything about it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeviceDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: DeviceSummary,
    /// What it measures.
    pub channels: Vec<ChannelView>,
    /// What is watched for on it.
    pub rules: Vec<RuleView>,
    /// Commands that may be sent to it.
    pub commands: Vec<CommandKindView>,
    /// Its newest tickets, at most 20.
    pub tickets: Vec<TicketSummary>,
    /// Its newest alerts, at most 50.
    pub alerts: Vec<AlertView>,
    /// Its newest events, at most 50.
    pub events: Vec<EventView>,
}

/// How a channel's history is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadingsKind {
    /// Buckets of a number.
    Series,
    /// Points of change of a state, a truth value or a text.
    Steps,
}

/// The points of a channel's history.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Points {
    /// For each bucket: start in ms since the epoch, least, mean and greatest value, number of readings.
    Series(Vec<(i64, f64, f64, f64, u64)>),
    /// For each change: time in ms since the epoch and the value from then on, as text.
    Steps(Vec<(i64, String)>),
}

/// A channel's history, downsampled.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Readings {
    /// The channel.
    #[schema(value_type = String)]
    pub channel: ChannelId,
    /// Its unit, as people read it.
    pub unit: Option<&'static str>,
    /// How the points are to be read.
    pub kind: ReadingsKind,
    /// The start of the time span.
    #[schema(value_type = String, format = "date-time")]
    pub from: Timestamp,
    /// Its end.
    #[schema(value_type = String, format = "date-time")]
    pub to: Timestamp,
    /// The width of a bucket, in seconds; 0 for steps.
    pub bucket_s: f64,
    /// The points, oldest first; at most 2,000.
    pub points: Points,
}

/// A command to be sent.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// Its name: one of the profile's commands.
    pub name: String,
    /// Its arguments; at most 4 KiB of JSON.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub args: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A command and what became of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CommandView {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: CommandId,
    /// Its name.
    pub name: String,
    /// What people call it.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub args: serde_json::Value,
    /// Where it stands.
    #[schema(value_type = CommandStateCode)]
    pub state: CommandState,
    /// The device's own words.
    pub detail: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// When it was asked for.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// After this time it is not carried out.
    #[schema(value_type = String, format = "date-time")]
    pub deadline: Timestamp,
    /// When it last moved on.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
}

/// Commands to a device.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandList {
    /// The newest first; at most 50.
    pub commands: Vec<CommandView>,
}
