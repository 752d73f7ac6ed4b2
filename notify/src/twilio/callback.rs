//! What the provider tells us: how a message or call went, an inbound SMS, a key pressed. Pure; the caller verifies
//! the signature first.
//!
//! "Delivered" is said only when something reached a human's telephone. An SMS is delivered when the carrier says so
//! (`delivered`, `read`), never when it was only sent. A call is delivered when the provider heard a human
//! (`AnsweredBy=human`); ringing, voicemail and `completed` are not. Only a key or a reply makes it answered.

use model::{DeliveryState, OutboxId};

use super::{
    code::{self, Class},
    keypad::Key,
};
use crate::reply::{self, Reply};

/// Why a callback cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// A parameter is missing.
    #[error("the callback has no {0}: only the SMS and voice provider may call this address")]
    Missing(&'static str),
    /// A status is not one that we know.
    #[error("the callback says \"{0}\", which is not a status of a message or call")]
    UnknownStatus(String),
}

/// How a message or call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// Our own id of the message, from the address that was called: it holds even if the answer that carried the
    /// provider's id was lost.
    pub message: Option<OutboxId>,
    /// The provider's id.
    pub provider_id: String,
    /// The provider's own word for it.
    pub status: String,
    /// What that means.
    pub progress: Progress,
}

/// What a report means. Reports come in any order and more than once; states only move forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The provider is at work: nothing new.
    Underway,
    /// It left the provider. That is not delivery.
    Sent,
    /// It reached a human's telephone.
    Delivered,
    /// It will not be delivered by this attempt.
    Failed(Failure),
}

/// Why an attempt failed after the provider had taken it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A sentence.
    pub reason: String,
    /// The provider's code, if it gave one.
    pub code: Option<u32>,
    /// True if another attempt may work: the telephone was off, busy, or nobody took the call.
    pub temporary: bool,
}

impl Progress {
    /// Why it failed, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(failure) => Some(&failure.reason),
            Self::Underway | Self::Sent | Self::Delivered => None,
        }
    }

    /// The state that the message reaches by it; `None` if nothing is new.
    #[must_use]
    pub fn state(&self) -> Option<DeliveryState> {
        match self {
            Self::Underway => None,
            Self::Sent => Some(DeliveryState::Sent),
            Self::Delivered => Some(DeliveryState::Delivered),
            Self::Failed(_) => Some(DeliveryState::Dead),
        }
    }
}

/// An SMS from a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundSms {
    /// The provider's id: the same SMS may be reported twice.
    pub provider_id: String,
    /// Who sent it.
    pub from: String,
    /// The number they sent it to.
    pub to: String,
    /// What they wrote.
    pub body: String,
    /// What it means.
    pub reply: Reply,
}

/// A key pressed in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPress {
    /// Our own id of the message.
    pub message: Option<OutboxId>,
    /// The provider's id of the call.
    pub provider_id: String,
    /// The number that was called.
    pub to: String,
    /// What was pressed.
    pub key: Key,
}

/// Decoded form parameters, in the order they came.
pub type Params = [(String, String)];

fn get<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

fn need(params: &Params, name: &'static str) -> Result<String, CallbackError> {
    get(params, name).map(str::to_owned).ok_or(CallbackError::Missing(name))
}

fn message_id(m: Option<&str>) -> Option<OutboxId> {
    m.and_then(|text| text.parse().ok())
}

/// Reads a status callback of a message or a call, or the result of listening for a machine. `m` is the query
/// parameter of the called address.
///
/// # Errors
/// [`CallbackError`] if it is neither.
pub fn status(m: Option<&str>, params: &Params) -> Result<StatusReport, CallbackError> {
    let call = get(params, "CallSid");
    let sid = call.or_else(|| get(params, "MessageSid")).or_else(|| get(params, "SmsSid"));
    let provider_id = sid.ok_or(CallbackError::Missing("MessageSid or CallSid"))?.to_owned();
    let error: Option<u32> = get(params, "ErrorCode").and_then(|text| text.parse().ok()).filter(|code| *code != 0);
    let answered_by = get(params, "AnsweredBy");
    let (status, progress) = if call.is_some() {
        let status = get(params, "CallStatus").or(answered_by).ok_or(CallbackError::Missing("CallStatus"))?;
        (status, call_progress(get(params, "CallStatus"), answered_by, error)?)
    } else {
        let status = get(params, "MessageStatus").or_else(|| get(params, "SmsStatus"));
        let status = status.ok_or(CallbackError::Missing("MessageStatus"))?;
        (status, sms_progress(status, error)?)
    };
    Ok(StatusReport { message: message_id(m), provider_id, status: status.to_owned(), progress })
}

