//! The board's outer shape: the API's description, headers, errors, files of the web interface.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};
use store::UserRole;

use crate::fixture::TestBoard;

#[tokio::test]
async fn every_route_is_described_and_every_reference_leads_somewhere() {
    let board = TestBoard::start().await;
    let reply = board.anonymous().get("/api/v1/openapi.json").await;
    assert_eq!(reply.header(&header::CONTENT_TYPE), "application/json");
    let api = reply.json();
    let mut described = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{name} has no summary");
            let responses = operation["responses"].as_object().unwrap();
            assert!(!responses.is_empty(), "{name} has no responses");
            described.insert(name);
        }
    }
    let routes: BTreeSet<_> = board::routes().into_iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    assert_eq!(described, routes);
    let mut references = Vec::new();
    collect(&api, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        assert!(api.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    let kinds = &api["components"]["schemas"]["TicketSummary"]["properties"]["kind"];
    assert!(!kinds.is_null(), "a ticket has a kind");
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$ref" => references.push(text.clone()),
                    other => collect(other, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn errors_are_told_in_one_form() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let actions = format!("/api/v1/tickets/{}/actions", board.ours.ticket);
    let raw = |kind: &'static str, body: String| client.send(Method::POST, &actions, Some((kind, body)));
    for (reply, status, code) in [
        (client.get("/api/v1/nonsense").await, StatusCode::NOT_FOUND, "not_found"),
        (client.get("/api").await, StatusCode::NOT_FOUND, "not_found"),
        (client.get("/api/v1/tickets/not-an-id").await, StatusCode::NOT_FOUND, "not_found"),
        (client.get("/api/v1/devices/%2e%2e").await, StatusCode::NOT_FOUND, "not_found"),
        (client.get("/api/v1/devices/%ff").await, StatusCode::NOT_FOUND, "not_found"),
        (client.post("/api/v1/tickets", json!({})).await, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        (client.post("/somewhere", json!({})).await, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        (raw("application/json", "{".to_owned()).await, StatusCode::BAD_REQUEST, "bad_request"),
        (raw("text/plain", "{}".to_owned()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        (raw("application/json", "x".repeat(70_000)).await, StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
    ] {
        assert_eq!((reply.status, reply.error().as_str()), (status, code));
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Viewer).await;
    for path in ["/", "/api/v1/me", "/api/v1/nonsense", "/c/unknown", "/login/unknown"] {
        let reply = client.get(path).await;
        assert_eq!(reply.header(&header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
        let policy = reply.header(&header::CONTENT_SECURITY_POLICY);
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src"), "{path}: {policy}");
        assert!(!policy.contains("script-src 'unsafe"), "{path}: {policy}");
        assert!(reply.headers.contains_key(header::REFERRER_POLICY), "{path}");
    }
    assert_eq!(client.get("/api/v1/me").await.header(&header::CACHE_CONTROL), "no-store");
}

#[tokio::test]
async fn pages_of_the_web_interface_are_served_for_every_address_it_may_show() {
    let board = TestBoard::start().await;
    let client = board.anonymous();
    let home = client.get("/").await;
    assert_eq!(home.status, StatusCode::OK);
    assert_eq!(home.header(&header::CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(home.header(&header::CACHE_CONTROL), "no-cache");
    assert!(home.text().to_lowercase().starts_with("<!doctype html>"));
    for path in ["/index.html", "/tickets/17", "/login"] {
        assert_eq!(client.get(path).await.body, home.body, "{path}");
    }
    for path in ["/assets/none.js", "/favicon-none.ico", "/../Cargo.toml", "/c/", "/callbacks/none"] {
        assert_eq!(client.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_it() {
    let board = TestBoard::start().await;
    let mut client = board.anonymous();
    let plain = client.get("/api/v1/openapi.json").await;
    client.gzip = true;
    let packed = client.get("/api/v1/openapi.json").await;
    assert_eq!(packed.header(&header::CONTENT_ENCODING), "gzip");
    assert!(packed.body.len() * 3 < plain.body.len());
}
