//! Recorded history of real machines, replayed through MQTT as a fleet.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use firmware_sim::{ReplayPlan, wire::Report};
use it::{
    database::Engine,
    eventually,
    hub::{Setup, TestHub},
    peers::Mosquitto,
    recorded_data,
};
use model::{DeviceId, Timestamp, Value};

/// An organisation that calls nobody: the history is long over.
const ARCHIVE: &str = "organisation = \"Archive\"\n";

/// How long a replay may take until everything is found.
const PATIENCE: Duration = Duration::from_secs(180);

/// Registers the devices of a recording and starts the hub again, so that it knows them.
async fn register(hub: &mut TestHub, replay: &[&str]) {
    hub.tool(&[&["simulate"], replay, &["--devices", "recorded.csv"]].concat(), "");
    let secrets = hub.tool(&["device", "import", "recorded.csv"], "");
    std::fs::write(hub.folder().join("secrets.csv"), secrets).unwrap();
    hub.kill().await;
    hub.restart().await;
    hub.ready().await;
}

/// The rows of the status history that are about lifts: units whose name ends with ELEVATOR. 249 of 837 units.
fn lifts_only(history: &Path, slice: &Path) {
    let file = std::fs::File::open(history).unwrap();
    let mut out = std::io::BufWriter::new(std::fs::File::create(slice).unwrap());
    for (index, line) in BufReader::new(flate2::read::GzDecoder::new(file)).lines().enumerate() {
        let line = line.unwrap();
        if index == 0 || line.split(',').next().unwrap().ends_with("ELEVATOR") {
            writeln!(out, "{line}").unwrap();
        }
    }
    out.flush().unwrap();
}

/// The devices whose last word is that they are broken.
fn still_broken(plan: &ReplayPlan) -> Vec<DeviceId> {
    let mut last: BTreeMap<&DeviceId, (Timestamp, bool)> = BTreeMap::new();
    for (device, report) in plan.rows() {
        let Report::Telemetry { time, values } = report else { continue };
        let broken = values.iter().any(|(name, value)| name == "unit_state" && *value == Value::Text("broken".into()));
        let entry = last.entry(&plan.devices()[*device].id).or_insert((*time, broken));
        if *time >= entry.0 {
            *entry = (*time, broken);
        }
    }
    last.into_iter().filter(|(_, (_, broken))| *broken).map(|(device, _)| device.clone()).collect()
}

/// The status history of the Washington Metro's lifts: each breakdown is a ticket, each repair closes it.
#[tokio::test]
async fn every_breakdown_of_the_washington_lifts_is_a_ticket() {
    let Some(data) = recorded_data("every_breakdown_of_the_washington_lifts_is_a_ticket") else { return };
    let broker = Mosquitto::start().await;
    let setup = Setup { organisation: Some(ARCHIVE), ..Setup::behind(&broker) };
    let mut hub = TestHub::start(Engine::Sqlite, setup).await;
    let slice = hub.folder().join("lifts.csv");
    lifts_only(&data.join("wmata/unit_statuses_to_2014-06-30.csv.gz"), &slice);
    let inventory = data.join("wmata/units.csv");
    let plan = ReplayPlan::load("wmata", &slice, Some(&inventory)).unwrap();
    assert_eq!(plan.devices().len(), 249);
    let (slice, inventory) = (slice.to_str().unwrap(), inventory.to_str().unwrap());
    let replay = ["--replay", "wmata", "--data", slice, "--inventory", inventory];
    register(&mut hub, &replay).await;

    let began = Instant::now();
    hub.tool(&[&["simulate"], replay.as_slice(), &["--port", &broker.port.to_string()]].concat(), "");
    let published = began.elapsed();
    let broken = Value::Text("broken".into());
    let episodes = usize::try_from(plan.episodes("unit_state", &broken)).unwrap();
    let open = still_broken(&plan);
    let api = hub.api().await;
    eventually("the watch has seen everything", PATIENCE, || async {
        let system = api.get("/api/v1/system").await;
        let read: u64 = system["journal"].as_array().unwrap().iter().map(|lane| lane["head"].as_u64().unwrap()).sum();
        (read >= plan.rows().len() as u64 && system["watch_lag"] == 0 && system["recorder_lag"] == 0).then_some(())
    })
    .await;
    // What a lift said last is settled when nothing earlier can come any more.
    let tickets = eventually("every breakdown is a ticket", PATIENCE, || async {
        let tickets = api.all_tickets("all", "breakdown").await;
        let standing = tickets.iter().filter(|ticket| ticket["closed_at"].is_null()).count();
        (tickets.len() >= episodes && standing <= open.len()).then_some(tickets)
    })
    .await;
    println!(
        "{} rows of {} lifts published in {published:?}, all found after {:?}: {episodes} breakdowns, {} tickets, {} still open",
        plan.rows().len(),
        plan.devices().len(),
        began.elapsed(),
        tickets.len(),
        open.len()
    );
    // Not only the sum: each lift has as many tickets as breakdowns.
    let mut found: BTreeMap<String, u64> = plan.devices().iter().map(|device| (device.id.to_string(), 0)).collect();
    for ticket in &tickets {
        *found.get_mut(ticket["device"]["id"].as_str().unwrap()).unwrap() += 1;
    }
    let expected = plan.episodes_by_device("unit_state", &broken);
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(device, count)| (device.to_string(), count)).collect();
    assert_eq!(found, expected);
    assert_eq!(tickets.len(), episodes);
    let mut unclosed: Vec<_> = tickets
        .iter()
        .filter(|ticket| ticket["closed_at"].is_null())
        .map(|ticket| DeviceId::new(ticket["device"]["id"].as_str().unwrap()).unwrap())
        .collect();
    unclosed.sort();
    assert_eq!(unclosed, open, "open are those that were never repaired, and no others");
    for kind in ["entrapment", "outage", "forecast", "test_failure"] {
        assert!(api.tickets("all", kind).await.is_empty(), "a status feed gives no reason for tickets of kind {kind}");
    }
    assert_eq!(api.get("/api/v1/rejects").await["counts"], serde_json::json!({}), "every row was understood");
}

