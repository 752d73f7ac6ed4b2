//! Devices, readings, commands, rejects, sites, people.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use model::{
    Body, ChannelId, Clock, Entry, Event, Reject, RejectReason, Sample, Status, Timestamp, Value as ModelValue,
};
use serde_json::{Value, json};
use store::{RecorderBatch, UserRole};

use crate::fixture::{TECHNICIAN_NUMBER, TestBoard};

fn entry(board: &TestBoard, body: Body) -> Entry {
    Entry { device: Some(board.ours.device.id.clone()), received_at: board.clock.now(), body }
}

fn sample(time: Timestamp, channel: &str, value: ModelValue) -> Body {
    Body::Sample(Sample { time, seq: None, values: vec![(ChannelId::new(channel).unwrap(), value)] })
}

/// Ten minutes of readings, an event, a status and a reject.
async fn record(board: &TestBoard) -> Timestamp {
    let start = board.clock.now();
    let mut batch = RecorderBatch::default();
    for minute in 0..10u32 {
        let time = start + Duration::from_secs(u64::from(minute) * 60);
        let mut push = |body| batch.push(0, &Arc::new(entry(board, body)), &board.directory);
        push(sample(time, "motor_temp_c", ModelValue::Number(40.0 + f64::from(minute))));
        let door = if minute % 5 == 0 { "open" } else { "closed" };
        push(sample(time + Duration::from_secs(1), "door_state", ModelValue::Text(door.into())));
    }
    let event = Event { time: start, code: "alarm_button".to_owned(), seq: None, values: Vec::new() };
    let reject = Reject {
        topic: "liftline/lift-1/telemetry".to_owned(),
        reason: RejectReason::NotJson,
        detail: "The payload is not JSON.".to_owned(),
        payload: b"\xff{".to_vec(),
        parts: 3,
    };
    for body in [Body::Event(event), Body::Status(Status { time: start, online: true }), Body::Reject(reject)] {
        batch.push(1, &Arc::new(entry(board, body)), &board.directory);
    }
    board.clock.advance(Duration::from_secs(600));
    board.store.record(&batch, board.clock.now()).await.unwrap();
    start
}

