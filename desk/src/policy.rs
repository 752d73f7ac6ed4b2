//! Escalation policies: who is called, how long to wait, what closes a ticket.

use std::time::Duration;

use model::{RescueLevel, TicketKind, duration};
use serde::{Deserialize, Serialize};

use crate::{Noise, NoiseError};

/// The policy for each kind of ticket: the `[desk]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// People shut in.
    pub entrapment: Policy,
    /// Devices out of service.
    pub breakdown: Policy,
    /// Expected failures.
    pub forecast: Policy,
    /// Failed self-tests.
    pub test_failure: Policy,
    /// Site-wide causes.
    pub outage: Policy,
    /// What keeps pages few.
    pub noise: Noise,
}

impl Policies {
    /// The policy for a kind of ticket.
    #[must_use]
    pub fn get(&self, kind: TicketKind) -> &Policy {
        match kind {
            TicketKind::Entrapment => &self.entrapment,
            TicketKind::Breakdown => &self.breakdown,
            TicketKind::Forecast => &self.forecast,
            TicketKind::TestFailure => &self.test_failure,
            TicketKind::Outage => &self.outage,
        }
    }

    /// Checks every policy.
    ///
    /// # Errors
    /// [`PolicyError`] for the first setting that cannot be meant.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if self.entrapment.steps.is_empty() {
            return Err(PolicyError::EntrapmentWithoutSteps);
        }
        for kind in TicketKind::ALL {
            let policy = self.get(kind);
            let count = policy.steps.len();
            if count > MAX_STEPS {
                return Err(PolicyError::TooManySteps { kind, count });
            }
            if let Some((index, step)) = policy.steps.iter().enumerate().find(|(_, step)| step.wait < MIN_WAIT) {
                return Err(PolicyError::WaitTooShort { kind, index, wait: step.wait });
            }
            if policy.repeats > MAX_REPEATS {
                return Err(PolicyError::TooManyRepeats { kind, repeats: policy.repeats });
            }
            if let Some(within) = policy.arrive_within.filter(|within| *within < MIN_ARRIVAL) {
                return Err(PolicyError::ArrivalTooShort { kind, within });
            }
        }
        Ok(self.noise.validate()?)
    }
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A setting of `desk.noise` cannot be meant.
    #[error("desk.noise: {0}")]
    Noise(#[from] NoiseError),
    /// People shut in would wait unseen.
    #[error(
        "desk.entrapment has no steps: people shut in would wait and nobody would be called; add at least one step"
    )]
    EntrapmentWithoutSteps,
    /// There are more steps than can be meant.
    #[error("desk.{kind} has {count} steps; at most {MAX_STEPS} are allowed, use `repeats` to go through them again")]
    TooManySteps {
        /// The kind of ticket.
        kind: TicketKind,
        /// How many steps it has.
        count: usize,
    },
    /// A step would be over before anybody can answer.
    #[error(
        "desk.{kind}.steps[{index}].wait is {}: give people at least {} to answer, such as \"3m\"",
        duration::format(*wait),
        duration::format(MIN_WAIT)
    )]
    WaitTooShort {
        /// The kind of ticket.
        kind: TicketKind,
        /// Which step, counted from 0.
        index: usize,
        /// Its wait.
        wait: Duration,
    },
    /// People would be called for ever.
    #[error("desk.{kind}.repeats is {repeats}; at most {MAX_REPEATS} are allowed")]
    TooManyRepeats {
        /// The kind of ticket.
        kind: TicketKind,
        /// How many repeats it has.
        repeats: u32,
    },
    /// Nobody can arrive in no time.
    #[error(
        "desk.{kind}.arrive_within is {}: give people at least {} to arrive, such as \"30m\", or leave it out",
        duration::format(*within),
        duration::format(MIN_ARRIVAL)
    )]
    ArrivalTooShort {
        /// The kind of ticket.
        kind: TicketKind,
        /// The time allowed.
        within: Duration,
    },
}