pub(super) fn sms_progress(status: &str, error: Option<u32>) -> Result<Progress, CallbackError> {
    Ok(match status {
        "accepted" | "scheduled" | "queued" | "sending" => Progress::Underway,
        // Some segments arrived: no proof that the message can be read.
        "sent" | "partially_delivered" => Progress::Sent,
        "delivered" | "read" => Progress::Delivered,
        "undelivered" | "failed" => Progress::Failed(failure(error, "the carrier did not deliver the message", false)),
        "canceled" => Progress::Failed(failure(error, "the message was cancelled at the provider", false)),
        other => return Err(CallbackError::UnknownStatus(other.to_owned())),
    })
}

pub(super) fn call_progress(
    status: Option<&str>,
    answered_by: Option<&str>,
    error: Option<u32>,
) -> Result<Progress, CallbackError> {
    let human = answered_by == Some("human");
    Ok(match status {
        _ if human => Progress::Delivered,
        None | Some("queued" | "initiated" | "ringing" | "in-progress") => Progress::Underway,
        Some("completed") => {
            let machine = answered_by.is_some_and(|by| by.starts_with("machine") || by == "fax");
            let sentence =
                if machine { "a machine answered the call" } else { "the call ended and no key was pressed" };
            Progress::Failed(failure(error, sentence, false))
        }
        Some("busy") => Progress::Failed(failure(error, "the number was busy", true)),
        Some("no-answer") => Progress::Failed(failure(error, "nobody took the call", true)),
        Some("failed") => Progress::Failed(failure(error, "the call could not be placed", false)),
        Some("canceled") => Progress::Failed(failure(error, "the call was cancelled at the provider", false)),
        Some(other) => return Err(CallbackError::UnknownStatus(other.to_owned())),
    })
}

fn failure(code: Option<u32>, sentence: &str, temporary: bool) -> Failure {
    let temporary = match code.and_then(code::class) {
        Some(Class::Temporary | Class::Operator) => true,
        Some(Class::Permanent) => false,
        None => temporary,
    };
    let reason = match code {
        Some(number) => match code::sentence(number) {
            Some(why) => format!("{sentence} (error {number}): {why}"),
            None => format!("{sentence} (error {number})"),
        },
        None => sentence.to_owned(),
    };
    Failure { reason, code, temporary }
}

/// Reads an inbound SMS.
///
/// # Errors
/// [`CallbackError`] if it is none.
pub fn inbound_sms(params: &Params) -> Result<InboundSms, CallbackError> {
    let body = get(params, "Body").unwrap_or_default().to_owned();
    let reply = match get(params, "OptOutType") {
        Some("STOP") => Reply::Stop,
        Some("START") => Reply::Start,
        Some("HELP") => Reply::Help,
        Some(_) | None => reply::parse(&body),
    };
    Ok(InboundSms {
        provider_id: need(params, "MessageSid")?,
        from: need(params, "From")?,
        to: need(params, "To")?,
        body,
        reply,
    })
}

