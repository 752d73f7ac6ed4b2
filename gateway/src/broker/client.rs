//! The MQTT client library, in its two versions, behind one small face. Nothing outside this file knows it.

use std::{
    future::Future,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use rumqttc as v5;
use rumqttc_v4 as v4;

use super::stream::Gathering;
use crate::{
    GatewayError,
    config::{BrokerConfig, MAX_PACKET, ProtocolVersion},
};

/// Room in the client's queue beside one acknowledgement for each message in flight.
const QUEUE_ROOM: usize = 256;
/// How many acknowledgements the library takes from its queue at once. Its default is one: then every acknowledgement costs a
/// round through its event loop.
const REQUESTS_AT_ONCE: usize = 256;

/// What to acknowledge.
pub(super) enum AckToken {
    V5(v5::ManualAck),
    V4(v4::ManualAck),
}

/// A message from the broker.
pub(super) struct Delivery {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    /// True if the broker had kept it for new subscribers.
    pub(super) retained: bool,
    /// `None` for a message that needs no acknowledgement.
    pub(super) token: Option<AckToken>,
}

/// What a poll brought.
pub(super) enum Happened {
    Connected {
        session_present: bool,
    },
    Received(Delivery),
    /// The broker answered the subscriptions.
    Subscribed {
        granted: bool,
    },
    /// An acknowledgement has left the library's queue for the stream.
    Acknowledged,
    Other,
}

/// The library's queue is full or its other end gone.
#[derive(Debug)]
pub(super) struct QueueFull;

/// The end that asks for things to be sent. None of its methods waits.
pub(super) enum Client {
    V5(v5::AsyncClient),
    V4(v4::AsyncClient),
}

/// The end that owns the connection.
pub(super) enum EventLoop {
    V5(Box<v5::EventLoop>, String),
    V4(Box<v4::EventLoop>, String),
}

/// Prepares a client; connects at the first poll. `owed` is how many messages await their acknowledgement: with too many, nothing
/// more is read.
pub(super) fn open(config: &BrokerConfig, owed: &Arc<AtomicUsize>) -> Result<(Client, EventLoop), GatewayError> {
    let password = match &config.password_file {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| crate::ConfigError {
            key: "broker.password_file",
            message: format!("{} cannot be read ({error})", file.display()),
            remedy: "put the password into that file and let the hub's user read it",
        })?),
        None => None,
    };
    let password = password.as_deref().map(|text| text.trim_end_matches(['\r', '\n']).to_owned()).unwrap_or_default();
    let address = format!("{}:{}", config.host, config.port);
    let keep_alive = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
    let queue = usize::from(config.receive_maximum) + QUEUE_ROOM;
    let owed = owed.clone();
    Ok(match config.protocol {
        ProtocolVersion::V5 => {
            let mut options = v5::MqttOptions::new(&config.client_id, (config.host.clone(), config.port));
            let expiry = u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX);
            options
                .set_keep_alive(keep_alive)
                .set_clean_start(false)
                .set_session_expiry_interval(Some(expiry))
                .set_session_store(NothingInFlight { expiry: Some(expiry) })
                .set_receive_maximum(Some(config.receive_maximum))
                .set_max_packet_size(Some(u32::try_from(MAX_PACKET).unwrap_or(u32::MAX)))
                .set_socket_connector(move |host, options| {
                    let owed = owed.clone();
                    async move { Ok(Gathering::new(v5::default_socket_connect(host, options).await?, owed)) }
                })
                .set_max_request_batch(REQUESTS_AT_ONCE)
                .set_ack_mode(v5::AckMode::Manual);
            if let Some(username) = &config.username {
                options.set_credentials(username, password);
            }
            if let Some(tls) = tls(config)? {
                options.set_transport(v5::Transport::tls_with_config(tls));
            }
            let (client, event_loop) = v5::AsyncClient::builder(options).capacity(queue).build();
            (Client::V5(client), EventLoop::V5(Box::new(event_loop), address))
        }
        ProtocolVersion::V311 => {
            let mut options = v4::MqttOptions::new(&config.client_id, (config.host.clone(), config.port));
            // Version 3.1.1 cannot tell the broker a limit: a larger message would end every connection anew.
            options
                .set_keep_alive(keep_alive)
                .set_clean_session(false)
                .set_max_packet_size(268_435_455, MAX_PACKET)
                .set_socket_connector(move |host, options| {
                    let owed = owed.clone();
                    async move { Ok(Gathering::new(v4::default_socket_connect(host, options).await?, owed)) }
                })
                .set_max_request_batch(REQUESTS_AT_ONCE)
                .set_ack_mode(v4::AckMode::Manual);
            if let Some(username) = &config.username {
                options.set_credentials(username, password);
            }
            if let Some(tls) = tls(config)? {
                options.set_transport(v4::Transport::tls_with_config(tls));
            }
            let (client, event_loop) = v4::AsyncClient::builder(options).capacity(queue).build();
            (Client::V4(client), EventLoop::V4(Box::new(event_loop), address))
        }
    })
}

