//! Messages owed to people. The desk decides who is owed what, the store commits it, notify sends it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AffectedId, Language, Localised, MilestoneKind, OrgId, OutboxId, PersonId, Receiver, RescueLevel, Severity,
    TicketId, TicketKind, Timestamp,
};

/// Why a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Asks a responder to act; expects an acknowledgement.
    Page,
    /// Tells a responder who was paged that somebody has it, or that it is over.
    StandDown,
    /// Gives an affected person their care page.
    CareLink,
    /// Tells an affected person or a subscriber of an earned milestone.
    Progress,
    /// Tells a subscriber (a building manager, a resident) of a new ticket.
    Notice,
    /// Tells whoever has the job that its group grew.
    Update,
    /// Answers a message that a person sent.
    Answer,
}

/// Everything a template needs. The text is rendered when the message is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageContent {
    /// Why it is sent.
    pub purpose: Purpose,
    /// The ticket's number, as people say it.
    pub ticket_number: u64,
    /// The kind of ticket.
    pub kind: TicketKind,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a few words.
    pub title: Localised,
    /// One sentence of evidence.
    pub reason: Localised,
    /// What people call the device; empty for a whole site.
    pub device_name: String,
    /// The number on the plate in the car.
    pub plate: Option<String>,
    /// The site's name.
    pub site_name: String,
    /// The site's address.
    pub site_address: String,
    /// The rescue level that is being called.
    pub level: Option<RescueLevel>,
    /// The milestone that was earned.
    pub milestone: Option<MilestoneKind>,
    /// When it happened.
    pub at: Timestamp,
    /// The number by which the receiver names this ticket in a reply.
    pub reply_code: Option<u32>,
    /// Where to read more: the care page or the ticket on the board.
    pub link: Option<String>,
    /// For [`Purpose::Answer`] and [`Purpose::Update`]: what it says.
    pub text: Option<Localised>,
}

/// A message owed to a person: one row of the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// Its id; also the idempotency key towards providers.
    pub id: OutboxId,
    /// The organisation that owes it.
    pub org: OrgId,
    /// The ticket it is about.
    pub ticket: Option<TicketId>,
    /// The person it goes to, if registered.
    pub person: Option<PersonId>,
    /// The affected person it goes to.
    pub affected: Option<AffectedId>,
    /// How it goes.
    pub receiver: Receiver,
    /// In which language.
    pub language: Language,
    /// What it says.
    pub content: MessageContent,
    /// True if it may never be throttled or delayed.
    pub life_safety: bool,
    /// When it was owed.
    pub created_at: Timestamp,
    /// After this time it is pointless and is given up.
    pub expires_at: Timestamp,
    /// How many attempts were made before this one.
    pub attempts: u32,
}

/// What came of one attempt to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The provider took it. That is not delivery.
    Sent {
        /// The provider's own id for it.
        provider_id: String,
    },
    /// It was not taken; try again.
    Retry {
        /// How long to wait, if the provider said.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
    /// The request left and no answer came: it may or may not have been taken. Look it up before sending again.
    Unknown {
        /// What happened.
        reason: String,
    },
    /// It can never be sent.
    Dead {
        /// Why.
        reason: String,
    },
}

/// Where a message stands. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Owed.
    Pending,
    /// Taken by the provider.
    Sent,
    /// No longer needed; never sent.
    Cancelled,
    /// Given up, undeliverable or expired.
    Dead,
    /// The provider says that it reached the receiver's device.
    Delivered,
    /// A human answered it.
    Answered,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Sent, Self::Cancelled, Self::Dead, Self::Delivered, Self::Answered];

    /// The name used in the API and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
            Self::Delivered => "delivered",
            Self::Answered => "answered",
        }
    }
}
