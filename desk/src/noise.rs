//! What keeps pages few without hiding anything: inhibition, quiet hours, silences, groups, flapping.
//!
//! A ticket is opened for everything; this decides whether people are called for it. Every decision has a named
//! [`Reason`] that stands on the ticket's timeline. What is held back is looked at again when the reason ends.
//!
//! **Life safety passes by all of it** ([`pipeline::decide`], first line): no setting, silence, group, schedule or
//! flapping state stops or delays the page of a life-safety alert. The tests in `tests/life_safety.rs` try to.

mod flap;
mod group;
mod inhibit;
mod labels;
pub(crate) mod pipeline;
mod quiet;
mod reason;
mod silence;

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{Alert, DeviceId, RuleId, TicketKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Policies, Policy};

pub use flap::{Flap, FlapSettings};
pub use group::{Group, MAX_GROUP_WAIT, Route, Timing};
pub use inhibit::{Inhibition, Source};
pub use labels::{Label, Labels, MAX_PATTERN_CHARS, MAX_PATTERNS, Matchers};
pub use quiet::{Day, QuietHours};
pub use reason::Reason;
pub use silence::{MAX_REASON_CHARS, MAX_SILENCE, Silence};

/// The `[desk.noise]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// What explains what.
    pub inhibitions: Vec<Inhibition>,
    /// When some alerts wait.
    pub quiet_hours: Vec<QuietHours>,
    /// Which alerts share a ticket beyond what their rules say.
    pub groups: Vec<Group>,
    /// When people hear of tickets that concern a whole site.
    pub site: Timing,
    /// When a condition counts as flapping.
    pub flapping: FlapSettings,
}

impl Default for Noise {
    /// A lift without mains cannot work: its other faults follow from that. At a site without mains, lifts fall silent.
    fn default() -> Self {
        let mains_loss = || RuleId::new("mains_loss").into_iter().collect::<Vec<_>>();
        let kinds = [TicketKind::Breakdown, TicketKind::Forecast, TicketKind::TestFailure];
        let of = |label: Label, values: Vec<String>| Matchers([(label, values)].into());
        Self {
            inhibitions: vec![
                Inhibition {
                    name: "no mains at the lift".to_owned(),
                    source: mains_loss(),
                    target: of(Label::Kind, kinds.map(|kind| kind.code().to_owned()).to_vec()),
                    equal: vec![Label::Device],
                },
                Inhibition {
                    name: "silent at a site without mains".to_owned(),
                    source: mains_loss(),
                    target: of(Label::Rule, vec!["controller_silent".to_owned()]),
                    equal: vec![Label::Site],
                },
            ],
            quiet_hours: Vec::new(),
            groups: Vec::new(),
            site: Timing::default(),
            flapping: FlapSettings::default(),
        }
    }
}

impl Noise {
    /// Where an alert goes: which alerts it shares a ticket with, and when people hear of it.
    #[must_use]
    pub fn route(&self, alert: &Alert) -> Route {
        group::route(alert, &self.groups, self.site)
    }

    /// The rules whose alerts may inhibit others.
    #[must_use]
    pub fn sources(&self) -> Vec<&RuleId> {
        self.inhibitions.iter().flat_map(|inhibition| &inhibition.source).collect()
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`NoiseError`] for the first setting that cannot be meant.
    pub fn validate(&self) -> Result<(), NoiseError> {
        self.inhibitions.iter().try_for_each(Inhibition::validate)?;
        self.quiet_hours.iter().try_for_each(QuietHours::validate)?;
        self.groups.iter().try_for_each(Group::validate)?;
        group::check_wait("site", self.site)?;
        let FlapSettings { start, end, half_life, .. } = self.flapping;
        let sane = start.is_finite() && end >= 0.0 && end < start && start > 1.0 && half_life >= Duration::from_secs(1);
        if sane { Ok(()) } else { Err(NoiseError::Flapping) }
    }
}

