//! The load generator: many devices, each with its own connection, that publish messages of about 180 bytes at QoS 1.
//! It is written for speed, so that it takes little of the machine from what is measured: packets are patched from a
//! template, and the acknowledgements of MQTT 3.1.1 are counted by their length.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// The channels of a message, as in `bench_lift.toml`, with the whole part of their values.
const CHANNELS: [(&str, u32); 8] = [
    ("motor_a", 12),
    ("door_a", 10),
    ("motor_c", 41),
    ("vib_mm_s", 11),
    ("load_kg", 63),
    ("speed_m_s", 10),
    ("mains_v", 23),
    ("level_mm", 14),
];
/// What a device adds to its sequence numbers so that they always have seven digits.
pub const FIRST_SEQ: u64 = 1_000_000;
/// How much later a message is than the one before, in milliseconds, where nothing else is said.
pub const STEP_MS: i64 = 10;
/// How long an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where to publish.
#[derive(Clone)]
pub struct Target {
    /// The port on this machine.
    pub port: u16,
    /// The secret of every device, if the broker asks for one.
    pub secret: Option<String>,
}

/// What to publish.
#[derive(Clone, Copy)]
pub struct Load {
    /// How many devices.
    pub devices: usize,
    /// How many messages each sends.
    pub each: u64,
    /// The number of its first message; later loads go on from there.
    pub first: u64,
    /// The time of message 0, in milliseconds.
    pub base_ms: i64,
    /// How much later the next message is.
    pub step_ms: i64,
    /// How fast.
    pub pace: Pace,
}

/// How fast messages are sent.
#[derive(Clone, Copy)]
pub enum Pace {
    /// As fast as they are acknowledged, with so many unacknowledged for each device.
    FlatOut {
        /// How many.
        window: usize,
    },
    /// So many a second, over all devices.
    PerSecond(f64),
}

impl Load {
    /// How many messages that is.
    pub fn messages(&self) -> u64 {
        self.devices as u64 * self.each
    }

    /// The time in a message.
    fn time_ms(&self, message: u64) -> i64 {
        self.base_ms + i64::try_from(message).unwrap_or(0) * self.step_ms
    }

    /// The time in a device's last message.
    pub fn last_ms(&self) -> i64 {
        self.time_ms(self.first + self.each - 1)
    }
}

/// The name of a device.
pub fn device(number: usize) -> String {
    format!("load-{number:04}")
}

/// The payload of a device's message.
pub fn payload(time_ms: i64, message: u64) -> String {
    let values: Vec<String> = CHANNELS
        .iter()
        .enumerate()
        .map(|(n, (channel, whole))| {
            let (width, fraction) = if n % 2 == 0 { (3, (message * 13) % 1000) } else { (2, (message * 7) % 100) };
            format!("\"{channel}\":{whole}.{fraction:0width$}")
        })
        .collect();
    format!("{{\"ts\":{time_ms},\"seq\":{},\"values\":{{{}}}}}", FIRST_SEQ + message, values.join(","))
}

/// A packet whose changing digits are patched in place.
struct Template {
    bytes: Vec<u8>,
    id: usize,
    ts: usize,
    seq: usize,
    /// Where the fractions of the values are, and how many digits they have.
    fractions: Vec<(usize, usize)>,
}

impl Template {
    fn new(device: &str) -> Self {
        let topic = format!("liftline/{device}/telemetry");
        let payload = payload(1_000_000_000_000, 0);
        let bytes = publish(&topic, payload.as_bytes());
        let start = bytes.len() - payload.len();
        let at = |name: &str| start + payload.find(name).map_or(0, |at| at + name.len());
        let fractions = CHANNELS
            .iter()
            .enumerate()
            .map(|(n, (channel, _))| (at(&format!("\"{channel}\":")) + 3, if n % 2 == 0 { 3 } else { 2 }));
        Self { id: start - 2, ts: at("\"ts\":"), seq: at("\"seq\":"), fractions: fractions.collect(), bytes }
    }

