//! Tickets.

use model::{
    AffectedId, AlertId, CauseId, DeliveryState, DeviceId, Language, Localised, MessageChannel, MilestoneKind,
    OutboxId, PersonId, Purpose, RunbookId, Severity, TicketId, TicketKind, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ActorView, AlertView, CauseRef, DeviceRef, FalseAlarmsView, ForecastView, ImpactView, PersonRef, PreparationView,
    SiteRef, Text,
};
use crate::api::codes::{
    ChannelCode, DeliveryCode, KindCode, LanguageCode, MilestoneCode, OccupancyCode, PurposeCode, SeverityCode,
    StatusCode,
};

/// An earned milestone. Lists leave out actor and proof.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MilestoneView {
    /// Which.
    #[schema(value_type = MilestoneCode)]
    pub kind: MilestoneKind,
    /// When it was earned.
    #[schema(value_type = String, format = "date-time")]
    pub at: Timestamp,
    /// Who earned it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorView>,
    /// What proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Text>)]
    pub proof: Option<Localised>,
}

/// How many people a ticket happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct AffectedCount {
    /// All of them.
    pub total: usize,
    /// Those inside a car.
    pub inside: usize,
}

/// Why people are paged, or are not.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DecisionView {
    /// A stable name.
    #[schema(example = "inhibited")]
    pub code: &'static str,
    /// True if people are paged.
    pub pages: bool,
    /// In words.
    #[schema(value_type = Text)]
    pub text: Localised,
    /// When what holds the page back ends, if that is known.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub until: Option<Timestamp>,
    /// The ticket whose cause explains this one.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub ticket: Option<TicketId>,
}

/// A lift of a ticket that concerns several, with what is known of the people inside.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LiftView {
    /// Which.
    pub device: DeviceRef,
    /// How likely somebody is inside.
    #[schema(value_type = OccupancyCode)]
    pub occupancy: &'static str,
    /// What that rests on.
    #[schema(value_type = Text)]
    pub reason: Localised,
    /// Whether the car stood between floors; null if that is not known.
    pub between_floors: Option<bool>,
    /// The floor it was last seen at.
    pub floor: Option<f64>,
    /// Since when its alert stands; null once it has cleared.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub since: Option<Timestamp>,
    /// The time of the newest reading that this rests on.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub as_of: Option<Timestamp>,
    /// The entrapment that is open on it.
    pub entrapment: Option<TicketRef>,
}

/// A ticket by its number.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TicketRef {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TicketId,
    /// The number people say.
    pub number: u64,
    /// What is wrong, in a few words.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// The device; null for a whole site.
    pub device: Option<DeviceRef>,
}

/// A ticket as a list shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TicketSummary {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TicketId,
    /// The number people say.
    pub number: u64,
    /// Its kind.
    #[schema(value_type = KindCode)]
    pub kind: TicketKind,
    /// The highest severity of its alerts.
    #[schema(value_type = SeverityCode)]
    pub severity: Severity,
    /// True if a person may be in danger.
    pub life_safety: bool,
    /// Where it stands.
    #[schema(value_type = StatusCode)]
    pub status: desk::Status,
    /// What is wrong, in a few words.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// Where.
    pub site: SiteRef,
    /// The device; null for a whole site.
    pub device: Option<DeviceRef>,
    /// When it was opened.
    #[schema(value_type = String, format = "date-time")]
    pub opened_at: Timestamp,
    /// When it was closed.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub closed_at: Option<Timestamp>,
    /// The milestones earned, in the order they were earned.
    pub milestones: Vec<MilestoneView>,
    /// The rescue level called last: 1, 2 or 3.
    pub level: Option<u8>,
    /// True while people are being called: `next_at` is then the next call, otherwise the time by which somebody must
    /// be on site.
    pub calling: bool,
    /// When the next timer is due.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub next_at: Option<Timestamp>,
    /// Alerts that have not cleared.
    pub alerts_open: usize,
    /// All its alerts.
    pub alerts_total: usize,
    /// Devices with an alert on it.
    pub devices_affected: usize,
    /// What holds its pages back, while something does.
    pub held: Option<DecisionView>,
    /// Its condition comes and goes: it is held open until this time.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub hold_open: Option<Timestamp>,
    /// Who has the job.
    pub assignee: Option<PersonRef>,
    /// People it happens to.
    pub affected: AffectedCount,
    /// Raised by one with every change.
    pub version: i64,
}

