//! Every route and who may use it: the one table. A route that is not in it does not exist.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, header},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use store::UserRole;
use utoipa_axum::{
    router::{UtoipaMethodRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    api::{self, error::ApiError},
    auth::{self, Session, session_cookie, session_token},
    care,
    state::Shared,
};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever holds the secret in the address.
    Secret,
    /// Users with this role or one above it, within their own organisation.
    Role(UserRole),
}

/// One operation of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// `GET` or `POST`.
    pub method: String,
    /// The path with its parameters in braces.
    pub path: String,
    /// Who may use it.
    pub access: Access,
}

/// The largest body taken, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How long an answer may take, streams aside.
const TIME_LIMIT: Duration = Duration::from_secs(30);

struct Row {
    access: Access,
    time_limit: Option<Duration>,
    routes: UtoipaMethodRouter<Shared>,
}

fn plain(access: Access, routes: UtoipaMethodRouter<Shared>) -> Row {
    Row { access, time_limit: Some(TIME_LIMIT), routes }
}

fn stream(access: Access, routes: UtoipaMethodRouter<Shared>) -> Row {
    Row { access, time_limit: None, routes }
}

#[rustfmt::skip] // a table
fn table() -> Vec<Row> {
    const VIEWER: Access = Access::Role(UserRole::Viewer);
    const TECHNICIAN: Access = Access::Role(UserRole::Technician);
    const DISPATCHER: Access = Access::Role(UserRole::Dispatcher);
    vec![
        plain(Access::Public, routes!(api::openapi::description)),
        plain(Access::Public, routes!(auth::log_in)),
        plain(Access::Public, routes!(auth::who)),
        plain(Access::Secret, routes!(auth::enter)),
        plain(VIEWER,         routes!(auth::log_out)),
        plain(VIEWER,         routes!(auth::me)),
        plain(VIEWER,         routes!(api::tickets::list)),
        plain(VIEWER,         routes!(api::tickets::show)),
        plain(TECHNICIAN,     routes!(api::tickets::act)),
        plain(DISPATCHER,     routes!(api::tickets::add_affected)),
        plain(VIEWER,         routes!(api::devices::list)),
        plain(VIEWER,         routes!(api::devices::show)),
        plain(VIEWER,         routes!(api::readings::show)),
        plain(VIEWER,         routes!(api::forecasts::scorecard)),
        plain(VIEWER,         routes!(api::commands::list)),
        plain(DISPATCHER,     routes!(api::commands::send)),
        plain(VIEWER,         routes!(api::silences::list)),
        plain(DISPATCHER,     routes!(api::silences::create)),
        plain(DISPATCHER,     routes!(api::silences::preview)),
        plain(DISPATCHER,     routes!(api::silences::end)),
        plain(VIEWER,         routes!(api::sites::list)),
        plain(DISPATCHER,     routes!(api::people::list)),
        plain(DISPATCHER,     routes!(api::rejects::list)),
        plain(DISPATCHER,     routes!(api::system::show)),
        stream(VIEWER,        routes!(api::stream::stream)),
        plain(Access::Secret, routes!(care::show)),
        plain(Access::Secret, routes!(care::state)),
        stream(Access::Secret, routes!(care::stream)),
        plain(Access::Secret, routes!(care::say)),
    ]
}

/// Every operation and who may use it.
#[must_use]
pub fn routes() -> Vec<RouteInfo> {
    table().iter().flat_map(operations).collect()
}

fn operations(row: &Row) -> Vec<RouteInfo> {
    let (_, paths, _) = &row.routes;
    let mut found = Vec::new();
    for (path, item) in &paths.paths {
        for (method, operation) in [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ] {
            if operation.is_some() {
                found.push(RouteInfo { method: method.to_owned(), path: path.clone(), access: row.access });
            }
        }
    }
    found
}

/// The rows of the table, each behind its guard.
pub(crate) fn guarded(app: &Shared) -> Vec<UtoipaMethodRouter<Shared>> {
    table()
        .into_iter()
        .map(|row| {
            let door = Door { app: app.clone(), access: row.access, time_limit: row.time_limit };
            row.routes
                .layer::<_, Infallible>(DefaultBodyLimit::max(MAX_BODY))
                .layer::<_, Infallible>(from_fn_with_state(door, guard))
        })
        .collect()
}

#[derive(Clone)]
struct Door {
    app: Shared,
    access: Access,
    time_limit: Option<Duration>,
}

async fn guard(State(door): State<Door>, request: Request, next: Next) -> Result<Response, ApiError> {
    match door.time_limit {
        None => admit(&door, request, next).await,
        Some(limit) => {
            tokio::time::timeout(limit, admit(&door, request, next)).await.map_err(|_| ApiError::timeout())?
        }
    }
}

async fn admit(door: &Door, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let role = match door.access {
        Access::Public | Access::Secret => return Ok(next.run(request).await),
        Access::Role(role) => role,
    };
    let app = &door.app;
    let (session, moved) = Session::open(app, request.method(), request.headers(), app.now()).await?;
    if !session.may(role) {
        return Err(ApiError::forbidden());
    }
    let renewed = session_token(request.headers())
        .filter(|_| moved)
        .and_then(|token| HeaderValue::from_str(&session_cookie(&app.hub.config, token)).ok());
    request.extensions_mut().insert(session);
    let mut response = next.run(request).await;
    // The cookie moves with the session's end, unless the handler has set another (logging out).
    if let Some(cookie) = renewed
        && !response.headers().contains_key(header::SET_COOKIE)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
