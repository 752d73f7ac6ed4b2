//! The MQTT API of ThingsBoard, as devices and gateways speak it (its documentation: "MQTT Device API" and "MQTT
//! Gateway API"). Telemetry and client attributes both are values of channels here.

use model::{Body, CommandId, CommandResult, CommandState, RejectReason, Status, Timestamp, Value};
use serde_json::{Map, Value as Json};

use super::{
    Output, Problem,
    address::{Context, Known},
    answers::{MAX_DETAIL, describe},
    gather::{Gather, Measured},
    quote, sentence,
    time::{self, Stamp},
};
use crate::{route::Route, topic};

const VALUES: &str = "write {\"<channel>\":<value>} or {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}";
const OF_DEVICES: &str = "write {\"<device>\":[{\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}]}";
const DEVICE: &str = "write {\"device\":\"<device>\"}";
const ANSWER: &str = "write {\"device\":\"<device>\",\"id\":\"<id of the request>\",\"data\":{…}}";

/// A message of a device on `v1/devices/me/…`; `rest` is what follows.
pub(super) fn device(context: &Context<'_>, known: &Known<'_>, rest: &str, out: &mut Output<'_>) {
    let via = out.message.sender.clone();
    context.routes.learn(&known.device, Some(Route::ThingsBoardDevice { via }));
    match rest {
        "telemetry" | "attributes" => {
            if let Some(json) = json(VALUES, out) {
                values(context, known, &json, out);
            }
        }
        _ => match rest.strip_prefix("rpc/response/") {
            Some(id) => {
                let command = id.parse::<CommandId>().map_err(|error| sentence(&topic::shorten(error)));
                match (command, json(RESPONSE, out)) {
                    (Ok(command), Some(answer)) => result(command, &answer, out),
                    (Err(detail), Some(_)) => out.reject((RejectReason::BadTopic, detail)),
                    (Ok(_) | Err(_), None) => {}
                }
            }
            None => out.reject(unanswered("v1/devices/me", rest)),
        },
    }
}

const RESPONSE: &str = "answer with JSON, such as {\"result\":\"done\"}";

/// A message of a gateway on `v1/gateway/…`; `rest` is what follows.
pub(super) fn gateway(context: &Context<'_>, rest: &str, out: &mut Output<'_>) {
    match rest {
        "telemetry" | "attributes" => {
            let Some(json) = json(OF_DEVICES, out) else { return };
            let Json::Object(devices) = json else {
                return out
                    .reject((RejectReason::WrongShape, format!("the payload is {}; {OF_DEVICES}", describe(&json))));
            };
            for (name, json) in &devices {
                if let Some(known) = of(context, name, out) {
                    values(context, &known, json, out);
                }
            }
            out.device = context.sender(out.message);
        }
        "connect" | "disconnect" => {
            let Some((name, _)) = object(DEVICE, out) else { return };
            if of(context, &name, out).is_some() {
                let time = out.message.received_at;
                out.push(Body::Status(Status { time, online: rest == "connect" }));
            }
        }
        "rpc" => {
            let Some((name, fields)) = object(ANSWER, out) else { return };
            // At an external broker the hub hears its own requests: they go out on the topic of the answers.
            let request = fields.get("data").and_then(|data| data.get("method")).is_some_and(Json::is_string);
            if request && out.message.sender.is_none() {
                return;
            }
            if of(context, &name, out).is_none() {
                return;
            }
            let id = fields.get("id").and_then(Json::as_str).map(str::parse::<CommandId>);
            match id {
                Some(Ok(command)) => result(command, fields.get("data").unwrap_or(&Json::Null), out),
                Some(Err(error)) => out.reject((RejectReason::WrongShape, sentence(&topic::shorten(error)))),
                None => {
                    let detail = format!("\"id\" is missing or no text: answer with the id of the request; {ANSWER}");
                    out.reject((RejectReason::WrongShape, detail));
                }
            }
        }
        other => out.reject(unanswered("v1/gateway", other)),
    }
}

fn unanswered(api: &str, rest: &str) -> Problem {
    let detail = format!(
        "the hub does not answer on \"{api}/{}\": it keeps no shared attributes, takes no requests from devices and \
         sends no firmware; publish telemetry, attributes and answers to commands",
        quote(rest)
    );
    (RejectReason::BadTopic, detail)
}

