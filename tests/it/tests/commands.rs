//! Commands to a device that is away: kept across a crash of the hub, given out once, and expired when nobody comes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use it::{
    api::Api,
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    raw::RawClient,
    stories::now_ms,
};
use serde_json::{Value, json};

async fn command(api: &Api, device: &str, id: &str) -> Value {
    let list = api.get(&format!("/api/v1/devices/{device}/commands")).await;
    list["commands"].as_array().unwrap().iter().find(|command| command["id"] == id).expect("the command").clone()
}

async fn becomes(api: &Api, device: &str, id: &str, state: &str) -> Value {
    eventually(&format!("the command is {state}"), it::SOON, || async {
        let command = command(api, device, id).await;
        (command["state"] == state).then_some(command)
    })
    .await
}

async fn order(api: &Api, device: &str, name: &str, args: Value) -> String {
    let path = format!("/api/v1/devices/{device}/commands");
    api.post(&path, json!({ "name": name, "args": args })).await["id"].as_str().unwrap().to_owned()
}

/// A profile of water pumps whose one command expires soon; the lift's wait for half a minute and more.
fn impatient() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(it::root().join("profiles/water_pump.toml")).unwrap();
    std::fs::write(folder.path().join("water_pump.toml"), text.replace("timeout = \"30s\"", "timeout = \"4s\""))
        .unwrap();
    let line = format!("profiles = [\"{}\"]", folder.path().display());
    (folder, line)
}

async fn a_device_that_was_away(engine: Engine) {
    let (_folder, profiles) = impatient();
    let mut hub = TestHub::start(engine, Setup { hub: profiles, ..Setup::default() }).await;
    let api = hub.api().await;
    let kept = order(&api, "lift-1", "send_test_call", json!({})).await;
    let late = order(&api, "pump-1", "identify", json!({})).await;
    // It has gone nowhere: nobody is there.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(command(&api, "lift-1", &kept).await["state"], "queued");
    hub.kill().await;
    hub.restart().await;
    let api = hub.api().await;
    assert_eq!(command(&api, "lift-1", &kept).await["state"], "queued", "the crash lost nothing");

    let login = Some(("lift-1", SECRET));
    let mut lift = RawClient::connect(hub.mqtt.unwrap(), login).await;
    lift.subscribe("liftline/lift-1/commands").await;
    let (topic, payload) = lift.message(it::SOON).await.expect("the command comes");
    assert_eq!(topic, "liftline/lift-1/commands");
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((payload["id"].as_str(), payload["name"].as_str()), (Some(kept.as_str()), Some("send_test_call")));
    assert!(payload["deadline"].as_i64().unwrap() > now_ms());
    // Taken by the connection, and not more than that until the device says so.
    becomes(&api, "lift-1", &kept, "sent").await;
    let result = format!("liftline/lift-1/commands/{kept}/result");
    lift.publish(result.as_bytes(), 1, false, br#"{"state":"delivered"}"#).await;
    becomes(&api, "lift-1", &kept, "delivered").await;
    lift.publish(result.as_bytes(), 2, false, br#"{"state":"applied","detail":"called"}"#).await;
    assert_eq!(becomes(&api, "lift-1", &kept, "applied").await["detail"], "called");
    // Once: neither now nor after another crash does it come again.
    assert_eq!(lift.message(Duration::from_millis(1500)).await, None);
    hub.kill().await;
    hub.restart().await;
    let api = hub.api().await;
    let mut lift = RawClient::connect(hub.mqtt.unwrap(), login).await;
    lift.subscribe("liftline/lift-1/commands").await;
    assert_eq!(lift.message(Duration::from_millis(1500)).await, None);
    assert_eq!(command(&api, "lift-1", &kept).await["state"], "applied");

    // The pump's deadline has passed without the pump: it never hears of it.
    becomes(&api, "pump-1", &late, "expired").await;
    let mut pump = RawClient::connect(hub.mqtt.unwrap(), Some(("pump-1", SECRET))).await;
    pump.subscribe("liftline/pump-1/commands").await;
    assert_eq!(pump.message(Duration::from_millis(1500)).await, None);
    assert_eq!(command(&api, "pump-1", &late).await["state"], "expired");

    // What the profile does not allow is not even queued, nor are arguments that it does not name.
    let before = api.get("/api/v1/devices/lift-1/commands").await["commands"].as_array().unwrap().len();
    for (body, says) in [
        (json!({ "name": "release_brake", "args": {} }), "Use one of send_test_call, set_report_interval, identify."),
        (json!({ "name": "set_report_interval", "args": { "safety_chain_closed": true } }), "Use one of seconds."),
        (json!({ "name": "set_report_interval", "args": { "seconds": "safety_chain_closed" } }), "safety chain"),
    ] {
        let (status, refusal) = api.send(reqwest::Method::POST, "/api/v1/devices/lift-1/commands", Some(body)).await;
        assert_eq!(status, 400, "{refusal}");
        assert!(refusal["error"]["remedy"].as_str().unwrap().contains(says), "{refusal}");
    }
    let after = api.get("/api/v1/devices/lift-1/commands").await["commands"].as_array().unwrap().len();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_device_that_was_away_on_sqlite() {
    a_device_that_was_away(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_device_that_was_away_on_postgres() {
    a_device_that_was_away(Engine::Postgres).await;
}

/// A profile whose commands come near the safety chain stops the hub before it starts, with file, line and remedy.
#[test]
fn a_profile_that_reaches_the_safety_chain_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(it::root().join("profiles/lift.toml")).unwrap();
    let text = text.replace("name = \"identify\"\n", "name = \"identify\"\nwrites = [\"safety_chain_closed\"]\n");
    let line = text.lines().position(|line| line.starts_with("writes")).unwrap() + 1;
    std::fs::write(folder.path().join("lift.toml"), text).unwrap();
    std::fs::write(folder.path().join("liftline.toml"), "[hub]\nprofiles = [\"lift.toml\"]\n").unwrap();
    let (ok, _, err) = it::hub::run_liftline(folder.path(), &["check-config"], "");
    assert!(!ok);
    assert!(
        err.contains(&format!(
            "lift.toml:{line}: the command \"identify\" writes the channel \"safety_chain_closed\", which is of the safety chain"
        )),
        "{err}"
    );
}
