//! The two ends of every path alone: the broker with the quickest subscriber there is, and the database with COPY.

use std::{
    net::Ipv4Addr,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    load::{Load, device},
    reference::{CREATE, Row, copy},
};

/// How long the broker may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// CONNECT of MQTT 5 with a receive maximum of 65,535, client id `sub`.
const CONNECT: &[u8] = b"\x10\x13\0\x04MQTT\x05\x02\0\x3c\x03\x21\xff\xff\0\x03sub";
/// SUBSCRIBE to `liftline/+/telemetry` with QoS 1.
const SUBSCRIBE: &[u8] = b"\x82\x1a\0\x01\0\0\x14liftline/+/telemetry\x01";

/// Counts and acknowledges messages in a thread of its own; the thread ends with the last one and says when.
pub fn subscribe(port: u16, messages: u64) -> anyhow::Result<JoinHandle<anyhow::Result<Instant>>> {
    let (ready, subscribed) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            stream.set_nodelay(true)?;
            stream.write_all(CONNECT).await?;
            stream.write_all(SUBSCRIBE).await?;
            let mut frames = Frames { input: Vec::new(), used: 0 };
            let (mut received, mut acks) = (0, Vec::new());
            while received < messages {
                while let Some(frame) = frames.next() {
                    match frame[0] >> 4 {
                        3 => {
                            let header = frame.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap_or(0) + 2;
                            let topic = usize::from(u16::from_be_bytes([frame[header], frame[header + 1]]));
                            let id = header + 2 + topic;
                            acks.extend([0x40, 2, frame[id], frame[id + 1]]);
                            received += 1;
                        }
                        9 => ready.send(()).context("nobody waits for the subscription")?,
                        _ => {}
                    }
                }
                if !acks.is_empty() {
                    stream.write_all(&acks).await?;
                    acks.clear();
                }
                if received < messages {
                    let read = tokio::time::timeout(PATIENCE, frames.fill(&mut stream)).await;
                    read.with_context(|| format!("only {received} of {messages} messages came"))??;
                }
            }
            Ok(Instant::now())
        })
    });
    subscribed.recv_timeout(PATIENCE).context("the broker did not take the subscription")?;
    Ok(thread)
}

/// Cuts a stream into packets.
struct Frames {
    input: Vec<u8>,
    used: usize,
}

impl Frames {
    fn next(&mut self) -> Option<&[u8]> {
        let rest = &self.input[self.used..];
        let (mut length, mut at) = (0, 1);
        loop {
            let byte = *rest.get(at)?;
            length |= usize::from(byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let frame = rest.get(..at + length)?;
        self.used += frame.len();
        Some(frame)
    }

    async fn fill(&mut self, stream: &mut TcpStream) -> anyhow::Result<()> {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.reserve(64 * 1024);
        if stream.read_buf(&mut self.input).await? == 0 {
            bail!("the broker closed the subscriber's connection");
        }
        Ok(())
    }
}

/// Copies the rows of a load into a table with the key of the readings; how long that took.
pub async fn bulk_load(url: &str, load: &Load) -> anyhow::Result<Duration> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query(CREATE).execute(&mut connection).await?;
    let rows: Vec<Row> = (load.first..load.first + load.each)
        .flat_map(|message| (0..load.devices).map(move |n| (message, n)))
        .map(|(message, n)| Row {
            device: device(n),
            time_ms: load.base_ms + i64::try_from(message).unwrap_or(0) * 10,
            seq: i64::try_from(message).unwrap_or(0),
            values: [12.5, 10.25, 41.125, 11.5, 63.0, 10.0, 23.0, 14.0],
        })
        .collect();
    let started = Instant::now();
    for batch in rows.chunks(1000) {
        copy(&mut connection, batch.iter()).await?;
    }
    let took = started.elapsed();
    ensure!(rows.len() as u64 == load.messages(), "rows were left out");
    Ok(took)
}
