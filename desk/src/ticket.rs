//! What a ticket is, what can happen to it, and what follows.

use model::{
    AffectedId, Alert, AlertId, AlertSource, DeviceId, Language, Localised, MessageChannel, MilestoneKind, OrgId,
    PersonId, ProfileId, Purpose, Receiver, RescueLevel, RuleId, RunbookId, Severity, SiteId, TicketId, TicketKind,
    Timestamp, UserId,
};
use serde::{Deserialize, Serialize};

use crate::{
    Confirmed, Policy,
    noise::{Held, Reason, Surroundings, Timing},
};

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has answered for it yet.
    Open,
    /// Somebody has it.
    Acknowledged,
    /// Every alert has cleared; it waits to be closed.
    Restored,
    /// Finished. Nothing reopens it.
    Closed,
}

impl Status {
    /// The name used in the API and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Restored => "restored",
            Self::Closed => "closed",
        }
    }
}

/// A case that people work on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// The number people say.
    pub number: u64,
    /// The organisation it belongs to.
    pub org: OrgId,
    /// Its kind, from its first alert.
    pub kind: TicketKind,
    /// The highest severity of its alerts.
    pub severity: Severity,
    /// True if any of its alerts concerns life safety.
    pub life_safety: bool,
    /// Alerts with this key join the ticket while it is not closed.
    pub group_key: String,
    /// The site.
    pub site: SiteId,
    /// The device; `None` if it is about a whole site.
    pub device: Option<DeviceId>,
    /// The profile of its first alert's device: where its runbook is.
    pub profile: ProfileId,
    /// What is wrong, in a few words.
    pub title: Localised,
    /// The runbook that prepares the repair.
    pub runbook: Option<RunbookId>,
    /// Where it stands.
    pub status: Status,
    /// When the hub opened it.
    pub opened_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Its alerts, in the order they joined.
    pub alerts: Vec<TicketAlert>,
    /// The milestones earned, in the order they were earned.
    pub milestones: Vec<Milestone>,
    /// Where escalation stands.
    pub escalation: Escalation,
    /// People who were paged for it or assigned to it.
    pub responders: Vec<Responder>,
    /// Who has the job.
    pub assignee: Option<PersonId>,
    /// People it happens to.
    pub affected: Vec<Affected>,
    /// The policy as it was when the ticket was opened.
    pub policy: Policy,
    /// The last note, by which a second press of the same button is known.
    #[serde(default)]
    pub last_note: Option<TimelineEntry>,
    /// What holds its pages back, while something does. The ticket is on the board all the same.
    #[serde(default)]
    pub held: Option<Held>,
    /// When that is looked at again.
    #[serde(default)]
    pub next_look: Option<Timestamp>,
    /// True once somebody called people for it by hand: from then on nothing holds its pages back.
    #[serde(default)]
    pub by_hand: bool,
    /// True once its subscribers were told of it: only then do they hear how it goes on.
    #[serde(default = "yes")]
    pub announced: bool,
    /// When people hear of its group, as it was when the ticket was opened.
    #[serde(default = "at_once")]
    pub timing: Timing,
    /// Its condition comes and goes: it is held open until this time, should it not come again.
    #[serde(default)]
    pub hold_open: Option<Timestamp>,
    /// What those who have the job were told of its group.
    #[serde(default)]
    pub news: News,
    /// Nobody answered: when people are called again.
    #[serde(default)]
    pub repeat_at: Option<Timestamp>,
    /// What was found: what had failed, or that nothing had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Confirmed>,
    /// The parts that its repair took; `None`: nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<Localised>>,
    /// Raised by one with every change; the store's guard against lost updates.
    pub version: i64,
}

fn yes() -> bool {
    true
}

fn at_once() -> Timing {
    Timing::AT_ONCE
}

