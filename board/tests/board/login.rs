//! Logging in and out, cookies, forged requests, guessing.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use board::BoardConfig;
use model::Clock;
use serde_json::json;
use store::UserRole;

use crate::fixture::{Client, PASSWORD, TestBoard};

fn cookie_of(reply: &crate::fixture::Reply) -> String {
    reply.header(&header::SET_COOKIE).split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_password_opens_a_session_and_logging_out_ends_it() {
    let board = TestBoard::start().await;
    let mut client = board.anonymous();
    let reply = client.post("/api/v1/login", json!({ "username": " dispatcher@ours ", "password": PASSWORD })).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.json()["user"]["role"], "dispatcher");
    let cookie = reply.header(&header::SET_COOKIE);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"), "{cookie}");
    assert!(!cookie.contains("Secure"), "the board is reached without TLS: {cookie}");
    client.cookie = Some(cookie_of(&reply));
    let me = client.get("/api/v1/me").await.json();
    assert_eq!(me["user"]["username"], "dispatcher@ours");
    assert_eq!(me["org"]["name"], "ours");
    assert_eq!(me["now"], "2026-03-01T00:00:00Z");

    let forged = client.post("/api/v1/logout", json!({})).await;
    assert_eq!((forged.status, forged.error().as_str()), (StatusCode::FORBIDDEN, "csrf"));
    client.csrf = Some("0".repeat(64));
    assert_eq!(client.post("/api/v1/logout", json!({})).await.error(), "csrf");
    client.csrf = me["csrf"].as_str().map(str::to_owned);
    let out = client.post("/api/v1/logout", json!({})).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header(&header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(client.get("/api/v1/me").await.error(), "not_logged_in");
}

#[tokio::test]
async fn nobody_is_an_answer_to_who_is_logged_in() {
    let board = TestBoard::start().await;
    let mut nobody = board.anonymous();
    assert_eq!(nobody.get("/api/v1/session").await.json(), json!({ "me": null }));
    nobody.cookie = Some("liftline_session=forged".to_owned());
    assert_eq!(nobody.get("/api/v1/session").await.json(), json!({ "me": null }));
    let viewer = board.as_role(UserRole::Viewer).await;
    let answer = viewer.get("/api/v1/session").await.json();
    assert_eq!(answer["me"], viewer.get("/api/v1/me").await.json());
}

#[tokio::test]
async fn the_cookie_travels_only_over_tls_where_the_board_does() {
    let config = BoardConfig { public_url: "https://board.test".to_owned(), ..BoardConfig::default() };
    let board = TestBoard::start_with(config).await;
    let login = json!({ "username": "viewer@ours", "password": PASSWORD });
    let reply = board.anonymous().post("/api/v1/login", login).await;
    assert!(reply.header(&header::SET_COOKIE).ends_with("; Secure"));
}

#[tokio::test]
async fn guessing_is_refused_alike_and_then_throttled_until_the_window_ends() {
    let board = TestBoard::start().await;
    let guess = |username: &str, password: &str| {
        let (client, body) = (board.anonymous(), json!({ "username": username, "password": password }));
        async move { client.post("/api/v1/login", body).await }
    };
    let (wrong, nobody) = (guess("viewer@ours", "wrong horse battery").await, guess("nobody", PASSWORD).await);
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.body, nobody.body, "the answer does not tell who exists");
    for _ in 0..9 {
        assert_eq!(guess("VIEWER@ours", "wrong horse battery").await.error(), "bad_credentials");
    }
    let throttled = guess("viewer@ours", PASSWORD).await;
    assert_eq!(throttled.status, StatusCode::TOO_MANY_REQUESTS, "even the right password has to wait");
    assert_eq!(throttled.error(), "too_many_attempts");
    assert_eq!(throttled.header(&header::RETRY_AFTER), "900");
    assert_eq!(guess("admin@ours", PASSWORD).await.status, StatusCode::OK, "others are not held up");
    board.clock.advance(Duration::from_secs(900));
    assert_eq!(guess("viewer@ours", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_login_link_works_once_and_is_not_used_up_by_a_look() {
    let board = TestBoard::start().await;
    let user = board.ours.user(UserRole::Admin).id;
    let token = board.store.create_login_link(user, Duration::from_secs(600), board.clock.now()).await.unwrap();
    let (path, mut client) = (format!("/login/{token}"), board.anonymous());
    assert_eq!(client.send(Method::HEAD, &path, None).await.status, StatusCode::NO_CONTENT);
    let reply = client.get(&path).await;
    assert_eq!((reply.status, reply.header(&header::LOCATION)), (StatusCode::SEE_OTHER, "/"));
    client.cookie = Some(cookie_of(&reply));
    assert_eq!(client.get("/api/v1/me").await.json()["user"]["role"], "admin");
    let again = board.anonymous().get(&path).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(again.text().contains("no longer works") && again.headers.get(header::SET_COOKIE).is_none());
}

async fn me(client: &Client) -> StatusCode {
    client.get("/api/v1/me").await.status
}

#[tokio::test]
async fn a_session_lasts_while_it_is_used_and_ends_when_it_is_not() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Viewer).await;
    for _ in 0..4 {
        board.clock.advance(Duration::from_secs(10 * 3600));
        let reply = client.get("/api/v1/me").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.header(&header::SET_COOKIE).contains("Max-Age=43200"), "the cookie lasts as long");
    }
    assert!(client.get("/api/v1/me").await.headers.get(header::SET_COOKIE).is_none(), "not with every request");
    board.clock.advance(Duration::from_secs(13 * 3600));
    assert_eq!(me(&client).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    assert_eq!(me(&client).await, StatusCode::OK);
    let user = board.ours.user(UserRole::Dispatcher).id;
    let by = store::AuditActor::CommandLine;
    board.store.disable_user(board.ours.org, user, &by, board.clock.now()).await.unwrap();
    assert_eq!(me(&client).await, StatusCode::UNAUTHORIZED);
}
