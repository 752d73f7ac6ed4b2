//! Inhibition: while one thing is known to be wrong, what follows from it is not paged.

use std::sync::Arc;

use model::{Alert, AlertId, Localised, RuleId, TicketId};
use serde::{Deserialize, Serialize};

use super::{
    Held, NoiseError, Reason,
    labels::{Label, Labels, Matchers},
};

/// A rule of inhibition: while a source alert is open, target alerts with equal labels are not paged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibition {
    /// Its name, as it is told on timelines.
    pub name: String,
    /// The rules whose alerts inhibit.
    pub source: Vec<RuleId>,
    /// What they inhibit.
    pub target: Matchers,
    /// The labels that both must have, with equal values.
    pub equal: Vec<Label>,
}

impl Inhibition {
    /// Checks that it says what it concerns.
    ///
    /// # Errors
    /// [`NoiseError`] for what is missing.
    pub fn validate(&self) -> Result<(), NoiseError> {
        self.target.validate()?;
        if self.source.is_empty() || self.target.is_empty() {
            return Err(NoiseError::InhibitionOfEverything { name: self.name.clone() });
        }
        if !self.equal.contains(&Label::Site) && !self.equal.contains(&Label::Device) {
            return Err(NoiseError::InhibitionAnywhere { name: self.name.clone() });
        }
        Ok(())
    }

    fn is_source(&self, labels: &Labels) -> bool {
        self.source.contains(&labels.rule)
    }
}

/// An open alert that may inhibit others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The alert.
    pub alert: AlertId,
    /// Its labels.
    pub labels: Labels,
    /// What is wrong.
    pub title: Localised,
    /// The ticket it is on.
    pub ticket: TicketId,
}

impl Source {
    /// An open alert on its ticket.
    #[must_use]
    pub fn new(alert: &Alert, ticket: TicketId) -> Self {
        Self { alert: alert.id, labels: Labels::of(alert), title: alert.title.clone(), ticket }
    }
}

/// The first stage: what an open source inhibits, with no known end. Sources on the same device are named before
/// others, so that what is held back waits for its own lift.
///
/// An alert that is itself a source of the rule is never its target: two lifts without mains do not hide each other.
pub(super) fn inhibited(target: &Labels, inhibitions: &[Inhibition], sources: &Arc<Vec<Source>>) -> Option<Held> {
    let mut found: Option<(&Inhibition, &Source)> = None;
    for rule in inhibitions.iter().filter(|rule| !rule.is_source(target) && rule.target.match_labels(target)) {
        for source in sources.iter().filter(|source| rule.is_source(&source.labels)) {
            let better = found
                .is_none_or(|(_, known)| known.labels.device != target.device && source.labels.device == target.device);
            if better && source.labels.equal(target, &rule.equal) {
                found = Some((rule, source));
            }
        }
    }
    found.map(|(rule, source)| Held {
        reason: Reason::Inhibited {
            rule: rule.name.clone(),
            alert: source.alert,
            ticket: source.ticket,
            device: source.labels.device.clone(),
            title: source.title.clone(),
        },
        until: None,
    })
}
