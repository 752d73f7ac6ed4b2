//! Alerts and their evidence.

use model::{AlertId, AlertSource, ChannelId, Localised, RuleId, Severity, Timestamp, Value};
use serde::Serialize;
use utoipa::ToSchema;

use super::{DeviceRef, Text};
use crate::api::codes::{AlertSourceCode, SeverityCode};

/// One signal, value or missing signal that an alert rests on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ObservationView {
    /// A channel, an event code, or the name of a fused signal.
    pub name: String,
    /// What people call it.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// Its value; null if it was missing.
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
    /// Its unit, as people read it.
    pub unit: Option<&'static str>,
    /// Event time of the value.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub time: Option<Timestamp>,
    /// True if it speaks for the condition.
    pub supports: bool,
}

/// A trend that is expected to reach a limit.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ForecastView {
    /// The channel that is drifting.
    #[schema(value_type = String)]
    pub channel: ChannelId,
    /// The limit, in the channel's unit.
    pub threshold: f64,
    /// The present level of the trend.
    pub level: f64,
    /// The slope, in the channel's unit per day.
    pub slope_per_day: f64,
    /// When the trend reaches the limit.
    #[schema(value_type = String, format = "date-time")]
    pub expected_at: Timestamp,
    /// The early end of the interval.
    #[schema(value_type = String, format = "date-time")]
    pub earliest_at: Timestamp,
    /// The late end of the interval; null if it may never be reached.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub latest_at: Option<Timestamp>,
    /// The interval's nominal coverage, such as 0.9.
    pub coverage: f64,
    /// How many observations it rests on.
    pub observations: u32,
}

/// Why an alert was raised.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EvidenceView {
    /// One sentence.
    #[schema(value_type = Text)]
    pub summary: Localised,
    /// The condition as written in the profile.
    pub condition: String,
    /// From when it held.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub from: Option<Timestamp>,
    /// Until when it was last seen to hold.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub to: Option<Timestamp>,
    /// What it rests on.
    pub observations: Vec<ObservationView>,
    /// What would clear it.
    #[schema(value_type = Text)]
    pub clears_when: Localised,
    /// For forecasts: what is expected.
    pub forecast: Option<ForecastView>,
}

/// An alert.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlertView {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: AlertId,
    /// The device it is on.
    pub device: DeviceRef,
    /// The rule, detector or forecast that found it.
    #[schema(value_type = String)]
    pub rule: RuleId,
    /// What kind of finder it was.
    #[schema(value_type = AlertSourceCode)]
    pub source: AlertSource,
    /// What is wrong.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// One sentence of evidence.
    #[schema(value_type = Text)]
    pub reason: Localised,
    /// How bad.
    #[schema(value_type = SeverityCode)]
    pub severity: Severity,
    /// When it was raised, in event time.
    #[schema(value_type = String, format = "date-time")]
    pub raised_at: Timestamp,
    /// When it cleared, in event time.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub cleared_at: Option<Timestamp>,
    /// The whole evidence; null if it is no longer kept.
    pub evidence: Option<EvidenceView>,
}