/// The most steps of a policy.
pub const MAX_STEPS: usize = 20;
/// The most repeats of a policy.
pub const MAX_REPEATS: u32 = 100;
/// The shortest wait of a step.
pub const MIN_WAIT: Duration = Duration::from_secs(10);
/// The shortest time to arrive.
pub const MIN_ARRIVAL: Duration = Duration::from_secs(60);

/// How one kind of ticket escalates and ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The levels to call, in order. Empty: nobody is paged; the ticket waits on the board.
    pub steps: Vec<Step>,
    /// How often the whole list is repeated when nobody answers.
    #[serde(default)]
    pub repeats: u32,
    /// Acknowledged but nobody on site after this time: escalation resumes with the next level.
    #[serde(default, with = "model::duration::option", skip_serializing_if = "Option::is_none")]
    pub arrive_within: Option<Duration>,
    /// Close by itself when every alert has cleared (and, for entrapments, the person is released).
    pub close_when_restored: bool,
    /// Tell subscribers of new tickets of this kind and of their milestones.
    pub tell_subscribers: bool,
}

/// One step of an escalation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Who is called.
    pub level: RescueLevel,
    /// How long to wait for an answer before the next step.
    #[serde(with = "model::duration")]
    pub wait: Duration,
}

impl Default for Policies {
    /// Rescue clocks after the practice of Chinese municipal rescue centres: three levels resolved within five
    /// minutes (Guangzhou), response within three (Jinan), arrival within thirty (TSG T5002-2017).
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        let step = |level, wait| Step { level, wait: minutes(wait) };
        let maintainer = |wait, repeats| Policy {
            steps: vec![step(RescueLevel::Maintainer, wait)],
            repeats,
            arrive_within: None,
            close_when_restored: true,
            tell_subscribers: false,
        };
        Self {
            entrapment: Policy {
                steps: vec![
                    step(RescueLevel::Maintainer, 3),
                    step(RescueLevel::Station, 2),
                    step(RescueLevel::FireService, 5),
                ],
                repeats: 5,
                arrive_within: Some(minutes(30)),
                close_when_restored: true,
                tell_subscribers: true,
            },
            breakdown: Policy { arrive_within: Some(minutes(240)), tell_subscribers: true, ..maintainer(15, 3) },
            forecast: maintainer(8 * 60, 2),
            test_failure: maintainer(60, 3),
            outage: Policy { tell_subscribers: true, ..maintainer(10, 3) },
            noise: Noise::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::RescueLevel;

    use super::{Policies, Step};

    /// What is wrong with the default policies after `change`.
    fn error(change: impl FnOnce(&mut Policies)) -> String {
        let mut policies = Policies::default();
        change(&mut policies);
        policies.validate().unwrap_err().to_string()
    }

    #[test]
    fn a_policy_that_cannot_be_meant_is_refused_in_a_sentence() {
        assert_eq!(Policies::default().validate(), Ok(()));
        assert_eq!(
            error(|p| p.entrapment.steps.clear()),
            "desk.entrapment has no steps: people shut in would wait and nobody would be called; add at least one step"
        );
        assert_eq!(
            error(|p| p.entrapment.steps[1].wait = Duration::ZERO),
            "desk.entrapment.steps[1].wait is 0s: give people at least 10s to answer, such as \"3m\""
        );
        assert_eq!(
            error(|p| p.outage.steps = vec![Step { level: RescueLevel::Station, wait: Duration::from_secs(60) }; 21]),
            "desk.outage has 21 steps; at most 20 are allowed, use `repeats` to go through them again"
        );
        assert_eq!(error(|p| p.forecast.repeats = 101), "desk.forecast.repeats is 101; at most 100 are allowed");
        assert_eq!(
            error(|p| p.breakdown.arrive_within = Some(Duration::ZERO)),
            "desk.breakdown.arrive_within is 0s: give people at least 1m to arrive, such as \"30m\", or leave it out"
        );
    }

    #[test]
    fn a_kind_other_than_entrapment_may_wait_on_the_board() {
        let mut policies = Policies::default();
        policies.forecast.steps.clear();
        assert_eq!(policies.validate(), Ok(()));
    }
}
