//! Status and command results: rare and small, so they are read the plain way.

use model::{Body, CommandId, CommandResult, CommandState, RejectReason, Status};
use serde_json::{Map, Value};

use super::{DecodeOptions, Output, quote, time::Stamp};

/// The longest detail of a command's result that is kept, in characters.
pub(super) const MAX_DETAIL: usize = 1000;
const STATUS: &str = "write online, offline or {\"ts\":<ms>,\"online\":true}";
const RESULT: &str = "write {\"ts\":<ms>,\"state\":\"applied\"} with the state delivered, applied or failed";

pub(super) fn status(options: &DecodeOptions, out: &mut Output<'_>) {
    let bare = out.message.payload.trim_ascii();
    let received_at = out.message.received_at;
    match bare {
        b"online" | b"\"online\"" => return out.push(Body::Status(Status { time: received_at, online: true })),
        b"offline" | b"\"offline\"" => return out.push(Body::Status(Status { time: received_at, online: false })),
        _ => {}
    }
    let Some(fields) = object(out, STATUS) else { return };
    match fields.get("online") {
        Some(Value::Bool(online)) => {
            let time = out.time_or_receipt(options, stamp(&fields).as_ref(), "status");
            out.push(Body::Status(Status { time, online: *online }));
        }
        Some(other) => {
            let detail = format!("\"online\" takes true or false, not {}; {STATUS}", describe(other));
            out.reject((RejectReason::WrongType, detail));
        }
        None => out.reject((RejectReason::WrongShape, format!("\"online\" is missing; {STATUS}"))),
    }
}

pub(super) fn command_result(options: &DecodeOptions, command: CommandId, out: &mut Output<'_>) {
    let Some(fields) = object(out, RESULT) else { return };
    let state = match fields.get("state").and_then(Value::as_str) {
        Some("delivered") => CommandState::Delivered,
        Some("applied") => CommandState::Applied,
        Some("failed") => CommandState::Failed,
        Some(_) | None => {
            let found =
                fields.get("state").map_or_else(|| "is missing".to_owned(), |state| format!("is {}", describe(state)));
            return out.reject((RejectReason::WrongShape, format!("\"state\" {found}; {RESULT}")));
        }
    };
    let detail = match fields.get("detail") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.chars().take(MAX_DETAIL).collect()),
        Some(other) => {
            let sentence =
                format!("\"detail\" takes a text, not {}; put it in quotes or leave it out", describe(other));
            out.reject((RejectReason::WrongType, sentence));
            None
        }
    };
    let time = out.time_or_receipt(options, stamp(&fields).as_ref(), "result");
    out.push(Body::CommandResult(CommandResult { time, command, state, detail }));
}

fn object(out: &mut Output<'_>, remedy: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Value>(&out.message.payload) {
        Ok(Value::Object(fields)) => return Some(fields),
        Ok(other) => out.reject((RejectReason::WrongShape, format!("the payload is {}; {remedy}", describe(&other)))),
        Err(error) => out.reject((RejectReason::NotJson, format!("the payload is not JSON ({error}); {remedy}"))),
    }
    None
}

fn stamp(fields: &Map<String, Value>) -> Option<Stamp> {
    match fields.get("ts")? {
        Value::Null => None,
        Value::Number(number) => {
            Some(number.as_i64().map_or_else(|| Stamp::from_f64(number.as_f64().unwrap_or(f64::MAX)), Stamp::Number))
        }
        other => Some(Stamp::Other(describe(other))),
    }
}

pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {}", quote(&number.to_string())),
        Value::String(text) => format!("the text \"{}\"", quote(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
