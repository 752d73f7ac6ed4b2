//! One MQTT connection, version 5 or 3.1.1, with its own window of unacknowledged messages.
//!
//! Every connection is a fresh one: the MQTT session is clean, and what was not acknowledged is handed back to the
//! caller, who sends it again in order on the next connection.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesOrdered,
};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use crate::wire::Message;

/// The largest packet sent or taken, bytes.
const MAX_PACKET: u32 = 1 << 20;
/// Commands that may wait to be read.
const INCOMING: usize = 32;
/// Requests beside publications that may wait: subscribe, disconnect.
const SPARE: usize = 4;

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Protocol {
    /// MQTT 5.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        })
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
    pub client_id: String,
    pub login: Option<(String, String)>,
    /// Topic and payload of the retained last will.
    pub will: Option<(String, Vec<u8>)>,
    /// How many messages may be unacknowledged.
    pub window: usize,
}

/// Whether the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    /// Over, and why.
    Down(Arc<str>),
}

/// Something that happened on the connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The broker accepted the connection.
    Up,
    /// The broker acknowledged a message.
    Acknowledged(Message),
    /// The broker refused a message for good.
    Refused(Message, String),
    /// A message came for this client.
    Incoming(Vec<u8>),
    /// The connection ended; call [`Link::unacknowledged`].
    Down(Arc<str>),
}

enum Delivery {
    Acknowledged,
    Refused(String),
    Lost,
}

enum Client {
    V5(rumqttc::AsyncClient),
    V311(rumqttc_v4::AsyncClient),
}

/// A connection and what is under way on it.
pub(crate) struct Link {
    client: Client,
    state: watch::Receiver<State>,
    incoming: mpsc::Receiver<Vec<u8>>,
    receipts: FuturesOrdered<BoxFuture<'static, Delivery>>,
    under_way: VecDeque<Message>,
    window: usize,
    poller: AbortHandle,
    ended: bool,
}

/// An option that the MQTT library does not take.
#[derive(Debug, thiserror::Error)]
#[error("the MQTT connection to {host}:{port} cannot be set up: {reason}; check host, port and protocol")]
pub struct LinkError {
    host: String,
    port: u16,
    reason: String,
}

impl Link {
    /// Begins to connect. The task that polls the connection runs in `tasks` until the connection ends.
    pub fn open(options: &LinkOptions, tasks: &mut JoinSet<()>) -> Result<Self, LinkError> {
        let (state_sender, state) = watch::channel(State::Connecting);
        let (incoming_sender, incoming) = mpsc::channel(INCOMING);
        let failed = |reason: String| LinkError { host: options.host.clone(), port: options.port, reason };
        let (client, poller) = match options.protocol {
            Protocol::V5 => {
                let (client, eventloop) = rumqttc::AsyncClient::builder(v5_options(options))
                    .capacity(options.window + SPARE)
                    .try_build()
                    .map_err(|error| failed(error.to_string()))?;
                (Client::V5(client), tasks.spawn(poll_v5(eventloop, state_sender, incoming_sender)))
            }
            Protocol::V311 => {
                let (client, eventloop) = rumqttc_v4::AsyncClient::builder(v311_options(options))
                    .capacity(options.window + SPARE)
                    .try_build()
                    .map_err(|error| failed(error.to_string()))?;
                (Client::V311(client), tasks.spawn(poll_v311(eventloop, state_sender, incoming_sender)))
            }
        };
        Ok(Self {
            client,
            state,
            incoming,
            receipts: FuturesOrdered::new(),
            under_way: VecDeque::new(),
            window: options.window,
            poller,
            ended: false,
        })
    }

    /// True if another message may be sent now.
    pub fn has_room(&self) -> bool {
        !self.ended && self.under_way.len() < self.window && *self.state.borrow() == State::Up
    }

