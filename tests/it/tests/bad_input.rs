//! Everything a device can get wrong, through the real ways in: it is acknowledged, kept with its reason and a sentence,
//! counted, and does no harm to what is right.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use it::{
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::{Mosquitto, paho},
    raw::{Answer, RawClient},
    stories::{now_ms, telemetry},
};
use serde_json::{Value, json};

/// A message that the hub cannot use, or not wholly.
struct Bad {
    /// The class under which it is counted.
    reason: &'static str,
    topic: String,
    payload: String,
    /// What the sentence must say: what was wrong, and what to do.
    says: [&'static str; 2],
    /// A good value beside it, as it will be stored: (channel, value).
    beside: Option<(&'static str, &'static str)>,
}

/// What a message says: any text, or JSON.
struct Payload(String);

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<Value> for Payload {
    fn from(json: Value) -> Self {
        Self(json.to_string())
    }
}

fn bad(reason: &'static str, topic: &str, payload: impl Into<Payload>, says: [&'static str; 2]) -> Bad {
    Bad { reason, topic: topic.to_owned(), payload: payload.into().0, says, beside: None }
}

/// One of every class that a device can send under its own name.
fn catalogue() -> Vec<Bad> {
    let now = now_ms();
    let hour = 3_600_000;
    vec![
        bad(
            "not_json",
            "liftline/lift-1/telemetry",
            "{motor_temp_c: 40}",
            ["the payload is not JSON", "write {\"ts\""],
        ),
        bad("not_json", "liftline/lift-1/events", "alarm_button", ["the payload is not JSON", "\"code\""]),
        bad("wrong_shape", "liftline/lift-1/telemetry", "[]", ["the array is empty", "write {\"ts\""]),
        bad(
            "wrong_shape",
            "liftline/lift-1/telemetry",
            json!({ "motor_temp_c": 40 }),
            ["\"values\" is missing", "the channels go inside \"values\""],
        ),
        Bad {
            beside: Some(("car_load_kg", "101")),
            ..bad(
                "wrong_type",
                "liftline/lift-1/telemetry",
                json!({ "ts": now - 1000, "values": { "motor_temp_c": "40", "car_load_kg": 101 } }),
                ["motor_temp_c", "send the number without quotes"],
            )
        },
        Bad {
            beside: Some(("car_load_kg", "102")),
            ..bad(
                "unknown_channel",
                "liftline/lift-1/telemetry",
                json!({ "ts": now - 2000, "values": { "motor_temp": 40, "car_load_kg": 102 } }),
                ["channel \"motor_temp\" is not in profile \"lift\"", "did you mean \"motor_temp_c\"?"],
            )
        },
        bad(
            "unknown_event",
            "liftline/lift-1/events",
            json!({ "ts": now, "code": "alarm_buton" }),
            ["event \"alarm_buton\" is not in profile \"lift\"", "did you mean \"alarm_button\"?"],
        ),
        Bad {
            beside: Some(("car_load_kg", "103")),
            ..bad(
                "out_of_range",
                "liftline/lift-1/telemetry",
                json!({ "ts": now - 3000, "values": { "motor_temp_c": 4000, "car_load_kg": 103 } }),
                ["motor_temp_c", "4000"],
            )
        },
        bad(
            "future_timestamp",
            "liftline/lift-1/telemetry",
            json!({ "ts": now + hour, "values": { "car_load_kg": 1 } }),
            ["ahead of the hub's clock", "set the device's clock"],
        ),
        bad(
            "future_timestamp",
            "liftline/lift-1/telemetry",
            json!({ "ts": now / 1000, "values": { "car_load_kg": 1 } }),
            ["looks like seconds", "send milliseconds"],
        ),
        bad(
            "too_large",
            "liftline/lift-1/telemetry",
            json!({ "ts": now, "values": { "car_load_kg": 1 }, "padding": "x".repeat(256 * 1024) }),
            ["at most 262144 are accepted", "send fewer values"],
        ),
        bad(
            "bad_topic",
            "liftline/lift-1/telemtry",
            json!({ "values": { "car_load_kg": 1 } }),
            ["the hub reads nothing on", "publish to liftline/lift-1/telemetry"],
        ),
    ]
}

