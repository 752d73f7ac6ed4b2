//! What the SMS and voice provider calls: delivery reports, replies and keypad digits. Every request must carry the
//! provider's signature; everything that changes a ticket goes through the store's one path.

mod answers;

use std::{sync::Arc, time::Duration};

use axum::{
    Form, Router,
    extract::{OriginalUri, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use desk::{Action, Actor, Event};
use model::{
    Clock, DeliveryState, Device, Language, MessageChannel, OrgId, OutboxId, OutboxMessage, Person, Receiver, TicketId,
    TicketKind, Timestamp,
};
use notify::{
    Notifier, Reply, Verb,
    twilio::{
        callback::{self, InboundSms, KeyPress},
        keypad::Key,
        twiml,
    },
};
use serde::Deserialize;
use store::{ApplyError, NewAffected, ReplyCode, ReplyTo, Store, StoreError, StoredMessage, TicketFilter, TicketState};
use tracing::{error, info, warn};

use crate::emergency::{Answered, Line};

/// How long the database may take. The provider gives up after 15 s, and whoever wrote would hear nothing.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the handlers need.
#[derive(Clone)]
pub struct Callbacks {
    /// The database.
    pub store: Store,
    /// Knows the provider's tokens.
    pub notifier: Arc<Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Takes answers while the database is away.
    pub emergency: Line,
}

/// The routes under `/callbacks/twilio/`.
pub fn router(callbacks: Callbacks) -> Router {
    Router::new()
        .route("/callbacks/twilio/status", post(status))
        .route("/callbacks/twilio/sms", post(sms))
        .route("/callbacks/twilio/voice", post(voice))
        .with_state(callbacks)
}

/// The query of our own callback addresses.
#[derive(Deserialize)]
struct About {
    m: Option<String>,
}

type Params = Vec<(String, String)>;

impl Callbacks {
    /// Refuses what the provider did not sign.
    #[expect(clippy::result_large_err, reason = "the error is the answer")]
    fn verify(&self, uri: &OriginalUri, headers: &HeaderMap, params: &Params) -> Result<(), Response> {
        let Some(twilio) = self.notifier.twilio() else {
            return Err((StatusCode::NOT_FOUND, "no SMS provider is configured\n").into_response());
        };
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let signature = headers.get("x-twilio-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if twilio.verify(path, params, signature) {
            return Ok(());
        }
        metrics::counter!("liftline_callbacks_refused_total").increment(1);
        warn!("a provider callback was refused: its signature does not fit board.public_url and the provider's token");
        Err((StatusCode::FORBIDDEN, "the signature does not fit\n").into_response())
    }
}

fn xml(document: String) -> Response {
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], document).into_response()
}

/// The provider tries again later: nothing was taken.
fn unavailable(failure: &StoreError) -> Response {
    error!("a provider callback could not be taken: {failure}");
    (StatusCode::SERVICE_UNAVAILABLE, "try again\n").into_response()
}

/// Gives up on a database that takes too long for an answer to somebody who waits for it.
async fn in_time<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silent = |_| Err(StoreError::silent("taking a provider's callback"));
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(silent)
}

async fn status(
    State(callbacks): State<Callbacks>,
    uri: OriginalUri,
    Query(about): Query<About>,
    headers: HeaderMap,
    Form(params): Form<Params>,
) -> Response {
    if let Err(refusal) = callbacks.verify(&uri, &headers, &params) {
        return refusal;
    }
    let report = match callback::status(about.m.as_deref(), &params) {
        Ok(report) => report,
        Err(failure) => return (StatusCode::BAD_REQUEST, format!("{failure}\n")).into_response(),
    };
    let Some(state) = report.progress.state() else { return StatusCode::NO_CONTENT.into_response() };
    let reason = report.progress.reason();
    let noting = callbacks.store.delivery_report(&report.provider_id, state, reason, callbacks.clock.now());
    match in_time(noting).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(failure) => unavailable(&failure),
    }
}

async fn voice(
    State(callbacks): State<Callbacks>,
    uri: OriginalUri,
    Query(about): Query<About>,
    headers: HeaderMap,
    Form(params): Form<Params>,
) -> Response {
    if let Err(refusal) = callbacks.verify(&uri, &headers, &params) {
        return refusal;
    }
    let press = match callback::key_press(about.m.as_deref(), &params) {
        Ok(press) => press,
        Err(failure) => return (StatusCode::BAD_REQUEST, format!("{failure}\n")).into_response(),
    };
    let Some(id) = press.message else { return xml(twiml::nothing()) };
    let verb = match press.key {
        Key::Act(verb) => Some(verb),
        Key::Repeat | Key::Unknown(_) | Key::None => None,
    };
    let without_database = || {
        let (message, done) = callbacks.emergency.key(id, verb.map(action).as_ref())?;
        Some(xml(callbacks.notifier.after_key(&message, press.key, done)))
    };
    if let Some(answer) = without_database() {
        return answer;
    }
    match in_time(pressed(&callbacks, &press, id)).await {
        Ok(Some((message, done))) => xml(callbacks.notifier.after_key(&message, press.key, done)),
        Ok(None) => xml(twiml::nothing()),
        Err(failure) if failure.is_unavailable() => {
            callbacks.emergency.adopt();
            without_database().unwrap_or_else(|| unavailable(&failure))
        }
        Err(failure) => unavailable(&failure),
    }
}

