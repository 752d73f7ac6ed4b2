//! The pipeline that every page that the hub makes by itself goes through, in one place and in this order:
//!
//! ```text
//! alert ──▶ life safety? ──▶ inhibit ──▶ quiet hours ──▶ silence ──▶ deduplicate, flapping, group ──▶ deliver
//!              └───────────────────────────────────────────────────────────────────────────────────────▲
//! ```
//!
//! The first three stages look at one alert ([`decide`]); a ticket is held back only if each of its open alerts is.
//! Deduplication and grouping look at the alert's ticket ([`joined`], [`Draft::release`]). Delivery is the escalation,
//! whose messages have deadlines of their own: no interval configured here shortens or lengthens them.

use std::time::Duration;

use model::{Alert, Timestamp};

use super::{Held, Labels, Reason, Surroundings, inhibit, quiet, silence};
use crate::{Actor, Status, Ticket, TicketAlert, What, draft::Draft};

/// What is held back without a known end is looked at again at least this often, should the end have been missed.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// What the first stages say of one alert: `None` if nothing holds it back.
pub(crate) fn decide(alert: &Labels, around: &Surroundings, now: Timestamp) -> Option<Held> {
    if alert.life_safety {
        return None;
    }
    inhibit::inhibited(alert, &around.noise.inhibitions, &around.sources)
        .or_else(|| quiet::quiet(alert, &around.noise.quiet_hours, now))
        .or_else(|| silence::silenced(alert, &around.silences, now))
}

/// Why people are not paged for an alert that joined a ticket with people called or at work already, or why they are.
/// Nothing of it is asked for life safety.
fn joined(ticket: &Ticket, alert: &Alert, around: &Surroundings, in_hand: bool, worse: bool) -> Reason {
    let same = |known: &&TicketAlert| {
        known.id != alert.id && known.device == alert.device && known.rule == alert.rule && known.cleared_at.is_none()
    };
    if let Some(same) = ticket.alerts.iter().find(same) {
        return Reason::Duplicate { of: same.id };
    }
    if ticket.hold_open.is_some() && around.is_flapping(&alert.device, &alert.rule) {
        return Reason::Flapping;
    }
    if in_hand && !ticket.escalation.calling {
        return Reason::InHand;
    }
    match (ticket.escalation.calling, ticket.escalation.next_at, ticket.status) {
        (true, Some(_), _) => Reason::AlreadyCalling,
        (true, None, _) if worse => Reason::Worse,
        (true, None, _) => Reason::NobodyAnswered,
        (false, _, Status::Restored) => Reason::CameBack,
        (false, _, Status::Open) => Reason::BoardOnly,
        (false, _, Status::Acknowledged | Status::Closed) => Reason::InHand,
    }
}