    /// True if the connection is over.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// True if nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends a message with QoS 1; hands it back if the connection has just ended.
    pub fn send(&mut self, message: Message) -> Result<(), Message> {
        let (topic, payload) = (message.topic.clone(), message.payload.clone());
        let receipt = match &self.client {
            Client::V5(client) => {
                let options = rumqttc::PublishOptions::at_least_once().retain(message.retain);
                client.try_publish_tracked(topic, payload, options).map(|n| settle_v5(n).boxed()).ok()
            }
            Client::V311(client) => {
                let options = rumqttc_v4::PublishOptions::at_least_once().retain(message.retain);
                client.try_publish_tracked(topic, payload, options).map(|n| settle_v311(n).boxed()).ok()
            }
        };
        match receipt {
            Some(receipt) => {
                self.receipts.push_back(receipt);
                self.under_way.push_back(message);
                Ok(())
            }
            // The queue has room for a whole window, so this is a connection that ended.
            None => Err(message),
        }
    }

    /// Asks the broker for the messages of a topic; `false` if the connection has just ended.
    pub fn subscribe(&self, topic: &str) -> bool {
        match &self.client {
            Client::V5(client) => client.try_subscribe(topic, rumqttc::QoS::AtLeastOnce).is_ok(),
            Client::V311(client) => client.try_subscribe(topic, rumqttc_v4::QoS::AtLeastOnce).is_ok(),
        }
    }

    /// The next thing that happens. May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> LinkEvent {
        loop {
            tokio::select! {
                biased;
                Some(delivery) = self.receipts.next(), if !self.under_way.is_empty() => {
                    let Some(message) = self.under_way.pop_front() else { continue };
                    match delivery {
                        Delivery::Acknowledged => return LinkEvent::Acknowledged(message),
                        Delivery::Refused(reason) => return LinkEvent::Refused(message, reason),
                        Delivery::Lost => {
                            self.under_way.push_front(message);
                            self.ended = true;
                            return LinkEvent::Down(self.reason());
                        }
                    }
                }
                Some(payload) = self.incoming.recv() => return LinkEvent::Incoming(payload),
                changed = self.state.changed() => {
                    let state = self.state.borrow_and_update().clone();
                    match (changed, state) {
                        (Ok(()), State::Connecting) => {}
                        (Ok(()), State::Up) => return LinkEvent::Up,
                        (Ok(()), State::Down(reason)) => {
                            self.ended = true;
                            return LinkEvent::Down(reason);
                        }
                        (Err(_), _) => {
                            self.ended = true;
                            return LinkEvent::Down(self.reason());
                        }
                    }
                }
            }
        }
    }

    fn reason(&self) -> Arc<str> {
        match &*self.state.borrow() {
            State::Down(reason) => reason.clone(),
            State::Connecting | State::Up => "the connection was cut".into(),
        }
    }

    /// Ends the connection without a farewell, as a dead controller or a lost network does, and says what became of
    /// the messages under way: those that were acknowledged after all, and those to be sent again, each in order.
    pub async fn unacknowledged(mut self) -> (Vec<Message>, Vec<Message>) {
        self.poller.abort();
        let mut acknowledged = Vec::new();
        // The message whose loss ended the connection has no receipt left; it stands first.
        let mut lost: Vec<Message> =
            (self.receipts.len()..self.under_way.len()).filter_map(|_| self.under_way.pop_front()).collect();
        while let Some(delivery) = self.receipts.next().await {
            let Some(message) = self.under_way.pop_front() else { break };
            match delivery {
                Delivery::Acknowledged => acknowledged.push(message),
                Delivery::Refused(_) => {}
                Delivery::Lost => lost.push(message),
            }
        }
        (acknowledged, lost)
    }

    /// Takes leave of the broker, so that it does not publish the last will.
    pub async fn close(mut self, within: Duration) {
        let asked = match &self.client {
            Client::V5(client) => client.try_disconnect().is_ok(),
            Client::V311(client) => client.try_disconnect().is_ok(),
        };
        if asked {
            let gone = async {
                while !matches!(*self.state.borrow_and_update(), State::Down(_)) && self.state.changed().await.is_ok() {
                }
            };
            // A broker that does not close in time is left anyway.
            let _late = tokio::time::timeout(within, gone).await;
        }
        self.poller.abort();
    }
}

