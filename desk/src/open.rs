//! Opening a ticket.

use model::{Alert, MilestoneKind, Scope, TicketId, Timestamp};

use crate::{Actor, Effect, Escalation, Policy, Roster, Status, Ticket, TicketAlert, What, draft::Draft, proof::Proof};

/// Opens a ticket for an alert that no open ticket's group key takes, calls the first level, and tells subscribers.
#[must_use]
pub fn open(
    policy: &Policy,
    id: TicketId,
    number: u64,
    alert: &Alert,
    roster: &Roster,
    now: Timestamp,
) -> (Ticket, Vec<Effect>) {
    let ticket = Ticket {
        id,
        number,
        org: alert.org,
        kind: alert.kind,
        severity: alert.severity,
        life_safety: alert.life_safety,
        group_key: alert.group_key(),
        site: alert.site,
        device: match alert.scope {
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
        version: 1,
    };
    let mut draft = Draft::new(ticket, roster, now);
    draft.log(&Actor::Hub, What::Opened);
    draft.log_alert(alert);
    draft.earn(MilestoneKind::Detected, &Actor::Hub, &Proof::alert(alert));
    draft.call_from_start(&Actor::Hub);
    draft.notice();
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
            raised_at: alert.raised_at,
            // It joins as raised; its end is an event of its own.
            cleared_at: None,
        }
    }
}

impl Draft<'_> {
    /// Puts an alert on the timeline.
    pub(crate) fn log_alert(&mut self, alert: &Alert) {
        let actor = Actor::Device { device: alert.device.clone() };
        let what = What::AlertRaised {
            alert: alert.id,
            device: alert.device.clone(),
            title: alert.title.clone(),
            reason: alert.evidence.summary.clone(),
        };
        self.log(&actor, what);
    }
}
