//! What arrived and could not be used: every one counted by device and reason, some kept as samples.
//!
//! The counts are written in the recorder's transaction, together with the last entry that they count: what a crash
//! makes the recorder read again is not counted again. A sample's id is made of what it is, for the same reason.

mod sampler;

use std::{collections::BTreeMap, sync::Arc};

use model::{Body, DeviceId, Entry, OrgId, Reject, RejectReason, Timestamp};
use uuid::Uuid;

pub use sampler::RejectSampler;

use crate::{
    Result, Store,
    db::{DbTime, Tx, at, execute, fetch_all, fetch_optional, from_code, int, name, statements, text, uint, uint32},
};

statements! {
    INSERT = both("
        INSERT INTO rejects (id, org, device, received_at, topic, reason, detail, payload, parts)
        VALUES ($1, (SELECT org FROM devices WHERE id = $2), $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING");
    COUNT = both("
        INSERT INTO reject_counts AS c (device, reason, org, count, last_at)
        VALUES ($1, $2, (SELECT org FROM devices WHERE id = $1), $3, $4)
        ON CONFLICT (device, reason) DO UPDATE SET
            org = coalesce(excluded.org, c.org), count = c.count + excluded.count,
            last_at = CASE WHEN c.last_at < excluded.last_at THEN excluded.last_at ELSE c.last_at END");
    CURSOR = both("SELECT counted_to FROM reject_cursor");
    MOVE_CURSOR = both("
        INSERT INTO reject_cursor (part, counted_to) VALUES (1, $1)
        ON CONFLICT (part) DO UPDATE SET counted_to = excluded.counted_to");
    BEGIN_AGAIN = both("UPDATE reject_cursor SET counted_to = 0 WHERE counted_to > $1");
    LIST = both("
        SELECT device, received_at, topic, reason, detail, payload, parts FROM rejects
        WHERE (org = $1 OR (org IS NULL AND $2)) AND (reason = $3 OR $3 IS NULL) AND (device = $4 OR $4 IS NULL)
        ORDER BY received_at DESC, id LIMIT $5");
    COUNTS = both("
        SELECT reason, CAST(sum(count) AS bigint) FROM reject_counts
        WHERE (org = $1 OR (org IS NULL AND $2)) AND (device = $3 OR $3 IS NULL) GROUP BY reason ORDER BY 2 DESC, reason");
    KEPT = both("
        SELECT reason, count(*) FROM rejects
        WHERE (org = $1 OR (org IS NULL AND $2)) AND (device = $3 OR $3 IS NULL) GROUP BY reason");
    NOISY = both("
        SELECT device, CAST(sum(count) AS bigint), max(last_at) FROM reject_counts
        WHERE org = $1 AND (reason = $2 OR $2 IS NULL) GROUP BY device ORDER BY 2 DESC, device LIMIT $3");
}

/// Namespace of the ids of samples: the same reject of the same moment has the same id, so that a replay adds nothing.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_6674_6c69_6e65_0072_656a_6563_7400);
/// How many devices are named as those with the most rejects.
const NOISY_DEVICES: i64 = 10;

/// A reject on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReject {
    /// Its place in its lane of the journal.
    pub offset: u64,
    /// True if it is kept beside being counted.
    pub sample: bool,
    /// The entry, which holds a reject.
    pub entry: Arc<Entry>,
}

/// A reject that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedReject {
    /// When the hub received it.
    pub received_at: Timestamp,
    /// The device it came from, or claimed to.
    pub device: Option<DeviceId>,
    /// What it was.
    pub reject: Reject,
}

/// Which rejects to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectFilter {
    /// For this reason.
    pub reason: Option<RejectReason>,
    /// From this device.
    pub device: Option<DeviceId>,
    /// Also those that belong to no organisation because their device is not registered.
    pub unclaimed: bool,
    /// At most this many.
    pub limit: u32,
}

/// How many rejects of a reason there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectCount {
    /// The reason.
    pub reason: RejectReason,
    /// How many there were, every one counted.
    pub count: u64,
    /// How many samples of them are kept.
    pub kept: u64,
}

/// A device and how many of its messages could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoisyDevice {
    /// The device.
    pub device: DeviceId,
    /// How many rejects there were.
    pub count: u64,
    /// When the last one came.
    pub last_at: Timestamp,
}

/// Rejects and how many there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RejectPage {
    /// How many there were, by reason, most first; not narrowed by the filter's reason.
    pub counts: Vec<RejectCount>,
    /// The devices with the most, most first; not narrowed by the filter's device.
    pub noisy: Vec<NoisyDevice>,
    /// The samples, newest first.
    pub rejects: Vec<RecordedReject>,
}

/// What a transaction wrote of rejects, by reason.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    by_reason: BTreeMap<&'static str, (u64, u64)>,
}

impl Recorded {
    pub(crate) fn counted(&self) -> u64 {
        self.by_reason.values().map(|(counted, _)| counted).sum()
    }

    pub(crate) fn kept(&self) -> u64 {
        self.by_reason.values().map(|(_, kept)| kept).sum()
    }

    /// Adds to the metrics; after the commit.
    pub(crate) fn publish(&self) {
        for (reason, (counted, kept)) in &self.by_reason {
            metrics::counter!("liftline_rejects_recorded_total", "reason" => *reason).increment(*counted);
            metrics::counter!("liftline_rejects_kept_total", "reason" => *reason).increment(*kept);
        }
    }
}

/// Counts what was not counted before and keeps the samples among it.
pub(crate) async fn record(tx: &mut Tx, rejects: &[NewReject]) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    let Some(last) = rejects.iter().map(|new| new.offset).max() else { return Ok(recorded) };
    let what = "reading up to where rejects are counted";
    let cursor: Option<(i64,)> = fetch_optional!(&mut *tx, what, CURSOR)?;
    let counted_to = cursor.map_or(0, |(offset,)| uint(offset));
    let mut counts: BTreeMap<(&str, &'static str), (u64, Timestamp)> = BTreeMap::new();
    for NewReject { sample, entry, .. } in rejects.iter().filter(|new| new.offset > counted_to) {
        let Body::Reject(reject) = &entry.body else { continue };
        let device = entry.device.as_ref().map(DeviceId::as_str);
        let (count, last_at) =
            counts.entry((device.unwrap_or_default(), reject.reason.code())).or_insert((0, entry.received_at));
        *count += u64::from(reject.parts);
        *last_at = (*last_at).max(entry.received_at);
        let (counted, kept) = recorded.by_reason.entry(reject.reason.code()).or_default();
        *counted += u64::from(reject.parts);
        if *sample {
            *kept += insert(tx, device, entry.received_at, reject).await?;
        }
    }
    for ((device, reason), (count, last_at)) in counts {
        execute!(&mut *tx, "counting rejects", COUNT, device, reason, int(count), at(last_at))?;
    }
    if last > counted_to {
        execute!(&mut *tx, "counting rejects", MOVE_CURSOR, int(last))?;
    }
    Ok(recorded)
}

async fn insert(tx: &mut Tx, device: Option<&str>, received_at: Timestamp, reject: &Reject) -> Result<u64> {
    let mut key =
        format!("{}\u{1f}{}\u{1f}{}\u{1f}", received_at.as_micros(), reject.topic, reject.detail).into_bytes();
    key.extend_from_slice(&reject.payload);
    let id = Uuid::new_v5(&NAMESPACE, &key);
    let (topic, reason, detail) = (text(&reject.topic), reject.reason.code(), text(&reject.detail));
    let (payload, parts) = (reject.payload.as_slice(), i64::from(reject.parts));
    execute!(tx, "recording a reject", INSERT, id, device, at(received_at), topic, reason, detail, payload, parts)
}

type RejectRow = (Option<String>, DbTime, String, String, String, Vec<u8>, i64);

fn recorded((device, received_at, topic, reason, detail, payload, parts): RejectRow) -> Result<RecordedReject> {
    let reason = from_code("reason of a reject", &reason)?;
    Ok(RecordedReject {
        received_at: received_at.into(),
        device: device.map(|device| name("device id", &device)).transpose()?,
        reject: Reject { topic, reason, detail, payload, parts: uint32(parts) },
    })
}

impl Store {
    /// To be called with the journal's newest offset of the telemetry lane before the first [`Store::record`]. If rejects
    /// are counted beyond it, the journal is another one than before, and its entries are counted from the first.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn resume_rejects(&self, head: u64) -> Result<()> {
        execute!(&self.db().write, "resuming to count rejects", BEGIN_AGAIN, int(head)).map(drop)
    }

    /// The rejects of an organisation's devices: how many there were, and the samples.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn rejects(&self, org: OrgId, filter: &RejectFilter) -> Result<RejectPage> {
        let (reason, device) = (filter.reason.map(RejectReason::code), filter.device.as_ref().map(DeviceId::as_str));
        let (org, unclaimed, limit) = (org.0, filter.unclaimed, i64::from(filter.limit));
        let read = &self.db().read;
        let rows: Vec<RejectRow> = fetch_all!(read, "listing rejects", LIST, org, unclaimed, reason, device, limit)?;
        let kept: Vec<(String, i64)> = fetch_all!(read, "counting samples of rejects", KEPT, org, unclaimed, device)?;
        let kept: BTreeMap<_, _> = kept.into_iter().collect();
        let counts: Vec<(String, i64)> = fetch_all!(read, "reading how many rejects", COUNTS, org, unclaimed, device)?;
        let noisy: Vec<(String, i64, DbTime)> =
            fetch_all!(read, "finding the devices with most rejects", NOISY, org, reason, NOISY_DEVICES)?;
        let count = |(code, count): (String, i64)| {
            let kept = kept.get(&code).copied().map_or(0, uint);
            Ok(RejectCount { reason: from_code("reason of a reject", &code)?, count: uint(count), kept })
        };
        let noisy_device = |(device, count, last_at): (String, i64, DbTime)| {
            let device = name("device id", &device)?;
            Ok(NoisyDevice { device, count: uint(count), last_at: last_at.into() })
        };
        Ok(RejectPage {
            counts: counts.into_iter().map(count).collect::<Result<_>>()?,
            noisy: noisy.into_iter().map(noisy_device).collect::<Result<_>>()?,
            rejects: rows.into_iter().map(recorded).collect::<Result<_>>()?,
        })
    }
}
