//! The part of Twilio's HTTP API that the hub uses.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::Timestamp;
use notify::{config::is_e164, sms};
use serde_json::{Value, json};

use super::{
    Call, CallState, Direction, Fault, PhoneNetwork, Sms, SmsState,
    state::{Job, Program, Start},
    twiml,
};

/// How long a request that gets no answer is held open at most.
const HANG: Duration = Duration::from_secs(120);

/// The most that a list holds.
const MAX_PAGE: usize = 1000;

type Pairs = Vec<(String, String)>;

pub(super) fn router() -> Router<PhoneNetwork> {
    Router::new()
        .route("/2010-04-01/Accounts/{account}/Messages.json", get(list_messages).post(create_message))
        .route("/2010-04-01/Accounts/{account}/Calls.json", get(list_calls).post(create_call))
}

/// A refusal in Twilio's form.
struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
}

fn refuse(code: u32, message: impl Into<String>) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, code, message: message.into() }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.code,
            "message": self.message,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code),
            "status": self.status.as_u16(),
        });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

fn get_one<'a>(form: &'a Pairs, name: &str) -> Option<&'a str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

impl PhoneNetwork {
    fn authenticate(&self, account: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let config = self.config();
        let expected = BASE64_STANDARD.encode(format!("{}:{}", config.account_sid, config.auth_token));
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        if account == config.account_sid && given == Some(expected.as_str()) {
            Ok(())
        } else {
            Err(Refusal { status: StatusCode::UNAUTHORIZED, code: 20003, message: "Authenticate".to_owned() })
        }
    }

    /// What the next request suffers; faults in which nothing is taken are answered at once.
    fn fault(&self) -> Result<Option<Fault>, Refusal> {
        let fault = self.change(|state| state.faults.pop_front());
        let refusal = |status, code, message: &str| Err(Refusal { status, code, message: message.to_owned() });
        match fault {
            Some(Fault::TooMany) => refusal(StatusCode::TOO_MANY_REQUESTS, 20429, "Too Many Requests"),
            Some(Fault::ServerError) => server_error(),
            Some(Fault::LostAnswer | Fault::Hang) | None => Ok(fault),
        }
    }

    /// The number that is called or written to, if it may be.
    fn receiver(&self, form: &Pairs, missing: u32) -> Result<String, Refusal> {
        let to = get_one(form, "To").ok_or_else(|| refuse(missing, "A 'To' phone number is required."))?;
        if !is_e164(to) {
            return Err(refuse(21211, format!("Invalid 'To' Phone Number: {to}")));
        }
        Ok(to.to_owned())
    }

    fn sender(&self, form: &Pairs, missing: u32) -> Result<String, Refusal> {
        let from = get_one(form, "From").ok_or_else(|| refuse(missing, "A 'From' phone number is required."))?;
        if from != self.config().hub_number {
            return Err(refuse(21606, format!("The 'From' phone number {from} is not a number of this account.")));
        }
        Ok(from.to_owned())
    }
}

fn server_error<T>() -> Result<T, Refusal> {
    let message = "An internal server error has occurred".to_owned();
    Err(Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, code: 20500, message })
}

fn callback(form: &Pairs, name: &str) -> Result<Option<String>, Refusal> {
    match get_one(form, name) {
        Some(url) if reqwest::Url::parse(url).is_ok_and(|url| url.has_host()) => Ok(Some(url.to_owned())),
        Some(url) => Err(refuse(21609, format!("The '{name}' URL {url} is not a valid URL."))),
        None => Ok(None),
    }
}

/// Answers a request whose effect is done, unless its answer is to be lost.
async fn answer(fault: Option<Fault>, body: Value) -> Result<Response, Refusal> {
    match fault {
        Some(Fault::LostAnswer) => server_error(),
        Some(Fault::Hang) => {
            tokio::time::sleep(HANG).await;
            server_error()
        }
        Some(Fault::TooMany | Fault::ServerError) | None => Ok((StatusCode::CREATED, Json(body)).into_response()),
    }
}

async fn create_message(
    State(network): State<PhoneNetwork>,
    Path(account): Path<String>,
    headers: HeaderMap,
    axum::Form(form): axum::Form<Pairs>,
) -> Result<Response, Refusal> {
    network.authenticate(&account, &headers)?;
    let fault = network.fault()?;
    let to = network.receiver(&form, 21604)?;
    let from = network.sender(&form, 21603)?;
    let body = get_one(&form, "Body").ok_or_else(|| refuse(21602, "Message body is required."))?;
    if body.chars().count() > 1600 {
        return Err(refuse(21617, "The concatenated message body exceeds the 1600 character limit."));
    }
    if let Some(validity) = get_one(&form, "ValidityPeriod")
        && !validity.parse::<u32>().is_ok_and(|seconds| (1..=36_000).contains(&seconds))
    {
        return Err(refuse(21621, format!("ValidityPeriod {validity} is not between 1 and 36000.")));
    }
    let callback = callback(&form, "StatusCallback")?;
    let slot = network.slot()?;
    let now = network.config().clock.now();
    let sms = network.change(|state| {
        if state.stopped.contains(&to) {
            return Err(refuse(21610, "Attempt to send to unsubscribed recipient"));
        }
        let sms = Sms {
            sid: state.sid("SM"),
            direction: Direction::ToPhone,
            from,
            to,
            body: body.to_owned(),
            state: SmsState::Queued,
            at: now,
            callback,
        };
        state.add_sms(sms.clone());
        Ok(sms)
    })?;
    slot.send(Job::Sms(sms.sid.clone()));
    answer(fault, message_json(&account, &sms)).await
}

