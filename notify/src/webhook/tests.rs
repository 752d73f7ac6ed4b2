use std::time::Duration;

use model::MessageChannel;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use super::*;
use crate::{Notifier, config::NotifyConfig, fixture};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn notifier(allow_private: bool) -> Notifier {
    let config: NotifyConfig = serde_json::from_value(serde_json::json!({
        "webhook": {"secret": SECRET, "timeout": "300ms", "allow_private": allow_private},
    }))
    .unwrap();
    Notifier::new(&config).unwrap()
}

fn message(address: &str) -> OutboxMessage {
    let mut message = fixture::page();
    message.receiver.channel = MessageChannel::Webhook;
    message.receiver.address = address.to_owned();
    message
}

#[test]
fn the_specifications_example_is_reproduced() {
    let key = BASE64_STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let body = br#"{"test": 2432232314}"#;
    let signed = signatures(std::slice::from_ref(&key), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let both = signatures(&[key, vec![1; 24]], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(both.split(' ').count(), 2);
}

#[tokio::test]
async fn only_2xx_is_received() {
    for (status, expected) in
        [(200, "sent"), (204, "sent"), (301, "retry"), (400, "retry"), (410, "dead"), (429, "retry"), (500, "retry")]
    {
        let server = MockServer::start().await;
        let answer =
            ResponseTemplate::new(status).insert_header("retry-after", "9").insert_header("location", "/other");
        Mock::given(method("POST")).respond_with(answer).mount(&server).await;
        let found = notifier(true).send(&message(&server.uri()), fixture::now()).await;
        let name = match &found {
            Outcome::Sent { .. } => "sent",
            Outcome::Retry { after, .. } => {
                assert_eq!(*after, Some(Duration::from_secs(9)));
                "retry"
            }
            Outcome::Unknown { .. } => "unknown",
            Outcome::Dead { .. } => "dead",
        };
        assert_eq!(name, expected, "{status}: {found:?}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "redirects are not followed");
    }
}

#[tokio::test]
async fn the_id_stays_and_the_signature_holds() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
    let notifier = notifier(true);
    let message = message(&server.uri());
    for seconds in [0, 60] {
        drop(notifier.send(&message, fixture::now() + Duration::from_secs(seconds)).await);
    }
    let requests = server.received_requests().await.unwrap();
    let header = |index: usize, name: &str| requests[index].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header(0, "webhook-id"), header(1, "webhook-id"));
    assert_ne!(header(0, "webhook-timestamp"), header(1, "webhook-timestamp"));
    let key = BASE64_STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    for (index, request) in requests.iter().enumerate() {
        let seconds = header(index, "webhook-timestamp").parse().unwrap();
        let expected = signatures(std::slice::from_ref(&key), &header(index, "webhook-id"), seconds, &request.body);
        assert_eq!(header(index, "webhook-signature"), expected);
    }
}

#[tokio::test]
async fn no_answer_means_send_again() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    Mock::given(method("POST")).respond_with(slow).mount(&server).await;
    let found = notifier(true).send(&message(&server.uri()), fixture::now()).await;
    assert!(matches!(found, Outcome::Retry { .. }), "{found:?}");
}

#[tokio::test]
async fn the_inside_of_the_network_cannot_be_reached() {
    let server = MockServer::start().await;
    let port = server.address().port();
    let guarded = notifier(false);
    for (address, says) in [
        (format!("http://127.0.0.1:{port}"), "must begin with https"),
        ("https://127.0.0.1/".to_owned(), "private network"),
        ("https://169.254.169.254/latest/meta-data".to_owned(), "private network"),
        ("https://[::1]/".to_owned(), "private network"),
        ("https://[::ffff:10.0.0.1]/".to_owned(), "private network"),
        (format!("https://localhost:{port}/"), "private network"),
        ("ftp://example.org/".to_owned(), "must begin with https"),
        ("not a url".to_owned(), "not a URL"),
    ] {
        let found = guarded.send(&message(&address), fixture::now()).await;
        let (Outcome::Dead { reason } | Outcome::Retry { reason, .. }) = &found else { panic!("{address}: {found:?}") };
        assert!(reason.contains(says), "{address}: {reason}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[test]
fn public_addresses_are_told_from_others() {
    for ip in ["8.8.8.8", "114.114.114.114", "2606:4700::1111"] {
        assert!(is_public(ip.parse().unwrap()), "{ip}");
    }
    for ip in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "240.0.0.1",
        "::",
        "fe80::1",
        "fd00::1",
        "2002:7f00:1::",
    ] {
        assert!(!is_public(ip.parse().unwrap()), "{ip}");
    }
}
