//! Calling people, level after level, until somebody answers.
//!
//! One call of [`crate::transition`] takes at most one step that pages somebody. Steps are anchored to the time they
//! were due, so that a timer that is polled a second late every time does not drift. If the hub was down and a step is
//! taken late, the people it calls still get at least half of the step's wait before the next step: a long outage is
//! caught up step by step, not by ringing everybody at once.

use std::time::Duration;

use model::{PersonId, RescueLevel, Timestamp};

use crate::{Actor, Contact, Status, What, draft::Draft, notices::page_ways};

/// The shortest wait, whatever the policy says: a timer never fires twice at one time.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

impl Draft<'_> {
    /// Starts calling from the first level.
    pub(crate) fn call_from_start(&mut self, by: &Actor) {
        self.ticket.escalation.step = 0;
        self.ticket.escalation.round = 0;
        self.ticket.repeat_at = None;
        self.step(self.now, by);
    }

    /// Calls again after somebody had it: the level after the last one called, with all repeats still to come.
    pub(crate) fn call_on(&mut self, due: Timestamp, by: &Actor) {
        self.ticket.escalation.round = 0;
        if self.step_index() >= self.ticket.policy.steps.len() {
            self.ticket.escalation.step = 0;
        }
        self.step(due, by);
    }

    /// Takes the next step that reaches anybody. Levels with nobody on call are passed over at once. If no level has
    /// anybody, that is on the timeline and is tried again after the step's wait, as the roster may change.
    pub(crate) fn step(&mut self, due: Timestamp, by: &Actor) {
        let steps = self.ticket.policy.steps.clone();
        let Some(first) = steps.get(self.step_index()).or(steps.first()) else {
            self.ticket.escalation.calling = false;
            self.ticket.escalation.next_at = None;
            return;
        };
        self.ticket.escalation.calling = true;
        self.ticket.escalation.last_at = Some(self.now);
        let mut exhausted = false;
        for _ in 0..steps.len() {
            if self.step_index() >= steps.len() {
                if self.is_last_round() && !exhausted {
                    exhausted = true;
                    self.log(&Actor::Hub, What::Exhausted);
                }
                if !self.begin_round() {
                    break;
                }
            }
            let Some(step) = steps.get(self.step_index()) else { break };
            self.ticket.escalation.step += 1;
            if self.call(step.level, step.wait, by) {
                self.ticket.escalation.next_at = Some(self.after(due, step.wait));
                return;
            }
            self.log(&Actor::Hub, What::NobodyOnCall { level: step.level });
        }
        if !exhausted {
            self.log(&Actor::Hub, What::Exhausted);
        }
        let over = self.step_index() >= steps.len() && self.is_last_round() && !self.ticket.life_safety;
        self.ticket.escalation.next_at = (!over).then(|| self.after(due, first.wait));
        let repeat = self.ticket.timing.repeat_interval;
        self.ticket.repeat_at = (over && !repeat.is_zero()).then(|| self.now + repeat.max(SHORTEST_WAIT));
    }

    /// Pages everybody who can be reached at a level; false if there is nobody.
    fn call(&mut self, level: RescueLevel, wait: Duration, by: &Actor) -> bool {
        let roster = self.roster;
        let mut contacts: Vec<&Contact> = Vec::new();
        for contact in roster.on_call.iter().filter(|(at, _)| *at == level).flat_map(|(_, contacts)| contacts) {
            let known = contacts.iter().any(|other| other.person == contact.person);
            if !known && !self.declines_now(contact.person) && !page_ways(&self.ticket, contact).is_empty() {
                contacts.push(contact);
            }
        }
        if contacts.is_empty() {
            return false;
        }
        self.ticket.escalation.generation += 1;
        self.ticket.escalation.level = Some(level);
        for contact in contacts {
            self.page(contact, level, wait, by);
        }
        true
    }

    /// Somebody has it: stop calling, and tell everybody else who was called.
    pub(crate) fn stop_calling(&mut self, keep: &[PersonId]) {
        if self.ticket.escalation.calling {
            self.ticket.escalation.calling = false;
            self.ticket.escalation.round = 0;
            self.stand_down_all_but(keep);
        }
        self.ticket.escalation.next_at = None;
        self.ticket.held = None;
        self.ticket.next_look = None;
        self.ticket.repeat_at = None;
    }

    /// Somebody has it from now on: they must be on site in time.
    pub(crate) fn expect_arrival(&mut self) {
        let expected = self.needs_people() && !self.has(model::MilestoneKind::Arrived);
        let within = self.ticket.policy.arrive_within.filter(|_| expected);
        self.ticket.escalation.next_at = within.map(|within| self.now + within.max(SHORTEST_WAIT));
        if self.ticket.status == Status::Open {
            self.ticket.status = Status::Acknowledged;
        }
        self.plan_news();
    }

    /// The wait from when the step was due, but at least half of it from now.
    fn after(&self, due: Timestamp, wait: Duration) -> Timestamp {
        let wait = wait.max(SHORTEST_WAIT);
        (due + wait).max(self.now + wait / 2)
    }

    fn step_index(&self) -> usize {
        usize::try_from(self.ticket.escalation.step).unwrap_or(usize::MAX)
    }

    fn is_last_round(&self) -> bool {
        self.ticket.escalation.round >= self.ticket.policy.repeats
    }

    /// Starts over, if the policy has a repeat left or a person may be in danger.
    fn begin_round(&mut self) -> bool {
        if self.is_last_round() && !self.ticket.life_safety {
            return false;
        }
        self.ticket.escalation.round = self.ticket.escalation.round.saturating_add(1);
        self.ticket.escalation.step = 0;
        true
    }

    /// Whoever says no in this very moment is not called back in the same breath.
    fn declines_now(&self, person: PersonId) -> bool {
        self.ticket.responders.iter().any(|other| other.person == person && other.declined_at == Some(self.now))
    }
}
