//! The profile: what a kind of device publishes, and what to watch for on it. Written in TOML, one file a kind.
//!
//! [`Profile::parse`] checks everything that needs no expression compiler: names, units, ranges, durations and
//! references. The `rules` crate compiles the expressions and checks them against the channels.

mod causes;
mod failures;
mod load;
mod overrides;
mod raw;
mod safety;
mod severity;

use std::{fmt, path::PathBuf, time::Duration};

use serde::Serialize;

pub use causes::Cause;
pub use failures::{FAILURE_RISK, Failures, threshold};
pub use load::did_you_mean;
pub use safety::Refusal;

use crate::{
    CauseId, ChannelId, DeviceId, Localised, ProfileId, RuleId, RunbookId, Scope, Severity, TicketKind, Unit, Value,
};

/// A problem in a profile, with its place and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}; {remedy}", file.display())]
pub struct ProfileError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// A piece of the file and the line it starts on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located<T> {
    /// The piece.
    pub value: T,
    /// Its line, from 1.
    pub line: usize,
}

/// A kind of device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// Its name; also the name of its table of readings.
    pub id: ProfileId,
    /// What people call it.
    pub name: Localised,
    /// Raised whenever the rules change.
    pub version: u32,
    /// How much later than a later message an earlier one may come and still be taken in its place.
    pub lateness: Duration,
    /// How long a device may be silent for what it said last to be still taken as so; `None`: for ever.
    pub gap: Option<Duration>,
    /// The file it was read from.
    #[serde(skip)]
    pub file: PathBuf,
    /// What it measures.
    pub channels: Vec<Channel>,
    /// Numbers that are calculated from channels.
    pub derived: Vec<Derived>,
    /// The codes it can send.
    pub events: Vec<EventKind>,
    /// Conditions to watch for.
    pub rules: Vec<Rule>,
    /// Rules that are otherwise on some devices.
    pub overrides: Vec<Override>,
    /// Streaming anomaly detectors.
    pub detectors: Vec<Detector>,
    /// Trends to extrapolate.
    pub forecasts: Vec<Forecast>,
    /// What failure models learn to foresee; `None`: nothing.
    pub failures: Option<Failures>,
    /// What may lie behind what is found.
    pub causes: Vec<Cause>,
    /// How to repair what is found.
    pub runbooks: Vec<Runbook>,
    /// Commands that may be sent down.
    pub commands: Vec<CommandKind>,
}

impl Profile {
    /// The channel with this name.
    #[must_use]
    pub fn channel(&self, id: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.id.as_str() == id)
    }

    /// The event with this code.
    #[must_use]
    pub fn event(&self, code: &str) -> Option<&EventKind> {
        self.events.iter().find(|event| event.code == code)
    }

    /// The runbook with this name.
    #[must_use]
    pub fn runbook(&self, id: &RunbookId) -> Option<&Runbook> {
        self.runbooks.iter().find(|runbook| runbook.id == *id)
    }

    /// The cause with this name.
    #[must_use]
    pub fn cause(&self, id: &CauseId) -> Option<&Cause> {
        self.causes.iter().find(|cause| cause.id == *id)
    }

    /// The profile as it is on one device; `None` if nothing is otherwise there.
    #[must_use]
    pub fn on(&self, device: &DeviceId) -> Option<Self> {
        let here: Vec<&Override> = self.overrides.iter().filter(|over| over.devices.contains(device)).collect();
        if here.is_empty() {
            return None;
        }
        let as_here = |rule: &Rule| match here.iter().find(|over| over.id == rule.id) {
            Some(over) => over.rule.clone(),
            None => Some(rule.clone()),
        };
        let rules = self.rules.iter().filter_map(as_here).collect();
        Some(Self { rules, overrides: Vec::new(), ..self.clone() })
    }

    /// An error at a line of this profile's file.
    #[must_use]
    pub fn error(&self, line: usize, message: impl Into<String>, remedy: impl Into<String>) -> ProfileError {
        ProfileError { file: self.file.clone(), line, message: message.into(), remedy: remedy.into() }
    }
}

/// Something a device measures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Channel {
    /// Its name; also the name of its column.
    pub id: ChannelId,
    /// What people call it.
    pub name: Localised,
    /// What its values are.
    pub kind: ChannelKind,
    /// What people call each of a state channel's states; empty if the profile does not say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state_names: Vec<Localised>,
    /// It tells of the safety chain: no command may write it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub safety_chain: bool,
}

/// A number that is calculated from channels: rules use it by its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Derived {
    /// Its name; no channel has the same.
    pub id: ChannelId,
    /// How it is calculated, in CEL over the channels and the derived numbers before it.
    pub value: Located<String>,
}

