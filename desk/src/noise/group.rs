//! Groups: which alerts share a ticket, and when people hear of it. A ticket is the group; there is no second one.

use std::time::Duration;

use model::{Alert, Scope};
use serde::{Deserialize, Serialize};

use super::{
    NoiseError,
    labels::{Label, Labels, Matchers},
};

/// The longest time that a first page may wait for more of its group.
pub const MAX_GROUP_WAIT: Duration = Duration::from_secs(10 * 60);

/// When people hear of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// How long the first page waits for more of its group.
    #[serde(with = "model::duration")]
    pub group_wait: Duration,
    /// Whoever has the job hears of devices that joined at most this often.
    #[serde(with = "model::duration")]
    pub group_interval: Duration,
    /// Nobody answered and every step was taken: after this time people are called again.
    #[serde(with = "model::duration")]
    pub repeat_interval: Duration,
}

impl Timing {
    /// Without any wait: what holds for life safety, whatever is configured.
    pub const AT_ONCE: Self = Self { group_wait: Duration::ZERO, ..Self::DEVICE };

    /// One device: nothing to wait for. The interval and the repeat are those of Alertmanager's defaults.
    const DEVICE: Self = Self {
        group_wait: Duration::ZERO,
        group_interval: Duration::from_secs(5 * 60),
        repeat_interval: Duration::from_secs(4 * 60 * 60),
    };
}

impl Default for Timing {
    /// A whole site: ten seconds, in which a power cut reaches every lift of a building (our choice; Alertmanager waits
    /// thirty).
    fn default() -> Self {
        Self { group_wait: Duration::from_secs(10), ..Self::DEVICE }
    }
}

/// Alerts that share a ticket for each site, kind of ticket and value of the labels `by`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name; part of the tickets' keys.
    pub name: String,
    /// Which alerts. The first group that matches takes an alert.
    #[serde(rename = "match")]
    pub matchers: Matchers,
    /// What must be equal beside site and kind. An alert without one of these labels is not of the group.
    #[serde(default)]
    pub by: Vec<Label>,
    /// When people hear of it.
    #[serde(flatten)]
    pub timing: Timing,
}

impl Group {
    /// Checks that it says what it takes.
    ///
    /// # Errors
    /// [`NoiseError`] for what cannot be meant.
    pub fn validate(&self) -> Result<(), NoiseError> {
        self.matchers.validate()?;
        if self.matchers.is_empty() {
            return Err(NoiseError::GroupOfEverything { name: self.name.clone() });
        }
        check_wait(&self.name, self.timing)
    }
}

pub(super) fn check_wait(name: &str, timing: Timing) -> Result<(), NoiseError> {
    if timing.group_wait > MAX_GROUP_WAIT {
        return Err(NoiseError::GroupWait { name: name.to_owned(), wait: timing.group_wait });
    }
    Ok(())
}

/// Where an alert goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Alerts with this key share one ticket while it is open.
    pub key: String,
    /// Whether the ticket is about one device or several of a site.
    pub scope: Scope,
    /// When people hear of it.
    pub timing: Timing,
}

/// Where an alert goes. Life safety always goes to its own device's ticket, at once.
pub(super) fn route(alert: &Alert, groups: &[Group], site: Timing) -> Route {
    if alert.life_safety {
        return Route { key: alert.group_key(), scope: Scope::Device, timing: Timing::AT_ONCE };
    }
    let labels = Labels::of(alert);
    for group in groups.iter().filter(|group| group.matchers.match_labels(&labels)) {
        let Some(values) = group.by.iter().map(|label| labels.get(*label)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let scope = if group.by.contains(&Label::Device) { Scope::Device } else { Scope::Site };
        let key = format!("group:{}:{}:{}:{}", group.name, alert.site, alert.kind, values.join(":"));
        return Route { key, scope, timing: group.timing };
    }
    let scope = alert.ticket_scope();
    let timing = match scope {
        Scope::Device => Timing::DEVICE,
        Scope::Site => site,
    };
    Route { key: alert.group_key(), scope, timing }
}