/// Waits for the reject of a message and returns it.
async fn reject(api: &it::api::Api, bad: &Bad) -> Value {
    eventually(&format!("{} of {}", bad.reason, bad.topic), it::SOON, || async {
        let page = api.get(&format!("/api/v1/rejects?reason={}", bad.reason)).await;
        page["rejects"]
            .as_array()
            .unwrap()
            .iter()
            .find(|reject| reject["topic"] == bad.topic && bad.payload.starts_with(reject["payload"].as_str().unwrap()))
            .cloned()
    })
    .await
}

/// Checks that each is kept with its sentence and counted, that what was good beside it is stored, and that the hub goes on.
async fn all_are_kept(hub: &TestHub, port: u16, login: (&str, &str), catalogue: &[Bad]) {
    let api = hub.api().await;
    let messages: Vec<_> = catalogue.iter().map(|bad| (bad.topic.clone(), bad.payload.clone())).collect();
    let acknowledged = paho(port, "5", login, &messages).await.unwrap();
    assert_eq!(acknowledged, messages.len(), "what cannot be used is acknowledged all the same");
    for bad in catalogue {
        let reject = reject(&api, bad).await;
        let detail = reject["detail"].as_str().unwrap();
        println!("{:<16} {detail}", bad.reason);
        assert_eq!(reject["reason"], bad.reason);
        for words in bad.says {
            assert!(detail.contains(words), "{} should say {words:?}: {detail}", bad.reason);
        }
        assert!(reject["payload"].as_str().unwrap().len() <= 1024, "a reject keeps the beginning of the payload only");
    }
    let counts = api.get("/api/v1/rejects").await["counts"].clone();
    let reasons: std::collections::BTreeSet<_> = catalogue.iter().map(|bad| bad.reason).collect();
    for reason in reasons {
        let expected = catalogue.iter().filter(|bad| bad.reason == reason).count() as u64;
        assert_eq!(counts[reason], expected, "{reason} in the API");
        let series = format!("liftline_rejects_total{{reason=\"{reason}\"}}");
        assert_eq!(hub.metric(&series).await, expected, "{reason} in /metrics");
    }
    // The hub goes on, and what was good beside the bad is there; of what was wholly bad, nothing is.
    let after = telemetry("lift-1", now_ms(), &json!({ "car_load_kg": 104 }));
    assert_eq!(paho(port, "3.1.1", login, &[after]).await.unwrap(), 1);
    let mut expected: Vec<&str> = catalogue.iter().filter_map(|bad| Some(bad.beside?.1)).chain(["104"]).collect();
    expected.sort_unstable();
    eventually("the good values", it::SOON, || async {
        let stored = hub.readings("lift-1", "car_load_kg");
        let mut stored: Vec<&str> = stored.iter().map(|(_, _, value)| value.as_str()).collect();
        stored.sort_unstable();
        (stored == expected).then_some(())
    })
    .await;
    assert!(hub.readings("lift-1", "motor_temp_c").iter().all(|(_, _, value)| value.is_empty()));
    assert!(api.tickets("all", "breakdown").await.is_empty(), "what is rejected raises no alarm");
}

#[tokio::test]
async fn through_mosquitto() {
    let broker = Mosquitto::start().await;
    let hub = TestHub::behind(&broker).await;
    let mut catalogue = catalogue();
    // The hub subscribes to the topics that it reads and to no others: a misspelt one stays at the broker.
    catalogue.retain(|bad| bad.reason != "bad_topic");
    catalogue.push(bad(
        "unknown_device",
        "liftline/lift-99/telemetry",
        json!({ "values": { "car_load_kg": 1 } }),
        ["no device \"lift-99\" is registered", "liftline device import"],
    ));
    catalogue.push(bad(
        "bad_topic",
        "liftline/lift!1/telemetry",
        json!({ "values": { "car_load_kg": 1 } }),
        ["the topic names no usable device", "'!'"],
    ));
    all_are_kept(&hub, broker.port, ("", ""), &catalogue).await;
}

#[tokio::test]
async fn through_the_front_door() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let mut catalogue = catalogue();
    catalogue.push(bad(
        "forbidden",
        "liftline/lift-2/telemetry",
        json!({ "values": { "car_load_kg": 1 } }),
        ["\"lift-1\" published under the name of \"lift-2\"", "may publish only under liftline/lift-1/"],
    ));
    all_are_kept(&hub, hub.mqtt.unwrap().port(), ("lift-1", SECRET), &catalogue).await;
    assert!(hub.readings("lift-2", "car_load_kg").is_empty(), "nothing was stored in the other device's name");
    // Nobody can speak for a device that is not registered: the login itself is refused.
    let stranger = telemetry("lift-99", now_ms(), &json!({ "car_load_kg": 1 }));
    let refusal = paho(hub.mqtt.unwrap().port(), "5", ("lift-99", SECRET), &[stranger]).await.unwrap_err();
    assert!(refusal.contains("refused"), "{refusal}");
}

