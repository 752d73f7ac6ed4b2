//! Clients of other platforms, as they come from PyPI and npm: what they say is stored, and they carry out commands; at
//! the front door and through Mosquitto.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{path::PathBuf, process::Stdio};

use it::{
    api::Api,
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::{Mosquitto, python},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

fn peer(script: &str, port: u16, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let folder = it::root().join("tests/it/peers");
    let runtime = match script.ends_with(".mjs") {
        true => {
            assert!(folder.join("node_modules").is_dir(), "no Node.js peers: run ./dev test, which installs them");
            PathBuf::from("node")
        }
        false => python(),
    };
    let mut child = Command::new(runtime)
        .arg(folder.join(script))
        .args(["127.0.0.1", &port.to_string()])
        .stdin(Stdio::piped())
        .args(args)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(it::SOON, lines.next_line()).await.expect("the client says something in time");
    line.unwrap().expect("the client goes on")
}

/// Tells the client something to do.
async fn tell(peer: &mut Child, line: &str) {
    peer.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
}

async fn values_become(hub: &TestHub, channel: &str, wanted: &[&str]) {
    values_of(hub, "lift-1", channel, wanted).await;
}

async fn values_of(hub: &TestHub, device: &str, channel: &str, wanted: &[&str]) {
    eventually(&format!("{channel} of {device} is stored"), it::SOON, || async {
        let stored = hub.readings(device, channel);
        // Rows of other channels have none of this one.
        let values: Vec<_> =
            stored.iter().map(|(.., value)| value.as_str()).filter(|value| !value.is_empty()).collect();
        (values == wanted).then_some(())
    })
    .await;
}

/// A device of ThingsBoard's own SDK, on the front door: telemetry, attributes, and a command by RPC; and again after a
/// restart of the hub, which still knows in which words to speak to it.
#[tokio::test]
async fn a_thingsboard_device_is_heard_and_commanded() {
    let mut hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    for (floor, restarted) in [("3", false), ("4", true)] {
        if restarted {
            hub.kill().await;
            hub.restart().await;
        }
        let api = hub.api().await;
        let path = "/api/v1/devices/lift-1/commands";
        let port = hub.mqtt.unwrap().port();
        // After the restart the command is there before the device.
        let early = match restarted {
            true => Some(api.post(path, json!({ "name": "identify", "args": {} })).await["id"].clone()),
            false => None,
        };
        let (_device, mut lines) = peer("thingsboard_device.py", port, &["lift-1", SECRET, floor]);
        let (mut sent, mut commands) = (false, Vec::<Value>::new());
        let mut id = early;
        while !sent || commands.is_empty() {
            let line = line(&mut lines).await;
            if line == "sent" {
                sent = true;
                if id.is_none() {
                    let order = json!({ "name": "set_report_interval", "args": { "seconds": 20 } });
                    id = Some(api.post(path, order).await["id"].clone());
                }
            } else if line.starts_with('{') {
                // The SDK's own remarks go the same way.
                commands.push(serde_json::from_str(&line).unwrap());
            }
        }
        assert_eq!(commands[0]["id"], *id.as_ref().unwrap());
        if !restarted {
            assert_eq!(commands[0]["method"], "set_report_interval");
            assert_eq!(commands[0]["params"], json!({ "seconds": 20 }));
        }
        let done = eventually("the command is applied", it::SOON, || async {
            let list = api.get(path).await;
            let found =
                list["commands"].as_array().unwrap().iter().find(|command| Some(&command["id"]) == id.as_ref())?;
            (found["state"] == "applied").then(|| found.clone())
        })
        .await;
        assert_eq!(done["detail"], "done");
    }
    values_become(&hub, "floor", &["3", "4"]).await;
    values_become(&hub, "trips", &["7", "7"]).await;
}

/// SenML in JSON and CBOR; kelvin become degrees Celsius.
async fn a_senml_client_is_heard(hub: &TestHub, port: u16) {
    let (mut client, _lines) = peer("senml_publish.py", port, &["lift-1", SECRET, "lift-1"]);
    assert!(client.wait().await.unwrap().success());
    values_become(hub, "motor_temp_c", &["40", "41"]).await;
}

#[tokio::test]
async fn a_senml_client_at_the_front_door() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    a_senml_client_is_heard(&hub, hub.mqtt.unwrap().port()).await;
}

