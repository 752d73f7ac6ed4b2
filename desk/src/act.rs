//! What responders and dispatchers do to a ticket.

use std::time::Duration;

use model::{Localised, MilestoneKind, PersonId, RescueLevel, TicketKind, Timestamp};

use crate::{
    Action, Actor, Confirmed, Responder, Status, Ticket, TimelineEntry, TransitionError, What,
    draft::{Draft, to_come, unreleased},
    parts,
    proof::{Proof, Said},
    transition::MAX_NOTE_CHARS,
};

/// The same note by the same person within this time is a second press of the button.
const SAME_PRESS: Duration = Duration::from_secs(60);

/// The actions that a dispatcher can take on the ticket as it stands, by the names of [`Action`].
#[must_use]
pub fn applicable(ticket: &Ticket) -> Vec<&'static str> {
    let has = |kind| ticket.milestone(kind).is_some();
    let open = ticket.status != Status::Closed;
    let answered = has(MilestoneKind::Acknowledged) && !ticket.escalation.calling;
    let to_come = to_come(ticket);
    let actions = [
        ("acknowledge", !answered && to_come),
        ("escalate", to_come && !ticket.policy.steps.is_empty()),
        ("assign", true),
        ("en_route", to_come && !has(MilestoneKind::EnRoute) && !has(MilestoneKind::Arrived)),
        ("arrived", !has(MilestoneKind::Arrived)),
        ("released", ticket.kind == TicketKind::Entrapment && !has(MilestoneKind::Released)),
        ("close", !unreleased(ticket)),
        ("note", true),
    ];
    actions.into_iter().filter(|(_, applies)| open && *applies).map(|(name, _)| name).collect()
}

