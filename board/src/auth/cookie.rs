//! The session cookie.

use std::time::Duration;

use axum::http::{HeaderMap, header};

use crate::config::BoardConfig;

/// The cookie's name.
const NAME: &str = "liftline_session";

/// The session token that a request carries.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, token)| (name == NAME && !token.is_empty()).then_some(token))
}

fn cookie(config: &BoardConfig, token: &str, age: Duration) -> String {
    let secure = if config.secure_cookies() { "; Secure" } else { "" };
    format!("{NAME}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", age.as_secs())
}

/// The `Set-Cookie` value that carries a session for as long as it lasts unused.
pub(crate) fn session_cookie(config: &BoardConfig, token: &str) -> String {
    cookie(config, token, config.session_ttl)
}

/// The `Set-Cookie` value that removes it.
pub(crate) fn cleared_cookie(config: &BoardConfig) -> String {
    cookie(config, "", Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn finds_its_own_cookie_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(session_token(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("theme=dark; xliftline_session=no"));
        assert_eq!(session_token(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; liftline_session=abc=="));
        assert_eq!(session_token(&headers), Some("abc=="));
    }

    #[test]
    fn is_secure_where_the_board_is() {
        let mut config = BoardConfig::default();
        assert_eq!(
            session_cookie(&config, "t"),
            "liftline_session=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"
        );
        config.public_url = "HTTPS://board.example".to_owned();
        assert!(session_cookie(&config, "t").ends_with("; Secure"));
        assert!(cleared_cookie(&config).contains("Max-Age=0"));
    }
}
