//! Who may do what: every route of the board, tried by everybody. A route that is not listed here fails the test.

use axum::http::{Method, StatusCode};
use board::{Access, RouteInfo};
use model::Language;
use serde_json::{Value, json};
use store::UserRole;

use crate::fixture::{Client, TestBoard};

/// A request that does what its route is for.
struct Sample {
    uri: String,
    body: Option<(&'static str, String)>,
    expect: StatusCode,
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn silence() -> Value {
    json!({
        "reason": "ours: works on the door",
        "matchers": { "rule": ["door*"] },
        "ends_at": "2026-03-02T00:00:00Z",
    })
}

fn sample(board: &TestBoard, care: &str, silence_id: &str, route: &RouteInfo) -> Sample {
    let ok = |uri: String| Sample { uri, body: None, expect: StatusCode::OK };
    let json = |uri: String, body: Value| Sample { uri, body: Some((JSON, body.to_string())), expect: StatusCode::OK };
    let path = route.path.as_str();
    let ticket = path.replace("{id}", &board.ours.ticket.to_string());
    let device = path.replace("{id}", board.ours.device.id.as_str());
    let secret = path.replace("{token}", care.trim_start_matches("/c/"));
    match (route.method.as_str(), path) {
        (
            "GET",
            "/api/v1/openapi.json"
            | "/api/v1/session"
            | "/api/v1/me"
            | "/api/v1/tickets"
            | "/api/v1/devices"
            | "/api/v1/forecasts/scorecard"
            | "/api/v1/silences"
            | "/api/v1/sites",
        )
        | ("GET", "/api/v1/people" | "/api/v1/rejects" | "/api/v1/system" | "/api/v1/stream") => ok(path.to_owned()),
        ("POST", "/api/v1/login") => Sample {
            expect: StatusCode::UNAUTHORIZED,
            ..json(path.to_owned(), json!({ "username": "nobody", "password": "nothing" }))
        },
        ("GET", "/login/{token}") => Sample { expect: StatusCode::NOT_FOUND, ..ok(secret) },
        ("POST", "/api/v1/logout") => Sample { expect: StatusCode::NO_CONTENT, ..json(path.to_owned(), json!({})) },
        ("GET", "/api/v1/tickets/{id}") => ok(ticket),
        ("POST", "/api/v1/tickets/{id}/actions") => json(ticket, json!({ "action": "note", "text": "seen" })),
        ("POST", "/api/v1/tickets/{id}/affected") => json(ticket, json!({ "phone": "+8613800000001" })),
        ("GET", "/api/v1/devices/{id}" | "/api/v1/devices/{id}/commands") => ok(device),
        ("GET", "/api/v1/devices/{id}/readings") => ok(format!("{device}?channel=motor_temp_c")),
        ("POST", "/api/v1/devices/{id}/commands") => {
            Sample { expect: StatusCode::ACCEPTED, ..json(device, json!({ "name": "test_call" })) }
        }
        ("POST", "/api/v1/silences") => json(path.to_owned(), silence()),
        ("POST", "/api/v1/silences/preview") => {
            json(path.to_owned(), json!({ "matchers": { "device": [board.ours.device.id.as_str()] } }))
        }
        ("POST", "/api/v1/silences/{id}/end") => json(path.replace("{id}", silence_id), json!({})),
        ("GET", "/c/{token}" | "/c/{token}/state" | "/c/{token}/stream") => ok(secret),
        ("POST", "/c/{token}/say") => {
            Sample { uri: secret, body: Some((FORM, "what=help".to_owned())), expect: StatusCode::SEE_OTHER }
        }
        (method, path) => panic!("{method} {path} is new: add a request that uses it, so that its access is tested"),
    }
}

/// The id of a silence that one of our dispatchers made.
async fn our_silence(board: &TestBoard) -> String {
    let made = board.as_role(UserRole::Dispatcher).await.post("/api/v1/silences", silence()).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn status(client: &Client, route: &RouteInfo, sample: &Sample) -> StatusCode {
    let method: Method = route.method.parse().unwrap();
    // Streams do not end: only their head is looked at.
    client.open(method, &sample.uri, sample.body.clone()).await.status()
}

async fn error(client: &Client, route: &RouteInfo, sample: &Sample) -> (StatusCode, String) {
    let reply = client.send(route.method.parse().unwrap(), &sample.uri, sample.body.clone()).await;
    (reply.status, reply.error())
}

fn rank(role: UserRole) -> u8 {
    match role {
        UserRole::Viewer => 0,
        UserRole::Technician => 1,
        UserRole::Dispatcher => 2,
        UserRole::Admin => 3,
    }
}

/// Who each route is for, written down a second time: a slip in the board's table is seen here.
fn meant_for(route: &RouteInfo) -> Access {
    match (route.method.as_str(), route.path.as_str()) {
        ("GET", "/api/v1/openapi.json" | "/api/v1/session") | ("POST", "/api/v1/login") => Access::Public,
        (_, path) if path.starts_with("/c/") || path.starts_with("/login/") => Access::Secret,
        ("GET", "/api/v1/people" | "/api/v1/rejects" | "/api/v1/system") => Access::Role(UserRole::Dispatcher),
        ("GET", _) | ("POST", "/api/v1/logout") => Access::Role(UserRole::Viewer),
        ("POST", "/api/v1/tickets/{id}/actions") => Access::Role(UserRole::Technician),
        (_, _) => Access::Role(UserRole::Dispatcher),
    }
}

#[tokio::test]
async fn every_route_is_open_to_those_it_is_for_and_to_nobody_else() {
    let board = TestBoard::start().await;
    let care = board.care_path(Language::En).await;
    let silence_id = our_silence(&board).await;
    let routes = board::routes();
    assert!(routes.len() > 20);
    for route in &routes {
        let name = format!("{} {}", route.method, route.path);
        let sample = sample(&board, &care, &silence_id, route);
        assert_eq!(route.access, meant_for(route), "{name}");
        match route.access {
            Access::Public | Access::Secret => {
                assert_eq!(status(&board.anonymous(), route, &sample).await, sample.expect, "{name}, anonymous");
            }
            Access::Role(least) => {
                let refused = error(&board.anonymous(), route, &sample).await;
                assert_eq!(refused, (StatusCode::UNAUTHORIZED, "not_logged_in".to_owned()), "{name}, anonymous");
                for role in UserRole::ALL {
                    let client = board.as_role(role).await;
                    if rank(role) < rank(least) {
                        let refused = error(&client, route, &sample).await;
                        assert_eq!(refused, (StatusCode::FORBIDDEN, "forbidden".to_owned()), "{name}, {role}");
                    } else {
                        assert_eq!(status(&client, route, &sample).await, sample.expect, "{name}, {role}");
                    }
                }
                if route.method != "GET" {
                    let mut forger = board.as_role(UserRole::Admin).await;
                    forger.csrf = None;
                    let refused = error(&forger, route, &sample).await;
                    assert_eq!(refused, (StatusCode::FORBIDDEN, "csrf".to_owned()), "{name}, forged");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_belongs_to_another_organisation_is_not_there() {
    let board = TestBoard::start().await;
    let care = board.care_path(Language::En).await;
    let silence_id = our_silence(&board).await;
    for route in board::routes() {
        let Access::Role(_) = route.access else { continue };
        let sample = sample(&board, &care, &silence_id, &route);
        let outsider = board.client(board.theirs.user(UserRole::Admin)).await;
        if route.path.contains("{id}") {
            let refused = error(&outsider, &route, &sample).await;
            let name = format!("{} {}", route.method, route.path);
            assert_eq!(refused, (StatusCode::NOT_FOUND, "not_found".to_owned()), "{name}");
        } else if route.method == "GET" && !route.path.ends_with("/stream") {
            let text = outsider.get(&sample.uri).await.text();
            let ours = [
                board.ours.ticket.to_string(),
                board.ours.device.id.to_string(),
                board.ours.org.to_string(),
                "ours".to_owned(),
            ];
            for secret in ours {
                assert!(!text.contains(&secret), "{} tells of {secret}: {text}", route.path);
            }
        }
    }
    let detail = board.as_role(UserRole::Admin).await.get(&format!("/api/v1/tickets/{}", board.ours.ticket)).await;
    let notes = detail.json()["timeline"].as_array().unwrap().iter().filter(|l| l["what"]["type"] == "note").count();
    assert_eq!(notes, 0, "nothing was written by the outsider");
}

#[tokio::test]
async fn a_wrong_secret_opens_nothing() {
    let board = TestBoard::start().await;
    let care = board.care_path(Language::En).await;
    let silence_id = our_silence(&board).await;
    for route in board::routes() {
        if route.access != Access::Secret {
            continue;
        }
        for secret in ["x", "..%2f..", &"a".repeat(300), "%00", "%F0%9F%92%A9"] {
            let wrong =
                Sample { uri: route.path.replace("{token}", secret), ..sample(&board, &care, &silence_id, &route) };
            let status = status(&board.anonymous(), &route, &wrong).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{} {}", route.method, wrong.uri);
        }
    }
}

#[tokio::test]
async fn viewers_see_no_numbers_and_no_care_links() {
    let board = TestBoard::start().await;
    let care = board.care_path(Language::En).await;
    let path = format!("/api/v1/tickets/{}", board.ours.ticket);
    let (viewer, dispatcher) = (board.as_role(UserRole::Viewer).await, board.as_role(UserRole::Dispatcher).await);
    let (masked, full) = (viewer.get(&path).await, dispatcher.get(&path).await);
    for secret in ["13899998888", "13811112222", care.as_str()] {
        assert!(!masked.text().contains(secret), "a viewer sees {secret}");
        assert!(full.text().contains(secret), "a dispatcher needs {secret}");
    }
    let person = &masked.json()["affected_people"][0];
    assert_eq!(person["address"], "+86…88");
    assert_eq!(person["care_url"], Value::Null);
    assert_eq!(masked.json()["actions"], json!([]));
    let technician = board.as_role(UserRole::Technician).await.get(&path).await.json();
    assert_eq!(technician["affected_people"][0]["care_url"], Value::Null);
    assert!(!technician["actions"].as_array().unwrap().contains(&json!("escalate")));
}
