//! What a device and the front door say to each other, in the terms of both MQTT versions.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc as v5;
use rumqttc_v4 as v4;

use crate::{
    config::MAX_PACKET,
    wire::{Malformed, Publish, Qos, Version, read_publish},
};

/// The largest CONNECT, in bytes: it comes from somebody who is not yet known.
pub(super) const MAX_CONNECT: u32 = 16 * 1024;
/// The largest packet of a device, in bytes.
#[expect(clippy::cast_possible_truncation, reason = "one MiB")]
pub(super) const MAX: u32 = MAX_PACKET as u32;

/// A CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: Version,
    pub(super) client_id: String,
    /// The device wants no earlier session.
    pub(super) clean: bool,
    pub(super) username: String,
    pub(super) password: Bytes,
    /// In seconds; 0 if the device promises nothing.
    pub(super) keep_alive: u16,
    /// How long the session is to be kept after the connection; `None` leaves it to us.
    pub(super) session_expiry: Option<Duration>,
    /// How many commands may be unacknowledged.
    pub(super) receive_maximum: u16,
    pub(super) will: Option<Will>,
}

/// What to publish when the device goes away without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    pub(super) delay: Duration,
}

/// A packet of a device after CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    Publish(Publish),
    PubAck(u16),
    PubRel(u16),
    Subscribe {
        id: u16,
        filters: Vec<(String, Qos)>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        keep_will: bool,
        session_expiry: Option<Duration>,
    },
    /// One that a device has no business to send now.
    Unexpected,
}

/// Reads a CONNECT; a whole packet must be there.
pub(super) fn read_hello(input: &mut BytesMut) -> Result<Hello, Malformed> {
    match version(input)? {
        Version::V5 => match v5::Packet::read(input, Some(MAX_CONNECT)).map_err(Malformed::V5)? {
            v5::Packet::Connect(connect, will, auth) => Ok(hello_v5(connect, will, auth)),
            _ => Err(Malformed::OtherProtocol),
        },
        Version::V311 => match v4::Packet::read(input, MAX_CONNECT as usize).map_err(Malformed::V4)? {
            v4::Packet::Connect(connect) => Ok(hello_v4(connect)),
            _ => Err(Malformed::OtherProtocol),
        },
    }
}

/// The version that a CONNECT asks for: the byte behind the protocol's name.
fn version(input: &BytesMut) -> Result<Version, Malformed> {
    let header = input.iter().skip(1).position(|byte| byte & 0x80 == 0).map_or(0, |at| at + 2);
    match (input.first(), input.get(header..header + 7)) {
        (Some(0x10), Some(b"\0\x04MQTT\x04")) => Ok(Version::V311),
        (Some(0x10), Some(b"\0\x04MQTT\x05")) => Ok(Version::V5),
        _ => Err(Malformed::OtherProtocol),
    }
}

fn hello_v5(connect: v5::Connect, will: Option<v5::LastWill>, auth: v5::ConnectAuth) -> Hello {
    let (username, password) = match auth {
        v5::ConnectAuth::UsernamePassword { username, password } => (username, password),
        v5::ConnectAuth::Username { username } => (username, Bytes::new()),
        v5::ConnectAuth::None | v5::ConnectAuth::Password { .. } => (String::new(), Bytes::new()),
    };
    let asked = connect.properties.unwrap_or_default();
    let seconds = asked.session_expiry_interval.unwrap_or(0);
    Hello {
        version: Version::V5,
        client_id: connect.client_id,
        clean: connect.clean_start,
        username,
        password,
        keep_alive: connect.keep_alive,
        session_expiry: Some(Duration::from_secs(seconds.into())),
        receive_maximum: asked.receive_maximum.unwrap_or(u16::MAX),
        will: will.map(|will| Will {
            topic: Bytes::copy_from_slice(&will.topic),
            payload: Bytes::copy_from_slice(&will.message),
            delay: Duration::from_secs(
                will.properties.and_then(|properties| properties.delay_interval).unwrap_or(0).into(),
            ),
        }),
    }
}

