//! The live streams.

use std::time::Duration;

use axum::{
    body::BodyDataStream,
    http::{Method, StatusCode, header},
};
use board::BoardConfig;
use futures::StreamExt;
use model::{Clock, Language};
use serde_json::Value;
use store::UserRole;

use crate::fixture::{Client, PUBLIC_URL, TestBoard};

/// Reads server-sent events one by one.
struct Events {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: i64,
    data: Value,
}

impl Events {
    async fn open(client: &Client, uri: &str) -> Self {
        let client = Client { gzip: true, ..client.clone() };
        let response = client.open(Method::GET, uri, None).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert!(response.headers().get(header::CONTENT_ENCODING).is_none(), "a compressed stream would be held back");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    block.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
                };
                let event = Event {
                    name: field("event").unwrap(),
                    id: field("id").unwrap().parse().unwrap(),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                };
                self.text = rest.to_owned();
                return Some(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await.expect("nothing came")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream ended");
            if event.name == name {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn a_change_is_told_to_its_own_organisation_only() {
    let board = TestBoard::start().await;
    let mut ours = Events::open(&board.as_role(UserRole::Viewer).await, "/api/v1/stream").await;
    let outsider = board.client(board.theirs.user(UserRole::Viewer)).await;
    let mut theirs = Events::open(&outsider, "/api/v1/stream").await;
    let hello = ours.next().await.unwrap();
    assert_eq!((hello.name.as_str(), &hello.data["now"]), ("hello", &Value::from("2026-03-01T00:00:00Z")));
    assert_eq!(theirs.next().await.unwrap().name, "hello");
    board.note(&board.ours, "ours").await;
    board.note(&board.theirs, "theirs").await;
    let told = ours.next_named("ticket").await;
    assert_eq!(told.data["id"], board.ours.ticket.to_string());
    assert_eq!(told.data["site"]["name"], "ours tower");
    assert!(told.id > hello.id, "ids rise");
    let told = theirs.next_named("ticket").await;
    assert_eq!(told.data["id"], board.theirs.ticket.to_string(), "the first that they hear of is their own");
}

#[tokio::test]
async fn the_care_page_is_told_at_once() {
    let board = TestBoard::start().await;
    let path = board.care_path(Language::En).await;
    let mut events = Events::open(&board.anonymous(), &format!("{path}/stream?lang=zh")).await;
    let first = events.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), first.data["headline"].as_str().unwrap()),
        ("state", "我们正在呼叫电梯维保人员。")
    );
    let user = board.ours.user(UserRole::Dispatcher);
    let actor = desk::Actor::User { user: user.id, name: user.name.clone() };
    board.apply(desk::Event::Act { actor, action: desk::Action::Acknowledge, as_of: None }).await;
    let next = events.next_named("state").await;
    assert_eq!(next.data["headline"], "已有人应答，正在处理。");
    assert_ne!(next.data["mark"], first.data["mark"]);
}

#[tokio::test]
async fn who_cannot_keep_up_is_told_to_load_everything_again() {
    let board = TestBoard::start().await;
    let mut events = Events::open(&board.as_role(UserRole::Viewer).await, "/api/v1/stream").await;
    assert_eq!(events.next().await.unwrap().name, "hello");
    let mut batch = store::RecorderBatch::default();
    let device = &board.ours.device.id;
    for n in 0..5_000u32 {
        let time = board.clock.now() + Duration::from_millis(u64::from(n));
        batch.statuses.push((device.clone(), model::Status { time, online: n % 2 == 0 }));
    }
    board.store.record(&batch, board.clock.now()).await.unwrap();
    let told = events.next().await.unwrap();
    assert_eq!((told.name.as_str(), told.data), ("resync", serde_json::json!({})));
    assert_eq!(events.next().await.unwrap().name, "device", "and hears what comes after");
}

#[tokio::test]
async fn streams_end_with_the_hub() {
    let board = TestBoard::start().await;
    let path = board.care_path(Language::En).await;
    let mut live = Events::open(&board.as_role(UserRole::Viewer).await, "/api/v1/stream").await;
    let mut care = Events::open(&board.anonymous(), &format!("{path}/stream")).await;
    assert!(live.next().await.is_some() && care.next().await.is_some());
    board.shutdown.cancel();
    while live.next().await.is_some() {}
    while care.next().await.is_some() {}
}

#[tokio::test]
async fn there_are_only_so_many_streams_and_a_closed_one_makes_room() {
    let config = BoardConfig { public_url: PUBLIC_URL.to_owned(), max_streams: 1, ..BoardConfig::default() };
    let board = TestBoard::start_with(config).await;
    let client = board.as_role(UserRole::Viewer).await;
    let mut first = Events::open(&client, "/api/v1/stream").await;
    assert!(first.next().await.is_some());
    let refused = client.get("/api/v1/stream").await;
    assert_eq!((refused.status, refused.error().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"));
    drop(first);
    Events::open(&client, "/api/v1/stream").await;
}