impl Draft<'_> {
    /// What holds the ticket's pages back now: something if each of its open alerts is held back, and the wait for its
    /// group is not over. Life safety and what people called by hand are never held back.
    pub(crate) fn held_back(&self) -> Option<Held> {
        if self.ticket.life_safety || self.ticket.by_hand {
            return None;
        }
        let around = &self.roster.around;
        let mut first: Option<Held> = None;
        let mut until: Option<Timestamp> = None;
        let mut open = 0;
        for alert in self.ticket.open_alerts() {
            open += 1;
            let held = decide(&alert.labels(&self.ticket), around, self.now)?;
            until = until.into_iter().chain(held.until).min();
            first.get_or_insert(held);
        }
        if open == 0 {
            // Between two appearances of a flapping condition: whatever was decided stands.
            return self.ticket.held.clone();
        }
        first.map(|held| Held { until, ..held })
    }

    /// Like [`Draft::held_back`], with the wait for more of the group.
    fn waiting(&self) -> Option<Held> {
        if self.ticket.life_safety || self.ticket.by_hand {
            return None;
        }
        let until = self.ticket.opened_at + self.ticket.timing.group_wait;
        (self.now < until).then_some(Held { reason: Reason::GroupWait { until }, until: Some(until) })
    }

    /// Calls people for a new ticket, or holds it back. Returns the reason either way.
    pub(crate) fn call_or_hold(&mut self, reason: Reason) -> Reason {
        match self.held_back().or_else(|| self.waiting()) {
            Some(held) => {
                let reason = held.reason.clone();
                self.hold_back(held);
                reason
            }
            None => {
                self.release();
                if self.ticket.policy.steps.is_empty() { Reason::BoardOnly } else { reason }
            }
        }
    }

    /// Calls people from the first level, and tells subscribers if they were not told.
    pub(crate) fn release(&mut self) {
        self.ticket.held = None;
        self.ticket.next_look = None;
        self.call_from_start(&Actor::Hub);
        self.remember_told();
        if !self.ticket.announced {
            self.ticket.announced = true;
            self.notice();
        }
    }

    /// Stops what the hub calls by itself until the reason ends.
    pub(crate) fn hold_back(&mut self, held: Held) {
        self.ticket.escalation.calling = false;
        self.ticket.escalation.next_at = None;
        let again = self.now + LOOK_AGAIN;
        self.ticket.next_look = Some(held.until.map_or(again, |until| until.min(again)));
        self.ticket.held = Some(held);
    }

    /// Looks again at a ticket that is held back, or about to call people by itself. True if it may call.
    pub(crate) fn look_again(&mut self) -> bool {
        let Some(held) = self.held_back().or_else(|| self.waiting()) else { return true };
        if self.ticket.held.as_ref().map(|known| &known.reason) != Some(&held.reason) {
            self.log(&Actor::Hub, What::Decided { reason: held.reason.clone() });
        }
        self.hold_back(held);
        false
    }

    /// Decides on an alert that joined, and calls people if that follows. `before` is the ticket before it joined.
    pub(crate) fn decide_joined(&mut self, before: &Ticket, alert: &Alert) -> Reason {
        if alert.life_safety {
            // In danger already and people called or at work for it: the page is out. Otherwise it goes out now.
            let known = before.status != Status::Restored
                && before.life_safety
                && before.open_alerts().any(|known| known.life_safety);
            if !known {
                self.release();
                return Reason::LifeSafety;
            }
            return if before.escalation.calling { Reason::AlreadyCalling } else { Reason::InHand };
        }
        let in_hand = self.is_held();
        let exempt = self.ticket.life_safety || self.ticket.by_hand;
        if let Some(held) = decide(&Labels::of(alert), &self.roster.around, self.now).filter(|_| !exempt) {
            let reason = held.reason.clone();
            if before.status == Status::Restored && in_hand {
                self.expect_arrival();
            } else if before.status == Status::Restored && !before.escalation.calling {
                self.hold_back(held);
            }
            return reason;
        }
        if before.held.is_some() {
            return self.call_or_hold(Reason::Released);
        }
        let worse = alert.severity > before.severity;
        let reason = joined(before, alert, &self.roster.around, in_hand, worse);
        if reason.pages() {
            self.release();
        } else if reason == Reason::InHand {
            if before.status == Status::Restored { self.expect_arrival() } else { self.plan_news() }
        }
        reason
    }
}

impl TicketAlert {
    /// True if this change of its severity is news: what was told before changes nothing.
    #[must_use]
    pub fn is_changed_by(&self, alert: &Alert) -> bool {
        self.cleared_at.is_none()
            && self.severity != alert.severity
            && self.severity_since < alert.evidence.severity_since
    }

    /// What it is known by. What an older alert did not write down is its ticket's.
    pub(crate) fn labels(&self, ticket: &Ticket) -> Labels {
        Labels {
            site: ticket.site,
            device: self.device.clone(),
            profile: self.profile.clone().unwrap_or_else(|| ticket.profile.clone()),
            rule: self.rule.clone(),
            kind: ticket.kind,
            severity: self.severity,
            source: self.source,
            runbook: self.runbook.clone(),
            life_safety: self.life_safety,
        }
    }
}
