//! The care page: what an affected person sees, without a login, by a secret link.

mod page;
mod story;
#[cfg(test)]
mod tests;
mod words;

use std::{sync::Arc, time::Duration};

use axum::{
    Form, Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use desk::{Action, Actor, Event as DeskEvent, TimelineEntry};
use jiff::tz::TimeZone;
use model::{AffectedId, Language, Timestamp};
use serde::Deserialize;
use serde_json::json;
use store::{ApplyError, CarePage, Change, StoreError};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        codes::LanguageCode,
        dto::ErrorBody,
        error::ApiError,
        stream::{Heard, Numbered, PING, hear, respond},
    },
    limiter::Limiter,
    state::{App, Shared},
};
use page::{CareState, Place, Stranger, View};
use story::Said;

/// Limits what one affected person can write on the timeline.
pub(crate) type Notes = Limiter<AffectedId>;

/// Six messages in ten minutes: enough for anybody in trouble, too few to bury a dispatcher.
pub(crate) fn new_notes() -> Notes {
    Limiter::new(6, Duration::from_secs(600), 10_000)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CareParams {
    /// The language; the person's own by default.
    #[param(value_type = Option<LanguageCode>, inline)]
    lang: Option<String>,
}

impl CareParams {
    /// What is not a language we speak is treated as not said: this page never refuses.
    fn language(&self, person: Language) -> Language {
        self.lang.as_deref().and_then(|lang| lang.parse().ok()).unwrap_or(person)
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SayForm {
    /// `help` (I am hurt or need help) or `out` (I am out now).
    what: SayWhat,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SayWhat {
    /// I am hurt or need help.
    Help,
    /// I am out now.
    Out,
}

/// The page.
#[utoipa::path(get, path = "/c/{token}", tag = "care",
    params(("token" = String, Path, description = "The link's secret"), CareParams),
    responses(
        (status = 200, description = "The page", content_type = "text/html"),
        (status = 404, description = "Unknown or expired link", content_type = "text/html"),
        (status = 503, description = "The database is away", content_type = "text/html"),
    )
)]
pub(crate) async fn show(
    State(app): State<Shared>,
    Path(token): Path<String>,
    Query(params): Query<CareParams>,
) -> Response {
    let now = app.now();
    match find(&app, &token, now).await {
        Ok(Some(care)) => {
            let text = render(&app, &token, &care, params.language(care.affected.language), now, page::page);
            html(StatusCode::OK, text)
        }
        Ok(None) => stranger(&app, Stranger::Gone),
        Err(error) => away(&app, &error),
    }
}

/// The page's content for its script.
#[utoipa::path(get, path = "/c/{token}/state", tag = "care",
    params(("token" = String, Path, description = "The link's secret"), CareParams),
    responses(
        (status = 200, body = CareState),
        (status = 404, description = "Unknown or expired link", body = ErrorBody),
    )
)]
pub(crate) async fn state(
    State(app): State<Shared>,
    Path(token): Path<String>,
    Query(params): Query<CareParams>,
) -> Result<Response, ApiError> {
    let now = app.now();
    let care = find(&app, &token, now).await?.ok_or_else(ApiError::no_such_page)?;
    let state = render(&app, &token, &care, params.language(care.affected.language), now, page::state);
    Ok((SECRET_HEADERS, Json(state)).into_response())
}

/// The page's content as it changes.
#[utoipa::path(get, path = "/c/{token}/stream", tag = "care",
    params(("token" = String, Path, description = "The link's secret"), CareParams),
    responses(
        (status = 200, description = "Server-sent events: `state` (a CareState), `ping` every 15 s, `gone` when the \
            link has expired", body = CareState, content_type = "text/event-stream"),
        (status = 404, description = "Unknown or expired link", body = ErrorBody),
        (status = 503, description = "Too many streams are open", body = ErrorBody),
    )
)]
pub(crate) async fn stream(
    State(app): State<Shared>,
    Path(token): Path<String>,
    Query(params): Query<CareParams>,
) -> Result<Response, ApiError> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| ApiError::too_many_streams())?;
    // Listening begins before looking, so that nothing falls between the two.
    let mut changes = app.store().changes();
    let care = find(&app, &token, app.now()).await?.ok_or_else(ApiError::no_such_page)?;
    let language = params.language(care.affected.language);
    let ticket = care.ticket.id;
    let shared = app.clone();
    let events = async_stream::stream! {
        let _permit = permit;
        let app = shared;
        let mut numbered = Numbered::default();
        let mut ping = tokio::time::interval(PING);
        ping.tick().await;
        let mut told = render(&app, &token, &care, language, app.now(), page::state);
        drop(care);
        yield Ok(numbered.event("state", &told, app.now()));
        while !told.over {
            tokio::select! {
                heard = hear(&mut changes) => match heard {
                    Heard::Changes(changes) => {
                        if !changes.iter().any(|change| concerns(change, ticket)) {
                            continue;
                        }
                    }
                    Heard::TooMuch => {}
                    Heard::Nothing => break,
                },
                _ = ping.tick() => {}
            }
            let now = app.now();
            match find(&app, &token, now).await {
                Ok(Some(care)) => {
                    let state = render(&app, &token, &care, language, now, page::state);
                    if state == told {
                        yield Ok(numbered.event("ping", &json!({ "now": now }), now));
                    } else {
                        yield Ok(numbered.event("state", &state, now));
                        told = state;
                    }
                }
                Ok(None) => {
                    yield Ok(numbered.event("gone", &json!({}), now));
                    break;
                }
                // Silence is the truth: the page then says since when it has heard nothing.
                Err(error) => tracing::warn!(%error, "a care page could not be brought up to date"),
            }
        }
    };
    let mut response = respond(&app, events);
    response.headers_mut().extend(headers(SECRET_HEADERS));
    Ok(response)
}

