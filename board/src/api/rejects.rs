//! What arrived and could not be used.

use axum::{Json, extract::State};
use model::{DeviceId, RejectReason};
use serde::Deserialize;
use store::RejectFilter;
use utoipa::IntoParams;

use super::{
    codes::RejectCode,
    dto::{ErrorBody, RejectList, RejectView, RejectingDevice},
    error::ApiError,
    extract::Params,
};
use crate::{auth::Session, state::Shared};

const MAX_PAGE: u32 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RejectParams {
    /// Only rejects with this reason.
    #[param(value_type = Option<RejectCode>, inline)]
    reason: Option<RejectReason>,
    /// Only rejects from this device.
    #[param(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// How many at most; 100 by default, 500 at most.
    limit: Option<u32>,
}

/// What arrived from the organisation's devices and could not be used: how many, every one counted, and samples of them,
/// newest first. Of each reason a bounded number a minute is kept as a sample. Rejects of unknown devices are shown where the hub serves only one organisation: otherwise nobody can say whose they are.
#[utoipa::path(get, path = "/api/v1/rejects", tag = "hub", params(RejectParams), responses(
    (status = 200, body = RejectList),
    (status = 400, description = "A parameter cannot be used", body = ErrorBody),
    (status = 401, description = "Not logged in", body = ErrorBody),
    (status = 403, description = "Not allowed to this user", body = ErrorBody),
))]
pub(crate) async fn list(
    State(app): State<Shared>,
    session: Session,
    Params(params): Params<RejectParams>,
) -> Result<Json<RejectList>, ApiError> {
    let filter = RejectFilter {
        reason: params.reason,
        device: params.device,
        unclaimed: app.store().list_orgs().await?.len() == 1,
        limit: params.limit.unwrap_or(100).clamp(1, MAX_PAGE),
    };
    let page = app.store().rejects(session.org(), &filter).await?;
    Ok(Json(RejectList {
        total: page.counts.iter().map(|found| found.count).sum(),
        counts: page.counts.iter().map(|found| (found.reason.code().to_owned(), found.count)).collect(),
        kept: page.counts.iter().map(|found| (found.reason.code().to_owned(), found.kept)).collect(),
        devices: page
            .noisy
            .into_iter()
            .map(|noisy| RejectingDevice { device: noisy.device, count: noisy.count, last_at: noisy.last_at })
            .collect(),
        rejects: page
            .rejects
            .into_iter()
            .map(|recorded| RejectView {
                received_at: recorded.received_at,
                device: recorded.device,
                topic: recorded.reject.topic,
                reason: recorded.reject.reason,
                detail: recorded.reject.detail,
                payload: String::from_utf8_lossy(&recorded.reject.payload).into_owned(),
                parts: recorded.reject.parts,
            })
            .collect(),
    }))
}