/// Four bearings run to failure; the outer race of the first fails at the end. It is announced before.
#[tokio::test]
async fn the_failing_bearing_is_announced() {
    let Some(data) = recorded_data("the_failing_bearing_is_announced") else { return };
    let table = data.join("ims_bearing/merged_dataset_BearingTest_2.csv");
    let mut hub = TestHub::start(Engine::Sqlite, Setup { organisation: Some(ARCHIVE), ..Setup::default() }).await;
    let replay = ["--replay", "ims_bearing", "--data", table.to_str().unwrap(), "--rebase", "none"];
    register(&mut hub, &replay).await;
    let port = hub.mqtt.unwrap().port().to_string();
    let way = ["--connections", "per-device", "--secrets", "secrets.csv", "--port", &port];
    hub.tool(&[&["simulate"], replay.as_slice(), &way].concat(), "");

    let plan = ReplayPlan::load("ims_bearing", &table, None).unwrap();
    let end = plan.span().unwrap().1;
    let api = hub.api().await;
    eventually("the watch has seen everything", PATIENCE, || async {
        let system = api.get("/api/v1/system").await;
        let read: u64 = system["journal"].as_array().unwrap().iter().map(|lane| lane["head"].as_u64().unwrap()).sum();
        (read >= plan.rows().len() as u64 && system["watch_lag"] == 0).then_some(())
    })
    .await;
    let mut first = None;
    for bearing in ["bearing-1", "bearing-2", "bearing-3", "bearing-4"] {
        let device = api.get(&format!("/api/v1/devices/{bearing}")).await;
        for alert in device["alerts"].as_array().unwrap().iter().rev() {
            let raised: Timestamp = alert["raised_at"].as_str().unwrap().parse().unwrap();
            let hours = end.seconds_after(raised) / 3600.0;
            println!("{bearing} {} {hours:.1} h before the end: {}", alert["rule"], alert["reason"]["en"]);
            if bearing == "bearing-1" {
                first = Some(first.map_or(hours, |first: f64| first.max(hours)));
            }
        }
    }
    let lead = first.expect("an alert on the failing bearing");
    println!("lead time {lead:.1} h");
    assert!(lead > 24.0, "a day is needed to plan a repair; it was announced {lead:.1} h before the end");
    let tickets = api.tickets("all", "forecast").await;
    assert!(tickets.iter().any(|ticket| ticket["device"]["id"] == "bearing-1"), "a ticket that announces it");
}
