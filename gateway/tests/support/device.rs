//! A device: a real MQTT client of either version.

use rumqttc as v5;
use rumqttc_v4 as v4;

use super::soon;

/// What a device sees of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Connected,
    /// The broker acknowledged a publish.
    Acknowledged,
    /// The broker granted the subscription, or not.
    Subscribed(bool),
    Message(String, String),
    /// Refused or disconnected, and why.
    Lost(String),
    Other,
}

pub enum Device {
    V5(v5::AsyncClient, Box<v5::EventLoop>),
    V4(v4::AsyncClient, Box<v4::EventLoop>),
}

/// How a device connects.
pub struct Login<'a> {
    pub port: u16,
    pub client_id: &'a str,
    pub username: &'a str,
    pub password: &'a str,
    /// Topic of a last will that says `offline`.
    pub will: Option<&'a str>,
    /// Keep the session and send again what was not acknowledged.
    pub persistent: bool,
}

impl Default for Login<'_> {
    fn default() -> Self {
        Self { port: 0, client_id: "client", username: "", password: "", will: None, persistent: false }
    }
}

impl Device {
    pub fn v5(login: &Login<'_>) -> Self {
        let mut options = v5::MqttOptions::new(login.client_id, ("127.0.0.1", login.port));
        options.set_keep_alive(60).set_clean_start(!login.persistent);
        if !login.username.is_empty() {
            options.set_credentials(login.username, login.password.to_owned());
        }
        if login.persistent {
            options.set_session_expiry_interval(Some(3600));
        }
        if let Some(topic) = login.will {
            options.set_last_will(v5::LastWill::new(topic, "offline", v5::QoS::AtLeastOnce, true, None));
        }
        let (client, event_loop) = v5::AsyncClient::builder(options).capacity(2000).build();
        Self::V5(client, Box::new(event_loop))
    }

    pub fn v4(login: &Login<'_>) -> Self {
        let mut options = v4::MqttOptions::new(login.client_id, ("127.0.0.1", login.port));
        options.set_keep_alive(60).set_clean_session(!login.persistent).set_max_packet_size(8 << 20, 8 << 20);
        if !login.username.is_empty() {
            options.set_credentials(login.username, login.password.to_owned());
        }
        if let Some(topic) = login.will {
            options.set_last_will(v4::LastWill::new(topic, "offline", v4::QoS::AtLeastOnce, true));
        }
        let (client, event_loop) = v4::AsyncClient::builder(options).capacity(2000).build();
        Self::V4(client, Box::new(event_loop))
    }

    /// Connects, and fails the test if it is refused.
    pub async fn connected(mut self) -> Self {
        assert_eq!(self.next().await, Seen::Connected);
        self
    }

    /// What happens next, leaving out what is of no interest.
    pub async fn next(&mut self) -> Seen {
        soon("something on the device's connection", async {
            loop {
                match self.poll().await {
                    Seen::Other => {}
                    seen => return seen,
                }
            }
        })
        .await
    }

    pub async fn poll(&mut self) -> Seen {
        match self {
            Self::V5(_, event_loop) => match event_loop.poll().await {
                Ok(v5::Event::Incoming(packet)) => match packet {
                    v5::Packet::ConnAck(_) => Seen::Connected,
                    v5::Packet::PubAck(_) => Seen::Acknowledged,
                    v5::Packet::SubAck(ack) => {
                        Seen::Subscribed(matches!(ack.return_codes[..], [v5::SubscribeReasonCode::Success(_)]))
                    }
                    v5::Packet::Publish(publish) => Seen::Message(utf8(&publish.topic), utf8(&publish.payload)),
                    v5::Packet::Disconnect(disconnect) => Seen::Lost(format!("{:?}", disconnect.reason_code)),
                    _ => Seen::Other,
                },
                Ok(_) => Seen::Other,
                Err(v5::ConnectionError::ConnectionRefused(code)) => Seen::Lost(format!("{code:?}")),
                Err(error) => Seen::Lost(error.to_string()),
            },
            Self::V4(_, event_loop) => match event_loop.poll().await {
                Ok(v4::Event::Incoming(packet)) => match packet {
                    v4::Packet::ConnAck(_) => Seen::Connected,
                    v4::Packet::PubAck(_) => Seen::Acknowledged,
                    v4::Packet::SubAck(ack) => {
                        Seen::Subscribed(matches!(ack.return_codes[..], [v4::SubscribeReasonCode::Success(_)]))
                    }
                    v4::Packet::Publish(publish) => Seen::Message(utf8(&publish.topic), utf8(&publish.payload)),
                    _ => Seen::Other,
                },
                Ok(v4::Event::Outgoing(_)) => Seen::Other,
                Err(v4::ConnectionError::ConnectionRefused(code)) => Seen::Lost(format!("{code:?}")),
                Err(error) => Seen::Lost(error.to_string()),
            },
        }
    }

    /// Queues a publish with QoS 1.
    pub fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.publish_as(topic, payload, 1, false);
    }

    pub fn publish_as(&self, topic: &str, payload: impl Into<Vec<u8>>, qos: u8, retain: bool) {
        match self {
            Self::V5(client, _) => {
                let qos = [v5::QoS::AtMostOnce, v5::QoS::AtLeastOnce, v5::QoS::ExactlyOnce][usize::from(qos)];
                client.try_publish(topic, payload.into(), v5::PublishOptions::new(qos).retain(retain)).unwrap();
            }
            Self::V4(client, _) => {
                let qos = [v4::QoS::AtMostOnce, v4::QoS::AtLeastOnce, v4::QoS::ExactlyOnce][usize::from(qos)];
                client.try_publish(topic, payload.into(), v4::PublishOptions::new(qos).retain(retain)).unwrap();
            }
        }
    }

    /// Says goodbye.
    pub fn disconnect(&self) {
        match self {
            Self::V5(client, _) => client.try_disconnect().unwrap(),
            Self::V4(client, _) => client.try_disconnect().unwrap(),
        }
    }

    /// Subscribes with QoS 1 and says whether the broker granted it.
    pub async fn subscribe(&mut self, filter: &str) -> bool {
        match self {
            Self::V5(client, _) => client.try_subscribe(filter, v5::QoS::AtLeastOnce).unwrap(),
            Self::V4(client, _) => client.try_subscribe(filter, v4::QoS::AtLeastOnce).unwrap(),
        }
        match self.next().await {
            Seen::Subscribed(granted) => granted,
            other => panic!("expected an answer to the subscription, saw {other:?}"),
        }
    }
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