async fn create_call(
    State(network): State<PhoneNetwork>,
    Path(account): Path<String>,
    headers: HeaderMap,
    axum::Form(form): axum::Form<Pairs>,
) -> Result<Response, Refusal> {
    network.authenticate(&account, &headers)?;
    let fault = network.fault()?;
    let to = network.receiver(&form, 21201)?;
    let from = network.sender(&form, 21213)?;
    let start = match (callback(&form, "Url")?, get_one(&form, "Twiml")) {
        (Some(url), _) => Start::Url(url),
        (None, Some(document)) if document.chars().count() <= 4000 => {
            // The real network finds out when it calls; here the hub learns at once.
            twiml::parse(document).map_err(|problem| refuse(12100, format!("Document parse failure: {problem}")))?;
            Start::Twiml(document.to_owned())
        }
        (None, Some(_)) => return Err(refuse(21218, "Twiml exceeds 4000 characters.")),
        (None, None) => return Err(refuse(21205, "A 'Url' or 'Twiml' parameter is required.")),
    };
    let mut events: Vec<String> =
        form.iter().filter(|(key, _)| key == "StatusCallbackEvent").map(|(_, value)| value.clone()).collect();
    if let Some(unknown) =
        events.iter().find(|event| !["initiated", "ringing", "answered", "completed"].contains(&event.as_str()))
    {
        return Err(refuse(21626, format!("StatusCallbackEvent {unknown} is not known.")));
    }
    if events.is_empty() {
        events.push("completed".to_owned());
    }
    let ring_s =
        get_one(&form, "Timeout").map_or(Ok(60), str::parse).map_err(|_| refuse(21212, "Timeout is not a number."))?;
    let program = Program {
        start,
        ring_s: u64::min(ring_s, 600),
        callback: callback(&form, "StatusCallback")?,
        events,
        amd_callback: callback(&form, "AsyncAmdStatusCallback")?,
        detect: get_one(&form, "MachineDetection").is_some(),
        ..Program::default()
    };
    let slot = network.slot()?;
    let now = network.config().clock.now();
    let call = network.change(|state| {
        let call = Call {
            sid: state.sid("CA"),
            from,
            to,
            state: CallState::Queued,
            at: now,
            said: Vec::new(),
            keys: String::new(),
            problem: None,
            waiting: false,
            program,
        };
        state.add_call(call.clone());
        call
    });
    slot.send(Job::Call(call.sid.clone()));
    answer(fault, call_json(&account, &call)).await
}

impl PhoneNetwork {
    /// A place in the queue, taken before anything is promised.
    fn slot(&self) -> Result<tokio::sync::mpsc::Permit<'_, Job>, Refusal> {
        self.shared.jobs.try_reserve().map_err(|_| Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: 20429,
            message: "Too Many Requests".to_owned(),
        })
    }
}

async fn list_messages(
    State(network): State<PhoneNetwork>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Query(query): Query<Pairs>,
) -> Result<Json<Value>, Refusal> {
    network.authenticate(&account, &headers)?;
    network.fault()?;
    let state = network.state();
    let (to, from) = (get_one(&query, "To"), get_one(&query, "From"));
    let fits = |sms: &&Sms| to.is_none_or(|to| sms.to == to) && from.is_none_or(|from| sms.from == from);
    let found = state.messages.iter().rev().filter(fits).take(page_size(&query));
    let messages: Vec<Value> = found.map(|sms| message_json(&account, sms)).collect();
    Ok(Json(json!({"messages": messages, "page": 0, "page_size": page_size(&query), "next_page_uri": null})))
}

async fn list_calls(
    State(network): State<PhoneNetwork>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Query(query): Query<Pairs>,
) -> Result<Json<Value>, Refusal> {
    network.authenticate(&account, &headers)?;
    network.fault()?;
    let state = network.state();
    let (to, from) = (get_one(&query, "To"), get_one(&query, "From"));
    let fits = |call: &&Call| to.is_none_or(|to| call.to == to) && from.is_none_or(|from| call.from == from);
    let found = state.calls.iter().rev().filter(fits).take(page_size(&query));
    let calls: Vec<Value> = found.map(|call| call_json(&account, call)).collect();
    Ok(Json(json!({"calls": calls, "page": 0, "page_size": page_size(&query), "next_page_uri": null})))
}

fn page_size(query: &Pairs) -> usize {
    get_one(query, "PageSize").and_then(|text| text.parse().ok()).unwrap_or(50).clamp(1, MAX_PAGE)
}

fn message_json(account: &str, sms: &Sms) -> Value {
    let direction = match sms.direction {
        Direction::ToPhone => "outbound-api",
        Direction::ToHub => "inbound",
    };
    json!({
        "sid": sms.sid,
        "account_sid": account,
        "from": sms.from,
        "to": sms.to,
        "body": sms.body,
        "status": sms.state.code(),
        "direction": direction,
        "num_segments": sms::segments(&sms.body).to_string(),
        "date_created": mail_date(sms.at),
        "date_sent": (sms.state != SmsState::Queued).then(|| mail_date(sms.at)),
        "error_code": (sms.state == SmsState::Undelivered).then_some(30003),
        "uri": format!("/2010-04-01/Accounts/{account}/Messages/{}.json", sms.sid),
    })
}

fn call_json(account: &str, call: &Call) -> Value {
    json!({
        "sid": call.sid,
        "account_sid": account,
        "from": call.from,
        "to": call.to,
        "status": call.state.code(),
        "direction": "outbound-api",
        "answered_by": call.program.answered_by,
        "date_created": mail_date(call.at),
        "uri": format!("/2010-04-01/Accounts/{account}/Calls/{}.json", call.sid),
    })
}

/// Twilio writes times as in e-mail headers.
fn mail_date(at: Timestamp) -> String {
    at.to_jiff().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}
