//! Alerts: conditions found on devices, with their evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    AlertId, ChannelId, DeviceId, Localised, OrgId, ProfileId, RuleId, RunbookId, SiteId, Timestamp, Unit, Value,
};

/// What kind of ticket an alert belongs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketKind {
    /// A person is, or may be, shut in.
    Entrapment,
    /// The device is out of service or unsafe to use.
    Breakdown,
    /// A failure is expected.
    Forecast,
    /// A periodic self-test or test call failed or did not come.
    TestFailure,
    /// Many devices of a site are affected by one cause outside them (mains, network).
    Outage,
}

impl TicketKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Entrapment, Self::Breakdown, Self::Forecast, Self::TestFailure, Self::Outage];

    /// The name used in the API and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Entrapment => "entrapment",
            Self::Breakdown => "breakdown",
            Self::Forecast => "forecast",
            Self::TestFailure => "test_failure",
            Self::Outage => "outage",
        }
    }
}

impl fmt::Display for TicketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// How bad it is; ordered from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Plan a visit.
    Minor,
    /// The device is or will soon be out of service.
    Major,
    /// A person may be in danger.
    Critical,
}

impl Severity {
    /// The name used in the API and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What an alert is about: one device, or the whole site (all its devices share one ticket).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The device alone.
    #[default]
    Device,
    /// Every device of the site with the same cause.
    Site,
}

/// What found the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSource {
    /// A rule of the profile.
    Rule,
    /// A streaming detector.
    Detector,
    /// A forecast.
    Forecast,
}

/// A condition found on a device, from `raised_at` to `cleared_at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Derived from device, rule and `raised_at` ([`AlertId::derive`]).
    pub id: AlertId,
    /// The organisation that the device belongs to.
    pub org: OrgId,
    /// The device.
    pub device: DeviceId,
    /// The device's site.
    pub site: SiteId,
    /// The device's profile.
    pub profile: ProfileId,
    /// The rule, detector or forecast that found it.
    pub rule: RuleId,
    /// The profile's version at the time.
    pub rule_version: u32,
    /// What kind of finder it was.
    pub source: AlertSource,
    /// The kind of ticket it belongs on.
    pub kind: TicketKind,
    /// Whether it concerns the device or the whole site.
    pub scope: Scope,
    /// How bad it is.
    pub severity: Severity,
    /// True if it may never be silenced, inhibited, throttled or delayed.
    pub life_safety: bool,
    /// What is wrong, in a few words.
    pub title: Localised,
    /// Event time at which the condition was met.
    pub raised_at: Timestamp,
    /// Event time at which it ended.
    pub cleared_at: Option<Timestamp>,
    /// What satisfied the rule.
    pub evidence: Evidence,
    /// The runbook that prepares the repair.
    pub runbook: Option<RunbookId>,
}

impl Alert {
    /// Whether it shares its ticket with other devices. Life safety never does: every lift with a person in danger is a
    /// case of its own, whatever its profile says.
    #[must_use]
    pub fn ticket_scope(&self) -> Scope {
        if self.life_safety { Scope::Device } else { self.scope }
    }

    /// Alerts with the same group key share one ticket while it is open, unless the hub's settings group them otherwise.
    #[must_use]
    pub fn group_key(&self) -> String {
        match self.ticket_scope() {
            Scope::Device => format!("device:{}:{}", self.device, self.kind),
            Scope::Site => format!("site:{}:{}:{}", self.site, self.kind, self.rule),
        }
    }
}

/// Why an alert was raised: enough for a dispatcher to judge it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// One sentence for people.
    pub summary: Localised,
    /// The condition as written in the profile.
    pub condition: String,
    /// Event time from which the condition held.
    pub from: Option<Timestamp>,
    /// Event time of the last contributing observation.
    pub to: Option<Timestamp>,
    /// The values, events and missing signals that it rests on.
    pub observations: Vec<Observation>,
    /// What would clear it, in words or as written in the profile.
    pub clears_when: Localised,
    /// For forecasts: what is expected, when, and how sure.
    pub forecast: Option<ForecastEvidence>,
    /// True if the alert was raised at once, for people's safety, and an earlier message that came later showed that
    /// the condition did not hold: it was withdrawn, nobody was released.
    #[serde(default)]
    pub withdrawn: bool,
    /// True if its rule is on trial: it is told in the log and counted, and nobody is called.
    #[serde(default)]
    pub dry_run: bool,
    /// Event time from which on it has another severity than at first.
    #[serde(default)]
    pub severity_since: Option<Timestamp>,
}

/// One thing that an alert rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// A channel, an event code, or the name of a fused signal.
    pub name: String,
    /// Its value; `None` if the signal was missing.
    pub value: Option<Value>,
    /// The channel's unit.
    pub unit: Option<Unit>,
    /// Event time of the value.
    pub time: Option<Timestamp>,
    /// True if it speaks for the condition, false if it speaks against it or is missing.
    pub supports: bool,
}

/// A trend that is expected to reach a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastEvidence {
    /// The channel that is drifting.
    pub channel: ChannelId,
    /// The limit it is expected to reach, in the channel's unit.
    pub threshold: f64,
    /// The present level of the trend, in the channel's unit.
    pub level: f64,
    /// The slope, in the channel's unit per day.
    pub slope_per_day: f64,
    /// When the trend reaches the limit.
    pub expected_at: Timestamp,
    /// The early end of the interval.
    pub earliest_at: Timestamp,
    /// The late end of the interval; `None` if the trend may never reach it.
    pub latest_at: Option<Timestamp>,
    /// The interval's nominal coverage, such as 0.9.
    pub coverage: f64,
    /// How many observations the trend rests on.
    pub observations: u32,
}

/// What rules, detectors and forecasts hand to the desk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AlertChange {
    /// A condition was met; `cleared_at` is `None`.
    Raised(Box<Alert>),
    /// It goes on with another severity; `cleared_at` is `None`.
    Changed(Box<Alert>),
    /// It ended; `cleared_at` is set and the evidence says what ended it.
    Cleared(Box<Alert>),
}

impl AlertChange {
    /// The alert, as it stands after the change.
    #[must_use]
    pub fn alert(&self) -> &Alert {
        match self {
            Self::Raised(alert) | Self::Changed(alert) | Self::Cleared(alert) => alert,
        }
    }
}
