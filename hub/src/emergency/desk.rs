//! Tickets in memory while the database is away: the same state machine as always, on the people last known to be on
//! duty. Reads no clock and does no I/O: each change answers with a [`Step`], to be noted and sent.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use desk::{Action, Actor, Effect, Event, Notification, Policies, Status, Ticket, TransitionError};
use model::{
    Alert, AlertChange, AlertId, Directory, Language, MessageChannel, MilestoneKind, OutboxId, OutboxMessage, PersonId,
    Purpose, TicketId, Timestamp,
};
use store::{About, EmergencyNote, EmergencyStep};
use uuid::Uuid;

use super::{DutyBook, KnownCase};

/// The world as last known.
pub(super) struct World {
    pub(super) duty: Arc<DutyBook>,
    pub(super) directory: Arc<Directory>,
}

/// A message to be sent, and the alert that it is sent for.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) alert: AlertId,
    pub(super) message: OutboxMessage,
}

/// What follows from a change: to be noted in the journal, and to be sent.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) notes: Vec<EmergencyNote>,
    pub(super) calls: Vec<Call>,
}

impl Step {
    pub(super) fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.calls.is_empty()
    }
}

/// What became of a responder's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Their language.
    pub language: Language,
    /// The ticket's number, if the database has given it one.
    pub number: Option<u64>,
    /// Why it was refused, if it was.
    pub refused: Option<TransitionError>,
}

/// What somebody at the lift may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The lift.
    pub device: String,
    /// True once a person has answered for it.
    pub answered: bool,
}

/// One ticket and its latest alert. One that the database has is handled further here while that is away.
struct Open {
    ticket: Ticket,
    alert: Alert,
    alerts: HashSet<AlertId>,
    /// True if the database has it.
    adopted: bool,
}

/// The tickets that are handled without the database.
pub(super) struct EmergencyDesk {
    policies: Policies,
    open: Vec<Open>,
    /// What was sent from here, and the pages of the tickets that the database has.
    calls: HashMap<OutboxId, Call>,
    /// Pages among it that nobody needs any more.
    cancelled: HashSet<OutboxId>,
}

impl EmergencyDesk {
    pub(super) fn new(policies: Policies) -> Self {
        Self { policies, open: Vec::new(), calls: HashMap::new(), cancelled: HashSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.calls.clear();
        self.cancelled.clear();
    }

    /// Takes over open tickets of the database, which is away: people are escalated past as usual.
    pub(super) fn adopt<'a>(&mut self, cases: impl Iterator<Item = &'a KnownCase>) -> usize {
        let before = self.open.len();
        for KnownCase { ticket, alerts, pages } in cases {
            let is_known =
                self.open.iter().any(|open| open.ticket.id == ticket.id || open.ticket.group_key == ticket.group_key);
            let Some(alert) = alerts.last().filter(|_| !is_known) else { continue };
            let ids = alerts.iter().map(|alert| alert.id).collect();
            self.open.push(Open { ticket: ticket.clone(), alert: alert.clone(), alerts: ids, adopted: true });
            let paged = |page: &OutboxMessage| (page.id, Call { alert: alert.id, message: page.clone() });
            self.calls.extend(pages.iter().map(paged));
        }
        self.open.len() - before
    }

    /// True if the database has every ticket that is handled here.
    pub(super) fn is_all_adopted(&self) -> bool {
        self.open.iter().all(|open| open.adopted)
    }

    /// True while a message is owed from here.
    pub(super) fn owes(&self, message: OutboxId) -> bool {
        self.calls.contains_key(&message) && !self.cancelled.contains(&message)
    }

