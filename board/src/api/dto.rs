//! What the HTTP API says and takes. Times are RFC 3339 text, ids are text, every list is bounded.
//!
//! These types are the contract with every client: fields are added, never renamed or removed, within `/api/v1`.

mod alerts;
mod devices;
mod forecasts;
mod impact;
mod organisation;
mod preparation;
mod silences;
mod tickets;

use model::{DeviceId, Language, Localised, MessageChannel, OrgId, PersonId, ProfileId, SiteId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use store::UserRole;
use utoipa::ToSchema;

pub use alerts::{AlertView, EvidenceView, ForecastView, ObservationView};
pub use devices::{
    ChannelView, CommandKindView, CommandList, CommandRequest, CommandView, DeviceDetail, DeviceList, DeviceSummary,
    EventView, LatestView, Points, Readings, ReadingsKind, RuleView,
};
pub use forecasts::{CalibrationView, ModelView, ScoreView, ScorecardList, ScorecardView};
pub use impact::{CrowdView, HourView, ImpactView, VisitView};
pub use organisation::{
    PersonList, PersonView, ReceiverView, RejectList, RejectView, RejectingDevice, SiteList, SiteView,
};
pub use preparation::{CauseRef, CauseView, FalseAlarmsView, PartView, PreparationView};
pub use silences::{CoveredView, PreviewRequest, SilenceList, SilencePreview, SilenceRequest, SilenceView};
pub use tickets::{
    ActionCode, ActionRequest, AffectedCount, AffectedRequest, AffectedView, DecisionView, LiftView, MessageView,
    MilestoneView, ResponderView, RunbookView, TicketDetail, TicketList, TicketRef, TicketSummary, TimelineView,
    WhatView,
};

use super::codes::{ChannelCode, LanguageCode, RoleCode};

/// The same text in every language.
#[derive(Debug, ToSchema)]
pub struct Text {
    /// English.
    pub en: String,
    /// Simplified Chinese.
    pub zh: String,
}

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong and what to do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// A stable name; clients translate by it.
    #[schema(example = "not_found")]
    pub code: String,
    /// A sentence.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// A name and password.
#[derive(Deserialize, ToSchema)]
pub struct LoginRequest {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// The user who is now logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginResponse {
    /// The user.
    pub user: UserView,
}

/// A user of the board.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserView {
    /// Their id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// Their name.
    pub name: String,
    /// The name they log in with.
    pub username: String,
    /// What they may do.
    #[schema(value_type = RoleCode)]
    pub role: UserRole,
    /// The language they read.
    #[schema(value_type = LanguageCode)]
    pub language: Language,
}

/// An organisation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrgView {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: OrgId,
    /// Its name.
    pub name: String,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The user.
    pub user: UserView,
    /// Their organisation.
    pub org: OrgView,
    /// To be sent as the header `x-csrf-token` with every request that changes something.
    pub csrf: String,
    /// The hub's time.
    #[schema(value_type = String, format = "date-time")]
    pub now: Timestamp,
}

/// Who is logged in, if anybody.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Null if nobody is.
    pub me: Option<Me>,
}

/// A site, briefly.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SiteRef {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// Its postal address.
    pub address: String,
}

/// A device, briefly.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeviceRef {
    /// Its name in MQTT topics.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// What people call it.
    pub name: String,
    /// The number on the plate in the car.
    pub plate: Option<String>,
}

/// A person, briefly.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PersonRef {
    /// Their id.
    #[schema(value_type = String, format = "uuid")]
    pub id: PersonId,
    /// Their name.
    pub name: String,
}

/// A profile, briefly.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProfileRef {
    /// Its name.
    #[schema(value_type = String)]
    pub id: ProfileId,
    /// What people call it.
    #[schema(value_type = Text)]
    pub name: Localised,
}

/// Who did something.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ActorView {
    /// `hub`, `device`, `person`, `user`, `affected` or `provider`.
    #[schema(example = "person")]
    pub kind: &'static str,
    /// Their id, unless it was the hub or a provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Their name at the time, for people and users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The way it came, for people and providers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ChannelCode>)]
    pub channel: Option<MessageChannel>,
}
