//! The packets of both MQTT versions in one set of terms: what the front door and the link to a broker share. The codec is
//! that of the client library, which reads and writes every packet of either side; nothing outside this file and the two
//! `wire` files beside its users knows it.

use bytes::{Bytes, BytesMut};
use rumqttc as v5;
use rumqttc_v4 as v4;
/// The upper half of a PUBLISH's first byte (MQTT 5.0, section 2.1.2).
const PUBLISH: u8 = 3;

/// The version a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    Zero,
    One,
    Two,
}

impl From<v5::QoS> for Qos {
    fn from(qos: v5::QoS) -> Self {
        match qos {
            v5::QoS::AtMostOnce => Self::Zero,
            v5::QoS::AtLeastOnce => Self::One,
            v5::QoS::ExactlyOnce => Self::Two,
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    /// 0 at QoS 0.
    pub(crate) id: u16,
    /// True if a broker had kept it for new subscribers, or is asked to.
    pub(crate) retain: bool,
    pub(crate) alias: Option<u16>,
}

/// Why bytes are no packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a packet is larger than {max} bytes")]
    TooLarge { max: u32 },
    #[error("it does not speak MQTT 3.1.1 or 5")]
    OtherProtocol,
    #[error("a packet breaks the rules of MQTT 5 ({0})")]
    V5(#[source] v5::mqttbytes::Error),
    #[error("a packet breaks the rules of MQTT 3.1.1 ({0})")]
    V4(#[source] v4::mqttbytes::Error),
}

/// Where the next packet stands.
pub(crate) enum Frame {
    /// All of it is there.
    Whole,
    /// So many bytes are missing, at least.
    Missing(usize),
}

/// Looks whether a whole packet of at most `max` bytes is there.
pub(crate) fn frame(input: &BytesMut, max: u32) -> Result<Frame, Malformed> {
    match v5::mqttbytes::check(input.iter(), Some(max)) {
        Ok(_) => Ok(Frame::Whole),
        Err(v5::mqttbytes::Error::InsufficientBytes(missing)) => Ok(Frame::Missing(missing)),
        Err(v5::mqttbytes::Error::PayloadSizeLimitExceeded { .. }) => Err(Malformed::TooLarge { max }),
        Err(error) => Err(Malformed::V5(error)),
    }
}

/// Reads the next packet if it is a message; a whole packet must be there. The most frequent packet by far does not go through
/// the codec's type for any packet, which is as large as the largest.
pub(crate) fn read_publish(version: Version, input: &mut BytesMut) -> Result<Option<Publish>, Malformed> {
    if input.first().is_none_or(|first| first >> 4 != PUBLISH) {
        return Ok(None);
    }
    match version {
        Version::V5 => {
            let header = v5::mqttbytes::check(input.iter(), None).map_err(Malformed::V5)?;
            let packet = input.split_to(header.frame_length()).freeze();
            let publish = v5::Publish::read(header, packet).map_err(Malformed::V5)?;
            Ok(Some(Publish {
                topic: publish.topic,
                payload: publish.payload,
                qos: publish.qos.into(),
                id: publish.pkid,
                retain: publish.retain,
                alias: publish.properties.and_then(|properties| properties.topic_alias),
            }))
        }
        Version::V311 => {
            let header = v4::mqttbytes::check(input.iter(), usize::MAX).map_err(Malformed::V4)?;
            let packet = input.split_to(header.frame_length()).freeze();
            let publish = v4::Publish::read(header, packet).map_err(Malformed::V4)?;
            Ok(Some(Publish {
                topic: publish.topic,
                payload: publish.payload,
                qos: publish.qos.into(),
                id: publish.pkid,
                retain: publish.retain,
                alias: None,
            }))
        }
    }
}
