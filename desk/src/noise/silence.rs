//! Silences: what somebody has decided not to be paged for, for a time, with their name and reason.

use std::time::Duration;

use model::{OrgId, SilenceId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::{
    Held, NoiseError, Reason,
    labels::{Labels, Matchers},
};

/// The longest silence: whoever needs more says so again.
pub const MAX_SILENCE: Duration = Duration::from_secs(30 * 86_400);
/// The longest reason, in characters.
pub const MAX_REASON_CHARS: usize = 500;

/// A silence of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// The organisation whose alerts it concerns.
    pub org: OrgId,
    /// Who made it.
    pub author: UserId,
    /// Their name at the time.
    pub author_name: String,
    /// Why.
    pub reason: String,
    /// Which alerts.
    pub matchers: Matchers,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when. There is no silence without an end.
    pub ends_at: Timestamp,
}

impl Silence {
    /// True from its start to before its end.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// Checks that it says why, what and until when.
    ///
    /// # Errors
    /// [`NoiseError`] for the first of them that it does not say.
    pub fn validate(&self) -> Result<(), NoiseError> {
        if self.reason.trim().is_empty() || self.reason.chars().count() > MAX_REASON_CHARS {
            return Err(NoiseError::SilenceReason);
        }
        if self.matchers.is_empty() {
            return Err(NoiseError::SilenceOfEverything);
        }
        self.matchers.validate()?;
        if self.ends_at <= self.starts_at {
            return Err(NoiseError::SilenceEnd);
        }
        if self.ends_at.since(self.starts_at) > MAX_SILENCE {
            return Err(NoiseError::SilenceTooLong);
        }
        Ok(())
    }
}

/// The third stage: what a silence covers, until the last of those that cover it ends.
pub(super) fn silenced(target: &Labels, silences: &[Silence], now: Timestamp) -> Option<Held> {
    let covering = silences.iter().filter(|silence| silence.is_active(now) && silence.matchers.match_labels(target));
    covering.max_by_key(|silence| silence.ends_at).map(|silence| Held {
        reason: Reason::Silenced {
            silence: silence.id,
            by: silence.author_name.clone(),
            why: silence.reason.clone(),
            until: silence.ends_at,
        },
        until: Some(silence.ends_at),
    })
}
