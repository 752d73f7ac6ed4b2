//! What the journal holds: everything that arrived, decoded, or rejected with its reason.
//!
//! These types are written in a binary format without field names: add fields and variants only at the end, and
//! raise the journal's format version when you do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ChannelId, CommandId, DeviceId, Timestamp, Value};

/// Two lanes through the hub: what may mean a person in danger never waits behind measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Alarm buttons, fault codes, status changes, command results.
    Events,
    /// Measurements.
    Telemetry,
}

impl Lane {
    /// Both lanes, the urgent one first.
    pub const ALL: [Self; 2] = [Self::Events, Self::Telemetry];
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "events",
            Self::Telemetry => "telemetry",
        })
    }
}

/// One thing that arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The device it came from; `None` only for rejects whose device is not known.
    pub device: Option<DeviceId>,
    /// When the hub received it, by the hub's clock.
    pub received_at: Timestamp,
    /// What it was.
    pub body: Body,
}

impl Entry {
    /// The lane this entry belongs in. Rejects travel with the measurements.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self.body {
            Body::Event(_) | Body::Status(_) | Body::CommandResult(_) | Body::Emergency(_) => Lane::Events,
            Body::Sample(_) | Body::Reject(_) => Lane::Telemetry,
        }
    }
}

/// What an [`Entry`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Values of one or more channels at one time.
    Sample(Sample),
    /// A discrete code.
    Event(Event),
    /// The device came on line or went off.
    Status(Status),
    /// The device's answer to a command.
    CommandResult(CommandResult),
    /// It could not be used.
    Reject(Reject),
    /// The hub's own note, in JSON, of something it did for people while its database was away.
    Emergency(String),
}

/// The values of some channels of one device at one time: one row of readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When the values held: the device's time, or the receive time if it sent none.
    pub time: Timestamp,
    /// The device's own count of messages, if it sends one.
    pub seq: Option<u64>,
    /// The values, each channel at most once.
    pub values: Vec<(ChannelId, Value)>,
}

/// A discrete code from a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened: the device's time, or the receive time if it sent none.
    pub time: Timestamp,
    /// The code, as named in the profile: `alarm_button`.
    pub code: String,
    /// The device's own count of messages, if it sends one.
    pub seq: Option<u64>,
    /// Values of channels that came with it.
    pub values: Vec<(ChannelId, Value)>,
}

/// Whether a device is connected, as its broker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When it changed: the device's time, or the receive time if it sent none.
    pub time: Timestamp,
    /// True if it is connected; false from its last will or its farewell.
    pub online: bool,
}

/// A device's answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// When the device answered.
    pub time: Timestamp,
    /// The command it answers.
    pub command: CommandId,
    /// What became of it.
    pub state: CommandState,
    /// The device's own words.
    pub detail: Option<String>,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Accepted by the hub, not yet given to a broker.
    Queued,
    /// Given to the broker.
    Sent,
    /// The device said that it received it.
    Delivered,
    /// The device carried it out.
    Applied,
    /// The device refused it or could not carry it out.
    Failed,
    /// Its deadline passed without an answer.
    Expired,
}

/// Something that arrived and could not be used. It is kept with its reason and was acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// The topic it came on; bytes that are not UTF-8 are replaced.
    pub topic: String,
    /// Why, as a class to count by.
    pub reason: RejectReason,
    /// A sentence that says what was wrong and what to do.
    pub detail: String,
    /// The first bytes of the payload, at most [`Reject::MAX_PAYLOAD`].
    pub payload: Vec<u8>,
    /// Of how many parts of the message it speaks: 1, or more where a message has too many to tell one by one.
    pub parts: u32,
}

impl Reject {
    /// How much of a rejected payload is kept, in bytes.
    pub const MAX_PAYLOAD: usize = 1024;
}

macro_rules! reject_reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// The classes of bad input.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RejectReason { $($(#[$doc])* $name,)+ }

        impl RejectReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name used in the API, the metrics and the database.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

reject_reasons! {
    /// The payload is not JSON.
    NotJson = "not_json",
    /// The payload is JSON of a shape that the topic does not take.
    WrongShape = "wrong_shape",
    /// A value is not of its channel's type.
    WrongType = "wrong_type",
    /// No device of this name is registered.
    UnknownDevice = "unknown_device",
    /// The device's profile has no such channel.
    UnknownChannel = "unknown_channel",
    /// The device's profile has no such event code.
    UnknownEvent = "unknown_event",
    /// The value lies outside the channel's physical range.
    OutOfRange = "out_of_range",
    /// The time lies too far in the future: the device's clock is wrong.
    FutureTimestamp = "future_timestamp",
    /// The payload is too large.
    TooLarge = "too_large",
    /// The topic is not valid UTF-8 or not one that the hub knows.
    BadTopic = "bad_topic",
    /// A device published under another device's name.
    Forbidden = "forbidden",
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
