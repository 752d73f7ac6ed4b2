//! A ticket being changed by one event, and what follows from the change.

use model::{MilestoneKind, PersonId, Timestamp};

use crate::{Actor, Contact, Effect, Milestone, Responder, Roster, Status, Ticket, TimelineEntry, What, proof::Proof};

/// The ticket as it will be, and the effects gathered on the way.
pub(crate) struct Draft<'a> {
    pub(crate) ticket: Ticket,
    pub(crate) roster: &'a Roster,
    pub(crate) now: Timestamp,
    pub(crate) effects: Vec<Effect>,
    /// Milestones that this event earned.
    pub(crate) earned: Vec<MilestoneKind>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(ticket: Ticket, roster: &'a Roster, now: Timestamp) -> Self {
        Self { ticket, roster, now, effects: Vec::new(), earned: Vec::new() }
    }

    /// Tells those concerned of the milestones earned and returns ticket and effects.
    pub(crate) fn finish(mut self) -> (Ticket, Vec<Effect>) {
        self.tell_progress();
        (self.ticket, self.effects)
    }

    /// Writes on the timeline.
    pub(crate) fn log(&mut self, actor: &Actor, what: What) {
        self.effects.push(Effect::Log(TimelineEntry { at: self.now, actor: actor.clone(), what }));
    }

    /// Records a milestone with its proof, unless it was earned before.
    pub(crate) fn earn(&mut self, kind: MilestoneKind, actor: &Actor, proof: &Proof) {
        if self.has(kind) {
            return;
        }
        let proof = proof.0.clone();
        self.ticket.milestones.push(Milestone { kind, at: self.now, actor: actor.clone(), proof: proof.clone() });
        self.earned.push(kind);
        self.log(actor, What::Milestone { milestone: kind, proof });
    }

    pub(crate) fn has(&self, kind: MilestoneKind) -> bool {
        self.ticket.milestone(kind).is_some()
    }

    /// A person as the roster knows them, by whatever part they play.
    pub(crate) fn contact(&self, person: PersonId) -> Option<&'a Contact> {
        let roster = self.roster;
        let on_call = roster.on_call.iter().flat_map(|(_, contacts)| contacts);
        roster.known.iter().chain(on_call).chain(&roster.subscribers).find(|contact| contact.person == person)
    }

    pub(crate) fn responder(&mut self, person: PersonId) -> Option<&mut Responder> {
        self.ticket.responders.iter_mut().find(|responder| responder.person == person)
    }

    /// True while a person may still need to come.
    pub(crate) fn needs_people(&self) -> bool {
        self.ticket.status != Status::Closed && to_come(&self.ticket)
    }

    /// Every step was taken and nobody answered.
    pub(crate) fn gave_up(&self) -> bool {
        self.ticket.escalation.calling && self.ticket.escalation.next_at.is_none()
    }

    /// Somebody has the ticket, or had it until it was restored.
    pub(crate) fn is_held(&self) -> bool {
        let by_dispatcher = |milestone: &Milestone| matches!(milestone.actor, Actor::User { .. });
        self.ticket.assignee.is_some() || self.ticket.milestone(MilestoneKind::Acknowledged).is_some_and(by_dispatcher)
    }
}

/// A person may still need to come: an alert stands or keeps coming back, or somebody shut in is not known to be out.
pub(crate) fn to_come(ticket: &Ticket) -> bool {
    ticket.open_alerts().next().is_some() || ticket.hold_open.is_some() || unreleased(ticket)
}

/// A person may be shut in and nobody has shown that they are out.
pub(crate) fn unreleased(ticket: &Ticket) -> bool {
    ticket.kind == model::TicketKind::Entrapment
        && ticket.life_safety
        && ticket.milestone(MilestoneKind::Released).is_none()
}
