//! Tickets.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State};
use desk::{Action, Event, Status};
use model::{CauseId, DeviceId, Directory, Localised, MessageChannel, Receiver, SiteId, TicketId, TicketKind};
use serde::Deserialize;
use store::{NewAffected, TicketFilter, TicketState, TicketView, UserRole};
use utoipa::{IntoParams, ToSchema};

use super::{
    codes::KindCode,
    dto::{ActionCode, ActionRequest, AffectedRequest, AffectedView, ErrorBody, MessageView, TicketDetail, TicketList},
    error::ApiError,
    extract::{Body, Id, Params},
    impact, preparation, view,
};
use crate::{
    auth::Session,
    state::{App, Shared},
};

const MAX_NAME: usize = 100;
const MAX_PAGE: u32 = 200;
const MAX_ALERTS: usize = 200;
const MAX_LINES: usize = 500;
const MAX_MESSAGES: usize = 200;
const MAX_EXPLAINED: u32 = 1_000;

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateParam {
    /// Not closed.
    #[default]
    Open,
    /// Closed.
    Closed,
    /// Both.
    All,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TicketParams {
    /// Which tickets: `open` (the default), `closed` or `all`.
    #[serde(default)]
    #[param(inline)]
    state: StateParam,
    /// Only tickets of this kind.
    #[param(value_type = Option<KindCode>, inline)]
    kind: Option<TicketKind>,
    /// Only tickets of this site.
    #[param(value_type = Option<String>, format = "uuid")]
    site: Option<SiteId>,
    /// Only tickets with this device.
    #[param(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// Only tickets whose number, title, device or site contains this text.
    q: Option<String>,
    /// How many at most; 100 by default, 200 at most.
    limit: Option<u32>,
    /// Only tickets before this one: `next` of the page before.
    before: Option<u64>,
}

/// The tickets of the user's organisation, newest first.
#[utoipa::path(get, path = "/api/v1/tickets", tag = "tickets", params(TicketParams), responses(
    (status = 200, body = TicketList),
    (status = 400, description = "A parameter cannot be used", body = ErrorBody),
    (status = 401, description = "Not logged in", body = ErrorBody),
))]
pub(crate) async fn list(
    State(app): State<Shared>,
    session: Session,
    Params(params): Params<TicketParams>,
) -> Result<Json<TicketList>, ApiError> {
    let filter = TicketFilter {
        state: match params.state {
            StateParam::Open => TicketState::Open,
            StateParam::Closed => TicketState::Closed,
            StateParam::All => TicketState::All,
        },
        kind: params.kind,
        site: params.site,
        device: params.device,
        text: params.q.map(|q| q.trim().to_owned()).filter(|q| !q.is_empty()),
        limit: params.limit.unwrap_or(100).clamp(1, MAX_PAGE),
        before: params.before,
    };
    let page = app.store().tickets(session.org(), &filter).await?;
    Ok(Json(TicketList {
        tickets: page.tickets.iter().map(view::ticket).collect(),
        next: page.next.map(|number| number.to_string()),
    }))
}

/// A ticket with everything about it.
#[utoipa::path(get, path = "/api/v1/tickets/{id}", tag = "tickets",
    params(("id" = String, Path, description = "The ticket's id")),
    responses(
        (status = 200, body = TicketDetail),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 404, description = "No such ticket in the user's organisation", body = ErrorBody),
    )
)]
pub(crate) async fn show(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<TicketId>,
) -> Result<Json<TicketDetail>, ApiError> {
    detail(&app, &session, id).await.map(Json)
}

