//! The live stream: what changes in the user's organisation, as it is committed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures::{Stream, StreamExt};
use model::{OrgId, Timestamp};
use serde::Serialize;
use serde_json::json;
use store::Change;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use super::{
    dto::{ErrorBody, TicketSummary},
    error::ApiError,
    view,
};
use crate::{
    auth::{Session, session_token},
    state::{App, Shared},
};

/// How often a silent stream says that it is alive.
pub(crate) const PING: Duration = Duration::from_secs(15);
/// How many changes are told at once before the stream asks the client to load everything again.
const MAX_AT_ONCE: usize = 256;

/// What was heard on the channel of changes.
pub(crate) enum Heard {
    /// These, each once.
    Changes(Vec<Change>),
    /// So much that some of it was missed.
    TooMuch,
    /// There will be no more.
    Nothing,
}

/// Waits for a change and takes all that came with it.
pub(crate) async fn hear(changes: &mut broadcast::Receiver<Change>) -> Heard {
    let mut heard = match changes.recv().await {
        Ok(change) => vec![change],
        Err(RecvError::Lagged(_)) => return Heard::TooMuch,
        Err(RecvError::Closed) => return Heard::Nothing,
    };
    while heard.len() < MAX_AT_ONCE {
        match changes.try_recv() {
            Ok(change) if heard.contains(&change) => {}
            Ok(change) => heard.push(change),
            Err(TryRecvError::Lagged(_)) => return Heard::TooMuch,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    Heard::Changes(heard)
}

/// Numbers the events of a stream: rising, also over reconnections.
#[derive(Debug, Default)]
pub(crate) struct Numbered(i64);

impl Numbered {
    pub fn event(&mut self, name: &str, data: &impl Serialize, now: Timestamp) -> Event {
        self.0 = now.as_millis().max(self.0 + 1);
        let text = serde_json::to_string(data).unwrap_or_else(|error| {
            tracing::error!(%error, "an event could not be written as JSON");
            "null".to_owned()
        });
        Event::default().event(name).id(self.0.to_string()).data(text)
    }
}

/// The answer that carries a stream; it ends when the hub shuts down.
pub(crate) fn respond(app: &App, events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let events = events.take_until(app.hub.shutdown.clone().cancelled_owned());
    let mut response = Sse::new(events).into_response();
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

/// What changes, as it happens.
#[utoipa::path(get, path = "/api/v1/stream", tag = "tickets", responses(
    (status = 200, description = "Server-sent events: `hello`, `ticket` (a TicketSummary), `device` {id}, `command` \
        {device, id}, `directory`, `resync` (load everything again), `ping` every 15 s",
        body = TicketSummary, content_type = "text/event-stream"),
    (status = 401, description = "Not logged in", body = ErrorBody),
    (status = 503, description = "Too many streams are open", body = ErrorBody),
))]
pub(crate) async fn stream(
    State(app): State<Shared>,
    session: Session,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| ApiError::too_many_streams())?;
    let token = session_token(&headers).ok_or_else(ApiError::not_logged_in)?.to_owned();
    let mut changes = app.store().changes();
    let shared = app.clone();
    let org = session.org();
    let events = async_stream::stream! {
        let _permit = permit;
        let app = shared;
        let mut numbered = Numbered::default();
        let mut ping = tokio::time::interval(PING);
        ping.tick().await;
        yield Ok(numbered.event("hello", &json!({ "now": app.now() }), app.now()));
        loop {
            let heard = tokio::select! {
                heard = hear(&mut changes) => heard,
                _ = ping.tick() => {
                    if !still_open(&app, &token).await {
                        break;
                    }
                    yield Ok(numbered.event("ping", &json!({ "now": app.now() }), app.now()));
                    continue;
                }
            };
            let told = match heard {
                Heard::Changes(changes) => tell(&app, org, changes).await,
                Heard::TooMuch => None,
                Heard::Nothing => break,
            };
            match told {
                Some(told) => {
                    for (name, data) in told {
                        yield Ok(numbered.event(name, &data, app.now()));
                    }
                }
                None => yield Ok(numbered.event("resync", &json!({}), app.now())),
            }
        }
    };
    Ok(respond(&app, events))
}

/// An open board is a session in use: it lasts as long as the stream, and the stream no longer than it.
async fn still_open(app: &Arc<App>, token: &str) -> bool {
    let now = app.now();
    match app.store().session(token, now).await {
        Ok(None) => false,
        Ok(Some(session)) => {
            if let Err(error) = Session::prolong(app, token, session.expires_at, now).await {
                tracing::warn!(%error, "the end of a session could not be moved");
            }
            true
        }
        // The database is away: that is no reason to throw people out.
        Err(_) => true,
    }
}

/// The events for the changes that concern an organisation; `None` if they cannot be told one by one.
async fn tell(app: &App, org: OrgId, changes: Vec<Change>) -> Option<Vec<(&'static str, serde_json::Value)>> {
    let mut told = Vec::new();
    for change in changes {
        match change {
            Change::Ticket { org: of, ticket } if of == org => match app.store().ticket(org, ticket).await {
                Ok(Some(found)) => told.push(("ticket", json!(view::ticket(&found)))),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a changed ticket could not be read for a live stream");
                    return None;
                }
            },
            Change::Device { org: of, device } if of == org => told.push(("device", json!({ "id": device }))),
            Change::Command { org: of, device, command } if of == org => {
                told.push(("command", json!({ "device": device, "id": command })));
            }
            Change::Directory => told.push(("directory", json!({}))),
            Change::Ticket { .. }
            | Change::Device { .. }
            | Change::Command { .. }
            | Change::Outbox
            | Change::Rejects => {}
        }
    }
    Some(told)
}
