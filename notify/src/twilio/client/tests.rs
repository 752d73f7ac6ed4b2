//! The client against a provider that misbehaves.

use std::time::Duration;

use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_string_contains, header, method, path, query_param},
};

use super::*;
use crate::{Notifier, fixture};

fn config(base_url: &str) -> NotifyConfig {
    let twilio = serde_json::from_value(json!({
        "base_url": base_url, "account_sid": "AC123", "auth_token": "secret", "from": "+442071838750", "timeout": "300ms",
    }));
    NotifyConfig {
        public_url: "https://lift.example.org/".to_owned(),
        twilio: Some(twilio.unwrap()),
        ..NotifyConfig::default()
    }
}

fn notifier(base_url: &str) -> Notifier {
    Notifier::new(&config(base_url)).unwrap()
}

async fn answering(response: ResponseTemplate) -> (MockServer, Notifier) {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(response).mount(&server).await;
    let notifier = notifier(&server.uri());
    (server, notifier)
}

async fn outcome_of(response: ResponseTemplate) -> Outcome {
    let (_server, notifier) = answering(response).await;
    notifier.send(&fixture::page(), fixture::now()).await
}

fn error(status: u16, code: u32) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "code": code, "message": "as the provider says it", "more_info": "https://x", "status": status,
    }))
}

#[tokio::test]
async fn a_message_is_posted_as_the_provider_wants_it() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/2010-04-01/Accounts/AC123/Messages.json"))
        .and(header("authorization", "Basic QUMxMjM6c2VjcmV0"))
        .and(body_string_contains("To=%2B447700900123&From=%2B442071838750&Body=ENTRAPMENT"))
        .and(body_string_contains(
            "StatusCallback=https%3A%2F%2Flift.example.org%2Fcallbacks%2Ftwilio%2Fstatus%3Fm%3D0190c2c4",
        ))
        .and(body_string_contains("ValidityPeriod=1800"))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({"sid": "SM1", "status": "queued"})))
        .expect(1)
        .mount(&server)
        .await;
    let outcome = notifier(&server.uri()).send(&fixture::page(), fixture::now()).await;
    assert_eq!(outcome, Outcome::Sent { provider_id: "SM1".to_owned() });
}

#[tokio::test]
async fn a_call_carries_its_document_and_asks_for_every_event() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/2010-04-01/Accounts/AC123/Calls.json"))
        .and(body_string_contains("Twiml=%3C%3Fxml"))
        .and(body_string_contains(
            "StatusCallbackEvent=initiated&StatusCallbackEvent=ringing&StatusCallbackEvent=answered",
        ))
        .and(body_string_contains("AsyncAmd=true"))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({"sid": "CA1"})))
        .mount(&server)
        .await;
    let mut page = fixture::page();
    page.receiver.channel = MessageChannel::Voice;
    let outcome = notifier(&server.uri()).send(&page, fixture::now()).await;
    assert_eq!(outcome, Outcome::Sent { provider_id: "CA1".to_owned() });
}

