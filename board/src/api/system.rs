//! How the hub itself is doing.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::dto::ErrorBody;
use crate::state::{Shared, SystemStatus};

/// How the hub itself is doing: the journal, what lags behind it, connections, alarms.
#[utoipa::path(get, path = "/api/v1/system", tag = "hub", responses(
    (status = 200, body = SystemStatus),
    (status = 401, description = "Not logged in", body = ErrorBody),
    (status = 403, description = "Not allowed to this user", body = ErrorBody),
))]
pub(crate) async fn show(State(app): State<Shared>) -> Json<Arc<SystemStatus>> {
    Json(app.hub.system.borrow().clone())
}
