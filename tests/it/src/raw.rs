//! A hand-written MQTT 3.1.1 client, to send what no proper client would.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::SOON;

/// What the broker answered to a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A PUBACK for it.
    Acknowledged,
    /// It closed the connection.
    Closed,
}

/// Topic and payload of a message, of any bytes.
pub type Message = (Vec<u8>, Vec<u8>);

/// A connection.
pub struct RawClient {
    stream: TcpStream,
    /// Messages that came before they were asked for.
    waiting: VecDeque<(String, Vec<u8>)>,
}

/// How many messages [`RawClient::publish_all`] has under way.
const UNDER_WAY: usize = 200;

/// The fixed header's "remaining length".
fn length(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let digit = u8::try_from(n % 128).expect("below 128");
        n /= 128;
        bytes.push(if n > 0 { digit | 0x80 } else { digit });
        if n == 0 {
            return bytes;
        }
    }
}

/// A text or bytes with their length before them.
fn field(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("a short field");
    [&len.to_be_bytes(), bytes].concat()
}

impl RawClient {
    /// Connects and logs in; the client id is the user name, or "raw".
    ///
    /// # Panics
    /// If it is refused.
    pub async fn connect(address: SocketAddr, login: Option<(&str, &str)>) -> Self {
        Self::connect_as(login.map_or("raw", |(name, _)| name), address, login).await
    }

    /// Connects under a client id.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn connect_as(client_id: &str, address: SocketAddr, login: Option<(&str, &str)>) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut flags = 0x02; // a clean session
        let mut payload = field(client_id.as_bytes());
        if let Some((name, password)) = login {
            flags |= 0xC0;
            payload.extend(field(name.as_bytes()));
            payload.extend(field(password.as_bytes()));
        }
        let header = [field(b"MQTT"), vec![4, flags, 0, 60]].concat();
        let packet = [vec![0x10], length(header.len() + payload.len()), header, payload].concat();
        stream.write_all(&packet).await.unwrap();
        let mut connack = [0; 4];
        timeout(SOON, stream.read_exact(&mut connack)).await.expect("a CONNACK in time").unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0], "the login was refused");
        Self { stream, waiting: VecDeque::new() }
    }

    /// The next packet: its first byte and its body.
    async fn packet(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.unwrap();
        let (mut remaining, mut shift) = (0, 0);
        loop {
            let digit = self.stream.read_u8().await.unwrap();
            remaining |= usize::from(digit & 0x7F) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; remaining];
        self.stream.read_exact(&mut body).await.unwrap();
        (first, body)
    }

    /// Acknowledges a message of QoS 1 and keeps it.
    async fn take(&mut self, body: &[u8]) {
        let topic_len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (topic, rest) = body[2..].split_at(topic_len);
        self.stream.write_all(&[0x40, 2, rest[0], rest[1]]).await.unwrap();
        self.waiting.push_back((String::from_utf8(topic.to_vec()).unwrap(), rest[2..].to_vec()));
    }

    /// Subscribes at QoS 1.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn subscribe(&mut self, filter: &str) {
        let body = [vec![0, 1], field(filter.as_bytes()), vec![1]].concat();
        let packet = [vec![0x82], length(body.len()), body].concat();
        self.stream.write_all(&packet).await.unwrap();
        loop {
            match timeout(SOON, self.packet()).await.expect("a SUBACK in time") {
                (0x90, body) => return assert_eq!(body, [0, 1, 1], "the subscription was refused"),
                (_, message) => self.take(&message).await,
            }
        }
    }

    /// The next message at QoS 1, acknowledged; `None` if none comes for so long.
    ///
    /// # Panics
    /// If the connection ends.
    pub async fn message(&mut self, patience: Duration) -> Option<(String, Vec<u8>)> {
        if self.waiting.is_empty() {
            // Only the first byte is waited for: a packet that has begun is read whole.
            timeout(patience, self.stream.peek(&mut [0])).await.ok()?.unwrap();
            let (_, body) = self.packet().await;
            self.take(&body).await;
        }
        self.waiting.pop_front()
    }

    /// Publishes all of them at QoS 1, many under way at once, and waits until each is acknowledged.
    ///
    /// # Panics
    /// If the connection ends before.
    pub async fn publish_all(&mut self, messages: &[Message]) {
        for chunk in messages.chunks(UNDER_WAY) {
            let mut packets = Vec::new();
            for (id, (topic, payload)) in (1u16..).zip(chunk) {
                let body = [field(topic), id.to_be_bytes().to_vec(), payload.clone()].concat();
                packets.extend([vec![0x32], length(body.len()), body].concat());
            }
            let (mut reader, mut writer) = self.stream.split();
            let acknowledged = async {
                let mut pubacks = vec![0; 4 * chunk.len()];
                reader.read_exact(&mut pubacks).await.map(|_| pubacks)
            };
            let both = async { tokio::join!(writer.write_all(&packets), acknowledged) };
            let (written, pubacks) = timeout(SOON, both).await.expect("acknowledgements in time");
            written.unwrap();
            for (id, puback) in (1u16..).zip(pubacks.unwrap().chunks(4)) {
                let [high, low] = id.to_be_bytes();
                assert_eq!(puback, [0x40, 2, high, low], "acknowledgements come in order");
            }
        }
    }

    /// Publishes at QoS 1 on a topic of any bytes and waits for what the broker does.
    ///
    /// # Panics
    /// If it does nothing.
    pub async fn publish(&mut self, topic: &[u8], id: u16, duplicate: bool, payload: &[u8]) -> Answer {
        let body = [field(topic), id.to_be_bytes().to_vec(), payload.to_vec()].concat();
        let first = if duplicate { 0x3A } else { 0x32 };
        let packet = [vec![first], length(body.len()), body].concat();
        // A broker that has seen enough may close before everything is written.
        if self.stream.write_all(&packet).await.is_err() {
            return Answer::Closed;
        }
        let mut puback = [0; 4];
        match timeout(SOON, self.stream.read_exact(&mut puback)).await.expect("an answer in time") {
            Ok(_) => {
                let [high, low] = id.to_be_bytes();
                assert_eq!(puback, [0x40, 2, high, low]);
                Answer::Acknowledged
            }
            Err(_) => Answer::Closed,
        }
    }
}
