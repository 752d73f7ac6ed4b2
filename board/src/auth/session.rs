//! The session of a request: who asks, for which organisation, in which role.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, request::Parts},
};
use model::{OrgId, Timestamp};
use store::{AuditActor, User, UserRole};
use subtle::ConstantTimeEq;

use super::session_token;
use crate::{api::error::ApiError, state::App};

/// The header that every request that changes something must carry.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// A user who is logged in. Only the guard of the route table makes one ([`crate::routes`]).
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub user: User,
    pub csrf: String,
}

/// Roles in order: each may do what the ones before it may.
fn rank(role: UserRole) -> u8 {
    match role {
        UserRole::Viewer => 0,
        UserRole::Technician => 1,
        UserRole::Dispatcher => 2,
        UserRole::Admin => 3,
    }
}

impl Session {
    /// The session that the request's cookie names, and whether its end was moved.
    ///
    /// # Errors
    /// 401 without a valid session, 403 without the token that guards against forged requests.
    pub async fn open(
        app: &App,
        method: &Method,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(Self, bool), ApiError> {
        let token = session_token(headers).ok_or_else(ApiError::not_logged_in)?;
        let session = app.store().session(token, now).await?.ok_or_else(ApiError::not_logged_in)?;
        if !method.is_safe() {
            let sent = headers.get(CSRF_HEADER).map(|value| value.as_bytes()).unwrap_or_default();
            if !bool::from(sent.ct_eq(session.csrf.as_bytes())) {
                return Err(ApiError::csrf());
            }
        }
        let moved = Self::prolong(app, token, session.expires_at, now).await?;
        Ok((Self { user: session.user, csrf: session.csrf }, moved))
    }

    /// Moves the end of a session in use, once that is worth a write; true if it was moved.
    pub async fn prolong(
        app: &App,
        token: &str,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, store::StoreError> {
        let lifetime = app.hub.config.session_ttl;
        let worth_it = expires_at < now + lifetime - lifetime / 20;
        Ok(worth_it && app.store().touch_session(token, lifetime, now).await?)
    }

    /// The user's organisation: every query is limited to it.
    pub fn org(&self) -> OrgId {
        self.user.org
    }

    /// Whether the user's role includes another.
    pub fn may(&self, role: UserRole) -> bool {
        rank(self.user.role) >= rank(role)
    }

    /// The user as the one who does something to a ticket.
    pub fn actor(&self) -> desk::Actor {
        desk::Actor::User { user: self.user.id, name: self.user.name.clone() }
    }

    /// The user as the one whose deed is put on record.
    pub fn auditor(&self) -> AuditActor {
        AuditActor::User { id: self.user.id, name: self.user.name.clone() }
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::not_logged_in)
    }
}
