//! The readings that are asked about: most devices report every half hour or so, a few every ten seconds, all of them for
//! thirty days, written in the order in which they would arrive.

use std::{collections::BinaryHeap, time::Duration};

use anyhow::ensure;
use model::{ChannelId, Device, DeviceId, OrgId, Profile, ProfileId, Timestamp, Value};
use store::{AuditActor, NewSite, Row, Store};

/// The days that have readings.
pub const DAYS: u32 = 30;
/// Devices of a site.
pub const SITE: usize = 50;
/// Rows of a transaction, as the recorder writes them when it catches up.
pub const BATCH: usize = 5_000;
/// How often a busy device reports.
const BUSY_EVERY: Duration = Duration::from_secs(10);
/// Busy devices have so many of ten readings.
const BUSY_SHARE: u64 = 3;
/// Midnight, so that the days of the bench are days of the calendar.
const END: i64 = 1_772_496_000;

/// A fleet with thirty days behind it.
pub struct Fleet {
    profile: Profile,
    devices: Vec<DeviceId>,
    busy: usize,
    busy_every: Duration,
    every: Duration,
}

impl Fleet {
    /// So many devices with about so many readings.
    pub fn new(devices: usize, readings: u64) -> anyhow::Result<Self> {
        let text = include_str!("../ingest/bench_lift.toml");
        let profile = Profile::parse("bench_lift.toml".as_ref(), text)?;
        let rows = readings / profile.channels.len() as u64;
        let span = Duration::from_secs(86_400 * u64::from(DAYS));
        let share = rows * BUSY_SHARE / 10;
        let most = span.as_secs() / BUSY_EVERY.as_secs();
        let busy = (share / most).max(1);
        let busy_every = Duration::from_secs((span.as_secs() * busy).div_ceil(share.max(1)).max(BUSY_EVERY.as_secs()));
        let calm = devices as u64 - busy;
        let each = (rows - share) / calm;
        ensure!(each >= 2 * u64::from(DAYS), "--readings must be at least {}", 3 * 10 * calm * 2 * u64::from(DAYS));
        let name = |n: usize| format!("bench-{n:05}").parse::<DeviceId>();
        let devices = (0..devices).map(name).collect::<Result<_, _>>()?;
        let every = span / u32::try_from(each)?;
        Ok(Self { profile, devices, busy: usize::try_from(busy)?, busy_every, every })
    }

    /// How many devices report often.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// How often they do.
    pub fn busy_every(&self) -> Duration {
        self.busy_every
    }

    /// Channels of a row.
    pub fn channels(&self) -> usize {
        self.profile.channels.len()
    }

    /// The profile of all.
    pub fn profile_id(&self) -> &ProfileId {
        &self.profile.id
    }

    /// The channel that is asked for.
    pub fn channel(&self) -> &ChannelId {
        &self.profile.channels[2].id
    }

    /// The time after the last reading.
    pub fn end(&self) -> Timestamp {
        Timestamp::from_secs(END)
    }

    fn start(&self) -> Timestamp {
        self.end() - Duration::from_secs(86_400 * u64::from(DAYS))
    }

    fn period(&self, device: usize) -> Duration {
        if device < self.busy { self.busy_every } else { self.every }
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        let span = self.end().since(self.start()).as_micros();
        let of = |device: usize| {
            u64::try_from((span - self.phase(device).as_micros()).div_ceil(self.period(device).as_micros()))
        };
        (0..self.devices.len()).filter_map(|device| of(device).ok()).sum()
    }

    /// All readings.
    pub fn readings(&self) -> u64 {
        self.rows() * self.channels() as u64
    }

    /// Readings of so many rows.
    pub fn readings_of(&self, rows: usize) -> u64 {
        (rows * self.channels()) as u64
    }

    /// Devices do not report all at once.
    fn phase(&self, device: usize) -> Duration {
        let share = u32::try_from(device * 7_919 % 10_007).unwrap_or(0);
        self.period(device) * share / 10_007
    }

    /// Every device.
    pub fn all(&self) -> impl Iterator<Item = DeviceId> {
        self.devices.iter().cloned()
    }

    /// A device that reports now and then, another for each number.
    pub fn some(&self, n: usize) -> DeviceId {
        let calm = self.devices.len() - self.busy;
        self.devices[self.busy + n * 4_241 % calm].clone()
    }

    /// A device that reports often.
    pub fn some_busy(&self, n: usize) -> DeviceId {
        self.devices[n % self.busy].clone()
    }

    /// The devices of a site, another for each number.
    pub fn site(&self, n: usize) -> Vec<DeviceId> {
        let sites = self.devices.len() / SITE;
        let first = n * 31 % sites * SITE;
        self.devices[first..first + SITE].to_vec()
    }

    /// Registers all of it.
    pub async fn register(&self, store: &Store) -> anyhow::Result<OrgId> {
        let now = self.start();
        store.ensure_profile(&self.profile).await?;
        let org = store.create_org("Bench", now).await?.id;
        let (name, address, time_zone) = ("Bench".to_owned(), "1 Bench Road".to_owned(), "UTC".to_owned());
        let site = store.create_site(&NewSite { org, name, address, time_zone }, now).await?.id;
        let device = |id: &DeviceId| {
            let (name, id, profile) = (format!("Lift {id}"), id.clone(), self.profile.id.clone());
            (Device { name, id, org, site, profile, plate: None }, None)
        };
        let devices: Vec<_> = self.devices.iter().map(device).collect();
        store.upsert_devices(&devices, &AuditActor::CommandLine, now).await?;
        Ok(org)
    }

    /// Everything in the order of time.
    pub fn batches(&self) -> impl Iterator<Item = Vec<Row>> {
        let end = self.end();
        // The earliest first: the heap is of negative times.
        let mut next: BinaryHeap<(i64, usize, u64)> =
            (0..self.devices.len()).map(|n| (-(self.start() + self.phase(n)).as_micros(), n, 0)).collect();
        std::iter::from_fn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH
                && let Some((time, device, seq)) = next.pop()
            {
                let time = Timestamp::from_micros(-time);
                if time < end {
                    batch.push(self.row(device, time, seq));
                    next.push((-(time + self.period(device)).as_micros(), device, seq + 1));
                }
            }
            (!batch.is_empty()).then_some(batch)
        })
    }

    /// Rows as they come after all that.
    pub fn fresh(&self, n: u64) -> Vec<Row> {
        (0..100).map(|device| self.row(device, self.end() + Duration::from_millis(100 * n), n)).collect()
    }

    fn row(&self, device: usize, time: Timestamp, seq: u64) -> Row {
        let values = self.profile.channels.iter().zip(0_u32..).map(|(channel, n)| {
            // Three digits behind the point, as sensors send them.
            let number = f64::from((u32::try_from(seq).unwrap_or(0).wrapping_mul(37) + n * 911) % 40_000) / 1000.0;
            (channel.id.clone(), Value::Number(number))
        });
        Row {
            device: self.devices[device].clone(),
            profile: self.profile.id.clone(),
            time,
            seq: Some(seq),
            values: values.collect::<Vec<_>>().into(),
        }
    }
}