/// Why a setting or a silence cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// A label with no or too many patterns.
    #[error("the label {label} has {count} patterns; give 1 to {MAX_PATTERNS}")]
    Patterns {
        /// The label.
        label: &'static str,
        /// How many it has.
        count: usize,
    },
    /// A pattern that fits everything, or nobody can read.
    #[error(
        "the pattern \"{pattern}\" of the label {label} is empty, fits everything or has more than {MAX_PATTERN_CHARS} characters; name values, such as \"door_*\""
    )]
    Pattern {
        /// The label.
        label: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// An inhibition that does not say what inhibits what.
    #[error(
        "the inhibition \"{name}\" needs a source and a target; name the rules that inhibit and the labels of what they inhibit"
    )]
    InhibitionOfEverything {
        /// Its name.
        name: String,
    },
    /// An inhibition that reaches over sites.
    #[error(
        "the inhibition \"{name}\" needs \"site\" or \"device\" among its equal labels: a fault here explains nothing elsewhere"
    )]
    InhibitionAnywhere {
        /// Its name.
        name: String,
    },
    /// Quiet hours for everything.
    #[error("the quiet hours \"{name}\" match every alert; name labels, such as severity = [\"minor\"]")]
    QuietHoursOfEverything {
        /// Their name.
        name: String,
    },
    /// Quiet hours that cannot be read.
    #[error(
        "the quiet hours \"{name}\" cannot be read; write from and to as \"22:00\", an IANA time zone, and at least one day"
    )]
    QuietHours {
        /// Their name.
        name: String,
    },
    /// A group for everything.
    #[error("the group \"{name}\" matches every alert; name labels, such as rule = [\"controller_silent\"]")]
    GroupOfEverything {
        /// Its name.
        name: String,
    },
    /// A group that waits too long.
    #[error(
        "the group_wait of \"{name}\" is {}; people must hear of it within {}",
        model::duration::format(*wait),
        model::duration::format(MAX_GROUP_WAIT)
    )]
    GroupWait {
        /// The group.
        name: String,
        /// Its wait.
        wait: Duration,
    },
    /// Scores that contradict each other.
    #[error("desk.noise.flapping needs 0 <= end < start, start above 1, and a half_life of at least 1s")]
    Flapping,
    /// A silence without a reason.
    #[error("a silence needs a reason of 1 to {MAX_REASON_CHARS} characters; say why nobody needs to come")]
    SilenceReason,
    /// A silence of everything.
    #[error("a silence must say what it covers; name a site, a lift, a rule, a kind or a severity")]
    SilenceOfEverything,
    /// A silence without a future.
    #[error("a silence must end after it begins; choose a later end")]
    SilenceEnd,
    /// A silence for too long.
    #[error("a silence may last 30 days at most; choose an earlier end and say so again then")]
    SilenceTooLong,
}

/// What holds an alert's page back, and until when if that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Why.
    pub reason: Reason,
    /// When that ends by itself.
    pub until: Option<Timestamp>,
}

/// What is known around a ticket when an event is handled: the settings, and what may hold pages back.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// The settings.
    pub noise: Arc<Noise>,
    /// The organisation's silences that have not ended.
    pub silences: Arc<Vec<Silence>>,
    /// Its open alerts that may inhibit others.
    pub sources: Arc<Vec<Source>>,
    /// How often conditions came lately; what is not here has not come.
    pub flaps: Arc<HashMap<(DeviceId, RuleId), Flap>>,
    /// Who is called for people in danger where the ticket's own policy calls nobody: the policy of entrapments.
    pub rescue: Arc<Policy>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            noise: Arc::default(),
            silences: Arc::default(),
            sources: Arc::default(),
            flaps: Arc::default(),
            rescue: Arc::new(Policies::default().entrapment),
        }
    }
}

impl Surroundings {
    pub(crate) fn is_flapping(&self, device: &DeviceId, rule: &RuleId) -> bool {
        self.flaps.get(&(device.clone(), rule.clone())).is_some_and(|flap| flap.flapping)
    }
}
