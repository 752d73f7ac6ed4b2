//! Tickets through the API.

use std::time::Duration;

use axum::http::StatusCode;
use model::{
    Alert, AlertChange, AlertId, Clock, Device, DeviceId, RuleId, RunbookId, Severity, SiteUse, TicketKind, Traffic,
};
use serde_json::{Value, json};
use store::{AuditActor, UserRole, WatchCursors};

use crate::fixture::{Client, PUBLIC_URL, TestBoard, alert};

async fn act(client: &Client, board: &TestBoard, body: Value) -> crate::fixture::Reply {
    client.post(&format!("/api/v1/tickets/{}/actions", board.ours.ticket), body).await
}

fn codes(detail: &Value, list: &str) -> Vec<String> {
    detail[list].as_array().unwrap().iter().map(|v| v.as_str().unwrap_or_default().to_owned()).collect()
}

fn milestones(detail: &Value) -> Vec<&str> {
    detail["milestones"].as_array().unwrap().iter().map(|m| m["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_list_shows_what_a_dispatcher_needs_and_pages_through() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Viewer).await;
    let list = client.get("/api/v1/tickets").await.json();
    let tickets = list["tickets"].as_array().unwrap();
    assert_eq!(tickets.len(), 1);
    let ticket = &tickets[0];
    assert_eq!(ticket["id"], board.ours.ticket.to_string());
    assert_eq!(ticket["kind"], "entrapment");
    assert_eq!(ticket["status"], "open");
    assert_eq!(ticket["life_safety"], true);
    assert_eq!(ticket["title"], json!({ "en": "Person shut in", "zh": "有人被困" }));
    assert_eq!(ticket["site"]["name"], "ours tower");
    assert_eq!(ticket["device"], json!({ "id": "lift-1", "name": "Lift of ours", "plate": "P-ours" }));
    assert_eq!(ticket["opened_at"], "2026-03-01T00:00:00Z");
    assert_eq!(ticket["milestones"], json!([{ "kind": "detected", "at": "2026-03-01T00:00:00Z" }]));
    assert_eq!(ticket["level"], 1);
    assert_eq!(ticket["next_at"], "2026-03-01T00:03:00Z");
    assert_eq!(ticket["affected"], json!({ "total": 0, "inside": 0 }));
    assert_eq!((&ticket["alerts_open"], &ticket["devices_affected"]), (&json!(1), &json!(1)));
    for (query, count) in [
        ("state=closed", 0),
        ("state=all&kind=entrapment", 1),
        ("kind=breakdown", 0),
        ("q=Lift%20of%20ours", 1),
        ("q=nowhere", 0),
        ("device=lift-1", 1),
        ("device=lift-9", 0),
        ("before=1", 0),
    ] {
        let list = client.get(&format!("/api/v1/tickets?{query}")).await.json();
        assert_eq!(list["tickets"].as_array().unwrap().len(), count, "{query}");
    }
    for query in ["state=ajar", "kind=flood", "limit=many", "before=x"] {
        let reply = client.get(&format!("/api/v1/tickets?{query}")).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, "bad_request"), "{query}");
    }
}

#[tokio::test]
async fn the_detail_carries_proof_evidence_messages_and_the_prepared_repair() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let detail = client.get(&format!("/api/v1/tickets/{}", board.ours.ticket)).await.json();
    assert_eq!(detail["number"], client.get("/api/v1/tickets").await.json()["tickets"][0]["number"]);
    assert!(detail["milestones"][0]["proof"]["zh"].as_str().is_some_and(|proof| !proof.is_empty()));
    assert!(detail["milestones"][0]["actor"]["kind"].is_string());
    assert_eq!(detail["alerts"][0]["reason"]["en"], "The alarm button was pressed.");
    assert_eq!(detail["alerts"][0]["evidence"]["condition"], "event alarm_button");
    assert_eq!(detail["alerts"][0]["device"]["name"], "Lift of ours");
    assert_eq!(detail["responders"][0]["person"]["name"], "Ann of ours");
    assert_eq!(detail["responders"][0]["level"], 1);
    let message = detail["messages"].as_array().unwrap().iter().find(|m| m["purpose"] == "page").unwrap();
    assert_eq!(message["to"], "Ann of ours");
    assert_eq!(message["state"], "pending");
    assert_eq!(detail["runbook"]["title"]["zh"], "解救被困人员");
    assert_eq!(detail["runbook"]["duration"], "30m");
    assert_eq!(detail["forecast"], Value::Null);
    let actions = codes(&detail, "actions");
    for action in ["acknowledge", "escalate", "assign", "released", "note", "add_affected"] {
        assert!(actions.contains(&action.to_owned()), "{action} is missing: {actions:?}");
    }
    let kinds: Vec<_> = detail["timeline"].as_array().unwrap().iter().map(|l| l["what"]["type"].clone()).collect();
    assert!(kinds.contains(&json!("opened")) && kinds.contains(&json!("paged")), "{kinds:?}");
}

