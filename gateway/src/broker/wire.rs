//! What the hub and a broker say to each other, in the terms of both MQTT versions.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc as v5;
use rumqttc_v4 as v4;

use crate::{
    config::{BrokerConfig, MAX_PACKET},
    wire::{Malformed, Publish, Version, read_publish},
};

/// The largest packet that is read, in bytes: the largest there is. Version 3.1.1 cannot tell the broker a limit, and one that
/// is too large, were it refused here, would end every connection anew.
pub(super) const MAX: u32 = 268_435_455 + 5;

/// What a broker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Welcome(Welcome),
    /// It does not take the hub; the name of the reason.
    Refused(String),
    Publish(Publish),
    /// It has taken a command, or says why not.
    PubAck {
        id: u16,
        taken: Result<(), String>,
    },
    PubRel(u16),
    /// Whether every subscription is granted, with QoS 1.
    SubAck {
        granted: bool,
    },
    Pong,
    /// It ends the connection; the name of the reason.
    Disconnect(String),
    /// What a broker has no business to say.
    Unexpected,
}

/// What a broker grants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) session_present: bool,
    /// How many commands may be unacknowledged.
    pub(super) receive_maximum: u16,
    /// The largest packet that it takes.
    pub(super) max_packet: Option<u32>,
    /// How often it wants to hear from the hub, if not as often as offered.
    pub(super) keep_alive: Option<Duration>,
}

/// What the hub says.
pub(super) enum Outgoing<'a> {
    Connect {
        config: &'a BrokerConfig,
        password: &'a str,
    },
    /// The flag beside a filter says whether retained messages are wanted; version 3.1.1 has no way to ask.
    Subscribe {
        id: u16,
        filters: &'a [(String, bool)],
    },
    Publish {
        id: u16,
        topic: &'a str,
        payload: &'a Bytes,
    },
    PubAck(u16),
    PubRec(u16),
    PubComp(u16),
    Ping,
    Disconnect,
}

/// Reads a packet; a whole packet must be there.
pub(super) fn read(version: Version, input: &mut BytesMut) -> Result<Incoming, Malformed> {
    if let Some(publish) = read_publish(version, input)? {
        return Ok(Incoming::Publish(publish));
    }
    match version {
        // A broker that does not know version 5 answers in the words of the one that it knows.
        Version::V5 if input.starts_with(&[0x20, 2]) => Ok(Incoming::Refused("UnsupportedProtocolVersion".to_owned())),
        Version::V5 => v5::Packet::read(input, None).map(incoming_v5).map_err(Malformed::V5),
        Version::V311 => v4::Packet::read(input, usize::MAX).map(incoming_v4).map_err(Malformed::V4),
    }
}

fn incoming_v5(packet: v5::Packet) -> Incoming {
    match packet {
        v5::Packet::ConnAck(v5::ConnAck { session_present, code: v5::ConnectReturnCode::Success, properties }) => {
            let said = properties.as_ref();
            // 0 means that it does not mind.
            let seconds = said.and_then(|said| said.server_keep_alive).filter(|seconds| *seconds > 0);
            Incoming::Welcome(Welcome {
                session_present,
                receive_maximum: said.and_then(|said| said.receive_max).unwrap_or(u16::MAX),
                max_packet: said.and_then(|said| said.max_packet_size),
                keep_alive: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            })
        }
        v5::Packet::ConnAck(refused) => Incoming::Refused(format!("{:?}", refused.code)),
        v5::Packet::PubAck(ack) => Incoming::PubAck {
            id: ack.pkid,
            taken: match ack.reason {
                v5::PubAckReason::Success => Ok(()),
                v5::PubAckReason::NoMatchingSubscribers => {
                    Err("no device listens on its commands topic; the command reached nobody".to_owned())
                }
                refused => Err(format!("the broker did not take the command ({refused:?})")),
            },
        },
        v5::Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        v5::Packet::SubAck(ack) => Incoming::SubAck {
            granted: ack.return_codes.iter().all(|code| {
                matches!(code, v5::SubscribeReasonCode::Success(v5::QoS::AtLeastOnce | v5::QoS::ExactlyOnce))
            }),
        },
        v5::Packet::PingResp => Incoming::Pong,
        v5::Packet::Disconnect(said) => Incoming::Disconnect(format!("{:?}", said.reason_code)),
        // A message was read before.
        v5::Packet::Publish(_)
        | v5::Packet::Auth(_)
        | v5::Packet::Connect(..)
        | v5::Packet::PingReq
        | v5::Packet::PubRec(_)
        | v5::Packet::PubComp(_)
        | v5::Packet::Subscribe(_)
        | v5::Packet::Unsubscribe(_)
        | v5::Packet::UnsubAck(_) => Incoming::Unexpected,
    }
}

