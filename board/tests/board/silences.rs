//! Silences through the API: made with a preview, ended, on record; and the lifts of a power cut in their order.

use axum::http::StatusCode;
use model::{Alert, AlertChange, AlertId, Clock, Device, DeviceId, RuleId, Scope, TicketKind, Value as Reading};
use serde_json::{Value, json};
use store::{AuditActor, RecorderBatch, Row, UserRole, WatchCursors};

use crate::fixture::{TestBoard, alert};

async fn raise(board: &TestBoard, alerts: &[Alert]) {
    let changes: Vec<AlertChange> = alerts.iter().map(|alert| AlertChange::Raised(Box::new(alert.clone()))).collect();
    let cursors = WatchCursors { partition: 0, events: 9, telemetry: 9 };
    board.store.commit_watch(&changes, &cursors, &[], board.clock.now()).await.unwrap();
}

fn of_rule(board: &TestBoard, device: &Device, rule: &str, kind: TicketKind) -> Alert {
    let rule = RuleId::new(rule).unwrap();
    Alert {
        id: AlertId::derive(&device.id, &rule, board.clock.now()),
        rule,
        kind,
        life_safety: false,
        ..alert(device, board.clock.now())
    }
}

async fn ticket_of(board: &TestBoard, kind: &str) -> Value {
    let client = board.as_role(UserRole::Viewer).await;
    let list = client.get(&format!("/api/v1/tickets?kind={kind}")).await.json();
    let id = list["tickets"][0]["id"].as_str().unwrap().to_owned();
    client.get(&format!("/api/v1/tickets/{id}")).await.json()
}

