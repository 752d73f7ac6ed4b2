//! Where a rule stands on a device, and the two clocks that it runs on.

use model::Alert;
use serde::{Deserialize, Serialize};

/// A time that never comes.
pub(crate) const NEVER: i64 = i64::MAX;

/// Where a rule stands on a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The condition does not hold.
    Idle,
    /// It holds, not yet for long enough.
    Pending {
        /// Since when.
        since: i64,
    },
    /// The alert stands.
    Raised {
        /// The alert.
        alert: Box<Alert>,
    },
    /// It is over, not yet for long enough.
    Clearing {
        /// Since when.
        since: i64,
        /// The alert.
        alert: Box<Alert>,
    },
}

/// One rule on one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// When the rule must be looked at again though nothing came.
    #[serde(with = "seldom")]
    pub(crate) due: i64,
    /// When its last alert ended, or its last event was set aside: earlier events do not raise it again.
    pub(crate) settled: i64,
    /// The silence was long enough, but the rule was inhibited.
    pub(crate) withheld: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Idle, due: NEVER, settled: i64::MIN, withheld: false }
    }
}

/// Event time and the hub's time at the same instant.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ClockPair {
    pub(crate) event: i64,
    pub(crate) hub: i64,
}

impl ClockPair {
    /// Event time when the hub's clock shows `hub`; the same where nothing is known.
    pub(crate) fn event_time(clock: Option<Self>, hub: i64) -> i64 {
        clock.map_or(hub, |clock| clock.event.saturating_add(hub.saturating_sub(clock.hub).max(0)))
    }

    /// What the hub's clock shows at this event time.
    pub(crate) fn hub_time(clock: Option<Self>, event: i64) -> i64 {
        match clock {
            Some(clock) if event != NEVER => clock.hub.saturating_add(event.saturating_sub(clock.event)),
            Some(_) | None => event,
        }
    }
}

/// A time that mostly never comes, in a byte if it does not.
mod seldom {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::NEVER;

    pub(super) fn serialize<S: Serializer>(at: &i64, to: S) -> Result<S::Ok, S::Error> {
        Some(*at).filter(|at| *at != NEVER).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.unwrap_or(NEVER))
    }
}