/// A topic that is not UTF-8 breaks the protocol: both brokers end the connection, and nothing of it reaches the hub.
/// The message is not acknowledged; others go on.
#[tokio::test]
async fn a_topic_that_is_not_utf8() {
    let broker = Mosquitto::start().await;
    let behind = TestHub::behind(&broker).await;
    let direct = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let topic = b"liftline/lift-1/\xff\xfe";
    let payload = br#"{"values":{"car_load_kg":1}}"#;
    for (hub, address, login) in [
        (&behind, ([127, 0, 0, 1], broker.port).into(), None),
        (&direct, direct.mqtt.unwrap(), Some(("lift-1", SECRET))),
    ] {
        let mut client = RawClient::connect(address, login).await;
        assert_eq!(client.publish(b"liftline/lift-1/telemetry", 1, false, payload).await, Answer::Acknowledged);
        assert_eq!(client.publish(topic, 2, false, payload).await, Answer::Closed);
        // The device connects again and is heard; the hub has not stopped.
        let mut client = RawClient::connect(address, login).await;
        let answer = client.publish(b"liftline/lift-1/telemetry", 1, false, br#"{"values":{"car_load_kg":2}}"#).await;
        assert_eq!(answer, Answer::Acknowledged);
        eventually("what was good is stored", it::SOON, || async {
            let stored = hub.readings("lift-1", "car_load_kg");
            (stored.len() == 2 && stored[1].2 == "2").then_some(())
        })
        .await;
    }
}

/// A packet beyond every limit is not even read: the front door ends the connection, and others go on.
#[tokio::test]
async fn a_packet_of_two_mebibytes() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let login = Some(("lift-1", SECRET));
    let mut client = RawClient::connect(hub.mqtt.unwrap(), login).await;
    assert_eq!(client.publish(b"liftline/lift-1/telemetry", 1, false, &vec![b' '; 2 << 20]).await, Answer::Closed);
    let mut client = RawClient::connect(hub.mqtt.unwrap(), login).await;
    let small = br#"{"values":{"car_load_kg":1}}"#;
    assert_eq!(client.publish(b"liftline/lift-1/telemetry", 1, false, small).await, Answer::Acknowledged);
}

/// A clock that is a little fast is believed, one that is slow too; a repeated message is stored once, and late ones take
/// their place in time.
#[tokio::test]
async fn skewed_repeated_and_disordered_messages() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let now = now_ms() / 1000 * 1000;
    let mut client = RawClient::connect(hub.mqtt.unwrap(), Some(("lift-1", SECRET))).await;
    let load = |seq: i64, ts: i64| json!({ "ts": ts, "seq": seq, "values": { "car_load_kg": seq } }).to_string();
    let minute = 60_000;
    let sent = [
        (5, now),
        (6, now + 2 * minute),          // Two minutes fast: within the tolerance.
        (3, now - 2 * minute),          // Late.
        (4, now - minute),              // In disorder.
        (2, now - 3 * 1440 * minute),   // From an offline buffer, three days old.
        (1, now - 400 * 1440 * minute), // A clock that lost more than a year.
    ];
    for (id, (seq, ts)) in (1..).zip(sent) {
        for duplicate in [false, true] {
            let answer = client.publish(b"liftline/lift-1/telemetry", id, duplicate, load(seq, ts).as_bytes()).await;
            assert_eq!(answer, Answer::Acknowledged);
        }
    }
    let stored = eventually("everything is stored", it::SOON, || async {
        let stored = hub.readings("lift-1", "car_load_kg");
        (stored.len() >= sent.len()).then_some(stored)
    })
    .await;
    let seqs: Vec<_> = stored.iter().map(|(_, seq, _)| seq.unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6], "each once, in the order of time");
    let api = hub.api().await;
    assert_eq!(api.get("/api/v1/rejects").await["counts"], json!({}), "nothing of this is an error");
    // What the chart calls the latest is the latest in time, not the last to arrive.
    let device = api.get("/api/v1/devices/lift-1").await;
    let channels = device["channels"].as_array().unwrap();
    let channel = channels.iter().find(|channel| channel["id"] == "car_load_kg").unwrap();
    assert_eq!(channel["latest"]["value"], 6.0);
}