/// Reads a key pressed in a call. `m` is the query parameter of the called address.
///
/// # Errors
/// [`CallbackError`] if it is none.
pub fn key_press(m: Option<&str>, params: &Params) -> Result<KeyPress, CallbackError> {
    Ok(KeyPress {
        message: message_id(m),
        provider_id: need(params, "CallSid")?,
        to: need(params, "To")?,
        key: Key::from_digits(get(params, "Digits").unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Verb;

    fn params(text: &str) -> Vec<(String, String)> {
        text.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn state(text: &str) -> Option<DeliveryState> {
        status(None, &params(text)).unwrap().progress.state()
    }

    #[test]
    fn only_what_reached_a_human_is_delivered() {
        use DeliveryState::{Dead, Delivered, Sent};
        for (text, expected) in [
            ("MessageSid=SM1&MessageStatus=queued", None),
            ("MessageSid=SM1&MessageStatus=sent", Some(Sent)),
            ("MessageSid=SM1&MessageStatus=partially_delivered", Some(Sent)),
            ("MessageSid=SM1&MessageStatus=delivered", Some(Delivered)),
            ("SmsSid=SM1&SmsStatus=read", Some(Delivered)),
            ("MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003", Some(Dead)),
            ("MessageSid=SM1&MessageStatus=failed", Some(Dead)),
            ("CallSid=CA1&CallStatus=initiated", None),
            ("CallSid=CA1&CallStatus=ringing", None),
            ("CallSid=CA1&CallStatus=in-progress", None),
            ("CallSid=CA1&CallStatus=in-progress&AnsweredBy=human", Some(Delivered)),
            ("CallSid=CA1&AnsweredBy=human", Some(Delivered)),
            ("CallSid=CA1&AnsweredBy=machine_start", None),
            ("CallSid=CA1&CallStatus=completed", Some(Dead)),
            ("CallSid=CA1&CallStatus=completed&AnsweredBy=machine_end_beep", Some(Dead)),
            ("CallSid=CA1&CallStatus=no-answer", Some(Dead)),
        ] {
            assert_eq!(state(text), expected, "{text}");
        }
        assert!(Delivered > Dead, "a human heard late wins over a call that ended");
    }

    #[test]
    fn a_failure_says_why_and_whether_to_try_again() {
        let failed = |text: &str| match status(None, &params(text)).unwrap().progress {
            Progress::Failed(failure) => failure,
            other => panic!("{other:?}"),
        };
        let unreachable = failed("MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003");
        assert!(unreachable.temporary && unreachable.reason.contains("out of reach"), "{unreachable:?}");
        assert_eq!(unreachable.code, Some(30003));
        assert!(!failed("MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30005").temporary);
        assert!(failed("CallSid=CA1&CallStatus=busy").temporary);
        assert!(failed("CallSid=CA1&CallStatus=completed&AnsweredBy=machine_start").reason.contains("machine"));
    }

    #[test]
    fn a_report_names_our_own_message() {
        let id = "0190c2c4-0000-7000-8000-00000000abcd";
        let report = status(Some(id), &params("MessageSid=SM1&MessageStatus=sent")).unwrap();
        assert_eq!(report.message.unwrap().to_string(), id);
        assert_eq!(status(None, &params("MessageStatus=sent")), Err(CallbackError::Missing("MessageSid or CallSid")));
        assert!(status(None, &params("MessageSid=SM1&MessageStatus=teleported")).is_err());
    }

    #[test]
    fn keys_and_texts_are_understood() {
        let key =
            |digits: &str| key_press(None, &params(&format!("CallSid=CA1&To=+1555&Digits={digits}"))).unwrap().key;
        assert_eq!(key("4"), Key::Act(Verb::Acknowledge));
        assert_eq!(key("5"), Key::Act(Verb::Escalate));
        assert_eq!(key("6"), Key::Act(Verb::Decline));
        assert_eq!(key("*"), Key::Repeat);
        assert_eq!(key("9"), Key::Unknown('9'));
        assert_eq!(key(""), Key::None);
        let sms = inbound_sms(&params("MessageSid=SM1&From=+1555&To=+1666&Body=1a")).unwrap();
        assert_eq!(sms.reply, Reply::Act { code: Some(1), verb: Verb::Acknowledge });
        let stop = inbound_sms(&params("MessageSid=SM1&From=+1555&To=+1666&Body=ARRET&OptOutType=STOP")).unwrap();
        assert_eq!(stop.reply, Reply::Stop);
        assert!(inbound_sms(&params("From=+1555")).is_err());
    }
}
