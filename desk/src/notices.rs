//! The messages that a ticket owes: who gets what, by which way, under which key.

use std::time::Duration;

use model::{Localised, MessageChannel, MilestoneKind, PersonId, Purpose, Receiver, RescueLevel, Severity};

use crate::{
    Actor, Affected, Contact, Effect, Notification, Responder, Ticket, What, draft::Draft, noise::Reason, ticket::News,
};

/// The milestones that affected people are told of.
const PROGRESS: [MilestoneKind; 7] = [
    MilestoneKind::Acknowledged,
    MilestoneKind::Dispatched,
    MilestoneKind::EnRoute,
    MilestoneKind::Arrived,
    MilestoneKind::Released,
    MilestoneKind::Restored,
    MilestoneKind::Closed,
];

/// A page is worth sending for at least this long: a provider's outage must not swallow it.
const PAGE_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A group's news are told at least this long after the event that brings them.
const SHORTEST_NEWS: Duration = Duration::from_secs(1);
/// News is worth sending for this long.
const NEWS_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);
/// The care page, and what a subscriber is told of a new ticket, for this long.
const NOTICE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Text message and call at once if a person may be in danger or the ticket is critical; otherwise the best one of
/// them (else e-mail). E-mail and webhooks always in addition.
pub(crate) fn page_ways<'c>(ticket: &Ticket, contact: &'c Contact) -> Vec<&'c Receiver> {
    let of = |channel| contact.receivers.iter().filter(move |receiver: &&Receiver| receiver.channel == channel);
    let mut ways: Vec<&Receiver> = if ticket.life_safety || ticket.severity == Severity::Critical {
        of(MessageChannel::Sms).chain(of(MessageChannel::Voice)).collect()
    } else {
        of(MessageChannel::Sms).chain(of(MessageChannel::Voice)).take(1).collect()
    };
    for receiver in of(MessageChannel::Email).chain(of(MessageChannel::Webhook)) {
        ways.push(receiver);
    }
    ways
}

/// The one way for news that must not ring: text message, else e-mail, else webhook.
fn quiet_way(contact: &Contact) -> Option<&Receiver> {
    [MessageChannel::Sms, MessageChannel::Email, MessageChannel::Webhook]
        .into_iter()
        .find_map(|channel| contact.receivers.iter().find(|receiver| receiver.channel == channel))
}

/// The ways to tell somebody who was paged that they need not come: quietly if possible, and every system that was
/// called by webhook.
fn stand_down_ways(contact: &Contact) -> Vec<&Receiver> {
    let mut ways: Vec<&Receiver> = quiet_way(contact).or(contact.receivers.first()).into_iter().collect();
    let first = ways.first().copied();
    let webhooks = contact.receivers.iter().filter(|receiver| receiver.channel == MessageChannel::Webhook);
    ways.extend(webhooks.filter(|receiver| Some(*receiver) != first));
    ways
}

/// Keys `{base}:{channel}`, numbered from the second receiver of a channel on.
fn keyed<'c>(base: &str, ways: Vec<&'c Receiver>) -> Vec<(&'c Receiver, String)> {
    let mut seen: Vec<MessageChannel> = Vec::new();
    ways.into_iter()
        .map(|receiver| {
            seen.push(receiver.channel);
            let key = match seen.iter().filter(|channel| **channel == receiver.channel).count() {
                0 | 1 => format!("{base}:{}", receiver.channel),
                n => format!("{base}:{}:{n}", receiver.channel),
            };
            (receiver, key)
        })
        .collect()
}

