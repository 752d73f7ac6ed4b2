//! Sites.

use axum::{Json, extract::State};

use super::{
    dto::{ErrorBody, SiteList, SiteView},
    error::ApiError,
};
use crate::{auth::Session, state::Shared};

const MAX_SITES: usize = 1_000;

/// The sites of the user's organisation, by name.
#[utoipa::path(get, path = "/api/v1/sites", tag = "organisation", responses(
    (status = 200, body = SiteList),
    (status = 401, description = "Not logged in", body = ErrorBody),
))]
pub(crate) async fn list(State(app): State<Shared>, session: Session) -> Result<Json<SiteList>, ApiError> {
    let mut sites = app.store().sites(session.org()).await?;
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    let sites = sites
        .into_iter()
        .take(MAX_SITES)
        .map(|site| SiteView { id: site.id, name: site.name, address: site.address, time_zone: site.time_zone })
        .collect();
    Ok(Json(SiteList { sites }))
}
