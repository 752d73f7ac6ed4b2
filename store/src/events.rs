//! Discrete codes from devices, as the device page lists them.

use model::{ChannelId, DeviceId, OrgId, Timestamp, Value};

use crate::{
    Result, Store,
    db::{DbTime, fetch_all, from_document, statements, uint},
};

statements! {
    LIST = both("
        SELECT e.time, e.code, e.seq, e.body, e.received_at FROM device_events e JOIN devices d ON d.id = e.device
        WHERE d.org = $1 AND e.device = $2 ORDER BY e.time DESC, e.code LIMIT $3");
}

/// A discrete code that a device sent.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEvent {
    /// When it happened.
    pub time: Timestamp,
    /// The code, as named in the profile.
    pub code: String,
    /// The device's own count of messages.
    pub seq: Option<u64>,
    /// Values that came with it.
    pub values: Vec<(ChannelId, Value)>,
    /// When the hub received it.
    pub received_at: Timestamp,
}

impl Store {
    /// A device's events, newest first.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn device_events(&self, org: OrgId, device: &DeviceId, limit: u32) -> Result<Vec<DeviceEvent>> {
        let rows: Vec<(DbTime, String, Option<i64>, String, DbTime)> =
            fetch_all!(self.db().read, "listing a device's events", LIST, org.0, device.as_str(), i64::from(limit))?;
        rows.into_iter()
            .map(|(time, code, seq, body, received_at)| {
                let values = from_document("event", &body)?;
                Ok(DeviceEvent { time: time.into(), code, seq: seq.map(uint), values, received_at: received_at.into() })
            })
            .collect()
    }
}