impl Draft<'_> {
    pub(crate) fn act(
        &mut self,
        actor: &Actor,
        action: &Action,
        as_of: Option<Timestamp>,
    ) -> Result<(), TransitionError> {
        if self.ticket.status == Status::Closed {
            match action {
                // It may have closed itself while they wrote what had failed. A second press is what they wanted.
                Action::Close { cause, parts, .. } => {
                    // If nothing was found, there are no parts to say.
                    let nothing = self.ticket.cause.as_ref().is_some_and(Confirmed::is_nothing);
                    let cause = cause.as_ref().filter(|_| self.ticket.cause.is_none());
                    let parts = parts.as_deref().filter(|_| self.ticket.parts.is_none() && !nothing);
                    return self.found(actor, cause, parts);
                }
                Action::ConfirmCause { cause, parts } => return self.found(actor, Some(cause), parts.as_deref()),
                Action::Acknowledge
                | Action::Decline
                | Action::Escalate
                | Action::Assign { .. }
                | Action::EnRoute
                | Action::Arrived
                | Action::Released
                | Action::Note { .. } => {}
            }
        }
        self.check_not_closed()?;
        if let Action::Note { text } = action {
            return self.note(actor, text);
        }
        check_may_act(actor)?;
        match action {
            Action::Acknowledge => self.answer(actor, &Proof::said(actor, Said::Accepted)),
            Action::Decline => self.decline(actor)?,
            Action::Escalate => self.escalate(actor, as_of)?,
            Action::Assign { person } => self.assign(actor, *person)?,
            Action::EnRoute => {
                let proof = Proof::said(actor, Said::OnTheWay);
                self.answer(actor, &proof);
                // Who is there is no longer on the way.
                if !self.has(MilestoneKind::Arrived) {
                    self.earn(MilestoneKind::EnRoute, actor, &proof);
                }
            }
            Action::Arrived => {
                let proof = Proof::said(actor, Said::OnSite);
                self.answer(actor, &proof);
                self.earn(MilestoneKind::Arrived, actor, &proof);
                self.ticket.escalation.next_at = None;
            }
            Action::Released => {
                if self.ticket.kind != TicketKind::Entrapment {
                    return Err(TransitionError::NotEntrapment { number: self.ticket.number });
                }
                let proof = Proof::said(actor, Said::PersonIsOut);
                self.answer(actor, &proof);
                self.earn(MilestoneKind::Released, actor, &proof);
                self.close_if_done(person_of(actor).as_slice());
            }
            Action::Close { note, cause, parts } => {
                self.finish_case(actor, note.as_deref(), cause.as_ref(), parts.as_deref())?;
            }
            // It would read as if there were no need to go on.
            Action::ConfirmCause { cause, .. } if cause.is_nothing() => {
                return Err(TransitionError::NothingFoundYet { number: self.ticket.number });
            }
            Action::ConfirmCause { cause, parts } => self.found(actor, Some(cause), parts.as_deref())?,
            Action::Note { .. } => {} // Handled above: anybody may write one.
        }
        Ok(())
    }

    /// Somebody answers for the ticket, in whatever words. A responder's answer proves that they were reached and, if
    /// nobody has the job or people are being called, takes it; a dispatcher's answer stops the calling.
    fn answer(&mut self, actor: &Actor, proof: &Proof) {
        let calling = self.ticket.escalation.calling;
        self.reached(actor, proof);
        let first = !self.has(MilestoneKind::Acknowledged);
        self.earn(MilestoneKind::Acknowledged, actor, proof);
        match actor {
            Actor::Person { person, name, .. } => {
                // Whoever is on site keeps the job when others are called to help.
                let on_site = self.ticket.assignee.filter(|_| self.has(MilestoneKind::Arrived));
                if calling || self.ticket.assignee.is_none() {
                    self.mark_accepted(*person, name);
                    if on_site.is_none() {
                        self.give_job(actor, *person, name);
                    }
                    self.earn(MilestoneKind::Dispatched, actor, proof);
                    let keep: Vec<PersonId> = on_site.into_iter().chain([*person]).collect();
                    self.stop_calling(&keep);
                    self.expect_arrival();
                } else if self.ticket.assignee == Some(*person) {
                    self.mark_accepted(*person, name);
                }
            }
            Actor::User { .. } => {
                if calling || first || self.ticket.status == Status::Open {
                    let keep: Vec<PersonId> = self.ticket.assignee.into_iter().collect();
                    self.stop_calling(&keep);
                    self.expect_arrival();
                }
            }
            Actor::Hub | Actor::Device { .. } | Actor::Affected { .. } | Actor::Provider { .. } => {}
        }
    }

    /// An answer from a responder proves that a message reached them.
    fn reached(&mut self, actor: &Actor, proof: &Proof) {
        if let Actor::Person { .. } = actor {
            self.earn(MilestoneKind::Contacted, actor, proof);
        }
    }

    /// Somebody calls people for it: nothing holds its pages back any more.
    fn take_by_hand(&mut self) {
        self.ticket.by_hand = true;
        self.ticket.held = None;
        self.ticket.next_look = None;
    }

    fn mark_accepted(&mut self, person: PersonId, name: &str) {
        let now = self.now;
        let level = self.ticket.escalation.level.unwrap_or(RescueLevel::Maintainer);
        match self.responder(person) {
            Some(responder) => {
                if responder.acknowledged_at.is_none() {
                    responder.acknowledged_at = Some(now);
                }
                responder.declined_at = None;
                responder.stood_down_at = None;
            }
            None => self.ticket.responders.push(Responder {
                person,
                name: name.to_owned(),
                level,
                paged_at: now,
                delivered_at: None,
                acknowledged_at: Some(now),
                declined_at: None,
                stood_down_at: None,
            }),
        }
    }

    fn give_job(&mut self, actor: &Actor, person: PersonId, name: &str) {
        if self.ticket.assignee != Some(person) {
            self.ticket.assignee = Some(person);
            self.log(actor, What::Assigned { person, name: name.to_owned() });
        }
    }

    /// A person cannot come. If they had the job, or were the last who could still answer, the next step is taken.
    fn decline(&mut self, actor: &Actor) -> Result<(), TransitionError> {
        let number = self.ticket.number;
        let not_called = TransitionError::NotCalled { number };
        let Actor::Person { person, .. } = actor else { return Err(not_called) };
        let now = self.now;
        let had_job = self.ticket.assignee == Some(*person);
        let responder = self.responder(*person).ok_or(not_called)?;
        if responder.declined_at.is_some_and(|at| at >= responder.paged_at) && !had_job {
            return Ok(());
        }
        responder.declined_at = Some(now);
        responder.acknowledged_at = None;
        self.log(actor, What::Declined);
        self.reached(actor, &Proof::said(actor, Said::Declined));
        if had_job {
            self.ticket.assignee = None;
            if self.ticket.status == Status::Acknowledged {
                self.ticket.status = Status::Open;
            }
        }
        if !self.needs_people() {
            return Ok(());
        }
        if self.ticket.escalation.calling {
            if self.nobody_left_to_answer() {
                self.step(now, &Actor::Hub);
            }
        } else if had_job {
            self.call_on(now, &Actor::Hub);
        }
        Ok(())
    }

    /// Everybody called in the last step has declined.
    fn nobody_left_to_answer(&self) -> bool {
        let last = self.ticket.responders.iter().map(|responder| responder.paged_at).max();
        let mut called = self.ticket.responders.iter().filter(|responder| Some(responder.paged_at) == last);
        called.all(|responder| responder.declined_at.is_some_and(|at| at >= responder.paged_at))
    }

    /// Calls the next level now. A press that answers a message older than the last step is stale: what it asks for
    /// has happened.
    fn escalate(&mut self, actor: &Actor, as_of: Option<Timestamp>) -> Result<(), TransitionError> {
        let number = self.ticket.number;
        if self.ticket.policy.steps.is_empty() {
            return Err(TransitionError::NoLevels { number });
        }
        if !self.needs_people() {
            return Err(TransitionError::NothingToCallFor { number });
        }
        let last = self.ticket.escalation.last_at;
        if last.is_some_and(|last| as_of.is_some_and(|seen| seen < last) || last >= self.now) {
            return Ok(());
        }
        // Nor does a press that answers a page count once somebody else has the ticket.
        let someone_else = person_of(actor).is_some_and(|person| self.ticket.assignee != Some(person));
        let settled = !self.ticket.escalation.calling && self.is_held() && someone_else;
        if settled && as_of.is_some() {
            return Ok(());
        }
        self.reached(actor, &Proof::said(actor, Said::Escalated));
        self.take_by_hand();
        self.call_on(self.now, actor);
        Ok(())
    }

    /// A dispatcher gives the job to a person, who is paged for it.
    fn assign(&mut self, actor: &Actor, person: PersonId) -> Result<(), TransitionError> {
        let known = self.roster.known.iter().find(|contact| contact.person == person);
        let contact = known.ok_or(TransitionError::UnknownPerson)?;
        if self.ticket.assignee == Some(person) && !self.ticket.escalation.calling {
            return Ok(());
        }
        let proof = Proof::assigned(actor, &contact.name);
        self.take_by_hand();
        if let Actor::Person { person: own, .. } = actor
            && *own == person
        {
            self.answer(actor, &Proof::said(actor, Said::Accepted));
            return Ok(());
        }
        self.reached(actor, &proof);
        self.earn(MilestoneKind::Acknowledged, actor, &proof);
        self.give_job(actor, person, &contact.name);
        self.earn(MilestoneKind::Dispatched, actor, &proof);
        self.ticket.escalation.calling = false;
        self.ticket.escalation.round = 0;
        self.stand_down_all_but(&[person]);
        self.ticket.escalation.last_at = Some(self.now);
        self.ticket.escalation.generation += 1;
        let called_for = self.ticket.responders.iter().find(|responder| responder.person == person);
        let level = called_for.map(|responder| responder.level).or(self.ticket.escalation.level);
        self.page(contact, level.unwrap_or(RescueLevel::Maintainer), Duration::ZERO, actor);
        self.expect_arrival();
        Ok(())
    }

    fn finish_case(
        &mut self,
        actor: &Actor,
        note: Option<&str>,
        cause: Option<&Confirmed>,
        parts: Option<&[Localised]>,
    ) -> Result<(), TransitionError> {
        let number = self.ticket.number;
        let note = note.map(str::trim).filter(|note| !note.is_empty());
        if let Some(note) = note {
            check_length(note)?;
        }
        if unreleased(&self.ticket) {
            return Err(TransitionError::NotReleased { number });
        }
        let open = self.ticket.open_alerts().count();
        if open > 0 && note.is_none() {
            return Err(TransitionError::OpenAlerts { number, open });
        }
        let proof = Proof::said(actor, Said::Finished);
        self.reached(actor, &proof);
        self.earn(MilestoneKind::Acknowledged, actor, &proof);
        if let Some(note) = note {
            self.log(actor, What::Note { text: note.to_owned() });
        }
        self.found(actor, cause, parts)?;
        self.close(actor, &proof, person_of(actor).as_slice());
        Ok(())
    }

    /// Notes what had failed, or that nothing had, and which parts the repair took, as far as they say so. It changes
    /// nothing else of the ticket.
    fn found(
        &mut self,
        actor: &Actor,
        cause: Option<&Confirmed>,
        parts: Option<&[Localised]>,
    ) -> Result<(), TransitionError> {
        if cause.is_some() || parts.is_some() {
            check_may_act(actor)?;
        }
        if let Some(cause) = cause
            && self.ticket.cause.as_ref() != Some(cause)
        {
            self.ticket.cause = Some(cause.clone());
            self.log(actor, What::CauseConfirmed { cause: cause.clone() });
        }
        let mut parts = parts.map(parts::checked).transpose()?;
        if self.ticket.cause.as_ref().is_some_and(Confirmed::is_nothing) {
            // There was no repair. Parts that were named before belonged to what was said then.
            if parts.take().is_some_and(|parts| !parts.is_empty()) {
                return Err(TransitionError::PartsForNothing);
            }
            self.ticket.parts = None;
        }
        if let Some(parts) = parts
            && self.ticket.parts.as_ref() != Some(&parts)
        {
            self.ticket.parts = Some(parts.clone());
            self.log(actor, What::PartsUsed { parts });
        }
        Ok(())
    }

    fn note(&mut self, actor: &Actor, text: &str) -> Result<(), TransitionError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TransitionError::NoteEmpty);
        }
        check_length(text)?;
        let what = What::Note { text: text.to_owned() };
        let same =
            |last: &TimelineEntry| last.actor == *actor && last.what == what && self.now.since(last.at) < SAME_PRESS;
        if self.ticket.last_note.as_ref().is_some_and(same) {
            return Ok(());
        }
        self.ticket.last_note = Some(TimelineEntry { at: self.now, actor: actor.clone(), what: what.clone() });
        self.log(actor, what);
        Ok(())
    }
}

fn person_of(actor: &Actor) -> Option<PersonId> {
    match actor {
        Actor::Person { person, .. } => Some(*person),
        Actor::Hub | Actor::Device { .. } | Actor::User { .. } | Actor::Affected { .. } | Actor::Provider { .. } => {
            None
        }
    }
}

fn check_may_act(actor: &Actor) -> Result<(), TransitionError> {
    match actor {
        Actor::Person { .. } | Actor::User { .. } => Ok(()),
        Actor::Hub | Actor::Device { .. } | Actor::Affected { .. } | Actor::Provider { .. } => {
            Err(TransitionError::NotAllowed)
        }
    }
}

fn check_length(note: &str) -> Result<(), TransitionError> {
    let chars = note.chars().count();
    if chars > MAX_NOTE_CHARS { Err(TransitionError::NoteTooLong { chars }) } else { Ok(()) }
}
