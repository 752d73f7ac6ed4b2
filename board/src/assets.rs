//! The web interface, built by `./dev` into `board/web/dist` and carried inside the binary.

use std::borrow::Cow;

use axum::{
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

use crate::api::error::ApiError;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/web/dist"]
struct Dist;

/// Vite puts the hash of a file's content into its name here: such a file never changes.
const HASHED: &str = "assets/";

/// Paths below these are never pages of the web interface.
const NOT_PAGES: [&str; 5] = ["api/", "c/", "callbacks/", "demo/", HASHED];

/// Answers what no route of the table takes: files of the web interface, and its one page for every address that it
/// may show itself.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || NOT_PAGES[..4].iter().any(|prefix| path.starts_with(prefix)) {
        return ApiError::no_such_page().into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::method_not_allowed().into_response();
    }
    if let Some(file) = Dist::get(path) {
        return send(path, file, &headers);
    }
    if NOT_PAGES.iter().any(|prefix| path.starts_with(prefix)) || path.rsplit('/').next().unwrap_or(path).contains('.')
    {
        return ApiError::no_such_page().into_response();
    }
    match Dist::get("index.html") {
        Some(file) => send("index.html", file, &headers),
        None => ApiError::no_such_page().into_response(),
    }
}

fn send(path: &str, file: rust_embed::EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let caching = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
    let own = [(header::ETAG, etag), (header::CACHE_CONTROL, caching.to_owned())];
    if known {
        return (StatusCode::NOT_MODIFIED, own).into_response();
    }
    let body = match file.data {
        Cow::Borrowed(bytes) => bytes.into_response(),
        Cow::Owned(bytes) => bytes.into_response(),
    };
    let mut response = (own, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, axum::http::HeaderValue::from_static(content_type(path)));
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}