#[tokio::test]
async fn a_ticket_is_worked_from_the_board_to_its_end() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let detail = act(&client, &board, json!({ "action": "acknowledge" })).await.json();
    assert_eq!(detail["status"], "acknowledged");
    let person = board.store.people(board.ours.org).await.unwrap()[0].id;
    let detail = act(&client, &board, json!({ "action": "assign", "person": person })).await.json();
    assert_eq!(detail["assignee"]["name"], "Ann of ours");
    for action in ["en_route", "arrived", "released"] {
        let reply = act(&client, &board, json!({ "action": action })).await;
        assert_eq!(reply.status, StatusCode::OK, "{action}: {}", reply.text());
        assert!(milestones(&reply.json()).contains(&action), "{action}");
        assert!(!codes(&reply.json(), "actions").contains(&action.to_owned()), "{action} is done");
    }
    let refused = act(&client, &board, json!({ "action": "close" })).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "alerts are open: {}", refused.text());
    assert!(refused.json()["error"]["remedy"].as_str().unwrap().contains("what was found"));
    let closed = act(&client, &board, json!({ "action": "close", "note": "Door lock replaced" })).await.json();
    assert_eq!(closed["status"], "closed");
    assert_eq!(closed["actions"], json!(["confirm_cause"]));
    let last = closed["timeline"].as_array().unwrap().iter().rfind(|l| l["what"]["type"] == "note").unwrap();
    assert_eq!(last["what"]["text"], "Door lock replaced");
    assert_eq!(last["actor"]["name"], "The dispatcher");
    let after = act(&client, &board, json!({ "action": "note", "text": "too late" })).await;
    assert_eq!((after.status, after.error().as_str()), (StatusCode::CONFLICT, "conflict"));
}

#[tokio::test]
async fn a_person_is_never_forgotten_inside() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let refused = act(&client, &board, json!({ "action": "close", "note": "looks fine" })).await;
    assert_eq!((refused.status, refused.error().as_str()), (StatusCode::CONFLICT, "conflict"));
}

