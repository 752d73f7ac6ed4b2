//! `liftline export`: readings and tickets as CSV.

use std::io::Write;

use anyhow::{Context as _, anyhow};
use model::{DeviceId, OrgId, Profile, Timestamp};
use store::{Store, TicketFilter, TicketState};

/// How many rows are read at once.
const PAGE: u32 = 5000;

/// Writes the readings of a device in `[from, to)` as CSV, one column a channel.
///
/// # Errors
/// If the device is not there or the store fails.
pub async fn readings(
    store: &Store,
    profile: &Profile,
    org: OrgId,
    device: &DeviceId,
    (from, to): (Timestamp, Timestamp),
    out: &mut dyn Write,
) -> anyhow::Result<u64> {
    let mut csv = csv::Writer::from_writer(out);
    let header: Vec<&str> =
        ["time", "seq"].into_iter().chain(profile.channels.iter().map(|channel| channel.id.as_str())).collect();
    csv.write_record(&header)?;
    let mut from = from;
    let mut written = 0;
    loop {
        let rows = store.readings(org, device, from, to, PAGE).await.context("reading the readings")?;
        let Some(last) = rows.last() else { break };
        let next = last.time + std::time::Duration::from_micros(1);
        for row in &rows {
            let mut record = vec![row.time.to_string(), row.seq.map(|seq| seq.to_string()).unwrap_or_default()];
            record.extend(profile.channels.iter().map(|channel| {
                let value = row.values.iter().find(|(id, _)| *id == channel.id);
                value.map(|(_, value)| value.to_string()).unwrap_or_default()
            }));
            csv.write_record(&record)?;
            written += 1;
        }
        from = next;
    }
    csv.flush()?;
    Ok(written)
}

/// Writes all tickets of an organisation as CSV, the newest first.
///
/// # Errors
/// If the store fails.
pub async fn tickets(store: &Store, org: OrgId, out: &mut dyn Write) -> anyhow::Result<u64> {
    let mut csv = csv::Writer::from_writer(out);
    let mut header = vec!["number", "kind", "severity", "status", "site", "device", "title", "opened_at", "closed_at"];
    header.extend(model::MilestoneKind::ALL.iter().map(|kind| kind.code()));
    csv.write_record(&header)?;
    let mut filter = TicketFilter { state: TicketState::All, limit: 200, ..TicketFilter::default() };
    let mut written = 0;
    loop {
        let page = store.tickets(org, &filter).await.context("reading the tickets")?;
        for view in &page.tickets {
            let ticket = &view.ticket;
            let mut record = vec![
                ticket.number.to_string(),
                ticket.kind.to_string(),
                ticket.severity.to_string(),
                ticket.status.code().to_owned(),
                view.site.as_ref().map(|site| site.name.clone()).unwrap_or_default(),
                ticket.device.as_ref().map(ToString::to_string).unwrap_or_default(),
                ticket.title.en.clone(),
                ticket.opened_at.to_string(),
                ticket.closed_at.map(|at| at.to_string()).unwrap_or_default(),
            ];
            record.extend(
                model::MilestoneKind::ALL
                    .iter()
                    .map(|kind| ticket.milestone(*kind).map(|milestone| milestone.at.to_string()).unwrap_or_default()),
            );
            csv.write_record(&record)?;
            written += 1;
        }
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    csv.flush()?;
    Ok(written)
}

/// The organisation with this name, or the only one if no name is given.
///
/// # Errors
/// If there is none, or more than one and no name.
pub async fn organisation(store: &Store, name: Option<&str>) -> anyhow::Result<OrgId> {
    if let Some(name) = name {
        let org = store.org_by_name(name).await?;
        return org
            .map(|org| org.id)
            .ok_or_else(|| anyhow!("there is no organisation \"{name}\"; see `liftline import`"));
    }
    match store.list_orgs().await?.as_slice() {
        [] => Err(anyhow!("there is no organisation yet; make one with `liftline import FILE.toml`")),
        [only] => Ok(only.id),
        several => {
            let names: Vec<_> = several.iter().map(|org| org.name.as_str()).collect();
            Err(anyhow!("name the organisation with --organisation: {}", names.join(", ")))
        }
    }
}
