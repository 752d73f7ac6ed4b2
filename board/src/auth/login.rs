//! Logging in and out.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use maud::{DOCTYPE, html};
use model::Language;
use store::{NewSession, User};

use super::{Peer, Session, cleared_cookie, password, session_cookie, session_token};
use crate::{
    api::{
        dto::{ErrorBody, LoginRequest, LoginResponse, Me, OrgView, SessionView, UserView},
        error::ApiError,
        extract::Body,
    },
    state::{App, Shared},
};

/// The longest user name looked at, in bytes.
const MAX_USERNAME: usize = 200;

fn view(user: &User) -> UserView {
    UserView {
        id: user.id,
        name: user.name.clone(),
        username: user.username.clone(),
        role: user.role,
        language: user.language,
    }
}

/// Log in with a name and a password.
#[utoipa::path(post, path = "/api/v1/login", tag = "session", request_body = LoginRequest, responses(
    (status = 200, description = "Logged in; sets the session cookie", body = LoginResponse),
    (status = 400, description = "Not a name and a password", body = ErrorBody),
    (status = 401, description = "Wrong name or password", body = ErrorBody),
    (status = 429, description = "Too many wrong passwords", body = ErrorBody),
))]
pub(crate) async fn log_in(
    State(app): State<Shared>,
    peer: Peer,
    Body(request): Body<LoginRequest>,
) -> Result<Response, ApiError> {
    let now = app.now();
    let username = request.username.trim().to_owned();
    if username.is_empty() || username.len() > MAX_USERNAME {
        return Err(ApiError::bad_credentials());
    }
    app.throttle.attempt(&username, peer, now).map_err(|wait| {
        metrics::counter!("liftline_logins_total", "outcome" => "throttled").increment(1);
        ApiError::too_many_attempts(wait)
    })?;
    let found = app.store().user_for_login(&username).await?;
    let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), hash));
    let right = check_password(&app, request.password, hash).await?;
    let Some(user) = user.filter(|_| right) else {
        metrics::counter!("liftline_logins_total", "outcome" => "refused").increment(1);
        return Err(ApiError::bad_credentials());
    };
    app.throttle.succeeded(&username, peer);
    let session = app.store().create_session(user.id, app.hub.config.session_ttl, now).await?;
    metrics::counter!("liftline_logins_total", "outcome" => "accepted").increment(1);
    Ok((with_cookie(&app, &session), Json(LoginResponse { user: view(&user) })).into_response())
}

fn with_cookie(app: &App, session: &NewSession) -> AppendHeaders<[(header::HeaderName, String); 1]> {
    AppendHeaders([(header::SET_COOKIE, session_cookie(&app.hub.config, &session.token))])
}

async fn check_password(app: &App, password: String, hash: Option<String>) -> Result<bool, ApiError> {
    let permit = app.hashing.clone().acquire_owned().await.map_err(ApiError::internal)?;
    tokio::task::spawn_blocking(move || {
        let right = password::verify(&password, hash.as_deref());
        drop(permit);
        right
    })
    .await
    .map_err(ApiError::internal)
}

/// Log in with a link that works once.
#[utoipa::path(get, path = "/login/{token}", tag = "session",
    params(("token" = String, Path, description = "The link's secret")),
    responses(
        (status = 303, description = "Logged in; sets the session cookie and leads to the board"),
        (status = 404, description = "Unknown, used or expired link", content_type = "text/html"),
    )
)]
pub(crate) async fn enter(
    State(app): State<Shared>,
    method: Method,
    headers: HeaderMap,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    if method != Method::GET {
        // A link scanner that only looks must not use up the link.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let session = app.store().redeem_login_link(&token, app.hub.config.session_ttl, app.now()).await?;
    let Some(session) = session else {
        metrics::counter!("liftline_logins_total", "outcome" => "dead_link").increment(1);
        return Ok(dead_link(&headers));
    };
    metrics::counter!("liftline_logins_total", "outcome" => "link").increment(1);
    Ok((StatusCode::SEE_OTHER, with_cookie(&app, &session), [(header::LOCATION, "/")]).into_response())
}

fn dead_link(headers: &HeaderMap) -> Response {
    let language = headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .map(Language::from_accept_language)
        .unwrap_or_default();
    let (title, text, back) = match language {
        Language::En => (
            "This link no longer works",
            "A login link works once and only for a short time. Ask for a new one, or log in with your password.",
            "To the login page",
        ),
        Language::Zh => {
            ("此链接已失效", "登录链接只能使用一次，且有效时间很短。请索取新的链接，或使用密码登录。", "前往登录页")
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head { meta charset="utf-8"; meta name="viewport" content="width=device-width"; title { (title) } }
            body { h1 { (title) } p { (text) } p { a href="/" { (back) } } }
        }
    };
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response()
}

/// Log out.
#[utoipa::path(post, path = "/api/v1/logout", tag = "session", responses(
    (status = 204, description = "The session has ended"),
    (status = 401, description = "Not logged in", body = ErrorBody),
))]
pub(crate) async fn log_out(State(app): State<Shared>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(token) = session_token(&headers) {
        app.store().end_session(token).await?;
    }
    let cookie = cleared_cookie(&app.hub.config);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/me", tag = "session", responses(
    (status = 200, description = "The user, their organisation and the CSRF token", body = Me),
    (status = 401, description = "Not logged in", body = ErrorBody),
))]
pub(crate) async fn me(State(app): State<Shared>, session: Session) -> Result<Json<Me>, ApiError> {
    describe(&app, &session.user, session.csrf.clone()).await?.map(Json).ok_or_else(ApiError::not_logged_in)
}

/// Who is logged in, if anybody: for a page that has to find out, and for which "nobody" is no error.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses(
    (status = 200, description = "The same as `/api/v1/me`, or null", body = SessionView),
))]
pub(crate) async fn who(State(app): State<Shared>, headers: HeaderMap) -> Result<Json<SessionView>, ApiError> {
    let session = match session_token(&headers) {
        Some(token) => app.store().session(token, app.now()).await?,
        None => None,
    };
    let me = match session {
        Some(session) => describe(&app, &session.user, session.csrf).await?,
        None => None,
    };
    Ok(Json(SessionView { me }))
}

/// Null if the user's organisation is gone.
async fn describe(app: &App, user: &User, csrf: String) -> Result<Option<Me>, ApiError> {
    let org = app.store().org(user.org).await?;
    Ok(org.map(|org| Me { user: view(user), org: OrgView { id: org.id, name: org.name }, csrf, now: app.now() }))
}