/// What the hub knows of an earlier session at the broker: nothing was in flight. That is true as far as the protocol
/// cares: the broker holds no state of what we published with QoS 1, and we never publish with QoS 2. Without this
/// answer the library takes no subscription and no command on a session that the broker has kept.
#[derive(Debug)]
struct NothingInFlight {
    expiry: Option<u32>,
}

type Loading<'a, T> = BoxFuture<'a, Result<T, v5::SessionStoreError>>;

impl v5::SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a v5::SessionStoreKey) -> Loading<'a, Option<v5::PersistedSession>> {
        let session = v5::PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: self.expiry,
            outgoing_inflight_upper_limit: None,
            ack_mode: v5::PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async move { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a v5::SessionStoreKey, _: &'a v5::PersistedSession) -> Loading<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a v5::SessionStoreKey) -> Loading<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn tls(config: &BrokerConfig) -> Result<Option<v5::TlsConfiguration>, GatewayError> {
    if !config.tls {
        return Ok(None);
    }
    let failed = |source| GatewayError::Tls { host: config.host.clone(), source };
    match &config.ca_file {
        Some(file) => {
            let ca = std::fs::read(file).map_err(|error| failed(Box::new(error)))?;
            Ok(Some(v5::TlsConfiguration::Simple { ca, alpn: None, client_auth: None }))
        }
        None => v5::TlsConfiguration::try_default_rustls().map(Some).map_err(|error| failed(Box::new(error))),
    }
}

impl Client {
    pub(super) fn ack(&self, token: &AckToken) -> Result<(), QueueFull> {
        match (self, token) {
            (Self::V5(client), AckToken::V5(ack)) => client.try_manual_ack(ack.clone()).map_err(|_| QueueFull),
            (Self::V4(client), AckToken::V4(ack)) => client.try_manual_ack(ack.clone()).map_err(|_| QueueFull),
            // A token comes from the event loop of this very client.
            (Self::V5(_), AckToken::V4(_)) | (Self::V4(_), AckToken::V5(_)) => Ok(()),
        }
    }

    /// Subscribes with QoS 1. The flag beside a filter says whether retained messages are wanted; version 3.1.1 has
    /// no way to ask.
    pub(super) fn subscribe(&self, filters: &[(String, bool)]) -> Result<(), QueueFull> {
        match self {
            Self::V5(client) => {
                let filters = filters.iter().map(|(filter, retained)| {
                    let rule =
                        if *retained { v5::RetainForwardRule::OnNewSubscribe } else { v5::RetainForwardRule::Never };
                    v5::SubscribeFilterInput::new(filter, v5::QoS::AtLeastOnce).retain_forward_rule(rule)
                });
                client.try_subscribe_many(filters).map_err(|_| QueueFull)
            }
            Self::V4(client) => {
                let filters =
                    filters.iter().map(|(filter, _)| v4::SubscribeFilter::new(filter.clone(), v4::QoS::AtLeastOnce));
                client.try_subscribe_many(filters).map_err(|_| QueueFull)
            }
        }
    }

