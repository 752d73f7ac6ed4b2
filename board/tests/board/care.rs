//! The care page in a browser's hands.

use std::time::Duration;

use axum::http::{StatusCode, header};
use desk::{Action, Actor, Event};
use model::{Language, MessageChannel};
use store::UserRole;

use crate::fixture::TestBoard;

#[tokio::test]
async fn the_page_opens_without_a_login_in_the_persons_language_and_keeps_its_secret() {
    let board = TestBoard::start().await;
    let path = board.care_path(Language::Zh).await;
    let client = board.anonymous();
    let reply = client.get(&path).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.body.len() < 50_000);
    assert_eq!(reply.header(&header::CACHE_CONTROL), "no-store");
    assert_eq!(reply.header(&header::REFERRER_POLICY), "no-referrer");
    assert!(reply.header(&header::CONTENT_SECURITY_POLICY).starts_with("default-src 'none'"));
    assert!(reply.headers["x-robots-tag"].to_str().unwrap().contains("noindex"));
    assert!(reply.headers.get(header::SET_COOKIE).is_none());
    let page = reply.text();
    assert!(page.contains("lang=\"zh-CN\"") && page.contains("我们正在呼叫电梯维保人员。"), "{page}");
    assert!(page.contains("Lift of ours") && page.contains("P-ours") && page.contains("1 Main Road"));
    assert!(page.contains("08:00"), "times are those of the site");
    let english = client.get(&format!("{path}?lang=en")).await.text();
    assert!(english.contains("We are calling the lift engineers.") && !english.contains("<strong>Ann"));
    assert!(client.get(&format!("{path}?lang=klingon")).await.text().contains("lang=\"zh-CN\""), "never refuses");
    let state = client.get(&format!("{path}/state?lang=en")).await.json();
    assert_eq!(state["headline"], "We are calling the lift engineers.");
    assert_eq!(state["over"], false);
    assert!(english.contains(state["html"].as_str().unwrap()), "script and page show the same");
}

#[tokio::test]
async fn the_page_follows_the_ticket_through_its_life() {
    let board = TestBoard::start().await;
    let path = board.care_path(Language::En).await;
    let client = board.anonymous();
    let person = board.store.people(board.ours.org).await.unwrap()[0].clone();
    let actor = Actor::Person { person: person.id, name: person.name.clone(), channel: MessageChannel::Sms };
    let headline = async || client.get(&format!("{path}/state")).await.json()["headline"].as_str().unwrap().to_owned();
    let mut told = vec![headline().await];
    for action in [Action::Acknowledge, Action::EnRoute, Action::Arrived, Action::Released] {
        board.clock.advance(Duration::from_secs(30));
        board.apply(Event::Act { actor: actor.clone(), action, as_of: None }).await;
        told.push(headline().await);
    }
    let page = client.get(&path).await.text();
    assert!(page.contains("If you are still inside"));
    let note = Some("done".to_owned());
    board.apply(Event::Act { actor, action: Action::Close { note, cause: None, parts: None }, as_of: None }).await;
    told.push(headline().await);
    assert_eq!(
        told,
        [
            "We are calling the lift engineers.",
            "A person has answered and is taking care of it.",
            "Help has told us that it is on the way.",
            "Help has told us that it is at the building.",
            "You are reported to be out.",
            "It is over. This case is closed.",
        ]
    );
    let page = client.get(&path).await.text();
    assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains("<form"), "nothing more will happen");
    assert!(!page.contains(&person.name), "names of responders are not theirs to know");
}

#[tokio::test]
async fn what_the_person_says_reaches_the_dispatcher_and_earns_nothing() {
    let board = TestBoard::start().await;
    let path = board.care_path(Language::En).await;
    let client = board.anonymous();
    let said = client.post_form(&format!("{path}/say?lang=en"), "what=out").await;
    assert_eq!(
        (said.status, said.header(&header::LOCATION)),
        (StatusCode::SEE_OTHER, format!("{path}?lang=en").as_str())
    );
    assert!(client.get(&path).await.text().contains("You told us that you are out."));
    let dispatcher = board.as_role(UserRole::Dispatcher).await;
    let detail = dispatcher.get(&format!("/api/v1/tickets/{}", board.ours.ticket)).await.json();
    let note = detail["timeline"].as_array().unwrap().iter().find(|l| l["what"]["type"] == "note").unwrap();
    assert_eq!(note["actor"]["kind"], "affected");
    assert!(note["what"]["text"].as_str().unwrap().contains("I am out now."));
    assert!(!detail["milestones"].as_array().unwrap().iter().any(|m| m["kind"] == "released"));
    assert_eq!(detail["status"], "open");
}

#[tokio::test]
async fn a_frightened_thumb_is_slowed_down_kindly() {
    let board = TestBoard::start().await;
    let path = board.care_path(Language::En).await;
    let client = board.anonymous();
    let say = async || client.post_form(&format!("{path}/say"), "what=help").await;
    for _ in 0..6 {
        assert_eq!(say().await.status, StatusCode::SEE_OTHER);
    }
    let slowed = say().await;
    assert_eq!(slowed.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(slowed.text().contains("We have your message"));
    board.clock.advance(Duration::from_secs(600));
    assert_eq!(say().await.status, StatusCode::SEE_OTHER);
    assert!(client.post_form(&format!("{path}/say"), "what=nonsense").await.status.is_client_error());
}

#[tokio::test]
async fn an_unknown_link_is_answered_kindly_in_both_languages() {
    let board = TestBoard::start().await;
    let reply = board.anonymous().get("/c/unknown").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let page = reply.text();
    assert!(page.contains("This page is not there") && page.contains("此页面不存在") && page.contains("alarm button"));
    assert_eq!(reply.header(&header::CACHE_CONTROL), "no-store");
}
