//! What an alert is known by: the labels that inhibitions, quiet hours, silences and groups are written in.

use std::collections::BTreeMap;

use model::{Alert, AlertSource, DeviceId, ProfileId, RuleId, RunbookId, Severity, SiteId, TicketKind};
use serde::{Deserialize, Serialize};

use super::NoiseError;

/// The most labels of one set of matchers, and the most patterns of one label.
pub const MAX_PATTERNS: usize = 50;
/// The longest pattern, in characters.
pub const MAX_PATTERN_CHARS: usize = 100;

/// The name of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// The site's id.
    Site,
    /// The device's name in MQTT topics.
    Device,
    /// The profile of the device.
    Profile,
    /// The rule, detector or forecast.
    Rule,
    /// The kind of ticket.
    Kind,
    /// How bad.
    Severity,
    /// What kind of finder.
    Source,
    /// The runbook that prepares the repair; missing if the rule names none.
    Runbook,
}

impl Label {
    /// Every label.
    pub const ALL: [Self; 8] =
        [Self::Site, Self::Device, Self::Profile, Self::Rule, Self::Kind, Self::Severity, Self::Source, Self::Runbook];

    /// The name used in the API and the configuration.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Device => "device",
            Self::Profile => "profile",
            Self::Rule => "rule",
            Self::Kind => "kind",
            Self::Severity => "severity",
            Self::Source => "source",
            Self::Runbook => "runbook",
        }
    }
}

/// The labels of one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Where.
    pub site: SiteId,
    /// On what.
    pub device: DeviceId,
    /// The profile of the device.
    pub profile: ProfileId,
    /// What found it.
    pub rule: RuleId,
    /// The kind of ticket it belongs on.
    pub kind: TicketKind,
    /// How bad.
    pub severity: Severity,
    /// What kind of finder.
    pub source: AlertSource,
    /// The runbook, if the rule names one.
    pub runbook: Option<RunbookId>,
    /// Not a label: nothing that is written in labels applies to life safety.
    pub life_safety: bool,
}

impl Labels {
    /// The labels of an alert.
    #[must_use]
    pub fn of(alert: &Alert) -> Self {
        Self {
            site: alert.site,
            device: alert.device.clone(),
            profile: alert.profile.clone(),
            rule: alert.rule.clone(),
            kind: alert.kind,
            severity: alert.severity,
            source: alert.source,
            runbook: alert.runbook.clone(),
            life_safety: alert.life_safety,
        }
    }

    /// The value of a label; `None` if the alert has no such label.
    #[must_use]
    pub fn get(&self, label: Label) -> Option<String> {
        Some(match label {
            Label::Site => self.site.to_string(),
            Label::Device => self.device.to_string(),
            Label::Profile => self.profile.to_string(),
            Label::Rule => self.rule.to_string(),
            Label::Kind => self.kind.code().to_owned(),
            Label::Severity => self.severity.code().to_owned(),
            Label::Source => match self.source {
                AlertSource::Rule => "rule",
                AlertSource::Detector => "detector",
                AlertSource::Forecast => "forecast",
            }
            .to_owned(),
            Label::Runbook => self.runbook.as_ref()?.to_string(),
        })
    }

    /// True if both have every one of these labels, with equal values. A label that is missing on either side equals
    /// nothing, not even another missing one: two alerts are not related because nothing is known of either.
    #[must_use]
    pub fn equal(&self, other: &Self, labels: &[Label]) -> bool {
        labels.iter().all(|label| self.get(*label).is_some_and(|value| other.get(*label).as_ref() == Some(&value)))
    }
}

/// Which alerts: those that have every label named here, with a value that one of its patterns fits. A pattern is a
/// value, in which `*` stands for any characters. A label that an alert does not have fits no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Matchers(pub BTreeMap<Label, Vec<String>>);

impl Matchers {
    /// True if the alert with these labels is one of them.
    #[must_use]
    pub fn match_labels(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(label, patterns)| {
            labels.get(*label).is_some_and(|value| patterns.iter().any(|pattern| fits(pattern, &value)))
        })
    }

    /// True if nothing is named: then every alert would be one of them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the patterns.
    ///
    /// # Errors
    /// [`NoiseError`] if a label has no pattern, a pattern is empty or names everything, or there are too many.
    pub fn validate(&self) -> Result<(), NoiseError> {
        for (label, patterns) in &self.0 {
            if patterns.is_empty() || patterns.len() > MAX_PATTERNS {
                return Err(NoiseError::Patterns { label: label.code(), count: patterns.len() });
            }
            let bad = |pattern: &&String| {
                pattern.chars().all(|c| c == '*' || c.is_whitespace()) || pattern.chars().count() > MAX_PATTERN_CHARS
            };
            if let Some(pattern) = patterns.iter().find(bad) {
                return Err(NoiseError::Pattern { label: label.code(), pattern: pattern.clone() });
            }
        }
        Ok(())
    }
}

/// True if a pattern, in which `*` stands for any characters, fits the whole of a value.
fn fits(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = value.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, value) in [
            ("door", "door"),
            ("door*", "door_fault"),
            ("*fault", "door_fault"),
            ("d*r_f*t", "door_fault"),
            ("a*a", "aa"),
        ] {
            assert!(fits(pattern, value), "{pattern} {value}");
        }
        for (pattern, value) in [("door", "doors"), ("door*", "a_door"), ("a*a", "a"), ("*x*", "door"), ("", "door")] {
            assert!(!fits(pattern, value), "{pattern} {value}");
        }
    }
}
