//! `liftline codes`: the code sets, and what happened on devices in a regulator's codes.

use std::io::Write;

use anyhow::Context as _;
use model::{DeviceId, OrgId, Value, codes::CodeTable};
use store::{DeviceFilter, Store};

/// How many events of a device are looked at, the newest.
const MAX_EVENTS: u32 = 10_000;

/// Writes a code set as CSV.
///
/// # Errors
/// If it cannot be written.
pub fn show(table: &CodeTable, out: &mut dyn Write) -> anyhow::Result<u64> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["code", "neutral", "event", "name_en", "name_zh", "written"])?;
    for code in &table.codes {
        let written = if code.import_only { "no" } else { "yes" };
        csv.write_record([&code.code, &code.neutral.to_string(), &code.event, &code.name.en, &code.name.zh, written])?;
    }
    csv.flush()?;
    Ok(table.codes.len() as u64)
}

/// What an export wrote.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Rows written.
    pub rows: u64,
    /// Of them without a code: the set has none for the event.
    pub without_code: u64,
}

/// Writes the events of one device or all as CSV, each with the code that the set has for it. A code that came in the
/// same set is written as it came. An event that the set has no code for is written without one and counted: nothing is
/// left out.
///
/// # Errors
/// If the store fails or it cannot be written.
pub async fn export(
    store: &Store,
    table: &CodeTable,
    org: OrgId,
    device: Option<&DeviceId>,
    out: &mut dyn Write,
) -> anyhow::Result<Exported> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["time", "device", "event", "neutral", "code", "name_en", "name_zh"])?;
    let mut exported = Exported::default();
    for device in devices(store, org, device).await? {
        let mut events = store.device_events(org, &device, MAX_EVENTS).await.context("reading events")?;
        events.reverse();
        for event in events {
            let came = event.values.iter().find(|(id, _)| id.as_str() == "controller_code").map(|(_, value)| value);
            let same = came.and_then(|value| match value {
                Value::Text(code) => table.read(code).filter(|known| known.event == event.code),
                Value::Number(_) | Value::Bool(_) => None,
            });
            let code = same.or_else(|| table.write(&event.code));
            exported.rows += 1;
            exported.without_code += u64::from(code.is_none());
            let neutral = code.map(|code| code.neutral.to_string()).unwrap_or_default();
            let text = |of: fn(&model::codes::Code) -> &str| code.map(of).unwrap_or_default();
            csv.write_record([
                event.time.to_string().as_str(),
                device.as_str(),
                &event.code,
                &neutral,
                text(|code| &code.code),
                text(|code| &code.name.en),
                text(|code| &code.name.zh),
            ])?;
        }
    }
    csv.flush()?;
    Ok(exported)
}

async fn devices(store: &Store, org: OrgId, device: Option<&DeviceId>) -> anyhow::Result<Vec<DeviceId>> {
    if let Some(device) = device {
        return Ok(vec![device.clone()]);
    }
    let mut found = Vec::new();
    let mut filter = DeviceFilter { limit: 500, ..DeviceFilter::default() };
    loop {
        let page = store.devices(org, &filter).await.context("listing devices")?;
        let more = page.len() >= filter.limit as usize;
        filter.after = page.last().map(|summary| summary.device.id.clone());
        found.extend(page.into_iter().map(|summary| summary.device.id));
        if !more {
            return Ok(found);
        }
    }
}