#[tokio::test]
async fn a_senml_client_at_mosquitto() {
    let broker = Mosquitto::start().await;
    let hub = TestHub::behind(&broker).await;
    a_senml_client_is_heard(&hub, broker.port).await;
}

async fn is_online(api: &Api, device: &str, online: bool) {
    let path = format!("/api/v1/devices/{device}");
    eventually(&format!("{device} is on line: {online}"), it::SOON, || async {
        (api.get(&path).await["online"] == online).then_some(())
    })
    .await;
}

/// The command, once the device has carried it out.
async fn applied(api: &Api, device: &str, id: &Value) -> Value {
    let path = format!("/api/v1/devices/{device}/commands");
    eventually("the command is applied", it::SOON, || async {
        let list = api.get(&path).await;
        let found = list["commands"].as_array().unwrap().iter().find(|command| command["id"] == *id)?;
        (found["state"] == "applied").then(|| found.clone())
    })
    .await
}

/// What a lift says with somebody in it who pressed the button.
fn shut_in() -> Value {
    json!({ "car_speed_m_s": 0, "door_zone": false, "door_state": "closed", "passenger_present": true, "alarm_button": true })
}

/// A gateway of ThingsBoard's own SDK with two lifts behind it: telemetry, coming and going, commands, and an alarm.
async fn a_thingsboard_gateway_is_heard_and_commanded(hub: &TestHub, port: u16, login: (&str, &str), unread: &str) {
    let api = hub.api().await;
    let (mut gateway, mut lines) = peer("thingsboard_gateway.py", port, &[login.0, login.1]);
    let next = async |lines: &mut Lines<BufReader<ChildStdout>>| loop {
        let line = line(lines).await;
        // The SDK's own remarks go the same way.
        if line == "sent" || line.starts_with('{') {
            return line;
        }
    };
    for _ in 0..2 {
        assert_eq!(next(&mut lines).await, "sent");
    }
    values_of(hub, "lift-1", "floor", &["3"]).await;
    values_of(hub, "lift-2", "floor", &["5"]).await;
    is_online(&api, "lift-1", true).await;
    is_online(&api, "lift-2", true).await;
    let order = json!({ "name": "set_report_interval", "args": { "seconds": 20 } });
    let id = api.post("/api/v1/devices/lift-2/commands", order).await["id"].clone();
    let command: Value = serde_json::from_str(&next(&mut lines).await).unwrap();
    assert_eq!((&command["device"], &command["data"]["id"]), (&json!("lift-2"), &id));
    assert_eq!(command["data"]["method"], "set_report_interval");
    assert_eq!(command["data"]["params"], json!({ "seconds": 20 }));
    assert_eq!(applied(&api, "lift-2", &id).await["detail"], "done");
    tell(&mut gateway, &format!("lift-1 {}", shut_in())).await;
    assert_eq!(next(&mut lines).await, "sent");
    eventually("the alarm opens a ticket", it::SOON, || async {
        let tickets = api.tickets("open", "entrapment").await;
        (tickets.len() == 1 && tickets[0]["device"]["id"] == "lift-1").then_some(())
    })
    .await;
    tell(&mut gateway, "lift-2").await;
    assert_eq!(next(&mut lines).await, "sent");
    is_online(&api, "lift-2", false).await;
    is_online(&api, "lift-1", true).await;
    // The SDK asks its platform for limits, which the hub does not answer; nothing else is refused, nor heard twice.
    let rejects = api.get("/api/v1/rejects").await;
    for reject in rejects["rejects"].as_array().unwrap() {
        assert!(!unread.is_empty() && reject["topic"].as_str().unwrap().starts_with(unread), "{reject}");
    }
}

#[tokio::test]
async fn a_thingsboard_gateway_at_the_front_door() {
    let setup =
        Setup { extra: "[gateway.speaks_for]\nlift-3 = [\"lift-1\", \"lift-2\"]\n".to_owned(), ..Setup::default() };
    let hub = TestHub::start(Engine::Sqlite, setup).await;
    let port = hub.mqtt.unwrap().port();
    a_thingsboard_gateway_is_heard_and_commanded(&hub, port, ("lift-3", SECRET), "v1/devices/me/rpc/request/").await;
}