fn hello_v4(connect: v4::Connect) -> Hello {
    let (username, password) = match connect.auth {
        v4::ConnectAuth::UsernamePassword { username, password } => (username, password),
        v4::ConnectAuth::Username { username } => (username, Bytes::new()),
        v4::ConnectAuth::None => (String::new(), Bytes::new()),
    };
    Hello {
        version: Version::V311,
        client_id: connect.client_id,
        clean: connect.clean_session,
        username,
        password,
        keep_alive: connect.keep_alive,
        // Version 3.1.1 cannot say how long: a clean session ends with its connection.
        session_expiry: connect.clean_session.then_some(Duration::ZERO),
        receive_maximum: u16::MAX,
        will: connect.last_will.map(|will| Will {
            topic: Bytes::copy_from_slice(will.topic.as_bytes()),
            payload: Bytes::copy_from_slice(&will.message),
            delay: Duration::ZERO,
        }),
    }
}

/// Reads a packet after CONNECT; a whole packet must be there.
pub(super) fn read(version: Version, input: &mut BytesMut) -> Result<Incoming, Malformed> {
    if let Some(publish) = read_publish(version, input)? {
        return Ok(Incoming::Publish(publish));
    }
    match version {
        Version::V5 => v5::Packet::read(input, Some(MAX)).map(incoming_v5).map_err(Malformed::V5),
        Version::V311 => v4::Packet::read(input, MAX as usize).map(incoming_v4).map_err(Malformed::V4),
    }
}

fn incoming_v5(packet: v5::Packet) -> Incoming {
    match packet {
        v5::Packet::PubAck(ack) => Incoming::PubAck(ack.pkid),
        v5::Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        v5::Packet::Subscribe(subscribe) => Incoming::Subscribe {
            id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| (filter.path, filter.qos.into())).collect(),
        },
        v5::Packet::Unsubscribe(unsubscribe) => {
            Incoming::Unsubscribe { id: unsubscribe.pkid, filters: unsubscribe.filters }
        }
        v5::Packet::PingReq => Incoming::Ping,
        v5::Packet::Disconnect(disconnect) => Incoming::Disconnect {
            keep_will: disconnect.reason_code != v5::DisconnectReasonCode::NormalDisconnection,
            session_expiry: disconnect
                .properties
                .and_then(|properties| properties.session_expiry_interval)
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        // A message was read before.
        v5::Packet::Publish(_)
        | v5::Packet::Auth(_)
        | v5::Packet::Connect(..)
        | v5::Packet::ConnAck(_)
        | v5::Packet::PingResp
        | v5::Packet::SubAck(_)
        | v5::Packet::PubRec(_)
        | v5::Packet::PubComp(_)
        | v5::Packet::UnsubAck(_) => Incoming::Unexpected,
    }
}

fn incoming_v4(packet: v4::Packet) -> Incoming {
    match packet {
        v4::Packet::PubAck(ack) => Incoming::PubAck(ack.pkid),
        v4::Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        v4::Packet::Subscribe(subscribe) => Incoming::Subscribe {
            id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| (filter.path, filter.qos.into())).collect(),
        },
        v4::Packet::Unsubscribe(unsubscribe) => {
            Incoming::Unsubscribe { id: unsubscribe.pkid, filters: unsubscribe.topics }
        }
        v4::Packet::PingReq => Incoming::Ping,
        v4::Packet::Disconnect => Incoming::Disconnect { keep_will: false, session_expiry: None },
        v4::Packet::Publish(_)
        | v4::Packet::Connect(_)
        | v4::Packet::ConnAck(_)
        | v4::Packet::PingResp
        | v4::Packet::SubAck(_)
        | v4::Packet::PubRec(_)
        | v4::Packet::PubComp(_)
        | v4::Packet::UnsubAck(_) => Incoming::Unexpected,
    }
}

/// Why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    BadLogin,
    ClientId,
    NotAuthorized,
    Busy,
}

