//! What arrived and could not be used, with its reason.

use model::{DeviceId, OrgId, Reject, RejectReason, Timestamp};
use uuid::Uuid;

use crate::{
    Result, Store,
    db::{DbTime, Tx, at, execute, fetch_all, from_code, name, statements, text, uint},
};

statements! {
    INSERT = both("
        INSERT INTO rejects (id, org, device, received_at, topic, reason, detail, payload)
        VALUES ($1, (SELECT org FROM devices WHERE id = $2), $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING");
    LIST = both("
        SELECT device, received_at, topic, reason, detail, payload FROM rejects
        WHERE (org = $1 OR (org IS NULL AND $2)) AND (reason = $3 OR $3 IS NULL) AND (device = $4 OR $4 IS NULL)
        ORDER BY received_at DESC, id LIMIT $5");
    COUNTS = both("
        SELECT reason, count(*) FROM rejects
        WHERE (org = $1 OR (org IS NULL AND $2)) AND (device = $3 OR $3 IS NULL) GROUP BY reason ORDER BY 2 DESC, reason");
}

/// Namespace of the ids of rejects: the same reject of the same moment has the same id, so that a replay adds nothing.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_6674_6c69_6e65_0072_656a_6563_7400);

/// A reject as the journal brought it.
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

/// Rejects and how many there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RejectPage {
    /// How many are kept, by reason, most first; not narrowed by the filter's reason.
    pub counts: Vec<(RejectReason, u64)>,
    /// Newest first.
    pub rejects: Vec<RecordedReject>,
}

pub(crate) async fn insert(tx: &mut Tx, recorded: &RecordedReject) -> Result<u64> {
    let RecordedReject { received_at, device, reject } = recorded;
    let mut key =
        format!("{}\u{1f}{}\u{1f}{}\u{1f}", received_at.as_micros(), reject.topic, reject.detail).into_bytes();
    key.extend_from_slice(&reject.payload);
    let (id, device) = (Uuid::new_v5(&NAMESPACE, &key), device.as_ref().map(DeviceId::as_str));
    let (topic, reason, detail) = (text(&reject.topic), reject.reason.code(), text(&reject.detail));
    let payload = reject.payload.as_slice();
    execute!(tx, "recording a reject", INSERT, id, device, at(*received_at), topic, reason, detail, payload)
}

type RejectRow = (Option<String>, DbTime, String, String, String, Vec<u8>);

fn recorded((device, received_at, topic, reason, detail, payload): RejectRow) -> Result<RecordedReject> {
    let reason = from_code("reason of a reject", &reason)?;
    Ok(RecordedReject {
        received_at: received_at.into(),
        device: device.map(|device| name("device id", &device)).transpose()?,
        reject: Reject { topic, reason, detail, payload },
    })
}

impl Store {
    /// The rejects of an organisation's devices.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn rejects(&self, org: OrgId, filter: &RejectFilter) -> Result<RejectPage> {
        let (reason, device) = (filter.reason.map(RejectReason::code), filter.device.as_ref().map(DeviceId::as_str));
        let (org, unclaimed, limit) = (org.0, filter.unclaimed, i64::from(filter.limit));
        let read = &self.db().read;
        let rows: Vec<RejectRow> = fetch_all!(read, "listing rejects", LIST, org, unclaimed, reason, device, limit)?;
        let counts: Vec<(String, i64)> = fetch_all!(read, "counting rejects", COUNTS, org, unclaimed, device)?;
        Ok(RejectPage {
            counts: counts
                .into_iter()
                .map(|(reason, count)| Ok((from_code("reason of a reject", &reason)?, uint(count))))
                .collect::<Result<_>>()?,
            rejects: rows.into_iter().map(recorded).collect::<Result<_>>()?,
        })
    }
}