#[tokio::test]
async fn bad_actions_are_refused_with_a_reason() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    for (body, status) in [
        (json!({}), StatusCode::BAD_REQUEST),
        (json!({ "action": "explode" }), StatusCode::BAD_REQUEST),
        (json!({ "action": "note" }), StatusCode::BAD_REQUEST),
        (json!({ "action": "note", "text": "  " }), StatusCode::BAD_REQUEST),
        (json!({ "action": "note", "text": "x".repeat(2_001) }), StatusCode::BAD_REQUEST),
        (json!({ "action": "assign", "person": "Ann" }), StatusCode::BAD_REQUEST),
        (json!({ "action": "decline" }), StatusCode::CONFLICT),
        (json!({ "action": "assign", "person": "00000000-0000-4000-8000-000000000000" }), StatusCode::NOT_FOUND),
    ] {
        let reply = act(&client, &board, body.clone()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        reply.error();
    }
    let theirs = board.store.people(board.theirs.org).await.unwrap()[0].id;
    let reply = act(&client, &board, json!({ "action": "assign", "person": theirs })).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "another organisation's person");
    let technician = board.as_role(UserRole::Technician).await;
    assert_eq!(act(&technician, &board, json!({ "action": "escalate" })).await.error(), "forbidden");
    assert_eq!(act(&technician, &board, json!({ "action": "arrived" })).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_affected_person_is_added_and_owed_their_page() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let path = format!("/api/v1/tickets/{}/affected", board.ours.ticket);
    let body = json!({ "name": " Chen ", "phone": "+86 138-9999-8888", "language": "zh", "inside": true });
    let detail = client.post(&path, body).await.json();
    assert_eq!(detail["affected"], json!({ "total": 1, "inside": 1 }));
    let person = &detail["affected_people"][0];
    assert_eq!((&person["name"], &person["address"]), (&json!("Chen"), &json!("+8613899998888")));
    let url = person["care_url"].as_str().unwrap();
    let path_of_page = url.strip_prefix(PUBLIC_URL).unwrap_or_else(|| panic!("not on this board: {url}"));
    assert_eq!(board.anonymous().get(path_of_page).await.status, StatusCode::OK);
    assert!(detail["messages"].as_array().unwrap().iter().any(|m| m["purpose"] == "care_link"));
    for phone in ["119", "", "13899998888", "+86x"] {
        let reply = client.post(&path, json!({ "phone": phone })).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{phone}");
        assert!(reply.json()["error"]["remedy"].as_str().unwrap().contains("+8613800000000"));
    }
    let long = client.post(&path, json!({ "phone": "+8613899998888", "name": "x".repeat(101) })).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_cleared_alert_is_told() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let mut cleared = alert(&board.ours.device, board.clock.now());
    board.clock.advance(std::time::Duration::from_secs(60));
    cleared.cleared_at = Some(board.clock.now());
    let change = AlertChange::Cleared(Box::new(cleared));
    let cursors = WatchCursors { partition: 0, events: 1, telemetry: 0 };
    board.store.commit_watch(&[change], &cursors, &[], board.clock.now()).await.unwrap();
    let detail = client.get(&format!("/api/v1/tickets/{}", board.ours.ticket)).await.json();
    assert_eq!((&detail["alerts_open"], &detail["alerts_total"]), (&json!(0), &json!(1)));
    assert_eq!(detail["alerts"][0]["cleared_at"], "2026-03-01T00:01:00Z");
    assert!(milestones(&detail).contains(&"restored"));
}

#[tokio::test]
async fn likely_causes_are_told_with_what_they_take_and_learn_from_closed_tickets() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let detail = client.get(&format!("/api/v1/tickets/{}", board.ours.ticket)).await.json();
    let preparation = &detail["preparation"];
    let told = |preparation: &Value| -> Vec<(String, f64, u64, bool)> {
        let causes = preparation["causes"].as_array().unwrap().iter();
        let number = |cause: &Value| (cause["probability"].as_f64().unwrap(), cause["confirmed"].as_u64().unwrap());
        let line = |cause: &Value| {
            let (probability, confirmed) = number(cause);
            (cause["name"]["en"].as_str().unwrap().to_owned(), probability, confirmed, cause["prepared"] == true)
        };
        causes.map(line).collect()
    };
    assert_eq!(told(preparation), [("Door lock".to_owned(), 0.75, 0, true), ("Supply".to_owned(), 0.25, 0, true)]);
    assert_eq!(preparation["parts"][0]["name"]["zh"], "门锁触点");
    assert_eq!(preparation["parts"][0]["probability"], 0.75);
    assert_eq!(preparation["skills"][0]["en"], "Lift technician");
    assert_eq!((&preparation["usual"], &preparation["longest"]), (&json!("35m"), &json!("50m")));
    let known: Vec<_> = detail["known_causes"].as_array().unwrap().iter().map(|cause| &cause["id"]).collect();
    assert_eq!(known, ["door_lock", "supply", "battery", "nothing_found"]);
    let unknown = act(&client, &board, json!({ "action": "confirm_cause", "cause": "ghosts" })).await;
    assert_eq!((unknown.status, unknown.error().as_str()), (StatusCode::BAD_REQUEST, "bad_request"));
    let viewer = board.as_role(UserRole::Viewer).await;
    let refused = act(&viewer, &board, json!({ "action": "confirm_cause", "cause": "supply" })).await;
    assert_eq!(refused.error(), "forbidden");
    act(&client, &board, json!({ "action": "released" })).await;
    let close = json!({ "action": "close", "note": "Breaker had tripped", "cause": "supply" });
    let closed = act(&client, &board, close).await.json();
    assert_eq!((&closed["status"], &closed["cause"]["id"]), (&json!("closed"), &json!("supply")));
    let line = closed["timeline"].as_array().unwrap().iter().find(|l| l["what"]["type"] == "cause_confirmed").unwrap();
    assert_eq!(line["what"]["cause"]["name"]["en"], "Supply");
    // The next ticket of this rule knows; the other organisation's does not.
    let raised = AlertChange::Raised(Box::new(alert(&board.ours.device, board.clock.now() + Duration::from_secs(60))));
    let cursors = WatchCursors { partition: 0, events: 1, telemetry: 0 };
    board.store.commit_watch(&[raised], &cursors, &[], board.clock.now() + Duration::from_secs(60)).await.unwrap();
    let next = client.get("/api/v1/tickets").await.json()["tickets"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/tickets/{next}");
    let told_next = told(&client.get(&path).await.json()["preparation"]);
    assert_eq!(told_next, [("Door lock".to_owned(), 0.6, 0, true), ("Supply".to_owned(), 0.4, 1, true)]);
    // A closed ticket still takes a better answer, from those on site as well.
    let technician = board.as_role(UserRole::Technician).await;
    let corrected = act(&technician, &board, json!({ "action": "confirm_cause", "cause": "door_lock" })).await.json();
    assert_eq!((&corrected["status"], &corrected["cause"]["id"]), (&json!("closed"), &json!("door_lock")));
    let again = told(&client.get(&path).await.json()["preparation"]);
    assert_eq!(again, [("Door lock".to_owned(), 0.8, 1, true), ("Supply".to_owned(), 0.2, 0, false)]);
}

