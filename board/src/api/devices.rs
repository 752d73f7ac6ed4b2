//! Devices.

use axum::{Json, extract::State};
use model::{DeviceId, ProfileId, SiteId, profile::CommandKind};
use serde::Deserialize;
use store::{DeviceFilter, TicketFilter, TicketState};
use utoipa::IntoParams;

use super::{
    dto::{CommandKindView, DeviceDetail, DeviceList, ErrorBody, EventView},
    error::ApiError,
    extract::{Id, Params},
    view,
};
use crate::{auth::Session, state::Shared};

const MAX_PAGE: u32 = 500;
const MAX_TICKETS: u32 = 20;
const MAX_ALERTS: u32 = 50;
const MAX_EVENTS: u32 = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceParams {
    /// Only devices of this site.
    #[param(value_type = Option<String>, format = "uuid")]
    site: Option<SiteId>,
    /// Only devices of this profile.
    #[param(value_type = Option<String>)]
    profile: Option<ProfileId>,
    /// Only devices whose id, name or plate contains this text.
    q: Option<String>,
    /// How many at most; 100 by default, 500 at most.
    limit: Option<u32>,
    /// Only devices after this one: `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<DeviceId>,
}

/// The devices of the user's organisation, by id.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(DeviceParams), responses(
    (status = 200, body = DeviceList),
    (status = 400, description = "A parameter cannot be used", body = ErrorBody),
    (status = 401, description = "Not logged in", body = ErrorBody),
))]
pub(crate) async fn list(
    State(app): State<Shared>,
    session: Session,
    Params(params): Params<DeviceParams>,
) -> Result<Json<DeviceList>, ApiError> {
    let limit = params.limit.unwrap_or(100).clamp(1, MAX_PAGE);
    let filter = DeviceFilter {
        site: params.site,
        profile: params.profile,
        text: params.q.map(|q| q.trim().to_owned()).filter(|q| !q.is_empty()),
        after: params.after,
        limit,
    };
    let found = app.store().devices(session.org(), &filter).await?;
    let directory = app.directory();
    let devices: Vec<_> = found.iter().map(|device| view::device(&directory, device)).collect();
    let full = u32::try_from(devices.len()).is_ok_and(|len| len >= limit);
    let next = devices.last().filter(|_| full).map(|device| device.id.to_string());
    Ok(Json(DeviceList { devices, next }))
}

/// A device with everything about it.
#[utoipa::path(get, path = "/api/v1/devices/{id}", tag = "devices",
    params(("id" = String, Path, description = "The device's name in MQTT topics")),
    responses(
        (status = 200, body = DeviceDetail),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 404, description = "No such device in the user's organisation", body = ErrorBody),
    )
)]
pub(crate) async fn show(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<DeviceId>,
) -> Result<Json<DeviceDetail>, ApiError> {
    let (store, org) = (app.store(), session.org());
    let found = store.device(org, &id).await?.ok_or_else(|| ApiError::not_found("device"))?;
    let latest = store.latest(org, &id).await?;
    let of_device = TicketFilter {
        state: TicketState::All,
        device: Some(id.clone()),
        limit: MAX_TICKETS,
        ..TicketFilter::default()
    };
    let tickets = store.tickets(org, &of_device).await?.tickets;
    let alerts = store.alerts(org, &id, MAX_ALERTS).await?;
    let events = store.device_events(org, &id, MAX_EVENTS).await?;
    let directory = app.directory();
    let profile = directory.profiles.get(&found.device.profile);
    let channels = profile.map(|profile| {
        let of = |channel: &model::ChannelId| latest.iter().find(|(id, ..)| id == channel);
        profile.channels.iter().map(|channel| view::channel(channel, of(&channel.id))).collect()
    });
    let commands = profile.map(|profile| {
        let kinds = profile.commands.iter();
        let view = |kind: &CommandKind| CommandKindView {
            name: kind.name.clone(),
            title: kind.title.clone(),
            params: kind.params.clone(),
        };
        kinds.map(view).collect()
    });
    let event_name = |code: &str| {
        let kind = profile.and_then(|profile| profile.event(code));
        kind.map_or_else(|| model::Localised::new(code, code), |kind| kind.name.clone())
    };
    Ok(Json(DeviceDetail {
        summary: view::device(&directory, &found),
        channels: channels.unwrap_or_default(),
        rules: profile.map(|profile| view::rules(profile)).unwrap_or_default(),
        commands: commands.unwrap_or_default(),
        tickets: tickets.iter().map(view::ticket).collect(),
        alerts: alerts.iter().map(|(alert, _)| view::alert(&directory, alert)).collect(),
        events: events
            .into_iter()
            .map(|event| EventView { time: event.time, name: event_name(&event.code), code: event.code })
            .collect(),
    }))
}