/// What those who have the job were told of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct News {
    /// How many devices had open alerts when people were told last.
    pub devices: usize,
    /// When that was.
    pub told_at: Option<Timestamp>,
    /// When they hear of those that joined since.
    pub next_at: Option<Timestamp>,
}

impl Ticket {
    /// The milestone, if it has been earned.
    #[must_use]
    pub fn milestone(&self, kind: MilestoneKind) -> Option<&Milestone> {
        self.milestones.iter().find(|milestone| milestone.kind == kind)
    }

    /// Alerts that have not cleared.
    pub fn open_alerts(&self) -> impl Iterator<Item = &TicketAlert> {
        self.alerts.iter().filter(|alert| alert.cleared_at.is_none())
    }

    /// What opened it: the rule of its first alert.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleId> {
        self.alerts.first().map(|alert| &alert.rule)
    }

    /// When a timer is due: the store calls [`crate::transition`] with [`Event::Tick`] then.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let timers = [self.escalation.next_at, self.next_look, self.hold_open, self.news.next_at, self.repeat_at];
        timers.into_iter().flatten().min()
    }

    /// How many devices have open alerts on it.
    #[must_use]
    pub fn devices_open(&self) -> usize {
        self.open_alerts().map(|alert| &alert.device).collect::<std::collections::HashSet<_>>().len()
    }
}

/// An alert on a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicketAlert {
    /// The alert.
    pub id: AlertId,
    /// The device it is on.
    pub device: DeviceId,
    /// What found it.
    pub rule: RuleId,
    /// What kind of finder.
    pub source: AlertSource,
    /// What is wrong.
    pub title: Localised,
    /// One sentence of evidence.
    pub reason: Localised,
    /// How bad.
    pub severity: Severity,
    /// Event time from which on it is so bad; `None`: since it was raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_since: Option<Timestamp>,
    /// Event time it was raised.
    pub raised_at: Timestamp,
    /// Event time it cleared.
    pub cleared_at: Option<Timestamp>,
    /// True if it concerns life safety.
    #[serde(default)]
    pub life_safety: bool,
    /// The profile of its device.
    #[serde(default)]
    pub profile: Option<ProfileId>,
    /// The runbook that its rule names.
    #[serde(default)]
    pub runbook: Option<RunbookId>,
}

/// An earned milestone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Milestone {
    /// Which.
    pub kind: MilestoneKind,
    /// When it was earned.
    pub at: Timestamp,
    /// Who earned it.
    pub actor: Actor,
    /// What proves it, in words a dispatcher understands.
    pub proof: Localised,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// The hub itself.
    Hub,
    /// A device.
    Device {
        /// Which.
        device: DeviceId,
    },
    /// A registered person, by message or call.
    Person {
        /// Who.
        person: PersonId,
        /// Their name at the time.
        name: String,
        /// The way they answered.
        channel: MessageChannel,
    },
    /// A user of the board.
    User {
        /// Who.
        user: UserId,
        /// Their name at the time.
        name: String,
    },
    /// An affected person.
    Affected {
        /// Who.
        affected: AffectedId,
    },
    /// A message provider's report.
    Provider {
        /// The way.
        channel: MessageChannel,
    },
}

/// Where escalation stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Escalation {
    /// How many steps of the policy have been taken in this round.
    pub step: u32,
    /// How many times the whole policy was repeated.
    pub round: u32,
    /// The level called last.
    pub level: Option<RescueLevel>,
    /// When the next timer is due; `None` when nothing is to come.
    pub next_at: Option<Timestamp>,
    /// Raised every time people are paged: part of the idempotency key of the pages.
    pub generation: u32,
    /// True while people are being called: `next_at` is then the next step. Otherwise `next_at`, if any, is the time
    /// by which somebody must be on site.
    #[serde(default)]
    pub calling: bool,
    /// When the last step was taken; an escalation that answers an older message is stale.
    #[serde(default)]
    pub last_at: Option<Timestamp>,
}