#[tokio::test]
async fn a_thingsboard_gateway_at_mosquitto() {
    let broker = Mosquitto::start().await;
    let mut setup = Setup::behind(&broker);
    setup.extra.push_str("thingsboard_gateways = true\n");
    let hub = TestHub::listening(setup).await;
    a_thingsboard_gateway_is_heard_and_commanded(&hub, broker.port, ("", ""), "").await;
}

/// An edge node of Eclipse Tahu's own client: births, data, a gap in its sequence, commands, an alarm, and its death.
async fn a_sparkplug_node_is_heard_and_commanded(hub: &TestHub, port: u16, login: (&str, &str)) {
    let api = hub.api().await;
    let (mut node, mut lines) = peer("sparkplug_node.mjs", port, &[login.0, login.1, "plant", "edge-1", "lift-1"]);
    assert_eq!(line(&mut lines).await, "birth");
    values_become(hub, "floor", &["1"]).await;
    values_become(hub, "door_zone", &["true"]).await;
    is_online(&api, "lift-1", true).await;
    let floor = |value: i32| json!([{ "name": "floor", "type": "Int32", "value": value }]).to_string();
    tell(&mut node, &floor(2)).await;
    values_become(hub, "floor", &["1", "2"]).await;
    let order = json!({ "name": "set_report_interval", "args": { "seconds": 20 } });
    let id = api.post("/api/v1/devices/lift-1/commands", order).await["id"].clone();
    let command: Value = serde_json::from_str(&line(&mut lines).await).unwrap();
    assert_eq!(command["device"], "lift-1");
    assert_eq!(command["metrics"]["set_report_interval/id"], id);
    assert_eq!(command["metrics"]["set_report_interval/seconds"], 20.0);
    assert_eq!(applied(&api, "lift-1", &id).await["detail"], "done");
    // Nothing is missing so far: nothing was asked for. Now messages are lost, and what comes next is kept all the same.
    tell(&mut node, "\"lose\"").await;
    tell(&mut node, &floor(7)).await;
    assert_eq!(line(&mut lines).await, "rebirth");
    assert_eq!(line(&mut lines).await, "birth");
    values_become(hub, "floor", &["1", "2", "7", "1"]).await;
    let alarm: Vec<_> = shut_in()
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            let kind = [("Boolean", value.is_boolean()), ("Double", value.is_number()), ("String", value.is_string())];
            json!({ "name": name, "type": kind.iter().find(|(_, is)| *is).unwrap().0, "value": value })
        })
        .collect();
    tell(&mut node, &json!(alarm).to_string()).await;
    eventually("the alarm opens a ticket", it::SOON, || async {
        (api.tickets("open", "entrapment").await.len() == 1).then_some(())
    })
    .await;
    // After the birth the sequence is whole again: nothing more was asked for until the node dies.
    is_online(&api, "lift-1", true).await;
    node.kill().await.unwrap();
    is_online(&api, "lift-1", false).await;
    assert_eq!(lines.next_line().await.unwrap(), None, "it was asked for one birth only");
    assert_eq!(api.get("/api/v1/rejects").await["counts"], json!({}));
}

#[tokio::test]
async fn a_sparkplug_node_at_the_front_door() {
    let setup =
        Setup { extra: "[gateway.speaks_for]\nlift-3 = [\"edge-1\", \"lift-1\"]\n".to_owned(), ..Setup::default() };
    let hub = TestHub::start(Engine::Sqlite, setup).await;
    a_sparkplug_node_is_heard_and_commanded(&hub, hub.mqtt.unwrap().port(), ("lift-3", SECRET)).await;
}

#[tokio::test]
async fn a_sparkplug_node_at_mosquitto() {
    let broker = Mosquitto::start().await;
    let mut setup = Setup::behind(&broker);
    setup.extra.push_str("sparkplug_groups = [\"plant\"]\n");
    let hub = TestHub::listening(setup).await;
    a_sparkplug_node_is_heard_and_commanded(&hub, broker.port, ("", "")).await;
}
