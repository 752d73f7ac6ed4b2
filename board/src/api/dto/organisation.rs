//! Sites, people, and what could not be used.

use std::collections::BTreeMap;

use model::{DeviceId, Language, MessageChannel, PersonId, PersonRole, RejectReason, SiteId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::codes::{ChannelCode, LanguageCode, PersonRoleCode, RejectCode};

/// A site.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SiteView {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// Its postal address.
    pub address: String,
    /// IANA time zone.
    pub time_zone: String,
}

/// Sites.
#[derive(Debug, Serialize, ToSchema)]
pub struct SiteList {
    /// By name; at most 1,000.
    pub sites: Vec<SiteView>,
}

/// A way to reach a person. Viewers see the address masked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReceiverView {
    /// The way.
    #[schema(value_type = ChannelCode)]
    pub channel: MessageChannel,
    /// The number, address or URL.
    pub address: String,
}

/// A person.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PersonView {
    /// Their id.
    #[schema(value_type = String, format = "uuid")]
    pub id: PersonId,
    /// Their name.
    pub name: String,
    /// What they do.
    #[schema(value_type = PersonRoleCode)]
    pub role: PersonRole,
    /// Their language.
    #[schema(value_type = LanguageCode)]
    pub language: Language,
    /// How to reach them, in the order to try.
    pub receivers: Vec<ReceiverView>,
}

/// People.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonList {
    /// By name; at most 1,000.
    pub people: Vec<PersonView>,
}

/// Something that arrived and could not be used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RejectView {
    /// When it arrived.
    #[schema(value_type = String, format = "date-time")]
    pub received_at: Timestamp,
    /// From which device, if known.
    #[schema(value_type = Option<String>)]
    pub device: Option<DeviceId>,
    /// On which topic.
    pub topic: String,
    /// Why it was not used.
    #[schema(value_type = RejectCode)]
    pub reason: RejectReason,
    /// A sentence that says what was wrong and what to do.
    pub detail: String,
    /// The first bytes of the payload; bytes that are not text are replaced.
    pub payload: String,
    /// Of how many parts of the message it speaks: 1, or more where a message has too many to tell one by one.
    pub parts: u32,
}

/// A device and how much of what it sent could not be used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RejectingDevice {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// How many rejects there were.
    pub count: u64,
    /// When the last one came.
    #[schema(value_type = String, format = "date-time")]
    pub last_at: Timestamp,
}

/// Rejects.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectList {
    /// How many there were, every one counted; of one device if the request names it.
    pub total: u64,
    /// How many there were by reason.
    pub counts: BTreeMap<String, u64>,
    /// How many samples of them are kept, by reason.
    pub kept: BTreeMap<String, u64>,
    /// The devices with the most rejects (of the reason that the request names), most first; at most 10.
    pub devices: Vec<RejectingDevice>,
    /// The samples, the newest first; at most 500.
    pub rejects: Vec<RejectView>,
}