#[tokio::test]
async fn a_device_shows_what_it_measures_what_is_watched_and_what_happened() {
    let board = TestBoard::start().await;
    record(&board).await;
    let client = board.as_role(UserRole::Viewer).await;
    let list = client.get("/api/v1/devices").await.json();
    assert_eq!(list["devices"].as_array().unwrap().len(), 1);
    let device = client.get("/api/v1/devices/lift-1").await.json();
    for key in ["id", "name", "plate", "profile", "site", "online", "last_seen", "open_tickets"] {
        assert_eq!(device[key], list["devices"][0][key], "{key}");
    }
    assert_eq!(device["online"], true);
    assert_eq!(device["open_tickets"], 1);
    assert_eq!(device["profile"], json!({ "id": "lift", "name": { "en": "Lift", "zh": "电梯" } }));
    let temperature = &device["channels"][0];
    assert_eq!((&temperature["type"], &temperature["unit"]), (&json!("number"), &json!("°C")));
    assert_eq!(temperature["latest"], json!({ "value": 49.0, "time": "2026-03-01T00:09:00Z" }));
    assert_eq!(device["channels"][1]["states"], json!(["closed", "open"]));
    assert_eq!(device["rules"][0]["condition"], "event alarm_button");
    assert_eq!(device["commands"][0]["name"], "test_call");
    assert_eq!(device["commands"][0]["params"], json!(["to"]));
    assert_eq!(device["tickets"][0]["id"], board.ours.ticket.to_string());
    assert_eq!(device["alerts"][0]["rule"], "entrapment");
    assert_eq!(device["events"][0]["name"]["zh"], "报警按钮");
    for (query, count) in [("q=P-ours", 1), ("q=zzz", 0), ("after=lift-1", 0), ("profile=lift", 1), ("profile=pump", 0)]
    {
        let list = client.get(&format!("/api/v1/devices?{query}")).await.json();
        assert_eq!(list["devices"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn readings_come_in_buckets_and_states_in_steps() {
    let board = TestBoard::start().await;
    let start = record(&board).await;
    let client = board.as_role(UserRole::Viewer).await;
    let path = "/api/v1/devices/lift-1/readings";
    let span = "from=2026-03-01T00:00:00Z&to=2026-03-01T00:10:00Z";
    let series = client.get(&format!("{path}?channel=motor_temp_c&{span}&buckets=2")).await.json();
    assert_eq!((&series["kind"], &series["unit"]), (&json!("series"), &json!("°C")));
    assert!(series["bucket_s"].as_f64().is_some_and(|width| width >= 300.0));
    let points = series["points"].as_array().unwrap();
    assert!((1..=3).contains(&points.len()), "{points:?}");
    let sum = |n: usize| points.iter().map(move |p| p[n].as_f64().unwrap());
    assert_eq!(sum(4).sum::<f64>(), 10.0, "every reading is counted once");
    assert_eq!(sum(1).fold(f64::MAX, f64::min), 40.0);
    assert_eq!(sum(3).fold(f64::MIN, f64::max), 49.0);
    assert_eq!(points[0][0].as_i64().unwrap(), start.as_millis());

    let steps = client.get(&format!("{path}?channel=door_state&{span}")).await.json();
    assert_eq!((&steps["kind"], &steps["bucket_s"]), (&json!("steps"), &json!(0.0)));
    let values: Vec<_> = steps["points"].as_array().unwrap().iter().map(|p| p[1].as_str().unwrap()).collect();
    assert_eq!(values, ["open", "closed", "open", "closed"], "only changes are told");

    for (query, status) in [
        ("channel=nonsense", StatusCode::NOT_FOUND),
        ("channel=Not%20A%20Name", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
        ("channel=motor_temp_c&from=yesterday", StatusCode::BAD_REQUEST),
        ("channel=motor_temp_c&from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", StatusCode::BAD_REQUEST),
        ("channel=motor_temp_c&from=1900-03-02T00:00:00Z", StatusCode::BAD_REQUEST),
    ] {
        let reply = client.get(&format!("{path}?{query}")).await;
        assert_eq!(reply.status, status, "{query}: {}", reply.text());
        reply.error();
    }
}

#[tokio::test]
async fn only_commands_of_the_profile_are_written_down() {
    let board = TestBoard::start().await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let path = "/api/v1/devices/lift-1/commands";
    let reply = client.post(path, json!({ "name": "test_call", "args": { "to": 1 } })).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.text());
    let command = reply.json();
    assert_eq!((&command["state"], &command["args"]), (&json!("queued"), &json!({ "to": 1 })));
    assert_eq!(command["deadline"], "2026-03-01T00:02:00Z");
    assert_eq!(command["title"]["zh"], "测试呼叫");
    assert_eq!(client.get(path).await.json()["commands"][0]["id"], command["id"]);
    let unknown = client.post(path, json!({ "name": "open_doors" })).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(unknown.json()["error"]["remedy"].as_str().unwrap().contains("test_call"));
    let stray = client.post(path, json!({ "name": "test_call", "args": { "from": 1 } })).await;
    assert_eq!(stray.status, StatusCode::BAD_REQUEST);
    assert_eq!(stray.json()["error"]["message"], "The command \"test_call\" takes no argument \"from\".");
    let large = client.post(path, json!({ "name": "test_call", "args": { "to": "y".repeat(5_000) } })).await;
    assert_eq!(large.status, StatusCode::BAD_REQUEST);
    assert_eq!(client.get(path).await.json()["commands"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn rejects_sites_people_and_the_system_are_listed() {
    let board = TestBoard::start().await;
    record(&board).await;
    let client = board.as_role(UserRole::Dispatcher).await;
    let rejects = client.get("/api/v1/rejects?limit=5").await.json();
    assert_eq!((&rejects["total"], &rejects["counts"]), (&json!(3), &json!({ "not_json": 3 })));
    assert_eq!(rejects["kept"], json!({ "not_json": 1 }));
    assert_eq!(rejects["rejects"][0]["parts"], 3);
    assert_eq!((&rejects["devices"][0]["device"], &rejects["devices"][0]["count"]), (&json!("lift-1"), &json!(3)));
    assert_eq!(rejects["rejects"][0]["payload"], "\u{fffd}{");
    assert_eq!(client.get("/api/v1/rejects?reason=forbidden").await.json()["rejects"], json!([]));
    assert_eq!(client.get("/api/v1/rejects?reason=nonsense").await.status, StatusCode::BAD_REQUEST);
    let sites = client.get("/api/v1/sites").await.json();
    assert_eq!(sites["sites"][0]["time_zone"], "Asia/Shanghai");
    let people = client.get("/api/v1/people").await.json();
    assert_eq!(people["people"][0]["receivers"], json!([{ "channel": "sms", "address": TECHNICIAN_NUMBER }]));
    let system = client.get("/api/v1/system").await.json();
    assert_eq!(system["recorder_lag"], 3);
    assert_eq!(system["links"], Value::Array(Vec::new()));
}