impl Draft<'_> {
    /// Pages one person in every way of theirs that fits. The caller has raised the generation.
    pub(crate) fn page(&mut self, contact: &Contact, level: RescueLevel, patience: Duration, by: &Actor) {
        let ways = page_ways(&self.ticket, contact);
        let mut channels: Vec<MessageChannel> = ways.iter().map(|receiver| receiver.channel).collect();
        channels.dedup();
        let base = format!("page:{}:{}", self.ticket.escalation.generation, contact.person);
        for (receiver, dedup_key) in keyed(&base, ways) {
            self.effects.push(Effect::Send(Notification {
                person: Some(contact.person),
                affected: None,
                receiver: receiver.clone(),
                language: contact.language,
                purpose: Purpose::Page,
                level: Some(level),
                milestone: None,
                text: None,
                dedup_key,
                expires_at: self.now + patience.max(PAGE_LIFETIME),
            }));
        }
        let now = self.now;
        match self.responder(contact.person) {
            Some(responder) => {
                responder.level = level;
                responder.paged_at = now;
                responder.stood_down_at = None;
            }
            None => self.ticket.responders.push(Responder {
                person: contact.person,
                name: contact.name.clone(),
                level,
                paged_at: now,
                delivered_at: None,
                acknowledged_at: None,
                declined_at: None,
                stood_down_at: None,
            }),
        }
        let (person, name) = (contact.person, contact.name.clone());
        self.log(by, What::Paged { person, name, level, channels });
    }

    /// Withdraws the pages not yet sent and tells everybody who was called, but those who keep at it, that they need
    /// not come.
    pub(crate) fn stand_down_all_but(&mut self, keep: &[PersonId]) {
        if self.ticket.responders.is_empty() {
            return;
        }
        self.effects.push(Effect::CancelPages);
        let base = format!("stand_down:{}", self.ticket.version);
        for index in 0..self.ticket.responders.len() {
            let responder = &mut self.ticket.responders[index];
            let person = responder.person;
            let declined = responder.declined_at.is_some_and(|at| at >= responder.paged_at);
            if keep.contains(&person) || declined || responder.stood_down_at.is_some() {
                continue;
            }
            responder.stood_down_at = Some(self.now);
            let Some(contact) = self.contact(person) else { continue };
            for (receiver, dedup_key) in keyed(&format!("{base}:{person}"), stand_down_ways(contact)) {
                self.effects.push(Effect::Send(Notification {
                    person: Some(person),
                    affected: None,
                    receiver: receiver.clone(),
                    language: contact.language,
                    purpose: Purpose::StandDown,
                    level: None,
                    milestone: None,
                    text: None,
                    dedup_key,
                    expires_at: self.now + NEWS_LIFETIME,
                }));
            }
        }
    }

    /// Notes what those who are told now are told of the group.
    pub(crate) fn remember_told(&mut self) {
        self.ticket.news = News { devices: self.ticket.devices_open(), told_at: Some(self.now), next_at: None };
    }

    /// More devices joined a group that somebody has in hand: they hear of it when the interval since the last word is
    /// over.
    pub(crate) fn plan_news(&mut self) {
        let news = &mut self.ticket.news;
        if self.ticket.device.is_some() || news.next_at.is_some() {
            return;
        }
        let last = news.told_at.unwrap_or(self.now);
        news.next_at = Some((last + self.ticket.timing.group_interval).max(self.now + SHORTEST_NEWS));
    }

    /// Tells whoever has the job how many devices joined since the last word.
    pub(crate) fn tell_news(&mut self) {
        let open = self.ticket.devices_open();
        let joined = open.saturating_sub(self.ticket.news.devices);
        let assignee = self.ticket.assignee.and_then(|person| self.contact(person));
        let Some((contact, receiver)) = assignee.and_then(|contact| Some((contact, quiet_way(contact)?))) else {
            return;
        };
        if joined == 0 || self.ticket.status == crate::Status::Closed {
            return;
        }
        self.effects.push(Effect::Send(Notification {
            person: Some(contact.person),
            affected: None,
            receiver: receiver.clone(),
            language: contact.language,
            purpose: Purpose::Update,
            level: None,
            milestone: None,
            text: Some(Localised::new(
                format!("{joined} more joined; {open} are affected now."),
                format!("新增 {joined} 台，现共 {open} 台受影响。"),
            )),
            dedup_key: format!("update:{}:{}", self.ticket.version, contact.person),
            expires_at: self.now + NEWS_LIFETIME,
        }));
        self.log(&Actor::Hub, What::Decided { reason: Reason::NewInGroup { devices: joined } });
        self.remember_told();
    }

    /// Tells subscribers of the new ticket.
    pub(crate) fn notice(&mut self) {
        self.tell_subscribers(Purpose::Notice, MilestoneKind::Detected, "notice", NOTICE_LIFETIME);
    }

    /// Sends an affected person their care page.
    pub(crate) fn care_link(&mut self, affected: &Affected) {
        self.effects.push(Effect::Send(Notification {
            person: None,
            affected: Some(affected.id),
            receiver: affected.receiver.clone(),
            language: affected.language,
            purpose: Purpose::CareLink,
            level: None,
            milestone: None,
            text: None,
            dedup_key: format!("care:{}", affected.id),
            expires_at: self.now + NOTICE_LIFETIME,
        }));
    }

    /// Tells affected people and subscribers of the furthest milestone that this event earned. What lies behind a
    /// milestone already told is no news, except that the person is out.
    pub(crate) fn tell_progress(&mut self) {
        let furthest =
            |kinds: &mut dyn Iterator<Item = MilestoneKind>| kinds.filter(|kind| PROGRESS.contains(kind)).max();
        let Some(milestone) = furthest(&mut self.earned.iter().copied()) else { return };
        let before = self.ticket.milestones.iter().map(|milestone| milestone.kind);
        let before = furthest(&mut before.filter(|kind| !self.earned.contains(kind)));
        if before > Some(milestone) && milestone != MilestoneKind::Released {
            return;
        }
        for affected in &self.ticket.affected {
            self.effects.push(Effect::Send(Notification {
                person: None,
                affected: Some(affected.id),
                receiver: affected.receiver.clone(),
                language: affected.language,
                purpose: Purpose::Progress,
                level: None,
                milestone: Some(milestone),
                text: None,
                dedup_key: format!("progress:{milestone}:{}", affected.id),
                expires_at: self.now + NEWS_LIFETIME,
            }));
        }
        if self.ticket.announced && matches!(milestone, MilestoneKind::Restored | MilestoneKind::Closed) {
            self.tell_subscribers(Purpose::Progress, milestone, &format!("progress:{milestone}"), NEWS_LIFETIME);
        }
    }

    fn tell_subscribers(&mut self, purpose: Purpose, milestone: MilestoneKind, base: &str, lifetime: Duration) {
        if !self.ticket.policy.tell_subscribers {
            return;
        }
        let mut told: Vec<PersonId> = Vec::new();
        for contact in &self.roster.subscribers {
            let Some(receiver) = quiet_way(contact) else { continue };
            if told.contains(&contact.person) {
                continue;
            }
            told.push(contact.person);
            self.effects.push(Effect::Send(Notification {
                person: Some(contact.person),
                affected: None,
                receiver: receiver.clone(),
                language: contact.language,
                purpose,
                level: None,
                milestone: Some(milestone),
                text: None,
                dedup_key: format!("{base}:{}:{}", contact.person, receiver.channel),
                expires_at: self.now + lifetime,
            }));
        }
    }
}