/// What a channel's values are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChannelKind {
    /// A number.
    Number {
        /// Its unit.
        unit: Unit,
        /// The least value that is physically possible.
        min: f64,
        /// The greatest value that is physically possible.
        max: f64,
    },
    /// A truth value.
    Bool,
    /// Free text.
    Text {
        /// The longest text accepted, in bytes.
        max_len: usize,
    },
    /// One of a set of named states, sent as text.
    State {
        /// The names.
        states: Vec<String>,
    },
}

/// Why a value does not fit its channel.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Misfit {
    /// The value is of another type.
    #[error("channel \"{channel}\" takes {expected}, not the {found} {value}")]
    Type {
        /// The channel.
        channel: ChannelId,
        /// What it takes.
        expected: String,
        /// The type that came.
        found: &'static str,
        /// The value that came.
        value: String,
    },
    /// The value cannot be true.
    #[error(
        "channel \"{channel}\" reads {value} {unit}, outside what is physically possible ({min} to {max} {unit}); check the sensor or the unit it sends"
    )]
    Range {
        /// The channel.
        channel: ChannelId,
        /// The value that came.
        value: f64,
        /// The channel's unit.
        unit: Unit,
        /// The least possible value.
        min: f64,
        /// The greatest possible value.
        max: f64,
    },
}

impl Channel {
    /// The unit of a numeric channel.
    #[must_use]
    pub fn unit(&self) -> Option<Unit> {
        match self.kind {
            ChannelKind::Number { unit, .. } => Some(unit),
            ChannelKind::Bool | ChannelKind::Text { .. } | ChannelKind::State { .. } => None,
        }
    }

    /// Checks that a value is of the channel's type and physically possible.
    ///
    /// # Errors
    /// [`Misfit`] says which of the two it is not.
    pub fn check(&self, value: &Value) -> Result<(), Misfit> {
        let wrong_type = |expected: String| Misfit::Type {
            channel: self.id.clone(),
            expected,
            found: value.kind(),
            value: value.to_string().chars().take(80).collect(),
        };
        match (&self.kind, value) {
            (ChannelKind::Number { unit, min, max }, Value::Number(number)) => {
                if (*min..=*max).contains(number) {
                    Ok(())
                } else {
                    Err(Misfit::Range { channel: self.id.clone(), value: *number, unit: *unit, min: *min, max: *max })
                }
            }
            (ChannelKind::Bool, Value::Bool(_)) => Ok(()),
            (ChannelKind::Text { max_len }, Value::Text(text)) if text.len() <= *max_len => Ok(()),
            (ChannelKind::State { states }, Value::Text(text)) if states.iter().any(|s| **s == **text) => Ok(()),
            (ChannelKind::Number { .. }, Value::Bool(_) | Value::Text(_)) => Err(wrong_type("a number".to_owned())),
            (ChannelKind::Bool, Value::Number(_) | Value::Text(_)) => Err(wrong_type("true or false".to_owned())),
            (ChannelKind::Text { max_len }, _) => Err(wrong_type(format!("a text of at most {max_len} bytes"))),
            (ChannelKind::State { states }, _) => Err(wrong_type(format!("one of {}", states.join(", ")))),
        }
    }
}

/// A code that a device can send.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventKind {
    /// The code.
    pub code: String,
    /// What people call it.
    pub name: Localised,
}

/// A condition to watch for, and what to make of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// What is wrong when it holds, in a few words.
    pub title: Localised,
    /// Where the rule or its threshold comes from: a standard, a paper, a data set, a stated reason.
    pub source: String,
    /// How bad it is.
    pub severity: Severity,
    /// How bad it is later: after so long, in order of time. A rule for life safety never falls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub severity_after: Vec<SeverityAfter>,
    /// The kind of ticket to open.
    pub ticket: TicketKind,
    /// One ticket a device, or one for the whole site.
    pub scope: Scope,
    /// True if it may never be silenced, inhibited, throttled or delayed.
    pub life_safety: bool,
    /// True if it is on trial: what it finds is told in the log and counted, and nobody is called.
    pub dry_run: bool,
    /// What must hold.
    pub condition: Condition,
    /// While this is known to hold the rule is not raised (an inhibition); never set on a life-safety rule.
    pub unless: Option<Located<String>>,
    /// How long it must hold before the alert is raised (`for`).
    pub hold: Duration,
    /// What ends it; `None`: the condition no longer holds.
    pub clear_when: Option<Located<String>>,
    /// How long that must hold before the alert is cleared.
    pub clear_for: Duration,
    /// The runbook that prepares the repair.
    pub runbook: Option<RunbookId>,
    /// The line the rule starts on.
    pub line: usize,
}