#[tokio::test]
async fn parts_are_told_by_who_closes_and_the_next_visit_knows() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let path = format!("/api/v1/tickets/{}", board.ours.ticket);
    let detail = client.get(&path).await.json();
    let lock = json!({ "en": "Lock contact", "zh": "门锁触点" });
    assert_eq!((&detail["parts_used"], &detail["known_parts"]), (&Value::Null, &json!([lock])));
    let part = json!({ "name": lock, "probability": 0.75, "used": 0, "repairs": 0 });
    assert_eq!(detail["preparation"]["parts"], json!([part]));
    act(&client, &board, json!({ "action": "released" })).await;
    let many: Vec<String> = (0..13).map(|n| n.to_string()).collect();
    for parts in [json!(["x".repeat(81)]), json!(many)] {
        let refused = act(&client, &board, json!({ "action": "close", "note": "x", "parts": parts })).await;
        assert_eq!((refused.status, refused.error().as_str()), (StatusCode::BAD_REQUEST, "bad_request"));
    }
    let close =
        json!({ "action": "close", "note": "x", "cause": "door_lock", "parts": ["门锁触点", " a  long screw "] });
    let closed = act(&client, &board, close).await.json();
    let screw = json!({ "en": "a long screw", "zh": "a long screw" });
    assert_eq!(closed["parts_used"], json!([lock, screw]));
    let line = closed["timeline"].as_array().unwrap().iter().find(|l| l["what"]["type"] == "parts_used").unwrap();
    assert_eq!(line["what"]["parts"], json!([lock, screw]));
    // (3 + 1) / 5 that it is the lock, and so often it took the contact: (2 + 1) / (2 + 1). The screw was used once only.
    let raised = AlertChange::Raised(Box::new(alert(&board.ours.device, board.clock.now() + Duration::from_secs(60))));
    let cursors = WatchCursors { partition: 0, events: 1, telemetry: 0 };
    board.store.commit_watch(&[raised], &cursors, &[], board.clock.now() + Duration::from_secs(60)).await.unwrap();
    let next = client.get("/api/v1/tickets").await.json()["tickets"][0]["id"].as_str().unwrap().to_owned();
    let next = format!("/api/v1/tickets/{next}");
    let told = client.get(&next).await.json()["preparation"]["parts"].clone();
    assert_eq!((told.as_array().unwrap().len(), &told[0]["name"]), (1, &lock));
    assert_eq!((&told[0]["used"], &told[0]["repairs"]), (&json!(1), &json!(1)));
    assert!((told[0]["probability"].as_f64().unwrap() - 0.8).abs() < 1e-9);
    // It took none, as somebody who was on site says later.
    let technician = board.as_role(UserRole::Technician).await;
    let corrected = json!({ "action": "confirm_cause", "cause": "door_lock", "parts": [] });
    assert_eq!(act(&technician, &board, corrected).await.json()["parts_used"], json!([]));
    let told = client.get(&next).await.json()["preparation"]["parts"][0].clone();
    assert_eq!((&told["used"], &told["repairs"]), (&json!(0), &json!(1)));
    assert!((told["probability"].as_f64().unwrap() - 0.8 * 2.0 / 3.0).abs() < 1e-9);
}

