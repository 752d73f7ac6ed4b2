//! Silences: what dispatchers decide not to be paged for.

use std::collections::HashSet;

use axum::{Json, extract::State};
use desk::noise::{Labels, Matchers};
use model::{SilenceId, Timestamp};
use store::{NewSilence, StoredSilence};

use super::{
    dto::{CoveredView, ErrorBody, PreviewRequest, SilenceList, SilencePreview, SilenceRequest, SilenceView},
    error::ApiError,
    extract::{Body, Id},
    view,
};
use crate::{auth::Session, state::Shared};

const MAX_SILENCES: u32 = 200;
const MAX_OPEN: u32 = 5_000;
const MAX_COVERED: usize = 100;

fn silence(stored: &StoredSilence, now: Timestamp) -> SilenceView {
    let StoredSilence { silence, created_at, ended_by } = stored;
    let state = if silence.ends_at <= now {
        "ended"
    } else if silence.starts_at > now {
        "pending"
    } else {
        "active"
    };
    let matchers = &silence.matchers.0;
    SilenceView {
        id: silence.id,
        author: silence.author_name.clone(),
        reason: silence.reason.clone(),
        matchers: matchers.iter().map(|(label, values)| (label.code().to_owned(), values.clone())).collect(),
        starts_at: silence.starts_at,
        ends_at: silence.ends_at,
        created_at: *created_at,
        ended_by: ended_by.clone(),
        state,
    }
}

/// The silences of the user's organisation, those that end last first.
#[utoipa::path(get, path = "/api/v1/silences", tag = "silences", responses(
    (status = 200, body = SilenceList),
    (status = 401, description = "Not logged in", body = ErrorBody),
))]
pub(crate) async fn list(State(app): State<Shared>, session: Session) -> Result<Json<SilenceList>, ApiError> {
    let silences = app.store().silences(session.org(), MAX_SILENCES).await?;
    let now = app.now();
    Ok(Json(SilenceList { silences: silences.iter().map(|stored| silence(stored, now)).collect() }))
}

/// Make a silence. It never covers alerts of life safety.
#[utoipa::path(post, path = "/api/v1/silences", tag = "silences",
    request_body = SilenceRequest,
    responses(
        (status = 200, body = SilenceView),
        (status = 400, description = "It does not say why, what and until when", body = ErrorBody),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 403, description = "Not allowed to this user", body = ErrorBody),
    )
)]
pub(crate) async fn create(
    State(app): State<Shared>,
    session: Session,
    Body(request): Body<SilenceRequest>,
) -> Result<Json<SilenceView>, ApiError> {
    let now = app.now();
    let new = NewSilence {
        org: session.org(),
        author: session.user.id,
        author_name: session.user.name.clone(),
        reason: request.reason.trim().to_owned(),
        matchers: request.matchers,
        starts_at: request.starts_at.map_or(now, |starts_at| starts_at.max(now)),
        ends_at: request.ends_at,
    };
    let made = app.store().create_silence(&new, &session.auditor(), now).await?;
    Ok(Json(silence(&made, now)))
}

/// What a silence would cover now.
#[utoipa::path(post, path = "/api/v1/silences/preview", tag = "silences",
    request_body = PreviewRequest,
    responses(
        (status = 200, body = SilencePreview),
        (status = 400, description = "The matchers cannot be used", body = ErrorBody),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 403, description = "Not allowed to this user", body = ErrorBody),
    )
)]
pub(crate) async fn preview(
    State(app): State<Shared>,
    session: Session,
    Body(request): Body<PreviewRequest>,
) -> Result<Json<SilencePreview>, ApiError> {
    let matchers: Matchers = request.matchers;
    if matchers.is_empty() {
        return Err(desk::NoiseError::SilenceOfEverything.into());
    }
    matchers.validate()?;
    let org = session.org();
    let mut open = app.store().open_alerts_of(org, MAX_OPEN).await?;
    open.retain(|(alert, _)| matchers.match_labels(&Labels::of(alert)));
    open.sort_by_key(|(alert, _)| !alert.life_safety);
    let held: Vec<_> = open.iter().filter(|(alert, _)| !alert.life_safety).collect();
    let devices: HashSet<_> = held.iter().map(|(alert, _)| &alert.device).collect();
    let directory = app.directory();
    let mut covered = Vec::new();
    for (alert, ticket) in open.iter().take(MAX_COVERED) {
        let ticket = app.store().ticket(org, *ticket).await?;
        covered.push(CoveredView {
            alert: alert.id,
            device: view::known_device(&directory, &alert.device),
            rule: alert.rule.clone(),
            title: alert.title.clone(),
            severity: alert.severity,
            raised_at: alert.raised_at,
            life_safety: alert.life_safety,
            ticket: ticket.as_ref().filter(|found| found.ticket.closed_at.is_none()).map(view::ticket_ref),
        });
    }
    Ok(Json(SilencePreview {
        alerts: held.len(),
        devices: devices.len(),
        life_safety: open.len() - held.len(),
        covered,
    }))
}

/// End a silence now. What it held back is paged at once.
#[utoipa::path(post, path = "/api/v1/silences/{id}/end", tag = "silences",
    params(("id" = String, Path, description = "The silence's id")),
    responses(
        (status = 200, description = "The silence as it stands then", body = SilenceView),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 403, description = "Not allowed to this user", body = ErrorBody),
        (status = 404, description = "No such silence in the user's organisation", body = ErrorBody),
    )
)]
pub(crate) async fn end(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<SilenceId>,
) -> Result<Json<SilenceView>, ApiError> {
    let now = app.now();
    let ended = app.store().end_silence(session.org(), id, &session.auditor(), &session.user.name, now).await?;
    let ended = ended.ok_or_else(|| ApiError::not_found("silence"))?;
    Ok(Json(silence(&ended, now)))
}
