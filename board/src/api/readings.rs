//! Readings, downsampled for charts.

use std::time::Duration;

use axum::{Json, extract::State};
use model::{ChannelId, DeviceId, Timestamp};
use serde::Deserialize;
use store::Series;
use utoipa::IntoParams;

use super::{
    dto::{ErrorBody, Points, Readings, ReadingsKind},
    error::ApiError,
    extract::{Id, Params},
};
use crate::{auth::Session, state::Shared};

const DEFAULT_SPAN: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_BUCKETS: u32 = 300;
const MAX_BUCKETS: u32 = 2_000;
const MAX_STEPS: usize = 2_000;
/// The longest span asked for at once.
const MAX_SPAN: Duration = Duration::from_secs(10 * 366 * 86_400);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadingsParams {
    /// The channel.
    #[param(value_type = String)]
    channel: ChannelId,
    /// The start; a day before the end by default.
    #[param(value_type = Option<String>, format = "date-time")]
    from: Option<Timestamp>,
    /// The end; now by default.
    #[param(value_type = Option<String>, format = "date-time")]
    to: Option<Timestamp>,
    /// How many points at most; 300 by default, 2,000 at most.
    buckets: Option<u32>,
}

/// The history of a channel of a device.
#[utoipa::path(get, path = "/api/v1/devices/{id}/readings", tag = "devices",
    params(("id" = String, Path, description = "The device's name in MQTT topics"), ReadingsParams),
    responses(
        (status = 200, body = Readings),
        (status = 400, description = "A parameter cannot be used", body = ErrorBody),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 404, description = "No such device or channel in the user's organisation", body = ErrorBody),
    )
)]
pub(crate) async fn show(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<DeviceId>,
    Params(params): Params<ReadingsParams>,
) -> Result<Json<Readings>, ApiError> {
    let to = params.to.unwrap_or_else(|| app.now());
    let from = params.from.unwrap_or_else(|| to - DEFAULT_SPAN);
    if from >= to || to.since(from) > MAX_SPAN {
        return Err(ApiError::bad_request(
            "The time span is empty or too long.",
            "Choose \"from\" before \"to\", at most ten years apart.",
        ));
    }
    let buckets = params.buckets.unwrap_or(DEFAULT_BUCKETS).clamp(1, MAX_BUCKETS);
    let device = app.store().device(session.org(), &id).await?.ok_or_else(|| ApiError::not_found("device"))?;
    let directory = app.directory();
    let channel = directory
        .profiles
        .get(&device.device.profile)
        .and_then(|profile| profile.channel(params.channel.as_str()))
        .ok_or_else(|| ApiError::not_found("channel"))?;
    let series = app.store().series(session.org(), &id, &channel.id, from, to, buckets).await?;
    let (kind, bucket_s, points) = told(series.ok_or_else(|| ApiError::not_found("channel"))?);
    Ok(Json(Readings {
        channel: params.channel,
        unit: channel.unit().map(model::Unit::display),
        kind,
        from,
        to,
        bucket_s,
        points,
    }))
}

fn told(series: Series) -> (ReadingsKind, f64, Points) {
    match series {
        Series::Buckets { width, points } => {
            let points = points.into_iter().map(|p| (p.time.as_millis(), p.min, p.avg, p.max, p.count)).collect();
            (ReadingsKind::Series, width.as_secs_f64(), Points::Series(points))
        }
        Series::Steps { points, .. } => {
            // The newest changes are kept.
            let skipped = points.len().saturating_sub(MAX_STEPS);
            let points =
                points.into_iter().skip(skipped).map(|step| (step.time.as_millis(), step.value.to_string())).collect();
            (ReadingsKind::Steps, 0.0, Points::Steps(points))
        }
    }
}