    fn write(&mut self, load: &Load, n: u64, out: &mut Vec<u8>) {
        let message = load.first + n;
        let id = u16::try_from(n % 65_535).unwrap_or(0) + 1;
        self.bytes[self.id..self.id + 2].copy_from_slice(&id.to_be_bytes());
        digits(&mut self.bytes[self.ts..self.ts + 13], load.time_ms(message).unsigned_abs());
        digits(&mut self.bytes[self.seq..self.seq + 7], FIRST_SEQ + message);
        for (at, width) in &self.fractions {
            let value = if *width == 3 { (message * 13) % 1000 } else { (message * 7) % 100 };
            digits(&mut self.bytes[*at..at + width], value);
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// Writes the last digits of a number.
fn digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// A PUBLISH at QoS 1 with packet id 1.
pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x32, &[&text(topic)[..], &[0, 1], payload].concat())
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut rest = body.len();
    loop {
        let more = if rest >= 128 { 0x80 } else { 0 };
        out.push(u8::try_from(rest % 128).unwrap_or(0) | more);
        rest /= 128;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(0);
    [&len.to_be_bytes(), text.as_bytes()].concat()
}

/// A connection that the server has accepted.
pub async fn connect(target: &Target, name: &str) -> anyhow::Result<TcpStream> {
    let mut stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, target.port)).await.context("connecting to the broker")?;
    stream.set_nodelay(true)?;
    let mut body = [text("MQTT"), vec![4, 2, 0, 60], text(name)].concat();
    if let Some(secret) = &target.secret {
        body[7] |= 0b1100_0000;
        body.extend([text(name), text(secret)].concat());
    }
    stream.write_all(&packet(0x10, &body)).await?;
    let mut answer = [0; 4];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    read.context("the broker did not answer CONNECT")?.context("reading CONNACK")?;
    ensure!(answer == [0x20, 2, 0, 0], "the broker refused \"{name}\": {answer:?}");
    Ok(stream)
}

/// How a load went.
pub struct Sent {
    /// When the first message went out.
    pub started: Instant,
    /// When the last acknowledgement came.
    pub ended: Instant,
}

/// Publishes a load from a thread of its own, which also connects first. `acknowledged` counts along.
pub fn start(
    target: Target,
    load: Load,
    acknowledged: Arc<AtomicU64>,
) -> std::thread::JoinHandle<anyhow::Result<Sent>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut streams = Vec::with_capacity(load.devices);
            for n in 0..load.devices {
                streams.push(connect(&target, &device(n)).await?);
            }
            let started = Instant::now();
            let mut running = JoinSet::new();
            for (n, stream) in streams.into_iter().enumerate() {
                running.spawn(run(stream, n, load, started, acknowledged.clone()));
            }
            while let Some(ended) = running.join_next().await {
                ended.context("a publisher panicked")??;
            }
            Ok(Sent { started, ended: Instant::now() })
        })
    })
}

/// One device.
async fn run(
    mut stream: TcpStream,
    number: usize,
    load: Load,
    started: Instant,
    acknowledged: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut template = Template::new(&device(number));
    let (mut sent, mut done, mut bytes) = (0, 0, 0_u64);
    let mut out = Vec::with_capacity(16 * 1024);
    let mut input = [0; 4096];
    while done < load.each {
        let (allowed, next) = allowance(&load, number, sent, done, started);
        while sent < allowed {
            template.write(&load, sent, &mut out);
            sent += 1;
        }
        if !out.is_empty() {
            stream.write_all(&out).await.context("publishing")?;
            out.clear();
        }
        let wait = next.map_or(PATIENCE, |next| next.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(wait, stream.readable()).await {
            Ok(ready) => ready?,
            Err(_) if next.is_some() => continue,
            Err(_) => bail!("no acknowledgement for {} s", PATIENCE.as_secs()),
        }
        match stream.try_read(&mut input) {
            Ok(0) => bail!("the broker closed the connection of {}", device(number)),
            Ok(read) => {
                bytes += read as u64;
                // Each acknowledgement has four bytes.
                acknowledged.fetch_add(bytes / 4 - done, Ordering::Relaxed);
                done = bytes / 4;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("reading acknowledgements"),
        }
    }
    Ok(())
}

/// Up to which message may be sent now, and when to look again.
fn allowance(load: &Load, number: usize, sent: u64, done: u64, started: Instant) -> (u64, Option<Instant>) {
    match load.pace {
        // Half a window at once: a send for every acknowledgement would cost more than what is measured.
        Pace::FlatOut { window } if sent - done > window as u64 / 2 => (sent, None),
        Pace::FlatOut { window } => (load.each.min(done + window as u64), None),
        Pace::PerSecond(rate) => {
            // The devices take turns, so that messages are spread evenly.
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let due = |message: u64| {
                started + Duration::from_secs_f64((message as f64 * load.devices as f64 + number as f64) / rate)
            };
            let now = Instant::now();
            let mut allowed = sent;
            while allowed < load.each && due(allowed) <= now {
                allowed += 1;
            }
            (allowed, (allowed < load.each).then(|| due(allowed)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_packet_is_the_packet_written_anew() {
        let load = Load {
            devices: 1,
            each: 10,
            first: 41,
            base_ms: 1_767_225_600_000,
            step_ms: STEP_MS,
            pace: Pace::FlatOut { window: 1 },
        };
        let mut out = Vec::new();
        Template::new("load-0001").write(&load, 6, &mut out);
        let mut expected = publish("liftline/load-0001/telemetry", payload(1_767_225_600_470, 47).as_bytes());
        let at = expected.len() - payload(1_767_225_600_470, 47).len();
        expected[at - 1] = 7;
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
        assert_eq!(payload(1_767_225_600_470, 47).len(), 180);
    }
}