#[tokio::test]
async fn a_silence_says_beforehand_what_it_covers_and_afterwards_who_made_it() {
    let board = TestBoard::start().await;
    let dispatcher = board.as_role(UserRole::Dispatcher).await;
    let device = board.ours.device.id.as_str();
    raise(&board, &[of_rule(&board, &board.ours.device, "door_fault", TicketKind::Breakdown)]).await;

    let preview = dispatcher.post("/api/v1/silences/preview", json!({ "matchers": { "device": [device] } })).await;
    let preview = preview.json();
    assert_eq!((&preview["alerts"], &preview["devices"], &preview["life_safety"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(preview["covered"][0]["life_safety"], true, "what is paged all the same stands first");
    assert_eq!(preview["covered"][1]["rule"], "door_fault");
    assert_eq!(preview["covered"][1]["ticket"]["device"]["id"], device);

    let silence = json!({
        "matchers": { "device": [device] }, "reason": "works on the doors", "ends_at": "2026-03-01T04:00:00Z",
    });
    let made = dispatcher.post("/api/v1/silences", silence).await.json();
    assert_eq!((&made["state"], &made["author"]), (&json!("active"), &json!("The dispatcher")));
    raise(&board, &[of_rule(&board, &board.ours.device, "levelling", TicketKind::TestFailure)]).await;
    let ticket = ticket_of(&board, "test_failure").await;
    assert_eq!(ticket["held"]["code"], "silenced");
    assert_eq!(ticket["held"]["until"], "2026-03-01T04:00:00Z");
    assert_eq!(ticket["messages"], json!([]));
    let line = ticket["timeline"].as_array().unwrap().iter().find(|l| l["what"]["type"] == "alert_raised").unwrap();
    assert_eq!(line["what"]["decision"]["text"]["en"], "not paged: silenced by The dispatcher (works on the doors)");
    assert_eq!(line["what"]["decision"]["pages"], false);

    let ended = dispatcher.post(&format!("/api/v1/silences/{}/end", made["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((&ended.json()["state"], &ended.json()["ended_by"]), (&json!("ended"), &json!("The dispatcher")));
    let ticket = ticket_of(&board, "test_failure").await;
    assert_eq!(ticket["held"], Value::Null);
    assert!(!ticket["messages"].as_array().unwrap().is_empty());
    let listed = board.as_role(UserRole::Viewer).await.get("/api/v1/silences").await.json();
    assert_eq!(listed["silences"].as_array().unwrap().len(), 1);
    let log = board.store.audit_log(board.ours.org, 20, None).await.unwrap();
    let actions: Vec<_> = log.iter().filter(|l| l.action.starts_with("silence.")).map(|l| l.action.as_str()).collect();
    assert_eq!(actions, ["silence.end", "silence.create"]);
}

#[tokio::test]
async fn a_silence_without_end_reason_or_bounds_is_refused_in_a_sentence() {
    let board = TestBoard::start().await;
    let dispatcher = board.as_role(UserRole::Dispatcher).await;
    let good = json!({ "matchers": { "rule": ["door*"] }, "reason": "works", "ends_at": "2026-03-01T04:00:00Z" });
    for (key, value) in [
        ("reason", json!("  ")),
        ("matchers", json!({})),
        ("matchers", json!({ "device": ["*"] })),
        ("matchers", json!({ "colour": ["red"] })),
        ("ends_at", json!("2026-02-01T00:00:00Z")),
        ("ends_at", json!("2026-06-01T00:00:00Z")),
        ("ends_at", Value::Null),
    ] {
        let mut bad = good.clone();
        bad[key] = value.clone();
        let reply = dispatcher.post("/api/v1/silences", bad).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, "bad_request"), "{key} {value}");
    }
    assert_eq!(dispatcher.post("/api/v1/silences", good).await.status, StatusCode::OK);
    let reply = dispatcher.post("/api/v1/silences/preview", json!({ "matchers": {} })).await;
    assert_eq!(reply.error(), "bad_request");
}

#[tokio::test]
async fn the_lifts_of_a_power_cut_are_ranked_by_who_may_be_inside() {
    let board = TestBoard::start().await;
    let mut dark = Vec::new();
    for number in 1..=4 {
        let id = DeviceId::new(&format!("lift-{number}")).unwrap();
        let device = Device { id, plate: None, ..board.ours.device.clone() };
        board.store.upsert_device(&device, None, &AuditActor::CommandLine, board.clock.now()).await.unwrap();
        board.register(&device);
        let open = if number == 3 { "closed" } else { "open" };
        let row = Row {
            device: device.id.clone(),
            profile: device.profile.clone(),
            time: board.clock.now(),
            seq: None,
            values: vec![
                (model::ChannelId::new("door_state").unwrap(), Reading::Text(open.into())),
                (model::ChannelId::new("passenger_present").unwrap(), Reading::Bool(number == 3)),
            ]
            .into(),
        };
        let batch = RecorderBatch { rows: vec![row], ..RecorderBatch::default() };
        board.store.record(&batch, board.clock.now()).await.unwrap();
        dark.push(Alert { scope: Scope::Site, ..of_rule(&board, &device, "mains_loss", TicketKind::Outage) });
    }
    raise(&board, &dark).await;
    let ticket = ticket_of(&board, "outage").await;
    assert_eq!((&ticket["device"], &ticket["devices_affected"]), (&Value::Null, &json!(4)));
    assert_eq!(ticket["held"]["code"], "group_wait");
    let lifts: Vec<(&str, &str)> = ticket["lifts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lift| (lift["device"]["id"].as_str().unwrap(), lift["occupancy"].as_str().unwrap()))
        .collect();
    assert_eq!(lifts, [("lift-1", "trapped"), ("lift-3", "inside"), ("lift-2", "empty"), ("lift-4", "empty")]);
    assert_eq!(ticket["lifts"][0]["entrapment"]["id"], board.ours.ticket.to_string());
    assert_eq!(ticket["lifts"][1]["as_of"], "2026-03-01T00:00:00Z");
    let single = board.as_role(UserRole::Viewer).await.get(&format!("/api/v1/tickets/{}", board.ours.ticket)).await;
    assert_eq!(single.json()["lifts"], json!([]), "an entrapment is about one lift");
}