/// From when on an alert that still stands has another severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SeverityAfter {
    /// Counted from when it was raised.
    pub after: Duration,
    /// How bad it is from then on.
    pub severity: Severity,
}

/// A rule as it is on some devices; never one for life safety.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Override {
    /// The devices.
    pub devices: Vec<DeviceId>,
    /// The rule's name.
    pub id: RuleId,
    /// The rule as it is there; `None`: it is off.
    pub rule: Option<Rule>,
}

/// What a rule waits for. Expressions are written in CEL over the profile's channels.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// An expression is true.
    When(Located<String>),
    /// Nothing was heard for a time.
    Absence {
        /// What should have been heard.
        of: AbsenceOf,
        /// How long the silence must last.
        after: Duration,
    },
    /// One of these codes came; ended by one of the others.
    Event {
        /// The codes that raise it.
        codes: Vec<String>,
        /// The codes that end it.
        clear_codes: Vec<String>,
    },
    /// Several signals together weigh enough.
    Fusion {
        /// The signals.
        signals: Vec<Signal>,
        /// The sum of weights that raises it.
        threshold: f64,
    },
}

/// What an absence rule listens for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsenceOf {
    /// Any message at all, or the device's last will.
    Contact,
    /// A value of this channel.
    Channel(ChannelId),
    /// This event code.
    Event(String),
}

/// One of the signals of a fused condition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    /// Its name.
    pub id: String,
    /// What it means when it holds, in a few words.
    pub name: Localised,
    /// The expression.
    pub when: Located<String>,
    /// What it adds when it holds; negative if it speaks against.
    pub weight: f64,
}

/// A streaming anomaly detector on one channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detector {
    /// Its name.
    pub id: RuleId,
    /// What is wrong when it fires, in a few words.
    pub title: Localised,
    /// The channel it watches.
    pub channel: ChannelId,
    /// How many observations it needs before it may fire.
    pub warm_up: u32,
    /// What it looks for.
    pub method: DetectorMethod,
    /// How bad it is.
    pub severity: Severity,
    /// The kind of ticket to open.
    pub ticket: TicketKind,
    /// The runbook that prepares the repair.
    pub runbook: Option<RunbookId>,
    /// The line it starts on.
    pub line: usize,
}

/// What a detector looks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectorMethod {
    /// A level that has left its own baseline for good.
    Shift {
        /// How far, in robust standard deviations.
        sigmas: f64,
        /// The least change that matters, as a share of the baseline (0.1 is ten per cent).
        min_change: f64,
    },
    /// Something never seen before: a value, a step, a departure from the time of day, restlessness.
    Novelty {
        /// The anomaly score from which on it fires, 0.5 to 1.
        score: f64,
        /// A channel that follows the same causes: what it lets expect is taken off before anything is scored.
        beside: Option<ChannelId>,
    },
}

/// The side on which a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Rising to the limit.
    Above,
    /// Falling to the limit.
    Below,
}

/// A trend on one channel that is extrapolated to a limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Its name.
    pub id: RuleId,
    /// What is expected to fail, in a few words.
    pub title: Localised,
    /// The channel whose trend is followed.
    pub channel: ChannelId,
    /// The limit at which the device fails or must be taken out of service, in the channel's unit.
    pub threshold: f64,
    /// The side on which it is reached.
    pub direction: Direction,
    /// The alert is raised when the limit is expected within this time.
    pub horizon: Duration,
    /// The least span of history a trend may rest on.
    pub min_span: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// The runbook that prepares the repair.
    pub runbook: Option<RunbookId>,
    /// The line it starts on.
    pub line: usize,
}

/// How to repair something: what the ticket brings along.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Runbook {
    /// Its name.
    pub id: RunbookId,
    /// What it repairs.
    pub title: Localised,
    /// The steps, in order.
    pub steps: Vec<Localised>,
    /// Parts to bring.
    pub parts: Vec<Localised>,
    /// Tools to bring.
    pub tools: Vec<Localised>,
    /// The qualification needed.
    pub skill: Localised,
    /// How long it usually takes.
    pub duration: Duration,
}

/// A command that may be sent down to a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandKind {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: Localised,
    /// The names of the arguments it takes.
    pub params: Vec<String>,
    /// The channels that it changes, as far as the profile says.
    pub writes: Vec<ChannelId>,
    /// How long the device has to answer.
    pub timeout: Duration,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Above => "above",
            Self::Below => "below",
        })
    }
}