#[tokio::test]
async fn nothing_was_found_is_an_answer_that_the_next_ticket_tells_of() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let path = format!("/api/v1/tickets/{}", board.ours.ticket);
    let detail = client.get(&path).await.json();
    assert_eq!(detail["false_alarms"], Value::Null);
    let nothing =
        json!({ "id": "nothing_found", "name": { "en": "Nothing found: a false alarm", "zh": "未发现故障（误报）" } });
    assert_eq!(detail["known_causes"].as_array().unwrap().last(), Some(&nothing));
    // An entrapment is neither closed by it nor told to be one before it is closed.
    let close = |parts: Value| json!({ "action": "close", "note": "x", "cause": "nothing_found", "parts": parts });
    let say = json!({ "action": "confirm_cause", "cause": "nothing_found" });
    for body in [close(Value::Null), say.clone()] {
        let refused = act(&client, &board, body).await;
        assert_eq!((refused.status, refused.error().as_str()), (StatusCode::CONFLICT, "conflict"));
    }
    assert_eq!(client.get(&path).await.json()["version"], detail["version"]);
    act(&client, &board, json!({ "action": "released" })).await;
    let technician = board.as_role(UserRole::Technician).await;
    assert_eq!(act(&technician, &board, close(Value::Null)).await.error(), "forbidden", "the desk closes");
    let refused = act(&client, &board, close(json!(["Lock contact"]))).await;
    assert_eq!((refused.status, refused.error().as_str()), (StatusCode::BAD_REQUEST, "bad_request"));
    assert_eq!(refused.json()["error"]["remedy"], "Name what had failed, or leave the parts out.");
    let closed = act(&client, &board, close(json!([]))).await.json();
    assert_eq!(
        (&closed["status"], &closed["cause"], &closed["parts_used"]),
        (&json!("closed"), &nothing, &Value::Null)
    );
    let line = closed["timeline"].as_array().unwrap().iter().find(|l| l["what"]["type"] == "cause_confirmed").unwrap();
    assert_eq!((&line["what"]["cause"], &line["actor"]["name"]), (&nothing, &json!("The dispatcher")));
    // The next ticket of this rule ranks as before, and tells of it beside.
    let raised = AlertChange::Raised(Box::new(alert(&board.ours.device, board.clock.now() + Duration::from_secs(60))));
    let cursors = WatchCursors { partition: 0, events: 1, telemetry: 0 };
    board.store.commit_watch(&[raised], &cursors, &[], board.clock.now() + Duration::from_secs(60)).await.unwrap();
    let next = client.get("/api/v1/tickets").await.json()["tickets"][0]["id"].as_str().unwrap().to_owned();
    let next = format!("/api/v1/tickets/{next}");
    let told = client.get(&next).await.json();
    assert_eq!(told["false_alarms"], json!({ "count": 1, "told": 1 }));
    assert_eq!(told["preparation"], detail["preparation"]);
    // Whoever was there corrects it; viewers say nothing.
    let viewer = board.as_role(UserRole::Viewer).await;
    assert_eq!(act(&viewer, &board, say.clone()).await.error(), "forbidden");
    let corrected = json!({ "action": "confirm_cause", "cause": "supply", "parts": ["Fuse"] });
    let corrected = act(&technician, &board, corrected).await.json();
    assert_eq!((&corrected["cause"]["id"], &corrected["parts_used"][0]["en"]), (&json!("supply"), &json!("Fuse")));
    assert_eq!(client.get(&next).await.json()["false_alarms"], Value::Null);
    let back = act(&technician, &board, say).await.json();
    assert_eq!((&back["cause"], &back["parts_used"]), (&nothing, &Value::Null));
}

