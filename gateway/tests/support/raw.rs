//! A device as bytes: it does what no MQTT library would.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::soon;

/// A connection that speaks MQTT 3.1.1 by hand.
pub struct Raw(pub TcpStream);

/// A packet from its first byte and its body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut rest = body.len();
    loop {
        let more = if rest >= 128 { 0x80 } else { 0 };
        out.push(u8::try_from(rest % 128).unwrap() | more);
        rest /= 128;
        if rest == 0 {
            break;
        }
    }
    [out, body.to_vec()].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// PUBLISH; QoS from 0 to 2.
pub fn publish(topic: &str, payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let id = if qos == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
    packet(0x30 | qos << 1, &[&text(topic), &id, payload].concat())
}

impl Raw {
    /// Connects without a word.
    pub async fn silent(port: u16) -> Self {
        Self(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    /// Logs in under a client id and returns the code of the answer and whether a session was there.
    pub async fn login(port: u16, client: &str, login: (&str, &str), clean: bool) -> (Self, u8, bool) {
        let mut raw = Self::silent(port).await;
        let flags = 0b1100_0000 | u8::from(clean) << 1;
        let body = [text("MQTT"), vec![4, flags, 0, 60], text(client), text(login.0), text(login.1)].concat();
        raw.send(&packet(0x10, &body)).await;
        let answer = raw.packet().await;
        assert_eq!(answer[..2], [0x20, 2]);
        (raw, answer[3], answer[2] == 1)
    }

    /// Logs in as lift-1.
    pub async fn lift_1(port: u16) -> Self {
        let (raw, code, _) = Self::login(port, "lift-1", ("lift-1", "one"), true).await;
        assert_eq!(code, 0);
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        soon("the bytes go out", self.0.write_all(bytes)).await.unwrap();
    }

    /// The next packet.
    pub async fn packet(&mut self) -> Vec<u8> {
        soon("a packet", async {
            let mut header = vec![self.0.read_u8().await.unwrap()];
            let mut length = 0;
            while header.last().is_some_and(|last| header.len() == 1 || last & 0x80 != 0) {
                let byte = self.0.read_u8().await.unwrap();
                length |= usize::from(byte & 0x7F) << (7 * (header.len() - 1));
                header.push(byte);
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            [header, body].concat()
        })
        .await
    }

    /// Waits until the other side closes the connection.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        drop(soon("the end of the connection", self.0.read_to_end(&mut rest)).await);
    }
}
