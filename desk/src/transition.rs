//! Advancing tickets: every event takes this path.

use model::{Alert, AlertSource, MessageChannel, MilestoneKind, PersonId, TicketKind, Timestamp};

use crate::{
    Actor, Affected, Effect, Event, Roster, Status, Ticket, TicketAlert, What,
    draft::{Draft, unreleased},
    noise::Reason,
    parts::{MAX_PART_CHARS, MAX_PARTS},
    proof::Proof,
};

/// The longest note, in characters.
pub const MAX_NOTE_CHARS: usize = 2000;
/// The most affected people of one ticket.
pub const MAX_AFFECTED: usize = 100;
/// The most alerts kept on one ticket; when it is full, the oldest cleared one makes room.
const MAX_ALERTS: usize = 500;

/// Why an event does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// The ticket is closed.
    #[error("ticket {number} is closed; nothing more can be done on it")]
    Closed {
        /// The ticket's number.
        number: u64,
    },
    /// Somebody may still be shut in.
    #[error("ticket {number} cannot be closed while a person may be shut in; report the person's release first")]
    NotReleased {
        /// The ticket's number.
        number: u64,
    },
    /// The device still reports the condition.
    #[error("ticket {number} still has {open} open alert(s); write what was found and done to close it anyway")]
    OpenAlerts {
        /// The ticket's number.
        number: u64,
        /// How many alerts are open.
        open: usize,
    },
    /// A note has too many characters.
    #[error("the note has {chars} characters; shorten it to at most {MAX_NOTE_CHARS}")]
    NoteTooLong {
        /// How many it has.
        chars: usize,
    },
    /// The name of a part has too many characters.
    #[error("the name of a part has {chars} characters; shorten it to at most {MAX_PART_CHARS}")]
    PartTooLong {
        /// How many it has.
        chars: usize,
    },
    /// Too many parts for one repair.
    #[error("there are too many parts for one repair, {parts}; name the {MAX_PARTS} that matter most")]
    TooManyParts {
        /// How many there are.
        parts: usize,
    },
    /// Parts were named of a ticket of which nothing was found.
    #[error("parts were named though nothing was found; name what had failed, or leave the parts out")]
    PartsForNothing,
    /// Nothing was found, as somebody says of a ticket that is worked on.
    #[error("ticket {number} is still open; that nothing was found is said when it is closed, or later")]
    NothingFoundYet {
        /// The ticket's number.
        number: u64,
    },
    /// A note without text.
    #[error("the note is empty; write something")]
    NoteEmpty,
    /// The person to assign is not registered here.
    #[error("the person to assign is not known in this organisation; choose one from the list of people")]
    UnknownPerson,
    /// Nobody is shut in on this kind of ticket.
    #[error("ticket {number} is not an entrapment, nobody is to be released; report that you are on site, or close it")]
    NotEntrapment {
        /// The ticket's number.
        number: u64,
    },
    /// Only somebody who was called can decline.
    #[error("only a person who was called for ticket {number} can decline it; escalate it to call the next level")]
    NotCalled {
        /// The ticket's number.
        number: u64,
    },
    /// There is nobody to escalate to.
    #[error("tickets like {number} have no levels to call; assign a person instead")]
    NoLevels {
        /// The ticket's number.
        number: u64,
    },
    /// There is nothing to call people for.
    #[error("every alert of ticket {number} has cleared; assign a person if work is left, or close it")]
    NothingToCallFor {
        /// The ticket's number.
        number: u64,
    },
    /// Somebody or something other than a responder or a dispatcher tried to act.
    #[error("only responders and dispatchers can do this; sign in to the board or answer a message you received")]
    NotAllowed,
    /// There are too many affected people.
    #[error("ticket {number} already has {MAX_AFFECTED} affected people; write the others into a note")]
    TooManyAffected {
        /// The ticket's number.
        number: u64,
    },
}

/// Advances one ticket by one event. Reads no clock and does no I/O: the caller commits the ticket and its effects in
/// one transaction.
///
/// An event that changes nothing, such as one that was applied before, returns the ticket as it is, version included,
/// and no effects. Every change raises the version by one.
///
/// # Errors
/// [`TransitionError`] if `event` does not apply to the ticket as it stands.
pub fn transition(
    ticket: &Ticket,
    event: &Event,
    roster: &Roster,
    now: Timestamp,
) -> Result<(Ticket, Vec<Effect>), TransitionError> {
    let mut draft = Draft::new(ticket.clone(), roster, now);
    match event {
        Event::AlertRaised(alert) => draft.alert_raised(alert)?,
        Event::AlertChanged(alert) => draft.alert_changed(alert),
        Event::AlertCleared(alert) => draft.alert_cleared(alert),
        Event::Tick => draft.tick(),
        Event::LookAgain => draft.look_at_hold(),
        Event::Act { actor, action, as_of } => draft.act(actor, action, *as_of)?,
        Event::Delivered { person, channel } => draft.delivered(*person, *channel),
        Event::AffectedAdded { actor, affected } => draft.affected_added(actor, affected)?,
    }
    let (mut after, effects) = draft.finish();
    if after == *ticket {
        return Ok((after, Vec::new()));
    }
    after.version += 1;
    Ok((after, effects))
}

