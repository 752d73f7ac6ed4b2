//! A broker of a hundred lines for the tests: MQTT 5 and 3.1.1, QoS 1, with faults on demand.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

/// A message that a client published, or its last will.
#[derive(Debug, Clone)]
pub struct Published {
    pub client: String,
    pub topic: String,
    pub payload: String,
    pub retain: bool,
}

/// What the broker saw, and what it shall do.
#[derive(Default)]
pub struct Seen {
    pub published: Mutex<Vec<Published>>,
    pub wills: Mutex<HashMap<String, (String, String)>>,
    pub farewells: Mutex<Vec<String>>,
    pub logins: Mutex<Vec<Option<(String, String)>>>,
    pub connections: AtomicU64,
    /// While this is above zero, publications are taken and not acknowledged; each costs one.
    pub withheld: AtomicU64,
    pub changed: Notify,
    clients: Mutex<HashMap<String, mpsc::Sender<(String, String)>>>,
}

impl Seen {
    /// Waits until `done` says so; fails with `what` after 30 s.
    pub async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if done(self) {
                    return;
                }
                changed.await;
            }
        };
        let limit = std::time::Duration::from_secs(30);
        assert!(tokio::time::timeout(limit, waiting).await.is_ok(), "never came: {what}");
    }

    pub fn topics(&self, topic: &str) -> Vec<Published> {
        self.published.lock().unwrap().iter().filter(|message| message.topic == topic).cloned().collect()
    }

    /// Sends a message to a client that subscribed to anything.
    pub async fn send(&self, client: &str, topic: &str, payload: &str) {
        let sender = self.clients.lock().unwrap().get(client).cloned().unwrap();
        sender.send((topic.to_owned(), payload.to_owned())).await.unwrap();
    }
}

pub struct Broker {
    listener: TcpListener,
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    pub cut: watch::Sender<u64>,
}

impl Broker {
    pub async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address, seen: Arc::default(), cut: watch::channel(0).0 }
    }

    pub async fn run(self) {
        let mut clients = JoinSet::new();
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            let (seen, mut cut) = (self.seen.clone(), self.cut.subscribe());
            clients.spawn(async move {
                tokio::select! {
                    // Any failure of the stream ends the client, which is all a broker would do.
                    _ended = serve(stream, &seen) => {}
                    _ = cut.changed() => {}
                }
                seen.changed.notify_waiters();
            });
        }
    }
}

fn text(bytes: &mut &[u8]) -> String {
    let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let text = String::from_utf8_lossy(&bytes[2..2 + len]).into_owned();
    *bytes = &bytes[2 + len..];
    text
}

fn skip_properties(bytes: &mut &[u8], v5: bool) {
    if v5 {
        // The properties of these clients are short.
        assert!(bytes[0] < 128);
        *bytes = &bytes[1 + usize::from(bytes[0])..];
    }
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut len = body.len();
    loop {
        let byte = (len % 128) as u8;
        len /= 128;
        packet.push(if len > 0 { byte | 128 } else { byte });
        if len == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

async fn read_packet(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let (mut len, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await?;
        len |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            break;
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

async fn serve(stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let (mut input, mut output) = stream.into_split();
    let (_, body) = read_packet(&mut input).await?;
    let mut rest = &body[6..];
    let (v5, flags) = (rest[0] == 5, rest[1]);
    rest = &rest[4..];
    skip_properties(&mut rest, v5);
    let client = text(&mut rest);
    if flags & 4 != 0 {
        skip_properties(&mut rest, v5);
        let will = (text(&mut rest), text(&mut rest));
        seen.wills.lock().unwrap().insert(client.clone(), will);
    }
    let login = (flags & 128 != 0).then(|| (text(&mut rest), text(&mut rest)));
    seen.logins.lock().unwrap().push(login);
    seen.connections.fetch_add(1, Ordering::SeqCst);
    let (sender, mut outgoing) = mpsc::channel::<(String, String)>(16);
    output.write_all(&packet(0x20, if v5 { &[0, 0, 0] } else { &[0, 0] })).await?;
    let (packets, mut incoming) = mpsc::channel(64);
    // Reading is not safe to cancel, so it runs beside the answering.
    let reading = async move {
        while let Ok(packet) = read_packet(&mut input).await {
            if packets.send(packet).await.is_err() {
                break;
            }
        }
    };
    let answering = async {
        loop {
            tokio::select! {
                Some((topic, payload)) = outgoing.recv() => {
                    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
                    body.extend_from_slice(topic.as_bytes());
                    body.extend_from_slice(&[0, 1]);
                    body.extend_from_slice(if v5 { &[0] } else { &[] });
                    body.extend_from_slice(payload.as_bytes());
                    output.write_all(&packet(0x32, &body)).await?;
                }
                packet = incoming.recv() => {
                    let Some((kind, body)) = packet else { return Ok(()) };
                    if let Some(answer) = answer(kind, &body, v5, &client, seen, &sender) {
                        output.write_all(&answer).await?;
                    }
                    seen.changed.notify_waiters();
                }
            }
        }
    };
    let ((), answered) = tokio::join!(reading, answering);
    answered
}

fn answer(
    kind: u8,
    body: &[u8],
    v5: bool,
    client: &str,
    seen: &Seen,
    sender: &mpsc::Sender<(String, String)>,
) -> Option<Vec<u8>> {
    let mut rest = body;
    match kind >> 4 {
        3 => {
            let topic = text(&mut rest);
            let id = [rest[0], rest[1]];
            rest = &rest[2..];
            skip_properties(&mut rest, v5);
            let payload = String::from_utf8_lossy(rest).into_owned();
            let less = |n: u64| n.checked_sub(1);
            let acknowledged = seen.withheld.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err();
            let retain = kind & 1 == 1;
            let client = client.to_owned();
            seen.published.lock().unwrap().push(Published { client, topic, payload, retain });
            acknowledged.then(|| packet(0x40, &id))
        }
        8 => {
            seen.clients.lock().unwrap().insert(client.to_owned(), sender.clone());
            let mut granted = body[..2].to_vec();
            granted.extend_from_slice(if v5 { &[0, 1] } else { &[1] });
            Some(packet(0x90, &granted))
        }
        12 => Some(packet(0xd0, &[])),
        14 => {
            seen.farewells.lock().unwrap().push(client.to_owned());
            None
        }
        _ => None,
    }
}
