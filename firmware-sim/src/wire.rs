//! What a controller puts on the wire: topics and JSON payloads. Written by hand here, on purpose apart from the
//! gateway's decoder; golden files hold both sides to one format.

use std::borrow::Cow;

use model::{CommandId, CommandState, DeviceId, Timestamp, Value};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

/// Values of channels, each at most once.
pub type Values = Vec<(Cow<'static, str>, Value)>;

/// Something a controller has to tell the hub.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Values of channels at one time.
    Telemetry {
        /// When they held, by the controller's clock.
        time: Timestamp,
        /// The values.
        values: Values,
    },
    /// A discrete code.
    Event {
        /// When it happened, by the controller's clock.
        time: Timestamp,
        /// The code, as named in the profile.
        code: Cow<'static, str>,
        /// Values that belong to it.
        values: Values,
    },
    /// The answer to a command.
    CommandResult {
        /// When it was given, by the controller's clock.
        time: Timestamp,
        /// The command.
        command: CommandId,
        /// What became of it.
        state: CommandState,
        /// Why, in words.
        detail: String,
    },
}

impl Report {
    /// When it happened, by the controller's clock.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Telemetry { time, .. } | Self::Event { time, .. } | Self::CommandResult { time, .. } => *time,
        }
    }

    /// True for plain measurements, which may be given up when the offline buffer is full.
    #[must_use]
    pub fn is_telemetry(&self) -> bool {
        matches!(self, Self::Telemetry { .. })
    }
}

/// A report with the controller's count of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Counts up by one for each report of the controller.
    pub seq: u64,
    /// The report.
    pub report: Report,
}

struct ValueMap<'a>(&'a Values);

impl Serialize for ValueMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Numbered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ts", &self.report.time().as_millis())?;
        match &self.report {
            Report::Telemetry { values, .. } => {
                map.serialize_entry("seq", &self.seq)?;
                map.serialize_entry("values", &ValueMap(values))?;
            }
            Report::Event { code, values, .. } => {
                map.serialize_entry("seq", &self.seq)?;
                map.serialize_entry("code", code)?;
                if !values.is_empty() {
                    map.serialize_entry("values", &ValueMap(values))?;
                }
            }
            Report::CommandResult { state, detail, .. } => {
                map.serialize_entry("state", state)?;
                map.serialize_entry("detail", detail)?;
            }
        }
        map.end()
    }
}

/// A message ready to publish: one report, or several measurements of one device in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The JSON text.
    pub payload: Vec<u8>,
    /// True if the broker keeps it for later subscribers.
    pub retain: bool,
    /// What it carries; empty for status messages.
    pub reports: Vec<Numbered>,
}

/// The topics of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    base: String,
}

impl Topics {
    /// The topics of `device` under the hub's prefix.
    #[must_use]
    pub fn new(prefix: &str, device: &DeviceId) -> Self {
        Self { base: format!("{prefix}/{device}") }
    }

    /// Where it says whether it is on line.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{}/status", self.base)
    }

    /// Where it listens for commands.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}/commands", self.base)
    }

    fn of(&self, report: &Report) -> String {
        match report {
            Report::Telemetry { .. } => format!("{}/telemetry", self.base),
            Report::Event { .. } => format!("{}/events", self.base),
            Report::CommandResult { command, .. } => format!("{}/commands/{command}/result", self.base),
        }
    }

    /// The message for a report, or for several measurements (an array, if there are more than one).
    #[must_use]
    pub fn message(&self, reports: Vec<Numbered>) -> Option<Message> {
        let first = reports.first()?;
        let topic = self.of(&first.report);
        let payload = if reports.len() == 1 { serde_json::to_vec(first) } else { serde_json::to_vec(&reports) };
        let payload = payload.expect("maps with text keys and finite values always have a JSON form");
        Some(Message { topic, payload, retain: false, reports })
    }

    /// The retained message that says whether the device is on line.
    #[must_use]
    pub fn status_message(&self, time: Timestamp, online: bool) -> Message {
        let payload = format!("{{\"ts\":{},\"online\":{online}}}", time.as_millis()).into_bytes();
        Message { topic: self.status(), payload, retain: true, reports: Vec::new() }
    }
}

/// The last will: the broker publishes it when the connection breaks. It carries no time, because none is known.
pub const LAST_WILL: &[u8] = b"offline";

/// A command from the hub.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Command {
    /// Its id, to be named in the answers.
    pub id: CommandId,
    /// What to do.
    pub name: String,
    /// How; an object whose fields depend on the command.
    #[serde(default)]
    pub args: serde_json::Value,
    /// When it stops being wanted, in milliseconds since the epoch.
    #[serde(default)]
    pub deadline: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seq: u64) -> Numbered {
        Numbered {
            seq,
            report: Report::Telemetry {
                time: Timestamp::from_millis(1_767_225_600_000),
                values: vec![
                    ("floor".into(), Value::Number(3.0)),
                    ("door_closed".into(), Value::Bool(true)),
                    ("mode".into(), Value::Text("normal".into())),
                ],
            },
        }
    }

    #[test]
    fn payloads_have_the_documented_shape() {
        let topics = Topics::new("liftline", &DeviceId::new("lift-1").unwrap());
        let one = topics.message(vec![sample(7)]).unwrap();
        assert_eq!(one.topic, "liftline/lift-1/telemetry");
        assert_eq!(
            String::from_utf8(one.payload).unwrap(),
            r#"{"ts":1767225600000,"seq":7,"values":{"floor":3.0,"door_closed":true,"mode":"normal"}}"#
        );
        let two = topics.message(vec![sample(7), sample(8)]).unwrap();
        assert!(two.payload.starts_with(b"[{\"ts\":1767225600000,\"seq\":7,"));
        let event = Report::Event { time: Timestamp::from_millis(5), code: "alarm_button".into(), values: Vec::new() };
        let event = topics.message(vec![Numbered { seq: 9, report: event }]).unwrap();
        assert_eq!(event.topic, "liftline/lift-1/events");
        assert_eq!(event.payload, br#"{"ts":5,"seq":9,"code":"alarm_button"}"#);
        let status = topics.status_message(Timestamp::from_millis(5), true);
        assert_eq!((status.payload.as_slice(), status.retain), (&br#"{"ts":5,"online":true}"#[..], true));
    }

    #[test]
    fn an_answer_goes_to_its_command() {
        let topics = Topics::new("p", &DeviceId::new("d").unwrap());
        let id: CommandId = "0190c2c4-0000-7000-8000-000000000000".parse().unwrap();
        let report = Report::CommandResult {
            time: Timestamp::from_millis(5),
            command: id,
            state: CommandState::Applied,
            detail: "done".to_owned(),
        };
        let message = topics.message(vec![Numbered { seq: 1, report }]).unwrap();
        assert_eq!(message.topic, format!("p/d/commands/{id}/result"));
        assert_eq!(message.payload, br#"{"ts":5,"state":"applied","detail":"done"}"#);
    }
}
