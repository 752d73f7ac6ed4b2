//! Unmodified clients, as devices use them: `mosquitto_pub` and paho-mqtt, in MQTT 3.1.1 and 5, through Mosquitto and
//! through the front door; and commands to them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use it::{
    api::Api,
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::{Mosquitto, PahoDevice, mosquitto_pub, mosquitto_pub_version, paho},
    stories::{now_ms, telemetry},
};
use serde_json::{Value, json};

const LOGIN: (&str, &str) = ("lift-1", SECRET);
const ANYBODY: (&str, &str) = ("", "");

/// Every client in every version publishes; everything is stored, once.
async fn every_client_is_heard(hub: &TestHub, port: u16, login: (&str, &str)) {
    let now = now_ms();
    let says = |load: i64| telemetry("lift-1", now + load, &json!({ "car_load_kg": load }));
    let tool_login = Some(login).filter(|(name, _)| !name.is_empty());
    for (load, version) in [(1, "mqttv311"), (2, "mqttv5")] {
        let (topic, payload) = says(load);
        assert!(mosquitto_pub_version(port, version, tool_login, &topic, &payload).await, "mosquitto_pub -V {version}");
    }
    for (load, version) in [(3, "3.1.1"), (5, "5")] {
        assert_eq!(paho(port, version, login, &[says(load), says(load + 1)]).await, Ok(2), "paho {version}");
    }
    eventually("everything is stored", it::SOON, || async {
        let stored = hub.readings("lift-1", "car_load_kg");
        let loads: Vec<_> = stored.iter().map(|(.., value)| value.as_str()).collect();
        (loads == ["1", "2", "3", "4", "5", "6"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_client_is_heard_through_mosquitto() {
    let broker = Mosquitto::start().await;
    let hub = TestHub::behind(&broker).await;
    every_client_is_heard(&hub, broker.port, ANYBODY).await;
}

/// The hub itself may speak 3.1.1 to the broker.
#[tokio::test]
async fn every_client_is_heard_by_a_hub_that_speaks_3_1_1() {
    let broker = Mosquitto::start().await;
    let mut setup = Setup::behind(&broker);
    setup.extra.push_str("protocol = \"3.1.1\"\n");
    let hub = TestHub::listening(setup).await;
    every_client_is_heard(&hub, broker.port, ANYBODY).await;
}

#[tokio::test]
async fn every_client_is_heard_through_the_front_door() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    every_client_is_heard(&hub, hub.mqtt.unwrap().port(), LOGIN).await;
}

/// No password, a wrong one, another device's name: all refused, in both versions, and nothing of it is stored.
#[tokio::test]
async fn a_wrong_login_is_refused_at_the_front_door() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let port = hub.mqtt.unwrap().port();
    let (topic, payload) = telemetry("lift-1", now_ms(), &json!({ "car_load_kg": 1 }));
    let message = [(topic.clone(), payload.clone())];
    for version in ["3.1.1", "5"] {
        for login in [ANYBODY, ("lift-1", "not the secret at all"), ("nobody", SECRET)] {
            let refusal = paho(port, version, login, &message).await.unwrap_err();
            assert!(refusal.contains("refused"), "{version} {login:?}: {refusal}");
        }
    }
    for login in [None, Some(("lift-1", "not the secret at all")), Some(("nobody", SECRET))] {
        assert!(!mosquitto_pub(port, login, &topic, &payload).await, "{login:?}");
    }
    assert!(mosquitto_pub(port, Some(LOGIN), &topic, &payload).await, "the right one is taken");
    eventually("the right one is stored", it::SOON, || async {
        (hub.readings("lift-1", "car_load_kg").len() == 1).then_some(())
    })
    .await;
}

/// The newest command to a device, once it has the state.
async fn command_becomes(api: &Api, device: &str, id: &Value, state: &str) -> Value {
    let path = format!("/api/v1/devices/{device}/commands");
    eventually(&format!("the command is {state}"), it::SOON, || async {
        let list = api.get(&path).await;
        let found = list["commands"].as_array().unwrap().iter().find(|command| command["id"] == *id)?;
        (found["state"] == state).then(|| found.clone())
    })
    .await
}

async fn order(api: &Api, device: &str, name: &str, args: Value) -> Value {
    api.post(&format!("/api/v1/devices/{device}/commands"), json!({ "name": name, "args": args })).await["id"].clone()
}

/// Commands are carried out, refused, and expire when nobody answers.
async fn commands(hub: &TestHub, port: u16, login_of: impl Fn(&'static str) -> (&'static str, &'static str)) {
    let api = hub.api().await;
    for (device, version, answer, words) in
        [("lift-1", "5", "applied", "done"), ("lift-2", "3.1.1", "failed", "the controller is in inspection mode")]
    {
        let mut listener = PahoDevice::start(port, version, login_of(device), device, answer).await;
        let id = order(&api, device, "set_report_interval", json!({ "seconds": 20 })).await;
        let received = listener.command().await;
        assert_eq!(received["id"], id);
        assert_eq!(received["name"], "set_report_interval");
        assert_eq!(received["args"], json!({ "seconds": 20 }));
        assert!(received["deadline"].as_i64().unwrap() > now_ms(), "the device knows until when it is wanted");
        let done = command_becomes(&api, device, &id, answer).await;
        assert_eq!(done["detail"], words, "the device's own words");
        assert_eq!(done["requested_by"], "Dora Dispatch");
    }
    // One that receives it and says nothing, and one that is not there.
    let mut silent = PahoDevice::start(port, "5", login_of("pump-1"), "pump-1", "silent").await;
    let id = order(&api, "pump-1", "identify", json!({})).await;
    assert_eq!(silent.command().await["id"], id);
    command_becomes(&api, "pump-1", &id, "expired").await;
    drop(silent);
    let id = order(&api, "pump-1", "identify", json!({})).await;
    command_becomes(&api, "pump-1", &id, "expired").await;
    // What the profile does not allow is not sent at all.
    let body = json!({ "name": "open_the_brake", "args": {} });
    let (status, refusal) = api.send(reqwest::Method::POST, "/api/v1/devices/lift-1/commands", Some(body)).await;
    assert_eq!(status, 400);
    assert!(refusal["error"]["remedy"].as_str().unwrap().contains("identify"), "{refusal}");
}

/// The pump's profile with little patience, in a folder of its own: it takes the place of the one that comes with the hub.
fn impatient_pumps() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(it::root().join("profiles/water_pump.toml")).unwrap();
    let impatient = text.replace("timeout = \"30s\"", "timeout = \"2s\"");
    assert_ne!(text, impatient);
    std::fs::write(folder.path().join("pump.toml"), impatient).unwrap();
    let line = format!("profiles = [{:?}]", folder.path().to_str().unwrap());
    (folder, line)
}

#[tokio::test]
async fn commands_through_the_front_door() {
    let (_folder, profiles) = impatient_pumps();
    let hub = TestHub::start(Engine::Sqlite, Setup { hub: profiles, ..Setup::default() }).await;
    commands(&hub, hub.mqtt.unwrap().port(), |device| (device, SECRET)).await;
}

#[tokio::test]
async fn commands_through_mosquitto() {
    let (_folder, profiles) = impatient_pumps();
    let broker = Mosquitto::start().await;
    let hub = TestHub::listening(Setup { hub: profiles, ..Setup::behind(&broker) }).await;
    commands(&hub, broker.port, |_| ANYBODY).await;
}

/// A device that goes away without a word is off line at once: its last will says so.
async fn a_last_will_says_off_line(hub: &TestHub, port: u16, login: (&str, &str)) {
    let api = hub.api().await;
    let online = |wanted: bool| {
        let api = &api;
        async move { (api.get("/api/v1/devices/lift-1").await["online"] == wanted).then_some(()) }
    };
    let device = PahoDevice::start(port, "5", login, "lift-1", "silent").await;
    eventually("the device is on line", it::SOON, || online(true)).await;
    drop(device); // Killed: the connection ends without a farewell.
    eventually("the device is off line", Duration::from_secs(5), || online(false)).await;
}

#[tokio::test]
async fn a_last_will_through_the_front_door() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    a_last_will_says_off_line(&hub, hub.mqtt.unwrap().port(), LOGIN).await;
}

#[tokio::test]
async fn a_last_will_through_mosquitto() {
    let broker = Mosquitto::start().await;
    let hub = TestHub::behind(&broker).await;
    a_last_will_says_off_line(&hub, broker.port, ANYBODY).await;
}