    /// Publishes with QoS 1; the future ends when the broker has it, or says why it has not.
    pub(super) fn publish(
        &self,
        topic: String,
        payload: Vec<u8>,
    ) -> Result<impl Future<Output = Result<(), String>> + Send + use<>, String> {
        let busy = || "the link to the broker is busy; try again".to_owned();
        let notice = match self {
            Self::V5(client) => {
                let options = v5::PublishOptions::new(v5::QoS::AtLeastOnce);
                Notice::V5(client.try_publish_tracked(topic, payload, options).map_err(|_| busy())?)
            }
            Self::V4(client) => {
                let options = v4::PublishOptions::new(v4::QoS::AtLeastOnce);
                Notice::V4(client.try_publish_tracked(topic, payload, options).map_err(|_| busy())?)
            }
        };
        Ok(notice.wait())
    }

    pub(super) fn disconnect(&self) -> Result<(), QueueFull> {
        match self {
            Self::V5(client) => client.try_disconnect().map_err(|_| QueueFull),
            Self::V4(client) => client.try_disconnect().map_err(|_| QueueFull),
        }
    }
}

enum Notice {
    V5(v5::PublishNotice),
    V4(v4::PublishNotice),
}

impl Notice {
    async fn wait(self) -> Result<(), String> {
        let failed = |error: String| format!("the broker did not take the command ({error})");
        match self {
            Self::V5(notice) => match notice.wait_async().await.map_err(|error| failed(error.to_string()))? {
                v5::PublishResult::Qos1(ack) => match ack.reason {
                    v5::PubAckReason::Success => Ok(()),
                    v5::PubAckReason::NoMatchingSubscribers => {
                        Err("no device listens on its commands topic; the command reached nobody".to_owned())
                    }
                    refused => Err(failed(format!("{refused:?}"))),
                },
                v5::PublishResult::Qos0Flushed
                | v5::PublishResult::Qos2Completed(_)
                | v5::PublishResult::Qos2PubRecRejected(_) => Ok(()),
            },
            Self::V4(notice) => notice.wait_completion_async().await.map_err(|error| failed(error.to_string())),
        }
    }
}

impl EventLoop {
    /// Waits for the next thing to happen, connecting first if there is no connection.
    pub(super) async fn poll(&mut self) -> Result<Happened, String> {
        match self {
            Self::V5(event_loop, address) => match event_loop.poll().await {
                Ok(v5::Event::Incoming(packet)) => {
                    if matches!(packet, v5::Packet::ConnAck(_)) {
                        // It has answered; asked on, it would be given a copy of the session with every packet.
                        event_loop.options.clear_session_store();
                    }
                    Ok(happened_v5(packet))
                }
                Ok(v5::Event::Outgoing(v5::Outgoing::PubAck(_) | v5::Outgoing::PubRec(_))) => {
                    Ok(Happened::Acknowledged)
                }
                Ok(_) => Ok(Happened::Other),
                Err(error) => Err(explain_v5(&error, address)),
            },
            Self::V4(event_loop, address) => match event_loop.poll().await {
                Ok(v4::Event::Incoming(packet)) => Ok(happened_v4(packet)),
                Ok(v4::Event::Outgoing(v4::Outgoing::PubAck(_) | v4::Outgoing::PubRec(_))) => {
                    Ok(Happened::Acknowledged)
                }
                Ok(v4::Event::Outgoing(_)) => Ok(Happened::Other),
                Err(error) => Err(explain_v4(&error, address)),
            },
        }
    }