    /// Acts on a life-safety alert that was raised, or on the end of one that is known here.
    pub(super) fn change(&mut self, change: &AlertChange, world: &World, now: Timestamp) -> Step {
        match change {
            AlertChange::Raised(alert) if alert.life_safety => self.raised(alert, world, now),
            // Whoever may be in danger is in danger at any severity.
            AlertChange::Raised(_) | AlertChange::Changed(_) => Step::default(),
            AlertChange::Cleared(alert) => match self.open.iter().position(|open| open.alerts.contains(&alert.id)) {
                Some(index) => {
                    let note = EmergencyStep::Cleared { body: alert.clone() };
                    self.advance(index, &Event::AlertCleared(alert.clone()), note, world, now).unwrap_or_default()
                }
                None => Step::default(),
            },
        }
    }

    fn raised(&mut self, alert: &Alert, world: &World, now: Timestamp) -> Step {
        if self.open.iter().any(|open| open.alerts.contains(&alert.id)) {
            return Step::default();
        }
        let note = EmergencyStep::Raised { body: Box::new(alert.clone()) };
        let key = alert.group_key();
        let standing =
            self.open.iter().position(|open| open.ticket.group_key == key && open.ticket.status != Status::Closed);
        if let Some(index) = standing {
            self.open[index].alerts.insert(alert.id);
            self.open[index].alert = alert.clone();
            let event = Event::AlertRaised(Box::new(alert.clone()));
            return self.advance(index, &event, note, world, now).unwrap_or_default();
        }
        // The real ticket gets its id and number from the database.
        let (policy, id) = (self.policies.get(alert.kind), TicketId(alert.id.0));
        let (ticket, effects) = desk::open(policy, id, 0, alert, &world.duty.roster(alert.site), now);
        self.open.push(Open { ticket, alert: alert.clone(), alerts: HashSet::from([alert.id]), adopted: false });
        let index = self.open.len() - 1;
        let notes = vec![EmergencyNote { alert: alert.id, at: now, what: note }];
        Step { notes, calls: self.calls(index, effects, world, now) }
    }

    /// Looks at the timers.
    pub(super) fn tick(&mut self, world: &World, now: Timestamp) -> Step {
        let mut all = Step::default();
        for index in 0..self.open.len() {
            if self.open[index].ticket.next_due().is_some_and(|due| due <= now)
                && let Ok(step) = self.advance(index, &Event::Tick, EmergencyStep::Ticked, world, now)
            {
                all.notes.extend(step.notes);
                all.calls.extend(step.calls);
            }
        }
        all
    }

    /// A responder's answer, to the case of this number at their address, or to the one that they were called for last.
    pub(super) fn reply(
        &mut self,
        address: &str,
        code: Option<u32>,
        action: &Action,
        world: &World,
        now: Timestamp,
    ) -> Option<(Answered, Step)> {
        let calls = self.calls.values().filter(|call| {
            let OutboxMessage { receiver, content, .. } = &call.message;
            let is_phone = matches!(receiver.channel, MessageChannel::Sms | MessageChannel::Voice);
            is_phone && receiver.address == address && code.is_none_or(|code| content.reply_code == Some(code))
        });
        let last = calls.max_by_key(|call| (call.message.created_at, call.message.id.0))?;
        let (alert, person, language) = (last.alert, last.message.person?, last.message.language);
        let (refused, step) = self.act(alert, (person, MessageChannel::Sms), action, world, now)?;
        let open = self.open.iter().find(|open| open.alerts.contains(&alert));
        let number = open.filter(|open| open.adopted).map(|open| open.ticket.number);
        Some((Answered { language, number, refused }, step))
    }

    /// A responder's key: the message that was called with, and whether the case took the answer.
    pub(super) fn key(
        &mut self,
        message: OutboxId,
        action: Option<&Action>,
        world: &World,
        now: Timestamp,
    ) -> Option<(OutboxMessage, bool, Step)> {
        let Call { alert, message } = self.calls.get(&message).cloned()?;
        let (Some(action), Some(person)) = (action, message.person) else {
            return Some((message, false, Step::default()));
        };
        let (refused, step) = self.act(alert, (person, MessageChannel::Voice), action, world, now)?;
        Some((message, refused.is_none(), step))
    }

