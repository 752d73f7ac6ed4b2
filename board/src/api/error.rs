//! Every answer that is not a success.

use std::{borrow::Cow, error::Error, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use desk::TransitionError;
use store::{ApplyError, SilenceError, StoreError};

use super::dto::{ErrorBody, ErrorDetail};

/// An answer that is not a success: a stable code, a sentence, and what to do.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    remedy: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl ApiError {
    fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, message: message.into(), remedy: remedy.into(), retry_after: None }
    }

    pub fn bad_request(message: impl Into<Cow<'static, str>>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, remedy)
    }

    pub fn not_logged_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_logged_in", "You are not logged in.", "Log in and try again.")
    }

    pub fn bad_credentials() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "bad_credentials",
            "The user name or the password is wrong.",
            "Check both and try again, or ask an administrator for a login link.",
        )
    }

    pub fn csrf() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "The request does not prove that it comes from the board.",
            "Send the token from GET /api/v1/me as the header x-csrf-token.",
        )
    }

    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Your role does not allow this.",
            "Ask an administrator of your organisation.",
        )
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no such {what} in your organisation."),
            "Check the address; it may have been removed.",
        )
    }

    pub fn no_such_page() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing at this address.",
            "See /api/v1/openapi.json for what there is.",
        )
    }

    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This address does not take this kind of request.",
            "See /api/v1/openapi.json for what it takes.",
        )
    }

    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large.", "Send at most 64 KiB.")
    }

    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The request's body is not marked as JSON.",
            "Send it with the header content-type: application/json.",
        )
    }

    pub fn too_many_attempts(wait: Duration) -> Self {
        let error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_attempts",
            "There were too many failed logins.",
            format!("Wait {} minutes, or ask an administrator for a login link.", wait.as_secs().div_ceil(60).max(1)),
        );
        Self { retry_after: Some(wait), ..error }
    }

    pub fn too_many_streams() -> Self {
        let error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_streams",
            "Too many live connections are open.",
            "Close other tabs of the board; the page goes on without live updates meanwhile.",
        );
        Self { retry_after: Some(Duration::from_secs(30)), ..error }
    }

    pub fn timeout() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "The answer took too long.",
            "Try again; if it goes on, ask for less at a time.",
        )
    }

    /// Something that should not happen. The chain of causes is logged here, once.
    pub fn internal(error: impl Error) -> Self {
        tracing::error!(error = %Chain(&error), "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong in the hub.",
            "Try again; if it goes on, look at the hub's log.",
        )
    }
}

/// An error and its causes in one line.
struct Chain<'a>(&'a dyn Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if !error.is_unavailable() {
            return Self::internal(error);
        }
        tracing::warn!(error = %Chain(&error), "the store is away");
        let answer = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The database cannot be reached at the moment.",
            "Nothing that devices send is lost; try again in a few seconds.",
        );
        Self { retry_after: Some(Duration::from_secs(5)), ..answer }
    }
}

impl From<TransitionError> for ApiError {
    /// The desk's sentences say what is wrong, then what to do.
    fn from(error: TransitionError) -> Self {
        let (status, code) = match error {
            TransitionError::NoteTooLong { .. }
            | TransitionError::NoteEmpty
            | TransitionError::OpenAlerts { .. }
            | TransitionError::PartTooLong { .. }
            | TransitionError::TooManyParts { .. }
            | TransitionError::PartsForNothing => (StatusCode::BAD_REQUEST, "bad_request"),
            TransitionError::UnknownPerson => (StatusCode::NOT_FOUND, "not_found"),
            TransitionError::NotAllowed => (StatusCode::FORBIDDEN, "forbidden"),
            TransitionError::Closed { .. }
            | TransitionError::NotReleased { .. }
            | TransitionError::NothingFoundYet { .. }
            | TransitionError::NotEntrapment { .. }
            | TransitionError::NotCalled { .. }
            | TransitionError::NoLevels { .. }
            | TransitionError::NothingToCallFor { .. }
            | TransitionError::TooManyAffected { .. } => (StatusCode::CONFLICT, "conflict"),
        };
        let text = error.to_string();
        let (message, remedy) = text.split_once("; ").unwrap_or((&text, "load the ticket again and see how it stands"));
        Self::new(status, code, sentence(message), sentence(remedy))
    }
}

/// A capital at the beginning, a full stop at the end.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

impl From<desk::NoiseError> for ApiError {
    /// The sentence says what to do after its first part.
    fn from(error: desk::NoiseError) -> Self {
        let text = error.to_string();
        let (message, remedy) = text.split_once("; ").unwrap_or((&text, "see /api/v1/openapi.json"));
        Self::bad_request(sentence(message), sentence(remedy))
    }
}

impl From<SilenceError> for ApiError {
    fn from(error: SilenceError) -> Self {
        match error {
            SilenceError::Refused(refused) => refused.into(),
            SilenceError::Store(error) => error.into(),
        }
    }
}

impl From<ApplyError> for ApiError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::NotFound(_) => Self::not_found("ticket"),
            ApplyError::Transition(error) => error.into(),
            ApplyError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: ErrorDetail {
                code: self.code.to_owned(),
                message: self.message.into_owned(),
                remedy: self.remedy.into_owned(),
            },
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}
