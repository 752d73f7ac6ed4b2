//! Topics: `{prefix}/{device}/telemetry`, `…/events`, `…/status`, `…/commands/{id}/result`.

use model::{DeviceId, IdError};

/// What topics of ThingsBoard's device API begin with. The device is the one that the connection belongs to; at an
/// external broker, which tells nobody, they stand under the prefix and the device's name.
pub(crate) const THINGSBOARD_DEVICE: &str = "v1/devices/me/";
/// What topics of ThingsBoard's gateway API begin with.
pub(crate) const THINGSBOARD_GATEWAY: &str = "v1/gateway/";

/// What a device says on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf<'a> {
    Telemetry,
    Events,
    Status,
    /// The answer to the command with this id.
    CommandResult(&'a str),
    /// A SenML pack.
    Senml,
    /// ThingsBoard's device API, what follows `v1/devices/me/`.
    ThingsBoard(&'a str),
}

/// A topic that the hub understands. The device's name is not checked against the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic<'a> {
    pub(crate) device: &'a str,
    pub(crate) leaf: Leaf<'a>,
}

/// Why a topic cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("the topic is not valid UTF-8; use letters, digits and . _ : - in topic names")]
    NotUtf8,
    #[error("the topic does not begin with \"{prefix}/\"; publish to {prefix}/<device>/telemetry")]
    OutsidePrefix { prefix: String },
    #[error("the topic names no usable device: {0}")]
    Device(IdError),
    #[error(
        "the hub reads nothing on \"…/{found}\"; publish to {prefix}/{device}/telemetry, …/events, …/status or \
         …/commands/<id>/result"
    )]
    UnknownLeaf { prefix: String, device: String, found: String },
}

/// The filters a subscriber needs to hear everything, each with whether retained messages on it make sense.
pub(crate) fn filters(prefix: &str) -> Vec<(String, bool)> {
    vec![
        (format!("{prefix}/+/telemetry"), false),
        (format!("{prefix}/+/events"), false),
        (format!("{prefix}/+/status"), true),
        (format!("{prefix}/+/commands/+/result"), false),
        (format!("{prefix}/+/senml"), false),
        (format!("{prefix}/+/v1/devices/me/telemetry"), false),
        (format!("{prefix}/+/v1/devices/me/attributes"), false),
        (format!("{prefix}/+/v1/devices/me/rpc/response/+"), false),
    ]
}

/// True if what comes on a topic (or through a filter) may mean a person in danger: it goes ahead of measurements.
pub(crate) fn is_urgent(topic: &[u8]) -> bool {
    [b"/events".as_slice(), b"/status", b"/result"].iter().any(|leaf| topic.ends_with(leaf))
}

/// True if a retained message on this topic is a state that still holds rather than an old occurrence.
pub(crate) fn is_status(topic: &[u8]) -> bool {
    topic.ends_with(b"/status")
}

/// The device part of a topic under the prefix and what follows it.
fn split<'a>(prefix: &str, topic: &'a str) -> Option<(&'a str, &'a str)> {
    let rest = topic.strip_prefix(prefix)?.strip_prefix('/')?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

/// The device a topic under the prefix names, whatever follows.
pub(crate) fn device(prefix: &str, topic: &[u8]) -> Option<DeviceId> {
    let (device, _) = split(prefix, std::str::from_utf8(topic).ok()?)?;
    DeviceId::new(device).ok()
}

/// Reads a topic.
pub(crate) fn parse<'a>(prefix: &str, topic: &'a [u8]) -> Result<Topic<'a>, TopicError> {
    let topic = std::str::from_utf8(topic).map_err(|_| TopicError::NotUtf8)?;
    let (device, rest) = split(prefix, topic).ok_or_else(|| TopicError::OutsidePrefix { prefix: prefix.to_owned() })?;
    let leaf = match rest {
        "telemetry" => Some(Leaf::Telemetry),
        "events" => Some(Leaf::Events),
        "status" => Some(Leaf::Status),
        "senml" => Some(Leaf::Senml),
        _ if rest.starts_with(THINGSBOARD_DEVICE) => rest.strip_prefix(THINGSBOARD_DEVICE).map(Leaf::ThingsBoard),
        _ => rest.strip_prefix("commands/").and_then(|rest| rest.strip_suffix("/result")).map(Leaf::CommandResult),
    };
    match leaf {
        Some(leaf) => Ok(Topic { device, leaf }),
        None => {
            let device = DeviceId::new(device).map_err(|error| TopicError::Device(shorten(error)))?;
            Err(TopicError::UnknownLeaf {
                prefix: prefix.to_owned(),
                device: device.to_string(),
                found: rest.chars().take(64).collect(),
            })
        }
    }
}

/// A topic may be 65,535 bytes long; a sentence may not.
pub(crate) fn shorten(error: IdError) -> IdError {
    let cut = |text: String| text.chars().take(80).collect();
    match error {
        IdError::Empty { kind } => IdError::Empty { kind },
        IdError::TooLong { kind, text, len, max } => IdError::TooLong { kind, text: cut(text), len, max },
        IdError::BadCharacter { kind, text, found, allowed } => {
            IdError::BadCharacter { kind, text: cut(text), found, allowed }
        }
        IdError::NotUuid { kind, text } => IdError::NotUuid { kind, text: cut(text) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_name_a_device_and_what_it_says() {
        let leaf =
            |topic: &'static str| parse("site/liftline", topic.as_bytes()).map(|topic| (topic.device, topic.leaf));
        assert_eq!(leaf("site/liftline/a/telemetry"), Ok(("a", Leaf::Telemetry)));
        assert_eq!(leaf("site/liftline/a/events"), Ok(("a", Leaf::Events)));
        assert_eq!(leaf("site/liftline/a/status"), Ok(("a", Leaf::Status)));
        assert_eq!(leaf("site/liftline/a/commands/7/result"), Ok(("a", Leaf::CommandResult("7"))));
    }

    #[test]
    fn a_bad_topic_says_where_to_publish() {
        let error = |topic: &[u8]| parse("liftline", topic).unwrap_err().to_string();
        assert_eq!(error(b"lift/\xff"), "the topic is not valid UTF-8; use letters, digits and . _ : - in topic names");
        assert_eq!(
            error(b"liftlines/a/telemetry"),
            "the topic does not begin with \"liftline/\"; publish to liftline/<device>/telemetry"
        );
        assert_eq!(
            error(b"liftline/a/telemtry"),
            "the hub reads nothing on \"…/telemtry\"; publish to liftline/a/telemetry, …/events, …/status or \
             …/commands/<id>/result"
        );
        assert!(error(b"liftline/a").contains("…/\""));
        assert!(error(b"liftline/a b/x").contains("holds ' '"));
        assert!(error(&[b"liftline/".as_slice(), &[b'x'; 60_000]].concat()).len() < 300);
    }

    #[test]
    fn the_device_is_found_for_enrolment() {
        assert_eq!(device("liftline", b"liftline/lift-1/telemetry"), DeviceId::new("lift-1").ok());
        assert_eq!(device("liftline", b"liftline/lift 1/telemetry"), None);
        assert_eq!(device("liftline", b"other/lift-1/telemetry"), None);
        assert_eq!(device("liftline", b"liftline/\xff/telemetry"), None);
    }
}
