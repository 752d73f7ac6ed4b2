//! Opening a ticket.

use model::{Alert, MilestoneKind, Scope, TicketId, Timestamp};

use crate::{
    Actor, Effect, Escalation, Policy, Roster, Status, Ticket, TicketAlert, TimelineEntry, What,
    draft::Draft,
    noise::{Reason, Route},
    proof::Proof,
};

/// Opens a ticket for an alert that no open ticket's group key takes. Unless something holds it back, calls the first
/// level and tells subscribers.
#[must_use]
pub fn open(
    policy: &Policy,
    id: TicketId,
    number: u64,
    alert: &Alert,
    roster: &Roster,
    now: Timestamp,
) -> (Ticket, Vec<Effect>) {
    let Route { key, scope, timing } = roster.around.noise.route(alert);
    let ticket = Ticket {
        id,
        number,
        org: alert.org,
        kind: alert.kind,
        severity: alert.severity,
        life_safety: alert.life_safety,
        group_key: key,
        site: alert.site,
        device: match scope {
            Scope::Device => Some(alert.device.clone()),
            Scope::Site => None,
        },
        profile: alert.profile.clone(),
        title: alert.title.clone(),
        runbook: alert.runbook.clone(),
        status: Status::Open,
        opened_at: now,
        closed_at: None,
        alerts: vec![TicketAlert::from(alert)],
        milestones: Vec::new(),
        escalation: Escalation::default(),
        responders: Vec::new(),
        assignee: None,
        affected: Vec::new(),
        policy: policy.clone(),
        last_note: None,
        held: None,
        next_look: None,
        by_hand: false,
        announced: false,
        timing,
        hold_open: None,
        news: crate::ticket::News::default(),
        repeat_at: None,
        cause: None,
        parts: None,
        version: 1,
    };
    let mut draft = Draft::new(ticket, roster, now);
    draft.log(&Actor::Hub, What::Opened);
    let line = draft.log_alert(alert);
    draft.earn(MilestoneKind::Detected, &Actor::Hub, &Proof::alert(alert));
    let decision = if alert.life_safety {
        draft.never_without_steps();
        draft.release();
        Reason::LifeSafety
    } else {
        draft.call_or_hold(Reason::First)
    };
    draft.note_decision(line, decision);
    draft.finish()
}

impl From<&Alert> for TicketAlert {
    fn from(alert: &Alert) -> Self {
        Self {
            id: alert.id,
            device: alert.device.clone(),
            rule: alert.rule.clone(),
            source: alert.source,
            title: alert.title.clone(),
            reason: alert.evidence.summary.clone(),
            severity: alert.severity,
            severity_since: alert.evidence.severity_since,
            raised_at: alert.raised_at,
            // It joins as raised; its end is an event of its own.
            cleared_at: None,
            life_safety: alert.life_safety,
            profile: Some(alert.profile.clone()),
            runbook: alert.runbook.clone(),
        }
    }
}

impl Draft<'_> {
    /// Puts an alert on the timeline; returns the line, for [`Draft::note_decision`].
    pub(crate) fn log_alert(&mut self, alert: &Alert) -> usize {
        let actor = Actor::Device { device: alert.device.clone() };
        let what = What::AlertRaised {
            alert: alert.id,
            device: alert.device.clone(),
            title: alert.title.clone(),
            reason: alert.evidence.summary.clone(),
            decision: None,
        };
        self.log(&actor, what);
        self.effects.len() - 1
    }

    /// Whoever lets tickets of some kind wait on the board has not thought of people in danger: for them those are called
    /// who are called for entrapments.
    pub(crate) fn never_without_steps(&mut self) {
        if self.ticket.policy.steps.is_empty() {
            self.ticket.policy.steps.clone_from(&self.roster.around.rescue.steps);
        }
    }

    /// Adds to an alert's line why people are paged for it, or are not.
    pub(crate) fn note_decision(&mut self, line: usize, reason: Reason) {
        if let Some(Effect::Log(TimelineEntry {
            what: What::AlertRaised { decision, .. } | What::SeverityChanged { decision, .. },
            ..
        })) = self.effects.get_mut(line)
        {
            *decision = Some(reason);
        }
    }
}