/// Do something to a ticket.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/actions", tag = "tickets",
    params(("id" = String, Path, description = "The ticket's id")),
    request_body = ActionRequest,
    responses(
        (status = 200, description = "The ticket afterwards", body = TicketDetail),
        (status = 400, description = "Not an action", body = ErrorBody),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 403, description = "Not allowed to this user", body = ErrorBody),
        (status = 404, description = "No such ticket or person in the user's organisation", body = ErrorBody),
        (status = 409, description = "Does not apply as the ticket stands", body = ErrorBody),
    )
)]
pub(crate) async fn act(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<TicketId>,
    Body(request): Body<ActionRequest>,
) -> Result<Json<TicketDetail>, ApiError> {
    if !may(session.user.role, code(&request)) {
        return Err(ApiError::forbidden());
    }
    let action = match request {
        ActionRequest::Acknowledge => Action::Acknowledge,
        ActionRequest::Decline => Action::Decline,
        ActionRequest::Escalate => Action::Escalate,
        ActionRequest::Assign { person } => Action::Assign { person },
        ActionRequest::EnRoute => Action::EnRoute,
        ActionRequest::Arrived => Action::Arrived,
        ActionRequest::Released => Action::Released,
        ActionRequest::Close { note, cause, parts } => {
            let words = Words::of(&app, &session, id).await?;
            let cause = cause.map(|cause| words.cause(&cause)).transpose()?;
            Action::Close { note, cause, parts: words.parts(parts.as_deref())? }
        }
        ActionRequest::ConfirmCause { cause, parts } => {
            let words = Words::of(&app, &session, id).await?;
            Action::ConfirmCause { cause: words.cause(&cause)?, parts: words.parts(parts.as_deref())? }
        }
        ActionRequest::Note { text } => Action::Note { text },
    };
    let event = Event::Act { actor: session.actor(), action, as_of: None };
    app.store().apply(session.org(), id, event, app.now()).await?;
    detail(&app, &session, id).await.map(Json)
}

/// Add a person it happens to; they are sent their care page by text message.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/affected", tag = "tickets",
    params(("id" = String, Path, description = "The ticket's id")),
    request_body = AffectedRequest,
    responses(
        (status = 200, description = "The ticket afterwards", body = TicketDetail),
        (status = 400, description = "Not a person with a number", body = ErrorBody),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 403, description = "Not allowed to this user", body = ErrorBody),
        (status = 404, description = "No such ticket in the user's organisation", body = ErrorBody),
        (status = 409, description = "The ticket is closed or takes nobody more", body = ErrorBody),
    )
)]
pub(crate) async fn add_affected(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<TicketId>,
    Body(request): Body<AffectedRequest>,
) -> Result<Json<TicketDetail>, ApiError> {
    let name = request.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    if name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME) {
        return Err(ApiError::bad_request("The name is too long.", "Use at most 100 characters."));
    }
    let new = NewAffected {
        name,
        receiver: Receiver { channel: MessageChannel::Sms, address: checked_number(&request.phone)? },
        language: request.language,
        inside: request.inside,
    };
    app.store().add_affected(session.org(), id, &new, session.actor(), app.now()).await?;
    detail(&app, &session, id).await.map(Json)
}

/// A number in E.164 form: `+`, a country code and at most 15 digits in all. Spaces, dots, hyphens and brackets are
/// taken out.
fn checked_number(text: &str) -> Result<String, ApiError> {
    let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let valid = number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
    });
    if valid {
        Ok(number)
    } else {
        Err(ApiError::bad_request(
            "This is not a telephone number in international form.",
            "Write it with + and the country code, such as +8613800000000.",
        ))
    }
}

fn code(request: &ActionRequest) -> ActionCode {
    match request {
        ActionRequest::Acknowledge => ActionCode::Acknowledge,
        ActionRequest::Decline => ActionCode::Decline,
        ActionRequest::Escalate => ActionCode::Escalate,
        ActionRequest::Assign { .. } => ActionCode::Assign,
        ActionRequest::EnRoute => ActionCode::EnRoute,
        ActionRequest::Arrived => ActionCode::Arrived,
        ActionRequest::Released => ActionCode::Released,
        ActionRequest::Close { .. } => ActionCode::Close,
        ActionRequest::ConfirmCause { .. } => ActionCode::ConfirmCause,
        ActionRequest::Note { .. } => ActionCode::Note,
    }
}