#[tokio::test]
async fn a_breakdown_and_a_forecast_tell_whom_they_affect() {
    let board = TestBoard::start().await;
    let (client, ours) = (board.as_role(UserRole::Viewer).await, &board.ours);
    let (store, by) = (&board.store, AuditActor::CommandLine);
    let other = |id: &str| Device { id: DeviceId::new(id).unwrap(), plate: None, ..ours.device.clone() };
    for id in ["lift-2", "lift-3", "lift-4"] {
        store.upsert_device(&other(id), None, &by, board.clock.now()).await.unwrap();
    }
    // Sunday noon in Shanghai.
    board.clock.advance(Duration::from_hours(4));
    let now = board.clock.now();
    let raise = async |device: &Device, kind: TicketKind, rule: &str, events: u64| -> Value {
        let raised = Alert {
            kind,
            rule: RuleId::new(rule).unwrap(),
            id: AlertId::derive(&device.id, &RuleId::new(rule).unwrap(), now),
            severity: Severity::Major,
            life_safety: false,
            runbook: Some(RunbookId::new("release").unwrap()),
            ..alert(device, now)
        };
        let cursors = WatchCursors { partition: 0, events, telemetry: 0 };
        store.commit_watch(&[AlertChange::Raised(Box::new(raised))], &cursors, &[], now).await.unwrap();
        let found = client.get(&format!("/api/v1/tickets?kind={}&device={}", kind.code(), device.id)).await.json();
        found["tickets"][0]["id"].clone()
    };
    let detail = async |id: &Value| client.get(&format!("/api/v1/tickets/{}", id.as_str().unwrap())).await.json();
    // Lift 1 has somebody shut in, lift 2 breaks down: of four, two carry on.
    let broken = raise(&other("lift-2"), TicketKind::Breakdown, "stuck", 1).await;
    let impact = detail(&broken).await["impact"].clone();
    assert_eq!((&impact["others"], &impact["alternatives"]), (&json!(3), &json!(2)));
    // Half an hour by the runbook, and four hours.
    assert_eq!((&impact["time_out"], &impact["cases"]), (&json!("4h 30m"), &Value::Null));
    assert_eq!(impact["crowd"], Value::Null, "nobody said who uses the site");
    assert_eq!(detail(&json!(ours.ticket.to_string())).await["impact"], Value::Null, "an entrapment cannot wait");
    let site = store.sites(ours.org).await.unwrap()[0].id;
    let used = SiteUse { population: 600, traffic: Traffic::Residential, vulnerable: 7 };
    assert!(store.set_site_use(ours.org, site, &used).await.unwrap());
    assert!(!store.set_site_use(board.theirs.org, site, &used).await.unwrap(), "not their site");
    assert_eq!(store.site_use(board.theirs.org, site).await.unwrap(), None);
    let crowd = detail(&broken).await["impact"]["crowd"].clone();
    assert_eq!(
        (&crowd["population"], &crowd["vulnerable"], &crowd["traffic"]),
        (&json!(600), &json!(7), &json!("residential"))
    );
    // A fifth of them is on the move at noon of a Sunday, in three lifts.
    assert_eq!(crowd["hours"][0], json!({ "at": "2026-03-01T04:00:00Z", "people": 40 }));
    assert_eq!(crowd["hours"].as_array().unwrap().len(), 24);
    // 20, 18, 18, 19 and half of 20 per cent of 600, a third of it.
    assert_eq!((&crowd["people_out"], &crowd["visit"]), (&json!(170), &Value::Null));
    let foretold = raise(&other("lift-3"), TicketKind::Forecast, "failure_risk", 2).await;
    let impact = detail(&foretold).await["impact"].clone();
    assert_eq!((&impact["alternatives"], &impact["expected_at"]), (&json!(1), &json!("2026-03-02T04:00:00Z")));
    // By day, before Monday noon, the quietest hour is from ten on: 12 per cent of 600, in two lifts.
    let visit = &impact["crowd"]["visit"];
    assert_eq!((&visit["from"], &visit["people"]), (&json!("2026-03-02T02:00:00Z"), &json!(36)), "{impact}");
}