/// Why the front door ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// A packet that makes no sense.
    Malformed,
    TooLarge,
    ProtocolError,
    BadAlias,
    /// The journal could not take a message.
    Busy,
    ShuttingDown,
    /// It was silent for too long.
    Silent,
    TakenOver,
    /// Its login was withdrawn or changed.
    Dismissed,
}

/// What an accepted MQTT 5 device is told.
pub(super) struct Welcome {
    pub(super) session_present: bool,
    pub(super) session_expiry: Duration,
    /// The keep-alive imposed.
    pub(super) keep_alive: Option<u16>,
    /// The client id, if the device left it to us.
    pub(super) assigned: Option<String>,
    pub(super) receive_maximum: u16,
    pub(super) alias_maximum: u16,
}

/// A packet to a device.
pub(super) enum Outgoing<'a> {
    Welcome(Welcome),
    Refused(Refusal),
    PubAck(u16),
    PubRec(u16),
    PubComp(u16),
    /// The granted quality of service of each filter, or nothing.
    SubAck(u16, &'a [Option<Qos>]),
    /// Whether there was such a subscription.
    UnsubAck(u16, &'a [bool]),
    Pong,
    Command {
        topic: &'a str,
        payload: &'a Bytes,
        id: Option<u16>,
        again: bool,
    },
    Farewell(Farewell),
}

/// Writes a packet. What cannot be said in the version is left out.
pub(super) fn write(version: Version, packet: &Outgoing<'_>, output: &mut BytesMut) {
    let start = output.len();
    let written = match version {
        Version::V5 => write_v5(packet, output).map_err(Malformed::V5),
        Version::V311 => write_v4(packet, output).map_err(Malformed::V4),
    };
    if let Err(error) = written {
        // Only a command that is too large for a packet; half of it must not go out.
        output.truncate(start);
        tracing::error!("a packet could not be written: {error}");
    }
}

fn write_v5(packet: &Outgoing<'_>, output: &mut BytesMut) -> Result<usize, v5::mqttbytes::Error> {
    match packet {
        Outgoing::Welcome(welcome) => v5::ConnAck {
            session_present: welcome.session_present,
            code: v5::ConnectReturnCode::Success,
            properties: Some(properties(welcome)),
        }
        .write(output),
        Outgoing::Refused(refusal) => {
            let code = match refusal {
                Refusal::BadLogin => v5::ConnectReturnCode::BadUserNamePassword,
                Refusal::ClientId => v5::ConnectReturnCode::ClientIdentifierNotValid,
                Refusal::NotAuthorized => v5::ConnectReturnCode::NotAuthorized,
                Refusal::Busy => v5::ConnectReturnCode::ServerBusy,
            };
            v5::ConnAck { session_present: false, code, properties: None }.write(output)
        }
        Outgoing::PubAck(id) => v5::PubAck::new(*id, None).write(output),
        Outgoing::PubRec(id) => v5::PubRec::new(*id, None).write(output),
        Outgoing::PubComp(id) => v5::PubComp::new(*id, None).write(output),
        Outgoing::SubAck(id, granted) => {
            let code = |granted: &Option<Qos>| match granted {
                Some(Qos::Zero) => v5::SubscribeReasonCode::Success(v5::QoS::AtMostOnce),
                Some(Qos::One | Qos::Two) => v5::SubscribeReasonCode::Success(v5::QoS::AtLeastOnce),
                None => v5::SubscribeReasonCode::NotAuthorized,
            };
            v5::SubAck { pkid: *id, return_codes: granted.iter().map(code).collect(), properties: None }.write(output)
        }
        Outgoing::UnsubAck(id, existed) => {
            let reason = |existed: &bool| match existed {
                true => v5::UnsubAckReason::Success,
                false => v5::UnsubAckReason::NoSubscriptionExisted,
            };
            v5::UnsubAck { pkid: *id, reasons: existed.iter().map(reason).collect(), properties: None }.write(output)
        }
        Outgoing::Pong => v5::PingResp::write(output),
        Outgoing::Command { topic, payload, id, again } => {
            let qos = if id.is_some() { v5::QoS::AtLeastOnce } else { v5::QoS::AtMostOnce };
            let mut publish = v5::Publish::new(*topic, qos, (*payload).clone(), None);
            (publish.pkid, publish.dup) = (id.unwrap_or(0), *again);
            publish.write(output)
        }
        Outgoing::Farewell(farewell) => {
            let reason = match farewell {
                Farewell::Malformed => v5::DisconnectReasonCode::MalformedPacket,
                Farewell::TooLarge => v5::DisconnectReasonCode::PacketTooLarge,
                Farewell::ProtocolError => v5::DisconnectReasonCode::ProtocolError,
                Farewell::BadAlias => v5::DisconnectReasonCode::TopicAliasInvalid,
                Farewell::Busy => v5::DisconnectReasonCode::ServerBusy,
                Farewell::ShuttingDown => v5::DisconnectReasonCode::ServerShuttingDown,
                Farewell::Silent => v5::DisconnectReasonCode::KeepAliveTimeout,
                Farewell::TakenOver => v5::DisconnectReasonCode::SessionTakenOver,
                Farewell::Dismissed => v5::DisconnectReasonCode::NotAuthorized,
            };
            v5::Disconnect::new(reason).write(output)
        }
    }
}

fn properties(welcome: &Welcome) -> v5::ConnAckProperties {
    let seconds = u32::try_from(welcome.session_expiry.as_secs()).unwrap_or(u32::MAX);
    v5::ConnAckProperties {
        session_expiry_interval: Some(seconds),
        receive_max: Some(welcome.receive_maximum),
        max_packet_size: Some(MAX),
        assigned_client_identifier: welcome.assigned.clone(),
        topic_alias_max: Some(welcome.alias_maximum),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        server_keep_alive: welcome.keep_alive,
        max_qos: None,
        retain_available: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

fn write_v4(packet: &Outgoing<'_>, output: &mut BytesMut) -> Result<usize, v4::mqttbytes::Error> {
    match packet {
        Outgoing::Welcome(welcome) => {
            v4::ConnAck::new(v4::ConnectReturnCode::Success, welcome.session_present).write(output)
        }
        Outgoing::Refused(refusal) => {
            let code = match refusal {
                Refusal::BadLogin => v4::ConnectReturnCode::BadUserNamePassword,
                Refusal::ClientId => v4::ConnectReturnCode::BadClientId,
                Refusal::NotAuthorized => v4::ConnectReturnCode::NotAuthorized,
                Refusal::Busy => v4::ConnectReturnCode::ServiceUnavailable,
            };
            v4::ConnAck::new(code, false).write(output)
        }
        Outgoing::PubAck(id) => v4::PubAck::new(*id).write(output),
        Outgoing::PubRec(id) => v4::PubRec::new(*id).write(output),
        Outgoing::PubComp(id) => v4::PubComp::new(*id).write(output),
        Outgoing::SubAck(id, granted) => {
            let code = |granted: &Option<Qos>| match granted {
                Some(Qos::Zero) => v4::SubscribeReasonCode::Success(v4::QoS::AtMostOnce),
                Some(Qos::One | Qos::Two) => v4::SubscribeReasonCode::Success(v4::QoS::AtLeastOnce),
                None => v4::SubscribeReasonCode::Failure,
            };
            v4::SubAck::new(*id, granted.iter().map(code).collect()).write(output)
        }
        Outgoing::UnsubAck(id, _) => v4::UnsubAck::new(*id).write(output),
        Outgoing::Pong => v4::PingResp.write(output),
        Outgoing::Command { topic, payload, id, again } => {
            let qos = if id.is_some() { v4::QoS::AtLeastOnce } else { v4::QoS::AtMostOnce };
            let mut publish = v4::Publish::from_bytes(*topic, qos, (*payload).clone());
            (publish.pkid, publish.dup) = (id.unwrap_or(0), *again);
            publish.write(output)
        }
        // Version 3.1.1 has no words for it.
        Outgoing::Farewell(_) => Ok(0),
    }
}

/// What somebody who speaks another protocol version is told.
pub(super) const OTHER_VERSION: &[u8] = &[0x20, 2, 0, 1];
