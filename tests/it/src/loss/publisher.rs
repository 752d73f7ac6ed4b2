//! Devices that publish counted messages at QoS 1 and remember which were acknowledged. A message that is not
//! acknowledged is published again on the next connection, as a proper client does; one that is, never.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::timeout,
};

/// How many messages of a device may wait for their acknowledgement.
const WINDOW: usize = 32;
/// Pause between two messages of a device.
const PAUSE: Duration = Duration::from_millis(8);
/// How long a connection may say nothing before it is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before the next try to connect.
const AGAIN: Duration = Duration::from_millis(100);
/// The length of a PUBACK of MQTT 3.1.1.
const PUBACK: usize = 4;
/// Every so many messages one is an event: it takes the urgent way through the hub.
const EVENT_EVERY: u64 = 10;
/// Milliseconds between the times of two messages of a device.
const STEP_MS: i64 = 5;

/// What a device has been told, and how it is stopped.
#[derive(Default)]
pub struct Book {
    acknowledged: Mutex<Vec<(u64, Instant)>>,
    enough: AtomicBool,
}

impl Book {
    /// The counts that were acknowledged so far and when, in the order of the acknowledgements.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<(u64, Instant)> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// No new message is begun from here on.
    pub fn stop(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    fn note(&self, seq: u64) {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push((seq, Instant::now()));
    }
}

/// Who publishes, and where.
#[derive(Clone)]
pub struct Publisher {
    /// The device.
    pub device: String,
    /// Its secret, if the broker asks for one.
    pub secret: Option<String>,
    /// The broker or the front door.
    pub address: SocketAddr,
    /// The time of message 0; milliseconds since 1970.
    pub base_ms: i64,
}

impl Publisher {
    /// Starts it; the task ends once it was stopped and everything begun is acknowledged.
    pub fn start(self, tasks: &mut JoinSet<()>) -> Arc<Book> {
        let book = Arc::new(Book::default());
        tasks.spawn(self.run(book.clone()));
        book
    }

    async fn run(self, book: Arc<Book>) {
        let mut waiting = VecDeque::new();
        let mut next = 0;
        loop {
            // Whatever ends a connection: another is made, and what was not acknowledged is published again.
            drop(self.connection(&book, &mut waiting, &mut next).await);
            if book.enough.load(Ordering::Relaxed) && waiting.is_empty() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// One connection, until it breaks or there is nothing left to do.
    async fn connection(&self, book: &Book, waiting: &mut VecDeque<u64>, next: &mut u64) -> std::io::Result<()> {
        let (mut reader, mut writer) = timeout(PATIENCE, self.connect()).await??;
        let mut packet_id = 0u16;
        let mut sent: VecDeque<(u16, u64)> = VecDeque::new();
        let mut answers = Vec::new();
        for seq in waiting.iter() {
            packet_id = packet_id % u16::MAX + 1;
            writer.write_all(&self.publish(*seq, packet_id)).await?;
            sent.push_back((packet_id, *seq));
        }
        loop {
            if book.enough.load(Ordering::Relaxed) && waiting.is_empty() {
                return writer.write_all(&[0xE0, 0]).await;
            }
            let may_send = !book.enough.load(Ordering::Relaxed) && waiting.len() < WINDOW;
            tokio::select! {
                read = timeout(PATIENCE, reader.read_buf(&mut answers)), if !sent.is_empty() => {
                    if read?? == 0 {
                        return Ok(()); // The other side has closed.
                    }
                    let whole = answers.len() / PUBACK * PUBACK;
                    for packet in answers.drain(..whole).collect::<Vec<u8>>().chunks_exact(PUBACK) {
                        let seq = settle(packet, &mut sent)?;
                        waiting.retain(|other| *other != seq);
                        book.note(seq);
                    }
                }
                () = tokio::time::sleep(PAUSE), if may_send => {
                    packet_id = packet_id % u16::MAX + 1;
                    let seq = *next;
                    *next += 1;
                    waiting.push_back(seq);
                    sent.push_back((packet_id, seq));
                    writer.write_all(&self.publish(seq, packet_id)).await?;
                }
            }
        }
    }

    async fn connect(&self) -> std::io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut body = [field(b"MQTT"), vec![4, 2, 0, 60], field(self.device.as_bytes())].concat();
        if let Some(secret) = &self.secret {
            body[7] |= 0xC0;
            body.extend([field(self.device.as_bytes()), field(secret.as_bytes())].concat());
        }
        stream.write_all(&packet(0x10, &body)).await?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await?;
        if connack != [0x20, 2, 0, 0] {
            return Err(std::io::Error::other("refused"));
        }
        Ok(stream.into_split())
    }

    /// The same message again is the same bytes, but for the packet id.
    fn publish(&self, seq: u64, packet_id: u16) -> Vec<u8> {
        let ts = self.base_ms + i64::try_from(seq).expect("a small count") * STEP_MS;
        let (lane, code) =
            if seq.is_multiple_of(EVENT_EVERY) { ("events", "\"code\":\"resumed\",") } else { ("telemetry", "") };
        let value = 40 + seq % 10;
        let payload = format!("{{\"ts\":{ts},\"seq\":{seq},{code}\"values\":{{\"motor_temp_c\":{value}}}}}");
        let topic = format!("liftline/{}/{lane}", self.device);
        packet(0x32, &[&field(topic.as_bytes())[..], &packet_id.to_be_bytes(), payload.as_bytes()].concat())
    }
}

/// The message that a PUBACK is for.
fn settle(packet: &[u8], sent: &mut VecDeque<(u16, u64)>) -> std::io::Result<u64> {
    let found = match packet {
        [0x40, 2, high, low] => {
            let id = u16::from_be_bytes([*high, *low]);
            sent.iter().position(|(sent, _)| *sent == id).and_then(|at| sent.remove(at))
        }
        _ => None,
    };
    found.map(|(_, seq)| seq).ok_or_else(|| std::io::Error::other(format!("not an acknowledgement: {packet:?}")))
}

fn field(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("a short field");
    [&len.to_be_bytes(), bytes].concat()
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut rest = body.len();
    loop {
        let more = if rest >= 128 { 0x80 } else { 0 };
        out.push(u8::try_from(rest % 128).expect("below 128") | more);
        rest /= 128;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}