fn v5_options(options: &LinkOptions) -> rumqttc::MqttOptions {
    let mut mqtt = rumqttc::MqttOptions::new(options.client_id.clone(), (options.host.clone(), options.port));
    mqtt.set_keep_alive(30).set_clean_start(true).set_max_packet_size(Some(MAX_PACKET));
    // Without it the library keeps room for 65,535 messages on every connection: megabytes for each device.
    mqtt.set_outgoing_inflight_upper_limit(u16::try_from(options.window).unwrap_or(u16::MAX).max(1));
    if let Some((username, password)) = &options.login {
        mqtt.set_credentials(username.clone(), password.clone());
    }
    if let Some((topic, payload)) = &options.will {
        let qos = rumqttc::QoS::AtLeastOnce;
        mqtt.set_last_will(rumqttc::mqttbytes::v5::LastWill::new(topic.clone(), payload.clone(), qos, true, None));
    }
    mqtt
}

fn v311_options(options: &LinkOptions) -> rumqttc_v4::MqttOptions {
    let mut mqtt = rumqttc_v4::MqttOptions::new(options.client_id.clone(), (options.host.clone(), options.port));
    let window = u16::try_from(options.window).unwrap_or(u16::MAX).max(1);
    mqtt.set_keep_alive(30).set_clean_session(true).set_max_packet_size(MAX_PACKET as usize, MAX_PACKET as usize);
    mqtt.set_inflight(window);
    if let Some((username, password)) = &options.login {
        mqtt.set_credentials(username.clone(), password.clone());
    }
    if let Some((topic, payload)) = &options.will {
        let qos = rumqttc_v4::QoS::AtLeastOnce;
        mqtt.set_last_will(rumqttc_v4::mqttbytes::v4::LastWill::new(topic.clone(), payload.clone(), qos, true));
    }
    mqtt
}

async fn settle_v5(notice: rumqttc::PublishNotice) -> Delivery {
    match notice.wait_completion_async().await {
        Ok(()) => Delivery::Acknowledged,
        Err(error @ rumqttc::PublishNoticeError::V5PubAck(_)) => Delivery::Refused(error.to_string()),
        Err(_) => Delivery::Lost,
    }
}

async fn settle_v311(notice: rumqttc_v4::PublishNotice) -> Delivery {
    match notice.wait_completion_async().await {
        Ok(()) => Delivery::Acknowledged,
        Err(_) => Delivery::Lost,
    }
}

async fn poll_v5(mut eventloop: rumqttc::EventLoop, state: watch::Sender<State>, incoming: mpsc::Sender<Vec<u8>>) {
    use rumqttc::{Event, Packet};
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => _ = state.send_replace(State::Up),
            Ok(Event::Incoming(Packet::Publish(publish))) => hand_over(&incoming, publish.payload.to_vec()),
            Ok(_) => {}
            Err(error) => {
                state.send_replace(State::Down(error.to_string().into()));
                return;
            }
        }
    }
}

async fn poll_v311(mut eventloop: rumqttc_v4::EventLoop, state: watch::Sender<State>, incoming: mpsc::Sender<Vec<u8>>) {
    use rumqttc_v4::{Event, Packet};
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => _ = state.send_replace(State::Up),
            Ok(Event::Incoming(Packet::Publish(publish))) => hand_over(&incoming, publish.payload.to_vec()),
            Ok(_) => {}
            Err(error) => {
                state.send_replace(State::Down(error.to_string().into()));
                return;
            }
        }
    }
}

/// The polling task never waits: a controller with a full inbox loses the command, and the hub sees it expire.
fn hand_over(incoming: &mpsc::Sender<Vec<u8>>, payload: Vec<u8>) {
    if incoming.try_send(payload).is_err() {
        tracing::warn!("a command was dropped: {INCOMING} are waiting already");
    }
}
