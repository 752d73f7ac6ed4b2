//! `liftline device import FILE.csv`: registers devices, with a secret each for the front door.
//!
//! Columns: `device`, `profile`, `site` (required); `name`, `plate`, `secret`, `address`, `time_zone` (optional). Sites
//! that do not exist are made. A device without a secret gets a new one, which is printed once and not kept in clear.

use std::{collections::HashMap, io::Write, path::Path};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::{Device, DeviceId, OrgId, ProfileId, SiteId, Timestamp};
use serde::Deserialize;
use store::{AuditActor, DeviceFilter, Store};

use crate::{
    config::LoadedProfile,
    tools::{self, organisation::ensure_site},
};

/// The least length of a secret chosen by the user: it is kept as a plain SHA-256, which is safe only for long ones.
const MIN_SECRET: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    device: String,
    profile: String,
    site: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    plate: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    time_zone: String,
}

/// What an import made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Devices registered or changed.
    pub devices: usize,
    /// Secrets that were made for devices without one.
    pub secrets: usize,
}

/// Imports a CSV file; new secrets are written to `secrets_out` as `device,secret` lines.
///
/// # Errors
/// The first bad line, by number; nothing is registered then.
pub async fn import(
    store: &Store,
    profiles: &[LoadedProfile],
    org: OrgId,
    file: &Path,
    secrets_out: &mut dyn Write,
    now: Timestamp,
) -> anyhow::Result<Imported> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(file)
        .with_context(|| format!("reading {}", file.display()))?;
    let mut rows = Vec::new();
    for (index, row) in reader.deserialize().enumerate() {
        let line = index + 2;
        let row: Row = row.with_context(|| format!("{}:{line}: not a device", file.display()))?;
        let checked = check(profiles, &row).with_context(|| format!("{}:{line}", file.display()))?;
        rows.push((row, checked));
    }
    let mut sites: HashMap<String, SiteId> = HashMap::new();
    let mut devices = Vec::with_capacity(rows.len());
    let mut fresh = Vec::new();
    for (row, (id, profile)) in rows {
        let site = match sites.get(&row.site) {
            Some(site) => *site,
            None => {
                let zone = if row.time_zone.is_empty() { "UTC" } else { &row.time_zone };
                let site = ensure_site(store, org, &row.site, &row.address, zone, now).await?.id;
                sites.insert(row.site.clone(), site);
                site
            }
        };
        let known = store.device(org, &id).await?.is_some();
        let secret = if row.secret.is_empty() {
            if known {
                None
            } else {
                let secret = new_secret()?;
                fresh.push((id.clone(), secret.clone()));
                Some(secret)
            }
        } else {
            Some(row.secret)
        };
        let name = if row.name.is_empty() { id.to_string() } else { row.name };
        let plate = Some(row.plate).filter(|plate| !plate.is_empty());
        devices
            .push((Device { id, org, site, profile, name, plate }, secret.map(|secret| gateway::secret_hash(&secret))));
    }
    store.upsert_devices(&devices, &AuditActor::CommandLine, now).await.context("registering the devices")?;
    for (device, secret) in &fresh {
        writeln!(secrets_out, "{device},{secret}").context("writing the new secrets")?;
    }
    Ok(Imported { devices: devices.len(), secrets: fresh.len() })
}

fn check(profiles: &[LoadedProfile], row: &Row) -> anyhow::Result<(DeviceId, ProfileId)> {
    let id = DeviceId::new(&row.device)?;
    let profile = ProfileId::new(&row.profile)?;
    tools::profile(profiles, &profile)?;
    if row.site.is_empty() {
        bail!("the device {id} has no site; name one, it is made if it does not exist");
    }
    if !row.secret.is_empty() && row.secret.len() < MIN_SECRET {
        bail!("the secret of {id} is shorter than {MIN_SECRET} characters; leave it empty to have one made");
    }
    Ok((id, profile))
}

/// A new random secret of 192 bits.
///
/// # Errors
/// If the system has no randomness to give.
pub fn new_secret() -> anyhow::Result<String> {
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes).context("drawing a secret")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Lists the devices of an organisation: id, profile, site, plate, last seen.
///
/// # Errors
/// If the store fails.
pub async fn list(store: &Store, org: OrgId, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut filter = DeviceFilter { limit: 500, ..DeviceFilter::default() };
    loop {
        let page = store.devices(org, &filter).await?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some(last.device.id.clone());
        for summary in &page {
            let seen = summary.state.last_seen.map_or("never seen".to_owned(), |at| at.to_string());
            let plate = summary.device.plate.as_deref().unwrap_or("-");
            writeln!(out, "{}\t{}\t{}\t{plate}\t{seen}", summary.device.id, summary.device.profile, summary.site.name)?;
        }
    }
}