    /// Lets a responder act on the case of an alert; `None` if there is no such case or responder.
    fn act(
        &mut self,
        alert: AlertId,
        (person, channel): (PersonId, MessageChannel),
        action: &Action,
        world: &World,
        now: Timestamp,
    ) -> Option<(Option<TransitionError>, Step)> {
        let index = self.open.iter().position(|open| open.alerts.contains(&alert))?;
        let responders = &self.open[index].ticket.responders;
        let name = responders.iter().find(|responder| responder.person == person)?.name.clone();
        let actor = Actor::Person { person, name, channel };
        let note = EmergencyStep::Acted { actor: actor.clone(), action: action.clone() };
        let event = Event::Act { actor, action: action.clone(), as_of: Some(now) };
        match self.advance(index, &event, note, world, now) {
            Ok(step) => Some((None, step)),
            Err(refused) => Some((Some(refused), Step::default())),
        }
    }

    /// The case of the lift with this plate.
    pub(super) fn case_by_plate(&self, plate: &str, directory: &Directory) -> Option<Case> {
        self.open.iter().filter(|open| open.ticket.status != Status::Closed).find_map(|open| {
            let device = directory.devices.get(&open.alert.device)?;
            let answered = open.ticket.milestone(MilestoneKind::Acknowledged).is_some();
            (device.plate.as_deref() == Some(plate)).then(|| Case { device: device.name.clone(), answered })
        })
    }

    fn advance(
        &mut self,
        index: usize,
        event: &Event,
        note: EmergencyStep,
        world: &World,
        now: Timestamp,
    ) -> Result<Step, TransitionError> {
        let open = &mut self.open[index];
        let (after, effects) = desk::transition(&open.ticket, event, &world.duty.roster(open.ticket.site), now)?;
        if after == open.ticket && effects.is_empty() {
            return Ok(Step::default());
        }
        open.ticket = after;
        let notes = vec![EmergencyNote { alert: open.alert.id, at: now, what: note }];
        Ok(Step { notes, calls: self.calls(index, effects, world, now) })
    }

    /// The messages that follow, ready to be sent. Pages that are cancelled are not tried again.
    fn calls(&mut self, index: usize, effects: Vec<Effect>, world: &World, now: Timestamp) -> Vec<Call> {
        let open = &self.open[index];
        let mut calls = Vec::new();
        for effect in effects {
            match effect {
                // Whom it happens to is told by the database's outbox, which knows what they were told.
                Effect::Send(notification) if notification.person.is_none() => {}
                Effect::Send(notification) => {
                    let message = message(open, &notification, world, now);
                    calls.push(Call { alert: open.alert.id, message });
                }
                Effect::CancelPages => {
                    let is_page = |call: &&Call| call.message.content.purpose == Purpose::Page;
                    let of_ticket = self.calls.values().filter(|call| open.alerts.contains(&call.alert));
                    self.cancelled.extend(of_ticket.filter(is_page).map(|call| call.message.id));
                }
                Effect::Log(_) => {}
            }
        }
        self.calls.extend(calls.iter().map(|call: &Call| (call.message.id, call.clone())));
        calls
    }
}

fn message(open: &Open, notification: &Notification, world: &World, now: Timestamp) -> OutboxMessage {
    let about = About {
        ticket: &open.ticket,
        alert: Some(&open.alert),
        site: world.duty.site(open.ticket.site),
        device: world.directory.devices.get(&open.alert.device).map(|device| &**device),
        link: None,
        reply_code: None,
    };
    let key = format!("{}:{}", open.ticket.id, notification.dedup_key);
    OutboxMessage {
        id: OutboxId(Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes())),
        org: open.ticket.org,
        ticket: None,
        person: notification.person,
        affected: None,
        receiver: notification.receiver.clone(),
        language: notification.language,
        content: store::content(&about, notification, now),
        life_safety: true,
        created_at: now,
        expires_at: notification.expires_at,
        attempts: 0,
    }
}

#[cfg(test)]
mod tests;