/// A page of tickets.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketList {
    /// The tickets, newest first.
    pub tickets: Vec<TicketSummary>,
    /// To be given as `before` for the next page; null at the end.
    pub next: Option<String>,
}

/// What a line of the timeline says.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WhatView {
    /// The ticket was opened.
    Opened,
    /// An alert joined.
    AlertRaised {
        /// Which.
        #[schema(value_type = String, format = "uuid")]
        alert: AlertId,
        /// On which device.
        #[schema(value_type = String)]
        device: DeviceId,
        /// What is wrong.
        #[schema(value_type = Text)]
        title: Localised,
        /// One sentence of evidence.
        #[schema(value_type = Text)]
        reason: Localised,
        /// Why people were paged for it, or were not.
        #[serde(skip_serializing_if = "Option::is_none")]
        decision: Option<DecisionView>,
    },
    /// An alert goes on with another severity.
    SeverityChanged {
        /// Which.
        #[schema(value_type = String, format = "uuid")]
        alert: AlertId,
        /// On which device.
        #[schema(value_type = String)]
        device: DeviceId,
        /// What is wrong.
        #[schema(value_type = Text)]
        title: Localised,
        /// How bad it was.
        #[schema(value_type = SeverityCode)]
        from: Severity,
        /// How bad it is.
        #[schema(value_type = SeverityCode)]
        to: Severity,
        /// Why people were paged for that, or were not.
        #[serde(skip_serializing_if = "Option::is_none")]
        decision: Option<DecisionView>,
    },
    /// It was decided anew whether people are paged.
    Decided {
        /// Why they are, or are not.
        decision: DecisionView,
    },
    /// Its condition comes and goes: it is held open for a while after the last alert cleared.
    HeldOpen {
        /// Until when, should it not come again.
        #[schema(value_type = String, format = "date-time")]
        until: Timestamp,
    },
    /// An alert cleared.
    AlertCleared {
        /// Which.
        #[schema(value_type = String, format = "uuid")]
        alert: AlertId,
        /// On which device.
        #[schema(value_type = String)]
        device: DeviceId,
        /// What was wrong.
        #[schema(value_type = Text)]
        title: Localised,
    },
    /// A milestone was earned.
    Milestone {
        /// Which.
        #[schema(value_type = MilestoneCode)]
        milestone: MilestoneKind,
        /// What proves it.
        #[schema(value_type = Text)]
        proof: Localised,
    },
    /// A person was paged.
    Paged {
        /// Who.
        person: PersonRef,
        /// For which rescue level: 1, 2 or 3.
        level: u8,
        /// The ways used.
        #[schema(value_type = Vec<ChannelCode>)]
        channels: Vec<MessageChannel>,
    },
    /// Nobody is on call at a level: it was skipped.
    NobodyOnCall {
        /// Which: 1, 2 or 3.
        level: u8,
    },
    /// Every step was taken and nobody answered.
    Exhausted,
    /// A person declined.
    Declined,
    /// The job was given to a person.
    Assigned {
        /// Who.
        person: PersonRef,
    },
    /// Somebody who had the job did not arrive in time: people are called again.
    Overdue,
    /// An affected person was added.
    AffectedAdded {
        /// Who.
        #[schema(value_type = String, format = "uuid")]
        affected: AffectedId,
    },
    /// Somebody said what had failed.
    CauseConfirmed {
        /// What.
        cause: CauseRef,
    },
    /// Somebody said which parts were used.
    PartsUsed {
        /// Which; none if it is empty.
        #[schema(value_type = Vec<Text>)]
        parts: Vec<Localised>,
    },
    /// Somebody wrote something.
    Note {
        /// The text.
        text: String,
    },
}

