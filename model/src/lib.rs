//! The vocabulary of Liftline: ids, time, units, what devices say, what is found on them, who is told, and the
//! device profile.
//!
//! This crate is pure. It reads no clock, opens no file or socket and draws no random number; every other crate
//! may use it.

pub mod alert;
pub mod codes;
pub mod duration;
pub mod entry;
pub mod id;
pub mod message;
pub mod milestone;
pub mod org;
pub mod profile;
pub mod text;
pub mod time;
pub mod unit;
pub mod value;

pub use alert::{
    Alert, AlertChange, AlertSource, Evidence, ForecastEvidence, Observation, Scope, Severity, TicketKind,
};
pub use entry::{Body, CommandResult, CommandState, Entry, Event, Lane, Reject, RejectReason, Sample, Status};
pub use id::{
    AffectedId, AlertId, CauseId, ChannelId, CommandId, DeviceId, IdError, OrgId, OutboxId, PersonId, ProfileId,
    RotaId, RuleId, RunbookId, SessionId, SilenceId, SiteId, TicketId, UserId,
};
pub use message::{DeliveryState, MessageContent, OutboxMessage, Outcome, Purpose};
pub use milestone::MilestoneKind;
pub use org::{
    Device, Directory, MessageChannel, Organisation, Person, PersonRole, Receiver, RescueLevel, Site, SiteUse,
    SiteUseError, Traffic,
};
pub use profile::{Profile, ProfileError};
pub use text::{Language, Localised};
pub use time::{Clock, ManualClock, Timestamp};
pub use unit::Unit;
pub use value::Value;
