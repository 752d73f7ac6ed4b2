//! The lifts of a ticket that concerns several, in the order to go through them.

use std::collections::{HashMap, HashSet};

use desk::rank::{self, Signs};
use model::{DeviceId, ProfileId, TicketKind, Timestamp, Value};
use store::{TicketFilter, TicketView};

use super::{
    dto::{LiftView, TicketRef},
    error::ApiError,
    view,
};
use crate::{auth::Session, state::App};

const MAX_LIFTS: usize = 1_000;
/// What a car was like before its alert, if it said so within this time.
const LOOK_BACK: std::time::Duration = std::time::Duration::from_secs(15 * 60);

/// The channels that tell whether somebody may be inside, by the names that profiles of lifts use.
const PRESENT: &str = "passenger_present";
const LOAD: &str = "car_load_kg";
const ZONE: &str = "door_zone";
const DOORS: &str = "door_state";
const FLOOR: &str = "floor";

type Readings = HashMap<(DeviceId, &'static str), (Timestamp, Value)>;

/// The lifts of a ticket that concerns a whole site; none for a ticket of one device.
pub(crate) async fn of_ticket(app: &App, session: &Session, found: &TicketView) -> Result<Vec<LiftView>, ApiError> {
    let ticket = &found.ticket;
    if ticket.device.is_some() {
        return Ok(Vec::new());
    }
    let mut since: HashMap<DeviceId, Option<Timestamp>> = HashMap::new();
    for alert in &ticket.alerts {
        let standing = alert.cleared_at.is_none().then_some(alert.raised_at);
        let known = since.entry(alert.device.clone()).or_insert(standing);
        *known = [*known, standing].into_iter().flatten().min();
    }
    let entrapments = entrapments(app, session, found).await?;
    let first = ticket.alerts.iter().map(|alert| alert.raised_at).min().unwrap_or(ticket.opened_at);
    let readings = readings(app, session, since.keys().cloned().collect(), first - LOOK_BACK).await?;
    let value = |device: &DeviceId, channel| readings.get(&(device.clone(), channel)).map(|(_, value)| value);
    let flag = |device: &DeviceId, channel| match value(device, channel) {
        Some(Value::Bool(flag)) => Some(*flag),
        Some(Value::Number(_) | Value::Text(_)) | None => None,
    };
    let number = |device: &DeviceId, channel| match value(device, channel) {
        Some(Value::Number(number)) => Some(*number),
        Some(Value::Bool(_) | Value::Text(_)) | None => None,
    };
    let signs = since.into_iter().map(|(device, since)| Signs {
        since,
        entrapment: entrapments.contains_key(&device),
        passenger_present: flag(&device, PRESENT),
        car_load_kg: number(&device, LOAD),
        door_zone: flag(&device, ZONE),
        doors_open: match value(&device, DOORS) {
            Some(Value::Text(state)) => Some(&**state == "open"),
            Some(Value::Bool(_) | Value::Number(_)) | None => None,
        },
        device,
    });
    let directory = app.directory();
    let view = |(signs, occupancy): (Signs, rank::Occupancy)| LiftView {
        occupancy: occupancy.code(),
        reason: occupancy.text(),
        between_floors: signs.door_zone.map(|zone| !zone),
        floor: number(&signs.device, FLOOR),
        since: signs.since,
        as_of: [PRESENT, LOAD, ZONE, DOORS]
            .into_iter()
            .filter_map(|channel| readings.get(&(signs.device.clone(), channel)).map(|(time, _)| *time))
            .max(),
        entrapment: entrapments.get(&signs.device).cloned(),
        device: view::known_device(&directory, &signs.device),
    };
    Ok(rank::ranked(signs.collect()).into_iter().take(MAX_LIFTS).map(view).collect())
}

/// The entrapments that are open at the ticket's site, by their device.
async fn entrapments(
    app: &App,
    session: &Session,
    found: &TicketView,
) -> Result<HashMap<DeviceId, TicketRef>, ApiError> {
    let filter = TicketFilter {
        kind: Some(TicketKind::Entrapment),
        site: Some(found.ticket.site),
        limit: u32::try_from(MAX_LIFTS).unwrap_or(u32::MAX),
        ..TicketFilter::default()
    };
    let open = app.store().tickets(session.org(), &filter).await?.tickets;
    let by_device = |entrapment: &TicketView| {
        let released = entrapment.ticket.milestone(model::MilestoneKind::Released).is_some();
        let device = entrapment.ticket.device.clone().filter(|_| !released)?;
        Some((device, view::ticket_ref(entrapment)))
    };
    Ok(open.iter().filter_map(by_device).collect())
}

/// What the cars said last.
async fn readings(
    app: &App,
    session: &Session,
    devices: Vec<DeviceId>,
    since: Timestamp,
) -> Result<Readings, ApiError> {
    let directory = app.directory();
    let mut by_profile: HashMap<ProfileId, Vec<DeviceId>> = HashMap::new();
    for id in devices {
        if let Some(device) = directory.devices.get(&id).filter(|device| device.org == session.org()) {
            by_profile.entry(device.profile.clone()).or_default().push(id);
        }
    }
    let mut readings = HashMap::new();
    for (profile, devices) in by_profile {
        let known: HashSet<&str> =
            directory.profiles.get(&profile).into_iter().flat_map(|p| &p.channels).map(|c| c.id.as_str()).collect();
        for channel in [PRESENT, LOAD, ZONE, DOORS, FLOOR].into_iter().filter(|channel| known.contains(channel)) {
            for (device, time, value) in app.store().latest_of(&profile, channel, &devices, since).await? {
                readings.insert((device, channel), (time, value));
            }
        }
    }
    Ok(readings)
}