impl Draft<'_> {
    fn alert_raised(&mut self, alert: &Alert) -> Result<(), TransitionError> {
        if self.ticket.alerts.iter().any(|known| known.id == alert.id) {
            return Ok(());
        }
        self.check_not_closed()?;
        let before = self.ticket.clone();
        self.make_room_for_alert();
        self.ticket.alerts.push(TicketAlert::from(alert));
        let line = self.log_alert(alert);
        self.ticket.severity = self.ticket.severity.max(alert.severity);
        self.ticket.life_safety |= alert.life_safety;
        if alert.life_safety {
            self.never_without_steps();
        }
        if self.ticket.runbook.is_none() {
            self.ticket.runbook.clone_from(&alert.runbook);
        }
        if self.ticket.status == Status::Restored {
            self.ticket.status = if self.is_held() { Status::Acknowledged } else { Status::Open };
        }
        let decision = self.decide_joined(&before, alert);
        self.ticket.hold_open = None;
        self.note_decision(line, decision);
        Ok(())
    }

    /// Keeps the ticket small on a device that flaps for days. The store keeps every alert.
    fn make_room_for_alert(&mut self) {
        if self.ticket.alerts.len() >= MAX_ALERTS
            && let Some(oldest) = self.ticket.alerts.iter().position(|alert| alert.cleared_at.is_some())
        {
            self.ticket.alerts.remove(oldest);
        }
    }

    /// A standing alert has become worse, or less bad. What becomes worse than everything before calls people like an alert
    /// that joins; what becomes less bad calls nobody, and sends nobody home.
    fn alert_changed(&mut self, alert: &Alert) {
        let before = self.ticket.clone();
        let Some(known) = self.ticket.alerts.iter_mut().find(|known| known.id == alert.id) else { return };
        if !known.is_changed_by(alert) {
            return;
        }
        known.severity_since = alert.evidence.severity_since;
        let from = std::mem::replace(&mut known.severity, alert.severity);
        let worst = self.ticket.open_alerts().map(|open| open.severity).max().unwrap_or(alert.severity);
        self.ticket.severity = if self.ticket.by_hand { worst.max(before.severity) } else { worst };
        let (device, title) = (alert.device.clone(), alert.title.clone());
        let what = What::SeverityChanged { alert: alert.id, device, title, from, to: alert.severity, decision: None };
        self.log(&Actor::Hub, what);
        let line = self.effects.len() - 1;
        if self.ticket.status != Status::Closed && alert.severity > before.severity {
            let decision = self.decide_joined(&before, alert);
            self.note_decision(line, decision);
        }
    }

    fn alert_cleared(&mut self, alert: &Alert) {
        let cleared_at = alert.cleared_at.unwrap_or(self.now);
        let Some(known) = self.ticket.alerts.iter_mut().find(|known| known.id == alert.id) else { return };
        if known.cleared_at.is_some() {
            return;
        }
        known.cleared_at = Some(cleared_at);
        let lift = Actor::Device { device: alert.device.clone() };
        let what = What::AlertCleared { alert: alert.id, device: alert.device.clone(), title: alert.title.clone() };
        self.log(&lift, what);
        // On a closed ticket the fact is recorded and nothing follows from it.
        if self.ticket.status == Status::Closed || self.ticket.open_alerts().next().is_some() {
            return;
        }
        if !self.ticket.life_safety && self.roster.around.is_flapping(&alert.device, &alert.rule) {
            let until = self.now + self.roster.around.noise.flapping.hold_open;
            self.ticket.hold_open = Some(until);
            self.log(&Actor::Hub, What::HeldOpen { until });
            return;
        }
        if self.ticket.kind == TicketKind::Entrapment && spoken_by_lift(alert) {
            self.earn(MilestoneKind::Released, &lift, &Proof::lift_ended_alarm(alert));
        }
        self.restored(&lift, &Proof::restored(alert, self.ticket.alerts.len()));
    }

    /// Everything has cleared, and is not expected to come again at once.
    fn restored(&mut self, by: &Actor, proof: &Proof) {
        self.earn(MilestoneKind::Restored, by, proof);
        self.ticket.status = Status::Restored;
        self.ticket.held = None;
        self.ticket.next_look = None;
        self.close_if_done(&[]);
        if self.ticket.status != Status::Closed && !self.needs_people() {
            let keep: Vec<PersonId> = self.ticket.assignee.into_iter().collect();
            self.stop_calling(&keep);
        }
    }

    /// Closes by itself what the policy lets close, once nothing is left to do.
    pub(crate) fn close_if_done(&mut self, by: &[PersonId]) {
        if self.ticket.status == Status::Restored && self.ticket.policy.close_when_restored && !unreleased(&self.ticket)
        {
            self.close(&Actor::Hub, &Proof::nothing_left(), by);
        }
    }

    /// Ends the ticket and tells everybody who was called, except the one who ends it.
    pub(crate) fn close(&mut self, actor: &Actor, proof: &Proof, by: &[PersonId]) {
        self.earn(MilestoneKind::Closed, actor, proof);
        self.ticket.status = Status::Closed;
        self.ticket.closed_at = Some(self.now);
        self.ticket.escalation.calling = false;
        self.ticket.escalation.next_at = None;
        self.ticket.held = None;
        self.ticket.next_look = None;
        self.ticket.hold_open = None;
        self.ticket.news.next_at = None;
        self.ticket.repeat_at = None;
        self.stand_down_all_but(by);
    }

    /// Every timer that is due does what it was set for.
    fn tick(&mut self) {
        let now = self.now;
        let due = |timer: &mut Option<Timestamp>| timer.take_if(|at| *at <= now).is_some();
        if due(&mut self.ticket.hold_open) && self.ticket.open_alerts().next().is_none() {
            self.restored(&Actor::Hub, &Proof::kept_quiet());
        }
        if due(&mut self.ticket.news.next_at) {
            self.tell_news();
        }
        if due(&mut self.ticket.next_look) {
            self.look_at_hold();
        }
        if due(&mut self.ticket.repeat_at) && self.gave_up() && self.needs_people() && self.look_again() {
            self.log(&Actor::Hub, What::Decided { reason: Reason::Repeat });
            self.call_from_start(&Actor::Hub);
        }
        self.escalation_due();
    }

    /// Calls people if what held their pages back has ended.
    fn look_at_hold(&mut self) {
        let Some(held) = self.ticket.held.clone() else { return };
        if !self.needs_people() {
            self.ticket.held = None;
            self.ticket.next_look = None;
        } else if self.look_again() {
            let waited = matches!(held.reason, Reason::GroupWait { .. });
            let reason = if waited { Reason::First } else { Reason::Released };
            self.log(&Actor::Hub, What::Decided { reason });
            self.release();
        }
    }

    fn escalation_due(&mut self) {
        let Some(due) = self.ticket.escalation.next_at.filter(|due| self.now >= *due) else { return };
        if self.ticket.status == Status::Closed || !self.needs_people() {
            self.ticket.escalation.next_at = None;
        } else if self.ticket.escalation.calling {
            if self.look_again() {
                self.step(due, &Actor::Hub);
            }
        } else if self.has(MilestoneKind::Arrived) {
            self.ticket.escalation.next_at = None;
        } else {
            self.log(&Actor::Hub, What::Overdue);
            if self.look_again() {
                self.call_on(due, &Actor::Hub);
            }
        }
    }

    fn delivered(&mut self, person: PersonId, channel: MessageChannel) {
        let now = self.now;
        if self.ticket.status == Status::Closed {
            return;
        }
        let Some(responder) = self.responder(person) else { return };
        if responder.delivered_at.is_some() {
            return;
        }
        responder.delivered_at = Some(now);
        let proof = Proof::delivered(&responder.name, channel);
        self.earn(MilestoneKind::Contacted, &Actor::Provider { channel }, &proof);
    }

    fn affected_added(&mut self, actor: &Actor, affected: &Affected) -> Result<(), TransitionError> {
        if self.ticket.affected.iter().any(|known| known.id == affected.id) {
            return Ok(());
        }
        self.check_not_closed()?;
        if self.ticket.affected.len() >= MAX_AFFECTED {
            return Err(TransitionError::TooManyAffected { number: self.ticket.number });
        }
        self.ticket.affected.push(affected.clone());
        self.log(actor, What::AffectedAdded { affected: affected.id });
        self.care_link(affected);
        Ok(())
    }

    pub(crate) fn check_not_closed(&self) -> Result<(), TransitionError> {
        match self.ticket.status {
            Status::Closed => Err(TransitionError::Closed { number: self.ticket.number }),
            Status::Open | Status::Acknowledged | Status::Restored => Ok(()),
        }
    }
}

/// True if the end of the alert is the lift's own report (EN 81-28: the end of alarm is given at the lift), not a
/// prediction that no longer holds.
fn spoken_by_lift(alert: &Alert) -> bool {
    match alert.source {
        // One that was withdrawn was never so: nobody has been let out.
        AlertSource::Rule | AlertSource::Detector => !alert.evidence.withdrawn,
        AlertSource::Forecast => false,
    }
}