/// The device of this name, from now on the one that what is pushed belongs to.
fn of<'a>(context: &Context<'a>, name: &str, out: &mut Output<'_>) -> Option<Known<'a>> {
    match context.device(name, out.message) {
        Ok(known) => {
            let via = out.message.sender.clone();
            context.routes.learn(&known.device, Some(Route::ThingsBoardGateway { via }));
            out.device = Some(known.device.clone());
            Some(known)
        }
        Err(wrong) => {
            out.device = wrong.device;
            out.reject(wrong.problem);
            None
        }
    }
}

fn json(remedy: &str, out: &mut Output<'_>) -> Option<Json> {
    match serde_json::from_slice(&out.message.payload) {
        Ok(json) => Some(json),
        Err(error) => {
            out.reject((RejectReason::NotJson, format!("the payload is not JSON ({error}); {remedy}")));
            None
        }
    }
}

/// An object that names a device.
fn object(remedy: &str, out: &mut Output<'_>) -> Option<(String, Map<String, Json>)> {
    let Json::Object(fields) = json(remedy, out)? else {
        out.reject((RejectReason::WrongShape, format!("the payload is no object; {remedy}")));
        return None;
    };
    match fields.get("device") {
        Some(Json::String(name)) => Some((name.clone(), fields)),
        Some(_) | None => {
            out.reject((RejectReason::WrongShape, format!("\"device\" is missing or no text; {remedy}")));
            None
        }
    }
}

/// Values of channels: one object or an array of them, with or without a time.
fn values(context: &Context<'_>, known: &Known<'_>, json: &Json, out: &mut Output<'_>) {
    let mut gather = Gather::new(known);
    match json {
        Json::Array(list) if list.is_empty() => {
            out.reject((RejectReason::WrongShape, format!("the array is empty; {VALUES}")));
        }
        Json::Array(list) => list.iter().for_each(|json| row(context, json, &mut gather, out)),
        json => row(context, json, &mut gather, out),
    }
    gather.finish(out);
}

fn row(context: &Context<'_>, json: &Json, gather: &mut Gather<'_>, out: &mut Output<'_>) {
    let received_at = out.message.received_at;
    let Json::Object(fields) = json else {
        return out.reject((RejectReason::WrongShape, format!("the values are {}; {VALUES}", describe(json))));
    };
    // A time comes only with "values": without it, every name is a channel.
    let (stamp, values) = match fields.get("values") {
        Some(Json::Object(values)) if fields.contains_key("ts") => (stamp(fields), values),
        Some(other) if fields.contains_key("ts") => {
            let detail = format!("\"values\" is {} and should be an object; {VALUES}", describe(other));
            return out.reject((RejectReason::WrongShape, detail));
        }
        Some(_) | None => (None, fields),
    };
    if values.is_empty() {
        return out.reject((RejectReason::WrongShape, format!("there is no value; {VALUES}")));
    }
    let at = || -> Result<Timestamp, Problem> { time::resolve(context.options, stamp.as_ref(), received_at) };
    for (name, json) in values {
        let value = match json {
            Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::MAX)),
            Json::Bool(flag) => Value::Bool(*flag),
            Json::String(text) => Value::Text(text.as_str().into()),
            Json::Null | Json::Array(_) | Json::Object(_) => {
                let detail = format!("\"{}\" is {}; send a number, true, false or a text", quote(name), describe(json));
                out.reject((RejectReason::WrongType, detail));
                continue;
            }
        };
        gather.put(at(), Measured { name, value, unit: None }, out);
    }
}

fn stamp(fields: &Map<String, Json>) -> Option<Stamp> {
    match fields.get("ts")? {
        Json::Null => None,
        Json::Number(number) => {
            Some(number.as_i64().map_or_else(|| Stamp::from_f64(number.as_f64().unwrap_or(f64::MAX)), Stamp::Number))
        }
        other => Some(Stamp::Other(describe(other))),
    }
}

/// The answer to a command. ThingsBoard gives its answers no form: here one with an `error`, or a `success` that is
/// false, says that the command failed, and any other that it was carried out.
fn result(command: CommandId, answer: &Json, out: &mut Output<'_>) {
    let error = answer.get("error").filter(|error| !error.is_null() && **error != Json::Bool(false));
    let refused = answer.get("success") == Some(&Json::Bool(false));
    let state = if error.is_some() || refused { CommandState::Failed } else { CommandState::Applied };
    let words = error.or_else(|| answer.get("result")).unwrap_or(answer);
    let detail = match words {
        Json::Null => None,
        Json::String(text) => Some(text.chars().take(MAX_DETAIL).collect()),
        other => Some(other.to_string().chars().take(MAX_DETAIL).collect()),
    };
    let time = out.message.received_at;
    out.push(Body::CommandResult(CommandResult { time, command, state, detail }));
}
