//! The reference: the least that a competent engineer writes to bring messages from MQTT into PostgreSQL without losing
//! any. One subscriber, one table with a column for each channel, COPY in batches, and acknowledgements by hand after
//! the commit. It has no journal, no rules, no checks, and one wrong message ends it. It runs in a process of its own.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::{AckMode, AsyncClient, Event, ManualAck, MqttOptions, Packet, PubAck, QoS};
use serde::Deserialize;
use sqlx::{Connection as _, PgConnection};
use tokio::{sync::mpsc, task::JoinSet};

/// How many messages are written at once, and how many may be unacknowledged.
const BATCH: usize = 1000;
const RECEIVE_MAXIMUM: u16 = 65_535;
/// The table.
pub const TABLE: &str = "reference";
/// What makes it.
pub const CREATE: &str =
    "CREATE TABLE reference (device text COLLATE \"C\" NOT NULL, time timestamptz NOT NULL, seq bigint,
    motor_a double precision, door_a double precision, motor_c double precision, vib_mm_s double precision,
    load_kg double precision, speed_m_s double precision, mains_v double precision, level_mm double precision,
    PRIMARY KEY (device, time))";
/// What fills it.
pub const COPY: &str =
    "COPY reference (device, time, seq, motor_a, door_a, motor_c, vib_mm_s, load_kg, speed_m_s, mains_v, level_mm)
    FROM STDIN (FORMAT binary)";

/// A message.
#[derive(Deserialize)]
struct Message {
    ts: i64,
    seq: i64,
    values: Values,
}

#[derive(Deserialize)]
struct Values {
    motor_a: f64,
    door_a: f64,
    motor_c: f64,
    vib_mm_s: f64,
    load_kg: f64,
    speed_m_s: f64,
    mains_v: f64,
    level_mm: f64,
}

/// A row.
pub struct Row {
    /// The device.
    pub device: String,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The number of the message.
    pub seq: i64,
    /// The channels in the order of the table.
    pub values: [f64; 8],
}

/// Copies messages until it is killed; says `ready` when it hears them.
pub async fn run(port: u16, url: &str) -> anyhow::Result<()> {
    let connection = PgConnection::connect(url).await.context("connecting to PostgreSQL")?;
    let mut options = MqttOptions::new("reference", ("127.0.0.1", port));
    options.set_ack_mode(AckMode::Manual).set_receive_maximum(Some(RECEIVE_MAXIMUM)).set_clean_start(true);
    let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(RECEIVE_MAXIMUM) + 16).build();
    client.subscribe("liftline/+/telemetry", QoS::AtLeastOnce).await?;
    let (sender, receiver) = mpsc::channel(usize::from(RECEIVE_MAXIMUM));
    let mut writing = JoinSet::new();
    writing.spawn(write(connection, client.clone(), receiver));
    loop {
        tokio::select! {
            event = events.poll() => match event.context("the broker went away")? {
                Event::Incoming(Packet::SubAck(_)) => println!("ready"),
                Event::Incoming(Packet::Publish(publish)) => {
                    let topic = std::str::from_utf8(&publish.topic)?;
                    let device = topic.split('/').nth(1).context("a topic without a device")?.to_owned();
                    let Message { ts, seq, values: v } = serde_json::from_slice(&publish.payload)?;
                    let values = [v.motor_a, v.door_a, v.motor_c, v.vib_mm_s, v.load_kg, v.speed_m_s, v.mains_v, v.level_mm];
                    // As many places as may be unacknowledged: there is always room.
                    sender.try_send((Row { device, time_ms: ts, seq, values }, publish.pkid))?;
                }
                _ => {}
            },
            ended = writing.join_next() => match ended {
                Some(outcome) => outcome??,
                None => bail!("the writer is gone"),
            },
        }
    }
}

async fn write(
    mut connection: PgConnection,
    client: AsyncClient,
    mut receiver: mpsc::Receiver<(Row, u16)>,
) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH / 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            while batch.len() < BATCH
                && let Ok(more) = receiver.try_recv()
            {
                batch.push(more);
            }
        }
        copy(&mut connection, batch.iter().map(|(row, _)| row)).await?;
        for (_, pkid) in batch.drain(..) {
            client.try_manual_ack(ManualAck::PubAck(PubAck::new(pkid, None)))?;
        }
    }
    Ok(())
}

/// Writes rows with COPY in a transaction of its own.
pub async fn copy(connection: &mut PgConnection, rows: impl Iterator<Item = &Row>) -> anyhow::Result<()> {
    /// Microseconds from 1970 to 2000, where PostgreSQL counts from.
    const EPOCH: i64 = 946_684_800_000_000;
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for row in rows {
        data.extend(11_i16.to_be_bytes());
        data.extend(i32::try_from(row.device.len())?.to_be_bytes());
        data.extend(row.device.as_bytes());
        for integer in [row.time_ms * 1000 - EPOCH, row.seq] {
            data.extend(8_i32.to_be_bytes());
            data.extend(integer.to_be_bytes());
        }
        for value in row.values {
            data.extend(8_i32.to_be_bytes());
            data.extend(value.to_be_bytes());
        }
    }
    data.extend((-1_i16).to_be_bytes());
    let mut sink = connection.copy_in_raw(COPY).await?;
    sink.send(data).await?;
    sink.finish().await?;
    Ok(())
}
