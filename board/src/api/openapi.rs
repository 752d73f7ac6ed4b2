//! The description of the API, made from the handlers themselves.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, SecurityScheme},
};

use crate::{auth::CSRF_HEADER, state::Shared};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Liftline",
        description = "The service hub for connected lifts. Log in, keep the cookie, and send the CSRF token with every \
                       request that changes something. Everything is limited to the user's own organisation.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "session", description = "Logging in and out"),
        (name = "tickets", description = "Cases that people work on"),
        (name = "devices", description = "Devices, their readings and commands"),
        (name = "organisation", description = "Sites and people"),
        (name = "hub", description = "The hub itself and what it could not use"),
        (name = "care", description = "The page of an affected person, by a secret link"),
    ),
    modifiers(&Sessions),
)]
struct Described;

struct Sessions;

impl utoipa::Modify for Sessions {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let cookie = ApiKey::Cookie(ApiKeyValue::new("liftline_session"));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
        let csrf = ApiKey::Header(ApiKeyValue::new(CSRF_HEADER));
        components.add_security_scheme("csrf", SecurityScheme::ApiKey(csrf));
    }
}

/// The description before the routes are added.
pub(crate) fn frame() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "hub", responses(
    (status = 200, description = "OpenAPI 3.1", content_type = "application/json"),
))]
pub(crate) async fn description(State(app): State<Shared>) -> Response {
    let text = app.description.get().map(ToString::to_string).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}
