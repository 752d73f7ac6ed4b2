//! What surrounds every request: security headers, a trace, a count.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

/// The board loads only what it brings along. Inline style attributes are allowed: charts and transitions need them.
const BOARD_POLICY: &str = "default-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; \
                            object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Headers that every answer carries unless its handler has set its own.
const DEFAULTS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, BOARD_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// A label takes no text that a client makes up.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        _ => "other",
    }
}

pub(crate) async fn surround(request: Request, next: Next) -> Response {
    let started = Instant::now();
    // The matched route, never the path: paths hold secrets.
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "assets".to_owned(), |p| p.as_str().to_owned());
    let method = known(request.method());
    let span = tracing::info_span!("request", http.method = method, http.route = route);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.in_scope(|| tracing::debug!(http.status = status.as_u16(), elapsed = ?started.elapsed(), "answered"));
    let labels = [("route", route), ("method", method.to_owned()), ("status", status.as_str().to_owned())];
    metrics::counter!("liftline_http_requests_total", &labels).increment(1);
    metrics::histogram!("liftline_http_request_duration_seconds").record(started.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