/// Does what a key asks: the message of the call, and whether its ticket took it. `None` if nothing is known of the call.
async fn pressed(
    callbacks: &Callbacks,
    press: &KeyPress,
    id: OutboxId,
) -> Result<Option<(OutboxMessage, bool)>, StoreError> {
    let Some(StoredMessage { message, .. }) = stored_message(&callbacks.store, id, &press.provider_id).await? else {
        return Ok(None);
    };
    let now = callbacks.clock.now();
    let done = match (press.key, message.ticket, message.person) {
        (Key::Act(verb), Some(ticket), Some(person)) => {
            let known = callbacks.store.person(message.org, person).await?;
            let name = known.map(|known| known.name).unwrap_or_default();
            let actor = Actor::Person { person, name, channel: MessageChannel::Voice };
            let event = Event::Act { actor, action: action(verb), as_of: Some(message.created_at) };
            match callbacks.store.apply(message.org, ticket, event, now).await {
                Ok(_) => true,
                Err(ApplyError::Store(failure)) => return Err(failure),
                Err(ApplyError::NotFound(_) | ApplyError::Transition(_)) => false,
            }
        }
        (Key::Repeat | Key::Unknown(_) | Key::None, _, _) | (Key::Act(_), _, _) => false,
    };
    if matches!(press.key, Key::Act(_)) {
        callbacks.store.delivery_report(&press.provider_id, DeliveryState::Answered, None, now).await?;
    }
    Ok(Some((message, done)))
}

/// The message of a call. One that was made while the database was away has another id there.
async fn stored_message(store: &Store, id: OutboxId, provider_id: &str) -> Result<Option<StoredMessage>, StoreError> {
    match store.message(id).await? {
        Some(stored) => Ok(Some(stored)),
        None => store.message_by_provider_id(provider_id).await,
    }
}

async fn sms(
    State(callbacks): State<Callbacks>,
    uri: OriginalUri,
    headers: HeaderMap,
    Form(params): Form<Params>,
) -> Response {
    if let Err(refusal) = callbacks.verify(&uri, &headers, &params) {
        return refusal;
    }
    let sms = match callback::inbound_sms(&params) {
        Ok(sms) => sms,
        Err(failure) => return (StatusCode::BAD_REQUEST, format!("{failure}\n")).into_response(),
    };
    if let Some(answer) = without_database(&callbacks.emergency, &sms) {
        return xml(twiml::message(&answer));
    }
    let now = callbacks.clock.now();
    match in_time(understand(&callbacks, &sms, now)).await {
        Ok(Some(answer)) => xml(twiml::message(&answer)),
        Ok(None) => xml(twiml::nothing()),
        Err(failure) if failure.is_unavailable() => {
            callbacks.emergency.adopt();
            match (without_database(&callbacks.emergency, &sms), &sms.reply) {
                (Some(answer), _) => xml(twiml::message(&answer)),
                (None, Reply::Act { .. }) => {
                    error!("an answer by SMS could not be recorded: {failure}");
                    xml(twiml::message(&answers::not_recorded(language_of(&sms.body))))
                }
                (None, _) => unavailable(&failure),
            }
        }
        Err(failure) => unavailable(&failure),
    }
}

/// The answer to an SMS about a case that is handled while the database is away; `None` if it is about none.
fn without_database(emergency: &Line, sms: &InboundSms) -> Option<String> {
    match &sms.reply {
        Reply::Act { code, verb } => {
            let action = action(*verb);
            let Answered { language, number, refused } = emergency.reply(&sms.from, *code, &action)?;
            Some(match &refused {
                None => answers::done(language, number, &action),
                Some(refusal) => answers::refused(language, number, refusal),
            })
        }
        Reply::Plate(_) => {
            let case = notify::reply::plates(&sms.body).iter().find_map(|plate| emergency.case_by_plate(plate))?;
            Some(answers::being_handled(language_of(&sms.body), &case))
        }
        Reply::Text(_) | Reply::Help | Reply::Stop | Reply::Start => None,
    }
}

/// The language that somebody writes in.
fn language_of(text: &str) -> Language {
    if text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)) { Language::Zh } else { Language::En }
}

