//! Clients of other platforms, as they come from PyPI: what they say is stored, and they carry out commands.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::process::Stdio;

use it::{
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::python,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

fn peer(script: &str, port: u16, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(python())
        .arg(it::root().join("tests/it/peers").join(script))
        .args(["127.0.0.1", &port.to_string()])
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

async fn values_become(hub: &TestHub, channel: &str, wanted: &[&str]) {
    eventually(&format!("{channel} is stored"), it::SOON, || async {
        let stored = hub.readings("lift-1", channel);
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
#[tokio::test]
async fn a_senml_client_is_heard() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let (mut client, _lines) = peer("senml_publish.py", hub.mqtt.unwrap().port(), &["lift-1", SECRET, "lift-1"]);
    assert!(client.wait().await.unwrap().success());
    values_become(&hub, "motor_temp_c", &["40", "41"]).await;
}
