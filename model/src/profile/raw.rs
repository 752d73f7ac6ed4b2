//! The profile as it is written: types that mirror the file, for [`super::load`] to check and to turn into the real ones.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::{
    ChannelId, DeviceId, Localised, ProfileId, RuleId, RunbookId, Scope, Severity, TicketKind, Unit, duration,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) profile: RawProfile,
    pub(super) channels: Vec<Spanned<RawChannel>>,
    #[serde(default)]
    pub(super) derived: Vec<RawDerived>,
    #[serde(default)]
    pub(super) events: Vec<Spanned<RawEvent>>,
    #[serde(default)]
    pub(super) rules: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub(super) overrides: Vec<Spanned<RawOverride>>,
    #[serde(default)]
    pub(super) detectors: Vec<Spanned<RawDetector>>,
    #[serde(default)]
    pub(super) forecasts: Vec<Spanned<RawForecast>>,
    #[serde(default)]
    pub(super) runbooks: Vec<Spanned<RawRunbook>>,
    pub(super) failures: Option<Spanned<super::failures::RawFailures>>,
    #[serde(default)]
    pub(super) causes: Vec<Spanned<super::causes::RawCause>>,
    #[serde(default)]
    pub(super) commands: Vec<Spanned<RawCommand>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProfile {
    pub(super) id: ProfileId,
    pub(super) name: Localised,
    pub(super) version: u32,
    #[serde(default, with = "duration::option")]
    pub(super) lateness: Option<Duration>,
    #[serde(default, with = "duration::option")]
    pub(super) gap: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawType {
    Number,
    Bool,
    Text,
    State,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChannel {
    pub(super) id: ChannelId,
    pub(super) name: Localised,
    #[serde(rename = "type")]
    pub(super) kind: RawType,
    pub(super) unit: Option<Unit>,
    pub(super) range: Option<Spanned<[f64; 2]>>,
    pub(super) states: Option<Vec<String>>,
    pub(super) state_names: Option<Spanned<Vec<Localised>>>,
    pub(super) max_len: Option<usize>,
    #[serde(default)]
    pub(super) safety_chain: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDerived {
    pub(super) id: Spanned<ChannelId>,
    pub(super) value: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEvent {
    pub(super) code: String,
    pub(super) name: Localised,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAbsence {
    pub(super) channel: Option<Spanned<String>>,
    pub(super) event: Option<Spanned<String>>,
    #[serde(with = "duration")]
    pub(super) after: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSignal {
    pub(super) id: String,
    pub(super) name: Localised,
    pub(super) when: Spanned<String>,
    pub(super) weight: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFusion {
    pub(super) threshold: f64,
    pub(super) signals: Vec<RawSignal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEventCondition {
    pub(super) codes: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) clear_codes: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSeverityAfter {
    #[serde(with = "duration")]
    pub(super) after: Duration,
    pub(super) severity: Severity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) id: RuleId,
    pub(super) title: Localised,
    pub(super) source: String,
    pub(super) severity: Severity,
    #[serde(default)]
    pub(super) severity_after: Vec<Spanned<RawSeverityAfter>>,
    pub(super) ticket: TicketKind,
    #[serde(default)]
    pub(super) scope: Scope,
    #[serde(default)]
    pub(super) life_safety: bool,
    #[serde(default)]
    pub(super) dry_run: bool,
    pub(super) when: Option<Spanned<String>>,
    pub(super) absence: Option<RawAbsence>,
    pub(super) event: Option<RawEventCondition>,
    pub(super) fusion: Option<RawFusion>,
    pub(super) unless: Option<Spanned<String>>,
    #[serde(default, rename = "for", with = "duration::option")]
    pub(super) hold: Option<Duration>,
    pub(super) clear_when: Option<Spanned<String>>,
    #[serde(default, with = "duration::option")]
    pub(super) clear_for: Option<Duration>,
    pub(super) runbook: Option<Spanned<RunbookId>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOverride {
    pub(super) devices: Vec<DeviceId>,
    pub(super) rule: Spanned<RuleId>,
    pub(super) source: String,
    #[serde(default)]
    pub(super) off: bool,
    pub(super) severity: Option<Severity>,
    pub(super) severity_after: Option<Vec<Spanned<RawSeverityAfter>>>,
    pub(super) when: Option<Spanned<String>>,
    #[serde(default, with = "duration::option")]
    pub(super) after: Option<Duration>,
    pub(super) unless: Option<Spanned<String>>,
    #[serde(default, rename = "for", with = "duration::option")]
    pub(super) hold: Option<Duration>,
    pub(super) clear_when: Option<Spanned<String>>,
    #[serde(default, with = "duration::option")]
    pub(super) clear_for: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDetector {
    pub(super) id: RuleId,
    pub(super) title: Localised,
    pub(super) channel: Spanned<String>,
    pub(super) warm_up: u32,
    pub(super) sigmas: Option<f64>,
    pub(super) min_change: Option<f64>,
    pub(super) novelty: Option<f64>,
    pub(super) beside: Option<Spanned<String>>,
    pub(super) severity: Severity,
    pub(super) ticket: TicketKind,
    pub(super) runbook: Option<Spanned<RunbookId>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDirection {
    Above,
    Below,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawForecast {
    pub(super) id: RuleId,
    pub(super) title: Localised,
    pub(super) channel: Spanned<String>,
    pub(super) threshold: f64,
    pub(super) direction: RawDirection,
    #[serde(with = "duration")]
    pub(super) horizon: Duration,
    #[serde(with = "duration")]
    pub(super) min_span: Duration,
    pub(super) severity: Severity,
    pub(super) runbook: Option<Spanned<RunbookId>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRunbook {
    pub(super) id: RunbookId,
    pub(super) title: Localised,
    pub(super) steps: Vec<Localised>,
    #[serde(default)]
    pub(super) parts: Vec<Localised>,
    #[serde(default)]
    pub(super) tools: Vec<Localised>,
    pub(super) skill: Localised,
    #[serde(with = "duration")]
    pub(super) duration: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCommand {
    pub(super) name: Spanned<String>,
    pub(super) title: Localised,
    #[serde(default)]
    pub(super) params: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) writes: Vec<Spanned<String>>,
    #[serde(with = "duration")]
    pub(super) timeout: Duration,
}
