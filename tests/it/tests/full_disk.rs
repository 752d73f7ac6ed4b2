//! The hub's disk is really full: nothing is acknowledged, the hub says so, and it goes on by itself when there is room.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use it::{
    SOON,
    api::http,
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    loss::disk::SmallDisk,
    peers::mosquitto_pub,
};
use serde_json::{Value, json};

async fn system(hub: &TestHub) -> (bool, Vec<String>) {
    let answer = http().get(format!("http://{}/readyz", hub.web)).send().await.unwrap();
    let ready = answer.status().is_success();
    let status: Value = answer.json().await.unwrap();
    let alarms = status["alarms"].as_array().unwrap();
    (ready, alarms.iter().map(|alarm| alarm["en"].as_str().unwrap().to_owned()).collect())
}

fn telemetry(load: u32) -> String {
    json!({ "values": { "car_load_kg": load } }).to_string()
}

async fn the_disk_fills_and_is_freed(engine: Engine) {
    let Some(disk) = SmallDisk::mount().await else {
        println!("skipped: this process may not mount a small disk; run the test as root");
        return;
    };
    let port = it::free_port();
    let extra = format!("[gateway.front_door]\nlisten = \"127.0.0.1:{port}\"\n");
    let data = Some(disk.path().join("data"));
    // Not a line of the log can be written either.
    let log = Some("/dev/full".into());
    let hub = TestHub::start(engine, Setup { data, log, extra, no_front_door: true, ..Setup::default() }).await;
    hub.ready().await;
    let publish = |load: u32| async move {
        mosquitto_pub(port, Some(("lift-1", SECRET)), "liftline/lift-1/telemetry", &telemetry(load)).await
    };
    assert!(publish(1).await, "acknowledged");
    disk.fill();
    // More than the pages that are left in the journal's file.
    let big: Vec<Value> =
        (0..2000).map(|n| json!({ "ts": 1_772_000_000_000_i64 + n, "values": { "car_load_kg": 5 } })).collect();
    let big = Value::from(big).to_string();
    let flood = mosquitto_pub(port, Some(("lift-2", SECRET)), "liftline/lift-2/telemetry", &big);
    let watch = async {
        let alarm = eventually("an alarm", SOON, || async {
            let (ready, alarms) = system(&hub).await;
            alarms.into_iter().find(|alarm| !ready && alarm.contains("The journal cannot be written"))
        })
        .await;
        assert!(alarm.contains("not acknowledged"), "{alarm}");
        assert_eq!(hub.metric("liftline_journal_failing").await, 1);
        disk.free();
        hub.ready().await;
    };
    let (acknowledged, ()) = tokio::join!(flood, watch);
    assert!(acknowledged, "when there was room again");
    assert!(publish(3).await);
    eventually("all of it is stored", SOON, || async {
        let loads: Vec<String> = hub.readings("lift-1", "car_load_kg").into_iter().map(|(.., value)| value).collect();
        let flooded = hub.readings("lift-2", "car_load_kg").len();
        (loads == ["1", "3"] && flooded == 2000).then_some(())
    })
    .await;
    eventually("no alarm stands", SOON, || async { system(&hub).await.1.is_empty().then_some(()) }).await;
    assert_eq!(hub.metric("liftline_journal_failing").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_journal_and_database_fills() {
    the_disk_fills_and_is_freed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_the_journal_fills_beside_postgres() {
    the_disk_fills_and_is_freed(Engine::Postgres).await;
}