#[tokio::test]
async fn too_many_requests_waits_as_long_as_asked() {
    let outcome = outcome_of(error(429, 20429).insert_header("retry-after", "7")).await;
    assert!(
        matches!(outcome, Outcome::Retry { after: Some(after), .. } if after == Duration::from_secs(7)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_outcome_that_is_not_known_is_said_to_be_unknown() {
    for response in [
        error(500, 20500),
        error(503, 20503),
        ResponseTemplate::new(502).set_body_string("<html>Bad Gateway</html>"),
        ResponseTemplate::new(201).set_body_string("{\"sid\": "),
        ResponseTemplate::new(201).set_body_json(json!({"status": "queued"})),
        ResponseTemplate::new(201).set_body_json(json!({"sid": "SM1"})).set_delay(Duration::from_secs(30)),
    ] {
        let outcome = outcome_of(response).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let outcome = notifier(&format!("http://{address}")).send(&fixture::page(), fixture::now()).await;
    assert!(matches!(outcome, Outcome::Retry { after: None, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_connection_cut_after_the_request_is_unknown() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let notifier = notifier(&format!("http://{address}"));
    let page = fixture::page();
    let cut = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 16_384]).await.unwrap() > 0);
    };
    let (outcome, ()) = tokio::join!(notifier.send(&page, fixture::now()), cut);
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
}

#[tokio::test]
async fn what_can_never_be_sent_is_dead_with_a_remedy() {
    for (code, says) in
        [(21211, "not a telephone number"), (21610, "STOP"), (21408, "country"), (21614, "cannot receive SMS")]
    {
        let outcome = outcome_of(error(400, code)).await;
        assert!(matches!(&outcome, Outcome::Dead { reason } if reason.contains(says)), "{outcome:?}");
    }
    let unknown = outcome_of(error(400, 29999)).await;
    assert!(matches!(&unknown, Outcome::Dead { reason } if reason.contains("as the provider says it")), "{unknown:?}");
}

#[tokio::test]
async fn what_the_operator_can_mend_is_not_the_messages_death() {
    for response in [
        error(401, 20003),
        ResponseTemplate::new(401),
        ResponseTemplate::new(403),
        error(400, 21606),
        ResponseTemplate::new(404).set_body_string("not here"),
        ResponseTemplate::new(302).insert_header("location", "https://elsewhere.example"),
    ] {
        let outcome = outcome_of(response).await;
        assert!(matches!(&outcome, Outcome::Retry { reason, .. } if reason.contains("check ")), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_expired_message_is_not_sent() {
    let (server, notifier) = answering(ResponseTemplate::new(201)).await;
    let page = fixture::page();
    let outcome = notifier.send(&page, page.expires_at).await;
    assert!(matches!(outcome, Outcome::Dead { .. }), "{outcome:?}");
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unconfigured_channel_says_what_to_add() {
    let notifier = Notifier::new(&NotifyConfig::default()).unwrap();
    for (channel, section) in [
        (MessageChannel::Sms, "[notify.twilio]"),
        (MessageChannel::Voice, "[notify.twilio]"),
        (MessageChannel::Email, "[notify.smtp]"),
        (MessageChannel::Webhook, "[notify.webhook]"),
    ] {
        let mut page = fixture::page();
        page.receiver.channel = channel;
        let outcome = notifier.send(&page, fixture::now()).await;
        assert!(matches!(&outcome, Outcome::Dead { reason } if reason.contains(section)), "{outcome:?}");
    }
}

async fn listing(resource: &str, body: serde_json::Value) -> (MockServer, Notifier) {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(format!("/2010-04-01/Accounts/AC123/{resource}.json")))
        .and(query_param("To", "+447700900123"))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(&server)
        .await;
    let notifier = notifier(&server.uri());
    (server, notifier)
}

#[tokio::test]
async fn a_lost_answer_is_found_by_the_reference() {
    let now = fixture::now();
    let created = "Thu, 01 Jan 2026 00:00:00 +0000";
    let listed = |body: &str, created: &str| {
        json!({"messages": [
            {"sid": "SM0", "body": "another message #12-ffff", "date_created": created},
            {"sid": "SM1", "body": body, "date_created": created},
        ]})
    };
    let (_server, notifier) = listing("Messages", listed("ENTRAPMENT … #12-ab3f", created)).await;
    let found = notifier.look_up(&fixture::page(), now, now + Duration::from_secs(5)).await;
    assert_eq!(found, Some(Outcome::Sent { provider_id: "SM1".to_owned() }));

    // The same reference a day ago was another message.
    let old = listed("ENTRAPMENT … #12-ab3f", "Wed, 31 Dec 2025 00:00:00 +0000");
    let (_server, notifier) = listing("Messages", old).await;
    let found = notifier.look_up(&fixture::page(), now, now + Duration::from_secs(5)).await;
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_page_that_is_not_found_is_sent_again_and_news_is_not() {
    let now = fixture::now();
    let (_server, notifier) = listing("Messages", json!({"messages": []})).await;
    for (purpose, again) in [
        (Purpose::Page, true),
        (Purpose::CareLink, true),
        (Purpose::StandDown, true),
        (Purpose::Answer, true),
        (Purpose::Progress, false),
        (Purpose::Notice, false),
    ] {
        let mut message = fixture::page();
        message.content.purpose = purpose;
        let found = notifier.look_up(&message, now, now).await;
        assert_eq!(found.is_none(), again, "{purpose:?}: {found:?}");
        assert_eq!(matches!(found, Some(Outcome::Dead { .. })), !again, "{purpose:?}: {found:?}");
    }
}

#[tokio::test]
async fn one_call_since_the_attempt_is_ours_and_two_cannot_be_told_apart() {
    let now = fixture::now();
    let mut page = fixture::page();
    page.receiver.channel = MessageChannel::Voice;
    let call = |sid: &str| json!({"sid": sid, "date_created": "Thu, 01 Jan 2026 00:00:01 +0000"});
    let earlier = json!({"sid": "CA0", "date_created": "Wed, 31 Dec 2025 23:59:00 +0000"});
    let (_server, notifier) = listing("Calls", json!({"calls": [call("CA1"), earlier]})).await;
    let found = notifier.look_up(&page, now, now).await;
    assert_eq!(found, Some(Outcome::Sent { provider_id: "CA1".to_owned() }));
    let (_server, notifier) = listing("Calls", json!({"calls": [call("CA1"), call("CA2")]})).await;
    assert_eq!(notifier.look_up(&page, now, now).await, None);
}

#[tokio::test]
async fn the_call_of_another_message_is_not_taken_for_ours() {
    let now = fixture::now();
    let call = |id: u128| {
        let mut page = fixture::page();
        page.receiver.channel = MessageChannel::Voice;
        page.id = model::OutboxId(uuid::Uuid::from_u128(id));
        page
    };
    let (ours, theirs, lost) = (call(1), call(2), call(3));
    let listed = json!({"calls": [{"sid": "CA1", "date_created": "Thu, 01 Jan 2026 00:00:01 +0000"}]});
    let (server, notifier) = listing("Calls", listed).await;
    let answers = |response: ResponseTemplate| Mock::given(method("POST")).respond_with(response).up_to_n_times(1);
    answers(ResponseTemplate::new(201).set_body_json(json!({"sid": "CA1"}))).mount(&server).await;
    assert!(matches!(notifier.send(&theirs, now).await, Outcome::Sent { .. }));
    assert_eq!(notifier.look_up(&ours, now, now).await, None, "the only call is theirs: ours is made again");
    assert!(notifier.look_up(&theirs, now, now).await.is_some());

    // Another call to the number waits for its answer as well: the one that is listed may be either.
    let listed = json!({"calls": [{"sid": "CA2", "date_created": "Thu, 01 Jan 2026 00:00:01 +0000"}]});
    let (server, notifier) = listing("Calls", listed).await;
    answers(ResponseTemplate::new(500)).mount(&server).await;
    assert!(matches!(notifier.send(&lost, now).await, Outcome::Unknown { .. }));
    assert_eq!(notifier.look_up(&ours, now, now).await, None);
    answers(ResponseTemplate::new(201).set_body_json(json!({"sid": "CA3"}))).mount(&server).await;
    assert!(matches!(notifier.send(&lost, now).await, Outcome::Sent { .. }));
    let found = notifier.look_up(&ours, now, now).await;
    assert_eq!(found, Some(Outcome::Sent { provider_id: "CA2".to_owned() }), "the other has its own now");
}

#[tokio::test]
async fn an_unreadable_list_is_asked_again_but_not_for_ever() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
    let notifier = notifier(&server.uri());
    let (page, now) = (fixture::page(), fixture::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    assert!(matches!(notifier.look_up(&page, now, after(5)).await, Some(Outcome::Unknown { .. })));
    assert_eq!(notifier.look_up(&page, now, after(15)).await, None);
}

#[tokio::test]
async fn the_provider_is_asked_what_it_never_reported() {
    let server = MockServer::start().await;
    for (resource, answer) in [
        ("Messages/SM1", json!({"sid": "SM1", "status": "delivered", "error_code": null})),
        ("Messages/SM2", json!({"sid": "SM2", "status": "undelivered", "error_code": 30005})),
        ("Calls/CA1", json!({"sid": "CA1", "status": "in-progress", "answered_by": "human"})),
        ("Calls/CA2", json!({"sid": "CA2", "status": "completed", "answered_by": "machine_start"})),
    ] {
        Mock::given(method("GET"))
            .and(path(format!("/2010-04-01/Accounts/AC123/{resource}.json")))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount(&server)
            .await;
    }
    let notifier = notifier(&server.uri());
    let ask = async |channel, id| notifier.twilio().unwrap().ask(channel, id).await;
    assert_eq!(ask(MessageChannel::Sms, "SM1").await, Ok(Progress::Delivered));
    let failed = ask(MessageChannel::Sms, "SM2").await.unwrap();
    assert!(failed.reason().is_some_and(|reason| reason.contains("error 30005")), "{failed:?}");
    assert_eq!(ask(MessageChannel::Voice, "CA1").await, Ok(Progress::Delivered));
    let machine = ask(MessageChannel::Voice, "CA2").await.unwrap();
    assert_eq!(machine.reason(), Some("a machine answered the call"));
    assert_eq!(ask(MessageChannel::Sms, "SM9").await, Err("it answered 404 Not Found".to_owned()));
}

#[test]
fn callbacks_are_verified_against_the_public_address() {
    let notifier = notifier("http://127.0.0.1:1");
    let params = [("MessageSid".to_owned(), "SM1".to_owned())];
    let url = "https://lift.example.org/callbacks/twilio/status?m=1";
    let signed = crate::twilio::signature("secret", url, &params);
    let twilio = notifier.twilio().unwrap();
    assert!(twilio.verify("/callbacks/twilio/status?m=1", &params, &signed));
    assert!(!twilio.verify("/callbacks/twilio/status?m=2", &params, &signed));
}
