//! The board: the web interface's API, its live stream, sessions, and the care page of affected people.
//!
//! [`router`] makes the whole of it; [`routes`](crate::routes()) lists every route and who may use it. Handlers hold no
//! rules of their own: what people do to tickets goes through the store to the desk.
//!
//! Serve the router with `into_make_service_with_connect_info::<SocketAddr>()`: logins are throttled per peer.

pub mod api;
mod assets;
mod auth;
mod care;
mod config;
mod limiter;
mod mask;
mod routes;
mod shell;
mod state;

use std::sync::Arc;

use axum::{Router, middleware};
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;

pub use auth::{MAX_PASSWORD, MIN_PASSWORD, PasswordError, hash_password};
pub use config::BoardConfig;
pub use routes::{Access, RouteInfo, routes};
pub use state::{BoardState, JournalLane, Link, LinkState, SystemStatus};

use crate::{api::error::ApiError, state::App};

/// The board.
pub fn router(state: BoardState) -> Router {
    let app = App::new(state);
    let mut open = OpenApiRouter::with_openapi(api::openapi::frame());
    for row in routes::guarded(&app) {
        open = open.routes(row);
    }
    let (router, description) = open.split_for_parts();
    let text = description.to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the API description could not be written as JSON");
        String::new()
    });
    app.description.get_or_init(|| Arc::from(text.as_str()));
    router
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .fallback(assets::serve)
        .with_state(app)
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(shell::surround))
}