/// One line of a ticket's timeline.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TimelineView {
    /// Its place, rising.
    pub seq: u64,
    /// When it happened.
    #[schema(value_type = String, format = "date-time")]
    pub at: Timestamp,
    /// Who did it.
    pub actor: ActorView,
    /// What.
    pub what: WhatView,
}

/// A person it happens to. Viewers see the address masked and no care link.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AffectedView {
    /// Their id on this ticket.
    #[schema(value_type = String, format = "uuid")]
    pub id: AffectedId,
    /// Their name, if they gave one.
    pub name: Option<String>,
    /// How to reach them.
    pub address: String,
    /// The way.
    #[schema(value_type = ChannelCode)]
    pub channel: MessageChannel,
    /// Their language.
    #[schema(value_type = LanguageCode)]
    pub language: Language,
    /// True if they are inside the car.
    pub inside: bool,
    /// When they were added.
    #[schema(value_type = String, format = "date-time")]
    pub added_at: Timestamp,
    /// Their care page: a secret that opens without a login; null for viewers and once it has expired.
    pub care_url: Option<String>,
}

/// A person who was paged or assigned.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ResponderView {
    /// Who.
    pub person: PersonRef,
    /// The rescue level they were paged for: 1, 2 or 3.
    pub level: u8,
    /// When they were last paged.
    #[schema(value_type = String, format = "date-time")]
    pub paged_at: Timestamp,
    /// When a page reached their device.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub delivered_at: Option<Timestamp>,
    /// When they accepted.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub acknowledged_at: Option<Timestamp>,
    /// When they declined.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub declined_at: Option<Timestamp>,
}

/// A message owed or sent. Viewers see the address masked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: OutboxId,
    /// The receiver's name, if known.
    pub to: Option<String>,
    /// The way.
    #[schema(value_type = ChannelCode)]
    pub channel: MessageChannel,
    /// The number, address or URL.
    pub address: String,
    /// Why it is sent.
    #[schema(value_type = PurposeCode)]
    pub purpose: Purpose,
    /// Where it stands.
    #[schema(value_type = DeliveryCode)]
    pub state: DeliveryState,
    /// How often sending was tried.
    pub attempts: u32,
    /// When it was owed.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
}

/// How to repair what is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunbookView {
    /// Its name in the profile.
    #[schema(value_type = String)]
    pub id: RunbookId,
    /// What it repairs.
    #[schema(value_type = Text)]
    pub title: Localised,
    /// The steps, in order.
    #[schema(value_type = Vec<Text>)]
    pub steps: Vec<Localised>,
    /// Parts to bring.
    #[schema(value_type = Vec<Text>)]
    pub parts: Vec<Localised>,
    /// Tools to bring.
    #[schema(value_type = Vec<Text>)]
    pub tools: Vec<Localised>,
    /// The qualification needed.
    #[schema(value_type = Text)]
    pub skill: Localised,
    /// How long it usually takes, such as `1h 30m`.
    pub duration: String,
}

/// What can be done to a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionCode {
    /// Answer for it.
    Acknowledge,
    /// Cannot take it.
    Decline,
    /// Call the next level now.
    Escalate,
    /// Give the job to a person.
    Assign,
    /// On the way.
    EnRoute,
    /// On site.
    Arrived,
    /// The person is out.
    Released,
    /// Finish the case.
    Close,
    /// Say what had failed, or that nothing had, and which parts were used, also after it is closed.
    ConfirmCause,
    /// Write on the timeline.
    Note,
    /// Add an affected person (`POST …/affected`).
    AddAffected,
}