fn incoming_v4(packet: v4::Packet) -> Incoming {
    match packet {
        v4::Packet::ConnAck(v4::ConnAck { session_present, code: v4::ConnectReturnCode::Success }) => {
            Incoming::Welcome(Welcome {
                session_present,
                receive_maximum: u16::MAX,
                max_packet: None,
                keep_alive: None,
            })
        }
        v4::Packet::ConnAck(refused) => Incoming::Refused(format!("{:?}", refused.code)),
        v4::Packet::PubAck(ack) => Incoming::PubAck { id: ack.pkid, taken: Ok(()) },
        v4::Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        v4::Packet::SubAck(ack) => Incoming::SubAck {
            granted: ack.return_codes.iter().all(|code| {
                matches!(code, v4::SubscribeReasonCode::Success(v4::QoS::AtLeastOnce | v4::QoS::ExactlyOnce))
            }),
        },
        v4::Packet::PingResp => Incoming::Pong,
        v4::Packet::Publish(_)
        | v4::Packet::Connect(_)
        | v4::Packet::Disconnect
        | v4::Packet::PingReq
        | v4::Packet::PubRec(_)
        | v4::Packet::PubComp(_)
        | v4::Packet::Subscribe(_)
        | v4::Packet::Unsubscribe(_)
        | v4::Packet::UnsubAck(_) => Incoming::Unexpected,
    }
}

/// Writes a packet; nothing is written if it cannot be said.
pub(super) fn write(version: Version, packet: &Outgoing<'_>, output: &mut BytesMut) -> Result<(), Malformed> {
    let start = output.len();
    let written = match version {
        Version::V5 => write_v5(packet, output).map_err(Malformed::V5),
        Version::V311 => write_v4(packet, output).map_err(Malformed::V4),
    };
    written.map(drop).inspect_err(|_| output.truncate(start))
}

fn write_v5(packet: &Outgoing<'_>, output: &mut BytesMut) -> Result<usize, v5::mqttbytes::Error> {
    match packet {
        Outgoing::Connect { config, password } => {
            let properties = v5::ConnectProperties {
                session_expiry_interval: Some(u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX)),
                receive_maximum: Some(config.receive_maximum),
                max_packet_size: Some(u32::try_from(MAX_PACKET).unwrap_or(u32::MAX)),
                ..v5::ConnectProperties::new()
            };
            let auth =
                config.username.as_ref().map_or(v5::ConnectAuth::None, |username| v5::ConnectAuth::UsernamePassword {
                    username: username.clone(),
                    password: Bytes::copy_from_slice(password.as_bytes()),
                });
            v5::Connect {
                keep_alive: keep_alive(config),
                client_id: config.client_id.clone(),
                clean_start: false,
                properties: Some(properties),
            }
            .write(&None, &auth, output)
        }
        Outgoing::Subscribe { id, filters } => {
            let filters = filters.iter().map(|(filter, retained)| {
                let mut filter = v5::SubscribeFilter::new(filter, v5::QoS::AtLeastOnce);
                filter.retain_forward_rule =
                    if *retained { v5::RetainForwardRule::OnNewSubscribe } else { v5::RetainForwardRule::Never };
                filter
            });
            let mut subscribe = v5::Subscribe::new_many(filters, None);
            subscribe.pkid = *id;
            subscribe.write(output)
        }
        Outgoing::Publish { id, topic, payload } => {
            let mut publish = v5::Publish::new(*topic, v5::QoS::AtLeastOnce, (*payload).clone(), None);
            publish.pkid = *id;
            publish.write(output)
        }
        Outgoing::PubAck(id) => v5::PubAck::new(*id, None).write(output),
        Outgoing::PubRec(id) => v5::PubRec::new(*id, None).write(output),
        Outgoing::PubComp(id) => v5::PubComp::new(*id, None).write(output),
        Outgoing::Ping => v5::PingReq::write(output),
        Outgoing::Disconnect => v5::Disconnect::new(v5::DisconnectReasonCode::NormalDisconnection).write(output),
    }
}

fn write_v4(packet: &Outgoing<'_>, output: &mut BytesMut) -> Result<usize, v4::mqttbytes::Error> {
    match packet {
        Outgoing::Connect { config, password } => {
            let mut connect = v4::Connect::new(&config.client_id);
            connect.keep_alive = keep_alive(config);
            connect.clean_session = false;
            if let Some(username) = &config.username {
                connect.set_credentials(username, password.as_bytes().to_vec());
            }
            connect.write(output)
        }
        Outgoing::Subscribe { id, filters } => {
            let filters =
                filters.iter().map(|(filter, _)| v4::SubscribeFilter::new(filter.clone(), v4::QoS::AtLeastOnce));
            let mut subscribe = v4::Subscribe::new_many(filters);
            subscribe.pkid = *id;
            subscribe.write(output)
        }
        Outgoing::Publish { id, topic, payload } => {
            let mut publish = v4::Publish::from_bytes(*topic, v4::QoS::AtLeastOnce, (*payload).clone());
            publish.pkid = *id;
            publish.write(output)
        }
        Outgoing::PubAck(id) => v4::PubAck::new(*id).write(output),
        Outgoing::PubRec(id) => v4::PubRec::new(*id).write(output),
        Outgoing::PubComp(id) => v4::PubComp::new(*id).write(output),
        Outgoing::Ping => v4::PingReq.write(output),
        Outgoing::Disconnect => v4::Disconnect.write(output),
    }
}

/// In seconds.
fn keep_alive(config: &BrokerConfig) -> u16 {
    u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX)
}