/// What a role may do to a ticket at all: those on site report, the desk decides.
fn may(role: UserRole, action: ActionCode) -> bool {
    match action {
        ActionCode::Acknowledge
        | ActionCode::Decline
        | ActionCode::EnRoute
        | ActionCode::Arrived
        | ActionCode::Released
        | ActionCode::ConfirmCause
        | ActionCode::Note => match role {
            UserRole::Technician | UserRole::Dispatcher | UserRole::Admin => true,
            UserRole::Viewer => false,
        },
        ActionCode::Escalate | ActionCode::Assign | ActionCode::Close | ActionCode::AddAffected => match role {
            UserRole::Dispatcher | UserRole::Admin => true,
            UserRole::Viewer | UserRole::Technician => false,
        },
    }
}

/// What this role can do to a ticket as it stands.
fn actions(ticket: &desk::Ticket, has_catalogue: bool, role: UserRole) -> Vec<ActionCode> {
    const ALL: [(&str, ActionCode); 9] = [
        ("acknowledge", ActionCode::Acknowledge),
        ("decline", ActionCode::Decline),
        ("escalate", ActionCode::Escalate),
        ("assign", ActionCode::Assign),
        ("en_route", ActionCode::EnRoute),
        ("arrived", ActionCode::Arrived),
        ("released", ActionCode::Released),
        ("close", ActionCode::Close),
        ("note", ActionCode::Note),
    ];
    let applicable = desk::applicable(ticket);
    let open = ticket.status != Status::Closed;
    ALL.into_iter()
        .filter(|(name, _)| applicable.contains(name))
        .map(|(_, code)| code)
        .chain(open.then_some(ActionCode::AddAffected))
        // That nothing was found can be said of every closed ticket.
        .chain((has_catalogue || !open).then_some(ActionCode::ConfirmCause))
        .filter(|code| may(role, *code))
        .collect()
}

/// The words of a ticket's profile for what had failed and for the parts that were used.
struct Words {
    directory: Arc<Directory>,
    ticket: desk::Ticket,
}

impl Words {
    async fn of(app: &App, session: &Session, id: TicketId) -> Result<Self, ApiError> {
        let found = app.store().ticket(session.org(), id).await?.ok_or_else(|| ApiError::not_found("ticket"))?;
        Ok(Self { directory: app.directory(), ticket: found.ticket })
    }

    fn cause(&self, id: &CauseId) -> Result<desk::Confirmed, ApiError> {
        preparation::confirmed(&self.directory, &self.ticket, id)
    }

    fn parts(&self, parts: Option<&[String]>) -> Result<Option<Vec<Localised>>, ApiError> {
        parts.map(|parts| preparation::used(&self.directory, &self.ticket, parts)).transpose()
    }
}

async fn detail(app: &App, session: &Session, id: TicketId) -> Result<TicketDetail, ApiError> {
    let (store, org) = (app.store(), session.org());
    let found = store.ticket(org, id).await?.ok_or_else(|| ApiError::not_found("ticket"))?;
    let (timeline, alerts) = (store.timeline(org, id).await?, store.ticket_alerts(org, id).await?);
    let messages = messages(app, session, &found).await?;
    let affected_people = affected(app, session, &found).await?;
    let directory = app.directory();
    let TicketView { ticket, .. } = &found;
    let mut summary = view::ticket(&found);
    summary.milestones = view::proven(&ticket.milestones);
    let whole: HashMap<_, _> = alerts.iter().map(|alert| (alert.id, alert)).collect();
    let runbook = ticket.runbook.as_ref().and_then(|runbook| directory.profiles.get(&ticket.profile)?.runbook(runbook));
    let forecast = alerts.iter().rev().find_map(|alert| alert.evidence.forecast.as_ref());
    let lifts = super::lifts::of_ticket(app, session, &found).await?;
    let prepared = preparation::of_ticket(app, session, ticket).await?;
    let impact = impact::of_ticket(app, session, &found, &alerts, prepared.repair).await?;
    let has_catalogue = prepared.known.iter().any(|cause| !cause.id.is_nothing_found());
    let actions = actions(ticket, has_catalogue, session.user.role);
    let explains = store.explained_by(org, id, MAX_EXPLAINED).await?;
    let skipped = timeline.len().saturating_sub(MAX_LINES);
    Ok(TicketDetail {
        summary,
        alerts: ticket
            .alerts
            .iter()
            .take(MAX_ALERTS)
            .map(|alert| view::ticket_alert(&directory, alert, whole.get(&alert.id).copied()))
            .collect(),
        timeline: timeline.into_iter().skip(skipped).map(|(seq, entry)| view::timeline(seq, entry)).collect(),
        affected_people,
        responders: ticket.responders.iter().map(view::responder).collect(),
        messages,
        runbook: runbook.map(view::runbook),
        preparation: prepared.view,
        impact,
        false_alarms: prepared.false_alarms,
        cause: ticket.cause.as_ref().map(preparation::cause_ref),
        known_causes: prepared.known,
        parts_used: ticket.parts.clone(),
        known_parts: prepared.parts,
        forecast: forecast.map(view::forecast),
        lifts,
        explains: explains.iter().map(view::ticket_ref).collect(),
        actions,
    })
}