fn concerns(change: &Change, ticket: model::TicketId) -> bool {
    match change {
        Change::Ticket { ticket: changed, .. } => *changed == ticket,
        Change::Device { .. } | Change::Command { .. } | Change::Directory | Change::Outbox | Change::Rejects => false,
    }
}

/// Tell the desk something. It is written on the timeline as the person's own words and earns no milestone.
#[utoipa::path(post, path = "/c/{token}/say", tag = "care",
    params(("token" = String, Path, description = "The link's secret"), CareParams),
    request_body(content = SayForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Told; leads back to the page"),
        (status = 404, description = "Unknown or expired link", content_type = "text/html"),
        (status = 429, description = "Told often enough", content_type = "text/html"),
    )
)]
pub(crate) async fn say(
    State(app): State<Shared>,
    Path(token): Path<String>,
    Query(params): Query<CareParams>,
    Form(form): Form<SayForm>,
) -> Response {
    let now = app.now();
    let care = match find(&app, &token, now).await {
        Ok(Some(care)) => care,
        Ok(None) => return stranger(&app, Stranger::Gone),
        Err(error) => return away(&app, &error),
    };
    let language = params.language(care.affected.language);
    let back = format!("/c/{token}?lang={language}");
    if app.notes.take(&care.affected.id, now).is_err() {
        let text = words::labels(language).said_often;
        return html(StatusCode::TOO_MANY_REQUESTS, page::notice(language, text, &back));
    }
    let said = match form.what {
        SayWhat::Help => Said::Help,
        SayWhat::Out => Said::Out,
    };
    let event = DeskEvent::Act {
        actor: Actor::Affected { affected: care.affected.id },
        action: Action::Note { text: said.note().to_owned() },
        as_of: None,
    };
    match app.store().apply(care.ticket.org, care.ticket.id, event, now).await {
        // On a closed ticket there is nobody left to tell: the page says that it is over.
        Ok(_) | Err(ApplyError::Transition(_)) => {
            (StatusCode::SEE_OTHER, SECRET_HEADERS, [(header::LOCATION, back)]).into_response()
        }
        Err(ApplyError::NotFound(_)) => stranger(&app, Stranger::Gone),
        Err(ApplyError::Store(error)) => {
            app.notes.give_back(&care.affected.id);
            away(&app, &error)
        }
    }
}

/// The longest token looked up, in bytes.
const MAX_TOKEN: usize = 200;

async fn find(app: &App, token: &str, now: Timestamp) -> Result<Option<CarePage>, StoreError> {
    let plausible = token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if plausible { app.store().ticket_by_care_token(token, now).await } else { Ok(None) }
}

fn render<T>(
    app: &Arc<App>,
    token: &str,
    care: &CarePage,
    language: Language,
    now: Timestamp,
    draw: impl FnOnce(&View<'_>) -> T,
) -> T {
    let site = care.site.as_ref();
    let site_name = site.map_or("", |site| site.name.as_str());
    let name = care.device.as_ref().map_or(site_name, |device| device.name.as_str());
    let zone = site.and_then(|site| TimeZone::get(&site.time_zone).ok()).unwrap_or(TimeZone::UTC);
    let zone_name = zone.iana_name().unwrap_or("UTC").to_owned();
    let timeline: Vec<TimelineEntry> = care.timeline.iter().map(|(_, entry)| entry.clone()).collect();
    let story = story::tell(&care.ticket, &care.affected, &timeline, name, &zone, language, now);
    let as_of = now.to_jiff().to_zoned(zone).strftime("%H:%M:%S").to_string();
    draw(&View {
        token,
        language,
        emergency_number: app.hub.config.emergency_number.as_deref(),
        number: care.ticket.number,
        inside: care.affected.inside,
        place: Place {
            name,
            plate: care.device.as_ref().and_then(|device| device.plate.as_deref()),
            site: site_name,
            address: site.map_or("", |site| site.address.as_str()),
        },
        story: &story,
        as_of: &as_of,
        zone: &zone_name,
    })
}

/// The address is the key: nobody else may keep it or pass it on.
const SECRET_HEADERS: [(header::HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
];

fn headers(of: [(header::HeaderName, &'static str); 3]) -> axum::http::HeaderMap {
    of.into_iter().map(|(name, value)| (name, axum::http::HeaderValue::from_static(value))).collect()
}

fn html(status: StatusCode, text: String) -> Response {
    let policy = page::CONTENT_SECURITY_POLICY.as_str();
    let own = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    (status, SECRET_HEADERS, own, text).into_response()
}

fn stranger(app: &App, what: Stranger) -> Response {
    let status = match what {
        Stranger::Gone => StatusCode::NOT_FOUND,
        Stranger::Away => StatusCode::SERVICE_UNAVAILABLE,
    };
    html(status, page::stranger(app.hub.config.emergency_number.as_deref(), what))
}

fn away(app: &App, error: &StoreError) -> Response {
    tracing::warn!(%error, "a care page could not be looked up");
    stranger(app, Stranger::Away)
}
