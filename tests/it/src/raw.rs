//! A hand-written MQTT 3.1.1 client, to send what no proper client would.

use std::net::SocketAddr;

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

/// A connection.
pub struct RawClient {
    stream: TcpStream,
}

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
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut flags = 0x02; // a clean session
        let mut payload = field(login.map_or("raw", |(name, _)| name).as_bytes());
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
        Self { stream }
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