async fn affected(app: &App, session: &Session, found: &TicketView) -> Result<Vec<AffectedView>, ApiError> {
    let ticket = &found.ticket;
    // The care link opens without a login: only those who send it on may have it.
    let mut links = if ticket.affected.is_empty() || !session.may(UserRole::Dispatcher) {
        HashMap::new()
    } else {
        app.store().care_links(session.org(), ticket.id).await?
    };
    Ok(ticket
        .affected
        .iter()
        .map(|affected| AffectedView {
            id: affected.id,
            name: affected.name.clone(),
            address: view::address_for(session, &affected.receiver),
            channel: affected.receiver.channel,
            language: affected.language,
            inside: affected.inside,
            added_at: affected.added_at,
            care_url: links.remove(&affected.id),
        })
        .collect())
}

async fn messages(app: &App, session: &Session, found: &TicketView) -> Result<Vec<MessageView>, ApiError> {
    let ticket = &found.ticket;
    let mut messages = app.store().outbox_for_ticket(session.org(), ticket.id).await?;
    messages.sort_by_key(|stored| std::cmp::Reverse((stored.message.created_at, stored.message.id)));
    // People who only watch, such as a building's manager, are not on the ticket itself.
    let strangers = messages.iter().filter_map(|stored| stored.message.person);
    let people = if strangers.into_iter().any(|person| ticket.responders.iter().all(|r| r.person != person)) {
        app.store().people(session.org()).await?
    } else {
        Vec::new()
    };
    let name_of = |message: &model::OutboxMessage| {
        let responder = || {
            let person = message.person?;
            let paged = ticket.responders.iter().find(|r| r.person == person).map(|r| r.name.clone());
            paged.or_else(|| people.iter().find(|known| known.id == person).map(|known| known.name.clone()))
        };
        let affected = || {
            let affected = message.affected?;
            ticket.affected.iter().find(|a| a.id == affected)?.name.clone()
        };
        responder().or_else(affected)
    };
    Ok(messages
        .into_iter()
        .take(MAX_MESSAGES)
        .map(|stored| MessageView {
            id: stored.message.id,
            to: name_of(&stored.message),
            channel: stored.message.receiver.channel,
            address: view::address_for(session, &stored.message.receiver),
            purpose: stored.message.content.purpose,
            state: stored.state,
            attempts: stored.message.attempts,
            created_at: stored.message.created_at,
            last_error: stored.last_error,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_brought_to_one_form_or_refused() {
        assert_eq!(checked_number("+86 138-0000-0000").unwrap(), "+8613800000000");
        assert_eq!(checked_number("+44 (20) 7946.0000").unwrap(), "+442079460000");
        for bad in ["", "+", "119", "+0123456789", "+86abc0000000", "+1234567890123456", "8613800000000"] {
            assert!(checked_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn those_on_site_report_and_the_desk_decides() {
        assert!(may(UserRole::Technician, ActionCode::Released));
        assert!(!may(UserRole::Technician, ActionCode::Close));
        assert!(may(UserRole::Dispatcher, ActionCode::Close));
        assert!(!may(UserRole::Viewer, ActionCode::Note));
    }
}