/// Does what an SMS asks; returns the answer, if one is due. Unknown numbers get silence, unless they name a lift.
async fn understand(callbacks: &Callbacks, sms: &InboundSms, now: Timestamp) -> Result<Option<String>, StoreError> {
    let person = callbacks.store.person_by_address(MessageChannel::Sms, &sms.from).await?;
    match (&sms.reply, person) {
        (Reply::Act { code, verb }, Some(person)) => {
            let code = code.map_or(ReplyCode::Latest, ReplyCode::Code);
            act(callbacks, &person, &sms.from, code, action(*verb), now).await
        }
        (Reply::Text(text), Some(person)) => {
            let note = Action::Note { text: text.clone() };
            act(callbacks, &person, &sms.from, ReplyCode::Latest, note, now).await.map(|_| None)
        }
        (Reply::Help, Some(person)) => Ok(Some(answers::help(person.language))),
        (Reply::Plate(_), _) => at_a_lift(callbacks, sms, now).await,
        (Reply::Stop | Reply::Start, _) => {
            info!("a number asked the provider to stop or start messages");
            Ok(None)
        }
        (Reply::Act { .. } | Reply::Text(_) | Reply::Help, None) => Ok(None),
    }
}

async fn act(
    callbacks: &Callbacks,
    person: &Person,
    from: &str,
    code: ReplyCode,
    action: Action,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let Some(ReplyTo { org, ticket, number, person: paged }) = callbacks.store.ticket_by_reply_code(from, code).await?
    else {
        return Ok(Some(answers::no_such_ticket(person.language)));
    };
    // People may share a telephone: the one who was called answers.
    let paged = match paged {
        Some(paged) if paged != person.id => callbacks.store.person(org, paged).await?,
        Some(_) | None => None,
    };
    let person = paged.as_ref().unwrap_or(person);
    let actor = Actor::Person { person: person.id, name: person.name.clone(), channel: MessageChannel::Sms };
    match callbacks.store.apply(org, ticket, Event::Act { actor, action: action.clone(), as_of: None }, now).await {
        Ok(_) => Ok(Some(answers::done(person.language, Some(number), &action))),
        Err(ApplyError::Transition(refusal)) => Ok(Some(answers::refused(person.language, Some(number), &refusal))),
        Err(ApplyError::NotFound(_)) => Ok(Some(answers::no_such_ticket(person.language))),
        Err(ApplyError::Store(failure)) => Err(failure),
    }
}

/// Somebody in or at a lift sent its plate's number: they join the open ticket and get its care page.
async fn at_a_lift(callbacks: &Callbacks, sms: &InboundSms, now: Timestamp) -> Result<Option<String>, StoreError> {
    let language = language_of(&sms.body);
    let mut device: Option<Device> = None;
    for plate in notify::reply::plates(&sms.body) {
        device = callbacks.store.device_by_plate(&plate).await?;
        if device.is_some() {
            break;
        }
    }
    let Some(device) = device else { return Ok(None) };
    let Some((ticket, kind)) = open_ticket(&callbacks.store, device.org, &device).await? else {
        return Ok(Some(answers::nothing_known(language, &device.name)));
    };
    if let Some(link) = care_link(&callbacks.store, device.org, ticket, &sms.from).await? {
        return Ok(Some(answers::care_link(language, &link)));
    }
    let new = NewAffected {
        name: None,
        receiver: Receiver { channel: MessageChannel::Sms, address: sms.from.clone() },
        language,
        inside: kind == TicketKind::Entrapment,
    };
    match callbacks.store.add_affected(device.org, ticket, &new, Actor::Hub, now).await {
        Ok(_) => Ok(None), // The care page's address is owed to them by now.
        Err(ApplyError::Store(failure)) => Err(failure),
        Err(ApplyError::NotFound(_) | ApplyError::Transition(_)) => {
            Ok(Some(answers::nothing_known(language, &device.name)))
        }
    }
}

/// The care page of a number that has joined the ticket already.
async fn care_link(store: &Store, org: OrgId, ticket: TicketId, number: &str) -> Result<Option<String>, StoreError> {
    let Some(view) = store.ticket(org, ticket).await? else { return Ok(None) };
    let Some(affected) = view.ticket.affected.iter().find(|affected| affected.receiver.address == number) else {
        return Ok(None);
    };
    Ok(store.care_links(org, ticket).await?.remove(&affected.id))
}

/// The open ticket that a person at this lift most likely means: an entrapment before anything else.
async fn open_ticket(store: &Store, org: OrgId, device: &Device) -> Result<Option<(TicketId, TicketKind)>, StoreError> {
    let filter = TicketFilter {
        state: TicketState::Open,
        device: Some(device.id.clone()),
        limit: 20,
        ..TicketFilter::default()
    };
    let tickets = store.tickets(org, &filter).await?.tickets;
    let kinds = [TicketKind::Entrapment, TicketKind::Breakdown, TicketKind::Outage];
    Ok(kinds
        .into_iter()
        .find_map(|kind| tickets.iter().find(|view| view.ticket.kind == kind).map(|view| (view.ticket.id, kind))))
}

fn action(verb: Verb) -> Action {
    match verb {
        Verb::Acknowledge => Action::Acknowledge,
        Verb::Decline => Action::Decline,
        Verb::Escalate => Action::Escalate,
        Verb::EnRoute => Action::EnRoute,
        Verb::Arrived => Action::Arrived,
        Verb::Released => Action::Released,
        Verb::Close => Action::Close { note: None, cause: None, parts: None },
    }
}