/// A person who was paged or assigned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Responder {
    /// Who.
    pub person: PersonId,
    /// Their name at the time.
    pub name: String,
    /// The level they were paged for.
    pub level: RescueLevel,
    /// When they were last paged.
    pub paged_at: Timestamp,
    /// When a receipt said that a page reached their device.
    pub delivered_at: Option<Timestamp>,
    /// When they accepted.
    pub acknowledged_at: Option<Timestamp>,
    /// When they declined.
    pub declined_at: Option<Timestamp>,
    /// When they were told that they are no longer needed; a new page starts afresh.
    #[serde(default)]
    pub stood_down_at: Option<Timestamp>,
}

/// A person it happens to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// Their id on this ticket.
    pub id: AffectedId,
    /// Their name, if they gave one.
    pub name: Option<String>,
    /// How to reach them.
    pub receiver: Receiver,
    /// Their language.
    pub language: Language,
    /// True if they are inside the car.
    pub inside: bool,
    /// When they were added.
    pub added_at: Timestamp,
}

/// What can happen to a ticket.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An alert with this ticket's group key was raised. The first one makes the ticket: [`crate::open`].
    AlertRaised(Box<Alert>),
    /// One of its alerts goes on with another severity.
    AlertChanged(Box<Alert>),
    /// One of its alerts cleared.
    AlertCleared(Box<Alert>),
    /// Time passed.
    Tick,
    /// What holds its pages back may have ended before its time: the alert that inhibits it cleared, or somebody ended
    /// the silence.
    LookAgain,
    /// Somebody did something.
    Act {
        /// Who.
        actor: Actor,
        /// What.
        action: Action,
        /// For escalations by reply: the time of the message that is answered; a stale press does nothing.
        as_of: Option<Timestamp>,
    },
    /// A provider reported that a page reached a responder's device.
    Delivered {
        /// The responder.
        person: PersonId,
        /// The way.
        channel: MessageChannel,
    },
    /// An affected person was added.
    AffectedAdded {
        /// By whom.
        actor: Actor,
        /// The person.
        affected: Affected,
    },
}

/// What a person can do to a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// I have seen it and answer for it. A responder who acknowledges takes the job.
    Acknowledge,
    /// I cannot.
    Decline,
    /// Call the next level now.
    Escalate,
    /// Give the job to a person.
    Assign {
        /// Who.
        person: PersonId,
    },
    /// On the way.
    EnRoute,
    /// On site.
    Arrived,
    /// The person is out.
    Released,
    /// Finish the case.
    Close {
        /// What was found and done; required while alerts are still open.
        note: Option<String>,
        /// What was found to have failed, from the profile's catalogue, or [`Confirmed::nothing`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Confirmed>,
        /// The parts that were used, none if it is empty; `None`: they do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parts: Option<Vec<Localised>>,
    },
    /// Say what had failed: also when the ticket has closed itself since, and again when it was something else.
    ConfirmCause {
        /// What, from the profile's catalogue; of a closed ticket also [`Confirmed::nothing`].
        cause: Confirmed,
        /// The parts that were used, none if it is empty; `None`: they do not say, and what was said before stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parts: Option<Vec<Localised>>,
    },
    /// Write something on the timeline.
    Note {
        /// The text, at most 2,000 characters.
        text: String,
    },
}

/// Who can be called, as known when an event is handled.
///
/// The caller fills in everybody who may have to be written to: a person who is not found here cannot be told that
/// they are no longer needed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roster {
    /// Who is on call at each level, at this site and time. Levels without anybody are absent or empty.
    pub on_call: Vec<(RescueLevel, Vec<Contact>)>,
    /// Who else wants to know: building managers, residents who subscribed.
    pub subscribers: Vec<Contact>,
    /// Registered people that the ticket's responders, its assignee and the event name (the acting person, the person
    /// to assign).
    pub known: Vec<Contact>,
    /// What may hold pages back.
    pub around: Surroundings,
}

