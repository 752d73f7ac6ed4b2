//! Silences.

use std::collections::BTreeMap;

use model::{AlertId, Localised, RuleId, Severity, SilenceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DeviceRef, Text, TicketRef};
use crate::api::codes::SeverityCode;

/// What somebody decided not to be paged for, for a time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SilenceView {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: SilenceId,
    /// Who made it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Which alerts: for each label the values that it covers.
    pub matchers: BTreeMap<String, Vec<String>>,
    /// From when.
    #[schema(value_type = String, format = "date-time")]
    pub starts_at: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = "date-time")]
    pub ends_at: Timestamp,
    /// When it was made.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// Who ended it before its time, if somebody did.
    pub ended_by: Option<String>,
    /// `pending`, `active` or `ended`.
    pub state: &'static str,
}

/// Silences, those that end last first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SilenceList {
    /// The silences; at most 200.
    pub silences: Vec<SilenceView>,
}

/// A silence to be made. It covers alerts that have every label named, with one of the values given for it; `*` in a
/// value stands for any characters.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// Why nobody needs to come; 1 to 500 characters.
    pub reason: String,
    /// Which alerts, by `site` (its id), `device`, `profile`, `rule`, `kind`, `severity`, `source` or `runbook`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub matchers: desk::noise::Matchers,
    /// From when; now if it is not given.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub starts_at: Option<Timestamp>,
    /// Until when; at most 30 days after its start.
    #[schema(value_type = String, format = "date-time")]
    pub ends_at: Timestamp,
}

/// What a silence would cover.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// Which alerts, as in a silence.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub matchers: desk::noise::Matchers,
}

/// What a silence would cover now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SilencePreview {
    /// How many open alerts it would hold back.
    pub alerts: usize,
    /// On how many devices.
    pub devices: usize,
    /// How many open alerts match and are paged all the same, because people may be in danger.
    pub life_safety: usize,
    /// The alerts that match, life safety first; at most 100.
    pub covered: Vec<CoveredView>,
}

/// An open alert that a silence's matchers fit.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CoveredView {
    /// The alert.
    #[schema(value_type = String, format = "uuid")]
    pub alert: AlertId,
    /// Its device.
    pub device: DeviceRef,
    /// What found it.
    #[schema(value_type = String)]
    pub rule: RuleId,
    /// What is wrong.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// How bad.
    #[schema(value_type = SeverityCode)]
    pub severity: Severity,
    /// Since when.
    #[schema(value_type = String, format = "date-time")]
    pub raised_at: Timestamp,
    /// True if it is paged all the same.
    pub life_safety: bool,
    /// Its ticket, if it is still open.
    pub ticket: Option<TicketRef>,
}
