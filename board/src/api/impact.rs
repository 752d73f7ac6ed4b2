//! Whom the device of a ticket affects while it is out, or would if a forecast comes true.

use std::time::Duration;

use desk::impact::{self, Crowd};
use jiff::tz::TimeZone;
use model::{Alert, TicketKind, Timestamp, profile::FAILURE_RISK};
use store::{DeviceFilter, TicketView};

use super::{
    dto::{CrowdView, HourView, ImpactView, VisitView},
    error::ApiError,
};
use crate::{auth::Session, state::App};

const MAX_DEVICES: u32 = 1_000;
/// The median is that of the last closed tickets.
const MAX_CASES: u32 = 100;
/// When a forecast that names no time is taken to come true, and how much time is left once that time has passed.
const UNKNOWN: Duration = Duration::from_hours(7 * 24);
const LEFT: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);

/// The impact of a forecast or breakdown of one device whose repair takes so long.
pub(crate) async fn of_ticket(
    app: &App,
    session: &Session,
    found: &TicketView,
    alerts: &[Alert],
    repair: Duration,
) -> Result<Option<ImpactView>, ApiError> {
    let ticket = &found.ticket;
    let foretold = match ticket.kind {
        TicketKind::Forecast => true,
        TicketKind::Breakdown => false,
        TicketKind::Entrapment | TicketKind::TestFailure | TicketKind::Outage => return Ok(None),
    };
    let (Some(device), Some(site)) = (&ticket.device, &found.site) else { return Ok(None) };
    if ticket.closed_at.is_some() {
        return Ok(None);
    }
    let (store, org, now) = (app.store(), session.org(), app.now());
    let filter = DeviceFilter {
        site: Some(site.id),
        profile: Some(ticket.profile.clone()),
        limit: MAX_DEVICES,
        ..DeviceFilter::default()
    };
    let devices = store.devices(org, &filter).await?;
    let out = store.devices_standing(org, site.id, MAX_DEVICES).await?;
    let others = devices.iter().filter(|other| other.device.id != *device);
    let running = others.clone().filter(|other| other.state.online != Some(false) && !out.contains(&other.device.id));
    let (others, alternatives) = (count(others.count()), count(running.count()));
    // How long a forecast stood says nothing of how long the device is out once it has come true.
    let earlier = store.times_out(org, &ticket.profile, TicketKind::Breakdown, MAX_CASES).await?;
    let time_out = impact::time_out(earlier, repair);
    let expected_at = foretold.then(|| comes_true(app, alerts)).flatten();
    let zone = TimeZone::get(&site.time_zone).unwrap_or(TimeZone::UTC);
    let crowd = store.site_use(org, site.id).await?.map(|used| Crowd { used, zone, alternatives });
    let crowd = crowd.map(|crowd| {
        let deadline = expected_at.unwrap_or(now + UNKNOWN).max(now + LEFT);
        let fails = if foretold { expected_at.unwrap_or(now).max(now) } else { now };
        let visit = foretold.then(|| crowd.best_visit(repair, now, deadline)).flatten();
        CrowdView {
            population: crowd.used.population,
            vulnerable: crowd.used.vulnerable,
            traffic: crowd.used.traffic,
            hours: hours(&crowd, now),
            people_out: people(crowd.people_between(fails, fails + time_out.expected)),
            visit: visit.map(|window| VisitView { from: window.from, to: window.to, people: people(window.people) }),
        }
    });
    Ok(Some(ImpactView {
        alternatives,
        others,
        time_out: model::duration::format(to_minutes(time_out.expected)),
        cases: time_out.cases,
        expected_at,
        crowd,
    }))
}

/// When the newest forecast that stands is expected to come true, if it says so.
fn comes_true(app: &App, alerts: &[Alert]) -> Option<Timestamp> {
    let directory = app.directory();
    let horizon = |alert: &Alert| directory.profiles.get(&alert.profile)?.failures.as_ref()?.horizons.last().copied();
    alerts.iter().rev().filter(|alert| alert.cleared_at.is_none()).find_map(|alert| match &alert.evidence.forecast {
        Some(forecast) => Some(forecast.expected_at),
        None if alert.rule.as_str() == FAILURE_RISK => Some(alert.raised_at + horizon(alert)?),
        None => None,
    })
}

fn hours(crowd: &Crowd, now: Timestamp) -> Vec<HourView> {
    let hour = |n: u32| {
        let at = now + HOUR * n;
        HourView { at, people: people(crowd.people_per_hour(at)) }
    };
    (0..24).map(hour).collect()
}

fn people(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

fn count(devices: usize) -> u32 {
    u32::try_from(devices).unwrap_or(u32::MAX)
}

fn to_minutes(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().div_ceil(60) * 60)
}