/// A person and how to reach them.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// Who.
    pub person: PersonId,
    /// Their name.
    pub name: String,
    /// Their language.
    pub language: Language,
    /// Ways to reach them.
    pub receivers: Vec<Receiver>,
}

/// What follows from a transition. The store commits all of it together with the ticket, in this order: a
/// [`Effect::CancelPages`] concerns the pages owed before it, not those that follow it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Owe somebody a message.
    Send(Notification),
    /// Pages not yet sent are no longer needed.
    CancelPages,
    /// Write on the timeline.
    Log(TimelineEntry),
}

/// A message to be owed.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The registered person, if it goes to one.
    pub person: Option<PersonId>,
    /// The affected person, if it goes to one.
    pub affected: Option<AffectedId>,
    /// The way.
    pub receiver: Receiver,
    /// The language.
    pub language: Language,
    /// Why.
    pub purpose: Purpose,
    /// The level being called, for pages.
    pub level: Option<RescueLevel>,
    /// The milestone told of, for progress.
    pub milestone: Option<MilestoneKind>,
    /// What it says, for updates.
    pub text: Option<Localised>,
    /// Together with the ticket, unique: the same effect computed twice owes one message.
    pub dedup_key: String,
    /// After this time it is pointless.
    pub expires_at: Timestamp,
}

/// One line of a ticket's timeline: append-only, the source of every view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What.
    pub what: What,
}

/// What a timeline entry says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// The ticket was opened.
    Opened,
    /// An alert joined.
    AlertRaised {
        /// Which.
        alert: AlertId,
        /// On which device.
        device: DeviceId,
        /// What is wrong.
        title: Localised,
        /// One sentence of evidence.
        reason: Localised,
        /// Why people were paged for it, or were not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<Reason>,
    },
    /// An alert goes on with another severity.
    SeverityChanged {
        /// Which.
        alert: AlertId,
        /// On which device.
        device: DeviceId,
        /// What is wrong.
        title: Localised,
        /// How bad it was.
        from: Severity,
        /// How bad it is.
        to: Severity,
        /// Why people were paged for that, or were not; `None` if it became less bad.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<Reason>,
    },
    /// It was decided anew whether people are paged.
    Decided {
        /// Why they are, or are not.
        reason: Reason,
    },
    /// Its condition comes and goes: it is held open for a while after the last alert cleared.
    HeldOpen {
        /// Until when, should it not come again.
        until: Timestamp,
    },
    /// An alert cleared.
    AlertCleared {
        /// Which.
        alert: AlertId,
        /// On which device.
        device: DeviceId,
        /// What was wrong.
        title: Localised,
    },
    /// A milestone was earned.
    Milestone {
        /// Which.
        milestone: MilestoneKind,
        /// What proves it.
        proof: Localised,
    },
    /// A person was paged.
    Paged {
        /// Who.
        person: PersonId,
        /// Their name.
        name: String,
        /// For which level.
        level: RescueLevel,
        /// The ways used.
        channels: Vec<MessageChannel>,
    },
    /// Nobody is on call at a level: it was skipped.
    NobodyOnCall {
        /// Which.
        level: RescueLevel,
    },
    /// Every step was taken and nobody answered.
    Exhausted,
    /// A person declined.
    Declined,
    /// The job was given to a person.
    Assigned {
        /// Who.
        person: PersonId,
        /// Their name.
        name: String,
    },
    /// Somebody who had the job did not arrive in time: people are called again.
    Overdue,
    /// An affected person was added.
    AffectedAdded {
        /// Who.
        affected: AffectedId,
    },
    /// Somebody said what had failed, or that nothing had.
    CauseConfirmed {
        /// What.
        cause: Confirmed,
    },
    /// Somebody said which parts were used.
    PartsUsed {
        /// Which; none if it is empty.
        parts: Vec<Localised>,
    },
    /// Somebody wrote something.
    Note {
        /// The text.
        text: String,
    },
}