    /// Drops the connection, and with it every acknowledgement that has not gone out.
    pub(super) fn disconnect(&mut self) {
        match self {
            Self::V5(event_loop, _) => event_loop.clean(),
            Self::V4(event_loop, _) => event_loop.clean(),
        }
    }
}

fn happened_v5(packet: v5::Packet) -> Happened {
    match packet {
        v5::Packet::ConnAck(ack) => Happened::Connected { session_present: ack.session_present },
        v5::Packet::Publish(publish) => {
            let token = match publish.qos {
                v5::QoS::AtMostOnce => None,
                v5::QoS::AtLeastOnce => Some(v5::ManualAck::PubAck(v5::PubAck::new(publish.pkid, None))),
                v5::QoS::ExactlyOnce => Some(v5::ManualAck::PubRec(v5::PubRec::new(publish.pkid, None))),
            };
            Happened::Received(Delivery {
                topic: publish.topic,
                payload: publish.payload,
                retained: publish.retain,
                token: token.map(AckToken::V5),
            })
        }
        v5::Packet::SubAck(ack) => Happened::Subscribed {
            granted: ack.return_codes.iter().all(|code| matches!(code, v5::SubscribeReasonCode::Success(_))),
        },
        _ => Happened::Other, // The library's own business.
    }
}

fn happened_v4(packet: v4::Packet) -> Happened {
    match packet {
        v4::Packet::ConnAck(ack) => Happened::Connected { session_present: ack.session_present },
        v4::Packet::Publish(publish) => {
            let token = match publish.qos {
                v4::QoS::AtMostOnce => None,
                v4::QoS::AtLeastOnce => Some(v4::ManualAck::PubAck(v4::PubAck::new(publish.pkid))),
                v4::QoS::ExactlyOnce => Some(v4::ManualAck::PubRec(v4::PubRec::new(publish.pkid))),
            };
            Happened::Received(Delivery {
                topic: publish.topic,
                payload: publish.payload,
                retained: publish.retain,
                token: token.map(AckToken::V4),
            })
        }
        v4::Packet::SubAck(ack) => Happened::Subscribed {
            granted: ack.return_codes.iter().all(|code| matches!(code, v4::SubscribeReasonCode::Success(_))),
        },
        _ => Happened::Other, // The library's own business.
    }
}

fn explain_v5(error: &v5::ConnectionError, address: &str) -> String {
    match error {
        v5::ConnectionError::ConnectionRefused(code) => refused(address, &format!("{code:?}")),
        v5::ConnectionError::Io(source) => unreachable_broker(address, source),
        v5::ConnectionError::Timeout(_) => silent(address),
        other => format!("the connection to the broker at {address} broke: {other}"),
    }
}

fn explain_v4(error: &v4::ConnectionError, address: &str) -> String {
    match error {
        v4::ConnectionError::ConnectionRefused(code) => refused(address, &format!("{code:?}")),
        v4::ConnectionError::Io(source) => unreachable_broker(address, source),
        v4::ConnectionError::NetworkTimeout | v4::ConnectionError::FlushTimeout => silent(address),
        other => format!("the connection to the broker at {address} broke: {other}"),
    }
}

fn refused(address: &str, code: &str) -> String {
    let remedy = match code {
        "BadUserNamePassword" | "NotAuthorized" => "check username and password_file",
        "RefusedProtocolVersion" | "UnsupportedProtocolVersion" => {
            "set protocol = \"3.1.1\" if it does not speak MQTT 5"
        }
        "BadClientId" | "ClientIdentifierNotValid" => "choose another client_id",
        _ => "look into the broker's log",
    };
    format!("the broker at {address} refused the hub ({code}); {remedy}")
}

fn unreachable_broker(address: &str, source: &std::io::Error) -> String {
    format!("the broker at {address} cannot be reached ({source}); check host and port and that it is running")
}

fn silent(address: &str) -> String {
    format!("the broker at {address} did not answer in time; check the network and that it is running")
}
