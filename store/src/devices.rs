//! Devices: registration, credentials, what is known of their connection.

use std::collections::HashMap;

use model::{Device, DeviceId, OrgId, ProfileId, Site, SiteId, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::{
    AuditActor, Change, Result, Store, StoreError, audit,
    db::{DbTime, Tx, at, execute, fetch_all, fetch_optional, name, statements, text, uint32},
    orgs::site,
};

statements! {
    // A device keeps its organisation: taking it over by its name must not move another's readings and tickets.
    UPSERT = both("
        INSERT INTO devices AS d (id, org, site, profile, name, plate, secret_sha256, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (id) DO UPDATE SET site = excluded.site, profile = excluded.profile, name = excluded.name,
            plate = excluded.plate, secret_sha256 = coalesce(excluded.secret_sha256, d.secret_sha256)
        WHERE d.org = excluded.org");
    SITE_EXISTS = both("SELECT 1 FROM sites WHERE org = $1 AND id = $2");
    LIST = both("
        SELECT d.id, d.org, d.site, d.profile, d.name, d.plate, s.name, s.address, s.time_zone,
            x.last_seen, x.online, x.online_at,
            (SELECT count(*) FROM tickets t WHERE t.device = d.id AND t.status <> 'closed')
        FROM devices d JOIN sites s ON s.id = d.site LEFT JOIN device_state x ON x.device = d.id
        WHERE d.org = $1 AND (d.site = $2 OR $2 IS NULL) AND (d.profile = $3 OR $3 IS NULL)
            AND (lower(d.id || ' ' || d.name || ' ' || coalesce(d.plate, '') || ' ' || s.name) LIKE $4 ESCAPE '\\' OR $4 IS NULL)
            AND (d.id > $5 OR $5 IS NULL) AND (d.id = $6 OR $6 IS NULL)
        ORDER BY d.id LIMIT $7");
    BY_PLATE = both("SELECT id, org, site, profile, name, plate FROM devices WHERE plate = $1");
    DIRECTORY = both("SELECT id, org, site, profile, name, plate FROM devices ORDER BY id");
    VERSION = both("SELECT version FROM directory_version");
    NEXT_VERSION = both("UPDATE directory_version SET version = version + 1");
    CREDENTIALS = both("SELECT id, secret_sha256 FROM devices WHERE secret_sha256 IS NOT NULL");
}

/// Which of an organisation's devices to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// At this site.
    pub site: Option<SiteId>,
    /// Of this profile.
    pub profile: Option<ProfileId>,
    /// With this text in their id, name, plate or site's name.
    pub text: Option<String>,
    /// After this one in the order of ids.
    pub after: Option<DeviceId>,
    /// At most this many.
    pub limit: u32,
}

/// What the recorder knows of a device's connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// When the hub last received anything from it.
    pub last_seen: Option<Timestamp>,
    /// Whether its broker says that it is connected; `None` if no status ever came.
    pub online: Option<bool>,
    /// Since when.
    pub online_at: Option<Timestamp>,
}

/// A device with what a list of devices shows.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSummary {
    /// The device.
    pub device: Device,
    /// Its site.
    pub site: Site,
    /// Its connection.
    pub state: DeviceState,
    /// How many tickets about it are not closed.
    pub open_tickets: u32,
}

pub(crate) type DeviceRow = (String, Uuid, Uuid, String, String, Option<String>);

pub(crate) fn device((id, org, site, profile, called, plate): DeviceRow) -> Result<Device> {
    let (id, profile) = (name("device id", &id)?, name("profile id", &profile)?);
    Ok(Device { id, org: OrgId(org), site: SiteId(site), profile, name: called, plate })
}

type SummaryRow = (
    String,
    Uuid,
    Uuid,
    String,
    String,
    Option<String>,
    String,
    String,
    String,
    Option<DbTime>,
    Option<bool>,
    Option<DbTime>,
    i64,
);

fn summary(row: SummaryRow) -> Result<DeviceSummary> {
    let (id, org, site_id, profile, called, plate, site_name, address, zone, last_seen, online, online_at, tickets) =
        row;
    Ok(DeviceSummary {
        device: device((id, org, site_id, profile, called, plate))?,
        site: site((site_id, org, site_name, address, zone)),
        state: DeviceState { last_seen: last_seen.map(Into::into), online, online_at: online_at.map(Into::into) },
        open_tickets: uint32(tickets),
    })
}

/// A search text as a LIKE pattern: anything may come before and after it, and its own wildcards are plain characters.
pub(crate) fn like(search: &str) -> String {
    let mut pattern = String::from("%");
    for c in search.trim().to_lowercase().chars().filter(|c| *c != '\0') {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

async fn upsert(tx: &mut Tx, device: &Device, secret: Option<[u8; 32]>, by: &AuditActor, now: Timestamp) -> Result<()> {
    let found: Option<(i32,)> = fetch_optional!(tx, "looking up a site", SITE_EXISTS, device.org.0, device.site.0)?;
    if found.is_none() {
        return Err(StoreError::Missing { kind: "site", name: device.site.to_string() });
    }
    let (id, profile) = (device.id.as_str(), device.profile.as_str());
    let (org, site, plate) = (device.org.0, device.site.0, device.plate.as_deref().map(text));
    let hash = secret.map(|secret| secret.to_vec());
    let done =
        execute!(tx, "registering a device", UPSERT, id, org, site, profile, text(&device.name), plate, hash, at(now));
    match done {
        Ok(0) => return Err(StoreError::Taken { kind: "device of another organisation", name: id.to_owned() }),
        Ok(_) => {}
        Err(error) if error.is_duplicate() => {
            return Err(StoreError::Taken { kind: "plate number", name: device.plate.clone().unwrap_or_default() });
        }
        Err(error) => return Err(error),
    }
    let detail =
        json!({ "name": device.name, "profile": profile, "plate": device.plate, "new_secret": secret.is_some() });
    let line = audit::Line { org: Some(device.org), by, action: "device.register", subject: id, detail: &detail };
    audit::write(tx, line, now).await
}

impl Store {
    /// Registers a device or changes its registration. Without a secret the stored one stays.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if its id belongs to another organisation or its plate number to another device;
    /// [`StoreError::Missing`] if the site is not the organisation's.
    pub async fn upsert_device(
        &self,
        device: &Device,
        secret_sha256: Option<[u8; 32]>,
        by: &AuditActor,
        now: Timestamp,
    ) -> Result<()> {
        self.upsert_devices(&[(device.clone(), secret_sha256)], by, now).await
    }

    /// Registers many devices: all of them or, if one cannot be, none.
    ///
    /// # Errors
    /// As [`Store::upsert_device`].
    pub async fn upsert_devices(
        &self,
        devices: &[(Device, Option<[u8; 32]>)],
        by: &AuditActor,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.db().begin().await?;
        for (device, secret) in devices {
            upsert(&mut tx, device, *secret, by, now).await?;
        }
        execute!(&mut tx, "counting changes of the directory", NEXT_VERSION)?;
        tx.commit().await?;
        self.announce(Change::Directory);
        Ok(())
    }

    /// The organisation's devices that match, by id.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn devices(&self, org: OrgId, filter: &DeviceFilter) -> Result<Vec<DeviceSummary>> {
        self.list_devices(org, filter, None).await
    }

    /// One of the organisation's devices.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn device(&self, org: OrgId, id: &DeviceId) -> Result<Option<DeviceSummary>> {
        let filter = DeviceFilter { limit: 1, ..DeviceFilter::default() };
        Ok(self.list_devices(org, &filter, Some(id)).await?.pop())
    }

    async fn list_devices(
        &self,
        org: OrgId,
        filter: &DeviceFilter,
        only: Option<&DeviceId>,
    ) -> Result<Vec<DeviceSummary>> {
        let site = filter.site.map(|site| site.0);
        let profile = filter.profile.as_ref().map(ProfileId::as_str);
        let pattern = filter.text.as_deref().map(like);
        let (after, only) = (filter.after.as_ref().map(DeviceId::as_str), only.map(DeviceId::as_str));
        let limit = i64::from(filter.limit);
        let rows: Vec<SummaryRow> =
            fetch_all!(self.db().read, "listing devices", LIST, org.0, site, profile, pattern, after, only, limit)?;
        rows.into_iter().map(summary).collect()
    }

    /// The device with this plate number, of whichever organisation: a person in a car does not know more.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn device_by_plate(&self, plate: &str) -> Result<Option<Device>> {
        let row: Option<DeviceRow> = fetch_optional!(self.db().read, "looking up a plate", BY_PLATE, text(plate))?;
        row.map(device).transpose()
    }

    /// A number that is another once devices were registered or changed, by whichever process.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn directory_version(&self) -> Result<i64> {
        let row: Option<(i64,)> = fetch_optional!(self.db().read, "reading the directory's version", VERSION)?;
        Ok(row.map_or(0, |(version,)| version))
    }

    /// Every registered device, for the directory.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn directory_devices(&self) -> Result<Vec<Device>> {
        let rows: Vec<DeviceRow> = fetch_all!(self.db().read, "reading the directory", DIRECTORY)?;
        rows.into_iter().map(device).collect()
    }

    /// SHA-256 of the secret of every device that has one, for the front door.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn credentials(&self) -> Result<HashMap<DeviceId, [u8; 32]>> {
        let rows: Vec<(String, Vec<u8>)> = fetch_all!(self.db().read, "reading credentials", CREDENTIALS)?;
        rows.into_iter()
            .map(|(id, hash)| {
                let hash =
                    <[u8; 32]>::try_from(hash).map_err(|_| StoreError::corrupt("device secret", "not 32 bytes"))?;
                Ok((name("device id", &id)?, hash))
            })
            .collect()
    }
}