/// Something to do to a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum ActionRequest {
    /// Answer for it.
    Acknowledge,
    /// Cannot take it.
    Decline,
    /// Call the next level now.
    Escalate,
    /// Give the job to a person.
    Assign {
        /// Who.
        #[schema(value_type = String, format = "uuid")]
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
        /// What was found and done; required while alerts are open.
        #[serde(default)]
        note: Option<String>,
        /// What had failed: one of `known_causes`. `nothing_found`: nothing had; it takes no parts.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        cause: Option<CauseId>,
        /// The parts that were used, by either name of one of `known_parts` or in free words of at most 80 characters; 12 at
        /// most, none if it is empty.
        #[serde(default)]
        parts: Option<Vec<String>>,
    },
    /// Say what had failed and which parts were used, also after it is closed; again, if it was something else.
    ConfirmCause {
        /// What: one of `known_causes`; `nothing_found` only when the ticket is closed.
        #[schema(value_type = String)]
        cause: CauseId,
        /// As with `close`; what was said before stays if it is left out.
        #[serde(default)]
        parts: Option<Vec<String>>,
    },
    /// Write on the timeline.
    Note {
        /// The text, at most 2,000 characters.
        text: String,
    },
}

/// An affected person to be added to a ticket: they are sent their care page by text message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AffectedRequest {
    /// Their name, if they gave one; at most 100 characters.
    #[serde(default)]
    pub name: Option<String>,
    /// Their number in international form, such as `+8613800000000`.
    pub phone: String,
    /// Their language.
    #[serde(default)]
    #[schema(value_type = LanguageCode)]
    pub language: Language,
    /// True if they are inside the car.
    #[serde(default)]
    pub inside: bool,
}

/// A ticket with everything about it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TicketDetail {
    /// What a list shows; here every milestone has its actor and proof.
    #[serde(flatten)]
    pub summary: TicketSummary,
    /// Its alerts, in the order they joined; at most 200.
    pub alerts: Vec<AlertView>,
    /// Its timeline, oldest first; at most the last 500 lines.
    pub timeline: Vec<TimelineView>,
    /// People it happens to (`affected` holds their number).
    pub affected_people: Vec<AffectedView>,
    /// People who were paged or assigned.
    pub responders: Vec<ResponderView>,
    /// Messages owed and sent, newest first; at most 200.
    pub messages: Vec<MessageView>,
    /// How to repair it.
    pub runbook: Option<RunbookView>,
    /// What probably failed, and what the visit should bring; null if the profile's catalogue has nothing for it.
    pub preparation: Option<PreparationView>,
    /// For forecasts and breakdowns of one device: whom it affects.
    pub impact: Option<ImpactView>,
    /// How often nothing was found on tickets that this rule opened; null if never.
    pub false_alarms: Option<FalseAlarmsView>,
    /// What had failed, or `nothing_found`, as somebody said.
    pub cause: Option<CauseRef>,
    /// What may be named as the cause when it is closed: the profile's catalogue, the likeliest first, and `nothing_found`: it
    /// was a false alarm.
    pub known_causes: Vec<CauseRef>,
    /// The parts that were used, as somebody said; null if nobody did.
    #[schema(value_type = Option<Vec<Text>>)]
    pub parts_used: Option<Vec<Localised>>,
    /// Parts that may have been used: those to be prepared, then the others of the profile; at most 100.
    #[schema(value_type = Vec<Text>)]
    pub known_parts: Vec<Localised>,
    /// For forecasts: what is expected.
    pub forecast: Option<ForecastView>,
    /// For tickets that concern several lifts: all of them, those with somebody inside first; at most 1,000.
    pub lifts: Vec<LiftView>,
    /// Tickets whose pages are held back because this one explains them; at most 1,000.
    pub explains: Vec<TicketRef>,
    /// What this user can do now.
    pub actions: Vec<ActionCode>,
}
